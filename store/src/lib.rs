//! Stores for calls and transcripts: one trait, two implementations with one contract test. SQLite
//! is the default (one file, nothing to run); Redis serves where several machines share, under the
//! keys its predecessor used. Calls never write to a store themselves: [`StoreWriter`] stands
//! between, so that a store that is away or slow holds up nobody.

mod displaced;
mod redis;
mod row;
mod spool;
mod sqlite;
mod unreadable;
mod writer;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use asterscribe_call::{CallId, CallKey, CallRecord, DtmfDigit, TranscriptLine};
use async_trait::async_trait;
use jiff::Timestamp;

pub use self::redis::RedisStore;
pub use self::spool::{
    ExpiredUtterance, RecognitionPass, SpeechSpool, SpoolConfig, SpoolError, SpoolId, SpoolKey,
    SpoolPage, SpoolStats, SpoolableSpeech, SpooledUtterance,
};
pub use self::sqlite::SqliteStore;
pub use self::writer::{
    RefusedWrite, StoreWriter, UnflushedWrites, WriterBackoff, WriterSettings, WriterState,
    WriterStats,
};

/// Calls that a store is asked for in one request.
const PAGE: usize = 500;

/// A store for calls. Every method is bounded in time and answers
/// [`StoreError::Unavailable`] where the bound is reached.
///
/// Writes are idempotent: repeating one changes nothing but its expiry. One
/// writer at a time writes about a given call, in order.
#[async_trait]
pub trait CallStore: Send + Sync {
    /// Name for logs and `/health`: `sqlite` or `redis`.
    fn name(&self) -> &'static str;

    /// Checks cheaply that the store answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Checks that writes are taken: does all that [`Self::apply`] does, and changes nothing.
    async fn try_write(&self) -> Result<(), StoreError>;

    /// Applies the writes in order, in one transaction or one round trip. After
    /// an error any of them may have been applied, but none without those before
    /// it; repeating them all is safe.
    async fn apply(&self, writes: &[StoreWrite]) -> Result<(), StoreError>;

    /// Record of a call.
    async fn call(&self, call: &CallId) -> Result<Option<CallRecord>, StoreError>;

    /// Places of calls in the list, newest first, those behind `before`: so many, or all that there
    /// are. Some may have no record any more.
    async fn keys(
        &self,
        before: Option<&CallKey>,
        limit: usize,
    ) -> Result<Vec<CallKey>, StoreError>;

    /// Records of those calls, in their order; `None` where there is none, or one that cannot be
    /// read.
    async fn records(&self, calls: &[CallId]) -> Result<Vec<Option<CallRecord>>, StoreError>;

    /// Records of calls, newest first. One that cannot be read is left out.
    async fn calls(&self, limit: usize) -> Result<Vec<CallRecord>, StoreError> {
        let mut found = Vec::new();
        let mut before = None;
        while found.len() < limit {
            let wanted = (limit - found.len()).min(PAGE);
            let keys = self.keys(before.as_ref(), wanted).await?;
            let ids: Vec<CallId> = keys.iter().map(|key| key.call.clone()).collect();
            found.extend(self.records(&ids).await?.into_iter().flatten());
            if keys.len() < wanted {
                break;
            }
            before = keys.into_iter().next_back();
        }
        Ok(found)
    }

    /// Records in an open state, whoever wrote them, newest first: what a
    /// restart must settle, by putting each back as ended. One that cannot be read is left out.
    async fn open_calls(&self) -> Result<Vec<CallRecord>, StoreError>;

    /// Lines from `from_seq` on, in order; empty for an unknown call. A hole in their numbers
    /// means that a line never arrived, that the store lost it, or that it cannot be read.
    async fn lines(&self, call: &CallId, from_seq: u64) -> Result<Vec<TranscriptLine>, StoreError>;

    /// Number of the call's lines whose `seq` is below that: as many as that, or some are lost.
    async fn lines_below(&self, call: &CallId, seq: u64) -> Result<u64, StoreError>;

    /// Digits in order. One that cannot be read is left out.
    async fn dtmf(&self, call: &CallId) -> Result<Vec<DtmfDigit>, StoreError>;

    /// Calls of which the store lacks something that it was given.
    async fn lacking(&self, given: &[GivenCounts]) -> Result<Vec<CallId>, StoreError>;

    /// Records, lines and digits that could not be read since the start, each counted once.
    fn unreadable(&self) -> u64;

    /// Lines since the start that got another number, because another server had written a line of
    /// the same call under theirs.
    fn displaced(&self) -> u64;

    /// `active_calls_count` and `total_calls_processed`.
    async fn counters(&self) -> Result<CallCounters, StoreError>;

    /// Removes data past its retention, where the engine does not do so itself; the result is the
    /// number of calls that went. A call that expired while open (its process died and nobody
    /// settled it) stops counting as active.
    async fn expire(&self) -> Result<u64, StoreError>;

    /// Closes the store: nothing that was removed is left in a log beside a file. It is unavailable
    /// from then on.
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Claims a node's name for the running server of that mark, for that long, also in the place
    /// of the server whose mark is given. The result is the mark of another server that holds the
    /// name, if one does.
    async fn claim(
        &self,
        node: &str,
        mark: &str,
        in_place_of: Option<&str>,
        lease: Duration,
    ) -> Result<Option<String>, StoreError> {
        let (_, _, _, _) = (node, mark, in_place_of, lease);
        Ok(None)
    }

    /// Applies [`StoreWrite::Call`].
    async fn put_call(&self, call: &CallRecord) -> Result<(), StoreError> {
        self.apply(&[StoreWrite::Call(Box::new(call.clone()))])
            .await
    }

    /// Applies [`StoreWrite::Line`].
    async fn append_line(&self, call: &CallId, line: &TranscriptLine) -> Result<(), StoreError> {
        self.apply(&[StoreWrite::Line {
            call: call.clone(),
            line: line.clone(),
        }])
        .await
    }

    /// Applies [`StoreWrite::Dtmf`].
    async fn append_dtmf(
        &self,
        call: &CallId,
        index: u64,
        digit: &DtmfDigit,
    ) -> Result<(), StoreError> {
        self.apply(&[StoreWrite::Dtmf {
            call: call.clone(),
            index,
            digit: digit.clone(),
        }])
        .await
    }
}

/// A write to a store.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreWrite {
    /// Creates or replaces a record and keeps the counters true: an open call
    /// counts as active; one that is over, as processed, once for its
    /// `started_at`, however often and in whatever order it is put.
    Call(Box<CallRecord>),
    /// The record of a call that its server has given up, since another one may go on with it:
    /// like [`StoreWrite::Call`], but an open record of another node stays as it is.
    GivenUp(Box<CallRecord>),
    /// Appends a line; one that is already there, by its leg and its times, is ignored. A line
    /// beyond the next number is kept (what lies between is lost, the call goes on). Where its
    /// number is taken by another utterance, which only another server can have written, it gets
    /// the next free one: [`CallStore::displaced`] counts that.
    Line {
        /// The call it belongs to.
        call: CallId,
        /// The line.
        line: TranscriptLine,
    },
    /// Replaces the line of that `seq` by a higher revision; appends it if there is none. A line
    /// that got another number keeps that.
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
        /// Position among the call's digits, from 0.
        index: u64,
        /// The digit.
        digit: DtmfDigit,
    },
    /// All digits of the call so far, of which the store may have lost some.
    Digits {
        /// The call they belong to.
        call: CallId,
        /// The digits, from the first on.
        digits: Vec<DtmfDigit>,
    },
    /// Removes everything of the call, for good.
    Erase(CallId),
}

impl StoreWrite {
    /// Call that the write is about.
    pub fn call_id(&self) -> &CallId {
        match self {
            Self::Call(record) | Self::GivenUp(record) => &record.call_id,
            Self::Line { call, .. }
            | Self::Revise { call, .. }
            | Self::Dtmf { call, .. }
            | Self::Digits { call, .. }
            | Self::Erase(call) => call,
        }
    }
}

/// Counts of what a store was given of a call and must still have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenCounts {
    /// Id of the call; its record was given.
    pub call: CallId,
    /// Numbers of the lines that the store was given, as far as they are looked for.
    pub lines: Range<u64>,
    /// Number of digits that the store was given.
    pub digits: u64,
}

/// A store failed. The caller decides whether to retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, or did not answer in time: try again later.
    #[error("{0}")]
    Unavailable(String),
    /// The store refuses our login, or this operation: once somebody has mended its rights or our
    /// password, nothing is lost.
    #[error("{0}")]
    Denied(String),
    /// The store's answer is not what was stored, or it refuses the write for good.
    #[error("{0}")]
    Broken(String),
}

/// The two counters the predecessor kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallCounters {
    /// Number of calls open now.
    pub active: u64,
    /// Number of calls that have ended, ever.
    pub processed: u64,
}

/// Times for which data is kept, counted from the last write about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionTimes {
    /// Time for a call's record and digits.
    pub call: Duration,
    /// Time for a call's transcript.
    pub transcript: Duration,
}

impl Default for RetentionTimes {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(24 * 3600),
            transcript: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

impl RetentionTimes {
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
        let odd = RetentionTimes {
            call: Duration::ZERO,
            transcript: Duration::MAX,
        };
        assert_eq!(odd.call_ms(), 1);
        assert_eq!(odd.transcript_ms(), 3_162_240_000_000);
        assert_eq!(RetentionTimes::default().call_ms(), 86_400_000);
        assert_eq!(RetentionTimes::default().transcript_ms(), 604_800_000);
    }
}
