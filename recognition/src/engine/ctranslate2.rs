//! Engine for CTranslate2's model folders: the only module that uses `ct2rs`.
//!
//! The weights are quantised to 8 bits as they are loaded. Its encoder takes any number of
//! frames, so a context fitted to the utterance costs what it is long; its decoder takes several
//! windows at once and reads the weights once for all of them.
//!
//! - The spectrogram is computed here: CTranslate2 takes it as its input.
//! - `max_length` includes the prompt, and the text gets half of it at most.
//! - Alignment normalises over all windows of a call when they are equally long, so that a window
//!   would change its neighbour's times; such windows are aligned one by one.

use std::sync::Arc;

use asterscribe_call::{InitialPrompt, SpeechTask};
use ct2rs::sys::{
    ComputeType, Config, Device, LogLevel, StorageView, Whisper, WhisperAlignmentResult,
    WhisperOptions, set_log_level,
};

use super::{
    DecodeOrder, EngineConfig, LanguageProbabilities, MAX_PROMPT_TOKENS, SpeechEngine, TextToken,
    TokenId, WindowText, language_named,
};
use crate::TranscribeError;
use crate::mel::{FRAMES_PER_POSITION, MelSpectrogram, SAMPLES_PER_POSITION};
use crate::model::{ModelError, ModelFolder, ModelVocabulary, SpeechModel};

/// Milliseconds of a position of the encoder.
const POSITION_MS: u64 = 20;

/// Positions over which attention is smoothed before it is followed (OpenAI's choice).
const MEDIAN_FILTER: i64 = 7;

/// A loaded folder, shared by its engines.
#[derive(Debug)]
pub(crate) struct FolderWeights(Arc<SharedWhisper>);

#[derive(Debug)]
struct SharedWhisper {
    whisper: Whisper,
    vocabulary: Arc<ModelVocabulary>,
    marks: MarkTokens,
    n_mels: usize,
    has_word_times: bool,
}

/// Numbers of the tokens around the text.
#[derive(Debug)]
struct MarkTokens {
    previous: String,
    start: String,
    no_timestamps: String,
    /// Whether the text begins with start, language and task; with the first alone where the model
    /// knows English only.
    is_multilingual: bool,
}

impl FolderWeights {
    /// Loads a checked folder.
    pub(crate) fn load(
        model: &SpeechModel,
        folder: &ModelFolder,
        config: &EngineConfig,
    ) -> Result<Self, ModelError> {
        // What it has to say about types it says in its errors.
        set_log_level(LogLevel::Off);
        let refused = |reason: String| ModelError::Refused {
            engine: "CTranslate2",
            path: folder.path.clone(),
            reason,
        };
        let loaded = Whisper::new(
            &folder.path,
            Config {
                device: Device::CPU,
                compute_type: ComputeType::INT8,
                // One replica for each thread that asks; they share the weights.
                device_indices: vec![0; config.transcribers],
                num_threads_per_replica: config.threads.into(),
                ..Config::default()
            },
        );
        let whisper = loaded.map_err(|error| refused(error.to_string()))?;
        if !folder.is_unchanged() {
            return Err(ModelError::Changed {
                path: folder.path.clone(),
            });
        }
        Ok(Self(Arc::new(SharedWhisper {
            whisper,
            vocabulary: Arc::clone(folder.vocabulary()),
            marks: MarkTokens {
                previous: "<|startofprev|>".to_owned(),
                start: "<|startoftranscript|>".to_owned(),
                no_timestamps: "<|notimestamps|>".to_owned(),
                is_multilingual: !model.header.is_english(),
            },
            n_mels: model.header.n_mels as usize,
            has_word_times: config.word_times && folder.has_alignment_heads(),
        })))
    }

    /// An engine for one thread.
    pub(crate) fn engine(&self) -> CTranslate2Engine {
        CTranslate2Engine {
            spectrogram: MelSpectrogram::new(self.0.n_mels),
            shared: Arc::clone(&self.0),
            windows: Vec::new(),
            encoded: None,
        }
    }
}

/// One thread's engine.
pub(crate) struct CTranslate2Engine {
    shared: Arc<SharedWhisper>,
    spectrogram: MelSpectrogram,
    /// Positions of audio in each window that was encoded last.
    windows: Vec<usize>,
    /// Encoder output of those windows, with the spectrograms that it was computed from.
    encoded: Option<EncodedWindows>,
}

struct EncodedWindows {
    output: StorageView<'static>,
    /// Log-mel spectrograms of the windows, one after the other.
    mels: Vec<f32>,
    positions: usize,
}

fn failed(error: impl std::fmt::Display) -> TranscribeError {
    TranscribeError(error.to_string())
}

impl CTranslate2Engine {
    fn run_encoder(
        &self,
        mels: &mut [f32],
        windows: usize,
        positions: usize,
    ) -> Result<StorageView<'static>, TranscribeError> {
        let shape = [windows, self.shared.n_mels, positions * FRAMES_PER_POSITION];
        let features = StorageView::new(&shape, mels, Device::CPU).map_err(failed)?;
        self.shared.whisper.encode(&features, false).map_err(failed)
    }

    fn encoded(&self) -> Result<&EncodedWindows, TranscribeError> {
        let encoded = self.encoded.as_ref();
        encoded.ok_or_else(|| TranscribeError("nothing was encoded".to_owned()))
    }

    /// Tokens before the text, except the one that says that no times follow.
    fn start_tokens(&self, order: &DecodeOrder<'_>) -> Vec<String> {
        let mut tokens = vec![self.shared.marks.start.clone()];
        if self.shared.marks.is_multilingual {
            tokens.push(format!("<|{}|>", order.language));
            tokens.push(match order.task {
                SpeechTask::Transcribe => "<|transcribe|>".to_owned(),
                SpeechTask::Translate => "<|translate|>".to_owned(),
            });
        }
        tokens
    }

    fn prompt(&self, order: &DecodeOrder<'_>) -> Vec<String> {
        let mut tokens = Vec::new();
        if !order.prompt.is_empty() {
            tokens.push(self.shared.marks.previous.clone());
            let names = order
                .prompt
                .iter()
                .map(|&id| self.shared.vocabulary.name(id));
            tokens.extend(names.flatten().map(str::to_owned));
        }
        tokens.extend(self.start_tokens(order));
        tokens.push(self.shared.marks.no_timestamps.clone());
        tokens
    }

    /// Aligns windows that were encoded together.
    fn align_with(
        &self,
        encoded: &StorageView<'_>,
        order: &DecodeOrder<'_>,
        decodings: &[WindowText],
        windows: &[usize],
    ) -> Result<Vec<WhisperAlignmentResult>, TranscribeError> {
        let start = self.start_tokens(order);
        let start = start.iter().map(|name| {
            let id = self.shared.vocabulary.id(name);
            let id = id.ok_or_else(|| TranscribeError(format!("the model has no token {name}")));
            id.map(|id| id as usize)
        });
        let start = start.collect::<Result<Vec<_>, _>>()?;
        let text = |decoding: &WindowText| {
            decoding
                .tokens
                .iter()
                .map(|token| token.id as usize)
                .collect()
        };
        let texts: Vec<Vec<usize>> = decodings.iter().map(text).collect();
        let frames: Vec<usize> = windows.iter().map(|n| n * FRAMES_PER_POSITION).collect();
        let whisper = &self.shared.whisper;
        whisper
            .align(encoded, &start, &texts, &frames, MEDIAN_FILTER)
            .map_err(failed)
    }

    /// Encodes one window anew and aligns it alone.
    fn align_alone(
        &self,
        n: usize,
        order: &DecodeOrder<'_>,
        decoding: &WindowText,
    ) -> Result<Vec<WhisperAlignmentResult>, TranscribeError> {
        let EncodedWindows {
            mels, positions, ..
        } = self.encoded()?;
        let length = self.shared.n_mels * positions * FRAMES_PER_POSITION;
        let mut mels = mels[n * length..(n + 1) * length].to_vec();
        let encoded = self.run_encoder(&mut mels, 1, *positions)?;
        let decodings = std::slice::from_ref(decoding);
        self.align_with(&encoded, order, decodings, &self.windows[n..=n])
    }
}

/// Variables by which CTranslate2 and oneDNN choose their instructions.
pub(super) fn instructions() -> Vec<(&'static str, &'static str)> {
    // oneDNN would use AMX where there is any, which takes a fifth longer for products as thin as
    // a decoder's.
    let mut variables = vec![("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")];
    #[cfg(target_arch = "x86_64")]
    {
        // CTranslate2 leaves AVX-512 alone, which made the first processors that had it clock down.
        // Those with VNNI do not; there it takes a tenth off.
        let has_it = std::is_x86_feature_detected!("avx512vnni")
            && std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512cd")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx512dq")
            && std::is_x86_feature_detected!("avx512bw");
        if has_it {
            variables.push(("CT2_FORCE_CPU_ISA", "AVX512"));
        }
    }
    variables
}

impl SpeechEngine for CTranslate2Engine {
    fn is_multilingual(&self) -> bool {
        self.shared.marks.is_multilingual
    }

    fn knows_language(&self, code: &str) -> bool {
        self.shared.vocabulary.id(&format!("<|{code}|>")).is_some()
    }

    fn prompt_tokens(&self, prompt: &InitialPrompt) -> Result<Vec<TokenId>, TranscribeError> {
        let text = format!(" {}", prompt.text());
        let mut tokens = self.shared.vocabulary.encode(&text);
        tokens.drain(..tokens.len().saturating_sub(MAX_PROMPT_TOKENS));
        Ok(tokens)
    }

    fn encode(&mut self, windows: &[&[f32]], positions: usize) -> Result<(), TranscribeError> {
        self.windows.clear();
        let mut mels = Vec::new();
        for window in windows {
            self.windows
                .push(window.len().div_ceil(SAMPLES_PER_POSITION).min(positions));
            mels.extend(self.spectrogram.of(window, positions));
        }
        let output = self.run_encoder(&mut mels, windows.len(), positions)?;
        self.encoded = Some(EncodedWindows {
            output,
            mels,
            positions,
        });
        Ok(())
    }

    fn detect_languages(&mut self) -> Result<Vec<LanguageProbabilities>, TranscribeError> {
        let encoded = self.encoded()?;
        let detected = self.shared.whisper.detect_language(&encoded.output);
        let language = |token: &str| {
            let code = token.strip_prefix("<|")?.strip_suffix("|>")?;
            language_named(code).ok()
        };
        let languages = detected.map_err(failed)?.into_iter().map(|window| {
            let named = window.iter();
            let named = named.filter_map(|one| Some((language(&one.language)?, one.probability)));
            named.collect()
        });
        Ok(languages.collect())
    }

    fn decode(&mut self, orders: &[DecodeOrder<'_>]) -> Result<Vec<WindowText>, TranscribeError> {
        let encoded = self.encoded()?;
        let prompts: Vec<_> = orders.iter().map(|order| self.prompt(order)).collect();
        // The longest text that one of them may have; the others are held to theirs below.
        let cap = orders.iter().map(|order| order.max_tokens).max();
        let cap = cap.unwrap_or_default();
        let length = prompts.first().map_or(0, Vec::len);
        let options = WhisperOptions {
            beam_size: 1,
            // Decoding ends at half of this, and at all of it less the prompt but its last token.
            max_length: (2 * cap).max(cap + length),
            return_scores: true,
            return_no_speech_prob: true,
            ..WhisperOptions::default()
        };
        let whisper = &self.shared.whisper;
        let results = whisper.generate(&encoded.output, &prompts, &options);
        let decoded = results.map_err(failed)?.into_iter().zip(orders);
        let decoding = decoded.map(|(result, order)| {
            let ids = result.sequences_ids.first().map_or(&[][..], Vec::as_slice);
            let reached_cap = ids.len() >= order.max_tokens;
            // Its sum is over the tokens of the text and its end, its divisor their number without
            // the end.
            let score = result.scores.first().copied().unwrap_or(0.0);
            let sure = if self.shared.has_word_times {
                0.0
            } else {
                // Nothing will tell of each token.
                score.exp().clamp(0.0, 1.0)
            };
            let text = ids.iter().take(order.max_tokens).filter_map(|&id| {
                let id = u32::try_from(id).ok()?;
                Some(TextToken {
                    id,
                    bytes: self.shared.vocabulary.bytes(id)?.to_vec(),
                    probability: sure,
                    left_ms: None,
                })
            });
            WindowText {
                tokens: text.collect(),
                // A model that yields no numbers must not yield an answer that is none.
                mean_logprob: if score.is_finite() { score } else { f32::MIN },
                no_speech_probability: Some(result.no_speech_prob).filter(|p| p.is_finite()),
                reached_cap,
            }
        });
        Ok(decoding.collect())
    }

    fn align(
        &mut self,
        orders: &[DecodeOrder<'_>],
        decodings: &mut [WindowText],
    ) -> Result<(), TranscribeError> {
        if !self.shared.has_word_times {
            return Ok(());
        }
        let lengths = || decodings.iter().map(|decoding| decoding.tokens.len());
        let first = self.windows.first();
        let are_equal = self.windows.iter().all(|window| Some(window) == first)
            && lengths().any(|length| Some(length) != lengths().next());
        let mut aligned: Vec<Option<WhisperAlignmentResult>> =
            decodings.iter().map(|_| None).collect();
        for n in 0..orders.len() {
            if aligned[n].is_some() {
                continue;
            }
            let order = &orders[n];
            if are_equal {
                aligned[n] = self
                    .align_alone(n, order, &decodings[n])?
                    .into_iter()
                    .next();
                continue;
            }
            // All are aligned as if they were spoken in the language of this one; those that
            // are keep what comes of it.
            let encoded = &self.encoded()?.output;
            let all = self.align_with(encoded, order, decodings, &self.windows)?;
            for ((place, result), other) in aligned.iter_mut().zip(all).zip(orders) {
                if (other.language, other.task) == (order.language, order.task) {
                    *place = Some(result);
                }
            }
        }
        for (decoding, aligned) in decodings.iter_mut().zip(aligned.iter().flatten()) {
            tell_times(decoding, aligned);
        }
        Ok(())
    }
}

/// Gives tokens the times and probabilities of an alignment: its path goes through pairs of a
/// token and a position; a token is left where the next one begins.
fn tell_times(decoding: &mut WindowText, aligned: &WhisperAlignmentResult) {
    let arrived = |token: usize| {
        let mut path = aligned.alignments.iter();
        let step = path.find(|step| usize::try_from(step.token_x).is_ok_and(|at| at >= token))?;
        u64::try_from(step.frame_x).ok()
    };
    let probabilities = aligned.text_token_probs.iter();
    for (n, (token, probability)) in decoding.tokens.iter_mut().zip(probabilities).enumerate() {
        token.probability = if probability.is_finite() {
            *probability
        } else {
            0.0
        };
        token.left_ms = arrived(n + 1).map(|position| position * POSITION_MS);
    }
}
