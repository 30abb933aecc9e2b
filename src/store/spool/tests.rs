use std::fs;
use std::sync::atomic::AtomicI64;

use proptest::prelude::*;

use super::body::{Unreadable, decode, encode};
use super::*;

fn speech(call: &str, samples: Vec<i16>) -> Spoolable {
    Spoolable {
        call: call.parse().unwrap(),
        leg: Leg::caller(),
        audio: samples.len() as u64 - 1,
        samples,
        choices: Choices {
            language: Some("de".to_owned()),
            ..Choices::default()
        },
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

    fn open(&self, config: SpoolConfig) -> Spool {
        let now_ms = Arc::clone(&self.now_ms);
        let clock = move || Timestamp::from_millisecond(now_ms.load(Ordering::Relaxed)).unwrap();
        Spool::open(&self.folder.path().join("spool.db"), config, clock).unwrap()
    }

    fn keep(&self, spool: &Spool, speech: Spoolable) -> Result<SpoolId, SpoolError> {
        let id = spool.place();
        self.runtime.block_on(spool.keep(id, speech)).map(|()| id)
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
    assert_eq!(figure(&spool.stats().waiting), 4);
    let first = spool.next(None, 2).unwrap();
    assert_eq!(first.kept[0].speech, said[0]);
    assert_eq!((first.upto, first.is_last), (Some(ids[2]), false));
    let rest = spool.next(first.upto, 9).unwrap();
    assert_eq!((rest.kept.len(), rest.is_last), (2, true));
    assert_eq!(rest.kept[1].speech, said[4]);
    spool.forget(ids.clone()).unwrap();
    assert_eq!(figure(&spool.stats().waiting), 0);
    assert_eq!(figure(&spool.stats().bytes), 0);
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
    assert_eq!(figure(&spool.stats().refused), 1);
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
    let page = spool.next(None, 9).unwrap();
    let outlived = Outlived {
        id: old,
        call: "1.2".parse().unwrap(),
        audio: 39,
    };
    assert_eq!(page.outlived, [outlived]);
    assert_eq!(page.kept.len(), 1);
    assert_eq!(figure(&spool.stats().outlived), 1);
}

#[test]
fn the_file_is_one_process_s_alone() {
    let rig = Rig::new();
    let _spool = rig.open(config());
    let path = rig.folder.path().join("spool.db");
    let refused = Spool::open(&path, config(), crate::clock::wall).unwrap_err();
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
    let packed = crate::speech::packed::pack(&secret.samples);
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
        let page = spool.next(None, 9).unwrap();
        assert_eq!((page.kept.len(), page.unreadable), (0, 1));
        // It stays: the right key may come back.
        assert_eq!(figure(&spool.stats().waiting), 1);
    }
    let spool = rig.open(sealed);
    assert_eq!(spool.next(None, 9).unwrap().kept[0].speech, secret);
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
        assert_eq!(opened(id, call, audio), Err(Unreadable::WrongKey));
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
