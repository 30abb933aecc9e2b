//! How much one leg may send: twice its nominal rate, and for a while more, so
//! that what a frozen network delivers at once passes.
//!
//! Counted in time of audio, not in packets: a packet costs what it lasts. How
//! long that is, its timestamps tell, within bounds, since a sender may say
//! anything.

use std::time::{Duration, Instant};

use crate::ids::{ClockRate, ExtRtpTime, ExtSeq, PayloadType};
use crate::reorder::PlacedPacket;

/// Limit of a leg's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateConfig {
    /// Seconds of audio accepted per second, in the long run. 0 counts as 1.
    pub factor: u32,
    /// Audio accepted at once after a stretch in which that much less came than the rate allows.
    pub burst: Duration,
    /// Shortest duration a packet is charged for, whatever its timestamps say, and while they say
    /// nothing. With `factor` this limits the packets per second.
    pub shortest: Duration,
}

impl Default for RateConfig {
    /// Twice the nominal rate, at most 200 packets a second, and 8 s at once:
    /// the 5 s that a frozen network held back, and some more.
    fn default() -> Self {
        Self {
            factor: 2,
            burst: Duration::from_secs(8),
            shortest: Duration::from_millis(10),
        }
    }
}

/// Packet times outside of these are pauses, or nonsense.
const PLAUSIBLE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(2)..=Duration::from_millis(200);
/// A longer packet time is believed only once arrival bears it out: a sender
/// with a wrong clock would be refused what it may send.
const UNPROVEN: Duration = Duration::from_millis(20);
/// Equal steps of the timestamps in a row that make a packet time.
const STEPS: u8 = 3;
/// How long arrival is watched to prove a packet time.
const WATCH: Duration = Duration::from_secs(2);

/// State of the limit for one leg (a generic cell rate algorithm, ITU-T I.371 annex A).
#[derive(Debug)]
pub(super) struct RatePolicer {
    factor: u32,
    shortest: Duration,
    /// Time up to which the audio accepted so far has used the rate up.
    paid: Option<Instant>,
    /// How far `paid` may be ahead of now.
    limit: Duration,
    /// Time charged for a packet: its duration over `factor`.
    cost: Duration,
    packet_time: PacketTime,
}

impl RatePolicer {
    pub(super) fn new(config: RateConfig) -> Self {
        let factor = config.factor.max(1);
        Self {
            factor,
            shortest: config.shortest,
            paid: None,
            limit: config.burst / factor,
            cost: config.shortest / factor,
            packet_time: PacketTime::default(),
        }
    }

    /// See [`RtpReceiver::glance`](super::RtpReceiver::glance).
    pub(super) fn glance(&self) -> u64 {
        let last = self.packet_time.last.map_or(0, |last| last.seq.0);
        last ^ u64::from(self.packet_time.repeated) ^ u64::from(self.paid.is_some())
    }

    /// Takes notice of a packet of the present timeline; `true` if what a packet
    /// lasts may have changed by it.
    pub(super) fn observe(&mut self, clock: Option<ClockRate>, packet: &PlacedPacket<'_>) -> bool {
        let changed = self.packet_time.observe(clock, packet);
        if changed {
            self.cost = self.lasting() / self.factor;
        }
        changed
    }

    /// Whether one more packet is within the rate; it is paid for then.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        let admits = self.admits(now);
        if admits {
            self.charge(now, 1);
        }
        admits
    }

    /// Whether one more packet would be within the rate.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let Some(paid) = self.paid else { return true };
        let ahead = paid.saturating_duration_since(now);
        ahead + self.cost <= self.limit
    }

    /// Pays for packets that were let in, whatever the rate.
    pub(super) fn charge(&mut self, now: Instant, packets: u32) {
        let paid = self.paid.map_or(now, |paid| paid.max(now));
        self.paid = paid.checked_add(self.cost * packets);
    }

    /// Packet duration, as far as it is known, and at least [`RateConfig::shortest`].
    pub(super) fn lasting(&self) -> Duration {
        self.packet_time.believed().max(self.shortest)
    }

    /// Forgets the last packet, because timestamps begin anew.
    pub(super) fn restart(&mut self) {
        self.packet_time.last = None;
    }
}

/// Estimate of the duration of a leg's packets.
#[derive(Debug, Default)]
struct PacketTime {
    last: Option<LastArrival>,
    /// The step of the timestamps, how often it came in a row, and what it lasts.
    ticks: i128,
    repeated: u8,
    lasts: Duration,
    /// Start of the observation that is to prove a long packet time, and the packets since.
    watched: Option<(Instant, u32)>,
    proven: bool,
}

#[derive(Debug, Clone, Copy)]
struct LastArrival {
    seq: ExtSeq,
    time: ExtRtpTime,
    payload_type: PayloadType,
    clock: ClockRate,
    arrived: Instant,
}

impl PacketTime {
    /// `true` if what is believed may have changed.
    fn observe(&mut self, clock: Option<ClockRate>, packet: &PlacedPacket<'_>) -> bool {
        let Some(clock) = clock else { return false };
        let last = self.last.replace(LastArrival {
            seq: packet.seq,
            time: packet.time,
            payload_type: packet.payload_type,
            clock,
            arrived: packet.arrived,
        });
        let follows = |last: &LastArrival| {
            packet.seq.0 == last.seq.0.wrapping_add(1)
                && packet.payload_type == last.payload_type
                && clock == last.clock
        };
        let Some(last) = last.filter(follows) else {
            self.watched = None;
            return false;
        };
        let ticks = packet.time.since(last.time);
        let waited = packet.arrived.saturating_duration_since(last.arrived);
        if ticks != self.ticks || waited > *PLAUSIBLE.end() {
            // Over a pause arrival would bear out anything.
            self.watched = None;
        }
        if ticks == self.ticks && self.repeated >= STEPS {
            return self.lasts > UNPROVEN && !self.proven && self.watch(packet.arrived);
        }
        self.step(clock, ticks)
    }

    fn step(&mut self, clock: ClockRate, ticks: i128) -> bool {
        let lasts = clock.duration(u64::try_from(ticks).unwrap_or(0));
        if !PLAUSIBLE.contains(&lasts) {
            return false;
        }
        if ticks != self.ticks {
            self.ticks = ticks;
            self.repeated = 0;
        }
        self.repeated += 1;
        if self.repeated < STEPS {
            return false;
        }
        if self.lasts != lasts {
            self.lasts = lasts;
            self.proven = false;
            self.watched = None;
        }
        true
    }

    /// Whether packets came no faster than they say they last.
    fn watch(&mut self, now: Instant) -> bool {
        let (since, packets) = self.watched.unwrap_or((now, 0));
        let packets = packets.saturating_add(1);
        let elapsed = now.saturating_duration_since(since);
        if elapsed < WATCH {
            self.watched = Some((since, packets));
            return false;
        }
        self.watched = None;
        // A quarter less, for jitter at the ends.
        self.proven = elapsed >= self.lasts * packets * 3 / 4;
        self.proven
    }

    fn believed(&self) -> Duration {
        if self.proven {
            self.lasts
        } else {
            self.lasts.min(UNPROVEN)
        }
    }
}

#[cfg(test)]
mod tests;
