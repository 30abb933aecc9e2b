use std::fs;
use std::sync::atomic::AtomicI64;

use proptest::prelude::*;

use super::body::{UnreadableRow, decode, encode};
use super::*;

fn speech(call: &str, samples: Vec<i16>) -> SpoolableSpeech {
    SpoolableSpeech {
        call: call.parse().unwrap(),
        leg: Leg::caller(),
        audio: samples.len() as u64 - 1,
        samples,
        choices: DecodeOptions {
            language: Some("de".to_owned()),
            ..DecodeOptions::default()
        },
        second_pass: None,
    }
}

fn config() -> SpoolConfig {
    SpoolConfig {
        max_bytes: 1 << 20,
        keep: Duration::from_secs(60),
        key: None,
    }
}

fn key(byte: char) -> SpoolKey {
    SpoolKey::from_hex(&byte.to_string().repeat(64)).unwrap()
}

struct Rig {
    folder: tempfile::TempDir,
    now_ms: Arc<AtomicI64>,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            now_ms: Arc::new(AtomicI64::new(1_000_000)),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap(),
        }
    }

    fn open(&self, config: SpoolConfig) -> SpeechSpool {
        let now_ms = Arc::clone(&self.now_ms);
        let clock = move || Timestamp::from_millisecond(now_ms.load(Ordering::Relaxed)).unwrap();
        SpeechSpool::open(&self.folder.path().join("spool.db"), config, clock).unwrap()
    }

    fn keep(&self, spool: &SpeechSpool, speech: SpoolableSpeech) -> Result<SpoolId, SpoolError> {
        let id = spool.place();
        self.runtime
            .block_on(spool.keep(id, speech, RecognitionPass::First))
            .map(|()| id)
    }
}

fn figure(figure: &AtomicU64) -> u64 {
    figure.load(Ordering::Relaxed)
}

#[test]
fn what_was_kept_is_there_in_order_also_after_a_restart_until_it_is_forgotten() {
    let rig = Rig::new();
    let spool = rig.open(config());
    let said: Vec<_> = (1..=5).map(|n| speech("1.2", vec![n; 400])).collect();
    let ids: Vec<_> = said
        .iter()
        .map(|speech| rig.keep(&spool, speech.clone()).unwrap())
        .collect();
    spool.forget(vec![ids[1]]).unwrap();
    drop(spool);
    let spool = rig.open(config());
    assert_eq!(figure(&spool.stats(RecognitionPass::First).waiting), 4);
    let first = spool.next(None, None, 2).unwrap();
    assert_eq!(first.kept[0].speech, said[0]);
    assert_eq!((first.upto, first.is_last), (Some(ids[2]), false));
    let rest = spool.next(None, first.upto, 9).unwrap();
    assert_eq!((rest.kept.len(), rest.is_last), (2, true));
    assert_eq!(rest.kept[1].speech, said[4]);
    spool.forget(ids.clone()).unwrap();
    assert_eq!(figure(&spool.stats(RecognitionPass::First).waiting), 0);
    assert_eq!(figure(&spool.stats(RecognitionPass::First).bytes), 0);
    let next = rig.keep(&spool, said[0].clone()).unwrap();
    assert!(next > ids[4], "a place is not used twice");
}

#[test]
fn more_than_it_may_hold_is_refused_and_room_is_used_again() {
    let rig = Rig::new();
    let max_bytes = 5_000;
    let spool = rig.open(SpoolConfig {
        max_bytes,
        ..config()
    });
    let loud: Vec<i16> = (0..800i32).map(|n| (n * 7919 % 30_000) as i16).collect();
    let mut ids = Vec::new();
    let refused = loop {
        match rig.keep(&spool, speech("1.2", loud.clone())) {
            Ok(id) => ids.push(id),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, SpoolError::Full { bytes, .. } if bytes <= max_bytes));
    assert!(!ids.is_empty());
    assert_eq!(figure(&spool.stats(RecognitionPass::First).refused), 1);
    spool.forget(ids).unwrap();
    rig.keep(&spool, speech("1.2", loud)).unwrap();
}

#[test]
fn what_is_too_old_is_handed_out_as_that() {
    let rig = Rig::new();
    let spool = rig.open(config());
    let old = rig.keep(&spool, speech("1.2", vec![1; 40])).unwrap();
    rig.now_ms.fetch_add(60_001, Ordering::Relaxed);
    rig.keep(&spool, speech("1.3", vec![2; 40])).unwrap();
    let page = spool.next(None, None, 9).unwrap();
    let outlived = ExpiredUtterance {
        id: old,
        call: "1.2".parse().unwrap(),
        audio: 39,
    };
    assert_eq!(page.outlived, [outlived]);
    assert_eq!(page.kept.len(), 1);
}

#[test]
fn the_file_is_one_process_s_alone() {
    let rig = Rig::new();
    let _spool = rig.open(config());
    let path = rig.folder.path().join("spool.db");
    let refused = SpeechSpool::open(&path, config(), asterscribe_clock::wall).unwrap_err();
    assert!(refused.to_string().contains("locked"), "{refused}");
}

#[test]
fn with_a_key_nothing_of_it_can_be_read_on_the_disk_nor_with_another() {
    let rig = Rig::new();
    let sealed = SpoolConfig {
        key: Some(key('a')),
        ..config()
    };
    let spool = rig.open(sealed.clone());
    let secret = speech("1.2", (0..4_000).map(|n| n % 50).collect());
    rig.keep(&spool, secret.clone()).unwrap();
    let packed = asterscribe_speech::packed::pack(&secret.samples);
    let files = fs::read_dir(rig.folder.path()).unwrap();
    for file in files.map(|file| file.unwrap().path()) {
        let bytes = fs::read(&file).unwrap();
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|part| part == needle);
        assert!(!holds(&packed[..64]) && !holds(b"caller"), "{file:?}");
    }
    drop(spool);
    for other in [None, Some(key('b'))] {
        let spool = rig.open(SpoolConfig {
            key: other,
            ..config()
        });
        let page = spool.next(None, None, 9).unwrap();
        assert_eq!((page.kept.len(), page.unreadable), (0, 1));
        // It stays: the right key may come back.
        assert_eq!(figure(&spool.stats(RecognitionPass::First).waiting), 1);
    }
    let spool = rig.open(sealed);
    assert_eq!(spool.next(None, None, 9).unwrap().kept[0].speech, secret);
}

#[test]
fn a_sealed_row_in_anothers_place_does_not_open() {
    let key = key('c');
    let body = encode(SpoolId(1), &speech("1.2", vec![1; 40]), Some(&key)).unwrap();
    let opened = |id: u64, call: &str, audio: u64| {
        let of = (call.parse().unwrap(), audio);
        decode(SpoolId(id), of, &body, Some(&key))
    };
    assert!(opened(1, "1.2", 39).is_ok());
    for (id, call, audio) in [(1, "1.3", 39), (2, "1.2", 39), (1, "1.2", 40)] {
        assert_eq!(opened(id, call, audio), Err(UnreadableRow::WrongKey));
    }
}

#[test]
fn keys_are_64_hexadecimal_digits() {
    for bad in [
        "",
        "ab",
        &"a".repeat(63),
        &"a".repeat(66),
        &"g".repeat(64),
        &"é".repeat(32),
    ] {
        assert_eq!(SpoolKey::from_hex(bad), None, "{bad:?}");
    }
    assert!(!format!("{:?}", key('a')).contains('a'.to_string().repeat(4).as_str()));
}

proptest! {
    #[test]
    fn any_body_is_read_or_refused(mut body: Vec<u8>, samples: u16, cut in 0..200usize) {
        let call: CallId = "1.2".parse().unwrap();
        let _refused = decode(SpoolId(1), (call.clone(), 1), &body, Some(&key('a')));
        body.insert(0, 0);
        let _refused = decode(SpoolId(1), (call.clone(), 1), &body, None);
        let mut real = encode(SpoolId(1), &speech("1.2", vec![samples as i16; 300]), None).unwrap();
        real.truncate(real.len().saturating_sub(cut));
        if let Ok(read) = decode(SpoolId(1), (call, 1), &real, None) {
            prop_assert_eq!(read.samples.len(), 300);
        }
    }
}

#[test]
fn what_is_heard_once_more_is_kept_apart_call_by_call() {
    let rig = Rig::new();
    let spool = rig.open(config());
    let keep = |call: &str, pass| {
        let id = spool.place();
        let kept = spool.keep(id, speech(call, vec![1; 400]), pass);
        rig.runtime.block_on(kept).unwrap();
        id
    };
    let first = keep("1.1", RecognitionPass::First);
    let second = keep("1.1", RecognitionPass::Second);
    let other = keep("1.2", RecognitionPass::Second);
    let ids = |page: SpoolPage| page.kept.iter().map(|kept| kept.id).collect::<Vec<_>>();
    let of = |call: &str| ids(spool.next(Some(call.parse().unwrap()), None, 9).unwrap());
    assert_eq!(ids(spool.next(None, None, 9).unwrap()), [first]);
    assert_eq!((of("1.1"), of("1.2")), (vec![second], vec![other]));
    let waiting = || {
        [RecognitionPass::First, RecognitionPass::Second]
            .map(|pass| figure(&spool.stats(pass).waiting))
    };
    assert_eq!(waiting(), [1, 2]);
    // What was heard goes on; one that is gone, or went on before, changes nothing.
    spool.hear_again(vec![first, second, SpoolId(1)]).unwrap();
    assert_eq!(ids(spool.next(None, None, 9).unwrap()), []);
    assert_eq!((of("1.1"), waiting()), (vec![first, second], [0, 3]));
    spool.forget(vec![first, second, second]).unwrap();
    assert_eq!(waiting(), [0, 1]);
    let calls: Vec<CallId> = vec!["1.2".parse().unwrap()];
    assert_eq!(spool.second_calls().unwrap(), calls);
    let bytes = figure(&spool.stats(RecognitionPass::Second).bytes);
    drop(spool);
    let spool = rig.open(config());
    assert_eq!(figure(&spool.stats(RecognitionPass::Second).bytes), bytes);
    spool.forget(vec![other]).unwrap();
    assert_eq!(figure(&spool.stats(RecognitionPass::Second).bytes), 0);
}

#[test]
fn what_is_heard_once_more_leaves_half_of_the_room_to_what_nobody_heard() {
    let rig = Rig::new();
    let loud: Vec<i16> = (0..4_000i32)
        .map(|n| (n * 7_919 % 65_521 - 32_000) as i16)
        .collect();
    let spool = rig.open(SpoolConfig {
        max_bytes: 65_536,
        ..config()
    });
    let fill = |pass| {
        let mut count = 0;
        loop {
            let kept = spool.keep(spool.place(), speech("1.2", loud.clone()), pass);
            match rig.runtime.block_on(kept) {
                Ok(()) => count += 1,
                Err(SpoolError::Full { .. }) => return count,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let (second, first) = (fill(RecognitionPass::Second), fill(RecognitionPass::First));
    assert!(second > 1 && first >= second, "{second}, {first}");
    assert!(figure(&spool.stats(RecognitionPass::Second).bytes) <= 32_768);
    assert_eq!(fill(RecognitionPass::Second), 0);
}

#[test]
fn a_file_of_before_the_second_pass_is_read() {
    let rig = Rig::new();
    let said = speech("1.2", vec![3; 400]);
    let conn = rusqlite::Connection::open(rig.folder.path().join("spool.db")).unwrap();
    conn.execute_batch(file::BEFORE_SECOND_PASS).unwrap();
    let body = encode(SpoolId(7), &said, None).unwrap();
    conn.execute(
        "INSERT INTO utterance VALUES (7, '1.2', 399, 1000000, ?1)",
        [body],
    )
    .unwrap();
    drop(conn);
    let spool = rig.open(config());
    let page = spool.next(None, None, 9).unwrap();
    assert_eq!(page.kept[0].speech, said);
}
