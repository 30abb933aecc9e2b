//! Who a call's channel is, and for whom it stands.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Leg;

/// The channel that a call was opened for, as Asterisk tells of it, and the two parties.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallIdentity {
    /// Asterisk's id of the channel (`${UNIQUEID}`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<String>,
    /// When Asterisk created it: what tells it from another channel of its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_created_at: Option<Timestamp>,
    /// Whether the channel itself is known to be gone: whatever comes under its id is another.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub channel_gone: bool,
    /// Id of the channel by which everything began that this one has part in (`CHANNEL(linkedid)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linkedid: Option<String>,
    /// Name of the calling party.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_name: Option<String>,
    /// Name of the party that the caller is connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected_name: Option<String>,
    /// Its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected_number: Option<String>,
    /// Account code of the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_code: Option<String>,
    /// Arguments of `Stasis()` behind the application's name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Which party is on the channel, and which at its other end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sides: Option<LegSides>,
}

impl CallIdentity {
    /// Takes what is told anew; what is not told stays.
    pub fn renew(&mut self, newer: Self) {
        let older = std::mem::replace(self, newer);
        self.complete(older);
    }

    /// Takes from `other` what is not known here.
    pub fn complete(&mut self, other: Self) {
        // Named one by one, so that a new field cannot be forgotten.
        let Self {
            channel_id,
            channel_created_at,
            channel_gone: _,
            linkedid,
            caller_name,
            connected_name,
            connected_number,
            account_code,
            tags,
            sides,
        } = other;
        self.channel_id = self.channel_id.take().or(channel_id);
        self.channel_created_at = self.channel_created_at.or(channel_created_at);
        self.linkedid = self.linkedid.take().or(linkedid);
        self.caller_name = self.caller_name.take().or(caller_name);
        self.connected_name = self.connected_name.take().or(connected_name);
        self.connected_number = self.connected_number.take().or(connected_number);
        self.account_code = self.account_code.take().or(account_code);
        if self.tags.is_empty() {
            self.tags = tags;
        }
        self.sides = self.sides.take().or(sides);
    }
}

/// The names, as legs, of the parties at the two ends of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LegSides {
    /// Whoever is on the channel.
    pub channel: Leg,
    /// Whom it talks to.
    pub peer: Leg,
}

impl LegSides {
    /// The channel is the calling party's.
    pub fn of_caller() -> Self {
        Self {
            channel: Leg::caller(),
            peer: Leg::callee(),
        }
    }

    /// The channel is the called party's.
    pub fn of_callee() -> Self {
        Self {
            channel: Leg::callee(),
            peer: Leg::caller(),
        }
    }
}

/// Longest id or name of a channel, bytes; Asterisk's own limit is one less.
const MAX_CHANNEL: usize = 150;

/// A channel as somebody refers to it: by Asterisk's id of it, or by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChannelRef(String);

/// Why a text refers to no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a channel's id or name has 1 to 150 bytes and no control characters")]
pub struct InvalidChannel;

impl ChannelRef {
    /// The id or name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it may be a name: those have the technology before a slash.
    pub fn may_be_name(&self) -> bool {
        self.0.contains('/')
    }
}

impl FromStr for ChannelRef {
    type Err = InvalidChannel;

    fn from_str(text: &str) -> Result<Self, InvalidChannel> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for ChannelRef {
    type Error = InvalidChannel;

    fn try_from(text: String) -> Result<Self, InvalidChannel> {
        let fits = (1..=MAX_CHANNEL).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits {
            Ok(Self(text))
        } else {
            Err(InvalidChannel)
        }
    }
}

impl From<ChannelRef> for String {
    fn from(channel: ChannelRef) -> Self {
        channel.0
    }
}

impl fmt::Display for ChannelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_of_some_length_refers_to_a_channel() {
        let long = "ü".repeat(75);
        for good in [
            "1764000000.12;2",
            "PJSIP/100-00000001",
            "lead 42",
            "Günther",
            &long,
        ] {
            assert_eq!(good.parse::<ChannelRef>().unwrap().as_str(), good);
        }
        for bad in ["", "a\0b", "a\nb", "\u{85}", &"a".repeat(151)] {
            assert!(bad.parse::<ChannelRef>().is_err(), "{bad:?}");
            assert!(serde_json::from_value::<ChannelRef>(bad.into()).is_err());
        }
    }

    #[test]
    fn what_is_told_anew_counts_and_what_is_not_stays() {
        let of = |text: &str| Some(text.to_owned());
        let mut identity = CallIdentity {
            channel_id: of("1.1"),
            channel_gone: true,
            caller_name: of("Anna"),
            tags: vec!["vip".to_owned()],
            ..CallIdentity::default()
        };
        identity.renew(CallIdentity {
            channel_id: of("1.1"),
            connected_number: of("200"),
            ..CallIdentity::default()
        });
        let expected = CallIdentity {
            channel_id: of("1.1"),
            caller_name: of("Anna"),
            connected_number: of("200"),
            tags: vec!["vip".to_owned()],
            ..CallIdentity::default()
        };
        assert_eq!(identity, expected);
    }
}
