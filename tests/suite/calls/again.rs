//! Calls that come again under their id: one call, one transcript.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use asterscribe_testkit::asterisk::{self, Instance, Options, Release};
use asterscribe_testkit::redis::{Instance as Redis, find};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::{available, host};
use serde_json::Value;

use crate::asterisk::{BINARY, CALL, Rig, SOON, settings};

/// A dialplan that sends its caller to us, goes on, and sends it to us again.
const TWICE: &str = "exten => twice,1,Answer()\n same => n,Stasis(asterscribe)\n same => n,Stasis(asterscribe)\n \
                     same => n,Hangup()\n";

fn rig() -> Option<Rig> {
    rig_with(&[])
}

fn rig_with(more: &[(&'static str, &'static str)]) -> Option<Rig> {
    let root = available(asterisk::install(Release::V22))?;
    let mut options = Options::default();
    options.extensions.push_str(TWICE);
    let asterisk = Instance::start(&root, &options).unwrap();
    let all = [settings(&asterisk), more.to_vec()].concat();
    let server = Server::start(BINARY, &all).unwrap();
    let rig = Rig { asterisk, server };
    rig.await_connected();
    Some(rig)
}

fn begin(rig: &Rig, id: &str, extension: &str) {
    let query = [
        ("endpoint", "Local/hold@kit/n"),
        ("context", "kit"),
        ("extension", extension),
        ("priority", "1"),
        ("channelId", id),
        ("formats", "ulaw"),
    ];
    rig.asterisk
        .ari_ok("POST", "/channels", &query, None)
        .unwrap();
}

fn lines(transcript: &Value) -> Vec<Value> {
    // Before the call there is no transcript.
    transcript["lines"].as_array().cloned().unwrap_or_default()
}

fn await_lines(rig: &Rig, id: &str, count: usize) -> Vec<Value> {
    let path = format!("/api/call/{id}/transcript");
    lines(&rig.await_answer(&path, CALL, |transcript| lines(transcript).len() >= count))
}

fn assert_one_transcript(rig: &Rig, id: &str, early: &[Value]) {
    let transcript = rig.get(&format!("/api/call/{id}/transcript"));
    let all = lines(&transcript);
    assert_eq!(
        all[..early.len()],
        *early,
        "a line that was served never changes"
    );
    assert!(all.len() > early.len(), "{transcript}");
    assert!(
        all.iter().enumerate().all(|(n, line)| line["seq"] == n),
        "{transcript}"
    );
    assert!(
        all.is_sorted_by_key(|line| line["start_ms"].as_u64().unwrap()),
        "{transcript}"
    );
    let status = rig.get(&format!("/api/call/{id}/status"));
    assert_eq!(status["lines"], all.len(), "{status}");
}

#[test]
fn a_channel_that_leaves_and_comes_back_at_once_is_one_call() {
    let Some(mut rig) = rig() else { return };
    begin(&rig, "back-1", "twice");
    let early = await_lines(&rig, "back-1", 1);
    // Out of our application, and back by the dialplan's next step.
    rig.asterisk
        .ari_ok("POST", "/channels/back-1/continue", &[], None)
        .unwrap();
    await_lines(&rig, "back-1", early.len() + 1);
    let going_on = rig.get("/api/call/back-1/status");
    assert_eq!(going_on["status"], "active", "{going_on}");
    rig.asterisk
        .ari_ok("DELETE", "/channels/back-1", &[], None)
        .unwrap();
    rig.await_complete("back-1");
    rig.assert_nothing_left();
    assert_one_transcript(&rig, "back-1", &early);
    // The store has the same.
    let before = rig.get("/api/call/back-1/transcript");
    rig.server.restart().unwrap();
    assert_eq!(rig.get("/api/call/back-1/transcript"), before);
}

#[test]
fn a_tap_that_is_set_up_again_after_a_restart_goes_on_behind_the_first() {
    let Some(mut rig) = rig() else { return };
    rig.call_between_parties("again-1");
    let tap = "/api/call/again-1/transcribe";
    assert_eq!(rig.server.post(tap, &Value::Null).unwrap().status, 202);
    await_lines(&rig, "again-1", 1);
    rig.server
        .post("/api/call/again-1/hangup", &Value::Null)
        .unwrap();
    let early = lines(&rig.await_complete("again-1"));
    // Only the store knows it now.
    rig.server.restart().unwrap();
    rig.await_connected();
    let answer = rig.server.post(tap, &Value::Null).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text);
    await_lines(&rig, "again-1", early.len() + 1);
    rig.await_complete("again-1");
    assert_one_transcript(&rig, "again-1", &early);
    rig.assert_nothing_left();
}

/// Ids of the calls of a channel's id, the oldest first, and none of anybody else.
fn calls_of(rig: &Rig, channel: &str) -> Vec<String> {
    let calls = rig.get("/api/calls");
    let calls = calls["calls"].as_array().unwrap().iter().rev();
    let of_it = calls.filter(|call| call["channel_id"] == channel);
    of_it
        .map(|call| call["call_id"].as_str().unwrap().to_owned())
        .collect()
}

/// Whoever is on the channel of that id speaks, and hangs up. Returns the call's id.
fn speak_and_hang_up(rig: &Rig, channel: &str, calls_before: usize) -> String {
    begin(rig, channel, "stasis");
    let newest = || calls_of(rig, channel).get(calls_before).cloned();
    let call = host::poll_until(host::now() + SOON, newest).unwrap();
    await_lines(rig, &call, 1);
    rig.asterisk
        .ari_ok("DELETE", &format!("/channels/{channel}"), &[], None)
        .unwrap();
    rig.await_complete(&call);
    call
}

#[test]
fn an_id_that_a_dialer_uses_again_is_another_call_here_and_after_a_restart() {
    let Some(mut rig) = rig() else { return };
    let first = speak_and_hang_up(&rig, "lead-42", 0);
    assert_eq!(first, "lead-42");
    let said = rig.get("/api/call/lead-42/transcript");
    let second = speak_and_hang_up(&rig, "lead-42", 1);
    // Only the store knows the two now.
    rig.server.restart().unwrap();
    rig.await_connected();
    let third = speak_and_hang_up(&rig, "lead-42", 2);
    assert_eq!(calls_of(&rig, "lead-42"), [&*first, &*second, &*third]);
    assert!(
        second != third
            && [&second, &third]
                .iter()
                .all(|id| id.starts_with("lead-42-"))
    );
    assert_eq!(
        rig.get("/api/call/lead-42/transcript"),
        said,
        "nobody else's words are in it"
    );
    for call in [second, third] {
        let transcript = rig.get(&format!("/api/call/{call}/transcript"));
        assert_eq!(lines(&transcript)[0]["seq"], 0, "{transcript}");
    }
    rig.assert_nothing_left();
}

#[test]
fn an_id_that_is_used_again_while_the_store_is_away_gets_out_of_the_first_calls_way() {
    let Some(program) = available(find()) else {
        return;
    };
    let mut redis = Redis::start_with(program, true).unwrap();
    let Some(mut rig) = rig_with(&[("REDIS_URL", redis.url().leak())]) else {
        return;
    };
    speak_and_hang_up(&rig, "lead-7", 0);
    let said = rig.get("/api/call/lead-7/transcript");
    rig.server.restart().unwrap();
    assert_eq!(rig.get("/api/call/lead-7/transcript"), said);
    redis.kill9().unwrap();
    rig.server.restart().unwrap();
    rig.await_connected();
    begin(&rig, "lead-7", "stasis");
    await_lines(&rig, "lead-7", 1);
    redis.restart().unwrap();
    let both = || (calls_of(&rig, "lead-7").len() == 2).then_some(());
    host::poll_until(host::now() + SOON, both).unwrap();
    let second = calls_of(&rig, "lead-7").remove(1);
    assert_eq!(rig.get("/api/call/lead-7/transcript"), said);
    rig.asterisk
        .ari_ok("DELETE", "/channels/lead-7", &[], None)
        .unwrap();
    rig.await_complete(&second);
    assert_eq!(rig.get("/api/call/lead-7/transcript"), said);
    rig.assert_nothing_left();
}

#[test]
fn a_channel_whose_id_is_no_call_id_is_served_all_the_same() {
    let Some(rig) = rig() else { return };
    let id = "odd one;7";
    begin(&rig, id, "stasis");
    let speaking = |call: &Value| {
        call["legs"][0]["stats"]["decoded"]
            .as_u64()
            .is_some_and(|decoded| decoded > 0)
    };
    let calls = rig.await_answer("/api/calls", SOON, |calls| speaking(&calls["calls"][0]));
    let call = calls["calls"][0]["call_id"].as_str().unwrap().to_owned();
    assert!(call.starts_with("xodd_one_7-"), "{call}");
    assert_eq!(calls["calls"][0]["channel_states"][0]["channel"], id);
    let answer = rig
        .server
        .post(&format!("/api/call/{call}/hangup"), &Value::Null)
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    rig.await_complete(&call);
    rig.assert_nothing_left();
    assert!(!rig.asterisk.channels().unwrap().contains(&id.to_owned()));
}

#[test]
fn a_call_that_goes_on_without_its_store_is_found_to_be_the_same_when_the_store_is_back() {
    let Some(program) = available(find()) else {
        return;
    };
    let mut redis = Redis::start_with(program, true).unwrap();
    let Some(mut rig) = rig_with(&[("REDIS_URL", redis.url().leak())]) else {
        return;
    };
    begin(&rig, "apart-1", "stasis");
    let early = await_lines(&rig, "apart-1", 1);
    let arrived = || {
        let mut connection = redis.connection().unwrap();
        let stored: usize = redis::cmd("LLEN")
            .arg("call:apart-1:transcript")
            .query(&mut connection)
            .unwrap();
        stored >= early.len()
    };
    assert!(host::wait_until(host::now() + SOON, arrived));
    rig.server.kill9().unwrap();
    redis.kill9().unwrap();
    // Nobody can tell the new server that it has a predecessor.
    rig.server.restart().unwrap();
    rig.await_connected();
    await_lines(&rig, "apart-1", 1);
    redis.restart().unwrap();
    let found = await_lines(&rig, "apart-1", early.len() + 1);
    assert_eq!(
        found[..early.len()],
        early,
        "the predecessor's lines come first"
    );
    rig.asterisk
        .ari_ok("DELETE", "/channels/apart-1", &[], None)
        .unwrap();
    rig.await_complete("apart-1");
    rig.assert_nothing_left();
    assert_one_transcript(&rig, "apart-1", &early);
    let before = rig.get("/api/call/apart-1/transcript");
    rig.server.restart().unwrap();
    assert_eq!(rig.get("/api/call/apart-1/transcript"), before);
}
