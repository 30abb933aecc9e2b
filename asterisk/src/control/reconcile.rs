//! Comparison of Asterisk's lists with this process's calls: calls whose channel is gone end, media
//! that is gone is made anew, Stasis callers without a call are opened, objects that an earlier
//! process left are taken up or removed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tracing::info;

use super::CallControl;
use super::call::{CallStage, LegStep};
use super::config::{CallKind, RecoverCall};
use super::io::ControlNotice;
use super::party_look::PartyIdentity;
use super::ports::CallEntry;
use super::stray::StrayKind;
use super::teardown::AriObject;
use crate::model::{AriBridge, AriChannel};

/// Asterisk's complete lists of channels and bridges.
pub(super) struct ObjectSnapshot {
    /// Name of our application.
    pub(super) app: String,
    pub(super) channels: BTreeMap<String, AriChannel>,
    pub(super) bridges: BTreeMap<String, AriBridge>,
    pub(super) heard: BTreeSet<String>,
    /// Objects that are there and cannot be described.
    pub(super) unseen: BTreeSet<String>,
    /// Channels whose end is among the kept events, which know its cause.
    pub(super) ending: BTreeSet<String>,
}

impl ObjectSnapshot {
    fn in_stasis(&self, channel: &AriChannel) -> bool {
        self.is_here(channel, None)
    }

    /// Whether a channel is in our application, though it may name another that it was moved from.
    /// Events of a channel do not prove that: the application also gets those of channels that it
    /// follows, taps or placed, wherever they have gone.
    fn is_here(&self, channel: &AriChannel, moved_from: Option<&str>) -> bool {
        let names_ours = || {
            let app = channel.stasis_app();
            app.is_none_or(|app| app == self.app || Some(app) == moved_from)
        };
        self.heard.contains(&channel.id)
            && (self.unseen.contains(&channel.id) || channel.seems_in_stasis() && names_ours())
    }
}

impl CallControl {
    pub(super) fn compare(&mut self, lists: &ObjectSnapshot, now: Instant) {
        for channel in lists.channels.values() {
            self.drop_removals_of_former(channel);
        }
        let ids: Vec<String> = self.calls.keys().cloned().collect();
        for id in &ids {
            self.compare_call(id, lists, now);
        }
        // What is taken up is set up only when everything the predecessor made is gone.
        let group = self.next_serial();
        self.recover_calls(lists, group, now);
        self.take_taps(lists, group, now);
        for bridge in lists.bridges.values() {
            if self.is_stray_bridge(bridge) {
                self.reap_bridge(&bridge.id, group);
            }
        }
        for channel in lists.channels.values() {
            self.compare_channel(channel, lists, group, now);
        }
    }

    /// Brings a channel that may be nobody's into line.
    fn compare_channel(
        &mut self,
        channel: &AriChannel,
        lists: &ObjectSnapshot,
        group: u64,
        now: Instant,
    ) {
        let object = AriObject::Channel(channel.id.clone());
        if self.owners.contains_key(&channel.id)
            || self.removals.contains_key(&object)
            || self.is_other_half(&channel.id)
        {
            return;
        }
        match self.stray(channel, lists.heard.contains(&channel.id)) {
            StrayKind::Orphan(rank) => self.reap_channel(channel, rank, group),
            StrayKind::Placed => self.take_placed(channel.clone(), Some(group), now),
            StrayKind::NotOurs | StrayKind::Returned => {
                let is_unseen_own =
                    channel.name.is_empty() && self.naming.read(&channel.id).is_some();
                // Heard of as somebody's peer, it may be in another application.
                let is_peer = channel.stasis_app() != Some(self.config.app.as_str())
                    && !self.calls_with_peer(&channel.id).is_empty();
                let is_own = channel.is_media() || is_unseen_own;
                if !is_own && !is_peer && lists.in_stasis(channel) {
                    self.open_stasis(channel.clone(), false, Some(group), now);
                }
            }
        }
    }

    /// Brings one call into line with the lists.
    fn compare_call(&mut self, id: &str, lists: &ObjectSnapshot, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        // What began while the lists were on their way cannot be in them.
        let judged = call.epoch < self.epoch
            && !matches!(call.stage, CallStage::Asking(_) | CallStage::Ending(_))
            && !lists.ending.contains(id);
        call.epoch = self.epoch;
        if !judged {
            return;
        }
        let created_at = call.created_at;
        let channel = lists.channels.get(id);
        // Who else has its id now is looked at with the channels that nobody has.
        let Some(channel) = channel.filter(|channel| !channel.is_another(created_at)) else {
            self.tell_gone(id);
            self.close_for(id, "ended while Asterisk was not heard");
            return;
        };
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let ringing = matches!(call.stage, CallStage::Ringing { .. });
        let is_tap = call.kind == CallKind::Tap;
        let is_here = lists.is_here(channel, call.moved_from.as_deref());
        if call.in_stasis && !is_here {
            self.close_for(id, "left the application while Asterisk was not heard");
            return;
        }
        if ringing && is_here && !lists.unseen.contains(id) {
            self.party_entered(id, channel.clone(), now);
            return;
        }
        if ringing && call.identity().is_elsewhere(channel, &lists.app) {
            self.close_for(
                id,
                "answered, and went elsewhere while Asterisk was not heard",
            );
            return;
        }
        if channel.is_up() {
            self.mark_answered(id);
        }
        if is_tap {
            if channel.stasis_app() == Some(lists.app.as_str()) {
                // Its dialplan had sent it to us, too; it is listened to already.
                self.send_on(channel);
            }
            self.found_bridged(id, lists, now);
        }
        if !self.ask_again(id, now) {
            self.compare_legs(id, lists, now);
        }
    }

    fn compare_legs(&mut self, id: &str, lists: &ObjectSnapshot, now: Instant) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let mut lost = Vec::new();
        let mut broken = Vec::new();
        for leg in &call.legs {
            if leg.step == LegStep::Lost {
                lost.push(leg.generation);
            }
            if leg.step != LegStep::Up || leg.epoch >= self.epoch {
                continue;
            }
            let party = leg.snoop.as_ref().map_or(id, |snoop| snoop.id.as_str());
            let whole = lists.channels.contains_key(&leg.media.id)
                && lists.channels.contains_key(party)
                && lists.bridges.get(&leg.bridge.id).is_some_and(|bridge| {
                    lists.unseen.contains(&bridge.id)
                        || bridge.channels.contains(&leg.media.id)
                            && bridge.channels.iter().any(|c| c == party)
                });
            if !whole {
                broken.push(leg.generation);
            }
        }
        for generation in lost {
            self.replace_leg(id, generation, now);
        }
        for generation in broken {
            self.renew_leg(id, generation, "its media was lost too often", now);
        }
    }

    /// Settles what an earlier process left open; once, with the first lists.
    fn recover_calls(&mut self, lists: &ObjectSnapshot, group: u64, now: Instant) {
        for entry in std::mem::take(&mut self.recover) {
            if let Some(call) = self.calls.get(&entry.channel) {
                let (theirs, ours) = (entry.created_at, call.created_at);
                if theirs.is_some() && ours.is_some() && theirs != ours {
                    self.stats.ended += 1;
                    let text = "ended while the server was away".to_owned();
                    let call = entry.call;
                    self.notice(ControlNotice::NotResumed { call, text });
                }
                continue;
            }
            let channel = lists.channels.get(&entry.channel);
            match channel.filter(|channel| !channel.is_another(entry.created_at)) {
                Some(channel) if self.resume(&entry, channel.clone(), lists, group, now) => {
                    info!(call = entry.call, "taken up again");
                }
                _ if !self.recalled.remove(&entry.channel) => {}
                _ => {
                    self.stats.ended += 1;
                    let text = "ended while the server was away".to_owned();
                    self.notice(ControlNotice::CallEnded {
                        call: entry.channel,
                        cause: None,
                        text,
                    });
                }
            }
        }
    }

    /// Takes a call up again; whether there was one to take up.
    fn resume(
        &mut self,
        entry: &RecoverCall,
        channel: AriChannel,
        lists: &ObjectSnapshot,
        group: u64,
        now: Instant,
    ) -> bool {
        let id = channel.id.clone();
        if self.stopping || self.is_full() {
            return false;
        }
        match entry.kind {
            CallKind::Tap => self.enter(&id, CallEntry::ResumedTap(channel), Some(group), now),
            CallKind::Stasis if lists.in_stasis(&channel) => {
                self.open_stasis(channel, true, Some(group), now)
            }
            // Who was answered and is not in our application was sent elsewhere by somebody.
            CallKind::Initiated
                if lists.heard.contains(&id)
                    && !PartyIdentity::default().is_elsewhere(&channel, &lists.app) =>
            {
                let answered = lists.in_stasis(&channel);
                let hold = answered.then_some(group);
                self.enter(
                    &id,
                    CallEntry::ResumedInitiated { channel, answered },
                    hold,
                    now,
                );
            }
            CallKind::Stasis | CallKind::Initiated => return false,
        }
        true
    }

    /// Begins the set-ups that waited for a predecessor's objects to go.
    pub(super) fn release_holds(&mut self, now: Instant) {
        let free: Vec<String> = self
            .calls
            .iter()
            .filter(|(_, call)| matches!(call.stage, CallStage::Active))
            .filter(|(_, call)| call.hold.is_some_and(|group| self.group_is_done(group)))
            .map(|(id, _)| id.clone())
            .collect();
        for id in free {
            self.open_legs(&id, now);
        }
    }

    /// Whether an earlier process had this channel's call open; asked once.
    pub(super) fn was_open(&mut self, channel: &AriChannel) -> bool {
        let before = self.recover.len();
        self.recover
            .retain(|entry| entry.channel != channel.id || channel.is_another(entry.created_at));
        self.recover.len() < before
    }
}
