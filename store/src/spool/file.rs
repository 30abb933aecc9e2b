//! The spool's file, and the thread that owns it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use asterscribe_call::CallId;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::body::{self, UnreadableRow};
use super::{
    ExpiredUtterance, RecognitionPass, SpoolConfig, SpoolError, SpoolFigures, SpoolId, SpoolPage,
    SpoolableSpeech, SpooledUtterance,
};
use crate::sqlite::schema;
use crate::sqlite::schema::FileSchema;
use crate::sqlite::worker::classify;
use crate::{StoreError, WallClock, bounded_ms};

/// Schema of the file; its application id is "ASCS".
const SPOOL: FileSchema = FileSchema {
    application_id: 0x4153_4353,
    is_exclusive: true,
    clean_since: 0,
    migrations: &[
        "
CREATE TABLE utterance (
    id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: lines refer to it
    call_id TEXT NOT NULL,
    audio   INTEGER NOT NULL, -- samples of it
    kept_ms INTEGER NOT NULL,
    body    BLOB NOT NULL
) STRICT;
",
        "
ALTER TABLE utterance ADD COLUMN pass INTEGER NOT NULL DEFAULT 1; -- 2: heard, to be heard once more
CREATE INDEX utterance_first ON utterance (pass) WHERE pass = 1;
CREATE INDEX utterance_second ON utterance (call_id) WHERE pass = 2;
",
    ],
};

/// Time to wait for a lock that another process holds on the file.
const BUSY: Duration = Duration::from_millis(200);

/// Utterances that share a transaction, and its synchronisation.
const GROUP: usize = 64;

/// An order to the spool's thread.
#[derive(Debug)]
pub(super) enum SpoolJob {
    Keep(KeepRequest),
    Next(
        Option<CallId>,
        Option<SpoolId>,
        usize,
        oneshot::Sender<Result<SpoolPage, StoreError>>,
    ),
    SecondCalls(oneshot::Sender<Result<Vec<CallId>, StoreError>>),
    HearAgain(Vec<SpoolId>, oneshot::Sender<Result<(), StoreError>>),
    Forget(Vec<SpoolId>, oneshot::Sender<Result<(), StoreError>>),
    Erase(CallId, oneshot::Sender<Result<u64, StoreError>>),
    /// Closes the file, and ends the thread.
    Close(oneshot::Sender<Result<(), StoreError>>),
}

#[derive(Debug)]
pub(super) struct KeepRequest {
    pub(super) id: SpoolId,
    pub(super) speech: Box<SpoolableSpeech>,
    pub(super) pass: RecognitionPass,
    pub(super) reply: oneshot::Sender<Result<(), SpoolError>>,
}

pub(super) struct SpoolFile {
    conn: Connection,
    config: SpoolConfig,
    clock: WallClock,
    figures: Arc<SpoolFigures>,
    kept: PassBytes,
}

/// Bytes of the utterances of each pass.
#[derive(Debug, Clone, Copy, Default)]
struct PassBytes {
    first: u64,
    second: u64,
}

impl PassBytes {
    fn of(&mut self, pass: RecognitionPass) -> &mut u64 {
        match pass {
            RecognitionPass::First => &mut self.first,
            RecognitionPass::Second => &mut self.second,
        }
    }

    fn total(self) -> u64 {
        self.first + self.second
    }
}

impl SpoolFile {
    /// Opens or creates the file. The error is a sentence without the path.
    pub(super) fn open(
        path: &Path,
        config: SpoolConfig,
        clock: WallClock,
        figures: Arc<SpoolFigures>,
    ) -> Result<Self, String> {
        let conn = schema::open(path, BUSY, &SPOOL)?;
        let text = |error: rusqlite::Error| error.to_string();
        let mut file = Self {
            conn,
            config,
            clock,
            figures,
            kept: PassBytes::default(),
        };
        file.count().map_err(text)?;
        Ok(file)
    }

    /// First place that was never used.
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
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<SpoolJob>) {
        let mut held = None;
        while let Some(job) = held.take().or_else(|| jobs.blocking_recv()) {
            // Whoever gave up waiting made up their mind already, or will ask again.
            match job {
                SpoolJob::Keep(first) => {
                    let (group, next) = gather(first, &mut jobs);
                    held = next;
                    self.keep(group);
                }
                SpoolJob::Next(second_of, behind, limit, reply) => {
                    let found = self.next(second_of.as_ref(), behind, limit);
                    drop(reply.send(found.map_err(classify)));
                }
                SpoolJob::SecondCalls(reply) => {
                    drop(reply.send(self.second_calls().map_err(classify)));
                }
                SpoolJob::HearAgain(ids, reply) => {
                    drop(reply.send(self.hear_again(&ids).map_err(classify)));
                }
                SpoolJob::Forget(ids, reply) => {
                    drop(reply.send(self.forget(&ids).map_err(classify)));
                }
                SpoolJob::Erase(call, reply) => {
                    drop(reply.send(self.erase(&call).map_err(classify)));
                }
                SpoolJob::Close(reply) => {
                    let closed = self.conn.close().map_err(|(_, error)| classify(error));
                    drop(reply.send(closed));
                    return;
                }
            }
            if held.is_none() && jobs.is_empty() {
                for pass in [RecognitionPass::First, RecognitionPass::Second] {
                    self.figures.slow(pass).store(false, Ordering::Relaxed);
                }
            }
        }
    }

    /// Writes utterances, also those that nobody waits for any more: their lines have their places.
    fn keep(&mut self, group: Vec<KeepRequest>) {
        match self.insert(&group) {
            Ok(kept) => {
                for (KeepRequest { reply, .. }, result) in group.into_iter().zip(kept) {
                    drop(reply.send(result));
                }
            }
            Err(error) => {
                let error = SpoolError::Disk(classify(error));
                for KeepRequest { reply, .. } in group {
                    drop(reply.send(Err(error.clone())));
                }
            }
        }
        self.tell();
    }

    fn insert(&mut self, group: &[KeepRequest]) -> rusqlite::Result<Vec<Result<(), SpoolError>>> {
        let now_ms = self.now_ms();
        let (mut bytes, mut kept) = (self.kept, Vec::with_capacity(group.len()));
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for KeepRequest {
            id,
            speech,
            pass,
            reply,
        } in group
        {
            if *pass == RecognitionPass::Second && reply.is_closed() {
                // Its line has been told without it.
                kept.push(Err(SpoolError::Slow));
                continue;
            }
            let Some(body) = body::encode(*id, speech, self.config.key.as_ref()) else {
                let why = "an utterance cannot be sealed".to_owned();
                kept.push(Err(SpoolError::Disk(StoreError::Broken(why))));
                continue;
            };
            let size = body.len() as u64;
            let (all, of_pass) = (bytes.total(), *bytes.of(*pass));
            let limits = [
                (all, self.config.max_bytes),
                (of_pass, self.config.bytes_for(*pass)),
            ];
            let full = limits.iter().find(|(had, limit)| had + size > *limit);
            if let Some(&(bytes, limit)) = full {
                let more = size;
                kept.push(Err(SpoolError::Full { more, bytes, limit }));
                continue;
            }
            tx.execute(
                "INSERT INTO utterance (id, call_id, audio, kept_ms, body, pass) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    number(id.0),
                    speech.call.as_str(),
                    number(speech.audio),
                    now_ms,
                    body,
                    column(*pass)
                ],
            )?;
            *bytes.of(*pass) += size;
            kept.push(Ok(()));
        }
        tx.commit()?;
        self.kept = bytes;
        for (KeepRequest { pass, .. }, _) in
            group.iter().zip(&kept).filter(|(_, kept)| kept.is_ok())
        {
            let stats = self.figures.of(*pass);
            stats.kept.fetch_add(1, Ordering::Relaxed);
            stats.waiting.fetch_add(1, Ordering::Relaxed);
        }
        Ok(kept)
    }

    fn second_calls(&self) -> rusqlite::Result<Vec<CallId>> {
        let mut query = self.conn.prepare(
            "SELECT call_id FROM utterance WHERE pass = 2 GROUP BY call_id ORDER BY min(id)",
        )?;
        let calls = query.query_map([], |row| row.get::<_, String>(0))?;
        let calls = calls.collect::<rusqlite::Result<Vec<_>>>()?;
        // What is damaged has outlived itself some day.
        Ok(calls.iter().filter_map(|call| call.parse().ok()).collect())
    }

    fn hear_again(&mut self, ids: &[SpoolId]) -> rusqlite::Result<()> {
        let moved =
            "UPDATE utterance SET pass = 2 WHERE id = ?1 AND pass = 1 RETURNING 1, length(body)";
        for (from, bytes) in self.each(ids, moved)? {
            self.gone(from, bytes);
            *self.kept.of(RecognitionPass::Second) += bytes;
            let stats = self.figures.of(RecognitionPass::Second);
            stats.waiting.fetch_add(1, Ordering::Relaxed);
            stats.kept_on.fetch_add(1, Ordering::Relaxed);
        }
        self.tell();
        Ok(())
    }

    fn next(
        &self,
        second_of: Option<&CallId>,
        behind: Option<SpoolId>,
        limit: usize,
    ) -> rusqlite::Result<SpoolPage> {
        let oldest = self.now_ms().saturating_sub(bounded_ms(self.config.keep));
        // Spelled out, so that each goes by the index that is made for it.
        let of = match second_of {
            None => "pass = 1 AND ?1 IS NULL",
            Some(_) => "pass = 2 AND call_id = ?1",
        };
        let mut query = self.conn.prepare(&format!(
            "SELECT id, call_id, audio, kept_ms, body FROM utterance
             WHERE {of} AND id > ?2 ORDER BY id LIMIT ?3"
        ))?;
        let behind = behind.map_or(0, |id| number(id.0));
        let mut rows = query.query(params![
            second_of.map(CallId::as_str),
            behind,
            number(limit as u64)
        ])?;
        let (mut page, mut seen) = (SpoolPage::default(), 0);
        while let Some(row) = rows.next()? {
            seen += 1;
            let id = SpoolId(row.get::<_, i64>(0)?.unsigned_abs());
            page.upto = Some(id);
            let is_old = row.get::<_, i64>(3)? < oldest;
            match self.read(row, id, is_old)? {
                Ok(SpoolRow::Kept(kept)) => page.kept.push(kept),
                Ok(SpoolRow::Outlived(old)) => page.outlived.push(old),
                Err(why) => {
                    page.unreadable += 1;
                    tracing::debug!(id = id.0, %why, "a spooled utterance cannot be read");
                }
            }
        }
        page.is_last = seen < limit;
        Ok(page)
    }

    fn read(
        &self,
        row: &rusqlite::Row<'_>,
        id: SpoolId,
        is_old: bool,
    ) -> rusqlite::Result<Result<SpoolRow, UnreadableRow>> {
        let Ok(call) = row.get::<_, String>(1)?.parse() else {
            return Ok(Err(UnreadableRow::Damaged));
        };
        let audio = row.get::<_, i64>(2)?.unsigned_abs();
        if is_old {
            return Ok(Ok(SpoolRow::Outlived(ExpiredUtterance { id, call, audio })));
        }
        let body = row.get_ref(4)?.as_blob()?;
        let speech = body::decode(id, (call, audio), body, self.config.key.as_ref());
        Ok(speech.map(|speech| SpoolRow::Kept(SpooledUtterance { id, speech })))
    }

    fn forget(&mut self, ids: &[SpoolId]) -> rusqlite::Result<()> {
        let removed = "DELETE FROM utterance WHERE id = ?1 RETURNING pass, length(body)";
        for (from, bytes) in self.each(ids, removed)? {
            self.gone(from, bytes);
        }
        self.tell();
        if self.kept.total() == 0 {
            // Nothing of it is left in the log beside the file either.
            schema::fold_log_in(&self.conn)?;
        }
        Ok(())
    }

    /// Removes everything of a call, from the log too; the result is the number of utterances.
    fn erase(&mut self, call: &CallId) -> rusqlite::Result<u64> {
        let mut query = self
            .conn
            .prepare("SELECT id FROM utterance WHERE call_id = ?1")?;
        let ids = query.query_map([call.as_str()], |row| row.get::<_, i64>(0))?;
        let ids = ids.map(|id| id.map(|id| SpoolId(id.unsigned_abs())));
        let ids = ids.collect::<rusqlite::Result<Vec<_>>>()?;
        drop(query);
        self.forget(&ids)?;
        schema::fold_log_in(&self.conn)?;
        Ok(ids.len() as u64)
    }

    /// Runs a statement for each of the places that are in use; the result is the passes of those,
    /// and their bytes.
    fn each(
        &mut self,
        ids: &[SpoolId],
        change: &str,
    ) -> rusqlite::Result<Vec<(RecognitionPass, u64)>> {
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut changed = Vec::with_capacity(ids.len());
        let mut statement = tx.prepare(change)?;
        for id in ids {
            let of_row = statement.query_row([number(id.0)], |row| {
                let pass = match row.get::<_, i64>(0)? {
                    1 => RecognitionPass::First,
                    _ => RecognitionPass::Second,
                };
                Ok((pass, row.get::<_, i64>(1)?.unsigned_abs()))
            });
            changed.extend(of_row.optional()?);
        }
        drop(statement);
        tx.commit()?;
        Ok(changed)
    }

    /// Counts an utterance of that pass as gone.
    fn gone(&mut self, pass: RecognitionPass, bytes: u64) {
        let kept = self.kept.of(pass);
        *kept = kept.saturating_sub(bytes);
        let stats = self.figures.of(pass);
        let waiting = stats.waiting.load(Ordering::Relaxed).saturating_sub(1);
        stats.waiting.store(waiting, Ordering::Relaxed);
        stats.unreadable.fetch_min(waiting, Ordering::Relaxed);
    }

    /// Counts utterances and bytes in the file.
    fn count(&mut self) -> rusqlite::Result<()> {
        for pass in [RecognitionPass::First, RecognitionPass::Second] {
            let (waiting, bytes): (i64, i64) = self.conn.query_row(
                "SELECT count(*), coalesce(sum(length(body)), 0) FROM utterance WHERE pass = ?1",
                [column(pass)],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            *self.kept.of(pass) = bytes.unsigned_abs();
            let stats = self.figures.of(pass);
            let waiting = waiting.unsigned_abs();
            stats.waiting.store(waiting, Ordering::Relaxed);
        }
        self.tell();
        Ok(())
    }

    fn tell(&mut self) {
        for pass in [RecognitionPass::First, RecognitionPass::Second] {
            let bytes = *self.kept.of(pass);
            self.figures.of(pass).bytes.store(bytes, Ordering::Relaxed);
        }
    }

    fn now_ms(&self) -> i64 {
        (self.clock)().as_millisecond()
    }
}

/// Schema and rows of a file as the first version made it.
#[cfg(test)]
pub(super) const BEFORE_SECOND_PASS: &str = "
PRAGMA application_id = 0x41534353;
PRAGMA user_version = 1;
CREATE TABLE utterance (
    id INTEGER PRIMARY KEY AUTOINCREMENT, call_id TEXT NOT NULL, audio INTEGER NOT NULL,
    kept_ms INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
";

enum SpoolRow {
    Kept(SpooledUtterance),
    Outlived(ExpiredUtterance),
}

/// Number as SQLite has it, signed.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn column(pass: RecognitionPass) -> i64 {
    match pass {
        RecognitionPass::First => 1,
        RecognitionPass::Second => 2,
    }
}

fn gather(
    first: KeepRequest,
    jobs: &mut mpsc::Receiver<SpoolJob>,
) -> (Vec<KeepRequest>, Option<SpoolJob>) {
    let mut group = vec![first];
    while group.len() < GROUP {
        match jobs.try_recv() {
            Ok(SpoolJob::Keep(keep)) => group.push(keep),
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
}
