//! Two servers of one application.

use super::*;
use crate::control::ControlInput;
use crate::event::AriEvent;

fn replaced() -> ControlInput {
    let text = format!(r#"{{"type":"ApplicationReplaced","application":"{APP}"}}"#);
    ControlInput::Event(AriEvent::parse(&text).unwrap())
}

/// A server with a caller, a tap, a call that rings and one that is answered, as far as so many
/// deliveries take it.
fn busy(deliveries: usize, own_ports: bool) -> ControlRig {
    let mut rig = connected(ControlConfig {
        own_ports,
        variables: vec!["A".into()],
        ..config()
    });
    rig.ports = AddressPool::new(12);
    rig.world.incoming("c1");
    rig.world.foreign_call("t1");
    rig.command(ControlCommand::Tap { call: "t1".into() });
    rig.command(originate(O1));
    rig.command(originate(O2));
    for n in 0..deliveries {
        if n == 6 {
            rig.world.answered_at_far_end(O2);
        }
        if !rig.deliver_ports() && !rig.deliver_event() {
            rig.deliver_reply(0);
        }
    }
    rig
}

#[test]
fn the_replaced_one_gives_everything_up_and_touches_nothing() {
    for deliveries in 0..60 {
        for own_ports in [false, true] {
            let mut rig = busy(deliveries, own_ports);
            rig.command(ControlCommand::Hangup { call: O1.into() });
            let asked = rig.requests.len();
            rig.input(replaced());
            rig.advance(ms(130_000));
            assert_eq!(count(&rig, |n| matches!(n, ControlNotice::Replaced)), 1);
            assert!(
                rig.assert_calls_told_in_turn().is_empty(),
                "after {deliveries}"
            );
            assert!(
                rig.control.is_idle(),
                "after {deliveries}: {:?}",
                rig.control
            );
            assert_eq!(rig.ports.free(), 12, "after {deliveries}");
            rig.disconnect();
            rig.command(ControlCommand::Tap { call: "t1".into() });
            assert_eq!(refusal_of(&rig, CommandKind::Tap).unwrap().0, Some(503));
            rig.command(ControlCommand::Shutdown);
            rig.advance(ms(30_000));
            assert_eq!(
                count(&rig, |n| matches!(n, ControlNotice::ShutdownComplete)),
                1
            );
            assert_eq!(rig.requests.len(), asked, "after {deliveries}");
        }
    }
}

#[test]
fn the_newcomer_goes_on_with_all_calls() {
    for deliveries in (0..60).chain([1_000]) {
        let mut old = busy(deliveries, false);
        let before = old.world.channel_ids();
        let in_app = old.world.in_app();
        let parties = |id: &&String| ["c1", "t1", O1, O2].contains(&id.as_str());
        // What is told from now on is told to the newcomer, and to it alone.
        let mut world = old.world.clone();
        world.disconnect();
        old.input(replaced());
        let mut new = rig_with(
            ControlConfig {
                nonce: "00000000b7".into(),
                ..config()
            },
            world,
        );
        new.connect();
        new.advance(ms(20_000));
        let open = new.assert_calls_told_in_turn();
        for id in before.iter().filter(parties) {
            assert!(new.world.exists(id), "{id} after {deliveries}");
            if in_app.contains(id) {
                assert!(is_up(&new, id, "caller"), "{id} after {deliveries}");
            }
        }
        assert!(
            open.iter()
                .all(|id| is_up(&new, id, "caller") || id == O1 || id == O2)
        );
        let theirs = |id: &String| id.contains("-00000000a1-") && id != O1 && id != O2;
        assert!(
            !new.ours().iter().any(theirs),
            "after {deliveries}: {:?}",
            new.ours()
        );
    }
}

#[test]
fn what_the_predecessor_followed_is_not_heard_of_for_ever() {
    let mut old = rig_in_call(DeliveryOrder::RepliesFirst);
    old.world.foreign_call("t1");
    old.command(ControlCommand::Tap { call: "t1".into() });
    old.command(originate(O1));
    old.settle();
    old.world.answered_at_far_end(O1);
    old.settle();
    let mut world = std::mem::take(&mut old.world);
    world.disconnect();
    let nonce = "00000000b7".to_owned();
    let mut new = rig_with(ControlConfig { nonce, ..config() }, world);
    new.connect();
    new.settle();
    assert_eq!(new.assert_calls_told_in_turn(), [O1, "c1", "t1"]);
    for id in [O1, "c1"] {
        new.world.sent_elsewhere(id, None);
    }
    new.command(ControlCommand::Hangup { call: "t1".into() });
    new.advance(ms(5_000));
    for id in [O1, "c1", "t1"] {
        assert!(new.world.exists(id) && !new.world.is_subscribed(id), "{id}");
    }
    new.assert_calls_told_in_turn();
}

#[test]
fn a_tap_of_the_predecessor_is_gone_on_with() {
    let mut old = rig_tapping();
    let mut world = std::mem::take(&mut old.world);
    world.disconnect();
    let nonce = "00000000b7".to_owned();
    let mut new = rig_with(ControlConfig { nonce, ..config() }, world);
    new.connect();
    new.settle();
    assert_eq!(new.assert_calls_told_in_turn(), ["t1"]);
    assert!(is_up(&new, "t1", "caller") && is_up(&new, "t1", "callee"));
    assert_eq!(new.ours().len(), 6);
}

#[test]
fn a_placed_call_is_gone_on_with_when_the_application_comes_back() {
    let mut rig = rig();
    for call in [O1, O2] {
        rig.command(originate(call));
        rig.settle();
    }
    rig.world.answered_at_far_end(O1);
    rig.settle();
    rig.input(replaced());
    rig.disconnect();
    rig.connect();
    rig.advance(ms(5_000));
    assert_eq!(rig.assert_calls_told_in_turn(), [O1, O2]);
    assert!(rig.world.exists(O1) && rig.world.exists(O2));
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::MediaUp { .. })),
        2
    );
}

#[test]
fn who_connects_again_begins_anew() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.input(replaced());
    rig.disconnect();
    rig.connect();
    rig.settle();
    assert_eq!(rig.assert_calls_told_in_turn(), ["c1"]);
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::MediaUp { .. })),
        2
    );
    assert_eq!(rig.ours().len(), 2);
}
