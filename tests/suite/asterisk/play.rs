//! Sounds played to a call reach its other party, whom Asterisk records.

use std::fs;
use std::path::Path;

use asterscribe_testkit::asterisk::{self, Instance, Options, Release};
use asterscribe_testkit::scenario::prompt_file;
use asterscribe_testkit::server::Server;
use asterscribe_testkit::wav::Sound;
use asterscribe_testkit::{available, host};
use serde_json::{Value, json};

use super::{BINARY, Rig, SOON, settings};
use crate::media::rtp_ports::{range, says};

const PROMPT: &str = "account-number";

/// Asterisk with a party that is recorded into `heard`, and the server beside it.
fn rig(heard: &Path, media_format: &'static str) -> Option<Rig> {
    rig_with(heard, &[("MEDIA_FORMAT", media_format)])
}

/// Asterisk with a party that is recorded into `heard`, and a server with settings of its own.
fn rig_with(heard: &Path, own: &[(&'static str, &str)]) -> Option<Rig> {
    let root = available(asterisk::install(Release::V22))?;
    let mut options = Options::default();
    options
        .modules
        .extend(["app_record", "codec_g722"].map(str::to_owned));
    // No beep, no end by silence, keep it after the hang-up.
    options.extensions.push_str(&format!(
        "exten => listener,1,Answer()\n same => n,Record({},0,0,qk)\n",
        heard.display()
    ));
    let asterisk = Instance::start(&root, &options).unwrap();
    let mut settings = [&settings(&asterisk), own].concat();
    settings.push((
        "PLAY_DIR",
        prompt_file(PROMPT, "wav")
            .parent()?
            .display()
            .to_string()
            .leak(),
    ));
    let server = Server::start(BINARY, &settings).unwrap();
    let rig = Rig { asterisk, server };
    rig.await_connected();
    Some(rig)
}

/// A call into our application whose other party listens.
fn call_listener(rig: &Rig, id: &str, formats: &str) {
    let query = [
        ("endpoint", "Local/listener@kit/n"),
        ("context", "kit"),
        ("extension", "stasis"),
        ("priority", "1"),
        ("channelId", id),
        ("formats", formats),
    ];
    rig.asterisk
        .ari_ok("POST", "/channels", &query, None)
        .unwrap();
    rig.await_answer(&format!("/api/call/{id}/status"), SOON, |status| {
        status["legs"][0]["source"].is_string()
    });
}

fn await_finished(rig: &Rig, id: &str) {
    let finished = |status: &Value| {
        status["events"].as_array().is_some_and(|events| {
            events
                .iter()
                .any(|event| event["kind"] == "playback_finished")
        })
    };
    rig.await_answer(&format!("/api/call/{id}/status"), SOON, finished);
}

/// Ends the call; the result is the recording of its other party.
fn recording(rig: &Rig, id: &str, file: &Path) -> Sound {
    rig.asterisk
        .ari_ok("DELETE", &format!("/channels/{id}"), &[], None)
        .unwrap();
    rig.await_complete(id);
    rig.assert_nothing_left();
    let complete = || {
        Sound::read(file)
            .ok()
            .filter(|sound| !sound.samples.is_empty())
    };
    host::poll_until(host::now() + SOON, complete).expect("Asterisk has recorded nothing")
}

/// Place in `heard` at which the piece fits best, and how well: 1 is exactly.
fn find(piece: &[i16], heard: &[i16]) -> (usize, f64) {
    let dot = |a: &[i16], b: &[i16]| {
        let products = a.iter().zip(b).map(|(a, b)| i64::from(*a) * i64::from(*b));
        products.sum::<i64>() as f64
    };
    let own = dot(piece, piece);
    let scored = heard.windows(piece.len()).map(|there| {
        let energy = dot(there, there);
        dot(piece, there) / (own * energy).sqrt().max(1.0)
    });
    scored
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap()
}

/// Checks that a loud piece near the beginning, in the middle and near the end are all there, and
/// as far apart as they were: not a packet between them is missing.
#[expect(clippy::print_stdout, reason = "for whoever looks at the likeness")]
fn assert_heard(prompt: &Sound, heard: &Sound, likeness: f64) {
    assert_eq!(prompt.rate, heard.rate);
    let length = prompt.rate as usize / 5;
    let third = prompt.samples.len() / 3;
    let loudest = |part: usize| {
        let starts = (part * third..(part + 1) * third - length).step_by(length / 4);
        let energy = |start: usize| {
            let piece = prompt.samples[start..start + length].iter();
            piece.map(|s| i64::from(*s) * i64::from(*s)).sum::<i64>()
        };
        starts.max_by_key(|start| energy(*start)).unwrap()
    };
    let mut shifts = Vec::new();
    for start in (0..3).map(loudest) {
        let piece = &prompt.samples[start..start + length];
        let (place, score) = find(piece, &heard.samples);
        println!("{start}: found at {place}, likeness {score:.4}");
        assert!(score > likeness, "{start}: {score} at {place}");
        shifts.push(place as i64 - start as i64);
    }
    let (first, last) = (shifts.iter().min().unwrap(), shifts.iter().max().unwrap());
    assert!(last - first <= 1, "the sound was torn apart: {shifts:?}");
}

#[test]
fn a_prompt_in_ulaw_is_heard_by_the_other_party() {
    let folder = tempfile::tempdir().unwrap();
    let heard = folder.path().join("heard.wav");
    let Some(rig) = rig(&heard, "ulaw") else {
        return;
    };
    call_listener(&rig, "hears-1", "ulaw");
    let path = "/api/call/hears-1/play";
    let body = json!({"file": format!("{PROMPT}.wav")});
    let answer = rig.server.post(path, &body).unwrap();
    assert_eq!(
        (answer.status, &answer.json()["format"]),
        (202, &"ulaw".into())
    );
    await_finished(&rig, "hears-1");
    let heard = recording(&rig, "hears-1", &heard);
    let prompt = Sound::read(&prompt_file(PROMPT, "wav")).unwrap();
    assert_heard(&prompt, &heard, 0.99);
}

#[test]
fn a_prompt_from_a_legs_own_port_is_heard_under_strict_rtp() {
    let folder = tempfile::tempdir().unwrap();
    let heard = folder.path().join("heard.wav");
    let ports = range(2);
    let own = [("RTP_MODE", "per-call"), ("RTP_PORTS", ports.as_str())];
    let Some(rig) = rig_with(&heard, &own) else {
        return;
    };
    let rtp = rig.asterisk.cli("rtp show settings").unwrap();
    let strict = rtp.lines().find(|line| line.contains("Strict RTP:"));
    assert!(strict.is_some_and(|line| line.contains("Yes")), "{rtp}");
    call_listener(&rig, "hears-3", "ulaw");
    let body = json!({"file": format!("{PROMPT}.wav")});
    let answer = rig.server.post("/api/call/hears-3/play", &body).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text);
    await_finished(&rig, "hears-3");
    let health = rig.get("/health");
    assert!(says(&health, "1 free, 0 resting, 1 leased"), "{health}");
    let heard = recording(&rig, "hears-3", &heard);
    let prompt = Sound::read(&prompt_file(PROMPT, "wav")).unwrap();
    assert_heard(&prompt, &heard, 0.99);
}

#[test]
fn a_prompt_in_g722_is_heard_in_wide_band() {
    let folder = tempfile::tempdir().unwrap();
    let heard = folder.path().join("heard.wav16");
    let Some(rig) = rig(&heard, "slin16") else {
        return;
    };
    call_listener(&rig, "hears-2", "slin16");
    let wav = fs::read(prompt_file(PROMPT, "wav16")).unwrap();
    let answer = rig
        .server
        .upload("/api/call/hears-2/play", "audio/wav", &wav)
        .unwrap();
    assert_eq!(
        (answer.status, &answer.json()["format"]),
        (202, &"g722".into())
    );
    await_finished(&rig, "hears-2");
    let heard = recording(&rig, "hears-2", &heard);
    let prompt = Sound::read(&prompt_file(PROMPT, "wav16")).unwrap();
    assert_heard(&prompt, &heard, 0.95);
}

#[test]
fn a_tapped_call_is_not_played_to() {
    let Some(rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_between_parties("pair-9");
    let tapped = rig
        .server
        .post("/api/call/pair-9/transcribe", &Value::Null)
        .unwrap();
    assert_eq!(tapped.status, 202, "{}", tapped.text);
    rig.await_answer("/api/call/pair-9/status", SOON, |status| {
        status["legs"]
            .as_array()
            .is_some_and(|legs| legs.len() == 2)
    });
    let wav = fs::read(prompt_file(PROMPT, "wav")).unwrap();
    let path = "/api/call/pair-9/play?leg=caller";
    let answer = rig.server.upload(path, "audio/wav", &wav).unwrap();
    assert_eq!(answer.status, 409, "{}", answer.text);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("tap"), "{detail}");
    rig.server
        .post("/api/call/pair-9/hangup", &Value::Null)
        .unwrap();
    rig.assert_nothing_left();
}
