//! How much of Whisper's window the encoder computes for an utterance, and when a result is
//! worth a second try with more.
//!
//! Whisper was trained on windows of 30 s, and its encoder costs as much for a second of speech
//! as for thirty. With a context fitted to the utterance the words stay the same; what breaks is
//! the end: with little silence behind the speech the decoder may find no end and write the
//! sentence again. Such texts are told by their shape, and the utterance is tried once more with
//! a longer context, at last with the whole window. docs/models.md has the figures.

use serde::{Deserialize, Serialize};

use super::mel::SAMPLES_PER_POSITION;
use super::model::{AlignmentHeads, Model};
use super::{SAMPLE_RATE, guard};

/// Encoder positions of the whole window; each covers 20 ms.
pub const WHOLE_WINDOW: usize = 1500;

/// Contexts are rounded up to a multiple of this, so that utterances of nearly the same length
/// can be decoded together.
const ROUNDING: usize = 32;

/// Shorter utterances begin with [`SHORT_CONTEXT`] positions at least: on one or two words a
/// tight context loses some.
const SHORT: usize = SAMPLE_RATE as usize * 3 / 2;
const SHORT_CONTEXT: usize = 512;

/// Tokens that a text may have in a fitted context: so many, and so many for each second of
/// audio. Fast speakers come to 5 a second in English; a loop without a cap costs 220.
const TOKENS_AT_LEAST: usize = 8;
const ENGLISH_TOKENS_PER_SECOND: usize = 7;

/// As many for languages whose words the vocabulary has in few pieces …
const FEW_TOKENS_PER_SECOND: usize = 14;
const IN_FEW_PIECES: [&str; 20] = [
    "es", "fr", "de", "it", "pt", "nl", "ru", "pl", "sv", "da", "no", "id", "tr", "ca", "gl", "uk",
    "cs", "zh", "ja", "ko",
];

/// … and for those that it has letter by letter, or byte by byte: a sentence of 3 s that takes 8
/// tokens in English takes 42 in Hindi and 99 in Georgian.
const MANY_TOKENS_PER_SECOND: usize = 45;

/// Tokens of any text: half of the decoder's context, less the marks around the text.
const MOST_TOKENS: usize = 220;

/// Encoder positions that a context has at least. CTranslate2 takes an encoder's output of as many
/// positions as the model has mel bands, 80 or 128, for a spectrogram.
const LEAST_CONTEXT: usize = 160;

/// Mean log-probability of tokens below which a result is doubted (Whisper's own threshold).
const LOW_LOGPROB: f32 = -1.0;

/// Words of its own beginning that a text must end with to count as begun again.
const BEGUN_AGAIN: usize = 3;

/// Why a result was tried once more with a longer context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryReason {
    /// The text goes on with its own beginning: the decoder found no end.
    BeginsAgain,
    /// The text had as many tokens as it may.
    TokenCap,
    /// The same words came several times in a row.
    Repetition,
    /// The model is not sure of its words.
    LowProbability,
}

impl RetryReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [
        Self::BeginsAgain,
        Self::TokenCap,
        Self::Repetition,
        Self::LowProbability,
    ];

    /// The name in figures and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeginsAgain => "begins_again",
            Self::TokenCap => "token_cap",
            Self::Repetition => "repetition",
            Self::LowProbability => "low_probability",
        }
    }
}

/// Positions of silence that the encoder gets behind an utterance, first try first; after the
/// last of them comes the whole window. None at all: the whole window at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextMargins(Vec<u16>);

impl ContextMargins {
    /// The whole window for every utterance.
    pub const WHOLE: Self = Self(Vec::new());

    /// Margins in the order in which they are tried; the encoder has 1,500 positions.
    pub fn new(margins: Vec<u16>) -> Self {
        Self(margins)
    }

    /// Margins that were measured for a model, or, where nobody has measured, wide ones.
    pub fn of(model: &Model) -> Self {
        Self(match model.alignment_heads() {
            // Trained for it.
            AlignmentHeads::Demo => vec![10],
            AlignmentHeads::Published("tiny.en") => vec![256],
            AlignmentHeads::Published("base") => vec![128, 512],
            AlignmentHeads::Published(_) | AlignmentHeads::Unknown => vec![512],
        })
    }

    /// Margins that somebody has set, else those of the model.
    pub fn chosen(set: Option<&Self>, model: &Model) -> Self {
        set.cloned().unwrap_or_else(|| Self::of(model))
    }

    /// The margins, first try first.
    pub fn margins(&self) -> &[u16] {
        &self.0
    }
}

/// Contexts that an utterance is tried with, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextLadder {
    margins: ContextMargins,
    /// The least for short utterances; the demo model knows no difference.
    short_context: usize,
}

impl ContextLadder {
    /// Contexts for a model with these margins.
    pub fn new(margins: ContextMargins, model: &Model) -> Self {
        let short_context = if model.is_demo() { 0 } else { SHORT_CONTEXT };
        Self {
            margins,
            short_context,
        }
    }

    /// Encoder positions for the first try at an utterance of so many samples: those that begin
    /// alike can be decoded together.
    pub fn first_context(&self, samples: usize) -> usize {
        let contexts = self.contexts(samples);
        contexts.first().copied().unwrap_or(WHOLE_WINDOW)
    }

    /// Encoder positions for each try at an utterance of so many samples; the last is the whole
    /// window.
    pub fn contexts(&self, samples: usize) -> Vec<usize> {
        let spoken = samples.div_ceil(SAMPLES_PER_POSITION);
        let least = match self.short_context {
            0 => 0,
            short if samples < SHORT => short,
            _ => LEAST_CONTEXT,
        };
        let fitted = |margin: &u16| {
            let positions = (spoken + usize::from(*margin)).max(least);
            positions.next_multiple_of(ROUNDING)
        };
        let mut contexts: Vec<_> = self.margins.0.iter().map(fitted).collect();
        contexts.retain(|&positions| positions < WHOLE_WINDOW);
        contexts.dedup();
        contexts.push(WHOLE_WINDOW);
        contexts
    }
}

/// Tokens that the text of an utterance of so many samples may have, written in that language; with
/// the whole window, after which nothing else is tried, as many as there can be.
pub(crate) fn token_cap(samples: usize, positions: usize, written_in: &str) -> usize {
    if positions >= WHOLE_WINDOW {
        return MOST_TOKENS;
    }
    let each_second = match written_in {
        "en" => ENGLISH_TOKENS_PER_SECOND,
        code if IN_FEW_PIECES.contains(&code) => FEW_TOKENS_PER_SECOND,
        _ => MANY_TOKENS_PER_SECOND,
    };
    (TOKENS_AT_LEAST + each_second * samples / SAMPLE_RATE as usize).min(MOST_TOKENS)
}

/// What is wrong with a text that was decoded with a fitted context, if anything is.
pub(crate) fn fault(text: &str, mean_logprob: f32, reached_cap: bool) -> Option<RetryReason> {
    if text.is_empty() {
        return None;
    }
    let words = guard::plain(text);
    let words: Vec<&str> = words.split(' ').collect();
    if begins_again(&words) || is_said_twice(&words) {
        Some(RetryReason::BeginsAgain)
    } else if reached_cap {
        Some(RetryReason::TokenCap)
    } else if guard::repetition(&words).is_some() {
        Some(RetryReason::Repetition)
    } else {
        (mean_logprob < LOW_LOGPROB).then_some(RetryReason::LowProbability)
    }
}

/// Whether words are periodic from the first to the last, three or more of them coming again.
fn begins_again(words: &[&str]) -> bool {
    let longest = words.len().saturating_sub(BEGUN_AGAIN);
    (1..=longest).any(|period| words[period..] == words[..words.len() - period])
}

/// Whether one or two words are said exactly twice and nothing else is, which a short window
/// makes of "Sunday".
fn is_said_twice(words: &[&str]) -> bool {
    matches!(words.len(), 2 | 4) && {
        let (first, second) = words.split_at(words.len() / 2);
        first == second
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ladder(margins: &[u16]) -> ContextLadder {
        ContextLadder {
            margins: ContextMargins::new(margins.to_vec()),
            short_context: SHORT_CONTEXT,
        }
    }

    #[test]
    fn contexts_grow_with_the_utterance_up_to_the_whole_window() {
        let two_steps = ladder(&[128, 512]);
        // 3.6 s are 180 positions.
        assert_eq!(two_steps.contexts(57_600), [320, 704, 1500]);
        assert_eq!(two_steps.contexts(16_000), [512, 576, 1500]);
        assert_eq!(two_steps.contexts(480_000), [1500]);
        assert_eq!(ladder(&[]).contexts(16_000), [1500]);
        assert_eq!(ladder(&[256]).contexts(24_000), [352, 1500]);
    }

    #[test]
    fn the_demo_model_gets_no_more_than_it_was_trained_with() {
        let model = Model::demo().unwrap();
        let ladder = ContextLadder::new(ContextMargins::of(&model), &model);
        assert_eq!(ladder.contexts(16_000), [64, 1500]);
    }

    #[test]
    fn a_text_that_begins_again_is_told_from_what_people_say() {
        let begins_again = Some(RetryReason::BeginsAgain);
        for text in [
            "Your call is important. Your call is",
            "Please hold. Please hold. Please hold.",
            "one two three one two three",
            "no no no no",
            "Sunday. Sunday.",
            "thank you thank you",
        ] {
            assert_eq!(fault(text, -0.1, false), begins_again, "{text}");
        }
        for text in [
            "no no",
            "one two three one two",
            "I said yes and then I said no",
            "to be or not to be",
            "yes",
            "",
        ] {
            let said = (text == "no no").then_some(RetryReason::BeginsAgain);
            assert_eq!(fault(text, -0.1, false), said, "{text}");
        }
    }

    #[test]
    fn the_cap_and_a_low_probability_are_faults_of_a_text_only() {
        assert_eq!(
            fault("hello there", -0.2, true),
            Some(RetryReason::TokenCap)
        );
        let low = fault("hello there", -1.2, false);
        assert_eq!(low, Some(RetryReason::LowProbability));
        assert_eq!(fault("", -3.0, true), None);
    }

    #[test]
    fn languages_that_take_many_tokens_may_have_them_and_the_whole_window_any_number() {
        // Counted with the vocabulary of base, for a sentence of 3 s.
        for (code, tokens) in [("en", 8), ("th", 32), ("hi", 42), ("ka", 99)] {
            assert!(token_cap(48_000, 320, code) > tokens, "{code}");
        }
        assert_eq!(token_cap(48_000, 320, "en"), 29);
        assert_eq!(token_cap(48_000, WHOLE_WINDOW, "en"), MOST_TOKENS);
        assert_eq!(token_cap(480_000, 1400, "ka"), MOST_TOKENS);
        let unknown = IN_FEW_PIECES.map(|code| crate::call::language_code(code).is_none());
        assert!(!unknown.contains(&true));
    }

    #[test]
    fn no_context_is_taken_for_a_spectrogram() {
        assert_eq!(ladder(&[16]).contexts(32_000), [160, 1500]);
    }

    proptest! {
        #[test]
        fn every_ladder_ends_with_the_whole_window_and_rises(
            margins in prop::collection::vec(0u16..1600, 0..4),
            samples in 1usize..480_001,
        ) {
            let mut sorted = margins;
            sorted.sort_unstable();
            let contexts = ladder(&sorted).contexts(samples);
            prop_assert!(contexts.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(contexts.last(), Some(&WHOLE_WINDOW));
            prop_assert!(contexts[0] * SAMPLES_PER_POSITION >= samples);
        }

        #[test]
        fn no_text_upsets_the_judgement(text in "\\PC{0,60}", logprob in -5.0f32..0.0, cap: bool) {
            let _any = fault(&text, logprob, cap);
        }
    }
}
