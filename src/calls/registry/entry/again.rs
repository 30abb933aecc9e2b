//! Comparison of a call with its copy in the store, and writing again what the store has lost.

use std::time::{Duration, Instant};

use asterscribe_store::{GivenCounts, RetentionTimes, StoreWrite};

use super::RegisteredCall;

/// Time before its expiry at which data already counts as expired: it must not be brought back.
const MARGIN: Duration = Duration::from_secs(10);

impl RegisteredCall {
    /// Numbers of lines and digits that the store has been given of the call and must still have.
    pub(in super::super) fn given(&self, now: Instant, keep: RetentionTimes) -> GivenCounts {
        let at_ms = self.at_ms(now);
        let is_kept = |told_ms: Option<u64>, keep: Duration| {
            let age = told_ms.map(|told| Duration::from_millis(at_ms.saturating_sub(told)));
            age.is_some_and(|age| age.saturating_add(MARGIN) < keep)
        };
        let all = self.record.lines;
        let first = self.lines.first().map_or(all, |line| line.seq);
        // Lists expire as a whole, counted from their last element.
        let told = self.lines.last().map(|line| line.end_ms);
        let pressed = self.dtmf.last().map(|digit| digit.at_ms);
        let digits = match is_kept(pressed, keep.call) {
            true => self.dtmf.len() as u64,
            false => 0,
        };
        GivenCounts {
            call: self.record.call_id.clone(),
            lines: match is_kept(told, keep.transcript) {
                true => first..all,
                false => all..all,
            },
            digits,
        }
    }

    /// Writes up to `count` lines from number `from` on and, behind the last of them, digits and
    /// record. The result is the number of the next line, if there are more.
    pub(in super::super) fn write_again(
        &self,
        from: u64,
        count: usize,
        writes: &mut Vec<StoreWrite>,
    ) -> Option<u64> {
        let call = &self.record.call_id;
        let mut left = self.lines.iter().filter(|line| line.seq >= from);
        // As revisions: what is there may be an older one.
        writes.extend(left.by_ref().take(count).map(|line| StoreWrite::Revise {
            call: call.clone(),
            line: line.clone(),
        }));
        if let Some(next) = left.next() {
            return Some(next.seq);
        }
        if !self.dtmf.is_empty() {
            writes.push(StoreWrite::Digits {
                call: call.clone(),
                digits: self.dtmf.clone(),
            });
        }
        self.write_record(writes);
        None
    }
}
