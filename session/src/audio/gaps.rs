//! Time of a leg without audio: booked when it comes, heard as a gap when it is over.

use std::mem;
use std::time::{Duration, Instant};

use asterscribe_call::GapReason;

use super::{
    BreakHold, HeldAudio, LegAudio, MissingNumbers, PacketPlacement, PauseHabit, hold, to_samples,
};
use crate::SessionDepth;

/// Breaks up to this long are filled, so that a word with a lost packet in it
/// stays one word; longer ones end the utterance.
const MAX_FILL: Duration = Duration::from_millis(400);

/// While somebody speaks a lag waits for the next pause, up to this; nanoseconds.
const MAX_LAG: i64 = 30_000_000_000;

/// In this order it is filled.
const ORDER: [GapReason; 7] = [
    GapReason::OnHold,
    GapReason::UnknownPayload,
    GapReason::DecodeError,
    GapReason::OverloadShed,
    GapReason::NetLoss,
    GapReason::SenderSilence,
    GapReason::Discontinuity,
];

/// Gaps since the last audio, in 16 kHz samples, in the order of [`ORDER`].
#[derive(Debug, Default)]
pub(super) struct PendingGaps([u64; ORDER.len()]);

impl PendingGaps {
    pub(super) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    fn add(&mut self, reason: GapReason, samples: u64) {
        let place = ORDER.iter().position(|&other| other == reason);
        debug_assert!(place.is_some(), "{reason:?} is no gap of reception");
        if let Some(place) = place {
            self.0[place] += samples;
        }
    }

    fn parts(&self) -> impl Iterator<Item = (GapReason, u64)> {
        ORDER.into_iter().zip(self.0).filter(|(_, part)| *part > 0)
    }
}

impl LegAudio {
    /// Books the time that passed before a packet. As a rule a packet holds as much as its
    /// neighbours; what `missing` does not explain has another reason.
    pub(super) fn pass(&mut self, placement: PacketPlacement, missing: MissingNumbers) {
        if placement.gap == 0 {
            return;
        }
        let mut left = placement.gap;
        for (reason, packets) in [
            (GapReason::OverloadShed, missing.shed),
            (GapReason::NetLoss, missing.lost),
        ] {
            let part = packets.saturating_mul(self.timeline.length()).min(left);
            self.book(reason, part);
            left -= part;
        }
        let rest = if placement.is_broken {
            GapReason::Discontinuity
        } else {
            GapReason::SenderSilence
        };
        self.book(rest, left);
    }

    /// Books time without audio, whose reason is known.
    pub(super) fn book(&mut self, reason: GapReason, samples: u64) {
        if samples == 0 {
            return;
        }
        self.ledger.gap(reason, samples);
        if reason == GapReason::NetLoss {
            self.stats.lost += samples;
        } else {
            self.stats.silent += samples;
        }
        if self.depth == SessionDepth::Speech {
            self.bridge.add(reason, samples);
        }
    }

    /// Books audio that came and that nobody hears.
    pub(super) fn pass_unheard(&mut self, reason: GapReason, samples: u64) {
        self.ledger.gap(reason, samples);
        self.bridge.add(reason, samples);
    }

    /// Lets whoever hears the audio know of the gaps before it. `next` is the packet behind them.
    pub(super) fn bridge(&mut self, next: (u8, &[u8])) {
        let samples = self.bridge.total();
        if samples == 0 {
            return;
        }
        if samples <= to_samples(MAX_FILL) {
            let bridge = mem::take(&mut self.bridge);
            for (reason, part) in bridge.parts() {
                self.fill(reason, part, Some(next));
            }
            self.segment();
            return;
        }
        self.flush_decoder();
        let bridge = mem::take(&mut self.bridge);
        if bridge
            .parts()
            .all(|(reason, _)| reason == GapReason::SenderSilence)
        {
            self.pauses = PauseHabit::NotSent;
        }
        let mut ended = Vec::new();
        self.segmenter.gap(samples, &mut ended);
        self.note(ended);
    }

    /// A short break within the audio: made up if it was lost, silence if it was
    /// never sent. `next` is the packet behind it.
    pub(super) fn fill(&mut self, reason: GapReason, samples: u64, next: Option<(u8, &[u8])>) {
        // At most `MAX_FILL`, or a packet.
        let count = samples as usize;
        if matches!(reason, GapReason::SenderSilence | GapReason::OnHold) {
            self.decoder.silence(count, &mut self.samples);
        } else {
            let made_up = self.decoder.conceal(count, next, &mut self.samples);
            self.stats.concealed += made_up as u64;
        }
    }

    /// Gives out what the resampler held back. The timeline then stands where the samples do.
    pub(super) fn flush_decoder(&mut self) {
        let rest = self.stretch.end();
        self.ledger.audio(rest);
        self.stats.audio += rest;
        self.decoder.flush(&mut self.samples);
        self.segment();
        debug_assert_eq!(
            self.segmenter.position() + self.bridge.total(),
            self.ledger.span(),
            "the books and the samples differ"
        );
    }

    /// Whether the packet that was placed last is held back: it comes after a break that its
    /// timestamp does not tell. Within a word nothing has passed, whatever arrival says.
    pub(super) fn holds(&mut self, arrived: Instant) -> bool {
        if self.hold.is_some() {
            return true;
        }
        let lag = self.timeline.lag();
        let holds = hold::is_break(lag) && !self.segmenter.is_in_word();
        if holds {
            self.hold = Some(Box::new(BreakHold::new(arrived, lag.0)));
        }
        holds
    }

    /// Holds a packet back.
    pub(super) fn keep(&mut self, packet: HeldAudio, arrived: Instant) {
        let (lag, _) = self.timeline.lag();
        let Some(hold) = &mut self.hold else {
            return;
        };
        hold.push(packet, arrived, lag);
        if hold.is_decided() {
            self.settle_hold(false);
        }
    }

    /// When to call [`Self::settle_hold`].
    pub(crate) fn hold_due(&self) -> Option<Instant> {
        self.hold.as_ref().map(|hold| hold.due())
    }

    /// Lets go of what is held back; `is_all`: no audio follows it.
    pub(crate) fn settle_hold(&mut self, is_all: bool) {
        let Some(hold) = self.hold.take() else {
            return;
        };
        let (passed, packets) = hold.decide(is_all);
        let broke_off = packets.first().is_some_and(|held| held.placement.is_broken);
        let passed = self.timeline.make_good(passed);
        self.book(silence(broke_off), passed);
        for held in packets {
            let packet = (held.codec, held.payload_type, &held.payload[..]);
            self.take(packet, held.count, held.placement, held.missing);
        }
    }

    /// Makes good what has lagged behind arrival for long, where nobody speaks.
    pub(super) fn make_good(&mut self) {
        let owed = self.timeline.owed();
        if owed > 0 && (!self.segmenter.is_speaking() || owed > MAX_LAG) {
            let samples = self.timeline.make_good(owed);
            self.book(GapReason::SenderSilence, samples);
        }
    }
}

fn silence(broke_off: bool) -> GapReason {
    if broke_off {
        GapReason::Discontinuity
    } else {
        GapReason::SenderSilence
    }
}
