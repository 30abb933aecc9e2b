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
//! - A prompt is given as tokens, which are the worker's own: as text it would leak, too. Of
//!   one job nothing is left for the next, since `no_context` forgets it.
//! - A language is detected here, and not by whisper.cpp, which knows of no choice among some.
//! - The segmenter's own times are used, so no timestamps are decoded; words get theirs by
//!   time warping over the decoder's attention. whisper.cpp computes that with four spinning
//!   threads whatever it is told, unless OpenMP gives it fewer (`OMP_THREAD_LIMIT`).

use std::collections::HashMap;
use std::sync::Arc;

use whisper_rs::{
    DtwAhead, DtwMode, DtwModelPreset, DtwParameters, FullParams, SamplingStrategy, WhisperContext,
    WhisperContextParameters, WhisperError, WhisperState,
};

use super::guard;
use super::model::{AlignmentHeads, Model, ModelError, ModelSource};
use super::words::{self, Token};
use super::{Choices, Recognition, SAMPLE_RATE, TranscribeError, Transcriber, peak_dbfs};
use crate::call::{Prompt, Task};

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

/// Tokens of a prompt that Whisper looks at: half of its text context, less the mark before them.
const MAX_PROMPT_TOKENS: usize = 223;

/// Whether whisper.cpp was built for a graphics card; without one it computes on the processor.
const HAS_GPU: bool = cfg!(any(feature = "cuda", feature = "metal", feature = "vulkan"));

/// A loaded model, shared by its workers.
#[derive(Debug)]
pub struct Whisper {
    context: Arc<WhisperContext>,
    model: Model,
    engine: EngineConfig,
}

/// How engines compute. The service runs with the default; anything else is there to be
/// measured beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig {
    /// Threads of one engine.
    pub threads: u8,
    /// Whether words get times.
    pub word_times: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            threads: 1,
            word_times: true,
        }
    }
}

impl Whisper {
    /// Loads a checked model. Blocks for as long as reading the file takes.
    pub fn load(model: Model) -> Result<Self, ModelError> {
        Self::load_for(model, EngineConfig::default())
    }

    /// Loads it for engines that compute in another way.
    pub fn load_for(model: Model, engine: EngineConfig) -> Result<Self, ModelError> {
        // Without a logger behind them the hooks silence whisper.cpp's own output.
        whisper_rs::install_logging_hooks();
        let mut parameters = WhisperContextParameters::default();
        parameters.flash_attn(false).use_gpu(HAS_GPU);
        parameters.dtw_parameters(DtwParameters {
            mode: if engine.word_times {
                time_warping(&model)
            } else {
                DtwMode::None
            },
            dtw_mem_size: warping_memory(&model),
        });
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
        Ok(Self {
            context: Arc::new(context),
            model,
            engine,
        })
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
            context: Arc::clone(&self.context),
            is_demo: self.model.is_demo(),
            params: HashMap::new(),
            threads: self.engine.threads,
            fit_audio_ctx: self.model.fits_audio_ctx(),
            model: self.model.revision(),
            is_multilingual: self.context.is_multilingual(),
            first_mark: self.context.token_eot(),
            audio: Vec::new(),
        })
    }
}

fn parameters(language: &'static str) -> FullParams<'static, 'static> {
    let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
    params.set_no_context(true);
    params.set_no_timestamps(true);
    // Each retry at a higher temperature costs a whole decode; two at most.
    params.set_temperature_inc(0.4);
    params.set_print_progress(false);
    params.set_print_realtime(false);
    params.set_print_special(false);
    params.set_print_timestamps(false);
    params.set_language(Some(language));
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
    context: Arc<WhisperContext>,
    /// It was never trained with a prompt, and writes nonsense after one.
    is_demo: bool,
    /// By language, of which Whisper knows a hundred.
    params: HashMap<&'static str, FullParams<'static, 'static>>,
    threads: u8,
    fit_audio_ctx: bool,
    is_multilingual: bool,
    /// Its revision.
    model: String,
    /// Tokens from here on are no text.
    first_mark: i32,
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
        (self.audio.len().div_ceil(SAMPLES_PER_POSITION) + AUDIO_CTX_MARGIN).min(FULL_AUDIO_CTX)
    }

    fn recognise(
        &mut self,
        samples: &[i16],
        manner: &Manner,
        audio_ctx: usize,
    ) -> Result<Heard, TranscribeError> {
        let language = manner.language;
        let params = self.params.entry(language);
        let mut params = params.or_insert_with(|| parameters(language)).clone();
        params.set_translate(manner.task == Task::Translate);
        if !manner.prompt.is_empty() {
            params.set_tokens(&manner.prompt);
        }
        params.set_n_threads(self.threads.into());
        params.set_audio_ctx(i32::try_from(audio_ctx).expect("at most 1500"));
        self.state
            .full(params, &self.audio)
            .map_err(|error| TranscribeError(error.to_string()))?;
        Ok(self.heard(samples, manner))
    }

    /// What a job's choices come to with this model, for the audio at hand.
    fn manner(&mut self, choices: &Choices) -> Result<Manner, TranscribeError> {
        let (language, probability) = match &choices.language {
            // An English-only model knows no language tokens; asking for another would be ignored.
            _ if !self.is_multilingual => ("en", None),
            Some(code) => (language_of(code)?, None),
            None => {
                let (language, probability) = self.detect(&choices.among)?;
                (language, Some(probability))
            }
        };
        let task = match choices.task {
            Task::Translate if self.is_multilingual => Task::Translate,
            _ => Task::Transcribe,
        };
        let prompt = choices.prompt.as_ref().filter(|_| !self.is_demo);
        let prompt = prompt.map(|prompt| self.tokens(prompt)).transpose()?;
        Ok(Manner {
            language,
            probability,
            task,
            prompt: prompt.unwrap_or_default(),
        })
    }

    /// The last tokens of a prompt, as many as Whisper looks at.
    fn tokens(&self, prompt: &Prompt) -> Result<Vec<i32>, TranscribeError> {
        let text = format!(" {}", prompt.text());
        // The binding takes a buffer that is too small for as many tokens as there are; no
        // token is shorter than a byte.
        let tokens = self.context.tokenize(&text, text.len());
        let mut tokens = tokens.map_err(|error| TranscribeError(error.to_string()))?;
        tokens.drain(..tokens.len().saturating_sub(MAX_PROMPT_TOKENS));
        Ok(tokens)
    }

    /// The most probable language of the audio among some, or among all that Whisper knows;
    /// and how probable it is among them.
    fn detect(&mut self, among: &[String]) -> Result<(&'static str, f32), TranscribeError> {
        let failed = |error: WhisperError| TranscribeError(error.to_string());
        let threads = self.threads.into();
        self.state
            .pcm_to_mel(&self.audio, threads)
            .map_err(failed)?;
        let (_, probabilities) = self.state.lang_detect(0, threads).map_err(failed)?;
        let codes = among.iter().map(|code| language_of(code));
        let codes = codes.collect::<Result<Vec<_>, _>>()?;
        let all = (0..).zip(&probabilities);
        let named = all.filter_map(|(id, &p)| Some((whisper_rs::get_lang_str(id)?, p)));
        let possible = named.filter(|(code, _)| codes.is_empty() || codes.contains(code));
        most_probable(possible)
            .ok_or_else(|| TranscribeError("the model tells no language apart".to_owned()))
    }

    fn heard(&self, samples: &[i16], manner: &Manner) -> Heard {
        let mut text = String::new();
        let mut tokens = Vec::new();
        let (mut probability, mut logprob) = (0.0f32, 0.0f32);
        let segments: Vec<_> = self.state.as_iter().collect();
        for segment in &segments {
            if let Ok(words) = segment.to_str_lossy() {
                text.push_str(&words);
            }
            for token in (0..segment.n_tokens()).filter_map(|n| segment.get_token(n)) {
                let data = token.token_data();
                // Beyond the vocabulary's text are marks that Whisper sets for itself.
                if data.id >= self.first_mark {
                    continue;
                }
                // A model that yields no numbers must not yield an answer that is none.
                let p = if data.p.is_finite() { data.p } else { 0.0 };
                probability += p;
                logprob += data.plog;
                tokens.push(Token {
                    bytes: token.to_bytes().unwrap_or_default(),
                    probability: p,
                    // Hundredths of a second; -1: none.
                    left_ms: u64::try_from(data.t_dtw).ok().map(|time| time * 10),
                });
            }
        }
        let count = tokens.len().max(1) as f32;
        Heard {
            mean_logprob: logprob / count,
            recognition: Recognition {
                text: text.trim().to_owned(),
                confidence: (probability / count).clamp(0.0, 1.0),
                language: manner.language.to_owned(),
                language_probability: manner.probability,
                task: manner.task,
                words: words::words(tokens.into_iter(), samples),
                peak_dbfs: peak_dbfs(samples),
                model: self.model.clone(),
                ..Recognition::default()
            },
        }
    }
}

/// How a job is recognised.
struct Manner {
    language: &'static str,
    /// Where it was detected.
    probability: Option<f32>,
    task: Task,
    prompt: Vec<i32>,
}

/// The most probable of some languages, and how probable it is among them.
fn most_probable(
    possible: impl Iterator<Item = (&'static str, f32)>,
) -> Option<(&'static str, f32)> {
    // A model that yields no numbers must not yield an answer that is none.
    let possible = possible.filter(|(_, p)| p.is_finite() && *p > 0.0);
    let mut sum = 0.0f32;
    let best = possible
        .inspect(|(_, p)| sum += p)
        .reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    Some((best.0, (best.1 / sum).clamp(0.0, 1.0)))
}

/// What the engine made of an utterance.
struct Heard {
    recognition: Recognition,
    mean_logprob: f32,
}

impl Heard {
    fn looks_broken(&self) -> bool {
        let text = &self.recognition.text;
        !text.is_empty() && guard::looks_broken(text, self.mean_logprob)
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
        let manner = self.manner(choices)?;
        if choices.full_context || !self.fit_audio_ctx {
            let heard = self.recognise(samples, &manner, FULL_AUDIO_CTX)?;
            return Ok(heard.recognition);
        }
        let fitted = self.recognise(samples, &manner, self.audio_ctx())?;
        if !fitted.looks_broken() {
            return Ok(fitted.recognition);
        }
        let full = self.recognise(samples, &manner, FULL_AUDIO_CTX)?;
        let better = if full.mean_logprob > fitted.mean_logprob {
            full
        } else {
            fitted
        };
        Ok(Recognition {
            retried: true,
            ..better.recognition
        })
    }
}

/// Of the demo model's nine heads these three were trained to look at the word that is being
/// written (docs/words.md has how near that comes to the word times of the synthesiser that spoke).
static DEMO_HEADS: [DtwAhead; 3] = [head(0, 0), head(1, 1), head(2, 0)];

const fn head(n_text_layer: i32, n_head: i32) -> DtwAhead {
    DtwAhead {
        n_text_layer,
        n_head,
    }
}

/// How word times are found. A list of heads must live as long as any state of the context:
/// whisper.cpp keeps the pointer, which the binding does not say.
fn time_warping(model: &Model) -> DtwMode<'static> {
    match model.alignment_heads() {
        AlignmentHeads::Demo => DtwMode::Custom {
            aheads: &DEMO_HEADS,
        },
        AlignmentHeads::Published(name) => match preset(name) {
            Some(model_preset) => DtwMode::ModelPreset { model_preset },
            None => upper_half(model),
        },
        AlignmentHeads::Unknown => upper_half(model),
    }
}

/// What time warping takes at most: three copies of the attention of all heads, for the longest
/// text and the whole window. whisper.cpp aborts where it has less.
fn warping_memory(model: &Model) -> usize {
    const LEAST: usize = 128 << 20;
    const REST: usize = 16 << 20;
    const LONGEST_TEXT: usize = 230;
    let heads = match model.alignment_heads() {
        // At most 23.
        AlignmentHeads::Demo | AlignmentHeads::Published(_) => return LEAST,
        AlignmentHeads::Unknown => model.header.n_text_layer * model.header.n_text_head,
    };
    let each = LONGEST_TEXT * FULL_AUDIO_CTX * size_of::<f32>() * 3;
    usize::try_from(heads).map_or(LEAST, |heads| (heads * each + REST).max(LEAST))
}

/// All heads of the upper half of the layers: OpenAI's choice where nobody has looked.
fn upper_half(model: &Model) -> DtwMode<'static> {
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
        "base" => DtwModelPreset::Base,
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
