//! Several utterances in one window. Whisper's encoder takes as long for a second as for
//! thirty (unless the model was trained for less), so what waits is put together, with
//! the silence between left out, and taken apart again by the words' times.

use asterscribe_call::SpokenWord;
use asterscribe_speech::{Recognition, SAMPLE_RATE, SAMPLES_PER_MS};

/// Silence between two utterances: enough to end a sentence, samples.
const PAUSE: usize = SAMPLE_RATE as usize * 4 / 10;

/// Samples that a window may hold: Whisper's own less two seconds, within which its last
/// words are often lost.
pub(super) const WINDOW: usize = SAMPLE_RATE as usize * 28;

/// Whether one more utterance fits into a window that holds `packed` samples.
pub(super) fn fits(packed: usize, next: usize) -> bool {
    packed + PAUSE + next <= WINDOW
}

/// Samples of the window with one more utterance.
pub(super) fn with(packed: usize, next: usize) -> usize {
    packed + PAUSE + next
}

/// Puts utterances into one window, with a pause between each two.
pub(super) fn pack<'a>(utterances: impl Iterator<Item = &'a [i16]>) -> Vec<i16> {
    let mut window = Vec::new();
    for samples in utterances {
        if !window.is_empty() {
            window.resize(window.len() + PAUSE, 0);
        }
        window.extend_from_slice(samples);
    }
    window
}

/// Takes a window's recognition apart, into one for each of its utterances of those lengths in
/// samples.
///
/// `None` where it cannot be told: words without times, or a number of words that is not
/// the text's.
pub(super) fn unpack(heard: &Recognition, lengths: &[usize]) -> Option<Vec<Recognition>> {
    if heard.words.is_empty() != heard.text.is_empty() {
        return None;
    }
    let mut begins = 0;
    let mut words = heard.words.iter().peekable();
    let mut parts = Vec::with_capacity(lengths.len());
    for (n, &length) in lengths.iter().enumerate() {
        let start_ms = begins as u64 / SAMPLES_PER_MS;
        // What is in the pause belongs to the nearer one.
        let until = (begins + length + PAUSE / 2) as u64 / SAMPLES_PER_MS;
        let is_last = n + 1 == lengths.len();
        let mut mine = Vec::new();
        while let Some(word) = words.next_if(|word| is_last || middle(word) < until) {
            mine.push(within(word, start_ms, length as u64 / SAMPLES_PER_MS));
        }
        parts.push(part(heard, mine));
        begins += length + PAUSE;
    }
    Some(parts)
}

fn middle(word: &SpokenWord) -> u64 {
    u64::midpoint(word.start_ms, word.end_ms)
}

/// The word with its times counted from the start of its utterance, kept within it.
fn within(word: &SpokenWord, start_ms: u64, length_ms: u64) -> SpokenWord {
    let on_clock = |ms: u64| ms.saturating_sub(start_ms).min(length_ms);
    SpokenWord {
        start_ms: on_clock(word.start_ms),
        end_ms: on_clock(word.end_ms),
        ..word.clone()
    }
}

fn part(heard: &Recognition, words: Vec<SpokenWord>) -> Recognition {
    let sum: f32 = words.iter().map(|word| word.probability).sum();
    // Languages such as Chinese have no spaces between words, so their words are joined without.
    let spaced = heard.text.contains(' ') || heard.words.len() < 2;
    let texts: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
    Recognition {
        text: texts.join(if spaced { " " } else { "" }),
        confidence: sum / words.len().max(1) as f32,
        // The window's, which say little of one utterance.
        mean_logprob: None,
        no_speech_probability: None,
        retries: Vec::new(),
        words,
        ..heard.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: usize = SAMPLE_RATE as usize;

    fn word(text: &str, start_ms: u64, end_ms: u64) -> SpokenWord {
        SpokenWord {
            text: text.to_owned(),
            start_ms,
            end_ms,
            probability: 0.5,
        }
    }

    fn heard(words: Vec<SpokenWord>) -> Recognition {
        let texts: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
        Recognition {
            text: texts.join(" "),
            words,
            ..Recognition::default()
        }
    }

    #[test]
    fn a_window_is_taken_apart_where_it_was_put_together() {
        let parts: [&[i16]; 3] = [&[1; SECOND], &[2; 2 * SECOND], &[3; SECOND]];
        let window = pack(parts.into_iter());
        assert_eq!(window.len(), 4 * SECOND + 2 * PAUSE);
        let heard = heard(vec![
            word("one", 100, 900),
            word("two", 1_450, 2_000),
            word("three", 2_000, 3_300),
            word("four", 4_000, 5_000),
        ]);
        let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
        let parts = unpack(&heard, &lengths).unwrap();
        let texts: Vec<_> = parts.iter().map(|part| part.text.as_str()).collect();
        assert_eq!(texts, ["one", "two three", "four"]);
        assert_eq!(parts[1].words[0], word("two", 50, 600));
        assert_eq!(parts[2].words[0], word("four", 200, 1_000));
        assert_eq!(parts[2].confidence, 0.5);
    }

    #[test]
    fn an_utterance_without_words_is_one_and_a_word_in_a_pause_belongs_to_the_nearer() {
        let heard = heard(vec![
            word("late", 1_050, 1_140),
            word("early", 1_300, 1_380),
        ]);
        let parts = unpack(&heard, &[SECOND, SECOND, SECOND]).unwrap();
        let texts: Vec<_> = parts.iter().map(|part| part.text.as_str()).collect();
        assert_eq!(texts, ["late", "early", ""]);
        assert_eq!(parts[1].words[0], word("early", 0, 0));
    }

    #[test]
    fn words_without_times_cannot_be_told_apart() {
        let untimed = Recognition {
            text: "hello".to_owned(),
            ..Recognition::default()
        };
        assert_eq!(unpack(&untimed, &[SECOND, SECOND]), None);
        let silence = unpack(&Recognition::default(), &[SECOND, SECOND]).unwrap();
        assert!(silence.iter().all(|part| part.text.is_empty()));
    }

    #[test]
    fn a_window_is_never_longer_than_whispers() {
        let mut window = 10 * SECOND;
        while fits(window, 3 * SECOND) {
            window = with(window, 3 * SECOND);
        }
        assert!(window <= WINDOW && WINDOW - window < 3 * SECOND + PAUSE);
    }
}
