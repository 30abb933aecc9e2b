//! What only SQLite can be asked: its clock is ours, its file can be reopened.

use std::time::Duration;

use asterscribe::call::CallStatus::{Active, Ended};
use asterscribe::store::{Counters, Retention, Store};

use super::engine::{Sqlite, digit, digits, id, line, lines, record};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_record_expires_after_a_day_and_its_transcript_after_a_week() {
    let engine = Sqlite::start(Retention::default());
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
        Counters {
            active: 0,
            processed: 1
        }
    );
}

#[tokio::test]
async fn every_write_begins_the_retention_anew() {
    let engine = Sqlite::start(Retention {
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
    let engine = Sqlite::start(Retention {
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
        Counters {
            active: 150,
            processed: 300
        }
    );
    engine.advance(HOUR);
    assert_eq!(store.expire().await.unwrap(), 450);
    assert_eq!(
        store.counters().await.unwrap(),
        Counters {
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
    let mut engine = Sqlite::start(Retention::default());
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
    engine.reopen(Retention::default());
    let store = &engine.store;
    assert_eq!(
        store.open_calls().await.unwrap(),
        [record("1.1", 0, Active)]
    );
    assert_eq!(store.lines(&call, 0).await.unwrap(), lines(0..50));
    assert_eq!(
        store.counters().await.unwrap(),
        Counters {
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
    let engine = Sqlite::start(Retention::default());
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
        Counters {
            active: 0,
            processed: 20
        }
    );
}
