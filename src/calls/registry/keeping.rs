//! Upkeep of the calls in the registry: writing again what the store has lost, forgetting, erasing.

use std::time::{Duration, Instant};

use asterscribe_call::{CallId, CallStatus, EndReason, GapReason};
use asterscribe_store::{GivenCounts, RetentionTimes, StoreWrite};
use jiff::Timestamp;

use super::{CallRegistry, RegisteredCall, StoredHistory, WriteHold, capture};

/// Samples of an account in a millisecond.
const SAMPLES_PER_MS: u64 = 16;

/// Outcome of removing a call from the call registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemovalOutcome {
    /// The call is gone.
    Gone,
    /// The call was not here.
    NotHere,
    /// The call goes on, or its last words are under way.
    Open,
}

impl CallRegistry {
    /// Ends a call in the store that an earlier process left open and that does not go on.
    pub(crate) fn settle(&mut self, history: StoredHistory, wall: Timestamp, text: String) {
        let StoredHistory { record, lines, .. } = history;
        let Some(mut record) = record else { return };
        if self.find(&record.call_id).is_some() {
            // It was taken up again while the store was asked.
            return;
        }
        record.status = CallStatus::Failed;
        record.ended_at = Some(wall);
        record.end_reason = Some(EndReason { cause: None, text });
        record.lines = lines;
        record.capture = capture::left_behind(&record);
        record.playing.clear();
        let age = wall.as_millisecond() - record.started_at.as_millisecond();
        let end = u64::try_from(age).unwrap_or(0) * SAMPLES_PER_MS;
        for leg in &mut record.legs {
            leg.audio.give_up(GapReason::NodeCrash);
            leg.audio.last_until(end, GapReason::NodeCrash);
        }
        self.writes.push(StoreWrite::GivenUp(Box::new(record)));
    }

    /// Numbers of lines and digits that the store has been given of each call and must have, the
    /// expired ones excepted.
    pub(crate) fn given(&self, now: Instant, keep: RetentionTimes) -> Vec<GivenCounts> {
        let written = self.iter().filter(|entry| entry.held == WriteHold::Nothing);
        written.map(|entry| entry.given(now, keep)).collect()
    }

    /// Writes up to `count` lines of a call again, from number `from` on. The result is the number
    /// of the next line, if there are more; the record comes last.
    pub(crate) fn write_again(&mut self, call: &CallId, from: u64, count: usize) -> Option<u64> {
        let Self {
            open,
            recent,
            writes,
            ..
        } = self;
        let mut recent = recent.iter();
        let ended = recent.find(|entry| entry.record.call_id == *call);
        let entry = open.get(call).or(ended)?;
        if entry.held != WriteHold::Nothing {
            return None;
        }
        entry.write_again(from, count, writes)
    }

    /// Removes what is known of a call that is over.
    pub(crate) fn erase(&mut self, call: &CallId) -> RemovalOutcome {
        if self.open.contains_key(call) {
            return RemovalOutcome::Open;
        }
        match self.take_recent(call) {
            Some(_) => RemovalOutcome::Gone,
            None => RemovalOutcome::NotHere,
        }
    }

    /// Writes the removal of everything that the store has of a call.
    pub(crate) fn write_erasure(&mut self, call: &CallId) {
        self.writes.push(StoreWrite::Erase(call.clone()));
    }

    /// Forgets calls that have been over for so long that the store has, too.
    pub(crate) fn forget(&mut self, wall: Timestamp, keep: RetentionTimes) {
        let keep = keep.call.min(keep.transcript);
        let is_old = |entry: &RegisteredCall| {
            let age = entry
                .record
                .ended_at
                .map(|ended| wall.duration_since(ended));
            age.and_then(|age| Duration::try_from(age).ok())
                .is_some_and(|age| age >= keep)
        };
        let old: Vec<CallId> = self
            .recent
            .iter()
            .filter(|entry| is_old(entry))
            .map(|entry| entry.record.call_id.clone())
            .collect();
        for call in old {
            if let Some(mut entry) = self.take_recent(&call) {
                // The store could not be asked for all that time.
                entry.release(&mut self.writes);
            }
        }
    }
}
