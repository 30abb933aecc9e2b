//! Where calls and transcripts are kept: one trait, two implementations with
//! one contract test. SQLite is the default (one file, nothing to run); Redis
//! serves where several machines share, under the keys its predecessor used.
//! Calls never write to a store themselves: [`StoreWriter`] stands between, so
//! that a store that is away or slow holds up nobody.

mod redis;
mod row;
mod spool;
mod sqlite;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::call::{CallId, CallRecord, DtmfDigit, TranscriptLine};

pub use self::redis::RedisStore;
pub use self::spool::{
    Kept, Outlived, Page, Pass, Spool, SpoolConfig, SpoolError, SpoolId, SpoolKey, SpoolStats,
    Spoolable,
};
pub use self::sqlite::SqliteStore;
pub use self::writer::{
    Backoff, Refused, StoreWriter, Unflushed, WriterSettings, WriterState, WriterStats,
};

/// A keeper of calls. Every method is bounded in time and answers
/// [`StoreError::Unavailable`] where the bound is reached.
///
/// Writes are idempotent: repeating one changes nothing but its expiry. One
/// writer at a time writes about a given call, in order.
#[async_trait]
pub trait Store: Send + Sync {
    /// Name for logs and `/health`: `sqlite` or `redis`.
    fn name(&self) -> &'static str;

    /// Cheap proof of life.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Applies the writes in order, in one transaction or one round trip. After
    /// an error any of them may have been applied, but none without those before
    /// it; repeating them all is safe.
    async fn apply(&self, writes: &[Write]) -> Result<(), StoreError>;

    /// One record.
    async fn call(&self, call: &CallId) -> Result<Option<CallRecord>, StoreError>;

    /// Records, newest first.
    async fn calls(&self, limit: usize) -> Result<Vec<CallRecord>, StoreError>;

    /// Records in an open state, whoever wrote them, newest first: what a
    /// restart must settle, by putting each back as ended.
    async fn open_calls(&self) -> Result<Vec<CallRecord>, StoreError>;

    /// Lines from `from_seq` on, in order; empty for an unknown call. A hole in
    /// their numbers means that a line never arrived, or that the store lost it.
    async fn lines(&self, call: &CallId, from_seq: u64) -> Result<Vec<TranscriptLine>, StoreError>;

    /// Digits in order.
    async fn dtmf(&self, call: &CallId) -> Result<Vec<DtmfDigit>, StoreError>;

    /// `active_calls_count` and `total_calls_processed`.
    async fn counters(&self) -> Result<Counters, StoreError>;

    /// Removes what has outlived its retention, where the engine does not do so
    /// itself; how many calls went. A call that expired while open (its process
    /// died and nobody settled it) stops counting as active.
    async fn expire(&self) -> Result<u64, StoreError>;

    /// Applies [`Write::Call`].
    async fn put_call(&self, call: &CallRecord) -> Result<(), StoreError> {
        self.apply(&[Write::Call(Box::new(call.clone()))]).await
    }

    /// Applies [`Write::Line`].
    async fn append_line(&self, call: &CallId, line: &TranscriptLine) -> Result<(), StoreError> {
        self.apply(&[Write::Line {
            call: call.clone(),
            line: line.clone(),
        }])
        .await
    }

    /// Applies [`Write::Dtmf`].
    async fn append_dtmf(
        &self,
        call: &CallId,
        index: u64,
        digit: &DtmfDigit,
    ) -> Result<(), StoreError> {
        self.apply(&[Write::Dtmf {
            call: call.clone(),
            index,
            digit: digit.clone(),
        }])
        .await
    }
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Creates or replaces a record and keeps the counters true: an open call
    /// counts as active; one that is over, as processed, once for its
    /// `started_at`, however often and in whatever order it is put.
    Call(Box<CallRecord>),
    /// Appends a line; a `seq` that is already there is ignored. A line beyond
    /// the next number is kept (what lies between is lost, the call goes on).
    Line {
        /// The call it belongs to.
        call: CallId,
        /// The line.
        line: TranscriptLine,
    },
    /// Puts a line in the place of the one with its `seq`: it says more, under a higher
    /// revision. One that is not there is appended.
    Revise {
        /// The call it belongs to.
        call: CallId,
        /// The line.
        line: TranscriptLine,
    },
    /// Appends digit number `index` (0-based) of the call; ignored if already there.
    Dtmf {
        /// The call it belongs to.
        call: CallId,
        /// Its place among the call's digits.
        index: u64,
        /// The digit.
        digit: DtmfDigit,
    },
}

impl Write {
    /// The call that it is about.
    pub fn call_id(&self) -> &CallId {
        match self {
            Self::Call(record) => &record.call_id,
            Self::Line { call, .. } | Self::Revise { call, .. } | Self::Dtmf { call, .. } => call,
        }
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

/// The two counters the predecessor kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls open now.
    pub active: u64,
    /// Calls that have ended, ever.
    pub processed: u64,
}

/// How long things are kept, counted from the last write about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// A call's record and digits.
    pub call: Duration,
    /// A call's transcript.
    pub transcript: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(24 * 3600),
            transcript: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

impl Retention {
    fn call_ms(self) -> i64 {
        bounded_ms(self.call)
    }

    fn transcript_ms(self) -> i64 {
        bounded_ms(self.transcript)
    }
}

/// 1 ms to 100 years: Redis refuses zero, and sums with a date must not overflow.
fn bounded_ms(duration: Duration) -> i64 {
    const CENTURY: i64 = 100 * 366 * 24 * 3600 * 1000;
    i64::try_from(duration.as_millis()).map_or(CENTURY, |ms| ms.clamp(1, CENTURY))
}

/// Reads the wall clock; the program passes its one clock, tests their own.
type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_stays_within_what_both_engines_can_add_to_a_date() {
        let odd = Retention {
            call: Duration::ZERO,
            transcript: Duration::MAX,
        };
        assert_eq!(odd.call_ms(), 1);
        assert_eq!(odd.transcript_ms(), 3_162_240_000_000);
        assert_eq!(Retention::default().call_ms(), 86_400_000);
        assert_eq!(Retention::default().transcript_ms(), 604_800_000);
    }
}
