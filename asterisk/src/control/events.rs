//! Events, by whose channel they speak of.

use std::time::Instant;

use tracing::debug;

use super::call::{Following, Owner, Sign, Stage};
use super::config::CallKind;
use super::io::Notice;
use super::removal::Object;
use super::stray::Stray;
use super::{Control, Link};
use crate::event::Event;
use crate::model::Channel;

impl Control {
    pub(super) fn on_event(&mut self, event: Event, now: Instant) {
        self.stats.events += 1;
        if let Some(told) = event.timestamp() {
            self.event_time.hear(told, now);
        }
        if let Event::ApplicationReplaced { application } = &event {
            if *application == self.config.app {
                self.give_up();
            }
            return;
        }
        if let Event::CallBroadcast { channel } = &event {
            // Whatever else goes on: the offer lasts half a second.
            self.claim(&channel.id, now);
            return;
        }
        match &mut self.link {
            // The lists are on their way; what happened meanwhile is judged after them.
            Link::Listing(listing) => {
                if !listing.keep(event) {
                    self.restart_listing(now);
                }
            }
            Link::Up | Link::Down => self.apply_event(event, now),
            // They are for whoever has the application now.
            Link::Replaced => {}
        }
    }

    pub(super) fn apply_event(&mut self, event: Event, now: Instant) {
        if self.is_of_another_life(&event) {
            return;
        }
        match event {
            Event::StasisStart {
                mut channel, args, ..
            } => {
                channel.args = args;
                self.on_entered(*channel, now);
            }
            Event::StasisEnd { channel } => self.on_left(&channel.id, now),
            Event::ChannelDestroyed {
                channel,
                cause,
                cause_txt,
            } => {
                self.on_destroyed(&channel, cause, cause_txt, now);
            }
            Event::ChannelHangupRequest { channel, cause, .. } => {
                self.on_hangup_request(&channel, cause, now)
            }
            Event::ChannelStateChange { channel, .. } => self.on_state(*channel),
            Event::ChannelDtmfReceived {
                channel,
                digit,
                duration_ms,
                timestamp,
            } => {
                let at = self.event_time.of(timestamp, now);
                for (call, leg) in self.parts_of(&channel.id) {
                    self.notice(Notice::Dtmf {
                        call,
                        leg,
                        digit,
                        duration_ms,
                        at,
                    });
                }
            }
            Event::ChannelHold { channel, timestamp } => {
                let at = self.event_time.of(timestamp, now);
                self.on_hold(&channel.id, true, at);
            }
            Event::ChannelUnhold { channel, timestamp } => {
                let at = self.event_time.of(timestamp, now);
                self.on_hold(&channel.id, false, at);
            }
            Event::ChannelConnectedLine { channel } => self.on_connected_line(*channel, now),
            Event::ChannelEnteredBridge {
                channel,
                bridge,
                members,
            } => {
                self.on_entered_bridge(&channel.id, &bridge, &members, now);
            }
            Event::Transfer { channels, .. } => self.on_transfer(&channels, now),
            Event::CallBroadcast { .. } | Event::ApplicationReplaced { .. } => {}
            Event::Other { kind, .. } => {
                debug!(kind, "not ours to handle");
                self.stats.other_events += 1;
            }
        }
    }

    fn on_entered(&mut self, channel: Channel, now: Instant) {
        let object = Object::Channel(channel.id.clone());
        if self.removals.contains_key(&object) {
            self.removal_seen(&object);
            return;
        }
        match self.owners.get(&channel.id).cloned() {
            Some(Owner::Media { call, generation } | Owner::Snoop { call, generation }) => {
                self.part_entered(&channel.id, &call, generation, now);
            }
            Some(Owner::Party { call }) => self.party_entered(&call, channel, now),
            Some(Owner::Bridge) => {}
            None if self.is_other_half(&channel.id) => self.send_on(&channel.id),
            None => self.on_unknown_entered(channel, now),
        }
    }

    fn on_unknown_entered(&mut self, channel: Channel, now: Instant) {
        let resumed = self.was_open(&channel);
        match self.stray(&channel, true) {
            _ if resumed => self.open_stasis(channel, true, None, now),
            Stray::Orphan(rank) => {
                let group = self.next_serial();
                self.reap_channel(&channel.id, rank, group);
            }
            Stray::Placed => self.take_placed(channel, None, now),
            Stray::NotOurs | Stray::Returned if channel.is_media() => {
                debug!(channel = channel.id, "another's media; left alone");
            }
            Stray::NotOurs | Stray::Returned => self.open_stasis(channel, false, None, now),
        }
    }

    fn on_left(&mut self, channel: &str, now: Instant) {
        match self.owners.get(channel).cloned() {
            Some(Owner::Media { call, generation }) => self.media_gone(&call, generation, now),
            Some(Owner::Snoop { call, generation }) => self.snoop_gone(&call, generation, now),
            Some(Owner::Party { call }) if self.is_waiting_caller(&call) => self.refuse_gone(&call),
            Some(Owner::Party { call }) => {
                // A tapped channel may come and go in other applications.
                if self.calls.get(&call).is_some_and(|call| call.in_stasis) {
                    self.begin_end(&call, Sign::Left, now);
                }
            }
            Some(Owner::Bridge) | None => {}
        }
    }

    fn on_destroyed(&mut self, channel: &Channel, cause: Option<u16>, text: String, now: Instant) {
        match self.owners.get(&channel.id).cloned() {
            Some(Owner::Party { call }) => {
                if let Some(call) = self.calls.get_mut(&call) {
                    call.following = Following::Over;
                }
                self.end_party(&call, channel, cause, Some(text), now);
                // Nothing better can follow.
                self.close(&call);
            }
            Some(_) => self.on_left(&channel.id, now),
            None => {}
        }
        self.removal_destroyed(&Object::Channel(channel.id.clone()));
        self.forget_peer(&channel.id, now);
    }

    fn on_hangup_request(&mut self, channel: &Channel, cause: Option<u16>, now: Instant) {
        if let Some(Owner::Party { call }) = self.owners.get(&channel.id).cloned() {
            self.end_party(&call, channel, cause, None, now);
        }
    }

    fn end_party(
        &mut self,
        id: &str,
        channel: &Channel,
        cause: Option<u16>,
        text: Option<String>,
        now: Instant,
    ) {
        // The end of a call that we placed may overtake the answer to our request.
        self.ensure_opened(id, channel, now);
        if matches!(
            self.calls.get(id).map(|call| &call.stage),
            Some(Stage::Asking(_))
        ) {
            self.refuse_gone(id);
            return;
        }
        self.tell_gone(id);
        self.begin_end(id, Sign::HungUp { cause, text }, now);
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

    fn on_state(&mut self, channel: Channel) {
        let Some(call) = self.told_party(&channel.id) else {
            return;
        };
        let up = channel.is_up();
        self.notice(Notice::StateChange {
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
        let Some(Owner::Party { call }) = self.owners.get(channel) else {
            return None;
        };
        let told = !matches!(self.calls.get(call)?.stage, Stage::Asking(_));
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
