//! What is given up, step by step, when recognition falls behind. The age of the oldest
//! utterance that waits is the measure: it is what whoever reads along is behind by.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How far up the ladder.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum OverloadStep {
    /// Everything is done.
    #[default]
    Normal,
    /// No partial results.
    NoPartials,
    /// Utterances of a leg that wait are recognised together.
    Packing,
    /// No new calls.
    Closed,
}

impl OverloadStep {
    /// Every step, lowest first.
    pub const ALL: [Self; 4] = [Self::Normal, Self::NoPartials, Self::Packing, Self::Closed];

    /// How long the oldest utterance has waited where this step is taken.
    pub fn at(self) -> Duration {
        Duration::from_secs(match self {
            Self::Normal => 0,
            Self::NoPartials => 2,
            Self::Packing => 4,
            Self::Closed => 10,
        })
    }
}

/// How long it must have been better before a step is taken back.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where on the ladder we are.
#[derive(Debug, Default)]
pub(super) struct OverloadLadder {
    step: OverloadStep,
    /// Since when the oldest has waited less than half of what led to this step.
    better: Option<Instant>,
}

impl OverloadLadder {
    /// The step to be on, where the oldest utterance has waited so long: upwards at once, and
    /// as far as need be; downwards one at a time.
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
