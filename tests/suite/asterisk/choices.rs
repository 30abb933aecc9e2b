//! A channel's variables say how its call is recognised; what they say wrongly costs nothing.

use asterscribe_testkit::asterisk::{self, Instance, Options, Release};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::{available, host, scenario};
use serde_json::Value;

use super::stasis::monologue;
use super::{BINARY, Rig, SOON, assert_said, heard, settings};

/// Sets some well and some wrongly, and one that is inherited from nobody.
const VARIABLES: &str = "\
 same => n,Set(ASTERSCRIBE_LANGUAGE=klingon)
 same => n,Set(ASTERSCRIBE_PROMPT=Kowalski)
 same => n,Set(ASTERSCRIBE_PARTIALS=off)
 same => n,Set(ASTERSCRIBE_TRANSLATE=on)
";

fn rig(release: Release) -> Option<Rig> {
    let root = available(asterisk::install(release))?;
    let extensions = [
        scenario::dialplan(),
        format!(
            "exten => chosen,1,Answer()\n{VARIABLES} same => n,Stasis(asterscribe)\n same => n,Hangup()\n"
        ),
        format!(
            "exten => dial-chosen,1,NoOp()\n{VARIABLES} same => n,Dial(Local/callee@kit/n,30)\n same => n,Hangup()\n"
        ),
    ];
    let options = Options {
        extensions: extensions.concat(),
        ..Options::default()
    };
    let asterisk = Instance::start(&root, &options).unwrap();
    let server = Server::start(BINARY, &settings(&asterisk)).unwrap();
    let rig = Rig { asterisk, server };
    rig.await_connected();
    Some(rig)
}

fn place(rig: &Rig, id: &str, speaker: &str, extension: &str) {
    let endpoint = format!("Local/{speaker}@kit/n");
    let query = [
        ("endpoint", endpoint.as_str()),
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

#[track_caller]
fn assert_chosen(status: &Value) {
    let expected = serde_json::json!({"prompt": "Kowalski", "partials": false});
    assert_eq!(status["recognition"], expected, "{status}");
    let notes = status["notes"].as_array().unwrap();
    for wanted in [
        "ASTERSCRIBE_LANGUAGE",
        "translate: the model",
        "the prompt is not used",
    ] {
        let said = |note: &Value| note.as_str().is_some_and(|note| note.contains(wanted));
        assert!(notes.iter().any(said), "{wanted}: {notes:?}");
    }
}

fn a_caller_is_recognised_as_its_dialplan_says(release: Release) {
    let Some(rig) = rig(release) else {
        return;
    };
    place(&rig, "chosen-1", "talk", "chosen");
    let path = "/api/call/chosen-1/status";
    let status = rig.await_answer(path, SOON, |status| status["legs"][0]["source"].is_string());
    assert_chosen(&status);
    let transcript = rig.await_complete("chosen-1");
    assert_said(&monologue(), &heard(&transcript, "caller"));
    assert!(
        !format!("{:?}", rig.server.log()).contains("Kowalski"),
        "a prompt is nothing for the log"
    );
    // One that says nothing is recognised like every other.
    place(&rig, "plain-1", "talk", "stasis");
    let path = "/api/call/plain-1/status";
    let status = rig.await_answer(path, SOON, |status| status["legs"][0]["source"].is_string());
    assert!(
        status["recognition"].is_null() && status["notes"].is_null(),
        "{status}"
    );
    rig.await_complete("plain-1");
    rig.assert_nothing_left();
}

#[test]
fn on_asterisk_22() {
    a_caller_is_recognised_as_its_dialplan_says(Release::V22);
}

#[test]
fn on_asterisk_16() {
    a_caller_is_recognised_as_its_dialplan_says(Release::V16);
}

#[test]
fn a_tapped_channel_is_asked_too_and_the_request_outweighs_it() {
    let Some(rig) = rig(Release::V22) else {
        return;
    };
    place(&rig, "tapped-1", "caller", "dial-chosen");
    // It has its variables once its dialplan has come to dial.
    let dials = || {
        let channels = rig.asterisk.cli("core show channels concise");
        channels.unwrap().contains("Local/callee@kit")
    };
    assert!(host::wait_until(host::now() + SOON, dials));
    let path = "/api/call/tapped-1/transcribe";
    let body = serde_json::json!({"recognition": {"partials": true}});
    let tapped = || {
        let answer = rig.server.post(path, &body).unwrap();
        answer.status == 202
    };
    assert!(host::wait_until(host::now() + SOON, tapped));
    let status = rig.await_answer("/api/call/tapped-1/status", SOON, |status| {
        status["legs"]
            .as_array()
            .is_some_and(|legs| legs.len() == 2)
    });
    println!("{}: {}", status["recognition"], status["notes"]);
    assert_eq!(status["recognition"]["partials"], true, "{status}");
    assert_eq!(status["recognition"]["prompt"], "Kowalski", "{status}");
    rig.await_complete("tapped-1");
    rig.assert_nothing_left();
}
