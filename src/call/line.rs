//! What was said.

use serde::{Deserialize, Serialize};

use super::{GapReason, Leg};

/// One recognised utterance, or the reason why an utterance has no text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TranscriptLine {
    /// Place in the call's transcript: 0, 1, 2 … without holes.
    pub seq: u64,
    /// Who spoke.
    pub leg: Leg,
    /// Start of the utterance on the call's clock, milliseconds.
    pub start_ms: u64,
    /// End of the utterance on the call's clock, milliseconds.
    pub end_ms: u64,
    /// What was said; empty where `gap` is set.
    pub text: String,
    /// Mean probability of the text's tokens, 0 to 1.
    pub confidence: f32,
    /// Whether it was said before the call was answered: an announcement, or whoever waits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub early_media: bool,
    /// Language that was spoken, ISO 639-1; that of the text, too, unless it was translated.
    pub language: String,
    /// What was done: the text is what was said, or English for it.
    #[serde(default, skip_serializing_if = "SpeechTask::is_transcribe")]
    pub task: SpeechTask,
    /// Set when this audio could not be transcribed: the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapReason>,
    /// The words one by one, on the call's clock.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<SpokenWord>,
    /// Text that was probably not spoken and is therefore not in `text`: all that the engine
    /// said, or, beside words that stand, the annotations among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<SuppressedText>,
    /// Name and revision of the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// How often it has been replaced by something better since it was first told.
    #[serde(default, skip_serializing_if = "is_first")]
    pub revision: u32,
    /// The place of its audio on the disk: with `gap` [`GapReason::Spooled`] its words are still
    /// to come, with words of its own it is to be heard once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<u64>,
    /// What it said before it was heard once more, where that was something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Box<EarlierRevision>>,
}

/// The text of a line in an earlier revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlierRevision {
    /// Its text.
    pub text: String,
    /// Mean probability of the text's tokens, 0 to 1.
    pub confidence: f32,
    /// Name and revision of the model.
    pub model: String,
}

/// The task that Whisper did: transcription or translation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpeechTask {
    /// Its text.
    #[default]
    Transcribe,
    /// English text for it.
    Translate,
}

impl SpeechTask {
    fn is_transcribe(&self) -> bool {
        *self == Self::Transcribe
    }
}

fn is_first(revision: &u32) -> bool {
    *revision == 0
}

impl TranscriptLine {
    /// A line of which nothing is known but its number and who spoke.
    pub fn new(seq: u64, leg: Leg) -> Self {
        Self {
            seq,
            leg,
            start_ms: 0,
            end_ms: 0,
            text: String::new(),
            confidence: 0.0,
            early_media: false,
            language: "und".to_owned(),
            task: SpeechTask::Transcribe,
            gap: None,
            words: Vec::new(),
            suppressed: None,
            model: String::new(),
            revision: 0,
            spool: None,
            first: None,
        }
    }

    /// Whether its words are still to come.
    pub fn awaits_words(&self) -> bool {
        self.gap == Some(GapReason::Spooled)
    }

    /// Whether it is to be heard once more. A line that could not be kept in time may yet have
    /// its first words come: that is none of those.
    pub fn awaits_second_pass(&self) -> bool {
        let is_first = matches!(self.gap, Some(GapReason::Spooled | GapReason::OverloadShed));
        self.spool.is_some() && !is_first
    }

    /// Its times, as of a call clock that began so much earlier.
    pub fn shift(&mut self, ms: u64) {
        self.start_ms += ms;
        self.end_ms += ms;
        for word in &mut self.words {
            word.start_ms += ms;
            word.end_ms += ms;
        }
    }
}

/// The beginning of a sentence that a party has not finished. Numbered; the line that comes of it
/// takes its place, and none follows that line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialLine {
    /// Who speaks.
    pub leg: Leg,
    /// Start of the utterance on the call's clock, milliseconds.
    pub start_ms: u64,
    /// How far it was listened to, milliseconds.
    pub end_ms: u64,
    /// Grows with each result.
    pub revision: u32,
    /// What was heard. Empty: there is no sentence any more.
    pub text: String,
    /// So many words of it will not change before the line comes.
    pub stable_words: usize,
}

/// A word and when it was said. Within an utterance times count from its first sample, in a
/// line from the beginning of the call's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpokenWord {
    /// The word, with the punctuation that belongs to it.
    pub text: String,
    /// Where it begins, milliseconds.
    pub start_ms: u64,
    /// Where it ends, milliseconds.
    pub end_ms: u64,
    /// Mean probability of its tokens, 0 to 1.
    pub probability: f32,
}

/// Text that a guard holds back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuppressedText {
    /// Why.
    pub reason: DoubtReason,
    /// What it was seen by.
    pub evidence: String,
    /// What the engine said.
    pub text: String,
}

/// Why text was probably not spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtReason {
    /// There was next to nothing to be heard.
    NearSilence,
    /// Words that come over and over.
    Repetition,
    /// What subtitles say, and callers do not.
    PhantomPhrase,
    /// More words than anybody can say in that time.
    SpeechRate,
    /// A description of sound, such as `[Music]`, or a lyric, and no words of a party.
    Annotation,
    /// The call's own prompt, from audio that does not hold so many words.
    PromptEcho,
    /// The model finds that nobody speaks, and is not sure of its words.
    NoSpeech,
}

impl DoubtReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::NearSilence,
        Self::Repetition,
        Self::PhantomPhrase,
        Self::SpeechRate,
        Self::Annotation,
        Self::PromptEcho,
        Self::NoSpeech,
    ];

    /// The reason's name, as JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NearSilence => "near_silence",
            Self::Repetition => "repetition",
            Self::PhantomPhrase => "phantom_phrase",
            Self::SpeechRate => "speech_rate",
            Self::Annotation => "annotation",
            Self::PromptEcho => "prompt_echo",
            Self::NoSpeech => "no_speech",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_doubt_has_one_name_in_figures_and_json() {
        for doubt in DoubtReason::ALL {
            let json = serde_json::to_value(doubt).unwrap();
            assert_eq!(json, doubt.name());
        }
    }
}
