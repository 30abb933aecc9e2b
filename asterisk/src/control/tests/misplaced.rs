//! The media plane cannot hear a leg where Asterisk sends from.

use std::net::SocketAddr;

use super::*;

fn latest_source(rig: &Rig, leg: &str) -> SocketAddr {
    let sources = rig.notices.iter().rev().find_map(|n| match n {
        Notice::MediaSource { leg: l, source, .. } if *l == leg => Some(*source),
        _ => None,
    });
    sources.unwrap()
}

fn misplace(rig: &mut Rig, call: &str, leg: &'static str) -> SocketAddr {
    let source = latest_source(rig, leg);
    rig.ports.give_back(call, leg);
    rig.command(Command::Misplaced {
        call: call.to_owned(),
        leg: leg.to_owned(),
        source,
        text: format!("RTP from {source} already belongs to another leg"),
    });
    rig.settle();
    source
}

#[test]
fn a_leg_that_cannot_be_placed_gets_another_media_channel() {
    let mut rig = rig_in_call(Order::RepliesFirst);
    let first = misplace(&mut rig, "c1", "caller");
    assert_ne!(latest_source(&rig, "caller"), first);
    assert_eq!(count(&rig, |n| matches!(n, Notice::MediaUp { .. })), 2);
    assert_eq!(rig.ours().len(), 2);
    // The same word again is about what is gone.
    let asked = rig.requests.len();
    let (call, leg) = ("c1".to_owned(), "caller".to_owned());
    let (source, text) = (first, String::new());
    rig.command(Command::Misplaced {
        call,
        leg,
        source,
        text,
    });
    rig.settle();
    assert_eq!(rig.requests.len(), asked);
}

#[test]
fn one_that_can_never_be_placed_fails_its_call_with_the_reason() {
    for own_ports in [false, true] {
        let mut rig = if own_ports { rig_with_ports(2) } else { rig() };
        rig.world.incoming("c1");
        rig.settle();
        let mut last = None;
        for _ in 0..6 {
            last = Some(misplace(&mut rig, "c1", "caller"));
        }
        let text = format!(
            "its media could not be placed: RTP from {} already belongs to another leg",
            last.unwrap()
        );
        assert!(
            rig.notices
                .iter()
                .any(|n| matches!(n, Notice::CallFailed { text: t, .. } if *t == text)),
            "{:?}",
            rig.notices
        );
        assert!(rig.world.is_continued("c1"));
        rig.advance(ms(60_000));
        rig.assert_nothing_left();
        if own_ports {
            assert_eq!(rig.ports.free(), 2);
        }
    }
}

#[test]
fn a_leg_that_was_heard_before_keeps_its_former_address_meanwhile() {
    let mut rig = rig_with_ports(2);
    rig.world.incoming("c1");
    rig.settle();
    let media = rig.ours().into_iter().find(|id| id.ends_with("media"));
    rig.world.kill(&media.unwrap());
    rig.settle();
    misplace(&mut rig, "c1", "caller");
    assert_eq!(count(&rig, |n| matches!(n, Notice::MediaUp { .. })), 3);
    rig.world.hang_up("c1", 16);
    rig.advance(ms(1_000));
    rig.assert_nothing_left();
    assert_eq!(rig.ports.free(), 2);
}
