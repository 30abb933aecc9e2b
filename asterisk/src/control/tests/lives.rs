//! Two channels, one after the other, of the same id.

use super::*;
use crate::control::ControlInput;
use crate::event::AriEvent;

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
