//! Taking things down: in one order, again and again until it is done.
//!
//! What belongs together is a group. Within it a rank begins only when the one before is
//! through: the party, media channels, snoops, bridges, subscriptions. Asterisk has been
//! seen to stumble over other orders (its issue 1715). An object whose creation is still
//! unanswered is waited for, because a DELETE that overtakes the POST finds nothing.
//!
//! Asterisk grants the DELETE of a channel when it has asked the channel to hang up. Media
//! channels and Snoops of ours count as gone only once that is done: a process that starts
//! meanwhile would find them listed, and take them for a tap that goes on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::io::{CommandKind, ControlNotice, ObjectKind, RequestFailure};
use super::{CallControl, LinkState, RequestPurpose};
use crate::request::AriRequest;

/// Attempts before a removal is left to the next listing.
const ATTEMPTS: u32 = 6;
/// Pause after the first failed attempt; doubles.
const BACKOFF: Duration = Duration::from_millis(200);
/// How long a channel may take to hang up before its DELETE is sent again, to see whether
/// there still is one: nobody may have told us. Doubles.
const LEAVING: Duration = Duration::from_millis(250);

/// Something in Asterisk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AriObject {
    Channel(String),
    Bridge(String),
    /// Our subscription to a channel that is not ours.
    Subscription(String),
}

/// The action by which an object is taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TeardownAction {
    Delete,
    /// A caller's channel goes on in its dialplan.
    Continue,
}

/// Place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TeardownRank {
    Party,
    Media,
    Snoop,
    Bridge,
    Subscription,
}

#[derive(Debug)]
pub(super) struct ObjectTeardown {
    action: TeardownAction,
    rank: TeardownRank,
    group: u64,
    state: TeardownState,
    attempts: u32,
    /// Asterisk has granted it.
    granted: bool,
    /// Asterisk has told that the channel is gone.
    destroyed: bool,
    /// The object belonged to nobody; its end is told.
    orphan: bool,
    /// The call whose `Hangup` command waits for this.
    pub(super) hangup: Option<String>,
    /// The object turned up (again) while its removal was under way.
    again: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TeardownState {
    /// Its creation is not answered yet.
    Unsettled,
    Ready,
    Asked,
    /// Asterisk hangs it up; asked again at that time.
    Leaving(Instant),
    Backoff(Instant),
}

impl ObjectTeardown {
    pub(super) fn new(action: TeardownAction, rank: TeardownRank, group: u64) -> Self {
        Self {
            action,
            rank,
            group,
            state: TeardownState::Ready,
            attempts: 0,
            granted: false,
            destroyed: false,
            orphan: false,
            hangup: None,
            again: false,
        }
    }

    pub(super) fn orphan(mut self) -> Self {
        self.orphan = true;
        self
    }

    pub(super) fn in_group(mut self, group: u64) -> Self {
        self.group = group;
        self
    }

    /// Factor of pauses after so many attempts.
    fn doubled(&self) -> u32 {
        2u32.saturating_pow(self.attempts.saturating_sub(1))
    }

    /// Whether Asterisk goes on removing it after it has granted that.
    fn leaves_slowly(&self) -> bool {
        self.action == TeardownAction::Delete
            && matches!(self.rank, TeardownRank::Media | TeardownRank::Snoop)
    }

    pub(super) fn for_hangup(mut self, call: &str) -> Self {
        self.hangup = Some(call.to_owned());
        self
    }
}

impl CallControl {
    pub(super) fn remove(&mut self, object: AriObject, removal: ObjectTeardown) {
        debug!(?object, ?removal.action, removal.group, removal.orphan, "to be removed");
        self.removals.entry(object).or_insert(removal);
    }

    /// Its creation is under way: wait for that answer first.
    pub(super) fn removal_unsettled(&mut self, object: &AriObject) {
        if let Some(removal) = self.removals.get_mut(object) {
            removal.state = TeardownState::Unsettled;
        }
    }

    /// Its creation has been answered, one way or the other.
    pub(super) fn removal_settled(&mut self, object: &AriObject) {
        if let Some(removal) = self.removals.get_mut(object)
            && removal.state == TeardownState::Unsettled
        {
            removal.state = TeardownState::Ready;
        }
    }

    /// The object was seen entering the application: an answer to an earlier attempt proves
    /// nothing.
    pub(super) fn removal_seen(&mut self, object: &AriObject) {
        if let Some(removal) = self.removals.get_mut(object)
            && removal.state == TeardownState::Asked
        {
            removal.again = true;
        }
    }

    /// Asterisk has destroyed a channel.
    pub(super) fn removal_destroyed(&mut self, object: &AriObject) {
        let Some(removal) = self.removals.get_mut(object) else {
            return;
        };
        match removal.state {
            TeardownState::Leaving(_) => self.finish_removal(object),
            // The answer is on its way.
            TeardownState::Asked => removal.destroyed = true,
            TeardownState::Unsettled | TeardownState::Ready | TeardownState::Backoff(_) => {}
        }
    }

    /// Sends what may be sent now. While Asterisk is not heard only a stop goes on.
    pub(super) fn pump_removals(&mut self, now: Instant) {
        if matches!(self.link, LinkState::Down) && !self.stopping {
            return;
        }
        let mut begun: BTreeSet<(u64, TeardownRank)> = BTreeSet::new();
        for removal in self.removals.values() {
            begun.insert((removal.group, removal.rank));
        }
        let first = |group: u64| {
            begun
                .range((group, TeardownRank::Party)..)
                .next()
                .map(|(_, rank)| *rank)
        };
        let due: Vec<AriObject> = self
            .removals
            .iter()
            .filter(|(_, r)| first(r.group) == Some(r.rank))
            .filter(|(_, r)| match r.state {
                TeardownState::Ready => true,
                TeardownState::Backoff(at) | TeardownState::Leaving(at) => at <= now,
                TeardownState::Unsettled | TeardownState::Asked => false,
            })
            .map(|(object, _)| object.clone())
            .collect();
        for object in due {
            self.ask_removal(object, now);
        }
    }

    fn ask_removal(&mut self, object: AriObject, now: Instant) {
        let Some(removal) = self.removals.get_mut(&object) else {
            return;
        };
        removal.state = TeardownState::Asked;
        removal.attempts += 1;
        removal.again = false;
        removal.destroyed = false;
        let request = match (&object, removal.action) {
            (AriObject::Channel(id), TeardownAction::Delete) => AriRequest::DeleteChannel {
                channel: id.clone(),
            },
            (AriObject::Channel(id), TeardownAction::Continue) => AriRequest::Continue {
                channel: id.clone(),
            },
            (AriObject::Bridge(id), _) => AriRequest::DeleteBridge { bridge: id.clone() },
            (AriObject::Subscription(id), _) => AriRequest::Unsubscribe {
                app: self.config.app.clone(),
                channel: id.clone(),
            },
        };
        self.send(request, RequestPurpose::Remove(object), now);
    }

    pub(super) fn on_removal_reply(
        &mut self,
        object: &AriObject,
        result: Result<(), RequestFailure>,
        now: Instant,
    ) {
        let Some(removal) = self.removals.get_mut(object) else {
            return;
        };
        let gone = match &result {
            Ok(()) => true,
            Err(RequestFailure::Refused { status: 404, .. }) => true,
            // Not in our application any more: there is nothing to continue or to unsubscribe.
            Err(RequestFailure::Refused { status, .. }) => {
                matches!(status, 400..=499)
                    && (removal.action == TeardownAction::Continue
                        || removal.rank == TeardownRank::Subscription)
            }
            Err(_) => false,
        };
        removal.granted |= result.is_ok();
        let is_leaving = result.is_ok() && removal.leaves_slowly() && !removal.destroyed;
        if gone && !removal.again && !is_leaving {
            self.finish_removal(object);
        } else if removal.attempts >= ATTEMPTS {
            self.abandon_removal(object, &result, now);
        } else if is_leaving {
            removal.state = TeardownState::Leaving(now + LEAVING * removal.doubled());
        } else {
            removal.state = TeardownState::Backoff(now + BACKOFF * removal.doubled());
            self.stats.retries += 1;
        }
    }

    fn finish_removal(&mut self, object: &AriObject) {
        let Some(removal) = self.removals.remove(object) else {
            return;
        };
        debug!(?object, removal.granted, "removed");
        if removal.orphan && removal.granted {
            self.stats.reaped += 1;
            let (kind, id) = match object {
                AriObject::Bridge(id) => (ObjectKind::Bridge, id),
                AriObject::Channel(id) | AriObject::Subscription(id) => (ObjectKind::Channel, id),
            };
            self.notice(ControlNotice::Reaped {
                kind,
                id: id.clone(),
            });
        }
        if let Some(call) = removal.hangup {
            self.notice(ControlNotice::CommandAccepted {
                command: CommandKind::Hangup,
                call,
            });
        }
    }

    fn abandon_removal(
        &mut self,
        object: &AriObject,
        result: &Result<(), RequestFailure>,
        now: Instant,
    ) {
        let Some(removal) = self.removals.remove(object) else {
            return;
        };
        warn!(
            ?object,
            ?result,
            "could not be removed; left to the next listing"
        );
        self.stats.abandoned += 1;
        self.audit_soon(now);
        if let Some(call) = removal.hangup {
            let (status, message) = match result {
                Err(failure) => (failure.status(), failure.to_string()),
                Ok(()) => (None, "the channel does not end".to_owned()),
            };
            self.notice(ControlNotice::CommandRefused {
                command: CommandKind::Hangup,
                call,
                status,
                message,
            });
        }
    }

    /// The connection broke: nothing was answered, and attempts made so far do not count.
    pub(super) fn suspend_removals(&mut self) {
        for removal in self.removals.values_mut() {
            removal.state = TeardownState::Ready;
            removal.attempts = 0;
            removal.again = false;
        }
    }

    pub(super) fn group_is_done(&self, group: u64) -> bool {
        self.removals.values().all(|removal| removal.group != group)
    }

    pub(super) fn next_removal_at(&self) -> Option<Instant> {
        if matches!(self.link, LinkState::Down) && !self.stopping {
            return None;
        }
        self.removals
            .values()
            .filter_map(|removal| match removal.state {
                TeardownState::Backoff(at) | TeardownState::Leaving(at) => Some(at),
                TeardownState::Unsettled | TeardownState::Ready | TeardownState::Asked => None,
            })
            .min()
    }
}
