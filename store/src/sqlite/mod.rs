//! The default store: one SQLite file.

mod queries;
pub(super) mod schema;
mod watched;
pub(super) mod worker;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use asterscribe_call::{CallId, CallKey, CallRecord, DtmfDigit, TranscriptLine};
use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use self::watched::WatchedFile;
use self::worker::{SqliteJob, SqliteReply, SqliteWorker, WriteJob, answer, classify};
use super::displaced::DisplacedLog;
use super::row::{self, CallList};
use super::unreadable::UnreadableLog;
use super::{
    CallCounters, CallStore, GivenCounts, RetentionTimes, StoreError, StoreWrite, WallClock,
};

/// Requests that may wait for the thread; a full queue makes callers wait, up to their time-out.
const QUEUE: usize = 256;

/// Time limits of the store.
#[derive(Debug, Clone, Copy)]
struct SqliteLimits {
    /// Time for a call of the trait, with its wait in the queue.
    call: Duration,
    /// Time to wait for a lock that another process holds on the file.
    busy: Duration,
}

const LIMITS: SqliteLimits = SqliteLimits {
    call: Duration::from_secs(2),
    busy: Duration::from_secs(1),
};

/// Calls and transcripts in one SQLite file: one thread writes, another reads, so that
/// neither waits for the other.
///
/// Dropping it ends the threads after the requests that already wait.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    /// Queue of the thread that writes.
    jobs: mpsc::Sender<SqliteJob>,
    /// Queue of the thread that only reads.
    reads: mpsc::Sender<SqliteJob>,
    limits: SqliteLimits,
    watched: Arc<WatchedFile>,
    unreadable: Arc<UnreadableLog>,
    displaced: Arc<DisplacedLog>,
}

impl SqliteStore {
    /// Opens or creates the file at `path`, checks it whole and brings its schema
    /// up to date. Blocks for as long as it takes to read the file once. `clock`
    /// is the wall clock that retention goes by.
    ///
    /// # Errors
    /// [`StoreError::Broken`], with the path: the file cannot be opened or
    /// written, is corrupt, is no database of this program, or was written by a
    /// newer version of it.
    pub fn open(
        path: &Path,
        retention: RetentionTimes,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        Self::open_with(path, retention, Arc::new(clock), LIMITS)
    }

    fn open_with(
        path: &Path,
        retention: RetentionTimes,
        clock: WallClock,
        limits: SqliteLimits,
    ) -> Result<Self, StoreError> {
        let failed =
            |why: String| StoreError::Broken(format!("SQLite file {}: {why}", path.display()));
        let conn = schema::open(path, limits.busy, &schema::CALLS).map_err(failed)?;
        let reader = schema::open_reader(path, limits.busy).map_err(failed)?;
        let watched = Arc::new(WatchedFile::new(path));
        let displaced = Arc::<DisplacedLog>::default();
        let start = |name: &str, conn| -> Result<mpsc::Sender<SqliteJob>, StoreError> {
            let (jobs, queue) = mpsc::channel(QUEUE);
            let worker = SqliteWorker {
                conn,
                retention,
                clock: Arc::clone(&clock),
                displaced: Arc::clone(&displaced),
            };
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || worker.run(queue))
                .map_err(|e| failed(format!("no thread for it: {e}")))?;
            Ok(jobs)
        };
        Ok(Self {
            jobs: start("sqlite", conn)?,
            reads: start("sqlite-reader", reader)?,
            limits,
            watched,
            unreadable: Arc::default(),
            displaced,
        })
    }

    /// Runs a query on the thread that reads.
    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let query = |conn: &mut Connection, now_ms| query(conn, now_ms).map_err(classify);
        self.ask(&self.reads, task(query)).await
    }

    /// Does something on the thread that writes.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let change = |conn: &mut Connection, now_ms| change(conn, now_ms).map_err(classify);
        self.ask(&self.jobs, task(change)).await
    }

    async fn ask<T>(
        &self,
        thread: &mpsc::Sender<SqliteJob>,
        job: impl FnOnce(SqliteReply<T>) -> SqliteJob,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = job(reply);
        let asked = async {
            let gone = || StoreError::Unavailable("SQLite: its thread has ended".to_owned());
            thread.send(job).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        within(self.limits.call, asked).await
    }
}

fn task<T: Send + 'static>(
    work: impl FnOnce(&mut Connection, i64) -> Result<T, StoreError> + Send + 'static,
) -> impl FnOnce(SqliteReply<T>) -> SqliteJob {
    |reply| {
        SqliteJob::Task(Box::new(move |conn, now_ms| {
            if !reply.is_closed() {
                answer(reply, work(conn, now_ms));
            }
        }))
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(StoreError::Unavailable(format!(
            "SQLite: no answer within {limit:?}"
        )))
    })
}

#[async_trait]
impl CallStore for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let watched = Arc::clone(&self.watched);
        let look = move |conn: &mut Connection, _| {
            let alive = conn.query_row("SELECT 1 FROM counter LIMIT 1", [], |_| Ok(()));
            alive.map_err(classify)?;
            watched.check()
        };
        self.ask(&self.jobs, task(look)).await
    }

    async fn try_write(&self) -> Result<(), StoreError> {
        self.change(|conn, _| queries::try_write(conn)).await
    }

    async fn apply(&self, writes: &[StoreWrite]) -> Result<(), StoreError> {
        let rows = row::encode(writes)?;
        self.ask(&self.jobs, |reply| {
            SqliteJob::Write(WriteJob { rows, reply })
        })
        .await
    }

    async fn call(&self, call: &CallId) -> Result<Option<CallRecord>, StoreError> {
        let ids = [call.clone()];
        let found = self
            .query(move |conn, now_ms| queries::records(conn, &ids, now_ms))
            .await?;
        let json = found.into_iter().next().flatten();
        json.map(|json| row::decode("record", call.as_str(), &json))
            .transpose()
    }

    async fn keys(
        &self,
        before: Option<&CallKey>,
        limit: usize,
    ) -> Result<Vec<CallKey>, StoreError> {
        let mut keys = Vec::new();
        let mut behind = before.map(|key| (key.started_ms, key.call.as_str().as_bytes().to_vec()));
        while keys.len() < limit {
            let wanted = limit - keys.len();
            let count = i64::try_from(wanted).unwrap_or(i64::MAX);
            let from = behind.take();
            let found = self
                .query(move |conn, now_ms| {
                    let from = from.as_ref().map(|(ms, id)| (*ms, id.as_slice()));
                    queries::keys(conn, from, count, now_ms)
                })
                .await?;
            let is_last = found.len() < wanted;
            keys.extend(found.iter().filter_map(|(started_ms, id)| {
                Some(CallKey {
                    started_ms: *started_ms,
                    call: self.unreadable.id(id)?,
                })
            }));
            behind = found.into_iter().next_back();
            if is_last {
                break;
            }
        }
        Ok(keys)
    }

    async fn records(&self, calls: &[CallId]) -> Result<Vec<Option<CallRecord>>, StoreError> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let ids = calls.to_vec();
        let found = self
            .query(move |conn, now_ms| queries::records(conn, &ids, now_ms))
            .await?;
        let read = calls.iter().zip(found);
        let read = read.map(|(id, json)| self.unreadable.record(id.as_str(), &json?));
        Ok(read.collect())
    }

    async fn open_calls(&self) -> Result<Vec<CallRecord>, StoreError> {
        let found = self
            .query(|conn, now_ms| queries::open_calls(conn, now_ms))
            .await?;
        let read = found.iter().filter_map(|(id, json)| {
            let id = self.unreadable.id(id)?;
            self.unreadable.record(id.as_str(), json)
        });
        Ok(read.collect())
    }

    async fn lines(&self, call: &CallId, from_seq: u64) -> Result<Vec<TranscriptLine>, StoreError> {
        let id = call.as_str().to_owned();
        let from = i64::try_from(from_seq).unwrap_or(i64::MAX);
        let found = self
            .query(move |conn, now_ms| {
                queries::items(conn, &id, CallList::Transcript, from, now_ms)
            })
            .await?;
        let read = found
            .iter()
            .filter_map(|json| self.unreadable.item("line", call, json));
        Ok(read.collect())
    }

    async fn lines_below(&self, call: &CallId, seq: u64) -> Result<u64, StoreError> {
        let id = call.as_str().to_owned();
        let below = i64::try_from(seq).unwrap_or(i64::MAX);
        let count = self
            .query(move |conn, now_ms| {
                queries::items_below(conn, &id, CallList::Transcript, below, now_ms)
            })
            .await?;
        Ok(count.unsigned_abs())
    }

    async fn dtmf(&self, call: &CallId) -> Result<Vec<DtmfDigit>, StoreError> {
        let id = call.as_str().to_owned();
        let found = self
            .query(move |conn, now_ms| queries::items(conn, &id, CallList::Dtmf, 0, now_ms))
            .await?;
        let read = found
            .iter()
            .filter_map(|json| self.unreadable.item("digit", call, json));
        Ok(read.collect())
    }

    async fn lacking(&self, _given: &[GivenCounts]) -> Result<Vec<CallId>, StoreError> {
        // What is committed is there, until the file itself is gone.
        Ok(Vec::new())
    }

    fn unreadable(&self) -> u64 {
        self.unreadable.count()
    }

    fn displaced(&self) -> u64 {
        self.displaced.count()
    }

    async fn counters(&self) -> Result<CallCounters, StoreError> {
        let watched = Arc::clone(&self.watched);
        let count = move |conn: &mut Connection, _| {
            watched.check()?;
            queries::counters(conn).map_err(classify)
        };
        self.ask(&self.reads, task(count)).await
    }

    async fn expire(&self) -> Result<u64, StoreError> {
        let (mut calls, mut lists) = (0, 0);
        loop {
            // A chunk at a time, so that others get their turn on the thread.
            let gone = self.change(queries::expire_chunk).await?;
            calls += gone.calls;
            lists += gone.lists;
            if gone.is_all {
                break;
            }
        }
        if calls + lists > 0 {
            // Where somebody reads the file, another turn comes.
            self.change(|conn, _| schema::fold_log_in(conn)).await?;
        }
        Ok(calls)
    }

    async fn close(&self) -> Result<(), StoreError> {
        // The log goes with the last connection.
        self.ask(&self.reads, SqliteJob::Close).await?;
        self.ask(&self.jobs, SqliteJob::Close).await
    }
}

#[cfg(test)]
mod tests;
