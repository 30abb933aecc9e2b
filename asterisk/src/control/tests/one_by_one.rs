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

/// Outcome of the search for a name: the channel, or status and reason.
fn search(rig: &mut ControlRig, name: &str) -> Result<String, (Option<u16>, String)> {
    rig.notices.clear();
    rig.command(ControlCommand::Find { name: name.into() });
    rig.settle();
    let found = rig.notices.iter().find_map(|n| match n {
        ControlNotice::ChannelFound { name: n, channel } if n == name => Some(channel.clone()),
        _ => None,
    });
    found.ok_or_else(|| refusal_of(rig, CommandKind::Find).unwrap())
}

/// Channels beside one that cannot be described: a phone that rings, two who talk, a caller of ours.
fn rig_beside_an_odd_one() -> ControlRig {
    let mut rig = rig();
    rig.world.foreign_call("odd");
    rig.world.undescribable.insert("odd".into());
    rig.world
        .foreign_channel("1.7", "PJSIP/alice-00000007", None);
    for (id, name) in [
        ("1.8", "Local/8@default-00000001;2"),
        ("1.9", "DAHDI/i1/9-1"),
    ] {
        rig.world.foreign_channel(id, name, None);
        rig.world.enter_bridge(id, "theirs");
    }
    rig.world.incoming("c1");
    rig.settle();
    rig
}

#[test]
fn a_channel_is_found_by_its_name_though_another_cannot_be_described() {
    for order in [DeliveryOrder::RepliesFirst, DeliveryOrder::EventsFirst] {
        let mut rig = rig_beside_an_odd_one();
        rig.order = order;
        for (name, id) in [
            ("PJSIP/alice-00000007", "1.7"),
            ("pjsip/Alice-00000007", "1.7"),
            ("Local/8@default-00000001;2", "1.8"),
            ("DAHDI/i1/9-1", "1.9"),
            ("PJSIP/c1", "c1"),
        ] {
            assert_eq!(search(&mut rig, name), Ok(id.to_owned()), "{name}");
        }
    }
}

#[test]
fn a_name_that_is_not_found_is_refused_with_what_could_not_be_seen() {
    let mut rig = rig_beside_an_odd_one();
    for name in ["PJSIP/alice-00000008", "PJSIP/odd", "nobody", "/", "-"] {
        let (status, text) = search(&mut rig, name).unwrap_err();
        assert_eq!(status, Some(500), "it may be there: {name}");
        let says = |part: &str| assert!(text.contains(part), "{name}: {text}");
        says("cannot be described");
        says("one by one has this name");
    }
    let (_, text) = search(&mut rig, "PJSIP/odd").unwrap_err();
    assert!(text.contains("1 cannot be looked at"), "{text}");
    // Nothing of it is left, and once the odd one is gone the list says all.
    rig.world.hang_up("odd", 16);
    rig.settle();
    assert_eq!(search(&mut rig, "PJSIP/odd").unwrap_err().0, Some(404));
}

#[test]
fn a_search_that_a_break_or_another_server_interrupts_is_refused_once() {
    for replies in 0..8 {
        for is_replaced in [true, false] {
            let mut rig = rig_beside_an_odd_one();
            rig.notices.clear();
            let name = "PJSIP/nobody-00000001".to_owned();
            rig.command(ControlCommand::Find { name });
            for _ in 0..replies {
                rig.deliver_reply(0);
            }
            match is_replaced {
                true => rig.take_over(),
                false => rig.disconnect(),
            }
            let answers = |n: &ControlNotice| {
                matches!(
                    n,
                    ControlNotice::CommandRefused {
                        command: CommandKind::Find,
                        ..
                    }
                )
            };
            let case = format!("after {replies}, replaced {is_replaced}");
            assert_eq!(count(&rig, answers), 1, "{case}");
        }
    }
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
