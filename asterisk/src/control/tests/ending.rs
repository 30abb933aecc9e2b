//! Endings of a call, and what is removed with each.

use super::*;
use crate::request::AriRequest;
use crate::testkit::RequestFault;

/// Objects that were removed, in order, by the last part of the id.
fn removals(rig: &ControlRig) -> Vec<String> {
    rig.requests
        .iter()
        .filter_map(|r| match r {
            AriRequest::DeleteChannel { channel } => Some(channel),
            AriRequest::DeleteBridge { bridge } => Some(bridge),
            AriRequest::Continue { channel } | AriRequest::Unsubscribe { channel, .. } => {
                Some(channel)
            }
            _ => None,
        })
        .map(|id| id.rsplit('-').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_byes_cause_is_told_once_after_the_grace() {
    for order in [DeliveryOrder::RepliesFirst, DeliveryOrder::EventsFirst] {
        let mut rig = rig();
        rig.order = order;
        rig.set_faults(|r| match r {
            AriRequest::Subscribe { .. } => RequestFault::Refused(500),
            _ => RequestFault::None,
        });
        rig.world.incoming("c1");
        rig.settle();
        rig.clear_faults();
        rig.world.hang_up("c1", 16);
        rig.settle();
        assert_eq!(end_of(&rig, "c1"), None, "a better cause may still come");
        rig.advance(ms(250));
        assert_eq!(
            end_of(&rig, "c1").unwrap(),
            (Some(16), "Normal Clearing".into())
        );
        rig.assert_nothing_left();
        rig.advance(ms(60_000));
        assert!(rig.assert_calls_told_in_turn().is_empty());
        assert_eq!(removals(&rig), ["media", "bridge"]);
    }
}

#[test]
fn the_end_of_a_callers_channel_tells_the_cause() {
    for order in [DeliveryOrder::RepliesFirst, DeliveryOrder::EventsFirst] {
        for (cause, told) in [
            (16, "told at the end"),
            (38, "told at the end"),
            (0, "Normal Clearing"),
        ] {
            let mut rig = rig_in_call(order);
            assert!(rig.world.is_subscribed("c1"));
            rig.world.hang_up_without_reason("c1", cause);
            rig.settle();
            let expected = if cause == 0 { 16 } else { cause };
            assert_eq!(end_of(&rig, "c1").unwrap(), (Some(expected), told.into()));
            rig.assert_nothing_left();
            assert_eq!(
                removals(&rig),
                ["media", "bridge"],
                "the subscription went with the channel"
            );
        }
    }
}

/// `AST_SOFTHANGUP_…`: device, asynchronous goto, shutdown, time-out, unload, explicit; and two at once.
const SOFT: [u16; 7] = [1, 2, 4, 8, 16, 32, 34];

#[test]
fn a_flag_of_a_soft_hang_up_is_no_cause() {
    for flag in SOFT {
        for (cause, told) in [(0, Some(16)), (16, Some(16)), (38, Some(38))] {
            for is_followed in [true, false] {
                let mut rig = rig();
                if !is_followed {
                    rig.set_faults(|r| match r {
                        AriRequest::Subscribe { .. } => RequestFault::Refused(500),
                        _ => RequestFault::None,
                    });
                }
                rig.world.incoming("c1");
                rig.settle();
                rig.world.hang_up_softly("c1", flag, cause);
                rig.advance(ms(1_000));
                // Who is not followed tells no cause at all.
                let expected = if is_followed { told } else { Some(16) };
                let case = format!("flag {flag}, cause {cause}, followed {is_followed}");
                assert_eq!(end_of(&rig, "c1").unwrap().0, expected, "{case}");
            }
        }
    }
}

#[test]
fn a_placed_call_that_is_hung_up_softly_while_it_rings_has_its_own_cause_or_none() {
    for flag in SOFT {
        for (cause, told) in [(0, None), (19, Some(19))] {
            let mut rig = rig();
            rig.command(originate(O1));
            rig.settle();
            rig.world.hang_up_softly(O1, flag, cause);
            rig.settle();
            assert_eq!(end_of(&rig, O1).unwrap().0, told, "flag {flag}");
        }
    }
}

#[test]
fn a_hang_up_is_one_though_its_cause_is_never_told() {
    let mut rig = rig();
    rig.set_faults(|r| match r {
        AriRequest::Subscribe { .. } => RequestFault::Refused(500),
        _ => RequestFault::None,
    });
    rig.world.incoming("c1");
    rig.settle();
    rig.world.hang_up_without_reason("c1", 0);
    rig.advance(ms(250));
    assert_eq!(
        end_of(&rig, "c1").unwrap(),
        (Some(16), "Normal Clearing".into())
    );
}

#[test]
fn a_caller_who_goes_on_in_the_dialplan_is_listened_to_no_more() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    let channel = "c1".to_owned();
    rig.world
        .execute(&AriRequest::Continue { channel })
        .unwrap();
    rig.advance(ms(250));
    assert!(!rig.world.is_subscribed("c1"));
    rig.assert_nothing_left();
}

#[test]
fn leaving_the_application_without_a_hang_up_has_no_cause() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.world
        .execute(&AriRequest::Continue {
            channel: "c1".into(),
        })
        .unwrap();
    rig.advance(ms(250));
    assert_eq!(
        end_of(&rig, "c1").unwrap(),
        (None, "left the application".into())
    );
    rig.assert_nothing_left();
    assert!(rig.world.exists("c1"));
}

#[test]
fn a_channel_that_comes_back_is_a_new_call() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.world
        .execute(&AriRequest::Continue {
            channel: "c1".into(),
        })
        .unwrap();
    rig.world.incoming("c1");
    rig.advance(ms(1_000));
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::CallOpened { .. })),
        2
    );
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::CallEnded { .. })),
        1
    );
    assert_eq!(rig.assert_calls_told_in_turn(), ["c1"]);
    assert_eq!(rig.ours().len(), 2);
}

#[test]
fn a_hang_up_command_ends_the_channel_first_and_then_the_media() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.command(ControlCommand::Hangup { call: "c1".into() });
    rig.settle();
    assert!(is_accepted(&rig, CommandKind::Hangup));
    assert_eq!(
        end_of(&rig, "c1").unwrap(),
        (Some(16), "hung up on request".into())
    );
    assert_eq!(removals(&rig), ["c1", "media", "bridge"]);
    assert!(!rig.world.exists("c1"));
    rig.assert_nothing_left();
}

#[test]
fn a_hang_up_that_asterisk_never_grants_is_refused_in_the_end() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.set_faults(|r| match r {
        AriRequest::DeleteChannel { channel } if channel == "c1" => RequestFault::Refused(500),
        _ => RequestFault::None,
    });
    rig.command(ControlCommand::Hangup { call: "c1".into() });
    rig.advance(ms(14_000));
    assert_eq!(refusal_of(&rig, CommandKind::Hangup).unwrap().0, Some(500));
    assert!(
        rig.ours().is_empty(),
        "its media is gone all the same: {:?}",
        rig.ours()
    );
    assert_eq!(rig.control.stats().abandoned, 1);
    // It is still up in our application, so the next listing takes it up again.
    rig.clear_faults();
    rig.advance(ms(60_000));
    assert_eq!(rig.assert_calls_told_in_turn(), ["c1"]);
}

#[test]
fn a_taps_objects_go_in_order() {
    let mut rig = rig_tapping();
    rig.command(ControlCommand::Hangup { call: "t1".into() });
    rig.settle();
    assert_eq!(
        removals(&rig),
        ["media", "media", "snoop", "snoop", "bridge", "bridge", "t1"]
    );
}

#[test]
fn removals_that_fail_are_tried_again() {
    for fault in [
        RequestFault::Refused(500),
        RequestFault::Unreachable,
        RequestFault::Swallowed,
        RequestFault::Unanswered,
    ] {
        let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
        let mut left = 3;
        rig.set_faults(move |r| {
            if left > 0
                && matches!(
                    r,
                    AriRequest::DeleteChannel { .. } | AriRequest::DeleteBridge { .. }
                )
            {
                left -= 1;
                return fault;
            }
            RequestFault::None
        });
        rig.world.hang_up("c1", 16);
        rig.advance(ms(60_000));
        rig.assert_nothing_left();
        assert!(rig.control.stats().retries >= 1, "{fault:?}");
        assert!(rig.assert_calls_told_in_turn().is_empty());
    }
}

#[test]
fn what_is_given_up_is_found_by_a_later_listing() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.set_faults(|r| {
        if matches!(r, AriRequest::DeleteBridge { .. }) {
            RequestFault::Refused(500)
        } else {
            RequestFault::None
        }
    });
    rig.world.hang_up("c1", 16);
    rig.advance(ms(15_000));
    assert_eq!(rig.control.stats().abandoned, 1);
    assert_eq!(rig.ours().len(), 1);
    rig.clear_faults();
    rig.advance(ms(120_000));
    rig.assert_nothing_left();
}

#[test]
fn a_stop_lets_callers_go_on_hangs_up_what_we_placed_and_leaves_tapped_channels_alone() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.world.foreign_call("t1");
    rig.command(ControlCommand::Tap { call: "t1".into() });
    rig.command(originate(O1));
    rig.settle();
    rig.world.answered_at_far_end(O1);
    rig.command(originate(O2));
    rig.settle();
    rig.command(originate(O3));
    rig.command(ControlCommand::Shutdown);
    rig.world.incoming("c9");
    rig.settle();
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::ShutdownComplete)),
        1
    );
    assert!(rig.world.is_continued("c1") && rig.world.is_continued("c9"));
    assert!(rig.world.exists("t1"));
    assert_eq!(rig.world.in_app(), Vec::<String>::new());
    rig.assert_nothing_left();
    assert!(rig.assert_calls_told_in_turn().is_empty());
    assert_eq!(
        refusal_of(&rig, CommandKind::Originate).unwrap(),
        (None, "the server is shutting down".into())
    );
}

/// A call whose end has begun, and is not told yet.
fn rig_ending(kind: CallKind, begin: fn(&mut AsteriskWorld, &str)) -> (ControlRig, &'static str) {
    let mut rig = rig();
    let id = match kind {
        CallKind::Stasis => "c1",
        CallKind::Initiated => O1,
        CallKind::Tap => "t1",
    };
    match kind {
        CallKind::Stasis => rig.world.incoming(id),
        CallKind::Initiated => rig.command(originate(id)),
        CallKind::Tap => {
            rig.world.foreign_call(id);
            rig.command(ControlCommand::Tap { call: id.into() });
        }
    }
    rig.settle();
    if kind == CallKind::Initiated {
        rig.world.answered_at_far_end(id);
        rig.settle();
    }
    begin(&mut rig.world, id);
    while count(&rig, |n| matches!(n, ControlNotice::ChannelGone { .. })) == 0 {
        assert!(rig.deliver_event(), "a hang-up is told");
    }
    (rig, id)
}

#[test]
fn a_stop_during_the_end_of_a_call_tells_what_is_known_of_it() {
    for kind in [CallKind::Stasis, CallKind::Initiated, CallKind::Tap] {
        let (mut rig, id) = rig_ending(kind, |world, id| world.hang_up(id, 17));
        rig.command(ControlCommand::Shutdown);
        rig.advance(ms(10_000));
        let end = (Some(17), "User busy".into());
        assert_eq!(end_of(&rig, id).unwrap(), end, "{kind:?}");
        let (mut rig, id) = rig_ending(kind, |world, id| world.hang_up_without_reason(id, 0));
        rig.command(ControlCommand::Shutdown);
        rig.advance(ms(10_000));
        let end = (Some(16), "Normal Clearing".into());
        assert_eq!(end_of(&rig, id).unwrap(), end, "{kind:?}");
    }
}

#[test]
fn a_stop_or_another_channel_of_the_id_leaves_a_hang_up_what_it_was() {
    for is_stop in [true, false] {
        let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
        rig.command(ControlCommand::Hangup { call: "c1".into() });
        if is_stop {
            rig.command(ControlCommand::Shutdown);
        } else {
            rig.world.vanish("c1");
            rig.world.incoming("c1");
        }
        rig.advance(ms(10_000));
        let (_, text) = end_of(&rig, "c1").unwrap();
        assert_eq!(text, "hung up on request", "stop {is_stop}");
    }
}

#[test]
fn a_stop_ends_though_asterisk_does_not_answer() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.set_faults(|_| RequestFault::Unreachable);
    rig.disconnect();
    rig.command(ControlCommand::Shutdown);
    rig.advance(ms(30_000));
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::ShutdownComplete)),
        1
    );
    assert!(rig.control.is_idle());
}

#[test]
fn a_stop_with_nothing_to_do_is_complete_at_once() {
    let mut rig = rig_with(config(), AsteriskWorld::new(APP));
    rig.command(ControlCommand::Shutdown);
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::ShutdownComplete)),
        1
    );
}

#[test]
fn a_stop_is_complete_once_what_was_ours_has_hung_up() {
    for order in [DeliveryOrder::RepliesFirst, DeliveryOrder::EventsFirst] {
        let mut rig = rig_tapping();
        rig.order = order;
        rig.world.hangs_up_late = true;
        rig.command(ControlCommand::Hangup { call: "t1".into() });
        rig.command(ControlCommand::Shutdown);
        rig.advance(ms(5_000));
        assert_eq!(
            count(&rig, |n| matches!(n, ControlNotice::ShutdownComplete)),
            0
        );
        rig.world.hang_ups_done();
        rig.settle();
        rig.world.hang_ups_done();
        rig.settle();
        assert_eq!(
            count(&rig, |n| matches!(n, ControlNotice::ShutdownComplete)),
            1
        );
        rig.assert_nothing_left();
    }
}

#[test]
fn who_starts_after_a_stop_does_not_take_up_a_tap_that_was_ended() {
    let mut old = rig_tapping();
    old.world.hangs_up_late = true;
    old.command(ControlCommand::Hangup { call: "t1".into() });
    old.command(ControlCommand::Shutdown);
    while count(&old, |n| matches!(n, ControlNotice::ShutdownComplete)) == 0 {
        old.world.hang_ups_done();
        old.settle();
    }
    let mut world = std::mem::take(&mut old.world);
    world.disconnect();
    let nonce = "00000000b7".to_owned();
    let mut new = rig_with(ControlConfig { nonce, ..config() }, world);
    new.connect();
    new.settle();
    assert!(new.assert_calls_told_in_turn().is_empty());
}

#[test]
fn a_media_channel_whose_end_nobody_tells_is_asked_about() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.world.hangs_up_late = true;
    rig.world.hang_up("c1", 16);
    rig.settle();
    for id in rig.ours().iter().filter(|id| id.ends_with("media")) {
        rig.world.vanish(id);
    }
    rig.advance(ms(200));
    assert!(!rig.control.is_idle());
    rig.advance(ms(100));
    assert!(rig.control.is_idle());
    rig.assert_nothing_left();
}

#[test]
fn a_media_channel_that_does_not_end_is_left_to_the_next_listing() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.world.hangs_up_late = true;
    rig.world.hang_up("c1", 16);
    rig.advance(ms(7_500));
    assert_eq!(rig.control.stats().abandoned, 0);
    rig.advance(ms(500));
    assert_eq!(rig.control.stats().abandoned, 1);
    rig.world.hangs_up_late = false;
    rig.world.hang_ups_done();
    rig.advance(ms(60_000));
    rig.assert_nothing_left();
}
