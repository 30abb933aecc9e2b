//! The whole of it but the media threads: taps, the writer, files, downloads.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use asterscribe_call::Leg;
use asterscribe_clock as clock;

use super::rolling::tests::Scarce;
use super::tap::QUEUE_BYTES;
use super::*;
use crate::replay::capture::{self as reader, HeldCapture};

const SOURCE: &str = "192.0.2.7:4000";

struct Rig {
    dir: tempfile::TempDir,
    thread: Option<CaptureThread>,
    captures: Arc<CaptureSet>,
    news: mpsc::Receiver<CaptureNews>,
    zero: Instant,
}

/// Waits for what the writer's thread answers.
fn wait<T>(answer: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(answer)
}

impl Rig {
    fn new(total_bytes: u64) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), total_bytes, false)
    }

    fn in_folder(dir: tempfile::TempDir, total_bytes: u64, by_rule: bool) -> Self {
        let config = CaptureConfig {
            dir: dir.path().to_owned(),
            total_bytes,
            by_rule,
        };
        let (sender, news) = mpsc::channel(100);
        let thread = CaptureThread::start(&config, sender, clock::wall, clock::now).unwrap();
        Self {
            dir,
            captures: thread.captures(),
            thread: Some(thread),
            news,
            zero: clock::now(),
        }
    }

    fn order(&self, call: &str, max_bytes: u64) -> StartCapture {
        StartCapture {
            call: call.parse().unwrap(),
            media: call.parse().unwrap(),
            to: "192.0.2.1:40000".parse().unwrap(),
            zero: self.zero,
            max_bytes,
        }
    }

    fn start(&self, call: &str) -> Result<CaptureTap, CaptureRefused> {
        let order = self.order(call, MIN_BYTES);
        let (tap, answer) = self.captures.start(order, clock::now(), clock::wall())?;
        match wait(answer).unwrap() {
            Ok(()) => Ok(tap),
            Err(refused) => {
                self.captures.abandon(&tap);
                Err(refused)
            }
        }
    }

    fn end(&mut self, tap: &CaptureTap) -> CaptureState {
        tap.end(self.at(1_000_000));
        loop {
            let news = wait(self.news.recv()).unwrap();
            self.captures.heard(&news);
            if news.kind == CaptureNewsKind::Ended && news.id == tap.capture().id {
                return news.state;
            }
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.zero + Duration::from_millis(ms)
    }

    fn read(&self, call: &str, part: CapturePart) -> Option<Vec<u8>> {
        let file = wait(self.captures.read(&call.parse().unwrap(), part)).unwrap()?;
        let (length, mut body) = (file.length, file.body);
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, length);
        Some(bytes)
    }

    fn packets(&self, call: &str) -> HeldCapture {
        let bytes = self.read(call, CapturePart::Packets).unwrap();
        let capture = reader::from_bytes(&bytes).unwrap();
        assert_eq!(capture.other_packets, 0);
        capture
    }
}

fn send(tap: &CaptureTap, leg: usize, at: Instant, bytes: &[u8]) {
    tap.packet(leg, at, SOURCE.parse().unwrap(), bytes);
}

fn folder_bytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn what_was_tapped_is_read_back_while_it_runs_and_after() {
    let mut rig = Rig::new(1 << 30);
    let tap = rig.start("c").unwrap();
    assert!(tap.leg(&Leg::caller()));
    // One that was held until its leg was known comes late, and keeps its time.
    let times = [5, 25, 24, 45].map(|ms| rig.at(ms) + Duration::from_nanos(7));
    send(&tap, 0, times[0], b"one");
    assert_eq!(rig.packets("c").datagrams.len(), 1);
    assert!(tap.leg(&Leg::callee()));
    for (leg, at) in [(0, times[1]), (1, times[2]), (1, times[3])] {
        send(&tap, leg, at, b"");
    }
    let running = rig.packets("c");
    let state = rig.end(&tap);
    assert_eq!((state.running, state.packets, state.lost), (false, 4, 0));
    assert!(tap.is_over());
    let capture = rig.packets("c");
    assert_eq!(capture.datagrams, running.datagrams);
    let legs: Vec<_> = capture.datagrams.iter().map(|d| d.leg).collect();
    assert_eq!(legs, [Some(0), Some(0), Some(1), Some(1)]);
    let recorded = capture.recorded.unwrap();
    assert_eq!(recorded.legs, [Leg::caller(), Leg::callee()]);
    let read: Vec<_> = capture
        .datagrams
        .iter()
        .map(|d| d.at - recorded.zero)
        .collect();
    assert_eq!(read, times.map(|at| at - rig.zero));
    assert_eq!(
        recorded.end,
        Some(recorded.zero + Duration::from_secs(1000))
    );
    assert_eq!(capture.datagrams[0].from, SOURCE.parse().unwrap());
    assert_eq!(capture.broken, None);
}

#[test]
fn a_flood_stays_within_the_bound_and_leaves_the_newest() {
    let mut rig = Rig::new(1 << 30);
    let tap = rig.start("c").unwrap();
    assert!(tap.leg(&Leg::caller()));
    let mut sent = 0u64;
    for round in 0..20 {
        for _ in 0..500 {
            send(&tap, 0, rig.at(sent), &[round; 400]);
            sent += 1;
        }
        let capture = rig.packets("c");
        assert!(folder_bytes(rig.dir.path()) <= MIN_BYTES);
        assert_eq!(capture.datagrams.last().unwrap().payload, [round; 400]);
    }
    let state = rig.end(&tap);
    assert!(folder_bytes(rig.dir.path()) <= MIN_BYTES);
    assert_eq!(state.bytes, folder_bytes(rig.dir.path()));
    assert!(state.rolled_off > 0 && state.packets > 100, "{state:?}");
    assert_eq!(state.packets + state.rolled_off + state.lost, sent);
    let capture = rig.packets("c");
    assert_eq!(capture.datagrams.len() as u64, state.packets);
    let recorded = capture.recorded.unwrap();
    assert_eq!(recorded.missing.rolled_off, state.rolled_off);
    let gaps = capture
        .datagrams
        .windows(2)
        .filter(|pair| pair[1].at - pair[0].at != Duration::from_millis(1));
    assert_eq!(gaps.count(), 0, "only whole beginnings are missing");
}

#[test]
fn the_largest_datagrams_fit_the_smallest_capture() {
    let mut rig = Rig::new(1 << 30);
    let tap = rig.start("c").unwrap();
    assert!(tap.leg(&Leg::caller()));
    for n in 0..6 {
        send(&tap, 0, rig.at(n), &[7; 65_507]);
    }
    send(&tap, 0, rig.at(7), &[7; 65_508]);
    let state = rig.end(&tap);
    assert_eq!((state.packets + state.rolled_off, state.lost), (6, 1));
    assert!(state.bytes <= MIN_BYTES && state.packets > 0, "{state:?}");
}

#[test]
fn a_capture_is_begun_once_and_replaces_the_one_before() {
    let mut rig = Rig::new(1 << 30);
    let first = rig.start("c").unwrap();
    let running = CaptureRefused::Running("c".parse().unwrap());
    assert_eq!(rig.start("c").err(), Some(running));
    assert!(first.leg(&Leg::caller()));
    send(&first, 0, rig.at(1), b"old");
    let call = "c".parse().unwrap();
    let stopped = wait(rig.captures.stop(&call, rig.at(2))).unwrap().unwrap();
    assert_eq!((stopped.running, stopped.packets), (false, 1));
    assert_eq!(wait(rig.captures.stop(&call, rig.at(3))), Ok(None));
    let second = rig.start("c").unwrap();
    assert!(second.leg(&Leg::callee()));
    send(&second, 0, rig.at(4), b"new");
    send(&first, 0, rig.at(5), b"late");
    let capture = rig.packets("c");
    assert_eq!(capture.datagrams.len(), 1);
    assert_eq!(capture.datagrams[0].payload, b"new");
    assert_eq!(capture.recorded.unwrap().legs, [Leg::callee()]);
    rig.end(&second);
    assert_eq!(rig.captures.state(&call), None);
    assert_eq!(rig.read("nobody", CapturePart::Packets), None);
}

#[test]
fn a_queue_that_is_full_loses_the_newest_and_says_so() {
    let (captures, items, _orders) = CaptureSet::new(false);
    let zero = clock::now();
    let start = |call: &str| StartCapture {
        call: call.parse().unwrap(),
        media: call.parse().unwrap(),
        to: SOURCE.parse().unwrap(),
        zero,
        max_bytes: MIN_BYTES,
    };
    let (tap, _answer) = captures.start(start("a"), zero, clock::wall()).unwrap();
    for _ in 0..QUEUE + 10 {
        send(&tap, 0, zero, b"");
    }
    assert!(!tap.leg(&Leg::caller()));
    assert_eq!(captures.state(&"a".parse().unwrap()).unwrap().lost, 10);
    while items.try_recv().is_ok() {}

    let (tap, _answer) = captures.start(start("b"), zero, clock::wall()).unwrap();
    let large = vec![0; 65_507];
    let fit = QUEUE_BYTES / large.len();
    for _ in 0..fit + 5 {
        send(&tap, 0, zero, &large);
    }
    assert_eq!(items.len(), fit);
    assert_eq!(captures.state(&"b".parse().unwrap()).unwrap().lost, 5);
}

#[test]
fn the_folder_s_bound_holds_over_all_captures() {
    let mut rig = Rig::new(2 * MIN_BYTES);
    let fill = |tap: &CaptureTap| {
        assert!(tap.leg(&Leg::caller()));
        for n in 0..300 {
            send(tap, 0, rig.zero + Duration::from_millis(n), &[0; 500]);
        }
    };
    let (a, b) = (rig.start("a").unwrap(), rig.start("b").unwrap());
    assert_eq!(
        rig.start("c").err(),
        Some(CaptureRefused::NoRoom(2 * MIN_BYTES))
    );
    fill(&a);
    fill(&b);
    rig.end(&a);
    rig.end(&b);
    assert!(rig.read("a", CapturePart::Packets).is_some());
    // One fits beside the newest of what is stored, and then none.
    let c = rig.start("c").unwrap();
    assert_eq!(rig.read("a", CapturePart::Packets), None);
    assert!(rig.read("b", CapturePart::Packets).is_some());
    let d = rig.start("d").unwrap();
    assert_eq!(rig.read("b", CapturePart::Packets), None);
    assert!(folder_bytes(rig.dir.path()) <= 2 * MIN_BYTES);
    rig.end(&c);
    rig.end(&d);
    rig.captures.expire(clock::wall() + Duration::from_secs(1));
    assert_eq!(rig.read("d", CapturePart::Packets), None);
    assert_eq!(folder_bytes(rig.dir.path()), 0);
}

#[test]
fn events_are_lines_of_json_beside_the_packets() {
    let mut rig = Rig::in_folder(tempfile::tempdir().unwrap(), 1 << 30, true);
    let (call, other): (CallId, CallId) = ("c".parse().unwrap(), "d".parse().unwrap());
    assert!(rig.captures.wants_events());
    // By rule a call is captured a moment after the event that began it.
    rig.captures
        .event(&call, rig.at(3), "{\n \"type\": \"StasisStart\"\r\n}");
    rig.captures.event(&other, rig.at(4), r#"{"type":"Other"}"#);
    let tap = rig.start("c").unwrap();
    rig.captures.event(
        &call,
        rig.at(50),
        r#"{"type":"ChannelDtmfReceived","digit":"1"}"#,
    );
    let state = rig.end(&tap);
    assert_eq!((state.packets, state.lost), (0, 0));
    rig.captures
        .event(&call, rig.at(60), r#"{"type":"StasisEnd"}"#);
    let text = String::from_utf8(rig.read("c", CapturePart::Events).unwrap()).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["at_ms"].as_u64().unwrap(),
                line["event"]["type"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [(3, "StasisStart"), (50, "ChannelDtmfReceived")]);
    // Without a rule, nothing is kept but for a capture that runs.
    assert!(!Rig::new(1 << 30).captures.wants_events());
}

#[test]
fn what_a_crash_leaves_is_served_up_to_where_it_breaks_off() {
    let mut rig = Rig::new(1 << 30);
    let tap = rig.start("c").unwrap();
    assert!(tap.leg(&Leg::caller()));
    for n in 0..2000 {
        send(&tap, 0, rig.at(n), &[n as u8; 160]);
    }
    let state = rig.end(&tap);
    assert!(state.rolled_off > 0, "both segments are in use");
    drop(rig.thread.take());
    let mut files: Vec<_> = fs::read_dir(rig.dir.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "pcapng")
        })
        .collect();
    files.sort_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
    let newest = files.last().unwrap();
    let length = fs::metadata(newest).unwrap().len();
    // The end block, and half of the last packet.
    fs::File::options()
        .write(true)
        .open(newest)
        .unwrap()
        .set_len(length - 300)
        .unwrap();
    let again = Rig::in_folder(rig.dir, 1 << 30, false);
    let capture = again.packets("c");
    assert!(
        capture
            .broken
            .is_some_and(|broken| broken.contains("cut off"))
    );
    let count = capture.datagrams.len() as u64;
    assert!(
        (state.packets - 3..state.packets).contains(&count),
        "{count}"
    );
    assert_eq!(capture.recorded.unwrap().end, None);
}

#[test]
fn a_disk_that_is_full_costs_packets_only_while_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Scarce::new(0);
    let (captures, items, orders) = CaptureSet::new(false);
    let (sender, mut news) = mpsc::channel(100);
    let times = writer::WriterTimes {
        wall: clock::wall,
        clock: clock::now,
    };
    let folder = CaptureFolder::open(dir.path()).unwrap();
    let waiting = captures.queue.waiting();
    let scarce = Arc::new(Arc::clone(&disk));
    let writer = CaptureWriter::new(folder, scarce, 1 << 30, sender, times, waiting).unwrap();
    let thread = thread::spawn(move || writer.run(&orders, &items));
    let zero = clock::now();
    let start = || {
        let call = "c".parse().unwrap();
        let order = StartCapture {
            media: CallId::clone(&call),
            call,
            to: SOURCE.parse().unwrap(),
            zero,
            max_bytes: MIN_BYTES,
        };
        captures.start(order, zero, clock::wall()).unwrap()
    };
    let (tap, answer) = start();
    let refused = wait(answer).unwrap().unwrap_err();
    assert!(matches!(refused, CaptureRefused::Folder(_)), "{refused}");
    assert!(tap.is_over());
    captures.abandon(&tap);

    disk.set_room(20_000);
    let (tap, answer) = start();
    wait(answer).unwrap().unwrap();
    assert!(tap.leg(&Leg::caller()));
    let send_until = |wanted: &dyn Fn(CaptureState) -> bool| {
        let mut sent = 0;
        while !wanted(captures.state(&"c".parse().unwrap()).unwrap()) {
            send(&tap, 0, zero, &[0; 160]);
            sent += 1;
            thread::yield_now();
        }
        sent
    };
    let mut sent = send_until(&|state| state.lost > 100);
    disk.set_room(usize::MAX);
    let before = captures.state(&"c".parse().unwrap()).unwrap().packets;
    sent += send_until(&|state| state.packets > before + 100);
    tap.end(clock::now());
    let ended = loop {
        let news = wait(news.recv()).unwrap();
        if news.kind == CaptureNewsKind::Ended {
            break news.state;
        }
    };
    assert_eq!(
        ended.packets + ended.rolled_off + ended.lost,
        sent,
        "{ended:?}"
    );
    captures.orders.send(WriterOrder::Stop).unwrap();
    thread.join().unwrap();
}

/// Two legs of a few packets, as a download gives them.
fn small_capture() -> Vec<u8> {
    let mut rig = Rig::new(1 << 30);
    let tap = rig.start("c").unwrap();
    assert!(tap.leg(&Leg::caller()) && tap.leg(&Leg::callee()));
    for n in 0..16u8 {
        for leg in 0..2 {
            let mut bytes = vec![0x80, 0, 0, n, 0, 0, n / 2, 160 * (n % 2), 0, 0, 0, 7];
            bytes.extend([0x7f ^ n; 24]);
            send(&tap, leg, rig.at(u64::from(n) * 20), &bytes);
        }
    }
    assert_eq!(rig.end(&tap).packets, 32);
    rig.read("c", CapturePart::Packets).unwrap()
}

#[test]
fn no_damage_to_a_capture_breaks_its_reader() {
    let whole = small_capture();
    crate::replay::fuzz::capture(&whole);
    for length in (0..whole.len()).step_by(7) {
        crate::replay::fuzz::capture(&whole[..length]);
    }
    // The descriptions, where the marks are, and a packet or two.
    for place in 0..800 {
        for value in [0, b'9', b'"', 0xff] {
            let mut damaged = whole.clone();
            damaged[place] = value;
            crate::replay::fuzz::capture(&damaged);
        }
    }
    // A capture behind another, and one whose marks are of two calls.
    crate::replay::fuzz::capture(&[&whole[..], &whole].concat());
    let mut other = whole.clone();
    let mut calls = (0..whole.len()).filter(|at| whole[*at..].starts_with(b"\"call\":\"c\""));
    other[calls.nth(1).unwrap() + 8] = b'd';
    let capture = reader::from_bytes(&other).unwrap();
    assert_eq!(capture.recorded.as_ref().unwrap().legs, [Leg::caller()]);
    assert_eq!(
        capture.datagrams.iter().filter(|d| d.leg.is_none()).count(),
        16
    );
    crate::replay::fuzz::capture(&other);
}

#[test]
fn captures_in_the_corpus_of_the_fuzzer_are_taken() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/capture");
    for file in fs::read_dir(&folder).unwrap() {
        crate::replay::fuzz::capture(&fs::read(file.unwrap().path()).unwrap());
    }
    // One that an earlier version of this program wrote must stay one of ours.
    let ours = fs::read(folder.join("asterscribe.pcapng")).unwrap();
    let capture = reader::from_bytes(&ours).unwrap();
    assert_eq!(
        (capture.packets, capture.other_packets, capture.broken),
        (32, 0, None)
    );
    let recorded = capture.recorded.unwrap();
    assert_eq!(recorded.legs, [Leg::caller(), Leg::callee()]);
    assert!(recorded.end > Some(recorded.zero));
}
