//! Requests under way, and what becomes of one whose connection breaks under it.
//!
//! Asterisk closes idle connections and turns connections away beyond its limit, so a request
//! may break off at any time, carried out or not. It is asked again, which does no harm where the
//! ids are ours; removals of channels are tried again by themselves (`teardown`). Where the second attempt to make something is refused, it is looked whether the
//! first one made it.

use std::time::{Duration, Instant};

use serde_json::Value;
use tracing::debug;

use super::io::{ControlOutput, RequestFailure, RequestId};
use super::teardown::AriObject;
use super::{CallControl, RequestPurpose};
use crate::request::AriRequest;

/// Attempts at a request.
const ATTEMPTS: u32 = 4;
/// Pause before the second repetition, doubling; the first comes at once, for a connection that
/// was closed as idle says nothing about the next.
const PAUSE: Duration = Duration::from_millis(150);

/// A request until its outcome is known.
#[derive(Debug)]
pub(super) struct PendingRequest {
    pub(super) purpose: RequestPurpose,
    pub(super) deadline: Instant,
    /// The request to Asterisk; `None` where the call manager answers instead of Asterisk.
    request: Option<AriRequest>,
    attempt: RequestAttempt,
}

#[derive(Debug)]
enum RequestAttempt {
    /// The request is on its way, after `broken` attempts whose connection broke.
    Asked { broken: u32 },
    /// `broken` attempts in a row lost their connection; the next one is due at `at`.
    Due { broken: u32, at: Instant },
    /// Asterisk refused a repetition, and a look-up is on its way, number `looks`, of whether the
    /// attempt that broke off was carried out after all.
    Checking { refusal: RequestFailure, looks: u32 },
}

impl PendingRequest {
    fn new(purpose: RequestPurpose, deadline: Instant, request: Option<AriRequest>) -> Self {
        let attempt = RequestAttempt::Asked { broken: 0 };
        Self {
            purpose,
            deadline,
            request,
            attempt,
        }
    }

    /// Time of the next attempt, while one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.attempt {
            RequestAttempt::Due { at, .. } => Some(at),
            RequestAttempt::Asked { .. } | RequestAttempt::Checking { .. } => None,
        }
    }
}

impl RequestPurpose {
    /// Whether a request that broke off is asked again as it was.
    fn may_be_repeated(&self) -> bool {
        match self {
            // Nobody wants it any more.
            Self::Settle(_) => false,
            // Its id may be another's by then; the removal itself tries again, and looks first.
            Self::Remove(AriObject::Channel(_)) => false,
            _ => true,
        }
    }
}

impl CallControl {
    pub(super) fn send(&mut self, request: AriRequest, purpose: RequestPurpose, now: Instant) {
        let id = self.enter_pending(purpose, Some(request.clone()), now);
        self.put(id, request);
    }

    /// Enters a question to somebody else than Asterisk; its answer, or its time-out, is to be
    /// given back with this id.
    pub(super) fn await_answer(&mut self, purpose: RequestPurpose, now: Instant) -> RequestId {
        self.enter_pending(purpose, None, now)
    }

    fn enter_pending(
        &mut self,
        purpose: RequestPurpose,
        request: Option<AriRequest>,
        now: Instant,
    ) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        let deadline = now + self.config.request_timeout;
        let pending = PendingRequest::new(purpose, deadline, request);
        self.pending.insert(id, pending);
        id
    }

    fn put(&mut self, id: RequestId, request: AriRequest) {
        self.stats.requests += 1;
        debug!(?id, ?request, "asked");
        self.out.push_back(ControlOutput::Send { id, request });
    }

    pub(super) fn on_reply(
        &mut self,
        id: RequestId,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        let Some(pending) = self.pending.remove(&id) else {
            debug!(?id, "answer that nobody waits for");
            return;
        };
        let request = pending.request.clone();
        let request = request.filter(|_| pending.purpose.may_be_repeated());
        let result = match (&pending.attempt, result) {
            (RequestAttempt::Asked { broken }, Err(RequestFailure::Unreachable(text))) => {
                let broken = broken + 1;
                match request.filter(|_| broken < ATTEMPTS && self.is_connected()) {
                    Some(request) => {
                        debug!(?id, text, broken, "broke off; asked again");
                        self.stats.retries += 1;
                        return self.repeat(id, pending, request, broken, now);
                    }
                    None => Err(RequestFailure::Unreachable(text)),
                }
            }
            (RequestAttempt::Asked { broken: 1.. }, Err(refusal)) => {
                let look = request.and_then(|request| look_for(&request, &refusal));
                match look {
                    Some(look) => return self.check(id, pending, look, refusal, 1),
                    None => Err(refusal),
                }
            }
            (RequestAttempt::Checking { refusal, looks }, Err(failure)) => {
                let (refusal, looks) = (refusal.clone(), looks + 1);
                let broke = matches!(failure, RequestFailure::Unreachable(_)) && looks <= ATTEMPTS;
                let look = request.and_then(|request| look_for(&request, &refusal));
                match look.filter(|_| broke && self.is_connected()) {
                    Some(look) => return self.check(id, pending, look, refusal, looks),
                    None => Err(refusal),
                }
            }
            (_, result) => result,
        };
        self.settle_reply(pending.purpose, result, now);
    }

    fn check(
        &mut self,
        id: RequestId,
        mut pending: PendingRequest,
        look: AriRequest,
        refusal: RequestFailure,
        looks: u32,
    ) {
        pending.attempt = RequestAttempt::Checking { refusal, looks };
        self.pending.insert(id, pending);
        self.put(id, look);
    }

    fn repeat(
        &mut self,
        id: RequestId,
        mut pending: PendingRequest,
        request: AriRequest,
        broken: u32,
        now: Instant,
    ) {
        if broken == 1 {
            pending.attempt = RequestAttempt::Asked { broken };
            self.pending.insert(id, pending);
            self.put(id, request);
        } else {
            let at = now + PAUSE * 2u32.saturating_pow(broken - 2);
            pending.attempt = RequestAttempt::Due { broken, at };
            self.pending.insert(id, pending);
        }
    }

    /// Sends again every request whose next attempt is due.
    pub(super) fn repeat_requests(&mut self, now: Instant) {
        let due: Vec<RequestId> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.due().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(pending) = self.pending.get_mut(&id) else {
                continue;
            };
            let is_wanted = pending.purpose.may_be_repeated();
            match (&pending.attempt, pending.request.clone()) {
                (RequestAttempt::Due { broken, .. }, Some(request)) if is_wanted => {
                    let broken = *broken;
                    pending.attempt = RequestAttempt::Asked { broken };
                    self.put(id, request);
                }
                // Nobody wants it any more, and nothing is on its way.
                _ => {
                    let broke = RequestFailure::Unreachable("it broke off".to_owned());
                    if let Some(PendingRequest { purpose, .. }) = self.pending.remove(&id) {
                        self.settle_reply(purpose, Err(broke), now);
                    }
                }
            }
        }
    }
}

/// How to see whether something was made, after the second attempt was refused like this.
fn look_for(request: &AriRequest, refusal: &RequestFailure) -> Option<AriRequest> {
    // Releases differ in how they say that there is one of that name.
    if !matches!(refusal.status()?, 400 | 409 | 422 | 500) {
        return None;
    }
    let channel = match request {
        AriRequest::ExternalMedia { channel, .. } => channel,
        AriRequest::Snoop { snoop, .. } => snoop,
        AriRequest::Originate(originate) => &originate.channel,
        AriRequest::CreateBridge { bridge } => {
            let bridge = bridge.clone();
            return Some(AriRequest::GetBridge { bridge });
        }
        _ => return None,
    };
    let channel = channel.clone();
    Some(AriRequest::GetChannel { channel })
}
