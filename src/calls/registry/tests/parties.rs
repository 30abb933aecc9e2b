//! Roles of the parties, and changes of them.

use asterscribe_ari::model::{AriChannel, PartyId};
use asterscribe_call::LegSides;

use super::*;

fn party(name: &str, number: &str) -> PartyId {
    PartyId {
        name: name.to_owned(),
        number: number.to_owned(),
    }
}

/// A call at a channel of which nothing tells whether it was called.
fn undecided() -> Rig {
    let mut rig = Rig::new();
    let mut channel = AriChannel {
        id: "1.1".to_owned(),
        caller: party("Anna", "100"),
        connected: party("Bob", "200"),
        ..AriChannel::default()
    };
    channel.dialplan.exten = "9".to_owned();
    let opening = CallOpening {
        caller_number: Some("100".to_owned()),
        destination: Some("9".to_owned()),
        identity: CallIdentity {
            sides: Some(LegSides::of_caller()),
            ..CallIdentity::default()
        },
        undecided: Some(Box::new(channel)),
        ..opening("1.1")
    };
    rig.registry.open(rig.now, rig.wall, opening);
    rig
}

impl Rig {
    fn record(&self) -> &asterscribe_call::CallRecord {
        &self.registry.find(&id("1.1")).unwrap().record
    }
}

#[test]
fn the_linkedid_tells_the_called_party_from_the_calling_one() {
    let of = |text: &str| Some(text.to_owned());
    let mut rig = undecided();
    rig.registry.identify(&id("1.1"), of("1.1"), of("0800"));
    assert_eq!(rig.registry.leg_of(&id("1.1"), "caller"), Leg::caller());
    let record = rig.record();
    assert_eq!(
        (record.caller_number.clone(), record.destination.clone()),
        (of("100"), of("0800"))
    );
    assert_eq!(record.identity.linkedid, of("1.1"));
    rig.registry.connected_to(&id("1.1"), party("Carl", "300"));
    assert_eq!(rig.record().identity.connected_number, of("300"));

    let mut rig = undecided();
    rig.registry.identify(&id("1.1"), of("1.0"), of("0800"));
    assert_eq!(rig.registry.leg_of(&id("1.1"), "caller"), Leg::callee());
    assert_eq!(rig.registry.leg_of(&id("1.1"), "callee"), Leg::caller());
    let record = rig.record();
    assert_eq!(
        (record.caller_number.clone(), record.destination.clone()),
        (of("200"), of("100"))
    );
    assert_eq!(record.identity.caller_name, of("Bob"));
    // Whoever is connected now: who called stays who called.
    rig.registry.connected_to(&id("1.1"), party("Carl", "300"));
    assert_eq!(rig.record().caller_number, of("200"));
}

#[test]
fn a_line_from_before_the_answer_is_early_media() {
    let mut rig = Rig::new();
    let media_run = rig.open("1.1", CallPast::New);
    rig.pass(10);
    rig.registry.answered(&id("1.1"), rig.now, rig.wall);
    for start_ms in [500, 9_999, 10_000] {
        rig.registry.line(&media_run.media, line(start_ms));
    }
    let lines = rig.registry.find(&id("1.1")).unwrap().lines();
    let early: Vec<_> = lines.iter().map(|line| line.early_media).collect();
    assert_eq!(early, [true, true, false]);
}

#[test]
fn nobody_answers_a_registered_call() {
    let mut rig = Rig::new();
    let media = CallOpening {
        origin: CallOrigin::Media,
        ..opening("1.1")
    };
    let media_run = rig.registry.open(rig.now, rig.wall, media).media_run;
    rig.registry.line(&media_run.media, line(0));
    assert!(!rig.registry.find(&id("1.1")).unwrap().lines()[0].early_media);
}

#[test]
fn a_key_of_the_media_has_the_time_of_its_packets_on_the_calls_clock() {
    let mut rig = Rig::new();
    let media_run = rig.open("1.1", CallPast::New);
    rig.pass(60);
    rig.registry.key(&media_run.media, digit(1_250));
    rig.registry
        .digit(&id("1.1"), rig.now, '6', 80, Leg::callee());
    let keys = rig.registry.find(&id("1.1")).unwrap().dtmf();
    let keys: Vec<_> = keys.iter().map(|key| (key.digit, key.at_ms)).collect();
    assert_eq!(keys, [('5', 1_250), ('6', 60_000)]);
}

#[test]
fn what_happens_to_the_parties_is_an_event_of_the_call() {
    let mut rig = Rig::new();
    rig.open("1.1", CallPast::New);
    let call = id("1.1");
    let at = rig.now + Duration::from_millis(300);
    let leg = Some(Leg::callee());
    let text = "it was put on hold".to_owned();
    rig.registry
        .party_event(&call, at, CallEventKind::Hold, leg.clone(), text);
    let event = rig.record().events.last().unwrap();
    assert_eq!(
        (event.at_ms, event.kind, &event.leg),
        (300, CallEventKind::Hold, &leg)
    );
    let is_stored =
        |write: &StoreWrite| matches!(write, StoreWrite::Call(record) if !record.events.is_empty());
    assert!(rig.registry.take_writes().iter().any(is_stored));
    rig.registry.hold(&call, Leg::callee(), true);
    assert!(
        rig.registry.is_on_hold(&call, &Leg::callee())
            && !rig.registry.is_on_hold(&call, &Leg::caller())
    );
    rig.registry.hold(&call, Leg::callee(), false);
    assert!(!rig.registry.is_on_hold(&call, &Leg::callee()));
}
