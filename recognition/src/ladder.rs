//! Ladder of contexts: how much of Whisper's window the encoder computes for an utterance, and when
//! a result is worth another try with more.
//!
//! Whisper was trained on windows of 30 s, and its encoder costs as much for a second of speech
//! as for thirty. With a context fitted to the utterance the words stay the same; what breaks is
//! the end: with little silence behind the speech the decoder may find no end and write the
//! sentence again. Such texts are told by their shape, and the utterance is tried once more with
//! a longer context, at last with the whole window. Where the language is known to be English, the
//! first try has a sentinel behind it, with which there is nearly always an end.
//! docs/models.md has the figures.

mod margins;

use asterscribe_call::SpeechTask;
use asterscribe_speech::{DecodeOptions, RetryReason, SAMPLE_RATE, guard};

pub use self::margins::ContextMargins;
use crate::mel::SAMPLES_PER_POSITION;
use crate::model::{AlignmentHeads, SpeechModel};
use crate::sentinel;

/// Encoder positions of the whole window; each covers 20 ms.
pub const WHOLE_WINDOW: usize = 1500;

/// Contexts are rounded up to a multiple of this, so that utterances of nearly the same length
/// can be decoded together.
const ROUNDING: usize = 32;

/// Shorter utterances begin with [`SHORT_CONTEXT`] positions at least: on one or two words a
/// tight context loses some.
const SHORT: usize = SAMPLE_RATE as usize * 3 / 2;
const SHORT_CONTEXT: usize = 512;

/// Most tokens of a text in a fitted context: so many, and so many for each second of audio. Fast
/// speakers come to 5 a second in English; a loop without a cap costs 220.
const TOKENS_AT_LEAST: usize = 8;
const ENGLISH_TOKENS_PER_SECOND: usize = 7;

/// Tokens per second for languages whose words the vocabulary has in few pieces.
const FEW_TOKENS_PER_SECOND: usize = 14;
const IN_FEW_PIECES: [&str; 20] = [
    "es", "fr", "de", "it", "pt", "nl", "ru", "pl", "sv", "da", "no", "id", "tr", "ca", "gl", "uk",
    "cs", "zh", "ja", "ko",
];

/// Tokens per second for languages that the vocabulary has letter by letter, or byte by byte: a
/// sentence of 3 s that takes 8 tokens in English takes 42 in Hindi and 99 in Georgian.
const MANY_TOKENS_PER_SECOND: usize = 45;

/// Most tokens of any text: half of the decoder's context, less the marks around the text.
const MOST_TOKENS: usize = 220;

/// Least encoder positions of a context. CTranslate2 mistakes an encoder's output for a spectrogram
/// if it has as many positions as the model has mel bands, 80 or 128.
const LEAST_CONTEXT: usize = 160;

/// Mean log-probability of tokens below which a result is doubted (Whisper's own threshold).
const LOW_LOGPROB: f32 = -1.0;

/// Mean log-probability below which the result of an utterance of less than [`SHORT`] is doubted:
/// models are seldom sure of a single word, and trying it again with more of the window gains
/// nothing (172 English prompts).
const SHORT_LOGPROB: f32 = -2.0;

/// Mean log-probability below which a text of `base` before the sentinel is doubted: one in twelve
/// of the English prompts is below it, and half of the words that the tight context mishears are in
/// those.
const UNSURE_LOGPROB: f32 = -0.5;

/// Words of its own beginning that a text must end with to count as begun again.
const BEGUN_AGAIN: usize = 3;

/// The window that the encoder computes in one try at an utterance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EncoderWindow {
    /// Number of its positions, each of 20 ms.
    pub positions: usize,
    /// Whether the sentinel is spoken behind the utterance.
    pub has_sentinel: bool,
}

impl EncoderWindow {
    /// The whole window, as Whisper was trained with it.
    pub const WHOLE: Self = Self {
        positions: WHOLE_WINDOW,
        has_sentinel: false,
    };
}

/// Windows that an utterance is tried with, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextLadder {
    margins: ContextMargins,
    /// Least context for short utterances; 0 for the demo model, which makes no difference.
    short_context: usize,
    /// Whether the model knows English only.
    is_english: bool,
    /// Mean log-probability below which a text before the sentinel is doubted.
    sentinel_logprob: f32,
}

impl ContextLadder {
    /// Windows for a model with these margins.
    pub fn new(margins: ContextMargins, model: &SpeechModel) -> Self {
        let short_context = if model.is_demo() { 0 } else { SHORT_CONTEXT };
        Self {
            margins,
            short_context,
            is_english: model.header.is_english(),
            sentinel_logprob: match model.alignment_heads() {
                AlignmentHeads::Published("base") => UNSURE_LOGPROB,
                _ => LOW_LOGPROB,
            },
        }
    }

    /// Fault of a text from `samples` samples in this window, if it has one.
    pub(crate) fn fault(
        &self,
        samples: usize,
        window: EncoderWindow,
        text: &str,
        mean_logprob: f32,
        reached_cap: bool,
    ) -> Option<RetryReason> {
        let least = match () {
            () if self.is_short(samples) => SHORT_LOGPROB,
            () if window.has_sentinel => self.sentinel_logprob,
            () => LOW_LOGPROB,
        };
        if window.has_sentinel && guard::may_be_noise(text, sentinel::LANGUAGE) {
            return Some(RetryReason::Sentinel);
        }
        let is_unsure = mean_logprob < least && !text.is_empty();
        let unsure = is_unsure.then_some(RetryReason::LowProbability);
        endless(text, reached_cap).or(unsure)
    }

    /// Whether an utterance has one or two words at most.
    fn is_short(&self, samples: usize) -> bool {
        self.short_context > 0 && samples < SHORT
    }

    /// Window of the first try at an utterance of so many samples. Utterances with the same one can
    /// be decoded together.
    pub fn first_window(&self, samples: usize, choices: &DecodeOptions) -> EncoderWindow {
        let windows = self.windows(samples, choices);
        windows.first().copied().unwrap_or(EncoderWindow::WHOLE)
    }

    /// Windows for each try at an utterance of so many samples, in their order; the last is the
    /// whole one.
    pub fn windows(&self, samples: usize, choices: &DecodeOptions) -> Vec<EncoderWindow> {
        if choices.full_context {
            return vec![EncoderWindow::WHOLE];
        }
        let fitted = |samples: usize, margin: u16, least: usize| {
            let spoken = samples.div_ceil(SAMPLES_PER_POSITION);
            let positions = (spoken + usize::from(margin)).max(least);
            positions.next_multiple_of(ROUNDING)
        };
        let sentinel = self.margins.sentinel.filter(|_| self.is_english(choices));
        let sentinel = sentinel.map(|margin| EncoderWindow {
            positions: fitted(samples + sentinel::samples(), margin, LEAST_CONTEXT),
            has_sentinel: true,
        });
        let least = match () {
            () if self.is_short(samples) => self.short_context,
            () if self.short_context > 0 => LEAST_CONTEXT,
            () => 0,
        };
        // What fails with the sentinel is seldom mended by a little more.
        let widest = self.margins.alone.len().saturating_sub(1);
        let skipped = if sentinel.is_some() { widest } else { 0 };
        let alone = self.margins.alone[skipped..].iter();
        let alone = alone.map(|&margin| EncoderWindow {
            positions: fitted(samples, margin, least),
            has_sentinel: false,
        });
        let mut windows: Vec<_> = sentinel.into_iter().chain(alone).collect();
        windows.retain(|window| window.positions < WHOLE_WINDOW);
        windows.dedup();
        windows.push(EncoderWindow::WHOLE);
        windows
    }

    /// Whether an utterance is known to be in the sentinel's language, and to be written in it.
    fn is_english(&self, choices: &DecodeOptions) -> bool {
        let is_spoken = choices.language.as_deref() == Some(sentinel::LANGUAGE);
        self.is_english || is_spoken && choices.task == SpeechTask::Transcribe
    }
}

/// Most tokens of an utterance's text in the language `written_in`. With the whole window, after
/// which nothing else is tried, it is the most that there can be.
pub(crate) fn token_cap(samples: usize, window: EncoderWindow, written_in: &str) -> usize {
    if window == EncoderWindow::WHOLE {
        return MOST_TOKENS;
    }
    let each_second = match written_in {
        "en" => ENGLISH_TOKENS_PER_SECOND,
        code if IN_FEW_PIECES.contains(&code) => FEW_TOKENS_PER_SECOND,
        _ => MANY_TOKENS_PER_SECOND,
    };
    let sentinel = if window.has_sentinel {
        sentinel::TOKENS
    } else {
        0
    };
    (TOKENS_AT_LEAST + sentinel + each_second * samples / SAMPLE_RATE as usize).min(MOST_TOKENS)
}

/// Fault that shows that the decoder found no end of the text, if there is one.
pub(crate) fn endless(text: &str, reached_cap: bool) -> Option<RetryReason> {
    let words = guard::plain(text);
    let words: Vec<&str> = words.split(' ').collect();
    if text.is_empty() {
        None
    } else if begins_again(&words) || is_said_twice(&words) {
        Some(RetryReason::BeginsAgain)
    } else if reached_cap {
        Some(RetryReason::TokenCap)
    } else {
        guard::repetition(&words).map(|_| RetryReason::Repetition)
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
    use super::*;
    use proptest::prelude::*;

    fn ladder(margins: &[u16]) -> ContextLadder {
        ContextLadder {
            margins: ContextMargins::new(margins.to_vec()),
            short_context: SHORT_CONTEXT,
            is_english: false,
            sentinel_logprob: UNSURE_LOGPROB,
        }
    }

    /// Positions of each window, if none has a sentinel.
    fn contexts(ladder: &ContextLadder, samples: usize) -> Vec<usize> {
        let windows = ladder.windows(samples, &DecodeOptions::default());
        assert!(windows.iter().all(|window| !window.has_sentinel));
        windows.iter().map(|window| window.positions).collect()
    }

    #[test]
    fn contexts_grow_with_the_utterance_up_to_the_whole_window() {
        let two_steps = ladder(&[128, 512]);
        // 3.6 s are 180 positions.
        assert_eq!(contexts(&two_steps, 57_600), [320, 704, 1500]);
        assert_eq!(contexts(&two_steps, 16_000), [512, 576, 1500]);
        assert_eq!(contexts(&two_steps, 480_000), [1500]);
        assert_eq!(contexts(&ladder(&[]), 16_000), [1500]);
        assert_eq!(contexts(&ladder(&[256]), 24_000), [352, 1500]);
    }

    #[test]
    fn the_sentinel_is_tried_first_where_english_is_spoken_and_written() {
        let mut ladder = ladder(&[256]);
        ladder.margins.sentinel = Some(64);
        let spoken = |language: Option<&str>, task| DecodeOptions {
            language: language.map(str::to_owned),
            task,
            ..DecodeOptions::default()
        };
        let has = |ladder: &ContextLadder, choices: &DecodeOptions| {
            let windows = ladder.windows(57_600, choices);
            assert_eq!(windows.last(), Some(&EncoderWindow::WHOLE));
            windows[0].has_sentinel
        };
        let (write, translate) = (SpeechTask::Transcribe, SpeechTask::Translate);
        assert!(has(&ladder, &spoken(Some("en"), write)));
        assert!(!has(&ladder, &spoken(Some("en"), translate)));
        assert!(!has(&ladder, &spoken(Some("es"), write)));
        assert!(!has(&ladder, &spoken(None, write)));
        ladder.is_english = true;
        assert!(has(&ladder, &spoken(None, write)));
        // 180 positions, 42 of the sentinel and 64; short ones need no more.
        let first = |samples| {
            ladder
                .first_window(samples, &DecodeOptions::default())
                .positions
        };
        assert_eq!((first(57_600), first(1_600)), (288, 160));
        let whole = DecodeOptions {
            full_context: true,
            ..DecodeOptions::default()
        };
        assert_eq!(ladder.windows(57_600, &whole), [EncoderWindow::WHOLE]);
        ladder.margins.alone = vec![256, 512];
        let contexts: Vec<_> = ladder.windows(57_600, &DecodeOptions::default());
        let positions: Vec<_> = contexts.iter().map(|window| window.positions).collect();
        assert_eq!(positions, [288, 704, 1500]);
        ladder.margins.sentinel = Some(1_500);
        assert!(!has(&ladder, &DecodeOptions::default()));
    }

    #[test]
    fn the_demo_model_gets_no_more_than_it_was_trained_with() {
        let model = SpeechModel::demo().unwrap();
        let ladder = ContextLadder::new(ContextMargins::of(&model), &model);
        assert_eq!(contexts(&ladder, 16_000), [64, 1500]);
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
            assert_eq!(endless(text, false), begins_again, "{text}");
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
            assert_eq!(endless(text, false), said, "{text}");
        }
    }

    #[test]
    fn the_cap_and_a_low_probability_are_faults_of_a_text_only() {
        let ladder = ladder(&[256]);
        let fault =
            |text, logprob, cap| ladder.fault(SHORT, EncoderWindow::WHOLE, text, logprob, cap);
        let (cap, low) = (RetryReason::TokenCap, RetryReason::LowProbability);
        assert_eq!(fault("hello there", -0.2, true), Some(cap));
        assert_eq!(fault("hello there", -1.2, false), Some(low));
        assert_eq!(fault("hello there", -0.9, false), None);
        let short = |logprob| ladder.fault(SHORT - 1, EncoderWindow::WHOLE, "yes", logprob, false);
        assert_eq!((short(-1.9), short(-2.1)), (None, Some(low)));
        assert_eq!(fault("", -3.0, true), None);
    }

    #[test]
    fn languages_that_take_many_tokens_may_have_them_and_the_whole_window_any_number() {
        let fitted = |has_sentinel| EncoderWindow {
            positions: 320,
            has_sentinel,
        };
        // Counted with the vocabulary of base, for a sentence of 3 s.
        for (code, tokens) in [("en", 8), ("th", 32), ("hi", 42), ("ka", 99)] {
            assert!(token_cap(48_000, fitted(false), code) > tokens, "{code}");
        }
        assert_eq!(token_cap(48_000, fitted(false), "en"), 29);
        assert_eq!(token_cap(48_000, fitted(true), "en"), 33);
        assert_eq!(token_cap(48_000, EncoderWindow::WHOLE, "en"), MOST_TOKENS);
        assert_eq!(token_cap(480_000, fitted(false), "ka"), MOST_TOKENS);
        let unknown = IN_FEW_PIECES.map(|code| asterscribe_call::language_code(code).is_none());
        assert!(!unknown.contains(&true));
    }

    #[test]
    fn no_context_is_taken_for_a_spectrogram() {
        assert_eq!(contexts(&ladder(&[16]), 32_000), [160, 1500]);
    }

    #[test]
    fn a_text_before_the_sentinel_is_doubted_sooner() {
        let ladder = ladder(&[256]);
        let judged = |has_sentinel, logprob| {
            let window = EncoderWindow {
                positions: 320,
                has_sentinel,
            };
            ladder.fault(SHORT, window, "follow buttertown key", logprob, false)
        };
        let low = Some(RetryReason::LowProbability);
        assert_eq!((judged(true, -0.6), judged(false, -0.6)), (low, None));
        assert_eq!((judged(true, -0.3), judged(false, -1.1)), (None, low));
    }

    #[test]
    fn what_noise_makes_as_well_is_not_believed_of_the_sentinel() {
        let ladder = ladder(&[256]);
        let judged = |has_sentinel, text| {
            let window = EncoderWindow {
                positions: 320,
                has_sentinel,
            };
            ladder.fault(SHORT, window, text, -0.2, false)
        };
        for text in ["Goodbye.", "Good bye.", "Bye bye!", "Thank you.", "", "..."] {
            assert_eq!(judged(true, text), Some(RetryReason::Sentinel), "{text}");
        }
        assert_eq!(judged(true, "Okay, goodbye."), None);
        assert_eq!(judged(false, "Goodbye."), None);
    }

    proptest! {
        #[test]
        fn every_ladder_ends_with_the_whole_window_and_rises(
            margins in prop::collection::vec(0u16..1600, 0..4),
            samples in 1usize..480_001,
        ) {
            let mut sorted = margins;
            sorted.sort_unstable();
            let contexts = contexts(&ladder(&sorted), samples);
            prop_assert!(contexts.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(contexts.last(), Some(&WHOLE_WINDOW));
            prop_assert!(contexts[0] * SAMPLES_PER_POSITION >= samples);
        }

        #[test]
        fn no_text_upsets_the_judgement(text in "\\PC{0,60}", logprob in -5.0f32..0.0, cap: bool) {
            let _any = ladder(&[128]).fault(SHORT, EncoderWindow::WHOLE, &text, logprob, cap);
        }
    }
}
