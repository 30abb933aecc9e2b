//! Senders that do not keep to RFC 4733, and what they are told by.

use super::*;

/// How a sender stamps the packets of its keys, against RFC 4733 or with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// A key's packets have the timestamp of its beginning.
    Right,
    /// Each packet has a timestamp of its own, those of the end too.
    EachNew,
    /// As before, but those of the end have one together.
    UpdatesNew,
    /// A timestamp for each packet, on the clock of wider audio.
    EachNewWide(u64),
    /// All keys have the timestamp of the first.
    AllSame,
}

/// A packet of a key: milliseconds, timestamp, marker, payload.
type Sent = (u64, u64, bool, [u8; 4]);

/// The packets of keys, each `updates` of 20 ms and three of its end, with a pause between.
fn send(habit: Habit, keys: &[(u8, u64)], pause_ms: u64, marked: bool) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut ms = 0;
    for &(code, updates) in keys {
        let began = ms;
        for n in 0..updates + 3 {
            let is_end = n >= updates;
            let told = n.min(updates);
            let time = match habit {
                Habit::Right => 8 * began,
                Habit::EachNew => 8 * began + 160 * n,
                Habit::UpdatesNew => 8 * began + 160 * told,
                Habit::EachNewWide(ratio) => ratio * (8 * began + 160 * n),
                Habit::AllSame => 0,
            };
            let [high, low] = ((160 * (told + 1)) as u16).to_be_bytes();
            let payload = [code, u8::from(is_end) << 7 | 10, high, low];
            sent.push((began + 20 * told, time, marked && n == 0, payload));
        }
        ms = began + 20 * updates + pause_ms;
    }
    sent
}

fn hear(sent: &[Sent]) -> Vec<char> {
    let mut leg = Leg::default();
    for (ms, time, marker, payload) in sent {
        leg.feed(*ms, EventFormat::TelephoneEvent, *time, *marker, payload);
    }
    leg.receiver.end();
    leg.drain(sent.last().map_or(0, |last| last.0));
    assert_eq!(leg.receiver.stats().malformed, 0);
    leg.keys.iter().map(|key| key.digit).collect()
}

const KEYS: [(u8, u64); 6] = [(5, 8), (5, 5), (1, 12), (10, 4), (5, 8), (5, 30)];
const SAID: [char; 6] = ['5', '5', '1', '*', '5', '5'];
const HABITS: [Habit; 6] = [
    Habit::Right,
    Habit::EachNew,
    Habit::UpdatesNew,
    Habit::EachNewWide(2),
    Habit::EachNewWide(6),
    Habit::AllSame,
];

#[test]
fn whatever_the_timestamps_each_key_is_said_once() {
    for habit in HABITS {
        for pause in [50, 200, 3_000] {
            for marked in [true, false] {
                let sent = send(habit, &KEYS, pause, marked);
                assert_eq!(hear(&sent), SAID, "{habit:?} {pause} {marked}");
            }
        }
    }
}

/// Ends are lost, all or some of them; so the marker tells where the next key begins.
#[test]
fn without_its_end_a_key_is_said_once_as_well() {
    for habit in HABITS {
        for lost in [1, 2, 3] {
            let is_end = |sent: &Sent| sent.3[1] & 0x80 != 0;
            let mut ends = 0;
            let mut sent = send(habit, &KEYS, 100, true);
            sent.retain(|packet| {
                ends = if is_end(packet) { ends + 1 } else { 0 };
                ends == 0 || ends > lost
            });
            assert_eq!(hear(&sent), SAID, "{habit:?} {lost}");
        }
    }
}

/// Of each key only a few packets arrive, the first among them or not.
#[test]
fn what_is_left_of_a_key_is_one_key() {
    for habit in [Habit::Right, Habit::EachNew, Habit::UpdatesNew] {
        for every in [2, 3, 4] {
            for first in 0..every {
                let sent = send(habit, &KEYS, 400, true);
                let left = sent.iter().skip(first).step_by(every).copied();
                let left: Vec<_> = left.collect();
                assert_eq!(hear(&left), SAID, "{habit:?} {every} {first}");
            }
        }
    }
}

#[test]
fn a_moving_key_is_as_long_as_it_says() {
    let mut leg = Leg::default();
    for n in 0..12_u64 {
        let ticks = 160 * (n + 1) as u16;
        leg.event(20 * n, 160 * n, 5, n >= 9, ticks);
    }
    assert_eq!(leg.said(), [('5', 0, 200, true)]);
}

#[test]
fn a_key_with_the_timestamp_of_another_begins_where_that_one_ended() {
    let mut leg = Leg::default();
    for (n, code) in [10, 0, 1, 1].into_iter().enumerate() {
        let ms = 300 * n as u64;
        for (step, end, ticks) in [(0, false, 400), (50, false, 800), (100, true, 960)] {
            leg.event(ms + step, 160, code, end, ticks);
        }
    }
    let said = leg.said();
    let starts: Vec<_> = said.iter().map(|key| (key.0, key.1)).collect();
    assert_eq!(
        starts,
        [('*', 160), ('0', 1_120), ('1', 2_080), ('1', 3_040)]
    );
}

/// Of the third only its end is heard, and it was longer than the first and shorter than
/// the second.
#[test]
fn of_keys_with_one_timestamp_the_last_one_tells_what_is_new() {
    let mut leg = Leg::default();
    leg.event(0, 0, 5, false, 160);
    leg.event(20, 0, 5, true, 480);
    leg.event(100, 0, 5, false, 160);
    leg.event(120, 0, 5, true, 960);
    leg.event(240, 0, 5, true, 720);
    leg.event(241, 0, 5, true, 720);
    let lengths: Vec<_> = leg.said().iter().map(|key| key.2).collect();
    assert_eq!(lengths, [60, 120, 90]);
}

#[test]
fn a_long_key_whose_duration_stays_or_wraps_is_one_key() {
    for last in [u16::MAX, 160] {
        let mut leg = Leg::default();
        for n in 1..=409_u64 {
            let ticks = u16::try_from(160 * n).unwrap_or(last);
            leg.event(20 * n, 0, 7, false, ticks);
        }
        leg.event(20 * 410, 0, 7, false, last);
        leg.event(20 * 411, 0, 7, true, last.saturating_add(160));
        assert_eq!(leg.said().len(), 1, "{last}");
    }
}

#[test]
fn a_long_key_in_segments_is_one_among_keys_of_one_digit() {
    let mut leg = Leg::default();
    let mut time = 0;
    for _ in 0..3 {
        for segment in 0..3_u64 {
            for ticks in [400, 8_000, 0xFFFF] {
                leg.event(time / 8, time + segment * 0xFFFF, 5, false, ticks);
                leg.drain(time / 8);
            }
        }
        for _ in 0..3 {
            leg.event(time / 8 + 1, time + 3 * 0xFFFF, 5, true, 800);
        }
        time += 4 * 0xFFFF + 4_000;
    }
    assert_eq!(leg.said().len(), 3);
}

proptest! {
    #[test]
    fn any_keys_by_any_sender_are_said_once(
        habit in prop::sample::select(&HABITS[..]),
        keys in prop::collection::vec((0_u8..16, 2_u64..40), 1..12),
        pause in 40_u64..2_000,
        marked: bool,
        copies in prop::collection::vec(1_usize..3, 12 * 43),
    ) {
        let sent = send(habit, &keys, pause, marked);
        // In order, as they come from the receiver; some twice, by another number.
        let sent: Vec<_> = sent.into_iter().zip(copies).flat_map(|(sent, copies)| vec![sent; copies]).collect();
        let expected: Vec<_> = keys.iter().map(|(code, _)| digit(*code).unwrap()).collect();
        prop_assert_eq!(hear(&sent), expected);
    }
}
