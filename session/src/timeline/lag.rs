//! Lag behind arrival that lasts too long to be jitter.

use std::time::{Duration, Instant};

use crate::sum;

/// Length of the stretches in which packets are judged, by the least late of each.
const STRETCH: Duration = Duration::from_secs(1);

/// Least packets in a stretch to judge it by.
const MIN_PACKETS: u32 = 4;

/// Largest lag that is left to jitter, and to clocks that drift, nanoseconds.
const LAGS: i64 = 100_000_000;

/// Least lag caught up with in a stretch that shows a network which stood still and goes on: then
/// nothing is owed.
const CATCHES_UP: i64 = 50_000_000;

/// The last stretches of one leg. Times in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct ArrivalLag {
    since: Instant,
    packets: u32,
    /// Lead of the least late packet of the present stretch.
    most: i64,
    /// Lead of the least late packet of the stretch before, if it lagged too.
    earlier: Option<i64>,
    /// Lead before the last packet came.
    pub(super) before: i64,
    /// Fall of the lead with that packet.
    pub(super) fell: i64,
    /// Lag that has lasted throughout two stretches, to be made good by a gap.
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

    /// Takes a packet that stands at `lead` and should stand at `target`.
    pub(super) fn packet(&mut self, now: Instant, lead: i64, target: i64) {
        self.fell = self.before.saturating_sub(lead);
        self.most = self.most.max(lead);
        self.packets += 1;
        if now.saturating_duration_since(self.since) >= STRETCH {
            self.judge(target);
            self.since = now;
        }
    }

    /// Starts over after a gap has made the lag good.
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
