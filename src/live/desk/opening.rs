//! A call of Asterisk's begins, or one that was here before goes on.

use std::time::Duration;

use asterscribe_ari::control::CallKind;
use asterscribe_ari::model::AriChannel;
use tokio::time::timeout;

use super::channel::{ChannelLife, non_empty};
use super::pending::AskedCommand;
use super::registry::{CallOpening, CallPast};
use super::roles::{self, CallParties};
use super::{CallManager, lock};
use crate::call::{CallId, CallOrigin, CallStatus, EndReason, LegSides};
use crate::clock;
use crate::store::StoreError;

/// How long the store may take to say whose an id is. Packets that overtake a call wait longer.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long a store is not asked that did not say it.
const REST: Duration = Duration::from_secs(5);

/// Ids that a call is tried under.
pub(super) const MOST_IDS: usize = 64;

/// How a call was opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallOpened {
    pub(super) kind: CallKind,
    pub(super) target: usize,
    pub(super) resumed: bool,
}

/// The owner of a call id in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoredOwner {
    /// The store has no call of that id.
    Nothing,
    /// The call of this very channel.
    Same,
    /// Another call.
    Others,
    /// The store cannot be asked now; that is made up for when it can ([`CallManager::follow_histories`]).
    Unknown,
}

impl CallManager {
    pub(super) async fn call_opened(&self, id: &str, opened: CallOpened, channel: &AriChannel) {
        let CallOpened {
            kind,
            target,
            resumed,
        } = opened;
        let asked = lock(&self.pending).asked(id);
        let is_fresh = kind == CallKind::Initiated && asked.is_some();
        let call = self.name(&ChannelLife::of(channel), is_fresh).await;
        let recognition = asked.as_ref().map(|asked| asked.recognition().clone());
        let named = asked.as_ref().and_then(AskedCommand::sides);
        let here = self.book(|book| book.find(&call)?.record.identity.sides.clone());
        let left = lock(&self.resumable).remove(&call);
        let before = left.as_ref().and_then(|left| left.record.as_ref());
        let recognition = recognition.or_else(|| before.map(|record| record.recognition.clone()));
        // A record of an earlier release has no names; its legs are called like that.
        let known = before.map(|record| record.identity.sides.clone());
        let known = known.map(|sides| sides.unwrap_or_else(LegSides::of_caller));
        let sides = named.or(here).or(known);
        let past = match left {
            Some(history) => CallPast::Known(Box::new(history)),
            // We made its id ourselves, a moment ago.
            None if is_fresh => CallPast::New,
            None => CallPast::Unknown,
        };
        let told = match kind {
            CallKind::Initiated => Some(true),
            CallKind::Stasis | CallKind::Tap => roles::is_called(channel),
        };
        let is_called = told.unwrap_or(false);
        let parties = CallParties::of(channel, is_called);
        let (caller_number, destination) = match asked {
            Some(AskedCommand::Initiate(request)) => {
                (Some(request.caller_number), Some(request.destination))
            }
            _ => (
                non_empty(&parties.caller.number),
                parties.destination.clone(),
            ),
        };
        let mut identity = super::channel::identity(channel);
        parties.enter(&mut identity);
        let is_settled = told.is_some() || sides.is_some();
        identity.sides = sides.or(identity.sides);
        let opening = CallOpening {
            call: call.clone(),
            channel: id.to_owned(),
            origin: match kind {
                CallKind::Stasis => CallOrigin::Stasis,
                CallKind::Initiated => CallOrigin::Initiated,
                CallKind::Tap => CallOrigin::Tap,
            },
            port: target,
            caller_number,
            destination,
            channel_name: non_empty(&channel.name),
            identity,
            undecided: (!is_settled).then(|| Box::new(channel.clone())),
            is_called,
            recognition: recognition.unwrap_or_default(),
            past,
        };
        tracing::info!(%call, ?kind, channel = id, name = channel.name, resumed, "a call has begun");
        if self.open(opening, None) {
            self.book(|book| book.channel_state(&call, clock::now(), channel.state.clone()));
        }
    }

    /// The id under which a channel's call is opened: its own, if it was here before; else the
    /// first that no other call has, here or in the store.
    async fn name(&self, life: &ChannelLife, is_fresh: bool) -> CallId {
        let here = self.book(|book| book.call_of_life(life));
        if let Some(call) = here.or_else(|| self.left_open(life)) {
            return call;
        }
        let mut last = super::channel::call_id(&life.id);
        for id in life.call_ids().take(MOST_IDS) {
            last = id;
            let is_taken = self.book(|book| book.find(&last).is_some())
                || lock(&self.resumable).contains_key(&last);
            if !is_taken && (is_fresh || self.kept_under(&last, life).await != StoredOwner::Others)
            {
                break;
            }
        }
        last
    }

    /// The call that an earlier process left open and whose channel this is.
    fn left_open(&self, life: &ChannelLife) -> Option<CallId> {
        let resumable = lock(&self.resumable);
        let is_it = |history: &super::StoredHistory| {
            let record = history.record.as_ref();
            record.is_some_and(|record| life.is_of(record))
        };
        let found = resumable.iter().find(|(_, history)| is_it(history))?;
        Some(found.0.clone())
    }

    async fn kept_under(&self, id: &CallId, life: &ChannelLife) -> StoredOwner {
        let now = clock::now();
        if lock(&self.store_rests).is_some_and(|until| now < until) {
            return StoredOwner::Unknown;
        }
        if let Ok(Ok(kept)) = timeout(PATIENCE, self.ask_whose(id, life)).await {
            return kept;
        }
        *lock(&self.store_rests) = Some(now + REST);
        StoredOwner::Unknown
    }

    async fn ask_whose(&self, id: &CallId, life: &ChannelLife) -> Result<StoredOwner, StoreError> {
        if let Some(record) = self.store.call(id).await? {
            let is_same = life.is_of(&record);
            return Ok(if is_same {
                StoredOwner::Same
            } else {
                StoredOwner::Others
            });
        }
        // A transcript outlives its call's record.
        let is_free =
            self.store.lines(id, 0).await?.is_empty() && self.store.dtmf(id).await?.is_empty();
        Ok(if is_free {
            StoredOwner::Nothing
        } else {
            StoredOwner::Others
        })
    }

    /// Asterisk's side tells that the call of a channel is over: one that is open here, or one
    /// that an earlier process left.
    pub(super) fn channel_over(&self, channel: &str, reason: EndReason, status: CallStatus) {
        if let Some(call) = self.book(|book| book.call_on(channel)) {
            return self.end(&call, reason, status);
        }
        let left = lock(&self.resumable)
            .iter()
            .find(|(_, history)| {
                let record = history.record.as_ref();
                record.is_some_and(|record| super::channel::of_record(record) == channel)
            })
            .map(|(call, _)| call.clone());
        if let Some(call) = left {
            self.call_over(&call, reason, status);
        }
    }

    /// A call is over: one that is open here, or one that an earlier process left.
    pub(super) fn call_over(&self, id: &CallId, reason: EndReason, status: CallStatus) {
        let left = lock(&self.resumable).remove(id);
        match left {
            Some(left) => self.settle(left, reason.text),
            None => self.end(id, reason, status),
        }
    }
}
