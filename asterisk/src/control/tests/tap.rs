//! A channel that is not ours is spied on.

use super::*;
use crate::control::ControlInput;
use crate::event::AriEvent;
use crate::request::{AriRequest, SnoopSide};
use crate::testkit::RequestFault;

#[test]
fn both_parties_get_a_snoop_a_media_channel_and_a_bridge_of_their_own() {
    let rig = rig_tapping();
    assert!(is_accepted(&rig, CommandKind::Tap));
    assert!(rig.notices.iter().any(|n| matches!(
        n,
        ControlNotice::CallOpened {
            kind: CallKind::Tap,
            ..
        }
    )));
    let bridges = rig.world.bridge_ids();
    assert_eq!(bridges.len(), 2);
    for bridge in bridges {
        assert_eq!(rig.world.bridged(&bridge).len(), 2);
        assert!(!rig.world.bridged(&bridge).contains(&"t1".to_owned()));
    }
    let sides: Vec<SnoopSide> = rig
        .requests
        .iter()
        .filter_map(|r| {
            if let AriRequest::Snoop { spy, .. } = r {
                Some(*spy)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(sides, [SnoopSide::In, SnoopSide::Out]);
    assert!(rig.world.is_subscribed("t1"));
}

#[test]
fn an_unknown_channel_is_refused() {
    let mut rig = rig();
    rig.command(ControlCommand::Tap {
        call: "nobody".into(),
    });
    rig.settle();
    assert_eq!(refusal_of(&rig, CommandKind::Tap).unwrap().0, Some(404));
    rig.assert_nothing_left();
}

#[test]
fn a_call_of_ours_and_our_own_channels_cannot_be_tapped() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.command(ControlCommand::Tap { call: "c1".into() });
    assert_eq!(refusal_of(&rig, CommandKind::Tap).unwrap().0, Some(409));
    let own = rig
        .world
        .channel_ids()
        .into_iter()
        .find(|id| id.ends_with("media"))
        .unwrap();
    rig.notices.clear();
    rig.command(ControlCommand::Tap { call: own });
    assert_eq!(refusal_of(&rig, CommandKind::Tap).unwrap().0, Some(409));
}

#[test]
fn one_leg_may_fail() {
    let mut rig = rig();
    rig.world.foreign_call("t1");
    rig.set_faults(|r| {
        if matches!(
            r,
            AriRequest::Snoop {
                spy: SnoopSide::Out,
                ..
            }
        ) {
            RequestFault::Refused(500)
        } else {
            RequestFault::None
        }
    });
    rig.command(ControlCommand::Tap { call: "t1".into() });
    rig.settle();
    assert!(is_up(&rig, "t1", "caller"));
    assert_eq!(
        count(&rig, |n| matches!(
            n,
            ControlNotice::LegFailed { leg: "callee", .. }
        )),
        1
    );
    assert_eq!(rig.assert_calls_told_in_turn(), ["t1"]);
    assert_eq!(rig.ours().len(), 3, "{:?}", rig.ours());
}

#[test]
fn both_legs_failing_fails_the_call_and_leaves_the_channel_alone() {
    let mut rig = rig();
    rig.world.foreign_call("t1");
    rig.set_faults(|r| {
        if matches!(r, AriRequest::ExternalMedia { .. }) {
            RequestFault::Refused(500)
        } else {
            RequestFault::None
        }
    });
    rig.command(ControlCommand::Tap { call: "t1".into() });
    rig.settle();
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::LegFailed { .. })),
        2
    );
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::CallFailed { .. })),
        1
    );
    rig.advance(ms(60_000));
    rig.assert_nothing_left();
    assert!(rig.world.exists("t1") && !rig.world.is_subscribed("t1"));
}

#[test]
fn ending_a_tap_never_touches_the_channel() {
    let mut rig = rig_tapping();
    rig.command(ControlCommand::Hangup { call: "t1".into() });
    rig.settle();
    assert!(is_accepted(&rig, CommandKind::Hangup));
    assert_eq!(
        end_of(&rig, "t1").unwrap(),
        (None, "the tap was ended on request".into())
    );
    rig.assert_nothing_left();
    assert!(
        rig.world.exists("t1") && !rig.world.is_continued("t1") && !rig.world.is_subscribed("t1")
    );
    assert!(!rig.requests.iter().any(|r| {
        matches!(r, AriRequest::DeleteChannel { channel } | AriRequest::Continue { channel } | AriRequest::Answer { channel } if channel == "t1")
    }));
}

#[test]
fn the_tapped_channels_hang_up_ends_the_tap_with_its_cause() {
    for order in [DeliveryOrder::RepliesFirst, DeliveryOrder::EventsFirst] {
        let mut rig = rig_tapping();
        rig.order = order;
        rig.world.hang_up("t1", 17);
        rig.advance(ms(1000));
        assert_eq!(
            end_of(&rig, "t1").unwrap(),
            (Some(17), "told at the end".into())
        );
        rig.advance(ms(60_000));
        rig.assert_nothing_left();
        assert!(rig.assert_calls_told_in_turn().is_empty());
    }
}

#[test]
fn a_snoop_that_somebody_hangs_up_is_made_anew() {
    for order in [DeliveryOrder::RepliesFirst, DeliveryOrder::EventsFirst] {
        let mut rig = rig_tapping();
        rig.order = order;
        for round in 1..=4 {
            let snoop = rig
                .ours()
                .into_iter()
                .find(|id| id.ends_with("snoop"))
                .unwrap();
            rig.world.kill(&snoop);
            rig.advance(ms(1_000));
            assert_eq!(end_of(&rig, "t1"), None);
            assert!(!rig.world.exists(&snoop));
            assert_eq!(rig.ours().len(), 6, "{:?}", rig.ours());
            assert_eq!(
                count(&rig, |n| matches!(n, ControlNotice::MediaUp { .. })),
                2 + round
            );
        }
        rig.world.hang_up("t1", 17);
        rig.advance(ms(1_000));
        assert_eq!(
            end_of(&rig, "t1").unwrap(),
            (Some(17), "told at the end".into())
        );
        rig.assert_nothing_left();
    }
}

#[test]
fn a_snoop_hung_up_at_any_moment_of_the_set_up_is_made_anew() {
    for deliveries in 1..40 {
        let mut rig = rig();
        rig.world.foreign_call("t1");
        rig.command(ControlCommand::Tap { call: "t1".into() });
        for _ in 0..deliveries {
            if !rig.deliver_event() {
                rig.deliver_reply(0);
            }
        }
        let snoop = rig.ours().into_iter().find(|id| id.ends_with("snoop"));
        let Some(snoop) = snoop else { continue };
        rig.world.kill(&snoop);
        rig.advance(ms(5_000));
        assert!(
            is_up(&rig, "t1", "caller") && is_up(&rig, "t1", "callee"),
            "after {deliveries}: {:?}",
            rig.notices
        );
        assert_eq!(rig.ours().len(), 6, "after {deliveries}");
    }
}

#[test]
fn a_snoop_hung_up_again_and_again_costs_its_leg_and_says_so() {
    let mut rig = rig_tapping();
    for _ in 0..20 {
        let snoop = rig.ours().into_iter().find(|id| id.ends_with("snoop"));
        let Some(snoop) = snoop else { break };
        rig.world.kill(&snoop);
        rig.advance(ms(1_000));
    }
    let text = "its Snoop was hung up too often";
    assert!(
        rig.notices
            .iter()
            .any(|n| matches!(n, ControlNotice::CallFailed { text: t, .. } if t == text)),
        "{:?}",
        rig.notices
    );
    rig.advance(ms(60_000));
    rig.assert_nothing_left();
    assert!(rig.world.exists("t1"));
}

#[test]
fn a_snoop_that_ends_with_its_channel_ends_the_tap_once_whichever_is_told_first() {
    let mut rig = rig_tapping();
    let snoop = rig
        .ours()
        .into_iter()
        .find(|id| id.ends_with("snoop"))
        .unwrap();
    rig.world.kill(&snoop);
    while rig.deliver_event() {}
    // The answer that it is still there is overtaken by its end.
    rig.world.hang_up("t1", 16);
    rig.advance(ms(1_000));
    assert_eq!(
        end_of(&rig, "t1").unwrap(),
        (Some(16), "told at the end".into())
    );
    rig.assert_nothing_left();
}

#[test]
fn a_tapped_channel_that_enters_our_application_goes_on() {
    let mut rig = rig_tapping();
    rig.world.enter_again("t1");
    rig.settle();
    assert!(rig.world.is_continued("t1"));
    assert_eq!(rig.assert_calls_told_in_turn(), ["t1"]);
}

#[test]
fn an_answer_to_a_tap_that_was_refused_changes_nothing_of_the_next_call() {
    for own_ports in [false, true] {
        let mut rig = if own_ports { rig_with_ports(2) } else { rig() };
        rig.world.foreign_call("c1");
        rig.command(ControlCommand::Tap { call: "c1".into() });
        rig.deliver_ports();
        // The channel goes and comes back before it is known what it was.
        rig.world.hang_up("c1", 16);
        let gone = r#"{"type":"ChannelDestroyed","cause":16,"channel":{"id":"c1","name":"PJSIP/c1","state":"Up"}}"#;
        rig.input(ControlInput::Event(AriEvent::parse(gone).unwrap()));
        rig.world.incoming("c1");
        while rig.deliver_event() {}
        rig.settle();
        assert_eq!(refusal_of(&rig, CommandKind::Tap).unwrap().0, Some(404));
        assert_eq!(rig.assert_calls_told_in_turn(), ["c1"]);
        assert!(is_up(&rig, "c1", "caller") && !is_up(&rig, "c1", "callee"));
    }
}
