//! What happens to a call's media beside the audio itself.

use serde::{Deserialize, Serialize};

use super::Leg;

/// Something that happened, on the call's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEvent {
    /// Call clock, milliseconds.
    pub at_ms: u64,
    /// What.
    pub kind: CallEventKind,
    /// The party concerned, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg: Option<Leg>,
    /// In words.
    pub text: String,
}

/// The kind of an event of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallEventKind {
    /// Something is wrong with a leg's media.
    FindingBegan,
    /// It no longer is.
    FindingEnded,
    /// A file begins to be played to a leg.
    PlaybackStarted,
    /// It was played to its end.
    PlaybackFinished,
    /// It was stopped before its end.
    PlaybackStopped,
    /// Its packets could not be sent.
    PlaybackFailed,
    /// The call's packets are being recorded.
    CaptureStarted,
    /// They no longer are.
    CaptureStopped,
    /// What a leg speaks was detected, and is taken for granted from now on.
    LanguageLocked,
    /// The language of a leg is not taken for granted any more, and detected again.
    LanguageReopened,
    /// A party put the other on hold: what comes from it is not recognised.
    Hold,
    /// It took the other off hold, or is not known to hold it any more.
    Unhold,
    /// The other party is another, by transfer or as the channel was told.
    PartyChanged,
    /// Recognition has fallen behind, or is catching up: something is given up, or no longer.
    RecognitionLoad,
}

/// Audio that is played to a call, or waits to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallPlayback {
    /// Names it within its call.
    pub id: u64,
    /// The party that hears it.
    pub leg: Leg,
    /// The file's name, or what an upload was called.
    pub name: String,
    /// Where it stands.
    pub state: PlaybackState,
    /// Played so far, milliseconds.
    pub played_ms: u64,
    /// Its whole length, milliseconds.
    pub length_ms: u64,
    /// Format that it is sent in, by Asterisk's name.
    pub format: String,
}

/// Where a playback stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaybackState {
    /// Others are before it.
    Queued,
    /// Being heard.
    Playing,
}

/// The recording of a call's packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureState {
    /// Whether it goes on.
    pub running: bool,
    /// Packets in the file now.
    pub packets: u64,
    /// Bytes of the file now.
    pub bytes: u64,
    /// Older packets that its size bound let go of.
    pub rolled_off: u64,
    /// Packets that could not be written.
    pub lost: u64,
}
