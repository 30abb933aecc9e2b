//! Objects that others made are left alone, whatever their ids look like.

use super::*;
use crate::request::AriRequest;

/// Ids that look like ours, and what has them.
const FOREIGN: [(&str, &str, Option<&str>); 10] = [
    // Another server, of an application whose name begins like ours.
    (
        "asterscribe-test-0123456789-3-media",
        "UnicastRTP/192.0.2.9:40000-0x7f",
        Some("asterscribe-test"),
    ),
    (
        "asterscribe-test-0123456789-4-snoop",
        "Snoop/1.2-00000001",
        Some("asterscribe-test"),
    ),
    (
        "asterscribe-test-0123456789-00000000000000000000000000000007",
        "PJSIP/200-00000004",
        Some("asterscribe-test"),
    ),
    (
        "asterscribe-test-call-5b0e",
        "PJSIP/200-00000004",
        Some("asterscribe-test"),
    ),
    // People's channels, named by whoever dialled.
    ("asterscribe-desk-1", "PJSIP/desk-00000001", None),
    ("asterscribe-call-1", "PJSIP/desk-00000002", None),
    (
        "asterscribe-0123456789-5-media",
        "PJSIP/desk-00000003",
        None,
    ),
    (
        "asterscribe-0123456789-6-snoop",
        "UnicastRTP/192.0.2.9:40002-0x7f",
        None,
    ),
    // Ours by its form, but somebody took it elsewhere.
    (
        "asterscribe-0123456789-00000000000000000000000000000009",
        "PJSIP/200-00000009",
        None,
    ),
    (
        "asterscribe-0123456789-7-media",
        "UnicastRTP/192.0.2.9:40004-0x7f",
        Some("other"),
    ),
];

#[test]
fn foreign_objects_with_ids_like_ours_are_never_touched() {
    let mut world = AsteriskWorld::new(APP);
    for (id, name, app) in FOREIGN {
        world.foreign_channel(id, name, app);
    }
    world.foreign_bridge("asterscribe-test-0123456789-3-bridge");
    world.foreign_bridge("asterscribe-lobby");
    let mut rig = rig_with(config(), world);
    for _ in 0..3 {
        rig.connect();
        rig.advance(ms(130_000));
        rig.disconnect();
    }
    rig.connect();
    rig.settle();
    rig.command(ControlCommand::Shutdown);
    rig.advance(ms(30_000));
    for (id, ..) in FOREIGN {
        assert!(rig.world.exists(id), "{id}");
    }
    assert_eq!(rig.world.bridge_ids().len(), 2);
    let harmless = |r: &AriRequest| {
        matches!(
            r,
            AriRequest::ListChannels | AriRequest::ListBridges | AriRequest::GetApplication { .. }
        )
    };
    let asked: Vec<_> = rig.requests.iter().filter(|r| !harmless(r)).collect();
    assert!(asked.is_empty(), "{asked:?}");
}

#[test]
fn a_caller_whose_id_looks_like_ours_is_a_caller() {
    for id in [
        "asterscribe-desk-1",
        "asterscribe-0123456789-5-media",
        "asterscribe-call-1",
    ] {
        let mut rig = rig();
        rig.world.incoming(id);
        rig.advance(ms(130_000));
        assert!(is_up(&rig, id, "caller"), "{id}");
        assert_eq!(rig.assert_calls_told_in_turn(), [id]);
        rig.disconnect();
        rig.connect();
        rig.advance(ms(130_000));
        assert_eq!(rig.assert_calls_told_in_turn(), [id]);
    }
}

#[test]
fn what_a_predecessor_left_goes() {
    let mut world = AsteriskWorld::new(APP);
    world.connected = true;
    for n in 1..3 {
        let naming = crate::control::ObjectNaming::new(APP, "00000000b0");
        let bridge = naming.part(n, crate::control::OwnKind::Bridge);
        world.execute(&AriRequest::CreateBridge { bridge }).unwrap();
        let media = AriRequest::ExternalMedia {
            channel: naming.part(n, crate::control::OwnKind::Media),
            app: APP.into(),
            external_host: "127.0.0.1:4000".into(),
            format: "ulaw".into(),
        };
        world.execute(&media).unwrap();
    }
    world.disconnect();
    let mut rig = rig_with(config(), world);
    rig.connect();
    rig.settle();
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::Reaped { .. })),
        4
    );
    assert!(rig.world.channel_ids().is_empty() && rig.world.bridge_ids().is_empty());
}

#[test]
fn a_call_that_we_placed_and_that_went_on_elsewhere_is_nobody_we_hang_up() {
    let mut rig = rig();
    rig.command(originate(O1));
    rig.settle();
    rig.world.answered_at_far_end(O1);
    rig.settle();
    let channel = O1.to_owned();
    rig.world
        .execute(&AriRequest::Continue { channel })
        .unwrap();
    rig.advance(ms(130_000));
    assert_eq!(rig.assert_calls_told_in_turn(), Vec::<String>::new());
    assert!(rig.world.exists(O1));
    // Its dialplan sends it back to us.
    rig.world.enter_again(O1);
    rig.advance(ms(130_000));
    assert!(rig.world.exists(O1));
    assert_eq!(rig.assert_calls_told_in_turn(), [O1]);
}
