//! The Whisper engine: the only module that uses `whisper-rs`.
//!
//! One context (the weights) is shared; every worker thread has a state of its
//! own, made once and used for all its work, since a state costs more memory
//! than the weights. What is set and left unset here follows known traps:
//!
//! - `flash_attn` stays off: it reads stale keys of earlier utterances.
//! - `no_context` stays on, so that no call's text can colour another's.
//! - No abort callback: the binding's safe setter installs a wrong trampoline.
//! - Parameters are built once a language and cloned: the language string leaks per setting.
//! - The segmenter's own times are used, so no timestamps are decoded.

use std::collections::HashMap;

use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState,
};

use super::model::{Model, ModelError, ModelSource};
use super::{Choices, Recognition, SAMPLE_RATE, TranscribeError, Transcriber};

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
            ModelSource::File { path, .. } => WhisperContext::new_with_params(path, parameters),
            ModelSource::BuiltIn(bytes) => {
                WhisperContext::new_from_buffer_with_params(bytes, parameters)
            }
        }
        .map_err(|error| ModelError::Refused {
            path: model.name.clone().into(),
            reason: error.to_string(),
        })?;
        Ok(Self { context, model })
    }

    /// The model it was loaded from.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// A worker's engine.
    pub fn worker(&self) -> Result<WhisperWorker, TranscribeError> {
        let state = self
            .context
            .create_state()
            .map_err(|error| TranscribeError(error.to_string()))?;
        Ok(WhisperWorker {
            state,
            params: HashMap::new(),
            fit_audio_ctx: self.model.fits_audio_ctx(),
            is_multilingual: self.context.is_multilingual(),
            audio: Vec::new(),
        })
    }
}

fn parameters(language: Option<&'static str>) -> FullParams<'static, 'static> {
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
    params.set_language(language);
    params
}

/// Whisper's own name of a language, or why there is none.
fn language_of(code: &str) -> Result<&'static str, TranscribeError> {
    // The binding panics on a zero byte.
    let id = (!code.contains('\0')).then(|| whisper_rs::get_lang_id(code));
    id.flatten()
        .and_then(whisper_rs::get_lang_str)
        .ok_or_else(|| TranscribeError(format!("Whisper knows no language {code:?}")))
}

/// One thread's engine.
pub struct WhisperWorker {
    state: WhisperState,
    /// By language, of which Whisper knows a hundred; `None`: to be detected.
    params: HashMap<Option<&'static str>, FullParams<'static, 'static>>,
    fit_audio_ctx: bool,
    is_multilingual: bool,
    audio: Vec<f32>,
}

impl std::fmt::Debug for WhisperWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WhisperWorker")
            .field("fit_audio_ctx", &self.fit_audio_ctx)
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

    fn result(&self, language: Option<&str>) -> Recognition {
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
        let detected = || whisper_rs::get_lang_str(self.state.full_lang_id_from_state());
        let language = language.or_else(detected).unwrap_or("und").to_owned();
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
    fn transcribe(
        &mut self,
        samples: &[i16],
        choices: &Choices,
    ) -> Result<Recognition, TranscribeError> {
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
        let language = match &choices.language {
            // An English-only model knows no language tokens; asking for another would be ignored.
            _ if !self.is_multilingual => Some("en"),
            Some(code) => Some(language_of(code)?),
            None => None,
        };
        let params = self.params.entry(language);
        let mut params = params.or_insert_with(|| parameters(language)).clone();
        params.set_audio_ctx(i32::try_from(self.audio_ctx()).expect("at most 1500"));
        self.state
            .full(params, &self.audio)
            .map_err(|error| TranscribeError(error.to_string()))?;
        Ok(self.result(language))
    }
}
