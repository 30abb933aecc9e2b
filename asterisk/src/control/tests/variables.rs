//! Variables of a call's channel are reported before its media.

use super::*;
use crate::request::AriRequest;
use crate::testkit::RequestFault;

const NAMES: [&str; 3] = ["KIND", "NOTE", "COLOUR"];

fn asking() -> ControlConfig {
    ControlConfig {
        variables: NAMES.map(str::to_owned).to_vec(),
        ..config()
    }
}

fn told(rig: &ControlRig) -> Vec<(String, Result<String, String>)> {
    let told = rig.notices.iter().filter_map(|notice| match notice {
        ControlNotice::CallVariables { call, found } if call == "c1" => Some(found.clone()),
        _ => None,
    });
    let told = told.flatten();
    told.map(|(name, value)| (name, value.map(|VariableValue(text)| text)))
        .collect()
}

fn asked(rig: &ControlRig) -> Vec<&str> {
    let asked = rig.requests.iter().filter_map(|request| match request {
        AriRequest::GetVariable { channel, variable } if channel == "c1" => Some(variable.as_str()),
        _ => None,
    });
    asked.collect()
}

#[test]
fn they_are_asked_for_at_once_and_told_before_any_media() {
    let mut rig = connected(asking());
    rig.world.set_variable("c1", "COLOUR", "blue");
    rig.world.set_variable("c1", "KIND", "");
    rig.world.incoming("c1");
    rig.deliver_event();
    assert_eq!(asked(&rig), NAMES, "nobody waits for one before the next");
    // In whatever order they are answered.
    rig.deliver_reply(2);
    rig.settle();
    assert_eq!(told(&rig), [("COLOUR".to_owned(), Ok("blue".to_owned()))]);
    let place = |wanted: fn(&ControlNotice) -> bool| rig.notices.iter().position(wanted).unwrap();
    let variables = place(|notice| matches!(notice, ControlNotice::CallVariables { .. }));
    assert!(place(|notice| matches!(notice, ControlNotice::CallOpened { .. })) < variables);
    assert!(variables < place(|notice| matches!(notice, ControlNotice::LegOpening { .. })));
    assert!(is_up(&rig, "c1", "caller"));
    assert!(
        !format!("{:?}", rig.notices).contains("blue"),
        "no log is told"
    );
}

#[test]
fn a_channel_without_any_is_told_nothing_of() {
    let mut rig = connected(asking());
    rig.world.incoming("c1");
    rig.settle();
    assert_eq!(told(&rig), []);
    assert!(is_up(&rig, "c1", "caller"));
    assert_eq!(rig.control.stats().refused, 0);
}

#[test]
fn one_that_cannot_be_had_costs_no_call() {
    for fault in [
        RequestFault::Refused(500),
        RequestFault::Unreachable,
        RequestFault::Swallowed,
    ] {
        let mut rig = connected(asking());
        rig.world.set_variable("c1", "COLOUR", "blue");
        rig.set_faults(move |request| match request {
            AriRequest::GetVariable { variable, .. } if variable == "KIND" => fault,
            _ => RequestFault::None,
        });
        rig.world.incoming("c1");
        rig.advance(ms(6000));
        let told = told(&rig);
        assert!(told[0].1.is_err(), "{fault:?}: {told:?}");
        assert_eq!(told[1], ("COLOUR".to_owned(), Ok("blue".to_owned())));
        assert!(is_up(&rig, "c1", "caller"), "{fault:?}");
    }
}

#[test]
fn they_are_asked_for_again_when_the_connection_broke_between() {
    let mut rig = connected(asking());
    rig.world.set_variable("c1", "COLOUR", "blue");
    rig.world.incoming("c1");
    rig.deliver_event();
    rig.deliver_reply(0);
    rig.disconnect();
    assert_eq!(told(&rig), []);
    rig.connect();
    rig.settle();
    assert_eq!(told(&rig), [("COLOUR".to_owned(), Ok("blue".to_owned()))]);
    assert_eq!(asked(&rig).len(), 2 * NAMES.len());
    assert!(is_up(&rig, "c1", "caller"));
}

#[test]
fn a_caller_who_leaves_meanwhile_leaves_nothing() {
    let mut rig = connected(asking());
    rig.world.incoming("c1");
    rig.deliver_event();
    rig.world.hang_up("c1", 16);
    while rig.deliver_event() {}
    rig.settle();
    rig.advance(ms(60_000));
    assert!(rig.assert_calls_told_in_turn().is_empty());
    assert!(
        !rig.notices
            .iter()
            .any(|n| matches!(n, ControlNotice::LegOpening { .. }))
    );
    rig.assert_nothing_left();
}
