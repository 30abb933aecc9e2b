//! A capture of a call, replayed, is the call: the same lines, counters and
//! account of audio, whatever the network did and however late the thread was.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use asterscribe_call::TranscriptLine;
use asterscribe_session::LegSnapshot;
use tokio::sync::mpsc;

use super::*;
use crate::capture::{
    CaptureConfig, CapturePart, CaptureSet, CaptureTap, CaptureThread, StartCapture,
};
use crate::replay::{self, ReplayReport, capture as reader};

/// Chance that depends on its seed only (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Speech in ulaw, with pauses.
fn speech() -> &'static [u8] {
    static SPEECH: OnceLock<Vec<u8>> = OnceLock::new();
    SPEECH.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/prompts");
        let mut speech = Vec::new();
        for name in ["account-number.wav", "call-back.wav"] {
            let wav = fs::read(folder.join(name)).unwrap();
            let samples = wav[44..].chunks_exact(2);
            let samples = samples.map(|b| i16::from_le_bytes([b[0], b[1]]));
            speech.extend(samples.map(asterscribe_codecs::g711::encode_ulaw));
            speech.extend([0xff; 8_000]);
        }
        speech
    })
}

/// A datagram on its way: arrival after the call's zero, source, bytes.
type Flight = (Duration, &'static str, Vec<u8>);

/// Some 25 s of a party behind a bad network.
fn party(source: &'static str, seed: u64) -> Vec<Flight> {
    let mut chance = Chance(seed);
    let mut ssrc = seed as u32 | 1;
    let (mut stream, mut late) = (Vec::new(), 0);
    let (first_seq, first_time) = (chance.below(1 << 16) as u16, chance.below(1 << 32) as u32);
    let offset = chance.below(50_000_000);
    for n in 0..1250u32 {
        if n == 700 && chance.percent(50) {
            ssrc = ssrc.wrapping_mul(77);
        }
        // A pause of the sender, by its own timestamps.
        let pause = if n > 900 { 16_000 } else { 0 };
        let at = n as usize * 160 % (speech().len() - 160);
        let mut bytes = vec![0x80, 0];
        bytes.extend(first_seq.wrapping_add(n as u16).to_be_bytes());
        bytes.extend(first_time.wrapping_add(n * 160 + pause).to_be_bytes());
        bytes.extend(ssrc.to_be_bytes());
        bytes.extend(&speech()[at..at + 160]);
        let sent = Duration::from_millis(20) * n + Duration::from_millis(u64::from(pause) / 8);
        // A freeze now and then, and everything after it in one burst.
        if chance.below(300) == 0 {
            late = 1_000;
        }
        late = u64::saturating_sub(late, 20);
        let jitter = Duration::from_nanos(offset + chance.below(60_000_000));
        let arrival = sent + Duration::from_millis(late) + jitter;
        if chance.percent(4) {
            continue;
        }
        if chance.percent(3) {
            let copy = arrival + Duration::from_micros(chance.below(200_000));
            stream.push((copy, source, bytes.clone()));
        }
        if chance.percent(2) {
            // A report, and something that is no RTP at all.
            stream.push((arrival, source, vec![0x80, 200, 0, 1, 0, 0, 0, 1]));
            stream.push((arrival, source, b"OPTIONS sip:a SIP/2.0".to_vec()));
        }
        stream.push((arrival, source, bytes));
    }
    stream
}

/// The network's side of a call.
fn flights(seed: u64) -> Vec<Flight> {
    let mut all = [party(A, seed), party(B, seed + 1000)].concat();
    all.sort_by_key(|(at, ..)| *at);
    all
}

struct Taped {
    rig: Rig,
    captures: Arc<CaptureSet>,
    zero: Instant,
    lines: Vec<TranscriptLine>,
    legs: Option<Vec<LegSnapshot>>,
    _thread: CaptureThread,
    _news: mpsc::Receiver<crate::capture::CaptureNews>,
    _dir: tempfile::TempDir,
}

impl Taped {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = CaptureConfig {
            dir: dir.path().to_owned(),
            total_bytes: 1 << 30,
            by_rule: false,
        };
        let (sender, news) = mpsc::channel(16);
        let thread = CaptureThread::start(&config, sender, clock::wall, clock::now).unwrap();
        let mut rig = Rig::with_queue(512);
        let zero = rig.now;
        rig.open("c");
        Self {
            rig,
            captures: thread.captures(),
            zero,
            lines: Vec::new(),
            legs: None,
            _thread: thread,
            _news: news,
            _dir: dir,
        }
    }

    /// Records from now on.
    fn record(&mut self) -> CaptureTap {
        let order = StartCapture {
            call: "c".parse().unwrap(),
            media: "c".parse().unwrap(),
            to: "127.0.0.1:40000".parse().unwrap(),
            zero: self.zero,
            max_bytes: 16 << 20,
        };
        let (tap, _) = self
            .captures
            .start(order, self.rig.now, clock::wall())
            .unwrap();
        let call = "c".parse().unwrap();
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        let command = MediaCommand::Capture {
            call,
            tap: tap.clone(),
            reply,
        };
        self.rig.shard.command(self.rig.now, command);
        assert_eq!(answer.try_recv(), Ok(()));
        tap
    }

    /// Lets everything up to `until` arrive, with a look at the clock every `tick`.
    fn run(&mut self, flights: &mut std::vec::IntoIter<Flight>, until: Duration, tick: Duration) {
        while self.rig.now - self.zero < until {
            self.rig.now += tick;
            let passed = self.rig.now - self.zero;
            let due = flights
                .as_slice()
                .iter()
                .take_while(|(at, ..)| *at <= passed);
            let due = due.count();
            for (at, source, bytes) in flights.take(due) {
                let source = source.parse().unwrap();
                self.rig
                    .shard
                    .datagrams(self.zero + at, &[(source, &bytes)]);
            }
            while let Ok(answer) = self.rig.answers.try_recv() {
                self.rig.shard.answer(self.rig.now, answer);
            }
            self.rig.shard.tick(self.rig.now);
            self.hear();
        }
    }

    fn hear(&mut self) {
        for event in self.rig.shard.take_events() {
            match event.kind {
                MediaEventKind::Line(line) => self.lines.push(line),
                MediaEventKind::Closed(legs) => self.legs = Some(legs),
                MediaEventKind::Stats(_)
                | MediaEventKind::Partial(_)
                | MediaEventKind::Deferred(_)
                | MediaEventKind::Event(_)
                | MediaEventKind::Digit(_)
                | MediaEventKind::Played(_)
                | MediaEventKind::Idle => {}
            }
        }
    }

    fn hang_up(&mut self) {
        self.rig.hang_up("c");
        self.hear();
        while self.legs.is_none() {
            let answer = self.rig.answers.recv().unwrap();
            self.rig.shard.answer(self.rig.now, answer);
            self.hear();
        }
    }

    fn replayed(&self) -> ReplayReport {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let call = "c".parse().unwrap();
        let file = runtime.block_on(self.captures.read(&call, CapturePart::Packets));
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file.unwrap().unwrap().body, &mut bytes).unwrap();
        let capture = reader::from_bytes(&bytes).unwrap();
        let factory: EngineFactory = Arc::new(|_| Ok(Box::new(Echo)));
        let pool = RecognitionPool::start(pool_config(512), &factory).unwrap();
        // Another zero than that of the live call: only differences may count.
        let epoch = self.zero + Duration::from_secs(5);
        replay::run_capture(&capture, SessionConfig::default(), &pool, epoch).unwrap()
    }

    fn assert_replayed(&self, told: &str) {
        let report = self.replayed();
        let note = report.capture.as_ref().expect("it is one of ours");
        assert_eq!((note.lost, note.rolled_off), (0, 0), "{told}");
        let legs = self.legs.as_ref().unwrap();
        assert_eq!(report.flows.len(), legs.len(), "{told}");
        for (flow, live) in report.flows.iter().zip(legs) {
            assert_eq!(flow.leg, live.leg, "{told}");
            assert_eq!(flow.stats, live.stats, "{told}: {}", flow.leg);
            assert_eq!(flow.audio, live.audio, "{told}: {}", flow.leg);
        }
        assert_eq!(report.lines, self.lines, "{told}");
    }
}

const TICKS: [u64; 4] = [1, 5, 33, 250];

#[test]
fn a_call_behind_a_bad_network_is_replayed_to_the_sample() {
    for (seed, tick) in (1..).zip(TICKS).chain((5..).zip(TICKS)) {
        let mut call = Taped::new();
        let tap = call.record();
        let mut flights = flights(seed).into_iter();
        let tick = Duration::from_millis(tick);
        call.rig.place("c", "caller", A).unwrap();
        // The callee's packets overtake the word of where they come from.
        call.run(&mut flights, MS * 350, tick);
        call.rig.place("c", "callee", B).unwrap();
        call.run(&mut flights, MS * 29_000, tick);
        call.hang_up();
        assert!(tap.is_over());
        assert!(call.lines.len() > 4, "{}", call.lines.len());
        call.assert_replayed(&format!("seed {seed}, tick {tick:?}"));
    }
}

#[test]
fn a_leg_without_packets_is_a_leg_and_one_that_moves_stays_one() {
    let mut call = Taped::new();
    call.record();
    let tick = MS * 5;
    call.rig.place("c", "caller", A).unwrap();
    call.rig.place("c", "silent", "127.0.0.1:4004").unwrap();
    let flights = flights(3).into_iter().map(|(at, source, bytes)| {
        // The caller's media is made anew after 8 s.
        let moved = source == A && at > MS * 8_000;
        (at, if moved { "127.0.0.1:4006" } else { source }, bytes)
    });
    let mut flights = flights.collect::<Vec<_>>().into_iter();
    call.run(&mut flights, MS * 8_000, tick);
    call.rig.place("c", "caller", "127.0.0.1:4006").unwrap();
    call.run(&mut flights, MS * 29_000, tick);
    call.hang_up();
    call.assert_replayed("moved");
    let report = call.replayed();
    assert_eq!(report.flows[0].from, "127.0.0.1:4006");
    assert_eq!(
        (report.flows[1].leg.as_str(), report.flows[1].from.as_str()),
        ("silent", "")
    );
}

#[test]
fn a_capture_of_the_middle_gives_the_call_s_own_times_from_there() {
    let mut call = Taped::new();
    let tick = MS * 5;
    call.rig.place("c", "caller", A).unwrap();
    let mut flights = flights(2).into_iter();
    call.run(&mut flights, MS * 9_000, tick);
    let tap = call.record();
    call.run(&mut flights, MS * 20_000, tick);
    let before = call.rig.now;
    tap.end(before);
    call.run(&mut flights, MS * 29_000, tick);
    call.hang_up();
    let report = call.replayed();
    assert!(!report.lines.is_empty());
    // Where both have heard the whole sentence, they heard the same one.
    let (from, to) = (10_500, 19_000);
    let within = |line: &&TranscriptLine| line.start_ms >= from && line.end_ms <= to;
    let times = |lines: &[TranscriptLine]| -> Vec<_> {
        lines
            .iter()
            .filter(within)
            .map(|line| (line.start_ms, line.end_ms))
            .collect()
    };
    let (live, replayed) = (times(&call.lines), times(&report.lines));
    assert!(!live.is_empty());
    assert_eq!(live.len(), replayed.len(), "{live:?} {replayed:?}");
    for (live, replayed) in live.iter().zip(&replayed) {
        // The timelines begin with other packets, whose arrivals differ by the jitter.
        assert!(live.0.abs_diff(replayed.0) <= 150, "{live:?} {replayed:?}");
    }
    assert!(
        report
            .lines
            .iter()
            .all(|line| line.start_ms >= 8_900 && line.end_ms <= 20_200)
    );
}

#[test]
fn what_begins_too_late_is_over_at_once() {
    let mut call = Taped::new();
    call.rig.place("c", "caller", A).unwrap();
    call.hang_up();
    assert!(call.record().is_over());
    assert!(call.replayed().flows.is_empty());
}
