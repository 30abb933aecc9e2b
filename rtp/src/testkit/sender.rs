//! A sender of one leg's RTP that keeps an exact log of what each packet carries.
//!
//! A script: each call appends packets and moves the sender's clock on. In the
//! end [`TestSender::finish`] gives the datagrams with the times at which they were
//! sent, and the log, one entry per datagram and in the same order. Handed to
//! [`NetworkEmulator::send`](crate::testkit::netem::NetworkEmulator::send) in that order, a
//! datagram's index in the network's log is its index here:
//!
//! ```
//! use std::time::Duration;
//! use asterscribe_rtp::testkit::netem::{NetemConfig, NetworkEmulator};
//! use asterscribe_rtp::testkit::{origin, sender::{DatagramContent, SenderConfig, TestSender}};
//!
//! // The payload of samples first..end of the leg, however a codec makes it.
//! let payload = |samples: std::ops::Range<u64>, _payload_type: u8| vec![0x7F; samples.count()];
//! let mut sender = TestSender::new(SenderConfig::default(), origin(), payload);
//! sender.talk(50);
//! sender.pause(Duration::from_secs(2), true);
//! sender.press(5, Duration::from_millis(120));
//! sender.talk(50);
//! let script = sender.finish();
//! let mut network = NetworkEmulator::new(NetemConfig::default(), 1);
//! for (at, datagram) in &script.datagrams {
//!     network.send(*at, datagram);
//! }
//! assert_eq!(script.log[49].carries, DatagramContent::Audio(49 * 160..50 * 160));
//! assert_eq!(script.keys[0].start, 50 * 160 + 2 * 8_000);
//! ```
//!
//! Samples are numbered from 0 at the leg's first, at its sample rate, and go on
//! through pauses and keys: they are moments of the sender's clock, and what is
//! sent of them is what the log says. Timestamps follow them, until the script
//! says otherwise.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::testkit::build;

/// Settings of a leg's sender.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SenderConfig {
    /// SSRC.
    pub ssrc: u32,
    /// First sequence number; the default is 200 before its wrap.
    pub seq: u16,
    /// First timestamp; the default is four seconds of 8 kHz before its wrap.
    pub time: u32,
    /// Format of the audio packets.
    pub format: AudioFormat,
    /// How much faster than true the sender's clock runs, in parts per million.
    pub drift_ppm: f64,
    /// Payload type of keys.
    pub event_type: u8,
}

/// The format of a packet of audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioFormat {
    /// Payload type.
    pub payload_type: u8,
    /// Ticks of the timestamps per second.
    pub clock: u32,
    /// Samples per second.
    pub sample_rate: u32,
    /// Samples in a packet.
    pub samples: u64,
}

impl AudioFormat {
    /// PCMU, 20 ms.
    pub const ULAW: Self = Self {
        payload_type: 0,
        clock: 8_000,
        sample_rate: 8_000,
        samples: 160,
    };
    /// G.722, 20 ms: 16,000 samples per second, 8,000 ticks.
    pub const G722: Self = Self {
        payload_type: 9,
        clock: 8_000,
        sample_rate: 16_000,
        samples: 320,
    };
    /// Linear audio of 16 kHz as Asterisk numbers it, 20 ms.
    pub const SLIN16: Self = Self {
        payload_type: 118,
        clock: 16_000,
        sample_rate: 16_000,
        samples: 320,
    };
    /// Opus decoded to 16 kHz, 20 ms.
    pub const OPUS: Self = Self {
        payload_type: 107,
        clock: 48_000,
        sample_rate: 16_000,
        samples: 320,
    };
}

impl Default for SenderConfig {
    /// PCMU in packets of 20 ms, both numberings about to wrap.
    fn default() -> Self {
        Self {
            ssrc: 0x0A57_E215,
            seq: 65_336,
            time: u32::MAX - 32_000,
            format: AudioFormat::ULAW,
            drift_ppm: 0.0,
            event_type: 101,
        }
    }
}

/// A datagram that was sent, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentDatagram {
    /// Time of sending.
    pub at: Instant,
    /// SSRC.
    pub ssrc: u32,
    /// Sequence number.
    pub seq: u16,
    /// RTP timestamp.
    pub time: u32,
    /// RTP payload type.
    pub payload_type: u8,
    /// Marker bit.
    pub marker: bool,
    /// Content: audio, a key or something else.
    pub carries: DatagramContent,
}

/// The content of a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatagramContent {
    /// Audio: these samples of the leg.
    Audio(Range<u64>),
    /// A packet of the key with this index in [`SenderScript::keys`].
    Key(usize),
    /// Something that is neither audio nor a key of this leg.
    Other,
}

/// A key that was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PressedKey {
    /// Event code (RFC 4733 section 3.2): 0 to 9, 10 for `*`, 11 for `#`, 12 to 15 for A to D.
    pub code: u8,
    /// Where it begins, in samples of the leg.
    pub start: u64,
    /// How long it lasts.
    pub duration: Duration,
}

/// All that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderScript {
    /// Datagrams in the order of sending.
    pub datagrams: Vec<(Instant, Vec<u8>)>,
    /// Description of each datagram, in the same order.
    pub log: Vec<SentDatagram>,
    /// Every key that was pressed.
    pub keys: Vec<PressedKey>,
    /// End of the leg, in samples.
    pub end: u64,
}

/// The sender. See the module for what it does.
#[derive(Debug)]
pub struct TestSender<P> {
    config: SenderConfig,
    payload: P,
    now: Instant,
    seq: u16,
    /// Timestamp of sample `position`.
    time: u32,
    position: u64,
    stuck: bool,
    marker: bool,
    script: SenderScript,
}

impl<P: FnMut(Range<u64>, u8) -> Vec<u8>> TestSender<P> {
    /// A sender whose first packet is sent at `now`. `payload` gives the bytes of
    /// a range of samples in the format of a payload type.
    pub fn new(config: SenderConfig, now: Instant, payload: P) -> Self {
        Self {
            payload,
            now,
            seq: config.seq,
            time: config.time,
            position: 0,
            stuck: false,
            marker: false,
            script: SenderScript {
                datagrams: Vec::new(),
                log: Vec::new(),
                keys: Vec::new(),
                end: 0,
            },
            config,
        }
    }

    /// Sends `packets` packets of audio.
    pub fn talk(&mut self, packets: usize) {
        for _ in 0..packets {
            self.packet(self.config.format.samples);
        }
    }

    /// One packet of this many samples, whatever the format says.
    pub fn packet(&mut self, samples: u64) {
        let end = self.position + samples;
        let payload_type = self.config.format.payload_type;
        let bytes = (self.payload)(self.position..end, payload_type);
        self.emit(
            payload_type,
            &bytes,
            DatagramContent::Audio(self.position..end),
        );
        self.pass(samples);
    }

    /// Nothing is sent for so long, rounded down to whole samples: silence
    /// suppression. Timestamps go on; the next packet has the marker, or has not.
    pub fn pause(&mut self, duration: Duration, marker: bool) {
        self.pass(self.samples_in(duration));
        self.marker = marker;
    }

    /// Presses a key for so long (RFC 4733): news of it every packet time in the
    /// place of audio, then three copies of its end. Longer than 65,535 ticks it
    /// goes on in further segments (section 2.5.1.3).
    pub fn press(&mut self, code: u8, duration: Duration) {
        let (start, first_time) = (self.position, self.time);
        let key = self.script.keys.len();
        self.script.keys.push(PressedKey {
            code,
            start,
            duration,
        });
        let whole = self.ticks_in(self.samples_in(duration));
        let mut told = 0;
        self.marker = true;
        while told < whole {
            told = whole.min(told + self.ticks_in(self.config.format.samples));
            let next_time = self.time;
            self.event(key, code, told, whole, first_time);
            self.time = next_time;
            let rest = self.samples_in(duration) - (self.position - start);
            self.pass(self.config.format.samples.min(rest));
        }
    }

    /// The timestamps leap by so many ticks, ahead or back, and no time passes.
    pub fn jump_time(&mut self, ticks: i64) {
        self.time = self.time.wrapping_add(ticks as u32);
    }

    /// From here on all timestamps are the same, or go on from where they are.
    pub fn stick_time(&mut self, stuck: bool) {
        self.stuck = stuck;
    }

    /// So many sequence numbers are left out; nothing is missing.
    pub fn jump_seq(&mut self, numbers: u16) {
        self.seq = self.seq.wrapping_add(numbers);
    }

    /// Goes on as another source with numberings of its own.
    pub fn change_source(&mut self, ssrc: u32, seq: u16, time: u32) {
        self.config.ssrc = ssrc;
        (self.seq, self.time) = (seq, time);
    }

    /// Goes on in another format, or with another packet time. The position is
    /// converted to the format's sample rate, rounded down.
    pub fn change_format(&mut self, format: AudioFormat) {
        let (old, new) = (self.config.format.sample_rate, format.sample_rate);
        let position = u128::from(self.position) * u128::from(new) / u128::from(old);
        self.position = u64::try_from(position).unwrap_or(u64::MAX);
        self.config.format = format;
    }

    /// So many packets of audio, sent so many times as fast as they should be.
    pub fn flood(&mut self, packets: usize, times: u32) {
        for _ in 0..packets {
            let sent = self.now;
            self.talk(1);
            self.now = sent + (self.now - sent) / times.max(1);
        }
    }

    /// A packet of another payload type in sequence, in the place of nothing:
    /// comfort noise, or what nobody knows.
    pub fn other(&mut self, payload_type: u8, payload: &[u8]) {
        self.emit(payload_type, payload, DatagramContent::Other);
    }

    /// A datagram that is no RTP of this leg.
    pub fn raw(&mut self, datagram: &[u8]) {
        self.note(
            datagram.to_vec(),
            self.config.event_type,
            DatagramContent::Other,
        );
    }

    /// The sender's time: when the next packet is sent.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Number of the next sample.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// All that was sent.
    pub fn finish(mut self) -> SenderScript {
        self.script.end = self.position;
        self.script
    }

    /// Sends a packet of a key of which `told` of `whole` ticks are over; the last one three times
    /// (RFC 4733 section 2.5.1.4).
    fn event(&mut self, key: usize, code: u8, told: u64, whole: u64, first_time: u32) {
        const SEGMENT: u64 = 0xFFFF;
        let segment = (told - 1) / SEGMENT;
        let ticks = (told - segment * SEGMENT) as u16;
        let [high, low] = ticks.to_be_bytes();
        let is_end = told == whole;
        let payload = [code, u8::from(is_end) << 7 | 10, high, low];
        self.time = first_time.wrapping_add((segment * SEGMENT) as u32);
        for _ in 0..if is_end { 3 } else { 1 } {
            self.emit(self.config.event_type, &payload, DatagramContent::Key(key));
        }
    }

    fn emit(&mut self, payload_type: u8, payload: &[u8], carries: DatagramContent) {
        let datagram = build::packet(self.seq)
            .ssrc(self.config.ssrc)
            .time(self.time)
            .payload_type(payload_type)
            .marker(self.marker)
            .payload(payload)
            .bytes();
        self.note(datagram, payload_type, carries);
        self.marker = false;
        self.seq = self.seq.wrapping_add(1);
    }

    fn note(&mut self, datagram: Vec<u8>, payload_type: u8, carries: DatagramContent) {
        self.script.datagrams.push((self.now, datagram));
        self.script.log.push(SentDatagram {
            at: self.now,
            ssrc: self.config.ssrc,
            seq: self.seq,
            time: self.time,
            payload_type,
            marker: self.marker,
            carries,
        });
    }

    /// Moves the position and the clock on by so many samples.
    fn pass(&mut self, samples: u64) {
        let ticks = self.ticks_in(samples);
        self.position += samples;
        if !self.stuck {
            self.time = self.time.wrapping_add(ticks as u32);
        }
        let true_time = samples as f64 / f64::from(self.config.format.sample_rate);
        let speed = 1.0 + self.config.drift_ppm * 1e-6;
        self.now += Duration::from_secs_f64(true_time / speed);
    }

    fn samples_in(&self, duration: Duration) -> u64 {
        let rate = u128::from(self.config.format.sample_rate);
        let samples = duration.as_nanos() * rate / 1_000_000_000;
        u64::try_from(samples).unwrap_or(u64::MAX)
    }

    fn ticks_in(&self, samples: u64) -> u64 {
        let format = self.config.format;
        samples * u64::from(format.clock) / u64::from(format.sample_rate)
    }
}

#[cfg(test)]
mod tests;
