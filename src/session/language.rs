//! How a call is recognised, and what its parties speak: where that is to be detected, the
//! first result that leaves no doubt settles it for its leg.
//!
//! Whisper decides for each utterance anew, and on a short one, a name or a number, often
//! wrongly; its text is then in another language from one line to the next.

use std::sync::Arc;

use super::{Draft, PartialConfig, Session};
use crate::call::{CallEvent, CallEventKind};
use crate::session::Output;
use crate::speech::{Choices, Recognition};

/// How probable a language must be among those that are possible. Whisper is nearly always
/// above this for the right one after some seconds of speech, and mostly below it for a wrong one.
const MIN_PROBABILITY: f32 = 0.8;

/// How sure the model must be of the text's tokens in the mean: it is not, where it writes one
/// language in the words of another.
const MIN_CONFIDENCE: f32 = 0.6;

/// Length of an utterance, milliseconds: less is a yes, a no or a name.
const MIN_LENGTH_MS: u64 = 1500;

/// How a call's speech is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manner {
    /// How its utterances are.
    pub choices: Arc<Choices>,
    /// When partial results are asked for; `None`: never.
    pub partials: Option<PartialConfig>,
    /// The model by which they are heard once more, later; `None`: they are not.
    pub second_pass: Option<Arc<str>>,
}

/// What an utterance was found to be spoken in.
#[derive(Debug)]
pub(super) struct Spoken {
    language: String,
    probability: f32,
    confidence: f32,
}

impl Spoken {
    /// If it was to be found out.
    pub(super) fn detected(heard: &Recognition) -> Option<Self> {
        Some(Self {
            language: heard.language.clone(),
            probability: heard.language_probability?,
            confidence: heard.confidence,
        })
    }

    fn is_certain(&self, length_ms: u64) -> bool {
        self.probability >= MIN_PROBABILITY
            && self.confidence >= MIN_CONFIDENCE
            && length_ms >= MIN_LENGTH_MS
    }
}

impl Session {
    /// From now on its speech is recognised like that.
    pub fn choose(&mut self, manner: Manner) {
        let Manner {
            choices,
            partials,
            second_pass,
        } = manner;
        self.config.choices = choices;
        self.config.partials = partials;
        self.config.second_pass = second_pass;
        self.locks.fill(None);
        let drafts = partials.map_or(0, |_| self.legs.len());
        self.drafts.resize_with(drafts, Draft::default);
    }

    /// How a leg's speech is recognised now.
    pub(super) fn choices_of(&self, leg: usize) -> Arc<Choices> {
        let locked = self.locks.get(leg).and_then(Option::as_ref);
        Arc::clone(locked.unwrap_or(&self.config.choices))
    }

    /// What a leg is taken to speak since that was detected.
    pub(super) fn locked(&self, leg: usize) -> Option<&str> {
        let locked = self.locks.get(leg)?.as_ref()?;
        locked.language.as_deref()
    }

    /// Takes a leg to speak what an utterance of it, between those times, was found to be
    /// spoken in, if that is certain and still open.
    pub(super) fn lock_language(&mut self, leg: usize, spoken: &Spoken, between_ms: (u64, u64)) {
        let (start_ms, end_ms) = between_ms;
        let length_ms = end_ms.saturating_sub(start_ms);
        let is_open = self.choices_of(leg).language.is_none();
        let Some(lock) = self.locks.get_mut(leg) else {
            return;
        };
        if !is_open || !spoken.is_certain(length_ms) {
            return;
        }
        *lock = Some(Arc::new(Choices {
            language: Some(spoken.language.clone()),
            among: Vec::new(),
            ..(*self.config.choices).clone()
        }));
        self.news = true;
        let text = format!(
            "{}: probability {:.2}, confidence {:.2}, {length_ms} ms",
            spoken.language, spoken.probability, spoken.confidence
        );
        self.outputs.push_back(Output::Event(CallEvent {
            at_ms: end_ms,
            kind: CallEventKind::LanguageLocked,
            leg: Some(self.legs[leg].leg().clone()),
            text,
        }));
        let snapshots = self.snapshots();
        self.outputs.push_back(Output::Stats(snapshots));
    }
}
