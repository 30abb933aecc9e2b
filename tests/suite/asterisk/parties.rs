//! Roles of the parties on a real Asterisk, and changes of them.

use asterscribe_testkit::asterisk::{self, Instance, Options, Release};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::{available, host};
use serde_json::{Value, json};

use super::{BINARY, Rig, SOON, settings};

/// Both parties press keys; whoever is called at 7701 is put through by a dialplan of its own.
const DIALPLAN: &str = "exten => press-12,1,Answer()\n same => n,Wait(5)\n same => n,SendDTMF(12,400,120)\n \
                        same => n,Wait(3600)\n\
                        exten => press-34,1,Answer()\n same => n,Wait(6)\n same => n,SendDTMF(34,400,120)\n \
                        same => n,Wait(3600)\n\
                        exten => dial-34,1,Dial(Local/press-34@kit/n,30)\n same => n,Hangup()\n\
                        exten => 7701,1,Goto(kit,transcribe,1)\n\
                        exten => transcribe,1,Answer()\n same => n,Stasis(asterscribe,vip,queue 7)\n same => n,Hangup()\n";

fn rig(release: Release) -> Option<Rig> {
    let root = available(asterisk::install(release))?;
    let mut options = Options::default();
    options.modules.push("app_senddtmf".to_owned());
    options.extensions.push_str(DIALPLAN);
    let asterisk = Instance::start(&root, &options).unwrap();
    let server = Server::start(BINARY, &settings(&asterisk)).unwrap();
    let rig = Rig { asterisk, server };
    rig.await_connected();
    Some(rig)
}

fn originate(rig: &Rig, id: &str, endpoint: &str, extension: &str) {
    let query = [
        ("endpoint", endpoint),
        ("context", "kit"),
        ("extension", extension),
        ("priority", "1"),
        ("channelId", id),
        ("formats", "ulaw"),
        ("callerId", "\"Anna\" <100>"),
    ];
    rig.asterisk
        .ari_ok("POST", "/channels", &query, None)
        .unwrap();
}

fn keys(status: &Value, leg: &str) -> String {
    let keys = status["dtmf"].as_array().into_iter().flatten();
    let own = keys.filter(|key| key["leg"] == leg);
    own.map(|key| key["digit"].as_str().unwrap()).collect()
}

fn keys_of_both_parties_of_a_tap_are_on_the_record(release: Release) {
    let Some(rig) = rig(release) else { return };
    originate(&rig, "keys-1", "Local/press-12@kit/n", "dial-34");
    let tap = "/api/call/keys-1/transcribe";
    let tapped = || (rig.server.post(tap, &Value::Null).unwrap().status == 202).then_some(());
    host::poll_until(host::now() + SOON, tapped).unwrap();
    let status = rig.await_answer("/api/call/keys-1/status", SOON, |status| {
        keys(status, "caller").len() + keys(status, "callee").len() >= 4
    });
    assert_eq!(keys(&status, "caller"), "12", "{status}");
    assert_eq!(keys(&status, "callee"), "34", "{status}");
    rig.asterisk
        .ari_ok("DELETE", "/channels/keys-1", &[], None)
        .unwrap();
    rig.await_complete("keys-1");
    rig.assert_nothing_left();
}

#[test]
fn on_asterisk_22() {
    keys_of_both_parties_of_a_tap_are_on_the_record(Release::V22);
}

#[test]
fn the_number_that_was_dialled_and_the_arguments_of_stasis_are_on_the_record() {
    let Some(rig) = rig(Release::V22) else { return };
    originate(&rig, "dialled-1", "Local/7701@kit/n", "hold");
    let is_there = |calls: &Value| calls["calls"][0]["linkedid"].is_string();
    let calls = rig.await_answer("/api/calls", SOON, is_there);
    let call = &calls["calls"][0];
    assert_eq!(call["tags"], json!(["vip", "queue 7"]), "{call}");
    assert_eq!(call["linkedid"], "dialled-1", "{call}");
    assert_ne!(call["destination"], "transcribe", "{call}");
    assert_eq!(call["sides"]["channel"], "caller", "{call}");
    assert!(call["channel_created_at"].is_string(), "{call}");
    rig.asterisk
        .ari_ok("DELETE", "/channels/dialled-1", &[], None)
        .unwrap();
    rig.await_answer("/health", SOON, |health| health["active_calls"] == 0);
}
