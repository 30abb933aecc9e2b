//! History in the store of calls that come back: after a restart, after an hour, or under an id
//! that is used again.

use std::collections::HashSet;
use std::time::Duration;

use asterscribe_call::{CallId, CallOrigin, CallStatus, EndReason};
use asterscribe_clock as clock;
use asterscribe_store::StoreError;
use uuid::Uuid;

use super::CallManager;
use super::ari::RecalledCall;
use super::channel::ChannelLife;
use super::opening::MOST_IDS;
use super::registry::StoredHistory;
use crate::service::{PartHealth, PartState};

/// How long the store may take to get what was written before it is asked.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

/// Time between two attempts while the store is away.
const AGAIN: Duration = Duration::from_secs(1);

fn rival(node: &str) -> String {
    format!(
        "another server that runs on this store has NODE_NAME={node}, too: nothing that an earlier one left open is settled; give each a name of its own"
    )
}

impl CallManager {
    /// Asks the store about every call that may have been here before. Until then the records of
    /// such calls are held back, lest they take the place of the older ones.
    pub async fn follow_histories(&self) {
        let mut told = false;
        loop {
            let Some(call) = self.registry(|registry| registry.next_unknown()) else {
                self.stored.unknown.notified().await;
                continue;
            };
            match self.written_history(&call).await {
                Ok(history) => {
                    told = false;
                    let is_anothers = |history: &StoredHistory| {
                        self.registry(|registry| registry.is_anothers(&call, history))
                    };
                    if history.as_ref().is_some_and(is_anothers) {
                        self.give_way(&call);
                    } else {
                        self.learn(&call, history);
                    }
                }
                Err(StoreError::Broken(reason)) => {
                    tracing::error!(%call, reason, "the stored history of this call is unreadable; its lines are numbered from zero");
                    self.learn(&call, None);
                }
                Err(StoreError::Unavailable(reason) | StoreError::Denied(reason)) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%call, reason, "the store cannot tell whether it knows this call; asking again");
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// The history once the store has all that was written so far.
    async fn written_history(&self, call: &CallId) -> Result<Option<StoredHistory>, StoreError> {
        self.stored.flush(WRITTEN_WITHIN).await?;
        self.stored.history(call).await
    }

    fn learn(&self, call: &CallId, history: Option<StoredHistory>) {
        if let Some(StoredHistory { record, lines, .. }) = &history {
            let of_another = record
                .as_ref()
                .filter(|r| r.node != self.config.node && r.status.is_open());
            if let Some(record) = of_another {
                tracing::warn!(%call, node = record.node, "taking over a call that the store lists as open on another node");
            }
            tracing::info!(%call, lines, "the call has a stored history; its transcript continues");
        }
        self.registry(|registry| registry.learn(call, history));
        self.hear_again();
    }

    /// Gives a call another id, because the store has a different call under the one it began with,
    /// which could not be asked for at that time. Nothing has been written yet; the store is asked
    /// about the new id next.
    fn give_way(&self, call: &CallId) {
        self.registry(|registry| {
            let Some(entry) = registry.find(call) else { return };
            let life = ChannelLife::of_record(&entry.record);
            let ids = life.call_ids().take(MOST_IDS);
            let mut behind = ids.skip_while(|id| id != call).skip(1);
            let id = behind.find(|id| registry.find(id).is_none()).unwrap_or_else(|| {
                let id = format!("call-{}", Uuid::new_v4());
                id.parse().expect("letters, digits and dashes")
            });
            tracing::warn!(%call, %id, "the store has another call with this id; the new call gets another id");
            registry.rename(call, &id);
        });
    }

    /// Ends a call in the store that an earlier process left open and that does not go on.
    pub(super) fn settle(&self, left: StoredHistory, text: String) {
        self.registry(|registry| registry.settle(left, clock::wall(), text));
        self.hear_again();
    }

    /// Reads what an earlier process of this node left open in the store.
    /// Calls that can go on are kept for Asterisk to confirm, the others are
    /// settled. Returns those kept: the call, its channel, its origin.
    pub async fn recall(&self) -> Result<Vec<RecalledCall>, StoreError> {
        let mut resumable = Vec::new();
        for record in self.stored.store.open_calls().await? {
            // Calls of other nodes are theirs; those that this process had are no leftovers,
            // though the store may not have heard of their end yet.
            let call = record.call_id.clone();
            let had = self.registry(|registry| registry.find(&call).is_some());
            if record.node != self.config.node || had {
                continue;
            }
            let on_asterisk = matches!(
                record.origin,
                CallOrigin::Stasis | CallOrigin::Initiated | CallOrigin::Tap
            );
            let history = match self.stored.history(&call).await {
                Ok(history) => history.unwrap_or_default(),
                // The others are not to suffer for it.
                Err(StoreError::Broken(reason)) => {
                    tracing::error!(%call, reason, "the stored history of this call is unreadable; it is closed by its record alone");
                    let lines = record.lines;
                    StoredHistory {
                        record: Some(record.clone()),
                        lines,
                        ..StoredHistory::default()
                    }
                }
                Err(away) => return Err(away),
            };
            if !on_asterisk || self.asterisk.link.is_none() {
                self.settle(history, "the server was restarted".to_owned());
                continue;
            }
            resumable.push(RecalledCall {
                call: call.clone(),
                channel: super::channel::of_record(&record),
                created_at: record.identity.channel_created_at,
                origin: record.origin,
            });
            self.stored.keep_left(call, history);
        }
        let resumable = self.settle_older(resumable);
        self.stored.set_recalled();
        self.hear_again();
        Ok(resumable)
    }

    /// Whether another server that runs on this store has our name.
    pub fn has_rival(&self, has: bool) {
        let had = self.stored.set_rival(has);
        let node = &self.config.node;
        match (had, has) {
            (false, true) => tracing::error!(node, "{}", rival(node)),
            (true, false) => tracing::info!(node, "no other server uses this NODE_NAME now"),
            _ => {}
        }
    }

    /// Health of the store, degraded if another server uses our `NODE_NAME` in it.
    pub(super) fn with_rival(&self, store: PartHealth) -> PartHealth {
        if !self.stored.has_rival() {
            return store;
        }
        PartHealth {
            state: match store.state {
                PartState::Ok => PartState::Degraded,
                worse => worse,
            },
            detail: format!("{}; {}", store.detail, rival(&self.config.node)),
        }
    }

    /// Ends older calls in the store: of several that were open on channels of one id only the
    /// newest can go on.
    fn settle_older(&self, mut resumable: Vec<RecalledCall>) -> Vec<RecalledCall> {
        resumable.sort_by_key(|one| std::cmp::Reverse(one.created_at));
        let mut seen = HashSet::new();
        let (newest, older): (Vec<_>, Vec<_>) = resumable
            .into_iter()
            .partition(|one| seen.insert(one.channel.clone()));
        for one in older {
            let text = "the server was restarted".to_owned();
            self.call_over(
                &one.call,
                EndReason { cause: None, text },
                CallStatus::Failed,
            );
        }
        newest
    }

    /// Settles what an earlier process left, once a store that was away at start is back.
    pub async fn settle_later(&self) {
        let mut again = tokio::time::interval(WRITTEN_WITHIN);
        let mut told = None;
        loop {
            again.tick().await;
            let left = match self.recall().await {
                Ok(left) => left,
                Err(error) => {
                    if told.as_ref() != Some(&error) {
                        tracing::warn!(%error, "the store still cannot list the calls left open");
                    }
                    told = Some(error);
                    continue;
                }
            };
            for RecalledCall { call, .. } in left {
                // Asterisk was asked long ago: what it still has was opened meanwhile.
                let text = "the server was restarted".to_owned();
                self.call_over(&call, EndReason { cause: None, text }, CallStatus::Failed);
            }
            return;
        }
    }
}
