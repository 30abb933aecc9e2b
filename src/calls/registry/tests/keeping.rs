use asterscribe_call::{AudioAccount, CallKey, CallRecord, GapReason};
use asterscribe_store::{GivenCounts, RetentionTimes, StoreWrite};

use super::*;
use crate::calls::registry::{ListedCall, RemovalOutcome};

const SECOND: u64 = 16_000;

fn heard(span: u64) -> Vec<LegSnapshot> {
    let audio = AudioAccount {
        start: SECOND,
        span,
        non_speech: span - 100,
        pending: 100,
        ..AudioAccount::default()
    };
    vec![LegSnapshot {
        audio,
        ..LegSnapshot::new(Leg::caller())
    }]
}

fn last_record(rig: &mut Rig) -> CallRecord {
    let writes = rig.registry.take_writes();
    let mut records = writes.into_iter().filter_map(|write| match write {
        StoreWrite::Call(record) | StoreWrite::GivenUp(record) => Some(*record),
        _ => None,
    });
    records.next_back().expect("a record was written")
}

#[test]
fn what_is_told_of_a_call_is_written_as_it_is_told() {
    let mut rig = Rig::new();
    let media_run = rig.open("1.1", CallPast::New);
    for seconds in 1..4 {
        rig.pass(1);
        rig.registry
            .stats(&media_run.media, heard(seconds * SECOND));
        let shown = rig.registry.find(&id("1.1")).unwrap().record.clone();
        assert_eq!(last_record(&mut rig), shown);
        assert_eq!(shown.legs[0].audio.span, seconds * SECOND);
    }
}

#[test]
fn from_a_crash_to_its_end_a_call_has_no_server() {
    let mut rig = Rig::new();
    let media_run = rig.open("1.1", CallPast::New);
    rig.pass(20);
    rig.registry.stats(&media_run.media, heard(19 * SECOND));
    let record = last_record(&mut rig);
    rig.pass(40);
    let mut next = CallRegistry::new("n".to_owned());
    let history = StoredHistory {
        record: Some(record),
        ..StoredHistory::default()
    };
    next.settle(history.clone(), rig.wall, "restarted".to_owned());
    rig.registry = next;
    let audio = last_record(&mut rig).legs[0].audio;
    assert!(audio.is_conserved(), "{audio:?}");
    assert_eq!(audio.start + audio.span, 60 * SECOND);
    assert_eq!(audio.gaps.of(GapReason::NodeCrash), 40 * SECOND + 100);
    assert_eq!(audio.pending, 0);

    // One that goes on instead, and of which nothing more is heard, likewise.
    let media_run = rig.open("1.1", CallPast::Known(Box::new(history.clone())));
    rig.pass(5);
    rig.end("1.1");
    rig.close(&media_run.media);
    let audio = last_record(&mut rig).legs[0].audio;
    assert!(audio.is_conserved(), "{audio:?}");
    assert_eq!(audio.start + audio.span, 60 * SECOND);

    // What was taken up meanwhile is not settled.
    rig.registry
        .settle(history, rig.wall, "restarted".to_owned());
    assert!(rig.registry.take_writes().is_empty());
}

#[test]
fn what_the_store_must_have_is_what_is_here_and_has_not_expired() {
    let mut rig = Rig::new();
    let keep = RetentionTimes {
        call: Duration::from_secs(100),
        transcript: Duration::from_secs(50),
    };
    let media_run = rig.open("1.1", CallPast::New);
    rig.open("2.2", CallPast::Unknown);
    rig.pass(10);
    for at in [1_000, 2_000, 3_000] {
        rig.registry.line(&media_run.media, line(at));
    }
    rig.registry
        .digit(&id("1.1"), rig.now, '5', 100, Leg::caller());
    let given = |lines, digits| {
        let call = id("1.1");
        [GivenCounts {
            call,
            lines,
            digits,
        }]
    };
    assert_eq!(rig.registry.given(rig.now, keep), given(0..3, 1));
    rig.pass(35);
    assert_eq!(rig.registry.given(rig.now, keep), given(3..3, 1));
    rig.pass(60);
    assert_eq!(rig.registry.given(rig.now, keep), given(3..3, 0));

    rig.registry.take_writes();
    assert_eq!(rig.registry.write_again(&id("1.1"), 0, 2), Some(2));
    assert_eq!(rig.registry.write_again(&id("1.1"), 2, 2), None);
    let writes = rig.registry.take_writes();
    let kinds: Vec<String> = writes
        .iter()
        .map(|write| match write {
            StoreWrite::Revise { line, .. } => format!("line {}", line.seq),
            StoreWrite::Digits { digits, .. } => format!("{} digits", digits.len()),
            StoreWrite::Call(_) => "record".to_owned(),
            StoreWrite::GivenUp(_) => "given up".to_owned(),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["line 0", "line 1", "line 2", "1 digits", "record"]);
    // Nothing of a call whose past is not known, or that is not here.
    for call in ["2.2", "3.3"] {
        assert_eq!(rig.registry.write_again(&id(call), 0, 2), None);
    }
    assert!(rig.registry.take_writes().is_empty());
}

#[test]
fn a_call_is_listed_once_and_at_its_place_as_long_as_it_is_here() {
    let mut rig = Rig::new();
    let order = |rig: &Rig| {
        let keys = rig.registry.newest(None, 10);
        keys.into_iter()
            .map(|key| key.call.to_string())
            .collect::<Vec<_>>()
    };
    let history = stored(&rig, 0);
    rig.pass(5);
    for call in ["a", "b", "c"] {
        let media_run = rig.open(call, CallPast::Unknown);
        rig.pass(1);
        if call == "b" {
            rig.end(call);
            rig.close(&media_run.media);
        }
    }
    assert_eq!(order(&rig), ["c", "b", "a"]);
    // It is older than it seemed.
    let keys = rig.registry.newest(None, 10);
    rig.registry.learn(&id("c"), Some(history));
    assert_eq!(order(&rig), ["b", "a", "c"]);
    let listed = rig.registry.records(&keys);
    assert_eq!(listed[0], ListedCall::Elsewhere);
    let ListedCall::Here(b) = &listed[1] else {
        panic!("{listed:?}")
    };
    assert_eq!(b.call_id, id("b"));
    // It comes back, and is listed once.
    rig.open("b", CallPast::Unknown);
    assert_eq!(order(&rig), ["b", "a", "c"]);
    let newest = rig.registry.newest(None, 1);
    let behind = rig.registry.newest(Some(&newest[0]), 1);
    assert_eq!(behind[0].call.as_str(), order(&rig)[1]);
    let nowhere = CallKey {
        started_ms: 0,
        call: id("x"),
    };
    assert_eq!(rig.registry.records(&[nowhere]), [ListedCall::NotHere]);
}

#[test]
fn what_is_erased_or_has_expired_is_not_here_any_more() {
    let mut rig = Rig::new();
    let keep = RetentionTimes {
        call: Duration::from_secs(100),
        transcript: Duration::from_secs(50),
    };
    let media_runs = ["a", "b", "c"].map(|call| rig.open(call, CallPast::New));
    assert_eq!(rig.registry.erase(&id("a")), RemovalOutcome::Open);
    rig.end("a");
    assert_eq!(rig.registry.erase(&id("a")), RemovalOutcome::Open);
    rig.close(&media_runs[0].media);
    rig.registry.forget(rig.wall, keep);
    assert_eq!(rig.registry.erase(&id("a")), RemovalOutcome::Gone);
    assert_eq!(rig.registry.erase(&id("a")), RemovalOutcome::NotHere);
    rig.pass(30);
    rig.end("b");
    rig.close(&media_runs[1].media);
    rig.pass(49);
    rig.registry.forget(rig.wall, keep);
    assert!(rig.registry.find(&id("b")).is_some());
    rig.pass(1);
    rig.registry.forget(rig.wall, keep);
    assert!(rig.registry.find(&id("b")).is_none());
    // One that goes on stays, however long.
    let left = rig.registry.newest(None, 10);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].call, id("c"));
}

#[test]
fn the_record_of_a_call_that_was_given_up_gives_way_until_it_comes_back() {
    let mut rig = Rig::new();
    let given_up = |rig: &mut Rig| {
        let writes = rig.registry.take_writes();
        let records = writes.into_iter().filter_map(|write| match write {
            StoreWrite::Call(_) => Some(false),
            StoreWrite::GivenUp(_) => Some(true),
            _ => None,
        });
        records.collect::<Vec<_>>()
    };
    let media_run = rig.open("1.1", CallPast::New);
    assert!(!given_up(&mut rig).contains(&true));
    rig.registry.give_up(&id("1.1"));
    // Its last figures, its last line and its end.
    rig.registry.stats(&media_run.media, heard(SECOND));
    rig.registry.line(&media_run.media, line(0));
    rig.end("1.1");
    rig.close(&media_run.media);
    assert_eq!(given_up(&mut rig), [true; 3]);
    let media_run = rig.open("1.1", CallPast::New);
    rig.registry.stats(&media_run.media, heard(SECOND));
    assert!(!given_up(&mut rig).contains(&true));
}
