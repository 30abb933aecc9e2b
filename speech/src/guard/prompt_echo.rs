//! A call's prompt that comes back as text. Whisper takes a prompt for what was said just before,
//! and on noise it may say the same again, or a word of it.
//!
//! A prompt names what callers are likely to say, so its words alone prove nothing: the audio must
//! not bear them. That is asked of a long run of the prompt in its order; of single words of it
//! only where the model all but denies them.

use super::{NO_SPEECH, plain};
use crate::Recognition;
use crate::guard::is_unspaced;

/// Words of the prompt in its order that are a long run; two characters of a script without
/// spaces count as a word. A shorter prompt is one as a whole.
const RUN: usize = 4;

/// Share of the text's words that must be in long runs, percent.
const NEARLY_ALL: usize = 80;

/// Words a second above which a run is not spoken: fast speakers come to 5, and an utterance
/// has some silence at both ends.
const WORDS_PER_SECOND: f32 = 6.0;

/// Mean log-probability below which words of the prompt are doubted. With them before its eyes the
/// model is sure of those that it hears: nearly all single words of telephone prompts have more,
/// and those that `base` makes of noise less (those of `tiny.en` do not).
const UNSURE_LOGPROB: f32 = -0.9;

/// Mean probability of the tokens below which single words of the prompt are doubted. CTranslate2
/// tells it without regard to the prompt, so a name may have no more that is clearly said: alone it
/// proves nothing.
const UNSURE: f32 = 0.22;

/// Probability that nobody speaks from which on such doubts count, both together and the second
/// alone. Where a word of the prompt was said that `UNSURE` doubts, it is 0.02 at most; on noise it
/// is 0.13 and more.
const FAINT_SILENCE: f32 = 0.1;
const LIKELY_SILENCE: f32 = 0.25;

/// Level of the loudest tenth of a second, dB of full scale, below which a long run is not
/// believed.
const QUIET_DBFS: f32 = -45.0;

/// Whether a text of an utterance of that length is its prompt and nobody said it: how that is
/// seen.
pub(super) fn seen_by(heard: &Recognition, prompt: &str, duration_ms: u64) -> Option<String> {
    let (said, prompt) = (units(&heard.text), units(prompt));
    let words = words(&said);
    if words == 0 {
        return None;
    }
    let longest = longest_runs(&said, &prompt);
    let least = self::words(&prompt).min(RUN);
    let is_long = echoed(&said, &longest, least) * 100 >= said.len() * NEARLY_ALL;
    let is_of_prompt = longest.iter().all(|run| *run > 0);
    let rate = words as f32 * 1000.0 / duration_ms.max(1) as f32;
    let confidence = heard.confidence;
    let silence = heard.no_speech_probability;
    let is_silent = |least| silence.is_some_and(|p| p >= least);
    let is_unlikely = heard.mean_logprob.is_some_and(|mean| mean < UNSURE_LOGPROB)
        && (silence.is_none() || is_silent(FAINT_SILENCE));
    let is_unsure = confidence < UNSURE && (is_unlikely || is_silent(LIKELY_SILENCE));
    let why = match silence {
        Some(p) if (is_long || is_of_prompt) && p >= NO_SPEECH => {
            format!("nobody speaks with probability {p:.2}")
        }
        _ if is_long && words >= RUN && is_unlikely || is_of_prompt && is_unsure => {
            let mean = heard.mean_logprob.unwrap_or_default();
            let silence = silence.unwrap_or_default();
            format!(
                "confidence {confidence:.2}, mean log-probability {mean:.2}, nobody speaks with probability {silence:.2}"
            )
        }
        _ if is_long && words >= RUN && rate > WORDS_PER_SECOND => {
            format!("{words} words in {duration_ms} ms")
        }
        _ if is_long && heard.peak_dbfs < QUIET_DBFS => {
            format!("the loudest 100 ms are at {:.0} dBFS", heard.peak_dbfs)
        }
        _ => return None,
    };
    Some(format!("words of the prompt, and {why}"))
}

/// Words, or single characters of scripts without spaces.
fn units(text: &str) -> Vec<String> {
    let mut units: Vec<String> = Vec::new();
    for word in plain(text).split(' ').filter(|word| !word.is_empty()) {
        let mut spaced = String::new();
        for c in word.chars() {
            if is_unspaced(c) {
                units.extend((!spaced.is_empty()).then(|| std::mem::take(&mut spaced)));
                units.push(c.to_string());
            } else {
                spaced.push(c);
            }
        }
        units.extend((!spaced.is_empty()).then_some(spaced));
    }
    units
}

/// Number of words that the units make.
fn words(units: &[String]) -> usize {
    let is_half = |unit: &&String| unit.chars().all(is_unspaced);
    let halves = units.iter().filter(is_half).count();
    units.len() - halves + halves.div_ceil(2)
}

/// How many of what was said are in runs of the prompt of so many words at least.
fn echoed(said: &[String], longest: &[usize], least: usize) -> usize {
    let (mut place, mut echoed) = (0, 0);
    while let Some(&run) = longest.get(place) {
        if run > 0 && words(&said[place..place + run]) >= least {
            echoed += run;
            place += run;
        } else {
            place += 1;
        }
    }
    echoed
}

/// For each place of what was said: the length of the longest run of the prompt that begins there.
fn longest_runs(said: &[String], prompt: &[String]) -> Vec<usize> {
    let mut longest = vec![0; said.len()];
    // Runs that begin at the next place of what was said, by where they begin in the prompt.
    let mut next = vec![0; prompt.len() + 1];
    for (place, unit) in said.iter().enumerate().rev() {
        let mut runs = vec![0; prompt.len() + 1];
        for (at, expected) in prompt.iter().enumerate() {
            if unit == expected {
                runs[at] = next[at + 1] + 1;
            }
        }
        longest[place] = runs.iter().copied().max().unwrap_or_default();
        next = runs;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "Kowalski, Asterscribe, Zielinski, Nowak";
    const GREETING: &str = "Welcome to Acme Telecom. Please tell me your account number.";

    /// Clear speech of 4 s, unless the case says otherwise.
    fn heard(text: &str) -> Recognition {
        Recognition {
            text: text.to_owned(),
            mean_logprob: Some(-0.2),
            confidence: 0.9,
            no_speech_probability: Some(0.05),
            peak_dbfs: -18.0,
            ..Recognition::default()
        }
    }

    fn is_echo(heard: &Recognition, prompt: &str) -> bool {
        seen_by(heard, prompt, 4000).is_some()
    }

    #[test]
    fn who_says_the_prompt_is_believed() {
        for (text, prompt) in [
            (NAMES, NAMES),
            ("please tell me your account number", GREETING),
            ("Nowak", NAMES),
            ("This is Zielinski, Nowak is out.", NAMES),
        ] {
            assert!(!is_echo(&heard(text), prompt), "{text}");
        }
        // A rare name is clear only with the prompt; a mumbled one is still no silence.
        for (confidence, mean_logprob, silence) in
            [(0.02, -0.3, 0.2), (0.1, -1.3, 0.05), (0.3, -1.1, 0.2)]
        {
            let hard_to_hear = Recognition {
                confidence,
                mean_logprob: Some(mean_logprob),
                no_speech_probability: Some(silence),
                ..heard("Nowak.")
            };
            assert!(!is_echo(&hard_to_hear, NAMES), "{hard_to_hear:?}");
            assert!(
                !is_echo(&hard_to_hear, "Nowak"),
                "also where it is the whole prompt"
            );
        }
    }

    #[test]
    fn a_long_run_that_the_audio_does_not_bear_is_an_echo() {
        let texts = [
            (NAMES, NAMES),
            ("Please tell me your account number.", GREETING),
            ("um please tell me your account number", GREETING),
            (
                "Kowalski Asterscribe Zielinski Nowak, Kowalski Asterscribe Zielinski Nowak",
                NAMES,
            ),
            ("Asterscribe", "Asterscribe"),
            ("明るい電話の会社", "こちらは明るい電話の会社です"),
        ];
        for (text, prompt) in texts {
            let silent = Recognition {
                no_speech_probability: Some(0.8),
                ..heard(text)
            };
            let quiet = Recognition {
                peak_dbfs: -52.0,
                ..heard(text)
            };
            let unsure = Recognition {
                mean_logprob: Some(-1.2),
                no_speech_probability: Some(0.2),
                confidence: 0.1,
                ..heard(text)
            };
            for echo in [silent, quiet, unsure] {
                assert!(is_echo(&echo, prompt), "{text}: {echo:?}");
            }
        }
        let fast = seen_by(&heard(NAMES), NAMES, 600);
        assert_eq!(
            fast.as_deref(),
            Some("words of the prompt, and 4 words in 600 ms")
        );
    }

    #[test]
    fn other_words_and_another_order_are_no_long_run() {
        for (text, prompt) in [
            ("account your number tell me please", GREETING),
            ("please tell me your name and where you live", GREETING),
            ("tell me your", GREETING),
            ("my account number is nine one one", GREETING),
        ] {
            let doubtful = Recognition {
                confidence: 0.4,
                mean_logprob: Some(-1.2),
                no_speech_probability: Some(0.5),
                peak_dbfs: -52.0,
                ..heard(text)
            };
            assert!(!is_echo(&doubtful, prompt), "{text}");
        }
    }

    #[test]
    fn single_words_of_it_are_echoes_where_the_model_all_but_denies_them() {
        for (text, confidence, silence, echoes) in [
            ("Nowak", 0.01, Some(0.29), true),
            ("Nowak", 0.7, Some(0.9), true),
            ("Kowalski, Asterscribe,", 0.05, Some(0.3), true),
            ("Kowalski, Nowak", 0.05, Some(0.05), false),
            ("Kowalski,", 0.1, Some(0.4), true),
            ("Kowalski,", 0.1, None, true),
            ("Kowalski,", 0.25, Some(0.4), false),
            ("Nowakowski", 0.01, Some(0.4), false),
            ("Mister Nowak", 0.01, Some(0.4), false),
        ] {
            let heard = Recognition {
                confidence,
                mean_logprob: Some(-1.1),
                no_speech_probability: silence,
                ..heard(text)
            };
            assert_eq!(is_echo(&heard, NAMES), echoes, "{text} {confidence}");
        }
    }
}
