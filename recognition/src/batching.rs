//! Which utterances that wait are handed to a worker at once, by what is cheaper for the engine.

use std::sync::{Arc, PoisonError, RwLock};

use crate::ladder::{ContextLadder, ContextMargins};
use crate::model::{EngineKind, SpeechModel};

/// Utterances that are decoded together at most: what more of them save is little, and each
/// waits for all.
pub(super) const MOST_TOGETHER: usize = 8;

/// Way in which waiting utterances are handed to a worker.
#[derive(Debug, Clone, Default)]
pub enum WorkerBatching {
    /// One utterance at a time.
    #[default]
    Single,
    /// Under load, several of one leg, in one window of the encoder: they are taken apart again
    /// by the times of their words.
    Packed,
    /// Utterances of whatever calls whose first windows are alike: each has a window of
    /// its own, and the decoder reads the weights once for all.
    Together(ContextLadder),
}

impl WorkerBatching {
    /// The way that is cheapest for the model's engine.
    pub(super) fn of(model: &SpeechModel, margins: Option<&ContextMargins>) -> Self {
        match model.engine() {
            EngineKind::CTranslate2 => {
                let margins = ContextMargins::chosen(margins, model);
                Self::Together(ContextLadder::new(margins, model))
            }
            EngineKind::WhisperCpp if model.is_demo() => Self::Single,
            EngineKind::WhisperCpp => Self::Packed,
        }
    }
}

/// A [`WorkerBatching`] that changes with the model, shared by a pool and whoever switches models.
#[derive(Debug, Clone, Default)]
pub struct SharedBatching(Arc<RwLock<WorkerBatching>>);

impl SharedBatching {
    /// Shares this batching.
    pub fn new(batching: WorkerBatching) -> Self {
        Self(Arc::new(RwLock::new(batching)))
    }

    /// Sets the batching from now on.
    pub fn set(&self, batching: WorkerBatching) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = batching;
    }

    /// The batching of the model in use.
    pub fn get(&self) -> WorkerBatching {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
