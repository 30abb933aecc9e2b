//! The sentences that parties are in.

use super::RegisteredCall;
use crate::call::{CallId, PartialLine, TranscriptLine};

impl RegisteredCall {
    /// What a party has said so far, put on the call's clock.
    pub(in super::super) fn partial(&mut self, media: &CallId, mut partial: PartialLine) {
        self.partials.retain(|old| old.leg != partial.leg);
        if partial.text.is_empty() {
            return;
        }
        let shift_ms = self.shift_of(self.zero_of(media));
        partial.start_ms += shift_ms;
        partial.end_ms += shift_ms;
        self.partials.push(partial);
    }

    /// A line takes the place of what was said of it so far.
    pub(super) fn drop_partial(&mut self, line: &TranscriptLine) {
        self.partials
            .retain(|partial| partial.leg != line.leg || partial.start_ms >= line.end_ms);
    }

    /// One of each party that is speaking.
    pub(crate) fn partials(&self) -> &[PartialLine] {
        &self.partials
    }
}
