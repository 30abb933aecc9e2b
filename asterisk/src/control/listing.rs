//! Lists instead of events: what was missed while nobody listened is lost, so after every
//! connection, and some time after anything went unanswered, the lists of channels, bridges
//! and of our application are compared with what we believe. Events that arrive while the
//! lists are on their way are kept, and judged after them in their order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::call::{Asking, Stage, Step};
use super::config::{CallKind, RecoverCall};
use super::io::{Notice, RequestFailure};
use super::removal::{Action, Object, Rank, Removal};
use super::{Control, Link, Purpose};
use crate::event::Event;
use crate::model::{Application, Bridge, Channel};
use crate::request::Request;

/// Events kept while the lists are fetched. Beyond them everything is listed anew, and the
/// kept ones are dropped: the lists say the same, but for key presses and changes of state.
const MAX_KEPT: usize = 4096;
/// Pause after a listing that failed; doubles up to half a minute.
const LISTING_PAUSE: Duration = Duration::from_secs(1);

/// Lists on their way.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) channels: Option<Vec<Channel>>,
    pub(super) bridges: Option<Vec<Bridge>>,
    pub(super) application: Option<Application>,
    kept: VecDeque<Event>,
}

impl Listing {
    /// Keeps an event; whether there was room.
    pub(super) fn keep(&mut self, event: Event) -> bool {
        let room = self.kept.len() < MAX_KEPT;
        if room {
            self.kept.push_back(event);
        }
        room
    }
}

/// Complete lists.
struct Lists {
    channels: BTreeMap<String, Channel>,
    bridges: BTreeMap<String, Bridge>,
    heard: BTreeSet<String>,
    /// Channels whose end is among the kept events, which know its cause.
    ending: BTreeSet<String>,
}

impl Lists {
    fn in_stasis(&self, channel: &Channel) -> bool {
        self.heard.contains(&channel.id) && channel.seems_in_stasis()
    }
}

impl Control {
    pub(super) fn begin_listing(&mut self, now: Instant) {
        if !matches!(self.link, Link::Up) {
            return;
        }
        self.epoch += 1;
        self.listing_at = None;
        debug!(epoch = self.epoch, "listing");
        self.link = Link::Listing(Box::default());
        self.send(Request::ListChannels, Purpose::Channels, now);
        self.send(Request::ListBridges, Purpose::Bridges, now);
        self.send(
            Request::GetApplication {
                app: self.config.app.clone(),
            },
            Purpose::Application,
            now,
        );
    }

    /// Too much happened meanwhile.
    pub(super) fn restart_listing(&mut self, now: Instant) {
        if let Link::Listing(listing) = std::mem::replace(&mut self.link, Link::Up) {
            warn!(
                dropped = listing.kept.len() + 1,
                "the lists took too long; listing anew"
            );
            self.stats.dropped_events += listing.kept.len() as u64 + 1;
        }
        self.drop_list_requests();
        self.begin_listing(now);
    }

    /// Lists again before long, for something may have been left behind.
    pub(super) fn audit_soon(&mut self, now: Instant) {
        self.list_within(self.config.audit_delay, now);
    }

    fn list_within(&mut self, delay: Duration, now: Instant) {
        if self.is_connected() {
            let at = now + delay;
            self.listing_at = Some(self.listing_at.map_or(at, |set| set.min(at)));
        }
    }

    pub(super) fn on_listed(
        &mut self,
        now: Instant,
        store: impl FnOnce(&mut Listing) -> Result<(), RequestFailure>,
    ) {
        let Link::Listing(listing) = &mut self.link else {
            return;
        };
        if let Err(failure) = store(listing) {
            self.fail_listing(&failure, now);
            return;
        }
        if listing.channels.is_none() || listing.bridges.is_none() || listing.application.is_none()
        {
            return;
        }
        let Link::Listing(listing) = std::mem::replace(&mut self.link, Link::Up) else {
            return;
        };
        let Listing {
            channels,
            bridges,
            application,
            kept,
        } = *listing;
        let lists = Lists {
            channels: channels
                .unwrap_or_default()
                .into_iter()
                .map(|c| (c.id.clone(), c))
                .collect(),
            bridges: bridges
                .unwrap_or_default()
                .into_iter()
                .map(|b| (b.id.clone(), b))
                .collect(),
            heard: application
                .unwrap_or_default()
                .channel_ids
                .into_iter()
                .collect(),
            ending: kept
                .iter()
                .filter_map(ending_channel)
                .map(str::to_owned)
                .collect(),
        };
        self.listing_failures = 0;
        self.stats.listings += 1;
        self.list_within(self.config.audit_interval, now);
        self.compare(&lists, now);
        self.notice(Notice::Synced);
        for event in kept {
            self.apply_event(event, now);
        }
    }

    fn fail_listing(&mut self, failure: &RequestFailure, now: Instant) {
        warn!(%failure, "no list to be had");
        self.drop_list_requests();
        let pause = LISTING_PAUSE * 2u32.saturating_pow(self.listing_failures).min(30);
        self.listing_failures += 1;
        self.listing_at = Some(now + pause);
        if let Link::Listing(listing) = std::mem::replace(&mut self.link, Link::Up) {
            for event in listing.kept {
                self.apply_event(event, now);
            }
        }
    }

    fn drop_list_requests(&mut self) {
        self.pending.retain(|_, pending| {
            !matches!(
                pending.purpose,
                Purpose::Channels | Purpose::Bridges | Purpose::Application
            )
        });
    }

    fn compare(&mut self, lists: &Lists, now: Instant) {
        let ids: Vec<String> = self.calls.keys().cloned().collect();
        for id in &ids {
            self.compare_call(id, lists, now);
        }
        // What is taken up is set up only when everything the predecessor made is gone.
        let group = self.next_serial();
        self.recover_calls(lists, group, now);
        self.reap_orphans(lists, group);
        for channel in lists.channels.values() {
            let unknown = !self.owners.contains_key(&channel.id)
                && !self
                    .removals
                    .contains_key(&Object::Channel(channel.id.clone()))
                && !channel.id.starts_with(&self.prefix)
                && !channel.is_media();
            if unknown && lists.in_stasis(channel) {
                self.open_stasis(channel.clone(), false, Some(group), now);
            }
        }
    }

    /// Brings one call into line with the lists.
    fn compare_call(&mut self, id: &str, lists: &Lists, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        // What began while the lists were on their way cannot be in them.
        let judged = call.epoch < self.epoch
            && !matches!(call.stage, Stage::Asking(_) | Stage::Ending(_))
            && !lists.ending.contains(id);
        call.epoch = self.epoch;
        if !judged {
            return;
        }
        let Some(channel) = lists.channels.get(id) else {
            self.close_for(id, "ended while Asterisk was not heard");
            return;
        };
        let ringing = matches!(call.stage, Stage::Ringing { .. });
        if call.in_stasis && !lists.heard.contains(id) {
            self.close_for(id, "left the application while Asterisk was not heard");
            return;
        }
        if ringing && lists.in_stasis(channel) {
            self.party_entered(id, channel.clone(), now);
            return;
        }
        if channel.is_up() {
            self.mark_answered(id);
        }
        self.compare_legs(id, lists, now);
    }

    fn compare_legs(&mut self, id: &str, lists: &Lists, now: Instant) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let mut lost = Vec::new();
        let mut broken = Vec::new();
        for leg in &call.legs {
            if leg.step == Step::Lost {
                lost.push(leg.generation);
            }
            if leg.step != Step::Up || leg.epoch >= self.epoch {
                continue;
            }
            let party = leg.snoop.as_ref().map_or(id, |snoop| snoop.id.as_str());
            let whole = lists.channels.contains_key(&leg.media.id)
                && lists.channels.contains_key(party)
                && lists.bridges.get(&leg.bridge.id).is_some_and(|bridge| {
                    bridge.channels.contains(&leg.media.id)
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
            self.renew_leg(id, generation, now);
        }
    }

    /// Whatever bears our prefix and belongs to no call goes.
    fn reap_orphans(&mut self, lists: &Lists, group: u64) {
        for channel in lists.channels.values() {
            let ours = channel.id.starts_with(&self.prefix)
                && !self.owners.contains_key(&channel.id)
                && !self.is_other_half(&channel.id);
            if ours {
                self.reap_channel_in(channel, group);
            }
        }
        for bridge in lists.bridges.keys() {
            if bridge.starts_with(&self.prefix) && !self.owners.contains_key(bridge) {
                let removal = Removal::new(Action::Delete, Rank::Bridge, group).orphan();
                self.remove(Object::Bridge(bridge.clone()), removal);
            }
        }
    }

    /// Settles what an earlier process left open; once, with the first lists.
    fn recover_calls(&mut self, lists: &Lists, group: u64, now: Instant) {
        for entry in std::mem::take(&mut self.recover) {
            if self.calls.contains_key(&entry.channel) {
                continue;
            }
            match lists.channels.get(&entry.channel) {
                Some(channel) if self.resume(&entry, channel.clone(), lists, group, now) => {
                    info!(call = entry.call, "taken up again");
                }
                _ => {
                    self.stats.ended += 1;
                    let text = "ended while the server was away".to_owned();
                    self.notice(Notice::CallEnded {
                        call: entry.call,
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
        channel: Channel,
        lists: &Lists,
        group: u64,
        now: Instant,
    ) -> bool {
        let id = channel.id.clone();
        if self.stopping || self.open_calls() >= self.config.max_calls {
            return false;
        }
        match entry.kind {
            CallKind::Tap => {
                self.insert_call(
                    &id,
                    CallKind::Tap,
                    Stage::Asking(Asking::Tap {
                        channel: None,
                        resumed: true,
                    }),
                );
                self.hold(&id, group);
                self.subscribe(&id, channel, true, now);
            }
            CallKind::Stasis if lists.in_stasis(&channel) => {
                self.open_stasis(channel, true, Some(group), now)
            }
            CallKind::Initiated if lists.heard.contains(&id) => {
                let until = now + self.config.ring_timeout;
                self.insert_call(&id, CallKind::Initiated, Stage::Ringing { until });
                self.tell_opened(&id, &channel, true);
                if lists.in_stasis(&channel) {
                    self.hold(&id, group);
                    self.party_entered(&id, channel, now);
                }
            }
            CallKind::Stasis | CallKind::Initiated => return false,
        }
        true
    }

    fn hold(&mut self, id: &str, group: u64) {
        if let Some(call) = self.calls.get_mut(id) {
            call.hold = Some(group);
        }
    }

    /// Begins the set-ups that waited for a predecessor's objects to go.
    pub(super) fn release_holds(&mut self, now: Instant) {
        let free: Vec<String> = self
            .calls
            .iter()
            .filter(|(_, call)| matches!(call.stage, Stage::Active))
            .filter(|(_, call)| call.hold.is_some_and(|group| self.group_is_done(group)))
            .map(|(id, _)| id.clone())
            .collect();
        for id in free {
            self.open_legs(&id, now);
        }
    }

    /// Whether an earlier process had this channel's call open; asked once.
    pub(super) fn was_open(&mut self, channel: &str) -> bool {
        let before = self.recover.len();
        self.recover.retain(|entry| entry.channel != channel);
        self.recover.len() < before
    }
}

fn ending_channel(event: &Event) -> Option<&str> {
    match event {
        Event::StasisEnd { channel }
        | Event::ChannelDestroyed { channel, .. }
        | Event::ChannelHangupRequest { channel, .. } => Some(&channel.id),
        _ => None,
    }
}
