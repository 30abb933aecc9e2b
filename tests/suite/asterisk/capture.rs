//! Calls of a real Asterisk are captured by rule: their packets replay to the
//! transcript, and its events lie beside them.

use asterscribe_testkit::asterisk::{self, Instance, Options, Release};
use asterscribe_testkit::available;
use asterscribe_testkit::server::Server;
use serde_json::Value;

use super::{BINARY, Rig, SOON, settings};
use crate::replay::rig::{file, program};

#[test]
fn a_stasis_call_replays_to_its_transcript_and_its_events_are_there() {
    let Some(root) = available(asterisk::install(Release::V22)) else {
        return;
    };
    let asterisk = Instance::start(&root, &Options::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    let mut settings = settings(&asterisk);
    settings.extend([("CAPTURE_RULE", "stasis"), ("API_AUTH_TOKEN", TOKEN)]);
    let mut all: Vec<(&str, &str)> = settings.clone();
    all.push(("CAPTURE_DIR", &folder));
    let server = Server::start(BINARY, &all).unwrap();
    let rig = Rig { asterisk, server };
    rig.await_connected();
    let call = "taped-1";
    rig.call_into_stasis(call, "talk");
    let transcript = rig.await_complete(call);
    assert!(!transcript["lines"].as_array().unwrap().is_empty());
    let status = rig.await_answer(&format!("/api/call/{call}/status"), SOON, |status| {
        status["capture"]["running"] == false
    });
    assert_eq!(status["capture"]["lost"], 0, "{status}");

    let packets = rig
        .server
        .get(&format!("/api/call/{call}/capture"))
        .unwrap();
    assert_eq!(packets.status, 200, "{}", packets.text);
    let packets = file(&packets.bytes);
    let output = program(packets.path(), "json");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["lines"], transcript["lines"]);
    for field in ["leg", "stats", "audio"] {
        assert_eq!(
            report["flows"][0][field], status["legs"][0][field],
            "{field}"
        );
    }

    let events = rig
        .server
        .get(&format!("/api/call/{call}/capture/events"))
        .unwrap();
    assert_eq!(events.status, 200, "{}", events.text);
    let told: Vec<Value> = events
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &str, channel: &dyn Fn(&str) -> bool| {
        told.iter().any(|line| {
            line["event"]["type"] == kind
                && line["event"]["channel"]["id"].as_str().is_some_and(channel)
        })
    };
    let ours = |id: &str| id.starts_with("asterscribe-") && id.ends_with("media");
    assert!(
        of("StasisStart", &|id| id == call),
        "its first event: {}",
        events.text
    );
    assert!(
        of("StasisStart", &ours),
        "of its media channel: {}",
        events.text
    );
    assert!(
        told.iter().all(|line| line["at_ms"].is_u64()),
        "{}",
        events.text
    );
    for secret in [rig.asterisk.password(), TOKEN] {
        assert!(!events.text.contains(secret));
        assert!(!String::from_utf8_lossy(&std::fs::read(packets.path()).unwrap()).contains(secret));
    }
}

const TOKEN: &str = "a-token-that-nothing-may-hold";
