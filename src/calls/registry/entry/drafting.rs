//! Partials of a call: the sentences that its parties are in.

use asterscribe_call::{CallId, PartialLine, TranscriptLine};

use super::RegisteredCall;

impl RegisteredCall {
    /// Takes a partial in place of the leg's last one, with its times put on the call's clock; an
    /// empty one removes it.
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

    /// Removes the partial that a line replaces.
    pub(super) fn drop_partial(&mut self, line: &TranscriptLine) {
        self.partials
            .retain(|partial| partial.leg != line.leg || partial.start_ms >= line.end_ms);
    }

    /// Partials of the call, one for each party that is speaking.
    pub(crate) fn partials(&self) -> &[PartialLine] {
        &self.partials
    }
}
