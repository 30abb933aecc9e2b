//! Transcriber for any engine: language, prompt, the ladder of contexts, and times of words.
//!
//! Utterances whose first windows are alike are decoded together, which costs less than one after
//! the other; each further try is made alone. What comes of an utterance does not
//! depend on those beside it.

mod language;

use std::borrow::Cow;

use asterscribe_call::SpeechTask;
use asterscribe_speech::RetryReason;
use asterscribe_speech::{DecodeOptions, Recognition, SAMPLE_RATE, peak_dbfs};

use self::language::most_probable;
use crate::engine::{DecodeOrder, SpeechEngine, TokenId, WindowText, language_named};
use crate::ladder::{ContextLadder, EncoderWindow, WHOLE_WINDOW, endless, token_cap};
use crate::mel::SAMPLES_PER_POSITION;
use crate::model::SpeechModel;
use crate::words;
use crate::words::TimedToken;
use crate::{TranscribeError, Transcriber, UtteranceRef, sentinel};

/// Least samples of audio, 0.5 s; shorter audio is padded with silence, since whisper.cpp gives
/// nothing below 110 ms and reads out of bounds below 201 samples.
const MIN_SAMPLES: usize = SAMPLE_RATE as usize / 2;

/// Whisper's window, samples (30 s).
const WINDOW_SAMPLES: usize = WHOLE_WINDOW * SAMPLES_PER_POSITION;

/// A transcriber on one thread, with an engine of its own.
pub struct WhisperTranscriber {
    engine: Box<dyn SpeechEngine>,
    ladder: ContextLadder,
    /// Name and revision of the model.
    model: String,
    /// Whether it is the demo model, which was never trained with a prompt and writes nonsense
    /// after one.
    is_demo: bool,
}

impl std::fmt::Debug for WhisperTranscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WhisperTranscriber")
            .field("model", &self.model)
            .field("ladder", &self.ladder)
            .finish_non_exhaustive()
    }
}

/// An utterance on its way through the ladder.
struct AttemptedUtterance<'a> {
    samples: &'a [i16],
    choices: &'a DecodeOptions,
    /// Samples in the form that the engine takes.
    audio: Vec<f32>,
    /// Windows to try, in order, and the number of those that were tried.
    windows: Vec<EncoderWindow>,
    tried: usize,
    prompt: Vec<TokenId>,
    task: SpeechTask,
    /// Language, once it is known, and its probability where it was detected.
    language: Option<(&'static str, Option<f32>)>,
    best: Option<WindowText>,
    /// Fault of each try but the last.
    retries: Vec<RetryReason>,
}

impl AttemptedUtterance<'_> {
    /// Key by which utterances can be decoded together: the next window, the prompt's length, and
    /// the length that the text may have, since the decoder's figures are of all that it writes.
    fn kind(&self) -> (Option<EncoderWindow>, usize, usize) {
        let window = self.next_window();
        let cap = window.map_or(0, |window| self.order(window).max_tokens);
        (window, self.prompt.len(), cap)
    }

    fn next_window(&self) -> Option<EncoderWindow> {
        self.windows.get(self.tried).copied()
    }

    /// Audio for the encoder: the utterance, with the sentinel behind it if the window has one.
    fn audio_in(&self, window: EncoderWindow) -> Cow<'_, [f32]> {
        match window.has_sentinel {
            true => Cow::Owned(sentinel::behind(&self.audio)),
            false => Cow::Borrowed(&self.audio),
        }
    }

    /// The order by which it is decoded next.
    fn order(&self, window: EncoderWindow) -> DecodeOrder<'_> {
        let language = self.language.map_or("en", |(language, _)| language);
        let written_in = match self.task {
            SpeechTask::Transcribe => language,
            SpeechTask::Translate => "en",
        };
        DecodeOrder {
            language,
            task: self.task,
            prompt: &self.prompt,
            max_tokens: token_cap(self.samples.len(), window, written_in),
        }
    }

    /// Takes the result of a try and its fault; returns whether there shall be another try.
    fn take(&mut self, decoding: WindowText, fault: Option<RetryReason>) -> bool {
        self.tried += 1;
        let is_better = match &self.best {
            // Words that the model was not sure of are better than none and than a loop, however
            // sure it is of that.
            Some(best) if has_end(best) => {
                has_end(&decoding)
                    && !decoding.tokens.is_empty()
                    && decoding.mean_logprob > best.mean_logprob
            }
            _ => true,
        };
        if is_better {
            // Of the sentinel's word nothing shall be left but what another try hears.
            let is_own = fault != Some(RetryReason::Sentinel);
            self.best = Some(decoding).filter(|_| is_own);
        }
        match fault {
            Some(reason) if self.tried < self.windows.len() => {
                self.retries.push(reason);
                true
            }
            _ => false,
        }
    }
}

/// Whether a text has an end, so that it may stand though there is another try left.
fn has_end(decoding: &WindowText) -> bool {
    endless(&decoding.text(), decoding.reached_cap).is_none()
}

/// Mean probability of a text's tokens.
fn confidence(decoding: &WindowText) -> f32 {
    let sum: f32 = decoding.tokens.iter().map(|token| token.probability).sum();
    (sum / decoding.tokens.len().max(1) as f32).clamp(0.0, 1.0)
}

impl WhisperTranscriber {
    pub(crate) fn new(
        engine: Box<dyn SpeechEngine>,
        ladder: ContextLadder,
        model: &SpeechModel,
    ) -> Self {
        Self {
            ladder,
            engine,
            model: model.revision(),
            is_demo: model.is_demo(),
        }
    }

    fn prepare<'a>(
        &self,
        utterance: UtteranceRef<'a>,
    ) -> Result<AttemptedUtterance<'a>, TranscribeError> {
        let UtteranceRef { samples, choices } = utterance;
        if samples.is_empty() || samples.len() > WINDOW_SAMPLES {
            let length = samples.len();
            return Err(TranscribeError(format!("an utterance of {length} samples")));
        }
        let mut audio: Vec<f32> = samples
            .iter()
            .map(|&sample| f32::from(sample) / 32768.0)
            .collect();
        if audio.len() < MIN_SAMPLES {
            audio.resize(MIN_SAMPLES, 0.0);
        }
        let is_multilingual = self.engine.is_multilingual();
        let language = match &choices.language {
            // An English-only model knows no language tokens; asking for another would be ignored.
            _ if !is_multilingual => Some(("en", None)),
            // Detected or chosen with another model: words in the likeliest of those that this one
            // knows are better than none.
            Some(code) if !self.engine.knows_language(code) => None,
            Some(code) => Some((language_named(code)?, None)),
            None => None,
        };
        let task = match choices.task {
            SpeechTask::Translate if is_multilingual => SpeechTask::Translate,
            _ => SpeechTask::Transcribe,
        };
        let prompt = choices.prompt.as_ref().filter(|_| !self.is_demo);
        let prompt = prompt.map(|prompt| self.engine.prompt_tokens(prompt));
        let windows = self.ladder.windows(samples.len(), choices);
        Ok(AttemptedUtterance {
            samples,
            choices,
            audio,
            windows,
            tried: 0,
            prompt: prompt.transpose()?.unwrap_or_default(),
            task,
            language,
            best: None,
            retries: Vec::new(),
        })
    }

    /// Tries utterances with the same window once; returns for each whether it is to be tried
    /// again, alone.
    fn attempt(
        &mut self,
        attempted: &mut [&mut AttemptedUtterance<'_>],
        window: EncoderWindow,
    ) -> Result<Vec<bool>, TranscribeError> {
        let audio: Vec<_> = attempted.iter().map(|one| one.audio_in(window)).collect();
        let audio: Vec<&[f32]> = audio.iter().map(Cow::as_ref).collect();
        self.engine.encode(&audio, window.positions)?;
        if attempted.iter().any(|one| one.language.is_none()) {
            let detected = self.engine.detect_languages()?;
            for (one, probabilities) in attempted.iter_mut().zip(detected) {
                if one.language.is_none() {
                    let (language, probability) = most_probable(&probabilities, one.choices)?;
                    one.language = Some((language, Some(probability)));
                }
            }
        }
        let orders: Vec<_> = attempted.iter().map(|one| one.order(window)).collect();
        let mut decodings = self.engine.decode(&orders)?;
        if window.has_sentinel {
            decodings.iter_mut().for_each(sentinel::shorten);
        }
        // A text without an end is replaced by the next one; then nobody needs its times.
        let is_last = attempted
            .iter()
            .all(|one| one.tried + 1 >= one.windows.len());
        if is_last || window.has_sentinel || decodings.iter().any(has_end) {
            self.engine.align(&orders, &mut decodings)?;
        }
        drop(orders);
        let tries = attempted
            .iter_mut()
            .zip(decodings)
            .map(|(one, mut decoding)| {
                let is_own =
                    !window.has_sentinel || sentinel::take_off(&mut decoding, one.audio.len());
                let (text, logprob) = (decoding.text(), decoding.mean_logprob);
                let cap = decoding.reached_cap;
                let fault = match is_own {
                    true => self
                        .ladder
                        .fault(one.samples.len(), window, &text, logprob, cap),
                    false => Some(RetryReason::Sentinel),
                };
                one.take(decoding, fault)
            });
        Ok(tries.collect())
    }

    fn climb(&mut self, attempted: &mut AttemptedUtterance<'_>) -> Result<(), TranscribeError> {
        while let Some(window) = attempted.next_window() {
            match self.attempt(&mut [attempted], window) {
                Ok(again) if again.contains(&true) => {}
                Ok(_) => break,
                // What was found before is only to be bettered.
                Err(_) if attempted.best.as_ref().is_some_and(has_end) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn recognition(&self, attempted: &AttemptedUtterance<'_>) -> Recognition {
        let samples = attempted.samples;
        let (language, language_probability) = attempted.language.unwrap_or(("en", None));
        let decoding = attempted.best.as_ref();
        let text = decoding.map(WindowText::text).unwrap_or_default();
        let tokens = decoding.map_or(&[][..], |best| &best.tokens);
        let tokens = tokens.iter().map(|token| TimedToken {
            bytes: &token.bytes,
            probability: token.probability,
            left_ms: token.left_ms,
        });
        Recognition {
            text,
            confidence: decoding.map_or(0.0, confidence),
            language: language.to_owned(),
            language_probability,
            no_speech_probability: decoding.and_then(|decoding| decoding.no_speech_probability),
            mean_logprob: decoding.map(|decoding| decoding.mean_logprob),
            task: attempted.task,
            words: words::words(tokens, samples),
            peak_dbfs: peak_dbfs(samples),
            model: self.model.clone(),
            retries: attempted.retries.clone(),
        }
    }

    /// Recognises utterances with the same first window and prompts of the same length together; an
    /// utterance that fails its first try goes on alone.
    fn recognise_group(
        &mut self,
        mut group: Vec<(usize, AttemptedUtterance<'_>)>,
    ) -> Vec<(usize, Result<Recognition, TranscribeError>)> {
        let mut members: Vec<_> = group.iter_mut().map(|(_, one)| one).collect();
        let windows = members.iter().map(|one| one.next_window());
        let window = windows
            .fold(None, Option::or)
            .unwrap_or(EncoderWindow::WHOLE);
        // One that fails must not take the others along: then each is tried alone.
        let again = match self.attempt(&mut members, window) {
            Ok(again) => again,
            Err(_) if members.len() > 1 => vec![true; members.len()],
            Err(error) => {
                let failed = group.into_iter().map(|(n, _)| (n, Err(error.clone())));
                return failed.collect();
            }
        };
        let finish = |((n, mut one), again): ((usize, AttemptedUtterance<'_>), bool)| {
            let climbed = if again { self.climb(&mut one) } else { Ok(()) };
            if climbed.is_ok() {
                self.try_other_language(&mut one);
            }
            (n, climbed.map(|()| self.recognition(&one)))
        };
        group.into_iter().zip(again).map(finish).collect()
    }
}

impl Transcriber for WhisperTranscriber {
    fn transcribe(
        &mut self,
        samples: &[i16],
        choices: &DecodeOptions,
    ) -> Result<Recognition, TranscribeError> {
        let mut attempted = self.prepare(UtteranceRef { samples, choices })?;
        self.climb(&mut attempted)?;
        self.try_other_language(&mut attempted);
        Ok(self.recognition(&attempted))
    }

    fn transcribe_together(
        &mut self,
        utterances: &[UtteranceRef<'_>],
    ) -> Vec<Result<Recognition, TranscribeError>> {
        let mut outcomes = Vec::with_capacity(utterances.len());
        let mut waiting = Vec::with_capacity(utterances.len());
        for (n, &utterance) in utterances.iter().enumerate() {
            match self.prepare(utterance) {
                Ok(attempted) => waiting.push((n, attempted)),
                Err(error) => outcomes.push((n, Err(error))),
            }
        }
        while let Some((_, first)) = waiting.first() {
            let kind = first.kind();
            let group = waiting.extract_if(.., |(_, one)| one.kind() == kind);
            let group = group.collect();
            outcomes.extend(self.recognise_group(group));
        }
        outcomes.sort_unstable_by_key(|(n, _)| *n);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }
}

#[cfg(test)]
mod tests;
