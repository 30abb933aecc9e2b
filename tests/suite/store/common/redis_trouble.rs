//! A Redis that fails over, takes rights away, loses what it had or has what nobody can read.

use std::sync::Arc;

use asterscribe_call::CallStatus::Active;
use asterscribe_store::{
    CallStore, GivenCounts, RedisStore, RetentionTimes, StoreError, StoreWrite, StoreWriter,
    WriterSettings, WriterState,
};

use super::engine::{
    EPOCH, HANG, Redis, digit, id, line, line_of, lines, must_be_unavailable, record,
};
use crate::media::forwarder::Forwarder;

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap()
}

/// A command whose arguments may have blanks.
fn put(redis: &Redis, words: &[&str]) {
    let mut cmd = redis::cmd(words[0]);
    cmd.arg(&words[1..]);
    let _answer: redis::Value = cmd
        .query(&mut redis.instance.connection().unwrap())
        .unwrap();
}

fn clock() -> jiff::Timestamp {
    jiff::Timestamp::from_second(EPOCH).unwrap()
}

fn record_of(call: &str) -> StoreWrite {
    StoreWrite::Call(Box::new(record(call, 0, Active)))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_of_which_calls_it_has_lost_something() {
    let redis = Redis::start(RetentionTimes::default());
    let given = |call: &str, lines: std::ops::Range<u64>, digits| GivenCounts {
        call: id(call),
        lines,
        digits,
    };
    for call in ["whole", "a", "b", "c", "d"] {
        redis
            .store
            .put_call(&record(call, 0, Active))
            .await
            .unwrap();
        for seq in 0..6 {
            redis
                .store
                .append_line(&id(call), &line(seq))
                .await
                .unwrap();
        }
        redis
            .store
            .append_dtmf(&id(call), 0, &digit(0))
            .await
            .unwrap();
    }
    let all: Vec<GivenCounts> = ["whole", "a", "b", "c", "d"]
        .map(|call| given(call, 2..5, 1))
        .into();
    assert_eq!(redis.store.lacking(&all).await.unwrap(), []);
    let () = redis.ask("LPOP call:a:transcript 3");
    let () = redis.ask("RPOP call:b:transcript 2");
    let () = redis.ask("DEL call:c");
    let () = redis.ask("DEL call:d:dtmf");
    let lacking = redis.store.lacking(&all).await.unwrap();
    assert_eq!(lacking, ["a", "b", "c", "d"].map(id));
    // What is not here any more is not looked for.
    let some = [
        given("a", 3..5, 1),
        given("b", 5..5, 1),
        given("d", 0..6, 0),
    ];
    assert_eq!(redis.store.lacking(&some).await.unwrap(), []);
    // A key that somebody has taken for something else hides no other.
    let () = redis.ask("DEL call:a:transcript");
    let () = redis.ask("SET call:a:transcript mine");
    let lacking = redis.store.lacking(&all).await.unwrap();
    assert_eq!(lacking, ["b", "c", "d"].map(id));
    let () = redis.ask("FLUSHALL");
    assert_eq!(redis.store.lacking(&all).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_hides_nothing_else() {
    let redis = Redis::start(RetentionTimes::default());
    let store = &redis.store;
    for (call, second) in [("good", 1), ("better", 2)] {
        store.put_call(&record(call, second, Active)).await.unwrap();
    }
    for (call, written) in [
        (
            "newer",
            json(&record("newer", 5, Active)).replace("\"tap\"", "\"siprec\""),
        ),
        ("half", json(&record("half", 5, Active))[..40].to_owned()),
        ("others", json(&record("good", 5, Active))),
        ("number", "17".to_owned()),
    ] {
        put(&redis, &["SET", &format!("call:{call}"), &written]);
        put(&redis, &["ZADD", "calls:index", "9", call]);
        put(&redis, &["SADD", "calls:open", call]);
    }
    put(&redis, &["ZADD", "calls:index", "9", "no:id"]);
    put(&redis, &["SADD", "calls:open", "no:id"]);
    let mut raw = redis::cmd("SET");
    raw.arg("call:bytes").arg(&b"\xff\xfe{"[..]);
    let () = raw
        .query(&mut redis.instance.connection().unwrap())
        .unwrap();
    put(&redis, &["ZADD", "calls:index", "9", "bytes"]);
    put(&redis, &["HSET", "call:hash", "a", "b"]);
    put(&redis, &["ZADD", "calls:index", "9", "hash"]);
    for _ in 0..2 {
        let expected = [record("better", 2, Active), record("good", 1, Active)];
        assert_eq!(store.calls(10).await.unwrap(), expected);
        assert_eq!(store.calls(2).await.unwrap(), expected);
        assert_eq!(store.open_calls().await.unwrap(), expected);
        assert_eq!(store.unreadable(), 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_cannot_be_read_stops_neither_readers_nor_the_call() {
    let redis = Redis::start(RetentionTimes::default());
    let (store, call) = (&redis.store, id("1.1"));
    for seq in 0..2 {
        store.append_line(&call, &line(seq)).await.unwrap();
    }
    put(&redis, &["RPUSH", "call:1.1:transcript", "{"]);
    put(&redis, &["RPUSH", "call:1.1:dtmf", "not JSON"]);
    assert_eq!(store.lines(&call, 0).await.unwrap(), lines(0..2));
    assert_eq!(store.dtmf(&call).await.unwrap(), []);
    // It has the place of the third.
    for seq in 3..5 {
        store.append_line(&call, &line(seq)).await.unwrap();
    }
    assert_eq!(store.lines(&call, 0).await.unwrap(), lines([0, 1, 3, 4]));
    assert_eq!(store.lines(&call, 3).await.unwrap(), lines(3..5));
    assert_eq!(store.unreadable(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_taken_away_cost_no_line() {
    let redis = Redis::start(RetentionTimes::default());
    let rights = "~call:* ~calls:* ~active_calls_count ~total_calls_processed";
    let () = redis.ask(&format!("ACL SETUSER app on >sesame {rights} +@all"));
    let url = format!("redis://app:sesame@{}/", redis.instance.address());
    let store = Arc::new(RedisStore::new(&url, RetentionTimes::default()).unwrap());
    store.try_write().await.unwrap();
    assert_eq!(redis.ask::<Vec<String>>("SMEMBERS calls:open").len(), 0);
    let writer = StoreWriter::spawn(store.clone(), WriterSettings::default(), clock);
    let mut state = writer.state();
    let (mut written, call) = (0..5, id("1.1"));
    // Each a refusal of another kind; then all as it was.
    for (taken, given) in [
        ("-set", "+set"),
        ("-eval", "+eval"),
        ("resetkeys ~calls:*", rights),
        ("off", "on"),
        ("resetpass >other", "resetpass >sesame"),
    ] {
        let () = redis.ask(&format!("ACL SETUSER app {taken}"));
        if taken == "off" || taken.starts_with("resetpass") {
            // Who is in stays in until then.
            let _count: u64 = redis.ask("CLIENT KILL USER app");
        }
        let denied = store.try_write().await;
        assert!(
            matches!(denied, Err(StoreError::Denied(_))),
            "{taken}: {denied:?}"
        );
        writer.write(record_of("1.1")).unwrap();
        writer
            .write(line_of("1.1", written.next().unwrap()))
            .unwrap();
        let behind = state.wait_for(|state| *state != WriterState::Ok);
        tokio::time::timeout(HANG, behind).await.unwrap().unwrap();
        let () = redis.ask(&format!("ACL SETUSER app {given}"));
        writer.flush(HANG).await.unwrap();
    }
    assert_eq!(redis.store.lines(&call, 0).await.unwrap(), lines(0..5));
    assert_eq!((writer.stats().broken, writer.stats().refused), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_to_be_written_to_any_more_is_left_for_another() {
    let (first, second) = (
        Redis::start(RetentionTimes::default()),
        Redis::start(RetentionTimes::default()),
    );
    let name = Forwarder::to(first.instance.address());
    let url = format!("redis://{}/", name.address());
    let store = RedisStore::new(&url, RetentionTimes::default()).unwrap();
    let call = id("1.1");
    store.append_line(&call, &line(0)).await.unwrap();
    let no_one = "127.0.0.1 1";
    // What is open stays with the old one, which answers and takes nothing.
    let () = first.ask(&format!("REPLICAOF {no_one}"));
    must_be_unavailable(store.append_line(&call, &line(1))).await;
    name.lead_to(second.instance.address());
    store.append_line(&call, &line(1)).await.unwrap();
    assert_eq!(second.store.lines(&call, 0).await.unwrap(), lines(1..2));
    // Back again, by a replica that has no contact to its primary and says so to readers, too.
    let () = second.ask("CONFIG SET replica-serve-stale-data no");
    let () = second.ask(&format!("REPLICAOF {no_one}"));
    must_be_unavailable(store.lines(&call, 0)).await;
    let () = first.ask("REPLICAOF NO ONE");
    name.lead_to(first.instance.address());
    assert_eq!(store.lines(&call, 0).await.unwrap(), lines(0..1));
    // One that has lost its disk, and one that asks for a password.
    let () = first.ask("CONFIG SET min-replicas-to-write 1");
    must_be_unavailable(store.append_line(&call, &line(1))).await;
    let third = Redis::start(RetentionTimes::default());
    name.lead_to(third.instance.address());
    store.append_line(&call, &line(1)).await.unwrap();
}
