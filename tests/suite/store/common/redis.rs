//! Tests that apply to Redis only: its keys, and being away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use asterscribe_call::CallStatus::{Active, Ended};
use asterscribe_store::{
    CallCounters, CallStore, RedisStore, RetentionTimes, StoreError, StoreWriter, WriterSettings,
    WriterState,
};
use asterscribe_testkit::redis::{Instance, find};

use super::engine::{
    EPOCH, HANG, Redis, digit, digits, id, line, line_of, lines, must_be_unavailable, record,
    until_it_answers,
};

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap()
}

fn clock() -> jiff::Timestamp {
    jiff::Timestamp::from_second(EPOCH).unwrap()
}

/// Checks that the key expires within the last minute before `seconds` from now.
fn assert_ttl(redis: &Redis, key: &str, seconds: i64) {
    let ttl: i64 = redis.ask(&format!("TTL {key}"));
    assert!((seconds - 60..=seconds).contains(&ttl), "{key}: {ttl} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_json_and_expiry_are_the_predecessors() {
    let redis = Redis::start(RetentionTimes::default());
    let (store, call) = (&redis.store, id("1764000000.12"));
    store
        .put_call(&record("1764000000.12", 0, Active))
        .await
        .unwrap();
    for n in 0..2 {
        store.append_line(&call, &line(n)).await.unwrap();
        store.append_dtmf(&call, n, &digit(n)).await.unwrap();
    }
    store.put_call(&record("over", 7, Ended)).await.unwrap();

    let keys: BTreeSet<String> = redis.ask("KEYS *");
    let expected = [
        "active_calls_count",
        "call:1764000000.12",
        "call:1764000000.12:dtmf",
        "call:1764000000.12:transcript",
        "call:over",
        "calls:counted",
        "calls:index",
        "calls:open",
        "total_calls_processed",
    ];
    assert_eq!(keys, expected.map(str::to_owned).into());

    let stored: String = redis.ask("GET call:1764000000.12");
    assert_eq!(stored, json(&record("1764000000.12", 0, Active)));
    let stored: Vec<String> = redis.ask("LRANGE call:1764000000.12:transcript 0 -1");
    assert_eq!(stored, [json(&line(0)), json(&line(1))]);
    let stored: Vec<String> = redis.ask("LRANGE call:1764000000.12:dtmf 0 -1");
    assert_eq!(stored, [json(&digit(0)), json(&digit(1))]);
    assert_eq!(redis.ask::<String>("GET active_calls_count"), "1");
    assert_eq!(redis.ask::<String>("GET total_calls_processed"), "1");
    assert_eq!(
        redis.ask::<Vec<String>>("SMEMBERS calls:open"),
        ["1764000000.12"]
    );
    assert_eq!(
        redis.ask::<i64>("ZSCORE calls:index over"),
        (EPOCH + 7) * 1000
    );

    let (day, week) = (86_400, 604_800);
    assert_ttl(&redis, "call:1764000000.12", day);
    assert_ttl(&redis, "call:1764000000.12:dtmf", day);
    assert_ttl(&redis, "call:1764000000.12:transcript", week);
    for key in [
        "active_calls_count",
        "total_calls_processed",
        "calls:index",
        "calls:open",
        "calls:counted",
    ] {
        assert_eq!(redis.ask::<i64>(&format!("TTL {key}")), -1, "{key}");
    }

    // Every write begins the retention anew.
    for key in [
        "call:1764000000.12",
        "call:1764000000.12:dtmf",
        "call:1764000000.12:transcript",
    ] {
        let () = redis.ask(&format!("EXPIRE {key} 100"));
    }
    store
        .put_call(&record("1764000000.12", 0, Active))
        .await
        .unwrap();
    store.append_line(&call, &line(2)).await.unwrap();
    store.append_dtmf(&call, 2, &digit(2)).await.unwrap();
    assert_ttl(&redis, "call:1764000000.12", day);
    assert_ttl(&redis, "call:1764000000.12:dtmf", day);
    assert_ttl(&redis, "call:1764000000.12:transcript", week);
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_that_the_predecessor_left_behind_are_taken_over_or_put_right() {
    let redis = Redis::start(RetentionTimes::default());
    let () = redis.ask("SET active_calls_count -3");
    let () = redis.ask("SET total_calls_processed 41");
    assert_eq!(
        redis.store.counters().await.unwrap(),
        CallCounters {
            active: 0,
            processed: 41
        }
    );
    redis.store.put_call(&record("a", 0, Active)).await.unwrap();
    assert_eq!(
        redis.store.counters().await.unwrap(),
        CallCounters {
            active: 1,
            processed: 41
        }
    );
    redis.store.put_call(&record("a", 0, Ended)).await.unwrap();
    assert_eq!(
        redis.store.counters().await.unwrap(),
        CallCounters {
            active: 0,
            processed: 42
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expired_leaves_the_index_and_the_counters() {
    let short = Duration::from_millis(500);
    let redis = Redis::start(RetentionTimes {
        call: short,
        transcript: short,
    });
    let store = &redis.store;
    store.put_call(&record("open", 0, Active)).await.unwrap();
    store.put_call(&record("over", 1, Ended)).await.unwrap();
    store.append_line(&id("over"), &line(0)).await.unwrap();
    let lasting = RedisStore::new(&redis.instance.url(), RetentionTimes::default()).unwrap();
    lasting
        .put_call(&record("lasting", 2, Active))
        .await
        .unwrap();

    let gone = async {
        while redis.ask::<i64>("EXISTS call:open call:over call:over:transcript") > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, gone).await.unwrap();
    assert_eq!(
        store.calls(1).await.unwrap(),
        [record("lasting", 2, Active)]
    );
    assert_eq!(
        store.open_calls().await.unwrap(),
        [record("lasting", 2, Active)]
    );

    assert_eq!(store.expire().await.unwrap(), 2);
    assert_eq!(store.expire().await.unwrap(), 0);
    assert_eq!(
        store.counters().await.unwrap(),
        CallCounters {
            active: 1,
            processed: 2
        }
    );
    let keys: BTreeSet<String> = redis.ask("KEYS *");
    let left = [
        "active_calls_count",
        "call:lasting",
        "calls:index",
        "calls:open",
        "total_calls_processed",
    ];
    assert_eq!(keys, left.map(str::to_owned).into());
    assert_eq!(
        redis.ask::<Vec<String>>("ZRANGE calls:index 0 -1"),
        ["lasting"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_restarted_it_is_used_again_and_nothing_is_doubled() {
    let instance = Instance::start_with(find().unwrap(), true).unwrap();
    let store = Arc::new(RedisStore::new(&instance.url(), RetentionTimes::default()).unwrap());
    let mut redis = Redis { instance, store };
    let call = id("1.1");
    redis
        .store
        .put_call(&record("1.1", 0, Active))
        .await
        .unwrap();
    redis.store.append_line(&call, &line(0)).await.unwrap();

    redis.instance.kill9().unwrap();
    must_be_unavailable(redis.store.append_line(&call, &line(1))).await;
    must_be_unavailable(redis.store.lines(&call, 0)).await;
    redis.instance.restart().unwrap();

    // The first call after the restart is served: the dead connection is replaced on the way.
    redis
        .store
        .apply(&[line_of("1.1", 0), line_of("1.1", 1)])
        .await
        .unwrap();
    assert_eq!(redis.store.lines(&call, 0).await.unwrap(), lines(0..2));
    assert_eq!(
        redis.store.counters().await.unwrap(),
        CallCounters {
            active: 1,
            processed: 0
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lost_everything_takes_what_follows() {
    let mut redis = Redis::start(RetentionTimes::default());
    let call = id("1.1");
    redis
        .store
        .put_call(&record("1.1", 0, Active))
        .await
        .unwrap();
    for seq in 0..3 {
        redis.store.append_line(&call, &line(seq)).await.unwrap();
        redis
            .store
            .append_dtmf(&call, seq, &digit(seq))
            .await
            .unwrap();
    }
    redis.instance.restart().unwrap();
    for seq in 3..5 {
        redis.store.append_line(&call, &line(seq)).await.unwrap();
        redis
            .store
            .append_dtmf(&call, seq, &digit(seq))
            .await
            .unwrap();
    }
    // A writer that got no answer repeats its whole last batch.
    for seq in 3..5 {
        redis.store.append_line(&call, &line(seq)).await.unwrap();
        redis
            .store
            .append_dtmf(&call, seq, &digit(seq))
            .await
            .unwrap();
    }
    assert_eq!(redis.store.lines(&call, 0).await.unwrap(), lines(3..5));
    assert_eq!(redis.store.dtmf(&call).await.unwrap(), digits(3..5));
    redis
        .store
        .put_call(&record("1.1", 0, Ended))
        .await
        .unwrap();
    assert_eq!(
        redis.store.counters().await.unwrap(),
        CallCounters {
            active: 0,
            processed: 1
        }
    );

    // What had been lost is put in its place, whatever the order in which it comes.
    for seq in [1, 0, 2, 1, 6] {
        redis.store.append_line(&call, &line(seq)).await.unwrap();
    }
    let now = redis.store.lines(&call, 0).await.unwrap();
    assert_eq!(now, lines([0, 1, 2, 3, 4, 6]));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_it_is_unavailable_on_old_and_new_connections_and_catches_up() {
    let mut redis = Redis::start(RetentionTimes::default());
    let (known, call) = (redis.store.clone(), id("1.1"));
    known.append_line(&call, &line(0)).await.unwrap();
    let fresh = RedisStore::new(&redis.instance.url(), RetentionTimes::default()).unwrap();

    redis.instance.sigstop().unwrap();
    must_be_unavailable(known.append_line(&call, &line(1))).await;
    must_be_unavailable(known.append_line(&call, &line(1))).await;
    must_be_unavailable(known.counters()).await;
    must_be_unavailable(fresh.ping()).await;
    // A crowd of readers does not wait in a queue of time-outs.
    let mut crowd = tokio::task::JoinSet::new();
    let fresh = Arc::new(fresh);
    for _ in 0..50 {
        let store = fresh.clone();
        crowd.spawn(async move { must_be_unavailable(store.calls(5)).await });
    }
    crowd.join_all().await;
    redis.instance.sigcont().unwrap();

    until_it_answers(&*known).await;
    until_it_answers(&*fresh).await;
    // What timed out is executed after all; its repetition is told apart.
    known.append_line(&call, &line(1)).await.unwrap();
    assert_eq!(fresh.lines(&call, 0).await.unwrap(), lines(0..2));
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_writer_an_outage_costs_nothing() {
    let mut redis = Redis::start(RetentionTimes::default());
    let writer = StoreWriter::spawn(redis.store.clone(), WriterSettings::default(), clock);
    let mut state = writer.state();
    for seq in 0..10 {
        writer.write(line_of("1.1", seq)).unwrap();
    }
    writer.flush(HANG).await.unwrap();

    redis.instance.sigstop().unwrap();
    for seq in 10..500 {
        writer.write(line_of("1.1", seq)).unwrap();
    }
    let behind = tokio::time::timeout(HANG, state.wait_for(|state| *state != WriterState::Ok));
    assert!(matches!(
        &*behind.await.unwrap().unwrap(),
        WriterState::Behind { queued: 490, .. }
    ));
    redis.instance.sigcont().unwrap();

    writer.flush(HANG).await.unwrap();
    assert_eq!(
        redis.store.lines(&id("1.1"), 0).await.unwrap(),
        lines(0..500)
    );
    assert_eq!(redis.ask::<u64>("LLEN call:1.1:transcript"), 500);
    assert_eq!(*writer.state().borrow(), WriterState::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_apart_by_whether_they_pass() {
    let redis = Redis::start(RetentionTimes::default());
    let (store, call) = (&redis.store, id("1.1"));

    let () = redis.ask("CONFIG SET maxmemory 1");
    must_be_unavailable(store.append_line(&call, &line(0))).await;
    let () = redis.ask("CONFIG SET maxmemory 0");

    let () = redis.ask("REPLICAOF 127.0.0.1 1");
    must_be_unavailable(store.append_line(&call, &line(0))).await;
    let () = redis.ask("REPLICAOF NO ONE");
    store.append_line(&call, &line(0)).await.unwrap();

    let () = redis.ask("SET call:2.2:transcript text");
    let () = redis.ask("SET call:3.3 {");
    store.try_write().await.unwrap();
    let broken = [
        store.append_line(&id("2.2"), &line(0)).await,
        store.lines(&id("2.2"), 0).await.map(drop),
        store.call(&id("3.3")).await.map(drop),
    ];
    assert!(
        broken
            .iter()
            .all(|answer| matches!(answer, Err(StoreError::Broken(_)))),
        "{broken:?}"
    );
    assert_eq!(store.lines(&call, 0).await.unwrap(), lines(0..1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_and_a_database_are_used_and_the_password_is_never_shown() {
    let redis = Redis::start(RetentionTimes::default());
    // Kept open: once a password is set, this one still obeys.
    let mut admin = redis.instance.connection().unwrap();
    let mut configure = |name: &str, value: &str| {
        let () = redis::cmd("CONFIG")
            .arg("SET")
            .arg(name)
            .arg(value)
            .query(&mut admin)
            .unwrap();
    };
    configure("requirepass", "sesame");
    let address = redis.instance.address();
    let with = |credentials: &str| {
        RedisStore::new(
            &format!("redis://{credentials}{address}/3"),
            RetentionTimes::default(),
        )
        .unwrap()
    };

    for wrong in ["", ":sesamo@", "nobody:sesame@"] {
        let error = with(wrong)
            .put_call(&record("a", 0, Active))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, StoreError::Denied(_)),
            "{wrong}: {error:?}"
        );
        assert!(!format!("{error} {error:?}").contains("sesam"), "{error}");
    }
    let store = with(":sesame@");
    store.put_call(&record("a", 0, Active)).await.unwrap();
    with("default:sesame@").ping().await.unwrap();
    assert!(!format!("{store:?}").contains("sesame"));

    // Refused for want of room, not for the password: that passes.
    configure("maxclients", "2");
    let late = with(":sesame@");
    must_be_unavailable(late.ping()).await;
    configure("maxclients", "100");
    late.ping().await.unwrap();

    let () = redis::cmd("SELECT").arg(3).query(&mut admin).unwrap();
    let exists: i64 = redis::cmd("EXISTS")
        .arg("call:a")
        .query(&mut admin)
        .unwrap();
    assert_eq!(exists, 1, "the record lies in database 3");
}
