//! Lists instead of events: what was missed while nobody listened is lost, so after every
//! connection, and some time after anything went unanswered, the lists of channels, bridges
//! and of our application are compared with what we believe. Events that arrive while the
//! lists are on their way are kept, and judged after them in their order.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::comparing::Lists;
use super::io::{Notice, RequestFailure};
use super::one_by_one::{Part, cannot_be_listed};
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
    pub(super) channels: Part<Channel>,
    pub(super) bridges: Part<Bridge>,
    pub(super) application: Option<Application>,
    /// Objects that are there and cannot be described.
    pub(super) unseen: BTreeSet<String>,
    /// Why a list cannot be had as a whole.
    trouble: Option<String>,
    kept: VecDeque<Event>,
}

impl Listing {
    fn is_complete(&self) -> bool {
        self.channels.is_complete() && self.bridges.is_complete() && self.application.is_some()
    }

    pub(super) fn take_channels(
        &mut self,
        list: Result<Vec<Channel>, RequestFailure>,
    ) -> Result<(), RequestFailure> {
        self.channels = self.part(list, "channels")?;
        Ok(())
    }

    pub(super) fn take_bridges(
        &mut self,
        list: Result<Vec<Bridge>, RequestFailure>,
    ) -> Result<(), RequestFailure> {
        self.bridges = self.part(list, "bridges")?;
        Ok(())
    }

    /// A list came, or cannot be had as a whole.
    fn part<T>(
        &mut self,
        list: Result<Vec<T>, RequestFailure>,
        what: &str,
    ) -> Result<Part<T>, RequestFailure> {
        match list {
            Ok(list) => Ok(Part::Whole(list)),
            Err(failure) if cannot_be_listed(&failure) => {
                let text = format!(
                    "GET /{what} is answered with {failure}, for one of them cannot be described; ours are looked for one by one"
                );
                self.trouble.get_or_insert(text);
                Ok(Part::Refused)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Keeps an event; whether there was room.
    pub(super) fn keep(&mut self, event: Event) -> bool {
        let room = self.kept.len() < MAX_KEPT;
        if room {
            self.kept.push_back(event);
        }
        room
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
        self.ask_one_by_one(now);
        if !matches!(&self.link, Link::Listing(listing) if listing.is_complete()) {
            return;
        }
        let Link::Listing(listing) = std::mem::replace(&mut self.link, Link::Up) else {
            return;
        };
        let Listing {
            channels,
            bridges,
            application,
            unseen,
            trouble,
            kept,
        } = *listing;
        let lists = Lists {
            unseen,
            channels: channels
                .into_found()
                .into_iter()
                .map(|c| (c.id.clone(), c))
                .collect(),
            bridges: bridges
                .into_found()
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
        self.tell_trouble(trouble);
        self.notice(Notice::Synced);
        for event in kept {
            self.apply_event(event, now);
        }
    }

    fn fail_listing(&mut self, failure: &RequestFailure, now: Instant) {
        self.tell_trouble(Some(format!("Asterisk's lists cannot be had: {failure}")));
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

    /// Tells what is amiss, or that nothing is any more, when it has changed.
    fn tell_trouble(&mut self, trouble: Option<String>) {
        if self.trouble == trouble {
            return;
        }
        if let Some(text) = &trouble {
            warn!(text, "not all of Asterisk can be seen");
        }
        self.trouble.clone_from(&trouble);
        self.notice(Notice::Trouble(trouble));
    }

    fn drop_list_requests(&mut self) {
        self.pending.retain(|_, pending| {
            !matches!(
                pending.purpose,
                Purpose::Channels
                    | Purpose::Bridges
                    | Purpose::Application
                    | Purpose::OneChannel(_)
                    | Purpose::OneBridge(_)
            )
        });
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
