//! Parties whom somebody sent elsewhere: they talk to others, and nobody hangs them up.

use super::*;
use crate::control::ControlInput;
use crate::event::AriEvent;
use crate::request::AriRequest;
use crate::testkit::RequestFault;

/// Places that somebody may send a party to: on in the dialplan, or into another application.
const PLACES: [Option<&str>; 2] = [None, Some("other")];

/// A call that we placed, whose party is heard.
fn rig_talking() -> ControlRig {
    let mut rig = rig();
    rig.command(originate(O1));
    rig.settle();
    rig.world.answered_at_far_end(O1);
    rig.settle();
    assert!(is_up(&rig, O1, "caller"));
    rig
}

/// Sends a party elsewhere, and nobody is told.
fn move_unheard(rig: &mut ControlRig, party: &str, place: Option<&'static str>) {
    rig.settle();
    rig.world.sent_elsewhere(party, place);
    while rig.world.next_event().is_some() {}
}

fn is_untouched(rig: &ControlRig, party: &str) -> bool {
    rig.world.is_elsewhere(party)
        && !rig
            .requests
            .iter()
            .any(|r| matches!(r, AriRequest::DeleteChannel { channel } if channel == party))
}

#[test]
fn a_placed_party_who_was_sent_elsewhere_unheard_talks_on() {
    for place in PLACES {
        let mut rig = rig_talking();
        rig.disconnect();
        rig.world.sent_elsewhere(O1, place);
        rig.connect();
        rig.advance(ms(300_000));
        assert!(is_untouched(&rig, O1), "{place:?}");
        assert!(!rig.world.is_subscribed(O1), "{place:?}");
        let text = "left the application while Asterisk was not heard";
        assert_eq!(end_of(&rig, O1).unwrap(), (None, text.into()), "{place:?}");
        assert_eq!(rig.control.stats().opened, 1, "nobody fetches it back");
        // Who comes back by himself is a caller like any other.
        rig.world.enter_again(O1);
        rig.advance(ms(130_000));
        assert_eq!(rig.assert_calls_told_in_turn(), [O1], "{place:?}");
        assert!(rig.world.exists(O1));
    }
}

#[test]
fn a_placed_party_who_answered_and_was_sent_elsewhere_unheard_talks_on() {
    for place in PLACES {
        let mut rig = rig();
        rig.command(originate(O1));
        rig.settle();
        rig.disconnect();
        rig.world.answered_at_far_end(O1);
        rig.world.sent_elsewhere(O1, place);
        rig.connect();
        rig.advance(ms(300_000));
        assert!(is_untouched(&rig, O1), "{place:?}");
        assert!(rig.assert_calls_told_in_turn().is_empty(), "{place:?}");
        rig.assert_calls_told_in_turn();
    }
}

#[test]
fn a_party_who_answers_during_a_listing_is_on_its_way() {
    let mut rig = rig();
    rig.command(originate(O1));
    rig.settle();
    rig.world.answered_and_on_its_way(O1);
    rig.input(ControlInput::Connected);
    rig.settle();
    assert_eq!(rig.assert_calls_told_in_turn(), [O1]);
    rig.world.arrive();
    rig.settle();
    assert!(is_up(&rig, O1, "caller"));
}

#[test]
fn an_earlier_processs_party_who_was_sent_elsewhere_is_not_taken_up() {
    for place in PLACES {
        for is_told in [true, false] {
            let mut old = rig_talking();
            old.world.disconnect();
            old.world.sent_elsewhere(O1, place);
            let recover = if is_told {
                vec![recover(O1, CallKind::Initiated)]
            } else {
                Vec::new()
            };
            let nonce = "00000000b7".to_owned();
            let config = ControlConfig {
                recover,
                nonce,
                ..config()
            };
            let mut new = rig_with(config, std::mem::take(&mut old.world));
            new.connect();
            new.advance(ms(300_000));
            assert!(is_untouched(&new, O1), "{place:?}, told {is_told}");
            assert_eq!(end_of(&new, O1).is_some(), is_told);
            assert_eq!(new.control.stats().opened, 0, "{place:?}, told {is_told}");
        }
    }
}

#[test]
fn a_hang_up_command_for_a_party_who_was_sent_elsewhere_is_refused() {
    for place in PLACES {
        for placed in [true, false] {
            let (mut rig, party) = match placed {
                true => (rig_talking(), O1),
                false => (rig_in_call(DeliveryOrder::RepliesFirst), "c1"),
            };
            move_unheard(&mut rig, party, place);
            rig.command(ControlCommand::Hangup { call: party.into() });
            rig.advance(ms(130_000));
            assert!(is_untouched(&rig, party), "{place:?}, {party}");
            assert_eq!(refusal_of(&rig, CommandKind::Hangup).unwrap().0, Some(409));
            let ended = (None, "left the application".into());
            assert_eq!(end_of(&rig, party).unwrap(), ended, "{place:?}, {party}");
            assert!(rig.assert_calls_told_in_turn().is_empty());
        }
    }
}

#[test]
fn neither_lost_media_nor_a_stop_hangs_up_who_was_sent_elsewhere() {
    for place in PLACES {
        for stops in [true, false] {
            let mut rig = rig_talking();
            move_unheard(&mut rig, O1, place);
            if stops {
                rig.command(ControlCommand::Shutdown);
            } else {
                for media in rig.ours().iter().filter(|id| id.ends_with("media")) {
                    rig.world.kill(media);
                }
            }
            rig.advance(ms(30_000));
            assert!(is_untouched(&rig, O1), "{place:?}, stops {stops}");
            assert!(rig.assert_calls_told_in_turn().is_empty());
        }
    }
}

#[test]
fn who_leaves_and_comes_back_before_the_end_is_told_is_served_at_once() {
    for placed in [true, false] {
        for pause in [0, 100, 249] {
            let (mut rig, party) = match placed {
                true => (rig_talking(), O1),
                false => (rig_in_call(DeliveryOrder::EventsFirst), "c1"),
            };
            rig.order = DeliveryOrder::EventsFirst;
            rig.world.sent_elsewhere(party, None);
            rig.advance(ms(pause));
            rig.world.enter_again(party);
            rig.advance(ms(1_000));
            let case = format!("{party} after {pause} ms");
            assert_eq!(rig.assert_calls_told_in_turn(), [party], "{case}");
            let up = count(&rig, |n| matches!(n, ControlNotice::MediaUp { .. }));
            assert_eq!(up, 2, "{case}");
            let left = (None, "left the application".into());
            assert_eq!(end_of(&rig, party).unwrap(), left, "{case}");
            // He is a caller like any other: a stop lets him go on.
            rig.command(ControlCommand::Shutdown);
            rig.advance(ms(30_000));
            assert!(rig.world.is_continued(party), "{case}");
        }
    }
}

/// Number of calls beyond those that are remembered.
const MANY: u32 = 1_100;

#[test]
fn who_comes_back_after_a_thousand_others_went_on_is_a_caller_too() {
    let mut rig = rig_talking();
    rig.world.sent_elsewhere(O1, None);
    rig.advance(ms(1_000));
    for n in 0..MANY {
        let call = config().naming().call(u128::from(n) + 100);
        rig.command(originate(&call));
        rig.settle();
        rig.world.answered_at_far_end(&call);
        rig.settle();
        rig.world.sent_elsewhere(&call, None);
        rig.advance(ms(1_000));
    }
    rig.world.enter_again(O1);
    rig.advance(ms(130_000));
    assert!(rig.world.exists(O1));
    assert_eq!(rig.assert_calls_told_in_turn(), [O1]);
}

#[test]
fn who_was_to_be_hung_up_before_a_thousand_others_is_a_caller_too() {
    let mut rig = rig_talking();
    // Nothing comes of the hang-up, and he is sent on.
    rig.set_faults(|r| match r {
        AriRequest::DeleteChannel { .. } => RequestFault::Refused(503),
        _ => RequestFault::None,
    });
    rig.command(ControlCommand::Hangup { call: O1.into() });
    rig.advance(ms(14_000));
    assert!(refusal_of(&rig, CommandKind::Hangup).is_some());
    rig.world.sent_elsewhere(O1, None);
    rig.clear_faults();
    rig.settle();
    for n in 0..MANY {
        let call = config().naming().call(u128::from(n) + 100);
        rig.command(originate(&call));
        rig.settle();
        rig.command(ControlCommand::Hangup { call });
        rig.advance(ms(100));
    }
    rig.world.enter_again(O1);
    rig.advance(ms(130_000));
    assert!(rig.world.exists(O1));
    assert_eq!(rig.assert_calls_told_in_turn(), [O1]);
}

#[test]
fn a_tapped_channel_that_comes_to_us_when_its_tap_is_over_is_a_caller() {
    let mut rig = rig_tapping();
    // The first sign of an end that is none: its dialplan goes on behind a hang-up.
    let asked =
        r#"{"type":"ChannelHangupRequest","soft":true,"channel":{"id":"t1","name":"PJSIP/t1"}}"#;
    rig.input(ControlInput::Event(AriEvent::parse(asked).unwrap()));
    rig.world.enter_again("t1");
    rig.advance(ms(5_000));
    assert!(!rig.world.is_continued("t1"));
    assert_eq!(rig.assert_calls_told_in_turn(), ["t1"]);
    let callers = |n: &ControlNotice| {
        matches!(
            n,
            ControlNotice::CallOpened {
                kind: CallKind::Stasis,
                ..
            }
        )
    };
    assert_eq!(count(&rig, callers), 1);
}

#[test]
fn a_caller_whom_another_application_moved_to_ours_is_here() {
    let mut rig = rig();
    rig.world.moved_in("m1", "other");
    rig.settle();
    assert!(is_up(&rig, "m1", "caller"));
    rig.advance(ms(130_000));
    rig.disconnect();
    rig.connect();
    rig.advance(ms(130_000));
    assert_eq!(rig.assert_calls_told_in_turn(), ["m1"]);
    rig.command(ControlCommand::Hangup { call: "m1".into() });
    rig.settle();
    assert!(is_accepted(&rig, CommandKind::Hangup));
    assert!(!rig.world.exists("m1"));
}
