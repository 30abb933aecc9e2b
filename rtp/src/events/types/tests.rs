use proptest::prelude::*;

use super::*;
use crate::ids::{ClockRate, ExtSeq, RtpTime};
use crate::testkit;

const CLOCK: EventClock = EventClock::Told(ClockRate::new(8_000).unwrap());

fn judge(types: &mut EventTypes, number: u8, ms: u64, time: u32, payload: &[u8]) -> PacketContent {
    types.judge(&PlacedPacket {
        seq: ExtSeq(70_000 + ms),
        time: ExtRtpTime::first(RtpTime(time)),
        payload_type: PayloadType::new(number).unwrap(),
        marker: false,
        payload,
        arrived: testkit::origin() + Duration::from_millis(ms),
    })
}

fn event(code: u8, is_end: bool, ticks: u16) -> [u8; 4] {
    let [high, low] = ticks.to_be_bytes();
    [code, u8::from(is_end) << 7 | 10, high, low]
}

/// The durations of those that came before, if it is an event by them.
fn before(content: &PacketContent) -> Option<Vec<u16>> {
    match content {
        PacketContent::EventAfter(held) => Some(held.iter().map(HeldEvent::duration).collect()),
        _ => None,
    }
}

#[test]
fn two_packets_of_a_key_prove_its_type_whichever_it_is() {
    for number in 96..=127 {
        let mut types = EventTypes::default();
        // Interleaved with audio, and with another candidate.
        let first = judge(&mut types, number, 0, 160, &event(5, false, 160));
        assert_eq!(first, PacketContent::Undecided, "{number}");
        assert_eq!(
            judge(&mut types, 0, 1, 320, &[0; 160]),
            PacketContent::AsNumbered
        );
        let second = judge(&mut types, number, 20, 160, &event(5, false, 320));
        assert_eq!(before(&second), Some(vec![160]), "{number}");
        for payload in [&event(6, true, 320)[..], &[1, 0x80, 0, 160, 2, 0, 0, 160]] {
            assert_eq!(
                judge(&mut types, number, 40, 900, payload),
                PacketContent::Event
            );
        }
    }
}

#[test]
fn timestamps_that_go_on_with_the_durations_and_copies_of_an_end_prove_it_too() {
    let pairs = [
        ((160, event(5, false, 160)), (320, event(5, false, 320))),
        ((160, event(5, false, 160)), (480, event(5, false, 320))),
        ((160, event(5, false, 160)), (1_120, event(5, false, 320))),
        ((160, event(5, true, 960)), (160, event(5, true, 960))),
        ((160, event(5, false, 0)), (160, event(5, false, 0))),
        ((160, event(16, false, 400)), (160, event(16, true, 800))),
    ];
    for ((time, payload), (next_time, next)) in pairs {
        let mut types = EventTypes::default();
        let first = judge(&mut types, 127, 0, time, &payload);
        assert_eq!(first, PacketContent::Undecided);
        let second = judge(&mut types, 127, 20, next_time, &next);
        assert!(before(&second).is_some(), "{payload:?} {next:?}");
    }
}

#[test]
fn lone_packets_of_keys_before_the_proof_are_not_lost() {
    let mut types = EventTypes::default();
    for n in 0..20_u8 {
        let ms = 1_000 * u64::from(n);
        let lone = judge(
            &mut types,
            100,
            ms,
            8 * ms as u32,
            &event(n % 10, true, 800),
        );
        assert_eq!(lone, PacketContent::Undecided);
        assert!(types.held.len() <= MAX_HELD);
    }
    judge(&mut types, 101, 30_000, 7, &event(1, true, 800));
    judge(&mut types, 100, 30_000, 7, &event(1, true, 900));
    let proof = judge(&mut types, 100, 30_020, 7, &event(1, true, 900));
    assert_eq!(before(&proof).unwrap().len(), MAX_HELD - 1);
    assert_eq!(types.held.len(), 1);
}

#[test]
fn the_type_of_audio_is_never_that_of_events() {
    for number in [107, 118, 122, 123, 124, 125, 126, 127, 96] {
        let mut types = EventTypes::default();
        // A tiny packet first: it might be an event.
        judge(&mut types, number, 0, 0, &event(5, false, 160));
        judge(&mut types, number, 20, 960, &[0; 1_920]);
        for n in 2..10 {
            let time = 960 + 2 * n as u32;
            let tiny = judge(&mut types, number, 20 * n, time, &event(5, false, 160));
            assert_eq!(tiny, PacketContent::AsNumbered, "{number}");
        }
        types.restart();
        judge(&mut types, number, 200, 960, &event(5, false, 160));
        let key = judge(&mut types, number, 220, 960, &event(5, false, 320));
        assert!(before(&key).is_some());
        // And now it is audio.
        let audio = judge(&mut types, number, 240, 1_920, &[0; 640]);
        assert_eq!(audio, PacketContent::AsNumbered);
    }
}

/// The call is with another by now, whose keys have the number of the former's audio.
#[test]
fn a_type_that_was_audio_becomes_one_of_events_by_the_same_proof() {
    let mut types = EventTypes::default();
    judge(&mut types, 126, 0, 960, &[0; 1_920]);
    let first = judge(&mut types, 126, 20, 1_920, &event(5, false, 160));
    assert_eq!(first, PacketContent::AsNumbered);
    let second = judge(&mut types, 126, 40, 1_920, &event(5, false, 320));
    assert_eq!(before(&second), Some(vec![160]));
    let third = judge(&mut types, 126, 60, 1_920, &event(5, true, 480));
    assert_eq!(third, PacketContent::Event);
}

#[test]
fn what_is_shaped_or_goes_on_otherwise_is_no_event() {
    let not_shaped: [&[u8]; 6] = [
        &[],
        &[5, 10, 0],
        &[5, 10, 0, 160, 7],
        // The reserved bit; a code of no event; one of two.
        &[5, 0x4A, 0, 160],
        &[200, 10, 0, 160],
        &[5, 10, 0, 160, 200, 10, 0, 160],
    ];
    for payload in not_shaped {
        let mut types = EventTypes::default();
        for n in 0..3 {
            let content = judge(&mut types, 127, n, 160, payload);
            assert_eq!(content, PacketContent::AsNumbered, "{payload:?}");
        }
    }
    // Another code, a shorter duration, another step, too late.
    let next = [
        (20, 160, event(6, false, 320)),
        (20, 160, event(5, false, 80)),
        (20, 1_000, event(5, false, 320)),
        (20, 1_280, event(5, false, 320)),
        (2_001, 160, event(5, false, 320)),
    ];
    for (ms, time, payload) in next {
        let mut types = EventTypes::default();
        judge(&mut types, 127, 0, 160, &event(5, false, 160));
        let content = judge(&mut types, 127, ms, time, &payload);
        assert_eq!(content, PacketContent::Undecided, "{payload:?}");
    }
    // Static types are what they are.
    let mut types = EventTypes::default();
    for n in 0..5 {
        let content = judge(&mut types, 95, n, 160, &event(5, false, 160));
        assert_eq!(content, PacketContent::AsNumbered);
    }
}

#[test]
fn ciscos_own_form_keeps_its_number_until_it_is_something_else() {
    let mut types = EventTypes::default();
    for n in 0..10_u8 {
        let cisco = [n, 7, 0x20, 5];
        let content = judge(&mut types, 121, 20 * u64::from(n), 160, &cisco);
        assert_eq!(content, PacketContent::AsNumbered);
    }
    judge(&mut types, 121, 500, 160, &event(5, false, 160));
    let key = judge(&mut types, 121, 520, 160, &event(5, false, 320));
    assert_eq!(before(&key), Some(vec![160]));
    let packet = event(5, false, 0x0510);
    assert_eq!(
        judge(&mut types, 121, 540, 160, &packet),
        PacketContent::Event
    );
    let PacketContent::EventAfter(held) = key else {
        unreachable!()
    };
    assert_eq!(held[0].packet(CLOCK).payload, event(5, false, 160));
}

proptest! {
    /// As audio has it, a timestamp of its own for each packet, as long as the packet is.
    #[test]
    fn audio_of_any_bytes_and_any_length_is_no_key(
        number in prop::sample::select(&[107_u8, 118, 122, 125, 127][..]),
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..100),
    ) {
        let (mut types, mut time) = (EventTypes::default(), 0);
        for (n, payload) in packets.iter().enumerate() {
            let content = judge(&mut types, number, 20 * n as u64, time, payload);
            prop_assert!(before(&content).is_none() && content != PacketContent::Event);
            time += payload.len() as u32 / 2 * 20;
        }
    }
}
