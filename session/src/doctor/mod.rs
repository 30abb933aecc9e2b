//! Media doctor: finds what is wrong with a leg's media, with the evidence and the likely remedy.
//! `docs/doctor.md` has the table.
//!
//! It takes every packet and all audio of one leg, examines a fifth of them, and allocates only
//! while something is suspicious. It decides nothing: whatever it finds, the audio is processed as
//! always. Findings of the timeline and of the detection of encryption are reported through it.

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

use asterscribe_call::{CallEvent, FindingKind, MediaFinding, MediaQuality};
use asterscribe_codecs::{Codec, MediaFormat};

use self::analyser::AudioAnalyser;
use self::arrival::ArrivalProbe;
use self::findings::FindingsLog;
use self::format::FormatProbe;
use self::timing::{TimedPacket, TimingProbe};
use crate::sum;
use crate::timeline::ClockPace as Rate;

/// The media that a leg's source was announced to send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpectedMedia {
    /// Format that was asked for.
    pub format: Option<MediaFormat>,
    /// When packets are to be expected.
    pub arrival: ArrivalExpectation,
}

/// Expectation of when packets come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ArrivalExpectation {
    /// No expectation, as for a flow in a capture.
    #[default]
    Unknown,
    /// From the beginning, with pauses where the sender is silent.
    WithPauses,
    /// Without pauses, as from a snoop channel.
    Continuous,
}

/// A packet of the leg's stream, as the doctor examines it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExaminedPacket<'a> {
    /// Arrival of the packet.
    pub(super) arrived: Instant,
    /// RTP payload type.
    pub(super) payload_type: u8,
    /// Payload, if it is audio.
    pub(super) payload: &'a [u8],
    /// Of audio: extended RTP timestamp, length of the audio in ticks, and ticks per second.
    pub(super) pace: Option<(u64, u64, u32)>,
}

impl ExaminedPacket<'_> {
    /// A packet without audio.
    pub(super) const fn without_audio(payload_type: u8, arrived: Instant) -> Self {
        Self {
            arrived,
            payload_type,
            payload: &[],
            pace: None,
        }
    }
}

/// Watch over one leg's media.
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
    /// A doctor for a leg of a call that was opened at `opened`, which expects nothing yet.
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

    /// Sets the expectation: the leg's source has been named, or named anew.
    pub(super) fn expect(&mut self, now: Instant, expected: ExpectedMedia) {
        let at = self.advance(now);
        self.arrivals.expect(at, expected);
        self.format.expect(expected.format);
        self.timing.restart();
    }

    /// Takes a packet, in the order of the stream.
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

    /// Reports the pace of the clock behind the timestamps, as the timeline found it.
    pub(super) fn clock_rate(&mut self, now: Instant, codec: Codec, rate: Rate) {
        let at = self.advance(now);
        format::clock_rate(at, codec, rate, &mut self.chart);
    }

    /// Reports that the payloads are encrypted, with the evidence.
    pub(super) fn encrypted(&mut self, now: Instant, evidence: String) {
        let at = self.advance(now);
        format::encrypted(at, evidence, &mut self.chart);
    }

    /// Reports that the payloads are not encrypted, or not any more.
    pub(super) fn plain(&mut self, now: Instant) {
        let at = self.advance(now);
        self.chart.end(FindingKind::Encrypted, at);
    }

    /// Starts over with a new numbering of the stream.
    pub(super) fn restarted(&mut self) {
        self.timing.restart();
    }

    /// Counts a datagram from the leg's source that is not a packet of its stream.
    pub(super) fn refused(&mut self) {
        self.arrivals.refused();
    }

    /// Takes audio of the leg, 16 kHz, full scale 1.
    pub(super) fn audio(&mut self, now: Instant, samples: &[f32]) {
        let at = self.advance(now);
        let is_garbled = self.format.is_garbled();
        self.ear.hear(at, samples, is_garbled, &mut self.chart);
    }

    /// Milliseconds of speech of this leg since the last call.
    pub(super) fn take_spoken_ms(&mut self) -> u32 {
        self.ear.take_spoken_ms()
    }

    /// Notes that another leg of the call has spoken for `ms` milliseconds.
    pub(super) fn other_leg_spoke(&mut self, now: Instant, ms: u32) {
        let at = self.advance(now);
        self.ear.other_spoke(at, ms, &mut self.chart);
    }

    /// Whether no packet has come since the leg's source was named.
    pub(super) fn is_unheard(&self) -> bool {
        self.arrivals.is_unheard()
    }

    /// Reports RTP from a source that was not named: `packets` within half a second.
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

    /// Reports that the kernel dropped `count` datagrams of the socket that the leg shares.
    pub(super) fn kernel_drops(&mut self, now: Instant, count: u64) {
        let at = self.advance(now);
        self.arrivals.kernel_drops(at, count, &mut self.chart);
    }

    /// Takes the quality of reception, about once a second.
    pub(super) fn quality(&mut self, now: Instant, quality: &MediaQuality) {
        let at = self.advance(now);
        self.timing
            .drift(at, quality.clock_drift_ppm, &mut self.chart);
    }

    /// Time to call [`Self::tick`] at, if nothing else comes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let arrivals = self.arrivals.deadline(&self.chart);
        let due = arrivals.into_iter().chain(self.ear.deadline()).min()?;
        Some(self.opened + due)
    }

    /// Ends or begins findings that depend on time alone.
    pub(super) fn tick(&mut self, now: Instant) {
        let at = self.advance(now);
        self.arrivals.tick(at, &mut self.chart);
        self.ear.tick(at, &mut self.chart);
    }

    /// Ends the call, and with it every lasting finding.
    pub(super) fn close(&mut self, now: Instant) {
        self.advance(now);
        self.chart.close();
    }

    /// All findings, past and present, in the order in which they began.
    pub(super) fn findings(&self) -> &[MediaFinding] {
        self.chart.findings()
    }

    /// Findings that have begun or ended since the last call.
    pub(super) fn take_news(&mut self) -> Vec<CallEvent> {
        self.chart.take_news()
    }

    fn advance(&mut self, now: Instant) -> Duration {
        self.chart
            .advance(now.saturating_duration_since(self.opened))
    }
}
