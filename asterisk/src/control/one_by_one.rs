//! A list that Asterisk cannot give as a whole.
//!
//! One channel that cannot be described, such as one whose name was cut within a letter, makes
//! `GET /channels` answer 500 for as long as it lives. What concerns us is then asked for one by
//! one: what our application hears of, and what we know of. Whatever answers 500 even so is there,
//! and that is all that is known of it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::call::MediaLeg;
use super::io::RequestFailure;
use super::replies::read;
use super::{CallControl, LinkState, RequestPurpose};
use crate::model::{AriBridge, AriChannel};
use crate::request::AriRequest;

/// Requests for single objects under way at once.
pub(super) const AT_ONCE: usize = 4;

/// A list on its way.
#[derive(Debug, Default)]
pub(super) enum PartialList<T> {
    /// Asked for.
    #[default]
    Asked,
    /// The object cannot be had as a whole; what is to be asked for is known only once the
    /// application is.
    Refused,
    /// Asked for one by one.
    Single {
        left: VecDeque<String>,
        under_way: usize,
        found: Vec<T>,
    },
    /// Here.
    Whole(Vec<T>),
}

impl<T> PartialList<T> {
    /// All there is to be had, once it is.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Asked | Self::Refused => false,
            Self::Single {
                left, under_way, ..
            } => left.is_empty() && *under_way == 0,
            Self::Whole(_) => true,
        }
    }

    pub(super) fn into_found(self) -> Vec<T> {
        match self {
            Self::Asked | Self::Refused => Vec::new(),
            Self::Single { found, .. } | Self::Whole(found) => found,
        }
    }

    fn begin(&mut self, ids: BTreeSet<String>) {
        if matches!(self, Self::Refused) {
            *self = Self::Single {
                left: ids.into_iter().collect(),
                under_way: 0,
                found: Vec::new(),
            };
        }
    }

    /// The next to be asked for, if another may be.
    fn next(&mut self) -> Option<String> {
        let Self::Single {
            left, under_way, ..
        } = self
        else {
            return None;
        };
        if *under_way >= AT_ONCE {
            return None;
        }
        let next = left.pop_front()?;
        *under_way += 1;
        Some(next)
    }

    fn settle(&mut self, one: Option<T>) {
        if let Self::Single {
            under_way, found, ..
        } = self
        {
            *under_way = under_way.saturating_sub(1);
            found.extend(one);
        }
    }
}

/// Whether a list that was refused like this may be had one by one.
pub(super) fn cannot_be_listed(failure: &RequestFailure) -> bool {
    failure.status() == Some(500)
}

impl CallControl {
    /// Asks for single objects where a list was refused and it is known for which.
    pub(super) fn ask_one_by_one(&mut self, now: Instant) {
        let known = self.known_objects();
        let LinkState::Listing(listing) = &mut self.link else {
            return;
        };
        let Some(application) = &listing.application else {
            return;
        };
        let (mut channels, mut bridges) = known;
        channels.extend(application.channel_ids.iter().cloned());
        bridges.extend(application.bridge_ids.iter().cloned());
        listing.channels.begin(channels);
        listing.bridges.begin(bridges);
        let mut requests = Vec::new();
        while let Some(channel) = listing.channels.next() {
            let purpose = RequestPurpose::OneChannel(channel.clone());
            requests.push((AriRequest::GetChannel { channel }, purpose));
        }
        while let Some(bridge) = listing.bridges.next() {
            let purpose = RequestPurpose::OneBridge(bridge.clone());
            requests.push((AriRequest::GetBridge { bridge }, purpose));
        }
        for (request, purpose) in requests {
            self.send(request, purpose, now);
        }
    }

    /// Channels and bridges that we believe in, or are to take up.
    pub(super) fn known_objects(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let legs = || self.calls.values().flat_map(|call| &call.legs);
        let snoop = |leg: &MediaLeg| leg.snoop.as_ref().map(|snoop| snoop.id.clone());
        let calls = self.calls.keys().cloned();
        let media = legs().map(|leg| leg.media.id.clone());
        let recover = self.recover.iter().map(|entry| entry.channel.clone());
        let channels = calls.chain(media).chain(legs().filter_map(snoop));
        let theirs = self.calls.values().filter_map(|call| call.bridge.current());
        let bridges = legs().map(|leg| leg.bridge.id.clone());
        let bridges = bridges.chain(theirs.map(str::to_owned));
        (channels.chain(recover).collect(), bridges.collect())
    }

    pub(super) fn on_one_channel(
        &mut self,
        id: String,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        self.on_listed(now, |listing| {
            let bare = |id| AriChannel {
                id,
                ..AriChannel::default()
            };
            let one = one_of(result)?.known(id, bare, &mut listing.unseen);
            listing.channels.settle(one);
            Ok(())
        });
    }

    pub(super) fn on_one_bridge(
        &mut self,
        id: String,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        self.on_listed(now, |listing| {
            let bare = |id| AriBridge {
                id,
                ..AriBridge::default()
            };
            let one = one_of(result)?.known(id, bare, &mut listing.unseen);
            listing.bridges.settle(one);
            Ok(())
        });
    }
}

/// The result of looking for a single object.
enum ObjectLookup<T> {
    Found(T),
    Absent,
    /// The object is there, and cannot be described.
    Unseen,
}

impl<T> ObjectLookup<T> {
    /// The object, if it is there; one that cannot be described has its id alone, and is noted as
    /// `unseen`.
    fn known(
        self,
        id: String,
        bare: impl FnOnce(String) -> T,
        unseen: &mut BTreeSet<String>,
    ) -> Option<T> {
        match self {
            Self::Found(one) => Some(one),
            Self::Absent => None,
            Self::Unseen => {
                unseen.insert(id.clone());
                Some(bare(id))
            }
        }
    }
}

fn one_of<T: DeserializeOwned>(
    result: Result<Value, RequestFailure>,
) -> Result<ObjectLookup<T>, RequestFailure> {
    match read(result) {
        Ok(one) => Ok(ObjectLookup::Found(one)),
        Err(failure) if failure.status() == Some(404) => Ok(ObjectLookup::Absent),
        Err(failure) if cannot_be_listed(&failure) => Ok(ObjectLookup::Unseen),
        Err(failure) => Err(failure),
    }
}
