//! The thread that owns the connection. Writes that wait are put into one
//! transaction, so that they share its fsync; everything else runs alone, in turn.

use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::super::displaced::DisplacedLog;
use super::super::row::StoreRow;
use super::super::{RetentionTimes, StoreError, WallClock};
use super::queries::WriteOutcome;
use super::{queries, schema};

/// Writes that share one transaction at most: bounds how long a reader waits behind them.
const GROUP: usize = 64;

pub(super) type SqliteReply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A task for the thread, given the connection and the wall clock in milliseconds; it replies
/// itself.
pub(super) type SqliteTask = Box<dyn FnOnce(&mut Connection, i64) + Send>;

/// An order to the database's thread.
pub(super) enum SqliteJob {
    /// Writes of one caller.
    Write(WriteJob),
    /// Any other task.
    Task(SqliteTask),
    /// Closes the file, and ends the thread.
    Close(SqliteReply<()>),
}

pub(super) struct WriteJob {
    pub(super) rows: Vec<StoreRow>,
    pub(super) reply: SqliteReply<()>,
}

pub(super) struct SqliteWorker {
    pub(super) conn: Connection,
    pub(super) retention: RetentionTimes,
    pub(super) clock: WallClock,
    pub(super) displaced: Arc<DisplacedLog>,
}

impl SqliteWorker {
    /// Serves until the last sender is gone.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<SqliteJob>) {
        let mut held = None;
        while let Some(job) = held.take().or_else(|| jobs.blocking_recv()) {
            match job {
                SqliteJob::Task(task) => {
                    let now_ms = self.now_ms();
                    task(&mut self.conn, now_ms);
                }
                SqliteJob::Write(first) => {
                    let (group, next) = gather(first, &mut jobs);
                    held = next;
                    self.write(group);
                }
                SqliteJob::Close(reply) => return self.close(reply),
            }
        }
    }

    /// Closes the file. The log is folded into it and removed, unless another process has it open.
    fn close(self, reply: SqliteReply<()>) {
        let folded = schema::fold_log_in(&self.conn).map(drop);
        let closed = self.conn.close().map_err(|(_, error)| error);
        answer(reply, folded.and(closed).map_err(classify));
    }

    fn write(&mut self, group: Vec<WriteJob>) {
        let mut rows = group.iter().flat_map(|job| &job.rows);
        let erases = rows.any(|row| matches!(row, StoreRow::Erase { .. }));
        let answers = self.store(group);
        // Before anybody hears that it is gone.
        if erases {
            self.clear_log();
        }
        for (reply, result) in answers {
            answer(reply, result);
        }
    }

    fn clear_log(&self) {
        match schema::fold_log_in(&self.conn) {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                "somebody reads the SQLite file: what was erased stays in the log beside it for now"
            ),
            Err(error) => {
                tracing::warn!(%error, "erased data may remain in the WAL beside the SQLite file");
            }
        }
    }

    fn store(
        &mut self,
        mut group: Vec<WriteJob>,
    ) -> Vec<(SqliteReply<()>, Result<(), StoreError>)> {
        // Whoever gave up waiting will come again with the same writes.
        group.retain(|job| !job.reply.is_closed());
        if group.is_empty() {
            return Vec::new();
        }
        let jobs = group.iter().flat_map(|job| &job.rows);
        match self.commit(jobs) {
            // Only one of them need be at fault; the others are not to suffer for it.
            Err(StoreError::Broken(_)) if group.len() > 1 => {
                let alone = group.into_iter().map(|job| {
                    let result = self.commit(&job.rows);
                    (job.reply, result)
                });
                alone.collect()
            }
            result => {
                let same = group.into_iter().map(|job| (job.reply, result.clone()));
                same.collect()
            }
        }
    }

    fn commit<'a>(
        &mut self,
        rows: impl IntoIterator<Item = &'a StoreRow>,
    ) -> Result<(), StoreError> {
        let (now_ms, retention) = (self.now_ms(), self.retention);
        let write = |conn: &mut Connection| -> rusqlite::Result<Vec<&'a StoreRow>> {
            // Dropped without a commit, the transaction is rolled back.
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut displaced = Vec::new();
            for row in rows {
                match queries::write(&tx, row, retention, now_ms)? {
                    WriteOutcome::AsTold => {}
                    WriteOutcome::Displaced => displaced.push(row),
                }
            }
            tx.commit()?;
            Ok(displaced)
        };
        let displaced = write(&mut self.conn).map_err(classify)?;
        for row in displaced {
            self.displaced.tell(row.call_id());
        }
        Ok(())
    }

    fn now_ms(&self) -> i64 {
        (self.clock)().as_millisecond()
    }
}

fn gather(
    first: WriteJob,
    jobs: &mut mpsc::Receiver<SqliteJob>,
) -> (Vec<WriteJob>, Option<SqliteJob>) {
    let mut group = vec![first];
    while group.len() < GROUP {
        match jobs.try_recv() {
            Ok(SqliteJob::Write(job)) => group.push(job),
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
}

/// Sends an answer. A caller that has given up is no error: the work is done or will be repeated.
pub(super) fn answer<T>(reply: SqliteReply<T>, result: Result<T, StoreError>) {
    drop(reply.send(result));
}

/// A full disk, a lock held by another process or an I/O error may pass; a
/// damaged file or a refused statement will not.
pub(crate) fn classify(error: rusqlite::Error) -> StoreError {
    let passing = matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OperationInterrupted
        )
    );
    let text = format!("SQLite: {error}");
    if passing {
        StoreError::Unavailable(text)
    } else {
        StoreError::Broken(text)
    }
}
