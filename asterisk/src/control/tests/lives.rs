//! Two channels, one after the other, of the same id.

use super::*;
use crate::control::ControlInput;
use crate::event::AriEvent;
use crate::request::AriRequest;
use crate::testkit::RequestFault;

fn told(rig: &ControlRig) -> Vec<&'static str> {
    let told = rig.notices.iter().filter_map(|notice| match notice {
        ControlNotice::CallOpened { .. } => Some("opened"),
        ControlNotice::ChannelGone { .. } => Some("gone"),
        ControlNotice::CallEnded { .. } => Some("ended"),
        ControlNotice::NotResumed { .. } => Some("not resumed"),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_hang_up_tells_that_the_channel_is_gone_and_leaving_does_not() {
    let mut rig = rig_in_call(DeliveryOrder::EventsFirst);
    rig.world.hang_up("c1", 16);
    rig.settle();
    rig.advance(ms(1000));
    rig.world.incoming("c1");
    rig.settle();
    assert_eq!(told(&rig), ["opened", "gone", "ended", "opened"]);
    assert_eq!(rig.assert_calls_told_in_turn(), ["c1"]);
    // It goes on in its dialplan.
    let leaving = r#"{"type":"StasisEnd","channel":{"id":"c1","name":"PJSIP/c1"}}"#;
    rig.input(ControlInput::Event(AriEvent::parse(leaving).unwrap()));
    rig.advance(ms(1000));
    assert_eq!(told(&rig)[4..], ["ended"]);
}

#[test]
fn a_channel_that_enters_under_the_id_of_one_whose_end_nobody_told_is_another_call() {
    for order in [DeliveryOrder::RepliesFirst, DeliveryOrder::EventsFirst] {
        let mut rig = rig_in_call(order);
        rig.world.vanish("c1");
        rig.world.incoming("c1");
        rig.settle();
        assert_eq!(told(&rig), ["opened", "gone", "ended", "opened"]);
        assert_eq!(rig.assert_calls_told_in_turn(), ["c1"]);
        assert_eq!(
            count(&rig, |n| matches!(n, ControlNotice::MediaUp { .. })),
            2
        );
    }
}

#[test]
fn the_lists_tell_another_channel_by_when_it_was_created() {
    for is_tapped in [false, true] {
        let mut rig = if is_tapped {
            rig_tapping()
        } else {
            rig_in_call(DeliveryOrder::RepliesFirst)
        };
        let id = if is_tapped { "t1" } else { "c1" };
        rig.disconnect();
        rig.world.vanish(id);
        rig.world.connected = true;
        if is_tapped {
            rig.world.foreign_call(id);
        } else {
            rig.world.incoming(id);
        }
        rig.world.disconnect();
        rig.connect();
        rig.settle();
        let expected = ["opened", "gone", "ended", "opened"];
        // Nobody asked to listen in on the one that is there now.
        let count = if is_tapped { 3 } else { 4 };
        assert_eq!(told(&rig), expected[..count]);
        rig.assert_calls_told_in_turn();
    }
}

#[test]
fn a_late_word_about_the_channel_before_does_not_end_the_call() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    for kind in ["ChannelDestroyed", "ChannelHangupRequest", "StasisEnd"] {
        let late = format!(
            r#"{{"type":"{kind}","cause":16,"channel":{{"id":"c1","creationtime":"2026-01-12T09:00:00.000+0000"}}}}"#
        );
        rig.input(ControlInput::Event(AriEvent::parse(&late).unwrap()));
    }
    rig.advance(ms(1000));
    assert_eq!(told(&rig), ["opened"]);
    assert_eq!(rig.assert_calls_told_in_turn(), ["c1"]);
}

#[test]
fn a_call_of_an_earlier_process_is_not_taken_up_on_another_channel() {
    for kind in [CallKind::Stasis, CallKind::Tap] {
        let entry = RecoverCall {
            call: "kept-as".into(),
            channel: "c1".into(),
            created_at: "2026-01-12T08:00:00Z".parse().ok(),
            kind,
        };
        let recover = vec![entry];
        let mut rig = rig_with(
            ControlConfig {
                recover,
                ..config()
            },
            AsteriskWorld::new(APP),
        );
        rig.world.connected = true;
        match kind {
            CallKind::Tap => rig.world.foreign_call("c1"),
            _ => rig.world.incoming("c1"),
        }
        rig.world.disconnect();
        rig.connect();
        rig.settle();
        let opened = ["ended", "opened"];
        let count = if kind == CallKind::Tap { 1 } else { 2 };
        assert_eq!(told(&rig), opened[..count], "{kind:?}");
        let resumed =
            |n: &ControlNotice| matches!(n, ControlNotice::CallOpened { resumed: true, .. });
        assert_eq!(super::count(&rig, resumed), 0);
    }
}

/// The requests that do something to the channel of that id.
fn touches(rig: &ControlRig, id: &str) -> usize {
    let touches = rig.requests.iter().filter(|request| {
        matches!(request, AriRequest::DeleteChannel { channel } | AriRequest::Continue { channel } if channel == id)
    });
    touches.count()
}

/// Lets every request that does something to `c1` come to nothing in this way.
fn fail_touches(rig: &mut ControlRig, fault: RequestFault) {
    rig.set_faults(move |request| match request {
        AriRequest::DeleteChannel { channel } | AriRequest::Continue { channel }
            if channel == "c1" =>
        {
            fault
        }
        _ => RequestFault::None,
    });
}

/// Faults by which a request comes to nothing, and is tried again.
const IN_VAIN: [RequestFault; 4] = [
    RequestFault::Refused(503),
    RequestFault::Unreachable,
    RequestFault::Swallowed,
    RequestFault::Late,
];

#[test]
fn a_hang_up_that_is_tried_again_never_hits_the_next_channel_of_the_id() {
    for fault in IN_VAIN {
        for is_told in [true, false] {
            let mut rig = rig_in_call(DeliveryOrder::EventsFirst);
            fail_touches(&mut rig, fault);
            rig.command(ControlCommand::Hangup { call: "c1".into() });
            rig.settle();
            assert_eq!(touches(&rig, "c1"), 1, "{fault:?}");
            match is_told {
                true => rig.world.hang_up("c1", 16),
                false => rig.world.vanish("c1"),
            }
            rig.world.incoming("c1");
            let born = rig.world.creation_of("c1");
            rig.clear_faults();
            rig.advance(ms(130_000));
            let case = format!("{fault:?}, told {is_told}");
            assert!(is_accepted(&rig, CommandKind::Hangup), "{case}");
            assert_eq!(rig.world.creation_of("c1"), born, "{case}");
            assert_eq!(rig.assert_calls_told_in_turn(), ["c1"], "{case}");
            assert_eq!(touches(&rig, "c1"), 1, "{case}");
            let up = count(&rig, |n| matches!(n, ControlNotice::MediaUp { .. }));
            assert_eq!(up, 2, "{case}");
        }
    }
}

#[test]
fn a_caller_is_not_sent_on_for_the_one_before() {
    for fault in IN_VAIN {
        let mut rig = connected(ControlConfig {
            max_calls: 1,
            ..config()
        });
        rig.world.incoming("c2");
        rig.settle();
        fail_touches(&mut rig, fault);
        rig.world.incoming("c1");
        rig.settle();
        assert_eq!(touches(&rig, "c1"), 1, "{fault:?}");
        rig.world.hang_up("c2", 16);
        rig.world.hang_up("c1", 16);
        rig.settle();
        rig.world.incoming("c1");
        rig.clear_faults();
        rig.advance(ms(130_000));
        assert_eq!(rig.assert_calls_told_in_turn(), ["c1"], "{fault:?}");
        assert!(!rig.world.is_continued("c1"), "{fault:?}");
        assert_eq!(touches(&rig, "c1"), 1, "{fault:?}");
    }
}

#[test]
fn nothing_is_repeated_after_a_break_before_it_is_known_who_has_the_id() {
    for is_caller in [true, false] {
        for fault in IN_VAIN {
            let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
            fail_touches(&mut rig, fault);
            rig.command(ControlCommand::Hangup { call: "c1".into() });
            rig.settle();
            rig.disconnect();
            rig.world.vanish("c1");
            // The next one comes as soon as Asterisk is heard, or is none of ours.
            rig.world.connected = true;
            match is_caller {
                true => rig.world.incoming("c1"),
                false => rig.world.foreign_call("c1"),
            }
            let born = rig.world.creation_of("c1");
            rig.clear_faults();
            rig.connect();
            rig.advance(ms(130_000));
            let case = format!("{fault:?}, caller {is_caller}");
            assert_eq!(rig.world.creation_of("c1"), born, "{case}");
            assert_eq!(touches(&rig, "c1"), 1, "{case}");
            let open = rig.assert_calls_told_in_turn();
            assert_eq!(open.len(), usize::from(is_caller), "{case}");
        }
    }
}

#[test]
fn who_is_still_there_after_a_break_is_hung_up() {
    for fault in IN_VAIN {
        let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
        fail_touches(&mut rig, fault);
        rig.command(ControlCommand::Hangup { call: "c1".into() });
        rig.settle();
        rig.disconnect();
        rig.clear_faults();
        rig.connect();
        rig.advance(ms(30_000));
        assert!(!rig.world.exists("c1"), "{fault:?}");
        rig.assert_nothing_left();
    }
}

#[test]
fn a_subscription_of_the_one_before_is_not_undone_for_the_next() {
    for is_told in [true, false] {
        let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
        rig.set_faults(|request| match request {
            AriRequest::Unsubscribe { .. } => RequestFault::Refused(503),
            _ => RequestFault::None,
        });
        let channel = "c1".to_owned();
        rig.world
            .execute(&AriRequest::Continue { channel })
            .unwrap();
        rig.advance(ms(300));
        match is_told {
            true => rig.world.hang_up("c1", 16),
            false => rig.world.vanish("c1"),
        }
        rig.clear_faults();
        rig.world.incoming("c1");
        rig.advance(ms(10_000));
        assert!(rig.world.is_subscribed("c1"), "told {is_told}");
        rig.world.hang_up_without_reason("c1", 38);
        rig.settle();
        let ends = rig.notices.iter().filter_map(|n| match n {
            ControlNotice::CallEnded { cause, .. } => Some(*cause),
            _ => None,
        });
        assert_eq!(ends.collect::<Vec<_>>(), [None, Some(38)], "told {is_told}");
    }
}
