//! Somebody else may speak on a leg.

use std::time::Instant;

use super::*;
use crate::control::{ControlInput, PartyChange};
use crate::event::AriEvent;
use crate::request::AriRequest;
use crate::testkit::RequestFault;

/// Whose speech may be another's, why, and by whom.
type Change = (Option<&'static str>, PartyChange, Option<&'static str>);

const OWN: Option<&str> = Some("caller");
const OTHER: Option<&str> = Some("callee");

fn changes(rig: &ControlRig) -> Vec<Change> {
    let told = rig.notices.iter().filter_map(|notice| match notice {
        ControlNotice::PartyMayDiffer {
            leg, change, by, ..
        } => Some((*leg, *change, *by)),
        _ => None,
    });
    told.collect()
}

fn keys(rig: &ControlRig) -> Vec<(&'static str, char)> {
    let keys = rig.notices.iter().filter_map(|notice| match notice {
        ControlNotice::Dtmf { leg, digit, .. } => Some((*leg, *digit)),
        _ => None,
    });
    keys.collect()
}

/// A tap of `t1`, which talks to `p1`; the bridge is made before the tap or after it.
fn rig_tapping_two(is_bridged_first: bool) -> ControlRig {
    let mut rig = rig();
    rig.world.foreign_call("t1");
    rig.world.foreign_call("p1");
    let join = |rig: &mut ControlRig| {
        rig.world.enter_bridge("p1", "theirs");
        rig.world.enter_bridge("t1", "theirs");
    };
    if is_bridged_first {
        join(&mut rig);
    }
    rig.command(ControlCommand::Tap { call: "t1".into() });
    rig.settle();
    if !is_bridged_first {
        join(&mut rig);
        rig.settle();
    }
    assert!(rig.world.is_subscribed("p1"));
    rig.notices.clear();
    rig
}

#[test]
fn hold_concerns_both_parties_and_another_partner_only_the_partner() {
    let mut rig = rig_tapping();
    rig.world.hold("t1", true);
    rig.world.hold("t1", false);
    rig.world.connect_to("t1", "200");
    rig.world.connect_to("t1", "200");
    rig.world.connect_to("t1", "300");
    rig.settle();
    rig.world.enter_bridge("t1", "theirs");
    rig.settle();
    rig.world.leave_bridge("t1", "theirs");
    rig.world.enter_bridge("t1", "anothers");
    rig.world.transfer("t1");
    rig.settle();
    let expected = [
        (None, PartyChange::Hold, OWN),
        (None, PartyChange::Unhold, OWN),
        (OTHER, PartyChange::Connected, None),
        (OTHER, PartyChange::Connected, None),
        (OTHER, PartyChange::Joined, None),
        (OTHER, PartyChange::Bridged, None),
        (OTHER, PartyChange::Transferred, None),
    ];
    assert_eq!(changes(&rig), expected);
    let to_300 = |n: &ControlNotice| matches!(n, ControlNotice::PartyMayDiffer { connected: Some(c), .. } if c.number == "300");
    assert_eq!(count(&rig, to_300), 1);
    rig.assert_calls_told_in_turn();
}

#[test]
fn a_call_in_our_application_has_no_partner_that_is_heard() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    let own = rig.world.bridge_ids().remove(0);
    rig.world.enter_bridge("c1", &own);
    rig.world.connect_to("c1", "200");
    rig.world.transfer("c1");
    rig.world.hold("c1", true);
    rig.settle();
    assert_eq!(changes(&rig), [(None, PartyChange::Hold, OWN)]);
}

#[test]
fn channels_of_others_and_calls_that_are_over_concern_nobody() {
    let mut rig = rig_tapping();
    let ours = rig.world.bridge_ids().remove(0);
    rig.world.enter_bridge("t1", &ours);
    for channel in rig.world.channel_ids() {
        if channel != "t1" {
            rig.world.hold(&channel, true);
        }
    }
    rig.settle();
    assert_eq!(changes(&rig), []);
    rig.command(ControlCommand::Hangup { call: "t1".into() });
    rig.settle();
    rig.world.hold("t1", true);
    rig.settle();
    assert_eq!(changes(&rig), []);
}

#[test]
fn keys_and_hold_of_the_other_party_are_heard_whenever_the_two_are_bridged() {
    for is_bridged_first in [true, false] {
        let mut rig = rig_tapping_two(is_bridged_first);
        rig.world.press("t1", '1');
        rig.world.press("p1", '2');
        rig.world.hold("p1", true);
        rig.world.hold("p1", false);
        rig.settle();
        assert_eq!(keys(&rig), [("caller", '1'), ("callee", '2')]);
        let hold = |change| (None, change, OTHER);
        let expected = [hold(PartyChange::Hold), hold(PartyChange::Unhold)];
        assert_eq!(changes(&rig), expected);
        rig.command(ControlCommand::Hangup { call: "t1".into() });
        rig.settle();
        assert!(!rig.world.is_subscribed("p1") && !rig.world.is_subscribed("t1"));
        rig.assert_nothing_left();
    }
}

#[test]
fn whoever_takes_the_other_partys_place_is_heard_instead() {
    let mut rig = rig_tapping_two(true);
    rig.world.hold("p1", true);
    rig.settle();
    rig.world.foreign_call("q1");
    rig.world.leave_bridge("p1", "theirs");
    rig.world.enter_bridge("q1", "theirs");
    rig.world.connect_to("t1", "300");
    rig.settle();
    assert!(rig.world.is_subscribed("q1") && !rig.world.is_subscribed("p1"));
    rig.world.press("q1", '3');
    rig.settle();
    assert_eq!(keys(&rig), [("callee", '3')]);
    // Who had put the party on hold is gone: nothing more is taken for music.
    let over = (None, PartyChange::HoldOver, OTHER);
    assert!(changes(&rig).contains(&over), "{:?}", changes(&rig));
}

#[test]
fn among_more_than_two_nobody_is_the_other_party() {
    let mut rig = rig_tapping_two(true);
    rig.world.foreign_call("q1");
    rig.world.enter_bridge("q1", "theirs");
    rig.world.enter_bridge("t1", "theirs");
    rig.settle();
    assert!(!rig.world.is_subscribed("p1") && !rig.world.is_subscribed("q1"));
    rig.command(ControlCommand::Hangup { call: "t1".into() });
    rig.settle();
    rig.assert_nothing_left();
}

#[test]
fn hold_is_not_believed_beyond_a_break_of_the_connection() {
    let mut rig = rig_tapping_two(true);
    rig.world.hold("t1", true);
    rig.settle();
    rig.disconnect();
    rig.connect();
    rig.settle();
    let expected = [
        (None, PartyChange::Hold, OWN),
        (None, PartyChange::HoldOver, OWN),
    ];
    assert_eq!(changes(&rig), expected);
}

#[test]
fn a_key_has_the_time_at_which_it_was_pressed() {
    let mut rig = rig_in_call(DeliveryOrder::EventsFirst);
    let press = |ms: u64| {
        let text = format!(
            r#"{{"type":"ChannelDtmfReceived","digit":"5","timestamp":"2026-01-12T09:30:{:02}.{:03}+0000","channel":{{"id":"c1"}}}}"#,
            ms / 1000,
            ms % 1000
        );
        ControlInput::Event(AriEvent::parse(&text).unwrap())
    };
    let start: Instant = rig.now;
    rig.input(press(10_000));
    rig.advance(ms(5_000));
    // Heard 3 s late, with nothing heard between.
    rig.input(press(12_000));
    let at = rig.notices.iter().filter_map(|notice| match notice {
        ControlNotice::Dtmf { at, .. } => Some(*at - start),
        _ => None,
    });
    assert_eq!(at.collect::<Vec<_>>(), [ms(0), ms(2_000)]);
}

#[test]
fn a_channel_is_found_by_its_name() {
    let mut rig = rig();
    rig.world.foreign_call("1764000000.12;2");
    for (name, is_there) in [
        ("PJSIP/1764000000.12;2", true),
        ("pjsip/1764000000.12;2", true),
        ("PJSIP/1764000000.12", false),
    ] {
        rig.notices.clear();
        rig.command(ControlCommand::Find { name: name.into() });
        rig.settle();
        let found = ControlNotice::ChannelFound {
            name: name.into(),
            channel: "1764000000.12;2".into(),
        };
        assert_eq!(rig.notices.contains(&found), is_there, "{name}");
        let refused = refusal_of(&rig, CommandKind::Find).map(|(status, _)| status);
        assert_eq!(refused, (!is_there).then_some(Some(404)));
    }
    rig.command(ControlCommand::Find { name: "a".into() });
    rig.disconnect();
    assert!(refusal_of(&rig, CommandKind::Find).is_some());
}

/// A way by which the two talk no longer, beside whoever is heard in the other's place.
type Parting = fn(&mut ControlRig);

const PARTINGS: [(&str, Parting); 5] = [
    ("both go", |rig| {
        rig.world.redirect("p1");
        rig.world.redirect("t1");
    }),
    (
        "the other party goes, and the tapped one waits alone",
        |rig| {
            rig.world.redirect("p1");
        },
    ),
    (
        "the tapped one goes, and the other party waits alone",
        |rig| {
            rig.world.redirect("t1");
        },
    ),
    ("the tapped one is parked", |rig| rig.world.park("t1")),
    ("the tapped one goes to music, and is transferred", |rig| {
        rig.world.redirect("t1");
        rig.world.transfer("t1");
    }),
];

#[test]
fn whom_the_tapped_channel_no_longer_talks_to_is_not_heard() {
    for (way, part) in PARTINGS {
        for is_heard in [true, false] {
            for order in [DeliveryOrder::RepliesFirst, DeliveryOrder::EventsFirst] {
                let mut rig = rig_tapping_two(true);
                rig.order = order;
                rig.world.hold("p1", true);
                rig.settle();
                if !is_heard {
                    rig.disconnect();
                }
                part(&mut rig);
                if !is_heard {
                    rig.connect();
                }
                rig.settle();
                let case = format!("{way}, heard {is_heard}, {order:?}");
                assert!(!rig.world.is_subscribed("p1"), "{case}");
                let told = changes(&rig);
                rig.world.press("p1", '4');
                rig.world.hold("p1", true);
                rig.settle();
                assert_eq!(keys(&rig), [], "{case}");
                assert_eq!(changes(&rig), told, "{case}");
                assert!(told.contains(&(None, PartyChange::HoldOver, OTHER)));
                // Together again they are heard again.
                rig.world.enter_bridge("p1", "theirs");
                rig.world.enter_bridge("t1", "theirs");
                rig.settle();
                rig.world.press("p1", '5');
                rig.settle();
                assert_eq!(keys(&rig), [("callee", '5')], "{case}");
            }
        }
    }
}

#[test]
fn who_goes_before_it_can_be_heard_is_never_taken_for_the_other_party() {
    for deliveries in 0..12 {
        for order in [DeliveryOrder::RepliesFirst, DeliveryOrder::EventsFirst] {
            let mut rig = rig_tapping();
            rig.order = order;
            rig.world.foreign_call("p1");
            rig.world.enter_bridge("p1", "theirs");
            rig.world.enter_bridge("t1", "theirs");
            for _ in 0..deliveries {
                if !rig.deliver_event() {
                    rig.deliver_reply(0);
                }
            }
            rig.world.redirect("p1");
            rig.settle();
            rig.world.press("p1", '4');
            rig.settle();
            assert_eq!(keys(&rig), [], "after {deliveries}");
            assert!(!rig.world.is_subscribed("p1"), "after {deliveries}");
        }
    }
}

#[test]
fn a_key_pressed_while_the_other_party_is_looked_at_is_not_lost() {
    for order in [DeliveryOrder::RepliesFirst, DeliveryOrder::EventsFirst] {
        for leaves in [false, true] {
            let mut rig = rig_tapping();
            rig.order = order;
            rig.world.foreign_call("p1");
            rig.world.enter_bridge("p1", "theirs");
            rig.world.enter_bridge("t1", "theirs");
            while !rig.world.is_subscribed("p1") {
                assert!(rig.deliver_event() || rig.deliver_reply(0));
            }
            rig.world.press("p1", '4');
            if leaves {
                rig.world.redirect("p1");
            }
            rig.settle();
            let heard: &[_] = if leaves { &[] } else { &[("callee", '4')] };
            assert_eq!(keys(&rig), heard, "{order:?}");
        }
    }
}

#[test]
fn of_three_the_two_who_stay_are_heard_once_the_third_has_gone() {
    let mut rig = rig_tapping_two(true);
    rig.world.foreign_call("q1");
    rig.world.enter_bridge("q1", "theirs");
    rig.world.connect_to("t1", "300");
    rig.settle();
    assert!(!rig.world.is_subscribed("p1") && !rig.world.is_subscribed("q1"));
    rig.world.leave_bridge("q1", "theirs");
    rig.world.connect_to("t1", "200");
    rig.settle();
    rig.world.press("p1", '6');
    rig.world.press("q1", '7');
    rig.settle();
    assert_eq!(keys(&rig), [("callee", '6')]);
}

#[test]
fn where_bridges_cannot_be_listed_the_other_party_is_still_heard_as_long_as_it_is_there() {
    for parts in [true, false] {
        let mut rig = rig_tapping_two(true);
        rig.set_faults(|r| match r {
            AriRequest::ListBridges => RequestFault::Refused(500),
            _ => RequestFault::None,
        });
        rig.disconnect();
        if parts {
            rig.world.redirect("p1");
        }
        rig.connect();
        rig.settle();
        rig.world.press("p1", '8');
        rig.settle();
        assert_eq!(keys(&rig).is_empty(), parts);
    }
}
