//! Every request fails in every way at every stage: what was made always goes.

use super::*;
use crate::request::AriRequest;
use crate::testkit::RequestFault;

const FAULTS: [RequestFault; 7] = [
    RequestFault::Refused(500),
    RequestFault::Refused(404),
    RequestFault::Unreachable,
    RequestFault::BrokenOff,
    RequestFault::Swallowed,
    RequestFault::Unanswered,
    RequestFault::Late,
];

/// Lets request number `nth` fail once, or all from there on for `lasting`.
fn fail_at(rig: &mut ControlRig, nth: usize, fault: RequestFault, lasting: bool) {
    let mut seen = 0;
    rig.set_faults(move |_| {
        seen += 1;
        if seen == nth || (lasting && seen > nth) {
            fault
        } else {
            RequestFault::None
        }
    });
}

fn begin(rig: &mut ControlRig, way: usize) {
    match way {
        0 => {
            rig.world.incoming("c1");
            rig.settle();
        }
        1 => {
            rig.world.foreign_call("c1");
            rig.command(ControlCommand::Tap { call: "c1".into() });
            rig.settle();
        }
        _ => {
            rig.command(originate(O1));
            rig.settle();
            rig.world.answered_at_far_end(O1);
            rig.settle();
        }
    }
}

fn requests_of(way: usize) -> usize {
    let mut rig = rig();
    let before = rig.requests.len();
    begin(&mut rig, way);
    rig.requests.len() - before
}

fn run(way: usize, nth: usize, fault: RequestFault, lasting: bool, order: DeliveryOrder) {
    let case = format!("way {way}, request {nth}, {fault:?}, lasting {lasting}, {order:?}");
    let mut rig = rig();
    rig.order = order;
    fail_at(&mut rig, nth, fault, lasting);
    begin(&mut rig, way);
    rig.advance(ms(30_000));
    rig.clear_faults();
    rig.carry_out_late();
    rig.advance(ms(60_000));
    let open = rig.assert_calls_told_in_turn();
    // What is up is whole; what is not up is gone.
    if open.is_empty() && !rig.control.is_idle() {
        panic!("{case}: nothing is open, but {:?}", rig.control);
    }
    for id in open {
        rig.command(ControlCommand::Hangup { call: id });
    }
    rig.advance(ms(120_000));
    assert!(rig.assert_calls_told_in_turn().is_empty(), "{case}");
    assert_eq!(rig.ours(), Vec::<String>::new(), "{case}");
    assert!(rig.control.is_idle(), "{case}: {:?}", rig.control);
    if way == 1 {
        assert!(
            rig.world.exists("c1"),
            "{case}: a tapped channel was touched"
        );
    }
}

#[test]
fn one_request_failing_at_any_stage_leaves_nothing() {
    for way in 0..3 {
        let stages = requests_of(way);
        assert!(stages >= 4, "way {way} has {stages} requests");
        for nth in 1..=stages {
            for fault in FAULTS {
                for order in [DeliveryOrder::RepliesFirst, DeliveryOrder::EventsFirst] {
                    run(way, nth, fault, false, order);
                }
            }
        }
    }
}

#[test]
fn everything_failing_from_any_stage_on_leaves_nothing_once_asterisk_is_well_again() {
    for way in 0..3 {
        for nth in 1..=requests_of(way) + 2 {
            for fault in FAULTS {
                run(way, nth, fault, true, DeliveryOrder::RepliesFirst);
            }
        }
    }
}

#[test]
fn a_caller_whose_media_fails_goes_on_in_the_dialplan() {
    for fault in FAULTS {
        let mut rig = rig();
        rig.set_faults(move |r| {
            if matches!(r, AriRequest::ExternalMedia { .. }) {
                fault
            } else {
                RequestFault::None
            }
        });
        rig.world.incoming("c1");
        rig.advance(ms(12_000));
        assert_eq!(
            count(&rig, |n| matches!(n, ControlNotice::CallFailed { .. })),
            1,
            "{fault:?}"
        );
        assert!(rig.world.is_continued("c1"), "{fault:?}");
        rig.carry_out_late();
        rig.advance(ms(60_000));
        rig.assert_nothing_left();
    }
}

#[test]
fn a_media_channel_that_vanishes_silently_is_noticed() {
    // Asterisk answers 200 and makes nothing when nobody listens to the application.
    let mut rig = rig();
    rig.world.incoming("c1");
    rig.deliver_event();
    rig.world.connected = false;
    rig.settle();
    rig.world.connected = true;
    rig.advance(ms(9_000));
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::CallFailed { .. })),
        0
    );
    rig.advance(ms(2_000));
    let text = "its media was not up in time";
    assert_eq!(
        count(
            &rig,
            |n| matches!(n, ControlNotice::CallFailed { text: t, .. } if t == text)
        ),
        1
    );
    rig.advance(ms(60_000));
    rig.assert_nothing_left();
}
