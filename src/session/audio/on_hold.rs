//! Audio that comes while its party has put the other on hold: music, or nothing that was meant
//! for anybody.

use super::LegAudio;
use crate::call::GapReason;
use crate::session::SessionDepth;

impl LegAudio {
    /// The party puts the other on hold, or takes it off. A sentence ends with that; what comes
    /// meanwhile is decoded, for the decoder's sake, and heard by nobody.
    pub(in crate::session) fn hold(&mut self, is_on: bool) {
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

    /// What the resampler holds back of that is nobody's speech either, and is booked already.
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
