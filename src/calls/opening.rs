//! A call of Asterisk's begins, or one that was here before goes on.

use asterscribe_ari::control::CallKind;
use asterscribe_ari::model::AriChannel;
use asterscribe_call::{CallId, CallOrigin, CallStatus, EndReason, LegSides};
use asterscribe_clock as clock;

use super::channel::{ChannelLife, non_empty};
use super::pending::AskedCommand;
use super::registry::{CallOpening, CallPast};
use super::roles::{self, CallParties};
use super::stored::StoredOwner;
use super::{CallManager, lock};

/// Ids that a call is tried under.
pub(super) const MOST_IDS: usize = 64;

/// How a call was opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallOpened {
    pub(super) kind: CallKind,
    pub(super) target: usize,
    pub(super) resumed: bool,
}

impl CallManager {
    pub(super) async fn call_opened(&self, id: &str, opened: CallOpened, channel: &AriChannel) {
        let CallOpened {
            kind,
            target,
            resumed,
        } = opened;
        let asked = lock(&self.asterisk.pending).asked(id);
        let is_fresh = kind == CallKind::Initiated && asked.is_some();
        let call = self.name(&ChannelLife::of(channel), is_fresh).await;
        let recognition = asked.as_ref().map(|asked| asked.recognition().clone());
        let named = asked.as_ref().and_then(AskedCommand::sides);
        let here = self.registry(|registry| registry.find(&call)?.record.identity.sides.clone());
        let left = self.stored.take_left(&call);
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
            thread: target,
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
            self.registry(|registry| {
                registry.channel_state(&call, clock::now(), channel.state.clone())
            });
        }
    }

    /// The id under which a channel's call is opened: its own, if it was here before; else the
    /// first that no other call has, here or in the store.
    async fn name(&self, life: &ChannelLife, is_fresh: bool) -> CallId {
        let here = self.registry(|registry| registry.call_of_life(life));
        if let Some(call) = here.or_else(|| self.stored.left_of(life)) {
            return call;
        }
        let mut last = super::channel::call_id(&life.id);
        for id in life.call_ids().take(MOST_IDS) {
            last = id;
            let is_taken = self.registry(|registry| registry.find(&last).is_some())
                || self.stored.is_left(&last);
            if !is_taken
                && (is_fresh || self.stored.owner(&last, life).await != StoredOwner::Others)
            {
                break;
            }
        }
        last
    }

    /// Asterisk's side tells that the call of a channel is over: one that is open here, or one
    /// that an earlier process left.
    pub(super) fn channel_over(&self, channel: &str, reason: EndReason, status: CallStatus) {
        if let Some(call) = self.registry(|registry| registry.call_on(channel)) {
            return self.end(&call, reason, status);
        }
        if let Some(call) = self.stored.left_on(channel) {
            self.call_over(&call, reason, status);
        }
    }

    /// A call is over: one that is open here, or one that an earlier process left.
    pub(super) fn call_over(&self, id: &CallId, reason: EndReason, status: CallStatus) {
        let left = self.stored.take_left(id);
        match left {
            Some(left) => self.settle(left, reason.text),
            None => self.end(id, reason, status),
        }
    }
}
