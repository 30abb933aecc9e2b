//! Messages of the events websocket.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::{AriBridge, AriChannel, wall_time};

/// Something that happened in Asterisk.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AriEvent {
    /// A channel entered our application.
    StasisStart {
        /// The channel.
        channel: Box<AriChannel>,
        /// Arguments of `Stasis()`, or `appArgs`/`data` of the request that made the channel.
        args: Vec<String>,
        /// When, by Asterisk's clock.
        timestamp: Option<Timestamp>,
    },
    /// A channel left our application.
    StasisEnd {
        /// The channel.
        channel: Box<AriChannel>,
    },
    /// A channel is gone. Not sent after a Stasis caller's own hang-up.
    ChannelDestroyed {
        /// The channel.
        channel: Box<AriChannel>,
        /// Q.850 cause.
        cause: Option<u16>,
        /// The cause in words.
        cause_txt: String,
    },
    /// Somebody asked for a channel's end.
    ChannelHangupRequest {
        /// The channel.
        channel: Box<AriChannel>,
        /// Q.850 cause, where known. A soft hang-up has a flag in its place that says who asked
        /// (`AST_SOFTHANGUP_…`), which is none.
        cause: Option<u16>,
        /// Whether it was asked softly: from within Asterisk.
        soft: bool,
    },
    /// A channel's state changed.
    ChannelStateChange {
        /// The channel in its new state.
        channel: Box<AriChannel>,
        /// When, by Asterisk's clock.
        timestamp: Option<Timestamp>,
    },
    /// A key was pressed and released.
    ChannelDtmfReceived {
        /// The channel on which it was heard.
        channel: Box<AriChannel>,
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
        /// How long it was held, milliseconds.
        duration_ms: u64,
        /// When it was released, by Asterisk's clock.
        timestamp: Option<Timestamp>,
    },
    /// A channel's device put whom it talks to on hold.
    ChannelHold {
        /// The channel.
        channel: Box<AriChannel>,
        /// When, by Asterisk's clock.
        timestamp: Option<Timestamp>,
    },
    /// A channel's device took whom it talks to off hold.
    ChannelUnhold {
        /// The channel.
        channel: Box<AriChannel>,
        /// When, by Asterisk's clock.
        timestamp: Option<Timestamp>,
    },
    /// A channel was told whom it is connected to.
    ChannelConnectedLine {
        /// The channel.
        channel: Box<AriChannel>,
    },
    /// A channel entered a bridge.
    ChannelEnteredBridge {
        /// The channel.
        channel: Box<AriChannel>,
        /// Id of the bridge; empty if not told.
        bridge: String,
        /// Ids of the channels that are in it now.
        members: Vec<String>,
    },
    /// A channel left a bridge.
    ChannelLeftBridge {
        /// The channel.
        channel: Box<AriChannel>,
        /// Id of the bridge; empty if not told.
        bridge: String,
        /// Ids of the channels that stay in it.
        members: Vec<String>,
    },
    /// A transfer came about.
    Transfer {
        /// `BridgeBlindTransfer` or `BridgeAttendedTransfer`.
        kind: &'static str,
        /// Ids of the channels that are told to have part in it.
        channels: Vec<String>,
    },
    /// `StasisBroadcast()` offers a channel to whichever application claims it first.
    CallBroadcast {
        /// The channel.
        channel: Box<AriChannel>,
    },
    /// Another websocket took our application over; this one stays open but mute.
    ApplicationReplaced {
        /// The application.
        application: String,
    },
    /// Anything else, kept as it came.
    Other {
        /// Its type.
        kind: String,
        /// The whole message.
        raw: Value,
    },
}

/// Why a message is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON, but not an object with a textual, non-empty `type`.
    #[error("not an object with a type")]
    Untyped,
    /// An event of a known type without what makes it usable.
    #[error("{kind} without {field}")]
    Missing {
        /// The event's type.
        kind: &'static str,
        /// The missing or unusable field.
        field: &'static str,
    },
}

impl AriEvent {
    /// Reads one message.
    ///
    /// # Errors
    /// [`EventError`] for text that is no event; an unknown type is [`AriEvent::Other`].
    pub fn parse(text: &str) -> Result<Self, EventError> {
        let raw: Value =
            serde_json::from_str(text).map_err(|e| EventError::NotJson(e.to_string()))?;
        let kind = match raw.get("type").and_then(Value::as_str) {
            Some(kind) if !kind.is_empty() => kind.to_owned(),
            _ => return Err(EventError::Untyped),
        };
        Ok(match kind.as_str() {
            "StasisStart" => Self::StasisStart {
                channel: channel("StasisStart", &raw)?,
                args: field(&raw, "args").unwrap_or_default(),
                timestamp: timestamp(&raw),
            },
            "StasisEnd" => Self::StasisEnd {
                channel: channel("StasisEnd", &raw)?,
            },
            "ChannelDestroyed" => Self::ChannelDestroyed {
                channel: channel("ChannelDestroyed", &raw)?,
                cause: field(&raw, "cause"),
                cause_txt: field(&raw, "cause_txt").unwrap_or_default(),
            },
            "ChannelHangupRequest" => hangup_request(&raw)?,
            "ChannelStateChange" => Self::ChannelStateChange {
                channel: channel("ChannelStateChange", &raw)?,
                timestamp: timestamp(&raw),
            },
            "ChannelDtmfReceived" => dtmf(&raw)?,
            "ChannelHold" => Self::ChannelHold {
                channel: channel("ChannelHold", &raw)?,
                timestamp: timestamp(&raw),
            },
            "ChannelUnhold" => Self::ChannelUnhold {
                channel: channel("ChannelUnhold", &raw)?,
                timestamp: timestamp(&raw),
            },
            "ChannelConnectedLine" => Self::ChannelConnectedLine {
                channel: channel("ChannelConnectedLine", &raw)?,
            },
            "ChannelEnteredBridge" | "ChannelLeftBridge" => bridging(kind, raw),
            "CallBroadcast" => Self::CallBroadcast {
                channel: channel("CallBroadcast", &raw)?,
            },
            "BridgeBlindTransfer" => transfer("BridgeBlindTransfer", raw),
            "BridgeAttendedTransfer" => transfer("BridgeAttendedTransfer", raw),
            "ApplicationReplaced" => Self::ApplicationReplaced {
                application: field(&raw, "application").unwrap_or_default(),
            },
            _ => Self::Other { kind, raw },
        })
    }

    /// The one channel that it is about, if it is about one.
    pub fn channel(&self) -> Option<&AriChannel> {
        match self {
            Self::StasisStart { channel, .. }
            | Self::StasisEnd { channel }
            | Self::ChannelDestroyed { channel, .. }
            | Self::ChannelHangupRequest { channel, .. }
            | Self::ChannelStateChange { channel, .. }
            | Self::ChannelDtmfReceived { channel, .. }
            | Self::ChannelHold { channel, .. }
            | Self::ChannelUnhold { channel, .. }
            | Self::ChannelConnectedLine { channel, .. }
            | Self::ChannelEnteredBridge { channel, .. }
            | Self::ChannelLeftBridge { channel, .. } => Some(channel),
            Self::Transfer { .. }
            | Self::CallBroadcast { .. }
            | Self::ApplicationReplaced { .. }
            | Self::Other { .. } => None,
        }
    }

    /// When it happened by Asterisk's clock, of those events of which that is kept.
    pub fn timestamp(&self) -> Option<Timestamp> {
        match self {
            Self::StasisStart { timestamp, .. }
            | Self::ChannelStateChange { timestamp, .. }
            | Self::ChannelDtmfReceived { timestamp, .. }
            | Self::ChannelHold { timestamp, .. }
            | Self::ChannelUnhold { timestamp, .. } => *timestamp,
            _ => None,
        }
    }

    /// The event's type as ARI names it.
    pub fn kind(&self) -> &str {
        match self {
            Self::StasisStart { .. } => "StasisStart",
            Self::StasisEnd { .. } => "StasisEnd",
            Self::ChannelDestroyed { .. } => "ChannelDestroyed",
            Self::ChannelHangupRequest { .. } => "ChannelHangupRequest",
            Self::ChannelStateChange { .. } => "ChannelStateChange",
            Self::ChannelDtmfReceived { .. } => "ChannelDtmfReceived",
            Self::ChannelHold { .. } => "ChannelHold",
            Self::ChannelUnhold { .. } => "ChannelUnhold",
            Self::ChannelConnectedLine { .. } => "ChannelConnectedLine",
            Self::ChannelEnteredBridge { .. } => "ChannelEnteredBridge",
            Self::ChannelLeftBridge { .. } => "ChannelLeftBridge",
            Self::Transfer { kind, .. } => kind,
            Self::CallBroadcast { .. } => "CallBroadcast",
            Self::ApplicationReplaced { .. } => "ApplicationReplaced",
            Self::Other { kind, .. } => kind,
        }
    }
}

fn hangup_request(raw: &Value) -> Result<AriEvent, EventError> {
    let soft: bool = field(raw, "soft").unwrap_or_default();
    Ok(AriEvent::ChannelHangupRequest {
        channel: channel("ChannelHangupRequest", raw)?,
        cause: field(raw, "cause").filter(|_| !soft),
        soft,
    })
}

fn dtmf(raw: &Value) -> Result<AriEvent, EventError> {
    const KIND: &str = "ChannelDtmfReceived";
    let channel = channel(KIND, raw)?;
    let digit = field::<String>(raw, "digit")
        .and_then(|text| text.chars().next())
        .filter(|digit| {
            digit.is_ascii_digit() || matches!(digit, '*' | '#' | 'A'..='D' | 'a'..='d')
        })
        .ok_or(EventError::Missing {
            kind: KIND,
            field: "digit",
        })?;
    Ok(AriEvent::ChannelDtmfReceived {
        channel,
        digit: digit.to_ascii_uppercase(),
        duration_ms: field(raw, "duration_ms").unwrap_or_default(),
        timestamp: timestamp(raw),
    })
}

/// A channel that entered or left a bridge. ARI does not promise to name one.
fn bridging(kind: String, raw: Value) -> AriEvent {
    let AriBridge { id, channels, .. } = field(&raw, "bridge").unwrap_or_default();
    match (kind.as_str(), channel("", &raw)) {
        ("ChannelEnteredBridge", Ok(channel)) => AriEvent::ChannelEnteredBridge {
            channel,
            bridge: id,
            members: channels,
        },
        ("ChannelLeftBridge", Ok(channel)) => AriEvent::ChannelLeftBridge {
            channel,
            bridge: id,
            members: channels,
        },
        _ => AriEvent::Other { kind, raw },
    }
}

/// Fields of the transfer events that are channels.
const IN_TRANSFER: [&str; 8] = [
    "channel",
    "transferee",
    "transferer_first_leg",
    "transferer_second_leg",
    "transfer_target",
    "replace_channel",
    "destination_link_first_leg",
    "destination_link_second_leg",
];

/// A transfer, or what is none because it failed.
fn transfer(kind: &'static str, raw: Value) -> AriEvent {
    let result: Option<String> = field(&raw, "result");
    if result.is_some_and(|result| result != "Success") {
        let kind = kind.to_owned();
        return AriEvent::Other { kind, raw };
    }
    let named = IN_TRANSFER.iter();
    let named = named.filter_map(|name| field::<AriChannel>(&raw, name));
    let channels = named.map(|channel| channel.id).filter(|id| !id.is_empty());
    AriEvent::Transfer {
        kind,
        channels: channels.collect(),
    }
}

fn channel(kind: &'static str, raw: &Value) -> Result<Box<AriChannel>, EventError> {
    field::<Box<AriChannel>>(raw, "channel")
        .filter(|channel| !channel.id.is_empty())
        .ok_or(EventError::Missing {
            kind,
            field: "channel.id",
        })
}

fn timestamp(raw: &Value) -> Option<Timestamp> {
    wall_time(raw.get("timestamp")?.as_str()?)
}

fn field<T: DeserializeOwned>(raw: &Value, name: &str) -> Option<T> {
    T::deserialize(raw.get(name)?).ok()
}

#[cfg(test)]
mod tests;
