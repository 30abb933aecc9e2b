//! The store as the call manager works with it: reader, writer, what an earlier process left open,
//! and whether the store takes writes at all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use asterscribe_call::CallId;
use asterscribe_clock as clock;
use asterscribe_store::{
    CallStore, GivenCounts, StoreError, StoreWriter, WriterSettings, WriterState,
};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::channel::{self, ChannelLife};
use super::lock;
use super::registry::StoredHistory;

/// How long the store may take to say whose an id is. Packets that overtake a call wait longer.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long a store is not asked that did not say it.
const REST: Duration = Duration::from_secs(5);

/// The owner of a call id in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoredOwner {
    /// The store has no call of that id.
    Nothing,
    /// The call of this very channel.
    Same,
    /// Another call.
    Others,
    /// The store cannot be asked now; that is made up for when it can
    /// ([`CallManager::follow_histories`](super::CallManager::follow_histories)).
    Unknown,
}

/// Store, writer and the state of both.
pub(super) struct StoredCalls {
    /// Store, for reading.
    pub(super) store: Arc<dyn CallStore>,
    /// Writer of the store.
    pub(super) writer: StoreWriter,
    /// Signal that there may be a call whose past the store is to be asked for.
    pub(super) unknown: Notify,
    /// Reason why the store refused a write when that was last tried.
    refusal: Mutex<Option<String>>,
    /// Calls of which the store had lost something that was written again.
    restored: AtomicU64,
    /// Calls that an earlier process left open and that may go on.
    resumable: Mutex<HashMap<CallId, StoredHistory>>,
    /// Whether `resumable` has been filled from the store.
    is_recalled: AtomicBool,
    /// Whether another server of our `NODE_NAME` runs on the same store.
    has_rival: AtomicBool,
    /// Time until which the store is not asked whose a call id is, since it did not answer in time.
    rests_until: Mutex<Option<Instant>>,
}

impl StoredCalls {
    pub(super) fn new(store: Arc<dyn CallStore>, writer: StoreWriter) -> Self {
        Self {
            store,
            writer,
            unknown: Notify::new(),
            refusal: Mutex::default(),
            restored: AtomicU64::new(0),
            resumable: Mutex::default(),
            is_recalled: AtomicBool::new(false),
            has_rival: AtomicBool::new(false),
            rests_until: Mutex::default(),
        }
    }

    /// History of a call in the store: record, number of lines, digits; `None` if there is none of
    /// them.
    pub(super) async fn history(&self, call: &CallId) -> Result<Option<StoredHistory>, StoreError> {
        let mut record = self.store.call(call).await?;
        let known = record.as_ref().map_or(0, |record| record.lines);
        // A line is stored, and revised, before the record that counts it, and outlives it.
        let all = self.store.lines(call, 0).await?;
        let lines = all.last().map_or(known, |line| known.max(line.seq + 1));
        if let Some(record) = &mut record {
            record.count_awaited(&all);
        }
        let digits = self.store.dtmf(call).await?;
        let nothing = record.is_none() && lines == 0 && digits.is_empty();
        Ok((!nothing).then_some(StoredHistory {
            record,
            lines,
            digits,
        }))
    }

    /// Waits until the store has all that was written so far.
    pub(super) async fn flush(&self, within: Duration) -> Result<(), StoreError> {
        let flushed = self.writer.flush(within).await;
        flushed.map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// Whether no write waits because the store is away.
    pub(super) fn is_up(&self) -> bool {
        *self.writer.state().borrow() == WriterState::Ok
    }

    /// Whether more should not be written now than must be.
    pub(super) fn is_far_behind(&self) -> bool {
        self.writer.stats().queued > WriterSettings::default().capacity / 2
    }

    /// Tries whether the store would take a write, also while there is none.
    pub(super) async fn try_write(&self) {
        if !self.is_up() {
            // It is tried all the time.
            return;
        }
        let refusal = self.store.try_write().await.err().map(|e| e.to_string());
        let mut known = lock(&self.refusal);
        if let Some(reason) = refusal.as_ref().filter(|_| known.is_none()) {
            tracing::warn!(
                reason,
                store = self.store.name(),
                "the store accepts no writes"
            );
        }
        *known = refusal;
    }

    /// Reason why the store refused a write when that was last tried.
    pub(super) fn refusal(&self) -> Option<String> {
        lock(&self.refusal).clone()
    }

    /// Calls of which the store lacks something; none while it cannot say.
    pub(super) async fn lacking(&self, given: &[GivenCounts], within: Duration) -> Vec<CallId> {
        if given.is_empty() || self.writer.flush(within).await.is_err() {
            return Vec::new();
        }
        let lacking = self.store.lacking(given).await;
        lacking.unwrap_or_else(|error| {
            tracing::debug!(%error, "the store cannot report its contents");
            Vec::new()
        })
    }

    pub(super) fn count_restored(&self) {
        self.restored.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls of which the store had lost something that was written again.
    pub(super) fn restored(&self) -> u64 {
        self.restored.load(Ordering::Relaxed)
    }

    /// Keeps the history of a call that an earlier process left open and that may go on.
    pub(super) fn keep_left(&self, call: CallId, history: StoredHistory) {
        lock(&self.resumable).insert(call, history);
    }

    /// Takes the history of a call that an earlier process left open.
    pub(super) fn take_left(&self, call: &CallId) -> Option<StoredHistory> {
        lock(&self.resumable).remove(call)
    }

    pub(super) fn is_left(&self, call: &CallId) -> bool {
        lock(&self.resumable).contains_key(call)
    }

    /// The call that an earlier process left open and whose channel this is.
    pub(super) fn left_of(&self, life: &ChannelLife) -> Option<CallId> {
        self.left(|history| {
            let record = history.record.as_ref();
            record.is_some_and(|record| life.is_of(record))
        })
    }

    /// The call that an earlier process left open on a channel of that id.
    pub(super) fn left_on(&self, channel: &str) -> Option<CallId> {
        self.left(|history| {
            let record = history.record.as_ref();
            record.is_some_and(|record| channel::of_record(record) == channel)
        })
    }

    fn left(&self, is_it: impl Fn(&StoredHistory) -> bool) -> Option<CallId> {
        let resumable = lock(&self.resumable);
        let found = resumable.iter().find(|(_, history)| is_it(history))?;
        Some(found.0.clone())
    }

    pub(super) fn set_recalled(&self) {
        self.is_recalled.store(true, Ordering::Relaxed);
    }

    /// Whether the store has said what an earlier process left open.
    pub(super) fn is_recalled(&self) -> bool {
        self.is_recalled.load(Ordering::Relaxed)
    }

    /// Notes whether another server of our name runs on the store; the result is what was known.
    pub(super) fn set_rival(&self, has: bool) -> bool {
        self.has_rival.swap(has, Ordering::Relaxed)
    }

    pub(super) fn has_rival(&self) -> bool {
        self.has_rival.load(Ordering::Relaxed)
    }

    /// Whose the id is in the store, as far as it says so in time.
    pub(super) async fn owner(&self, id: &CallId, life: &ChannelLife) -> StoredOwner {
        let now = clock::now();
        if lock(&self.rests_until).is_some_and(|until| now < until) {
            return StoredOwner::Unknown;
        }
        if let Ok(Ok(kept)) = timeout(PATIENCE, self.ask_owner(id, life)).await {
            return kept;
        }
        *lock(&self.rests_until) = Some(now + REST);
        StoredOwner::Unknown
    }

    async fn ask_owner(&self, id: &CallId, life: &ChannelLife) -> Result<StoredOwner, StoreError> {
        if let Some(record) = self.store.call(id).await? {
            let is_same = life.is_of(&record);
            return Ok(if is_same {
                StoredOwner::Same
            } else {
                StoredOwner::Others
            });
        }
        // A transcript outlives its call's record.
        let is_free =
            self.store.lines(id, 0).await?.is_empty() && self.store.dtmf(id).await?.is_empty();
        Ok(if is_free {
            StoredOwner::Nothing
        } else {
            StoredOwner::Others
        })
    }
}
