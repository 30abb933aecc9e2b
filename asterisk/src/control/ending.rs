//! The ways out. Whatever the reason, the media is taken down in one order, and the end of
//! a call is told exactly once.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::call::{
    CallStage, ChannelSubscription, ControlledCall, HangupSign, MediaLeg, PendingHangup,
    SetupRequest,
};
use super::config::CallKind;
use super::io::{CommandKind, ControlNotice, RequestFailure};
use super::teardown::{AriObject, ObjectTeardown, TeardownAction, TeardownRank};
use super::{CallControl, RequestPurpose};

/// How long the events of a hang-up that we asked for may take.
const HANGUP_GRACE: Duration = Duration::from_secs(2);

impl CallControl {
    /// A first or further sign that the call's channel is going.
    pub(super) fn begin_end(&mut self, id: &str, sign: HangupSign, now: Instant) {
        let until = now + self.config.cause_grace;
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if let CallStage::Ending(ending) = &mut call.stage {
            ending.take(sign);
            ending.until = ending.until.min(until);
            return;
        }
        let mut ending = PendingHangup::new(until, None);
        ending.take(sign);
        call.stage = CallStage::Ending(ending);
        self.take_down(id, None);
    }

    /// The `Hangup` command.
    pub(super) fn hang_up(&mut self, id: &str, now: Instant) {
        let refusal = match self.calls.get(id).map(|call| &call.stage) {
            None => Some((Some(404), "no such call is open")),
            Some(CallStage::Asking(_)) => Some((Some(409), "the call is still being set up")),
            Some(_) if !self.is_connected() => Some((None, "Asterisk is not connected")),
            Some(_) => None,
        };
        if let Some((status, message)) = refusal {
            self.refuse(
                CommandKind::Hangup,
                id.to_owned(),
                status,
                message.to_owned(),
            );
            return;
        }
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let text = "hung up on request".to_owned();
        match (call.kind, &call.stage) {
            (_, CallStage::Ending(_)) => self.accept_hangup(id),
            (CallKind::Tap, _) => {
                self.accept_hangup(id);
                self.close_for(id, "the tap was ended on request");
            }
            _ => self.hang_up_for(id, text, Some(id), now),
        }
    }

    fn accept_hangup(&mut self, id: &str) {
        self.notice(ControlNotice::CommandAccepted {
            command: CommandKind::Hangup,
            call: id.to_owned(),
        });
    }

    /// Hangs the call's own channel up, for a reason of ours.
    pub(super) fn hang_up_for(
        &mut self,
        id: &str,
        reason: String,
        command: Option<&str>,
        now: Instant,
    ) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let until = now + HANGUP_GRACE;
        call.stage = CallStage::Ending(PendingHangup::new(until, Some(reason)));
        let mut party = ObjectTeardown::new(TeardownAction::Delete, TeardownRank::Party, 0);
        if let Some(call) = command {
            party = party.for_hangup(call);
        }
        self.take_down(id, Some(party));
    }

    /// Ends a call at once for a reason of ours, without touching its channel.
    pub(super) fn close_for(&mut self, id: &str, reason: &str) {
        self.take_down(id, None);
        self.tell_ended(id, None, reason.to_owned());
    }

    /// Ends a call at once without touching its channel: for this reason of ours, unless its end
    /// had begun for another.
    pub(super) fn close_known_or(&mut self, id: &str, reason: &str) {
        let stage = self.calls.get(id).map(|call| &call.stage);
        if matches!(stage, Some(CallStage::Ending(_))) {
            self.close(id);
        } else {
            self.close_for(id, reason);
        }
    }

    /// Ends a call at once with all that is known.
    pub(super) fn close(&mut self, id: &str) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let fallback = match call.kind {
            CallKind::Tap => "the tapped channel ended",
            CallKind::Initiated if !call.in_stasis => "the call did not come about",
            CallKind::Stasis | CallKind::Initiated => "left the application",
        };
        let was_under_way = call.answered || call.kind == CallKind::Stasis;
        let (cause, text) = match &mut call.stage {
            CallStage::Ending(ending) => {
                ending.conclude(was_under_way);
                (ending.known_cause(), ending.text(fallback))
            }
            _ => (None, fallback.to_owned()),
        };
        self.take_down(id, None);
        self.tell_ended(id, cause, text);
    }

    fn tell_ended(&mut self, id: &str, cause: Option<u16>, text: String) {
        if self.forget_call(id).is_some() {
            info!(call = id, ?cause, text, "call ended");
            self.stats.ended += 1;
            self.notice(ControlNotice::CallEnded {
                call: id.to_owned(),
                cause,
                text,
            });
        }
    }

    /// A call without media is none. Its caller goes on; a call that we placed is hung up.
    pub(super) fn fail_call(&mut self, id: &str, text: String) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let party = match call.kind {
            CallKind::Stasis => Some(ObjectTeardown::new(
                TeardownAction::Continue,
                TeardownRank::Party,
                0,
            )),
            CallKind::Initiated => Some(ObjectTeardown::new(
                TeardownAction::Delete,
                TeardownRank::Party,
                0,
            )),
            CallKind::Tap => None,
        };
        self.take_down(id, party);
        if self.forget_call(id).is_some() {
            warn!(call = id, text, "call failed");
            self.stats.failed += 1;
            self.notice(ControlNotice::CallFailed {
                call: id.to_owned(),
                text,
            });
        }
    }

    /// The `Shutdown` command.
    pub(super) fn shut_down(&mut self) {
        self.stopping = true;
        self.recover.clear();
        let ids: Vec<String> = self.calls.keys().cloned().collect();
        for id in ids {
            let Some(call) = self.calls.get(&id) else {
                continue;
            };
            let party = match (call.kind, &call.stage) {
                (_, CallStage::Asking(SetupRequest::Ports { .. })) => {
                    let failure =
                        RequestFailure::Unreachable("the server is shutting down".to_owned());
                    if let Some(caller) = self.refuse_entry(&id, &failure) {
                        self.send_on(&caller);
                    }
                    continue;
                }
                (_, CallStage::Asking(_)) => {
                    let failure =
                        RequestFailure::Unreachable("the server is shutting down".to_owned());
                    self.refuse_asking(&id, &failure);
                    self.await_origination(&id);
                    continue;
                }
                (CallKind::Stasis, CallStage::Active) => Some(ObjectTeardown::new(
                    TeardownAction::Continue,
                    TeardownRank::Party,
                    0,
                )),
                (CallKind::Initiated, CallStage::Ringing { .. } | CallStage::Active) => Some(
                    ObjectTeardown::new(TeardownAction::Delete, TeardownRank::Party, 0),
                ),
                _ => None,
            };
            self.take_down(&id, party);
            self.close_known_or(&id, "the server is shutting down");
        }
    }

    /// An origination that is still unanswered is waited for before it is deleted.
    fn await_origination(&mut self, id: &str) {
        let object = AriObject::Channel(id.to_owned());
        let mut waits = false;
        for pending in self.pending.values_mut() {
            if matches!(&pending.purpose, RequestPurpose::Originate { call } if call == id) {
                pending.purpose = RequestPurpose::Settle(object.clone());
                waits = true;
            }
        }
        if waits {
            self.removal_unsettled(&object);
        }
    }

    /// Hands everything that was made for a call to the removals, as one group.
    fn take_down(&mut self, id: &str, party: Option<ObjectTeardown>) {
        let group = self.next_serial();
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let legs = std::mem::take(&mut call.legs);
        let was_tapped = call.kind == CallKind::Tap && call.taken_down.is_none();
        call.taken_down.get_or_insert(group);
        call.hold = None;
        let peer = std::mem::take(&mut call.peer);
        let identity = call.identity();
        if let Some(party) = party {
            let party = party.in_group(group).of(identity);
            self.remove(AriObject::Channel(id.to_owned()), party);
        }
        for leg in legs {
            self.dismantle(leg, group);
        }
        if was_tapped {
            self.unsubscribe(id, group);
        }
        if let Some(peer) = peer.subscribed() {
            self.unsubscribe(peer, group);
        }
    }

    pub(super) fn unsubscribe(&mut self, channel: &str, group: u64) {
        let identity = self.calls.get(channel).map(ControlledCall::identity);
        let removal =
            ObjectTeardown::new(TeardownAction::Delete, TeardownRank::Subscription, group)
                .of(identity.unwrap_or_default());
        self.remove(AriObject::Subscription(channel.to_owned()), removal);
    }

    /// Hands a leg's objects to the removals. From here on nobody else knows them.
    pub(super) fn dismantle(&mut self, leg: MediaLeg, group: u64) {
        if !leg.told {
            self.ports_unused(leg.at.into_iter().collect());
        }
        for (object, action, rank) in leg.objects() {
            self.remove(object, ObjectTeardown::new(action, rank, group));
        }
        self.owners.remove(&leg.media.id);
        self.owners.remove(&leg.bridge.id);
        if let Some(snoop) = &leg.snoop {
            self.owners.remove(&snoop.id);
        }
        let in_creation = leg.in_creation();
        let mut unsettled = None;
        self.pending
            .retain(|_, pending| match (&pending.purpose, &in_creation) {
                (RequestPurpose::Leg { generation, .. }, object)
                    if *generation == leg.generation =>
                {
                    if let Some(object) = object {
                        pending.purpose = RequestPurpose::Settle(object.clone());
                        unsettled = Some(object.clone());
                    }
                    object.is_some()
                }
                _ => true,
            });
        if let Some(object) = unsettled {
            self.removal_unsettled(&object);
        }
    }

    /// Removes a call's entry, if there is one.
    pub(super) fn forget_call(&mut self, id: &str) -> Option<ControlledCall> {
        self.owners.remove(id);
        let call = self.calls.get(id)?;
        if call.following == ChannelSubscription::Yes {
            // Only who has left can be seen to be heard of no more.
            let group = call.taken_down.unwrap_or_else(|| self.next_serial());
            self.unsubscribe(id, group);
        }
        let mut call = self.calls.remove(id)?;
        self.ports_unused(std::mem::take(&mut call.ports));
        // The channel may come back as another call, which these answers are not about.
        self.pending.retain(|_, pending| match &pending.purpose {
            RequestPurpose::TapLook { call } | RequestPurpose::TapSubscribe { call } => call != id,
            _ => true,
        });
        Some(call)
    }
}
