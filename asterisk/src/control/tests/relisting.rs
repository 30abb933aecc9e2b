//! Connections that break, processes that die, Asterisks that restart.

use super::*;
use crate::control::ControlInput;
use crate::event::AriEvent;
use crate::request::AriRequest;
use crate::testkit::RequestFault;

#[test]
fn a_running_call_stays_up_while_asterisk_is_not_heard() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    let before = rig.ours();
    rig.disconnect();
    rig.advance(ms(600_000));
    rig.connect();
    rig.settle();
    assert_eq!(rig.ours(), before, "nothing was made anew");
    assert_eq!(rig.assert_calls_told_in_turn(), ["c1"]);
}

#[test]
fn a_caller_who_left_unheard_is_ended_by_the_list() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.disconnect();
    rig.world.hang_up("c1", 16);
    rig.connect();
    rig.settle();
    assert_eq!(
        end_of(&rig, "c1").unwrap(),
        (None, "ended while Asterisk was not heard".into())
    );
    rig.assert_nothing_left();
}

#[test]
fn a_caller_who_went_on_unheard_is_ended_too() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.disconnect();
    rig.world
        .execute(&AriRequest::Continue {
            channel: "c1".into(),
        })
        .unwrap();
    rig.connect();
    rig.settle();
    assert_eq!(
        end_of(&rig, "c1").unwrap(),
        (
            None,
            "left the application while Asterisk was not heard".into()
        )
    );
    rig.assert_nothing_left();
    assert!(rig.world.exists("c1"));
}

#[test]
fn a_restart_of_asterisk_ends_every_call_once() {
    let mut rig = rig_tapping();
    rig.world.incoming("c1");
    rig.command(originate(O1));
    rig.settle();
    rig.world.restart();
    rig.disconnect();
    rig.advance(ms(5_000));
    rig.connect();
    rig.settle();
    assert!(rig.assert_calls_told_in_turn().is_empty());
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::CallEnded { .. })),
        3
    );
    rig.assert_nothing_left();
}

#[test]
fn media_that_went_missing_is_made_anew() {
    for victim in ["media", "bridge"] {
        let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
        rig.disconnect();
        let id = rig
            .ours()
            .into_iter()
            .find(|id| id.ends_with(victim))
            .unwrap();
        if victim == "bridge" {
            rig.world
                .execute(&AriRequest::DeleteBridge { bridge: id.clone() })
                .unwrap();
        } else {
            rig.world.kill(&id);
        }
        rig.connect();
        rig.settle();
        assert_eq!(
            count(&rig, |n| matches!(n, ControlNotice::MediaUp { .. })),
            2,
            "{victim}"
        );
        assert_eq!(rig.ours().len(), 2);
        assert!(!rig.ours().contains(&id), "new ids");
        assert_eq!(rig.assert_calls_told_in_turn(), ["c1"]);
    }
}

#[test]
fn a_set_up_that_the_break_interrupted_is_begun_anew() {
    for steps in 0..12 {
        let mut rig = rig();
        rig.world.incoming("c1");
        for _ in 0..steps {
            if !rig.deliver_event() {
                rig.deliver_reply(0);
            }
        }
        rig.disconnect();
        rig.advance(ms(1_000));
        rig.connect();
        rig.advance(ms(1_000));
        if rig.world.in_app().contains(&"c1".to_owned()) {
            assert_eq!(rig.assert_calls_told_in_turn(), ["c1"], "after {steps}");
            assert_eq!(rig.ours().len(), 2, "after {steps}: {:?}", rig.ours());
        }
    }
}

#[test]
fn events_during_a_listing_are_judged_after_it_and_none_is_lost_or_counted_twice() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.input(ControlInput::Connected);
    // In the lists and among the kept events:
    rig.world.incoming("c2");
    rig.world.press("c1", '7');
    // Over before the listing is:
    rig.world.incoming("c3");
    rig.world.hang_up("c3", 16);
    while rig.deliver_event() {}
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::CallOpened { .. })),
        1,
        "kept"
    );
    rig.advance(ms(1_000));
    assert_eq!(
        count(&rig, |n| matches!(
            n,
            ControlNotice::Dtmf { digit: '7', .. }
        )),
        1
    );
    assert_eq!(rig.assert_calls_told_in_turn(), ["c1", "c2"]);
    assert_eq!(end_of(&rig, "c3").unwrap().0, Some(16));
    assert_eq!(rig.ours().len(), 4);
}

#[test]
fn a_hang_up_heard_during_a_listing_keeps_its_cause() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.world.hang_up("c1", 16);
    rig.input(ControlInput::Connected);
    while rig.deliver_event() {}
    rig.advance(ms(1_000));
    assert_eq!(
        end_of(&rig, "c1").unwrap(),
        (Some(16), "told at the end".into())
    );
}

#[test]
fn more_events_than_can_be_kept_begin_the_listing_anew() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.set_faults(|_| RequestFault::Swallowed);
    rig.input(ControlInput::Connected);
    let noise = AriEvent::parse(r#"{"type":"Noise"}"#).unwrap();
    for _ in 0..4_097 {
        rig.input(ControlInput::Event(noise.clone()));
    }
    assert_eq!(rig.control.stats().dropped_events, 4_097);
    rig.clear_faults();
    rig.advance(ms(20_000));
    assert_eq!(rig.assert_calls_told_in_turn(), ["c1"]);
    assert!(rig.control.stats().listings >= 2);
}

#[test]
fn a_listing_that_fails_is_tried_again_with_growing_pauses() {
    let mut rig = rig_with(config(), AsteriskWorld::new(APP));
    rig.set_faults(|r| {
        if matches!(r, AriRequest::ListBridges) {
            RequestFault::Refused(503)
        } else {
            RequestFault::None
        }
    });
    rig.connect();
    rig.world.incoming("c1");
    rig.advance(ms(10_000));
    assert!(
        is_up(&rig, "c1", "caller"),
        "kept events count all the same"
    );
    let tries = rig
        .requests
        .iter()
        .filter(|r| matches!(r, AriRequest::ListBridges))
        .count();
    assert!((3..=5).contains(&tries), "{tries}");
    rig.clear_faults();
    rig.advance(ms(31_000));
    assert_eq!(count(&rig, |n| matches!(n, ControlNotice::Synced)), 1);
}

/// A call that a predecessor placed.
const OLD1: &str = "asterscribe-00000000b0-00000000000000000000000000000001";

/// A predecessor with a Stasis call, a tap and a ringing call dies; the world goes on.
fn orphaned() -> AsteriskWorld {
    let mut old = connected(ControlConfig {
        nonce: "00000000b0".into(),
        ..config()
    });
    old.world.incoming("c1");
    old.world.foreign_call("t1");
    old.command(ControlCommand::Tap { call: "t1".into() });
    old.command(originate(OLD1));
    old.settle();
    assert_eq!(old.ours().len(), 2 + 6 + 1);
    old.world.disconnect();
    old.world
}

#[test]
fn a_successor_takes_up_what_it_is_told_of() {
    let config = ControlConfig {
        recover: vec![
            recover("c1", CallKind::Stasis),
            recover("t1", CallKind::Tap),
            recover(OLD1, CallKind::Initiated),
            recover("gone", CallKind::Stasis),
        ],
        ..config()
    };
    let mut rig = rig_with(config, orphaned());
    rig.connect();
    rig.settle();
    assert_eq!(
        end_of(&rig, "gone").unwrap().1,
        "ended while the server was away"
    );
    rig.notices
        .retain(|n| !matches!(n, ControlNotice::CallEnded { call, .. } if call == "gone"));
    assert_eq!(rig.assert_calls_told_in_turn(), [OLD1, "c1", "t1"]);
    assert_eq!(
        count(&rig, |n| matches!(
            n,
            ControlNotice::CallOpened { resumed: true, .. }
        )),
        3
    );
    assert!(
        is_up(&rig, "c1", "caller") && is_up(&rig, "t1", "caller") && is_up(&rig, "t1", "callee")
    );
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::Reaped { .. })),
        2 + 6
    );
}

#[test]
fn a_predecessors_objects_go_before_new_ones_come() {
    let mut rig = rig_with(
        ControlConfig {
            recover: vec![recover("c1", CallKind::Stasis)],
            ..config()
        },
        orphaned(),
    );
    rig.connect();
    rig.settle();
    let last_removal = rig
        .requests
        .iter()
        .rposition(|r| {
            matches!(
                r,
                AriRequest::DeleteChannel { .. } | AriRequest::DeleteBridge { .. }
            )
        })
        .unwrap();
    let first_creation = rig
        .requests
        .iter()
        .position(|r| {
            matches!(
                r,
                AriRequest::CreateBridge { .. } | AriRequest::ExternalMedia { .. }
            )
        })
        .unwrap();
    assert!(last_removal < first_creation, "{:?}", rig.requests);
    assert!(is_up(&rig, "c1", "caller"));
    assert!(
        rig.ours()
            .iter()
            .all(|id| id == OLD1 || id.starts_with("asterscribe-00000000a1-"))
    );
    assert!(rig.world.exists("t1"), "a tapped channel is no orphan");
}

#[test]
fn a_successor_that_is_told_of_nothing_takes_up_who_talks_and_reaps_the_rest() {
    let mut rig = rig_with(config(), orphaned());
    rig.connect();
    rig.settle();
    assert_eq!(rig.assert_calls_told_in_turn(), [OLD1, "c1", "t1"]);
    assert!(rig.world.exists("t1") && rig.world.exists(OLD1));
    assert_eq!(rig.ours().len(), 2 + 6 + 1);
    assert!(
        rig.ours()
            .iter()
            .all(|id| id == OLD1 || id.contains("-00000000a1-"))
    );
    rig.world.answered_at_far_end(OLD1);
    rig.settle();
    assert!(is_up(&rig, OLD1, "caller"));
}

#[test]
fn a_ringing_call_that_was_recovered_is_answered_later() {
    let config = ControlConfig {
        recover: vec![recover(OLD1, CallKind::Initiated)],
        ..config()
    };
    let mut rig = rig_with(config, orphaned());
    rig.connect();
    rig.settle();
    assert!(!is_up(&rig, OLD1, "caller"));
    rig.world.answered_at_far_end(OLD1);
    rig.settle();
    assert!(is_up(&rig, OLD1, "caller"));
}

#[test]
fn an_answer_that_was_missed_is_seen_in_the_list() {
    let mut rig = rig();
    rig.command(originate(O1));
    rig.settle();
    rig.world.answered_at_far_end(O1);
    while rig.world.next_event().is_some() {}
    rig.input(ControlInput::Connected);
    rig.settle();
    assert!(is_up(&rig, O1, "caller"));
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::CallAnswered { .. })),
        1
    );
}

#[test]
fn being_replaced_is_told() {
    let mut rig = rig();
    for (app, told) in [("another", 0), (APP, 1)] {
        let text = format!(r#"{{"type":"ApplicationReplaced","application":"{app}"}}"#);
        rig.input(ControlInput::Event(AriEvent::parse(&text).unwrap()));
        assert_eq!(count(&rig, |n| matches!(n, ControlNotice::Replaced)), told);
    }
}
