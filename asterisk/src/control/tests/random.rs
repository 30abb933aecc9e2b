//! Random scripts of everything that can happen: no panic, notices in turn, and after a
//! stop with a well Asterisk nothing is left.

use proptest::prelude::*;

use super::*;
use crate::control::ControlInput;
use crate::event::AriEvent;
use crate::request::{AriRequest, HttpMethod};
use crate::testkit::RequestFault;

#[derive(Debug, Clone)]
enum Op {
    Incoming(u8),
    Foreign(u8),
    HangUp(u8),
    Answered(u8),
    Press(u8),
    Kill(u8),
    Tap(u8),
    Originate(u8),
    Hangup(u8),
    Disconnect,
    Connect,
    ConnectAgain,
    Restart,
    Reply(u8),
    Event,
    Settle,
    Pass(u16),
    Fault(u8, u8),
    Well,
    Late,
    EarlyJoins(u8),
    Stray(u8, u8),
    Ports,
    NoAnswerOnPorts,
    Replaced,
    ReadOnly,
    Odd(u8),
    Broadcast(u8),
    ClaimedByAnother(u8),
    PartyChanges(u8, u8),
    Misplaced(u8),
    Reused(u8),
    HangsUpLate(bool),
    HangUpsDone,
    SentElsewhere(u8, bool),
    MovedUnheard(u8),
    OnItsWay(u8),
    ComesBack(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0u8..6).prop_map(Op::Incoming),
        2 => (0u8..6).prop_map(Op::Foreign),
        3 => (0u8..6).prop_map(Op::HangUp),
        2 => (0u8..6).prop_map(Op::Answered),
        1 => (0u8..6).prop_map(Op::Press),
        2 => any::<u8>().prop_map(Op::Kill),
        3 => (0u8..6).prop_map(Op::Tap),
        3 => (0u8..6).prop_map(Op::Originate),
        2 => (0u8..6).prop_map(Op::Hangup),
        1 => Just(Op::Disconnect),
        2 => Just(Op::Connect),
        1 => Just(Op::ConnectAgain),
        1 => Just(Op::Restart),
        8 => any::<u8>().prop_map(Op::Reply),
        8 => Just(Op::Event),
        4 => Just(Op::Settle),
        4 => (0u16..12_000).prop_map(Op::Pass),
        2 => (0u8..7, 1u8..8).prop_map(|(kind, every)| Op::Fault(kind, every)),
        2 => Just(Op::Well),
        1 => Just(Op::Late),
        1 => (0u8..12).prop_map(Op::EarlyJoins),
        1 => (0u8..6, 0u8..6).prop_map(|(kind, id)| Op::Stray(kind, id)),
        8 => Just(Op::Ports),
        1 => Just(Op::NoAnswerOnPorts),
        1 => Just(Op::Replaced),
        1 => Just(Op::ReadOnly),
        1 => (0u8..6).prop_map(Op::Odd),
        2 => (0u8..3).prop_map(Op::Broadcast),
        1 => (0u8..3).prop_map(Op::ClaimedByAnother),
        4 => (0u8..9, 0u8..6).prop_map(|(what, id)| Op::PartyChanges(what, id)),
        2 => any::<u8>().prop_map(Op::Misplaced),
        2 => (0u8..3).prop_map(Op::Reused),
        1 => any::<bool>().prop_map(Op::HangsUpLate),
        2 => Just(Op::HangUpsDone),
        3 => (0u8..6, any::<bool>()).prop_map(|(id, far)| Op::SentElsewhere(id, far)),
        2 => (0u8..6).prop_map(Op::MovedUnheard),
        1 => (0u8..6).prop_map(Op::OnItsWay),
        2 => (0u8..6).prop_map(Op::ComesBack),
    ]
}

/// Channels 0 to 2 are callers, 3 and 4 others' calls, the rest originated.
fn id(n: u8) -> String {
    match n {
        0..=2 => format!("c{n}"),
        3 | 4 => format!("t{n}"),
        _ => config().naming().call(u128::from(n)),
    }
}

fn stray(kind: u8, n: u8) -> AriEvent {
    let kind = [
        "StasisStart",
        "StasisEnd",
        "ChannelDestroyed",
        "ChannelHangupRequest",
        "ChannelStateChange",
        "X",
    ][usize::from(kind % 6)];
    let id = id(n);
    let text = format!(
        r#"{{"type":"{kind}","cause":99,"channel":{{"id":"{id}","name":"PJSIP/x","state":"Up"}}}}"#
    );
    AriEvent::parse(&text).unwrap()
}

fn apply(rig: &mut ControlRig, op: Op) {
    match op {
        Op::Incoming(n) if !rig.world.exists(&id(n)) && n < 3 => rig.world.incoming(&id(n)),
        Op::Foreign(n) if !rig.world.exists(&id(n)) && matches!(n, 3 | 4) => {
            rig.world.foreign_call(&id(n))
        }
        Op::Incoming(_) | Op::Foreign(_) => {}
        Op::HangUp(n) => rig.world.hang_up(&id(n), 16),
        Op::Answered(n) => rig.world.answered_at_far_end(&id(n)),
        Op::Press(n) => rig.world.press(&id(n), '1'),
        Op::Kill(n) => {
            let mut all = rig.ours();
            all.retain(|id| !is_foreign(id));
            if !all.is_empty() {
                rig.world.kill(&all[usize::from(n) % all.len()].clone());
            }
        }
        Op::Tap(n) => rig.command(ControlCommand::Tap { call: id(n) }),
        Op::Originate(n) => rig.command(originate(&id(n.max(5)))),
        Op::Hangup(n) => rig.command(ControlCommand::Hangup { call: id(n) }),
        Op::Disconnect => rig.disconnect(),
        Op::Connect if !rig.world.connected => rig.connect(),
        Op::Connect => {}
        Op::ConnectAgain if rig.world.connected => rig.input(ControlInput::Connected),
        Op::ConnectAgain => {}
        Op::Restart => {
            rig.world.restart();
            add_foreign(rig);
            rig.disconnect();
        }
        Op::Reply(n) => {
            rig.deliver_reply(usize::from(n) % 4);
        }
        Op::Event => {
            rig.deliver_event();
        }
        Op::Settle => rig.settle(),
        Op::Pass(by) => rig.advance(ms(u64::from(by))),
        Op::Fault(kind, every) => {
            let fault = [
                RequestFault::Refused(500),
                RequestFault::Refused(404),
                RequestFault::Unreachable,
                RequestFault::BrokenOff,
                RequestFault::Swallowed,
                RequestFault::Unanswered,
                RequestFault::Late,
            ][usize::from(kind % 7)];
            let mut seen = 0u8;
            rig.set_faults(move |_| {
                seen = seen.wrapping_add(1);
                if seen.is_multiple_of(every) {
                    fault
                } else {
                    RequestFault::None
                }
            });
        }
        Op::Well => rig.clear_faults(),
        Op::Late => rig.carry_out_late(),
        Op::EarlyJoins(n) => rig.world.early_joins = u32::from(n),
        Op::Ports => {
            rig.deliver_ports();
        }
        Op::NoAnswerOnPorts => rig.ports.ignore(),
        Op::Stray(kind, n) => rig.input(ControlInput::Event(stray(kind, n))),
        Op::Replaced if rig.world.connected => rig.take_over(),
        Op::Replaced => {}
        Op::ReadOnly => rig.set_faults(|request| match request.method() {
            HttpMethod::Get => RequestFault::None,
            HttpMethod::Post | HttpMethod::Delete => RequestFault::Refused(403),
        }),
        Op::Odd(n) => {
            rig.world.undescribable.insert(id(n));
        }
        Op::Broadcast(n) if !rig.world.exists(&id(n)) => rig.world.broadcast(&id(n)),
        Op::Broadcast(_) => {}
        Op::ClaimedByAnother(n) => rig.world.claimed_by_another(&id(n)),
        Op::PartyChanges(what, n) => party_changes(rig, what, &id(n)),
        Op::Misplaced(n) => rig.ports.refuse += usize::from(n % 3),
        Op::HangsUpLate(late) => rig.world.hangs_up_late = late,
        Op::HangUpsDone => rig.world.hang_ups_done(),
        Op::SentElsewhere(n, far) => {
            // Nothing is decided by what was seen before.
            rig.settle();
            rig.world.sent_elsewhere(&id(n), far.then_some("other"));
        }
        Op::MovedUnheard(n) => {
            rig.disconnect();
            rig.world.answered_at_far_end(&id(n));
            rig.world.sent_elsewhere(&id(n), None);
            rig.connect();
        }
        Op::OnItsWay(n) => rig.world.answered_and_on_its_way(&id(n)),
        Op::ComesBack(n) => rig.world.enter_again(&id(n)),
        Op::Reused(n) => {
            // Whoever dials uses the id again at once.
            if rig.world.exists(&id(n)) {
                rig.world.hang_up_without_reason(&id(n), 16);
            }
            rig.world.incoming(&id(n));
        }
    }
}

fn party_changes(rig: &mut ControlRig, what: u8, id: &str) {
    match what {
        0 => rig.world.hold(id, true),
        1 => rig.world.hold(id, false),
        2 => rig.world.transfer(id),
        3 => rig.world.attended_transfer(id, "theirs"),
        4 => rig.world.refer(id, "300"),
        5 => rig.world.park(id),
        6 => rig.world.redirect(id),
        7 => rig.world.enter_bridge(id, "theirs"),
        _ => rig.world.pick_up(id, "400"),
    }
}

/// Presses a key on every channel: a call has those of its own party, and of whom that one talks to.
fn press_all(rig: &mut ControlRig) {
    for id in (0..6).map(id) {
        rig.notices.clear();
        rig.world.press(&id, '9');
        rig.settle();
        for notice in &rig.notices {
            if let ControlNotice::Dtmf { call, leg, .. } = notice {
                let presses = match *leg {
                    "callee" => rig.world.partner_of(call),
                    _ => Some(call.clone()),
                };
                assert_eq!(presses.as_ref(), Some(&id), "a key of {call}'s {leg}");
            }
        }
    }
}

/// Names like ours, and whose they are.
const FOREIGN: [(&str, &str); 4] = [
    (
        "asterscribe-test-0123456789-3-media",
        "UnicastRTP/192.0.2.9:40000-0x7f",
    ),
    (
        "asterscribe-test-0123456789-00000000000000000000000000000007",
        "PJSIP/200-00000004",
    ),
    ("asterscribe-desk-1", "PJSIP/desk-00000001"),
    ("asterscribe-0123456789-5-media", "PJSIP/desk-00000003"),
];

fn add_foreign(rig: &mut ControlRig) {
    for (id, name) in FOREIGN {
        rig.world.foreign_channel(id, name, None);
    }
    rig.world
        .foreign_bridge("asterscribe-test-0123456789-3-bridge");
}

fn is_foreign(id: &str) -> bool {
    FOREIGN.iter().any(|(foreign, _)| *foreign == id)
}

fn names_foreign(request: &AriRequest) -> bool {
    request.method() != HttpMethod::Get
        && FOREIGN.iter().any(|(id, _)| request.target().contains(id))
}

/// The creation of the channel that the latest opening of each call was about.
fn opened_with(rig: &ControlRig, call: &str) -> String {
    let openings = rig.notices.iter().rev();
    let created = openings.filter_map(|notice| match notice {
        ControlNotice::CallOpened {
            call: c, channel, ..
        } if c == call => Some(channel.creationtime.clone()),
        _ => None,
    });
    created.into_iter().next().unwrap_or_default()
}

/// Whether the call's latest opening was a tap.
fn is_tap(rig: &ControlRig, call: &str) -> bool {
    let kinds = rig.notices.iter().rev().find_map(|notice| match notice {
        ControlNotice::CallOpened { call: c, kind, .. } if c == call => Some(*kind),
        _ => None,
    });
    kinds == Some(CallKind::Tap)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_left_whatever_happened(ops in proptest::collection::vec(op(), 0..120), events_first in any::<bool>(), ports in proptest::option::of(0u16..8), asks in any::<bool>(), reuses in any::<bool>()) {
        let variables = if asks { vec!["A".to_owned(), "B".to_owned()] } else { Vec::new() };
        let mut rig = connected(ControlConfig { own_ports: ports.is_some(), variables, ..config() });
        add_foreign(&mut rig);
        rig.world.reuses_ports = reuses;
        rig.ports = AddressPool::new(ports.unwrap_or_default());
        rig.world.set_variable("c1", "A", "1");
        rig.order = if events_first { DeliveryOrder::EventsFirst } else { DeliveryOrder::RepliesFirst };
        for op in ops {
            apply(&mut rig, op);
        }
        // Asterisk is well again and heard.
        rig.clear_faults();
        rig.carry_out_late();
        rig.world.early_joins = 0;
        rig.ports.refuse = 0;
        rig.world.undescribable.clear();
        rig.world.arrive();
        rig.world.hangs_up_late = false;
        rig.world.hang_ups_done();
        rig.disconnect();
        rig.connect();
        rig.advance(ms(200_000));
        let open = rig.assert_calls_told_in_turn();
        prop_assert_eq!(open.len() as u64, rig.control.stats().open);
        // Every caller in the application has a call, and every call its media.
        for caller in rig.world.in_app().iter().filter(|id| !id.ends_with("-media") && !id.ends_with("-snoop")) {
            prop_assert!(open.contains(caller), "{} is in the application without a call", caller);
            // Nobody waits in silence: whoever is here is heard.
            let is_heard = rig.world.bridge_ids().iter().any(|bridge| rig.world.bridged(bridge).contains(caller));
            prop_assert!(is_heard, "{} is heard by nobody", caller);
        }
        // A record is one channel's, whoever had its id before.
        for call in &open {
            let (told, is) = (opened_with(&rig, call), rig.world.creation_of(call));
            prop_assert!(told.is_empty() || told == is, "{} was opened with {} and is {}", call, told, is);
        }
        let taps = open.iter().filter(|call| is_tap(&rig, call)).count();
        let bridges = rig.ours().iter().filter(|id| id.ends_with("bridge")).count();
        prop_assert!(bridges <= open.len() + taps, "{bridges} bridges for {open:?}");

        // Every RTP address is free, or a leg of an open call is heard there.
        if let Some(ports) = ports {
            let held = rig.ports.given();
            prop_assert_eq!(rig.ports.free() + rig.ports.placed().len() + held, usize::from(ports));
            // A call that still rings has its own set aside, and is the only one that does.
            let ringing = open.iter().filter(|call| !rig.notices.iter().any(|n| matches!(n, ControlNotice::MediaSource { call: c, .. } if c == *call)));
            prop_assert!(held <= ringing.count(), "{held} addresses are nobody's");
        }

        let told = std::mem::take(&mut rig.notices);
        press_all(&mut rig);
        rig.notices = told;

        rig.command(ControlCommand::Shutdown);
        rig.advance(ms(60_000));
        // Who had left and come back was a caller like any other, and went on.
        let mut left = rig.ours();
        left.retain(|id| !rig.world.is_continued(id) && !is_foreign(id));
        prop_assert_eq!(left, Vec::<String>::new());
        prop_assert!(rig.control.is_idle());
        prop_assert!(rig.assert_calls_told_in_turn().is_empty());
        prop_assert_eq!(rig.world.in_app(), Vec::<String>::new());
        prop_assert!(rig.notices.contains(&ControlNotice::ShutdownComplete));
        prop_assert_eq!(rig.ports.free(), usize::from(ports.unwrap_or_default()));
        for (id, _) in FOREIGN {
            prop_assert!(rig.world.exists(id), "{} was removed", id);
        }
        let touched: Vec<_> = rig.requests.iter().filter(|request| names_foreign(request)).collect();
        prop_assert!(touched.is_empty(), "{:?}", touched);
        let stats = rig.control.stats();
        prop_assert_eq!(stats.opened, stats.ended + stats.failed);
    }
}
