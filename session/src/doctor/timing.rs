//! Findings on timing: when packets arrive, and how fast the sender's clock runs.

use std::time::Duration;

use asterscribe_call::FindingKind;

use super::findings::FindingsLog;

/// Packets are judged in stretches of this length; two in a row must agree, so
/// that one freeze of the network is no finding and a lasting fault is one
/// within 2 s.
const STRETCH: Duration = Duration::from_millis(650);

/// Least packets in a stretch to judge it by.
const MIN_PACKETS: u32 = 6;

/// Stretches without a fault after which the finding ends: 3 s.
const CLEAN_STRETCHES: u8 = 5;

/// Mean lateness, against the least late packet of a stretch, that is too much, µs.
const MAX_LATE_US: i64 = 60_000;

/// Most that a single break counts for, µs.
const MAX_STEP_US: i64 = 1_000_000;

/// Distance of bunches from which on the evidence mentions them, µs.
const MIN_BUNCH_GAP_US: i64 = 55_000;

const MAX_DRIFT_PPM: f32 = 200.0;
const SETTLED_DRIFT_PPM: f32 = 150.0;

/// Time for which the clock must be off, or right again.
const DRIFT_LASTS: Duration = Duration::from_secs(4);

const TIMING_FIX: &str = "Nothing is lost by this alone: packets are ordered by their numbers and placed by their timestamps. Look for a busy network or \
Wi-Fi on the way, for a sender short of CPU, or, where packets come in bunches, for transcoding between packet times in Asterisk (give both sides the same \
format and packet time).";

const DRIFT_FIX: &str = "The sender's sampling clock is off, or it sends faster or slower than it says: a virtual machine without a steady clock, a \
timing module of Asterisk that is not res_timing_timerfd, or a player that does not pace itself. Times of the transcript drift by as much.";

/// One packet of audio, with its times.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimedPacket {
    /// Time of arrival.
    pub(super) at: Duration,
    /// Extended RTP timestamp.
    pub(super) time: u64,
    /// Length of its audio, by which the timestamp advances, ticks.
    pub(super) ticks: u64,
    /// Ticks per second.
    pub(super) hertz: u32,
}

#[derive(Debug, Default)]
pub(super) struct TimingProbe {
    last: Option<TimedPacket>,
    stretch: TimedStretch,
    faulty: u8,
    clean: u8,
    drift: DriftProbe,
}

#[derive(Debug, Default)]
struct TimedStretch {
    since: Duration,
    packets: u32,
    /// Lateness of the last packet, against the one before the stretch.
    late_us: i64,
    least_late_us: i64,
    late_sum_us: i64,
    /// Sum of the changes of lateness, in both directions.
    way_us: i64,
    bunched: u32,
    widest_us: i64,
    resized: u32,
    shortest_us: i64,
    longest_us: i64,
}

#[derive(Debug, Default)]
struct DriftProbe {
    /// Time since which the clock is off or, while that is a finding, right.
    turned: Option<Duration>,
}

impl TimingProbe {
    /// Starts over with a new numbering.
    pub(super) fn restart(&mut self) {
        self.last = None;
    }

    /// See [`CallSession::glance`](crate::CallSession::glance).
    pub(super) fn glance(&self) -> u64 {
        let last = self.last.map_or(0, |last| last.time);
        let stretch = u64::from(self.stretch.packets) + u64::from(self.stretch.resized);
        last ^ stretch
    }

    pub(super) fn packet(&mut self, pace: TimedPacket, chart: &mut FindingsLog) {
        if pace.hertz == 0 {
            return;
        }
        let last = self.last.replace(pace);
        let Some(last) = last.filter(|last| last.hertz == pace.hertz) else {
            return;
        };
        if pace.at >= self.stretch.since + STRETCH {
            self.judge(pace.at, chart);
        }
        self.stretch.add(last, pace);
    }

    /// Judges a stretch. Packets that do not come are no matter of timing.
    fn judge(&mut self, at: Duration, chart: &mut FindingsLog) {
        let stretch = std::mem::replace(&mut self.stretch, TimedStretch::starting(at));
        // A pause belongs to no stretch.
        if stretch.packets < MIN_PACKETS || at > stretch.since + 2 * STRETCH {
            self.faulty = 0;
            return;
        }
        match stretch.fault() {
            Some(evidence) => {
                self.faulty = self.faulty.saturating_add(1);
                self.clean = 0;
                if self.faulty >= 2 {
                    let kind = FindingKind::PacketTiming;
                    let since = at.saturating_sub(2 * STRETCH);
                    chart.begin(kind, since, evidence, TIMING_FIX);
                }
            }
            None => {
                self.faulty = 0;
                self.clean = self.clean.saturating_add(1);
                if self.clean == CLEAN_STRETCHES {
                    let until = at.saturating_sub(STRETCH * u32::from(CLEAN_STRETCHES));
                    chart.end(FindingKind::PacketTiming, until);
                }
            }
        }
    }

    /// Takes the drift of the sender's clock against this server's, as far as it is known.
    pub(super) fn drift(&mut self, at: Duration, ppm: Option<f32>, chart: &mut FindingsLog) {
        let kind = FindingKind::ClockDrift;
        let Some(ppm) = ppm.filter(|ppm| ppm.is_finite()) else {
            self.drift.turned = None;
            return;
        };
        let lasts = chart.lasts(kind);
        let turns = if lasts {
            ppm.abs() < SETTLED_DRIFT_PPM
        } else {
            ppm.abs() > MAX_DRIFT_PPM
        };
        if !turns {
            self.drift.turned = None;
            return;
        }
        let turned = *self.drift.turned.get_or_insert(at);
        if at < turned + DRIFT_LASTS {
            return;
        }
        self.drift.turned = None;
        if lasts {
            chart.end(kind, turned);
        } else {
            let way = if ppm > 0.0 { "faster" } else { "slower" };
            let seconds_an_hour = ppm.abs() * 3600.0 / 1e6;
            let evidence = format!(
                "the sender's clock runs {:.0} ppm {way} than ours, {seconds_an_hour:.1} s in an hour",
                ppm.abs()
            );
            chart.begin(kind, turned, evidence, DRIFT_FIX);
        }
    }
}

impl TimedStretch {
    fn starting(at: Duration) -> Self {
        Self {
            since: at,
            ..Self::default()
        }
    }

    fn add(&mut self, last: TimedPacket, pace: TimedPacket) {
        let waited = micros(pace.at) - micros(last.at);
        let played = ticks_us(i128::from(pace.time) - i128::from(last.time), pace.hertz);
        let step = (waited - played).clamp(-MAX_STEP_US, MAX_STEP_US);
        let length = ticks_us(i128::from(pace.ticks), pace.hertz);
        let before = ticks_us(i128::from(last.ticks), pace.hertz);
        if self.packets == 0 {
            (self.shortest_us, self.longest_us) = (before, before);
        }
        self.packets += 1;
        self.late_us += step;
        self.least_late_us = self.least_late_us.min(self.late_us);
        self.late_sum_us += self.late_us;
        self.way_us += step.abs();
        self.bunched += u32::from(4 * waited <= before);
        self.widest_us = self.widest_us.max(waited);
        self.resized += u32::from(length != before);
        self.shortest_us = self.shortest_us.min(length);
        self.longest_us = self.longest_us.max(length);
    }

    fn fault(&self) -> Option<String> {
        let late = self.late_sum_us / i64::from(self.packets) - self.least_late_us;
        // Where it only grows or only shrinks, the pace is wrong and not the timing.
        if late > MAX_LATE_US && 2 * self.late_us.abs() < self.way_us {
            return Some(format!(
                "packets come {} ms late on average, by the least late of them",
                late / 1000
            ));
        }
        if 2 * self.bunched >= self.packets && self.widest_us >= MIN_BUNCH_GAP_US {
            return Some(format!(
                "{} of {} packets come in bunches, up to {} ms apart",
                self.bunched,
                self.packets,
                self.widest_us / 1000
            ));
        }
        (4 * self.resized >= self.packets && self.resized >= 4).then(|| {
            format!(
                "the length of packets changed {} times in {} packets, between {} and {} ms",
                self.resized,
                self.packets,
                self.shortest_us / 1000,
                self.longest_us / 1000
            )
        })
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4)
}

/// Ticks in microseconds, bounded so that sums of them cannot overflow whatever the timestamps.
fn ticks_us(ticks: i128, hertz: u32) -> i64 {
    const HOUR_US: i128 = 3_600_000_000;
    let us = match hertz {
        // The clock of nearly every packet; a division of this width is dear.
        8_000 => ticks * 125,
        _ => ticks * 1_000_000 / i128::from(hertz),
    };
    let us = us.clamp(-HOUR_US, HOUR_US);
    i64::try_from(us).unwrap_or_default()
}
