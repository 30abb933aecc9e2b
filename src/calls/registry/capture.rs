//! Capture state in the call registry.

use std::time::{Duration, Instant};

use asterscribe_call::{CallEvent, CallEventKind, CallId, CallRecord, CaptureState};

use super::record::push_event;
use super::{CallRegistry, RegisteredCall};

/// Capture state of a call that an earlier process left: no longer running.
pub(super) fn left_behind(record: &CallRecord) -> Option<CaptureState> {
    record.capture.clone().map(|state| CaptureState {
        running: false,
        ..state
    })
}

impl RegisteredCall {
    /// Zero of the call's clock as a media run's times show it: whole milliseconds before the run's
    /// own zero, so that both come to the same numbers.
    pub(crate) fn zero_for(&self, stint_zero: Instant) -> Instant {
        let before = Duration::from_millis(self.at_ms(stint_zero));
        stint_zero.checked_sub(before).unwrap_or(stint_zero)
    }
}

impl CallRegistry {
    /// A capture of the call has begun or ended at `now`.
    pub(crate) fn capture(
        &mut self,
        call: &CallId,
        now: Instant,
        state: CaptureState,
        kind: CallEventKind,
        text: String,
    ) {
        let mut recent = self.recent.iter_mut();
        let ended = recent.find(|entry| entry.record.call_id == *call);
        if let Some(entry) = self.open.get_mut(call).or(ended) {
            entry.record.capture = Some(state);
            let event = CallEvent {
                at_ms: entry.at_ms(now),
                kind,
                leg: None,
                text,
            };
            push_event(&mut entry.record, event);
            entry.write_record(&mut self.writes);
        }
    }

    /// Brings the figures of captures that run up to date, for readers.
    pub(crate) fn show_captures(&mut self, state: impl Fn(&CallId) -> Option<CaptureState>) {
        for entry in self.open.values_mut().chain(&mut self.recent) {
            if let Some(state) = state(&entry.record.call_id) {
                entry.record.capture = Some(state);
            }
        }
    }
}
