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

/// Stay of a tapped channel in a bridge of others, as far as is known.
#[derive(Debug, Default)]
pub(super) enum BridgeStay {
    #[default]
    Unknown,
    In(String),
    /// The channel was there last, and is in no bridge.
    Left(String),
}

impl BridgeStay {
    pub(super) fn current(&self) -> Option<&str> {
        match self {
            Self::In(bridge) => Some(bridge),
            Self::Unknown | Self::Left(_) => None,
        }
    }

    pub(super) fn last(&self) -> Option<&str> {
        match self {
            Self::In(bridge) | Self::Left(bridge) => Some(bridge),
            Self::Unknown => None,
        }
    }
}

/// Keys that are kept of a channel while it is looked whether it is the other party.
const MOST_KEYS: usize = 32;

/// A key that a party pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PressedKey {
    /// One of `0`–`9`, `*`, `#`, `A`–`D`.
    pub(super) digit: char,
    /// Length of the key press, milliseconds.
    pub(super) duration_ms: u64,
    pub(super) at: Instant,
}

/// The channel that a tapped one is alone with in a bridge.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum PeerTie {
    #[default]
    Nobody,
    /// We have asked to hear of it. Its events may come before the answer does.
    Asked {
        peer: String,
        /// Keys pressed meanwhile.
        keys: Vec<PressedKey>,
    },
    /// Events of the channel come; whether it is still in the bridge is being looked at.
    Subscribed {
        peer: String,
        /// Keys pressed meanwhile: the other party's, if it is there.
        keys: Vec<PressedKey>,
    },
    /// Whatever it does is the other party's doing, until it is told to leave.
    Heard(String),
}

impl PeerTie {
    pub(super) fn is_to(&self, channel: &str) -> bool {
        match self {
            Self::Nobody => false,
            Self::Asked { peer, .. } | Self::Subscribed { peer, .. } | Self::Heard(peer) => {
                peer == channel
            }
        }
    }

    /// Takes the keys that wait until the channel is known to be the other party.
    fn take_keys(&mut self) -> Vec<PressedKey> {
        match self {
            Self::Asked { keys, .. } | Self::Subscribed { keys, .. } => std::mem::take(keys),
            Self::Nobody | Self::Heard(_) => Vec::new(),
        }
    }

    /// The channel whose subscription is to be undone with the tie.
    pub(super) fn subscribed(&self) -> Option<&str> {
        match self {
            // Its answer finds that nobody wants it any more.
            Self::Nobody | Self::Asked { .. } => None,
            Self::Subscribed { peer, .. } | Self::Heard(peer) => Some(peer),
        }
    }
}

/// The one other channel among a bridge's members; of several nobody can tell whose keys they are.
fn only_other<'a>(id: &str, members: &'a [String]) -> Option<&'a str> {
    let mut others = members.iter().filter(|member| *member != id);
    match (others.next(), others.next()) {
        (Some(other), None) => Some(other),
        _ => None,
    }
}

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
        // Without an answer the keys of one party are missing, which is better than another's.
        let bridges = read::<Vec<AriBridge>>(result).unwrap_or_default();
        match self.bridge_of(id, bridges.iter()) {
            Some((bridge, members)) => self.bridged_with(id, &bridge, &members, now),
            None => self.left_alone(id, now),
        }
    }

    /// The bridge of others that a channel is in, with its members.
    pub(super) fn bridge_of<'a>(
        &self,
        id: &str,
        mut bridges: impl Iterator<Item = &'a AriBridge>,
    ) -> Option<(String, Vec<String>)> {
        let bridge = bridges.find(|bridge| {
            let is_ours = self.owners.get(&bridge.id) == Some(&ObjectOwner::Bridge);
            !is_ours && bridge.channels.iter().any(|channel| channel == id)
        })?;
        Some((bridge.id.clone(), bridge.channels.clone()))
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
        call.bridge = BridgeStay::In(bridge.to_owned());
        match only_other(id, members) {
            Some(peer) if call.peer.is_to(peer) => {}
            Some(peer) => {
                self.lose_peer(id, now);
                self.ask_for_peer(id, peer, now);
            }
            None => self.lose_peer(id, now),
        }
    }

    /// A tapped channel is in no bridge of others.
    pub(super) fn left_alone(&mut self, id: &str, now: Instant) {
        if let Some(call) = self.calls.get_mut(id) {
            call.bridge = match std::mem::take(&mut call.bridge) {
                BridgeStay::In(bridge) => BridgeStay::Left(bridge),
                other => other,
            };
            self.lose_peer(id, now);
        }
    }

    fn ask_for_peer(&mut self, id: &str, channel: &str, now: Instant) {
        if let Some(call) = self.calls.get_mut(id) {
            call.peer = PeerTie::Asked {
                peer: channel.to_owned(),
                keys: Vec::new(),
            };
        }
        let is_asked = self.pending.values().any(|pending| {
            matches!(&pending.purpose, RequestPurpose::PeerSubscribe { call, peer } if call == id && peer == channel)
        });
        if !is_asked {
            let request = AriRequest::Subscribe {
                app: self.config.app.clone(),
                channel: channel.to_owned(),
            };
            let (call, peer) = (id.to_owned(), channel.to_owned());
            self.send(request, RequestPurpose::PeerSubscribe { call, peer }, now);
        }
    }

    pub(super) fn on_peer_subscribed(
        &mut self,
        id: &str,
        peer: String,
        result: &Result<Value, RequestFailure>,
        now: Instant,
    ) {
        let call = self.calls.get_mut(id);
        let is_asked =
            |tie: &PeerTie| matches!(tie, PeerTie::Asked { peer: asked, .. } if *asked == peer);
        let call = call.filter(|call| is_asked(&call.peer));
        match (call, result) {
            (Some(call), Ok(_)) => {
                // Who left before this was not heard to leave.
                let bridge = call.bridge.current().map(str::to_owned);
                let keys = call.peer.take_keys();
                call.peer = PeerTie::Subscribed {
                    peer: peer.clone(),
                    keys,
                };
                let call = id.to_owned();
                let bridge = bridge.unwrap_or_default();
                let request = AriRequest::GetBridge { bridge };
                self.send(request, RequestPurpose::PeerCheck { call, peer }, now);
            }
            (Some(call), Err(_)) => call.peer = PeerTie::Nobody,
            // The call is over, or talks to another.
            (None, Ok(_)) => {
                let group = self.next_serial();
                self.unsubscribe(&peer, group);
            }
            (None, Err(_)) => {}
        }
    }

    /// Answer to the look at the bridge. A party that leaves after the subscription is reported as
    /// leaving, so one that is found here is the other party from the subscription on.
    pub(super) fn on_peer_checked(
        &mut self,
        id: &str,
        peer: &str,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if !matches!(&call.peer, PeerTie::Subscribed { peer: looked, .. } if looked == peer) {
            return;
        }
        let keys = call.peer.take_keys();
        match read::<AriBridge>(result) {
            Ok(bridge) if only_other(id, &bridge.channels) == Some(peer) => {
                call.peer = PeerTie::Heard(peer.to_owned());
                for key in keys {
                    self.tell_key(id, OTHER, key);
                }
            }
            Ok(bridge) if bridge.channels.iter().any(|member| member == id) => {
                self.bridged_with(id, &bridge.id, &bridge.channels, now);
            }
            _ => self.left_alone(id, now),
        }
    }

    /// Whoever a tapped channel talked to is no longer there.
    pub(super) fn lose_peer(&mut self, id: &str, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let tie = std::mem::take(&mut call.peer);
        if let Some(peer) = tie.subscribed() {
            let group = self.next_serial();
            self.unsubscribe(peer, group);
            self.take_off_hold(id, OTHER, now);
        }
    }

    /// The connection broke while the tie was made; the next listing makes another.
    pub(super) fn forget_tie(&mut self, id: &str) {
        let group = self.next_serial();
        if let Some(call) = self.calls.get_mut(id)
            && !matches!(call.peer, PeerTie::Heard(_))
            && let Some(peer) = std::mem::take(&mut call.peer).subscribed()
        {
            self.unsubscribe(peer, group);
        }
    }

    /// The channel of that id is gone: nobody talks to it any more.
    pub(super) fn forget_peer(&mut self, channel: &str, now: Instant) {
        let tied = self
            .calls
            .iter()
            .filter(|(_, call)| call.peer.is_to(channel));
        let tied: Vec<String> = tied.map(|(id, _)| id.clone()).collect();
        for id in tied {
            if let Some(call) = self.calls.get_mut(&id) {
                call.peer = PeerTie::Nobody;
            }
            self.take_off_hold(&id, OTHER, now);
        }
    }

    /// The tapped calls whose channel talks to that one.
    pub(super) fn calls_with_peer(&self, channel: &str) -> Vec<String> {
        let with_it = self.calls.iter().filter(|(_, call)| {
            call.peer == PeerTie::Heard(channel.to_owned())
                && matches!(call.stage, CallStage::Active)
        });
        with_it.map(|(id, _)| id.clone()).collect()
    }

    /// Keeps a key of a channel that may be the other party: whoever leaves the bridge from the
    /// subscription on is heard to leave, so what is found next holds for the key as well.
    pub(super) fn hold_key(&mut self, channel: &str, key: PressedKey) {
        for call in self.calls.values_mut() {
            if !call.peer.is_to(channel) {
                continue;
            }
            if let PeerTie::Asked { keys, .. } | PeerTie::Subscribed { keys, .. } = &mut call.peer
                && keys.len() < MOST_KEYS
            {
                keys.push(key);
            }
        }
    }

    pub(super) fn tell_key(&mut self, id: &str, leg: &'static str, key: PressedKey) {
        let PressedKey {
            digit,
            duration_ms,
            at,
        } = key;
        self.notice(ControlNotice::Dtmf {
            call: id.to_owned(),
            leg,
            digit,
            duration_ms,
            at,
        });
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
