//! The door: lets connections in, puts out for a newcomer those that only keep a place, and knows what
//! each of them is at. Who has to go is decided by `register`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use asterscribe_clock as clock;
use axum::Router;
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Notify;

use super::register::{
    ConnectionAdmission, ConnectionBounds, ConnectionId, ConnectionRegister, party,
};
use super::tally::RefusalTally;
use crate::metrics::{MetricFamily, MetricValues};

/// Reason why closed a connection to make room for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EvictionReason {
    /// The connection kept a place that a newcomer needed.
    PlaceNeeded,
    /// The connection took too little of an answer, and others needed the memory.
    MemoryNeeded,
    /// All those of its address were being served.
    AddressFull,
}

impl EvictionReason {
    const NAMES: [&'static str; 3] = ["place_needed", "memory_needed", "address_full"];
}

/// The door of one server.
#[derive(Debug)]
pub(super) struct ConnectionDoor {
    register: Mutex<ConnectionRegister>,
    /// Signal that a connection has gone, or begun to wait.
    changed: Notify,
    leave: Mutex<HashMap<ConnectionId, Arc<Notify>>>,
    given_up: Arc<RefusalTally>,
}

/// The answer that the door gives a newcomer.
#[derive(Debug)]
pub(super) enum DoorEntry {
    /// The connection is in.
    In(ConnectionPresence),
    /// The connection has to wait for a change, or so long.
    Wait(Option<Duration>),
    /// The connection has to go.
    Refused,
}

impl ConnectionDoor {
    pub(super) fn new(bounds: ConnectionBounds) -> Arc<Self> {
        Arc::new(Self {
            register: Mutex::new(ConnectionRegister::new(bounds)),
            changed: Notify::new(),
            leave: Mutex::default(),
            given_up: RefusalTally::new("connections given up", EvictionReason::NAMES.into_iter()),
        })
    }

    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> DoorEntry {
        let now = clock::now();
        match self.register().admit(address, now) {
            ConnectionAdmission::Enters(id) => {
                let leave = Arc::new(Notify::new());
                lock(&self.leave).insert(id, Arc::clone(&leave));
                let visit = ConnectionVisit {
                    door: Arc::clone(self),
                    id,
                    party: party(address),
                };
                DoorEntry::In(ConnectionPresence { visit, leave })
            }
            ConnectionAdmission::After(gone) => {
                for id in gone {
                    self.tell_to_leave(id, EvictionReason::PlaceNeeded);
                }
                DoorEntry::Wait(None)
            }
            ConnectionAdmission::NotBefore(then) => {
                DoorEntry::Wait(Some(then.saturating_duration_since(now)))
            }
            ConnectionAdmission::Later => DoorEntry::Wait(None),
            ConnectionAdmission::Refused => {
                self.count(EvictionReason::AddressFull);
                DoorEntry::Refused
            }
        }
    }

    /// Waits until it is worth asking again.
    pub(super) async fn changes(&self, at_most: Option<Duration>) {
        let changed = self.changed.notified();
        match at_most {
            Some(time) => drop(tokio::time::timeout(time, changed).await),
            None => changed.await,
        }
    }

    fn tell_to_leave(&self, id: ConnectionId, why: EvictionReason) {
        if let Some(leave) = lock(&self.leave).get(&id) {
            leave.notify_one();
        }
        self.count(why);
    }

    fn count(&self, why: EvictionReason) {
        if self.given_up.count(why as usize) {
            let reason = EvictionReason::NAMES[why as usize];
            tracing::info!(reason, "closed a connection to make room for others");
        }
    }

    fn register(&self) -> MutexGuard<'_, ConnectionRegister> {
        lock(&self.register)
    }

    /// Figures of the connections.
    pub(super) fn figures(&self) -> [MetricFamily; 2] {
        [
            MetricFamily {
                name: "http_connections",
                help: "Connections to the API",
                values: MetricValues::Gauge(self.register().count() as f64),
            },
            MetricFamily {
                name: "http_connections_given_up",
                help: "Connections that were closed for the sake of others, by the reason",
                values: MetricValues::Counters("reason", self.given_up.counts()),
            },
        ]
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPresence {
    pub(super) visit: ConnectionVisit,
    leave: Arc<Notify>,
}

impl ConnectionPresence {
    /// Waits until the connection is told to go.
    pub(super) async fn is_told_to_go(&self) {
        self.leave.notified().await;
    }

    /// Whether it has to go: it has not asked anything since it was told.
    pub(super) fn has_to_go(&self) -> bool {
        let ConnectionVisit { door, id, .. } = &self.visit;
        door.register().leaves(*id)
    }
}

impl Drop for ConnectionPresence {
    fn drop(&mut self) {
        let ConnectionVisit { door, id, .. } = &self.visit;
        lock(&door.leave).remove(id);
        door.register().left(*id);
        door.changed.notify_one();
    }
}

/// One connection, as those see it who serve it; an extension of its requests.
#[derive(Debug, Clone)]
pub(super) struct ConnectionVisit {
    door: Arc<ConnectionDoor>,
    id: ConnectionId,
    party: IpAddr,
}

impl ConnectionVisit {
    /// The address, or the network, that it comes from.
    pub(super) fn party(&self) -> IpAddr {
        self.party
    }

    /// The door that it came through.
    pub(super) fn door(&self) -> &ConnectionDoor {
        &self.door
    }

    /// A request of the connection has arrived.
    fn begins(&self) {
        self.door.register().begins(self.id);
        // It may have been the one that was to go.
        self.door.changed.notify_one();
    }

    /// The answer to the request has been handed over.
    fn ends(&self) {
        self.door.register().ends(self.id, clock::now());
        self.door.changed.notify_one();
    }

    /// The connection keeps the server waiting from now on, for the rest of its request or for taking the answer.
    pub(super) fn waits(&self) {
        self.door.register().waits(self.id, clock::now());
        self.door.changed.notify_one();
    }

    /// The connection no longer keeps the server waiting.
    pub(super) fn goes_on(&self) {
        self.door.register().goes_on(self.id);
    }

    /// The connection has shown that it may use the API.
    pub(super) fn is_known(&self) {
        self.door.register().is_known(self.id);
    }

    /// Puts the connection out if it keeps the server waiting; `true` if so.
    pub(super) fn put_out(&self) -> bool {
        let goes = self.door.register().put_out(self.id);
        if goes {
            self.door
                .tell_to_leave(self.id, EvictionReason::MemoryNeeded);
        }
        goes
    }
}

/// The router, which says at the door when it is at work for a connection.
#[derive(Debug, Clone)]
pub(super) struct AttendedRouter {
    router: TowerToHyperService<Router>,
    visit: ConnectionVisit,
}

impl AttendedRouter {
    pub(super) fn new(router: Router, visit: ConnectionVisit) -> Self {
        Self {
            router: TowerToHyperService::new(router),
            visit,
        }
    }

    pub(super) fn visit(&self) -> &ConnectionVisit {
        &self.visit
    }
}

impl Service<Request<Incoming>> for AttendedRouter {
    type Response = Response<DoorAnswer>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let visit = self.visit.clone();
        visit.begins();
        request.extensions_mut().insert(visit.clone());
        let router = self.router.clone();
        Box::pin(async move {
            let response = router.call(request).await?;
            Ok(response.map(|body| DoorAnswer { body, visit }))
        })
    }
}

/// An answer on its way; when it has been taken whole, the connection waits for its next request.
#[derive(Debug)]
pub(super) struct DoorAnswer {
    body: Body,
    visit: ConnectionVisit,
}

impl HttpBody for DoorAnswer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for DoorAnswer {
    fn drop(&mut self) {
        self.visit.ends();
    }
}
