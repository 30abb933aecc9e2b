//! The default store: one SQLite file.

mod queries;
pub(super) mod schema;
pub(super) mod worker;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use self::worker::{Job, Reply, Worker, WriteJob, answer, classify};
use super::row::{self, List, decode};
use super::{Counters, Retention, Store, StoreError, WallClock, Write};
use crate::call::{CallId, CallRecord, DtmfDigit, TranscriptLine};

/// Requests that may wait for the thread; a full queue makes callers wait, up to their time-out.
const QUEUE: usize = 256;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// A call of the trait, with its wait in the queue.
    call: Duration,
    /// Waiting for a lock that another process holds on the file.
    busy: Duration,
}

const LIMITS: Limits = Limits {
    call: Duration::from_secs(2),
    busy: Duration::from_secs(1),
};

/// Calls and transcripts in one SQLite file, owned by one thread.
///
/// Dropping it ends the thread after the requests that already wait.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    jobs: mpsc::Sender<Job>,
    limits: Limits,
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
        retention: Retention,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        Self::open_with(path, retention, Arc::new(clock), LIMITS)
    }

    fn open_with(
        path: &Path,
        retention: Retention,
        clock: WallClock,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let failed =
            |why: String| StoreError::Broken(format!("SQLite file {}: {why}", path.display()));
        let conn = schema::open(path, limits.busy, &schema::CALLS).map_err(failed)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let worker = Worker {
            conn,
            retention,
            clock,
        };
        std::thread::Builder::new()
            .name("sqlite".to_owned())
            .spawn(move || worker.run(queue))
            .map_err(|e| failed(format!("no thread for it: {e}")))?;
        Ok(Self { jobs, limits })
    }

    /// Runs a query on the thread.
    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(|reply: Reply<T>| {
            Job::Task(Box::new(move |conn, now_ms| {
                if !reply.is_closed() {
                    answer(reply, query(conn, now_ms).map_err(classify));
                }
            }))
        })
        .await
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = job(reply);
        let asked = async {
            let gone = || StoreError::Unavailable("SQLite: its thread has ended".to_owned());
            self.jobs.send(job).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        within(self.limits.call, asked).await
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
impl Store for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.query(|conn, _| conn.query_row("SELECT 1 FROM counter LIMIT 1", [], |_| Ok(())))
            .await
    }

    async fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        let rows = row::encode(writes)?;
        self.ask(|reply| Job::Write(WriteJob { rows, reply })).await
    }

    async fn call(&self, call: &CallId) -> Result<Option<CallRecord>, StoreError> {
        let id = call.as_str().to_owned();
        let json = self
            .query(move |conn, now_ms| queries::call(conn, &id, now_ms))
            .await?;
        json.map(|json| decode("record", call.as_str(), &json))
            .transpose()
    }

    async fn calls(&self, limit: usize) -> Result<Vec<CallRecord>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = self
            .query(move |conn, now_ms| queries::calls(conn, limit, now_ms))
            .await?;
        found
            .iter()
            .map(|(id, json)| decode("record", id, json))
            .collect()
    }

    async fn open_calls(&self) -> Result<Vec<CallRecord>, StoreError> {
        let found = self
            .query(|conn, now_ms| queries::open_calls(conn, now_ms))
            .await?;
        found
            .iter()
            .map(|(id, json)| decode("record", id, json))
            .collect()
    }

    async fn lines(&self, call: &CallId, from_seq: u64) -> Result<Vec<TranscriptLine>, StoreError> {
        let id = call.as_str().to_owned();
        let from = i64::try_from(from_seq).unwrap_or(i64::MAX);
        let found = self
            .query(move |conn, now_ms| queries::items(conn, &id, List::Transcript, from, now_ms))
            .await?;
        found
            .iter()
            .map(|json| decode("line", call.as_str(), json))
            .collect()
    }

    async fn dtmf(&self, call: &CallId) -> Result<Vec<DtmfDigit>, StoreError> {
        let id = call.as_str().to_owned();
        let found = self
            .query(move |conn, now_ms| queries::items(conn, &id, List::Dtmf, 0, now_ms))
            .await?;
        found
            .iter()
            .map(|json| decode("digit", call.as_str(), json))
            .collect()
    }

    async fn counters(&self) -> Result<Counters, StoreError> {
        self.query(|conn, _| queries::counters(conn)).await
    }

    async fn expire(&self) -> Result<u64, StoreError> {
        let mut calls = 0;
        loop {
            // A chunk at a time, so that others get their turn on the thread.
            let (gone, all) = self.query(queries::expire_chunk).await?;
            calls += gone;
            if all {
                return Ok(calls);
            }
        }
    }
}

#[cfg(test)]
mod tests;
