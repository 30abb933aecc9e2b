use std::collections::VecDeque;

use asterscribe_call::{
    CallId, CallIdentity, CallKey, CallOrigin, CallRecord, CallStatus, DtmfDigit, Leg,
    SecondHearing, TranscriptLine,
};
use async_trait::async_trait;
use proptest::prelude::*;

use super::*;
use crate::{CallCounters, GivenCounts};

/// A store that answers its first calls by script and then takes everything. It keeps what it took
/// in order, and what of it was new.
#[derive(Default)]
struct Scripted {
    script: Mutex<VecDeque<StoreError>>,
    /// Write that is refused for good, whenever it comes.
    poison: Option<StoreWrite>,
    /// Answers to the first checks of [`CallStore::try_write`].
    probes: Mutex<VecDeque<StoreError>>,
    /// Gate: while it is closed, `apply` does not return.
    gate: Option<tokio::sync::Semaphore>,
    kept: Mutex<Vec<StoreWrite>>,
}

impl Scripted {
    fn away(times: usize) -> Self {
        let script = (0..times)
            .map(|n| StoreError::Unavailable(format!("away {n}")))
            .collect();
        Self {
            script: Mutex::new(script),
            ..Self::default()
        }
    }

    fn gated() -> Self {
        Self {
            gate: Some(tokio::sync::Semaphore::new(0)),
            ..Self::default()
        }
    }

    fn kept(&self) -> Vec<StoreWrite> {
        self.kept.lock().unwrap().clone()
    }
}

#[async_trait]
impl CallStore for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn apply(&self, writes: &[StoreWrite]) -> Result<(), StoreError> {
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        if let Some(error) = self.script.lock().unwrap().pop_front() {
            return Err(error);
        }
        if writes
            .iter()
            .any(|write| Some(write) == self.poison.as_ref())
        {
            return Err(StoreError::Broken("poison".into()));
        }
        self.kept.lock().unwrap().extend_from_slice(writes);
        Ok(())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        unreachable!("the writer only writes")
    }
    async fn try_write(&self) -> Result<(), StoreError> {
        self.probes.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }
    async fn call(&self, _: &CallId) -> Result<Option<CallRecord>, StoreError> {
        unreachable!("the writer only writes")
    }
    async fn keys(&self, _: Option<&CallKey>, _: usize) -> Result<Vec<CallKey>, StoreError> {
        unreachable!("the writer only writes")
    }
    async fn records(&self, _: &[CallId]) -> Result<Vec<Option<CallRecord>>, StoreError> {
        unreachable!("the writer only writes")
    }
    async fn open_calls(&self) -> Result<Vec<CallRecord>, StoreError> {
        unreachable!("the writer only writes")
    }
    async fn lines(&self, _: &CallId, _: u64) -> Result<Vec<TranscriptLine>, StoreError> {
        unreachable!("the writer only writes")
    }
    async fn lines_below(&self, _: &CallId, _: u64) -> Result<u64, StoreError> {
        unreachable!("the writer only writes")
    }
    async fn dtmf(&self, _: &CallId) -> Result<Vec<DtmfDigit>, StoreError> {
        unreachable!("the writer only writes")
    }
    async fn lacking(&self, _: &[GivenCounts]) -> Result<Vec<CallId>, StoreError> {
        unreachable!("the writer only writes")
    }
    fn displaced(&self) -> u64 {
        0
    }

    fn unreadable(&self) -> u64 {
        0
    }
    async fn counters(&self) -> Result<CallCounters, StoreError> {
        unreachable!("the writer only writes")
    }
    async fn expire(&self) -> Result<u64, StoreError> {
        unreachable!("the writer only writes")
    }
}

/// A bound for a test that hangs, far beyond what any takes.
const HANG: Duration = Duration::from_secs(60);
const AT: i64 = 1_764_000_000;

fn spawn(store: &Arc<Scripted>, capacity: usize) -> StoreWriter {
    let backoff = WriterBackoff {
        first: Duration::from_millis(1),
        max: Duration::from_millis(4),
    };
    let clock = || Timestamp::from_second(AT).unwrap();
    StoreWriter::spawn(store.clone(), WriterSettings { capacity, backoff }, clock)
}

fn line(call: &str, seq: u64) -> StoreWrite {
    let line = TranscriptLine {
        start_ms: seq * 1000,
        end_ms: seq * 1000 + 500,
        text: format!("line {seq}"),
        confidence: 0.5,
        language: "en".into(),
        ..TranscriptLine::new(seq, Leg::caller())
    };
    StoreWrite::Line {
        call: call.parse().unwrap(),
        line,
    }
}

fn record(call: &str, lines: u64) -> StoreWrite {
    StoreWrite::Call(Box::new(CallRecord {
        call_id: call.parse().unwrap(),
        status: CallStatus::Active,
        origin: CallOrigin::Stasis,
        node: "n1".into(),
        caller_number: None,
        destination: None,
        channel_name: None,
        identity: CallIdentity::default(),
        started_at: Timestamp::from_second(AT).unwrap(),
        answered_at: None,
        ended_at: None,
        end_reason: None,
        recognition: asterscribe_call::CallChoices::default(),
        legs: Vec::new(),
        channel_states: Vec::new(),
        lines,
        revisions: 0,
        awaited: 0,
        second_pass: SecondHearing::default(),
        notes: Vec::new(),
        events: Vec::new(),
        playing: Vec::new(),
        capture: None,
    }))
}

#[tokio::test]
async fn after_an_outage_everything_arrives_in_order_and_once() {
    let store = Arc::new(Scripted::away(7));
    let writer = spawn(&store, 1000);
    let mut state = writer.state();
    let all: Vec<StoreWrite> = (0..200).map(|seq| line("1.1", seq)).collect();
    for write in &all {
        writer.write(write.clone()).unwrap();
    }

    let behind = state
        .wait_for(|state| *state != WriterState::Ok)
        .await
        .unwrap()
        .clone();
    let WriterState::Behind {
        queued,
        since,
        reason,
    } = behind
    else {
        panic!("{behind:?}")
    };
    assert_eq!((queued, since), (200, Timestamp::from_second(AT).unwrap()));
    assert!(reason.starts_with("away"), "{reason}");

    writer.flush(HANG).await.unwrap();
    assert_eq!(store.kept(), all);
    assert_eq!(
        *state
            .wait_for(|state| *state == WriterState::Ok)
            .await
            .unwrap(),
        WriterState::Ok
    );
    let expected = WriterStats {
        accepted: 200,
        stored: 200,
        retries: 7,
        ..WriterStats::default()
    };
    assert_eq!(writer.stats(), expected);
}

#[tokio::test]
async fn what_the_store_refuses_for_good_is_given_up_alone() {
    let store = Arc::new(Scripted {
        poison: Some(line("1.1", 3)),
        ..Scripted::away(1)
    });
    let writer = spawn(&store, 1000);
    for seq in 0..6 {
        writer.write(line("1.1", seq)).unwrap();
    }
    writer.flush(HANG).await.unwrap();
    assert_eq!(store.kept(), [0, 1, 2, 4, 5].map(|seq| line("1.1", seq)));
    let stats = writer.stats();
    assert_eq!((stats.stored, stats.broken, stats.queued), (5, 1, 0));
}

#[tokio::test]
async fn what_is_refused_by_a_store_that_takes_nothing_is_not_given_up() {
    // Whatever it says: a password was changed, a right was taken, its file is damaged.
    let broken = |text: &str| StoreError::Broken(text.to_owned());
    let denied = StoreError::Denied("NOAUTH".to_owned());
    let store = Arc::new(Scripted {
        script: Mutex::new([denied, broken("no"), broken("never")].into()),
        probes: Mutex::new([broken("not even this"), broken("nor this")].into()),
        ..Scripted::default()
    });
    let writer = spawn(&store, 1000);
    let all: Vec<StoreWrite> = (0..3).map(|seq| line("1.1", seq)).collect();
    for write in &all {
        writer.write(write.clone()).unwrap();
    }
    writer.flush(HANG).await.unwrap();
    assert_eq!(store.kept(), all);
    let stats = writer.stats();
    assert_eq!((stats.stored, stats.broken, stats.retries), (3, 0, 3));
}

#[tokio::test]
async fn a_full_queue_refuses_the_newest_and_says_so() {
    let store = Arc::new(Scripted::gated());
    let writer = spawn(&store, 3);
    for seq in 0..3 {
        writer.write(line("1.1", seq)).unwrap();
    }
    assert_eq!(
        writer.write(line("1.1", 3)),
        Err(RefusedWrite { queued: 3 })
    );
    assert_eq!(
        writer.write(record("1.1", 3)),
        Err(RefusedWrite { queued: 3 })
    );
    assert_eq!(writer.stats().refused, 2);

    store.gate.as_ref().unwrap().add_permits(100);
    writer.flush(HANG).await.unwrap();
    writer.write(line("1.1", 3)).unwrap();
    writer.flush(HANG).await.unwrap();
    assert_eq!(store.kept(), [0, 1, 2, 3].map(|seq| line("1.1", seq)));
}

#[tokio::test]
async fn a_flush_that_comes_to_its_deadline_tells_what_is_left_and_loses_nothing() {
    let store = Arc::new(Scripted::gated());
    let writer = spawn(&store, 10);
    writer.write(line("1.1", 0)).unwrap();
    writer.write(line("1.1", 1)).unwrap();
    assert_eq!(
        writer.flush(Duration::from_millis(1)).await,
        Err(UnflushedWrites { left: 2 })
    );
    store.gate.as_ref().unwrap().add_permits(100);
    writer.flush(HANG).await.unwrap();
    assert_eq!(store.kept().len(), 2);
}

#[tokio::test]
async fn writes_may_come_from_threads_without_a_runtime() {
    let store = Arc::new(Scripted::default());
    let writer = Arc::new(spawn(&store, 1000));
    let threads = ["1.1", "1.2", "1.3"].map(|call| {
        let writer = writer.clone();
        std::thread::spawn(move || (0..100).for_each(|seq| writer.write(line(call, seq)).unwrap()))
    });
    tokio::task::spawn_blocking(|| threads.map(|thread| thread.join().unwrap()))
        .await
        .unwrap();
    writer.flush(HANG).await.unwrap();
    for call in ["1.1", "1.2", "1.3"] {
        let own: Vec<StoreWrite> = store
            .kept()
            .into_iter()
            .filter(|write| write.call_id().as_str() == call)
            .collect();
        assert_eq!(own, (0..100).map(|seq| line(call, seq)).collect::<Vec<_>>());
    }
}

#[test]
fn a_record_takes_the_place_of_its_predecessor_only_if_nothing_of_the_call_lies_between() {
    let mut queue = WriteQueue::new(100);
    assert_eq!(queue.push(record("1.1", 0)), PushOutcome::Queued);
    assert_eq!(queue.push(record("1.2", 0)), PushOutcome::Queued);
    assert_eq!(queue.push(record("1.1", 1)), PushOutcome::Merged);
    assert_eq!(queue.push(line("1.1", 1)), PushOutcome::Queued);
    assert_eq!(queue.push(record("1.1", 2)), PushOutcome::Queued);
    assert_eq!(queue.push(record("1.1", 3)), PushOutcome::Merged);
    assert_eq!(
        queue.take(3),
        [record("1.1", 1), record("1.2", 0), line("1.1", 1)]
    );
    // What was taken is beyond reach.
    assert_eq!(queue.push(record("1.2", 5)), PushOutcome::Queued);
    assert_eq!(queue.push(record("1.1", 4)), PushOutcome::Merged);
    assert_eq!(queue.len(), 5);
    queue.done(3);
    assert_eq!(queue.take(9), [record("1.1", 4), record("1.2", 5)]);
    assert_eq!(queue.take(9), []);
}

#[test]
fn a_record_does_not_overtake_the_erasure_of_its_predecessor() {
    let mut queue = WriteQueue::new(100);
    let erase = StoreWrite::Erase("1.1".parse().unwrap());
    assert_eq!(queue.push(record("1.1", 0)), PushOutcome::Queued);
    assert_eq!(queue.push(erase.clone()), PushOutcome::Queued);
    assert_eq!(queue.push(record("1.1", 1)), PushOutcome::Queued);
    assert_eq!(queue.take(9), [record("1.1", 0), erase, record("1.1", 1)]);
}

#[test]
fn a_full_queue_still_takes_a_newer_state_of_a_record_that_waits() {
    let mut queue = WriteQueue::new(1);
    assert_eq!(queue.push(record("1.1", 0)), PushOutcome::Queued);
    assert_eq!(queue.push(record("1.1", 1)), PushOutcome::Merged);
    assert_eq!(queue.push(record("1.2", 0)), PushOutcome::Refused);
    assert_eq!(queue.take(1), [record("1.1", 1)]);
    assert_eq!(
        queue.push(record("1.2", 0)),
        PushOutcome::Refused,
        "what is under way still counts"
    );
}

#[test]
fn waits_double_up_to_the_longest() {
    let waits: Vec<u128> = WriterBackoff::default()
        .waits()
        .take(8)
        .map(|wait| wait.as_millis())
        .collect();
    assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
    let odd = WriterBackoff {
        first: Duration::MAX,
        max: Duration::from_secs(1),
    };
    assert_eq!(odd.waits().nth(3), Some(Duration::from_secs(1)));
}

proptest! {
    /// Lines come out complete and in order, whatever is pushed and taken, and of each call's
    /// records the last one before any line is there.
    #[test]
    fn merging_loses_no_line_and_no_last_record(
        steps in proptest::collection::vec((0..3usize, 0..3usize), 1..80)
    ) {
        let calls = ["1.1", "1.2", "1.3"];
        let mut queue = WriteQueue::new(1000);
        let (mut pushed, mut taken) = (Vec::new(), Vec::new());
        for (version, (call, kind)) in (0u64..).zip(steps) {
            match kind {
                0 => {
                    let batch = queue.take(call + 1);
                    queue.done(batch.len());
                    taken.extend(batch);
                    continue;
                }
                1 => pushed.push(line(calls[call], version)),
                _ => pushed.push(record(calls[call], version)),
            }
            queue.push(pushed.last().unwrap().clone());
        }
        taken.extend(queue.take(1000));
        for call in calls {
            let of = |all: &[StoreWrite]| all.iter().filter(|w| w.call_id().as_str() == call).cloned().collect::<Vec<_>>();
            let (pushed, taken) = (of(&pushed), of(&taken));
            // Nothing but records that a newer one follows at once may be missing.
            let mut rest = taken.iter().peekable();
            for (i, write) in pushed.iter().enumerate() {
                let replaced = matches!((write, pushed.get(i + 1)), (StoreWrite::Call(_), Some(StoreWrite::Call(_))));
                if rest.peek() == Some(&write) {
                    rest.next();
                } else {
                    prop_assert!(replaced, "{write:?} is missing");
                }
            }
            prop_assert_eq!(rest.next(), None);
        }
    }
}
