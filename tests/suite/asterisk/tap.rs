//! An existing call between two parties is tapped from outside: each leg
//! carries its own party's words and no other's, and the call does not notice.

use asterscribe_testkit::asterisk::Release;
use asterscribe_testkit::host;
use asterscribe_testkit::scenario::{CONVERSATION, prompt_text};
use serde_json::Value;

use super::{Rig, SOON, assert_said, heard};

fn part_of(leg: &str) -> String {
    let turns = CONVERSATION.iter().filter(|turn| turn.leg == leg);
    turns
        .map(|turn| prompt_text(turn.prompt).unwrap())
        .collect::<Vec<_>>()
        .join(" ")
}

fn each_leg_of_a_tapped_call_carries_its_own_party(release: Release) {
    let Some(rig) = Rig::start(release) else {
        return;
    };
    rig.call_between_parties("pair-1");
    let answer = rig
        .server
        .post("/api/call/pair-1/transcribe", &Value::Null)
        .unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text);
    let transcript = rig.await_complete("pair-1");
    for leg in ["caller", "callee"] {
        assert_said(&part_of(leg), &heard(&transcript, leg));
    }
    let status = rig.get("/api/call/pair-1/status");
    assert_eq!(
        (&status["origin"], &status["status"]),
        (&"tap".into(), &"ended".into())
    );
    rig.assert_nothing_left();
}

#[test]
fn on_asterisk_22() {
    each_leg_of_a_tapped_call_carries_its_own_party(Release::V22);
}

#[test]
fn on_asterisk_16() {
    each_leg_of_a_tapped_call_carries_its_own_party(Release::V16);
}

#[test]
fn a_snoop_that_somebody_hangs_up_costs_no_tap() {
    let Some(rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_between_parties("pair-3");
    let path = "/api/call/pair-3/transcribe";
    assert_eq!(rig.server.post(path, &Value::Null).unwrap().status, 202);
    let snoops = || {
        let ids = rig.asterisk.channels().unwrap().into_iter();
        ids.filter(|id| id.ends_with("-snoop")).collect::<Vec<_>>()
    };
    let path = "/api/call/pair-3/status";
    let heard = |status: &Value| {
        let legs = status["legs"].as_array();
        legs.is_some_and(|legs| {
            legs.len() == 2
                && legs
                    .iter()
                    .all(|leg| leg["stats"]["decoded"].as_u64() > Some(0))
        })
    };
    rig.await_answer(path, SOON, heard);
    let before = snoops();
    for snoop in &before {
        let delete = format!("/channels/{snoop}");
        rig.asterisk.ari_ok("DELETE", &delete, &[], None).unwrap();
    }
    let renewed = || {
        let now = snoops();
        now.len() == 2 && now.iter().all(|snoop| !before.contains(snoop))
    };
    assert!(
        host::wait_until(host::now() + SOON, renewed),
        "{:?}",
        snoops()
    );
    let status = rig.get(path);
    assert_eq!(status["status"], "active", "{status}");
    rig.asterisk
        .ari_ok("DELETE", "/channels/pair-3", &[], None)
        .unwrap();
    rig.await_answer(path, SOON, |status| status["status"] == "ended");
    rig.assert_nothing_left();
}

#[test]
fn a_tap_that_ends_leaves_the_call_alone() {
    let Some(rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_between_parties("pair-2");
    let path = "/api/call/pair-2/transcribe";
    assert_eq!(rig.server.post(path, &Value::Null).unwrap().status, 202);
    assert_eq!(
        rig.server.post(path, &Value::Null).unwrap().status,
        409,
        "it is being transcribed already"
    );
    rig.await_answer("/api/call/pair-2/status", SOON, |status| {
        status["legs"]
            .as_array()
            .is_some_and(|legs| legs.len() == 2)
    });
    let answer = rig
        .server
        .post("/api/call/pair-2/hangup", &Value::Null)
        .unwrap();
    assert!(answer.status < 300, "{}", answer.text);
    rig.assert_nothing_left();
    let channels = rig.asterisk.channels().unwrap();
    assert!(
        channels.contains(&"pair-2".to_owned()),
        "the tapped call must go on: {channels:?}"
    );
}

#[test]
fn a_channel_that_does_not_exist_is_not_found() {
    let Some(rig) = Rig::start(Release::V22) else {
        return;
    };
    let answer = rig
        .server
        .post("/api/call/nobody-1/transcribe", &Value::Null)
        .unwrap();
    assert_eq!(answer.status, 404, "{}", answer.text);
    rig.assert_nothing_left();
}
