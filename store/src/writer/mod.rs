//! Queue between calls and a store. Calls hand their writes over and go on; one task stores them in
//! order, and waits while the store is away.

mod queue;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use self::queue::{PushOutcome, WriteQueue};
use super::{CallStore, StoreError, StoreWrite, WallClock};

/// Writes handed to the store at once: one transaction, one round trip.
const BATCH: usize = 64;

/// Bounds of a [`StoreWriter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterSettings {
    /// Writes that may wait. A line takes about 0.5 KiB and a record 1 to 4 KiB,
    /// so the default of 10,000 holds 5 to 40 MiB when it is full.
    pub capacity: usize,
    /// How long to wait before asking a store again that was away.
    pub backoff: WriterBackoff,
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            backoff: WriterBackoff::default(),
        }
    }
}

/// Waits that double from `first` up to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterBackoff {
    /// First wait.
    pub first: Duration,
    /// Longest wait.
    pub max: Duration,
}

impl Default for WriterBackoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            max: Duration::from_secs(2),
        }
    }
}

impl WriterBackoff {
    fn waits(self) -> impl Iterator<Item = Duration> {
        std::iter::successors(Some(self.first.min(self.max)), move |wait| {
            Some(wait.saturating_mul(2).min(self.max))
        })
    }
}

/// Whether what calls report reaches the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriterState {
    /// The last attempt succeeded, or there was none yet.
    Ok,
    /// The store is away; the writes wait here.
    Behind {
        /// Writes not yet stored, as of the last attempt.
        queued: usize,
        /// Time at which the first attempt failed.
        since: Timestamp,
        /// Last error of the store.
        reason: String,
    },
}

/// Counts of the writer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Writes not yet done: those that wait and those under way.
    pub queued: usize,
    /// Writes accepted, those merged excepted.
    pub accepted: u64,
    /// Records that took the place of an older one that still waited.
    pub merged: u64,
    /// Writes that the store took.
    pub stored: u64,
    /// Writes that the store refuses for good; each is in the log.
    pub broken: u64,
    /// Writes refused because the queue was full; each was reported to its caller.
    pub refused: u64,
    /// Attempts that found the store away.
    pub retries: u64,
}

/// The queue is full: the store has been away for long. This write is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store is behind by {queued} writes; this one was not kept")]
pub struct RefusedWrite {
    /// Writes that wait.
    pub queued: usize,
}

/// The deadline came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{left} writes did not reach the store in time")]
pub struct UnflushedWrites {
    /// Writes that were not stored.
    pub left: usize,
}

/// Stores what calls report, in order, without making them wait. Dropping it
/// loses what still waits; call [`StoreWriter::flush`] first.
#[derive(Debug)]
pub struct StoreWriter {
    shared: Arc<SharedWriter>,
    state: watch::Receiver<WriterState>,
    finished: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl StoreWriter {
    /// Starts the task; must be called within a Tokio runtime. The clock serves
    /// [`WriterState::Behind`] only.
    pub fn spawn(
        store: Arc<dyn CallStore>,
        settings: WriterSettings,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(SharedWriter {
            inner: Mutex::new(WriterInner {
                queue: WriteQueue::new(settings.capacity),
                stats: WriterStats::default(),
            }),
            ready: Notify::new(),
        });
        let (state, state_seen) = watch::channel(WriterState::Ok);
        let (finished, finished_seen) = watch::channel(0);
        let drain = WriterDrain {
            shared: shared.clone(),
            store,
            backoff: settings.backoff,
            clock: Arc::new(clock),
            state,
            finished,
        };
        let task = tokio::spawn(drain.run());
        Self {
            shared,
            state: state_seen,
            finished: finished_seen,
            task,
        }
    }

    /// Hands a write over; never waits, and needs no runtime. A record whose
    /// predecessor still waits with nothing of that call behind it takes its place.
    ///
    /// # Errors
    /// [`RefusedWrite`] when the queue is full: the newest is what is not kept, for
    /// all before it is one unbroken account.
    pub fn write(&self, write: StoreWrite) -> Result<(), RefusedWrite> {
        let mut inner = self.shared.lock();
        let pushed = inner.queue.push(write);
        match pushed {
            PushOutcome::Queued => inner.stats.accepted += 1,
            PushOutcome::Merged => inner.stats.merged += 1,
            PushOutcome::Refused => {
                inner.stats.refused += 1;
                return Err(RefusedWrite {
                    queued: inner.queue.len(),
                });
            }
        }
        drop(inner);
        self.shared.ready.notify_one();
        Ok(())
    }

    /// Waits until everything handed over before this call is stored (or given
    /// up as broken).
    ///
    /// # Errors
    /// [`UnflushedWrites`] when that took longer than `deadline`; the writer goes on.
    pub async fn flush(&self, deadline: Duration) -> Result<(), UnflushedWrites> {
        let target = self.shared.lock().stats.accepted;
        let mut finished = self.finished.clone();
        let left = || UnflushedWrites {
            left: self.stats().queued,
        };
        match tokio::time::timeout(deadline, finished.wait_for(|count| *count >= target)).await {
            Ok(Ok(_)) => Ok(()),
            // The task has ended (a panic): nothing will be stored any more.
            Ok(Err(_)) | Err(_) => Err(left()),
        }
    }

    /// State of the store, to be watched.
    pub fn state(&self) -> watch::Receiver<WriterState> {
        self.state.clone()
    }

    /// The counters.
    pub fn stats(&self) -> WriterStats {
        let inner = self.shared.lock();
        WriterStats {
            queued: inner.queue.len(),
            ..inner.stats
        }
    }
}

impl Drop for StoreWriter {
    fn drop(&mut self) {
        self.task.abort();
        let left = self.stats().queued;
        if left > 0 {
            tracing::error!(
                left,
                "writes are lost: the store did not take them before the end"
            );
        }
    }
}

#[derive(Debug)]
struct SharedWriter {
    inner: Mutex<WriterInner>,
    ready: Notify,
}

#[derive(Debug)]
struct WriterInner {
    queue: WriteQueue,
    stats: WriterStats,
}

impl SharedWriter {
    fn lock(&self) -> MutexGuard<'_, WriterInner> {
        // Nothing panics half-way through a change, so a poisoned lock guards sound data.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer's task.
struct WriterDrain {
    shared: Arc<SharedWriter>,
    store: Arc<dyn CallStore>,
    backoff: WriterBackoff,
    clock: WallClock,
    state: watch::Sender<WriterState>,
    /// Number of writes done so far, stored or broken.
    finished: watch::Sender<u64>,
}

impl WriterDrain {
    async fn run(self) {
        loop {
            let batch = self.shared.lock().queue.take(BATCH);
            if batch.is_empty() {
                self.shared.ready.notified().await;
                continue;
            }
            match self.persist(&batch).await {
                Ok(()) => self.finish(batch.len(), true),
                // One of them is at fault; only that one is given up.
                Err(_) if batch.len() > 1 => {
                    for write in &batch {
                        let result = self.persist(std::slice::from_ref(write)).await;
                        self.conclude(write, result);
                    }
                }
                Err(reason) => self.conclude(&batch[0], Err(reason)),
            }
        }
    }

    /// Repeats until the store takes the writes, or takes others and refuses these: only then are
    /// these at fault.
    async fn persist(&self, writes: &[StoreWrite]) -> Result<(), StoreError> {
        let mut waits = self.backoff.waits();
        loop {
            let reason = match self.store.apply(writes).await {
                Err(StoreError::Unavailable(reason) | StoreError::Denied(reason)) => reason,
                Err(refused) => match self.store.try_write().await {
                    Ok(()) => {
                        self.caught_up();
                        return Err(refused);
                    }
                    Err(error) => error.to_string(),
                },
                Ok(()) => {
                    self.caught_up();
                    return Ok(());
                }
            };
            self.behind(reason);
            let wait = waits.next().expect("the waits never end");
            tokio::time::sleep(wait).await;
        }
    }

    fn conclude(&self, write: &StoreWrite, result: Result<(), StoreError>) {
        if let Err(reason) = &result {
            tracing::error!(call = %write.call_id(), %reason, store = self.store.name(),
                "a write is given up: the store refuses it");
        }
        self.finish(1, result.is_ok());
    }

    fn finish(&self, count: usize, stored: bool) {
        let done = u64::try_from(count).expect("a length");
        let mut inner = self.shared.lock();
        inner.queue.done(count);
        if stored {
            inner.stats.stored += done;
        } else {
            inner.stats.broken += done;
        }
        drop(inner);
        self.finished.send_modify(|finished| *finished += done);
    }

    fn behind(&self, reason: String) {
        let mut inner = self.shared.lock();
        inner.stats.retries += 1;
        let queued = inner.queue.len();
        drop(inner);
        self.state.send_modify(|state| {
            let since = match state {
                WriterState::Behind { since, .. } => *since,
                WriterState::Ok => {
                    tracing::warn!(%reason, queued, store = self.store.name(), "the store is unreachable; writes wait");
                    (self.clock)()
                }
            };
            *state = WriterState::Behind { queued, since, reason };
        });
    }

    fn caught_up(&self) {
        self.state.send_if_modified(|state| {
            let was_behind = *state != WriterState::Ok;
            if was_behind {
                tracing::info!(store = self.store.name(), "the store answers again");
                *state = WriterState::Ok;
            }
            was_behind
        });
    }
}

#[cfg(test)]
mod tests;
