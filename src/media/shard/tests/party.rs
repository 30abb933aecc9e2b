//! Change of the party on a leg.

use asterscribe_call::CallEventKind;

use super::*;

#[test]
fn a_detected_language_is_opened_on_the_leg_where_somebody_else_may_speak() {
    let mut rig = Rig::new();
    rig.open("c");
    rig.place("c", "caller", A).unwrap();
    rig.place("c", "callee", B).unwrap();
    rig.speak(A, 0);
    rig.pass(MS * 2_000);
    let answer = rig.answers.recv().unwrap();
    rig.shard.answer(rig.now, answer);
    for leg in ["callee", "nobody", "caller", "caller"] {
        let order = MediaCommand::PartyMayDiffer {
            call: "c".parse().unwrap(),
            leg: Some(leg.parse().unwrap()),
            why: "the call was transferred",
        };
        rig.shard.command(rig.now, order);
    }
    let order = MediaCommand::PartyMayDiffer {
        call: "gone".parse().unwrap(),
        leg: None,
        why: "",
    };
    rig.shard.command(rig.now, order);
    let events = rig.shard.take_events().into_iter();
    let told: Vec<_> = events
        .filter_map(|event| match event.kind {
            MediaEventKind::Event(told) => Some(told),
            _ => None,
        })
        .filter(|told| told.text.starts_with("en"))
        .collect();
    let [locked, opened] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(locked.kind, CallEventKind::LanguageLocked);
    assert_eq!(opened.kind, CallEventKind::LanguageReopened);
    assert_eq!(opened.leg, Some(Leg::caller()));
    assert!(opened.text.ends_with("the call was transferred"));
    assert!(opened.at_ms > locked.at_ms);
}

#[test]
fn hold_reaches_the_leg_whose_party_holds_and_no_other() {
    let mut rig = Rig::new();
    rig.open("c");
    rig.place("c", "caller", A).unwrap();
    rig.place("c", "callee", B).unwrap();
    for (call, leg) in [("c", "callee"), ("c", "nobody"), ("gone", "caller")] {
        let order = MediaCommand::Hold {
            call: call.parse().unwrap(),
            leg: leg.parse().unwrap(),
            is_on: true,
        };
        rig.shard.command(rig.now, order);
    }
    rig.speak(A, 0);
    rig.speak(B, 0);
    rig.pass(MS * 2_000);
    let answer = rig.answers.recv().unwrap();
    rig.shard.answer(rig.now, answer);
    rig.hang_up("c");
    rig.pass(MS * 100);
    let legs = rig
        .shard
        .take_events()
        .into_iter()
        .find_map(|event| match event.kind {
            MediaEventKind::Closed(legs) => Some(legs),
            _ => None,
        });
    let legs = legs.expect("all is answered");
    let held: Vec<bool> = legs.iter().map(|leg| leg.audio.gaps.on_hold > 0).collect();
    assert_eq!(held, [false, true]);
    assert!(legs[0].audio.transcribed > 0 && legs[1].audio.transcribed == 0);
    assert!(legs.iter().all(|leg| leg.audio.is_conserved()));
}
