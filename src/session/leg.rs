//! One party's media: datagrams → ordered packets → samples → utterances.

use std::mem;
use std::time::{Duration, Instant};

use asterscribe_codecs::{AudioDecoder, Codec, Payload};
use asterscribe_rtp::{Placed, Receiver, ReceiverConfig, Released, ReorderConfig, Verdict};

use super::SessionConfig;
use super::timeline::{Placement, Timeline, to_samples};
use crate::call::{Leg, LegStats};
use crate::speech::segmenter::Segmenter;
use crate::speech::{SAMPLE_RATE, SAMPLES_PER_MS, Utterance};

/// Breaks up to this long are filled with silence, so that a word with a lost
/// packet in it stays one word; longer ones end the utterance.
const MAX_FILL: Duration = Duration::from_millis(400);

/// Room for samples that a leg keeps between packets, 20 ms: a filled break
/// needs twenty times that, but only once in a while.
const KEPT_SAMPLES: usize = 320;

/// The media of one leg.
#[derive(Debug)]
pub(super) struct LegMedia {
    leg: Leg,
    receiver: Receiver,
    audio: Audio,
    idle_flush: Duration,
    opened: Instant,
    /// The latest time this leg was told.
    now: Instant,
}

/// What lies behind the receiver; apart from it, since a released packet borrows from the receiver.
#[derive(Debug)]
struct Audio {
    timeline: Timeline,
    decoder: AudioDecoder,
    segmenter: Segmenter,
    samples: Vec<f32>,
    done: Vec<Utterance>,
    /// Packets given up since the last one that came.
    missing: u64,
    heard: Option<Heard>,
    /// Whether the decoder may hold samples back.
    has_tail: bool,
    stats: AudioStats,
}

/// Arrival of packets that held audio. Signalling does not count: it neither
/// begins the timeline nor keeps a sentence open.
#[derive(Debug, Clone, Copy)]
struct Heard {
    /// Here is the timeline's sample 0.
    first: Instant,
    last: Instant,
}

#[derive(Debug, Default)]
struct AudioStats {
    decoded: u64,
    not_audio: u64,
    unknown_payload: u64,
    decode_errors: u64,
    audio: u64,
    lost: u64,
    silent: u64,
    speech: u64,
    utterances: u64,
    unrecognised: u64,
}

impl LegMedia {
    pub(super) fn new(leg: Leg, config: &SessionConfig, opened: Instant) -> Self {
        let reorder = ReorderConfig {
            wait: config.reorder_wait,
            ..ReorderConfig::default()
        };
        let receiver = Receiver::new(ReceiverConfig {
            reorder,
            ..ReceiverConfig::default()
        });
        Self {
            leg,
            receiver,
            audio: Audio {
                timeline: Timeline::default(),
                decoder: AudioDecoder::new(),
                segmenter: Segmenter::new(&config.segmenter),
                samples: Vec::new(),
                done: Vec::new(),
                missing: 0,
                heard: None,
                has_tail: false,
                stats: AudioStats::default(),
            },
            idle_flush: config.idle_flush,
            opened,
            now: opened,
        }
    }

    pub(super) fn leg(&self) -> &Leg {
        &self.leg
    }

    pub(super) fn receive(&mut self, arrived: Instant, datagram: &[u8]) {
        let now = self.advance(arrived);
        // What was refused is counted by the receiver and changes nothing here.
        if let Verdict::InOrder(packet) = self.receiver.receive(now, datagram) {
            self.audio.released(packet);
        }
        self.drain(now);
    }

    /// When to call [`Self::on_timer`]: a gap's wait is over, or the party has fallen silent.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.receiver.deadline();
        waiting.into_iter().chain(self.falls_idle()).min()
    }

    pub(super) fn on_timer(&mut self, now: Instant) {
        let now = self.advance(now);
        self.drain(now);
        if self.falls_idle().is_some_and(|due| due <= now) {
            self.audio.flush();
        }
    }

    /// No packet will follow: gives up waiting and ends the open utterance.
    pub(super) fn close(&mut self, now: Instant) {
        let now = self.advance(now);
        self.receiver.close();
        self.drain(now);
        self.audio.flush();
    }

    pub(super) fn take_utterances(&mut self) -> Vec<Utterance> {
        mem::take(&mut self.audio.done)
    }

    /// Start and end of an utterance on the call's clock, milliseconds.
    pub(super) fn call_times(&self, utterance: &Utterance) -> (u64, u64) {
        let first = self.audio.heard.map_or(self.opened, |heard| heard.first);
        let origin = first.saturating_duration_since(self.opened).as_millis();
        // Not reached: 2⁶⁴ ms are 585 million years.
        let origin = u64::try_from(origin).unwrap_or(u64::MAX / 2);
        (
            origin + utterance.start / SAMPLES_PER_MS,
            origin + utterance.end() / SAMPLES_PER_MS,
        )
    }

    /// Speech was handed to recognition, in 16 kHz samples.
    pub(super) fn count_speech(&mut self, samples: u64) {
        self.audio.stats.speech += samples;
    }

    pub(super) fn count_settled(&mut self, recognised: bool, utterances: u64) {
        let stats = &mut self.audio.stats;
        *if recognised {
            &mut stats.utterances
        } else {
            &mut stats.unrecognised
        } += utterances;
    }

    pub(super) fn stats(&self) -> LegStats {
        let (rtp, audio) = (self.receiver.stats(), &self.audio.stats);
        LegStats {
            received: rtp.received,
            decoded: audio.decoded,
            lost: rtp.lost,
            late: rtp.late + rtp.too_old,
            duplicate: rtp.duplicate,
            reordered: rtp.reordered,
            overflow: rtp.overflow,
            malformed: rtp.malformed.total(),
            rtcp: rtp.rtcp,
            not_rtp: rtp.other.total(),
            sequence_jump: rtp.sequence_jump,
            overload_shed: rtp.over_rate,
            foreign_ssrc: rtp.foreign_ssrc,
            restarts: rtp.restarts,
            not_audio: audio.not_audio,
            unknown_payload: audio.unknown_payload,
            decode_errors: audio.decode_errors,
            audio_ms: audio.audio / SAMPLES_PER_MS,
            lost_ms: audio.lost / SAMPLES_PER_MS,
            silent_ms: audio.silent / SAMPLES_PER_MS,
            speech_ms: audio.speech / SAMPLES_PER_MS,
            utterances: audio.utterances,
            unrecognised: audio.unrecognised,
        }
    }

    /// The leg's own clock, which never runs back: packets that waited for the
    /// leg to be named may come with an arrival before what it has seen.
    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// When the open sentence ends unless audio comes.
    fn falls_idle(&self) -> Option<Instant> {
        let heard = self.audio.heard.filter(|_| self.audio.is_open())?;
        Some(heard.last + self.idle_flush)
    }

    fn drain(&mut self, now: Instant) {
        while let Some(released) = self.receiver.poll(now) {
            match released {
                Released::Packet(packet) => self.audio.released(packet),
                Released::Lost { count, .. } => self.audio.missing += count,
                Released::Restart { .. } => self.audio.timeline.restart(),
            }
        }
    }
}

impl Audio {
    /// Whether there is anything that [`Self::flush`] would give out.
    fn is_open(&self) -> bool {
        self.has_tail || self.segmenter.is_speaking()
    }

    fn released(&mut self, packet: Placed<'_>) {
        let Placed {
            time,
            payload_type,
            payload,
            arrived,
            ..
        } = packet;
        match Payload::classify(payload_type.get()) {
            Payload::Audio(codec) => {
                self.packet(codec, payload_type.get(), time.0, payload, arrived);
            }
            Payload::ComfortNoise | Payload::TelephoneEvent | Payload::CiscoDtmf => {
                self.stats.not_audio += 1;
            }
            Payload::Unknown(_) => self.stats.unknown_payload += 1,
        }
    }

    fn packet(&mut self, codec: Codec, pt: u8, time: u64, payload: &[u8], arrived: Instant) {
        let Ok(count) = codec.sample_count(payload) else {
            self.stats.decode_errors += 1;
            return;
        };
        let (clock, units) = (codec.rtp_clock_rate(), codec.rtp_ticks(count));
        let length = count as u64 * u64::from(SAMPLE_RATE) / u64::from(codec.sample_rate().hz());
        let heard = self.heard.get_or_insert(Heard {
            first: arrived,
            last: arrived,
        });
        heard.last = heard.last.max(arrived);
        // A packet holds as much as its neighbours, as a rule: what is missing beyond that was silence.
        let missing = mem::take(&mut self.missing) * length;
        match self.timeline.place(time, time + units, clock, arrived) {
            Placement::Contiguous => {}
            Placement::After(samples) | Placement::Discontinuity(samples) => {
                self.pass(samples, missing)
            }
        }
        match self.decoder.decode(pt, payload, &mut self.samples) {
            Ok(_) => {
                self.stats.decoded += 1;
                self.stats.audio += length;
                self.has_tail = true;
            }
            Err(_) => self.stats.decode_errors += 1,
        }
        self.segment();
    }

    /// Lets `samples` of the timeline pass without audio, `missing` of them for lost packets.
    fn pass(&mut self, samples: u64, missing: u64) {
        let lost = samples.min(missing);
        self.stats.lost += lost;
        self.stats.silent += samples - lost;
        if samples <= to_samples(MAX_FILL) {
            self.decoder.silence(samples as usize, &mut self.samples);
            self.segment();
        } else {
            self.has_tail = false;
            self.decoder.flush(&mut self.samples);
            self.segment();
            self.segmenter.gap(samples, &mut self.done);
        }
    }

    /// The party has stopped: gives out the resampler's tail and the open utterance.
    fn flush(&mut self) {
        self.has_tail = false;
        self.decoder.flush(&mut self.samples);
        self.segment();
        self.segmenter.end(&mut self.done);
    }

    fn segment(&mut self) {
        self.segmenter.push(&self.samples, &mut self.done);
        self.samples.clear();
        self.samples.shrink_to(KEPT_SAMPLES);
    }
}
