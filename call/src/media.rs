//! Media figures of a leg: counters of packets, the account of its audio, and its quality.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// The packets of a leg, by what became of them. Counts are packets unless named otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegStats {
    /// Valid RTP packets from the leg's source.
    pub received: u64,
    /// Packets whose audio was decoded.
    pub decoded: u64,
    /// Packets that never arrived, or not in time.
    pub lost: u64,
    /// Packets that arrived after their place had been given up; not inserted.
    pub late: u64,
    /// Packets older than anything remembered of the stream; not inserted.
    #[serde(default)]
    pub too_old: u64,
    /// Packets that arrived more than once; the copies were ignored.
    pub duplicate: u64,
    /// Packets that arrived out of order and were put back in place.
    pub reordered: u64,
    /// Packets refused because the reorder buffer was full.
    pub overflow: u64,
    /// Datagrams from the source that are broken RTP.
    pub malformed: u64,
    /// RTCP from the source: understood, not audio.
    #[serde(default)]
    pub rtcp: u64,
    /// Datagrams of other protocols from the source: STUN, DTLS, SIP …
    #[serde(default)]
    pub not_rtp: u64,
    /// Packets far from the sequence that nothing followed.
    #[serde(default)]
    pub sequence_jump: u64,
    /// Packets beyond twice the rate that a leg may have; dropped.
    #[serde(default)]
    pub overload_shed: u64,
    /// RTP of another SSRC while the leg's own still spoke.
    pub foreign_ssrc: u64,
    /// Changes of SSRC or restarts of the sequence that were followed.
    pub restarts: u64,
    /// Comfort noise, telephone events and packets without a payload: understood, not audio.
    pub not_audio: u64,
    /// Payload types that no decoder serves.
    pub unknown_payload: u64,
    /// Payloads that their decoder refused, or that are encrypted.
    pub decode_errors: u64,
    /// Audio decoded, milliseconds.
    pub audio_ms: u64,
    /// Time missing for lost packets, milliseconds.
    pub lost_ms: u64,
    /// Time without audio that was concealed from the audio before it, milliseconds.
    #[serde(default)]
    pub concealed_ms: u64,
    /// Time in which the sender sent nothing, by its own timestamps, milliseconds.
    pub silent_ms: u64,
    /// Audio handed to recognition, milliseconds.
    pub speech_ms: u64,
    /// Utterances recognised.
    pub utterances: u64,
    /// Utterances that could not be recognised (queue full, engine failure); each has a line that
    /// says so.
    pub unrecognised: u64,
}

impl AddAssign<&Self> for LegStats {
    fn add_assign(&mut self, more: &Self) {
        // Named one by one, so that a new counter cannot be forgotten.
        let Self {
            received,
            decoded,
            lost,
            late,
            too_old,
            duplicate,
            reordered,
            overflow,
            malformed,
            rtcp,
            not_rtp,
            sequence_jump,
            overload_shed,
            foreign_ssrc,
            restarts,
            not_audio,
            unknown_payload,
            decode_errors,
            audio_ms,
            lost_ms,
            concealed_ms,
            silent_ms,
            speech_ms,
            utterances,
            unrecognised,
        } = self;
        *received += more.received;
        *decoded += more.decoded;
        *lost += more.lost;
        *late += more.late;
        *too_old += more.too_old;
        *duplicate += more.duplicate;
        *reordered += more.reordered;
        *overflow += more.overflow;
        *malformed += more.malformed;
        *rtcp += more.rtcp;
        *not_rtp += more.not_rtp;
        *sequence_jump += more.sequence_jump;
        *overload_shed += more.overload_shed;
        *foreign_ssrc += more.foreign_ssrc;
        *restarts += more.restarts;
        *not_audio += more.not_audio;
        *unknown_payload += more.unknown_payload;
        *decode_errors += more.decode_errors;
        *audio_ms += more.audio_ms;
        *lost_ms += more.lost_ms;
        *concealed_ms += more.concealed_ms;
        *silent_ms += more.silent_ms;
        *speech_ms += more.speech_ms;
        *utterances += more.utterances;
        *unrecognised += more.unrecognised;
    }
}

/// Reason why audio has no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// Packets never arrived.
    NetLoss,
    /// Packets arrived after their place had been given up.
    Late,
    /// The sender sent nothing, by its own timestamps or, where they do not count it, by arrival:
    /// silence suppression, DTX, hold, keys pressed.
    SenderSilence,
    /// Packets of a payload type that no decoder serves.
    UnknownPayload,
    /// Payloads that their decoder refused.
    DecodeError,
    /// Overload: recognition could not keep up, or a sender exceeded its rate.
    OverloadShed,
    /// Recognition could not keep up; the audio is on the disk and will be recognised.
    Spooled,
    /// The recognition engine failed on the audio.
    RecognitionFailed,
    /// This server was not running.
    NodeCrash,
    /// The sender's numbering broke off; the time that passed is known by arrival only.
    Discontinuity,
    /// The party had put the other on hold: its audio is music, or not meant for the other party.
    OnHold,
}

impl GapReason {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::NetLoss,
        Self::Late,
        Self::SenderSilence,
        Self::UnknownPayload,
        Self::DecodeError,
        Self::OverloadShed,
        Self::Spooled,
        Self::RecognitionFailed,
        Self::NodeCrash,
        Self::Discontinuity,
        Self::OnHold,
    ];
}

/// Audio without text by reason, in samples of [`AudioAccount`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GapTotals {
    /// [`GapReason::NetLoss`].
    pub net_loss: u64,
    /// [`GapReason::Late`].
    pub late: u64,
    /// [`GapReason::SenderSilence`].
    pub sender_silence: u64,
    /// [`GapReason::UnknownPayload`].
    pub unknown_payload: u64,
    /// [`GapReason::DecodeError`].
    pub decode_error: u64,
    /// [`GapReason::OverloadShed`].
    pub overload_shed: u64,
    /// [`GapReason::Spooled`].
    pub spooled: u64,
    /// [`GapReason::RecognitionFailed`].
    pub recognition_failed: u64,
    /// [`GapReason::NodeCrash`].
    pub node_crash: u64,
    /// [`GapReason::Discontinuity`].
    pub discontinuity: u64,
    /// [`GapReason::OnHold`]; left out where there is none.
    #[serde(skip_serializing_if = "is_nothing")]
    pub on_hold: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_nothing(samples: &u64) -> bool {
    *samples == 0
}

impl GapTotals {
    /// Samples without text for `reason`.
    pub fn of(mut self, reason: GapReason) -> u64 {
        *self.slot(reason)
    }

    /// Counter of `reason`.
    pub fn slot(&mut self, reason: GapReason) -> &mut u64 {
        match reason {
            GapReason::NetLoss => &mut self.net_loss,
            GapReason::Late => &mut self.late,
            GapReason::SenderSilence => &mut self.sender_silence,
            GapReason::UnknownPayload => &mut self.unknown_payload,
            GapReason::DecodeError => &mut self.decode_error,
            GapReason::OverloadShed => &mut self.overload_shed,
            GapReason::Spooled => &mut self.spooled,
            GapReason::RecognitionFailed => &mut self.recognition_failed,
            GapReason::NodeCrash => &mut self.node_crash,
            GapReason::Discontinuity => &mut self.discontinuity,
            GapReason::OnHold => &mut self.on_hold,
        }
    }

    /// Sum over all reasons.
    pub fn total(self) -> u64 {
        GapReason::ALL.iter().map(|&reason| self.of(reason)).sum()
    }
}

/// Account of a leg's audio, in samples of 16,000 per second on the leg's timeline (its RTP
/// timestamps, extended). Whole numbers, so that the sum is exact: `span = transcribed + non_speech
/// + pending + gaps`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioAccount {
    /// Start of the span on the call's clock, in samples.
    #[serde(default)]
    pub start: u64,
    /// Length of the span, from the first sample of audio to the last.
    pub span: u64,
    /// Samples recognised as text.
    pub transcribed: u64,
    /// Samples listened to and found to hold no words.
    pub non_speech: u64,
    /// Samples not decided yet; 0 once the call is over.
    pub pending: u64,
    /// Samples without text, by reason.
    pub gaps: GapTotals,
}

impl AudioAccount {
    /// Whether every sample of the span is counted exactly once.
    pub fn is_conserved(&self) -> bool {
        self.span == self.transcribed + self.non_speech + self.pending + self.gaps.total()
    }

    /// Moves `samples` from one outcome to another, for instance when spooled audio gets its words.
    /// Samples that a crashed node had not stored under `was` are taken from `node_crash`, where
    /// they were booked instead.
    pub fn recover(&mut self, was: UtteranceOutcome, samples: u64, outcome: UtteranceOutcome) {
        // Never below nothing, whatever an older record says.
        let before = self.place(was);
        let told = samples.min(*before);
        *before -= told;
        let untold = (samples - told).min(self.gaps.node_crash);
        self.gaps.node_crash -= untold;
        *self.place(outcome) += told + untold;
    }

    fn place(&mut self, outcome: UtteranceOutcome) -> &mut u64 {
        match outcome {
            UtteranceOutcome::Transcribed => &mut self.transcribed,
            UtteranceOutcome::NoWords => &mut self.non_speech,
            UtteranceOutcome::Gap(reason) => self.gaps.slot(reason),
        }
    }

    /// Books all pending samples as a gap with `reason`, since no decision will follow.
    pub fn give_up(&mut self, reason: GapReason) {
        *self.gaps.slot(reason) += std::mem::take(&mut self.pending);
    }

    /// Extends the span until `end` on the call's clock, in samples; the time added is a gap with
    /// `reason`. A leg without any audio has no span, and gets none.
    pub fn last_until(&mut self, end: u64, reason: GapReason) {
        if self.span > 0 {
            let more = end.saturating_sub(self.start + self.span);
            self.span += more;
            *self.gaps.slot(reason) += more;
        }
    }

    /// Appends the account of a later stretch of the same leg; the time between is a gap with
    /// `reason`.
    pub fn go_on(&mut self, later: &Self, reason: GapReason) {
        if later.span == 0 {
            return;
        }
        if self.span == 0 {
            *self = *later;
            return;
        }
        // Stretches that overlap, by a rounding, have no time between them.
        let between = later.start.saturating_sub(self.start + self.span);
        self.span += between + later.span;
        *self.gaps.slot(reason) += between;
        self.transcribed += later.transcribed;
        self.non_speech += later.non_speech;
        self.pending += later.pending;
        for reason in GapReason::ALL {
            *self.gaps.slot(reason) += later.gaps.of(reason);
        }
    }
}

/// The outcome of an utterance's audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UtteranceOutcome {
    /// The audio was recognised as text.
    Transcribed,
    /// The engine recognised no words in the audio.
    NoWords,
    /// The audio has no text, for this reason.
    Gap(GapReason),
}

/// How well a leg's packets arrive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MediaQuality {
    /// Packets lost or late, of those that were sent; 0 to 1.
    pub loss: f32,
    /// Interarrival jitter (RFC 3550 appendix A.8), milliseconds.
    pub jitter_ms: f32,
    /// Mean length of loss bursts over that of random loss (ITU-T G.107, BurstR); 1 for random
    /// loss.
    pub burst_ratio: f32,
    /// Transmission rating R (ITU-T G.107), 0 to 93.2, from loss, bursts and codec; delay is not
    /// known here.
    pub r_factor: f32,
    /// Mean opinion score that goes with R (ITU-T G.107 annex B), 1 to 4.5.
    pub mos: f32,
    /// How much faster than ours the sender's clock runs, parts per million, once that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_drift_ppm: Option<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(start: u64, transcribed: u64, pending: u64) -> AudioAccount {
        AudioAccount {
            start,
            span: transcribed + pending,
            transcribed,
            pending,
            ..AudioAccount::default()
        }
    }

    #[test]
    fn the_time_between_two_stretches_has_a_reason() {
        let mut account = stretch(160, 1_000, 40);
        account.give_up(GapReason::NodeCrash);
        account.go_on(&AudioAccount::default(), GapReason::NodeCrash);
        account.go_on(&stretch(16_000, 500, 0), GapReason::NodeCrash);
        assert!(account.is_conserved(), "{account:?}");
        assert_eq!((account.start, account.span), (160, 16_500 - 160));
        assert_eq!(account.gaps.node_crash, 40 + 16_000 - 1_200);
        assert_eq!((account.transcribed, account.pending), (1_500, 0));
        let mut first = AudioAccount::default();
        first.go_on(&account, GapReason::NodeCrash);
        assert_eq!(first, account);
    }

    #[test]
    fn what_comes_back_from_the_disk_is_counted_once() {
        let mut account = stretch(0, 100, 0);
        account.span += 50;
        account.gaps.spooled = 50;
        account.gaps.node_crash = 5;
        account.span += 5;
        let spooled = GapReason::Spooled;
        account.recover(
            UtteranceOutcome::Gap(spooled),
            20,
            UtteranceOutcome::Transcribed,
        );
        account.recover(
            UtteranceOutcome::Gap(spooled),
            20,
            UtteranceOutcome::NoWords,
        );
        let failed = UtteranceOutcome::Gap(GapReason::RecognitionFailed);
        account.recover(UtteranceOutcome::Gap(spooled), 20, failed);
        assert!(account.is_conserved(), "{account:?}");
        assert_eq!((account.transcribed, account.non_speech), (120, 20));
        let gaps = account.gaps;
        assert_eq!((gaps.spooled, gaps.node_crash), (0, 0));
        assert_eq!(gaps.recognition_failed, 15);
    }

    #[test]
    fn every_reason_has_a_place_of_its_own() {
        let mut totals = GapTotals::default();
        for (n, reason) in (1..).zip(GapReason::ALL) {
            *totals.slot(reason) = n;
        }
        for (n, reason) in (1..).zip(GapReason::ALL) {
            assert_eq!(totals.of(reason), n);
        }
        assert_eq!(totals.total(), 66);
    }
}
