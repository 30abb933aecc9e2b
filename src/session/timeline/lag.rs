//! What lags behind arrival for so long that it is no jitter.

use std::time::{Duration, Instant};

use crate::session::sum;

/// Packets are looked at in stretches of this length, in which the least late counts.
const STRETCH: Duration = Duration::from_secs(1);

/// Fewer packets than this tell nothing.
const MIN_PACKETS: u32 = 4;

/// Less than this is left to jitter, and to clocks that drift.
const LAGS: i64 = 100_000_000;

/// Of what is caught up with by more than this in a stretch nothing is owed: a network that
/// stood still goes on.
const CATCHES_UP: i64 = 50_000_000;

/// The last stretches of one leg. Times in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct ArrivalLag {
    since: Instant,
    packets: u32,
    /// Lead of the least late packet.
    most: i64,
    /// Lag of the stretch before, if it lagged too.
    earlier: Option<i64>,
    /// Lead before the last packet came.
    pub(super) before: i64,
    /// How far it fell with that packet.
    pub(super) fell: i64,
    /// What has been lagging throughout two stretches.
    pub(super) owed: i64,
}

impl ArrivalLag {
    pub(super) fn starting(now: Instant) -> Self {
        Self {
            since: now,
            packets: 0,
            most: i64::MIN,
            earlier: None,
            before: 0,
            fell: 0,
            owed: 0,
        }
    }

    /// A packet stands at `lead` and should be at `target`.
    pub(super) fn packet(&mut self, now: Instant, lead: i64, target: i64) {
        self.fell = self.before.saturating_sub(lead);
        self.most = self.most.max(lead);
        self.packets += 1;
        if now.saturating_duration_since(self.since) >= STRETCH {
            self.judge(target);
            self.since = now;
        }
    }

    /// What was owed has been made good.
    pub(super) fn made_good(&mut self) {
        (self.most, self.packets) = (i64::MIN, 0);
        (self.earlier, self.owed) = (None, 0);
    }

    pub(super) fn glance(&self) -> u64 {
        sum([self.packets.into(), self.owed as u64, self.most as u64])
    }

    fn judge(&mut self, target: i64) {
        let lag = target.saturating_sub(self.most);
        let lags = self.packets >= MIN_PACKETS && lag > LAGS;
        let stays = |earlier: i64| self.most <= earlier.saturating_add(CATCHES_UP);
        self.owed = match self.earlier {
            Some(earlier) if lags && stays(earlier) => lag,
            _ => 0,
        };
        self.earlier = lags.then_some(self.most);
        (self.most, self.packets) = (i64::MIN, 0);
    }
}
