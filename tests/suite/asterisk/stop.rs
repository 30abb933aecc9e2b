//! A server that is told to stop does not cut its callers off.

use asterscribe_testkit::asterisk::Release;
use asterscribe_testkit::host;
use serde_json::Value;

use super::{Rig, SOON};

#[test]
fn a_stasis_caller_goes_on_in_the_dialplan() {
    let Some(mut rig) = Rig::start(Release::V22) else {
        return;
    };
    let events = rig.asterisk.events("observer").unwrap();
    rig.asterisk
        .ari_ok(
            "POST",
            "/applications/observer/subscription",
            &[("eventSource", "channel:")],
            None,
        )
        .unwrap();
    rig.call_into_stasis("sent-on", "hold");
    rig.await_answer("/api/call/sent-on/status", SOON, |status| {
        status["legs"][0]["stats"]["decoded"]
            .as_u64()
            .is_some_and(|decoded| decoded > 0)
    });
    let status = rig.server.terminate().unwrap().expect("it ran");
    assert!(status.success(), "{status}");
    // The dialplan goes on after Stasis() and hangs up itself.
    let gone = || {
        !rig.asterisk
            .channels()
            .unwrap()
            .contains(&"sent-on".to_owned())
    };
    assert!(host::wait_until(host::now() + SOON, gone));
    let left = |event: &Value| {
        event["type"] == "ChannelDialplan"
            && event["channel"]["id"] == "sent-on"
            && event["dialplan_app"] == "Hangup"
    };
    events
        .wait_for("the step after Stasis() in the dialplan", SOON, left)
        .unwrap();
    rig.assert_asterisk_is_tidy();
}
