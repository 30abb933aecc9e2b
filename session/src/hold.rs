//! Hold-back behind a break that the timestamps do not show: the packets are held for a moment,
//! until it is clear whether the sender paused, so that time has passed, or the network stood still
//! and the rest comes at once.

use std::time::{Duration, Instant};

use asterscribe_codecs::Codec;

use super::audio::MissingNumbers;
use super::timeline::PacketPlacement;

/// Least lag behind arrival of a packet behind a break, and by how much it must exceed that of the
/// packet before; nanoseconds.
pub(super) const BREAK: i64 = 150_000_000;
const SUDDEN: i64 = 100_000_000;

/// Longest time that packets are held. If packets come for [`MOST`] of it without catching up, the
/// sender has paused; if none come, nothing is known yet.
const HELD: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_millis(100);

/// Most packets that are held, which only a sender of very short ones reaches.
const MAX_PACKETS: usize = 64;

/// Lag made up for in that time by a network that goes on after a standstill, nanoseconds.
const CAUGHT_UP: i64 = 100_000_000;

/// Packets held behind a break.
#[derive(Debug)]
pub(super) struct BreakHold {
    began: Instant,
    /// Arrival of the last of them.
    last: Instant,
    /// Lag of the first of them, and of the least late; nanoseconds.
    first: i64,
    least: i64,
    packets: Vec<HeldAudio>,
}

/// A packet that is held: placed on the timeline, not decoded yet.
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

/// Whether a packet with this lag, and this increase over the one before, comes behind a break.
pub(super) fn is_break((lag, fell): (i64, i64)) -> bool {
    lag >= BREAK && fell >= SUDDEN
}

impl BreakHold {
    /// Begins with a packet that came at that time with that lag.
    pub(super) fn new(now: Instant, lag: i64) -> Self {
        Self {
            began: now,
            last: now,
            first: lag,
            least: lag,
            packets: Vec::new(),
        }
    }

    /// Adds a packet with its lag.
    pub(super) fn push(&mut self, packet: HeldAudio, now: Instant, lag: i64) {
        self.last = self.last.max(now);
        self.least = self.least.min(lag);
        self.packets.push(packet);
    }

    /// Time to decide at though nothing comes.
    pub(super) fn due(&self) -> Instant {
        self.began + HELD
    }

    /// Whether there is nothing more to wait for.
    pub(super) fn is_decided(&self) -> bool {
        self.catches_up() || self.packets.len() >= MAX_PACKETS
    }

    /// Time that has passed before the first packet, nanoseconds, as far as it is known by now; and
    /// the packets. `is_all`: no packet follows that could catch up.
    pub(super) fn decide(self, is_all: bool) -> (i64, Vec<HeldAudio>) {
        let goes_on = self.last.saturating_duration_since(self.began) >= MOST;
        let has_paused = !self.catches_up() && (goes_on || is_all);
        let passed = if has_paused { self.least } else { 0 };
        (passed, self.packets)
    }

    /// Length of the packets, in 16 kHz samples.
    pub(super) fn samples(&self) -> u64 {
        let length = |held: &HeldAudio| {
            let rate = u64::from(held.codec.sample_rate().hz());
            held.placement.gap
                + held.count as u64 * u64::from(asterscribe_speech::SAMPLE_RATE) / rate
        };
        self.packets.iter().map(length).sum()
    }

    fn catches_up(&self) -> bool {
        self.first - self.least >= CAUGHT_UP.min(self.first / 2)
    }
}
