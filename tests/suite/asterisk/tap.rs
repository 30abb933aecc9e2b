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

#[test]
fn any_channel_is_tapped_by_its_id_or_by_its_name() {
    let Some(rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_between_parties("ümlaut / 1;7");
    let channels = rig.asterisk.ari_ok("GET", "/channels", &[], None).unwrap();
    let channels = channels.as_array().unwrap();
    let own = channels
        .iter()
        .find(|channel| channel["id"] == "ümlaut / 1;7");
    let name = own.unwrap()["name"].as_str().unwrap().to_owned();
    assert!(name.contains('/') && name.ends_with(";1"), "{name}");
    let by_id = "/api/call/%C3%BCmlaut%20%2F%201%3B7/transcribe".to_owned();
    let by_name = format!(
        "/api/call/{}/transcribe",
        name.replace('/', "%2F").replace(';', "%3B")
    );
    let named = serde_json::json!({ "channel": name });
    let mut ids = Vec::new();
    for (path, body) in [
        (by_id, Value::Null),
        (by_name, Value::Null),
        ("/api/call/transcribe".to_owned(), named),
    ] {
        let answer = rig.server.post(&path, &body).unwrap();
        assert_eq!(answer.status, 202, "{path}: {}", answer.text);
        let call = answer.json();
        assert_eq!(call["channel_id"], "ümlaut / 1;7");
        assert_eq!(rig.server.post(&path, &body).unwrap().status, 409);
        let id = call["call_id"].as_str().unwrap().to_owned();
        let hangup = format!("/api/call/{id}/hangup");
        assert_eq!(rig.server.post(&hangup, &Value::Null).unwrap().status, 200);
        ids.push(id);
        rig.assert_nothing_left();
    }
    assert!(
        ids.iter().all(|id| *id == ids[0]),
        "one channel, one call: {ids:?}"
    );
    let nobody = serde_json::json!({ "channel": "Local/nobody@kit-00000000;1" });
    let answer = rig.server.post("/api/call/transcribe", &nobody).unwrap();
    assert_eq!(answer.status, 404, "{}", answer.text);
}

#[test]
fn the_legs_are_called_by_who_called_at_whichever_channel_they_are_heard() {
    let Some(rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_between_parties("pair-3");
    let channels = rig.asterisk.ari_ok("GET", "/channels", &[], None).unwrap();
    let called = channels.as_array().unwrap().iter().find(|channel| {
        let name = channel["name"].as_str().unwrap();
        name.starts_with("Local/callee@") && name.ends_with(";1")
    });
    let called = called.unwrap()["id"].as_str().unwrap();
    let body = serde_json::json!({ "channel": called });
    let answer = rig.server.post("/api/call/transcribe", &body).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text);
    let id = answer.json()["call_id"].as_str().unwrap().to_owned();
    let transcript = rig.await_complete(&id);
    for leg in ["caller", "callee"] {
        assert_said(&part_of(leg), &heard(&transcript, leg));
    }
    let status = rig.get(&format!("/api/call/{id}/status"));
    assert_eq!(status["linkedid"], "pair-3", "{status}");
    assert_eq!(status["sides"]["channel"], "callee", "{status}");
    rig.assert_nothing_left();
}

#[test]
fn whoever_asks_may_name_the_legs() {
    let Some(rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_between_parties("pair-4");
    let path = "/api/call/pair-4/transcribe";
    let same = serde_json::json!({ "legs": { "channel": "one", "peer": "one" } });
    assert_eq!(rig.server.post(path, &same).unwrap().status, 422);
    let body = serde_json::json!({ "legs": { "channel": "agent", "peer": "customer" } });
    assert_eq!(rig.server.post(path, &body).unwrap().status, 202);
    let transcript = rig.await_complete("pair-4");
    assert_said(&part_of("caller"), &heard(&transcript, "agent"));
    assert_said(&part_of("callee"), &heard(&transcript, "customer"));
    rig.assert_nothing_left();
}
