//! Legs that have RTP addresses to themselves.

use std::net::SocketAddr;

use super::*;
use crate::control::ControlInput;
use crate::request::AriRequest;
use crate::testkit::RequestFault;

/// Where Asterisk was asked to send to, in order.
fn hosts(rig: &ControlRig) -> Vec<String> {
    let host = |request: &AriRequest| match request {
        AriRequest::ExternalMedia { external_host, .. } => Some(external_host.clone()),
        _ => None,
    };
    rig.requests.iter().filter_map(host).collect()
}

/// Where legs were told to be heard, in order.
fn heard(rig: &ControlRig) -> Vec<SocketAddr> {
    let at = |notice: &ControlNotice| match notice {
        ControlNotice::MediaSource { at, .. } => *at,
        _ => None,
    };
    rig.notices.iter().filter_map(at).collect()
}

fn turned_away(rig: &ControlRig, call: &str) -> Option<String> {
    rig.notices.iter().find_map(|notice| match notice {
        ControlNotice::CallTurnedAway { channel, text } if channel.id == call => Some(text.clone()),
        _ => None,
    })
}

#[test]
fn each_leg_is_sent_to_an_address_of_its_own_and_gives_it_back() {
    for order in [DeliveryOrder::RepliesFirst, DeliveryOrder::EventsFirst] {
        let mut rig = rig_with_ports(3);
        rig.order = order;
        rig.world.incoming("c1");
        rig.world.foreign_call("t1");
        rig.command(ControlCommand::Tap { call: "t1".into() });
        rig.settle();
        assert!(is_up(&rig, "c1", "caller"));
        assert!(is_up(&rig, "t1", "caller") && is_up(&rig, "t1", "callee"));
        let (asked, mut told) = (hosts(&rig), heard(&rig));
        assert_eq!(
            asked,
            told.iter().map(SocketAddr::to_string).collect::<Vec<_>>()
        );
        told.sort();
        told.dedup();
        assert_eq!((told.len(), rig.ports.free()), (3, 0));
        rig.world.hang_up("c1", 16);
        rig.world.hang_up("t1", 16);
        rig.advance(ms(1000));
        assert_eq!(rig.ports.free(), 3);
        rig.assert_nothing_left();
    }
}

#[test]
fn a_caller_for_whom_there_is_none_goes_on_before_anything_has_begun() {
    let mut rig = rig_with_ports(1);
    rig.world.incoming("c1");
    rig.settle();
    let asked = rig.requests.len();
    rig.world.incoming("c2");
    rig.settle();
    assert!(rig.world.is_continued("c2"));
    let text = turned_away(&rig, "c2").unwrap();
    assert_eq!(text, "no-rtp-port: all are taken");
    assert_eq!(rig.requests.len(), asked + 1, "to let it go on");
    assert_eq!(rig.assert_calls_told_in_turn(), ["c1"]);
    rig.world.hang_up("c1", 16);
    rig.advance(ms(1000));
    rig.world.incoming("c3");
    rig.settle();
    assert!(is_up(&rig, "c3", "caller"));
}

#[test]
fn a_command_for_which_there_is_none_is_refused_and_asks_nothing_of_asterisk() {
    let mut rig = rig_with_ports(1);
    rig.world.foreign_call("t1");
    let asked = rig.requests.len();
    rig.command(ControlCommand::Tap { call: "t1".into() });
    rig.settle();
    rig.ports = AddressPool::new(0);
    rig.command(originate(O1));
    rig.settle();
    let lacking = |n: &ControlNotice| matches!(n, ControlNotice::CommandLacksPort { .. });
    assert_eq!(count(&rig, lacking), 2);
    assert_eq!(rig.requests.len(), asked);
    rig.assert_nothing_left();
}

#[test]
fn nobody_who_calls_at_the_same_time_is_turned_away_for_want_of_an_answer() {
    let mut rig = rig_with_ports(40);
    for n in 0..40 {
        rig.world.incoming(&format!("c{n}"));
    }
    while rig.deliver_event() {}
    assert!(
        rig.notices
            .iter()
            .all(|n| matches!(n, ControlNotice::PortsWanted { .. }))
    );
    rig.settle();
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::MediaUp { .. })),
        40
    );
}

#[test]
fn media_made_anew_is_sent_to_another_address() {
    let mut rig = rig_with_ports(2);
    rig.world.incoming("c1");
    rig.settle();
    let media = rig.ours().into_iter().find(|id| id.ends_with("media"));
    rig.world.kill(&media.unwrap());
    rig.settle();
    let told = heard(&rig);
    assert_eq!(told.len(), 2);
    assert_ne!(told[0], told[1]);
    assert_eq!(rig.ports.placed(), told[1..]);
    assert_eq!(rig.ports.free(), 1);
}

#[test]
fn media_made_anew_keeps_its_address_where_there_is_no_other() {
    let mut rig = rig_with_ports(1);
    rig.world.incoming("c1");
    rig.settle();
    let media = rig.ours().into_iter().find(|id| id.ends_with("media"));
    rig.world.kill(&media.unwrap());
    rig.settle();
    let told = heard(&rig);
    assert_eq!((told.len(), rig.ports.placed()), (2, told[1..].to_vec()));
    assert_eq!(told[0], told[1]);
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::MediaUp { .. })),
        2
    );
    rig.world.hang_up("c1", 16);
    rig.advance(ms(1000));
    assert_eq!(rig.ports.free(), 1);
    rig.assert_nothing_left();
}

#[test]
fn a_leg_that_fails_before_its_source_is_told_gives_its_address_back() {
    let mut rig = rig_with_ports(1);
    rig.set_faults(|request| match request {
        AriRequest::ExternalMedia { .. } => RequestFault::Refused(500),
        _ => RequestFault::None,
    });
    rig.world.incoming("c1");
    rig.settle();
    assert!(rig.world.is_continued("c1"));
    assert_eq!((rig.ports.free(), rig.ports.given()), (1, 0));
}

#[test]
fn a_caller_who_leaves_while_the_answer_is_on_its_way_was_never_a_call() {
    let mut rig = rig_with_ports(1);
    rig.world.incoming("c1");
    while rig.deliver_event() {}
    rig.world.hang_up("c1", 16);
    while rig.deliver_event() {}
    rig.settle();
    assert!(rig.assert_calls_told_in_turn().is_empty());
    assert_eq!(rig.control.stats().opened, 0);
    assert_eq!((rig.ports.free(), rig.ports.given()), (1, 0));
    rig.assert_nothing_left();
}

#[test]
fn a_question_that_nobody_answers_is_as_good_as_refused() {
    let mut rig = rig_with_ports(2);
    rig.world.incoming("c1");
    while rig.deliver_event() {}
    rig.ports.ignore();
    rig.advance(ms(6000));
    assert_eq!(turned_away(&rig, "c1").unwrap(), "no answer in time");
    assert!(rig.world.is_continued("c1"));
    assert_eq!(rig.ports.free(), 2);
}

#[test]
fn an_answer_that_comes_too_late_is_given_back() {
    let mut rig = rig_with_ports(1);
    rig.world.incoming("c1");
    while rig.deliver_event() {}
    let late = rig.ports.answer().unwrap();
    rig.advance(ms(6000));
    assert!(rig.world.is_continued("c1"));
    assert_eq!(rig.ports.given(), 1);
    rig.command(late);
    assert_eq!((rig.ports.free(), rig.ports.given()), (1, 0));
}

#[test]
fn a_connection_that_breaks_meanwhile_costs_no_call() {
    // One new caller, and calls of each kind that an earlier process had open.
    let kinds = [
        ("c2", CallKind::Stasis),
        ("t1", CallKind::Tap),
        (O1, CallKind::Initiated),
    ];
    let config = ControlConfig {
        own_ports: true,
        recover: kinds.map(|(call, kind)| recover(call, kind)).to_vec(),
        ..config()
    };
    let mut rig = rig_with(config, AsteriskWorld::new(APP));
    rig.ports = AddressPool::new(8);
    rig.world.connected = true;
    rig.world.incoming("c1");
    rig.world.incoming("c2");
    rig.world.foreign_call("t1");
    let ControlCommand::Originate { call, endpoint, .. } = originate(O1) else {
        panic!("it is one");
    };
    let mut placed = crate::request::OriginateRequest {
        channel: call,
        app: APP.into(),
        endpoint,
        caller_id: None,
        formats: None,
        timeout_s: 60,
        variables: Vec::new(),
    };
    rig.world
        .execute(&AriRequest::Originate(placed.clone()))
        .unwrap();
    placed.channel.clear();
    rig.world.answered_at_far_end(O1);
    while rig.world.next_event().is_some() {}
    rig.connect();
    while rig.deliver_reply(0) {}
    let wanted = |rig: &ControlRig| count(rig, |n| matches!(n, ControlNotice::PortsWanted { .. }));
    assert_eq!(wanted(&rig), 4);
    let early = rig.ports.answer().unwrap();
    for _ in 0..3 {
        rig.ports.ignore();
    }
    rig.disconnect();
    rig.command(early);
    assert_eq!(rig.ports.given(), 0);
    rig.input(ControlInput::Timer);
    rig.connect();
    rig.advance(ms(1000));
    let open = rig.assert_calls_told_in_turn();
    assert_eq!(open, [O1, "c1", "c2", "t1"]);
    let resumed = |n: &ControlNotice| matches!(n, ControlNotice::CallOpened { resumed: true, .. });
    assert_eq!(count(&rig, resumed), 3);
    assert_eq!(
        count(&rig, |n| matches!(n, ControlNotice::MediaUp { .. })),
        5
    );
    assert_eq!(rig.ports.free(), 3);
}
