//! Setup of speech recognition from the settings: model, workers, queue, spool.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use asterscribe_call::CallChoices;
use asterscribe_clock as clock;
use asterscribe_recognition::model::{ModelCandidate, ModelError, SpeechModel};
use asterscribe_recognition::on_demand::OnDemandWorker;
use asterscribe_recognition::pool::{PoolStats, RecognitionPool};
use asterscribe_recognition::workers::{WorkerProgram, WorkerStarter};
use asterscribe_session::{CallOptions, SessionConfig};
use asterscribe_speech::segmenter::SegmenterConfig;
use asterscribe_store::{SpeechSpool, SpoolConfig};

use super::server::StartError;
use super::shutdown::SecondPassEngine;
use crate::calls::{CallManager, DefaultOptions, capacity};
use crate::config::{ModelChoice, Settings, SpoolSettings, VadSettings};
use crate::media::JobTicket;

/// Age at which an utterance is no longer recognised for the live transcript. Older ones are put
/// into the spool, so that new ones are never behind by more than that.
const LIVE_AGE: Duration = Duration::from_secs(15);

/// Age at which an utterance is given up where there is no spool.
const MAX_AGE: Duration = Duration::from_secs(50);

/// Session configuration by the settings: segmenter, partials and how late results are treated.
pub fn session_config(settings: &Settings) -> SessionConfig {
    let CallOptions {
        choices,
        partials,
        second_pass,
    } = defaults(settings).call_options(&CallChoices::default());
    SessionConfig {
        choices,
        partials,
        second_pass,
        segmenter: segmenter_config(&settings.vad),
        ..SessionConfig::default()
    }
}

/// Options of calls that ask for nothing else.
pub(super) fn defaults(settings: &Settings) -> DefaultOptions {
    DefaultOptions {
        language: settings.language,
        partials: settings.partial_results,
        second_pass: settings
            .second_pass
            .as_ref()
            .and_then(ModelChoice::name)
            .map(Into::into),
    }
}

fn segmenter_config(vad: &VadSettings) -> SegmenterConfig {
    SegmenterConfig {
        enter_score: vad.enter_score,
        leave_score: vad.leave_score,
        pre_roll: vad.pre_roll,
        hang_over: vad.hang_over,
        post_roll: vad.post_roll,
        max_utterance: vad.max_utterance,
        min_voice: vad.min_speech,
        tell_sounds: vad.sounds,
        ..SegmenterConfig::default()
    }
}

/// Command that starts a recognition process, with the encoder's margins.
pub fn worker_program(settings: &Settings) -> WorkerProgram {
    let command = settings.stt_program.as_ref();
    let command = command.map(|words| words.iter().map(Into::into).collect());
    let this = WorkerProgram::this();
    WorkerProgram {
        command: command.unwrap_or(this.command),
        margins: settings.context_margins.clone(),
        ..this
    }
}

/// Starts the workers and the pool for live speech.
pub(super) fn start_speech(
    settings: &Settings,
) -> Result<(Arc<WorkerStarter>, RecognitionPool<JobTicket>), StartError> {
    let model = open_model(settings)?;
    let detail = model.describe();
    if model.is_demo() {
        tracing::warn!("{detail}");
    } else {
        tracing::info!("{detail}");
    }
    let program = worker_program(settings);
    let recogniser = WorkerStarter::start(program, model, settings.stt_workers)?;
    let max_age = settings.spool.as_ref().map_or(MAX_AGE, |_| LIVE_AGE);
    let pool = recogniser.pool(settings.stt_queue, Some(max_age))?;
    Ok((recogniser, pool))
}

/// How many calls of two parties this machine holds with a model, by the estimate that a server
/// makes when it starts. Blocks while workers load the model and recognise some utterances.
///
/// # Errors
/// It is no usable model, or a worker failed, in words.
pub fn calls_held(settings: &Settings, model: &Path) -> Result<f64, String> {
    let model = SpeechModel::open(model).map_err(|error| error.to_string())?;
    let program = worker_program(settings);
    let recogniser = WorkerStarter::start(program, model, settings.stt_workers);
    calls_held_by(&recogniser.map_err(|error| error.to_string())?)
}

/// How many calls of two parties these workers hold, by the same estimate.
///
/// # Errors
/// A worker failed, in words.
pub fn calls_held_by(recogniser: &Arc<WorkerStarter>) -> Result<f64, String> {
    Ok(capacity::measure(recogniser)?.calls())
}

/// Opens and checks the configured model.
///
/// # Errors
/// The file is no usable model, or one that cannot recognise what is spoken.
pub fn open_model(settings: &Settings) -> Result<SpeechModel, StartError> {
    let choice = &settings.model;
    let model = choice
        .path()
        .map_or_else(SpeechModel::demo, SpeechModel::open);
    let model = model.map_err(|source| no_model(choice, choice.setting(), source))?;
    let language = settings.language;
    if model.header.is_english() && language.code() != Some("en") {
        // The demo model is for trying things out, whatever else is set.
        if !model.is_demo() {
            let model = model.name.clone();
            return Err(StartError::Language { language, model });
        }
        tracing::warn!(
            %language,
            "the demo model knows English only: what is said in another language becomes nonsense; \
             set WHISPER_MODEL_SIZE to a model without .en in its name"
        );
    }
    Ok(model)
}

/// Why a chosen model cannot be used, and what would help.
fn no_model(choice: &ModelChoice, setting: &'static str, source: ModelError) -> StartError {
    let is_missing = matches!(&source, ModelError::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound);
    let published = choice.published_name().filter(|_| is_missing);
    match (published, choice.path()) {
        (Some(name), Some(path)) => StartError::NoModel {
            setting,
            path: path.to_owned(),
            name,
        },
        _ => StartError::Model { setting, source },
    }
}

/// Opens the spool, if the settings name one.
pub(super) fn open_spool(settings: &Settings) -> Result<Option<SpeechSpool>, StartError> {
    let Some(SpoolSettings {
        path,
        max_bytes,
        key,
    }) = &settings.spool
    else {
        return Ok(None);
    };
    let config = SpoolConfig {
        max_bytes: *max_bytes,
        // Longer than that no line waits for it.
        keep: settings.retention.transcript,
        key: key.clone(),
    };
    let spool = SpeechSpool::open(path, config, clock::wall);
    spool.map(Some).map_err(StartError::Spool)
}

/// Starts the second pass where there is a spool: a call may ask for it though the settings do not.
pub(super) fn start_second_pass(
    settings: &Settings,
    manager: &Arc<CallManager>,
    live: Arc<PoolStats>,
) -> Result<Option<SecondPassEngine>, StartError> {
    if let Some(choice) = &settings.second_pass
        && let Some(path) = choice.path()
    {
        let refused = |source| no_model(choice, "SECOND_PASS_MODEL", source);
        ModelCandidate::open(path).map_err(refused)?;
    }
    let dir = settings.models_dir.clone();
    let open = move |name: &str| {
        let named = ModelChoice::named(&dir, name);
        let path = named.as_ref().and_then(ModelChoice::path);
        let path = path.ok_or_else(|| format!("{name} is no model's name"))?;
        SpeechModel::open(path).map_err(|error| error.to_string())
    };
    let program = worker_program(settings).in_background();
    let workers = OnDemandWorker::new(program, Box::new(open));
    let Some(backlog) = manager.start_second_pass(&workers, live) else {
        return Ok(None);
    };
    let backlog = backlog.map_err(StartError::Speech)?;
    Ok(Some(SecondPassEngine { backlog, workers }))
}
