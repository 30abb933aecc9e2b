//! Random scripts of everything that can happen: no panic, notices in turn, and after a
//! stop with a well Asterisk nothing is left.

use proptest::prelude::*;

use super::*;
use crate::control::Input;
use crate::event::Event;
use crate::testkit::Fault;

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

fn stray(kind: u8, n: u8) -> Event {
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
    Event::parse(&text).unwrap()
}

fn apply(rig: &mut Rig, op: Op) {
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
            let all = rig.ours();
            if !all.is_empty() {
                rig.world.kill(&all[usize::from(n) % all.len()].clone());
            }
        }
        Op::Tap(n) => rig.command(Command::Tap { call: id(n) }),
        Op::Originate(n) => rig.command(originate(&id(n.max(5)))),
        Op::Hangup(n) => rig.command(Command::Hangup { call: id(n) }),
        Op::Disconnect => rig.disconnect(),
        Op::Connect if !rig.world.connected => rig.connect(),
        Op::Connect => {}
        Op::ConnectAgain if rig.world.connected => rig.input(Input::Connected),
        Op::ConnectAgain => {}
        Op::Restart => {
            rig.world.restart();
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
                Fault::Refused(500),
                Fault::Refused(404),
                Fault::Unreachable,
                Fault::BrokenOff,
                Fault::Swallowed,
                Fault::Unanswered,
                Fault::Late,
            ][usize::from(kind % 7)];
            let mut seen = 0u8;
            rig.set_faults(move |_| {
                seen = seen.wrapping_add(1);
                if seen.is_multiple_of(every) {
                    fault
                } else {
                    Fault::None
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
        Op::Stray(kind, n) => rig.input(Input::Event(stray(kind, n))),
    }
}

/// Whether the call's latest opening was a tap.
fn is_tap(rig: &Rig, call: &str) -> bool {
    let kinds = rig.notices.iter().rev().find_map(|notice| match notice {
        Notice::CallOpened { call: c, kind, .. } if c == call => Some(*kind),
        _ => None,
    });
    kinds == Some(CallKind::Tap)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_left_whatever_happened(ops in proptest::collection::vec(op(), 0..120), events_first in any::<bool>(), ports in proptest::option::of(0u16..8), asks in any::<bool>()) {
        let variables = if asks { vec!["A".to_owned(), "B".to_owned()] } else { Vec::new() };
        let mut rig = connected(Config { own_ports: ports.is_some(), variables, ..config() });
        rig.ports = Ports::new(ports.unwrap_or_default());
        rig.world.set_variable("c1", "A", "1");
        rig.order = if events_first { Order::EventsFirst } else { Order::RepliesFirst };
        for op in ops {
            apply(&mut rig, op);
        }
        // Asterisk is well again and heard.
        rig.clear_faults();
        rig.carry_out_late();
        rig.world.early_joins = 0;
        rig.disconnect();
        rig.connect();
        rig.advance(ms(200_000));
        let open = rig.assert_calls_told_in_turn();
        prop_assert_eq!(open.len() as u64, rig.control.stats().open);
        // Every caller in the application has a call, and every call its media.
        for caller in rig.world.in_app().iter().filter(|id| !id.starts_with("asterscribe-")) {
            prop_assert!(open.contains(caller), "{} is in the application without a call", caller);
        }
        let taps = open.iter().filter(|call| is_tap(&rig, call)).count();
        let bridges = rig.world.bridge_ids().len();
        prop_assert!(bridges <= open.len() + taps, "{bridges} bridges for {open:?}");

        // Every RTP address is free, or a leg of an open call is heard there.
        if let Some(ports) = ports {
            let held = rig.ports.given();
            prop_assert_eq!(rig.ports.free() + rig.ports.placed().len() + held, usize::from(ports));
            // A call that still rings has its own set aside, and is the only one that does.
            let ringing = open.iter().filter(|call| !rig.notices.iter().any(|n| matches!(n, Notice::MediaSource { call: c, .. } if c == *call)));
            prop_assert!(held <= ringing.count(), "{held} addresses are nobody's");
        }

        rig.command(Command::Shutdown);
        rig.advance(ms(60_000));
        // Who had left and come back was a caller like any other, and went on.
        let mut left = rig.ours();
        left.retain(|id| !rig.world.is_continued(id));
        prop_assert_eq!(left, Vec::<String>::new());
        prop_assert!(rig.control.is_idle());
        prop_assert!(rig.assert_calls_told_in_turn().is_empty());
        prop_assert_eq!(rig.world.in_app(), Vec::<String>::new());
        prop_assert!(rig.notices.contains(&Notice::ShutdownComplete));
        prop_assert_eq!(rig.ports.free(), usize::from(ports.unwrap_or_default()));
        let stats = rig.control.stats();
        prop_assert_eq!(stats.opened, stats.ended + stats.failed);
    }
}
