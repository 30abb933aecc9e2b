//! Text that was probably not spoken. Whisper was trained on subtitles and fills
//! silence and noise with what subtitles say; on short or broken audio it repeats itself.
//!
//! What is suppressed here is kept beside the line, with the reason and what it was seen by.

mod annotation;
mod phantom;
mod prompt_echo;

use asterscribe_call::{DoubtReason, InitialPrompt, SpeechTask, SuppressedText};

use self::annotation::TextAnnotations;
use crate::Recognition;

/// The loudest tenth of a second is below this, dB of full scale: no speech comes through a
/// telephone so quietly, while the hiss of a line does.
const SILENCE_DBFS: f32 = -60.0;

/// Words a second that nobody speaks: auctioneers come to 7.
const MAX_WORDS_PER_SECOND: f32 = 9.0;

/// Words a second that nobody speaks who does not pause: of music Whisper makes a word in 4 to 28
/// s, at a confidence of 0.09 to 0.28. Only where it is not sure, and for some time.
const FEWEST_WORDS_PER_SECOND: f32 = 0.5;
const SPARSE_FROM_MS: u64 = 5_000;
const SPARSE_CONFIDENCE: f32 = 0.4;

/// Repeats in a row of the same words.
const REPEATS: usize = 4;

/// Longest sequence of words that is looked for, in words.
const LONGEST_PHRASE: usize = 12;

/// Probability of silence, by the model, from which on it stands for itself (Whisper's own
/// threshold). Speech of telephone prompts has 0.05 in the median and 0.42 at most, noise
/// mostly 0.6 to 0.97 (base).
const NO_SPEECH: f32 = 0.6;

/// Probability of silence, by the model, from which on it stands where it is above the mean
/// probability of the tokens and that is below [`UNSURE`]: then no text is believed, whatever it
/// says. Of 300 clips of speech none is near that, of 94 of noise all but two are beyond.
const SILENCE_BEFORE_WORDS: f32 = 0.4;
const UNSURE: f32 = 0.5;

/// Mean log-probability from which on the text is believed all the same: a name of the prompt
/// may be likely with it alone.
const SURE_LOGPROB: f32 = -0.7;

/// The believable part of a result, and what is held back of it.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedText {
    /// The result without doubtful text; its text is empty where all is doubtful.
    pub believed: Recognition,
    /// Text that was probably not spoken, if there is any: the whole, or, where words are
    /// believed, the annotations among them.
    pub suppressed: Option<SuppressedText>,
}

impl JudgedText {
    /// Whether the suppressed text says that a language is spoken which was not expected: an
    /// annotation such as `(speaking in foreign language)`.
    pub fn names_foreign_speech(suppressed: &SuppressedText) -> bool {
        suppressed.reason == DoubtReason::Annotation
            && annotation::names_foreign_speech(&suppressed.text)
    }
}

/// Tells what can be believed of what was heard in an utterance of that length, which was
/// recognised with that prompt.
pub fn judge(heard: Recognition, duration_ms: u64, prompt: Option<&InitialPrompt>) -> JudgedText {
    if heard.text.is_empty() {
        return believe(heard, None);
    }
    if heard.peak_dbfs < SILENCE_DBFS {
        let evidence = format!("the loudest 100 ms are at {:.0} dBFS", heard.peak_dbfs);
        return suppress(heard, DoubtReason::NearSilence, evidence);
    }
    let (believed, annotations) = match TextAnnotations::find(&heard.text) {
        Some(found) => (found.strip(&heard), Some(found.removed())),
        None => (heard.clone(), None),
    };
    if !believed.text.contains(char::is_alphanumeric) {
        let evidence = match annotations {
            Some(_) => "nothing but annotations",
            None => "neither a letter nor a digit",
        };
        return suppress(heard, DoubtReason::Annotation, evidence.to_owned());
    }
    if let Some((reason, evidence)) = doubt(&believed, duration_ms, prompt) {
        return suppress(heard, reason, evidence);
    }
    let suppressed = annotations.map(|text| SuppressedText {
        reason: DoubtReason::Annotation,
        evidence: "stood beside words".to_owned(),
        text,
    });
    believe(believed, suppressed)
}

/// Why words, annotations apart, are not believed, and what that is seen by.
fn doubt(
    heard: &Recognition,
    duration_ms: u64,
    prompt: Option<&InitialPrompt>,
) -> Option<(DoubtReason, String)> {
    let echo = prompt.and_then(|prompt| prompt_echo::seen_by(heard, prompt.text(), duration_ms));
    if let Some(evidence) = echo {
        return Some((DoubtReason::PromptEcho, evidence));
    }
    let plain = plain(&heard.text);
    let words: Vec<&str> = plain.split(' ').collect();
    if let Some((phrase, times)) = repetition(&words) {
        return Some((
            DoubtReason::Repetition,
            format!("{times} times \"{phrase}\""),
        ));
    }
    let written = match heard.task {
        SpeechTask::Transcribe => heard.language.as_str(),
        SpeechTask::Translate => "en",
    };
    let count = heard.text.split_whitespace().count();
    let rate = count as f32 * 1000.0 / duration_ms.max(1) as f32;
    // Scripts without spaces would count as one word.
    let is_spaced = !heard.text.contains(is_unspaced);
    let is_sparse = is_spaced && duration_ms >= SPARSE_FROM_MS && rate < FEWEST_WORDS_PER_SECOND;
    let sparse_ms = is_sparse.then_some(duration_ms);
    if let Some(evidence) = phantom::seen_by(heard, &words, written, sparse_ms) {
        return Some((DoubtReason::PhantomPhrase, evidence));
    }
    let confidence = heard.confidence;
    let silence = heard.no_speech_probability;
    let silence = silence.filter(|&p| p >= SILENCE_BEFORE_WORDS && p > confidence);
    let is_sure = heard.mean_logprob.is_some_and(|mean| mean >= SURE_LOGPROB);
    if let Some(p) = silence.filter(|_| confidence < UNSURE && !is_sure) {
        let evidence = format!("nobody speaks with probability {p:.2}, confidence {confidence:.2}");
        return Some((DoubtReason::NoSpeech, evidence));
    }
    if count > 3 && rate > MAX_WORDS_PER_SECOND {
        let evidence = format!("{count} words in {duration_ms} ms");
        return Some((DoubtReason::SpeechRate, evidence));
    }
    if is_sparse && confidence < SPARSE_CONFIDENCE {
        let evidence = format!("{count} words in {duration_ms} ms, confidence {confidence:.2}");
        return Some((DoubtReason::SpeechRate, evidence));
    }
    None
}

/// Whether a text is nothing, or nothing but phrases that Whisper writes over noise, too.
pub fn may_be_noise(text: &str, language: &str) -> bool {
    let plain = plain(text);
    let words: Vec<&str> = plain.split_whitespace().collect();
    words.is_empty() || phantom::is_made_of_phrases(&words, language)
}

fn believe(believed: Recognition, suppressed: Option<SuppressedText>) -> JudgedText {
    JudgedText {
        believed,
        suppressed,
    }
}

/// Holds the whole text back.
fn suppress(heard: Recognition, reason: DoubtReason, evidence: String) -> JudgedText {
    let Recognition { text, .. } = heard;
    let suppressed = Some(SuppressedText {
        reason,
        evidence,
        text,
    });
    let believed = Recognition {
        text: String::new(),
        words: Vec::new(),
        ..heard
    };
    JudgedText {
        believed,
        suppressed,
    }
}

/// Words that come several times in a row, and how often.
pub fn repetition(words: &[&str]) -> Option<(String, usize)> {
    for length in 1..=LONGEST_PHRASE.min(words.len() / REPEATS) {
        // Digits are said again in numbers: a single one may come more often.
        let repeats = if length == 1 { 2 * REPEATS } else { REPEATS };
        let mut run = 0;
        for n in length..words.len() {
            run = if words[n] == words[n - length] {
                run + 1
            } else {
                0
            };
            let times = run / length + 1;
            if run % length == 0 && times >= repeats {
                let phrase = words[n + 1 - length..=n].join(" ");
                return Some((phrase, times));
            }
        }
    }
    None
}

/// The dot that is left above a Turkish İ in lower case.
const COMBINING_DOT: char = '\u{307}';

/// Lower case, single spaces, no punctuation.
pub fn plain(text: &str) -> String {
    let letters = text
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || c == '\'' {
                c
            } else {
                ' '
            }
        })
        .flat_map(char::to_lowercase)
        .filter(|c| *c != COMBINING_DOT)
        .collect::<String>();
    letters.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a character is of a script that puts no spaces between words: Chinese, Japanese, Thai,
/// Lao, Burmese, Khmer.
pub fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

#[cfg(test)]
mod tests;
