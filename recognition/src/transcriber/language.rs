//! The language of an utterance, where the engine has to find it out.
//!
//! A language that was detected in what a party said before is given like one that an operator
//! chose. An announcement may have been detected, or the party may have changed: Whisper then
//! writes words of that language which nobody said, and is not sure of them. Such an utterance
//! is looked at once more while its audio is at hand, so that no line is lost by it.

use asterscribe_speech::language::{
    DOUBTFUL_CONFIDENCE, LEAST_LANGUAGE_MS, LEAST_LANGUAGE_PROBABILITY,
};
use asterscribe_speech::{DecodeOptions, RetryReason, SAMPLES_PER_MS, guard};

use super::{AttemptedUtterance, WhisperTranscriber, confidence, has_end};
use crate::TranscribeError;
use crate::engine::{LanguageProbabilities, WindowText, language_named};
use crate::ladder::EncoderWindow;

/// A language that an utterance surely is in, though another one was detected before.
struct OtherLanguage {
    code: &'static str,
    probability: f32,
}

impl WhisperTranscriber {
    /// Recognises an utterance in another language, where its words do not fit the one that was
    /// detected before and it surely is another. The text that can be believed stands, of two the
    /// one that the model is surer of; and the first, whatever fails on the way to the second.
    pub(super) fn try_other_language(&mut self, attempted: &mut AttemptedUtterance<'_>) {
        let Some(OtherLanguage { code, probability }) = self.other_language(attempted) else {
            return;
        };
        let choices = DecodeOptions {
            language: Some(code.to_owned()),
            ..attempted.choices.clone()
        };
        let before = (attempted.language, attempted.best.clone());
        let is_first_sound = self.is_sound(attempted);
        attempted.best = None;
        attempted.windows = self.ladder.windows(attempted.samples.len(), &choices);
        attempted.tried = 0;
        attempted.language = Some((code, Some(probability)));
        attempted.retries.push(RetryReason::Language);
        let climbed = self.climb(attempted);
        let surety = |best: &Option<WindowText>| best.as_ref().map_or(0.0, confidence);
        let is_surer = surety(&attempted.best) > surety(&before.1);
        let is_better = self.is_sound(attempted) && (is_surer || !is_first_sound);
        if climbed.is_err() || !is_better {
            (attempted.language, attempted.best) = before;
        }
    }

    /// The other language that an utterance surely is in, where its words do not fit the one that
    /// was detected before. Nothing where that cannot be told: something is written already.
    fn other_language(&mut self, attempted: &AttemptedUtterance<'_>) -> Option<OtherLanguage> {
        let (given, None) = attempted.language? else {
            return None;
        };
        let is_doubtful =
            |best: &WindowText| !best.tokens.is_empty() && confidence(best) < DOUBTFUL_CONFIDENCE;
        if !attempted.choices.language_is_detected
            || !self.engine.is_multilingual()
            || (attempted.samples.len() as u64) < LEAST_LANGUAGE_MS * SAMPLES_PER_MS
            || !attempted.best.as_ref().is_some_and(is_doubtful)
        {
            return None;
        }
        // The engine holds what it encoded last, which may have been others' or the sentinel's.
        let plain = attempted.windows.iter().find(|window| !window.has_sentinel);
        let window = plain.copied().unwrap_or(EncoderWindow::WHOLE);
        let encoded = self.engine.encode(&[&attempted.audio], window.positions);
        let detected = encoded.and_then(|()| self.engine.detect_languages()).ok()?;
        let (code, probability) = most_probable(detected.first()?, attempted.choices).ok()?;
        let is_sure = code != given && probability >= LEAST_LANGUAGE_PROBABILITY;
        is_sure.then_some(OtherLanguage { code, probability })
    }

    /// Whether the text found so far has its end and will be believed.
    fn is_sound(&self, attempted: &AttemptedUtterance<'_>) -> bool {
        let duration_ms = attempted.samples.len() as u64 / SAMPLES_PER_MS;
        let prompt = attempted.choices.prompt.as_ref();
        attempted.best.as_ref().is_some_and(has_end) && {
            let judged = guard::judge(self.recognition(attempted), duration_ms, prompt);
            !judged.believed.text.is_empty()
        }
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
