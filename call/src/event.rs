//! Events of a call's media beside the audio itself: findings, playbacks, captures, language, hold,
//! load.

use serde::{Deserialize, Serialize};

use super::Leg;

/// Event of a call, at a time of the call's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEvent {
    /// Call clock, milliseconds.
    pub at_ms: u64,
    /// Kind of the event.
    pub kind: CallEventKind,
    /// The party concerned, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg: Option<Leg>,
    /// Description in words.
    pub text: String,
}

/// The kind of an event of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallEventKind {
    /// Something is wrong with a leg's media.
    FindingBegan,
    /// A finding on a leg's media has ended.
    FindingEnded,
    /// A file begins to be played to a leg.
    PlaybackStarted,
    /// A file was played to its end.
    PlaybackFinished,
    /// A playback was stopped before its end.
    PlaybackStopped,
    /// A playback failed: its packets could not be sent.
    PlaybackFailed,
    /// The call's packets are being recorded.
    CaptureStarted,
    /// The call's packets are no longer recorded.
    CaptureStopped,
    /// Language detection of a leg is settled: the language is taken for granted from now on.
    LanguageLocked,
    /// Language detection of a leg has begun again: its language is no longer taken for granted.
    LanguageReopened,
    /// A party put the other on hold: audio of the holding party is not recognised.
    Hold,
    /// A hold ended: the party took the other off hold, or is no longer known to hold it.
    Unhold,
    /// Another party may be on the line, by transfer or by what Asterisk reports.
    PartyChanged,
    /// The overload level changed: recognition has fallen behind, or is catching up.
    RecognitionLoad,
}

/// Audio that is played to a call, or waits to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallPlayback {
    /// Number of the playback within its call.
    pub id: u64,
    /// The party that hears it.
    pub leg: Leg,
    /// Name of the file, or the name given with an upload.
    pub name: String,
    /// Whether it is playing or waits.
    pub state: PlaybackState,
    /// Played so far, milliseconds.
    pub played_ms: u64,
    /// Whole length, milliseconds.
    pub length_ms: u64,
    /// Format that it is sent in, by Asterisk's name.
    pub format: String,
}

/// State of a playback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaybackState {
    /// Waiting: other playbacks are before it.
    Queued,
    /// Playing now.
    Playing,
}

/// The recording of a call's packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureState {
    /// Whether it is still running.
    pub running: bool,
    /// Packets in the file now.
    pub packets: u64,
    /// Bytes of the file now.
    pub bytes: u64,
    /// Older packets that were removed to keep to the size limit.
    pub rolled_off: u64,
    /// Packets that could not be written.
    pub lost: u64,
}
