//! A live call is captured, downloaded and replayed: the running server, real
//! sockets, real time.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use asterscribe_testkit::fixture::Fixture;
use asterscribe_testkit::pcap::Packet;
use asterscribe_testkit::rtp::Sender;
use asterscribe_testkit::server::Server;
use asterscribe_testkit::{Response, host};
use serde_json::{Value, json};

use crate::api::rig::{
    BINARY, SOON, assert_problem, await_answer, await_complete, command, get, hang_up, lines,
    register_leg, speak_for,
};
use crate::replay::rig::{Chance, file, program};

const FIXTURE: &str = "asterisk22_ulaw_snoop_pair";

/// Packets behind an emulated network: one in thirty is lost, some come twice, and all wait up to
/// 70 ms, so that many overtake others.
fn through_a_network(packets: &[Packet]) -> Vec<Packet> {
    let mut chance = Chance::new(7);
    let mut arriving = Vec::new();
    for packet in packets {
        if chance.below(30) == 0 {
            continue;
        }
        let mut packet = packet.clone();
        packet.at += Duration::from_micros(chance.below(70_000) as u64);
        if chance.percent(2) {
            arriving.push(packet.clone());
        }
        arriving.push(packet);
    }
    arriving.sort_by_key(|packet| packet.at);
    arriving
}

fn server(settings: &[(&str, &str)]) -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("captures").display().to_string();
    let mut all = vec![("CAPTURE_DIR", folder.as_str())];
    all.extend(settings);
    (Server::start(BINARY, &all).unwrap(), dir)
}

fn capture_path(call: &str) -> String {
    format!("/api/call/{call}/capture")
}

fn start(server: &Server, call: &str) -> Response {
    command(server, &capture_path(call))
}

fn stop(server: &Server, call: &str) -> Response {
    let path = capture_path(call);
    server.request("DELETE", &path, &[], None).unwrap()
}

/// Downloads the capture of a call.
fn download(server: &Server, call: &str) -> Vec<u8> {
    let answer = server.get(&capture_path(call)).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/x-pcapng");
    assert_eq!(
        answer.headers["content-length"],
        answer.bytes.len().to_string()
    );
    answer.bytes
}

/// Report that `asterscribe replay` prints of the capture, and its warning.
fn replayed(capture: &[u8]) -> (Value, String) {
    let capture = file(capture);
    let output = program(capture.path(), "json");
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{warning}");
    (serde_json::from_slice(&output.stdout).unwrap(), warning)
}

fn state(server: &Server, call: &str) -> Value {
    get(server, &format!("/api/call/{call}/status"))["capture"].clone()
}

#[track_caller]
fn assert_replay_is_the_call(server: &Server, call: &str, report: &Value) {
    let status = get(server, &format!("/api/call/{call}/status"));
    let transcript = get(server, &format!("/api/call/{call}/transcript"));
    assert_eq!(report["lines"], transcript["lines"]);
    let legs = status["legs"].as_array().unwrap();
    let flows = report["flows"].as_array().unwrap();
    assert_eq!(flows.len(), legs.len());
    for (flow, leg) in flows.iter().zip(legs) {
        for field in ["leg", "stats", "audio"] {
            assert_eq!(flow[field], leg[field], "{field} of {leg}");
        }
        assert_eq!(flow["from"], leg["source"]);
    }
    assert_eq!(report["capture"]["call_id"], call);
    assert_eq!(report["capture"]["lost"], 0, "{report}");
}

#[test]
fn a_live_call_is_replayed_to_the_millisecond_and_the_packet() {
    let (server, _dir) = server(&[]);
    let call = "tapped-1";
    let fixture = Fixture::load(FIXTURE).unwrap();
    let packets = through_a_network(&fixture.packets);
    let (sender, targets) = speak_for(&server, call, &fixture, &packets);
    let answer = start(&server, call);
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.headers["location"], capture_path(call));
    assert_eq!(answer.json()["running"], true);
    thread::scope(|scope| {
        scope.spawn(|| sender.play(&targets, 1.0).unwrap());
        // While it runs there is a file, and it is whole.
        await_answer(&server, &format!("/api/call/{call}/status"), |status| {
            status["capture"]["packets"].as_u64() > Some(300)
        });
        let (early, warning) = replayed(&download(&server, call));
        assert_eq!(warning, "");
        assert!(early["datagrams"].as_u64() > Some(300), "{early}");
    });
    let status_path = format!("/api/call/{call}/status");
    await_answer(&server, &status_path, |status| {
        status["capture"]["packets"] == packets.len()
    });
    hang_up(&server, call);
    await_complete(&server, call);
    let status = await_answer(&server, &status_path, |status| {
        let events = status["events"].as_array().map_or(&[][..], Vec::as_slice);
        status["capture"]["running"] == false
            && status["status"] == "ended"
            && events
                .iter()
                .any(|event| event["kind"] == "capture_stopped")
    });
    let capture = &status["capture"];
    assert_eq!(capture["packets"], packets.len(), "{capture}");
    assert_eq!(
        (&capture["rolled_off"], &capture["lost"]),
        (&json!(0), &json!(0))
    );
    let kinds: Vec<_> = status["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .filter(|kind| kind.starts_with("capture"))
        .collect();
    assert_eq!(kinds, ["capture_started", "capture_stopped"]);
    let (report, warning) = replayed(&download(&server, call));
    assert_eq!(warning, "");
    assert_replay_is_the_call(&server, call, &report);
    for leg in status["legs"].as_array().unwrap() {
        let stats = &leg["stats"];
        assert!(stats["lost"].as_u64() > Some(20), "{stats}");
        assert!(stats["reordered"].as_u64() > Some(100), "{stats}");
    }
}

#[test]
fn what_cannot_be_captured_is_refused_with_the_reason() {
    let bare = Server::start(BINARY, &[]).unwrap();
    let answer = start(&bare, "none-1");
    assert_problem(&answer, &capture_path("none-1"), 422, "unprocessable");
    assert!(answer.text.contains("CAPTURE_DIR"), "{}", answer.text);

    let (server, _dir) = server(&[("CAPTURE_MAX_BYTES", "1000000")]);
    let (call, path) = ("call-1", capture_path("call-1"));
    assert_problem(&start(&server, call), &path, 404, "unknown-call");
    assert_problem(&server.get(&path).unwrap(), &path, 404, "unknown-call");
    let source = "127.0.0.1:9".parse().unwrap();
    assert_eq!(register_leg(&server, call, "caller", source).status, 201);
    assert_problem(&server.get(&path).unwrap(), &path, 404, "no-capture");
    assert_problem(&stop(&server, call), &path, 409, "conflict");
    for bytes in [0, 262_143, 1_000_001] {
        let answer = server.post(&path, &json!({"max_bytes": bytes})).unwrap();
        assert_problem(&answer, &path, 422, "unprocessable");
        assert!(answer.text.contains("262144 to 1000000"), "{}", answer.text);
    }
    assert_eq!(state(&server, call), Value::Null, "never by itself");
    let answer = server.post(&path, &json!({"max_bytes": 262_144})).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_problem(&start(&server, call), &path, 409, "conflict");
    assert_eq!(stop(&server, call).json()["running"], false);
    assert_problem(&stop(&server, call), &path, 409, "conflict");
    // Once more, and then over.
    assert_eq!(start(&server, call).status, 201);
    hang_up(&server, call);
    await_complete(&server, call);
    assert_problem(&start(&server, call), &path, 409, "conflict");
    assert_eq!(server.get(&path).unwrap().status, 200);
}

#[test]
fn a_folder_that_cannot_be_used_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    fs::write(&file, "").unwrap();
    let settings = [
        ("CAPTURE_DIR", file.display().to_string()),
        ("HTTP_BIND", "127.0.0.1:0".to_owned()),
        ("RTP_BIND", "127.0.0.1:0".to_owned()),
    ];
    let settings = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let (status, output) = Server::run_to_end(BINARY, &["serve"], &settings, SOON).unwrap();
    assert!(!status.success());
    assert!(output.contains("CAPTURE_DIR"), "{output}");
}

/// A source of small packets for one leg.
fn flood(server: &Server, call: &str) -> (Sender, Vec<std::net::SocketAddr>) {
    let fixture = Fixture::load(FIXTURE).unwrap();
    speak_for(server, call, &fixture, &fixture.packets)
}

fn folder_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap();
    // One may go while it is looked at.
    files
        .filter_map(|file| Some(file.ok()?.metadata().ok()?.len()))
        .sum()
}

#[test]
fn a_flood_never_exceeds_the_bound() {
    const BOUND: u64 = 262_144;
    let (server, dir) = server(&[("CAPTURE_MAX_BYTES", "262144"), ("CAPTURE_RULE", "media")]);
    let folder = dir.path().join("captures");
    let (sender, targets) = flood(&server, "flood-1");
    let most = thread::scope(|scope| {
        let playing = scope.spawn(|| sender.play(&targets, 20.0).unwrap());
        let mut most = 0;
        while !playing.is_finished() {
            most = most.max(folder_bytes(&folder));
            thread::yield_now();
        }
        most
    });
    assert!((BOUND / 4..=BOUND).contains(&most), "{most}");
    for file in fs::read_dir(&folder).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(stop(&server, "flood-1").status == 200);
    let status = await_answer(&server, "/api/call/flood-1/status", |status| {
        status["capture"]["running"] == false && status["events"][1].is_object()
    });
    let capture = &status["capture"];
    assert!(capture["rolled_off"].as_u64() > Some(500), "{capture}");
    assert!(capture["bytes"].as_u64() <= Some(BOUND), "{capture}");
    let (report, warning) = replayed(&download(&server, "flood-1"));
    assert_eq!(
        (warning.as_str(), &report["packets"]),
        ("", &capture["packets"])
    );
    assert_eq!(report["capture"]["rolled_off"], capture["rolled_off"]);
}

#[test]
fn a_server_that_is_killed_leaves_what_it_had_recorded() {
    let (mut server, _dir) = server(&[("CAPTURE_RULE", "all")]);
    let call = "killed-1";
    let fixture = Fixture::load(FIXTURE).unwrap();
    let start = fixture.packets[0].at;
    let packets: Vec<_> = fixture
        .packets
        .iter()
        .filter(|packet| packet.at - start < Duration::from_secs(12))
        .cloned()
        .collect();
    let (sender, targets) = speak_for(&server, call, &fixture, &packets);
    sender.play(&targets, 5.0).unwrap();
    let status = await_answer(&server, &format!("/api/call/{call}/status"), |status| {
        status["capture"]["packets"] == packets.len()
    });
    assert_eq!(status["capture"]["running"], true);
    server.kill9().unwrap();
    server.restart().unwrap();
    assert_eq!(state(&server, call)["running"], false);
    let left = download(&server, call);
    let (report, warning) = replayed(&left);
    assert_eq!(warning, "", "it ends with a whole packet");
    assert_eq!(report["datagrams"], packets.len());
    assert!(!lines(&report).is_empty());
    let (report, warning) = replayed(&left[..left.len() - 50]);
    assert!(warning.contains("cut off"), "{warning}");
    assert_eq!(report["datagrams"], packets.len() - 1);
}

/// The server behind a limit on the size of any file it writes, in KiB.
fn limited(dir: &Path, kib: u32) -> PathBuf {
    let script = dir.join("server");
    // Without its signal, exceeding the limit is an error of the write, as on a full disk.
    let text = format!("#!/bin/bash\ntrap '' XFSZ\nulimit -f {kib}\nexec {BINARY} \"$@\"\n");
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[test]
fn a_capture_that_cannot_be_written_costs_the_call_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let binary = limited(dir.path(), 600);
    let folder = dir.path().join("captures").display().to_string();
    let settings = [("CAPTURE_DIR", folder.as_str()), ("CAPTURE_RULE", "media")];
    let server = Server::start(binary, &settings).unwrap();
    let conversation = crate::api::rig::Conversation::register(&server, "full-1");
    conversation.play();
    hang_up(&server, "full-1");
    let transcript = await_complete(&server, "full-1");
    crate::api::rig::assert_word_for_word(&conversation, &transcript);
    let status = await_answer(&server, "/api/call/full-1/status", |status| {
        status["capture"]["running"] == false && status["status"] == "ended"
    });
    let capture = &status["capture"];
    let count = |name: &str| capture[name].as_u64().unwrap();
    assert!(count("lost") > 100 && count("packets") > 100, "{capture}");
    assert!(count("bytes") <= 600 << 10, "{capture}");
    let legs = status["legs"].as_array().unwrap();
    let received = |leg: &Value| leg["stats"]["received"].as_u64().unwrap();
    let received: u64 = legs.iter().map(received).sum();
    assert_eq!(count("lost") + count("packets"), received, "{capture}");
    let (report, warning) = replayed(&download(&server, "full-1"));
    assert_eq!(
        (warning.as_str(), &report["datagrams"]),
        ("", &capture["packets"])
    );
}

#[test]
fn without_a_rule_or_a_request_nothing_is_written() {
    let (server, dir) = server(&[]);
    let (sender, targets) = flood(&server, "quiet-1");
    sender.play(&targets, 20.0).unwrap();
    hang_up(&server, "quiet-1");
    await_complete(&server, "quiet-1");
    assert_eq!(folder_bytes(&dir.path().join("captures")), 0);
    let log = server.log();
    assert!(host::wait_until(host::now() + SOON, || !log.is_empty()));
    assert!(
        !log.iter()
            .any(|line| line.to_string().contains("capture\"")),
        "{log:?}"
    );
}
