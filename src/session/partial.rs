//! Partial results: what a party has said so far of the sentence it is in.
//!
//! Words that two results in a row agree on are stable and stay (local agreement: Liu et
//! al., 2020, as Whisper streaming uses it); what follows them may still change.

use std::time::Duration;

use crate::call::SpokenWord;
use crate::speech::SAMPLES_PER_MS;

/// When partial results are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialConfig {
    /// The first, once an utterance holds so much, what was before its onset included.
    pub first: Duration,
    /// The next ones, whenever it holds so much more.
    pub every: Duration,
}

impl Default for PartialConfig {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(800),
            every: Duration::from_millis(800),
        }
    }
}

/// The draft of the utterance that a leg is in.
#[derive(Debug, Default)]
pub(super) struct PartialState {
    /// Where the utterance begins on the leg's timeline.
    start: u64,
    /// Length from which on the next result is wanted, samples.
    next: u64,
    /// Number of the result that is being waited for.
    asked: Option<u32>,
    revision: u32,
    stable: Vec<String>,
    /// What followed the stable words in the last result.
    loose: Vec<String>,
    /// What somebody has been shown and no line has replaced yet.
    shown: Option<ShownPartial>,
}

#[derive(Debug, Clone, Copy)]
struct ShownPartial {
    /// Where its utterance begins on the call's clock.
    start_ms: u64,
    /// Whether that utterance has become a job, whose line takes its place.
    is_promised: bool,
}

/// A draft's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartialText {
    pub(super) revision: u32,
    pub(super) text: String,
    pub(super) stable_words: usize,
}

impl PartialState {
    /// Whether a result is wanted of the utterance that begins there and holds so much; its number.
    pub(super) fn ask(&mut self, config: PartialConfig, start: u64, length: u64) -> Option<u32> {
        if start != self.start || self.next == 0 {
            *self = Self {
                start,
                next: samples(config.first),
                // A late answer to another utterance must not count as one to this.
                revision: self.revision,
                shown: self.shown,
                ..Self::default()
            };
        }
        if length < self.next || self.asked.is_some() {
            return None;
        }
        self.next = length + samples(config.every);
        self.revision = self.revision.wrapping_add(1);
        self.asked = Some(self.revision);
        self.asked
    }

    /// The utterance has become a job: no other draft of it is shown.
    pub(super) fn end(&mut self) {
        let shown = self.shown.map(|shown| ShownPartial {
            is_promised: true,
            ..shown
        });
        *self = Self {
            revision: self.revision,
            shown,
            ..Self::default()
        };
    }

    /// Whether what is shown is to be taken back, the party being in the utterance that begins
    /// there, or in none: its own was too short to be one. Then it is.
    pub(super) fn take_stale(&mut self, speaking_ms: Option<u64>) -> bool {
        let is_stale =
            |shown: &mut ShownPartial| !shown.is_promised && Some(shown.start_ms) != speaking_ms;
        if speaking_ms.is_none() {
            self.asked = None;
        }
        self.shown.take_if(is_stale).is_some()
    }

    /// Whether something is shown of what was said before that; it no longer is.
    pub(super) fn take_shown(&mut self, before_ms: u64) -> bool {
        let is_before = |shown: &mut ShownPartial| shown.start_ms < before_ms;
        self.shown.take_if(is_before).is_some()
    }

    /// Where the utterance begins, if that result is the one that is waited for.
    pub(super) fn answered(&mut self, revision: u32) -> Option<u64> {
        (self.asked == Some(revision)).then(|| {
            self.asked = None;
            self.start
        })
    }

    /// Joins a result to those before it.
    pub(super) fn join(&mut self, start_ms: u64, words: &[SpokenWord]) -> PartialText {
        let behind = words.iter().skip(self.stable.len());
        let loose: Vec<String> = behind.map(|word| word.text.clone()).collect();
        let agreed = loose.iter().zip(&self.loose);
        let agreed = agreed
            .take_while(|(new, old)| plain(new) == plain(old))
            .count();
        self.stable.extend_from_slice(&loose[..agreed]);
        self.loose = loose[agreed..].to_vec();
        let all: Vec<&str> = self
            .stable
            .iter()
            .chain(&self.loose)
            .map(String::as_str)
            .collect();
        self.shown = Some(ShownPartial {
            start_ms,
            is_promised: false,
        });
        PartialText {
            revision: self.revision,
            text: all.join(" "),
            stable_words: self.stable.len(),
        }
    }
}

/// A word as it is compared: punctuation and capitals come and go with what follows.
fn plain(word: &str) -> String {
    word.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

fn samples(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / SAMPLES_PER_MS) * SAMPLES_PER_MS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: PartialConfig = PartialConfig {
        first: Duration::from_millis(800),
        every: Duration::from_millis(500),
    };

    fn words(text: &str) -> Vec<SpokenWord> {
        let word = |text: &str| SpokenWord {
            text: text.to_owned(),
            start_ms: 0,
            end_ms: 0,
            probability: 1.0,
        };
        text.split_whitespace().map(word).collect()
    }

    fn join(draft: &mut PartialState, text: &str) -> (String, usize) {
        let drafted = draft.join(0, &words(text));
        (drafted.text, drafted.stable_words)
    }

    #[test]
    fn one_result_at_a_time_is_asked_for() {
        let mut draft = PartialState::default();
        assert_eq!(draft.ask(CONFIG, 160, 12_000), None);
        assert_eq!(draft.ask(CONFIG, 160, 12_800), Some(1));
        assert_eq!(draft.ask(CONFIG, 160, 40_000), None);
        assert_eq!(draft.answered(7), None);
        assert_eq!(draft.answered(1), Some(160));
        assert_eq!(draft.answered(1), None);
        assert_eq!(draft.ask(CONFIG, 160, 20_000), None);
        assert_eq!(draft.ask(CONFIG, 160, 20_800), Some(2));
        // The next utterance: what was asked of the last one is of no interest any more.
        assert_eq!(draft.ask(CONFIG, 90_000, 12_800), Some(3));
        assert_eq!(draft.answered(2), None);
        draft.end();
        assert_eq!(draft.answered(3), None);
    }

    #[test]
    fn words_that_two_results_agree_on_stay() {
        let mut draft = PartialState::default();
        assert_eq!(join(&mut draft, "hello my"), ("hello my".into(), 0));
        assert_eq!(
            join(&mut draft, "Hello, my account"),
            ("Hello, my account".into(), 2)
        );
        assert_eq!(
            join(&mut draft, "Yellow my a count is"),
            ("Hello, my a count is".into(), 2)
        );
        assert_eq!(
            join(&mut draft, "hello my a count of"),
            ("Hello, my a count of".into(), 4)
        );
    }

    proptest! {
        #[test]
        fn what_was_stable_stays(results in prop::collection::vec("([ab] ){0,6}", 1..12)) {
            let mut draft = PartialState::default();
            let mut stable: Vec<String> = Vec::new();
            for result in results {
                let drafted = draft.join(0, &words(&result));
                let shown: Vec<_> = drafted.text.split_whitespace().map(str::to_owned).collect();
                prop_assert!(drafted.stable_words >= stable.len());
                prop_assert_eq!(&shown[..stable.len()], &stable[..]);
                stable = shown[..drafted.stable_words].to_vec();
            }
        }
    }
}
