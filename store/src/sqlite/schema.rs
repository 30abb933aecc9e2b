//! Opening the file: whether it is ours, whole, and of a schema that is known.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

/// The schema of a file of ours.
pub(crate) struct FileSchema {
    /// Marks it as ours (`PRAGMA application_id`).
    pub(crate) application_id: i32,
    /// Whether no other process may have it open.
    pub(crate) is_exclusive: bool,
    /// The version since which what is removed leaves nothing in the file: an older one is
    /// written anew once.
    pub(crate) clean_since: i64,
    /// Step n brings a file from `user_version` n to n + 1. Never edit one that was
    /// released; add the next.
    pub(crate) migrations: &'static [&'static str],
}

/// Schema of the calls' file; its application id is "ASCB".
pub(super) const CALLS: FileSchema = FileSchema {
    application_id: 0x4153_4342,
    is_exclusive: false,
    clean_since: 2,
    migrations: MIGRATIONS,
};

const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE call (
    call_id    TEXT PRIMARY KEY,
    started_ms INTEGER NOT NULL,
    is_open    INTEGER NOT NULL,
    record     TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    counted_ms INTEGER -- the started_ms under which it was counted as processed
) STRICT;
CREATE INDEX call_newest ON call (started_ms DESC, call_id DESC);
CREATE INDEX call_expiry ON call (expires_ms);
CREATE INDEX call_open ON call (call_id) WHERE is_open = 1;

-- A call's lists expire as a whole, counted from their last element, as a Redis
-- list does; so the date stands here once and not on every element.
CREATE TABLE list (
    call_id    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (call_id, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX list_expiry ON list (expires_ms);

CREATE TABLE item (
    call_id  TEXT NOT NULL,
    kind     TEXT NOT NULL,
    position INTEGER NOT NULL,
    json     TEXT NOT NULL,
    PRIMARY KEY (call_id, kind, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counter VALUES ('processed', 0);
",
    // A list of calls is read from this index alone, whatever is in the records.
    "
DROP INDEX call_newest;
CREATE INDEX call_newest ON call (started_ms DESC, call_id DESC, expires_ms);
",
];

/// Opens or creates the file. The error is a sentence without the path.
pub(crate) fn open(
    path: &Path,
    busy_timeout: Duration,
    schema: &FileSchema,
) -> Result<Connection, String> {
    create_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(text)?;
    prepare(&mut conn, busy_timeout, schema)?;
    Ok(conn)
}

/// Another connection to a file that is open, for what must not wait for its writer.
pub(super) fn open_reader(path: &Path, busy_timeout: Duration) -> Result<Connection, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(text)?;
    conn.busy_timeout(busy_timeout).map_err(text)?;
    conn.pragma_update(None, "query_only", "on").map_err(text)?;
    Ok(conn)
}

/// Puts what is in the log into the file and leaves the log empty; `false` if somebody reads.
pub(crate) fn fold_log_in(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        row.get::<_, i64>(0).map(|busy| busy == 0)
    })
}

/// Transcripts are private: a new file is its owner's alone, and SQLite gives
/// the `-wal` and `-shm` files beside it the same mode.
fn create_private(path: &Path) -> Result<(), String> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("cannot be opened for writing: {e}")),
    }
}

fn prepare(
    conn: &mut Connection,
    busy_timeout: Duration,
    schema: &FileSchema,
) -> Result<(), String> {
    conn.busy_timeout(busy_timeout).map_err(text)?;
    if schema.is_exclusive {
        // Taken by what comes next and kept until the end.
        conn.pragma_update(None, "locking_mode", "exclusive")
            .map_err(text)?;
    }
    refuse_foreign(conn, schema)?;
    let mode: String = conn
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(text)?;
    if mode != "wal" {
        return Err(format!(
            "the file system does not allow a write-ahead log (journal mode stays {mode})"
        ));
    }
    // FULL: a commit is on the disk before the call returns, so an acknowledged
    // line survives a power cut, not only a crash of this process (which NORMAL
    // would cover). It costs one fsync per commit, and commits are shared: the
    // thread puts everything that waits into one transaction.
    conn.pragma_update(None, "synchronous", "full")
        .map_err(text)?;
    // What is removed was somebody's words: it is overwritten, and not only forgotten.
    conn.pragma_update(None, "secure_delete", "on")
        .map_err(text)?;
    let check: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(text)?;
    if check != "ok" {
        return Err(format!("the file is corrupt: {check}"));
    }
    let version = migrate(conn, schema)?;
    if (1..schema.clean_since).contains(&version)
        && let Err(error) = conn
            .execute_batch("VACUUM")
            .and_then(|()| fold_log_in(conn))
    {
        tracing::warn!(%error, "data removed by an older version may still be in the file: it cannot be rewritten");
    }
    Ok(())
}

fn refuse_foreign(conn: &Connection, schema: &FileSchema) -> Result<(), String> {
    let id: i32 = conn
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(text)?;
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(text)?;
    if id == schema.application_id || tables == 0 {
        return Ok(());
    }
    Err("it is a database of another program".to_owned())
}

/// Brings the file's schema up to date; the result is the version that the file had.
fn migrate(conn: &mut Connection, schema: &FileSchema) -> Result<i64, String> {
    // Immediate: of two processes that start at once, one migrates and the other sees the result.
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(text)?;
    let version: i64 = tx
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(text)?;
    let known = schema.migrations.len();
    let done = usize::try_from(version)
        .ok()
        .filter(|done| *done <= known)
        .ok_or_else(|| {
            format!(
                "its schema version is {version}; this version of the program knows up to {known}"
            )
        })?;
    for step in &schema.migrations[done..] {
        tx.execute_batch(step).map_err(text)?;
    }
    // Written every time: a file that cannot be written is found now, not at the first call.
    tx.pragma_update(None, "application_id", schema.application_id)
        .map_err(text)?;
    tx.pragma_update(
        None,
        "user_version",
        i64::try_from(known).expect("a handful of steps"),
    )
    .map_err(text)?;
    tx.commit().map_err(text)?;
    Ok(version)
}

fn text(error: rusqlite::Error) -> String {
    let is_locked = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
    let hint = if is_locked {
        ": another process has it, or another part of this one"
    } else {
        ""
    };
    format!("{error}{hint}")
}
