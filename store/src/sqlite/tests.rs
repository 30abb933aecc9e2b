use rusqlite::Connection;

use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_764_000_000).unwrap()
}

fn fixed_clock() -> WallClock {
    Arc::new(now)
}

fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, RetentionTimes::default(), now)
}

/// Checks that opening fails with the path and `why`.
fn refused(path: &Path, why: &str) {
    let Err(StoreError::Broken(text)) = open(path) else {
        panic!("{} was opened", path.display())
    };
    assert!(text.contains(&path.display().to_string()), "{text}");
    assert!(text.contains(why), "{text}");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_with_its_path_and_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);

    refused(&at("missing/calls.db"), "No such file");
    refused(dir.path(), "directory");

    std::fs::write(
        at("text.db"),
        "not a database, but long enough to be looked at by SQLite ".repeat(20),
    )
    .unwrap();
    refused(&at("text.db"), "not a database");

    let newer = schema::open(&at("newer.db"), LIMITS.busy, &schema::CALLS).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    refused(&at("newer.db"), "schema version is 99");

    let foreign = Connection::open(at("foreign.db")).unwrap();
    foreign
        .execute_batch("CREATE TABLE photo (name TEXT)")
        .unwrap();
    drop(foreign);
    refused(&at("foreign.db"), "another program");
}

#[tokio::test]
async fn a_damaged_page_is_found_at_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("calls.db");
    drop(schema::open(&path, LIMITS.busy, &schema::CALLS).unwrap());
    // The connection is closed and the log checkpointed: the pages lie in the file.
    let mut bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() > 3 * 4096, "{}", bytes.len());
    for byte in &mut bytes[2 * 4096..] {
        *byte = 0xA5;
    }
    std::fs::write(&path, bytes).unwrap();
    let Err(StoreError::Broken(text)) = open(&path) else {
        panic!("a damaged file was opened")
    };
    assert!(
        text.contains("corrupt") || text.contains("malformed"),
        "{text}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_private_to_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("calls.db");
    let _store = open(&path).unwrap();
    for file in [path.clone(), dir.path().join("calls.db-wal")] {
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600,
            "{}",
            file.display()
        );
    }
}

#[tokio::test]
async fn a_lock_held_by_another_process_makes_it_unavailable_until_it_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("calls.db");
    let limits = SqliteLimits {
        call: Duration::from_secs(60),
        busy: Duration::from_millis(20),
    };
    let store =
        SqliteStore::open_with(&path, RetentionTimes::default(), fixed_clock(), limits).unwrap();
    let call: CallId = "1.1".parse().unwrap();
    let digit = DtmfDigit {
        at_ms: 1,
        digit: '5',
        duration_ms: 80,
        leg: asterscribe_call::Leg::caller(),
    };

    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = store.append_dtmf(&call, 0, &digit).await;
    assert!(
        matches!(answer, Err(StoreError::Unavailable(_))),
        "{answer:?}"
    );
    assert_eq!(
        store.dtmf(&call).await.unwrap(),
        [],
        "readers are not held up by a writer"
    );

    other.execute_batch("COMMIT").unwrap();
    store.append_dtmf(&call, 0, &digit).await.unwrap();
    assert_eq!(store.dtmf(&call).await.unwrap(), [digit]);
}

#[tokio::test]
async fn a_thread_that_hangs_makes_calls_time_out_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let limits = SqliteLimits {
        call: Duration::from_millis(50),
        busy: Duration::from_secs(1),
    };
    let store = SqliteStore::open_with(
        &dir.path().join("calls.db"),
        RetentionTimes::default(),
        fixed_clock(),
        limits,
    )
    .unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let hang = SqliteJob::Task(Box::new(move |_, _| held.recv().unwrap()));
    store.jobs.send(hang).await.unwrap();
    // More than the queue holds: those that find no room must time out as well.
    let asked = ping_at_once(QUEUE + 3, &store).await;
    assert!(
        asked
            .iter()
            .all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))),
        "{asked:?}"
    );
    release.send(()).unwrap();
    while store.ping().await.is_err() {}
}

async fn ping_at_once(count: usize, store: &SqliteStore) -> Vec<Result<(), StoreError>> {
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..count {
        let store = store.clone();
        asked.spawn(async move { store.ping().await });
    }
    asked.join_all().await
}

#[test]
fn one_bad_write_does_not_spoil_those_that_share_its_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let conn = schema::open(&dir.path().join("calls.db"), LIMITS.busy, &schema::CALLS).unwrap();
    // A file whose schema was tampered with: it refuses one call.
    conn.execute_batch(
        "CREATE TRIGGER no_six BEFORE INSERT ON item WHEN new.call_id = '6' BEGIN SELECT raise(ABORT, 'no six'); END",
    )
    .unwrap();
    let (jobs, queue) = mpsc::channel(QUEUE);
    let ask = |id: &str| {
        let (reply, answer) = oneshot::channel();
        let row = row::StoreRow::Item {
            id: id.to_owned(),
            list: CallList::Dtmf,
            position: 0,
            json: "{}".to_owned(),
            revises: false,
        };
        jobs.try_send(SqliteJob::Write(WriteJob {
            rows: vec![row],
            reply,
        }))
        .unwrap();
        answer
    };
    let mut answers = ["5", "6", "7"].map(ask);
    drop(jobs);
    SqliteWorker {
        conn,
        retention: RetentionTimes::default(),
        clock: fixed_clock(),
        displaced: Arc::default(),
    }
    .run(queue);
    let [five, six, seven] = answers.each_mut().map(|answer| answer.try_recv().unwrap());
    assert_eq!((five, seven), (Ok(()), Ok(())));
    assert!(
        matches!(&six, Err(StoreError::Broken(text)) if text.contains("no six")),
        "{six:?}"
    );
}

#[test]
fn a_list_is_read_from_its_index_and_sorts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let conn = schema::open(&dir.path().join("calls.db"), LIMITS.busy, &schema::CALLS).unwrap();
    for query in [queries::NEWEST, queries::NEWEST_BEHIND] {
        let mut explain = conn
            .prepare(&format!("EXPLAIN QUERY PLAN {query}"))
            .unwrap();
        let any = rusqlite::params_from_iter(vec![0; explain.parameter_count()]);
        let plan = explain.query_map(any, |row| row.get(3)).unwrap();
        let plan: Vec<String> = plan.collect::<rusqlite::Result<_>>().unwrap();
        let plan = plan.join("; ");
        assert!(plan.contains("COVERING INDEX call_newest"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}

#[tokio::test]
async fn readers_do_not_wait_for_whoever_writes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("calls.db")).unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let hang = SqliteJob::Task(Box::new(move |_, _| held.recv().unwrap()));
    store.jobs.send(hang).await.unwrap();
    assert_eq!(store.calls(1).await.unwrap(), []);
    assert_eq!(store.counters().await.unwrap(), CallCounters::default());
    release.send(()).unwrap();
}
