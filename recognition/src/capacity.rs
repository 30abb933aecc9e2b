//! How many calls this machine holds with the model in use: an estimate from how long its workers
//! take for an utterance while all of them work.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use asterscribe_clock as clock;
use asterscribe_speech::DecodeOptions;

use super::batching::WorkerBatching;
use super::workers::WorkerStarter;
use crate::{TranscribeError, UtteranceRef};

/// Utterances in a minute of a call of two parties, each of whom speaks 40 % of the time.
const UTTERANCES_A_MINUTE: f64 = 16.0;

/// Of what the workers could do, so much can be used before lines come late: people do not speak in
/// turn with other calls. `asterscribe-bench calls` finds 0.85 to 0.9 with `tiny.en` and `base`.
const USABLE: f64 = 0.85;

/// Tries for an utterance in the mean: one in fourteen (`base`) and fewer are tried again.
const TRIES: f64 = 1.1;

/// Utterances that a worker has at once under load, where it decodes them together.
const TOGETHER: usize = 2;

/// Times that each worker recognises the sample, after a first one that does not count.
const ROUNDS: u32 = 2;

/// The capacity of this machine with a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MachineCapacity {
    /// Time between two utterances that are done, all workers together.
    pub utterance: Duration,
}

impl MachineCapacity {
    /// Has every worker recognise a sample of 16 kHz speech, all at the same time. Blocks for as
    /// long as that takes: three rounds of one utterance, or of two that are decoded together.
    ///
    /// # Errors
    /// A worker failed on it.
    pub fn measure(
        recogniser: &Arc<WorkerStarter>,
        sample: &[i16],
    ) -> Result<Self, TranscribeError> {
        let together = match recogniser.batching() {
            WorkerBatching::Together(_) => TOGETHER,
            WorkerBatching::Packed | WorkerBatching::Single => 1,
        };
        let choices = DecodeOptions {
            language: Some("en".to_owned()),
            ..DecodeOptions::default()
        };
        let utterance = UtteranceRef {
            samples: sample,
            choices: &choices,
        };
        let batch = vec![utterance; together];
        let took = thread::scope(|scope| {
            let workers: Vec<_> = (0..recogniser.workers())
                .map(|number| {
                    let batch = &batch;
                    scope.spawn(move || {
                        let mut engine = recogniser.engine(number);
                        let mut round = || {
                            let results = engine.transcribe_together(batch);
                            results.into_iter().try_for_each(|result| result.map(drop))
                        };
                        round()?;
                        let begun = clock::now();
                        for _ in 0..ROUNDS {
                            round()?;
                        }
                        Ok(clock::now().saturating_duration_since(begun))
                    })
                })
                .collect();
            let taken = workers.into_iter().map(|worker| {
                let joined = worker.join();
                joined.unwrap_or_else(|_| Err(TranscribeError("a thread panicked".to_owned())))
            });
            taken.collect::<Result<Vec<_>, _>>()
        })?;
        let done = took.len() as u32 * ROUNDS * together as u32;
        let slowest = took.into_iter().max().unwrap_or_default();
        Ok(Self {
            utterance: slowest / done.max(1),
        })
    }

    /// Calls of two parties whose lines come in time.
    pub fn calls(&self) -> f64 {
        let an_utterance = self.utterance.as_secs_f64().max(1e-6) * TRIES;
        USABLE * 60.0 / (an_utterance * UTTERANCES_A_MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_follow_from_the_time_of_an_utterance() {
        let capacity = |ms| MachineCapacity {
            utterance: Duration::from_millis(ms),
        };
        let calls = capacity(50).calls();
        assert!((calls * 0.05 * TRIES * UTTERANCES_A_MINUTE - 60.0 * USABLE).abs() < 1e-9);
        assert!((capacity(5000).calls() * 100.0 - calls).abs() < 1e-9);
        assert!(capacity(0).calls().is_finite());
    }
}
