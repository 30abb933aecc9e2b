//! The desk: knows every open call, hears of media and of Asterisk, answers
//! the API, and tells the store. It stands beside the media path, not on it.

mod ari;
mod book;
mod service;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub use self::ari::AriLink;
use self::book::{CallBook, Opening, Resumed};
use super::media::{LegRefused, MediaEvent, MediaEventKind, MediaPort, OpenCall};
use crate::call::{CallId, CallStatus, EndReason, Leg, Origin};
use crate::clock;
use crate::config::EndpointTemplate;
use crate::service::{PartHealth, RtpTarget, ServiceError};
use crate::speech::pool::PoolStats;
use crate::store::{Store, StoreError, StoreWriter};

/// What the desk is set up with.
#[derive(Debug, Clone)]
pub struct DeskConfig {
    /// Name of this server in the records.
    pub node: String,
    /// Calls open at once.
    pub max_calls: usize,
    /// A registered call from which nothing comes for this long is over.
    pub media_idle: Duration,
    /// How a destination becomes an endpoint.
    pub endpoint: EndpointTemplate,
    /// Where to send RTP, one address for each media thread.
    pub targets: Vec<RtpTarget>,
    /// The speech model, as `/health` shows it.
    pub model: PartHealth,
}

/// The desk of a running server.
pub struct Desk {
    config: DeskConfig,
    book: Mutex<CallBook>,
    ports: Vec<MediaPort>,
    store: Arc<dyn Store>,
    writer: StoreWriter,
    pool: Arc<PoolStats>,
    ari: Option<AriLink>,
    /// Held between the look for a registered call and its opening.
    admission: Mutex<()>,
    /// Commands to Asterisk whose outcome somebody waits for.
    pending: Mutex<HashMap<CallId, oneshot::Sender<Result<(), ServiceError>>>>,
    /// Calls that an earlier process left open and that may go on.
    resumable: Mutex<HashMap<CallId, Resumed>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What the desk works with.
pub struct DeskParts {
    /// The media threads.
    pub ports: Vec<MediaPort>,
    /// For reading.
    pub store: Arc<dyn Store>,
    /// For writing.
    pub writer: StoreWriter,
    /// Counters of recognition.
    pub pool: Arc<PoolStats>,
    /// Asterisk, if one is configured.
    pub ari: Option<AriLink>,
}

impl std::fmt::Debug for DeskParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeskParts").finish_non_exhaustive()
    }
}

impl Desk {
    /// A desk with no call on it.
    pub fn new(config: DeskConfig, parts: DeskParts) -> Self {
        let DeskParts {
            ports,
            store,
            writer,
            pool,
            ari,
        } = parts;
        Self {
            book: Mutex::new(CallBook::new(config.node.clone())),
            config,
            ports,
            store,
            writer,
            pool,
            ari,
            admission: Mutex::new(()),
            pending: Mutex::new(HashMap::new()),
            resumable: Mutex::new(HashMap::new()),
        }
    }

    /// Follows the media threads until they are gone.
    pub async fn follow_media(&self, mut events: mpsc::Receiver<MediaEvent>) {
        while let Some(MediaEvent { call, kind }) = events.recv().await {
            match kind {
                MediaEventKind::Line(line) => self.book(|book| book.line(&call, line)),
                MediaEventKind::Stats(legs) => self.book(|book| book.stats(&call, legs)),
                MediaEventKind::Idle => {
                    let text = format!("no RTP came for {} s", self.config.media_idle.as_secs());
                    self.end(&call, EndReason { cause: None, text }, CallStatus::Ended);
                }
                MediaEventKind::Closed(legs) => {
                    self.book(|book| book.closed(&call, clock::wall(), legs))
                }
            }
        }
    }

    /// Reads what an earlier process of this node left open in the store.
    /// Calls that can go on are kept for Asterisk to confirm, the others are settled.
    pub async fn recall(&self) -> Result<Vec<(CallId, Origin)>, StoreError> {
        let left = self.store.open_calls().await?;
        let mut resumable = Vec::new();
        for record in left {
            // Calls of other nodes are theirs; those that this process had are no leftovers,
            // though the store may not have heard of their end yet.
            let had = self.book(|book| book.find(&record.call_id).is_some());
            if record.node != self.config.node || had {
                continue;
            }
            let on_asterisk = matches!(
                record.origin,
                Origin::Stasis | Origin::Initiated | Origin::Tap
            );
            if !on_asterisk || self.ari.is_none() {
                self.book(|book| {
                    book.settle(record, clock::wall(), "the server was restarted".to_owned())
                });
                continue;
            }
            let digits = self.store.dtmf(&record.call_id).await?.len() as u64;
            resumable.push((record.call_id.clone(), record.origin));
            lock(&self.resumable).insert(record.call_id.clone(), Resumed { record, digits });
        }
        Ok(resumable)
    }

    /// Waits until the store has everything, or the time is up.
    pub async fn flush(&self, deadline: Duration) {
        if let Err(error) = self.writer.flush(deadline).await {
            tracing::error!(%error, "the store is behind at the end");
        }
    }

    /// Ends every call that only we keep open, and waits for the last lines.
    pub async fn close_all(&self, deadline: Duration) {
        let open: Vec<CallId> = self.book(|book| {
            book.open_calls()
                .map(|e| e.record.call_id.clone())
                .collect()
        });
        for call in open {
            let text = "the server is shutting down".to_owned();
            self.end(&call, EndReason { cause: None, text }, CallStatus::Ended);
        }
        let emptied = async {
            let mut look = tokio::time::interval(Duration::from_millis(20));
            while self.book(|book| book.open_count()) > 0 {
                look.tick().await;
            }
        };
        if tokio::time::timeout(deadline, emptied).await.is_err() {
            let left = self.book(|book| book.open_count());
            tracing::warn!(
                left,
                "calls are still waiting for their last words; they end without them"
            );
        }
    }

    /// Opens a call on its media thread and in the book.
    fn open(&self, opening: Opening, idle_limit: Option<Duration>) -> bool {
        let (call, port) = (opening.call.clone(), opening.port);
        let now = clock::now();
        let taken = self.book(|book| {
            let first_line = book.open(now, clock::wall(), opening);
            let order = OpenCall {
                call: call.clone(),
                opened: book.find(&call).map_or(now, |entry| entry.opened),
                first_line,
                idle_limit,
            };
            // Under the lock: who finds the call in the book may give orders about it, and
            // they must come after this one.
            self.ports.get(port).is_some_and(|port| port.open(order))
        });
        if !taken {
            tracing::error!(%call, "no media thread takes the call");
            let reason = EndReason {
                cause: None,
                text: "the media plane is overloaded".to_owned(),
            };
            self.book(|book| {
                book.ended(&call, clock::wall(), reason, CallStatus::Failed);
                book.closed(&call, clock::wall(), Vec::new());
            });
        }
        taken
    }

    /// Lets `source` speak for a leg.
    async fn place_leg(
        &self,
        call: &CallId,
        leg: Leg,
        source: SocketAddr,
        format: Option<String>,
    ) -> Result<(), LegRefused> {
        let port = self.port_of(call).ok_or(LegRefused::NotOpen)?;
        let port = self.ports.get(port).ok_or(LegRefused::NotOpen)?;
        port.place_leg(call.clone(), leg.clone(), source).await?;
        self.book(|book| book.leg(call, leg, source.to_string(), format));
        Ok(())
    }

    /// The call is over: its media ends, and when that has closed it leaves the book.
    fn end(&self, call: &CallId, reason: EndReason, status: CallStatus) {
        let (news, port) = self.book(|book| {
            let port = book.find(call).map_or(0, |entry| entry.port);
            (book.ended(call, clock::wall(), reason, status), port)
        });
        if news
            && !self
                .ports
                .get(port)
                .is_some_and(|port| port.hang_up(call.clone()))
        {
            tracing::error!(%call, "the media thread does not take the hang-up; last lines are lost");
            self.book(|book| book.closed(call, clock::wall(), Vec::new()));
        }
    }

    fn port_of(&self, call: &CallId) -> Option<usize> {
        self.book(|book| book.open_entry(call).map(|entry| entry.port))
    }

    /// Works on the book and passes on what the store must be told.
    fn book<T>(&self, work: impl FnOnce(&mut CallBook) -> T) -> T {
        let mut book = lock(&self.book);
        let result = work(&mut book);
        // Under the lock, so that the store hears of a call in the order in which it happened.
        for write in book.take_writes() {
            if let Err(error) = self.writer.write(write) {
                tracing::error!(%error, "a change of a call is not stored");
            }
        }
        result
    }
}

/// The data is valid after every statement that changes it, whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
