//! Calls of people through the whole server with real weights: each call has its own words, also
//! when the engine changes within it, workers are killed, it has to wait or is heard once more.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::thread;
use std::time::Duration;

use asterscribe_codecs::g711;
use asterscribe_testkit::pcap::Packet;
use asterscribe_testkit::real_speech::{List, RealSpeech};
use asterscribe_testkit::rtp::Sender;
use asterscribe_testkit::server::Server;
use asterscribe_testkit::words::WordErrors;
use asterscribe_testkit::{account, children, host, spoken};
use serde_json::{Value, json};

use crate::api::rig::{BINARY, await_answer, await_lines, get, hang_up, lines, register_leg};
use crate::recognition::people_rig::{Said, every, material};

/// Recognition takes its time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Calls at the same time, and prompts of each.
const CALLS: usize = 4;
const PROMPTS: usize = 3;

/// Somebody who says some prompts, a second and a half between them.
#[derive(Debug)]
struct Speaker {
    call: String,
    leg: &'static str,
    said: Vec<Said>,
}

impl Speaker {
    /// So many of them, each with other prompts.
    fn some(material: &RealSpeech, calls: usize) -> Vec<Self> {
        let all = every(material, List::ENGLISH, 7);
        let mut long = all
            .into_iter()
            .filter(|said| said.sound.len() > 8000 * 3 / 2);
        (0..calls)
            .map(|n| Self {
                call: format!("call-{n}"),
                leg: "caller",
                said: long.by_ref().take(PROMPTS).collect(),
            })
            .collect()
    }

    fn text(&self) -> String {
        let texts: Vec<_> = self.said.iter().map(|said| said.text.as_str()).collect();
        texts.join(" ")
    }

    fn packets(&self, number: u16) -> Vec<Packet> {
        let mut samples = vec![0; 4000];
        for said in &self.said {
            samples.extend(&said.sound);
            samples.extend([0; 12_000]);
        }
        let packet = |(n, part): (usize, &[i16])| {
            let count = u32::try_from(n).unwrap();
            let mut payload = vec![0x80, 0];
            payload.extend(u16::try_from(n).unwrap().to_be_bytes());
            payload.extend((count * 160).to_be_bytes());
            payload.extend(u32::from(number + 1).to_be_bytes());
            payload.extend(part.iter().map(|&sample| g711::encode_ulaw(sample)));
            Packet {
                at: Duration::from_millis(u64::from(count) * 20),
                source: SocketAddrV4::new(Ipv4Addr::LOCALHOST, number),
                destination: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9),
                payload,
            }
        };
        samples.chunks_exact(160).enumerate().map(packet).collect()
    }

    /// Words wrong, of those that were said.
    fn errors(&self, transcript: &Value) -> WordErrors {
        let heard: Vec<_> = lines(transcript)
            .iter()
            .map(|line| line["text"].as_str().unwrap_or_default())
            .collect();
        spoken::word_errors("en", &self.text(), &heard.join(" "))
    }
}

/// Registers them, lets all of them speak, and does something meanwhile.
fn converse(server: &Server, speakers: &[Speaker], meanwhile: impl FnOnce(&dyn Fn() -> bool)) {
    let numbered = speakers.iter().zip(0u16..);
    let packets: Vec<Packet> = numbered.flat_map(|(one, n)| one.packets(n)).collect();
    let sender = Sender::new(&packets).unwrap();
    let register = |flow: &asterscribe_testkit::rtp::Flow| -> SocketAddr {
        let speaker = &speakers[usize::from(flow.recorded_source.port())];
        let answer = register_leg(server, &speaker.call, speaker.leg, flow.source);
        assert_eq!(answer.status, 201, "{}", answer.text);
        let to = answer.json()["send_to"].clone();
        let to = format!("{}:{}", to["host"].as_str().unwrap(), to["port"]);
        to.parse().unwrap()
    };
    let targets: Vec<_> = sender.flows().iter().map(register).collect();
    thread::scope(|scope| {
        let playing = scope.spawn(|| sender.play(&targets, 2.0).unwrap());
        meanwhile(&|| playing.is_finished());
    });
}

/// Each call has its own words, but for a few that the model hears otherwise.
#[track_caller]
fn assert_own_words(speakers: &[Speaker], transcripts: &[Value]) {
    for (speaker, transcript) in speakers.iter().zip(transcripts) {
        let errors = speaker.errors(transcript);
        let told = format!("{errors:?}\nsaid: {}\n{transcript:#}", speaker.text());
        assert!(errors.total() * 10 <= errors.reference, "{told}");
    }
}

fn await_patiently(server: &Server, call: &str) -> Value {
    let path = format!("/api/call/{call}/transcript");
    let look = || {
        let told = server.get(&path).ok()?.json();
        (told["complete"] == true).then_some(told)
    };
    let told = host::poll_until(host::now() + PATIENCE, look);
    account::assert_conserved(&get(server, &format!("/api/call/{call}/status")));
    told.unwrap_or_else(|| panic!("{call} was never complete: {:?}", server.get(&path)))
}

fn finish(server: &Server, speakers: &[Speaker]) -> Vec<Value> {
    for speaker in speakers {
        hang_up(server, &speaker.call);
    }
    let finished = speakers.iter();
    let finished = finished.map(|speaker| await_patiently(server, &speaker.call));
    finished.collect()
}

fn start(material: &RealSpeech, name: &str, settings: &[(&str, &str)]) -> Server {
    let folder = material.models().display().to_string();
    let own = [
        ("WHISPER_MODELS_DIR", folder.as_str()),
        ("WHISPER_MODEL_SIZE", name),
        ("WHISPER_LANGUAGE", "en"),
        ("STT_WORKERS", "2"),
    ];
    Server::start(BINARY, &[&own, settings].concat()).unwrap()
}

#[test]
fn each_call_has_its_own_words_though_they_are_decoded_together_and_workers_are_killed() {
    let Some(material) = material() else { return };
    let server = start(&material, "tiny.en", &[]);
    let view = get(&server, "/api/model");
    assert_eq!(
        (&view["name"], &view["engine"]),
        (&json!("faster-whisper-tiny.en"), &json!("CTranslate2"))
    );
    let speakers = Speaker::some(&material, CALLS);
    let spoken = || {
        let all = speakers.iter();
        let all = all
            .map(|one| lines(&get(&server, &format!("/api/call/{}/transcript", one.call))).len());
        all.sum::<usize>()
    };
    converse(&server, &speakers, |_| {
        // In the middle of it, twice.
        for lines in [1, CALLS] {
            let reached = host::wait_until(host::now() + PATIENCE, || spoken() >= lines);
            assert!(reached, "no line came");
            for worker in children::of(server.id().unwrap()).unwrap() {
                let _gone = children::kill(worker).is_err();
            }
        }
    });
    assert_own_words(&speakers, &finish(&server, &speakers));
}

#[test]
fn engines_take_over_from_each_other_within_a_call() {
    let Some(material) = material() else { return };
    let server = start(&material, "tiny.en", &[]);
    // Two parties of one call, of whom one speaks before and the other one after.
    let [first, second] = <[Speaker; 2]>::try_from(Speaker::some(&material, 2)).unwrap();
    let second = Speaker {
        call: first.call.clone(),
        leg: "callee",
        ..second
    };
    converse(&server, std::slice::from_ref(&first), |_| {
        await_lines(&server, &first.call, 1);
    });
    let body = json!({"name": "tiny.en-q8_0"});
    assert_eq!(server.post("/api/model", &body).unwrap().status, 202);
    let view = await_answer(&server, "/api/model", |model| model["state"] != "loading");
    assert_eq!(
        (&view["state"], &view["engine"]),
        (&json!("ready"), &json!("whisper.cpp"))
    );
    converse(&server, std::slice::from_ref(&second), |_| {});
    let transcripts = finish(&server, std::slice::from_ref(&first));
    let both = Speaker {
        said: [first.said, second.said].concat(),
        ..first
    };
    assert_own_words(&[both], &transcripts);
    let models: Vec<_> = lines(&transcripts[0])
        .iter()
        .map(|line| line["model"].as_str().unwrap_or_default())
        .collect();
    let starts = |name: &str| {
        models
            .iter()
            .filter(|model| model.starts_with(name))
            .count()
    };
    assert!(starts("faster-whisper-tiny.en@") > 0, "{models:?}");
    assert!(starts("ggml-tiny.en-q8_0.bin@") > 0, "{models:?}");
    // And back.
    let body = json!({"name": "tiny.en"});
    assert_eq!(server.post("/api/model", &body).unwrap().status, 202);
    let view = await_answer(&server, "/api/model", |model| model["state"] != "loading");
    assert_eq!(view["engine"], "CTranslate2");
    // What does not load changes nothing.
    let broken = server
        .post("/api/model", &json!({"name": "small"}))
        .unwrap();
    assert_eq!(broken.status, 422, "{}", broken.text);
    assert_eq!(get(&server, "/api/model")["engine"], "CTranslate2");
}

#[test]
fn what_has_to_wait_and_what_is_heard_once_more_gets_its_words_from_a_folder() {
    let Some(material) = material() else { return };
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool.db").display().to_string();
    let settings = [
        ("SPOOL_PATH", spool.as_str()),
        ("SECOND_PASS_MODEL", "base"),
        ("STT_QUEUE", "1"),
    ];
    let server = start(&material, "tiny.en", &settings);
    let speakers = Speaker::some(&material, 2);
    converse(&server, &speakers, |_| {});
    let transcripts = finish(&server, &speakers);
    assert_own_words(&speakers, &transcripts);
    for line in transcripts.iter().flat_map(lines) {
        let model = line["model"].as_str().unwrap_or_default();
        assert!(model.starts_with("faster-whisper-base@"), "{line}");
    }
    assert!(Path::new(&spool).exists());
}

#[test]
fn what_is_being_said_is_told_meanwhile() {
    let Some(material) = material() else { return };
    let server = start(&material, "tiny.en", &[("PARTIAL_RESULTS", "on")]);
    let long = every(&material, List::ENGLISH, 1);
    let long = long
        .into_iter()
        .find(|said| said.sound.len() > 8000 * 6)
        .unwrap();
    let speakers = [Speaker {
        call: "talker".to_owned(),
        leg: "caller",
        said: vec![long],
    }];
    let mut partial = None;
    converse(&server, &speakers, |has_ended| {
        let look = || {
            let told = get(&server, "/api/call/talker/transcript");
            let drafts = told["partials"].as_array()?;
            let text = drafts.first()?["text"].as_str()?.to_owned();
            (!text.is_empty()).then_some(text)
        };
        partial = host::poll_until(host::now() + PATIENCE, || {
            look().map(Some).or_else(|| has_ended().then_some(None))
        });
    });
    let partial = partial.flatten().expect("no partial result came");
    let transcripts = finish(&server, &speakers);
    assert_own_words(&speakers, &transcripts);
    let first = partial.split_whitespace().next().unwrap().to_lowercase();
    let text = speakers[0].text().to_lowercase();
    assert!(
        text.contains(first.trim_matches(|c: char| !c.is_alphanumeric())),
        "{partial:?} of {text:?}"
    );
}
