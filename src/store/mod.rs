//! Where calls and transcripts are kept: one trait, two implementations with
//! one contract test. SQLite is the default (one file, nothing to run); Redis
//! serves where several machines share, under the keys its predecessor used.

use std::time::Duration;

use async_trait::async_trait;

use crate::call::{CallId, CallRecord, DtmfDigit, TranscriptLine};

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// A call's record and digits.
    pub call: Duration,
    /// A call's transcript.
    pub transcript: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { call: Duration::from_secs(24 * 3600), transcript: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// A store failed. The caller decides whether to retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be reached, or did not answer in time: try again later.
    #[error("{0}")]
    Unavailable(String),
    /// It answered, but not with what was stored, or it refuses the write for good.
    #[error("{0}")]
    Broken(String),
}

/// A keeper of calls. Writes are idempotent: repeating one changes nothing.
#[async_trait]
pub trait Store: Send + Sync {
    /// Name for logs and `/health`: `sqlite` or `redis`.
    fn name(&self) -> &'static str;
    /// Cheap proof of life.
    async fn ping(&self) -> Result<(), StoreError>;
    /// Creates or replaces a record and keeps the counters true: a call first
    /// seen open counts as active, one that leaves the open states as processed.
    async fn put_call(&self, call: &CallRecord) -> Result<(), StoreError>;
    /// Appends a line; a line whose `seq` is already there is ignored.
    async fn append_line(&self, call: &CallId, line: &TranscriptLine) -> Result<(), StoreError>;
    /// Appends digit number `index` (0-based) of the call; ignored if already there.
    async fn append_dtmf(&self, call: &CallId, index: u64, digit: &DtmfDigit) -> Result<(), StoreError>;
    /// One record.
    async fn call(&self, call: &CallId) -> Result<Option<CallRecord>, StoreError>;
    /// Records, newest first.
    async fn calls(&self, limit: usize) -> Result<Vec<CallRecord>, StoreError>;
    /// Records in an open state, whoever wrote them: what a restart must settle.
    async fn open_calls(&self) -> Result<Vec<CallRecord>, StoreError>;
    /// Lines from `from_seq` on, in order; empty for an unknown call.
    async fn lines(&self, call: &CallId, from_seq: u64) -> Result<Vec<TranscriptLine>, StoreError>;
    /// Digits in order.
    async fn dtmf(&self, call: &CallId) -> Result<Vec<DtmfDigit>, StoreError>;
    /// `active_calls_count` and `total_calls_processed`.
    async fn counters(&self) -> Result<Counters, StoreError>;
    /// Removes what has outlived its retention, where the engine does not do so itself.
    async fn expire(&self) -> Result<u64, StoreError>;
}

/// The two counters the predecessor kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls open now.
    pub active: u64,
    /// Calls that have ended, ever.
    pub processed: u64,
}
