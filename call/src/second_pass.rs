//! A call heard once more when it is over, by another model: mostly a larger one, that has
//! more time for it.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::choices::{InvalidChoice, switch};

/// Longest name of a model, bytes.
const MAX_NAME: usize = 64;

/// Whether a call shall be heard once more. As text `on`, `off` or a model's name; in JSON
/// also `true` and `false`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecondPassChoice {
    /// No second pass.
    Off,
    /// By the model of the settings.
    On,
    /// By the model of this name.
    By(String),
}

impl FromStr for SecondPassChoice {
    type Err = InvalidChoice;

    fn from_str(text: &str) -> Result<Self, InvalidChoice> {
        if let Ok(on) = switch(text) {
            return Ok(on.into());
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_name = (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_plain);
        if is_name {
            Ok(Self::By(text.to_owned()))
        } else {
            Err(InvalidChoice::SecondPass)
        }
    }
}

impl From<bool> for SecondPassChoice {
    fn from(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }
}

impl Serialize for SecondPassChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::On => serializer.serialize_bool(true),
            Self::By(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for SecondPassChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "true, false or the name of a model")]
        enum ToldChoice {
            Switch(bool),
            Text(String),
        }
        match ToldChoice::deserialize(deserializer)? {
            ToldChoice::Switch(on) => Ok(on.into()),
            ToldChoice::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// How far the second pass of a call has come, in utterances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecondHearing {
    /// Still to be heard once more.
    pub waiting: u64,
    /// Heard, and the line has other words than before.
    pub changed: u64,
    /// Heard, and the line has the words that it had.
    pub unchanged: u64,
    /// Not heard: the model failed on them, or does not know their language.
    pub failed: u64,
    /// Not heard: there was no room to keep them, or the disk was too slow.
    pub not_kept: u64,
}

impl SecondHearing {
    /// Whether there is nothing to tell.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// These, and those of an earlier time of the same call.
    pub fn add(&mut self, earlier: &Self) {
        let Self {
            waiting,
            changed,
            unchanged,
            failed,
            not_kept,
        } = self;
        *waiting += earlier.waiting;
        *changed += earlier.changed;
        *unchanged += earlier.unchanged;
        *failed += earlier.failed;
        *not_kept += earlier.not_kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_on_or_off_or_by_a_model() {
        let told = [
            ("on", SecondPassChoice::On),
            ("No", SecondPassChoice::Off),
            (
                "large-v3-q5_0",
                SecondPassChoice::By("large-v3-q5_0".to_owned()),
            ),
        ];
        for (text, meant) in told {
            assert_eq!(text.parse(), Ok(meant.clone()));
            let json = serde_json::to_string(&meant).unwrap();
            assert_eq!(
                serde_json::from_str::<SecondPassChoice>(&json).unwrap(),
                meant
            );
        }
        let long = "a".repeat(MAX_NAME + 1);
        for bad in ["", "../model", "a b", "modèle", &long] {
            assert_eq!(
                bad.parse::<SecondPassChoice>(),
                Err(InvalidChoice::SecondPass),
                "{bad:?}"
            );
        }
        for bad in ["1", "null", "[]", "{}", r#""../x""#] {
            assert!(
                serde_json::from_str::<SecondPassChoice>(bad).is_err(),
                "{bad}"
            );
        }
    }
}
