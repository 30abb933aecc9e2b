//! The door: lets connections in, puts out for a newcomer those that only keep a place, and knows what
//! each of them is at. Who has to go is decided by `register`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Notify;

use super::register::{Admission, Bounds, Id, Register, party};
use super::tally::Tally;
use crate::clock;
use crate::metrics::{Metric, Values};

/// Why a connection is given up for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    /// It kept a place that a newcomer needed.
    PlaceNeeded,
    /// It took too little of an answer, and others needed the memory.
    MemoryNeeded,
    /// All those of its address were being served.
    AddressFull,
}

impl Given {
    const NAMES: [&'static str; 3] = ["place_needed", "memory_needed", "address_full"];
}

/// The door of one server.
#[derive(Debug)]
pub(super) struct Door {
    register: Mutex<Register>,
    /// Somebody has gone, or begun to wait.
    changed: Notify,
    leave: Mutex<HashMap<Id, Arc<Notify>>>,
    given_up: Arc<Tally>,
}

/// What a newcomer is told.
#[derive(Debug)]
pub(super) enum Entry {
    /// It is in.
    In(Presence),
    /// It has to wait for a change, or so long.
    Wait(Option<Duration>),
    /// It has to go.
    Refused,
}

impl Door {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            register: Mutex::new(Register::new(bounds)),
            changed: Notify::new(),
            leave: Mutex::default(),
            given_up: Tally::new("connections given up", Given::NAMES.into_iter()),
        })
    }

    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Entry {
        let now = clock::now();
        match self.register().admit(address, now) {
            Admission::Enters(id) => {
                let leave = Arc::new(Notify::new());
                lock(&self.leave).insert(id, Arc::clone(&leave));
                let visit = Visit {
                    door: Arc::clone(self),
                    id,
                    party: party(address),
                };
                Entry::In(Presence { visit, leave })
            }
            Admission::After(gone) => {
                for id in gone {
                    self.tell_to_leave(id, Given::PlaceNeeded);
                }
                Entry::Wait(None)
            }
            Admission::NotBefore(then) => Entry::Wait(Some(then.saturating_duration_since(now))),
            Admission::Later => Entry::Wait(None),
            Admission::Refused => {
                self.count(Given::AddressFull);
                Entry::Refused
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

    fn tell_to_leave(&self, id: Id, why: Given) {
        if let Some(leave) = lock(&self.leave).get(&id) {
            leave.notify_one();
        }
        self.count(why);
    }

    fn count(&self, why: Given) {
        if self.given_up.count(why as usize) {
            let reason = Given::NAMES[why as usize];
            tracing::info!(reason, "a connection is given up for others");
        }
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        lock(&self.register)
    }

    /// Figures of the connections.
    pub(super) fn figures(&self) -> [Metric; 2] {
        [
            Metric {
                name: "http_connections",
                help: "Connections to the API",
                values: Values::Gauge(self.register().count() as f64),
            },
            Metric {
                name: "http_connections_given_up",
                help: "Connections that were closed for the sake of others, by the reason",
                values: Values::Counters("reason", self.given_up.counts()),
            },
        ]
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Presence {
    pub(super) visit: Visit,
    leave: Arc<Notify>,
}

impl Presence {
    /// Ends when the connection is told to go.
    pub(super) async fn is_told_to_go(&self) {
        self.leave.notified().await;
    }

    /// Whether it has to go: it has not asked anything since it was told.
    pub(super) fn has_to_go(&self) -> bool {
        let Visit { door, id, .. } = &self.visit;
        door.register().leaves(*id)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let Visit { door, id, .. } = &self.visit;
        lock(&door.leave).remove(id);
        door.register().left(*id);
        door.changed.notify_one();
    }
}

/// One connection, as those see it who serve it; an extension of its requests.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    door: Arc<Door>,
    id: Id,
    party: IpAddr,
}

impl Visit {
    /// The address, or the network, that it comes from.
    pub(super) fn party(&self) -> IpAddr {
        self.party
    }

    /// The door that it came through.
    pub(super) fn door(&self) -> &Door {
        &self.door
    }

    /// A request of its has come.
    fn begins(&self) {
        self.door.register().begins(self.id);
        // It may have been the one that was to go.
        self.door.changed.notify_one();
    }

    /// The answer to it has been handed over.
    fn ends(&self) {
        self.door.register().ends(self.id, clock::now());
        self.door.changed.notify_one();
    }

    /// It keeps the server waiting from now on, for the rest of its request or for taking the answer.
    pub(super) fn waits(&self) {
        self.door.register().waits(self.id, clock::now());
        self.door.changed.notify_one();
    }

    /// It does not any more.
    pub(super) fn goes_on(&self) {
        self.door.register().goes_on(self.id);
    }

    /// It has asked something that it may ask.
    pub(super) fn is_known(&self) {
        self.door.register().is_known(self.id);
    }

    /// It is to go if it keeps the server waiting; whether it is.
    pub(super) fn put_out(&self) -> bool {
        let goes = self.door.register().put_out(self.id);
        if goes {
            self.door.tell_to_leave(self.id, Given::MemoryNeeded);
        }
        goes
    }
}

/// The router, which says at the door when it is at work for a connection.
#[derive(Debug, Clone)]
pub(super) struct Attended {
    router: TowerToHyperService<Router>,
    visit: Visit,
}

impl Attended {
    pub(super) fn new(router: Router, visit: Visit) -> Self {
        Self {
            router: TowerToHyperService::new(router),
            visit,
        }
    }

    pub(super) fn visit(&self) -> &Visit {
        &self.visit
    }
}

impl Service<Request<Incoming>> for Attended {
    type Response = Response<Answer>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let visit = self.visit.clone();
        visit.begins();
        request.extensions_mut().insert(visit.clone());
        let router = self.router.clone();
        Box::pin(async move {
            let response = router.call(request).await?;
            Ok(response.map(|body| Answer { body, visit }))
        })
    }
}

/// An answer on its way; when it has been taken whole, the connection waits for its next request.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    visit: Visit,
}

impl HttpBody for Answer {
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

impl Drop for Answer {
    fn drop(&mut self) {
        self.visit.ends();
    }
}
