//! Connections that break under a request.

use super::*;
use crate::request::AriRequest;
use crate::testkit::RequestFault;

/// Breaks the first `times` requests of each kind off.
fn break_off(rig: &mut ControlRig, times: usize, fault: RequestFault) {
    let mut seen: Vec<(std::mem::Discriminant<AriRequest>, usize)> = Vec::new();
    rig.set_faults(move |request| {
        let kind = std::mem::discriminant(request);
        let at = seen.iter().position(|(k, _)| *k == kind);
        let at = at.unwrap_or_else(|| {
            seen.push((kind, 0));
            seen.len() - 1
        });
        seen[at].1 += 1;
        if seen[at].1 <= times {
            fault
        } else {
            RequestFault::None
        }
    });
}

#[test]
fn a_call_comes_up_though_every_request_breaks_off_at_first() {
    for fault in [RequestFault::Unreachable, RequestFault::BrokenOff] {
        for times in 1..=3 {
            let mut rig = rig();
            break_off(&mut rig, times, fault);
            rig.world.incoming("c1");
            rig.advance(ms(5_000));
            assert!(
                is_up(&rig, "c1", "caller"),
                "{fault:?} {times} {:?}",
                rig.notices
            );
            assert_eq!(
                count(&rig, |n| matches!(n, ControlNotice::LegFailed { .. })),
                0
            );
            assert_eq!(rig.ours().len(), 2);
            rig.world.hang_up("c1", 16);
            rig.advance(ms(60_000));
            rig.assert_nothing_left();
        }
    }
}

#[test]
fn a_tap_and_a_placed_call_come_up_likewise() {
    for fault in [RequestFault::Unreachable, RequestFault::BrokenOff] {
        let mut rig = rig();
        break_off(&mut rig, 1, fault);
        rig.world.foreign_call("t1");
        rig.command(ControlCommand::Tap { call: "t1".into() });
        rig.command(originate(O1));
        rig.advance(ms(2_000));
        assert!(is_accepted(&rig, CommandKind::Originate), "{fault:?}");
        assert!(is_up(&rig, "t1", "caller") && is_up(&rig, "t1", "callee"));
        rig.world.answered_at_far_end(O1);
        rig.settle();
        assert!(is_up(&rig, O1, "caller"));
        assert_eq!(rig.ours().len(), 6 + 3);
    }
}

#[test]
fn media_that_was_made_by_the_request_that_broke_off_has_its_source_told() {
    let mut rig = rig();
    break_off(&mut rig, 1, RequestFault::BrokenOff);
    rig.world.incoming("c1");
    rig.advance(ms(1_000));
    assert!(rig.notices.iter().any(
        |n| matches!(n, ControlNotice::MediaSource { source, .. } if source.port() == 20_002)
    ));
}

#[test]
fn what_breaks_off_again_and_again_fails_with_the_reason() {
    let mut rig = rig();
    rig.set_faults(|r| match r {
        AriRequest::ExternalMedia { .. } => RequestFault::Unreachable,
        _ => RequestFault::None,
    });
    rig.world.incoming("c1");
    rig.advance(ms(5_000));
    let asked = rig
        .requests
        .iter()
        .filter(|r| matches!(r, AriRequest::ExternalMedia { .. }));
    assert_eq!(asked.count(), 4);
    let text = "no media channel could be made: as scripted";
    assert_eq!(
        count(
            &rig,
            |n| matches!(n, ControlNotice::CallFailed { text: t, .. } if t == text)
        ),
        1
    );
    assert!(rig.world.is_continued("c1"));
}

#[test]
fn a_refusal_stays_one_where_nothing_was_made() {
    let mut rig = rig();
    let mut seen = 0;
    rig.set_faults(move |r| match r {
        AriRequest::ExternalMedia { .. } => {
            seen += 1;
            if seen == 1 {
                RequestFault::Unreachable
            } else {
                RequestFault::Refused(500)
            }
        }
        _ => RequestFault::None,
    });
    rig.world.incoming("c1");
    rig.advance(ms(5_000));
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::CallFailed { .. })),
        1
    );
    rig.advance(ms(60_000));
    rig.assert_nothing_left();
}

#[test]
fn nothing_is_asked_again_once_the_connection_is_gone() {
    let mut rig = rig();
    rig.set_faults(|_| RequestFault::Unreachable);
    rig.world.incoming("c1");
    rig.deliver_event();
    rig.disconnect();
    let asked = rig.requests.len();
    rig.advance(ms(60_000));
    assert_eq!(rig.requests.len(), asked);
}
