//! Objects that have ids of ours and belong to no call: what a predecessor left goes, and who
//! talks on a call that it placed is taken up.
//!
//! An id alone proves little, for anybody may choose one. A channel must also be of the kind
//! that its id says, and, where Asterisk tells what it executes, be in our application.

use std::collections::BTreeMap;
use std::time::Instant;

use tracing::info;

use super::CallControl;
use super::naming::{ObjectMaker, OwnId, OwnKind};
use super::party_look::PartyIdentity;
use super::ports::CallEntry;
use super::reconcile::ObjectSnapshot;
use super::teardown::{AriObject, ObjectTeardown, TeardownAction, TeardownRank};
use crate::model::{AriBridge, AriChannel};

/// The kind of a channel that belongs to no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StrayKind {
    /// Another application or a user made it, or it has gone on elsewhere: it is left alone.
    NotOurs,
    /// This application made it and no call has it: it is removed.
    Orphan(TeardownRank),
    /// Channel of a call that another process of this application placed: the call is taken up.
    Placed,
    /// Channel of a call that this process placed, which had left the application and is back.
    Returned,
}

/// Departure of a call that we placed, where it did not simply leave our application: who did, or
/// of whom nothing is remembered, is a caller like any other should he come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallDeparture {
    /// The party is to be hung up: whoever asked for the call was told that it did not come about, or is
    /// over.
    Unwanted,
    /// Another process took our application over; should we have it again, it is as it was.
    TakenOver,
}

/// Number of calls whose departure is remembered. Who is forgotten is not hung up.
const MAX_DEPARTED: usize = 1024;

impl CallControl {
    pub(super) fn remember_departed(&mut self, id: &str, how: CallDeparture) {
        self.departed.retain(|(departed, _)| departed != id);
        if self.departed.len() >= MAX_DEPARTED {
            self.departed.pop_front();
        }
        self.departed.push_back((id.to_owned(), how));
    }

    pub(super) fn forget_departure(&mut self, id: &str) {
        self.departed.retain(|(departed, _)| departed != id);
    }

    /// Notes that a party is to be hung up, if we placed the call.
    pub(super) fn remember_unwanted(&mut self, id: &str) {
        let own = self.naming.read(id);
        if own.is_some_and(|own| own.kind == OwnKind::Call && own.maker == ObjectMaker::Us) {
            self.remember_departed(id, CallDeparture::Unwanted);
        }
    }

    fn departure(&self, id: &str) -> Option<CallDeparture> {
        let mut departed = self.departed.iter();
        departed.find(|(d, _)| d == id).map(|(_, how)| *how)
    }

    /// Kind of a channel that belongs to no call. `heard`: the application receives its events.
    pub(super) fn stray(&self, channel: &AriChannel, heard: bool) -> StrayKind {
        let Some(OwnId { kind, maker }) = self.naming.read(&channel.id) else {
            return StrayKind::NotOurs;
        };
        let is_elsewhere = channel
            .stasis_app()
            .is_some_and(|app| app != self.config.app);
        match kind {
            _ if is_elsewhere => StrayKind::NotOurs,
            OwnKind::Media if channel.is_external_media() => StrayKind::Orphan(TeardownRank::Media),
            OwnKind::Snoop if channel.is_snoop() => StrayKind::Orphan(TeardownRank::Snoop),
            OwnKind::Call if !channel.is_media() => self.stray_call(channel, maker, heard),
            _ => StrayKind::NotOurs,
        }
    }

    fn stray_call(&self, channel: &AriChannel, maker: ObjectMaker, heard: bool) -> StrayKind {
        let is_ours = channel.seems_in_stasis();
        match maker {
            // Who was answered and is not in our application was sent elsewhere by somebody.
            _ if channel.is_up() && !is_ours => StrayKind::NotOurs,
            ObjectMaker::Us => match self.departure(&channel.id) {
                Some(CallDeparture::TakenOver) => StrayKind::Placed,
                Some(CallDeparture::Unwanted) => StrayKind::Orphan(TeardownRank::Party),
                None if channel.is_up() => StrayKind::Returned,
                // It rings for nobody.
                None => StrayKind::Orphan(TeardownRank::Party),
            },
            _ if !heard => StrayKind::NotOurs,
            ObjectMaker::Another => StrayKind::Placed,
            ObjectMaker::Unknown if channel.is_up() => StrayKind::Placed,
            ObjectMaker::Unknown => StrayKind::Orphan(TeardownRank::Party),
        }
    }

    /// Whether a bridge has an id of ours and no call.
    pub(super) fn is_stray_bridge(&self, bridge: &AriBridge) -> bool {
        let is_named = self
            .naming
            .read(&bridge.id)
            .is_some_and(|own| own.kind == OwnKind::Bridge);
        // What applications make has this creator, where it is told.
        let is_made = matches!(bridge.creator.as_str(), "" | "Stasis");
        is_named && is_made && !self.owners.contains_key(&bridge.id)
    }

    /// Takes a call up that another process of ours placed.
    pub(super) fn take_placed(&mut self, channel: AriChannel, hold: Option<u64>, now: Instant) {
        let answered = channel.seems_in_stasis();
        if answered && let Some(refusal) = self.refusal(true) {
            self.turn_away(channel, refusal, now);
            return;
        }
        let id = channel.id.clone();
        if self.stopping {
            // It rings for nobody.
            let group = self.next_serial();
            return self.reap_channel(&channel, TeardownRank::Party, group);
        }
        if self.is_full() {
            // There may be room once it is answered.
            return;
        }
        let hold = hold.filter(|_| answered);
        let entry = CallEntry::ResumedInitiated { channel, answered };
        self.enter(&id, entry, hold, now);
    }

    /// Takes up the taps of another process of ours: both of a call's sides are spied on.
    pub(super) fn take_taps(&mut self, lists: &ObjectSnapshot, group: u64, now: Instant) {
        let mut sides: BTreeMap<&str, usize> = BTreeMap::new();
        for channel in lists.channels.values() {
            let maker = self.naming.read(&channel.id).map(|own| own.maker);
            let is_lost = self.stray(channel, true) == StrayKind::Orphan(TeardownRank::Snoop);
            if is_lost
                && maker != Some(ObjectMaker::Us)
                && let Some(spied) = channel.spied_on()
            {
                *sides.entry(spied).or_default() += 1;
            }
        }
        for (tapped, sides) in sides {
            let Some(channel) = lists.channels.get(tapped).filter(|_| sides > 1) else {
                continue;
            };
            let is_taken = self.owners.contains_key(tapped) || channel.is_media();
            if !is_taken && self.refusal(true).is_none() {
                info!(channel = tapped, "a tap of another process is taken up");
                let entry = CallEntry::ResumedTap(channel.clone());
                self.enter(tapped, entry, Some(group), now);
            }
        }
    }

    /// Removes a channel of ours that belongs to no call.
    pub(super) fn reap_channel(&mut self, channel: &AriChannel, rank: TeardownRank, group: u64) {
        let removal = ObjectTeardown::new(TeardownAction::Delete, rank, group).orphan();
        let removal = removal.of(PartyIdentity::of(channel, &self.config.app));
        self.remove(AriObject::Channel(channel.id.clone()), removal);
    }

    /// Removes a bridge of ours that belongs to no call.
    pub(super) fn reap_bridge(&mut self, id: &str, group: u64) {
        let removal =
            ObjectTeardown::new(TeardownAction::Delete, TeardownRank::Bridge, group).orphan();
        self.remove(AriObject::Bridge(id.to_owned()), removal);
    }
}
