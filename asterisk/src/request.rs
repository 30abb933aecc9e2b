//! Requests to Asterisk's REST interface: each knows its method, path, query and body.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// GET.
    Get,
    /// POST.
    Post,
    /// DELETE.
    Delete,
}

/// Which side of a channel a snoop hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SnoopSide {
    /// Audio that the channel sends, its party's speech.
    In,
    /// Audio that the channel is sent, what its party hears.
    Out,
}

/// A request of ARI. Ids may hold any text: they are encoded where they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AriRequest {
    /// Check that Asterisk answers and takes the password.
    Ping,
    /// Proof that the user may write: a variable of a channel that there is none of. It changes
    /// nothing, and is answered with 404 where it would be allowed.
    TryWrite {
        /// Channel id that no channel has.
        channel: String,
    },
    /// Every channel there is.
    ListChannels,
    /// Every bridge there is.
    ListBridges,
    /// One channel.
    GetChannel {
        /// Channel id.
        channel: String,
    },
    /// One bridge.
    GetBridge {
        /// Bridge id.
        bridge: String,
    },
    /// One endpoint, with the ids of its channels.
    GetEndpoint {
        /// Technology, such as `PJSIP`.
        technology: String,
        /// Its name in that technology.
        resource: String,
    },
    /// A variable of a channel.
    GetVariable {
        /// Channel id.
        channel: String,
        /// Its name.
        variable: String,
    },
    /// Our application with the channels it hears of.
    GetApplication {
        /// Its name.
        app: String,
    },
    /// Hear of a channel that is not in our application.
    Subscribe {
        /// Application.
        app: String,
        /// Channel id.
        channel: String,
    },
    /// Unsubscribe from a channel's events.
    Unsubscribe {
        /// Application.
        app: String,
        /// Channel id.
        channel: String,
    },
    /// Answer a channel.
    Answer {
        /// Channel id.
        channel: String,
    },
    /// Make a mixing bridge.
    CreateBridge {
        /// Its id, chosen by us.
        bridge: String,
    },
    /// Make a channel that sends and receives RTP.
    ExternalMedia {
        /// Its id, chosen by us.
        channel: String,
        /// Application.
        app: String,
        /// `address:port` that Asterisk sends to. A name is refused by Asterisk.
        external_host: String,
        /// Exactly one of Asterisk's format names.
        format: String,
    },
    /// Claim a channel that `StasisBroadcast()` offers; 409 if another application was first.
    Claim {
        /// Application.
        app: String,
        /// Channel id.
        channel: String,
    },
    /// Put channels into a bridge.
    AddChannel {
        /// Bridge id.
        bridge: String,
        /// Channel ids.
        channels: Vec<String>,
    },
    /// Make a channel that hears one side of another.
    Snoop {
        /// The channel spied on.
        channel: String,
        /// The snoop's id, chosen by us.
        snoop: String,
        /// Application.
        app: String,
        /// Direction to listen to.
        spy: SnoopSide,
    },
    /// Hang a channel up.
    DeleteChannel {
        /// Channel id.
        channel: String,
    },
    /// Destroy a bridge.
    DeleteBridge {
        /// Bridge id.
        bridge: String,
    },
    /// Send a channel back to its dialplan.
    Continue {
        /// Channel id.
        channel: String,
    },
    /// Call somebody and put him into our application when he answers.
    Originate(OriginateRequest),
}

/// Particulars of [`AriRequest::Originate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginateRequest {
    /// The new channel's id, chosen by us.
    pub channel: String,
    /// Application.
    pub app: String,
    /// Endpoint to dial, such as `PJSIP/100` or `Local/talk@default/n`.
    pub endpoint: String,
    /// Shown to the called party: a number, or `"name" <number>`.
    pub caller_id: Option<String>,
    /// Formats to offer; without it a Local channel runs at 192 kHz.
    pub formats: Option<String>,
    /// How long Asterisk lets it ring, seconds.
    pub timeout_s: u64,
    /// Variables to set on the channel.
    pub variables: Vec<(String, String)>,
}

impl AriRequest {
    /// HTTP method.
    pub fn method(&self) -> HttpMethod {
        match self {
            Self::Ping
            | Self::ListChannels
            | Self::ListBridges
            | Self::GetChannel { .. }
            | Self::GetBridge { .. }
            | Self::GetEndpoint { .. }
            | Self::GetVariable { .. }
            | Self::GetApplication { .. } => HttpMethod::Get,
            Self::TryWrite { .. }
            | Self::Subscribe { .. }
            | Self::Answer { .. }
            | Self::CreateBridge { .. }
            | Self::ExternalMedia { .. }
            | Self::Claim { .. }
            | Self::AddChannel { .. }
            | Self::Snoop { .. }
            | Self::Continue { .. }
            | Self::Originate(_) => HttpMethod::Post,
            Self::Unsubscribe { .. } | Self::DeleteChannel { .. } | Self::DeleteBridge { .. } => {
                HttpMethod::Delete
            }
        }
    }

    /// Path below `/ari`, encoded.
    pub fn path(&self) -> String {
        match self {
            Self::Ping => "/asterisk/ping".to_owned(),
            Self::ListChannels | Self::Originate(_) => "/channels".to_owned(),
            Self::ListBridges => "/bridges".to_owned(),
            Self::GetChannel { channel } | Self::DeleteChannel { channel } => {
                join(&["channels", channel])
            }
            Self::GetVariable { channel, .. } | Self::TryWrite { channel } => {
                join(&["channels", channel, "variable"])
            }
            Self::GetEndpoint {
                technology,
                resource,
            } => join(&["endpoints", technology, resource]),
            Self::GetApplication { app } => join(&["applications", app]),
            Self::Subscribe { app, .. } | Self::Unsubscribe { app, .. } => {
                join(&["applications", app, "subscription"])
            }
            Self::Answer { channel } => join(&["channels", channel, "answer"]),
            Self::GetBridge { bridge }
            | Self::CreateBridge { bridge }
            | Self::DeleteBridge { bridge } => join(&["bridges", bridge]),
            Self::ExternalMedia { .. } => "/channels/externalMedia".to_owned(),
            Self::Claim { .. } => "/events/claim".to_owned(),
            Self::AddChannel { bridge, .. } => join(&["bridges", bridge, "addChannel"]),
            Self::Snoop { channel, snoop, .. } => join(&["channels", channel, "snoop", snoop]),
            Self::Continue { channel } => join(&["channels", channel, "continue"]),
        }
    }

    /// Query parameters, not encoded.
    pub fn query(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::GetVariable { variable, .. } => vec![("variable", variable.clone())],
            Self::TryWrite { .. } => vec![("variable", "ASTERSCRIBE".to_owned())],
            Self::Subscribe { channel, .. } | Self::Unsubscribe { channel, .. } => {
                vec![("eventSource", format!("channel:{channel}"))]
            }
            Self::CreateBridge { .. } => vec![("type", "mixing".to_owned())],
            Self::ExternalMedia {
                channel,
                app,
                external_host,
                format,
            } => vec![
                ("app", app.clone()),
                ("channelId", channel.clone()),
                ("external_host", external_host.clone()),
                ("format", format.clone()),
                ("encapsulation", "rtp".to_owned()),
                ("transport", "udp".to_owned()),
                ("connection_type", "client".to_owned()),
                ("direction", "both".to_owned()),
            ],
            Self::Claim { app, channel } => {
                vec![("channelId", channel.clone()), ("application", app.clone())]
            }
            Self::AddChannel { channels, .. } => vec![("channel", channels.join(","))],
            Self::Snoop { app, spy, .. } => {
                let side = match spy {
                    SnoopSide::In => "in",
                    SnoopSide::Out => "out",
                };
                vec![("app", app.clone()), ("spy", side.to_owned())]
            }
            Self::Originate(originate) => originate.query(),
            _ => Vec::new(),
        }
    }

    /// JSON body, if the request has one.
    pub fn body(&self) -> Option<Value> {
        match self {
            Self::Originate(originate) if !originate.variables.is_empty() => {
                let variables: serde_json::Map<String, Value> = originate
                    .variables
                    .iter()
                    .map(|(name, value)| (name.clone(), json!(value)))
                    .collect();
                Some(json!({ "variables": variables }))
            }
            _ => None,
        }
    }

    /// Path and query as they go over the wire, below `/ari`.
    pub fn target(&self) -> String {
        let mut target = self.path();
        for (index, (name, value)) in self.query().iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            encode_into(&mut target, value);
        }
        target
    }
}

impl OriginateRequest {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![
            ("endpoint", self.endpoint.clone()),
            ("app", self.app.clone()),
            ("channelId", self.channel.clone()),
            ("timeout", self.timeout_s.to_string()),
        ];
        if let Some(caller_id) = &self.caller_id {
            query.push(("callerId", caller_id.clone()));
        }
        if let Some(formats) = &self.formats {
            query.push(("formats", formats.clone()));
        }
        query
    }
}

fn join(segments: &[&str]) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        match *segment {
            // URL parsers take these for steps in the tree even when encoded once
            // (WHATWG URL, "double-dot URL path segment"); encoded twice they name nothing.
            "." => path.push_str("%252E"),
            ".." => path.push_str("%252E%252E"),
            other => encode_into(&mut path, other),
        }
    }
    path
}

/// Appends `text` percent-encoded: all but RFC 3986 section 2.3 "unreserved".
fn encode_into(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn external_media_reads_as_measured() {
        let request = AriRequest::ExternalMedia {
            channel: "em-1".into(),
            app: "lab".into(),
            external_host: "127.0.0.1:46712".into(),
            format: "ulaw".into(),
        };
        assert_eq!(request.method(), HttpMethod::Post);
        assert_eq!(
            request.target(),
            "/channels/externalMedia?app=lab&channelId=em-1&external_host=127.0.0.1%3A46712&format=ulaw\
             &encapsulation=rtp&transport=udp&connection_type=client&direction=both"
        );
    }

    #[test]
    fn ids_cannot_leave_their_segment() {
        for (id, path) in [
            ("a/b", "/channels/a%2Fb"),
            ("a?x#y", "/channels/a%3Fx%23y"),
            ("1.2;2", "/channels/1.2%3B2"),
            ("..", "/channels/%252E%252E"),
            ("%2e%2e", "/channels/%252e%252e"),
            ("é", "/channels/%C3%A9"),
        ] {
            assert_eq!(AriRequest::GetChannel { channel: id.into() }.path(), path);
        }
    }

    #[test]
    fn originate_has_a_body_only_for_variables() {
        let mut originate = OriginateRequest {
            channel: "c".into(),
            app: "lab".into(),
            endpoint: "Local/talk@default/n".into(),
            caller_id: Some("\"A B\" <1>".into()),
            formats: Some("ulaw".into()),
            timeout_s: 65,
            variables: Vec::new(),
        };
        assert_eq!(AriRequest::Originate(originate.clone()).body(), None);
        originate.variables.push(("X".into(), "1".into()));
        let request = AriRequest::Originate(originate);
        assert_eq!(request.body(), Some(json!({"variables": {"X": "1"}})));
        assert!(
            request
                .target()
                .contains("callerId=%22A%20B%22%20%3C1%3E&formats=ulaw")
        );
    }

    proptest! {
        #[test]
        fn any_id_stays_one_segment(id in ".{1,40}") {
            let path = AriRequest::Answer { channel: id }.path();
            prop_assert_eq!(path.matches('/').count(), 3);
            prop_assert!(path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b';')));
            let segment = path.split('/').nth(2).unwrap().to_ascii_lowercase();
            prop_assert!(!matches!(segment.as_str(), "" | "." | ".." | "%2e" | "%2e%2e" | ".%2e" | "%2e."));
        }
    }
}
