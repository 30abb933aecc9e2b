//! Separation of calls: the words of a call stand in its own transcript, once, and in no other,
//! whatever happens to the processes that recognise them.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use asterscribe_codecs::g711;
use asterscribe_recognition::model::SpeechModel;
use asterscribe_recognition::workers::{WorkerProgram, WorkerStarter};
use asterscribe_recognition::{JobUrgency, RecognitionTask, SpeakerLeg};
use asterscribe_speech::DecodeOptions;
use asterscribe_testkit::pcap::Packet;
use asterscribe_testkit::rtp::Sender;
use asterscribe_testkit::server::Server;
use asterscribe_testkit::wav::Sound;
use asterscribe_testkit::words::WordErrors;
use asterscribe_testkit::{children, fixture, host};
use crossbeam_channel::bounded;

use crate::api::rig::{BINARY, await_complete, hang_up, lines, register_leg};
use crate::recognition::faults::faulty_worker;
use crate::replay::rig::Chance;

const CALLS: i16 = 64;
const UTTERANCES: i16 = 60;

/// Time between two kills: no job can be lost three times by chance.
const PEACE: Duration = Duration::from_millis(60);

#[test]
fn thousands_of_utterances_come_back_to_their_own_calls_though_workers_are_killed() {
    let program = WorkerProgram {
        in_background: false,
        margins: None,
        command: vec![faulty_worker().into(), "echo".into()],
    };
    let recogniser = WorkerStarter::start(program, SpeechModel::demo().unwrap(), 4).unwrap();
    let pool = recogniser.pool::<(i16, i16)>(256, None).unwrap();
    let (stop, kills) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut heard = Vec::new();
    thread::scope(|scope| {
        let (reply, answers) = bounded(1024);
        scope.spawn(|| kill_at_random(&stop, &kills));
        for call in 0..CALLS {
            let (handle, reply) = (pool.handle(), reply.clone());
            scope.spawn(move || {
                for n in 0..UTTERANCES {
                    handle.submit((call, n), task(call, n), &reply).unwrap();
                    // As a call does: not everything at once.
                    thread::yield_now();
                }
            });
        }
        drop(reply);
        heard.extend(answers);
        stop.store(true, Ordering::Relaxed);
    });
    let mut answered = BTreeSet::new();
    for answer in heard {
        let (call, n) = answer.ticket;
        let text = answer.result.unwrap().text;
        assert_eq!(text, format!("call {call} utterance {n}"));
        assert!(answered.insert((call, n)), "answered twice: {text}");
    }
    assert_eq!(answered.len(), usize::try_from(CALLS * UTTERANCES).unwrap());
    assert!(kills.load(Ordering::Relaxed) > 3, "nothing was disturbed");
}

fn task(call: i16, n: i16) -> RecognitionTask {
    let mut samples = vec![0; 1600 + usize::try_from(n).unwrap() * 160];
    (samples[0], samples[1]) = (call, n);
    RecognitionTask {
        samples,
        choices: Arc::new(DecodeOptions::default()),
        urgency: JobUrgency::Final,
        speaker: SpeakerLeg::new(u64::try_from(call).unwrap(), 0),
        spoken: host::now(),
    }
}

/// Kills one worker of this very process after the other.
fn kill_at_random(stop: &AtomicBool, kills: &AtomicU64) {
    let mut chance = Chance::new(7);
    while !stop.load(Ordering::Relaxed) {
        let workers = echoes(std::process::id());
        if !workers.is_empty() {
            let worker = workers[chance.below(workers.len())];
            // It may have ended by itself meanwhile.
            if children::kill(worker).is_ok() {
                kills.fetch_add(1, Ordering::Relaxed);
            }
        }
        thread::sleep(PEACE);
    }
}

/// Workers that this test has started; other tests of this process have workers, too.
fn echoes(parent: u32) -> Vec<u32> {
    let is_echo = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(5).any(|part| part == b"echo\0")
    };
    let all = children::of(parent).unwrap_or_default();
    all.into_iter().filter(is_echo).collect()
}

/// Calls at the same time, each of which says the same sentences in an order of its own.
const SPEAKERS: u16 = 8;

const SENTENCES: [&str; 6] = [
    "phone-problem",
    "account-number",
    "call-back",
    "internet-works",
    "thanks-for-help",
    "good-day",
];

#[test]
fn each_call_has_its_own_words_in_its_own_order_though_workers_are_killed() {
    let server = Server::start(BINARY, &[("STT_WORKERS", "2")]).unwrap();
    let packets: Vec<Packet> = (0..SPEAKERS).flat_map(speech).collect();
    let sender = Sender::new(&packets).unwrap();
    let targets: Vec<SocketAddr> = sender
        .flows()
        .iter()
        .map(|flow| {
            let call = format!("call-{}", flow.recorded_source.port());
            let answer = register_leg(&server, &call, "caller", flow.source);
            assert_eq!(answer.status, 201, "{}", answer.text);
            let to = answer.json()["send_to"].clone();
            format!("{}:{}", to["host"].as_str().unwrap(), to["port"])
                .parse()
                .unwrap()
        })
        .collect();
    thread::scope(|scope| {
        let playing = scope.spawn(|| sender.play(&targets, 2.0).unwrap());
        let mut chance = Chance::new(3);
        while !playing.is_finished() {
            let workers = children::of(server.id().unwrap()).unwrap();
            if !workers.is_empty() {
                let worker = workers[chance.below(workers.len())];
                let _gone = children::kill(worker).is_err();
            }
            thread::sleep(Duration::from_secs(2));
        }
    });
    for speaker in 0..SPEAKERS {
        let call = format!("call-{speaker}");
        hang_up(&server, &call);
        let transcript = await_complete(&server, &call);
        let heard: Vec<_> = lines(&transcript)
            .iter()
            .map(|line| line["text"].as_str().unwrap())
            .collect();
        let said = order(speaker).map(text).collect::<Vec<_>>().join(" ");
        let errors = WordErrors::between(&said, &heard.join(" "));
        assert_eq!(errors.total(), 0, "{call}\n said: {said}\nheard: {heard:?}");
    }
}

fn order(speaker: u16) -> impl Iterator<Item = &'static str> {
    let first = usize::from(speaker) % SENTENCES.len();
    let step = if speaker.is_multiple_of(2) { 1 } else { 5 };
    (0..SENTENCES.len()).map(move |n| SENTENCES[(first + n * step) % SENTENCES.len()])
}

fn text(prompt: &str) -> String {
    let path = fixture::path(&format!("prompts/{prompt}.txt"));
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

/// A speaker's sentences with a second of silence around each, as packets of 20 ms.
fn speech(speaker: u16) -> Vec<Packet> {
    let mut samples = vec![0; 8000];
    for prompt in order(speaker) {
        let path = fixture::path(&format!("prompts/{prompt}.wav"));
        samples.extend(Sound::read(&path).unwrap().samples);
        samples.extend([0; 8000]);
    }
    let packet = |(n, part): (usize, &[i16])| {
        let number = u32::try_from(n).unwrap();
        let mut payload = vec![0x80, 0];
        payload.extend(u16::try_from(n).unwrap().to_be_bytes());
        payload.extend((number * 160).to_be_bytes());
        payload.extend(u32::from(speaker + 1).to_be_bytes());
        payload.extend(part.iter().map(|&sample| g711::encode_ulaw(sample)));
        Packet {
            at: Duration::from_millis(u64::from(number) * 20),
            source: SocketAddrV4::new(Ipv4Addr::LOCALHOST, speaker),
            destination: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9),
            payload,
        }
    };
    samples.chunks_exact(160).enumerate().map(packet).collect()
}
