//! Partials: text of the sentence that a party is still speaking.
//!
//! Words that two results in a row agree on are stable and stay (local agreement: Liu et
//! al., 2020, as Whisper streaming uses it); what follows them may still change.

use std::time::Duration;

use asterscribe_call::SpokenWord;
use asterscribe_speech::SAMPLES_PER_MS;

/// Intervals at which partials are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialConfig {
    /// Length of an utterance at its first partial, the samples before its onset included.
    pub first: Duration,
    /// Length by which it grows until the next one.
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

/// State of the partials of a leg's open utterance.
#[derive(Debug, Default)]
pub(super) struct PartialState {
    /// Start of the utterance on the leg's timeline.
    start: u64,
    /// Length of the utterance from which on the next result is wanted, samples.
    next: u64,
    /// Number of the result that is waited for.
    asked: Option<u32>,
    revision: u32,
    stable: Vec<String>,
    /// Words behind the stable ones in the last result.
    loose: Vec<String>,
    /// Partial that was given out and that no line has replaced yet.
    shown: Option<ShownPartial>,
}

#[derive(Debug, Clone, Copy)]
struct ShownPartial {
    /// Start of its utterance on the call's clock.
    start_ms: u64,
    /// Whether the utterance has become a job, so that its line will replace the partial.
    is_promised: bool,
}

/// Text of a partial.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartialText {
    pub(super) revision: u32,
    pub(super) text: String,
    pub(super) stable_words: usize,
}

impl PartialState {
    /// Number of a new result, if one is wanted of the utterance with this start and length.
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

    /// Ends the partials of the utterance, since it has become a job.
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

    /// Takes the partial back if its utterance ended without a job, being too short for one;
    /// returns whether it did. `speaking_ms`: start of the utterance that the party is in now, if
    /// any.
    pub(super) fn take_stale(&mut self, speaking_ms: Option<u64>) -> bool {
        let is_stale =
            |shown: &mut ShownPartial| !shown.is_promised && Some(shown.start_ms) != speaking_ms;
        if speaking_ms.is_none() {
            self.asked = None;
        }
        self.shown.take_if(is_stale).is_some()
    }

    /// Takes a partial of an utterance before that time back; returns whether there was one.
    pub(super) fn take_shown(&mut self, before_ms: u64) -> bool {
        let is_before = |shown: &mut ShownPartial| shown.start_ms < before_ms;
        self.shown.take_if(is_before).is_some()
    }

    /// Start of the utterance, if this is the result that is waited for.
    pub(super) fn answered(&mut self, revision: u32) -> Option<u64> {
        (self.asked == Some(revision)).then(|| {
            self.asked = None;
            self.start
        })
    }

    /// Joins a result to the earlier ones.
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

/// A word for comparison: punctuation and capitals may change with what follows it.
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
    use super::*;
    use proptest::prelude::*;

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
