//! A store under test with the world around it, and what to put into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use asterscribe_call::{
    AudioAccount, CallEvent, CallEventKind, CallId, CallIdentity, CallOrigin, CallRecord,
    CallStatus, CaptureState, ChannelStateChange, DoubtReason, DtmfDigit, EarlierRevision,
    EndReason, FindingKind, GapReason, Leg, LegRecord, LegSides, LegSound, LegSounds, LegStats,
    LineState, MediaFinding, MediaQuality, SecondHearing, SoundKind, SpokenWord, SuppressedText,
    TranscriptLine,
};
use asterscribe_store::{
    CallStore, RedisStore, RetentionTimes, SqliteStore, StoreError, StoreWrite,
};
use asterscribe_testkit::redis::Instance;
use jiff::Timestamp;

/// A bound for a test that hangs, far beyond what any takes.
pub(crate) const HANG: Duration = Duration::from_secs(60);
/// When the test calls begin, seconds since 1970.
pub(crate) const EPOCH: i64 = 1_764_000_000;

/// SQLite on a file of its own, with a clock that stands still until told.
pub(crate) struct Sqlite {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) now_ms: Arc<AtomicI64>,
    pub(crate) store: SqliteStore,
}

impl Sqlite {
    pub(crate) fn start(retention: RetentionTimes) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now_ms = Arc::new(AtomicI64::new(EPOCH * 1000));
        let store = open(&dir, &now_ms, retention);
        Self { dir, now_ms, store }
    }

    pub(crate) fn reopen(&mut self, retention: RetentionTimes) {
        self.store = open(&self.dir, &self.now_ms, retention);
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.now_ms
            .fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

fn open(
    dir: &tempfile::TempDir,
    now_ms: &Arc<AtomicI64>,
    retention: RetentionTimes,
) -> SqliteStore {
    let now_ms = now_ms.clone();
    let clock = move || Timestamp::from_millisecond(now_ms.load(Ordering::Relaxed)).unwrap();
    SqliteStore::open(&dir.path().join("calls.db"), retention, clock).unwrap()
}

/// A Redis of its own.
pub(crate) struct Redis {
    pub(crate) instance: Instance,
    pub(crate) store: Arc<RedisStore>,
}

impl Redis {
    pub(crate) fn start(retention: RetentionTimes) -> Self {
        let instance = Instance::start().unwrap();
        let store = Arc::new(RedisStore::new(&instance.url(), retention).unwrap());
        Self { instance, store }
    }

    /// Runs a command on a connection of the test's own.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap());
        for word in words {
            cmd.arg(word);
        }
        cmd.query(&mut self.instance.connection().unwrap()).unwrap()
    }
}

/// Asks until the store answers; its attempts are what paces this.
pub(crate) async fn until_it_answers(store: &dyn CallStore) {
    let answers = async {
        while store.ping().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, answers)
        .await
        .expect("the store comes back");
}

/// The answer must be `Unavailable`, by the store's own bound.
pub(crate) async fn must_be_unavailable<T: std::fmt::Debug>(
    asked: impl Future<Output = Result<T, StoreError>>,
) {
    let answer = tokio::time::timeout(HANG, asked)
        .await
        .expect("a bound of the store's own");
    assert!(
        matches!(answer, Err(StoreError::Unavailable(_))),
        "{answer:?}"
    );
}

pub(crate) fn id(call: &str) -> CallId {
    call.parse().unwrap()
}

/// A record with every field set, begun `second` seconds after the epoch.
pub(crate) fn record(call: &str, second: i64, status: CallStatus) -> CallRecord {
    let at = |plus: i64| Timestamp::from_second(EPOCH + second + plus).unwrap();
    let over = !status.is_open();
    CallRecord {
        call_id: id(call),
        status,
        origin: CallOrigin::Tap,
        node: "pbx-1".into(),
        caller_number: Some("+43 1 \"0\" \u{1F4DE}".into()),
        destination: Some("9999".into()),
        channel_name: Some("PJSIP/alice-00000001".into()),
        identity: CallIdentity {
            channel_id: Some("lead 42;2".into()),
            channel_created_at: Some(at(0)),
            channel_gone: over,
            linkedid: Some("1764000000.12".into()),
            caller_name: Some("Anna \"A\" \u{1F4DE}".into()),
            connected_name: Some("Bob".into()),
            connected_number: Some("200".into()),
            account_code: Some("sales".into()),
            tags: vec!["1764000000.12".into(), String::new()],
            sides: Some(LegSides::of_callee()),
        },
        started_at: at(0),
        answered_at: Some(at(1)),
        ended_at: over.then(|| at(9)),
        end_reason: over.then(|| EndReason {
            cause: Some(16),
            text: "Normal Clearing".into(),
        }),
        recognition: serde_json::from_str(r#"{"language":"de,en","prompt":"Müller"}"#).unwrap(),
        legs: vec![LegRecord {
            leg: Leg::callee(),
            source: Some("127.0.0.1:4000".into()),
            format: Some("ulaw".into()),
            stats: LegStats {
                received: u64::MAX,
                lost: 3,
                ..LegStats::default()
            },
            audio: AudioAccount {
                span: 9,
                transcribed: 9,
                ..AudioAccount::default()
            },
            quality: Some(MediaQuality {
                loss: 0.25,
                jitter_ms: 1.5,
                burst_ratio: 1.0,
                r_factor: 80.5,
                mos: 4.0,
                clock_drift_ppm: None,
            }),
            language: Some("de".into()),
            findings: vec![MediaFinding {
                kind: FindingKind::NoRtp,
                since_ms: 3,
                until_ms: None,
                evidence: "0 packets".into(),
                fix: "look".into(),
            }],
            sounds: LegSounds {
                sounds: vec![LegSound {
                    kind: SoundKind::Ringback,
                    start_ms: 5,
                    end_ms: 2_005,
                }],
                sounds_left_out: 7,
            },
        }],
        channel_states: vec![ChannelStateChange {
            at_ms: 7,
            channel: "c".into(),
            state: "Up".into(),
        }],
        lines: 2,
        revisions: 3,
        awaited: 1,
        second_pass: SecondHearing {
            waiting: 2,
            ..SecondHearing::default()
        },
        notes: vec!["a note\nof two lines".into()],
        events: vec![CallEvent {
            at_ms: 8,
            kind: CallEventKind::FindingBegan,
            leg: Some(Leg::callee()),
            text: "no RTP".into(),
        }],
        playing: Vec::new(),
        capture: Some(CaptureState {
            running: true,
            packets: 1,
            bytes: 2,
            rolled_off: 3,
            lost: 4,
        }),
    }
}

/// A state of every kind, one after the other.
fn state(seq: u64) -> LineState {
    match seq % 5 {
        0 => LineState::Final,
        1 => LineState::AwaitsRecognition(Some(seq)),
        2 => LineState::Shed(seq),
        3 => LineState::Final.at(seq),
        _ => LineState::Gap(GapReason::OverloadShed),
    }
}

pub(crate) fn line(seq: u64) -> TranscriptLine {
    TranscriptLine {
        seq,
        leg: Leg::caller(),
        start_ms: seq * 1000,
        end_ms: seq * 1000 + 640,
        text: format!("line {seq}: gr\u{fc}\u{df} \"Gott\"\n\u{0}"),
        confidence: 0.1 + 0.001,
        language: "de".into(),
        task: asterscribe_call::SpeechTask::Transcribe,
        early_media: seq % 8 == 7,
        state: state(seq),
        words: (0..seq % 3).map(|n| word(seq * 1000 + n * 200)).collect(),
        suppressed: (seq % 4 == 3).then(|| SuppressedText {
            reason: DoubtReason::PhantomPhrase,
            evidence: "nothing but \"thanks\"".into(),
            text: "Thanks!".into(),
        }),
        model: "model@0123abcd".into(),
        revision: u32::from(seq % 7 == 6),
        first: (seq % 6 == 2).then(|| {
            Box::new(EarlierRevision {
                text: "first".into(),
                confidence: 0.25,
                model: "small@0123abcd".into(),
            })
        }),
    }
}

fn word(start_ms: u64) -> SpokenWord {
    SpokenWord {
        text: "gr\u{fc}\u{df}".into(),
        start_ms,
        end_ms: start_ms + 180,
        probability: 0.5,
    }
}

pub(crate) fn lines(seqs: impl IntoIterator<Item = u64>) -> Vec<TranscriptLine> {
    seqs.into_iter().map(line).collect()
}

pub(crate) fn line_of(call: &str, seq: u64) -> StoreWrite {
    StoreWrite::Line {
        call: id(call),
        line: line(seq),
    }
}

pub(crate) fn digit(index: u64) -> DtmfDigit {
    let digit = ['1', '#', '*', 'D'][usize::try_from(index % 4).unwrap()];
    DtmfDigit {
        at_ms: index * 200,
        digit,
        duration_ms: 90,
        leg: Leg::callee(),
    }
}

pub(crate) fn digits(indexes: impl IntoIterator<Item = u64>) -> Vec<DtmfDigit> {
    indexes.into_iter().map(digit).collect()
}
