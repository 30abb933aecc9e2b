//! Where every moment of a leg's timeline went (contract C1: audio conservation).
//!
//! The timeline grows at its end, by audio or by gaps. Gaps have their reason at
//! once. Audio is undecided until the segmenter has let it go as silence or cut
//! it into an utterance; an utterance is pending until recognition has answered.
//! Each sample is thus in exactly one place at any time, by construction.

use std::collections::VecDeque;

use asterscribe_call::{AudioAccount, GapReason, UtteranceOutcome};

use super::sum;

/// The books of one leg, in 16 kHz samples. Bounded by what the segmenter holds:
/// only gaps within audio that is still undecided are kept one by one.
#[derive(Debug, Default)]
pub(super) struct LegLedger {
    account: AudioAccount,
    /// Up to here it is decided what is speech.
    decided: u64,
    /// Gaps behind `decided`, in order, as start and end.
    open_gaps: VecDeque<(u64, u64)>,
    /// Audio of utterances under recognition.
    recognising: u64,
}

impl LegLedger {
    /// See [`super::CallSession::glance`].
    pub(super) fn glance(&self) -> u64 {
        sum([
            self.account.span,
            self.account.non_speech,
            self.decided,
            self.open_gaps.len() as u64,
        ])
    }

    /// Where the timeline begins on the call's clock.
    pub(super) fn begin(&mut self, start: u64) {
        self.account.start = start;
    }

    /// The timeline goes on with audio.
    pub(super) fn audio(&mut self, samples: u64) {
        self.account.span += samples;
    }

    /// The timeline goes on without audio.
    pub(super) fn gap(&mut self, reason: GapReason, samples: u64) {
        if samples == 0 {
            return;
        }
        let start = self.account.span;
        self.account.span += samples;
        *self.account.gaps.slot(reason) += samples;
        match self.open_gaps.back_mut() {
            Some((_, end)) if *end == start => *end = self.account.span,
            _ => self.open_gaps.push_back((start, self.account.span)),
        }
    }

    /// Some of what was given up has another reason than was thought.
    pub(super) fn reclassify(&mut self, from: GapReason, to: GapReason, samples: u64) {
        let samples = samples.min(self.account.gaps.of(from));
        *self.account.gaps.slot(from) -= samples;
        *self.account.gaps.slot(to) += samples;
    }

    /// How long the timeline is so far.
    pub(super) fn span(&self) -> u64 {
        self.account.span
    }

    /// No speech can begin before `position` any more.
    pub(super) fn silence_until(&mut self, position: u64) {
        let audio = self.decide_until(position);
        self.account.non_speech += audio;
    }

    /// `start..end` was cut out as an utterance; how much of it is audio.
    pub(super) fn utterance(&mut self, start: u64, end: u64) -> u64 {
        self.silence_until(start);
        let audio = self.decide_until(end);
        self.recognising += audio;
        audio
    }

    /// Recognition has answered for this much audio.
    pub(super) fn settle(&mut self, audio: u64, outcome: UtteranceOutcome) {
        self.recognising -= audio;
        *match outcome {
            UtteranceOutcome::Transcribed => &mut self.account.transcribed,
            UtteranceOutcome::NoWords => &mut self.account.non_speech,
            UtteranceOutcome::Gap(reason) => self.account.gaps.slot(reason),
        } += audio;
    }

    /// The books as they stand.
    pub(super) fn account(&self) -> AudioAccount {
        let open: u64 = self.open_gaps.iter().map(|(start, end)| end - start).sum();
        let undecided = self.account.span - self.decided - open;
        AudioAccount {
            pending: undecided + self.recognising,
            ..self.account
        }
    }

    /// Moves the border on; how much audio it passed.
    fn decide_until(&mut self, position: u64) -> u64 {
        let position = position.min(self.account.span);
        let Some(mut audio) = position.checked_sub(self.decided) else {
            return 0;
        };
        while let Some((start, end)) = self.open_gaps.front_mut() {
            if *start >= position {
                break;
            }
            let passed = (*end).min(position);
            audio -= passed - *start;
            *start = passed;
            if *start == *end {
                self.open_gaps.pop_front();
            } else {
                break;
            }
        }
        self.decided = position;
        audio
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_utterance_with_a_hole_in_it() {
        let mut ledger = LegLedger::default();
        ledger.audio(1_000);
        ledger.gap(GapReason::NetLoss, 320);
        ledger.audio(1_000);
        assert_eq!(ledger.account().pending, 2_000);
        let audio = ledger.utterance(500, 2_000);
        assert_eq!(audio, 1_180);
        ledger.settle(audio, UtteranceOutcome::Transcribed);
        ledger.reclassify(GapReason::NetLoss, GapReason::Late, 500);
        ledger.silence_until(2_320);
        let account = ledger.account();
        assert_eq!((account.span, account.transcribed), (2_320, 1_180));
        assert_eq!((account.non_speech, account.pending), (820, 0));
        assert_eq!((account.gaps.net_loss, account.gaps.late), (0, 320));
        assert!(account.is_conserved());
    }

    #[test]
    fn a_border_within_a_gap_counts_no_gap_twice() {
        let mut ledger = LegLedger::default();
        ledger.gap(GapReason::SenderSilence, 100);
        ledger.gap(GapReason::NetLoss, 100);
        assert_eq!(ledger.utterance(50, 150), 0);
        ledger.audio(10);
        ledger.silence_until(300);
        let account = ledger.account();
        assert_eq!((account.span, account.non_speech), (210, 10));
        assert!(account.is_conserved());
    }

    #[derive(Debug, Clone)]
    enum Op {
        Audio(u64),
        Gap(usize, u64),
        Silence(u64),
        Utterance(u64, u64),
        Settle(u8),
        Reclassify(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0..5_000u64).prop_map(Op::Audio),
            (0..GapReason::ALL.len(), 0..5_000u64).prop_map(|(reason, n)| Op::Gap(reason, n)),
            (0..6_000u64).prop_map(Op::Silence),
            (0..3_000u64, 0..6_000u64).prop_map(|(skip, n)| Op::Utterance(skip, n)),
            any::<u8>().prop_map(Op::Settle),
            (0..2_000u64).prop_map(Op::Reclassify),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_counted_twice(ops in prop::collection::vec(op(), 0..200)) {
            let mut ledger = LegLedger::default();
            let (mut jobs, mut span) = (Vec::new(), 0);
            for op in ops {
                match op {
                    Op::Audio(n) => {
                        span += n;
                        ledger.audio(n);
                    }
                    Op::Gap(reason, n) => {
                        span += n;
                        ledger.gap(GapReason::ALL[reason], n);
                    }
                    Op::Silence(ahead) => ledger.silence_until(ledger.decided + ahead),
                    Op::Utterance(skip, n) => {
                        let start = ledger.decided + skip;
                        jobs.push(ledger.utterance(start, start + n));
                    }
                    Op::Settle(how) => if let Some(audio) = jobs.pop() {
                        ledger.settle(audio, match how % 3 {
                            0 => UtteranceOutcome::Transcribed,
                            1 => UtteranceOutcome::NoWords,
                            _ => UtteranceOutcome::Gap(GapReason::RecognitionFailed),
                        });
                    },
                    Op::Reclassify(n) => ledger.reclassify(GapReason::NetLoss, GapReason::Late, n),
                }
                let account = ledger.account();
                prop_assert!(account.is_conserved(), "{:?}", account);
                prop_assert_eq!(account.span, span);
            }
            ledger.silence_until(span);
            for audio in jobs {
                ledger.settle(audio, UtteranceOutcome::Transcribed);
            }
            prop_assert_eq!(ledger.account().pending, 0);
            prop_assert!(ledger.open_gaps.is_empty());
        }
    }
}
