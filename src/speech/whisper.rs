//! The Whisper engine: the only module that uses `whisper-rs`.
//!
//! One context (the weights) is shared; every worker thread has a state of its
//! own, made once and used for all its work, since a state costs more memory
//! than the weights. What is set and left unset here follows known traps:
//!
//! - `flash_attn` stays off: it reads stale keys of earlier utterances.
//! - `no_context` stays on, so that no call's text can colour another's.
//! - No abort callback: the binding's safe setter installs a wrong trampoline.
//! - Parameters are built once and cloned: the language string leaks per setting.
//! - The segmenter's own times are used, so no timestamps are decoded.

use std::sync::Arc;

use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState,
};

use super::model::{Model, ModelError, ModelSource};
use super::pool::{EngineFactory, Pool};
use super::{Recognition, SAMPLE_RATE, TranscribeError, Transcriber};

/// Shorter audio is padded with silence to this, samples (0.5 s): whisper.cpp
/// returns nothing below 110 ms and reads out of bounds below 201 samples.
const MIN_SAMPLES: usize = SAMPLE_RATE as usize / 2;

/// Whisper's window, samples (30 s).
const WINDOW_SAMPLES: usize = SAMPLE_RATE as usize * 30;

/// Encoder positions of the whole window; each covers 320 samples (20 ms).
const FULL_AUDIO_CTX: usize = 1500;
const SAMPLES_PER_POSITION: usize = 320;

/// Positions beyond the audio that a fitted context keeps.
const AUDIO_CTX_MARGIN: usize = 10;

/// A loaded model, shared by its workers.
#[derive(Debug)]
pub struct Whisper {
    context: WhisperContext,
    model: Model,
}

impl Whisper {
    /// Loads a checked model. Blocks for as long as reading the file takes.
    pub fn load(model: Model) -> Result<Self, ModelError> {
        // Without a logger behind them the hooks silence whisper.cpp's own output.
        whisper_rs::install_logging_hooks();
        let mut parameters = WhisperContextParameters::default();
        parameters.flash_attn(false).use_gpu(false);
        let context = match &model.source {
            ModelSource::File(path) => WhisperContext::new_with_params(path, parameters),
            ModelSource::BuiltIn(bytes) => {
                WhisperContext::new_from_buffer_with_params(bytes, parameters)
            }
        }
        .map_err(|error| ModelError::Refused {
            path: model.name().into(),
            reason: error.to_string(),
        })?;
        Ok(Self { context, model })
    }

    /// The model it was loaded from.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// A worker's engine, for audio in `language` (ISO 639-1, or `None` to detect it).
    pub fn worker(&self, language: Option<&str>) -> Result<WhisperWorker, TranscribeError> {
        let state = self
            .context
            .create_state()
            .map_err(|error| TranscribeError(error.to_string()))?;
        // An English-only model knows no language tokens; asking for another would be ignored.
        let language = if self.context.is_multilingual() {
            language.map(str::to_owned)
        } else {
            Some("en".to_owned())
        };
        Ok(WhisperWorker {
            state,
            params: parameters(language.as_deref()),
            fit_audio_ctx: self.model.fits_audio_ctx(),
            language: language.map(Arc::from),
            audio: Vec::new(),
        })
    }
}

fn parameters(language: Option<&str>) -> FullParams<'static, 'static> {
    let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
    params.set_n_threads(1);
    params.set_no_context(true);
    params.set_no_timestamps(true);
    // Each retry at a higher temperature costs a whole decode; two at most.
    params.set_temperature_inc(0.4);
    params.set_print_progress(false);
    params.set_print_realtime(false);
    params.set_print_special(false);
    params.set_print_timestamps(false);
    // The binding copies the string and never frees it: once per worker, not per utterance.
    let language: Option<&'static str> =
        language.map(|code| &*Box::leak(code.to_owned().into_boxed_str()));
    params.set_language(language);
    params
}

/// One thread's engine.
pub struct WhisperWorker {
    state: WhisperState,
    params: FullParams<'static, 'static>,
    fit_audio_ctx: bool,
    /// `None` where it is detected for each utterance.
    language: Option<Arc<str>>,
    audio: Vec<f32>,
}

impl std::fmt::Debug for WhisperWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WhisperWorker")
            .field("language", &self.language)
            .finish_non_exhaustive()
    }
}

impl WhisperWorker {
    fn audio_ctx(&self) -> usize {
        if self.fit_audio_ctx {
            (self.audio.len().div_ceil(SAMPLES_PER_POSITION) + AUDIO_CTX_MARGIN).min(FULL_AUDIO_CTX)
        } else {
            FULL_AUDIO_CTX
        }
    }

    fn result(&self) -> Recognition {
        let mut text = String::new();
        let (mut tokens, mut probability) = (0u32, 0.0f32);
        for segment in self.state.as_iter() {
            if let Ok(words) = segment.to_str_lossy() {
                text.push_str(&words);
            }
            for token in (0..segment.n_tokens()).filter_map(|n| segment.get_token(n)) {
                tokens += 1;
                probability += token.token_probability();
            }
        }
        let language = self.language.clone().unwrap_or_else(|| {
            whisper_rs::get_lang_str(self.state.full_lang_id_from_state())
                .unwrap_or("und")
                .into()
        });
        let confidence = if tokens == 0 {
            0.0
        } else {
            (probability / tokens as f32).clamp(0.0, 1.0)
        };
        Recognition {
            text: text.trim().to_owned(),
            confidence,
            language,
        }
    }
}

impl Transcriber for WhisperWorker {
    fn transcribe(&mut self, samples: &[i16]) -> Result<Recognition, TranscribeError> {
        if samples.is_empty() || samples.len() > WINDOW_SAMPLES {
            return Err(TranscribeError(format!(
                "an utterance of {} samples",
                samples.len()
            )));
        }
        self.audio.clear();
        self.audio
            .extend(samples.iter().map(|&sample| f32::from(sample) / 32768.0));
        if self.audio.len() < MIN_SAMPLES {
            self.audio.resize(MIN_SAMPLES, 0.0);
        }
        let mut params = self.params.clone();
        params.set_audio_ctx(i32::try_from(self.audio_ctx()).expect("at most 1500"));
        self.state
            .full(params, &self.audio)
            .map_err(|error| TranscribeError(error.to_string()))?;
        Ok(self.result())
    }
}

/// Starts a pool of Whisper workers on one loaded model.
pub fn start_pool<T: Send + 'static>(
    whisper: &Arc<Whisper>,
    language: Option<&str>,
    workers: usize,
    queue: usize,
) -> Result<Pool<T>, TranscribeError> {
    let whisper = Arc::clone(whisper);
    let language = language.map(str::to_owned);
    let factory: EngineFactory =
        Arc::new(
            move || Ok(Box::new(whisper.worker(language.as_deref())?) as Box<dyn Transcriber>),
        );
    Pool::start(workers, queue, &factory)
}
