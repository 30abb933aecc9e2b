//! Calls that we place.

use super::*;
use crate::control::ControlInput;
use crate::event::AriEvent;
use crate::request::AriRequest;
use crate::testkit::RequestFault;

fn placed() -> ControlRig {
    let mut rig = rig();
    rig.command(originate(O1));
    rig.settle();
    assert!(is_accepted(&rig, CommandKind::Originate));
    assert!(matches!(
        rig.notices[0],
        ControlNotice::CallOpened {
            kind: CallKind::Initiated,
            ..
        }
    ));
    rig
}

#[test]
fn an_answered_call_gets_media() {
    let mut rig = placed();
    rig.world.answered_at_far_end(O1);
    rig.settle();
    assert!(is_up(&rig, O1, "caller"));
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::CallAnswered { .. })),
        1
    );
    assert!(
        !rig.requests
            .iter()
            .any(|r| matches!(r, AriRequest::Answer { .. })),
        "it is up already"
    );
}

#[test]
fn a_busy_line_ends_it_with_its_cause() {
    let mut rig = placed();
    rig.world.hang_up(O1, 17);
    rig.settle();
    assert_eq!(
        end_of(&rig, O1).unwrap(),
        (Some(17), "told at the end".into())
    );
    rig.assert_nothing_left();
}

#[test]
fn an_end_that_overtakes_the_reply_is_told_in_turn() {
    let mut rig = rig();
    rig.order = DeliveryOrder::EventsFirst;
    rig.command(originate(O1));
    rig.world.hang_up(O1, 21);
    rig.settle();
    assert!(is_accepted(&rig, CommandKind::Originate));
    assert_eq!(end_of(&rig, O1).unwrap().0, Some(21));
    assert!(rig.assert_calls_told_in_turn().is_empty());
    rig.assert_nothing_left();
}

#[test]
fn nobody_answers() {
    let mut rig = placed();
    rig.advance(ms(59_000));
    assert!(rig.world.exists(O1));
    rig.advance(ms(3_000));
    assert!(!rig.world.exists(O1));
    assert_eq!(
        end_of(&rig, O1).unwrap(),
        (Some(16), "no answer within 60 s".into())
    );
    rig.assert_nothing_left();
}

#[test]
fn asterisk_refuses() {
    let mut rig = rig();
    rig.set_faults(|r| {
        if matches!(r, AriRequest::Originate(_)) {
            RequestFault::Refused(400)
        } else {
            RequestFault::None
        }
    });
    rig.command(originate(O1));
    rig.settle();
    assert_eq!(
        refusal_of(&rig, CommandKind::Originate).unwrap().0,
        Some(400)
    );
    assert!(
        rig.notices
            .iter()
            .all(|n| !matches!(n, ControlNotice::CallOpened { .. }))
    );
    rig.assert_nothing_left();
}

#[test]
fn an_unanswered_request_is_refused_and_cleaned_up_however_late_it_is_carried_out() {
    for fault in [
        RequestFault::Swallowed,
        RequestFault::Unanswered,
        RequestFault::Late,
    ] {
        let mut rig = rig();
        rig.set_faults(move |r| {
            if matches!(r, AriRequest::Originate(_)) {
                fault
            } else {
                RequestFault::None
            }
        });
        rig.command(originate(O1));
        rig.advance(ms(6_000));
        assert_eq!(
            refusal_of(&rig, CommandKind::Originate).unwrap(),
            (None, "no answer in time".into())
        );
        rig.carry_out_late();
        rig.advance(ms(30_000));
        rig.assert_nothing_left();
    }
}

#[test]
fn the_far_half_of_a_local_channel_is_neither_reaped_nor_a_call() {
    let mut rig = placed();
    rig.world.foreign_call(&format!("{O1};2"));
    rig.input(ControlInput::Connected);
    rig.settle();
    assert!(rig.world.exists(&format!("{O1};2")));
    rig.world.incoming(&format!("{O1};2"));
    rig.settle();
    assert!(rig.world.is_continued(&format!("{O1};2")));
    assert_eq!(rig.assert_calls_told_in_turn(), [O1]);
}

#[test]
fn commands_are_refused_while_not_connected_twice_or_beyond_the_limit() {
    let mut rig = rig_with(
        ControlConfig {
            max_calls: 1,
            ..config()
        },
        AsteriskWorld::new(APP),
    );
    rig.command(originate(O1));
    assert_eq!(refusal_of(&rig, CommandKind::Originate).unwrap().0, None);
    rig.connect();
    rig.settle();
    rig.command(originate(O1));
    rig.settle();
    for (call, status) in [(O1, 409), (O2, 503), ("", 422)] {
        rig.notices.clear();
        rig.command(originate(call));
        assert_eq!(
            refusal_of(&rig, CommandKind::Originate).unwrap().0,
            Some(status),
            "{call}"
        );
    }
    rig.notices.clear();
    rig.command(ControlCommand::Hangup {
        call: "nobody".into(),
    });
    assert_eq!(refusal_of(&rig, CommandKind::Hangup).unwrap().0, Some(404));
}

#[test]
fn local_channels_are_given_a_format() {
    let mut rig = rig();
    let mut command = originate(O1);
    if let ControlCommand::Originate { endpoint, .. } = &mut command {
        *endpoint = "Local/talk@default/n".into();
    }
    rig.command(command);
    let asked = rig.requests.iter().find_map(|r| {
        if let AriRequest::Originate(o) = r {
            o.formats.clone()
        } else {
            None
        }
    });
    assert_eq!(asked.as_deref(), Some("ulaw"));
}

#[test]
fn an_event_of_a_stranger_changes_nothing() {
    let mut rig = placed();
    let asked = rig.requests.len();
    for kind in [
        "StasisEnd",
        "ChannelDestroyed",
        "ChannelHangupRequest",
        "ChannelStateChange",
    ] {
        let event = AriEvent::parse(&format!(
            r#"{{"type":"{kind}","channel":{{"id":"stranger"}}}}"#
        ))
        .unwrap();
        rig.input(ControlInput::Event(event));
    }
    assert_eq!(rig.requests.len(), asked);
}
