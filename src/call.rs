//! What a call is to everybody in this program: its identity, its record, its
//! lines of text. Plain data with the JSON shape that the REST API serves and
//! the stores keep; no behaviour beyond validation.
//!
//! Times come in two kinds and never mix: `…_ms` is milliseconds on the call's
//! own clock (0 = the moment the call was opened here), and `…_at` is wall
//! time, read once per event by the shell.

use std::fmt;
use std::ops::AddAssign;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
    /// A call: Asterisk's channel id (`${UNIQUEID}`) where a channel began it,
    /// else one made here. Safe in a URL path, a Redis key and a file name.
    CallId, "a call id", 80
);
name_type!(
    /// A party of a call: `caller`, `callee`, or the name a registration chose.
    Leg, "a leg", 32
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

/// How the call came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A channel entered `Stasis(asterscribe)`.
    Stasis,
    /// We originated it on behalf of `POST /api/call/initiate`.
    Initiated,
    /// An existing channel is spied on; the call itself is not ours.
    Tap,
    /// Somebody else created the RTP source and registered it.
    Media,
    /// Read from a capture file.
    Replay,
}

/// Where the call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallStatus {
    /// Asked of Asterisk, not yet answered.
    Initiated,
    /// Up; media is expected or flowing.
    Active,
    /// Over; its transcript is complete.
    Ended,
    /// Never came up, or lost before it could be closed properly.
    Failed,
}

impl CallStatus {
    /// Whether the call still occupies a place under `MAX_CONCURRENT_CALLS`.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Initiated | Self::Active)
    }
}

/// Why a call is over.
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
    /// `0`–`9`, `*`, `#`, `A`–`D`.
    pub digit: char,
    /// How long it was held, milliseconds.
    pub duration_ms: u64,
    /// The party that pressed it.
    pub leg: Leg,
}

/// What a leg received and what became of it. Counts are packets unless named otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegStats {
    /// Valid RTP packets from the leg's source.
    pub received: u64,
    /// Packets whose audio was decoded.
    pub decoded: u64,
    /// Never arrived, or not in time.
    pub lost: u64,
    /// Arrived after their place had been given up; not inserted.
    pub late: u64,
    /// Arrived more than once; the copies were ignored.
    pub duplicate: u64,
    /// Arrived out of order and were put back in place.
    pub reordered: u64,
    /// Refused by the reorder buffer's bounds.
    pub overflow: u64,
    /// Datagrams from the source that are broken RTP.
    pub malformed: u64,
    /// RTCP from the source: understood, not audio.
    #[serde(default)]
    pub rtcp: u64,
    /// Datagrams of other protocols from the source: STUN, DTLS, SIP …
    #[serde(default)]
    pub not_rtp: u64,
    /// Packets far from the sequence that nothing followed.
    #[serde(default)]
    pub sequence_jump: u64,
    /// RTP of another SSRC while the leg's own still spoke.
    pub foreign_ssrc: u64,
    /// Changes of SSRC or restarts of the sequence that were followed.
    pub restarts: u64,
    /// Comfort noise and telephone events: understood, not audio.
    pub not_audio: u64,
    /// Payload types that no decoder serves.
    pub unknown_payload: u64,
    /// Payloads that their decoder refused.
    pub decode_errors: u64,
    /// Audio decoded, milliseconds.
    pub audio_ms: u64,
    /// Time missing for lost packets, milliseconds.
    pub lost_ms: u64,
    /// Time in which the sender sent nothing, by its own timestamps, milliseconds.
    pub silent_ms: u64,
    /// Audio handed to recognition, milliseconds.
    pub speech_ms: u64,
    /// Utterances recognised.
    pub utterances: u64,
    /// Utterances that could not be recognised (queue full, engine failure); each has a line that says so.
    pub unrecognised: u64,
}

impl AddAssign<&Self> for LegStats {
    fn add_assign(&mut self, more: &Self) {
        // Named one by one, so that a new counter cannot be forgotten.
        let Self {
            received,
            decoded,
            lost,
            late,
            duplicate,
            reordered,
            overflow,
            malformed,
            rtcp,
            not_rtp,
            sequence_jump,
            foreign_ssrc,
            restarts,
            not_audio,
            unknown_payload,
            decode_errors,
            audio_ms,
            lost_ms,
            silent_ms,
            speech_ms,
            utterances,
            unrecognised,
        } = self;
        *received += more.received;
        *decoded += more.decoded;
        *lost += more.lost;
        *late += more.late;
        *duplicate += more.duplicate;
        *reordered += more.reordered;
        *overflow += more.overflow;
        *malformed += more.malformed;
        *rtcp += more.rtcp;
        *not_rtp += more.not_rtp;
        *sequence_jump += more.sequence_jump;
        *foreign_ssrc += more.foreign_ssrc;
        *restarts += more.restarts;
        *not_audio += more.not_audio;
        *unknown_payload += more.unknown_payload;
        *decode_errors += more.decode_errors;
        *audio_ms += more.audio_ms;
        *lost_ms += more.lost_ms;
        *silent_ms += more.silent_ms;
        *speech_ms += more.speech_ms;
        *utterances += more.utterances;
        *unrecognised += more.unrecognised;
    }
}

/// A leg of a call as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegRecord {
    /// Its label.
    pub leg: Leg,
    /// The RTP source allowed to speak for it, `address:port`, once known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The format that was asked for, by Asterisk's name. What is decoded follows the payload type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Its counters.
    pub stats: LegStats,
}

/// Everything kept about a call but its text and its digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Its id.
    pub call_id: CallId,
    /// Where it stands.
    pub status: CallStatus,
    /// How it came to us.
    pub origin: Origin,
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
    /// When it was opened here.
    pub started_at: Timestamp,
    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// Its parties.
    pub legs: Vec<LegRecord>,
    /// Its channels' states over time.
    #[serde(default)]
    pub channel_states: Vec<ChannelStateChange>,
    /// Lines of transcript so far.
    pub lines: u64,
    /// Something that went wrong but did not end the call, newest last; bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

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
    /// Language of the text, ISO 639-1.
    pub language: String,
    /// Set when this audio could not be transcribed: the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapReason>,
}

/// Why audio has no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The recognition queue was full.
    OverloadShed,
    /// The engine failed on it.
    RecognitionFailed,
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
