//! Lines of a transcript. Two servers may number lines of one call for a moment, while one takes it
//! over from the other: what tells lines apart is therefore their utterance.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{WriteOutcome, append as append_item, bytes};
use crate::row::{self, CallList};

/// The kind of a line's rows.
const KIND: &str = CallList::Transcript.name();

/// Puts a line in its place; or, where that is another utterance's, where it is already or behind
/// all others.
pub(super) fn append(
    tx: &Transaction<'_>,
    id: &str,
    (position, json, revises): (i64, &str, bool),
    now_ms: i64,
    keep_ms: i64,
) -> rusqlite::Result<WriteOutcome> {
    let put = |position: i64, json: &str, revises: bool| {
        append_item(tx, (id, KIND), (position, json, revises), now_ms, keep_ms)
    };
    match taken(tx, id, position, json, now_ms)? {
        TakenPlace::No => {
            put(position, json, revises)?;
            Ok(WriteOutcome::AsTold)
        }
        TakenPlace::FoundAt(other) => {
            if let Some(json) = row::renumbered(json, other) {
                put(other, &json, revises)?;
            }
            Ok(WriteOutcome::AsTold)
        }
        TakenPlace::NextIs(next) => match row::renumbered(json, next) {
            Some(json) => {
                put(next, &json, revises)?;
                Ok(WriteOutcome::Displaced)
            }
            None => Ok(WriteOutcome::AsTold),
        },
    }
}

/// Whether a line's place is taken by another one.
enum TakenPlace {
    No,
    /// Taken, and the line has this place instead.
    FoundAt(i64),
    /// Taken, and this is the first place that is free behind all others.
    NextIs(i64),
}

fn taken(
    tx: &Transaction<'_>,
    id: &str,
    position: i64,
    json: &str,
    now_ms: i64,
) -> rusqlite::Result<TakenPlace> {
    let there = tx
        .query_row(
            "SELECT json FROM item WHERE call_id = ?1 AND kind = ?2 AND position = ?3 AND EXISTS
                 (SELECT 1 FROM list WHERE call_id = ?1 AND kind = ?2 AND expires_ms > ?4)",
            params![id, KIND, position, now_ms],
            |row| bytes(row, 0),
        )
        .optional()?;
    let own = row::utterance_of(json.as_bytes());
    let is_own = |json: &[u8]| row::utterance_of(json).is_none_or(|other| Some(other) == own);
    if there.is_none_or(|there| is_own(&there)) {
        return Ok(TakenPlace::No);
    }
    let mut behind = tx.prepare(
        "SELECT position, json FROM item WHERE call_id = ?1 AND kind = ?2 AND position > ?3
         ORDER BY position",
    )?;
    let mut rows = behind.query(params![id, KIND, position])?;
    let mut last = position;
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        if row::utterance_of(&bytes(row, 1)?) == own {
            return Ok(TakenPlace::FoundAt(last));
        }
    }
    Ok(TakenPlace::NextIs(last.saturating_add(1)))
}
