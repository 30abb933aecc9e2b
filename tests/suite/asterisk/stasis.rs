//! A channel enters `Stasis(asterscribe)`: its words come out of the REST API.

use asterscribe_testkit::asterisk::Release;
use asterscribe_testkit::scenario::{MONOLOGUE, prompt_text};

use super::{Rig, SOON, assert_said, heard};

/// Text of all prompts that `talk` plays.
pub(crate) fn monologue() -> String {
    MONOLOGUE
        .iter()
        .map(|turn| prompt_text(turn.prompt).unwrap())
        .collect::<Vec<_>>()
        .join(" ")
}

fn a_stasis_call_becomes_its_transcript(release: Release) {
    let Some(rig) = Rig::start(release) else {
        return;
    };
    rig.call_into_stasis("stasis-1", "talk");
    let status = rig.await_answer("/api/call/stasis-1/status", SOON, |status| {
        status["legs"][0]["source"].is_string()
    });
    assert_eq!(status["origin"], "stasis");
    let transcript = rig.await_complete("stasis-1");
    assert_said(&monologue(), &heard(&transcript, "caller"));

    let status = rig.get("/api/call/stasis-1/status");
    assert_eq!(status["status"], "ended", "{status}");
    assert_eq!(status["end_reason"]["cause"], 16, "{status}");
    let stats = &status["legs"][0]["stats"];
    assert_eq!(
        (&stats["lost"], &stats["malformed"], &stats["decode_errors"]),
        (&0.into(), &0.into(), &0.into())
    );
    assert_eq!(stats["received"], stats["decoded"]);
    assert!(
        status["channel_states"]
            .as_array()
            .is_some_and(|states| !states.is_empty()),
        "{status}"
    );
    rig.assert_nothing_left();
}

#[test]
fn on_asterisk_22() {
    a_stasis_call_becomes_its_transcript(Release::V22);
}

#[test]
fn on_asterisk_16() {
    a_stasis_call_becomes_its_transcript(Release::V16);
}

#[test]
fn a_call_that_the_api_places_is_transcribed_too() {
    let Some(rig) = Rig::start(Release::V22) else {
        return;
    };
    let body = serde_json::json!({"caller_number": "100", "destination": "talk"});
    let answer = rig.server.post("/api/call/initiate", &body).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text);
    let id = answer.json()["call_id"].as_str().unwrap().to_owned();
    let transcript = rig.await_complete(&id);
    // Who speaks was called.
    assert_said(&monologue(), &heard(&transcript, "callee"));
    let status = rig.get(&format!("/api/call/{id}/status"));
    assert_eq!(
        (&status["origin"], &status["destination"]),
        (&"initiated".into(), &"talk".into())
    );
    rig.assert_nothing_left();
}
