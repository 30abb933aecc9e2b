//! Two servers of one application beside one Asterisk, as while one takes the
//! other's place; and servers whose applications only begin alike.

use asterscribe_testkit::asterisk::Release;
use asterscribe_testkit::host;
use asterscribe_testkit::server::Server;
use serde_json::Value;

use super::{BINARY, Rig, SOON, settings};

fn decoded(server: &Server, call: &str) -> u64 {
    let status = server.get(&format!("/api/call/{call}/status"));
    let status = status.map(|answer| answer.json()).unwrap_or_default();
    let stats = &status["legs"][0]["stats"];
    stats["decoded"].as_u64().unwrap_or_default()
}

fn await_heard(server: &Server, call: &str, beyond: u64) {
    let heard = || decoded(server, call) > beyond;
    assert!(
        host::wait_until(host::now() + SOON, heard),
        "{:?}",
        server.get(&format!("/api/call/{call}/status"))
    );
}

fn asterisk_of(server: &Server) -> Value {
    server.get("/health").unwrap().json()["asterisk"].clone()
}

#[test]
fn the_newcomer_goes_on_with_the_calls_and_the_replaced_one_touches_nothing() {
    let Some(mut rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_into_stasis("kept", "hold");
    rig.call_between_parties("pair-7");
    let tapped = rig
        .server
        .post("/api/call/pair-7/transcribe", &Value::Null)
        .unwrap();
    assert_eq!(tapped.status, 202, "{}", tapped.text);
    await_heard(&rig.server, "kept", 0);

    let newcomer = Server::start(BINARY, &settings(&rig.asterisk)).unwrap();
    await_heard(&newcomer, "kept", 0);
    await_heard(&newcomer, "pair-7", 0);
    let replaced = |health: &Value| {
        let asterisk = &health["asterisk"];
        asterisk["state"] == "down"
            && asterisk["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("replaced"))
    };
    rig.await_answer("/health", SOON, replaced);
    for call in ["kept", "pair-7"] {
        let over = rig.await_answer(&format!("/api/call/{call}/status"), SOON, |status| {
            status["status"] == "ended"
        });
        let text = "another server has taken the application over";
        assert_eq!(over["end_reason"]["text"], text, "{over}");
    }

    let status = rig.server.terminate().unwrap().expect("it ran");
    assert!(status.success(), "{status}");
    await_heard(&newcomer, "kept", decoded(&newcomer, "kept") + 25);
    assert_eq!(asterisk_of(&newcomer)["state"], "ok");
    let channels = rig.asterisk.channels().unwrap();
    assert!(channels.contains(&"kept".to_owned()), "{channels:?}");
    assert!(channels.contains(&"pair-7".to_owned()), "{channels:?}");
}

#[test]
fn the_replaced_one_comes_back_on_request_and_once_the_other_is_gone() {
    let Some(rig) = Rig::start(Release::V22) else {
        return;
    };
    let path = "/api/asterisk/take-back";
    let refused = rig.server.post(path, &Value::Null).unwrap();
    assert_eq!(refused.status, 409, "{}", refused.text);
    let mut newcomer = Server::start(BINARY, &settings(&rig.asterisk)).unwrap();
    rig.await_answer("/health", SOON, |h| h["asterisk"]["state"] == "down");
    let taken = rig.server.post(path, &Value::Null).unwrap();
    assert_eq!(taken.status, 202, "{}", taken.text);
    rig.await_connected();
    let replaced = || asterisk_of(&newcomer)["state"] == "down";
    assert!(host::wait_until(host::now() + SOON, replaced));
    rig.call_into_stasis("here", "hold");
    await_heard(&rig.server, "here", 0);
    // The other way round, and the other one stops.
    let taken = newcomer.post(path, &Value::Null).unwrap();
    assert_eq!(taken.status, 202, "{}", taken.text);
    await_heard(&newcomer, "here", 0);
    newcomer.terminate().unwrap();
    rig.await_connected();
}

#[test]
fn an_application_whose_name_begins_alike_is_left_alone() {
    let Some(rig) = Rig::start(Release::V22) else {
        return;
    };
    let mut other = settings(&rig.asterisk);
    other.push(("ASTERISK_APP", "asterscribe-test"));
    let other = Server::start(BINARY, &other).unwrap();
    let connected = || asterisk_of(&other)["state"] == "ok";
    assert!(host::wait_until(host::now() + SOON, connected));
    rig.call_between_parties("pair-8");
    let tapped = other
        .post("/api/call/pair-8/transcribe", &Value::Null)
        .unwrap();
    assert_eq!(tapped.status, 202, "{}", tapped.text);
    await_heard(&other, "pair-8", 0);
    // A third one of our name connects, and sweeps.
    let third = Server::start(BINARY, &settings(&rig.asterisk)).unwrap();
    rig.await_answer("/health", SOON, |h| h["asterisk"]["state"] == "down");
    let swept = || {
        let log = third.log();
        let synced = |line: &Value| line["fields"]["message"] == "synchronised with Asterisk";
        log.iter().any(synced)
    };
    assert!(host::wait_until(host::now() + SOON, swept));
    await_heard(&other, "pair-8", decoded(&other, "pair-8") + 25);
    let status = other.get("/api/call/pair-8/status").unwrap().json();
    assert_eq!(status["status"], "active", "{status}");
    assert_eq!(
        status["notes"].as_array().map_or(0, Vec::len),
        0,
        "{status}"
    );
}
