//! Relation between Asterisk's channels and calls.

use std::collections::BTreeSet;

use asterscribe_call::{CallId, CallKey};

use super::{CallRegistry, RegisteredCall, StoredHistory, WriteHold};
use crate::calls::channel::ChannelLife;

impl CallRegistry {
    /// The open call of Asterisk's channel of that id.
    pub(crate) fn call_on(&self, channel: &str) -> Option<CallId> {
        self.channels.get(channel).cloned()
    }

    /// The newest call of Asterisk's channel of that id, open or ended a moment ago.
    pub(crate) fn newest_on(&self, channel: &str) -> Option<CallId> {
        self.call_on(channel).or_else(|| {
            let mut ended = self.recent.iter().rev();
            let of_it = |entry: &&RegisteredCall| {
                entry.record.origin.is_on_asterisk() && entry.channel == channel
            };
            ended.find(of_it).map(|entry| entry.record.call_id.clone())
        })
    }

    /// The call of this very channel, if it is here.
    pub(crate) fn call_of_life(&self, life: &ChannelLife) -> Option<CallId> {
        let is_it = |entry: &&RegisteredCall| {
            entry.record.origin.is_on_asterisk() && life.is_of(&entry.record)
        };
        let newest = self.channels.get(&life.id);
        let open = newest.and_then(|call| self.open.get(call));
        let ended = self.recent.iter().rev();
        let entry = open.into_iter().chain(ended).find(is_it)?;
        Some(entry.record.call_id.clone())
    }

    /// Marks the call's channel as gone: a later channel of that id is another call's.
    pub(crate) fn channel_gone(&mut self, call: &CallId) {
        self.change(call, |entry| entry.record.identity.channel_gone = true);
    }

    /// Whether the store's history under a call's id belongs to another channel than the call here.
    pub(crate) fn is_anothers(&self, call: &CallId, history: &StoredHistory) -> bool {
        let Some(entry) = self.find(call) else {
            return false;
        };
        if entry.held != WriteHold::History || !entry.record.origin.is_on_asterisk() {
            return false;
        }
        let life = ChannelLife::of_record(&entry.record);
        // What has outlived its record proves nothing.
        !history.record.as_ref().is_some_and(|old| life.is_of(old))
    }

    /// Gives a call another id, before anything was written under the old one.
    pub(crate) fn rename(&mut self, call: &CallId, name: &CallId) {
        if let Some(mut entry) = self.open.remove(call) {
            rename_in(&mut self.order, &mut entry, name);
            self.open.insert(name.clone(), entry);
        }
        let mut recent = self.recent.iter_mut();
        if let Some(entry) = recent.find(|entry| entry.record.call_id == *call) {
            rename_in(&mut self.order, entry, name);
        }
        let live = self.live.values_mut();
        let channels = self.channels.values_mut();
        for known in live.chain(channels).filter(|known| *known == call) {
            known.clone_from(name);
        }
    }
}

/// Gives a call another id, and its place in the list with it.
fn rename_in(order: &mut BTreeSet<CallKey>, entry: &mut RegisteredCall, name: &CallId) {
    order.remove(&CallKey::of(&entry.record));
    entry.record.call_id = name.clone();
    order.insert(CallKey::of(&entry.record));
}
