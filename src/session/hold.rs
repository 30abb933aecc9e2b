//! What comes first after a break that the timestamps do not tell: held for a
//! moment, until it is clear whether the sender paused, so that time has passed,
//! or the network stood still and the rest comes at once.

use std::time::{Duration, Instant};

use asterscribe_codecs::Codec;

use super::audio::MissingNumbers;
use super::timeline::PacketPlacement;

/// How far a packet must lag, and by how much more than the one before, for a break; nanoseconds.
pub(super) const BREAK: i64 = 150_000_000;
const SUDDEN: i64 = 100_000_000;

/// How long it is held at most. If packets come for most of that and catch up with nothing, the
/// sender has paused; if they do not, nothing is known yet.
const HELD: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_millis(100);

/// Packets that are held at most, which only a sender of very short ones reaches.
const MAX_PACKETS: usize = 64;

/// What a network that goes on makes up for in that time, nanoseconds.
const CAUGHT_UP: i64 = 100_000_000;

/// Packets after a break.
#[derive(Debug)]
pub(super) struct BreakHold {
    began: Instant,
    /// When the last of them came.
    last: Instant,
    /// How far the first lags, and the least late of them; nanoseconds.
    first: i64,
    least: i64,
    packets: Vec<HeldAudio>,
}

/// One of them, placed and not heard yet.
#[derive(Debug)]
pub(super) struct HeldAudio {
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    pub(super) payload: Vec<u8>,
    /// Samples in it, at the codec's rate.
    pub(super) count: usize,
    pub(super) placement: PacketPlacement,
    pub(super) missing: MissingNumbers,
}

/// Whether a packet that lags so far, by so much more than the one before, comes after a break.
pub(super) fn is_break((lag, fell): (i64, i64)) -> bool {
    lag >= BREAK && fell >= SUDDEN
}

impl BreakHold {
    /// Begins with what came at that time, lagging by so much.
    pub(super) fn new(now: Instant, lag: i64) -> Self {
        Self {
            began: now,
            last: now,
            first: lag,
            least: lag,
            packets: Vec::new(),
        }
    }

    /// One more, lagging by so much.
    pub(super) fn push(&mut self, packet: HeldAudio, now: Instant, lag: i64) {
        self.last = self.last.max(now);
        self.least = self.least.min(lag);
        self.packets.push(packet);
    }

    /// When to decide though nothing comes.
    pub(super) fn due(&self) -> Instant {
        self.began + HELD
    }

    /// Whether there is nothing more to wait for.
    pub(super) fn is_decided(&self) -> bool {
        self.catches_up() || self.packets.len() >= MAX_PACKETS
    }

    /// Time that has passed before the first of them, nanoseconds, as far as that is known by
    /// now; and the packets. `is_all`: nothing follows with which to catch up.
    pub(super) fn decide(self, is_all: bool) -> (i64, Vec<HeldAudio>) {
        let goes_on = self.last.saturating_duration_since(self.began) >= MOST;
        let has_paused = !self.catches_up() && (goes_on || is_all);
        let passed = if has_paused { self.least } else { 0 };
        (passed, self.packets)
    }

    /// How long they are, in 16 kHz samples.
    pub(super) fn samples(&self) -> u64 {
        let length = |held: &HeldAudio| {
            let rate = u64::from(held.codec.sample_rate().hz());
            held.placement.gap + held.count as u64 * u64::from(crate::speech::SAMPLE_RATE) / rate
        };
        self.packets.iter().map(length).sum()
    }

    fn catches_up(&self) -> bool {
        self.first - self.least >= CAUGHT_UP.min(self.first / 2)
    }
}
