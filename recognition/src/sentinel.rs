//! The sentinel: a spoken word behind an utterance, by which Whisper's decoder finds its end.
//!
//! With little silence behind the speech the decoder of a published model may find no end and write
//! the sentence again. Behind a pause and a word that is always the same it does: it writes that
//! word, and what it writes from there on says nothing of the utterance. A text that comes without
//! the word has ended by itself and is judged like any other.
//!
//! Callers say the word, too. The times of the alignment tell whose it is: the sentinel's is left
//! 0.5 to 0.8 s behind the utterance, a caller's own at most 0.12 s behind (measured with `tiny.en`
//! and `base`, 120 utterances each with and without). Where nobody speaks the times are of no use,
//! and the model's view of whether somebody does is spoilt: a text of nothing but phrases that
//! noise makes as well, and one with words behind the utterance, is tried again without the
//! sentinel.

use std::ops::Range;

use asterscribe_speech::SAMPLES_PER_MS;

use crate::engine::{TextToken, WindowText};

/// Spellings in which Whisper writes the word "goodbye".
const HEARD_AS: [&str; 5] = ["goodbye", "good bye", "good-bye", "then bye", "bye"];

/// The language in which the word is spoken.
pub(super) const LANGUAGE: &str = "en";

/// Most tokens that a text needs for the sentinel, beside its own.
pub(super) const TOKENS: usize = 4;

/// Spoken word, 16 kHz, 16 bit, made by `tools/sentinel.sh`.
static SPOKEN: &[u8] = include_bytes!("sentinel/goodbye.s16le");

/// Silence between the utterance and the sentinel, samples (0.4 s).
const PAUSE: usize = 6_400;

/// Time behind the utterance, milliseconds, up to which a word that is left belongs to the
/// utterance.
const OWN_UNTIL_MS: u64 = 300;

/// Most sentinels that are examined where the decoder writes the word again and again: more would
/// cost time to align.
const MOST_HEARD: usize = 8;

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

/// Cuts a text that is to be aligned behind its first few sentinels.
pub(super) fn shorten(decoding: &mut WindowText) {
    let heard = heard(&decoding.tokens);
    if let Some(next) = heard.get(MOST_HEARD).map(|word| word.start) {
        // As if of what is taken off the decoder had been sure.
        let written = decoding.tokens.len() as f32;
        decoding.mean_logprob *= written / next as f32;
        decoding.tokens.truncate(next);
        decoding.reached_cap = false;
    }
}

/// Cuts the sentinel, and whatever follows it, off an utterance's aligned text; returns `false`
/// where words are left that were spoken behind the utterance.
pub(super) fn take_off(decoding: &mut WindowText, samples: usize) -> bool {
    // It had speech in its window in any case.
    decoding.no_speech_probability = None;
    let own_until = samples as u64 / SAMPLES_PER_MS + OWN_UNTIL_MS;
    // The last token of a text may never be left.
    let is_behind = |token: &TextToken| token.left_ms.is_none_or(|left| left > own_until);
    let letters = |token: &&TextToken| token.bytes.iter().any(u8::is_ascii_alphabetic);
    let sentinel = heard(&decoding.tokens).into_iter().find(|word| {
        let last = decoding.tokens[word.clone()].iter().rev().find(letters);
        last.is_none_or(is_behind)
    });
    if let Some(mut word) = sentinel {
        // "See you then" and a sentinel that was heard as "bye".
        let of_word = &decoding.tokens[word.clone()];
        word.start += of_word.iter().position(is_behind).unwrap_or(0);
        cut(decoding, word.start);
    }
    let begins = decoding.tokens.iter().map(|token| token.left_ms);
    !begins
        .take(decoding.tokens.len().saturating_sub(1))
        .any(|left| left.is_some_and(|left| left > own_until))
}

/// Cuts a text before token `begin`.
fn cut(decoding: &mut WindowText, begin: usize) {
    // The sentinel's probability would speak for the words before it. Those were written behind the
    // prompt, which the alignment does not know, so that their sum is what is left of the decoder's;
    // of that the sentinel has its share at most.
    let written = decoding.tokens.len() as f32;
    let log = |token: &TextToken| token.probability.max(f32::MIN_POSITIVE).ln();
    let sentinel: f32 = decoding.tokens[begin..].iter().map(log).sum();
    if begin > 0 {
        let share = decoding.mean_logprob * (written - begin as f32);
        let words = decoding.mean_logprob * written - sentinel.max(share);
        decoding.mean_logprob = words / begin as f32;
    }
    decoding.tokens.truncate(begin);
    let is_pause = |token: &TextToken| matches!(token.bytes.trim_ascii(), b"," | b"-" | b"...");
    if decoding.tokens.last().is_some_and(is_pause) {
        decoding.tokens.pop();
    }
    decoding.reached_cap = false;
}

/// Tokens of each word in a text that may be the sentinel, in order.
fn heard(tokens: &[TextToken]) -> Vec<Range<usize>> {
    let mut text = Vec::new();
    let mut owners = Vec::new();
    for (n, token) in tokens.iter().enumerate() {
        text.extend(token.bytes.iter().map(u8::to_ascii_lowercase));
        owners.resize(text.len(), n);
    }
    let mut heard = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let begins = at == 0 || !is_of_word(text[at - 1]);
        let length = if begins { form_at(&text[at..]) } else { None };
        match length {
            Some(length) => {
                heard.push(owners[at]..owners[at + length - 1] + 1);
                at += length;
            }
            None => at += 1,
        }
    }
    heard
}

/// Length of the sentinel's spelling that a text begins with, if it begins with one.
fn form_at(text: &[u8]) -> Option<usize> {
    let is_whole = |form: &&&str| {
        let rest = text.strip_prefix(form.as_bytes());
        rest.is_some_and(|rest| rest.first().is_none_or(|byte| !is_of_word(*byte)))
    };
    HEARD_AS.iter().find(is_whole).map(|form| form.len())
}

/// Whether a byte is a letter, a digit, or not ASCII.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A text that reached its cap: tokens with the times at which they are left, milliseconds; 0:
    /// never.
    fn decoding(tokens: &[(&str, u64)]) -> WindowText {
        let token = |&(text, left): &(&str, u64)| TextToken {
            id: 0,
            bytes: text.as_bytes().to_vec(),
            probability: 0.5,
            left_ms: Some(left).filter(|&left| left > 0),
        };
        WindowText {
            tokens: tokens.iter().map(token).collect(),
            mean_logprob: -0.1,
            no_speech_probability: Some(0.01),
            reached_cap: true,
        }
    }

    /// Samples of one second.
    const SAMPLES: usize = 16_000;

    fn rest(tokens: &[(&str, u64)]) -> (String, bool) {
        let mut decoding = decoding(tokens);
        shorten(&mut decoding);
        take_off(&mut decoding, SAMPLES);
        assert_eq!(decoding.no_speech_probability, None);
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
            &[
                (" Goodbye", 1_600),
                (".", 1_650),
                (" Please", 1_900),
                (" hold", 2_000),
            ],
            &[
                (" Goodbye", 1_600),
                (".", 1_650),
                (" Thank", 1_900),
                (" you", 0),
            ],
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
        let then = [
            (" See", 300),
            (" you", 600),
            (" then", 1_050),
            (" bye", 1_700),
        ];
        assert_eq!(rest(&then).0, "See you then");
        let four = [
            &[(" Okay", 300)][..],
            &[(" bye", 1_000); 4],
            &[(" Goodbye", 1_700)],
        ];
        assert_eq!(rest(&four.concat()).0, "Okay bye bye bye bye");
        let alone = [(" Goodbye", 900), (".", 1_000), (" Goodbye", 1_700)];
        assert_eq!(rest(&alone).0, "Goodbye.");
    }

    #[test]
    fn a_text_without_the_sentinel_is_left_as_it_is() {
        for text in [
            "goodbyes are words",
            "hello",
            "say good",
            "motherboard byé bye1",
            "",
        ] {
            let words = text.split_inclusive(' ').map(|word| (word, 2_000));
            let words: Vec<_> = words.collect();
            assert_eq!(rest(&words), (text.to_owned(), true));
        }
    }

    #[test]
    fn words_behind_the_utterance_are_not_its_own() {
        let is_own = |tokens: &[(&str, u64)]| take_off(&mut decoding(tokens), SAMPLES);
        assert!(is_own(&[
            (" Please", 400),
            (" hold", 900),
            (" Goodbye", 1_700)
        ]));
        assert!(is_own(&[(" Please", 400), (" hold", 1_600)]));
        assert!(is_own(&[]));
        assert!(!is_own(&[
            (" Please", 400),
            (" Good", 1_600),
            (" boy", 1_800)
        ]));
    }

    #[test]
    fn the_words_before_it_are_judged_by_what_the_decoder_found_them() {
        let judged = |probability: f32, mean: f32, tokens: &[(&str, u64)]| {
            let mut unsure = decoding(tokens);
            unsure.mean_logprob = mean;
            for token in &mut unsure.tokens {
                token.probability = probability;
            }
            shorten(&mut unsure);
            take_off(&mut unsure, SAMPLES);
            unsure.mean_logprob
        };
        let one = [(" Zielinski", 900), (" Goodbye", 1_700)];
        // A sum of -1.2, of which the sentinel has what it is improbable.
        assert!((judged(0.9, -0.6, &one) - (-1.2 - 0.9f32.ln())).abs() < 1e-6);
        // However improbable, no more than its share.
        assert!((judged(0.0, -0.6, &one) + 0.6).abs() < 1e-6);
        // Of many the last are as good as sure.
        let loops = [&one[..1], &[(" Goodbye", 1_700); 15]].concat();
        assert!((judged(1.0, -0.3, &loops) + 4.8).abs() < 1e-5);
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
            prop_assert!(before.text().starts_with(&after.text()));
        }
    }
}
