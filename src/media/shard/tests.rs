mod capture;
mod party;
mod playing;
mod sources;

use asterscribe_call::{Leg, TranscriptLine};
use asterscribe_clock as clock;
use asterscribe_recognition::pool::{EngineFactory, PoolConfig, RecognitionPool};
use asterscribe_recognition::{TranscribeError, Transcriber};
use asterscribe_session::ExpectedMedia;
use asterscribe_speech::{DecodeOptions, Recognition};
use crossbeam_channel::{Receiver, bounded};

use super::*;
use crate::media::LegSocket;

struct Echo;

impl Transcriber for Echo {
    fn transcribe(
        &mut self,
        samples: &[i16],
        choices: &DecodeOptions,
    ) -> Result<Recognition, TranscribeError> {
        Ok(Recognition {
            language_probability: choices.language.is_none().then_some(1.0),
            text: samples.len().to_string(),
            confidence: 1.0,
            language: "en".into(),
            ..Recognition::default()
        })
    }
}

fn pool_config(queue: usize) -> PoolConfig {
    PoolConfig {
        workers: 1,
        queue,
        max_age: None,
    }
}

/// A shard on a clock of its own.
pub(in crate::media) struct Rig {
    pub(in crate::media) shard: SessionShard,
    answers: Receiver<JobAnswer<JobTicket>>,
    now: Instant,
    _pool: RecognitionPool<JobTicket>,
}

impl Rig {
    pub(in crate::media) fn new() -> Self {
        Self::with_queue(8)
    }

    fn with_queue(queue: usize) -> Self {
        let factory: EngineFactory = Arc::new(|_| Ok(Box::new(Echo)));
        let pool = RecognitionPool::start(pool_config(queue), &factory).unwrap();
        let (reply, answers) = bounded(pool.capacity());
        let config = ShardConfig {
            keeps_late: false,
            session: SessionConfig::default(),
            number: 0,
        };
        Self {
            shard: SessionShard::new(config, pool.handle(), reply, Arc::default()),
            answers,
            now: clock::now(),
            _pool: pool,
        }
    }

    fn open(&mut self, call: &str) {
        let open = OpenCall {
            call: call.parse().unwrap(),
            opened: self.now,
            idle_limit: Some(Duration::from_secs(10)),
            call_options: None,
        };
        self.shard.command(self.now, MediaCommand::Open(open));
    }

    /// Places a leg as Asterisk does.
    fn place(&mut self, call: &str, leg: &str, source: &str) -> Result<(), LegRefused> {
        self.add(call, leg, source, true)
    }

    /// Places a leg as a registration does.
    fn register(&mut self, call: &str, leg: &str, source: &str) -> Result<(), LegRefused> {
        self.add(call, leg, source, false)
    }

    fn add(
        &mut self,
        call: &str,
        leg: &str,
        source: &str,
        may_exist: bool,
    ) -> Result<(), LegRefused> {
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        let order = MediaCommand::AddLeg(AddLeg {
            call: call.parse().unwrap(),
            leg: leg.parse().unwrap(),
            source: source.parse().unwrap(),
            expected: ExpectedMedia::default(),
            may_exist,
            ear: LegSocket::Shared,
            reply,
        });
        self.shard.command(self.now, order);
        answer.try_recv().expect("the shard answers at once")
    }

    fn hang_up(&mut self, call: &str) {
        let call = call.parse().unwrap();
        self.shard.command(self.now, MediaCommand::Hangup(call));
    }

    fn send(&mut self, source: &str, seq: u16) {
        self.send_stream(source, seq, 1);
    }

    fn send_stream(&mut self, source: &str, seq: u16, ssrc: u8) {
        let mut bytes = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ssrc];
        bytes[2..4].copy_from_slice(&seq.to_be_bytes());
        bytes[4..8].copy_from_slice(&(u32::from(seq) * 160).to_be_bytes());
        bytes.extend([0xff; 160]);
        self.shard
            .datagrams(self.now, &[(source.parse().unwrap(), &bytes)]);
    }

    /// Sends a prompt from packet `first` on, without a tick; returns the next packet's number.
    fn speak(&mut self, source: &str, first: u16) -> u16 {
        let prompt = include_bytes!("../../../fixtures/prompts/account-number.wav");
        let samples = prompt[44..]
            .chunks_exact(2)
            .map(|b| i16::from_le_bytes([b[0], b[1]]));
        let ulaw: Vec<u8> = samples.map(asterscribe_codecs::g711::encode_ulaw).collect();
        let mut seq = first;
        for payload in ulaw.chunks_exact(160) {
            let mut bytes = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
            bytes[2..4].copy_from_slice(&seq.to_be_bytes());
            bytes[4..8].copy_from_slice(&(u32::from(seq) * 160).to_be_bytes());
            bytes.extend(payload);
            self.shard
                .datagrams(self.now, &[(source.parse().unwrap(), &bytes)]);
            self.now += MS * 20;
            seq += 1;
        }
        seq
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.shard.tick(self.now);
    }

    /// The calls that have closed since the last look, with packets received by their first leg.
    fn closed(&mut self) -> Vec<(String, Option<u64>)> {
        let closed = |event: MediaEvent| match event.kind {
            MediaEventKind::Closed(legs) => Some((
                event.call.to_string(),
                legs.first().map(|leg| leg.stats.received),
            )),
            _ => None,
        };
        self.shard
            .take_events()
            .into_iter()
            .filter_map(closed)
            .collect()
    }

    fn leg(&mut self, call: &str, leg: &str) -> LegIndex {
        let key = self.key(call);
        let resident = self.shard.residents.get_mut(key).unwrap();
        resident.session.leg(&leg.parse().unwrap()).unwrap()
    }

    fn key(&self, call: &str) -> SessionKey {
        self.shard.residents.key(&call.parse().unwrap()).unwrap()
    }
}

pub(in crate::media) fn line() -> MediaEventKind {
    MediaEventKind::Line(TranscriptLine::new(0, Leg::caller()))
}

impl SessionShard {
    pub(in crate::media) fn report(&mut self, kind: MediaEventKind) {
        let call = "c".parse().unwrap();
        self.events.push(MediaEvent { call, kind });
    }
}

const A: &str = "127.0.0.1:4000";
const B: &str = "127.0.0.1:4002";
const MS: Duration = Duration::from_millis(1);

#[test]
fn a_leg_hears_its_source_from_before_it_was_named_to_the_hang_up() {
    let mut rig = Rig::new();
    rig.open("c");
    rig.send(A, 1);
    rig.pass(MS * 100);
    rig.place("c", "caller", A).unwrap();
    rig.send(A, 2);
    rig.send(B, 3);
    rig.hang_up("c");
    rig.send(A, 3);
    assert_eq!(rig.closed(), [("c".to_owned(), Some(2))]);
    assert!(rig.shard.is_empty());
}

#[test]
fn what_was_held_for_a_second_leg_does_not_turn_back_the_first_ones_time() {
    let mut rig = Rig::new();
    rig.open("c");
    rig.place("c", "caller", A).unwrap();
    for n in 0..20 {
        rig.send(A, n);
        rig.send(B, n);
        rig.pass(MS * 20);
    }
    rig.place("c", "callee", B).unwrap();
    let key = rig.key("c");
    let heard = rig.shard.residents.get_mut(key).unwrap().last_heard;
    assert_eq!(heard, rig.now - MS * 20);
    rig.send(B, 20);
    rig.hang_up("c");
    let Some(MediaEventKind::Closed(legs)) = rig.shard.take_events().pop().map(|e| e.kind) else {
        panic!("nothing was said, so nothing is waited for");
    };
    let audio: Vec<_> = legs
        .iter()
        .map(|leg| (leg.stats.audio_ms, leg.stats.silent_ms))
        .collect();
    assert_eq!(audio, [(400, 0), (420, 0)]);
}

#[test]
fn a_call_that_has_been_hung_up_takes_no_source() {
    let mut rig = Rig::new();
    rig.open("c");
    rig.open("d");
    rig.place("c", "caller", A).unwrap();
    // Its last words keep it in the shard.
    let key = rig.key("c");
    rig.speak(A, 0);
    rig.hang_up("c");
    assert!(rig.shard.residents.get_mut(key).is_some());
    assert_eq!(rig.place("c", "callee", B), Err(LegRefused::NotOpen));
    assert_eq!(rig.place("d", "caller", B), Ok(()));
    assert_eq!(rig.place("d", "callee", A), Ok(()));
    let answer = rig.answers.recv().unwrap();
    rig.shard.answer(rig.now, answer);
    assert_eq!(rig.closed().len(), 1);
}

#[test]
fn a_leg_may_move_to_the_same_place_under_its_other_name() {
    let mut rig = Rig::new();
    rig.open("c");
    rig.place("c", "caller", A).unwrap();
    rig.place("c", "caller", "[::ffff:127.0.0.1]:4000").unwrap();
    rig.send(A, 1);
    rig.place("c", "caller", B).unwrap();
    rig.send(A, 2);
    rig.send(B, 2);
    rig.hang_up("c");
    assert_eq!(rig.closed(), [("c".to_owned(), Some(2))]);
}

#[test]
fn a_silent_call_is_reported_once() {
    let mut rig = Rig::new();
    rig.open("c");
    rig.place("c", "caller", A).unwrap();
    for n in 0..3 {
        rig.send(A, n);
        rig.pass(MS * 9_000);
    }
    rig.pass(MS * 9_000);
    rig.pass(MS * 9_000);
    let idle = rig
        .shard
        .take_events()
        .iter()
        .filter(|event| matches!(event.kind, MediaEventKind::Idle))
        .count();
    assert_eq!(idle, 1);
}

#[test]
fn a_leg_that_hears_nothing_learns_who_sends_and_the_others_do_not() {
    let mut rig = Rig::new();
    for (call, source) in [("c", A), ("d", B), ("e", "192.0.2.9:4010")] {
        rig.open(call);
        rig.place(call, "caller", source).unwrap();
    }
    let stranger = "127.0.0.1:4099";
    for n in 0..150 {
        rig.send(B, n);
        rig.send(stranger, n);
        rig.pass(MS * 20);
    }
    let events = rig.shard.take_events().into_iter();
    let told: Vec<_> = events
        .filter_map(|event| match event.kind {
            MediaEventKind::Event(told) => Some((event.call.to_string(), told.text)),
            _ => None,
        })
        .filter(|(_, text)| text.starts_with("unexpected_source"))
        .collect();
    let [(call, text)] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(call, "c");
    assert!(text.contains(stranger) && text.contains(A), "{text}");
}

#[test]
fn every_call_is_told_what_the_kernel_dropped() {
    let mut rig = Rig::new();
    for (call, source) in [("c", A), ("d", B)] {
        rig.open(call);
        rig.place(call, "caller", source).unwrap();
    }
    rig.pass(MS);
    rig.shard.kernel_dropped(rig.now, 7);
    rig.shard.kernel_dropped(rig.now, 3);
    rig.pass(MS * 1_000);
    rig.pass(MS * 1_000);
    let told: Vec<_> = rig
        .shard
        .take_events()
        .into_iter()
        .filter_map(|event| match event.kind {
            MediaEventKind::Event(told) => Some((event.call.to_string(), told.text)),
            _ => None,
        })
        .collect();
    let text = "kernel_drops: the kernel dropped 10 datagrams of the socket of this leg";
    assert_eq!(
        told,
        ["c", "d"].map(|call| (call.to_owned(), text.to_owned()))
    );
}

#[test]
fn a_leg_alone_is_told_what_the_kernel_dropped_at_its_own_socket() {
    let mut rig = Rig::new();
    rig.open("c");
    for (leg, source) in [("caller", A), ("callee", B)] {
        rig.place("c", leg, source).unwrap();
    }
    rig.open("d");
    let callee = LegKey {
        session: rig.key("c"),
        leg: rig.leg("c", "callee"),
    };
    rig.pass(MS);
    rig.shard.own_kernel_dropped(rig.now, Some(callee), 7);
    rig.shard.own_kernel_dropped(rig.now, Some(callee), 3);
    // At a port whose leg is still to be placed: counted, and nobody's.
    rig.shard.own_kernel_dropped(rig.now, None, 5);
    rig.pass(MS * 1_000);
    rig.pass(MS * 1_000);
    let told: Vec<_> = rig
        .shard
        .take_events()
        .into_iter()
        .filter_map(|event| match event.kind {
            MediaEventKind::Event(told) => Some((event.call.to_string(), told.leg, told.text)),
            _ => None,
        })
        .collect();
    let text = "kernel_drops: the kernel dropped 10 datagrams of the socket of this leg";
    let callee = Some(Leg::callee());
    assert_eq!(told, [("c".to_owned(), callee, text.to_owned())]);
    assert_eq!(rig.shard.counters().kernel_drops(), 15);
}

#[test]
fn what_comes_to_a_reserved_port_is_held_for_half_a_second() {
    let mut rig = Rig::new();
    rig.open("c");
    let source: SocketAddr = A.parse().unwrap();
    let mut bytes = [0; 172];
    for (seq, age) in [(1, 600), (2, 400), (3, 0)] {
        bytes[..12].copy_from_slice(&[0x80, 0, 0, seq, 0, 0, seq, 0, 0, 0, 0, 1]);
        let arrived = rig.now + MS * (600 - age);
        rig.shard.own_datagram(arrived, None, source, &bytes);
    }
    rig.pass(MS * 600);
    rig.place("c", "caller", A).unwrap();
    rig.hang_up("c");
    assert_eq!(rig.closed(), [("c".to_owned(), Some(2))]);
}

#[test]
fn a_panic_in_one_call_ends_that_call_and_no_other() {
    let mut rig = Rig::new();
    for (call, source) in [("c", A), ("d", B)] {
        rig.open(call);
        rig.place(call, "caller", source).unwrap();
    }
    let key = rig.key("c");
    let now = rig.now;
    rig.shard.contain(now, key, |_| panic!("scripted"));
    assert_eq!(rig.closed(), [("c".to_owned(), None)]);
    assert_eq!(rig.shard.counters().panics(), 1);
    rig.send(B, 1);
    // Its source is free again, and so is its name.
    rig.open("c");
    rig.place("c", "caller", A).unwrap();
    rig.send(A, 1);
    rig.hang_up("d");
    rig.hang_up("c");
    assert_eq!(
        rig.closed(),
        [("d".to_owned(), Some(1)), ("c".to_owned(), Some(1))]
    );
}

#[test]
fn a_panic_elsewhere_ends_all_calls_and_the_room_goes_on() {
    let mut rig = Rig::new();
    for (call, source) in [("c", A), ("d", B)] {
        rig.open(call);
        rig.place(call, "caller", source).unwrap();
    }
    rig.shard.reset();
    assert_eq!(rig.closed().len(), 2);
    assert_eq!(rig.shard.counters().panics(), 1);
    rig.open("c");
    rig.place("c", "caller", B).unwrap();
    rig.send(B, 1);
    rig.hang_up("c");
    assert_eq!(rig.closed(), [("c".to_owned(), Some(1))]);
}

#[test]
fn a_tick_that_comes_late_changes_nothing() {
    // A pause in which the sentence ends, and in which a packet is given up.
    let heard = [1, 20, 5000].map(|tick| {
        let mut rig = Rig::new();
        rig.open("c");
        rig.place("c", "caller", A).unwrap();
        let next = rig.speak(A, 0);
        rig.send(A, next + 1);
        for _ in 0..1000 / tick {
            rig.pass(MS * tick);
        }
        rig.now += MS * (1000 % tick);
        let next = rig.speak(A, next + 50);
        rig.send(A, next);
        rig.hang_up("c");
        while !rig.shard.is_empty() {
            let answer = rig.answers.recv().unwrap();
            rig.shard.answer(rig.now, answer);
        }
        let events = rig.shard.take_events().into_iter();
        let told = events.filter_map(|event| match event.kind {
            MediaEventKind::Stats(_) | MediaEventKind::Partial(_) | MediaEventKind::Idle => None,
            told => Some(format!("{told:?}")),
        });
        told.collect::<Vec<_>>()
    });
    assert!(heard[0].len() > 2, "{heard:?}");
    assert_eq!(heard[0], heard[1]);
    assert_eq!(heard[0], heard[2]);
}

#[test]
fn what_the_kernel_dropped_is_counted_beside_what_came() {
    let mut rig = Rig::new();
    rig.shard.kernel_dropped(rig.now, 7);
    rig.shard.kernel_dropped(rig.now, 3);
    rig.send(A, 1);
    rig.pass(MS);
    let counters = rig.shard.counters();
    assert_eq!((counters.kernel_drops(), counters.datagrams()), (10, 1));
}

#[test]
fn a_slot_that_is_used_again_does_not_hear_its_former_call() {
    let mut rig = Rig::new();
    rig.open("c");
    let former = rig.key("c");
    rig.place("c", "caller", A).unwrap();
    rig.hang_up("c");
    rig.open("d");
    assert_ne!(rig.key("d"), former);
    assert!(rig.shard.residents.get_mut(former).is_none());
    let (now, job) = (rig.now, SessionInput::Hangup);
    rig.shard.feed(now, former, job);
    assert!(rig.shard.residents.get_mut(rig.key("d")).is_some());
}
