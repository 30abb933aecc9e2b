//! Audio of one leg: ordered packets → samples → utterances, and the account of every moment
//! between the first and the last of them.

mod gaps;
mod on_hold;
mod secret;
mod stretch;
mod unusable;

use std::mem;
use std::time::{Duration, Instant};

use asterscribe_call::{AudioAccount, GapReason, LegSound, LegSounds};
use asterscribe_codecs::{AudioDecoder, Codec, PayloadKind};
use asterscribe_speech::segmenter::{Segmenter, SoundSpan};
use asterscribe_speech::{SAMPLES_PER_MS, Utterance};

use self::gaps::PendingGaps;
use self::stretch::{ResampledLength, alone};
use super::cipher::CipherWatch;
use super::doctor::{ExaminedPacket as Examined, MediaDoctor};
use super::hold::{self, BreakHold, HeldAudio};
use super::ledger::LegLedger;
use super::timeline::{LegTimeline, PacketPlacement, PacketSpan, to_samples};
use super::{SessionConfig, SessionDepth, sum};

/// Extra time to wait for the rest of a word, where the audio breaks off in one. A sender that
/// sends nothing in pauses may as well have ended its sentence.
const WORD_WAIT: Duration = Duration::from_millis(1_300);

/// Extra time to wait for the rest of a word, from a sender that sends its silence too: as much as
/// may come at once when a network that stood still goes on (`asterscribe_rtp::RateConfig`).
const FREEZE_WAIT: Duration = Duration::from_secs(8);

/// Silence sent in a row after which a sender counts as one that sends its pauses.
const SENT_SILENCE: Duration = Duration::from_millis(500);

/// Longest pause within a sound that comes and goes: that of ringback is up to 5 s (ITU-T E.180).
const SAME_SOUND: Duration = Duration::from_millis(5_200);

/// Room for samples that a leg keeps between packets, 20 ms: a filled break
/// needs twenty times that, but only once in a while.
const KEPT_SAMPLES: usize = 320;

/// The part of a leg that lies behind the receiver; apart from it, since a released packet borrows
/// from the receiver.
#[derive(Debug)]
pub(super) struct LegAudio {
    pub(super) ledger: LegLedger,
    pub(super) stats: AudioStats,
    missing: MissingNumbers,
    /// Packets that were booked as refused before their turn came.
    shed_ahead: u64,
    pub(super) done: Vec<CutUtterance>,
    pub(super) doctor: MediaDoctor,
    pub(super) sounds: LegSounds,
    /// End of the last of the sounds, and start of the last utterance.
    sounded: u64,
    spoke: u64,
    depth: SessionDepth,
    timeline: LegTimeline,
    decoder: AudioDecoder,
    segmenter: Segmenter,
    stretch: ResampledLength,
    samples: Vec<f32>,
    /// Gaps that are booked and not yet passed on to decoder and segmenter.
    bridge: PendingGaps,
    /// Packets behind a break of which it is not yet clear what it was.
    hold: Option<Box<BreakHold>>,
    cipher: CipherWatch,
    opened: Instant,
    idle_flush: Duration,
    heard: Option<AudioArrival>,
    /// Whether the rest of a word is waited for; otherwise the sentence would have ended.
    waits_for_word: bool,
    pauses: PauseHabit,
    /// Whether the party has put the other on hold.
    on_hold: bool,
}

/// The habit of a sender in pauses of speech, as far as it is known. Where audio breaks off within
/// a word, one that sends silence has not paused: the network or the sender stands still, and the
/// rest of the word follows. Of its two halves each would be taken for the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PauseHabit {
    /// The sender has not paused yet; silence it has sent in a row, in 16 kHz samples.
    Unknown(u64),
    /// The sender goes on sending in pauses.
    Sent,
    /// The sender sends nothing in pauses, or announces them by comfort noise (RFC 3389).
    NotSent,
}

/// An utterance, and the number of its samples that arrived.
#[derive(Debug)]
pub(super) struct CutUtterance {
    pub(super) utterance: Utterance,
    pub(super) audio: u64,
}

/// Numbers since the last packet that held audio, by what became of them.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct MissingNumbers {
    /// Packets given up.
    lost: u64,
    /// Packets refused because the sender exceeded its rate, and not booked yet.
    shed: u64,
    /// Packets of signalling and comfort noise.
    other: u64,
}

impl MissingNumbers {
    fn count(self) -> u64 {
        self.lost + self.shed + self.other
    }
}

/// Arrival of packets that held audio. Signalling does not count: it neither
/// begins the timeline nor keeps a sentence open; what nobody can decode begins it.
#[derive(Debug, Clone, Copy)]
struct AudioArrival {
    /// Arrival that corresponds to sample 0 of the timeline.
    first: Instant,
    last: Instant,
}

#[derive(Debug, Default)]
pub(super) struct AudioStats {
    pub(super) decoded: u64,
    pub(super) not_audio: u64,
    pub(super) unknown_payload: u64,
    pub(super) decode_errors: u64,
    pub(super) audio: u64,
    pub(super) lost: u64,
    pub(super) concealed: u64,
    pub(super) silent: u64,
    pub(super) speech: u64,
    pub(super) utterances: u64,
    pub(super) unrecognised: u64,
}

impl LegAudio {
    pub(super) fn new(config: &SessionConfig, opened: Instant) -> Self {
        Self {
            ledger: LegLedger::default(),
            stats: AudioStats::default(),
            missing: MissingNumbers::default(),
            shed_ahead: 0,
            done: Vec::new(),
            doctor: MediaDoctor::new(opened),
            sounds: LegSounds::default(),
            sounded: 0,
            spoke: 0,
            depth: config.depth,
            timeline: LegTimeline::default(),
            decoder: AudioDecoder::new(),
            segmenter: Segmenter::new(&config.segmenter),
            stretch: ResampledLength::default(),
            samples: Vec::new(),
            bridge: PendingGaps::default(),
            hold: None,
            cipher: CipherWatch::default(),
            opened,
            idle_flush: config.idle_flush,
            heard: None,
            waits_for_word: false,
            pauses: PauseHabit::Unknown(0),
            on_hold: false,
        }
    }

    /// See [`super::CallSession::glance`].
    pub(super) fn glance(&self) -> u64 {
        sum([
            self.ledger.glance(),
            self.timeline.glance(),
            self.doctor.glance(),
            self.stats.audio,
            self.missing.lost,
            self.stretch.glance(),
            self.bridge.total() + u64::from(self.hold.is_some()),
            self.cipher.glance(),
            self.done.len() as u64,
            self.samples.len() as u64,
            self.segmenter.undecided(),
            self.heard.is_some().into(),
        ])
    }

    /// Start of the timeline on the call's clock, in 16 kHz samples.
    pub(super) fn origin(&self) -> u64 {
        let first = self.heard.map_or(self.opened, |heard| heard.first);
        let millis = first.saturating_duration_since(self.opened).as_millis();
        // Not reached: 2⁵⁹ ms are 18 million years.
        u64::try_from(millis).unwrap_or(u64::MAX / 64) * SAMPLES_PER_MS
    }

    /// Start of the open utterance on the timeline, and its length, in samples.
    pub(super) fn speaking(&self) -> Option<(u64, u64)> {
        self.segmenter.speaking()
    }

    /// Whether the open utterance may turn out not to be speech.
    pub(super) fn is_doubtful(&self) -> bool {
        self.segmenter.is_doubtful()
    }

    /// Samples of the open utterance so far.
    pub(super) fn so_far(&self) -> Vec<i16> {
        self.segmenter.so_far()
    }

    /// Time at which [`Self::idle`] is due unless audio comes.
    pub(super) fn falls_idle(&self) -> Option<Instant> {
        let heard = self.heard.filter(|_| self.segmenter.is_speaking())?;
        let longer = match (self.waits_for_word, self.pauses) {
            (false, _) => Duration::ZERO,
            (true, PauseHabit::Sent) => FREEZE_WAIT,
            (true, PauseHabit::Unknown(_) | PauseHabit::NotSent) => WORD_WAIT,
        };
        Some(heard.last + self.idle_flush + longer)
    }

    /// Ends the open sentence because no audio has come for so long, unless it broke off in a word.
    pub(super) fn idle(&mut self) {
        self.waits_for_word = !self.waits_for_word && self.segmenter.is_in_word();
        if !self.waits_for_word {
            self.flush();
        }
    }

    /// Learns from `length` samples of audio whether the sender sends its pauses.
    fn learn(&mut self, length: u64) {
        let PauseHabit::Unknown(silence) = &mut self.pauses else {
            return;
        };
        *silence = match self.segmenter.is_speaking() {
            true => 0,
            false => *silence + length,
        };
        if *silence >= to_samples(SENT_SILENCE) {
            self.pauses = PauseHabit::Sent;
        }
    }

    /// Takes an audio packet in its order.
    pub(super) fn packet(
        &mut self,
        codec: Codec,
        pt: u8,
        time: u64,
        payload: &[u8],
        arrived: Instant,
    ) {
        let count = codec.sample_count(payload);
        self.look_for_cipher(codec, time, payload, &count, arrived);
        let Some(count) = count.ok().filter(|_| !self.cipher.is_encrypted()) else {
            self.doctor.packet(Examined::without_audio(pt, arrived));
            self.stats.decode_errors += 1;
            let clock = Some(codec.rtp_clock_rate());
            self.unusable(GapReason::DecodeError, time, clock, arrived);
            return;
        };
        self.hear(arrived);
        self.waits_for_word = false;
        let (clock, units) = (codec.rtp_clock_rate(), codec.rtp_ticks(count));
        self.doctor.packet(Examined {
            arrived,
            payload_type: pt,
            payload,
            pace: Some((time, units, clock.hz())),
        });
        let missing = mem::take(&mut self.missing);
        let span = PacketSpan {
            begin: time,
            end: time.saturating_add(units),
            clock,
        };
        let placement = self.timeline.place(span, arrived, missing.count());
        if let Some(pace) = self.timeline.take_pace() {
            self.doctor.clock_rate(arrived, codec, pace);
        }
        if self.holds(arrived) {
            let payload = payload.to_vec();
            let held = HeldAudio {
                codec,
                payload_type: pt,
                payload,
                count,
                placement,
                missing,
            };
            self.keep(held, arrived);
            return;
        }
        self.make_good();
        self.take((codec, pt, payload), count, placement, missing);
    }

    /// Decodes a packet whose place on the timeline is settled, and passes it to the segmenter.
    fn take(
        &mut self,
        (codec, pt, payload): (Codec, u8, &[u8]),
        count: usize,
        placement: PacketPlacement,
        missing: MissingNumbers,
    ) {
        self.pass(placement, missing);
        let rate = codec.sample_rate();
        let alone = alone(rate, count);
        if self.depth == SessionDepth::Ordered {
            let length = self.stretch.take(rate, count as u64);
            self.stats.audio += length;
            self.ledger.audio(length);
            // Nobody will hear words in it.
            self.ledger.silence_until(u64::MAX);
            return;
        }
        if self.on_hold {
            return self.pass_over(pt, payload, alone);
        }
        self.bridge((pt, payload));
        match self.decoder.decode(pt, payload, &mut self.samples) {
            Ok(_) => {
                let length = self.stretch.take(rate, count as u64);
                self.stats.decoded += 1;
                self.stats.audio += length;
                self.ledger.audio(length);
            }
            Err(_) => {
                self.stats.decode_errors += 1;
                self.ledger.gap(GapReason::DecodeError, alone);
                self.fill(GapReason::DecodeError, alone, None);
            }
        }
        self.segment();
        self.learn(alone);
    }

    /// Takes a packet without audio, or whose payload type cannot be decoded, in its order.
    pub(super) fn not_audio(&mut self, payload: PayloadKind, pt: u8, time: u64, arrived: Instant) {
        self.doctor.packet(Examined::without_audio(pt, arrived));
        if matches!(payload, PayloadKind::Unknown(_)) {
            self.stats.unknown_payload += 1;
            self.unusable(GapReason::UnknownPayload, time, None, arrived);
            return;
        }
        self.stats.not_audio += 1;
        self.missing.other += 1;
        if matches!(payload, PayloadKind::ComfortNoise) {
            self.pauses = PauseHabit::NotSent;
        }
    }

    /// Counts a packet without a payload, by which some senders keep the path alive.
    pub(super) fn empty(&mut self) {
        self.doctor.refused();
        self.stats.not_audio += 1;
    }

    /// Prepares for a new numbering of the sender, which begins with the next packet.
    pub(super) fn restart(&mut self) {
        self.settle_hold(true);
        self.doctor.restarted();
        self.timeline.restart();
        self.cipher.restart();
        self.missing = MissingNumbers::default();
        self.shed_ahead = 0;
    }

    /// Books a packet that came after its place had been given up: late instead of lost.
    pub(super) fn came_late(&mut self) {
        self.ledger
            .reclassify(GapReason::NetLoss, GapReason::Late, self.timeline.length());
    }

    /// Ends the leg: no packet will follow.
    pub(super) fn close(&mut self, now: Instant) {
        self.settle_hold(true);
        self.book_rest(now);
        self.flush();
    }

    /// Ends the open utterance: gives out the resampler's tail, since nothing more is waited for.
    fn flush(&mut self) {
        if self.depth == SessionDepth::Ordered {
            return;
        }
        if self.on_hold {
            self.forget_tail();
        }
        self.flush_decoder();
        let mut ended = Vec::new();
        self.segmenter.end(&mut ended);
        self.note(ended);
        // Nothing is open any more. The resampler's tail is booked behind gaps that came after its
        // packet and that the segmenter has not been told of.
        self.ledger.silence_until(u64::MAX);
    }

    /// Account of the leg so far.
    pub(super) fn account(&self) -> AudioAccount {
        let held = self.hold.as_ref().map_or(0, |hold| hold.samples());
        let account = self.ledger.account();
        AudioAccount {
            span: account.span + held,
            pending: account.pending + held,
            ..account
        }
    }

    fn hear(&mut self, arrived: Instant) {
        self.begin(arrived);
        if let Some(heard) = &mut self.heard {
            heard.last = heard.last.max(arrived);
        }
    }

    /// Begins the timeline, if it has not begun.
    fn begin(&mut self, arrived: Instant) {
        if self.heard.is_some() {
            return;
        }
        self.heard = Some(AudioArrival {
            first: arrived,
            last: arrived,
        });
        self.ledger.begin(self.origin());
    }

    fn segment(&mut self) {
        if let Some(heard) = self.heard {
            self.doctor.audio(heard.last, &self.samples);
        }
        let mut ended = Vec::new();
        self.segmenter.push(&self.samples, &mut ended);
        self.samples.clear();
        self.samples.shrink_to(KEPT_SAMPLES);
        self.note(ended);
    }

    /// Books the utterances that have ended and the sounds that are not speech.
    fn note(&mut self, ended: Vec<Utterance>) {
        for span in self.segmenter.take_sounds() {
            let spoken = ended.iter().map(|utterance| utterance.start);
            let spoken = spoken.take_while(|start| *start < span.start).last();
            self.note_sound(span, spoken);
        }
        if let Some(last) = ended.last() {
            self.spoke = last.start;
        }
        for utterance in ended {
            let audio = self.ledger.utterance(utterance.start, utterance.end());
            self.done.push(CutUtterance { utterance, audio });
        }
        self.ledger.silence_until(self.segmenter.undecided());
    }
}

impl LegAudio {
    /// Books a sound behind an utterance that began at `spoken`. The same sound again, with nothing
    /// said in between, is counted as one: a telephone rings every 6 s.
    fn note_sound(&mut self, span: SoundSpan, spoken: Option<u64>) {
        let ms = |position| (self.origin() + position) / SAMPLES_PER_MS;
        let (start_ms, end_ms) = (ms(span.start), ms(span.end));
        let is_near = span.start <= self.sounded + to_samples(SAME_SOUND);
        let is_silent = spoken.unwrap_or(self.spoke) <= self.sounded;
        self.sounded = span.end;
        match self.sounds.sounds.last_mut() {
            Some(last) if last.kind == span.kind && is_near && is_silent => last.end_ms = end_ms,
            _ => self.sounds.push(LegSound {
                kind: span.kind,
                start_ms,
                end_ms,
            }),
        }
    }
}
