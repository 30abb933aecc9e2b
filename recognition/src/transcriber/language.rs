//! The language of an utterance, where the engine has to find it out.
//!
//! A language that was detected in what a party said before is given like one that an operator
//! chose. An announcement may have been detected, or the party may have changed: Whisper then
//! writes words of that language which nobody said, and is not sure of them. Such an utterance
//! is looked at once more while its audio is at hand, so that no line is lost by it.

use asterscribe_speech::language::{
    DOUBTFUL_CONFIDENCE, LEAST_LANGUAGE_MS, LEAST_LANGUAGE_PROBABILITY,
};
use asterscribe_speech::{DecodeOptions, RetryReason, SAMPLES_PER_MS};

use super::{AttemptedUtterance, WhisperTranscriber, confidence};
use crate::TranscribeError;
use crate::engine::{LanguageProbabilities, WindowText, language_named};
use crate::ladder::EncoderWindow;

impl WhisperTranscriber {
    /// Recognises an utterance in another language, where its words do not fit the one that was
    /// detected before and it surely is another. The text that the model is surer of stands.
    pub(super) fn try_other_language(
        &mut self,
        attempted: &mut AttemptedUtterance<'_>,
    ) -> Result<(), TranscribeError> {
        let Some((given, None)) = attempted.language else {
            return Ok(());
        };
        let is_doubtful =
            |best: &WindowText| !best.tokens.is_empty() && confidence(best) < DOUBTFUL_CONFIDENCE;
        if !attempted.choices.language_is_detected
            || !self.engine.is_multilingual()
            || (attempted.samples.len() as u64) < LEAST_LANGUAGE_MS * SAMPLES_PER_MS
            || !attempted.best.as_ref().is_some_and(is_doubtful)
        {
            return Ok(());
        }
        // The engine holds what it encoded last, which may have been others' or the sentinel's.
        let plain = attempted.windows.iter().find(|window| !window.has_sentinel);
        let window = plain.copied().unwrap_or(EncoderWindow::WHOLE);
        self.engine.encode(&[&attempted.audio], window.positions)?;
        let detected = self.engine.detect_languages()?;
        let Some(probabilities) = detected.first() else {
            return Ok(());
        };
        // A model that tells no language apart has written something all the same.
        let Ok((language, probability)) = most_probable(probabilities, attempted.choices) else {
            return Ok(());
        };
        if language == given || probability < LEAST_LANGUAGE_PROBABILITY {
            return Ok(());
        }
        let choices = DecodeOptions {
            language: Some(language.to_owned()),
            ..attempted.choices.clone()
        };
        let before = (attempted.language, attempted.best.take());
        attempted.windows = self.ladder.windows(attempted.samples.len(), &choices);
        attempted.tried = 0;
        attempted.language = Some((language, Some(probability)));
        attempted.retries.push(RetryReason::Language);
        self.climb(attempted)?;
        let surety = attempted.best.as_ref().map_or(0.0, confidence);
        if surety <= before.1.as_ref().map_or(0.0, confidence) {
            (attempted.language, attempted.best) = before;
        }
        Ok(())
    }
}

/// The most probable of the languages that may be spoken, and how probable it is among them.
pub(super) fn most_probable(
    probabilities: &LanguageProbabilities,
    choices: &DecodeOptions,
) -> Result<(&'static str, f32), TranscribeError> {
    let among = choices.among.iter().map(|code| language_named(code));
    let among = among.collect::<Result<Vec<_>, _>>()?;
    let is_possible = |code: &str| among.is_empty() || among.contains(&code);
    // A model that yields no numbers must not yield an answer that is none.
    let possible = probabilities
        .iter()
        .filter(|(code, p)| is_possible(code) && p.is_finite() && *p > 0.0);
    let mut sum = 0.0f32;
    let best = possible
        .inspect(|(_, p)| sum += p)
        .reduce(|best, next| if next.1 > best.1 { next } else { best });
    let (code, probability) =
        best.ok_or_else(|| TranscribeError("the model tells no language apart".to_owned()))?;
    Ok((code, (probability / sum).clamp(0.0, 1.0)))
}
