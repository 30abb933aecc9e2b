//! Call data shared by the whole program: identity, record and transcript lines. Plain data with
//! the JSON shape that the REST API serves and the stores keep; no behaviour beyond validation.
//!
//! Times come in two kinds and never mix: `…_ms` is milliseconds on the call's
//! own clock (0 = the moment the call was opened here), and `…_at` is wall
//! time, read once per event by the shell.

mod choices;
mod event;
mod finding;
mod identity;
mod key;
mod line;
mod media;
mod second_pass;
mod sound;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::choices::{
    CallChoices, InitialPrompt, InvalidChoice, Language, LanguageSet, MAX_PROMPT, NumberStyle,
    language_code,
};
pub use self::event::{CallEvent, CallEventKind, CallPlayback, CaptureState, PlaybackState};
pub use self::finding::{FindingKind, MediaFinding};
pub use self::identity::{CallIdentity, ChannelRef, InvalidChannel, LegSides};
pub use self::key::{CallKey, InvalidKey};
pub use self::line::{
    DoubtReason, EarlierRevision, LineState, PartialLine, SpeechTask, SpokenWord, SuppressedText,
    TranscriptLine,
};
pub use self::media::{
    AudioAccount, GapReason, GapTotals, LegStats, MediaQuality, UtteranceOutcome,
};
pub use self::second_pass::{SecondHearing, SecondPassChoice};
pub use self::sound::{LegSound, LegSounds, SoundKind};

/// Why a string is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} must be 1 to {max} characters out of A-Z a-z 0-9 . _ - and begin with a letter or digit"
)]
pub struct InvalidName {
    what: &'static str,
    max: usize,
}

fn is_name(text: &str, max: usize) -> bool {
    let mut bytes = text.bytes();
    text.len() <= max
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if is_name(text, $max) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { what: $what, max: $max })
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// A call: Asterisk's channel id (`${UNIQUEID}`) where a channel began it and
    /// no other channel of that id did so before, else one made here. Safe in a
    /// URL path, a Redis key and a file name.
    CallId, "a call id", 80
);
name_type!(
    /// A party of a call: `caller`, `callee`, or the name a registration chose.
    Leg, "a leg", 32
);

name_type!(
    /// A sound file in the folder that calls may be played from: a plain name,
    /// which no path can hide in.
    SoundName, "a file name", 128
);

impl Leg {
    /// The party that placed the call.
    pub fn caller() -> Self {
        Self("caller".to_owned())
    }

    /// The party that was called.
    pub fn callee() -> Self {
        Self("callee".to_owned())
    }
}

/// Origin of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOrigin {
    /// A caller: a channel entered `Stasis(asterscribe)`.
    Stasis,
    /// A call placed by this server for `POST /api/call/initiate`.
    Initiated,
    /// A tap: an existing channel is spied on, and the call itself belongs to somebody else.
    Tap,
    /// Media registered by a client that created the RTP source itself.
    Media,
    /// A capture file that is replayed.
    Replay,
}

impl CallOrigin {
    /// Whether the call has a channel of Asterisk's.
    pub fn is_on_asterisk(self) -> bool {
        matches!(self, Self::Stasis | Self::Initiated | Self::Tap)
    }
}

/// State of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallStatus {
    /// Requested from Asterisk, not yet answered.
    Initiated,
    /// Up; media is expected or flowing.
    Active,
    /// Over; its transcript is complete.
    Ended,
    /// Failed: it never came up, or was lost before it could be closed properly.
    Failed,
}

impl CallStatus {
    /// Whether the call still occupies a place under `MAX_CONCURRENT_CALLS`.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Initiated | Self::Active)
    }
}

/// Reason for a call's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndReason {
    /// Q.850 cause as Asterisk gave it, if a channel was involved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<u16>,
    /// The cause in words: Asterisk's text, or ours.
    pub text: String,
}

/// A change of a channel's state, as Asterisk named it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStateChange {
    /// Call clock, milliseconds.
    pub at_ms: u64,
    /// The channel concerned.
    pub channel: String,
    /// Asterisk's name of the state: `Ring`, `Ringing`, `Up`, …
    pub state: String,
}

/// A key that a party pressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DtmfDigit {
    /// Call clock at the end of the key press, milliseconds.
    pub at_ms: u64,
    /// One of `0`–`9`, `*`, `#`, `A`–`D`.
    pub digit: char,
    /// Length of the key press, milliseconds.
    pub duration_ms: u64,
    /// The party that pressed it.
    pub leg: Leg,
}

/// A leg of a call as `status` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LegRecord {
    /// Label of the leg, such as `caller`.
    pub leg: Leg,
    /// The RTP source allowed to speak for it, `address:port`, once known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The format that was asked for, by Asterisk's name. What is decoded follows the payload type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Packet counters.
    pub stats: LegStats,
    /// Account of its audio: every sample by its outcome.
    #[serde(default)]
    pub audio: AudioAccount,
    /// How well its packets arrive; absent before the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<MediaQuality>,
    /// Findings of the media doctor, past and present; newest last, bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<MediaFinding>,
    /// Language that it is taken to speak, Whisper's code, once it was detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Sounds on it that are not speech, such as tones and music.
    #[serde(flatten)]
    pub sounds: LegSounds,
}

/// Everything kept about a call but its text and its digits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Id of the call.
    pub call_id: CallId,
    /// State of the call.
    pub status: CallStatus,
    /// Origin of the call.
    pub origin: CallOrigin,
    /// The server that serves it, where several share a store.
    #[serde(default)]
    pub node: String,
    /// The calling party's number, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_number: Option<String>,
    /// The number or name that was called, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Asterisk's name of the channel that began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_name: Option<String>,
    /// The channel that the call was opened for, and the parties.
    #[serde(flatten)]
    pub identity: CallIdentity,
    /// Time at which it was opened here.
    pub started_at: Timestamp,
    /// Time at which it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    /// Time at which it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Reason for its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// Choices of how it is recognised, where any were made.
    #[serde(default, skip_serializing_if = "CallChoices::is_empty")]
    pub recognition: CallChoices,
    /// Legs, one per party whose media is received.
    pub legs: Vec<LegRecord>,
    /// State changes of its channels, in order.
    #[serde(default)]
    pub channel_states: Vec<ChannelStateChange>,
    /// Number of transcript lines so far.
    pub lines: u64,
    /// Number of times that one of its lines was revised.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub revisions: u64,
    /// Number of its lines that wait for their words.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub awaited: u64,
    /// Progress of its second pass, if it has one.
    #[serde(default, skip_serializing_if = "SecondHearing::is_none")]
    pub second_pass: SecondHearing,
    /// Notes on what went wrong without ending the call, newest last; bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Events of its media, newest last; bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<CallEvent>,
    /// Playbacks to its legs, in order; the first one is playing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub playing: Vec<CallPlayback>,
    /// State of its capture, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureState>,
}

fn is_none_yet(count: &u64) -> bool {
    *count == 0
}

impl CallRecord {
    /// Whether its transcript is final: the call is over, and no line of it waits on the disk.
    pub fn is_complete(&self) -> bool {
        !self.status.is_open() && self.awaited == 0 && self.second_pass.waiting == 0
    }

    /// Counts the lines that wait for their words, and those that wait for their second pass.
    pub fn count_awaited(&mut self, lines: &[TranscriptLine]) {
        let of_them =
            |is: fn(&TranscriptLine) -> bool| lines.iter().filter(|line| is(line)).count() as u64;
        self.awaited = of_them(TranscriptLine::awaits_words);
        self.second_pass.waiting = of_them(TranscriptLine::awaits_second_pass);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asterisk_unique_ids_are_call_ids() {
        for good in ["1764000000.12", "pbx-1-1764000000.12", "em_1", "0"] {
            assert_eq!(good.parse::<CallId>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn ids_that_could_escape_a_path_or_a_key_are_refused() {
        let long = "a".repeat(81);
        for bad in [
            "", ".", "..", "../x", "a/b", "a%2e", "a;2", "a:b", "a\0", "é", "-a", "a b", &long,
        ] {
            assert!(bad.parse::<CallId>().is_err(), "{bad:?}");
            assert!(
                serde_json::from_value::<CallId>(serde_json::json!(bad)).is_err(),
                "{bad:?}"
            );
        }
    }
}
