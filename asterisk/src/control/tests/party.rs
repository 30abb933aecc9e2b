//! Somebody else may speak on a leg.

use super::*;
use crate::control::PartyChange;

fn changes(rig: &Rig) -> Vec<(&str, Option<&'static str>, PartyChange)> {
    let told = rig.notices.iter().filter_map(|notice| match notice {
        Notice::PartyMayDiffer { call, leg, change } => Some((call.as_str(), *leg, *change)),
        _ => None,
    });
    told.collect()
}

#[test]
fn hold_concerns_both_parties_and_another_partner_only_the_partner() {
    let mut rig = rig_tapping();
    rig.world.hold("t1", true);
    rig.world.hold("t1", false);
    rig.world.connect_to("t1", "200");
    rig.world.connect_to("t1", "200");
    rig.world.connect_to("t1", "300");
    rig.world.enter_bridge("t1", "anothers");
    rig.world.transfer("t1");
    rig.settle();
    let callee = Some("callee");
    let expected = [
        ("t1", None, PartyChange::Hold),
        ("t1", None, PartyChange::Unhold),
        ("t1", callee, PartyChange::Connected),
        ("t1", callee, PartyChange::Connected),
        ("t1", callee, PartyChange::Bridged),
        ("t1", callee, PartyChange::Transferred),
    ];
    assert_eq!(changes(&rig), expected);
    rig.assert_calls_told_in_turn();
}

#[test]
fn a_call_in_our_application_has_no_partner_that_is_heard() {
    let mut rig = rig_in_call(Order::RepliesFirst);
    let own = rig.world.bridge_ids().remove(0);
    rig.world.enter_bridge("c1", &own);
    rig.world.connect_to("c1", "200");
    rig.world.transfer("c1");
    rig.world.hold("c1", true);
    rig.settle();
    assert_eq!(changes(&rig), [("c1", None, PartyChange::Hold)]);
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
    rig.command(Command::Hangup { call: "t1".into() });
    rig.settle();
    rig.world.hold("t1", true);
    rig.settle();
    assert_eq!(changes(&rig), []);
}
