//! Whom a tapped channel talks to: the channel that shares its bridge is heard of as well, for
//! the keys that its party presses, and for hold, which its device may ask for.

use std::time::Instant;

use serde_json::Value;

use super::call::{CallStage, ObjectOwner};
use super::config::CallKind;
use super::io::{ControlNotice, PartyChange, RequestFailure};
use super::replies::read;
use super::{CallControl, RequestPurpose};
use crate::model::AriBridge;
use crate::request::AriRequest;

/// A side of a call, as the choreography names it: the call's channel itself.
pub(super) const OWN: &str = "caller";
/// The label of the leg that the channel hears.
pub(super) const OTHER: &str = "callee";

impl CallControl {
    /// Asks in which bridge a tapped channel is.
    pub(super) fn look_for_peer(&mut self, id: &str, now: Instant) {
        let call = id.to_owned();
        self.send(
            AriRequest::ListBridges,
            RequestPurpose::PeerLook { call },
            now,
        );
    }

    pub(super) fn on_peer_looked(
        &mut self,
        id: &str,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        // Without an answer the keys of one party are missing, nothing else.
        let Ok(bridges) = read::<Vec<AriBridge>>(result) else {
            return;
        };
        let theirs = |bridge: &&AriBridge| {
            let is_ours = self.owners.get(&bridge.id) == Some(&ObjectOwner::Bridge);
            !is_ours && bridge.channels.iter().any(|channel| channel == id)
        };
        if let Some(bridge) = bridges.iter().find(theirs) {
            let (name, members) = (bridge.id.clone(), bridge.channels.clone());
            self.bridged_with(id, &name, &members, now);
        }
    }

    /// A tapped channel is in a bridge with those.
    pub(super) fn bridged_with(
        &mut self,
        id: &str,
        bridge: &str,
        members: &[String],
        now: Instant,
    ) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if call.kind != CallKind::Tap || !matches!(call.stage, CallStage::Active) {
            return;
        }
        bridge.clone_into(&mut call.bridge);
        // Of several nobody can tell whose keys they are.
        let mut others = members.iter().filter(|member| *member != id);
        let peer = match (others.next(), others.next()) {
            (Some(peer), None) => peer.clone(),
            (None, _) => return,
            (Some(_), Some(_)) => return self.lose_peer(id, now),
        };
        if self.calls.get(id).and_then(|call| call.peer.as_deref()) == Some(&peer) {
            return;
        }
        self.lose_peer(id, now);
        let request = AriRequest::Subscribe {
            app: self.config.app.clone(),
            channel: peer.clone(),
        };
        let call = id.to_owned();
        self.send(request, RequestPurpose::PeerSubscribe { call, peer }, now);
    }

    pub(super) fn on_peer_subscribed(
        &mut self,
        id: &str,
        peer: String,
        result: &Result<Value, RequestFailure>,
    ) {
        if result.is_err() {
            return;
        }
        let group = self.next_serial();
        let call = self.calls.get_mut(id);
        match call.filter(|call| call.peer.is_none() && matches!(call.stage, CallStage::Active)) {
            Some(call) => call.peer = Some(peer),
            // The call is over, or has found another meanwhile.
            None => self.unsubscribe(&peer, group),
        }
    }

    /// Whoever a tapped channel talked to is no longer there.
    fn lose_peer(&mut self, id: &str, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if let Some(peer) = call.peer.take() {
            let group = self.next_serial();
            self.unsubscribe(&peer, group);
            self.take_off_hold(id, OTHER, now);
        }
    }

    /// The channel of that id is gone: nobody talks to it any more.
    pub(super) fn forget_peer(&mut self, channel: &str, now: Instant) {
        for id in self.calls_with_peer(channel) {
            if let Some(call) = self.calls.get_mut(&id) {
                call.peer = None;
            }
            self.take_off_hold(&id, OTHER, now);
        }
    }

    /// The tapped calls whose channel talks to that one.
    pub(super) fn calls_with_peer(&self, channel: &str) -> Vec<String> {
        let with_it = self.calls.iter().filter(|(_, call)| {
            call.peer.as_deref() == Some(channel) && matches!(call.stage, CallStage::Active)
        });
        with_it.map(|(id, _)| id.clone()).collect()
    }

    /// The calls that a channel has part in, and on which side of each.
    pub(super) fn parts_of(&self, channel: &str) -> Vec<(String, &'static str)> {
        let own = self.told_party(channel).map(|call| (call, OWN));
        let others = self.calls_with_peer(channel).into_iter();
        own.into_iter()
            .chain(others.map(|call| (call, OTHER)))
            .collect()
    }

    /// A side that was on hold is no longer, or it is not known whether it still is.
    pub(super) fn take_off_hold(&mut self, id: &str, side: &'static str, at: Instant) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if let Some(place) = call.on_hold.iter().position(|held| *held == side) {
            call.on_hold.remove(place);
            self.tell_hold(id, side, PartyChange::HoldOver, at);
        }
    }

    /// Tells of hold: whoever asked for it is not heard, and anybody may speak after it.
    pub(super) fn tell_hold(
        &mut self,
        id: &str,
        by: &'static str,
        change: PartyChange,
        at: Instant,
    ) {
        self.notice(ControlNotice::PartyMayDiffer {
            call: id.to_owned(),
            leg: None,
            change,
            by: Some(by),
            connected: None,
            at,
        });
    }
}
