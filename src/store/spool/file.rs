//! The file, and the thread that owns it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::body::{self, Unreadable};
use super::{Kept, Outlived, Page, SpoolConfig, SpoolError, SpoolId, SpoolStats, Spoolable};
use crate::store::sqlite::schema::{self, Schema};
use crate::store::sqlite::worker::classify;
use crate::store::{StoreError, WallClock, bounded_ms};

/// Utterances waiting for their turn: "ASCS".
const SPOOL: Schema = Schema {
    application_id: 0x4153_4353,
    is_exclusive: true,
    migrations: &["
CREATE TABLE utterance (
    id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: lines refer to it
    call_id TEXT NOT NULL,
    audio   INTEGER NOT NULL, -- samples of it
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
    Keep(
        SpoolId,
        Box<Spoolable>,
        oneshot::Sender<Result<(), SpoolError>>,
    ),
    Next(
        Option<SpoolId>,
        usize,
        oneshot::Sender<Result<Page, StoreError>>,
    ),
    Forget(Vec<SpoolId>, oneshot::Sender<Result<(), StoreError>>),
}

struct Keep {
    id: SpoolId,
    speech: Box<Spoolable>,
    reply: oneshot::Sender<Result<(), SpoolError>>,
}

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
        file.count().map_err(text)?;
        Ok(file)
    }

    /// The first place that never was anybody's.
    pub(super) fn next_place(&self) -> u64 {
        let last = self.conn.query_row(
            "SELECT seq FROM sqlite_sequence WHERE name = 'utterance'",
            [],
            |row| row.get::<_, i64>(0),
        );
        // There is no such row before the first utterance. Not below the time of day either: a
        // line may have a place at which nothing came to be written.
        let last = last.map_or(0, i64::unsigned_abs);
        (last + 1).max(self.now_ms().unsigned_abs())
    }

    /// Serves until the last sender is gone.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut held = None;
        while let Some(job) = held.take().or_else(|| jobs.blocking_recv()) {
            // Whoever gave up waiting made up their mind already, or will ask again.
            match job {
                Job::Keep(id, speech, reply) => {
                    let first = Keep { id, speech, reply };
                    let (group, next) = gather(first, &mut jobs);
                    held = next;
                    self.keep(group);
                }
                Job::Next(behind, limit, reply) => {
                    let found = self.next(behind, limit);
                    drop(reply.send(found.map_err(classify)));
                }
                Job::Forget(ids, reply) => {
                    drop(reply.send(self.forget(&ids).map_err(classify)));
                }
            }
        }
    }

    /// Also what nobody waits for any more: its line has its place.
    fn keep(&mut self, group: Vec<Keep>) {
        match self.insert(&group) {
            Ok(kept) => {
                for (Keep { reply, .. }, result) in group.into_iter().zip(kept) {
                    drop(reply.send(result));
                }
            }
            Err(error) => {
                let error = SpoolError::Disk(classify(error));
                for Keep { reply, .. } in group {
                    drop(reply.send(Err(error.clone())));
                }
            }
        }
        self.tell();
    }

    fn insert(&mut self, group: &[Keep]) -> rusqlite::Result<Vec<Result<(), SpoolError>>> {
        let now_ms = self.now_ms();
        let limit = self.config.max_bytes;
        let (mut bytes, mut kept) = (self.bytes, Vec::with_capacity(group.len()));
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for Keep { id, speech, .. } in group {
            let Some(body) = body::encode(*id, speech, self.config.key.as_ref()) else {
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
                "INSERT INTO utterance (id, call_id, audio, kept_ms, body) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    number(id.0),
                    speech.call.as_str(),
                    number(speech.audio),
                    now_ms,
                    body
                ],
            )?;
            bytes += size;
            kept.push(Ok(()));
        }
        tx.commit()?;
        self.bytes = bytes;
        let count = kept.iter().filter(|kept| kept.is_ok()).count() as u64;
        self.stats.kept.fetch_add(count, Ordering::Relaxed);
        self.stats.waiting.fetch_add(count, Ordering::Relaxed);
        Ok(kept)
    }

    fn next(&self, behind: Option<SpoolId>, limit: usize) -> rusqlite::Result<Page> {
        let oldest = self.now_ms().saturating_sub(bounded_ms(self.config.keep));
        let mut query = self.conn.prepare(
            "SELECT id, call_id, audio, kept_ms, body FROM utterance WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let behind = behind.map_or(0, |id| number(id.0));
        let mut rows = query.query(params![behind, number(limit as u64)])?;
        let (mut page, mut seen) = (Page::default(), 0);
        while let Some(row) = rows.next()? {
            seen += 1;
            let id = SpoolId(row.get::<_, i64>(0)?.unsigned_abs());
            page.upto = Some(id);
            let is_old = row.get::<_, i64>(3)? < oldest;
            match self.read(row, id, is_old)? {
                Ok(Row::Kept(kept)) => page.kept.push(kept),
                Ok(Row::Outlived(old)) => page.outlived.push(old),
                Err(why) => {
                    page.unreadable += 1;
                    tracing::debug!(id = id.0, %why, "a spooled utterance cannot be read");
                }
            }
        }
        page.is_last = seen < limit;
        let outlived = page.outlived.len() as u64;
        self.stats.outlived.fetch_add(outlived, Ordering::Relaxed);
        Ok(page)
    }

    fn read(
        &self,
        row: &rusqlite::Row<'_>,
        id: SpoolId,
        is_old: bool,
    ) -> rusqlite::Result<Result<Row, Unreadable>> {
        let Ok(call) = row.get::<_, String>(1)?.parse() else {
            return Ok(Err(Unreadable::Damaged));
        };
        let audio = row.get::<_, i64>(2)?.unsigned_abs();
        if is_old {
            return Ok(Ok(Row::Outlived(Outlived { id, call, audio })));
        }
        let body = row.get_ref(4)?.as_blob()?;
        let speech = body::decode(id, (call, audio), body, self.config.key.as_ref());
        Ok(speech.map(|speech| Row::Kept(Kept { id, speech })))
    }

    fn forget(&mut self, ids: &[SpoolId]) -> rusqlite::Result<()> {
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for id in ids {
            tx.execute("DELETE FROM utterance WHERE id = ?1", [number(id.0)])?;
        }
        tx.commit()?;
        self.count()?;
        if self.bytes == 0 {
            // Nothing of it is left in the log beside the file either.
            self.conn
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        }
        Ok(())
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
        self.stats
            .unreadable
            .fetch_min(waiting.unsigned_abs(), Ordering::Relaxed);
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

enum Row {
    Kept(Kept),
    Outlived(Outlived),
}

/// As SQLite has it.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn set(figure: &AtomicU64, to: u64) {
    figure.store(to, Ordering::Relaxed);
}

fn gather(first: Keep, jobs: &mut mpsc::Receiver<Job>) -> (Vec<Keep>, Option<Job>) {
    let mut group = vec![first];
    while group.len() < GROUP {
        match jobs.try_recv() {
            Ok(Job::Keep(id, speech, reply)) => group.push(Keep { id, speech, reply }),
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
}
