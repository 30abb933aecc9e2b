//! The calls of this process and what is known of them, without I/O: what
//! happens goes in, what must be written to the store comes out as [`StoreWrite`]s.
//!
//! A call may come more than once: its channel leaves our application and
//! returns, a tap is ended and set up again, a server is restarted. It stays
//! one call with one transcript; each time is a [`MediaRun`] of it. The lines are
//! therefore numbered here, and not where they are heard.

mod capture;
mod entry;
mod keeping;
mod listing;
mod naming;
mod opening;
mod parties;
mod record;
mod revising;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem;
use std::time::Instant;

use asterscribe_call::{
    CallChoices, CallEvent, CallEventKind, CallId, CallKey, CallOrigin, CallPlayback, CallStatus,
    DoubtReason, DtmfDigit, EndReason, Leg, PartialLine, TranscriptLine,
};
use asterscribe_session::LegSnapshot;
use asterscribe_store::StoreWrite;
use jiff::Timestamp;

use self::entry::CallHold;
pub use self::entry::{LateText, SecondPassProgress};
pub(crate) use self::entry::{MediaRun, RecoveredAudio, RegisteredCall, StoredHistory, WriteHold};
pub(crate) use self::keeping::RemovalOutcome;
pub(crate) use self::listing::ListedCall;
pub(crate) use self::opening::{CallOpening, CallPast, CallPhase, OpenedCall};
pub(crate) use self::revising::LineRevision;
use crate::play::PlayReport;

/// Ended calls kept at hand, so that they can be read while the store catches up.
const RECENT: usize = 256;

/// Lines of all ended calls together: some 15 MiB.
const RECENT_LINES: usize = 50_000;

/// Lines by the reason of their suppressed text, in the order of [`DoubtReason::ALL`].
type SuppressedCounts = [u64; DoubtReason::ALL.len()];

/// All calls of this process.
#[derive(Debug)]
pub(crate) struct CallRegistry {
    node: String,
    open: HashMap<CallId, RegisteredCall>,
    recent: VecDeque<RegisteredCall>,
    /// All calls, in the order in which they are listed.
    order: BTreeSet<CallKey>,
    /// Calls by the ids of their media runs on media threads.
    live: HashMap<CallId, CallId>,
    /// The newest open call of each of Asterisk's channels, by the channel's id.
    channels: HashMap<String, CallId>,
    writes: Vec<StoreWrite>,
    /// Lines with suppressed text since the start.
    suppressed: SuppressedCounts,
}

impl CallRegistry {
    pub(crate) fn new(node: String) -> Self {
        Self {
            node,
            open: HashMap::new(),
            recent: VecDeque::new(),
            order: BTreeSet::new(),
            live: HashMap::new(),
            channels: HashMap::new(),
            writes: Vec::new(),
            suppressed: [0; DoubtReason::ALL.len()],
        }
    }

    /// Calls that occupy a place.
    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn is_open(&self, call: &CallId) -> bool {
        self.open.contains_key(call)
    }

    pub(crate) fn open_calls(&self) -> impl Iterator<Item = &RegisteredCall> {
        self.open.values()
    }

    /// The call, if it is here, and how far it is.
    pub(crate) fn phase(&self, call: &CallId) -> Option<(CallPhase, CallOrigin)> {
        let entry = self.find(call)?;
        let phase = match (self.open.contains_key(call), entry.is_ending()) {
            (false, _) => CallPhase::Over,
            (true, true) => CallPhase::Ending,
            (true, false) => CallPhase::Open,
        };
        Some((phase, entry.record.origin))
    }

    /// The call, open or recently ended.
    pub(crate) fn find(&self, call: &CallId) -> Option<&RegisteredCall> {
        self.open.get(call).or_else(|| {
            let mut recent = self.recent.iter();
            recent.find(|entry| entry.record.call_id == *call)
        })
    }

    /// Open and recently ended calls.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RegisteredCall> {
        self.open.values().chain(&self.recent)
    }

    /// Takes the writes for the store that have come up since the last time.
    pub(crate) fn take_writes(&mut self) -> Vec<StoreWrite> {
        mem::take(&mut self.writes)
    }

    /// Enters a call, or takes up one that was here before.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        wall: Timestamp,
        opening: CallOpening,
    ) -> OpenedCall {
        let call = opening.call.clone();
        let past = opening.past.clone();
        let thread = opening.thread;
        let (mut entry, is_new) = match self.open.remove(&call).or_else(|| self.take_recent(&call))
        {
            Some(entry) => {
                self.order.remove(&CallKey::of(&entry.record));
                (entry, false)
            }
            None => (RegisteredCall::new(now, wall, &opening), true),
        };
        let replaced = entry.running().cloned();
        if opening.origin.is_on_asterisk() {
            let channel = opening.channel.clone();
            self.channels.insert(channel, call.clone());
        }
        entry.go_on(&self.node, opening);
        match past {
            _ if !is_new => {}
            CallPast::New => {}
            CallPast::Known(history) => entry.learn(Some(*history)),
            CallPast::Unknown => entry.held = WriteHold::History,
            CallPast::Unadmitted => entry.held = WriteHold::Admission,
        }
        let media = self.media_name(&call);
        let media_run = entry.begin(media.clone(), thread);
        self.live.insert(media, call.clone());
        entry.write_record(&mut self.writes);
        self.order.insert(CallKey::of(&entry.record));
        self.open.insert(call, entry);
        OpenedCall {
            media_run,
            replaced,
        }
    }

    /// Id for a media run: the call's own, unless a media thread still has an earlier run of that
    /// id.
    fn media_name(&self, call: &CallId) -> CallId {
        let again = (1..).map(|n| {
            let name = format!("again-{n}");
            name.parse().expect("letters, a dash and digits")
        });
        std::iter::once(call.clone())
            .chain(again)
            .find(|name| !self.live.contains_key(name))
            .expect("the names never end")
    }

    fn take_recent(&mut self, call: &CallId) -> Option<RegisteredCall> {
        let mut recent = self.recent.iter();
        let place = recent.position(|entry| entry.record.call_id == *call)?;
        let entry = self.recent.remove(place)?;
        self.order.remove(&CallKey::of(&entry.record));
        // One that was never admitted was no call.
        (entry.held != WriteHold::Admission).then_some(entry)
    }

    /// A call whose history the store is still to be asked for.
    pub(crate) fn next_unknown(&self) -> Option<CallId> {
        let mut all = self.iter();
        all.find(|entry| entry.held == WriteHold::History)
            .map(|entry| entry.record.call_id.clone())
    }

    /// Takes the history of a call from the store; what was held back is written behind it.
    pub(crate) fn learn(&mut self, call: &CallId, history: Option<StoredHistory>) {
        let Self {
            open,
            recent,
            order,
            writes,
            ..
        } = self;
        let ended = recent
            .iter_mut()
            .find(|entry| entry.record.call_id == *call);
        if let Some(entry) = open.get_mut(call).or(ended)
            && entry.held == WriteHold::History
        {
            order.remove(&CallKey::of(&entry.record));
            entry.learn(history);
            order.insert(CallKey::of(&entry.record));
            entry.release(writes);
        }
    }

    /// Admits a registered call that has got its first leg; `known` is whether the store had
    /// nothing of it.
    pub(crate) fn admit(&mut self, call: &CallId, known: bool) {
        if let Some(entry) = self.open.get_mut(call) {
            entry.admit(known, &mut self.writes);
        }
    }

    /// The first leg of a registered call was refused: unless it has another by
    /// now, the call ends as failed, for readers only; its id may be registered
    /// again. Returns what must be hung up.
    pub(crate) fn refuse(
        &mut self,
        call: &CallId,
        wall: Timestamp,
        text: String,
    ) -> Option<MediaRun> {
        let entry = self.open.get(call)?;
        if entry.held != WriteHold::Admission || !entry.record.legs.is_empty() {
            return None;
        }
        let reason = EndReason { cause: None, text };
        self.ended(call, wall, reason, CallStatus::Failed)
    }

    /// Enters the source of a leg.
    pub(crate) fn leg(&mut self, call: &CallId, leg: Leg, source: String, format: Option<String>) {
        self.change(call, |entry| entry.leg(leg, source, format));
    }

    pub(crate) fn channel_state(&mut self, call: &CallId, now: Instant, state: String) {
        self.change(call, |entry| entry.channel_state(now, state));
    }

    pub(crate) fn note(&mut self, call: &CallId, note: String) {
        self.change(call, |entry| entry.note(note));
    }

    /// Enters choices of how the call is recognised.
    pub(crate) fn choose(&mut self, call: &CallId, recognition: CallChoices) {
        self.change(call, |entry| entry.record.recognition = recognition);
    }

    pub(crate) fn digit(&mut self, call: &CallId, now: Instant, digit: char, ms: u64, leg: Leg) {
        if let Some(entry) = self.open.get_mut(call) {
            entry.digit(now, digit, ms, leg, &mut self.writes);
        }
    }

    /// Enters a key of a media run, at the time of its packets.
    pub(crate) fn key(&mut self, media: &CallId, key: DtmfDigit) {
        let Self {
            open, live, writes, ..
        } = self;
        if let Some(entry) = live.get(media).and_then(|call| open.get_mut(call)) {
            entry.key(media, key, writes);
        }
    }

    /// Enters a line of a media run, under whatever number.
    pub(crate) fn line(&mut self, media: &CallId, line: TranscriptLine) {
        let Self {
            open,
            live,
            writes,
            suppressed,
            ..
        } = self;
        count_suppressed(suppressed, &line);
        if let Some(entry) = live.get(media).and_then(|call| open.get_mut(call)) {
            entry.line(media, line, writes);
        }
    }

    /// Lines with suppressed text since the start, by the reason.
    pub(crate) fn suppressed(&self) -> impl Iterator<Item = (DoubtReason, u64)> {
        DoubtReason::ALL.into_iter().zip(self.suppressed)
    }

    /// Takes a leg's partial: the words of the utterance that is still being spoken.
    pub(crate) fn partial(&mut self, media: &CallId, partial: PartialLine) {
        if let Some(entry) = self
            .live
            .get(media)
            .and_then(|call| self.open.get_mut(call))
        {
            entry.partial(media, partial);
        }
    }

    /// Enters an event of a call's media.
    pub(crate) fn event(&mut self, media: &CallId, event: CallEvent) {
        let Self {
            open, live, writes, ..
        } = self;
        if let Some(entry) = live.get(media).and_then(|call| open.get_mut(call)) {
            entry.event(media, event);
            entry.write_record(writes);
        }
    }

    /// Enters an event that concerns every call that goes on.
    pub(crate) fn event_of_all(&mut self, now: Instant, kind: CallEventKind, text: &str) {
        let running = self
            .open
            .values_mut()
            .filter(|entry| entry.running().is_some());
        for entry in running {
            // Stored with the next counters.
            entry.event_now(now, kind, text.to_owned());
        }
    }

    /// Takes the counters of a media run. They are stored every second, as they come: readers must
    /// not have seen more of a call than is known after a crash.
    pub(crate) fn stats(&mut self, media: &CallId, legs: Vec<LegSnapshot>) {
        let Self {
            open, live, writes, ..
        } = self;
        if let Some(entry) = live.get(media).and_then(|call| open.get_mut(call)) {
            entry.stats(media, legs);
            entry.write_record(writes);
        }
    }

    pub(crate) fn playback_queued(&mut self, call: &CallId, playback: CallPlayback) {
        self.change(call, |entry| entry.playback_queued(playback));
    }

    pub(crate) fn playback_refused(&mut self, call: &CallId, id: u64) {
        self.change(call, |entry| entry.playback_refused(id));
    }

    /// Enters a report on a sound that a call is played.
    pub(crate) fn played(&mut self, media: &CallId, report: PlayReport) {
        let Self {
            open, live, writes, ..
        } = self;
        if let Some(entry) = live.get(media).and_then(|call| open.get_mut(call))
            && entry.played(report)
        {
            entry.write_record(writes);
        }
    }

    /// Call that a media run belongs to.
    pub(crate) fn call_of(&self, media: &CallId) -> Option<CallId> {
        self.live.get(media).cloned()
    }

    /// Ends a call; it stays open until its media has closed. The result is the media run to hang
    /// up, unless the call was ending already.
    pub(crate) fn ended(
        &mut self,
        call: &CallId,
        wall: Timestamp,
        reason: EndReason,
        status: CallStatus,
    ) -> Option<MediaRun> {
        let entry = self.open.get_mut(call)?;
        let media_run = entry.running().cloned()?;
        entry.end(wall, reason, status);
        Some(media_run)
    }

    /// Closes a media run, with its last counters. When none of the call's is left on a media
    /// thread, the call leaves the open ones.
    pub(crate) fn closed(&mut self, media: &CallId, wall: Timestamp, legs: Vec<LegSnapshot>) {
        let Some(call) = self.live.remove(media) else {
            return;
        };
        if let Some(entry) = self.open.get_mut(&call)
            && entry.closed(media, wall, legs)
        {
            self.finish(&call, wall);
        }
    }

    /// Gives a call up, which another server may go on with: from now on its record gives way to
    /// that one's.
    pub(crate) fn give_up(&mut self, call: &CallId) {
        if let Some(entry) = self.open.get_mut(call) {
            entry.hold = CallHold::GivenUp;
        }
    }

    /// Ends the calls that are still open, without their last words. The result is how many there
    /// were.
    pub(crate) fn abandon(&mut self, wall: Timestamp) -> usize {
        let left: Vec<CallId> = self.open.keys().cloned().collect();
        for call in &left {
            if let Some(entry) = self.open.get_mut(call) {
                entry.note("its last words are missing".to_owned());
                entry.hold = CallHold::GivenUp;
            }
            self.finish(call, wall);
        }
        self.live.clear();
        left.len()
    }

    fn finish(&mut self, call: &CallId, wall: Timestamp) {
        let Some(mut entry) = self.open.remove(call) else {
            return;
        };
        if self.channels.get(&entry.channel) == Some(call) {
            self.channels.remove(&entry.channel);
        }
        entry.finish(wall);
        entry.write_record(&mut self.writes);
        // What never got a leg never was a call.
        if entry.held != WriteHold::Admission {
            record::tell_end(&entry.record);
        }
        self.recent.push_back(entry);
        let mut lines: usize = self.recent.iter().map(|entry| entry.lines().len()).sum();
        while (self.recent.len() > RECENT || lines > RECENT_LINES)
            && let Some(mut oldest) = self.recent.pop_front()
        {
            lines -= oldest.lines().len();
            self.order.remove(&CallKey::of(&oldest.record));
            // The store could not be asked for so long that this one's past stays unknown.
            oldest.release(&mut self.writes);
        }
    }

    /// Gives up asking the store about calls' pasts: all that is held back is written as it is.
    pub(crate) fn assume_new(&mut self) {
        let Self {
            open,
            recent,
            writes,
            ..
        } = self;
        for entry in open.values_mut().chain(recent) {
            entry.release(writes);
        }
    }

    fn change(&mut self, call: &CallId, change: impl FnOnce(&mut RegisteredCall)) {
        if let Some(entry) = self.open.get_mut(call) {
            change(entry);
            entry.write_record(&mut self.writes);
        }
    }
}

fn count_suppressed(counts: &mut SuppressedCounts, line: &TranscriptLine) {
    let Some(held) = &line.suppressed else { return };
    for (reason, count) in DoubtReason::ALL.iter().zip(counts) {
        *count += u64::from(*reason == held.reason);
    }
}
