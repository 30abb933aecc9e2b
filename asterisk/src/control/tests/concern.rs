//! Which calls a message is about.

use serde_json::json;

use super::*;

#[test]
fn a_call_is_named_by_its_channel_and_by_all_that_was_made_for_it() {
    let mut rig = rig_tapping();
    let ours = rig
        .world
        .channel_ids()
        .into_iter()
        .chain(rig.world.bridge_ids());
    let mut count = 0;
    for id in ours {
        let messages = [
            json!({"type": "ChannelVarset", "channel": {"id": id}}),
            json!({"type": "ChannelEnteredBridge", "bridge": {"channels": ["x", id]}}),
        ];
        for message in messages {
            let named: Vec<_> = rig.control.calls_named_in(&message).into_iter().collect();
            assert_eq!(named, ["t1"], "{message}");
        }
        count += 1;
    }
    assert!(count >= 7, "the channel, two of each kind: {count}");
    let others = json!({"channel": {"id": "t", "name": "t1x"}, "t1": [null, 1, true]});
    assert!(rig.control.calls_named_in(&others).is_empty());

    rig.command(ControlCommand::Hangup { call: "t1".into() });
    rig.settle();
    let message = json!({"channel": {"id": "t1"}});
    assert!(
        rig.control.calls_named_in(&message).is_empty(),
        "it is over"
    );
}

#[test]
fn what_names_two_calls_is_about_both() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.world.incoming("c2");
    rig.settle();
    let message = json!({"bridge": {"channels": ["c1", "c2", "c3"]}});
    let named: Vec<_> = rig.control.calls_named_in(&message).into_iter().collect();
    assert_eq!(named, ["c1", "c2"]);
}
