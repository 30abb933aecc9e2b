//! The events websocket: one connection from handshake to end.

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Upgraded, header};
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::http::AriClient;

/// Longest message, bytes. Events are a few KB.
const MAX_MESSAGE: usize = 1 << 20;
/// Our pings.
const PING_EVERY: Duration = Duration::from_secs(10);
/// Silence after which the connection counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(25);

/// How long a farewell may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Why there is no events websocket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConnectError {
    /// 401.
    #[error("Asterisk refuses the ARI user or password")]
    Unauthorized,
    /// 403.
    #[error(
        "the ARI user may only read, so no call can be served: take read_only out of its section in ari.conf"
    )]
    ReadOnly,
    /// Another HTTP status.
    #[error("Asterisk refuses the events websocket with status {0}")]
    Refused(u16),
    /// No connection.
    #[error("{0}")]
    Unreachable(String),
}

/// An open events websocket.
pub(super) struct EventSocket {
    stream: WebSocketStream<Upgraded>,
    clock: fn() -> Instant,
    heard: Instant,
    pinged: Instant,
}

impl EventSocket {
    pub(super) async fn connect(
        client: &AriClient,
        app: &str,
        clock: fn() -> Instant,
    ) -> Result<Self, ConnectError> {
        let key = generate_key();
        let limit = client.config.connect_timeout;
        let asked = timeout(limit, client.ask_events(app, &key)).await;
        let late = || {
            let text = format!("no connection within {} s", limit.as_secs());
            ConnectError::Unreachable(text)
        };
        let unreachable = |text: String| ConnectError::Unreachable(text);
        let asked = asked.map_err(|_| late())?;
        let answer = asked.map_err(|failure| unreachable(failure.to_string()))?;
        match answer.status().as_u16() {
            101 => {}
            401 => return Err(ConnectError::Unauthorized),
            status => return Err(ConnectError::Refused(status)),
        }
        let accepted = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        if accepted.is_none_or(|accept| *accept != derive_accept_key(key.as_bytes())) {
            let text = "what answers is no websocket; is this ARI?".to_owned();
            return Err(unreachable(text));
        }
        let upgraded = answer.upgrade().await;
        let upgraded = upgraded.map_err(|error| unreachable(error.to_string()))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        let now = clock();
        Ok(Self {
            stream,
            clock,
            heard: now,
            pinged: now,
        })
    }

    /// Closes it, so that Asterisk knows at once that nobody listens.
    pub(super) async fn close(&mut self) {
        // Whether it hears of it or not: the connection is dropped next.
        let _heard = timeout(CLOSE_WITHIN, self.stream.close(None)).await;
    }

    /// The next text message, or why there will be none. Pings meanwhile.
    pub(super) async fn next(&mut self) -> Result<String, String> {
        loop {
            let ping_at = self.pinged + PING_EVERY;
            let dead_at = self.heard + DEAD_AFTER;
            tokio::select! {
                message = self.stream.next() => {
                    self.heard = (self.clock)();
                    match message {
                        None => return Err("Asterisk closed the connection".to_owned()),
                        Some(Err(error)) => return Err(error.to_string()),
                        Some(Ok(Message::Close(_))) => return Err("Asterisk closed the connection".to_owned()),
                        Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                        // Pings are answered by the stream itself; events are text.
                        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
                    }
                }
                () = sleep_until(dead_at.into()) => {
                    return Err(format!("Asterisk has been silent for {} s", DEAD_AFTER.as_secs()));
                }
                () = sleep_until(ping_at.into()) => {
                    self.pinged = (self.clock)();
                    let ping = self.stream.send(Message::Ping(Vec::new().into()));
                    match timeout(PING_EVERY, ping).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return Err(error.to_string()),
                        Err(_) => return Err("Asterisk takes nothing any more".to_owned()),
                    }
                }
            }
        }
    }
}
