//! Recognition of utterances: a pool with a queue in front, and behind it worker
//! processes of this same program, so that whatever a model file or whisper.cpp does
//! (it aborts on a failed assertion) costs no call.
//!
//! ```text
//!  media thread ─ offer ─▶ pool: queue, one thread a worker ─▶ worker set ─ socket ─▶ worker process
//!       ▲                                                                          │ Whisper
//!       └───────────────────────────── Answer ◀────────────────────────────────────┘
//! ```

pub mod batching;
pub mod capacity;
pub mod engine;
pub mod ladder;
mod link;
mod mel;
pub mod model;
pub mod on_demand;
mod overload;
mod pack;
pub mod pool;
mod process;
mod program;
mod queue;
mod sentinel;
pub mod transcriber;
mod watchdog;
mod wire;
mod words;
pub mod worker;
pub mod workers;

use asterscribe_speech::{DecodeOptions, Recognition};

pub use self::overload::OverloadStep;
pub use self::queue::{JobUrgency, RecognitionTask, SpeakerLeg};

/// Error: an engine failed on an utterance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the speech engine failed: {0}")]
pub struct TranscribeError(pub String);

/// An utterance and the options of its decoding.
#[derive(Debug, Clone, Copy)]
pub struct UtteranceRef<'a> {
    /// 16 kHz mono PCM: 1 to 480,000 samples.
    pub samples: &'a [i16],
    /// Options of decoding.
    pub choices: &'a DecodeOptions,
}

/// A recogniser of speech bound to one thread. It blocks for as long as it computes.
pub trait Transcriber {
    /// Recognises one utterance: 1 to 480,000 samples of 16 kHz mono PCM.
    ///
    /// # Errors
    /// Any other length, or the engine failed; the next utterance may succeed.
    fn transcribe(
        &mut self,
        samples: &[i16],
        choices: &DecodeOptions,
    ) -> Result<Recognition, TranscribeError>;

    /// Recognises several utterances, in their order; one that fails does not fail the others.
    fn transcribe_together(
        &mut self,
        utterances: &[UtteranceRef<'_>],
    ) -> Vec<Result<Recognition, TranscribeError>> {
        utterances
            .iter()
            .map(|utterance| self.transcribe(utterance.samples, utterance.choices))
            .collect()
    }
}
