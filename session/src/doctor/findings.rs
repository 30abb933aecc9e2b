//! List of a leg's findings, and the changes since it was last asked for them.

use std::time::Duration;

use asterscribe_call::{CallEvent, CallEventKind, FindingKind, MediaFinding};

/// Most findings kept of one leg. Lasting ones always fit, one of each kind; of those that are
/// over, the oldest are dropped.
pub(super) const MAX_FINDINGS: usize = 32;

/// Findings of a leg, lasting ones and those that are over.
#[derive(Debug, Default)]
pub(super) struct FindingsLog {
    /// Latest time that the leg has reached.
    now: Duration,
    findings: Vec<MediaFinding>,
    /// One bit for every kind that lasts.
    lasting: u16,
    news: Vec<CallEvent>,
}

impl FindingsLog {
    /// Moves the time on; it never runs back.
    pub(super) fn advance(&mut self, now: Duration) -> Duration {
        self.now = self.now.max(now);
        self.now
    }

    /// See [`CallSession::glance`](crate::CallSession::glance).
    pub(super) fn glance(&self) -> u64 {
        self.news.len() as u64 + u64::from(self.lasting)
    }

    pub(super) fn findings(&self) -> &[MediaFinding] {
        &self.findings
    }

    pub(super) fn lasts(&self, kind: FindingKind) -> bool {
        self.lasting & bit(kind) != 0
    }

    /// Whether a finding of any of these kinds lasts.
    pub(super) fn any_lasts(&self, kinds: &[FindingKind]) -> bool {
        kinds.iter().any(|&kind| self.lasts(kind))
    }

    pub(super) fn take_news(&mut self) -> Vec<CallEvent> {
        std::mem::take(&mut self.news)
    }

    /// Begins a finding at that time; nothing happens if one of its kind lasts already.
    pub(super) fn begin(
        &mut self,
        kind: FindingKind,
        since: Duration,
        evidence: String,
        fix: &str,
    ) {
        if self.lasts(kind) {
            return;
        }
        self.lasting |= bit(kind);
        if self.findings.len() >= MAX_FINDINGS
            && let Some(over) = self.findings.iter().position(|old| old.until_ms.is_some())
        {
            self.findings.remove(over);
        }
        let text = format!("{}: {evidence}", kind.name());
        self.tell(CallEventKind::FindingBegan, text);
        self.findings.push(MediaFinding {
            kind,
            since_ms: millis(since.min(self.now)),
            until_ms: None,
            evidence,
            fix: fix.to_owned(),
        });
    }

    /// Replaces the evidence of a lasting finding by better one.
    pub(super) fn amend(&mut self, kind: FindingKind, evidence: String, fix: &str) {
        if let Some(finding) = self.lasting_mut(kind) {
            finding.evidence = evidence;
            fix.clone_into(&mut finding.fix);
        }
    }

    /// Ends a finding at `until`; nothing happens if none of its kind lasts.
    pub(super) fn end(&mut self, kind: FindingKind, until: Duration) {
        self.end_saying(kind, until, None);
    }

    /// Ends all lasting findings with the call.
    pub(super) fn close(&mut self) {
        for kind in FindingKind::ALL {
            self.end_saying(kind, self.now, Some("the end of the call"));
        }
    }

    fn end_saying(&mut self, kind: FindingKind, until: Duration, with: Option<&str>) {
        let now = self.now;
        let Some(finding) = self.lasting_mut(kind) else {
            return;
        };
        let until_ms = millis(until.min(now)).max(finding.since_ms);
        finding.until_ms = Some(until_ms);
        let seconds = (until_ms - finding.since_ms) as f64 / 1000.0;
        self.lasting &= !bit(kind);
        let text = match with {
            None => format!("{}: over after {seconds:.1} s", kind.name()),
            Some(what) => format!("{}: lasted for {seconds:.1} s, to {what}", kind.name()),
        };
        self.tell(CallEventKind::FindingEnded, text);
    }

    fn lasting_mut(&mut self, kind: FindingKind) -> Option<&mut MediaFinding> {
        if !self.lasts(kind) {
            return None;
        }
        self.findings
            .iter_mut()
            .rfind(|finding| finding.kind == kind)
    }

    fn tell(&mut self, kind: CallEventKind, text: String) {
        self.news.push(CallEvent {
            at_ms: millis(self.now),
            kind,
            leg: None,
            text,
        });
    }
}

fn bit(kind: FindingKind) -> u16 {
    1 << kind as u16
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
