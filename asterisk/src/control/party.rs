//! Events after which somebody else may speak on a leg: hold, transfers, another party.

use std::time::Instant;

use super::CallControl;
use super::call::ObjectOwner;
use super::config::CallKind;
use super::io::{ControlNotice, PartyChange};
use super::peer::OTHER;
use super::reconcile::ObjectSnapshot;
use crate::model::{AriChannel, PartyId};

impl CallControl {
    /// A channel's device put whom it talks to on hold, or took it off.
    pub(super) fn on_hold(&mut self, channel: &str, is_on: bool, at: Instant) {
        for (id, side) in self.parts_of(channel) {
            let Some(call) = self.calls.get_mut(&id) else {
                continue;
            };
            call.on_hold.retain(|held| *held != side);
            if is_on {
                call.on_hold.push(side);
            }
            let change = match is_on {
                true => PartyChange::Hold,
                false => PartyChange::Unhold,
            };
            self.tell_hold(&id, side, change, at);
        }
    }

    /// Takes every party off hold after the connection was down: an event that was missed then may
    /// have ended the hold, and speech must not be taken for music on hold.
    pub(super) fn forget_holds(&mut self, now: Instant) {
        let held = self.calls.iter().flat_map(|(id, call)| {
            let sides = call.on_hold.iter();
            sides.map(|side| (id.clone(), *side))
        });
        for (id, side) in held.collect::<Vec<_>>() {
            self.take_off_hold(&id, side, now);
        }
    }

    /// Asterisk reports whom the channel is connected to, which often has not changed.
    pub(super) fn on_connected_line(&mut self, channel: AriChannel, now: Instant) {
        let Some(id) = self.told_party(&channel.id) else {
            return;
        };
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if call.connected != channel.connected {
            call.connected = channel.connected.clone();
            let connected = Some(channel.connected);
            self.partner_changed(id, PartyChange::Connected, connected, now);
        }
    }

    pub(super) fn on_entered_bridge(
        &mut self,
        channel: &str,
        bridge: &str,
        members: &[String],
        now: Instant,
    ) {
        if self.owners.get(bridge) == Some(&ObjectOwner::Bridge) {
            return;
        }
        if let Some(call) = self.told_party(channel) {
            let before = self.calls.get(&call).and_then(|call| call.bridge.last());
            let change = match before {
                Some(before) if before != bridge => PartyChange::Bridged,
                _ => PartyChange::Joined,
            };
            self.partner_changed(call.clone(), change, None, now);
            self.bridged_with(&call, bridge, members, now);
        }
        // Whoever entered may be whom a tapped channel there talks to from now on.
        self.others_in_bridge(channel, bridge, members, now);
        // Whoever is in another bridge talks to nobody here.
        let elsewhere = self
            .calls
            .iter()
            .filter(|(_, call)| call.peer.is_to(channel) && call.bridge.current() != Some(bridge));
        let elsewhere: Vec<String> = elsewhere.map(|(id, _)| id.clone()).collect();
        for call in elsewhere {
            self.lose_peer(&call, now);
        }
    }

    pub(super) fn on_left_bridge(
        &mut self,
        channel: &str,
        bridge: &str,
        members: &[String],
        now: Instant,
    ) {
        if self.owners.get(bridge) == Some(&ObjectOwner::Bridge) {
            return;
        }
        if let Some(call) = self.told_party(channel) {
            let stay = self.calls.get(&call).map(|call| &call.bridge);
            // It may have entered another meanwhile.
            if stay.is_some_and(|stay| stay.current().is_none_or(|current| current == bridge)) {
                self.left_alone(&call, now);
            }
        }
        // An event that tells too much tells nothing of who left.
        let members: Vec<_> = members.iter().filter(|m| *m != channel).cloned().collect();
        self.others_in_bridge(channel, bridge, &members, now);
    }

    /// Tapped channels in a bridge that `channel` entered or left talk to others from now on.
    fn others_in_bridge(&mut self, channel: &str, bridge: &str, members: &[String], now: Instant) {
        let there = self.calls.iter().filter(|(id, call)| {
            call.kind == CallKind::Tap && call.bridge.current() == Some(bridge) && *id != channel
        });
        let there: Vec<String> = there.map(|(id, _)| id.clone()).collect();
        for call in there {
            if members.contains(&call) {
                self.bridged_with(&call, bridge, members, now);
            } else {
                self.left_alone(&call, now);
            }
        }
    }

    /// The lists show in which bridge a tapped channel is: what was missed may have put it there.
    pub(super) fn found_bridged(&mut self, id: &str, lists: &ObjectSnapshot, now: Instant) {
        let Some((bridge, members)) = self.bridge_of(id, lists.bridges.values()) else {
            return self.left_alone(id, now);
        };
        let before = self.calls.get(id).and_then(|call| call.bridge.last());
        if before.is_some_and(|before| before != bridge) {
            self.partner_changed(id.to_owned(), PartyChange::Bridged, None, now);
        }
        self.bridged_with(id, &bridge, &members, now);
    }

    pub(super) fn on_transfer(&mut self, channels: &[String], now: Instant) {
        let mut calls: Vec<String> = channels
            .iter()
            .filter_map(|channel| self.told_party(channel))
            .collect();
        calls.sort_unstable();
        calls.dedup();
        for call in calls {
            self.partner_changed(call, PartyChange::Transferred, None, now);
        }
    }

    /// Whom the channel talks to is another: a leg only where the call is tapped.
    fn partner_changed(
        &mut self,
        call: String,
        change: PartyChange,
        connected: Option<PartyId>,
        at: Instant,
    ) {
        let is_tap = |call: &super::ControlledCall| call.kind == CallKind::Tap;
        if self.calls.get(&call).is_some_and(is_tap) {
            // It may share its bridge with another channel now, of which nobody tells us.
            if matches!(change, PartyChange::Connected | PartyChange::Transferred) {
                self.look_for_peer(&call, at);
            }
            self.notice(ControlNotice::PartyMayDiffer {
                call,
                leg: Some(OTHER),
                change,
                by: None,
                connected,
                at,
            });
        }
    }
}
