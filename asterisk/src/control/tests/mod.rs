//! The choreography against a world made of maps.

mod again;
mod broadcast;
mod concern;
mod elsewhere;
mod ending;
mod faults;
mod foreign;
mod lives;
mod misplaced;
mod one_by_one;
mod originate;
mod party;
mod ports;
mod random;
mod relisting;
mod stasis;
mod takeover;
mod tap;
mod variables;

use std::time::Duration;

use super::{
    CallKind, CommandKind, ControlCommand, ControlConfig, ControlNotice, RecoverCall, VariableValue,
};
use crate::testkit::{AddressPool, AsteriskWorld, ControlRig, DeliveryOrder, t0};

const APP: &str = "asterscribe";
/// Calls that the API placed.
const O1: &str = "asterscribe-00000000a1-00000000000000000000000000000001";
const O2: &str = "asterscribe-00000000a1-00000000000000000000000000000002";
const O3: &str = "asterscribe-00000000a1-00000000000000000000000000000003";

fn config() -> ControlConfig {
    ControlConfig::new(
        "00000000a1",
        vec![
            "127.0.0.1:4000".parse().unwrap(),
            "127.0.0.1:4002".parse().unwrap(),
        ],
    )
}

fn rig_with(config: ControlConfig, world: AsteriskWorld) -> ControlRig {
    ControlRig::new(config, world, t0())
}

/// Connected and in agreement with an empty world.
fn rig() -> ControlRig {
    connected(config())
}

fn connected(config: ControlConfig) -> ControlRig {
    let mut rig = rig_with(config, AsteriskWorld::new(APP));
    rig.connect();
    rig.settle();
    assert_eq!(rig.notices, [ControlNotice::Synced]);
    rig.notices.clear();
    rig
}

/// A connected rig that has `count` RTP addresses for legs.
fn rig_with_ports(count: u16) -> ControlRig {
    let mut rig = connected(ControlConfig {
        own_ports: true,
        ..config()
    });
    rig.ports = AddressPool::new(count);
    rig
}

/// A connected rig with one Stasis call whose media is up.
fn rig_in_call(order: DeliveryOrder) -> ControlRig {
    let mut rig = rig();
    rig.order = order;
    rig.world.incoming("c1");
    rig.settle();
    assert!(is_up(&rig, "c1", "caller"), "{:?}", rig.notices);
    rig
}

/// A connected rig with one tap, both of whose legs are up.
fn rig_tapping() -> ControlRig {
    let mut rig = rig();
    rig.world.foreign_call("t1");
    rig.command(ControlCommand::Tap { call: "t1".into() });
    rig.settle();
    assert!(
        is_up(&rig, "t1", "caller") && is_up(&rig, "t1", "callee"),
        "{:?}",
        rig.notices
    );
    rig
}

fn originate(call: &str) -> ControlCommand {
    ControlCommand::Originate {
        call: call.into(),
        endpoint: "PJSIP/200".into(),
        caller_id: None,
        formats: None,
        variables: Vec::new(),
    }
}

fn recover(call: &str, kind: CallKind) -> RecoverCall {
    RecoverCall {
        call: call.into(),
        channel: call.into(),
        created_at: None,
        kind,
    }
}

fn is_up(rig: &ControlRig, call: &str, leg: &str) -> bool {
    rig.notices
        .iter()
        .any(|n| matches!(n, ControlNotice::MediaUp { call: c, leg: l } if c == call && *l == leg))
}

fn count(rig: &ControlRig, what: impl Fn(&ControlNotice) -> bool) -> usize {
    rig.notices.iter().filter(|notice| what(notice)).count()
}

/// Cause and text of the call's end.
fn end_of(rig: &ControlRig, call: &str) -> Option<(Option<u16>, String)> {
    rig.notices.iter().find_map(|notice| match notice {
        ControlNotice::CallEnded {
            call: c,
            cause,
            text,
        } if c == call => Some((*cause, text.clone())),
        _ => None,
    })
}

fn refusal_of(rig: &ControlRig, wanted: CommandKind) -> Option<(Option<u16>, String)> {
    rig.notices.iter().find_map(|notice| match notice {
        ControlNotice::CommandRefused {
            command,
            status,
            message,
            ..
        } if *command == wanted => Some((*status, message.clone())),
        _ => None,
    })
}

fn is_accepted(rig: &ControlRig, wanted: CommandKind) -> bool {
    rig.notices
        .iter()
        .any(|n| matches!(n, ControlNotice::CommandAccepted { command, .. } if *command == wanted))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
