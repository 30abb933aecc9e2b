//! Overload levels: work that is given up, step by step, when recognition falls behind. The measure
//! is the age of the oldest waiting utterance, by which the transcript lags behind the call.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Overload level.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum OverloadStep {
    /// Level 0: nothing is given up.
    #[default]
    Normal,
    /// Partials are given up.
    NoPartials,
    /// Waiting utterances of a leg are recognised in one window of the encoder.
    Packing,
    /// New calls are refused.
    Closed,
}

impl OverloadStep {
    /// Every level, lowest first.
    pub const ALL: [Self; 4] = [Self::Normal, Self::NoPartials, Self::Packing, Self::Closed];

    /// Age of the oldest waiting utterance from which on this level applies.
    pub fn at(self) -> Duration {
        Duration::from_secs(match self {
            Self::Normal => 0,
            Self::NoPartials => 2,
            Self::Packing => 4,
            Self::Closed => 10,
        })
    }
}

/// Time for which the age must have been lower before the level goes down.
const PATIENCE: Duration = Duration::from_secs(2);

/// State of the overload level.
#[derive(Debug, Default)]
pub(super) struct OverloadLadder {
    step: OverloadStep,
    /// Time since which the oldest utterance has waited less than half of the level's threshold.
    better: Option<Instant>,
}

impl OverloadLadder {
    /// The level for the age of the oldest utterance: upwards at once, and as far as need be;
    /// downwards one level at a time.
    pub(super) fn look(&mut self, now: Instant, oldest: Duration) -> OverloadStep {
        let wanted = OverloadStep::ALL
            .into_iter()
            .rfind(|step| oldest >= step.at());
        let wanted = wanted.unwrap_or_default();
        if wanted > self.step {
            self.step = wanted;
            self.better = None;
        } else if oldest < self.step.at() / 2 {
            let since = *self.better.get_or_insert(now);
            if now.saturating_duration_since(since) >= PATIENCE {
                let below = OverloadStep::ALL
                    .into_iter()
                    .rfind(|&step| step < self.step);
                self.step = below.unwrap_or_default();
                self.better = None;
            }
        } else {
            self.better = None;
        }
        self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_up_at_once_and_down_step_by_step() {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let zero = Instant::now();
        let mut ladder = OverloadLadder::default();
        let mut look = |at: u64, oldest: u64| {
            let now = zero + Duration::from_millis(at);
            ladder.look(now, Duration::from_millis(oldest))
        };
        assert_eq!(look(0, 1_900), OverloadStep::Normal);
        assert_eq!(look(100, 2_100), OverloadStep::NoPartials);
        assert_eq!(look(200, 12_000), OverloadStep::Closed);
        assert_eq!(look(300, 6_000), OverloadStep::Closed);
        assert_eq!(look(400, 4_000), OverloadStep::Closed);
        assert_eq!(look(2_300, 4_000), OverloadStep::Closed);
        assert_eq!(look(2_400, 4_000), OverloadStep::Packing);
        assert_eq!(look(2_500, 0), OverloadStep::Packing);
        // A relapse starts the time anew.
        assert_eq!(look(3_500, 2_500), OverloadStep::Packing);
        assert_eq!(look(3_600, 0), OverloadStep::Packing);
        assert_eq!(look(5_600, 0), OverloadStep::NoPartials);
        assert_eq!(look(5_700, 0), OverloadStep::NoPartials);
        assert_eq!(look(7_700, 0), OverloadStep::Normal);
    }
}
