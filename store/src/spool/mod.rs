//! The spool: speech that recognition has no time for, on the disk until it has. One SQLite file of
//! its own, beside whatever store keeps the calls, written by one thread. The speech of the second
//! pass is in it, too, and gets half of the room at most.
//!
//! What is acknowledged survives the end of the process and, as every commit is
//! synchronised, of the machine. Bounded in bytes (what does not fit is refused) and in
//! time (what is too old is handed out as that). A row may be handed out more than once,
//! before a crash and after it: whoever uses it makes sure that this changes nothing. The
//! file is one process's alone, for as long as that runs.

mod body;
mod file;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use asterscribe_call::{CallId, Leg};
use asterscribe_speech::DecodeOptions;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

pub use self::body::SpoolKey;
use self::file::{KeepRequest, SpoolFile, SpoolJob};
use super::StoreError;

/// Requests that may wait for the thread.
const QUEUE: usize = 256;

/// Time for the disk to take an utterance of the first pass, before its line is written without
/// words for good.
const PATIENCE: Duration = Duration::from_secs(2);

/// Time for the disk to take an utterance of the second pass, whose line has its words already.
const SECOND_PATIENCE: Duration = Duration::from_secs(1);

/// Time for the disk while it has not caught up since it was too slow.
const NO_PATIENCE: Duration = Duration::from_millis(5);

/// Place of an utterance in the spool; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SpoolId(pub u64);

/// Pass of recognition that an utterance is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecognitionPass {
    /// First pass: the utterance has no words yet.
    First,
    /// Second pass: the utterance has words and is recognised once more when its call is over.
    Second,
}

/// An utterance to be kept, and how it is to be recognised.
#[derive(Debug, Clone, PartialEq)]
pub struct SpoolableSpeech {
    /// Call that the utterance belongs to.
    pub call: CallId,
    /// Leg that the utterance was spoken on.
    pub leg: Leg,
    /// Length of the samples that is audio and no gap, in samples.
    pub audio: u64,
    /// Samples, 16 kHz mono.
    pub samples: Vec<i16>,
    /// Options for recognition.
    pub choices: DecodeOptions,
    /// Model of the second pass, once there are words; `None`: there is no second pass.
    pub second_pass: Option<String>,
}

/// An utterance in the spool.
#[derive(Debug, Clone, PartialEq)]
pub struct SpooledUtterance {
    /// Place of the utterance.
    pub id: SpoolId,
    /// The utterance, as it was put there.
    pub speech: SpoolableSpeech,
}

/// An utterance that has been kept for longer than it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredUtterance {
    /// Place of the utterance.
    pub id: SpoolId,
    /// Call that the utterance belongs to.
    pub call: CallId,
    /// Length of the utterance that is audio, in 16 kHz samples.
    pub audio: u64,
}

/// Part of the spool, in the order in which it was filled.
#[derive(Debug, Default, PartialEq)]
pub struct SpoolPage {
    /// Utterances that can be recognised.
    pub kept: Vec<SpooledUtterance>,
    /// Utterances that are too old for that.
    pub outlived: Vec<ExpiredUtterance>,
    /// Number of rows that cannot be read.
    pub unreadable: u64,
    /// Last place that was looked at.
    pub upto: Option<SpoolId>,
    /// Whether nothing follows in the spool.
    pub is_last: bool,
}

/// Bounds and key of the spool.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    /// Bytes of all utterances together.
    pub max_bytes: u64,
    /// Time for which an utterance is kept.
    pub keep: Duration,
    /// Key by which the rows are encrypted; `None`: they are not.
    pub key: Option<SpoolKey>,
}

impl SpoolConfig {
    /// Bytes that all utterances of a pass may take together: the second pass gets half, so that
    /// there is always room for the first.
    fn bytes_for(&self, pass: RecognitionPass) -> u64 {
        match pass {
            RecognitionPass::First => self.max_bytes,
            RecognitionPass::Second => self.max_bytes / 2,
        }
    }
}

/// Reason why an utterance was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// The spool is full.
    #[error("the spool has no room: {more} bytes more than {bytes} would exceed {limit}")]
    Full {
        /// Bytes of the utterance.
        more: u64,
        /// Bytes in use, of both passes or, where that bound is reached, of the second.
        bytes: u64,
        /// Bytes that may be in use.
        limit: u64,
    },
    /// The disk does not take it: it is full, or broken.
    #[error("the spool cannot be written: {0}")]
    Disk(StoreError),
    /// The disk takes too long; the utterance may still be kept, later.
    #[error("the spool does not keep up")]
    Slow,
    /// Too many utterances wait for the disk already.
    #[error("the disk of the spool does not respond, or its thread has ended")]
    Hangs,
}

/// Counts of one pass, for `/health`.
#[derive(Debug, Default)]
pub struct SpoolStats {
    /// Utterances in the spool now.
    pub waiting: AtomicU64,
    /// Bytes of those.
    pub bytes: AtomicU64,
    /// Utterances kept since the start.
    pub kept: AtomicU64,
    /// Utterances that could not be kept.
    pub refused: AtomicU64,
    /// Utterances in the spool that could not be read when that was last tried, for want of the key
    /// or because they are damaged.
    pub unreadable: AtomicU64,
    /// Utterances that were given up for their age.
    pub outlived: AtomicU64,
    /// Utterances kept on from the first pass for the second, since the start.
    pub kept_on: AtomicU64,
}

#[derive(Debug, Default)]
struct SpoolFigures {
    first: SpoolStats,
    second: SpoolStats,
    /// Whether the disk was too slow for something of that pass and has not caught up since:
    /// whoever has less patience must not cost the other its own.
    first_slow: AtomicBool,
    second_slow: AtomicBool,
}

impl SpoolFigures {
    fn of(&self, pass: RecognitionPass) -> &SpoolStats {
        match pass {
            RecognitionPass::First => &self.first,
            RecognitionPass::Second => &self.second,
        }
    }

    fn slow(&self, pass: RecognitionPass) -> &AtomicBool {
        match pass {
            RecognitionPass::First => &self.first_slow,
            RecognitionPass::Second => &self.second_slow,
        }
    }
}

/// Handle of the spool; cheap to clone. The thread ends with the last one.
#[derive(Debug, Clone)]
pub struct SpeechSpool {
    jobs: mpsc::Sender<SpoolJob>,
    figures: Arc<SpoolFigures>,
    /// Bytes that the second pass may take.
    second_bytes: u64,
    is_encrypted: bool,
    /// Next place.
    next: Arc<AtomicU64>,
}

impl SpeechSpool {
    /// Opens or creates the file at `path` and checks it whole. `clock` is the wall clock
    /// that `keep` goes by.
    ///
    /// # Errors
    /// [`StoreError::Broken`], with the path: the file cannot be opened or written, is
    /// corrupt, or belongs to something else; another process has it.
    pub fn open(
        path: &Path,
        config: SpoolConfig,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let failed =
            |why: String| StoreError::Broken(format!("spool file {}: {why}", path.display()));
        let figures = Arc::new(SpoolFigures::default());
        let second_bytes = config.bytes_for(RecognitionPass::Second);
        let is_encrypted = config.key.is_some();
        let file = SpoolFile::open(path, config, Arc::new(clock), Arc::clone(&figures));
        let file = file.map_err(failed)?;
        let next = Arc::new(AtomicU64::new(file.next_place()));
        let (jobs, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || file.run(queue))
            .map_err(|error| failed(format!("no thread for it: {error}")))?;
        Ok(Self {
            jobs,
            figures,
            second_bytes,
            is_encrypted,
            next,
        })
    }

    /// Counts of that pass.
    pub fn stats(&self, pass: RecognitionPass) -> &SpoolStats {
        self.figures.of(pass)
    }

    /// Whether there is room for more utterances of the second pass.
    pub fn has_room_for_second_pass(&self) -> bool {
        self.stats(RecognitionPass::Second)
            .bytes
            .load(Ordering::Relaxed)
            < self.second_bytes
    }

    /// Whether the rows are encrypted, so that whoever has the disk cannot listen to them.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Takes a place for an utterance, whether it then is kept or not.
    pub fn place(&self) -> SpoolId {
        SpoolId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Keeps an utterance. It is on the disk when this returns. A disk that hangs costs the caller
    /// two seconds once (one in the second pass), and then next to nothing until it has caught up.
    ///
    /// # Errors
    /// The utterance is not kept; after [`SpoolError::Slow`] it may be, later.
    pub async fn keep(
        &self,
        id: SpoolId,
        speech: SpoolableSpeech,
        pass: RecognitionPass,
    ) -> Result<(), SpoolError> {
        let kept = self.try_keep(id, speech, pass).await;
        let is_slow = kept == Err(SpoolError::Slow);
        if is_slow || kept == Err(SpoolError::Hangs) {
            // Until the thread has caught up.
            self.figures.slow(pass).store(true, Ordering::Relaxed);
        }
        // What nobody has heard may be there all the same.
        if kept.is_err() && !(is_slow && pass == RecognitionPass::First) {
            let refused = &self.stats(pass).refused;
            refused.fetch_add(1, Ordering::Relaxed);
        }
        kept
    }

    async fn try_keep(
        &self,
        id: SpoolId,
        speech: SpoolableSpeech,
        pass: RecognitionPass,
    ) -> Result<(), SpoolError> {
        let patience = match pass {
            _ if self.figures.slow(pass).load(Ordering::Relaxed) => NO_PATIENCE,
            RecognitionPass::First => PATIENCE,
            RecognitionPass::Second => SECOND_PATIENCE,
        };
        let (reply, answer) = oneshot::channel();
        let speech = Box::new(speech);
        let job = SpoolJob::Keep(KeepRequest {
            id,
            speech,
            pass,
            reply,
        });
        self.jobs.try_send(job).map_err(|_| SpoolError::Hangs)?;
        let answered = tokio::time::timeout(patience, answer).await;
        answered
            .map_err(|_| SpoolError::Slow)?
            .map_err(|_| SpoolError::Hangs)?
    }

    /// Reads up to `limit` rows behind that place: those of the first pass or, of one call, those
    /// of the second. Blocks, for as long as the disk takes.
    ///
    /// # Errors
    /// The disk fails.
    pub fn next(
        &self,
        second_of: Option<CallId>,
        behind: Option<SpoolId>,
        limit: usize,
    ) -> Result<SpoolPage, StoreError> {
        self.ask(|reply| SpoolJob::Next(second_of, behind, limit, reply))
    }

    /// Calls with utterances of the second pass. Blocks, for as long as the disk takes.
    ///
    /// # Errors
    /// The disk fails.
    pub fn second_calls(&self) -> Result<Vec<CallId>, StoreError> {
        self.ask(SpoolJob::SecondCalls)
    }

    /// Moves utterances on to the second pass. Blocks, for as long as the disk takes.
    ///
    /// # Errors
    /// The disk fails; nothing has changed.
    pub fn hear_again(&self, ids: Vec<SpoolId>) -> Result<(), StoreError> {
        self.ask(|reply| SpoolJob::HearAgain(ids, reply))
    }

    /// Removes utterances that are no longer needed. Blocks, for as long as the disk takes.
    ///
    /// # Errors
    /// The disk fails; the utterances are still there.
    pub fn forget(&self, ids: Vec<SpoolId>) -> Result<(), StoreError> {
        self.ask(|reply| SpoolJob::Forget(ids, reply))
    }

    /// Removes everything of a call, from the file and the log beside it; the result is the number
    /// of utterances. Blocks, for as long as the disk takes.
    ///
    /// # Errors
    /// The disk fails; some of it may still be there.
    pub fn erase(&self, call: CallId) -> Result<u64, StoreError> {
        self.ask(|reply| SpoolJob::Erase(call, reply))
    }

    /// Closes the file; nothing is kept from then on. Blocks, for as long as the disk takes.
    ///
    /// # Errors
    /// The disk fails.
    pub fn close(&self) -> Result<(), StoreError> {
        self.ask(SpoolJob::Close)
    }

    fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> SpoolJob,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable("the spool's thread has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        self.jobs.blocking_send(job(reply)).map_err(|_| gone())?;
        answer.blocking_recv().map_err(|_| gone())?
    }
}
