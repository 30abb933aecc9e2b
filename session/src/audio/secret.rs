//! Encrypted payloads: their audio is not recognised.

use std::time::Instant;

use asterscribe_call::{GapReason, UtteranceOutcome};
use asterscribe_codecs::{Codec, DecodeError};

use super::LegAudio;
use crate::SessionDepth;
use crate::cipher::{CipherNews, CipherPayload};

impl LegAudio {
    /// Watches whether payloads are encrypted, and drops the audio if they are.
    pub(super) fn look_for_cipher(
        &mut self,
        codec: Codec,
        time: u64,
        bytes: &[u8],
        count: &Result<usize, DecodeError>,
        arrived: Instant,
    ) {
        if self.depth == SessionDepth::Ordered {
            return;
        }
        let ticks = count.as_ref().ok().map(|&count| codec.rtp_ticks(count));
        let news = self.cipher.packet(CipherPayload {
            codec,
            bytes,
            time,
            ticks,
            follows: self.missing.count() == 0,
        });
        match news {
            None => {}
            Some(CipherNews::Plain) => self.doctor.plain(arrived),
            Some(CipherNews::Encrypted(evidence)) => {
                self.doctor.encrypted(arrived, evidence);
                self.discard();
            }
        }
    }

    /// Drops the audio that is not decided yet: it was decoded from encrypted payloads.
    fn discard(&mut self) {
        self.settle_hold(false);
        self.flush_decoder();
        let mut ended = Vec::new();
        self.segmenter.end(&mut ended);
        for utterance in ended {
            let audio = self.ledger.utterance(utterance.start, utterance.end());
            let outcome = UtteranceOutcome::Gap(GapReason::DecodeError);
            self.ledger.settle(audio, outcome);
        }
        // Neither was what sounded like tones.
        self.segmenter.take_sounds();
        self.ledger.silence_until(self.segmenter.undecided());
    }
}
