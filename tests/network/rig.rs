//! A party that speaks by script, a network in between, a session behind it, and
//! an oracle that knows from the script and the network's log what must come out.
//!
//! Everything is virtual time. What is said is a noise whose every sample tells
//! its place, so a sample in the wrong place cannot go unnoticed.

use std::time::{Duration, Instant};

use asterscribe_call::{AudioAccount, GapReason, Leg, LegStats, TranscriptLine};
use asterscribe_rtp::testkit::netem::{NetemConfig, NetworkEmulator};
use asterscribe_rtp::testkit::{build, origin};
use asterscribe_session::{
    CallSession, LegIndex, LegSnapshot, SessionConfig, SessionInput, SessionOutput,
};
use asterscribe_speech::Recognition;
use asterscribe_speech::segmenter::SegmenterConfig;

/// How long a session waits for a missing packet.
pub(crate) const WAIT: Duration = Duration::from_millis(120);

/// Samples in a millisecond.
pub(crate) const PER_MS: u64 = 16;

/// After a loss the beginning of what came is blended with what was made up.
pub(crate) const BLEND: u64 = 4 * PER_MS;

/// How the samples are put into packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Payload type 118: 16 kHz, nothing is lost or resampled.
    Slin16,
    /// Payload type 0 at 8 kHz: every other sample of the noise.
    Ulaw,
}

/// One packet as sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// Time of sending, after the beginning.
    pub(crate) at: Duration,
    /// Place of the audio on the sender's clock, in 16 kHz samples; empty if there is none.
    pub(crate) begin: u64,
    pub(crate) end: u64,
    /// Reason of the gap in its place if the packet is not decoded.
    pub(crate) reason: Option<GapReason>,
    pub(crate) bytes: Vec<u8>,
}

/// A party that speaks packet after packet.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) ssrc: u32,
    pub(crate) seq: u16,
    /// Offset of every timestamp.
    pub(crate) time: u32,
    pub(crate) format: Format,
    /// Place that the party has reached, in 16 kHz samples.
    pub(crate) position: u64,
    pub(crate) at: Duration,
    pub(crate) marker: bool,
    pub(crate) sent: Vec<Sent>,
}

impl Script {
    /// A script that begins just before sequence number and timestamp wrap.
    pub(crate) fn new(format: Format) -> Self {
        Self {
            ssrc: 7,
            seq: 65_500,
            time: u32::MAX - 16_000,
            format,
            position: 0,
            at: Duration::ZERO,
            marker: false,
            sent: Vec::new(),
        }
    }

    /// Adds `count` packets of `millis` each, sent as they fill.
    pub(crate) fn speak(mut self, count: usize, millis: u64) -> Self {
        for _ in 0..count {
            self.packet(millis * PER_MS);
            self.at += Duration::from_millis(millis);
        }
        self
    }

    /// Adds one packet of so many 16 kHz samples, an even number.
    pub(crate) fn packet(&mut self, samples: u64) {
        let (begin, end) = (self.position, self.position + samples);
        let (payload_type, payload) = match self.format {
            Format::Slin16 => (
                118,
                (begin..end)
                    .flat_map(|at| noise(at).to_be_bytes())
                    .collect(),
            ),
            Format::Ulaw => (
                0,
                (begin..end)
                    .step_by(2)
                    .map(|at| asterscribe_codecs::g711::encode_ulaw(noise(at)))
                    .collect::<Vec<u8>>(),
            ),
        };
        self.raw(payload_type, &payload, (begin, end), None);
        self.position = end;
    }

    /// Adds a packet of any payload at the party's place.
    pub(crate) fn raw(
        &mut self,
        payload_type: u8,
        payload: &[u8],
        (begin, end): (u64, u64),
        reason: Option<GapReason>,
    ) {
        let bytes = build::packet(self.seq)
            .ssrc(self.ssrc)
            .time(self.timestamp(begin))
            .payload_type(payload_type)
            .marker(self.marker)
            .payload(payload)
            .bytes();
        self.seq = self.seq.wrapping_add(1);
        self.marker = false;
        self.sent.push(Sent {
            at: self.at,
            begin,
            end,
            reason,
            bytes,
        });
    }

    fn timestamp(&self, position: u64) -> u32 {
        let ticks = match self.format {
            Format::Slin16 => position,
            Format::Ulaw => position / 2,
        };
        self.time.wrapping_add(ticks as u32)
    }

    /// Adds a pause: nothing is sent, and the timestamps go on, as Asterisk's do.
    pub(crate) fn pause(mut self, millis: u64, marker: bool) -> Self {
        self.position += millis * PER_MS;
        self.at += Duration::from_millis(millis);
        self.marker = marker;
        self
    }
}

/// The sample at a place of the party's speech: moderate, and unlike its neighbours.
pub(crate) fn noise(at: u64) -> i16 {
    let mixed = (at ^ 0x5DEE_CE66).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed >> 48) as i16) / 4
}

/// A datagram's arrival: when, and which of those sent; `None` is a stranger's.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) at: Duration,
    pub(crate) index: Option<usize>,
    pub(crate) bytes: Vec<u8>,
}

/// Each packet is delayed, and none overtakes another.
pub(crate) fn fifo(sent: &[Sent], delay: impl Fn(&Sent) -> Duration) -> Vec<Arrival> {
    let mut latest = Duration::ZERO;
    let arrive = |(index, packet): (usize, &Sent)| {
        latest = latest.max(packet.at + delay(packet));
        Arrival {
            at: latest,
            index: Some(index),
            bytes: packet.bytes.clone(),
        }
    };
    sent.iter().enumerate().map(arrive).collect()
}

/// Arrivals without any delay or loss.
pub(crate) fn perfect(sent: &[Sent]) -> Vec<Arrival> {
    through(sent, NetemConfig::default(), 0)
}

/// Arrivals behind an emulated network.
pub(crate) fn through(sent: &[Sent], config: NetemConfig, seed: u64) -> Vec<Arrival> {
    let mut netem = NetworkEmulator::new(config, seed);
    for packet in sent {
        netem.send(origin() + packet.at, &packet.bytes);
    }
    let end = origin() + Duration::from_secs(1 << 32);
    let mut arrivals = Vec::new();
    while let Some((at, bytes)) = netem.poll(end) {
        let index = netem.log().delivered.last().copied();
        arrivals.push(Arrival {
            at: at.duration_since(origin()),
            index,
            bytes,
        });
    }
    arrivals
}

/// Configuration by which every sample counts as speech, so that all of it comes out.
pub(crate) fn hear_everything() -> SessionConfig {
    SessionConfig {
        segmenter: SegmenterConfig {
            enter_score: 0.0,
            leave_score: 0.0,
            onset_frames: 1,
            min_voice: Duration::ZERO,
            noise_gate: false,
            tell_sounds: false,
            ..SegmenterConfig::default()
        },
        max_jobs: usize::MAX,
        ..SessionConfig::default()
    }
}

/// Output of a session.
#[derive(Debug)]
pub(crate) struct Heard {
    /// The timeline in 16 kHz samples, from the first that came; `None` where
    /// nothing was handed to recognition.
    pub(crate) samples: Vec<Option<i16>>,
    pub(crate) audio: AudioAccount,
    pub(crate) stats: LegStats,
    pub(crate) lines: Vec<TranscriptLine>,
    /// Keys, with how long each was held, milliseconds.
    pub(crate) keys: Vec<(char, u64)>,
    /// Share of the packets lost, and the mean opinion score that goes with it.
    pub(crate) loss: f32,
    pub(crate) mos: f32,
}

/// How often a server looks at its timers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Look {
    /// At every deadline.
    Exactly,
    /// Once in so long.
    Every(Duration),
}

/// Runs a session over the arrivals.
pub(crate) fn hear(arrivals: &[Arrival], config: SessionConfig) -> Heard {
    hear_looking(arrivals, config, Look::Exactly)
}

pub(crate) fn hear_looking(arrivals: &[Arrival], config: SessionConfig, look: Look) -> Heard {
    let mut ear = Ear::new(config);
    for arrival in arrivals {
        let at = origin() + arrival.at;
        ear.pass(at, look);
        let leg = ear.leg;
        ear.input(
            at,
            SessionInput::Datagram {
                leg,
                bytes: &arrival.bytes,
            },
        );
    }
    let end =
        origin() + arrivals.last().map_or(Duration::ZERO, |last| last.at) + Duration::from_secs(3);
    ear.pass(end, look);
    ear.input(end, SessionInput::Hangup);
    ear.finish()
}

struct Ear {
    session: CallSession,
    leg: LegIndex,
    due: Option<Instant>,
    jobs: Vec<Vec<i16>>,
    lines: Vec<TranscriptLine>,
    keys: Vec<(char, u64)>,
    closed: Option<Vec<LegSnapshot>>,
    looked: Instant,
}

impl Ear {
    fn new(config: SessionConfig) -> Self {
        let mut session = CallSession::new(config, origin());
        let leg = session.add_leg(Leg::caller());
        Self {
            session,
            leg,
            due: None,
            jobs: Vec::new(),
            lines: Vec::new(),
            keys: Vec::new(),
            closed: None,
            looked: origin(),
        }
    }

    fn pass(&mut self, until: Instant, look: Look) {
        match look {
            Look::Exactly => {
                while let Some(due) = self.due.filter(|&due| due <= until) {
                    self.input(due, SessionInput::Timer);
                }
            }
            Look::Every(step) => {
                while self.looked + step <= until {
                    self.looked += step;
                    if self.due.is_some_and(|due| due <= self.looked) {
                        self.input(self.looked, SessionInput::Timer);
                    }
                }
            }
        }
    }

    fn input(&mut self, now: Instant, input: SessionInput<'_>) {
        self.session.handle(now, input);
        loop {
            match self.session.poll() {
                SessionOutput::Wait(due) => {
                    self.due = due;
                    return;
                }
                SessionOutput::Transcribe { job, samples, .. } => {
                    self.jobs.push(samples);
                    let result = Ok(Recognition {
                        text: "heard".to_owned(),
                        confidence: 1.0,
                        language: "en".into(),
                        ..Recognition::default()
                    });
                    self.session
                        .handle(now, SessionInput::Recognised { job, result });
                }
                SessionOutput::Line(line) => self.lines.push(line),
                SessionOutput::Digit(key) => self.keys.push((key.digit, key.duration_ms)),
                SessionOutput::Closed(legs) => self.closed = Some(legs),
                _ => {}
            }
        }
    }

    fn finish(self) -> Heard {
        let leg = self
            .closed
            .expect("a session that was hung up closes")
            .remove(0);
        let start = leg.audio.start;
        let mut timeline = vec![None; leg.audio.span as usize];
        assert_eq!(
            self.jobs.len(),
            self.lines.len(),
            "every job was answered with text"
        );
        for (line, samples) in self.lines.iter().zip(self.jobs) {
            let begin = (line.start_ms * PER_MS - start) as usize;
            assert!(
                begin + samples.len() <= timeline.len(),
                "audio beyond the span"
            );
            for (place, sample) in timeline[begin..].iter_mut().zip(samples) {
                assert!(place.is_none(), "a moment was handed out twice");
                *place = Some(sample);
            }
        }
        let quality = leg.quality.expect("there was audio");
        Heard {
            loss: quality.loss,
            mos: quality.mos,
            samples: timeline,
            audio: leg.audio,
            stats: leg.stats,
            lines: self.lines,
            keys: self.keys,
        }
    }
}
