//! Tests that hold for every store, each on an empty one.

use asterscribe_call::CallStatus::{Active, Ended, Failed, Initiated};
use asterscribe_call::{CallId, CallKey, CallRecord, CallStatus, LineState, TranscriptLine};
use asterscribe_store::{CallCounters, CallStore, RetentionTimes, StoreError, StoreWrite};

use super::engine::{Redis, Sqlite, digit, digits, id, line, line_of, lines, record};
use super::takeover::{
    a_call_that_was_given_up_is_ended_by_whoever_has_it,
    two_servers_lines_under_one_number_are_both_kept,
};

macro_rules! contract {
    ($($promise:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                let engine = super::Sqlite::start(super::RetentionTimes::default());
                super::$promise(&engine.store).await;
            })+
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                let engine = super::Redis::start(super::RetentionTimes::default());
                super::$promise(&*engine.store).await;
            })+
        }
    };
}

contract!(
    what_was_put_comes_back_whole,
    an_empty_store_knows_nothing,
    counters_follow_the_records_however_often_they_are_put,
    calls_come_newest_first_up_to_a_limit,
    a_list_goes_on_where_it_ended_whatever_came_meanwhile,
    what_is_erased_is_gone_and_only_that,
    lines_are_counted_up_to_a_number_without_those_that_are_lost,
    digits_that_were_lost_are_put_in_their_places,
    a_try_to_write_changes_nothing,
    open_calls_are_those_that_a_restart_must_settle,
    a_line_is_kept_once_and_in_order,
    after_a_lost_line_the_call_goes_on,
    a_line_may_be_revised_and_stays_so,
    two_servers_lines_under_one_number_are_both_kept,
    a_call_that_was_given_up_is_ended_by_whoever_has_it,
    a_digit_is_kept_once_and_in_order,
    a_batch_may_be_repeated,
    what_no_store_can_keep_is_refused_and_harms_nothing,
);

async fn what_was_put_comes_back_whole(store: &dyn CallStore) {
    store.ping().await.unwrap();
    let mut call = record("pbx-1.17", 0, Active);
    store.put_call(&call).await.unwrap();
    assert_eq!(
        store.call(&id("pbx-1.17")).await.unwrap(),
        Some(call.clone())
    );

    call = record("pbx-1.17", 0, Ended);
    call.notes.clear();
    store.put_call(&call).await.unwrap();
    store.append_line(&call.call_id, &line(0)).await.unwrap();
    store
        .append_dtmf(&call.call_id, 0, &digit(0))
        .await
        .unwrap();
    assert_eq!(store.call(&call.call_id).await.unwrap(), Some(call.clone()));
    assert_eq!(store.calls(10).await.unwrap(), [call.clone()]);
    assert_eq!(store.lines(&call.call_id, 0).await.unwrap(), [line(0)]);
    assert_eq!(store.dtmf(&call.call_id).await.unwrap(), [digit(0)]);
}

async fn an_empty_store_knows_nothing(store: &dyn CallStore) {
    let nobody = id("nobody");
    assert_eq!(store.call(&nobody).await.unwrap(), None);
    assert_eq!(store.calls(10).await.unwrap(), []);
    assert_eq!(store.open_calls().await.unwrap(), []);
    assert_eq!(store.lines(&nobody, 0).await.unwrap(), []);
    assert_eq!(store.lines(&nobody, u64::MAX).await.unwrap(), []);
    assert_eq!(store.dtmf(&nobody).await.unwrap(), []);
    assert_eq!(store.counters().await.unwrap(), CallCounters::default());
    assert_eq!(store.expire().await.unwrap(), 0);
    store.apply(&[]).await.unwrap();
}

async fn counters_follow_the_records_however_often_they_are_put(store: &dyn CallStore) {
    let steps: &[(&str, i64, CallStatus, u64, u64)] = &[
        ("a", 0, Initiated, 1, 0),
        ("a", 0, Initiated, 1, 0),
        ("a", 0, Active, 1, 0),
        ("b", 0, Active, 2, 0),
        ("a", 0, Ended, 1, 1),
        ("a", 0, Ended, 1, 1),
        // First seen when it was already over.
        ("c", 0, Failed, 1, 2),
        ("c", 0, Failed, 1, 2),
        ("b", 0, Failed, 0, 3),
        ("b", 0, Ended, 0, 3),
        // The same call once more, as a repeated batch does it.
        ("a", 0, Active, 1, 3),
        ("a", 0, Ended, 0, 3),
        // Another call under the same id.
        ("a", 5, Active, 1, 3),
        ("a", 5, Ended, 0, 4),
        ("a", 5, Ended, 0, 4),
    ];
    for (step, (call, second, status, active, processed)) in steps.iter().enumerate() {
        store
            .put_call(&record(call, *second, *status))
            .await
            .unwrap();
        let expected = CallCounters {
            active: *active,
            processed: *processed,
        };
        assert_eq!(
            store.counters().await.unwrap(),
            expected,
            "after step {step}: {call} {status:?}"
        );
    }
}

async fn calls_come_newest_first_up_to_a_limit(store: &dyn CallStore) {
    // 700: more than any store asks its engine for at once.
    let all: Vec<StoreWrite> = (0..700)
        .map(|n: i64| {
            StoreWrite::Call(Box::new(record(
                &format!("call-{:03}", n * 11 % 700),
                n * 11 % 700,
                Ended,
            )))
        })
        .collect();
    store.apply(&all).await.unwrap();
    // The same second, so the greater id counts as the newer.
    store
        .put_call(&record("call-699b", 699, Active))
        .await
        .unwrap();
    let newest = store.calls(3).await.unwrap();
    assert_eq!(
        newest,
        [
            record("call-699b", 699, Active),
            record("call-699", 699, Ended),
            record("call-698", 698, Ended)
        ]
    );
    assert_eq!(store.calls(0).await.unwrap(), []);

    let every = store.calls(usize::MAX).await.unwrap();
    assert_eq!(every.len(), 701);
    assert!(every.is_sorted_by(|a, b| (a.started_at, &a.call_id) > (b.started_at, &b.call_id)));
    // A record put again stays in its place, whatever its status.
    store
        .put_call(&record("call-000", 0, Failed))
        .await
        .unwrap();
    assert_eq!(
        store.calls(usize::MAX).await.unwrap().last(),
        Some(&record("call-000", 0, Failed))
    );
}

async fn a_list_goes_on_where_it_ended_whatever_came_meanwhile(store: &dyn CallStore) {
    // Seven in each millisecond.
    let name = |n: i64| format!("call-{n:03}");
    for n in 0..70 {
        store
            .put_call(&record(&name(n), n / 7, Ended))
            .await
            .unwrap();
    }
    let mut seen = Vec::new();
    let mut before = None;
    for page in 0.. {
        let keys = store.keys(before.as_ref(), 9).await.unwrap();
        let ids: Vec<CallId> = keys.iter().map(|key| key.call.clone()).collect();
        let records = store.records(&ids).await.unwrap();
        for (key, record) in keys.iter().zip(records) {
            assert_eq!(*key, CallKey::of(&record.unwrap()));
        }
        let is_last = keys.len() < 9;
        before = keys.last().cloned().or(before);
        seen.extend(ids);
        if is_last {
            break;
        }
        // Newer ones come meanwhile.
        store
            .put_call(&record(&format!("new-{page}"), 100 + page, Active))
            .await
            .unwrap();
    }
    let expected: Vec<CallId> = (0..70).rev().map(|n| id(&name(n))).collect();
    assert_eq!(seen, expected);
    assert_eq!(store.keys(None, 0).await.unwrap(), []);
    let some = [id("call-001"), id("nobody"), id("call-000")];
    let found = store.records(&some).await.unwrap();
    let found: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(found, [true, false, true]);
}

async fn what_is_erased_is_gone_and_only_that(store: &dyn CallStore) {
    for call in ["1.1", "1.11"] {
        store.put_call(&record(call, 0, Ended)).await.unwrap();
        store.append_line(&id(call), &line(0)).await.unwrap();
        store.append_dtmf(&id(call), 0, &digit(0)).await.unwrap();
    }
    store.put_call(&record("open", 1, Active)).await.unwrap();
    // Also of one that nobody knows.
    for call in ["1.1", "1.1", "nobody", "open"] {
        store.apply(&[StoreWrite::Erase(id(call))]).await.unwrap();
    }
    let gone = id("1.1");
    assert_eq!(store.call(&gone).await.unwrap(), None);
    assert_eq!(store.lines(&gone, 0).await.unwrap(), []);
    assert_eq!(store.dtmf(&gone).await.unwrap(), []);
    assert_eq!(store.open_calls().await.unwrap(), []);
    assert_eq!(store.calls(9).await.unwrap(), [record("1.11", 0, Ended)]);
    assert_eq!(store.lines(&id("1.11"), 0).await.unwrap(), lines(0..1));
    assert_eq!(store.dtmf(&id("1.11")).await.unwrap(), digits(0..1));
    let counters = store.counters().await.unwrap();
    assert_eq!((counters.active, counters.processed), (0, 2));
}

async fn lines_are_counted_up_to_a_number_without_those_that_are_lost(store: &dyn CallStore) {
    let call = id("1.1");
    assert_eq!(store.lines_below(&call, u64::MAX).await.unwrap(), 0);
    for seq in 0..4 {
        store.append_line(&call, &line(seq)).await.unwrap();
    }
    for (below, count) in [(0, 0), (3, 3), (4, 4), (9, 4), (u64::MAX, 4)] {
        assert_eq!(store.lines_below(&call, below).await.unwrap(), count);
    }
    store.append_line(&call, &line(7)).await.unwrap();
    for (below, count) in [(4, 4), (7, 4), (8, 5)] {
        assert_eq!(store.lines_below(&call, below).await.unwrap(), count);
    }
}

async fn digits_that_were_lost_are_put_in_their_places(store: &dyn CallStore) {
    let call = id("1.1");
    for index in 3..5 {
        store
            .append_dtmf(&call, index, &digit(index))
            .await
            .unwrap();
    }
    let all = StoreWrite::Digits {
        call: call.clone(),
        digits: digits(0..5),
    };
    for _ in 0..2 {
        store.apply(std::slice::from_ref(&all)).await.unwrap();
        assert_eq!(store.dtmf(&call).await.unwrap(), digits(0..5));
    }
    store.append_dtmf(&call, 5, &digit(5)).await.unwrap();
    store.apply(&[all]).await.unwrap();
    assert_eq!(store.dtmf(&call).await.unwrap(), digits(0..6));
}

async fn a_try_to_write_changes_nothing(store: &dyn CallStore) {
    store.try_write().await.unwrap();
    assert_eq!(store.calls(9).await.unwrap(), []);
    assert_eq!(store.counters().await.unwrap(), CallCounters::default());
    store.put_call(&record("a", 0, Active)).await.unwrap();
    store.put_call(&record("b", 0, Ended)).await.unwrap();
    store.try_write().await.unwrap();
    let expected = CallCounters {
        active: 1,
        processed: 1,
    };
    assert_eq!(store.counters().await.unwrap(), expected);
    assert_eq!(store.calls(9).await.unwrap().len(), 2);
    assert_eq!(store.unreadable(), 0);
}

async fn open_calls_are_those_that_a_restart_must_settle(store: &dyn CallStore) {
    for (call, second, status) in [
        ("a", 5, Active),
        ("b", 9, Ended),
        ("c", 1, Initiated),
        ("d", 7, Active),
    ] {
        store.put_call(&record(call, second, status)).await.unwrap();
    }
    let open = store.open_calls().await.unwrap();
    assert_eq!(
        open,
        [
            record("d", 7, Active),
            record("a", 5, Active),
            record("c", 1, Initiated)
        ]
    );

    for left in open {
        store
            .put_call(&CallRecord {
                status: Failed,
                ..left
            })
            .await
            .unwrap();
    }
    assert_eq!(store.open_calls().await.unwrap(), []);
    assert_eq!(
        store.counters().await.unwrap(),
        CallCounters {
            active: 0,
            processed: 4
        }
    );
}

async fn a_line_is_kept_once_and_in_order(store: &dyn CallStore) {
    let call = id("1.1");
    for seq in 0..12 {
        store.append_line(&call, &line(seq)).await.unwrap();
        store.append_line(&call, &line(seq)).await.unwrap();
    }
    // Whatever it says: the number is taken.
    let other = TranscriptLine {
        text: "something else".into(),
        ..line(4)
    };
    store.append_line(&call, &other).await.unwrap();
    store.append_line(&id("1.11"), &line(0)).await.unwrap();

    assert_eq!(store.lines(&call, 0).await.unwrap(), lines(0..12));
    assert_eq!(store.lines(&call, 9).await.unwrap(), lines(9..12));
    assert_eq!(store.lines(&call, 12).await.unwrap(), []);
    assert_eq!(store.lines(&call, u64::MAX).await.unwrap(), []);
}

async fn a_line_may_be_revised_and_stays_so(store: &dyn CallStore) {
    let call = id("1.1");
    // Line 3 never arrived.
    let known = [0, 1, 2, 4, 5, 6];
    for seq in known {
        store.append_line(&call, &line(seq)).await.unwrap();
    }
    let revised = |seq: u64| TranscriptLine {
        text: format!("what was said in {seq}"),
        revision: 2,
        state: LineState::Final,
        ..line(seq)
    };
    let revise = |seq: u64| StoreWrite::Revise {
        call: call.clone(),
        line: revised(seq),
    };
    // However often, and though the first word on it is repeated behind it.
    for _ in 0..2 {
        for seq in [1, 4, 6] {
            store.apply(&[revise(seq)]).await.unwrap();
            store.append_line(&call, &line(seq)).await.unwrap();
        }
    }
    // One that is not there is appended.
    store.apply(&[revise(7)]).await.unwrap();
    let expected = [
        line(0),
        revised(1),
        line(2),
        revised(4),
        line(5),
        revised(6),
        revised(7),
    ];
    assert_eq!(store.lines(&call, 0).await.unwrap(), expected);
    assert_eq!(store.lines(&call, 4).await.unwrap(), expected[3..]);
}

async fn after_a_lost_line_the_call_goes_on(store: &dyn CallStore) {
    let call = id("1.1");
    for seq in [0, 1, 4, 5, 9, 9, 1, 4, 0, 10] {
        store.append_line(&call, &line(seq)).await.unwrap();
    }
    assert_eq!(
        store.lines(&call, 0).await.unwrap(),
        lines([0, 1, 4, 5, 9, 10])
    );
    for (from, expected) in [
        (1, &[1, 4, 5, 9, 10][..]),
        (2, &[4, 5, 9, 10]),
        (5, &[5, 9, 10]),
        (6, &[9, 10]),
        (11, &[]),
    ] {
        assert_eq!(
            store.lines(&call, from).await.unwrap(),
            lines(expected.iter().copied()),
            "from {from}"
        );
    }
    for index in [3, 4, 3, 4, 5] {
        store
            .append_dtmf(&call, index, &digit(index))
            .await
            .unwrap();
    }
    assert_eq!(store.dtmf(&call).await.unwrap(), digits(3..6));
}

async fn a_digit_is_kept_once_and_in_order(store: &dyn CallStore) {
    let call = id("1.1");
    for index in 0..5 {
        store
            .append_dtmf(&call, index, &digit(index))
            .await
            .unwrap();
        store
            .append_dtmf(&call, index, &digit(index))
            .await
            .unwrap();
    }
    store.append_dtmf(&call, 0, &digit(0)).await.unwrap();
    assert_eq!(store.dtmf(&call).await.unwrap(), digits(0..5));
}

async fn a_batch_may_be_repeated(store: &dyn CallStore) {
    let mut batch = vec![StoreWrite::Call(Box::new(record("1.1", 0, Active)))];
    for n in 0..100 {
        batch.push(line_of("1.1", n));
        batch.push(line_of("2.2", n));
        batch.push(StoreWrite::Dtmf {
            call: id("1.1"),
            index: n,
            digit: digit(n),
        });
    }
    batch.push(StoreWrite::Call(Box::new(record("1.1", 0, Ended))));
    batch.push(StoreWrite::Call(Box::new(record("2.2", 1, Active))));
    // Cut off at some point, then twice in full.
    for part in [&batch[..150], &batch[..], &batch[..]] {
        store.apply(part).await.unwrap();
    }
    for call in ["1.1", "2.2"] {
        assert_eq!(
            store.lines(&id(call), 0).await.unwrap(),
            lines(0..100),
            "{call}"
        );
    }
    assert_eq!(store.dtmf(&id("1.1")).await.unwrap(), digits(0..100));
    assert_eq!(
        store.calls(9).await.unwrap(),
        [record("2.2", 1, Active), record("1.1", 0, Ended)]
    );
    assert_eq!(
        store.counters().await.unwrap(),
        CallCounters {
            active: 1,
            processed: 1
        }
    );
}

async fn what_no_store_can_keep_is_refused_and_harms_nothing(store: &dyn CallStore) {
    let call = id("1.1");
    store.append_line(&call, &line(0)).await.unwrap();
    for bad in [
        TranscriptLine {
            confidence: f32::NAN,
            ..line(1)
        },
        TranscriptLine {
            seq: u64::MAX,
            ..line(1)
        },
    ] {
        let answer = store.append_line(&call, &bad).await;
        assert!(matches!(answer, Err(StoreError::Broken(_))), "{answer:?}");
    }
    store.append_line(&call, &line(1)).await.unwrap();
    assert_eq!(store.lines(&call, 0).await.unwrap(), lines(0..2));
}
