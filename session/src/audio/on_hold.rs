//! Audio of a party that has put the other on hold: music, or not meant for the other party.

use asterscribe_call::GapReason;

use super::LegAudio;
use crate::SessionDepth;

impl LegAudio {
    /// The party puts the other on hold, or takes it off. The open sentence ends. Packets that come
    /// meanwhile are decoded to keep the decoder's state, and not recognised.
    pub(crate) fn hold(&mut self, is_on: bool) {
        if self.on_hold == is_on || self.depth == SessionDepth::Ordered {
            return;
        }
        // What waits for its place came before.
        self.settle_hold(true);
        self.waits_for_word = false;
        if is_on {
            self.flush();
        } else {
            self.forget_tail();
        }
        self.on_hold = is_on;
    }

    /// Drops the resampler's tail from the time on hold: it is not speech, and booked already.
    pub(super) fn forget_tail(&mut self) {
        self.decoder.flush(&mut self.samples);
        self.samples.clear();
    }

    /// Books a packet that comes while its party has put the other on hold.
    pub(super) fn pass_over(&mut self, pt: u8, payload: &[u8], length: u64) {
        let reason = match self.decoder.decode(pt, payload, &mut self.samples) {
            Ok(_) => {
                self.stats.decoded += 1;
                self.stats.audio += length;
                GapReason::OnHold
            }
            Err(_) => {
                self.stats.decode_errors += 1;
                GapReason::DecodeError
            }
        };
        self.samples.clear();
        self.pass_unheard(reason, length);
    }
}
