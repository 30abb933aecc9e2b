//! The statements. Times are milliseconds since 1970; a row whose `expires_ms`
//! has passed is treated as absent everywhere, deleted or not.

mod lines;

use asterscribe_call::CallId;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::super::row::{self, CallList, StoreRow};
use super::super::{CallCounters, RetentionTimes};

/// How many calls and lists one transaction of `expire` deletes at most.
const EXPIRE_CHUNK: i64 = 200;

/// Outcome of a write that changed what it could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteOutcome {
    /// The write is as it was to be.
    AsTold,
    /// The line got another number than its own.
    Displaced,
}

pub(super) fn write(
    tx: &Transaction<'_>,
    row: &StoreRow,
    keep: RetentionTimes,
    now_ms: i64,
) -> rusqlite::Result<WriteOutcome> {
    match row {
        StoreRow::Call {
            id,
            open,
            started_ms,
            json,
            yields,
        } => {
            if *yields && is_of_another(tx, id, json, now_ms)? {
                return Ok(WriteOutcome::AsTold);
            }
            put_call(
                tx,
                id,
                (*open, *started_ms),
                json,
                now_ms.saturating_add(keep.call_ms()),
            )?;
        }
        StoreRow::Item {
            id,
            list,
            position,
            json,
            revises,
        } => {
            let keep_ms = match list {
                CallList::Transcript => keep.transcript_ms(),
                CallList::Dtmf => keep.call_ms(),
            };
            let item = (*position, json.as_str(), *revises);
            if *list == CallList::Transcript {
                return lines::append(tx, id, item, now_ms, keep_ms);
            }
            append(tx, (id, list.name()), item, now_ms, keep_ms)?;
        }
        StoreRow::Digits { id, all } => {
            for (position, json) in (0i64..).zip(all) {
                let kind = CallList::Dtmf.name();
                append(
                    tx,
                    (id, kind),
                    (position, json, false),
                    now_ms,
                    keep.call_ms(),
                )?;
            }
        }
        StoreRow::Erase { id } => erase(tx, id)?,
    }
    Ok(WriteOutcome::AsTold)
}

/// Whether the call has an open record of another node than that of the record given.
fn is_of_another(
    tx: &Transaction<'_>,
    id: &str,
    json: &str,
    now_ms: i64,
) -> rusqlite::Result<bool> {
    let stored = tx.query_row(
        "SELECT record FROM call WHERE call_id = ?1 AND is_open = 1 AND expires_ms > ?2",
        params![id, now_ms],
        |row| bytes(row, 0),
    );
    let node = stored.optional()?.and_then(|stored| row::node_of(&stored));
    Ok(node.is_some() && node != row::node_of(json.as_bytes()))
}

fn erase(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<()> {
    for table in ["call", "list", "item"] {
        tx.execute(&format!("DELETE FROM {table} WHERE call_id = ?1"), [id])?;
    }
    Ok(())
}

/// Runs a write that changes nothing.
pub(super) fn try_write(conn: &mut Connection) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    count_processed(&tx, 0)?;
    tx.commit()
}

fn put_call(
    tx: &Transaction<'_>,
    id: &str,
    (open, started_ms): (bool, i64),
    json: &str,
    expires_ms: i64,
) -> rusqlite::Result<()> {
    let counted: Option<i64> = tx
        .query_row(
            "SELECT counted_ms FROM call WHERE call_id = ?1",
            [id],
            |row| row.get(0),
        )
        .optional()?
        .flatten();
    // Once, however often it is put as over, and also if it was put as open in
    // between: a repeated batch does both.
    let counts = !open && counted != Some(started_ms);
    if counts {
        count_processed(tx, 1)?;
    }
    tx.execute(
        "INSERT INTO call (call_id, started_ms, is_open, record, expires_ms, counted_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (call_id) DO UPDATE SET started_ms = excluded.started_ms, is_open = excluded.is_open,
             record = excluded.record, expires_ms = excluded.expires_ms, counted_ms = excluded.counted_ms",
        params![id, started_ms, open, json, expires_ms, if counts { Some(started_ms) } else { counted }],
    )?;
    Ok(())
}

fn append(
    tx: &Transaction<'_>,
    (id, kind): (&str, &str),
    (position, json, revises): (i64, &str, bool),
    now_ms: i64,
    keep_ms: i64,
) -> rusqlite::Result<()> {
    // What has expired is gone; a late append begins a new list, as it would in Redis.
    tx.execute(
        "DELETE FROM item WHERE call_id = ?1 AND kind = ?2 AND EXISTS
             (SELECT 1 FROM list WHERE call_id = ?1 AND kind = ?2 AND expires_ms <= ?3)",
        params![id, kind, now_ms],
    )?;
    tx.execute(
        "INSERT INTO item (call_id, kind, position, json) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (call_id, kind, position) DO UPDATE SET json = excluded.json WHERE ?5",
        params![id, kind, position, json, revises],
    )?;
    tx.execute(
        "INSERT INTO list (call_id, kind, expires_ms) VALUES (?1, ?2, ?3)
         ON CONFLICT (call_id, kind) DO UPDATE SET expires_ms = excluded.expires_ms",
        params![id, kind, now_ms.saturating_add(keep_ms)],
    )?;
    Ok(())
}

fn count_processed(tx: &Transaction<'_>, by: usize) -> rusqlite::Result<()> {
    let by = i64::try_from(by).expect("a count of rows");
    tx.execute(
        "UPDATE counter SET value = value + ?1 WHERE name = 'processed'",
        [by],
    )?;
    Ok(())
}

/// Bytes of a text column; they need not be UTF-8, since anybody may have put them there.
fn bytes(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(row.get_ref(column)?.as_bytes()?.to_owned())
}

/// The records of calls, as JSON, in their order.
pub(super) fn records(
    conn: &Connection,
    ids: &[CallId],
    now_ms: i64,
) -> rusqlite::Result<Vec<Option<Vec<u8>>>> {
    let mut query =
        conn.prepare("SELECT record FROM call WHERE call_id = ?1 AND expires_ms > ?2")?;
    let mut record = |id: &CallId| {
        let found = query.query_row(params![id.as_str(), now_ms], |row| bytes(row, 0));
        found.optional()
    };
    ids.iter().map(&mut record).collect()
}

// By this index and no other: that of the expiry would have all calls sorted each time.
pub(super) const NEWEST: &str = "SELECT started_ms, call_id FROM call INDEXED BY call_newest
    WHERE expires_ms > ?1 ORDER BY started_ms DESC, call_id DESC LIMIT ?2";
pub(super) const NEWEST_BEHIND: &str = "SELECT started_ms, call_id FROM call INDEXED BY call_newest
    WHERE expires_ms > ?1 AND (started_ms, call_id) < (?3, CAST(?4 AS TEXT))
    ORDER BY started_ms DESC, call_id DESC LIMIT ?2";

/// Starts and ids of calls, newest first, behind that place.
pub(super) fn keys(
    conn: &Connection,
    before: Option<(i64, &[u8])>,
    limit: i64,
    now_ms: i64,
) -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
    let key = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, bytes(row, 1)?));
    match before {
        None => conn
            .prepare(NEWEST)?
            .query_map([now_ms, limit], key)?
            .collect(),
        Some((started_ms, id)) => conn
            .prepare(NEWEST_BEHIND)?
            .query_map(params![now_ms, limit, started_ms, id], key)?
            .collect(),
    }
}

/// Ids and records of open calls, newest first.
pub(super) fn open_calls(
    conn: &Connection,
    now_ms: i64,
) -> rusqlite::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    conn.prepare(
        "SELECT call_id, record FROM call WHERE is_open = 1 AND expires_ms > ?1
         ORDER BY started_ms DESC, call_id DESC",
    )?
    .query_map([now_ms], |row| Ok((bytes(row, 0)?, bytes(row, 1)?)))?
    .collect()
}

/// The elements of a list from position `from` on, in order.
pub(super) fn items(
    conn: &Connection,
    id: &str,
    list: CallList,
    from: i64,
    now_ms: i64,
) -> rusqlite::Result<Vec<Vec<u8>>> {
    conn.prepare(
        "SELECT json FROM item WHERE call_id = ?1 AND kind = ?2 AND position >= ?3 AND EXISTS
             (SELECT 1 FROM list WHERE call_id = ?1 AND kind = ?2 AND expires_ms > ?4)
         ORDER BY position",
    )?
    .query_map(params![id, list.name(), from, now_ms], |row| bytes(row, 0))?
    .collect()
}

/// Number of elements that a list has below position `below`.
pub(super) fn items_below(
    conn: &Connection,
    id: &str,
    list: CallList,
    below: i64,
    now_ms: i64,
) -> rusqlite::Result<i64> {
    conn.prepare(
        "SELECT count(*) FROM item WHERE call_id = ?1 AND kind = ?2 AND position < ?3 AND EXISTS
             (SELECT 1 FROM list WHERE call_id = ?1 AND kind = ?2 AND expires_ms > ?4)",
    )?
    .query_row(params![id, list.name(), below, now_ms], |row| row.get(0))
}

/// `active` is counted, not kept: it cannot drift from the records.
pub(super) fn counters(conn: &Connection) -> rusqlite::Result<CallCounters> {
    let active: i64 = conn.query_row("SELECT count(*) FROM call WHERE is_open = 1", [], |row| {
        row.get(0)
    })?;
    let processed: i64 = conn.query_row(
        "SELECT value FROM counter WHERE name = 'processed'",
        [],
        |row| row.get(0),
    )?;
    Ok(CallCounters {
        active: active.unsigned_abs(),
        processed: processed.unsigned_abs(),
    })
}

/// The result of one chunk of the expiry.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExpiryChunk {
    /// Calls that were deleted.
    pub(super) calls: u64,
    /// Transcripts and lists of digits that were deleted.
    pub(super) lists: u64,
    /// Whether nothing more has expired.
    pub(super) is_all: bool,
}

/// Deletes one chunk of what has expired.
pub(super) fn expire_chunk(conn: &mut Connection, now_ms: i64) -> rusqlite::Result<ExpiryChunk> {
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let gone: Vec<i64> = tx
        .prepare(
            "DELETE FROM call WHERE call_id IN
                 (SELECT call_id FROM call WHERE expires_ms <= ?1 LIMIT ?2) RETURNING is_open",
        )?
        .query_map([now_ms, EXPIRE_CHUNK], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    count_processed(&tx, gone.iter().filter(|open| **open == 1).count())?;
    let lists: Vec<(String, String)> = tx
        .prepare(
            "DELETE FROM list WHERE (call_id, kind) IN
                 (SELECT call_id, kind FROM list WHERE expires_ms <= ?1 LIMIT ?2) RETURNING call_id, kind",
        )?
        .query_map([now_ms, EXPIRE_CHUNK], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, kind) in &lists {
        tx.execute(
            "DELETE FROM item WHERE call_id = ?1 AND kind = ?2",
            params![id, kind],
        )?;
    }
    tx.commit()?;
    let chunk = usize::try_from(EXPIRE_CHUNK).expect("a small positive constant");
    Ok(ExpiryChunk {
        calls: gone.len() as u64,
        lists: lists.len() as u64,
        is_all: gone.len() < chunk && lists.len() < chunk,
    })
}
