//! Lists that Asterisk cannot give as a whole.

use super::*;
use crate::request::AriRequest;
use crate::testkit::RequestFault;

fn troubles(rig: &ControlRig) -> Vec<Option<String>> {
    let told = rig.notices.iter();
    let told = told.filter_map(|n| match n {
        ControlNotice::Trouble(trouble) => Some(trouble.clone()),
        _ => None,
    });
    told.collect()
}

#[test]
fn callers_are_taken_up_though_one_channel_cannot_be_described() {
    let mut world = AsteriskWorld::new(APP);
    world.connected = true;
    world.foreign_call("odd");
    world.undescribable.insert("odd".into());
    for id in ["c1", "c2"] {
        world.incoming(id);
    }
    world.foreign_call("t1");
    world.disconnect();
    let mut rig = rig_with(
        ControlConfig {
            recover: vec![
                recover("t1", CallKind::Tap),
                recover("gone", CallKind::Stasis),
            ],
            ..config()
        },
        world,
    );
    rig.connect();
    rig.settle();
    assert!(is_up(&rig, "c1", "caller") && is_up(&rig, "c2", "caller"));
    assert!(is_up(&rig, "t1", "caller"));
    assert!(end_of(&rig, "gone").is_some());
    assert!(matches!(troubles(&rig).as_slice(), [Some(text)] if text.contains("GET /channels")));
    // It is told once, and once it is over.
    rig.advance(ms(130_000));
    assert_eq!(troubles(&rig).len(), 1);
    rig.world.hang_up("odd", 16);
    rig.advance(ms(130_000));
    assert_eq!(troubles(&rig).len(), 2);
    assert_eq!(troubles(&rig)[1], None);
    assert_eq!(rig.ours().len(), 2 + 2 + 6);
}

#[test]
fn calls_that_go_on_are_left_in_peace_and_those_that_ended_are_ended() {
    let mut rig = rig_tapping();
    for id in ["c1", "c2", "odd"] {
        rig.world.incoming(id);
    }
    rig.settle();
    let before = rig.ours();
    rig.world.undescribable.insert("odd".into());
    rig.disconnect();
    rig.world.hang_up("c2", 16);
    rig.connect();
    rig.advance(ms(130_000));
    assert_eq!(rig.assert_calls_told_in_turn(), ["c1", "odd", "t1"]);
    assert_eq!(rig.ours().len(), before.len() - 2);
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::MediaUp { .. })),
        5,
        "nothing was made anew"
    );
}

#[test]
fn a_caller_who_cannot_be_described_is_served_like_any_other() {
    let mut world = AsteriskWorld::new(APP);
    world.connected = true;
    world.incoming("odd");
    world.undescribable.insert("odd".into());
    world.disconnect();
    let mut rig = rig_with(config(), world);
    rig.connect();
    rig.settle();
    assert!(is_up(&rig, "odd", "caller"), "{:?}", rig.notices);
}

#[test]
fn what_a_predecessor_left_goes_all_the_same() {
    let mut old = connected(ControlConfig {
        nonce: "00000000b0".into(),
        ..config()
    });
    old.world.incoming("c1");
    old.settle();
    let mut world = std::mem::take(&mut old.world);
    world.foreign_call("odd");
    world.undescribable.insert("odd".into());
    world.disconnect();
    let mut rig = rig_with(config(), world);
    rig.connect();
    rig.settle();
    assert!(is_up(&rig, "c1", "caller"));
    assert!(
        rig.ours().iter().all(|id| id.contains("-00000000a1-")),
        "{:?}",
        rig.ours()
    );
}

#[test]
fn bridges_that_cannot_be_listed_are_asked_for_one_by_one_too() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.set_faults(|r| match r {
        AriRequest::ListBridges | AriRequest::ListChannels => RequestFault::Refused(500),
        _ => RequestFault::None,
    });
    let before = rig.ours();
    rig.disconnect();
    rig.connect();
    rig.advance(ms(70_000));
    assert_eq!(rig.ours(), before);
    assert_eq!(rig.assert_calls_told_in_turn(), ["c1"]);
    assert_eq!(troubles(&rig).len(), 1);
    rig.clear_faults();
    rig.advance(ms(70_000));
    assert_eq!(troubles(&rig).len(), 2);
}

#[test]
fn no_more_than_a_few_are_asked_for_at_once() {
    let mut world = AsteriskWorld::new(APP);
    world.connected = true;
    for n in 0..60 {
        world.incoming(&format!("c{n}"));
    }
    world.foreign_call("odd");
    world.undescribable.insert("odd".into());
    world.disconnect();
    let mut rig = rig_with(config(), world);
    rig.connect();
    for _ in 0..3 {
        rig.deliver_reply(0);
    }
    let asked = rig.requests.iter();
    let asked = asked
        .filter(|r| matches!(r, AriRequest::GetChannel { .. }))
        .count();
    assert_eq!(asked, 4);
    rig.settle();
    assert_eq!(rig.assert_calls_told_in_turn().len(), 60);
}
