//! Whoever dies, and whenever: nothing stays open on either side.

use asterscribe_testkit::asterisk::Release;
use asterscribe_testkit::host;
use serde_json::Value;

use super::{Rig, SOON};

fn speaking(rig: &Rig, call: &str) {
    rig.await_answer(&format!("/api/call/{call}/status"), SOON, |status| {
        status["legs"][0]["stats"]["decoded"]
            .as_u64()
            .is_some_and(|decoded| decoded > 0)
    });
}

#[test]
fn a_caller_who_hangs_up_leaves_nothing_behind() {
    let Some(rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_into_stasis("hangs-up", "hold");
    speaking(&rig, "hangs-up");
    rig.asterisk
        .ari_ok("DELETE", "/channels/hangs-up", &[], None)
        .unwrap();
    let transcript = rig.await_complete("hangs-up");
    assert_eq!(transcript["complete"], true);
    rig.assert_nothing_left();
}

#[test]
fn our_hang_up_ends_a_stasis_call() {
    let Some(rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_into_stasis("told-to", "hold");
    speaking(&rig, "told-to");
    let answer = rig
        .server
        .post("/api/call/told-to/hangup", &Value::Null)
        .unwrap();
    assert!(answer.status < 300, "{}", answer.text);
    rig.await_complete("told-to");
    rig.assert_nothing_left();
    assert!(
        !rig.asterisk
            .channels()
            .unwrap()
            .contains(&"told-to".to_owned())
    );
}

#[test]
fn a_server_that_is_killed_takes_the_call_up_again() {
    let Some(mut rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_into_stasis("survivor", "hold");
    speaking(&rig, "survivor");
    rig.server.kill9().unwrap();
    rig.server.restart().unwrap();
    rig.await_connected();
    let resumed = rig.await_answer("/api/call/survivor/status", SOON, |status| {
        status["status"] == "active" && status["legs"][0]["source"].is_string()
    });
    assert_eq!(resumed["origin"], "stasis");
    // What the dead one left in Asterisk is gone: one media channel, one bridge.
    let tidy = || {
        let ours = |ids: Vec<String>| {
            ids.iter()
                .filter(|id| id.starts_with("asterscribe-"))
                .count()
        };
        ours(rig.asterisk.channels().unwrap()) == 1 && ours(rig.asterisk.bridges().unwrap()) == 1
    };
    assert!(
        host::wait_until(host::now() + SOON, tidy),
        "{:?} {:?}",
        rig.asterisk.channels(),
        rig.asterisk.bridges()
    );
    rig.asterisk
        .ari_ok("DELETE", "/channels/survivor", &[], None)
        .unwrap();
    rig.await_complete("survivor");
    rig.assert_nothing_left();
}

#[test]
fn a_call_that_ended_while_the_server_was_dead_is_closed() {
    let Some(mut rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_into_stasis("gone", "hold");
    speaking(&rig, "gone");
    rig.server.kill9().unwrap();
    rig.asterisk
        .ari_ok("DELETE", "/channels/gone", &[], None)
        .unwrap();
    rig.server.restart().unwrap();
    rig.await_connected();
    rig.await_answer("/api/call/gone/status", SOON, |status| {
        status["status"] == "failed"
    });
    rig.assert_nothing_left();
}

#[test]
fn a_tap_goes_on_after_the_server_was_killed() {
    let Some(mut rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_between_parties("tapped");
    assert_eq!(
        rig.server
            .post("/api/call/tapped/transcribe", &Value::Null)
            .unwrap()
            .status,
        202
    );
    speaking(&rig, "tapped");
    rig.server.kill9().unwrap();
    rig.server.restart().unwrap();
    rig.await_connected();
    rig.await_answer("/api/call/tapped/status", SOON, |status| {
        status["status"] == "active"
    });
    let transcript = rig.await_complete("tapped");
    let lines = transcript["lines"].as_array().unwrap();
    assert!(
        lines.iter().enumerate().all(|(n, line)| line["seq"] == n),
        "{lines:?}"
    );
    rig.assert_nothing_left();
}

#[test]
fn an_asterisk_that_restarts_ends_its_calls_and_serves_new_ones() {
    let Some(mut rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_into_stasis("lost", "hold");
    speaking(&rig, "lost");
    rig.asterisk.kill9().unwrap();
    rig.server.get("/health").unwrap();
    rig.asterisk.restart().unwrap();
    rig.await_complete("lost");
    rig.await_connected();
    rig.assert_nothing_left();
    rig.call_into_stasis("next", "hold");
    speaking(&rig, "next");
    rig.server
        .post("/api/call/next/hangup", &Value::Null)
        .unwrap();
    rig.await_complete("next");
    rig.assert_nothing_left();
}

#[test]
fn a_server_that_is_told_to_stop_leaves_the_tapped_call_alone() {
    let Some(mut rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_between_parties("kept");
    assert_eq!(
        rig.server
            .post("/api/call/kept/transcribe", &Value::Null)
            .unwrap()
            .status,
        202
    );
    speaking(&rig, "kept");
    let status = rig.server.terminate().unwrap().expect("it ran");
    assert!(status.success(), "{status}");
    rig.assert_asterisk_is_tidy();
    let channels = rig.asterisk.channels().unwrap();
    assert!(
        channels.contains(&"kept".to_owned()),
        "the tapped call must go on: {channels:?}"
    );
}

#[test]
fn a_wrong_password_is_told_and_the_rest_serves() {
    let Some(rig) = Rig::start(Release::V22) else {
        return;
    };
    let mut settings = super::settings(&rig.asterisk);
    settings.retain(|(name, _)| *name != "ASTERISK_ARI_PASSWORD");
    settings.push(("ASTERISK_ARI_PASSWORD", "not-the-password"));
    let server = asterscribe_testkit::server::Server::start(super::BINARY, &settings).unwrap();
    let told = || {
        let health = server.get("/health").unwrap().json();
        let detail = health["asterisk"]["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (health["asterisk"]["state"] == "down" && detail.contains("password")).then_some(detail)
    };
    let detail = host::poll_until(host::now() + SOON, told).expect("the reason is in /health");
    assert!(!detail.contains("not-the-password"), "{detail}");
    let answer = server.post("/api/call/x/transcribe", &Value::Null).unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text);
}
