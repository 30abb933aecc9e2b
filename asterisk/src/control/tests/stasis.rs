//! A channel enters the application.

use super::*;
use crate::request::AriRequest;

#[test]
fn a_caller_is_answered_and_bridged_with_media_in_either_order() {
    for order in [DeliveryOrder::RepliesFirst, DeliveryOrder::EventsFirst] {
        let rig = rig_in_call(order);
        let told: Vec<&ControlNotice> = rig
            .notices
            .iter()
            .filter(|n| !matches!(n, ControlNotice::StateChange { .. }))
            .collect();
        assert!(
            matches!(
                told.as_slice(),
                [
                    ControlNotice::CallOpened { kind: CallKind::Stasis, target: 0, resumed: false, .. },
                    ControlNotice::LegOpening { leg: "caller", .. },
                    ControlNotice::CallAnswered { .. },
                    ControlNotice::MediaSource { source, .. },
                    ControlNotice::MediaUp { .. },
                ] if source.to_string() == "127.0.0.1:20002"
            ),
            "{order:?}: {told:?}"
        );
        let bridges = rig.world.bridge_ids();
        assert_eq!(bridges.len(), 1);
        assert!(bridges[0].starts_with("asterscribe-00000000a1-"));
        let members = rig.world.bridged(&bridges[0]);
        assert_eq!(members.len(), 2);
        assert!(members.contains(&"c1".to_owned()));
    }
}

#[test]
fn nothing_is_bridged_before_its_own_stasis_start() {
    let mut rig = rig();
    rig.world.incoming("c1");
    rig.deliver_event();
    while rig.deliver_reply(0) {}
    assert!(
        !rig.requests
            .iter()
            .any(|r| matches!(r, AriRequest::AddChannel { .. })),
        "only replies were delivered"
    );
    rig.settle();
    assert!(is_up(&rig, "c1", "caller"));
}

#[test]
fn an_old_asterisk_is_asked_for_the_rtp_source() {
    let mut world = AsteriskWorld::new(APP);
    world.tells_source = false;
    let mut rig = rig_with(config(), world);
    rig.connect();
    rig.world.incoming("c1");
    rig.settle();
    assert!(rig.notices.iter().any(
        |n| matches!(n, ControlNotice::MediaSource { source, format, .. } if source.port() == 20_002 && format == "ulaw")
    ));
    assert!(is_up(&rig, "c1", "caller"));
}

#[test]
fn a_bridging_that_came_too_early_is_tried_again() {
    let mut rig = rig();
    rig.world.early_joins = 4;
    rig.world.incoming("c1");
    rig.settle();
    assert!(!is_up(&rig, "c1", "caller"));
    rig.advance(ms(3000));
    assert!(is_up(&rig, "c1", "caller"));
    assert_eq!(rig.control.stats().retries, 4);
}

#[test]
fn a_bridging_that_never_works_lets_the_caller_go_on() {
    let mut rig = rig();
    rig.world.early_joins = u32::MAX;
    rig.world.incoming("c1");
    rig.advance(ms(12_000));
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::CallFailed { .. })),
        1
    );
    assert!(rig.world.is_continued("c1"));
    rig.advance(ms(60_000));
    rig.assert_nothing_left();
    assert!(rig.assert_calls_told_in_turn().is_empty());
}

#[test]
fn calls_are_spread_over_the_targets() {
    let mut rig = rig();
    for call in ["c1", "c2", "c3"] {
        rig.world.incoming(call);
    }
    rig.settle();
    let targets: Vec<usize> = rig
        .notices
        .iter()
        .filter_map(|n| {
            if let ControlNotice::CallOpened { target, .. } = n {
                Some(*target)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(targets, [0, 1, 0]);
    let hosts: Vec<&str> = rig
        .requests
        .iter()
        .filter_map(|r| {
            if let AriRequest::ExternalMedia { external_host, .. } = r {
                Some(external_host.as_str())
            } else {
                None
            }
        })
        .collect();
    assert_eq!(
        hosts,
        ["127.0.0.1:4000", "127.0.0.1:4002", "127.0.0.1:4000"]
    );
}

#[test]
fn callers_beyond_the_limit_go_on_in_the_dialplan() {
    let mut rig = connected(ControlConfig {
        max_calls: 1,
        ..config()
    });
    rig.world.incoming("c1");
    rig.world.incoming("c2");
    rig.settle();
    assert!(is_up(&rig, "c1", "caller"));
    assert!(rig.world.is_continued("c2") && !rig.world.is_continued("c1"));
    assert_eq!(
        count(
            &rig,
            |n| matches!(n, ControlNotice::CallTurnedAway { channel, .. } if channel.id == "c2")
        ),
        1
    );
    assert_eq!(rig.control.stats().turned_away, 1);
}

#[test]
fn calls_without_a_channel_take_places_too() {
    let mut rig = connected(ControlConfig {
        max_calls: 2,
        ..config()
    });
    rig.command(ControlCommand::TakenElsewhere { calls: 1 });
    rig.world.incoming("c1");
    rig.world.incoming("c2");
    rig.settle();
    assert!(is_up(&rig, "c1", "caller"));
    assert!(rig.world.is_continued("c2"));
    rig.command(ControlCommand::TakenElsewhere { calls: 0 });
    rig.world.incoming("c3");
    rig.settle();
    assert!(is_up(&rig, "c3", "caller"));
}

#[test]
fn while_admission_is_closed_callers_go_on_and_calls_too() {
    let mut rig = rig();
    rig.world.incoming("c1");
    rig.settle();
    let reason = "recognition is 12 s behind".to_owned();
    rig.command(ControlCommand::Admission {
        closed: Some(reason.clone()),
    });
    rig.world.incoming("c2");
    rig.settle();
    assert!(is_up(&rig, "c1", "caller"));
    assert!(rig.world.is_continued("c2"));
    rig.command(ControlCommand::Admission { closed: None });
    rig.world.incoming("c3");
    rig.settle();
    assert!(is_up(&rig, "c3", "caller"));
    assert_eq!(rig.control.stats().turned_away, 1);
}

#[test]
fn media_channels_never_open_a_call() {
    let mut rig = rig();
    let orphan = AriRequest::ExternalMedia {
        channel: "asterscribe-00000000b0-7-media".into(),
        app: APP.into(),
        external_host: "127.0.0.1:4000".into(),
        format: "ulaw".into(),
    };
    rig.world.execute(&orphan).unwrap();
    rig.settle();
    assert_eq!(rig.assert_calls_told_in_turn(), Vec::<String>::new());
    assert!(
        !rig.world.exists("asterscribe-00000000b0-7-media"),
        "what we made and belongs to no call is removed"
    );
    assert_eq!(rig.control.stats().reaped, 1);

    // Another application's media is left alone.
    let text = r#"{"type":"StasisStart","channel":{"id":"x9","name":"UnicastRTP/127.0.0.1:9-0x1","state":"Up"}}"#;
    let asked = rig.requests.len();
    rig.input(super::super::ControlInput::Event(
        crate::event::AriEvent::parse(text).unwrap(),
    ));
    rig.settle();
    assert_eq!(rig.requests.len(), asked);
}

#[test]
fn keys_and_states_are_told() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    rig.world.press("c1", '5');
    rig.settle();
    assert!(rig.notices.iter().any(|n| matches!(
        n,
        ControlNotice::Dtmf {
            leg: "caller",
            digit: '5',
            duration_ms: 100,
            ..
        }
    )));
    assert!(
        rig.notices
            .iter()
            .any(|n| matches!(n, ControlNotice::StateChange { state, .. } if state == "Up"))
    );
}

#[test]
fn lost_media_is_made_anew_but_not_for_ever() {
    let mut rig = rig_in_call(DeliveryOrder::RepliesFirst);
    for round in 1..=6 {
        let media: Vec<String> = rig
            .ours()
            .into_iter()
            .filter(|id| id.ends_with("media"))
            .collect();
        assert_eq!(media.len(), 1, "round {round}");
        rig.world.kill(&media[0]);
        rig.settle();
        if round <= 5 {
            assert_eq!(
                count(&rig, |n| matches!(n, ControlNotice::MediaUp { .. })),
                round + 1
            );
        }
    }
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::CallFailed { .. })),
        1
    );
    assert!(rig.world.is_continued("c1"));
    rig.advance(ms(60_000));
    rig.assert_nothing_left();
}
