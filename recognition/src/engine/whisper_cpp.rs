//! Engine for whisper.cpp's ggml files: the only module that uses `whisper-rs`.
//!
//! One context (the weights) is shared; every engine has a state of its own, made once and used
//! for all its work, since a state costs more memory than the weights. What is set and left
//! unset here follows known traps:
//!
//! - `flash_attn` stays off: it reads stale keys of earlier utterances.
//! - `no_context` stays on, so that no call's text can colour another's.
//! - `temperature_inc` stays 0: whisper.cpp would meet a loop with whole new decodes, where the
//!   ladder of contexts meets it with a longer context.
//! - No abort callback: the binding's safe setter installs a wrong trampoline.
//! - Parameters are built once a language and cloned: the language string leaks per setting.
//! - A prompt is given as tokens, which are the engine's own: as text it would leak, too. Of
//!   one job nothing is left for the next, since `no_context` forgets it.
//! - The segmenter's own times are used, so no timestamps are decoded; words get theirs by
//!   time warping over the decoder's attention. whisper.cpp computes that with four spinning
//!   threads whatever it is told, unless OpenMP gives it fewer (`OMP_THREAD_LIMIT`).
//! - `no_speech_prob` is not read: it comes from a row that nobody has written.

use std::collections::HashMap;
use std::sync::Arc;

use asterscribe_call::{InitialPrompt, SpeechTask};
use whisper_rs::{
    DtwAhead, DtwMode, DtwModelPreset, DtwParameters, FullParams, SamplingStrategy, WhisperContext,
    WhisperContextParameters, WhisperError, WhisperState,
};

use super::{
    DecodeOrder, EngineConfig, LanguageProbabilities, MAX_PROMPT_TOKENS, SpeechEngine, TextToken,
    TokenId, WindowText,
};
use crate::TranscribeError;
use crate::ladder::WHOLE_WINDOW;
use crate::model::{AlignmentHeads, ModelError, ModelSource, SpeechModel};

/// Whether whisper.cpp was built for a graphics card; without one it computes on the processor.
const HAS_GPU: bool = cfg!(any(feature = "cuda", feature = "metal", feature = "vulkan"));

/// Length of audio, milliseconds, for which whisper.cpp takes the parameters and computes nothing.
const NOTHING_MS: i32 = 100;

/// A loaded file, shared by its engines.
#[derive(Debug)]
pub(crate) struct FileWeights(Arc<WhisperContext>);

impl FileWeights {
    /// Loads a checked file.
    pub(crate) fn load(model: &SpeechModel, config: &EngineConfig) -> Result<Self, ModelError> {
        // Without a logger behind them the hooks silence whisper.cpp's own output.
        whisper_rs::install_logging_hooks();
        let mut parameters = WhisperContextParameters::default();
        parameters.flash_attn(false).use_gpu(HAS_GPU);
        parameters.dtw_parameters(DtwParameters {
            mode: if config.word_times {
                time_warping(model)
            } else {
                DtwMode::None
            },
            dtw_mem_size: warping_memory(model),
        });
        let loaded = match &model.source {
            ModelSource::File { path, .. } => WhisperContext::new_with_params(path, parameters),
            ModelSource::BuiltIn(bytes) => {
                WhisperContext::new_from_buffer_with_params(bytes, parameters)
            }
            ModelSource::Folder(_) => Err(WhisperError::InitError),
        };
        let context = loaded.map_err(|error| ModelError::Refused {
            engine: "whisper.cpp",
            path: model.name.clone().into(),
            reason: error.to_string(),
        })?;
        Ok(Self(Arc::new(context)))
    }

    /// An engine with a state of its own.
    pub(crate) fn engine(
        &self,
        config: &EngineConfig,
    ) -> Result<WhisperCppEngine, TranscribeError> {
        Ok(WhisperCppEngine {
            state: self.0.create_state().map_err(failed)?,
            context: Arc::clone(&self.0),
            params: HashMap::new(),
            threads: config.threads.into(),
            is_multilingual: self.0.is_multilingual(),
            languages: self.0.n_vocab() - TOKENS_BUT_LANGUAGES,
            first_mark: self.0.token_eot(),
            windows: Vec::new(),
            positions: 0,
        })
    }
}

fn parameters(language: &'static str) -> FullParams<'static, 'static> {
    let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
    params.set_no_context(true);
    params.set_no_timestamps(true);
    params.set_temperature_inc(0.0);
    params.set_print_progress(false);
    params.set_print_realtime(false);
    params.set_print_special(false);
    params.set_print_timestamps(false);
    params.set_language(Some(language));
    params
}

fn failed(error: WhisperError) -> TranscribeError {
    TranscribeError(error.to_string())
}

/// Tokens of a multilingual vocabulary beside those of its languages (`num_languages` in
/// whisper.cpp).
const TOKENS_BUT_LANGUAGES: i32 = 51_766;

/// One thread's engine.
pub(crate) struct WhisperCppEngine {
    state: WhisperState,
    context: Arc<WhisperContext>,
    /// Parameters for each language used so far.
    params: HashMap<&'static str, FullParams<'static, 'static>>,
    threads: i32,
    is_multilingual: bool,
    /// Number of languages that it has a token for: the first ones of whisper.cpp's list.
    languages: i32,
    /// First token that is a mark and not text.
    first_mark: i32,
    /// Samples of each window to be decoded. whisper.cpp encodes and decodes in one step.
    windows: Vec<Vec<f32>>,
    positions: i32,
}

impl WhisperCppEngine {
    fn params(&mut self, language: &'static str) -> FullParams<'static, 'static> {
        let kept = self.params.entry(language);
        let mut params = kept.or_insert_with(|| parameters(language)).clone();
        params.set_n_threads(self.threads);
        params.set_audio_ctx(self.positions);
        params
    }

    fn decode_window(
        &mut self,
        n: usize,
        order: &DecodeOrder<'_>,
    ) -> Result<WindowText, TranscribeError> {
        let mut params = self.params(order.language);
        params.set_translate(order.task == SpeechTask::Translate);
        let prompt: Vec<i32>;
        if !order.prompt.is_empty() {
            prompt = order.prompt.iter().map(|&id| id.cast_signed()).collect();
            params.set_tokens(&prompt);
        }
        let cap = i32::try_from(order.max_tokens).unwrap_or(i32::MAX);
        params.set_max_tokens(cap);
        self.state.full(params, &self.windows[n]).map_err(failed)?;
        Ok(self.decoding(order.max_tokens))
    }

    /// Text tokens of the last decoding, with their mean log-probability.
    fn decoding(&self, max_tokens: usize) -> WindowText {
        let mut tokens = Vec::new();
        let mut logprob = 0.0f32;
        let segments: Vec<_> = self.state.as_iter().collect();
        for segment in &segments {
            for token in (0..segment.n_tokens()).filter_map(|n| segment.get_token(n)) {
                let data = token.token_data();
                // Beyond the vocabulary's text are marks that Whisper sets for itself.
                if data.id >= self.first_mark {
                    continue;
                }
                logprob += data.plog;
                tokens.push(TextToken {
                    id: data.id.cast_unsigned(),
                    bytes: token.to_bytes().unwrap_or_default().to_vec(),
                    // A model that yields no numbers must not yield an answer that is none.
                    probability: if data.p.is_finite() { data.p } else { 0.0 },
                    // Hundredths of a second; -1: none.
                    left_ms: u64::try_from(data.t_dtw).ok().map(|time| time * 10),
                });
            }
        }
        WindowText {
            mean_logprob: logprob / tokens.len().max(1) as f32,
            no_speech_probability: None,
            reached_cap: tokens.len() > max_tokens,
            tokens,
        }
    }

    fn detect_language(&mut self, n: usize) -> Result<LanguageProbabilities, TranscribeError> {
        // Detection encodes with the context of the call before it, whatever was asked for; a
        // call that has nothing to decode sets the context and computes the spectrogram.
        let mut params = self.params("en");
        params.set_duration_ms(NOTHING_MS);
        self.state.full(params, &self.windows[n]).map_err(failed)?;
        let threads = usize::try_from(self.threads).unwrap_or(1);
        let (_, probabilities) = self.state.lang_detect(0, threads).map_err(failed)?;
        let all = (0..).zip(&probabilities);
        let named = all.filter_map(|(id, &p)| Some((whisper_rs::get_lang_str(id)?, p)));
        Ok(named.collect())
    }
}

impl SpeechEngine for WhisperCppEngine {
    fn is_multilingual(&self) -> bool {
        self.is_multilingual
    }

    fn knows_language(&self, code: &str) -> bool {
        let id = whisper_rs::get_lang_id(code);
        id.is_some_and(|id| (0..self.languages).contains(&id))
    }

    fn prompt_tokens(&self, prompt: &InitialPrompt) -> Result<Vec<TokenId>, TranscribeError> {
        let text = format!(" {}", prompt.text());
        // The binding takes a buffer that is too small for as many tokens as there are; no
        // token is shorter than a byte.
        let mut tokens = self.context.tokenize(&text, text.len()).map_err(failed)?;
        tokens.drain(..tokens.len().saturating_sub(MAX_PROMPT_TOKENS));
        Ok(tokens.into_iter().map(i32::cast_unsigned).collect())
    }

    fn encode(&mut self, windows: &[&[f32]], positions: usize) -> Result<(), TranscribeError> {
        self.windows.resize_with(windows.len(), Vec::new);
        for (kept, window) in self.windows.iter_mut().zip(windows) {
            kept.clear();
            kept.extend_from_slice(window);
        }
        self.positions = i32::try_from(positions.min(WHOLE_WINDOW)).expect("at most 1500");
        Ok(())
    }

    fn detect_languages(&mut self) -> Result<Vec<LanguageProbabilities>, TranscribeError> {
        (0..self.windows.len())
            .map(|n| self.detect_language(n))
            .collect()
    }

    fn decode(&mut self, orders: &[DecodeOrder<'_>]) -> Result<Vec<WindowText>, TranscribeError> {
        let numbered = orders.iter().enumerate();
        numbered
            .map(|(n, order)| self.decode_window(n, order))
            .collect()
    }

    fn align(
        &mut self,
        _orders: &[DecodeOrder<'_>],
        _decodings: &mut [WindowText],
    ) -> Result<(), TranscribeError> {
        // Tokens have their times and probabilities since they were decoded.
        Ok(())
    }
}

/// Of the demo model's nine heads these three were trained to look at the word that is being
/// written (docs/words.md has how near that comes to the word times of the synthesiser that spoke).
static DEMO_HEADS: [DtwAhead; 3] = [head(0, 0), head(1, 1), head(2, 0)];

/// Of the eight heads that OpenAI names for `base` these three still follow the speech when the
/// text begins without the token of the task, as it does where whisper.cpp aligns a multilingual
/// model; with the others some words are told a second late (docs/words.md).
static BASE_HEADS: [DtwAhead; 3] = [head(3, 1), head(4, 2), head(5, 4)];

const fn head(n_text_layer: i32, n_head: i32) -> DtwAhead {
    DtwAhead {
        n_text_layer,
        n_head,
    }
}

/// Method by which word times are found. A list of heads must live as long as any state of the
/// context: whisper.cpp keeps the pointer, which the binding does not say.
fn time_warping(model: &SpeechModel) -> DtwMode<'static> {
    match model.alignment_heads() {
        AlignmentHeads::Demo => DtwMode::Custom {
            aheads: &DEMO_HEADS,
        },
        AlignmentHeads::Published("base") => DtwMode::Custom {
            aheads: &BASE_HEADS,
        },
        AlignmentHeads::Published(name) => match preset(name) {
            Some(model_preset) => DtwMode::ModelPreset { model_preset },
            None => upper_half(model),
        },
        AlignmentHeads::Unknown => upper_half(model),
    }
}

/// Most memory that time warping takes, bytes: three copies of the attention of all heads, for the
/// longest text and the whole window. whisper.cpp aborts where it has less.
fn warping_memory(model: &SpeechModel) -> usize {
    const LEAST: usize = 128 << 20;
    const REST: usize = 16 << 20;
    const LONGEST_TEXT: usize = 230;
    let heads = match model.alignment_heads() {
        // At most 23.
        AlignmentHeads::Demo | AlignmentHeads::Published(_) => return LEAST,
        AlignmentHeads::Unknown => model.header.n_text_layer * model.header.n_text_head,
    };
    let each = LONGEST_TEXT * WHOLE_WINDOW * size_of::<f32>() * 3;
    usize::try_from(heads).map_or(LEAST, |heads| (heads * each + REST).max(LEAST))
}

/// All heads of the upper half of the layers: OpenAI's choice where nobody has looked.
fn upper_half(model: &SpeechModel) -> DtwMode<'static> {
    let half = model.header.n_text_layer / 2;
    DtwMode::TopMost {
        n_top: i32::try_from(half).map_or(1, |half| half.max(1)),
    }
}

fn preset(model: &str) -> Option<DtwModelPreset> {
    Some(match model {
        "tiny.en" => DtwModelPreset::TinyEn,
        "tiny" => DtwModelPreset::Tiny,
        "base.en" => DtwModelPreset::BaseEn,
        "small.en" => DtwModelPreset::SmallEn,
        "small" => DtwModelPreset::Small,
        "medium.en" => DtwModelPreset::MediumEn,
        "medium" => DtwModelPreset::Medium,
        "large-v2" => DtwModelPreset::LargeV2,
        "large-v3" => DtwModelPreset::LargeV3,
        "large-v3-turbo" => DtwModelPreset::LargeV3Turbo,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
