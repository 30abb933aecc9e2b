//! Sounds of a leg that are not speech.

use serde::{Deserialize, Serialize};

/// A kind of sound that a voice detector takes for speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SoundKind {
    /// The called party's telephone rings (ITU-T E.180).
    Ringback,
    /// Busy, congestion or reorder tone.
    Busy,
    /// Keys pressed in band (ITU-T Q.23).
    Dtmf,
    /// Any other tone: dial tone, special information tones, fax, modem, test tones.
    Tone,
    /// Music.
    Music,
}

impl SoundKind {
    /// Its name, as JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ringback => "ringback",
            Self::Busy => "busy",
            Self::Dtmf => "dtmf",
            Self::Tone => "tone",
            Self::Music => "music",
        }
    }
}

/// A stretch of a leg that is such a sound, and was therefore not recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegSound {
    /// Kind of sound.
    pub kind: SoundKind,
    /// Start on the call's clock, milliseconds.
    pub start_ms: u64,
    /// End on the call's clock, milliseconds.
    pub end_ms: u64,
}

/// A leg's sounds, in order: the newest [`LegSounds::MOST`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegSounds {
    /// Sounds in order of time, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sounds: Vec<LegSound>,
    /// Number of older sounds that are not kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sounds_left_out: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl LegSounds {
    /// Number of sounds that are kept.
    pub const MOST: usize = 64;

    /// Adds a sound; beyond [`Self::MOST`] the oldest one is dropped.
    pub fn push(&mut self, sound: LegSound) {
        if self.sounds.len() >= Self::MOST {
            let surplus = self.sounds.len() + 1 - Self::MOST;
            self.sounds.drain(..surplus);
            self.sounds_left_out = self.sounds_left_out.saturating_add(surplus as u64);
        }
        self.sounds.push(sound);
    }

    /// Adds those of a later stretch of the leg.
    pub fn append(&mut self, later: &Self) {
        self.sounds_left_out = self.sounds_left_out.saturating_add(later.sounds_left_out);
        later.sounds.iter().for_each(|sound| self.push(*sound));
    }

    /// Their times, as of a call clock that began so much earlier.
    pub fn shift(&mut self, ms: u64) {
        for sound in &mut self.sounds {
            sound.start_ms += ms;
            sound.end_ms += ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_the_others_counted() {
        let mut sounds = LegSounds::default();
        let sound = |start_ms| LegSound {
            kind: SoundKind::Busy,
            start_ms,
            end_ms: start_ms + 1,
        };
        (0..70).for_each(|ms| sounds.push(sound(ms)));
        let mut later = sounds.clone();
        later.shift(100);
        sounds.append(&later);
        assert_eq!(
            (sounds.sounds.len(), sounds.sounds_left_out),
            (64, 6 + 6 + 64)
        );
        assert_eq!(sounds.sounds[63], sound(169));
    }

    #[test]
    fn no_sounds_take_no_room_and_names_are_those_of_json() {
        let json = serde_json::to_string(&LegSounds::default()).unwrap();
        assert_eq!(json, "{}");
        for kind in ["ringback", "busy", "dtmf", "tone", "music"] {
            let read: SoundKind = serde_json::from_value(kind.into()).unwrap();
            assert_eq!(read.name(), kind);
        }
    }
}
