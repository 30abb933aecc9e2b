//! Model in use, and the switch to another one while calls go on.

use std::sync::{Arc, Mutex, PoisonError};

use asterscribe_recognition::ladder::ContextMargins;
use asterscribe_recognition::model::{ModelCandidate, SpeechModel};
use asterscribe_recognition::pool::PoolStats;
use asterscribe_recognition::workers::WorkerStarter;
use tokio::sync::oneshot;

use super::CallManager;
use super::capacity::CapacityBoard;
use crate::config::ModelChoice;
use crate::service::{ModelRequest, ModelView, ServiceError, SwitchState};

/// Name of the model that is part of the program.
const DEMO: &str = "demo";

/// State of the latest switch of models.
#[derive(Debug, Clone, Default)]
pub(super) enum LatestSwitch {
    /// The latest switch has succeeded, or there was none.
    #[default]
    Settled,
    /// The model of that name is being loaded.
    Loading(String),
    /// The model of that name could not be loaded.
    Failed {
        /// Name of the model.
        name: String,
        /// Reason of the failure.
        reason: String,
    },
}

/// Recognition as the call manager works with it: counters, workers, the latest switch of models.
pub(super) struct RecognitionControl {
    /// Counters of recognition.
    pub(super) pool: Arc<PoolStats>,
    /// Starter of the recognition workers.
    pub(super) recogniser: Arc<WorkerStarter>,
    /// Estimate of how many calls this machine holds.
    pub(super) capacity: CapacityBoard,
    switch: Arc<Mutex<LatestSwitch>>,
}

impl RecognitionControl {
    pub(super) fn new(pool: Arc<PoolStats>, recogniser: Arc<WorkerStarter>) -> Self {
        Self {
            pool,
            recogniser,
            capacity: CapacityBoard::default(),
            switch: Arc::default(),
        }
    }
}

impl CallManager {
    /// Model in use, and the state of the latest switch.
    pub(super) fn model_view(&self) -> ModelView {
        let (state, wanted, reason) = match self.latest_switch() {
            LatestSwitch::Settled => (SwitchState::Ready, None, None),
            LatestSwitch::Loading(name) => (SwitchState::Loading, Some(name), None),
            LatestSwitch::Failed { name, reason } => {
                (SwitchState::Failed, Some(name), Some(reason))
            }
        };
        let model = self.recognition.recogniser.model();
        let margins = self.recognition.recogniser.margins();
        ModelView {
            state,
            wanted,
            reason,
            name: model.name.clone(),
            revision: model.revision(),
            sha256: model.sha256.clone(),
            bytes: model.bytes,
            demo: model.is_demo(),
            fits_audio_ctx: margins != ContextMargins::WHOLE,
            engine: model.engine().name().to_owned(),
            sentinel_margin: margins.sentinel,
            context_margins: margins.alone,
        }
    }

    pub(super) fn latest_switch(&self) -> LatestSwitch {
        let switch = self.recognition.switch.lock();
        switch.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins to load another model; answers once its file is known to be one.
    pub(super) async fn begin_switch(
        &self,
        request: ModelRequest,
    ) -> Result<ModelView, ServiceError> {
        let ModelRequest { name } = request;
        let choice = self.choose(&name)?;
        let under_way = UnderWay::begin(&self.recognition.switch, name)?;
        let recogniser = Arc::clone(&self.recognition.recogniser);
        let (capacity, max_calls) = (self.recognition.capacity.clone(), self.config.max_calls);
        let has_calls = self.registry(|registry| registry.open_count()) > 0;
        let (tell, told) = oneshot::channel();
        // Goes on when whoever asked does not wait for it.
        tokio::task::spawn_blocking(move || match under_way.run(&recogniser, &choice, tell) {
            true if has_calls => capacity.leave_unknown(),
            true => capacity.update(&recogniser, max_calls),
            false => {}
        });
        match told.await {
            Ok(Ok(())) => Ok(self.model_view()),
            Ok(Err(reason)) => Err(ServiceError::Unprocessable(reason)),
            Err(_) => Err(ServiceError::Busy("the server is going down".to_owned())),
        }
    }

    fn choose(&self, name: &str) -> Result<ModelChoice, ServiceError> {
        if name == DEMO {
            return Ok(ModelChoice::Demo);
        }
        let named = ModelChoice::named(&self.config.models_dir, name);
        let choice = named.ok_or_else(|| {
            let told = "name must be one that WHISPER_MODEL_SIZE may have, or demo";
            ServiceError::Unprocessable(told.to_owned())
        })?;
        let fits = choice.check_language(self.config.defaults.language);
        fits.map_err(|reason| {
            let told = format!("{reason}, and WHISPER_LANGUAGE is another");
            ServiceError::Unprocessable(told)
        })?;
        Ok(choice)
    }
}

/// A switch that has begun. However it ends, the next one can begin.
struct UnderWay {
    switch: Arc<Mutex<LatestSwitch>>,
    name: String,
    before: LatestSwitch,
    outcome: Option<LatestSwitch>,
}

impl UnderWay {
    fn begin(switch: &Arc<Mutex<LatestSwitch>>, name: String) -> Result<Self, ServiceError> {
        let mut now = switch.lock().unwrap_or_else(PoisonError::into_inner);
        if let LatestSwitch::Loading(other) = &*now {
            let told = format!("the model {other} is being loaded; one at a time");
            return Err(ServiceError::Conflict(told));
        }
        let before = std::mem::replace(&mut *now, LatestSwitch::Loading(name.clone()));
        Ok(Self {
            switch: Arc::clone(switch),
            name,
            before,
            outcome: None,
        })
    }

    /// Checks the model's structure, tells of that, and loads it; whether it is in use now. Takes
    /// as long as that takes.
    fn run(
        mut self,
        recogniser: &WorkerStarter,
        choice: &ModelChoice,
        tell: oneshot::Sender<Result<(), String>>,
    ) -> bool {
        let candidate = choice.path().map(ModelCandidate::open).transpose();
        let candidate = match candidate {
            Ok(candidate) => candidate,
            Err(error) => {
                // Nothing has begun, so nothing has failed.
                self.outcome = Some(self.before.clone());
                drop(self);
                let _unheard = tell.send(Err(error.to_string()));
                return false;
            }
        };
        let name = self.name.clone();
        tracing::info!(name, "loading another speech model");
        let _unheard = tell.send(Ok(()));
        let model = candidate.map_or_else(SpeechModel::demo, ModelCandidate::hash);
        let model = model.map_err(|error| error.to_string());
        let switched = model.and_then(|model| {
            let described = model.describe();
            let switched = recogniser.switch(model).map_err(|error| error.to_string());
            switched.map(|()| described)
        });
        let is_another = switched.is_ok();
        self.outcome = Some(match switched {
            Ok(model) => {
                tracing::info!(model, "switched to another speech model");
                LatestSwitch::Settled
            }
            Err(reason) => {
                tracing::warn!(name, reason, "cannot switch to another speech model");
                LatestSwitch::Failed { name, reason }
            }
        });
        is_another
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| LatestSwitch::Failed {
            name: std::mem::take(&mut self.name),
            reason: "a fault of the server".to_owned(),
        });
        *self.switch.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }
}
