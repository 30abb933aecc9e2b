//! Workers that are there while there is something for them to do, with whatever model that
//! asks for: for a second pass, in the time that nobody else needs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use asterscribe_call::SpeechTask;
use asterscribe_speech::{DecodeOptions, Recognition};

use super::pool::{EngineFactory, PoolConfig, RecognitionPool};
use super::workers::{WorkerProgram, WorkerStarter};
use crate::model::SpeechModel;
use crate::{TranscribeError, Transcriber};

/// Opens the model of a name.
pub type OpenModel = dyn Fn(&str) -> Result<SpeechModel, String> + Send + Sync;

/// A worker with its own process, lower in priority than whatever else this machine does.
pub struct OnDemandWorker {
    program: WorkerProgram,
    open: Box<OpenModel>,
    here: Mutex<Option<PresentWorkers>>,
    /// Why the latest model could not be loaded.
    trouble: Mutex<Option<String>>,
    is_stopped: AtomicBool,
}

/// The workers that are running.
struct PresentWorkers {
    /// The name that the model was asked for by.
    name: String,
    recogniser: Arc<WorkerStarter>,
}

/// How it stands with a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelReadiness {
    /// The model is loaded.
    Ready,
    /// Another one is, and in use.
    Busy,
}

impl std::fmt::Debug for OnDemandWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnDemandWorker").finish_non_exhaustive()
    }
}

impl OnDemandWorker {
    /// Nobody is there yet.
    pub fn new(program: WorkerProgram, open: Box<OpenModel>) -> Arc<Self> {
        Arc::new(Self {
            program,
            open,
            here: Mutex::default(),
            trouble: Mutex::default(),
            is_stopped: AtomicBool::new(false),
        })
    }

    /// A pool of one such worker, with so many jobs that may wait.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn pool<T: Send + 'static>(
        self: &Arc<Self>,
        queue: usize,
    ) -> Result<RecognitionPool<T>, TranscribeError> {
        let workers = Arc::clone(self);
        let factory: EngineFactory = Arc::new(move |_| {
            let workers = Arc::clone(&workers);
            Ok(Box::new(PresentEngine(workers)))
        });
        let config = PoolConfig {
            workers: 1,
            queue,
            max_age: None,
        };
        RecognitionPool::start(config, &factory)
    }

    /// Sees to it that the model of that name is loaded; in the place of another one only if
    /// that `may_change`. Blocks for as long as that takes.
    ///
    /// # Errors
    /// It cannot be.
    pub fn prepare(&self, name: &str, may_change: bool) -> Result<ModelReadiness, String> {
        let mut here = lock(&self.here);
        if here.as_ref().is_some_and(|here| here.name == name) {
            return Ok(ModelReadiness::Ready);
        }
        if !may_change {
            return Ok(ModelReadiness::Busy);
        }
        let loaded = self.load(name, &mut here);
        *lock(&self.trouble) = loaded.as_ref().err().cloned();
        loaded.map(|()| ModelReadiness::Ready)
    }

    fn load(&self, name: &str, here: &mut Option<PresentWorkers>) -> Result<(), String> {
        if self.is_stopped() {
            return Err("the server ends".to_owned());
        }
        let model = (self.open)(name)?;
        // Not before: where there is no such model, the one that is there is of use.
        *here = None;
        tracing::info!(model = model.name, "loading a model for a second pass");
        let recogniser = WorkerStarter::start(self.program.clone(), model, 1);
        *here = Some(PresentWorkers {
            name: name.to_owned(),
            recogniser: recogniser.map_err(|error| error.to_string())?,
        });
        Ok(())
    }

    /// Lets everybody go; what they have at hand is lost with them.
    pub fn rest(&self) {
        if lock(&self.here).take().is_some() {
            tracing::info!("the model of the second pass is not needed for now");
        }
    }

    /// Ends the worker for good.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        // Not where a model is being loaded: its process ends with ours.
        if let Ok(here) = self.here.try_lock()
            && let Some(here) = &*here
        {
            here.recogniser.stop();
        }
    }

    /// Whether they have been told to go for good.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// In words, if there is anything to say: which model is loaded, or why none is. Does not wait.
    pub fn describe(&self) -> Option<String> {
        if let Some(trouble) = &*lock(&self.trouble) {
            return Some(format!("its model cannot be loaded: {trouble}"));
        }
        match self.here.try_lock() {
            Ok(here) => here
                .as_ref()
                .map(|here| format!("{} is loaded", here.recogniser.model().name)),
            Err(_) => Some("a model is being loaded".to_owned()),
        }
    }

    /// Whether a model that was needed could not be loaded.
    pub fn is_in_trouble(&self) -> bool {
        lock(&self.trouble).is_some()
    }
}

/// The engine of the pool's worker: whoever is there.
struct PresentEngine(Arc<OnDemandWorker>);

impl Transcriber for PresentEngine {
    fn transcribe(
        &mut self,
        samples: &[i16],
        choices: &DecodeOptions,
    ) -> Result<Recognition, TranscribeError> {
        let recogniser = lock(&self.0.here)
            .as_ref()
            .map(|here| Arc::clone(&here.recogniser));
        let recogniser = recogniser.ok_or_else(|| TranscribeError("nobody is there".to_owned()))?;
        let model = recogniser.model();
        let is_english = choices.language.as_deref() == Some("en");
        if model.header.is_english() && (!is_english || choices.task == SpeechTask::Translate) {
            let name = &model.name;
            return Err(TranscribeError(format!("{name} knows English only")));
        }
        // Words that stand already are not to be replaced by those of another language.
        if let Some(code) = &choices.language
            && !model.header.knows_language(code)
        {
            let name = &model.name;
            return Err(TranscribeError(format!(
                "{name} knows no language {code:?}"
            )));
        }
        recogniser.engine(0).transcribe(samples, choices)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
