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
//!
//! A party is looked at before it is hung up, and before anything is asked again of it: see
//! [`party_look`](super::party_look).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Deserialize as _;
use serde_json::Value;
use tracing::{debug, warn};

use super::io::{CommandKind, ControlNotice, ObjectKind, RequestFailure};
use super::party_look::PartyIdentity;
use super::{CallControl, LinkState, RequestPurpose};
use crate::model::{AriChannel, StasisApplication};
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
    pub(super) action: TeardownAction,
    rank: TeardownRank,
    group: u64,
    /// Whose channel it is, by which another of its id is told from it.
    pub(super) identity: PartyIdentity,
    state: TeardownState,
    attempts: u32,
    /// Asterisk has granted an attempt.
    granted: bool,
    /// The object belonged to nobody; its end is told.
    orphan: bool,
    /// The call whose `Hangup` command waits for this.
    pub(super) hangup: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TeardownState {
    /// Its creation is not answered yet.
    Unsettled,
    Ready,
    /// The connection broke since: what became of the object is not known.
    Doubtful,
    /// A party is being looked at, for it must be the one that was meant.
    Looking,
    Asked {
        /// The object entered the application since: the answer proves nothing.
        entered_since: bool,
    },
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
            identity: PartyIdentity::default(),
            state: TeardownState::Ready,
            attempts: 0,
            granted: false,
            orphan: false,
            hangup: None,
        }
    }

    pub(super) fn of(mut self, identity: PartyIdentity) -> Self {
        self.identity = identity;
        self
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

    pub(super) fn is_looking(&self) -> bool {
        self.state == TeardownState::Looking
    }

    /// Whether the object is to be looked at before it is asked for its removal.
    fn needs_look(&self) -> bool {
        let is_repeated = matches!(
            self.state,
            TeardownState::Doubtful | TeardownState::Backoff(_)
        );
        self.rank == TeardownRank::Party && (self.action == TeardownAction::Delete || is_repeated)
    }

    pub(super) fn for_hangup(mut self, call: &str) -> Self {
        self.hangup = Some(call.to_owned());
        self
    }
}

impl CallControl {
    pub(super) fn remove(&mut self, object: AriObject, removal: ObjectTeardown) {
        debug!(?object, ?removal.action, removal.group, removal.orphan, "to be removed");
        if let AriObject::Channel(id) = &object
            && (removal.action, removal.rank) == (TeardownAction::Delete, TeardownRank::Party)
        {
            self.remember_unwanted(id);
        }
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
            && let TeardownState::Asked { entered_since } = &mut removal.state
        {
            *entered_since = true;
        }
    }

    /// Asterisk has destroyed a channel, and with it every subscription to it: whatever has the id
    /// from now on is another.
    pub(super) fn removals_destroyed(&mut self, channel: &AriChannel) {
        for object in of_channel(&channel.id) {
            let Some(removal) = self.removals.get_mut(&object) else {
                continue;
            };
            let is_later = removal.identity.is_another(channel);
            // What is being made may be made after this.
            let is_unsettled =
                removal.state == TeardownState::Unsettled && removal.rank != TeardownRank::Party;
            if !is_later && !is_unsettled {
                removal.granted |= matches!(removal.state, TeardownState::Asked { .. });
                self.finish_removal(&object);
            }
        }
    }

    /// A channel is there whose id may have been another's before, which then is gone.
    pub(super) fn drop_removals_of_former(&mut self, channel: &AriChannel) {
        for object in of_channel(&channel.id) {
            let removal = self.removals.get(&object);
            if removal.is_some_and(|removal| removal.identity.is_another(channel)) {
                debug!(?object, "its id is another channel's by now");
                self.finish_removal(&object);
            }
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
                TeardownState::Ready | TeardownState::Doubtful => true,
                TeardownState::Backoff(at) | TeardownState::Leaving(at) => at <= now,
                TeardownState::Unsettled | TeardownState::Looking | TeardownState::Asked { .. } => {
                    false
                }
            })
            .map(|(object, _)| object.clone())
            .collect();
        for object in due {
            self.go_on_with_removal(object, now);
        }
    }

    fn go_on_with_removal(&mut self, object: AriObject, now: Instant) {
        let removal = self.removals.get_mut(&object);
        match (&object, removal.filter(|removal| removal.needs_look())) {
            (AriObject::Channel(id), Some(removal)) => {
                removal.state = TeardownState::Looking;
                self.look_at_party(id, now);
            }
            _ => self.ask_removal(object, now),
        }
    }

    pub(super) fn ask_removal(&mut self, object: AriObject, now: Instant) {
        let Some(removal) = self.removals.get_mut(&object) else {
            return;
        };
        removal.state = TeardownState::Asked {
            entered_since: false,
        };
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
        is_heard: bool,
        now: Instant,
    ) {
        let Some(removal) = self.removals.get_mut(object) else {
            return;
        };
        let gone = match &result {
            Ok(()) => !is_heard,
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
        let is_back = removal.state
            == TeardownState::Asked {
                entered_since: true,
            };
        let is_leaving = result.is_ok() && removal.leaves_slowly();
        if gone && !is_back && !is_leaving {
            self.finish_removal(object);
        } else if is_leaving && removal.attempts + 1 < ATTEMPTS {
            removal.attempts += 1;
            removal.state = TeardownState::Leaving(now + LEAVING * removal.doubled());
        } else {
            self.removal_failed(object, &result, now);
        }
    }

    /// Whether the application still hears of a channel that it was unsubscribed from, and has no
    /// reason to. Asterisk counts subscriptions: a server before us had its own, and one that
    /// broke off was asked for twice.
    pub(super) fn is_still_heard(
        &self,
        object: &AriObject,
        result: &Result<Value, RequestFailure>,
    ) -> bool {
        let (AriObject::Subscription(id), Ok(answer)) = (object, result) else {
            return false;
        };
        let is_wanted = self.calls.contains_key(id)
            || self.calls.values().any(|call| call.peer.is_to(id))
            || (self.removals).contains_key(&AriObject::Channel(id.clone()));
        let application = StasisApplication::deserialize(answer).unwrap_or_default();
        !is_wanted && application.channel_ids.contains(id)
    }

    /// An attempt came to nothing: another is made, or it is given up.
    pub(super) fn removal_failed(
        &mut self,
        object: &AriObject,
        result: &Result<(), RequestFailure>,
        now: Instant,
    ) {
        let Some(removal) = self.removals.get_mut(object) else {
            return;
        };
        removal.attempts += 1;
        if removal.attempts >= ATTEMPTS {
            self.abandon_removal(object, result, now);
        } else {
            removal.state = TeardownState::Backoff(now + BACKOFF * removal.doubled());
            self.stats.retries += 1;
        }
    }

    /// Drops a removal, and the answers that it waits for.
    pub(super) fn take_removal(&mut self, object: &AriObject) -> Option<ObjectTeardown> {
        let removal = self.removals.remove(object)?;
        self.pending.retain(|_, pending| match &pending.purpose {
            RequestPurpose::Remove(removed) => removed != object,
            RequestPurpose::PartyLook(id) => {
                !matches!(object, AriObject::Channel(channel) if channel == id)
            }
            _ => true,
        });
        Some(removal)
    }

    pub(super) fn finish_removal(&mut self, object: &AriObject) {
        let Some(removal) = self.take_removal(object) else {
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
        let Some(removal) = self.take_removal(object) else {
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
            removal.state = TeardownState::Doubtful;
            removal.attempts = 0;
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
                TeardownState::Unsettled
                | TeardownState::Ready
                | TeardownState::Doubtful
                | TeardownState::Looking
                | TeardownState::Asked { .. } => None,
            })
            .min()
    }
}

/// Objects that may have to be removed under a channel's id.
fn of_channel(id: &str) -> [AriObject; 2] {
    [
        AriObject::Channel(id.to_owned()),
        AriObject::Subscription(id.to_owned()),
    ]
}
