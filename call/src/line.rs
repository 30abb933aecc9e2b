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
    /// Text of the utterance; empty where the state has a gap.
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
    /// State of the line; in JSON `gap` and `spool`, each where it has one.
    #[serde(flatten)]
    pub state: LineState,
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
    /// Earlier text, where the second pass replaced it by another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Box<EarlierRevision>>,
}

/// The state of a line: whether it has its last words, and where words that are to come will come
/// from. Places are those of the audio in the spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StateFields", into = "StateFields")]
pub enum LineState {
    /// The text is the last one.
    #[default]
    Final,
    /// There is no text, and none will come.
    Gap(GapReason),
    /// Words are still to come; the place is known once the audio is on the disk.
    AwaitsRecognition(Option<u64>),
    /// The disk was too slow for the audio. It may have been written all the same, and then words
    /// come from that place.
    Shed(u64),
    /// The result of the first pass stands, text or gap, until the second pass replaces it.
    AwaitsSecondPass {
        /// Place of the audio.
        place: u64,
        /// Reason why the first pass gave no text, where it gave none.
        gap: Option<GapReason>,
    },
}

impl LineState {
    /// The state after recognition, with the reason why there is no text, if there is none.
    pub const fn recognised(gap: Option<GapReason>) -> Self {
        match gap {
            None => Self::Final,
            Some(GapReason::Spooled) => Self::AwaitsRecognition(None),
            Some(reason) => Self::Gap(reason),
        }
    }

    /// The state once the audio has that place in the spool: a line with its result waits for the
    /// second pass, any other for its first words.
    #[must_use]
    pub const fn at(self, place: u64) -> Self {
        match self {
            Self::Final => Self::AwaitsSecondPass { place, gap: None },
            Self::Gap(GapReason::OverloadShed) | Self::Shed(_) => Self::Shed(place),
            Self::Gap(reason) => Self::AwaitsSecondPass {
                place,
                gap: Some(reason),
            },
            Self::AwaitsRecognition(_) => Self::AwaitsRecognition(Some(place)),
            Self::AwaitsSecondPass { gap, .. } => Self::AwaitsSecondPass { place, gap },
        }
    }

    /// The state where the audio could not be kept in time: words that were to come are shed.
    #[must_use]
    pub const fn shed(self) -> Self {
        match self {
            Self::AwaitsRecognition(Some(place)) => Self::Shed(place),
            Self::AwaitsRecognition(None) => Self::Gap(GapReason::OverloadShed),
            other => other,
        }
    }

    /// Reason why there is no text now.
    pub const fn gap(self) -> Option<GapReason> {
        match self {
            Self::Final => None,
            Self::Gap(reason) => Some(reason),
            Self::AwaitsRecognition(_) => Some(GapReason::Spooled),
            Self::Shed(_) => Some(GapReason::OverloadShed),
            Self::AwaitsSecondPass { gap, .. } => gap,
        }
    }

    /// Place of the audio in the spool, while something is still to come from there.
    pub const fn place(self) -> Option<u64> {
        match self {
            Self::Final | Self::Gap(_) => None,
            Self::AwaitsRecognition(place) => place,
            Self::Shed(place) | Self::AwaitsSecondPass { place, .. } => Some(place),
        }
    }
}

/// The fields of a [`LineState`] in JSON.
#[derive(Serialize, Deserialize)]
struct StateFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gap: Option<GapReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spool: Option<u64>,
}

impl From<LineState> for StateFields {
    fn from(state: LineState) -> Self {
        Self {
            gap: state.gap(),
            spool: state.place(),
        }
    }
}

impl From<StateFields> for LineState {
    fn from(StateFields { gap, spool }: StateFields) -> Self {
        let state = Self::recognised(gap);
        spool.map_or(state, |place| state.at(place))
    }
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
            state: LineState::Final,
            words: Vec::new(),
            suppressed: None,
            model: String::new(),
            revision: 0,
            first: None,
        }
    }

    /// Whether its words are still to come from the spool.
    pub fn awaits_words(&self) -> bool {
        matches!(self.state, LineState::AwaitsRecognition(_))
    }

    /// Whether it waits for its second pass.
    pub fn awaits_second_pass(&self) -> bool {
        matches!(self.state, LineState::AwaitsSecondPass { .. })
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

    #[test]
    fn every_state_comes_back_from_json_and_names_its_gap_and_place() {
        let states = [
            (LineState::Final, "{}"),
            (LineState::Gap(GapReason::NetLoss), r#"{"gap":"net_loss"}"#),
            (LineState::AwaitsRecognition(None), r#"{"gap":"spooled"}"#),
            (
                LineState::AwaitsRecognition(Some(7)),
                r#"{"gap":"spooled","spool":7}"#,
            ),
            (LineState::Shed(8), r#"{"gap":"overload_shed","spool":8}"#),
            (
                LineState::AwaitsSecondPass {
                    place: 9,
                    gap: None,
                },
                r#"{"spool":9}"#,
            ),
            (
                LineState::AwaitsSecondPass {
                    place: 9,
                    gap: Some(GapReason::RecognitionFailed),
                },
                r#"{"gap":"recognition_failed","spool":9}"#,
            ),
        ];
        for (state, json) in states {
            assert_eq!(serde_json::to_string(&state).unwrap(), json);
            assert_eq!(serde_json::from_str::<LineState>(json).unwrap(), state);
            let line = TranscriptLine {
                state,
                ..TranscriptLine::new(3, Leg::caller())
            };
            let line_json = serde_json::to_string(&line).unwrap();
            let back: TranscriptLine = serde_json::from_str(&line_json).unwrap();
            assert_eq!(back, line);
        }
    }

    #[test]
    fn words_that_cannot_be_kept_are_shed_and_results_stay() {
        assert_eq!(
            LineState::AwaitsRecognition(None).shed(),
            LineState::Gap(GapReason::OverloadShed)
        );
        assert_eq!(
            LineState::AwaitsRecognition(Some(1)).shed(),
            LineState::Shed(1)
        );
        assert_eq!(LineState::Final.shed(), LineState::Final);
        assert_eq!(
            LineState::Gap(GapReason::OverloadShed).at(2),
            LineState::Shed(2)
        );
    }
}
