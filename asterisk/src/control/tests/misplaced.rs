//! The media plane cannot hear a leg where Asterisk sends from.

use super::*;

#[test]
fn a_leg_that_cannot_be_placed_gets_another_media_channel() {
    for own_ports in [false, true] {
        let mut rig = if own_ports { rig_with_ports(2) } else { rig() };
        rig.ports.refuse = 3;
        rig.world.incoming("c1");
        rig.settle();
        let sources = rig.notices.iter();
        let sources = sources.filter(|n| matches!(n, ControlNotice::MediaSource { .. }));
        assert_eq!(sources.count(), 4);
        assert!(is_up(&rig, "c1", "caller"));
        assert_eq!(rig.ours().len(), 2);
        // A word about what is gone changes nothing.
        let asked = rig.requests.len();
        let (call, leg) = ("c1".to_owned(), "caller".to_owned());
        let (source, text) = ("127.0.0.1:9".parse().unwrap(), String::new());
        rig.command(ControlCommand::Misplaced {
            call,
            leg,
            source,
            text,
        });
        rig.settle();
        assert_eq!(rig.requests.len(), asked);
    }
}

#[test]
fn one_that_can_never_be_placed_fails_its_call_with_the_reason() {
    for own_ports in [false, true] {
        let mut rig = if own_ports { rig_with_ports(2) } else { rig() };
        rig.ports.refuse = usize::MAX;
        rig.world.incoming("c1");
        rig.settle();
        let text = "its media could not be placed: it cannot be heard";
        assert!(
            rig.notices
                .iter()
                .any(|n| matches!(n, ControlNotice::CallFailed { text: t, .. } if t == text)),
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
fn a_leg_that_was_heard_before_is_heard_there_until_it_has_another_place() {
    let mut rig = rig_with_ports(2);
    rig.world.incoming("c1");
    rig.settle();
    let media = rig.ours().into_iter().find(|id| id.ends_with("media"));
    rig.ports.refuse = 1;
    rig.world.kill(&media.unwrap());
    rig.settle();
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::MediaSource { .. })),
        3
    );
    assert_eq!(rig.ports.placed().len(), 1);
    rig.world.hang_up("c1", 16);
    rig.advance(ms(1_000));
    rig.assert_nothing_left();
    assert_eq!(rig.ports.free(), 2);
}
