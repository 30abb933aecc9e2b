//! Channels that `StasisBroadcast()` offers.

use super::*;
use crate::request::AriRequest;

fn claims(rig: &ControlRig) -> usize {
    let claims = rig.requests.iter();
    claims
        .filter(|r| matches!(r, AriRequest::Claim { .. }))
        .count()
}

#[test]
fn an_offered_caller_is_claimed_and_served() {
    let mut rig = rig();
    rig.world.broadcast("b1");
    rig.settle();
    assert_eq!(claims(&rig), 1);
    assert!(is_up(&rig, "b1", "caller"));
    rig.world.hang_up("b1", 16);
    rig.advance(ms(1_000));
    rig.assert_nothing_left();
}

#[test]
fn one_that_another_application_has_is_no_fault() {
    let mut rig = rig();
    rig.world.broadcast("b1");
    rig.world.claimed_by_another("b1");
    rig.advance(ms(130_000));
    assert_eq!((claims(&rig), rig.control.stats().refused), (1, 0));
    assert_eq!(rig.assert_calls_told_in_turn(), Vec::<String>::new());
    assert!(rig.world.exists("b1") && !rig.world.is_continued("b1"));
    assert!(rig.control.is_idle());
}

#[test]
fn no_more_are_claimed_than_there_is_room_for() {
    let mut rig = connected(ControlConfig {
        max_calls: 3,
        ..config()
    });
    rig.world.incoming("c1");
    rig.settle();
    for id in ["b1", "b2", "b3", "b4"] {
        rig.world.broadcast(id);
    }
    // All offers before the first answer.
    while rig.deliver_event() {}
    rig.settle();
    assert_eq!(claims(&rig), 2);
    assert_eq!(rig.control.stats().turned_away, 0);
    assert_eq!(rig.assert_calls_told_in_turn(), ["b1", "b2", "c1"]);
}

#[test]
fn none_is_claimed_while_no_calls_are_taken() {
    let mut rig = rig();
    let closed = Some("recognition is behind".to_owned());
    rig.command(ControlCommand::Admission { closed });
    rig.world.broadcast("b1");
    rig.settle();
    assert_eq!(claims(&rig), 0);
    rig.command(ControlCommand::Shutdown);
    rig.world.broadcast("b2");
    rig.settle();
    assert_eq!(claims(&rig), 0);
}

#[test]
fn an_offer_is_taken_up_while_the_lists_are_on_their_way() {
    let mut rig = rig_with(config(), AsteriskWorld::new(APP));
    rig.connect();
    rig.world.broadcast("b1");
    rig.deliver_event();
    assert_eq!(claims(&rig), 1);
    rig.settle();
    assert!(is_up(&rig, "b1", "caller"));
}
