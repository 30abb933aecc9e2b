//! ARI's events websocket, read by a thread of its own so that pings are
//! answered and nothing is missed between two looks.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use tungstenite::{Message, WebSocket};

use crate::{Error, Result, host, http, process};

/// All events since the subscription.
#[derive(Debug)]
pub struct Events {
    seen: Arc<Mutex<Vec<Value>>>,
    socket: TcpStream,
    reader: Option<JoinHandle<()>>,
}

impl Events {
    pub(super) fn connect(
        server: SocketAddr,
        app: &str,
        user: &str,
        password: &str,
    ) -> Result<Self> {
        let limit = Duration::from_secs(10);
        let stream = TcpStream::connect_timeout(&server, limit)
            .map_err(Error::io("cannot reach the events websocket"))?;
        stream
            .set_read_timeout(Some(limit))
            .map_err(Error::io("cannot limit the handshake"))?;
        let socket = stream
            .try_clone()
            .map_err(Error::io("cannot duplicate the websocket's handle"))?;
        let key = format!("{user}:{password}");
        let url = format!(
            "ws://{server}/ari/events?app={}&api_key={}",
            http::escape(app),
            http::escape(&key)
        );
        let refused = |error: &dyn std::fmt::Display| {
            Error::Failed(format!("the events websocket was refused: {error}"))
        };
        let (websocket, _) = tungstenite::client(url, stream).map_err(|error| refused(&error))?;
        // From here on the reader waits as long as it takes; `drop` wakes it.
        socket
            .set_read_timeout(None)
            .map_err(Error::io("cannot unlimit the websocket"))?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reader = thread::spawn({
            let seen = Arc::clone(&seen);
            move || read(websocket, &seen)
        });
        Ok(Self {
            seen,
            socket,
            reader: Some(reader),
        })
    }

    /// Waits for an event that satisfies `wanted`; looks at all since the
    /// subscription, so an event that came before the call counts.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let found = host::poll_until(host::now() + limit, || self.all().into_iter().find(&wanted));
        found.ok_or_else(|| {
            let kinds: Vec<_> = self
                .all()
                .iter()
                .map(|event| event["type"].as_str().unwrap_or("?").to_owned())
                .collect();
            Error::TimedOut {
                what: what.to_owned(),
                limit,
                log: format!("; events seen: {}", kinds.join(", ")),
            }
        })
    }

    /// Waits for an event of `kind` whose channel has that id.
    pub fn wait_for_channel(&self, kind: &str, channel: &str, limit: Duration) -> Result<Value> {
        let wanted = |event: &Value| event["type"] == kind && event["channel"]["id"] == channel;
        self.wait_for(&format!("{kind} of channel {channel}"), limit, wanted)
    }

    /// All events so far, in order.
    pub fn all(&self) -> Vec<Value> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Already gone if Asterisk ended first.
        if let Err(error) = self.socket.shutdown(Shutdown::Both)
            && error.kind() != io::ErrorKind::NotConnected
        {
            process::report(&format!("cannot close the events websocket: {error}"));
        }
        if let Some(reader) = self.reader.take()
            && reader.join().is_err()
        {
            process::report("the reader of events panicked");
        }
    }
}

/// Reads events until the connection ends.
fn read(mut websocket: WebSocket<TcpStream>, seen: &Mutex<Vec<Value>>) {
    while let Ok(message) = websocket.read() {
        if let Message::Text(text) = message {
            let event =
                serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.to_string()));
            seen.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(event);
        }
    }
}
