//! How much faster than ours the sender's clock runs.
//!
//! Timestamps against arrival, where the network was quickest: of every ten
//! seconds the packet that spent least on the way. Those minima lie on a line
//! whose slope is the drift; its estimate is the median of the slopes between
//! them (Theil and Sen), which a change of route does not upset.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::ids::{ClockRate, ExtRtpTime};

/// Of each such span the quickest packet counts.
const WINDOW: Duration = Duration::from_secs(10);
/// Spans remembered.
const MAX_WINDOWS: usize = 16;
/// Two minima nearer than this say too little: 1 ms of jitter would be 33 ppm.
const MIN_SPAN: Duration = Duration::from_secs(30);
/// Slopes without which nothing is stated: those of 70 s without a break.
const MIN_SLOPES: usize = 10;

/// A packet of the ordered stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriftPacket {
    /// Arrival of the packet.
    pub arrived: Instant,
    /// RTP timestamp on the leg's timeline.
    pub time: ExtRtpTime,
    /// Length of its audio, in ticks.
    pub ticks: u64,
    /// Packets given up just before it.
    pub missing: u64,
    /// Clock of its timestamp.
    pub clock: ClockRate,
}

/// The estimate for one leg.
#[derive(Debug, Clone, Default)]
pub struct ClockDrift {
    run: Option<SteadyRun>,
    /// Counts the runs, so that no two of them are compared.
    runs: u32,
    windows: VecDeque<DriftWindow>,
}

/// Packets without a break in their timestamps. After one the clock may have
/// been set by other means (Asterisk's follows the wall clock then).
#[derive(Debug, Clone, Copy)]
struct SteadyRun {
    first: Instant,
    origin: ExtRtpTime,
    clock: ClockRate,
    end: u64,
    window: DriftWindow,
    window_ends: Duration,
}

/// The quickest packet of a span.
#[derive(Debug, Clone, Copy)]
struct DriftWindow {
    run: u32,
    /// Arrival since the run began, nanoseconds.
    at: i64,
    /// Arrival less timestamp, both since the run began, nanoseconds.
    transit: i64,
}

impl ClockDrift {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An audio packet, in order.
    pub fn packet(&mut self, packet: DriftPacket) {
        let expected = |run: &SteadyRun| {
            run.end
                .saturating_add(packet.missing.saturating_mul(packet.ticks))
        };
        let goes_on =
            |run: &&mut SteadyRun| run.clock == packet.clock && expected(run) == packet.time.0;
        let Some(run) = self.run.as_mut().filter(goes_on) else {
            self.begin(packet);
            return;
        };
        run.end = packet.time.0.saturating_add(packet.ticks);
        let at = packet.arrived.saturating_duration_since(run.first);
        let sent = run.clock.nanos(packet.time.since(run.origin).max(0));
        let window = DriftWindow {
            run: self.runs,
            at: nanos(at),
            transit: nanos(at) - i64::try_from(sent).unwrap_or(i64::MAX),
        };
        if at < run.window_ends {
            if window.transit < run.window.transit {
                run.window = window;
            }
            return;
        }
        let full = std::mem::replace(&mut run.window, window);
        run.window_ends = at + WINDOW;
        if self.windows.len() >= MAX_WINDOWS {
            self.windows.pop_front();
        }
        self.windows.push_back(full);
    }

    /// Reads, for nothing but that it is then at hand, what a packet will change.
    pub fn glance(&self) -> u64 {
        self.run.map_or(0, |run| run.end ^ run.window.at as u64)
    }

    /// Timestamps begin anew.
    pub fn restart(&mut self) {
        self.run = None;
    }

    /// By how much the sender's clock is faster than ours, in parts per million;
    /// negative if it is slower. `None` until it can be told.
    pub fn ppm(&self) -> Option<f32> {
        let mut slopes = Vec::new();
        for (index, late) in self.windows.iter().enumerate() {
            for early in self.windows.iter().take(index) {
                let span = late.at - early.at;
                if early.run == late.run && span >= nanos(MIN_SPAN) {
                    // What arrives ever sooner after it was sent has a fast clock.
                    let quicker = early.transit as f64 - late.transit as f64;
                    slopes.push(quicker / span as f64 * 1e6);
                }
            }
        }
        if slopes.len() < MIN_SLOPES {
            return None;
        }
        slopes.sort_by(f64::total_cmp);
        let middle = slopes.len() / 2;
        let median = if slopes.len() % 2 == 0 {
            (slopes[middle - 1] + slopes[middle]) / 2.0
        } else {
            slopes[middle]
        };
        Some(median as f32)
    }

    fn begin(&mut self, packet: DriftPacket) {
        self.runs = self.runs.wrapping_add(1);
        self.run = Some(SteadyRun {
            first: packet.arrived,
            origin: packet.time,
            clock: packet.clock,
            end: packet.time.0.saturating_add(packet.ticks),
            window: DriftWindow {
                run: self.runs,
                at: 0,
                transit: 0,
            },
            window_ends: WINDOW,
        });
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
