//! How long a job may take before its worker counts as stuck.

use std::time::Duration;

use crate::model::ModelHeader;

/// Least time that any worker gets for a job, because the machine may be busy.
const LEAST: Duration = Duration::from_secs(10);

/// Ratio of the time allowed for a job to the time expected.
const FACTOR: u32 = 5;

/// Time of one window of `tiny` on one slow core, and that model's encoder layers and width.
const TINY: (Duration, f64, f64) = (Duration::from_millis(2500), 4.0, 384.0);

/// Estimate of the time that a job takes.
#[derive(Debug)]
pub(super) struct WatchdogEstimate {
    /// Longest time of recent jobs; before the first job a guess from the model's size.
    expected: Duration,
    is_guess: bool,
    /// Upper limit of `expected`: the guess, which no processor exceeds, or [`LEAST`] if longer.
    most: Duration,
}

impl WatchdogEstimate {
    /// The estimate before the first job: an encoder pass takes time in proportion to its layers
    /// and the square of its width, and the decoder at most as long again.
    pub(super) fn of_model(header: &ModelHeader) -> Self {
        let (tiny, layers, width) = TINY;
        let layers = f64::from(header.n_audio_layer) / layers;
        let width = f64::from(header.n_audio_state) / width;
        let expected = 2 * tiny.mul_f64(layers * width * width);
        Self {
            expected,
            is_guess: true,
            most: expected.max(LEAST),
        }
    }

    /// Takes note of the time that a job took.
    pub(super) fn observe(&mut self, took: Duration) {
        // The guess is an upper bound for a processor: a graphics card replaces it at once.
        self.expected = if self.is_guess {
            took
        } else {
            took.max(self.expected - self.expected / 64)
        };
        self.is_guess = false;
    }

    /// Takes note of a job that exceeded its time. The machine may be busier than it was, so the
    /// next job may take twice as long, up to what the model's size would explain.
    pub(super) fn was_stuck(&mut self) {
        self.expected = (2 * self.patience() / FACTOR).min(self.most);
        self.is_guess = false;
    }

    /// Time allowed for the next job.
    pub(super) fn patience(&self) -> Duration {
        LEAST.max(FACTOR * self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SpeechModel;

    #[test]
    fn a_worker_is_given_five_times_what_is_expected_and_never_less_than_ten_seconds() {
        let mut pace = WatchdogEstimate::of_model(&SpeechModel::demo().unwrap().header);
        assert_eq!(pace.patience(), LEAST);
        pace.observe(Duration::from_secs(4));
        assert_eq!(pace.patience(), Duration::from_secs(20));
        pace.observe(Duration::from_secs(1));
        assert!(pace.patience() > Duration::from_secs(19));
        for _ in 0..1000 {
            pace.observe(Duration::from_secs(3));
        }
        assert_eq!(pace.patience(), Duration::from_secs(15));
    }

    #[test]
    fn a_machine_that_has_become_slow_is_given_more_time_but_not_for_ever() {
        let mut pace = WatchdogEstimate::of_model(&SpeechModel::demo().unwrap().header);
        pace.observe(Duration::from_millis(30));
        assert_eq!(pace.patience(), LEAST);
        pace.was_stuck();
        assert_eq!(pace.patience(), 2 * LEAST);
        for _ in 0..10 {
            pace.was_stuck();
        }
        assert_eq!(pace.patience(), FACTOR * LEAST);
    }

    #[test]
    fn a_large_model_may_take_its_time_at_first() {
        let large = ModelHeader {
            n_audio_layer: 32,
            n_audio_state: 1280,
            ..SpeechModel::demo().unwrap().header
        };
        let pace = WatchdogEstimate::of_model(&large);
        assert!(pace.patience() > Duration::from_secs(600));
    }
}
