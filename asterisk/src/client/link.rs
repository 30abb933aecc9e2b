//! Keeps an events websocket: connects, listens, pauses, connects again.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tracing::{debug, info, warn};

use super::ConnectionState;
use super::backoff::ReconnectBackoff;
use super::http::AriClient;
use super::socket::{ConnectError, EventSocket};
use crate::control::{ObjectNaming, OwnKind, RequestFailure};
use crate::event::AriEvent;
use crate::model::{AriChannel, StasisApplication};
use crate::request::AriRequest;

/// A connection that lived this long was a good one.
const GOOD: Duration = Duration::from_secs(30);

/// How often a server that was replaced looks whether the other one is gone: callers have
/// nobody meanwhile, so the pause does not grow.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// An event of the websocket's life, or one that came over it.
#[derive(Debug)]
pub(super) enum SocketEvent {
    Connected,
    /// An event from Asterisk: parsed, and the JSON text that it was parsed from.
    Event(AriEvent, String),
    Disconnected,
}

/// The task that keeps the websocket: its connection, and where events go.
pub(super) struct ConnectionKeeper {
    pub(super) client: AriClient,
    pub(super) app: String,
    pub(super) naming: ObjectNaming,
    pub(super) out: mpsc::Sender<SocketEvent>,
    pub(super) state: watch::Sender<ConnectionState>,
    /// Somebody asks for the application that another process took over.
    pub(super) take_back: Arc<Notify>,
    pub(super) clock: fn() -> Instant,
}

impl ConnectionKeeper {
    /// Runs until nobody listens any more. When `out` is full nothing is read, until Asterisk
    /// gives the connection up: then everything is listed anew.
    pub(super) async fn keep(self) {
        let mut backoff = ReconnectBackoff::new();
        loop {
            let pause = match self.connect().await {
                Ok(socket) => match self.attend(socket, &mut backoff).await {
                    Some(ConnectionEnd::Replaced) => {
                        if !self.wait_for_vacancy().await {
                            return;
                        }
                        continue;
                    }
                    Some(ConnectionEnd::Denied(_)) => backoff.long_pause(),
                    Some(ConnectionEnd::Broken(_)) => backoff.pause(),
                    None => return,
                },
                Err(error) => {
                    self.fail(&error.to_string(), "cannot connect to Asterisk");
                    match error {
                        // Only a person can mend these.
                        ConnectError::Unauthorized
                        | ConnectError::ReadOnly
                        | ConnectError::Refused(_) => backoff.long_pause(),
                        ConnectError::Unreachable(_) => backoff.pause(),
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.out.closed() => return,
            }
        }
    }

    /// A websocket, once it is known that calls could be served: while there is none, Asterisk
    /// lets callers go on in their dialplan.
    async fn connect(&self) -> Result<EventSocket, ConnectError> {
        self.try_write().await?;
        EventSocket::connect(&self.client, &self.app, self.clock).await
    }

    /// Whether what calls need would be granted now.
    async fn try_write(&self) -> Result<(), ConnectError> {
        let channel = self.naming.nothing();
        match self.client.probe(&AriRequest::TryWrite { channel }).await {
            Ok(_) => Ok(()),
            Err(RequestFailure::Refused { status: 401, .. }) => Err(ConnectError::Unauthorized),
            Err(RequestFailure::Refused { status: 403, .. }) => Err(ConnectError::ReadOnly),
            // There is no such channel, and that is all that speaks against it.
            Err(RequestFailure::Refused { .. }) => Ok(()),
            Err(failure) => Err(ConnectError::Unreachable(failure.to_string())),
        }
    }

    /// Listens as long as it goes; why it ended, or `None` if nobody listens any more.
    async fn attend(
        &self,
        socket: EventSocket,
        backoff: &mut ReconnectBackoff,
    ) -> Option<ConnectionEnd> {
        info!(app = self.app, "connected to Asterisk");
        self.state.send_replace(ConnectionState::Connected);
        // Who asked twice for the application asked once; the second time must not count for
        // the next server that takes it over.
        pin!(self.take_back.notified()).enable();
        let since = (self.clock)();
        let end = self.listen(socket).await?;
        if (self.clock)().saturating_duration_since(since) >= GOOD {
            backoff.reset();
        }
        match &end {
            ConnectionEnd::Replaced => {
                self.state.send_replace(ConnectionState::Replaced);
            }
            ConnectionEnd::Denied(error) => {
                self.fail(&error.to_string(), "Asterisk grants nothing any more")
            }
            ConnectionEnd::Broken(reason) => self.fail(reason, "the connection to Asterisk broke"),
        }
        Some(end)
    }

    fn fail(&self, reason: &str, what: &str) {
        let failed = ConnectionState::Failed(reason.to_owned());
        let is_news = self.state.send_if_modified(|state| {
            let is_news = *state != failed;
            *state = failed;
            is_news
        });
        if is_news {
            warn!(reason, "{what}");
        }
    }

    /// Passes events on until the connection ends; `None` if nobody takes them.
    async fn listen(&self, mut socket: EventSocket) -> Option<ConnectionEnd> {
        self.out.send(SocketEvent::Connected).await.ok()?;
        let end = loop {
            let text = tokio::select! {
                text = socket.next() => text,
                () = self.client.denied() => match self.try_write().await {
                    Err(error @ (ConnectError::Unauthorized | ConnectError::ReadOnly)) => {
                        socket.close().await;
                        break ConnectionEnd::Denied(error);
                    }
                    _ => continue,
                },
            };
            let text = match text {
                Ok(text) => text,
                Err(reason) => break ConnectionEnd::Broken(reason),
            };
            match AriEvent::parse(&text) {
                Ok(event) => {
                    let replaced = matches!(&event, AriEvent::ApplicationReplaced { application } if *application == self.app);
                    self.out.send(SocketEvent::Event(event, text)).await.ok()?;
                    if replaced {
                        break ConnectionEnd::Replaced;
                    }
                }
                Err(error) => {
                    warn!(%error, bytes = text.len(), "Asterisk said something that is no event")
                }
            }
        };
        self.out.send(SocketEvent::Disconnected).await.ok()?;
        Some(end)
    }

    /// Waits until nobody has the application any more, or it is to be taken back; `false` if
    /// nobody listens any more. To connect would take the calls from whoever has it.
    async fn wait_for_vacancy(&self) -> bool {
        let mut left = BTreeSet::new();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.take_back.notified() => {
                    info!(app = self.app, "the application is taken back on request");
                    return true;
                }
                () = self.out.closed() => return false,
            }
            if self.is_vacant(&mut left).await {
                info!(
                    app = self.app,
                    "whoever had taken the application over is gone"
                );
                return true;
            }
        }
    }

    /// Whether Asterisk knows nothing of the application any more. `left`: what was left of calls
    /// that are over, when that was last looked at.
    async fn is_vacant(&self, left: &mut BTreeSet<String>) -> bool {
        let application = match self.application().await {
            Err(RequestFailure::Refused { status: 404, .. }) => return true,
            Ok(application) => application,
            Err(_) => return false,
        };
        let before = std::mem::take(left);
        match self.left_of_calls(application) {
            Some(now) => *left = now,
            None => return false,
        }
        // Whoever made this removes it, if he lives. An application with anything in it is never
        // cleared away, so what stays goes; it belongs to no call.
        if !left.is_empty() && (*left != before || !self.clear_away(left).await) {
            return false;
        }
        // Nobody may have it: Asterisk clears unused applications away only when another one
        // comes or goes (`cleanup` in res_stasis.c), so one does, which nobody else has.
        let passer_by = self.naming.nothing();
        match EventSocket::connect(&self.client, &passer_by, self.clock).await {
            Ok(mut socket) => socket.close().await,
            Err(error) => debug!(%error, "cannot see whether the application is vacant"),
        }
        let found = self.application().await;
        matches!(found, Err(RequestFailure::Refused { status: 404, .. }))
    }

    /// Channels that a server of this application made for media, where there are no others and
    /// so no calls.
    fn left_of_calls(&self, application: StasisApplication) -> Option<BTreeSet<String>> {
        let kind = |id: &str| self.naming.read(id).map(|own| own.kind);
        let is_bridge = |id: &String| kind(id) == Some(OwnKind::Bridge);
        let is_media = |id: &String| matches!(kind(id), Some(OwnKind::Media | OwnKind::Snoop));
        let StasisApplication {
            channel_ids,
            bridge_ids,
            ..
        } = application;
        let is_left = bridge_ids.iter().all(is_bridge) && channel_ids.iter().all(is_media);
        is_left.then(|| channel_ids.into_iter().collect())
    }

    /// Removes what is left of calls; whether all of it was what its id says. Anybody may choose
    /// such an id for a caller's channel.
    async fn clear_away(&self, left: &BTreeSet<String>) -> bool {
        for id in left {
            let channel = id.clone();
            let found = self.client.probe(&AriRequest::GetChannel { channel }).await;
            let channel = match found.map(serde_json::from_value::<AriChannel>) {
                Ok(Ok(channel)) => channel,
                Err(RequestFailure::Refused { status: 404, .. }) => continue,
                Ok(Err(_)) | Err(_) => return false,
            };
            if !self.is_own_media(&channel) {
                return false;
            }
            info!(
                channel = id,
                "left behind by a server that is gone; removed"
            );
            let channel = id.clone();
            let removed = self
                .client
                .probe(&AriRequest::DeleteChannel { channel })
                .await;
            if let Err(failure) = removed {
                debug!(id, %failure, "not removed");
            }
        }
        true
    }

    fn is_own_media(&self, channel: &AriChannel) -> bool {
        let is_here = channel.stasis_app().is_none_or(|app| app == self.app);
        is_here
            && match self.naming.read(&channel.id).map(|own| own.kind) {
                Some(OwnKind::Media) => channel.is_external_media(),
                Some(OwnKind::Snoop) => channel.is_snoop(),
                _ => false,
            }
    }

    async fn application(&self) -> Result<StasisApplication, RequestFailure> {
        let app = self.app.clone();
        let found = self.client.probe(&AriRequest::GetApplication { app }).await;
        serde_json::from_value(found?)
            .map_err(|error| RequestFailure::Unreachable(error.to_string()))
    }
}

enum ConnectionEnd {
    Replaced,
    Denied(ConnectError),
    Broken(String),
}
