//! Tests that apply to SQLite only: its clock is ours, its file can be reopened.

use std::time::Duration;

use asterscribe_call::CallStatus::{Active, Ended};
use asterscribe_call::TranscriptLine;
use asterscribe_store::{CallCounters, CallStore, RetentionTimes, StoreError, StoreWrite};

use super::engine::{Sqlite, digit, digits, id, line, lines, record};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_record_expires_after_a_day_and_its_transcript_after_a_week() {
    let engine = Sqlite::start(RetentionTimes::default());
    let (store, call) = (&engine.store, id("1.1"));
    store.put_call(&record("1.1", 0, Ended)).await.unwrap();
    store.append_line(&call, &line(0)).await.unwrap();
    store.append_dtmf(&call, 0, &digit(0)).await.unwrap();

    engine.advance(24 * HOUR - Duration::from_millis(1));
    assert!(store.call(&call).await.unwrap().is_some());
    assert_eq!(store.dtmf(&call).await.unwrap(), digits(0..1));
    engine.advance(Duration::from_millis(1));
    assert_eq!(store.call(&call).await.unwrap(), None);
    assert_eq!(store.calls(9).await.unwrap(), []);
    assert_eq!(store.dtmf(&call).await.unwrap(), []);
    assert_eq!(store.lines(&call, 0).await.unwrap(), lines(0..1));

    // What is expired is not read; deleting it is another matter.
    assert_eq!(store.expire().await.unwrap(), 1);
    assert_eq!(store.expire().await.unwrap(), 0);
    assert_eq!(store.lines(&call, 0).await.unwrap(), lines(0..1));
    engine.advance(6 * 24 * HOUR);
    assert_eq!(store.lines(&call, 0).await.unwrap(), []);
    store.expire().await.unwrap();
    assert_eq!(
        store.counters().await.unwrap(),
        CallCounters {
            active: 0,
            processed: 1
        }
    );
}

#[tokio::test]
async fn every_write_begins_the_retention_anew() {
    let engine = Sqlite::start(RetentionTimes {
        call: 2 * HOUR,
        transcript: 2 * HOUR,
    });
    let (store, call) = (&engine.store, id("1.1"));
    for hour in 0..5 {
        store.put_call(&record("1.1", 0, Active)).await.unwrap();
        store.append_line(&call, &line(hour)).await.unwrap();
        store.append_dtmf(&call, hour, &digit(hour)).await.unwrap();
        engine.advance(HOUR);
    }
    assert_eq!(store.lines(&call, 0).await.unwrap(), lines(0..5));
    assert_eq!(store.dtmf(&call).await.unwrap(), digits(0..5));
    assert!(store.call(&call).await.unwrap().is_some());

    // A list that expired as a whole does not come back with its next element.
    engine.advance(HOUR);
    store.append_line(&call, &line(5)).await.unwrap();
    assert_eq!(store.lines(&call, 0).await.unwrap(), lines(5..6));
}

#[tokio::test]
async fn a_call_that_expires_while_open_stops_counting_as_active() {
    let engine = Sqlite::start(RetentionTimes {
        call: HOUR,
        transcript: HOUR,
    });
    let store = &engine.store;
    // More than one transaction of `expire` takes.
    for n in 0..450 {
        let status = if n % 3 == 0 { Active } else { Ended };
        store
            .put_call(&record(&format!("c{n}"), n, status))
            .await
            .unwrap();
        store
            .append_line(&id(&format!("c{n}")), &line(0))
            .await
            .unwrap();
    }
    assert_eq!(
        store.counters().await.unwrap(),
        CallCounters {
            active: 150,
            processed: 300
        }
    );
    engine.advance(HOUR);
    assert_eq!(store.expire().await.unwrap(), 450);
    assert_eq!(
        store.counters().await.unwrap(),
        CallCounters {
            active: 0,
            processed: 450
        }
    );

    // Nothing of them is left in the file.
    let file = rusqlite::Connection::open(engine.dir.path().join("calls.db")).unwrap();
    for table in ["call", "list", "item"] {
        let rows: i64 = file
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}

#[tokio::test]
async fn everything_is_there_after_the_file_is_opened_again() {
    let mut engine = Sqlite::start(RetentionTimes::default());
    let call = id("1.1");
    engine
        .store
        .put_call(&record("1.1", 0, Active))
        .await
        .unwrap();
    engine
        .store
        .put_call(&record("2.2", 1, Ended))
        .await
        .unwrap();
    for seq in 0..50 {
        engine.store.append_line(&call, &line(seq)).await.unwrap();
    }
    engine.reopen(RetentionTimes::default());
    let store = &engine.store;
    assert_eq!(
        store.open_calls().await.unwrap(),
        [record("1.1", 0, Active)]
    );
    assert_eq!(store.lines(&call, 0).await.unwrap(), lines(0..50));
    assert_eq!(
        store.counters().await.unwrap(),
        CallCounters {
            active: 1,
            processed: 1
        }
    );
    // The writer does not know how far it got: it begins again.
    for seq in 40..55 {
        store.append_line(&call, &line(seq)).await.unwrap();
    }
    assert_eq!(store.lines(&call, 0).await.unwrap(), lines(0..55));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_at_once_lose_nothing() {
    let engine = Sqlite::start(RetentionTimes::default());
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..20 {
        let store = engine.store.clone();
        callers.spawn(async move {
            let name = format!("c{caller}");
            for seq in 0..20 {
                store.append_line(&id(&name), &line(seq)).await.unwrap();
            }
            store.put_call(&record(&name, caller, Ended)).await.unwrap();
            store.lines(&id(&name), 0).await.unwrap().len()
        });
    }
    assert_eq!(callers.join_all().await, [20; 20]);
    assert_eq!(
        engine.store.counters().await.unwrap(),
        CallCounters {
            active: 0,
            processed: 20
        }
    );
}

fn file(engine: &Sqlite) -> rusqlite::Connection {
    rusqlite::Connection::open(engine.dir.path().join("calls.db")).unwrap()
}

/// Whether that text is anywhere in the database or in what lies beside it.
fn is_on_disk(engine: &Sqlite, text: &str) -> bool {
    let files = std::fs::read_dir(engine.dir.path()).unwrap();
    files
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .any(|bytes| {
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        })
}

fn secret(seq: u64) -> TranscriptLine {
    TranscriptLine {
        text: format!("sesame {}", "opens ".repeat(2_000)),
        ..line(seq)
    }
}

#[tokio::test]
async fn what_cannot_be_read_hides_nothing_else() {
    let engine = Sqlite::start(RetentionTimes::default());
    let store = &engine.store;
    for (call, second) in [
        ("good", 1),
        ("bad", 2),
        ("worse", 3),
        ("worst", 4),
        ("better", 5),
    ] {
        store.put_call(&record(call, second, Active)).await.unwrap();
        for seq in 0..3 {
            store.append_line(&id(call), &line(seq)).await.unwrap();
        }
    }
    let by_hand = file(&engine);
    let as_newer =
        "UPDATE call SET record = replace(record, '\"tap\"', '\"siprec\"') WHERE call_id = 'bad'";
    let no_text = "UPDATE call SET record = CAST(x'fffe7b' AS TEXT) WHERE call_id = 'worse'";
    let no_id = "UPDATE call SET call_id = CAST(x'ff' AS TEXT) WHERE call_id = 'worst'";
    let no_line = "UPDATE item SET json = '[]' WHERE call_id = 'good' AND position = 1";
    for change in [as_newer, no_text, no_id, no_line] {
        assert!(by_hand.execute(change, []).unwrap() > 0, "{change}");
    }
    for _ in 0..2 {
        let expected = [record("better", 5, Active), record("good", 1, Active)];
        assert_eq!(store.calls(9).await.unwrap(), expected);
        assert_eq!(store.calls(2).await.unwrap(), expected);
        assert_eq!(store.open_calls().await.unwrap(), expected);
        assert_eq!(store.lines(&id("good"), 0).await.unwrap(), lines([0, 2]));
        assert_eq!(store.unreadable(), 4);
    }
}

#[tokio::test]
async fn what_is_erased_or_expired_is_nowhere_in_the_files() {
    let engine = Sqlite::start(RetentionTimes {
        call: HOUR,
        transcript: HOUR,
    });
    let store = &engine.store;
    for call in ["erased", "expired"] {
        store.put_call(&record(call, 0, Ended)).await.unwrap();
        for seq in 0..3 {
            store.append_line(&id(call), &secret(seq)).await.unwrap();
        }
        assert!(is_on_disk(&engine, "sesame"));
        if call == "erased" {
            store.apply(&[StoreWrite::Erase(id(call))]).await.unwrap();
        } else {
            engine.advance(HOUR);
            store.expire().await.unwrap();
        }
        assert!(!is_on_disk(&engine, "sesame"), "{call}");
    }
}

#[tokio::test]
async fn a_file_of_an_older_version_keeps_nothing_of_what_that_removed() {
    let mut engine = Sqlite::start(RetentionTimes::default());
    let store = &engine.store;
    store.put_call(&record("kept", 0, Ended)).await.unwrap();
    store.append_line(&id("1.1"), &secret(0)).await.unwrap();
    store.close().await.unwrap();
    let by_hand = file(&engine);
    by_hand
        .execute_batch(
            "PRAGMA secure_delete = off; DELETE FROM item;
             DROP INDEX call_newest; CREATE INDEX call_newest ON call (started_ms DESC, call_id DESC);
             PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(by_hand);
    assert!(is_on_disk(&engine, "sesame"));
    engine.reopen(RetentionTimes::default());
    assert!(!is_on_disk(&engine, "sesame"));
    assert_eq!(
        engine.store.calls(9).await.unwrap(),
        [record("kept", 0, Ended)]
    );
}

#[tokio::test]
async fn a_store_that_was_closed_leaves_one_file() {
    let engine = Sqlite::start(RetentionTimes::default());
    engine
        .store
        .append_line(&id("1.1"), &line(0))
        .await
        .unwrap();
    engine.store.close().await.unwrap();
    let files = std::fs::read_dir(engine.dir.path()).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["calls.db"]);
    super::engine::must_be_unavailable(engine.store.ping()).await;
    super::engine::must_be_unavailable(engine.store.calls(1)).await;
}

#[tokio::test]
async fn a_file_that_is_taken_away_is_noticed() {
    type Harm = fn(&std::path::Path);
    let harms: [(&str, Harm); 4] = [
        ("deleted", |path| std::fs::remove_file(path).unwrap()),
        ("moved", |path| {
            std::fs::rename(path, path.with_extension("old")).unwrap()
        }),
        ("replaced", |path| {
            std::fs::copy(path, path.with_extension("new")).unwrap();
            std::fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("without its log", |path| {
            std::fs::remove_file(path.with_extension("db-wal")).unwrap();
        }),
    ];
    for (harm, harmed) in harms {
        let engine = Sqlite::start(RetentionTimes::default());
        engine.store.ping().await.unwrap();
        engine.store.counters().await.unwrap();
        harmed(&engine.dir.path().join("calls.db"));
        for told in [
            engine.store.ping().await,
            engine.store.counters().await.map(drop),
        ] {
            let Err(StoreError::Broken(text)) = told else {
                panic!("{harm}: {told:?}")
            };
            assert!(text.contains("calls.db"), "{harm}: {text}");
        }
        // Readers go on.
        engine.store.calls(1).await.unwrap();
    }
}
