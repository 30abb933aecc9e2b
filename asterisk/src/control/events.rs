//! Events, by whose channel they speak of.

use std::time::Instant;

use tracing::debug;

use super::call::{CallStage, ChannelSubscription, HangupSign, ObjectOwner};
use super::config::CallKind;
use super::io::ControlNotice;
use super::peer::PressedKey;
use super::stray::StrayKind;
use super::teardown::AriObject;
use super::{CallControl, LinkState};
use crate::event::AriEvent;
use crate::model::AriChannel;

impl CallControl {
    pub(super) fn on_event(&mut self, event: AriEvent, now: Instant) {
        self.stats.events += 1;
        if let Some(told) = event.timestamp() {
            self.event_time.hear(told, now);
        }
        if let AriEvent::ApplicationReplaced { application } = &event {
            if *application == self.config.app {
                self.give_up();
            }
            return;
        }
        if let AriEvent::CallBroadcast { channel } = &event {
            // Whatever else goes on: the offer lasts half a second.
            self.claim(&channel.id, now);
            return;
        }
        match &mut self.link {
            // The lists are on their way; what happened meanwhile is judged after them.
            LinkState::Listing(listing) => {
                if !listing.keep(event) {
                    self.restart_listing(now);
                }
            }
            LinkState::Up | LinkState::Down => self.apply_event(event, now),
            // They are for whoever has the application now.
            LinkState::Replaced => {}
        }
    }

    pub(super) fn apply_event(&mut self, event: AriEvent, now: Instant) {
        if self.is_of_another_life(&event) {
            return;
        }
        match event {
            AriEvent::StasisStart {
                mut channel, args, ..
            } => {
                channel.args = args;
                self.on_entered(*channel, now);
            }
            AriEvent::StasisEnd { channel } => self.on_left(&channel.id, now),
            AriEvent::ChannelDestroyed {
                channel,
                cause,
                cause_txt,
            } => {
                self.on_destroyed(&channel, cause, cause_txt, now);
            }
            AriEvent::ChannelHangupRequest { channel, cause, .. } => {
                self.on_hangup_request(&channel, cause, now)
            }
            AriEvent::ChannelStateChange { channel, .. } => self.on_state(*channel),
            AriEvent::ChannelDtmfReceived {
                channel,
                digit,
                duration_ms,
                timestamp,
            } => {
                let at = self.event_time.of(timestamp, now);
                let key = PressedKey {
                    digit,
                    duration_ms,
                    at,
                };
                self.on_key(&channel.id, key);
            }
            AriEvent::ChannelHold { channel, timestamp } => {
                let at = self.event_time.of(timestamp, now);
                self.on_hold(&channel.id, true, at);
            }
            AriEvent::ChannelUnhold { channel, timestamp } => {
                let at = self.event_time.of(timestamp, now);
                self.on_hold(&channel.id, false, at);
            }
            AriEvent::ChannelConnectedLine { channel } => self.on_connected_line(*channel, now),
            AriEvent::ChannelEnteredBridge {
                channel,
                bridge,
                members,
            } => {
                self.on_entered_bridge(&channel.id, &bridge, &members, now);
            }
            AriEvent::ChannelLeftBridge {
                channel,
                bridge,
                members,
            } => {
                self.on_left_bridge(&channel.id, &bridge, &members, now);
            }
            AriEvent::Transfer { channels, .. } => self.on_transfer(&channels, now),
            AriEvent::CallBroadcast { .. } | AriEvent::ApplicationReplaced { .. } => {}
            AriEvent::Other { kind, .. } => {
                debug!(kind, "not ours to handle");
                self.stats.other_events += 1;
            }
        }
    }

    fn on_key(&mut self, channel: &str, key: PressedKey) {
        for (call, leg) in self.parts_of(channel) {
            self.tell_key(&call, leg, key);
        }
        self.hold_key(channel, key);
    }

    fn on_entered(&mut self, channel: AriChannel, now: Instant) {
        self.drop_removals_of_former(&channel);
        let object = AriObject::Channel(channel.id.clone());
        if self.removals.contains_key(&object) {
            self.removal_seen(&object);
            return;
        }
        match self.owners.get(&channel.id).cloned() {
            Some(
                ObjectOwner::Media { call, generation } | ObjectOwner::Snoop { call, generation },
            ) => {
                self.part_entered(&channel.id, &call, generation, now);
            }
            Some(ObjectOwner::Party { call }) => self.party_entered(&call, channel, now),
            Some(ObjectOwner::Bridge) => {}
            None if self.is_other_half(&channel.id) => self.send_on(&channel),
            None => self.on_unknown_entered(channel, now),
        }
    }

    fn on_unknown_entered(&mut self, channel: AriChannel, now: Instant) {
        let resumed = self.was_open(&channel);
        match self.stray(&channel, true) {
            _ if resumed => self.open_stasis(channel, true, None, now),
            StrayKind::Orphan(rank) => {
                let group = self.next_serial();
                self.reap_channel(&channel, rank, group);
            }
            StrayKind::Placed => self.take_placed(channel, None, now),
            StrayKind::NotOurs | StrayKind::Returned if channel.is_media() => {
                debug!(channel = channel.id, "another's media; left alone");
            }
            StrayKind::NotOurs | StrayKind::Returned => self.open_stasis(channel, false, None, now),
        }
    }

    fn on_left(&mut self, channel: &str, now: Instant) {
        match self.owners.get(channel).cloned() {
            Some(ObjectOwner::Media { call, generation }) => {
                self.media_gone(&call, generation, now)
            }
            Some(ObjectOwner::Snoop { call, generation }) => {
                self.snoop_gone(&call, generation, now)
            }
            Some(ObjectOwner::Party { call }) if self.is_waiting_caller(&call) => {
                self.refuse_gone(&call)
            }
            Some(ObjectOwner::Party { call }) => {
                // A tapped channel may come and go in other applications.
                if self.calls.get(&call).is_some_and(|call| call.in_stasis) {
                    self.begin_end(&call, HangupSign::Left, now);
                }
            }
            Some(ObjectOwner::Bridge) | None => {}
        }
    }

    fn on_destroyed(
        &mut self,
        channel: &AriChannel,
        cause: Option<u16>,
        text: String,
        now: Instant,
    ) {
        match self.owners.get(&channel.id).cloned() {
            Some(ObjectOwner::Party { call }) => {
                if let Some(call) = self.calls.get_mut(&call) {
                    call.following = ChannelSubscription::Over;
                }
                self.end_party(&call, channel, cause, Some(text), now);
                // Nothing better can follow.
                self.close(&call);
            }
            Some(_) => self.on_left(&channel.id, now),
            None => {}
        }
        self.removals_destroyed(channel);
        self.forget_peer(&channel.id, now);
    }

    fn on_hangup_request(&mut self, channel: &AriChannel, cause: Option<u16>, now: Instant) {
        if let Some(ObjectOwner::Party { call }) = self.owners.get(&channel.id).cloned() {
            self.end_party(&call, channel, cause, None, now);
        }
    }

    fn end_party(
        &mut self,
        id: &str,
        channel: &AriChannel,
        cause: Option<u16>,
        text: Option<String>,
        now: Instant,
    ) {
        // The end of a call that we placed may overtake the answer to our request.
        self.ensure_opened(id, channel, now);
        if matches!(
            self.calls.get(id).map(|call| &call.stage),
            Some(CallStage::Asking(_))
        ) {
            self.refuse_gone(id);
            return;
        }
        self.tell_gone(id);
        self.begin_end(id, HangupSign::HungUp { cause, text }, now);
    }

    fn refuse_gone(&mut self, id: &str) {
        let message = "the channel ended".to_owned();
        self.refuse_asking(
            id,
            &super::RequestFailure::Refused {
                status: 404,
                message,
            },
        );
    }

    fn on_state(&mut self, channel: AriChannel) {
        let Some(call) = self.told_party(&channel.id) else {
            return;
        };
        let up = channel.is_up();
        self.notice(ControlNotice::StateChange {
            call: call.clone(),
            channel: channel.id,
            state: channel.state,
        });
        if up {
            self.mark_answered(&call);
        }
    }

    /// The call whose own channel this is, if it has been told of.
    pub(super) fn told_party(&self, channel: &str) -> Option<String> {
        let Some(ObjectOwner::Party { call }) = self.owners.get(channel) else {
            return None;
        };
        let told = !matches!(self.calls.get(call)?.stage, CallStage::Asking(_));
        told.then(|| call.clone())
    }

    /// Whether this is the far half (`…;2`) of a Local channel that is a call of ours.
    pub(super) fn is_other_half(&self, channel: &str) -> bool {
        channel
            .strip_suffix(";2")
            .or_else(|| channel.strip_suffix(";1"))
            .is_some_and(|id| {
                self.calls
                    .get(id)
                    .is_some_and(|call| call.kind == CallKind::Initiated)
            })
    }
}
