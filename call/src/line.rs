//! Lines of a transcript: utterances with their text, or with the reason why there is none.

use serde::{Deserialize, Serialize};

use super::{GapReason, Leg};

/// One recognised utterance, or the reason why an utterance has no text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TranscriptLine {
    /// Place in the call's transcript: 0, 1, 2 … without holes.
    pub seq: u64,
    /// Party that spoke.
    pub leg: Leg,
    /// Start of the utterance on the call's clock, milliseconds.
    pub start_ms: u64,
    /// End of the utterance on the call's clock, milliseconds.
    pub end_ms: u64,
    /// Text of the utterance; empty where `gap` is set.
    pub text: String,
    /// Mean probability of the text's tokens, 0 to 1.
    pub confidence: f32,
    /// Whether it was spoken before the call was answered: an announcement, or somebody waiting.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub early_media: bool,
    /// Language that was spoken, ISO 639-1; also that of the text, unless it was translated.
    pub language: String,
    /// Task that Whisper did: transcription, or translation to English.
    #[serde(default, skip_serializing_if = "SpeechTask::is_transcribe")]
    pub task: SpeechTask,
    /// Reason why this audio has no text, where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapReason>,
    /// The words one by one, on the call's clock.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<SpokenWord>,
    /// Text that was probably not spoken and is therefore not in `text`: all of the engine's text,
    /// or, beside words that stand, the annotations among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<SuppressedText>,
    /// Name and revision of the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Number of times that the line was revised since it was first emitted.
    #[serde(default, skip_serializing_if = "is_first")]
    pub revision: u32,
    /// Place of its audio in the spool. With `gap` [`GapReason::Spooled`] its words are still to
    /// come; with words of its own it waits for its second pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<u64>,
    /// Earlier text, where the second pass replaced it by another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Box<EarlierRevision>>,
}

/// The text of a line in an earlier revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlierRevision {
    /// Text of the line then.
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
    /// Text in the language that was spoken.
    #[default]
    Transcribe,
    /// English text.
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

    /// Whether its words are still to come from the spool.
    pub fn awaits_words(&self) -> bool {
        self.gap == Some(GapReason::Spooled)
    }

    /// Whether it waits for its second pass. A line with [`GapReason::OverloadShed`] does not: its
    /// audio may still get its first words from the spool.
    pub fn awaits_second_pass(&self) -> bool {
        let is_first = matches!(self.gap, Some(GapReason::Spooled | GapReason::OverloadShed));
        self.spool.is_some() && !is_first
    }

    /// Moves its times to a call clock that began `ms` milliseconds earlier.
    pub fn shift(&mut self, ms: u64) {
        self.start_ms += ms;
        self.end_ms += ms;
        for word in &mut self.words {
            word.start_ms += ms;
            word.end_ms += ms;
        }
    }
}

/// Partial: the beginning of a sentence that a party has not finished. Revisions are numbered; the
/// transcript line of the utterance takes its place, and no partial follows that line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialLine {
    /// Party that speaks.
    pub leg: Leg,
    /// Start of the utterance on the call's clock, milliseconds.
    pub start_ms: u64,
    /// End of the audio that this revision covers, on the call's clock, milliseconds.
    pub end_ms: u64,
    /// Number of the revision, higher with each result.
    pub revision: u32,
    /// Text so far. Empty: the partial is withdrawn.
    pub text: String,
    /// Number of leading words that will not change before the line comes.
    pub stable_words: usize,
}

/// A word and when it was said. Within an utterance times count from its first sample, in a
/// line from the beginning of the call's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpokenWord {
    /// The word, with the punctuation that belongs to it.
    pub text: String,
    /// Start of the word, milliseconds.
    pub start_ms: u64,
    /// End of the word, milliseconds.
    pub end_ms: u64,
    /// Mean probability of its tokens, 0 to 1.
    pub probability: f32,
}

/// Text that a guard holds back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuppressedText {
    /// Reason for holding it back.
    pub reason: DoubtReason,
    /// Evidence for that reason, in words.
    pub evidence: String,
    /// Text as the engine gave it.
    pub text: String,
}

/// Reason why text was probably not spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtReason {
    /// Level: the audio was close to silence.
    NearSilence,
    /// Repetition: words that come over and over.
    Repetition,
    /// Phrase from subtitles of films, which callers do not say.
    PhantomPhrase,
    /// Speech rate: more words than anybody can say in that time.
    SpeechRate,
    /// Annotation: a description of sound, such as `[Music]`, or a lyric, without words of a party.
    Annotation,
    /// Echo of the call's own prompt, from audio that is too short for so many words.
    PromptEcho,
    /// Whisper's own estimate: it finds no speech, and is not sure of its words.
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
