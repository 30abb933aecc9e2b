//! The file, and the thread that owns it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::body::{self, Unreadable};
use super::{Kept, SpoolConfig, SpoolError, SpoolId, SpoolStats, Spoolable};
use crate::store::sqlite::schema::{self, Schema};
use crate::store::sqlite::worker::classify;
use crate::store::{StoreError, WallClock, bounded_ms};

/// Utterances waiting for their turn: "ASCS".
const SPOOL: Schema = Schema {
    application_id: 0x4153_4353,
    migrations: &["
CREATE TABLE utterance (
    id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: lines refer to it
    call_id TEXT NOT NULL,
    kept_ms INTEGER NOT NULL,
    body    BLOB NOT NULL
) STRICT;
"],
};

/// How long a lock of another process on the file is waited for.
const BUSY: Duration = Duration::from_millis(200);

/// Utterances that share a transaction, and its synchronisation.
const GROUP: usize = 64;

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    Keep(Box<Spoolable>, oneshot::Sender<Result<SpoolId, SpoolError>>),
    Next(
        Option<SpoolId>,
        usize,
        oneshot::Sender<Result<Vec<Kept>, StoreError>>,
    ),
    Forget(Vec<SpoolId>, oneshot::Sender<Result<(), StoreError>>),
}

type Keep = (Box<Spoolable>, oneshot::Sender<Result<SpoolId, SpoolError>>);

pub(super) struct File {
    conn: Connection,
    config: SpoolConfig,
    clock: WallClock,
    stats: Arc<SpoolStats>,
    bytes: u64,
}

impl File {
    /// The error is a sentence without the path.
    pub(super) fn open(
        path: &Path,
        config: SpoolConfig,
        clock: WallClock,
        stats: Arc<SpoolStats>,
    ) -> Result<Self, String> {
        let conn = schema::open(path, BUSY, &SPOOL)?;
        let text = |error: rusqlite::Error| error.to_string();
        // What is removed was somebody's words.
        conn.pragma_update(None, "secure_delete", "on")
            .map_err(text)?;
        let mut file = Self {
            conn,
            config,
            clock,
            stats,
            bytes: 0,
        };
        file.expire().and_then(|()| file.count()).map_err(text)?;
        Ok(file)
    }

    /// Serves until the last sender is gone.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut held = None;
        while let Some(job) = held.take().or_else(|| jobs.blocking_recv()) {
            // Whoever gave up waiting made up their mind already, or will ask again.
            match job {
                Job::Keep(speech, reply) => {
                    let (group, next) = gather((speech, reply), &mut jobs);
                    held = next;
                    self.keep(group);
                }
                Job::Next(behind, limit, reply) => {
                    let found = self.expire().and_then(|()| self.next(behind, limit));
                    drop(reply.send(found.map_err(classify)));
                }
                Job::Forget(ids, reply) => {
                    drop(reply.send(self.forget(&ids).map_err(classify)));
                }
            }
        }
    }

    fn keep(&mut self, mut group: Vec<Keep>) {
        group.retain(|(_, reply)| !reply.is_closed());
        match self.insert(&group) {
            Ok(kept) => {
                for ((_, reply), result) in group.into_iter().zip(kept) {
                    drop(reply.send(result));
                }
            }
            Err(error) => {
                let error = SpoolError::Disk(classify(error));
                for (_, reply) in group {
                    drop(reply.send(Err(error.clone())));
                }
            }
        }
        self.tell();
    }

    fn insert(&mut self, group: &[Keep]) -> rusqlite::Result<Vec<Result<SpoolId, SpoolError>>> {
        let now_ms = self.now_ms();
        let limit = self.config.max_bytes;
        let (mut bytes, mut kept) = (self.bytes, Vec::with_capacity(group.len()));
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (speech, _) in group {
            let Some(body) = body::encode(speech, self.config.key.as_ref()) else {
                let why = "an utterance cannot be sealed".to_owned();
                kept.push(Err(SpoolError::Disk(StoreError::Broken(why))));
                continue;
            };
            let size = body.len() as u64;
            if bytes + size > limit {
                kept.push(Err(SpoolError::Full { bytes, limit }));
                continue;
            }
            tx.execute(
                "INSERT INTO utterance (call_id, kept_ms, body) VALUES (?1, ?2, ?3)",
                params![speech.call.as_str(), now_ms, body],
            )?;
            bytes += size;
            kept.push(Ok(SpoolId(tx.last_insert_rowid().unsigned_abs())));
        }
        tx.commit()?;
        self.bytes = bytes;
        let count = kept.iter().filter(|kept| kept.is_ok()).count() as u64;
        self.stats.kept.fetch_add(count, Ordering::Relaxed);
        self.stats.waiting.fetch_add(count, Ordering::Relaxed);
        Ok(kept)
    }

    fn next(&self, behind: Option<SpoolId>, limit: usize) -> rusqlite::Result<Vec<Kept>> {
        let behind = behind.map_or(0, |id| i64::try_from(id.0).unwrap_or(i64::MAX));
        let mut query = self
            .conn
            .prepare("SELECT id, call_id, body FROM utterance WHERE id > ?1 ORDER BY id")?;
        let mut rows = query.query([behind])?;
        let (mut found, mut unreadable) = (Vec::new(), 0);
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            match self.read(row)? {
                Ok(kept) => found.push(kept),
                Err(why) => {
                    unreadable += 1;
                    let id: i64 = row.get(0)?;
                    tracing::debug!(id, %why, "a spooled utterance cannot be read");
                }
            }
        }
        if behind == 0 {
            set(&self.stats.unreadable, unreadable);
        } else {
            self.stats
                .unreadable
                .fetch_add(unreadable, Ordering::Relaxed);
        }
        Ok(found)
    }

    fn read(&self, row: &Row<'_>) -> rusqlite::Result<Result<Kept, Unreadable>> {
        let (id, call): (i64, String) = (row.get(0)?, row.get(1)?);
        let body = row.get_ref(2)?.as_blob()?;
        let Ok(call) = call.parse() else {
            return Ok(Err(Unreadable::Damaged));
        };
        let speech = body::decode(call, body, self.config.key.as_ref());
        Ok(speech.map(|speech| Kept {
            id: SpoolId(id.unsigned_abs()),
            speech,
        }))
    }

    fn forget(&mut self, ids: &[SpoolId]) -> rusqlite::Result<()> {
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for id in ids {
            let id = i64::try_from(id.0).unwrap_or(i64::MAX);
            tx.execute("DELETE FROM utterance WHERE id = ?1", [id])?;
        }
        tx.commit()?;
        self.count()
    }

    /// Removes what is too old: its transcript has gone by then, too.
    fn expire(&mut self) -> rusqlite::Result<()> {
        let before = self.now_ms().saturating_sub(bounded_ms(self.config.keep));
        let oldest: Option<i64> = self
            .conn
            .query_row(
                "SELECT kept_ms FROM utterance ORDER BY id LIMIT 1",
                [],
                |row| row.get(0),
            )
            .optional()?;
        if oldest.is_none_or(|oldest| oldest >= before) {
            return Ok(());
        }
        let gone = self
            .conn
            .execute("DELETE FROM utterance WHERE kept_ms < ?1", [before])?;
        tracing::warn!(gone, "spooled utterances have outlived their retention");
        self.stats.expired.fetch_add(gone as u64, Ordering::Relaxed);
        self.count()
    }

    /// Learns how much there is.
    fn count(&mut self) -> rusqlite::Result<()> {
        let (waiting, bytes): (i64, i64) = self.conn.query_row(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM utterance",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        self.bytes = bytes.unsigned_abs();
        set(&self.stats.waiting, waiting.unsigned_abs());
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        set(&self.stats.bytes, self.bytes);
    }

    fn now_ms(&self) -> i64 {
        (self.clock)().as_millisecond()
    }
}

fn set(figure: &AtomicU64, to: u64) {
    figure.store(to, Ordering::Relaxed);
}

fn gather(first: Keep, jobs: &mut mpsc::Receiver<Job>) -> (Vec<Keep>, Option<Job>) {
    let mut group = vec![first];
    while group.len() < GROUP {
        match jobs.try_recv() {
            Ok(Job::Keep(speech, reply)) => group.push((speech, reply)),
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
}
