//! ARI's objects as they appear in events and replies. Every field is lenient: missing,
//! null or of the wrong type reads as empty, because versions differ and no single odd
//! field may cost a call. Only an object's id is insisted upon, by whoever needs it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AriChannel {
    /// Asterisk's unique id, or the one chosen by whoever created it.
    #[serde(deserialize_with = "lenient")]
    pub id: String,
    /// Technology, resource and a number: `PJSIP/alice-00000001`.
    #[serde(deserialize_with = "lenient")]
    pub name: String,
    /// `Down`, `Ring`, `Ringing`, `Up`, …
    #[serde(deserialize_with = "lenient")]
    pub state: String,
    /// Who is on this channel.
    #[serde(deserialize_with = "lenient")]
    pub caller: PartyId,
    /// Whom it is connected to.
    #[serde(deserialize_with = "lenient")]
    pub connected: PartyId,
    /// Account code; empty if none.
    #[serde(deserialize_with = "lenient")]
    pub accountcode: String,
    /// Where it stands in the dialplan.
    #[serde(deserialize_with = "lenient")]
    pub dialplan: DialplanPosition,
    /// Wall time of its creation as Asterisk writes it: `2025-11-24T10:00:00.000+0000`.
    #[serde(deserialize_with = "lenient")]
    pub creationtime: String,
    /// Its language: `en`.
    #[serde(deserialize_with = "lenient")]
    pub language: String,
    /// Variables that the answer of `externalMedia` carries; empty elsewhere.
    #[serde(deserialize_with = "text_map")]
    pub channelvars: BTreeMap<String, String>,
    /// Arguments with which it entered our application; empty where that is not told.
    #[serde(skip)]
    pub args: Vec<String>,
}

impl AriChannel {
    /// Whether it has been answered.
    pub fn is_up(&self) -> bool {
        self.state == "Up"
    }

    /// When it was created, if that can be read.
    pub fn created_at(&self) -> Option<Timestamp> {
        wall_time(&self.creationtime)
    }

    /// Whether it is another channel than the one of its id that was created then: whoever
    /// originates chooses ids, and may choose one again. Where a time is not known, it is not.
    pub fn is_another(&self, created_at: Option<Timestamp>) -> bool {
        let own = self.created_at();
        own.is_some() && created_at.is_some() && own != created_at
    }

    /// Whether it is one of the channels that applications make for media, ours or another's.
    pub fn is_media(&self) -> bool {
        self.is_external_media() || self.is_snoop()
    }

    /// Whether it sends and receives RTP for an application.
    pub fn is_external_media(&self) -> bool {
        self.name.starts_with("UnicastRTP/")
    }

    /// Whether it spies on another channel for an application.
    pub fn is_snoop(&self) -> bool {
        self.name.starts_with("Snoop/")
    }

    /// The channel that it spies on: `Snoop/ID-NUMBER`.
    pub fn spied_on(&self) -> Option<&str> {
        let (spied, _) = self.name.strip_prefix("Snoop/")?.rsplit_once('-')?;
        Some(spied)
    }

    /// The application whose `Stasis()` it is executing, where that is told.
    pub fn stasis_app(&self) -> Option<&str> {
        let DialplanPosition {
            app_name, app_data, ..
        } = &self.dialplan;
        let app = app_data.split(',').next()?;
        (app_name == "Stasis" && !app.is_empty()).then_some(app)
    }

    /// Whether it was placed by an application and has not come to it yet: it rings, or was answered
    /// a moment ago.
    pub fn is_being_placed(&self) -> bool {
        self.dialplan.app_name == "AppDial2"
    }

    /// Whether it is executing `Stasis()`, or `StasisBroadcast()` after a claim, as far as its
    /// description tells. An application is also subscribed to channels that are elsewhere (tapped,
    /// or still ringing out), so its list of channels alone does not say. Old Asterisks do not name
    /// the running application; there an answered or incoming channel passes.
    pub fn seems_in_stasis(&self) -> bool {
        match self.dialplan.app_name.as_str() {
            "Stasis" | "StasisBroadcast" => true,
            "" => matches!(self.state.as_str(), "Up" | "Ring"),
            _ => false,
        }
    }
}

/// A name and a number; either may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartyId {
    /// Display name.
    #[serde(deserialize_with = "lenient")]
    pub name: String,
    /// Number.
    #[serde(deserialize_with = "lenient")]
    pub number: String,
}

/// A position in the dialplan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DialplanPosition {
    /// Context.
    #[serde(deserialize_with = "lenient")]
    pub context: String,
    /// Extension: what was dialled.
    #[serde(deserialize_with = "lenient")]
    pub exten: String,
    /// Priority.
    #[serde(deserialize_with = "lenient")]
    pub priority: i64,
    /// The dialplan application being executed; empty if none or not told.
    #[serde(deserialize_with = "lenient")]
    pub app_name: String,
    /// Its arguments.
    #[serde(deserialize_with = "lenient")]
    pub app_data: String,
}

/// A bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AriBridge {
    /// Its id.
    #[serde(deserialize_with = "lenient")]
    pub id: String,
    /// Its name; empty if none was given.
    #[serde(deserialize_with = "lenient")]
    pub name: String,
    /// `simple_bridge`, `softmix`, …
    #[serde(deserialize_with = "lenient")]
    pub technology: String,
    /// Who made it: `Stasis` for all applications; empty if not told.
    #[serde(deserialize_with = "lenient")]
    pub creator: String,
    /// Ids of the channels in it.
    #[serde(deserialize_with = "lenient")]
    pub channels: Vec<String>,
}

/// An endpoint: a phone, a trunk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AriEndpoint {
    /// Technology, such as `PJSIP`.
    #[serde(deserialize_with = "lenient")]
    pub technology: String,
    /// Its name in that technology.
    #[serde(deserialize_with = "lenient")]
    pub resource: String,
    /// Ids of its channels.
    #[serde(deserialize_with = "lenient")]
    pub channel_ids: Vec<String>,
}

/// A Stasis application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StasisApplication {
    /// Its name.
    #[serde(deserialize_with = "lenient")]
    pub name: String,
    /// Channels whose events it gets: those in it and those it subscribed to.
    #[serde(deserialize_with = "lenient")]
    pub channel_ids: Vec<String>,
    /// Bridges whose events it gets.
    #[serde(deserialize_with = "lenient")]
    pub bridge_ids: Vec<String>,
}

/// A time as Asterisk writes it: `2026-01-12T09:30:00.000+0000`.
pub(crate) fn wall_time(text: &str) -> Option<Timestamp> {
    let read = Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text);
    read.ok().or_else(|| text.parse().ok())
}

/// Reads what fits and takes the default for what does not.
fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: serde::de::DeserializeOwned + Default,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Keeps the entries whose value is text.
fn text_map<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let Value::Object(map) = Value::deserialize(deserializer)? else {
        return Ok(BTreeMap::new());
    };
    Ok(map
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_fields_read_as_empty() {
        let text = r#"{"id":"1.1","name":null,"state":7,"caller":"x","dialplan":{"priority":"a","exten":"9999"},
            "channelvars":{"A":"b","C":1},"new_field":[1]}"#;
        let channel: AriChannel = serde_json::from_str(text).unwrap();
        assert_eq!(channel.id, "1.1");
        assert_eq!((channel.name.as_str(), channel.state.as_str()), ("", ""));
        assert_eq!(channel.dialplan.exten, "9999");
        assert_eq!(channel.channelvars.len(), 1);
        assert_eq!(channel.channelvars["A"], "b");
    }

    #[test]
    fn another_channel_of_an_id_is_told_by_when_it_was_created() {
        let channel = |time: &str| AriChannel {
            creationtime: time.into(),
            ..AriChannel::default()
        };
        let one = channel("2026-01-12T10:30:00.250+0100");
        assert_eq!(
            one.created_at().unwrap().to_string(),
            "2026-01-12T09:30:00.25Z"
        );
        assert!(!channel("2026-01-12T09:30:00.250+0000").is_another(one.created_at()));
        assert!(!channel("2026-01-12T05:30:00.25-04:00").is_another(one.created_at()));
        assert!(channel("2026-01-12T09:30:00.251+0000").is_another(one.created_at()));
        for odd in ["", "yesterday", "2026-13-40T99:99:99.000+0000"] {
            assert_eq!(channel(odd).created_at(), None, "{odd}");
            assert!(!channel(odd).is_another(one.created_at()) && !one.is_another(None));
        }
    }

    #[test]
    fn tapped_and_ringing_channels_do_not_seem_in_stasis() {
        let channel = |state: &str, app: &str| AriChannel {
            state: state.into(),
            dialplan: DialplanPosition {
                app_name: app.into(),
                ..DialplanPosition::default()
            },
            ..AriChannel::default()
        };
        assert!(channel("Up", "Stasis").seems_in_stasis());
        assert!(channel("Up", "").seems_in_stasis());
        assert!(channel("Ring", "Stasis").seems_in_stasis());
        assert!(!channel("Up", "Dial").seems_in_stasis());
        assert!(!channel("Ringing", "").seems_in_stasis());
        assert!(!channel("Down", "").seems_in_stasis());
    }
}
