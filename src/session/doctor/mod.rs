//! The media doctor: what is wrong with a leg's media, by what evidence, and
//! what is likely to mend it. `docs/doctor.md` has the table.
//!
//! It is told of every packet and all audio of one leg, looks at a fifth of
//! them, and allocates only while something is suspicious. It decides nothing:
//! whatever it finds, the audio takes its way. What the timeline and the
//! watch for ciphers find is told to it, and told on by it.

mod analyser;
mod arrival;
mod findings;
mod format;
mod level;
mod music;
mod predictor;
mod spectrum;
#[cfg(test)]
mod tests;
mod timing;
mod tone;
mod tuner;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use asterscribe_codecs::{Codec, MediaFormat};

use self::analyser::AudioAnalyser;
use self::arrival::ArrivalProbe;
use self::findings::FindingsLog;
use self::format::FormatProbe;
use self::timing::{TimedPacket, TimingProbe};
use crate::call::{CallEvent, FindingKind, MediaFinding, MediaQuality};
use crate::session::sum;
use crate::session::timeline::ClockPace as Rate;

/// The media that a leg's source was announced to send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpectedMedia {
    /// The format that was asked for.
    pub format: Option<MediaFormat>,
    /// When packets may be counted on.
    pub arrival: ArrivalExpectation,
}

/// When packets may be counted on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ArrivalExpectation {
    /// Nothing was said, as of a flow in a capture.
    #[default]
    Unknown,
    /// From the beginning, with pauses where the sender is silent.
    WithPauses,
    /// Always, as those of a snoop channel.
    Continuous,
}

/// A packet of the leg's stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExaminedPacket<'a> {
    /// When it arrived.
    pub(super) arrived: Instant,
    /// Its payload type.
    pub(super) payload_type: u8,
    /// Its payload, where it is audio.
    pub(super) payload: &'a [u8],
    /// Of audio: its extended RTP timestamp, what it advances that by, and ticks per second.
    pub(super) pace: Option<(u64, u64, u32)>,
}

impl ExaminedPacket<'_> {
    /// One that holds no audio.
    pub(super) const fn without_audio(payload_type: u8, arrived: Instant) -> Self {
        Self {
            arrived,
            payload_type,
            payload: &[],
            pace: None,
        }
    }
}

/// Watches one leg.
#[derive(Debug)]
pub(super) struct MediaDoctor {
    opened: Instant,
    chart: FindingsLog,
    arrivals: ArrivalProbe,
    format: FormatProbe,
    timing: TimingProbe,
    ear: AudioAnalyser,
}

impl MediaDoctor {
    /// For a leg of a call that was opened at `opened`, of which nothing is expected yet.
    pub(super) fn new(opened: Instant) -> Self {
        Self {
            opened,
            chart: FindingsLog::default(),
            arrivals: ArrivalProbe::new(Duration::ZERO, ExpectedMedia::default()),
            format: FormatProbe::default(),
            timing: TimingProbe::default(),
            ear: AudioAnalyser::new(),
        }
    }

    /// See [`super::CallSession::glance`].
    pub(super) fn glance(&self) -> u64 {
        sum([
            self.chart.glance(),
            self.arrivals.glance(),
            self.format.glance(),
            self.timing.glance(),
            self.ear.glance(),
        ])
    }

    /// The leg's source has been named, or named anew.
    pub(super) fn expect(&mut self, now: Instant, expected: ExpectedMedia) {
        let at = self.advance(now);
        self.arrivals.expect(at, expected);
        self.format.expect(expected.format);
        self.timing.restart();
    }

    /// A packet, in the order of the stream.
    pub(super) fn packet(&mut self, heard: ExaminedPacket<'_>) {
        let arrived = heard.arrived.saturating_duration_since(self.opened);
        let at = self.chart.advance(arrived);
        self.arrivals.packet(at, &mut self.chart);
        self.format
            .packet(at, heard.payload_type, heard.payload, &mut self.chart);
        if let Some((time, ticks, hertz)) = heard.pace {
            let pace = TimedPacket {
                at: arrived,
                time,
                ticks,
                hertz,
            };
            self.timing.packet(pace, &mut self.chart);
        }
    }

    /// What the timeline has found of the clock of the timestamps.
    pub(super) fn clock_rate(&mut self, now: Instant, codec: Codec, rate: Rate) {
        let at = self.advance(now);
        format::clock_rate(at, codec, rate, &mut self.chart);
    }

    /// The payloads are encrypted, by this evidence.
    pub(super) fn encrypted(&mut self, now: Instant, evidence: String) {
        let at = self.advance(now);
        format::encrypted(at, evidence, &mut self.chart);
    }

    /// They are not, or not any more.
    pub(super) fn plain(&mut self, now: Instant) {
        let at = self.advance(now);
        self.chart.end(FindingKind::Encrypted, at);
    }

    /// The numbering of the stream begins anew.
    pub(super) fn restarted(&mut self) {
        self.timing.restart();
    }

    /// A datagram came from the leg's source that is no packet of its stream.
    pub(super) fn refused(&mut self) {
        self.arrivals.refused();
    }

    /// Audio of the leg, 16 kHz, full scale 1.
    pub(super) fn audio(&mut self, now: Instant, samples: &[f32]) {
        let at = self.advance(now);
        let is_garbled = self.format.is_garbled();
        self.ear.hear(at, samples, is_garbled, &mut self.chart);
    }

    /// Speech of this leg since this was last asked, milliseconds.
    pub(super) fn take_spoken_ms(&mut self) -> u32 {
        self.ear.take_spoken_ms()
    }

    /// Another leg of the call has spoken for that long.
    pub(super) fn other_leg_spoke(&mut self, now: Instant, ms: u32) {
        let at = self.advance(now);
        self.ear.other_spoke(at, ms, &mut self.chart);
    }

    /// Whether no packet has come since the leg's source was named.
    pub(super) fn is_unheard(&self) -> bool {
        self.arrivals.is_unheard()
    }

    /// Somebody nobody named sends RTP: that many packets within half a second.
    pub(super) fn elsewhere(
        &mut self,
        now: Instant,
        from: SocketAddr,
        named: SocketAddr,
        packets: u64,
    ) {
        let at = self.advance(now);
        self.arrivals
            .elsewhere(at, from, named, packets, &mut self.chart);
    }

    /// The kernel dropped that many datagrams of the socket that the leg shares.
    pub(super) fn kernel_drops(&mut self, now: Instant, count: u64) {
        let at = self.advance(now);
        self.arrivals.kernel_drops(at, count, &mut self.chart);
    }

    /// How well packets arrive, told about once a second.
    pub(super) fn quality(&mut self, now: Instant, quality: &MediaQuality) {
        let at = self.advance(now);
        self.timing
            .drift(at, quality.clock_drift_ppm, &mut self.chart);
    }

    /// When to call [`Self::tick`], if nothing else comes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let arrivals = self.arrivals.deadline(&self.chart);
        let due = arrivals.into_iter().chain(self.ear.deadline()).min()?;
        Some(self.opened + due)
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        let at = self.advance(now);
        self.arrivals.tick(at, &mut self.chart);
        self.ear.tick(at, &mut self.chart);
    }

    /// The call is over, and with it whatever lasts.
    pub(super) fn close(&mut self, now: Instant) {
        self.advance(now);
        self.chart.close();
    }

    /// What is and was wrong, in the order in which it was found.
    pub(super) fn findings(&self) -> &[MediaFinding] {
        self.chart.findings()
    }

    /// What has begun or ended since this was last asked.
    pub(super) fn take_news(&mut self) -> Vec<CallEvent> {
        self.chart.take_news()
    }

    fn advance(&mut self, now: Instant) -> Duration {
        self.chart
            .advance(now.saturating_duration_since(self.opened))
    }
}
