//! Guarantees of the call registry, whatever comes in whatever order.

mod keeping;
mod naming;
mod parties;
mod suppressed;

use std::time::{Duration, Instant};

use asterscribe_ari::model::AriChannel;
use asterscribe_call::{CallIdentity, DtmfDigit, LegStats};
use asterscribe_clock as clock;
use jiff::Timestamp;

use super::entry::{MAX_DIGITS, MAX_LINES, MAX_STATES};
use super::record::MAX_NOTES;
use super::*;

struct Rig {
    registry: CallRegistry,
    now: Instant,
    wall: Timestamp,
}

impl Rig {
    fn new() -> Self {
        Self {
            registry: CallRegistry::new("n".to_owned()),
            now: clock::now(),
            wall: clock::wall(),
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.wall += Duration::from_secs(seconds);
    }

    fn open(&mut self, call: &str, past: CallPast) -> MediaRun {
        let opening = CallOpening {
            past,
            ..opening(call)
        };
        self.registry.open(self.now, self.wall, opening).media_run
    }

    fn end(&mut self, call: &str) {
        let media_run = self
            .registry
            .ended(&id(call), self.wall, reason(), CallStatus::Ended);
        assert!(media_run.is_some());
    }

    fn close(&mut self, media: &CallId) {
        self.registry.closed(media, self.wall, Vec::new());
    }

    fn seqs(&self, call: &str) -> Vec<u64> {
        self.registry
            .find(&id(call))
            .unwrap()
            .lines()
            .iter()
            .map(|line| line.seq)
            .collect()
    }

    /// Numbers of the lines written, and whether a record was.
    fn written(&mut self) -> (Vec<u64>, bool) {
        let writes = self.registry.take_writes();
        let seqs = writes.iter().filter_map(|write| match write {
            StoreWrite::Line { line, .. } => Some(line.seq),
            _ => None,
        });
        (
            seqs.collect(),
            writes
                .iter()
                .any(|write| matches!(write, StoreWrite::Call(_))),
        )
    }
}

fn id(text: &str) -> CallId {
    text.parse().unwrap()
}

fn opening(call: &str) -> CallOpening {
    CallOpening {
        call: id(call),
        channel: call.to_owned(),
        origin: CallOrigin::Stasis,
        thread: 0,
        caller_number: None,
        destination: None,
        channel_name: None,
        identity: CallIdentity::default(),
        undecided: None,
        is_called: false,
        recognition: CallChoices::default(),
        past: CallPast::New,
    }
}

/// As a session says it: its own number and its own clock.
fn line(start_ms: u64) -> TranscriptLine {
    TranscriptLine {
        start_ms,
        end_ms: start_ms + 1,
        text: "hello".to_owned(),
        confidence: 1.0,
        language: "en".to_owned(),
        ..TranscriptLine::new(0, Leg::caller())
    }
}

fn reason() -> EndReason {
    EndReason {
        cause: Some(16),
        text: "Normal Clearing".to_owned(),
    }
}

fn received(count: u64) -> Vec<LegSnapshot> {
    let stats = LegStats {
        received: count,
        ..LegStats::default()
    };
    vec![LegSnapshot {
        stats,
        ..LegSnapshot::new(Leg::caller())
    }]
}

fn digit(at_ms: u64) -> DtmfDigit {
    DtmfDigit {
        at_ms,
        digit: '5',
        duration_ms: 100,
        leg: Leg::caller(),
    }
}

#[test]
fn a_call_ends_for_readers_only_when_its_last_line_is_out() {
    let mut rig = Rig::new();
    let media_run = rig.open("1.1", CallPast::New);
    rig.end("1.1");
    let again = rig
        .registry
        .ended(&id("1.1"), rig.wall, reason(), CallStatus::Failed);
    assert!(again.is_none(), "the first end counts");
    rig.registry.line(&media_run.media, line(0));
    assert_eq!(
        rig.registry.find(&id("1.1")).unwrap().record.status,
        CallStatus::Active
    );
    assert_eq!(
        rig.registry.phase(&id("1.1")),
        Some((CallPhase::Ending, CallOrigin::Stasis))
    );
    rig.close(&media_run.media);
    let record = &rig.registry.find(&id("1.1")).unwrap().record;
    assert_eq!((record.status, record.lines), (CallStatus::Ended, 1));
    assert_eq!(rig.registry.open_count(), 0);
}

#[test]
fn the_store_is_told_of_a_line_before_the_record_that_counts_it() {
    let mut rig = Rig::new();
    let media_run = rig.open("1.1", CallPast::New);
    rig.registry.take_writes();
    rig.registry.line(&media_run.media, line(0));
    let writes = rig.registry.take_writes();
    assert!(matches!(&writes[0], StoreWrite::Line { line, .. } if line.seq == 0));
    assert!(matches!(&writes[1], StoreWrite::Call(record) if record.lines == 1));
}

#[test]
fn a_channel_that_comes_back_goes_on_with_its_transcript() {
    let mut rig = Rig::new();
    let first = rig.open("1.1", CallPast::New);
    rig.registry.line(&first.media, line(10));
    rig.registry.stats(&first.media, received(5));
    rig.end("1.1");
    rig.registry.closed(&first.media, rig.wall, received(7));
    rig.pass(60);
    rig.registry.take_writes();

    let second = rig.open("1.1", CallPast::Unknown);
    rig.registry.line(&second.media, line(61_000));
    rig.registry.stats(&second.media, received(4));
    assert_eq!(rig.seqs("1.1"), [0, 1]);
    assert_eq!(
        rig.written().0,
        [1],
        "what is known here need not be asked for"
    );
    let record = &rig.registry.find(&id("1.1")).unwrap().record;
    assert_eq!(
        (record.status, &record.end_reason),
        (CallStatus::Active, &None)
    );
    assert_eq!(record.legs[0].stats.received, 11);
    assert_eq!(second.zero, first.zero, "one clock for the whole call");
}

#[test]
fn a_channel_that_comes_back_before_its_last_words_are_out_keeps_both() {
    let mut rig = Rig::new();
    let first = rig.open("1.1", CallPast::New);
    rig.registry.line(&first.media, line(10));
    rig.end("1.1");
    let second = rig.open("1.1", CallPast::New);
    assert_ne!(
        second.media, first.media,
        "the media thread still works on the first"
    );
    // The last words of the first media_run, then its end: the call goes on.
    rig.registry.line(&first.media, line(20));
    rig.registry.closed(&first.media, rig.wall, received(3));
    assert_eq!(
        rig.registry.phase(&id("1.1")),
        Some((CallPhase::Open, CallOrigin::Stasis))
    );
    rig.registry.line(&second.media, line(500));
    assert_eq!(rig.seqs("1.1"), [0, 1, 2]);
    rig.end("1.1");
    rig.registry.closed(&second.media, rig.wall, received(4));
    let record = &rig.registry.find(&id("1.1")).unwrap().record;
    assert_eq!((record.status, record.lines), (CallStatus::Ended, 3));
    assert_eq!(record.legs[0].stats.received, 7);
}

#[test]
fn a_call_is_not_over_while_an_earlier_stint_of_it_has_words_to_come() {
    let mut rig = Rig::new();
    let first = rig.open("1.1", CallPast::New);
    rig.end("1.1");
    let second = rig.open("1.1", CallPast::New);
    rig.end("1.1");
    rig.close(&second.media);
    assert_eq!(rig.registry.open_count(), 1);
    rig.registry.line(&first.media, line(0));
    rig.close(&first.media);
    assert_eq!(rig.registry.find(&id("1.1")).unwrap().record.lines, 1);
    assert_eq!(rig.registry.open_count(), 0);
}

#[test]
fn a_channel_takes_over_a_registration_of_its_id_and_loses_nothing_of_it() {
    let mut rig = Rig::new();
    let media = CallOpening {
        origin: CallOrigin::Media,
        ..opening("1.1")
    };
    let registered = rig.registry.open(rig.now, rig.wall, media).media_run;
    rig.registry.line(&registered.media, line(0));
    let opened = rig.registry.open(rig.now, rig.wall, opening("1.1"));
    assert_eq!(
        opened.replaced.map(|media_run| media_run.media),
        Some(registered.media.clone())
    );
    rig.registry.line(&registered.media, line(10));
    rig.close(&registered.media);
    rig.registry.line(&opened.media_run.media, line(20));
    assert_eq!(rig.seqs("1.1"), [0, 1, 2]);
    assert_eq!(
        rig.registry.phase(&id("1.1")),
        Some((CallPhase::Open, CallOrigin::Stasis))
    );
}

#[test]
fn a_call_that_is_called_as_a_media_thread_calls_another_gets_its_own_words() {
    let mut rig = Rig::new();
    rig.open("1.1", CallPast::New);
    rig.end("1.1");
    let again = rig.open("1.1", CallPast::New);
    let other = rig.open(again.media.as_str(), CallPast::New);
    assert_ne!(other.media, again.media);
    rig.registry.line(&again.media, line(0));
    assert_eq!(rig.seqs("1.1").len(), 1);
    assert!(rig.seqs(again.media.as_str()).is_empty());
}

fn stored(rig: &Rig, lines: u64) -> StoredHistory {
    let mut earlier = Rig {
        registry: CallRegistry::new("n".to_owned()),
        now: rig.now,
        wall: rig.wall,
    };
    let media_run = earlier.open("1.1", CallPast::New);
    earlier.registry.stats(&media_run.media, received(100));
    earlier.registry.answered(&id("1.1"), rig.now, rig.wall);
    let record = earlier.registry.find(&id("1.1")).unwrap().record.clone();
    StoredHistory {
        record: Some(record),
        lines,
        digits: vec![digit(7)],
    }
}

#[test]
fn a_resumed_call_goes_on_behind_what_is_stored_and_keeps_its_clock() {
    let mut rig = Rig::new();
    // The record promises no line, yet two are stored: the process died in between.
    let history = stored(&rig, 2);
    rig.pass(60);
    let media_run = rig.open("1.1", CallPast::Known(Box::new(history)));
    rig.registry.line(&media_run.media, line(60_500));
    rig.registry
        .digit(&id("1.1"), rig.now, '6', 100, Leg::caller());
    let writes = rig.registry.take_writes();
    assert!(
        writes
            .iter()
            .any(|write| matches!(write, StoreWrite::Line { line, .. } if line.seq == 2))
    );
    assert!(writes.iter().any(
        |write| matches!(write, StoreWrite::Dtmf { index: 1, digit, .. } if (59_000..61_000).contains(&digit.at_ms))
    ));
    let entry = rig.registry.find(&id("1.1")).unwrap();
    assert_eq!((entry.record.lines, entry.dtmf().len()), (3, 2));
    assert_eq!(entry.record.legs[0].stats.received, 100, "counters go on");
    assert!(rig.now.saturating_duration_since(media_run.zero) >= Duration::from_secs(59));
}

#[test]
fn nothing_is_written_of_a_call_whose_past_is_unknown_until_it_is_known() {
    let mut rig = Rig::new();
    let history = stored(&rig, 5);
    rig.pass(60);
    let media_run = rig.open("1.1", CallPast::Unknown);
    rig.registry.line(&media_run.media, line(1000));
    rig.registry
        .digit(&id("1.1"), rig.now, '6', 100, Leg::caller());
    assert_eq!(rig.written(), (vec![], false));
    assert_eq!(rig.seqs("1.1"), [0], "yet it can be read");
    assert_eq!(rig.registry.next_unknown(), Some(id("1.1")));

    rig.registry.learn(&id("1.1"), Some(history));
    rig.registry.line(&media_run.media, line(2000));
    assert_eq!(rig.written(), (vec![5, 6], true));
    let entry = rig.registry.find(&id("1.1")).unwrap();
    let starts: Vec<u64> = entry.lines().iter().map(|line| line.start_ms).collect();
    assert_eq!(starts, [61_000, 62_000], "on the clock of the whole call");
    assert_eq!(
        entry.dtmf().iter().map(|d| d.at_ms).collect::<Vec<_>>(),
        [7, 60_000]
    );
    assert_eq!(entry.record.started_at, rig.wall - Duration::from_secs(60));
    assert_eq!(rig.registry.next_unknown(), None);
}

#[test]
fn a_call_may_end_before_its_past_is_known() {
    let mut rig = Rig::new();
    let history = stored(&rig, 5);
    let media_run = rig.open("1.1", CallPast::Unknown);
    rig.registry.line(&media_run.media, line(0));
    rig.end("1.1");
    rig.close(&media_run.media);
    assert_eq!(rig.written(), (vec![], false));
    rig.registry.learn(&id("1.1"), Some(history));
    let writes = rig.registry.take_writes();
    assert!(
        matches!(writes.last(), Some(StoreWrite::Call(record)) if record.status == CallStatus::Ended && record.lines == 6)
    );
    rig.registry.learn(&id("1.1"), None);
    assert!(rig.registry.take_writes().is_empty(), "once");
}

#[test]
fn at_the_end_what_is_held_back_is_written_as_it_is() {
    let mut rig = Rig::new();
    let media_run = rig.open("1.1", CallPast::Unknown);
    rig.registry.line(&media_run.media, line(0));
    assert_eq!(rig.registry.abandon(rig.wall), 1);
    rig.registry.assume_new();
    let writes = rig.registry.take_writes();
    assert!(matches!(&writes[0], StoreWrite::Line { line, .. } if line.seq == 0));
    let Some(StoreWrite::GivenUp(record)) = writes.last() else {
        panic!("{writes:?}")
    };
    assert_eq!(record.status, CallStatus::Ended);
    assert!(record.notes[0].contains("last words"), "{:?}", record.notes);
}

#[test]
fn an_end_that_was_told_outlives_the_loss_of_the_last_words() {
    let mut rig = Rig::new();
    rig.open("1.1", CallPast::New);
    rig.end("1.1");
    rig.registry.abandon(rig.wall);
    let record = &rig.registry.find(&id("1.1")).unwrap().record;
    assert_eq!(record.end_reason, Some(reason()));
}

#[test]
fn a_stint_without_last_counters_keeps_those_it_told() {
    let mut rig = Rig::new();
    let media_run = rig.open("1.1", CallPast::New);
    rig.registry.stats(&media_run.media, received(9));
    rig.close(&media_run.media);
    let record = &rig.registry.find(&id("1.1")).unwrap().record;
    assert_eq!(record.legs[0].stats.received, 9);
}

#[test]
fn a_registration_that_is_refused_is_told_but_never_was_a_call() {
    let mut rig = Rig::new();
    let media_run = rig.open("1.1", CallPast::Unadmitted);
    let refused = |rig: &mut Rig| {
        rig.registry
            .refuse(&id("1.1"), rig.wall, "taken".to_owned())
    };
    assert_eq!(
        refused(&mut rig).map(|media_run| media_run.media),
        Some(media_run.media.clone())
    );
    rig.close(&media_run.media);
    let record = &rig.registry.find(&id("1.1")).unwrap().record;
    assert_eq!(record.status, CallStatus::Failed);
    rig.registry.assume_new();
    assert_eq!(
        (rig.registry.open_count(), rig.written()),
        (0, (vec![], false))
    );

    // Its id may come again; one that has a leg by now stays.
    rig.open("1.1", CallPast::Unadmitted);
    let source = "192.0.2.1:5".to_owned();
    rig.registry.leg(&id("1.1"), Leg::caller(), source, None);
    assert!(refused(&mut rig).is_none());
    rig.registry.admit(&id("1.1"), true);
    assert_eq!(rig.written(), (vec![], true));
    let record = &rig.registry.find(&id("1.1")).unwrap().record;
    assert_eq!(
        (record.status, &record.end_reason),
        (CallStatus::Active, &None)
    );
}

#[test]
fn lists_that_others_make_grow_are_bounded() {
    let mut rig = Rig::new();
    let media_run = rig.open("1.1", CallPast::New);
    for n in 0..5000 {
        rig.registry
            .channel_state(&id("1.1"), rig.now, n.to_string());
        rig.registry
            .digit(&id("1.1"), rig.now, '1', 1, Leg::caller());
        rig.registry.note(&id("1.1"), n.to_string());
        rig.registry.line(&media_run.media, line(n));
        rig.registry.take_writes();
    }
    let entry = rig.registry.find(&id("1.1")).unwrap();
    assert_eq!(entry.record.channel_states.len(), MAX_STATES);
    assert_eq!(entry.dtmf().len(), MAX_DIGITS);
    assert_eq!(entry.record.notes.len(), MAX_NOTES);
    assert!(entry.lines().len() <= MAX_LINES);
    assert_eq!(
        (entry.record.lines, rig.seqs("1.1").last()),
        (5000, Some(&4999))
    );
}

#[test]
fn ended_calls_are_kept_in_number_and_in_size() {
    let mut rig = Rig::new();
    for n in 0..600 {
        let call = format!("2.{n}");
        let media_run = rig.open(&call, CallPast::New);
        for _ in 0..if n < 300 { 0 } else { 1000 } {
            rig.registry.line(&media_run.media, line(0));
        }
        rig.end(&call);
        rig.close(&media_run.media);
        rig.registry.take_writes();
        let lines: usize = rig.registry.iter().map(|entry| entry.lines().len()).sum();
        assert!(rig.registry.iter().count() <= RECENT && lines <= RECENT_LINES);
    }
    assert_eq!(rig.registry.iter().count(), RECENT_LINES / 1000);
}

#[test]
fn what_concerns_an_unknown_call_changes_nothing() {
    let mut rig = Rig::new();
    rig.registry.line(&id("9.9"), line(0));
    rig.registry.closed(&id("9.9"), rig.wall, Vec::new());
    rig.registry.learn(&id("9.9"), None);
    assert!(rig.registry.take_writes().is_empty());
}
