//! Speech of one call leg, from 16 kHz samples: a detector and a segmenter cut a leg's audio into
//! utterances, other sounds are told apart, and guards hold back text that nobody can have spoken.
//! State machines without engine, socket or clock; `asterscribe_recognition` recognises.

pub mod detector;
pub mod fourier;
pub mod guard;
pub mod high_pass;
pub mod language;
pub mod packed;
pub mod segmenter;
pub mod sound;

use asterscribe_call::{InitialPrompt, SpeechTask, SpokenWord};
use serde::{Deserialize, Serialize};

use self::high_pass::HighPass;

/// Rate of all audio in this module, Hz: what Whisper takes.
pub const SAMPLE_RATE: u32 = 16_000;

/// Samples in a millisecond of audio.
pub const SAMPLES_PER_MS: u64 = SAMPLE_RATE as u64 / 1000;

/// A piece of audio to be recognised: 16 kHz mono linear PCM. Never empty,
/// never longer than Whisper's window. 16-bit samples, since half the size of
/// `f32` loses nothing that telephony had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Utterance {
    /// Position of the first sample on the leg's timeline, in samples.
    pub start: u64,
    /// Samples of the utterance.
    pub samples: Vec<i16>,
}

impl Utterance {
    /// Position one past the last sample on the leg's timeline.
    pub fn end(&self) -> u64 {
        self.start + self.samples.len() as u64
    }
}

/// Options for decoding an utterance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DecodeOptions {
    /// Language that is spoken, Whisper's code; `None`: Whisper detects it.
    pub language: Option<String>,
    /// Languages to choose from in detection; empty: all that the model knows.
    #[serde(default)]
    pub among: Vec<String>,
    /// Whether the language was detected in earlier speech of the same party. Where the words do
    /// not fit it, the engine may then find another one, and gives its probability.
    #[serde(default)]
    pub language_is_detected: bool,
    /// Prompt that Whisper is given as if it had come before.
    #[serde(default)]
    pub prompt: Option<InitialPrompt>,
    /// Transcription, or translation to English; a model that knows English only does not
    /// translate.
    #[serde(default)]
    pub task: SpeechTask,
    /// Whether the encoder computes its whole window from the first try on.
    #[serde(default)]
    pub full_context: bool,
}

/// The result of recognising an utterance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recognition {
    /// Text; empty if the engine recognised no words.
    pub text: String,
    /// Mean probability of the text's tokens, 0 to 1.
    pub confidence: f32,
    /// Language that was spoken, Whisper's code, mostly ISO 639-1.
    pub language: String,
    /// Probability of that language among those that were allowed, 0 to 1, where it was detected.
    #[serde(default)]
    pub language_probability: Option<f32>,
    /// Task that was done: transcription or translation.
    #[serde(default)]
    pub task: SpeechTask,
    /// Words of the text with their times.
    #[serde(default)]
    pub words: Vec<SpokenWord>,
    /// Level of the loudest tenth of a second, dB of full scale, without hum and offset.
    #[serde(default)]
    pub peak_dbfs: f32,
    /// Name and revision of the model.
    #[serde(default)]
    pub model: String,
    /// Probability that nobody speaks, 0 to 1, as the model gave it, where the engine has it.
    #[serde(default)]
    pub no_speech_probability: Option<f32>,
    /// Mean log-probability of the text's tokens, as they were written behind the prompt, where it
    /// is that of this text alone. `confidence` may be what the tokens have without the prompt.
    #[serde(default)]
    pub mean_logprob: Option<f32>,
    /// Fault of each try before this one.
    #[serde(default)]
    pub retries: Vec<RetryReason>,
}

/// Reason for trying an utterance once more with a longer context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryReason {
    /// The text goes on with its own beginning: the decoder found no end.
    BeginsAgain,
    /// The text has as many tokens as are allowed.
    TokenCap,
    /// Words come several times in a row.
    Repetition,
    /// The model is not sure of its words.
    LowProbability,
    /// With the sentinel, the text was only what noise gives as well, or had words behind the
    /// utterance.
    Sentinel,
    /// The words did not fit the language that the party had spoken before, and another one was
    /// detected.
    Language,
}

impl RetryReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::BeginsAgain,
        Self::TokenCap,
        Self::Repetition,
        Self::LowProbability,
        Self::Sentinel,
        Self::Language,
    ];

    /// Name of the reason in figures and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeginsAgain => "begins_again",
            Self::TokenCap => "token_cap",
            Self::Repetition => "repetition",
            Self::LowProbability => "low_probability",
            Self::Sentinel => "sentinel",
            Self::Language => "language",
        }
    }
}

/// Level of the loudest tenth of a second, dB of full scale, without hum and offset (as
/// [`high_pass`] has it); -100 for digital silence.
pub fn peak_dbfs(samples: &[i16]) -> f32 {
    let mut filter = HighPass::before(samples);
    let power = |part: &[i16]| filter.energy(part) / part.len() as f32;
    let loudest = samples.chunks(SAMPLE_RATE as usize / 10).map(power);
    let loudest = loudest.fold(0.0, f32::max) / (32768.0 * 32768.0);
    (10.0 * loudest.log10()).max(-100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hum_and_offset_do_not_make_silence_loud() {
        let hum = |n: u32| 0.1 * (std::f32::consts::TAU * 50.0 * n as f32 / 16_000.0 + 1.0).sin();
        let samples = |quiet: f32| -> Vec<i16> {
            let tone = |n: u32| quiet * (n as f32).sin();
            let sum = |n: u32| (32_768.0 * (hum(n) + tone(n) + 0.2)) as i16;
            (0..16_000).map(sum).collect()
        };
        assert!(
            peak_dbfs(&samples(0.0)) < -70.0,
            "{}",
            peak_dbfs(&samples(0.0))
        );
        // A sinusoid of that amplitude.
        let heard = peak_dbfs(&samples(0.01));
        assert!((heard + 43.0).abs() < 0.5, "{heard}");
        assert_eq!(peak_dbfs(&[0; 800]), -100.0);
        assert_eq!(peak_dbfs(&[-9_000; 800]), -100.0);
    }
}
