//! `MAX_CONCURRENT_CALLS` holds over calls of every origin: a caller beyond it
//! is not cut off, but goes on in the dialplan.

use asterscribe_testkit::asterisk::{self, Instance, Options, Release};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::{available, host};
use serde_json::{Value, json};

use super::{BINARY, Rig, SOON, settings};

#[test]
fn a_registered_call_takes_a_place_from_stasis() {
    let Some(root) = available(asterisk::install(Release::V22)) else {
        return;
    };
    let asterisk = Instance::start(&root, &Options::default()).unwrap();
    let mut settings = settings(&asterisk);
    settings.push(("MAX_CONCURRENT_CALLS", "1"));
    let server = Server::start(BINARY, &settings).unwrap();
    let rig = Rig { asterisk, server };
    rig.await_connected();

    let body = json!({"source": "127.0.0.1:9", "leg": "caller", "format": "ulaw"});
    let answer = rig
        .server
        .post("/api/call/registered/media", &body)
        .unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text);
    rig.call_into_stasis("one-too-many", "hold");
    // Behind Stasis() the dialplan hangs up.
    let gone = || {
        let known = rig
            .server
            .get("/api/call/one-too-many/status")
            .unwrap()
            .status;
        let channels = rig.asterisk.channels().unwrap();
        known == 404 && !channels.contains(&"one-too-many".to_owned())
    };
    assert!(host::wait_until(host::now() + SOON, gone));

    let answer = rig
        .server
        .post("/api/call/registered/hangup", &Value::Null)
        .unwrap();
    assert!(answer.status < 300, "{}", answer.text);
    rig.await_complete("registered");
    rig.call_into_stasis("now-there-is-room", "hold");
    rig.await_answer("/api/call/now-there-is-room/status", SOON, |status| {
        status["status"] == "active"
    });
    rig.server
        .post("/api/call/now-there-is-room/hangup", &Value::Null)
        .unwrap();
    rig.await_complete("now-there-is-room");
    rig.assert_nothing_left();
}
