//! Speech that nobody had time for, on the disk until somebody has: one SQLite file
//! of its own, beside whatever store keeps the calls, written by one thread.
//!
//! What is acknowledged survives the end of the process and, as every commit is
//! synchronised, of the machine. Bounded in bytes (what does not fit is refused) and in
//! time (what is too old is removed). A row may be handed out more than once, before a
//! crash and after it: whoever uses it makes sure that this changes nothing.

mod body;
mod file;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

pub use self::body::SpoolKey;
use self::file::{File, Job};
use super::StoreError;
use crate::call::{CallId, Leg};
use crate::speech::Choices;

/// Requests that may wait for the thread.
const QUEUE: usize = 256;

/// How long the disk may take for one utterance, before it is given up.
const PATIENCE: Duration = Duration::from_millis(500);

/// A place in the spool; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SpoolId(pub u64);

/// What is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Spoolable {
    /// Whose it is.
    pub call: CallId,
    /// Who spoke.
    pub leg: Leg,
    /// How much of the samples is audio and no gap, in samples.
    pub audio: u64,
    /// 16 kHz mono PCM.
    pub samples: Vec<i16>,
    /// How it is to be recognised.
    pub choices: Choices,
}

/// What is kept, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Its place.
    pub id: SpoolId,
    /// What was put there.
    pub speech: Spoolable,
}

/// How much is kept, how long and how.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    /// Bytes of all utterances together.
    pub max_bytes: u64,
    /// How long one is kept.
    pub keep: Duration,
    /// Encrypts them.
    pub key: Option<SpoolKey>,
}

/// Why an utterance was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// As much is kept as may be.
    #[error("the spool is full: {bytes} bytes of at most {limit}")]
    Full {
        /// Bytes that are kept.
        bytes: u64,
        /// Bytes that may be.
        limit: u64,
    },
    /// The disk does not take it: it is full, or broken.
    #[error("the spool cannot be written: {0}")]
    Disk(StoreError),
    /// The disk takes too long.
    #[error("the spool does not keep up")]
    Slow,
}

/// Figures for `/health`.
#[derive(Debug, Default)]
pub struct SpoolStats {
    /// Utterances that are kept now.
    pub waiting: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Utterances kept since the start.
    pub kept: AtomicU64,
    /// Utterances that could not be kept.
    pub refused: AtomicU64,
    /// Of those that are kept: cannot be read, for want of the key or because they are damaged.
    pub unreadable: AtomicU64,
    /// Removed because they were too old.
    pub expired: AtomicU64,
}

/// A way to the spool; cheap to clone. The thread ends with the last one.
#[derive(Debug, Clone)]
pub struct Spool {
    jobs: mpsc::Sender<Job>,
    stats: Arc<SpoolStats>,
}

impl Spool {
    /// Opens or creates the file at `path` and checks it whole. `clock` is the wall clock
    /// that `keep` goes by.
    ///
    /// # Errors
    /// [`StoreError::Broken`], with the path: the file cannot be opened or written, is
    /// corrupt, or belongs to something else.
    pub fn open(
        path: &Path,
        config: SpoolConfig,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let failed =
            |why: String| StoreError::Broken(format!("spool file {}: {why}", path.display()));
        let stats = Arc::new(SpoolStats::default());
        let file = File::open(path, config, Arc::new(clock), Arc::clone(&stats));
        let file = file.map_err(failed)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || file.run(queue))
            .map_err(|error| failed(format!("no thread for it: {error}")))?;
        Ok(Self { jobs, stats })
    }

    /// Figures.
    pub fn stats(&self) -> &SpoolStats {
        &self.stats
    }

    /// Keeps an utterance. It is on the disk when this returns.
    ///
    /// # Errors
    /// It is not kept; or it may be, where the disk was too slow to say so in time.
    pub async fn keep(&self, speech: Spoolable) -> Result<SpoolId, SpoolError> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            let job = Job::Keep(Box::new(speech), reply);
            self.jobs.send(job).await.map_err(|_| SpoolError::Slow)?;
            answer.await.map_err(|_| SpoolError::Slow)?
        };
        let kept = tokio::time::timeout(PATIENCE, asked).await;
        let kept = kept.unwrap_or(Err(SpoolError::Slow));
        if kept.is_err() {
            self.stats.refused.fetch_add(1, Ordering::Relaxed);
        }
        kept
    }

    /// The oldest that are kept behind that place, so many at most; those that cannot be read
    /// are passed over. Blocks, for as long as the disk takes.
    ///
    /// # Errors
    /// The disk fails.
    pub fn next(&self, behind: Option<SpoolId>, limit: usize) -> Result<Vec<Kept>, StoreError> {
        self.ask(|reply| Job::Next(behind, limit, reply))
    }

    /// Removes what is no longer needed. Blocks, for as long as the disk takes.
    ///
    /// # Errors
    /// The disk fails; what was to be removed is still there.
    pub fn forget(&self, ids: Vec<SpoolId>) -> Result<(), StoreError> {
        self.ask(|reply| Job::Forget(ids, reply))
    }

    fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable("the spool's thread has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        self.jobs.blocking_send(job(reply)).map_err(|_| gone())?;
        answer.blocking_recv().map_err(|_| gone())?
    }
}
