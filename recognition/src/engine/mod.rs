//! Speech engines: whisper.cpp for ggml files, CTranslate2 for its folders, one trait for both.
//!
//! An engine encodes windows of audio, detects their languages, decodes text and aligns it with
//! the audio. What to try, and what to believe of it, is decided by
//! [`Transcriber`](super::transcriber), the same for both.

pub(crate) mod ctranslate2;
pub(crate) mod whisper_cpp;

use asterscribe_call::{InitialPrompt, SpeechTask};

use crate::TranscribeError;
use crate::ladder::{ContextLadder, ContextMargins};
use crate::model::{ModelError, ModelSource, SpeechModel};
use crate::transcriber::WhisperTranscriber;

/// Number of a token in a model's vocabulary.
pub(crate) type TokenId = u32;

/// Tokens of a prompt that Whisper looks at: half of its text context, less the mark before them.
pub(crate) const MAX_PROMPT_TOKENS: usize = 223;

/// Variables that a process which holds an engine is started with: the libraries read them once,
/// before anything else.
pub fn process_environment() -> Vec<(&'static str, &'static str)> {
    // Each engine computes on the one thread that it has.
    let mut variables = vec![("OMP_THREAD_LIMIT", "1")];
    // Of glibc's pools for threads each keeps what others could use: a worker with `base` has a
    // quarter less memory with one, and is no slower.
    variables.push(("MALLOC_ARENA_MAX", "1"));
    variables.extend(ctranslate2::instructions());
    variables
}

/// How an engine computes. The service runs with the default; anything else is there to be
/// measured beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Threads that compute one utterance.
    pub threads: u8,
    /// Transcribers that work at the same time, each on a thread of its own.
    pub transcribers: usize,
    /// Whether words get times.
    pub word_times: bool,
    /// Contexts to try; `None`: those that were measured for the model.
    pub margins: Option<ContextMargins>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            threads: 1,
            transcribers: 1,
            word_times: true,
            margins: None,
        }
    }
}

/// How one window is decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DecodeOrder<'a> {
    /// Whisper's code of the language that is spoken.
    pub(crate) language: &'static str,
    pub(crate) task: SpeechTask,
    /// Tokens as if they had come before.
    pub(crate) prompt: &'a [TokenId],
    /// Tokens that the text may have.
    pub(crate) max_tokens: usize,
}

/// A token of text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TextToken {
    pub(crate) id: TokenId,
    /// UTF-8, of which a token may hold a part only.
    pub(crate) bytes: Vec<u8>,
    /// How probable the model found it, 0 to 1; 0 until it is aligned, where the engine tells
    /// it only then.
    pub(crate) probability: f32,
    /// Where the decoder's attention left it, milliseconds of the window.
    pub(crate) left_ms: Option<u64>,
}

/// The text of a window.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WindowText {
    /// Tokens of text, without the marks around them.
    pub(crate) tokens: Vec<TextToken>,
    pub(crate) mean_logprob: f32,
    /// How probable the model found it that nobody speaks, where the engine tells.
    pub(crate) no_speech_probability: Option<f32>,
    /// Whether there were as many tokens as there might be.
    pub(crate) reached_cap: bool,
}

impl WindowText {
    /// The text, trimmed.
    pub(crate) fn text(&self) -> String {
        let bytes: Vec<u8> = self
            .tokens
            .iter()
            .flat_map(|token| token.bytes.iter().copied())
            .collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

/// Languages by Whisper's codes, and how probable each is.
pub(crate) type LanguageProbabilities = Vec<(&'static str, f32)>;

/// A speech engine bound to one thread. It blocks for as long as it computes.
///
/// The order is: [`encode`](Self::encode) once, then [`detect_languages`](Self::detect_languages)
/// if need be, then [`decode`](Self::decode), then [`align`](Self::align). What is said of a
/// window depends on that window alone, never on those beside or before it.
pub(crate) trait SpeechEngine {
    /// Whether the model knows more languages than English.
    fn is_multilingual(&self) -> bool;

    /// Whether the model has a token for the language of that code: the newest ones alone have one
    /// for Cantonese.
    fn knows_language(&self, code: &str) -> bool;

    /// The last tokens of a text, at most [`MAX_PROMPT_TOKENS`].
    fn prompt_tokens(&self, prompt: &InitialPrompt) -> Result<Vec<TokenId>, TranscribeError>;

    /// Takes windows of 16 kHz samples, each with so many positions of the encoder.
    fn encode(&mut self, windows: &[&[f32]], positions: usize) -> Result<(), TranscribeError>;

    /// Languages of the windows that were encoded last.
    fn detect_languages(&mut self) -> Result<Vec<LanguageProbabilities>, TranscribeError>;

    /// Texts of the windows that were encoded last; prompts have the same number of tokens.
    fn decode(&mut self, orders: &[DecodeOrder<'_>]) -> Result<Vec<WindowText>, TranscribeError>;

    /// Gives the tokens of what was decoded last their times and probabilities, where that was
    /// not done along with it; `orders` are those that it was decoded by.
    fn align(
        &mut self,
        orders: &[DecodeOrder<'_>],
        decodings: &mut [WindowText],
    ) -> Result<(), TranscribeError>;
}

/// A model in memory, shared by its transcribers.
#[derive(Debug)]
pub struct LoadedModel {
    model: SpeechModel,
    config: EngineConfig,
    weights: EngineWeights,
}

#[derive(Debug)]
enum EngineWeights {
    WhisperCpp(whisper_cpp::FileWeights),
    CTranslate2(ctranslate2::FolderWeights),
}

impl LoadedModel {
    /// Loads a checked model. Blocks for as long as reading its files takes.
    ///
    /// # Errors
    /// The engine refuses it.
    pub fn load(model: SpeechModel, config: EngineConfig) -> Result<Self, ModelError> {
        let weights = match &model.source {
            ModelSource::File { .. } | ModelSource::BuiltIn(_) => {
                EngineWeights::WhisperCpp(whisper_cpp::FileWeights::load(&model, &config)?)
            }
            ModelSource::Folder(folder) => EngineWeights::CTranslate2(
                ctranslate2::FolderWeights::load(&model, folder, &config)?,
            ),
        };
        Ok(Self {
            model,
            config,
            weights,
        })
    }

    /// The model that was loaded.
    pub fn model(&self) -> &SpeechModel {
        &self.model
    }

    /// A transcriber of its own for one thread.
    ///
    /// # Errors
    /// There is no memory for its state.
    pub fn transcriber(&self) -> Result<WhisperTranscriber, TranscribeError> {
        let engine: Box<dyn SpeechEngine> = match &self.weights {
            EngineWeights::WhisperCpp(weights) => Box::new(weights.engine(&self.config)?),
            EngineWeights::CTranslate2(weights) => Box::new(weights.engine()),
        };
        let mut margins = ContextMargins::chosen(self.config.margins.as_ref(), &self.model);
        // Without times nobody can tell the sentinel from the caller's own word.
        margins.sentinel = margins.sentinel.filter(|_| self.config.word_times);
        let ladder = ContextLadder::new(margins, &self.model);
        Ok(WhisperTranscriber::new(engine, ladder, &self.model))
    }
}

/// Whisper's own name of a language, or why there is none.
pub(crate) fn language_named(code: &str) -> Result<&'static str, TranscribeError> {
    asterscribe_call::language_code(code)
        .ok_or_else(|| TranscribeError(format!("Whisper knows no language {code:?}")))
}
