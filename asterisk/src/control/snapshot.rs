//! Lists instead of events: what was missed while nobody listened is lost, so after every
//! connection, and some time after anything went unanswered, the lists of channels, bridges
//! and of our application are compared with what we believe. Events that arrive while the
//! lists are on their way are kept, and judged after them in their order.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::io::{ControlNotice, RequestFailure};
use super::one_by_one::{PartialList, cannot_be_listed};
use super::reconcile::ObjectSnapshot;
use super::{CallControl, LinkState, RequestPurpose};
use crate::event::AriEvent;
use crate::model::{AriBridge, AriChannel, StasisApplication};
use crate::request::AriRequest;

/// Events kept while the lists are fetched. Beyond them everything is listed anew, and the
/// kept ones are dropped: the lists say the same, but for key presses and changes of state.
const MAX_KEPT: usize = 4096;
/// Pause after a listing that failed; doubles up to half a minute.
const LISTING_PAUSE: Duration = Duration::from_secs(1);

/// Lists on their way.
#[derive(Debug, Default)]
pub(super) struct PendingSnapshot {
    pub(super) channels: PartialList<AriChannel>,
    pub(super) bridges: PartialList<AriBridge>,
    pub(super) application: Option<StasisApplication>,
    /// Objects that are there and cannot be described.
    pub(super) unseen: BTreeSet<String>,
    /// Why a list cannot be had as a whole.
    trouble: Option<String>,
    kept: VecDeque<AriEvent>,
}

impl PendingSnapshot {
    fn is_complete(&self) -> bool {
        self.channels.is_complete() && self.bridges.is_complete() && self.application.is_some()
    }

    pub(super) fn take_channels(
        &mut self,
        list: Result<Vec<AriChannel>, RequestFailure>,
    ) -> Result<(), RequestFailure> {
        self.channels = self.part(list, "channels")?;
        Ok(())
    }

    pub(super) fn take_bridges(
        &mut self,
        list: Result<Vec<AriBridge>, RequestFailure>,
    ) -> Result<(), RequestFailure> {
        self.bridges = self.part(list, "bridges")?;
        Ok(())
    }

    /// A list came, or cannot be had as a whole.
    fn part<T>(
        &mut self,
        list: Result<Vec<T>, RequestFailure>,
        what: &str,
    ) -> Result<PartialList<T>, RequestFailure> {
        match list {
            Ok(list) => Ok(PartialList::Whole(list)),
            Err(failure) if cannot_be_listed(&failure) => {
                let text = format!(
                    "GET /{what} is answered with {failure}, for one of them cannot be described; ours are looked for one by one"
                );
                self.trouble.get_or_insert(text);
                Ok(PartialList::Refused)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Keeps an event; whether there was room.
    pub(super) fn keep(&mut self, event: AriEvent) -> bool {
        let room = self.kept.len() < MAX_KEPT;
        if room {
            self.kept.push_back(event);
        }
        room
    }
}

impl CallControl {
    pub(super) fn begin_listing(&mut self, now: Instant) {
        if !matches!(self.link, LinkState::Up) {
            return;
        }
        self.epoch += 1;
        self.listing_at = None;
        debug!(epoch = self.epoch, "listing");
        self.link = LinkState::Listing(Box::default());
        self.send(AriRequest::ListChannels, RequestPurpose::Channels, now);
        self.send(AriRequest::ListBridges, RequestPurpose::Bridges, now);
        self.send(
            AriRequest::GetApplication {
                app: self.config.app.clone(),
            },
            RequestPurpose::Application,
            now,
        );
    }

    /// Too much happened meanwhile.
    pub(super) fn restart_listing(&mut self, now: Instant) {
        if let LinkState::Listing(listing) = std::mem::replace(&mut self.link, LinkState::Up) {
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
        store: impl FnOnce(&mut PendingSnapshot) -> Result<(), RequestFailure>,
    ) {
        let LinkState::Listing(listing) = &mut self.link else {
            return;
        };
        if let Err(failure) = store(listing) {
            self.fail_listing(&failure, now);
            return;
        }
        self.ask_one_by_one(now);
        if !matches!(&self.link, LinkState::Listing(listing) if listing.is_complete()) {
            return;
        }
        let LinkState::Listing(listing) = std::mem::replace(&mut self.link, LinkState::Up) else {
            return;
        };
        let PendingSnapshot {
            channels,
            bridges,
            application,
            unseen,
            trouble,
            kept,
        } = *listing;
        let lists = ObjectSnapshot {
            app: self.config.app.clone(),
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
        self.notice(ControlNotice::Synced);
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
        if let LinkState::Listing(listing) = std::mem::replace(&mut self.link, LinkState::Up) {
            for event in listing.kept {
                self.apply_event(event, now);
            }
        }
    }

    /// Reports a fault of the lists, or that there is none any more, when that has changed.
    fn tell_trouble(&mut self, trouble: Option<String>) {
        if self.trouble == trouble {
            return;
        }
        if let Some(text) = &trouble {
            warn!(text, "not all of Asterisk can be seen");
        }
        self.trouble.clone_from(&trouble);
        self.notice(ControlNotice::Trouble(trouble));
    }

    fn drop_list_requests(&mut self) {
        self.pending.retain(|_, pending| {
            !matches!(
                pending.purpose,
                RequestPurpose::Channels
                    | RequestPurpose::Bridges
                    | RequestPurpose::Application
                    | RequestPurpose::OneChannel(_)
                    | RequestPurpose::OneBridge(_)
            )
        });
    }
}

fn ending_channel(event: &AriEvent) -> Option<&str> {
    match event {
        AriEvent::StasisEnd { channel }
        | AriEvent::ChannelDestroyed { channel, .. }
        | AriEvent::ChannelHangupRequest { channel, .. } => Some(&channel.id),
        _ => None,
    }
}
