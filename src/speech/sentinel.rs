//! The sentinel: a spoken word behind an utterance, by which Whisper's decoder finds its end.
//!
//! With little silence behind the speech the decoder of a published model may find no end and write
//! the sentence again. Behind a pause and a word that is always the same it does: it writes that
//! word, and what it writes from there on says nothing of the utterance. A text that comes without
//! the word has ended by itself and is judged like any other.
//!
//! Callers say the word, too. The times of the alignment tell whose it is: the sentinel's is left
//! 0.5 to 0.8 s behind the utterance, a caller's own at most 0.12 s behind (measured with `tiny.en`
//! and `base`, 120 utterances each with and without). Where nobody speaks the times are of no use:
//! a text of nothing else is tried again without the sentinel.

use super::SAMPLES_PER_MS;
use super::engine::{Decoding, TextToken};

/// The word, and what it is heard as; longer ones first.
const WORD: &str = "goodbye";
const HEARD_AS: [&str; 5] = [WORD, "good bye", "good-bye", "then bye", "bye"];

/// The language in which the word is spoken.
pub(super) const LANGUAGE: &str = "en";

/// Tokens that a text may have for the sentinel, beside its own.
pub(super) const TOKENS: usize = 4;

/// 16 kHz, 16 bit: `tools/sentinel.sh` made it.
static SPOKEN: &[u8] = include_bytes!("sentinel/goodbye.s16le");

/// Silence between the utterance and the sentinel, samples (0.4 s).
const PAUSE: usize = 6_400;

/// A word that is left no later than this behind the utterance belongs to it, milliseconds.
const OWN_UNTIL_MS: u64 = 300;

/// Words that are looked at where the decoder writes the sentinel again and again: more of them
/// would cost time to align.
const MOST_HEARD: usize = 3;

/// Samples that the sentinel adds to an utterance.
pub(super) fn samples() -> usize {
    PAUSE + SPOKEN.len() / size_of::<i16>()
}

/// An utterance with the sentinel behind it, as loud as the utterance.
pub(super) fn behind(audio: &[f32]) -> Vec<f32> {
    let word = || {
        let (samples, _) = SPOKEN.as_chunks();
        let samples = samples.iter().map(|bytes| i16::from_le_bytes(*bytes));
        samples.map(|sample| f32::from(sample) / 32768.0)
    };
    let energy = |samples: &mut dyn Iterator<Item = f32>| -> f32 {
        let (sum, count) = samples.fold((0.0f32, 0.0f32), |(sum, count), sample| {
            (sum + sample * sample, count + 1.0)
        });
        sum / count.max(1.0)
    };
    let spoken = energy(&mut audio.iter().copied());
    let gain = (spoken / energy(&mut word())).sqrt();
    let mut with = Vec::with_capacity(audio.len() + samples());
    with.extend_from_slice(audio);
    with.resize(audio.len() + PAUSE, 0.0);
    with.extend(word().map(|sample| sample * gain));
    with
}

/// Takes what was written behind the first few sentinels off a text that is to be aligned.
pub(super) fn shorten(decoding: &mut Decoding) {
    let heard = heard(&decoding.tokens);
    if let Some(&next) = heard.get(MOST_HEARD) {
        // As if of what is taken off the decoder had been sure.
        let written = decoding.tokens.len() as f32;
        decoding.mean_logprob *= written / next as f32;
        decoding.tokens.truncate(next);
        decoding.reached_cap = false;
    }
}

/// Takes the sentinel off the text of an utterance of so many samples, once it is aligned.
pub(super) fn take_off(decoding: &mut Decoding, samples: usize) {
    let own_until = samples as u64 / SAMPLES_PER_MS + OWN_UNTIL_MS;
    let heard = heard(&decoding.tokens);
    let ends = heard.iter().skip(1).copied();
    let ends = ends.chain([decoding.tokens.len()]);
    let sentinel = heard.iter().zip(ends).find(|&(&begin, end)| {
        let letters = |token: &&TextToken| token.bytes.iter().any(u8::is_ascii_alphabetic);
        let word = decoding.tokens[begin..end].iter().rev().find(letters);
        // The last token of a text may never be left.
        let left = word.and_then(|token| token.left_ms);
        left.is_none_or(|left| left > own_until)
    });
    let Some((&begin, _)) = sentinel else { return };
    // Its own probability would speak for the words before it. Those were written behind the prompt,
    // which the alignment does not know, so that their sum is what is left of the decoder's.
    let written = decoding.tokens.len() as f32;
    let log = |token: &TextToken| token.probability.max(f32::MIN_POSITIVE).ln();
    let sentinel: f32 = decoding.tokens[begin..].iter().map(log).sum();
    if begin > 0 {
        let words = decoding.mean_logprob * written - sentinel;
        decoding.mean_logprob = (words / begin as f32).min(0.0);
    }
    decoding.tokens.truncate(begin);
    let is_pause = |token: &TextToken| matches!(token.bytes.trim_ascii(), b"," | b"-" | b"...");
    if decoding.tokens.last().is_some_and(is_pause) {
        decoding.tokens.pop();
    }
    decoding.reached_cap = false;
}

/// Whether a text is nothing but the sentinel's word, once or several times.
pub(super) fn is_alone(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let mut rest = text.as_bytes();
    let mut count = 0;
    while let Some(before) = before_sentinel(rest) {
        rest = before;
        count += 1;
    }
    count > 0 && trimmed(rest).is_empty()
}

/// The tokens with which the sentinels at the end of a text begin, in their order; nothing follows
/// them but, at the end of a text that was cut off, the beginning of one more.
fn heard(tokens: &[TextToken]) -> Vec<usize> {
    let mut text = Vec::new();
    let mut owners = Vec::new();
    for (n, token) in tokens.iter().enumerate() {
        text.extend(token.bytes.iter().map(u8::to_ascii_lowercase));
        owners.resize(text.len(), n);
    }
    let mut rest = text.as_slice();
    // A text that was cut off may end within one more.
    let fragment = last_word(rest);
    if fragment.len() < WORD.len() && WORD.as_bytes().starts_with(fragment) {
        let without = &rest[..trimmed(rest).len() - fragment.len()];
        if before_sentinel(without).is_some() {
            rest = without;
        }
    }
    let mut heard = Vec::new();
    while let Some(before) = before_sentinel(rest) {
        heard.push(owners[before.len()]);
        rest = before;
    }
    heard.reverse();
    heard
}

/// What stands before the sentinel that a text ends with.
fn before_sentinel(text: &[u8]) -> Option<&[u8]> {
    let text = trimmed(text);
    let mut forms = HEARD_AS.iter();
    let before = forms.find_map(|form| text.strip_suffix(form.as_bytes()))?;
    let begins_word = before.last().is_none_or(|byte| !is_of_word(*byte));
    begins_word.then_some(before)
}

/// The letters that a text ends with, but for what is no part of a word.
fn last_word(text: &[u8]) -> &[u8] {
    let text = trimmed(text);
    let begin = text.iter().rposition(|byte| !is_of_word(*byte));
    &text[begin.map_or(0, |at| at + 1)..]
}

fn trimmed(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| is_of_word(*byte));
    &text[..end.map_or(0, |at| at + 1)]
}

/// Letters and digits, and whatever is not ASCII.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tokens with the times at which they are left, milliseconds; each but the first letter of a
    /// word is a token's, as in Whisper's vocabulary.
    fn decoding(tokens: &[(&str, u64)]) -> Decoding {
        let token = |&(text, left): &(&str, u64)| TextToken {
            id: 0,
            bytes: text.as_bytes().to_vec(),
            probability: 0.5,
            left_ms: Some(left).filter(|&left| left > 0),
        };
        Decoding {
            tokens: tokens.iter().map(token).collect(),
            mean_logprob: -0.1,
            no_speech_probability: None,
            reached_cap: true,
        }
    }

    /// One second.
    const SAMPLES: usize = 16_000;

    fn rest(tokens: &[(&str, u64)]) -> (String, bool) {
        let mut decoding = decoding(tokens);
        shorten(&mut decoding);
        take_off(&mut decoding, SAMPLES);
        (decoding.text(), decoding.reached_cap)
    }

    #[test]
    fn the_sentinel_is_taken_off_and_the_text_has_an_end() {
        let said = [(" Please", 400), (" hold", 900), (".", 1_100)];
        let with = |more: &[(&'static str, u64)]| [&said, more].concat();
        for more in [
            &[(" Goodbye", 1_600), (".", 1_900)][..],
            &[(" Goodbye", 0)],
            &[(" Good", 1_500), (" bye", 1_700), ("!", 1_900)],
            &[(" good", 1_500), ("-", 1_550), ("bye", 1_700)],
            &[(" then", 1_500), (" bye", 1_700), (".", 0)],
            &[(" Goodbye", 1_600), (".", 1_650), (" Good", 1_900)],
        ] {
            assert_eq!(
                rest(&with(more)),
                ("Please hold.".to_owned(), false),
                "{more:?}"
            );
        }
        let loops = [(" Goodbye", 1_600), (".", 1_700)].repeat(9);
        assert_eq!(rest(&with(&loops)), ("Please hold.".to_owned(), false));
        let comma = [
            (" Please", 500),
            (" hold", 900),
            (",", 1_100),
            (" goodbye", 1_700),
        ];
        assert_eq!(rest(&comma).0, "Please hold");
    }

    #[test]
    fn what_the_caller_says_stays() {
        let own = [
            (" Thanks", 300),
            (",", 350),
            (" goodbye", 1_050),
            (".", 1_400),
        ];
        let with = |more: &[(&'static str, u64)]| [&own, more].concat();
        let thanks = || "Thanks, goodbye.".to_owned();
        assert_eq!(rest(&own), (thanks(), true));
        assert_eq!(rest(&with(&[(" Goodbye", 1_700)])), (thanks(), false));
        let loops = [(" Goodbye", 1_600), (".", 1_700)].repeat(9);
        assert_eq!(rest(&with(&loops)), (thanks(), false));
        let bye = [
            (" Bye", 500),
            (" bye", 1_100),
            (".", 1_200),
            (" Goodbye", 1_700),
        ];
        assert_eq!(rest(&bye).0, "Bye bye.");
        let alone = [(" Goodbye", 900), (".", 1_000), (" Goodbye", 1_700)];
        assert_eq!(rest(&alone).0, "Goodbye.");
    }

    #[test]
    fn a_text_without_the_sentinel_at_its_end_is_left_as_it_is() {
        for text in [
            "Goodbye is a word",
            "hello",
            "say good",
            "motherboard by ee",
            "",
        ] {
            let words = text.split_inclusive(' ').map(|word| (word, 2_000));
            let words: Vec<_> = words.collect();
            assert_eq!(rest(&words), (text.to_owned(), true));
        }
    }

    #[test]
    fn the_words_before_it_are_judged_by_what_the_decoder_found_them() {
        // Two tokens with a sum of -1.2, of which the sentinel has a half's.
        let mut unsure = decoding(&[(" Zielinski", 900), (" Goodbye", 1_700)]);
        unsure.mean_logprob = -0.6;
        take_off(&mut unsure, SAMPLES);
        let words = -1.2 - 0.5f32.ln();
        assert!(
            (unsure.mean_logprob - words).abs() < 1e-6,
            "{}",
            unsure.mean_logprob
        );
        // Of twelve tokens nine are as good as sure.
        let loops = [(" Goodbye", 1_700)].repeat(11);
        let mut unsure = decoding(&[&[(" Zielinski", 900)][..], &loops].concat());
        unsure.mean_logprob = -0.3;
        shorten(&mut unsure);
        take_off(&mut unsure, SAMPLES);
        let words = -3.6 - 3.0 * 0.5f32.ln();
        assert!(
            (unsure.mean_logprob - words).abs() < 1e-5,
            "{}",
            unsure.mean_logprob
        );
    }

    #[test]
    fn the_sentinel_is_as_loud_as_the_utterance() {
        let power = |samples: &[f32]| {
            samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32
        };
        for level in [0.0, 0.001, 0.3] {
            let audio = vec![level; SAMPLES];
            let with = behind(&audio);
            assert_eq!(with.len(), SAMPLES + samples());
            let word = power(&with[SAMPLES + PAUSE..]);
            assert!((word.sqrt() - level).abs() < 1e-4, "{level}: {word}");
        }
    }

    proptest! {
        #[test]
        fn no_text_upsets_it(
            tokens in prop::collection::vec(("[a-z .,]{0,3}|\\PC| goodbye| good|bye", 0u64..3_000), 0..12),
        ) {
            let tokens: Vec<_> = tokens.iter().map(|(text, left)| (text.as_str(), *left)).collect();
            let before = decoding(&tokens);
            let mut after = before.clone();
            shorten(&mut after);
            take_off(&mut after, SAMPLES);
            prop_assert!(after.tokens.len() <= before.tokens.len());
            prop_assert!(before.text().starts_with(&after.text()) || after.text().is_empty());
        }
    }
}
