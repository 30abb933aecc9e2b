//! Keeps an events websocket: connects, listens, pauses, connects again.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::ConnectionState;
use super::backoff::Backoff;
use super::http::Client;
use super::socket::{ConnectError, EventSocket};
use crate::event::Event;

/// A connection that lived this long was a good one.
const GOOD: Duration = Duration::from_secs(30);

/// What is heard of the websocket.
#[derive(Debug)]
pub(super) enum Heard {
    Connected,
    /// What was said, and how.
    Event(Event, String),
    Disconnected,
}

/// Runs until nobody listens any more. When `out` is full nothing is read, until Asterisk
/// gives the connection up: then everything is listed anew.
pub(super) async fn keep(
    client: Client,
    app: String,
    out: mpsc::Sender<Heard>,
    state: watch::Sender<ConnectionState>,
    clock: fn() -> Instant,
) {
    let mut backoff = Backoff::new();
    loop {
        let pause = match EventSocket::connect(&client, &app, clock).await {
            Ok(socket) => {
                info!(app, "connected to Asterisk");
                state.send_replace(ConnectionState::Connected);
                let since = clock();
                let Some(end) = listen(socket, &app, &out).await else {
                    return;
                };
                if clock().saturating_duration_since(since) >= GOOD {
                    backoff.reset();
                }
                warn!(reason = end.reason(), "the connection to Asterisk broke");
                state.send_replace(ConnectionState::Failed(end.reason().to_owned()));
                match end {
                    End::Replaced => backoff.long_pause(),
                    End::Broken(_) => backoff.pause(),
                }
            }
            Err(error) => {
                warn!(%error, "Asterisk is not to be had");
                state.send_replace(ConnectionState::Failed(error.to_string()));
                match error {
                    // Only a person can mend these.
                    ConnectError::Unauthorized | ConnectError::Refused(_) => backoff.long_pause(),
                    ConnectError::Unreachable(_) => backoff.pause(),
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = out.closed() => return,
        }
    }
}

enum End {
    Replaced,
    Broken(String),
}

impl End {
    fn reason(&self) -> &str {
        match self {
            Self::Replaced => "another process listens to the same application",
            Self::Broken(reason) => reason,
        }
    }
}

/// Passes events on until the connection ends; `None` if nobody takes them.
async fn listen(mut socket: EventSocket, app: &str, out: &mpsc::Sender<Heard>) -> Option<End> {
    out.send(Heard::Connected).await.ok()?;
    let end = loop {
        let text = match socket.next().await {
            Ok(text) => text,
            Err(reason) => break End::Broken(reason),
        };
        match Event::parse(&text) {
            Ok(event) => {
                let replaced = matches!(&event, Event::ApplicationReplaced { application } if application == app);
                out.send(Heard::Event(event, text)).await.ok()?;
                if replaced {
                    break End::Replaced;
                }
            }
            Err(error) => {
                warn!(%error, bytes = text.len(), "Asterisk said something that is no event")
            }
        }
    };
    out.send(Heard::Disconnected).await.ok()?;
    Some(end)
}
