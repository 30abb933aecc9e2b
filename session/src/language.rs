//! Options of a call's recognition, and detection of the language that each party speaks: the first
//! result that leaves no doubt settles it for its leg, until something speaks against it.
//!
//! Whisper decides for each utterance anew, and on a short one, a name or a number, often
//! wrongly; its text is then in another language from one line to the next. But an announcement
//! may settle it for a party who then speaks another language: the engine, which is told that the
//! language was only detected, finds the other one where the words do not fit. Hold, a transfer
//! or another party may change it: then the language is detected again.

use std::mem;
use std::sync::Arc;

use asterscribe_call::{CallEvent, CallEventKind, DoubtReason, TranscriptLine};
use asterscribe_speech::guard::JudgedText;
use asterscribe_speech::language::{
    DOUBTFUL_CONFIDENCE, LEAST_LANGUAGE_MS, LEAST_LANGUAGE_PROBABILITY,
};
use asterscribe_speech::{DecodeOptions, Recognition};

use super::{CallSession, LegIndex, PartialConfig, PartialState};
use crate::SessionOutput;

/// Least mean probability of the text's tokens: below it Whisper may have written one language in
/// the words of another.
const MIN_CONFIDENCE: f32 = 0.6;

/// Utterances in a row that must speak against a language before it is detected again.
const DOUBTFUL_UTTERANCES: u8 = 2;

/// Time after a detection for doubt, milliseconds, in which doubt causes no other one; it doubles
/// each time that the same language is found again, for then the party is only hard to understand.
const REST_MS: u64 = 120_000;

/// Most doublings: the time is then 64 minutes.
const MOST_DOUBLINGS: u32 = 5;

/// Options of a call's recognition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallOptions {
    /// Decoding options of its utterances.
    pub choices: Arc<DecodeOptions>,
    /// Intervals of partials; `None`: no partials.
    pub partials: Option<PartialConfig>,
    /// Model of the second pass; `None`: no second pass.
    pub second_pass: Option<Arc<str>>,
}

/// The language that an utterance was recognised in.
#[derive(Debug)]
pub(super) struct SpokenLanguage {
    language: String,
    /// Probability of the language, where Whisper was to detect it.
    probability: Option<f32>,
    confidence: f32,
}

/// Evidence of an utterance about the language of its leg.
#[derive(Debug)]
pub(super) enum LanguageEvidence {
    /// Whisper was to detect the language, and found this one.
    Detected(SpokenLanguage),
    /// The language was given, and the words fit it.
    Fits(SpokenLanguage),
    /// The language was given, and the words do not fit it.
    Doubtful(SpokenLanguage),
    /// No evidence.
    Nothing,
}

impl SpokenLanguage {
    /// The language of a result, before anything is held back of its text.
    pub(super) fn of(heard: &Recognition) -> Self {
        Self {
            language: heard.language.clone(),
            probability: heard.language_probability,
            confidence: heard.confidence,
        }
    }

    /// The evidence of a result, with the line that was made of it.
    pub(super) fn evidence(self, line: &TranscriptLine) -> LanguageEvidence {
        let has_words = !line.text.is_empty();
        let doubt = line.suppressed.as_ref();
        if self.probability.is_some() {
            return match has_words {
                true => LanguageEvidence::Detected(self),
                false => LanguageEvidence::Nothing,
            };
        }
        // Speech of another language may become a loop, or be described instead of written.
        let is_strange = doubt.is_some_and(|held| {
            held.reason == DoubtReason::Repetition || JudgedText::names_foreign_speech(held)
        });
        match (is_strange, has_words) {
            (true, _) => LanguageEvidence::Doubtful(self),
            (false, false) => LanguageEvidence::Nothing,
            (false, true) if self.confidence < DOUBTFUL_CONFIDENCE => {
                LanguageEvidence::Doubtful(self)
            }
            (false, true) => LanguageEvidence::Fits(self),
        }
    }

    fn is_probable(&self) -> bool {
        self.probability
            .is_some_and(|p| p >= LEAST_LANGUAGE_PROBABILITY)
    }
}

/// The language that a leg is taken to speak.
#[derive(Debug, Default)]
pub(super) struct LegLanguage {
    /// Options of its recognition since the language was detected.
    lock: Option<Arc<DecodeOptions>>,
    /// Utterances in a row that spoke against the locked language.
    doubtful: u8,
    /// Language that was given up for such doubt, until one is found.
    doubted: Option<String>,
    /// Time on the call's clock, milliseconds, before which doubt does not count.
    rests_until_ms: u64,
    /// Number of times in a row that the doubted language was found again.
    confirmed: u32,
    /// Time on the call's clock, milliseconds: an utterance that began earlier may be another
    /// party's.
    since_ms: u64,
}

impl LegLanguage {
    fn language(&self) -> Option<&str> {
        self.lock.as_ref()?.language.as_deref()
    }

    /// Whether a detected language is settled: its probability leaves no doubt, or it is the very
    /// language that was given up for a low confidence, which is then no longer a reason against
    /// it.
    fn is_settled_by(&self, spoken: &SpokenLanguage) -> bool {
        let is_found_again = self.doubted.as_ref() == Some(&spoken.language);
        spoken.is_probable() && (is_found_again || spoken.confidence >= MIN_CONFIDENCE)
    }

    fn settle(&mut self, choices: Arc<DecodeOptions>, at_ms: u64) {
        let is_found_again = self.doubted.is_some() && self.doubted == choices.language;
        if is_found_again {
            let rest_ms = REST_MS << self.confirmed.min(MOST_DOUBLINGS);
            self.confirmed = self.confirmed.saturating_add(1);
            self.rests_until_ms = at_ms.saturating_add(rest_ms);
        } else {
            self.confirmed = 0;
            self.rests_until_ms = 0;
        }
        self.doubted = None;
        self.doubtful = 0;
        self.lock = Some(choices);
    }

    /// Takes note of an utterance in the locked language; returns whether enough of them now speak
    /// against it.
    fn is_doubted_by(&mut self, evidence: &LanguageEvidence, at_ms: u64) -> bool {
        match evidence {
            LanguageEvidence::Fits(_) => self.doubtful = 0,
            LanguageEvidence::Doubtful(_) if at_ms >= self.rests_until_ms => {
                self.doubtful = self.doubtful.saturating_add(1);
            }
            LanguageEvidence::Doubtful(_)
            | LanguageEvidence::Detected(_)
            | LanguageEvidence::Nothing => {}
        }
        self.doubtful >= DOUBTFUL_UTTERANCES
    }
}

impl CallSession {
    /// Sets the options for all speech from now on.
    pub fn choose(&mut self, manner: CallOptions) {
        let CallOptions {
            choices,
            partials,
            second_pass,
        } = manner;
        self.config.choices = choices;
        self.config.partials = partials;
        self.config.second_pass = second_pass;
        self.languages.fill_with(LegLanguage::default);
        let drafts = partials.map_or(0, |_| self.legs.len());
        self.drafts.resize_with(drafts, PartialState::default);
    }

    /// Present options of a leg's recognition.
    pub(super) fn choices_of(&self, leg: usize) -> Arc<DecodeOptions> {
        let language = self.languages.get(leg);
        let locked = language.and_then(|language| language.lock.as_ref());
        Arc::clone(locked.unwrap_or(&self.config.choices))
    }

    /// Language that a leg is taken to speak, once it was detected.
    pub(super) fn locked(&self, leg: usize) -> Option<&str> {
        self.languages.get(leg)?.language()
    }

    /// Learns from an utterance of a leg, between those times, which language the leg speaks:
    /// settles it if it is open and the evidence certain, reopens it if it is settled and doubtful.
    pub(super) fn weigh_language(
        &mut self,
        leg: usize,
        evidence: LanguageEvidence,
        (start_ms, end_ms): (u64, u64),
    ) {
        let length_ms = end_ms.saturating_sub(start_ms);
        let is_open = self.choices_of(leg).language.is_none();
        let Some(language) = self.languages.get_mut(leg) else {
            return;
        };
        if length_ms < LEAST_LANGUAGE_MS || start_ms < language.since_ms {
            return;
        }
        match &evidence {
            LanguageEvidence::Detected(spoken) => {
                let is_other = language.language().is_some_and(|l| l != spoken.language);
                if !language.is_settled_by(spoken) {
                    return;
                }
                if is_other {
                    let text = format!("an utterance is surely {}", spoken.language);
                    self.open_language(leg, LegLanguage::default(), &text, end_ms);
                }
                if is_open || is_other {
                    self.lock_language(leg, spoken, length_ms, end_ms);
                }
            }
            LanguageEvidence::Fits(spoken) | LanguageEvidence::Doubtful(spoken) => {
                // Of an earlier lock its last utterances may still come.
                let is_current = language.language() == Some(spoken.language.as_str());
                if is_current && language.is_doubted_by(&evidence, end_ms) {
                    let text = format!(
                        "{DOUBTFUL_UTTERANCES} utterances that do not fit, the last with confidence {:.2}",
                        spoken.confidence
                    );
                    let doubted = LegLanguage {
                        doubted: Some(spoken.language.clone()),
                        confirmed: language.confirmed,
                        ..LegLanguage::default()
                    };
                    self.open_language(leg, doubted, &text, end_ms);
                }
            }
            LanguageEvidence::Nothing => {}
        }
    }

    fn lock_language(&mut self, leg: usize, spoken: &SpokenLanguage, length_ms: u64, at_ms: u64) {
        let choices = DecodeOptions {
            language: Some(spoken.language.clone()),
            language_is_detected: true,
            ..(*self.config.choices).clone()
        };
        self.languages[leg].settle(Arc::new(choices), at_ms);
        let text = format!(
            "{}: probability {:.2}, confidence {:.2}, {length_ms} ms",
            spoken.language,
            spoken.probability.unwrap_or_default(),
            spoken.confidence
        );
        self.tell_language(leg, CallEventKind::LanguageLocked, text, at_ms);
    }

    /// Detects the language of a leg, or of all legs, again, because another party may be speaking.
    /// Without a detected language nothing changes.
    pub(super) fn reopen_language(&mut self, leg: Option<LegIndex>, why: &str, at_ms: u64) {
        let concerned = match leg {
            Some(leg) => leg.place()..leg.place().saturating_add(1),
            None => 0..self.legs.len(),
        };
        for leg in concerned {
            let open = LegLanguage {
                since_ms: at_ms,
                ..LegLanguage::default()
            };
            self.open_language(leg, open, why, at_ms);
        }
    }

    fn open_language(&mut self, leg: usize, open: LegLanguage, why: &str, at_ms: u64) {
        let Some(language) = self.languages.get_mut(leg) else {
            return;
        };
        let Some(lock) = mem::replace(language, open).lock else {
            return;
        };
        let before = lock.language.as_deref().unwrap_or_default();
        let text = format!("{before} no longer taken for granted: {why}");
        self.tell_language(leg, CallEventKind::LanguageReopened, text, at_ms);
    }

    fn tell_language(&mut self, leg: usize, kind: CallEventKind, text: String, at_ms: u64) {
        self.news = true;
        self.outputs.push_back(SessionOutput::Event(CallEvent {
            at_ms,
            kind,
            leg: Some(self.legs[leg].leg().clone()),
            text,
        }));
        let snapshots = self.snapshots();
        self.outputs.push_back(SessionOutput::Stats(snapshots));
    }
}
