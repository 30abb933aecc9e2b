//! Keys that a party presses on a real Asterisk are on the call's record.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use asterscribe_testkit::asterisk::{self, Instance, Options, Release};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::{available, host};
use serde_json::Value;

use crate::asterisk::{BINARY, Rig, SOON, settings};

/// Pressed by the far party one after the other: 120 ms each, 400 ms apart.
const KEYS: &str = "12#*09D";

fn rig(release: Release) -> Option<Rig> {
    let root = available(asterisk::install(release))?;
    let mut options = Options::default();
    options.modules.push("app_senddtmf".to_owned());
    options.extensions.push_str(&format!(
        "exten => keys,1,Answer()\n same => n,Wait(2)\n same => n,SendDTMF({KEYS},400,120)\n same => n,Wait(3600)\n"
    ));
    let asterisk = Instance::start(&root, &options).unwrap();
    let server = Server::start(BINARY, &settings(&asterisk)).unwrap();
    let rig = Rig { asterisk, server };
    rig.await_connected();
    Some(rig)
}

fn keys_of(status: &Value) -> &[Value] {
    // Before the call there is no status.
    status["dtmf"].as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value, field: &str) -> u64 {
    value[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field}: {value}"))
}

fn keys_are_on_the_record(release: Release) {
    let Some(mut rig) = rig(release) else { return };
    let begun = host::now();
    rig.call_into_stasis("presses", "keys");
    let path = "/api/call/presses/status";
    let status = rig.await_answer(path, SOON, |status| keys_of(status).len() >= KEYS.len());
    let lasted = u64::try_from(host::now().saturating_duration_since(begun).as_millis()).unwrap();

    let pressed: String = keys_of(&status)
        .iter()
        .map(|key| key["digit"].as_str().unwrap())
        .collect();
    assert_eq!(pressed, KEYS);
    let mut last = 0;
    // Nothing is pressed in the first two seconds, and then a key every 520 ms; on a machine with
    // other work they come late, but never early.
    for (key, earliest) in keys_of(&status).iter().zip((1000..).step_by(520)) {
        assert_eq!(key["leg"], "caller");
        assert!((60..=400).contains(&number(key, "duration_ms")), "{key}");
        let at = number(key, "at_ms");
        assert!(
            at > last && at >= earliest,
            "from {earliest} ms on: {status}"
        );
        last = at;
    }
    assert!(
        last <= lasted,
        "{last} ms on a call that lasted {lasted} ms"
    );

    // They are as safe as the rest of the call.
    rig.server.kill9().unwrap();
    rig.server.restart().unwrap();
    rig.await_connected();
    let resumed = rig.await_answer(path, SOON, |status| status["status"] == "active");
    assert_eq!(resumed["dtmf"], status["dtmf"]);
    rig.asterisk
        .ari_ok("DELETE", "/channels/presses", &[], None)
        .unwrap();
    rig.await_complete("presses");
    rig.assert_nothing_left();
    assert_eq!(rig.get(path)["dtmf"], status["dtmf"]);
}

#[test]
fn on_asterisk_22() {
    keys_are_on_the_record(Release::V22);
}

#[test]
fn on_asterisk_16() {
    keys_are_on_the_record(Release::V16);
}
