mod senders;

use proptest::prelude::*;

use super::*;
use crate::ids::RtpTime;
use crate::testkit;

const CLOCK: ClockRate = ClockRate::new(8_000).unwrap();
const BASE: u64 = 1 << 48;

fn ms(ms: u64) -> Instant {
    testkit::origin() + Duration::from_millis(ms)
}

fn at(ticks: u64) -> ExtRtpTime {
    ExtRtpTime(BASE + ticks)
}

/// A receiver and what it has said.
#[derive(Default)]
struct Leg {
    receiver: EventReceiver,
    keys: Vec<KeyPress>,
}

impl Leg {
    fn feed(&mut self, now: u64, format: EventFormat, time: u64, marker: bool, payload: &[u8]) {
        let packet = EventPacket {
            format,
            payload,
            time: at(time),
            marker,
            clock: EventClock::Told(CLOCK),
        };
        self.receiver.receive(ms(now), packet);
        self.drain(now);
    }

    /// RFC 4733: code, end, duration.
    fn event(&mut self, now: u64, time: u64, code: u8, end: bool, ticks: u16) {
        let [high, low] = ticks.to_be_bytes();
        let payload = [code, u8::from(end) << 7 | 10, high, low];
        self.feed(now, EventFormat::TelephoneEvent, time, false, &payload);
    }

    fn cisco(&mut self, now: u64, time: u64, payload: &[u8]) {
        self.feed(now, EventFormat::Cisco, time, false, payload);
    }

    fn drain(&mut self, now: u64) {
        while let Some(key) = self.receiver.poll(ms(now)) {
            self.keys.push(key);
        }
    }

    /// In short: digit, start, milliseconds, whether the end was seen.
    fn said(&self) -> Vec<(char, i128, u128, bool)> {
        let short = |key: &KeyPress| {
            let start = key.start.since(at(0));
            (key.digit, start, key.duration.as_millis(), key.end_seen)
        };
        self.keys.iter().map(short).collect()
    }
}

#[test]
fn a_key_is_said_once_at_its_end() {
    let mut leg = Leg::default();
    for (n, ticks) in [400, 800].into_iter().enumerate() {
        leg.event(50 * n as u64, 160, 5, false, ticks);
    }
    assert_eq!(leg.said(), []);
    assert_eq!(leg.receiver.deadline(), Some(ms(50) + TIMEOUT));
    for n in 0..3 {
        leg.event(100 + n, 160, 5, true, 1_200);
    }
    // An update that was overtaken by the end.
    leg.event(104, 160, 5, false, 800);
    assert_eq!(leg.said(), [('5', 160, 150, true)]);
    assert_eq!(leg.keys[0].began, ms(0));
    assert_eq!(leg.receiver.deadline(), None);
    let stats = leg.receiver.stats();
    assert_eq!((stats.packets, stats.keys, stats.malformed), (6, 1, 0));
}

#[test]
fn a_lost_end_is_made_good_by_time_or_by_the_next_key() {
    let mut leg = Leg::default();
    leg.event(0, 0, 1, false, 400);
    leg.drain(399);
    assert_eq!(leg.said(), []);
    leg.drain(400);
    assert_eq!(leg.said(), [('1', 0, 50, false)]);
    // What still comes of it changes nothing.
    leg.event(401, 0, 1, true, 4_000);
    leg.event(500, 8_000, 2, false, 800);
    leg.event(600, 9_000, 2, true, 400);
    assert_eq!(
        leg.said()[1..],
        [('2', 8_000, 100, false), ('2', 9_000, 50, true)]
    );
}

#[test]
fn a_key_of_which_only_an_end_copy_came_is_said() {
    let mut leg = Leg::default();
    leg.event(0, 0, 11, true, 640);
    leg.event(1, 0, 11, true, 640);
    assert_eq!(leg.said(), [('#', 0, 80, true)]);
}

#[test]
fn an_older_key_heard_late_does_not_end_the_present_one() {
    let mut leg = Leg::default();
    leg.event(0, 5_000, 4, false, 400);
    leg.event(1, 1_000, 3, true, 800);
    leg.event(2, 1_000, 3, true, 800);
    leg.event(50, 5_000, 4, true, 800);
    assert_eq!(
        leg.said(),
        [('3', 1_000, 100, true), ('4', 5_000, 100, true)]
    );
}

#[test]
fn a_long_key_in_segments_is_one_key() {
    // RFC 4733 section 2.5.1.3: 8 s and a bit more at 8 kHz, twice over.
    let mut leg = Leg::default();
    let mut now = 0;
    for segment in 0..3_u64 {
        let last = if segment == 2 { 1_600 } else { 0xFFFF };
        for ticks in (400..=last).step_by(400).chain([last]) {
            now += 50;
            leg.event(now, segment * 0xFFFF, 9, false, ticks as u16);
        }
    }
    // A copy of what is long past.
    leg.event(now, 0xFFFF, 9, false, 800);
    leg.event(now, 0, 9, false, 0xFFFF);
    for _ in 0..3 {
        leg.event(now + 50, 2 * 0xFFFF, 9, true, 2_000);
    }
    leg.event(now + 60, 0xFFFF, 9, false, 0xFFFF);
    let millis = (2 * 0xFFFF + 2_000) * 1_000 / 8_000;
    assert_eq!(leg.said(), [('9', 0, millis, true)]);
}

#[test]
fn a_long_key_that_was_timed_out_is_no_second_one() {
    let mut leg = Leg::default();
    leg.event(0, 0, 9, false, 400);
    leg.drain(500);
    leg.event(20_000, 2 * 0xFFFF, 9, false, 400);
    leg.event(28_200, 3 * 0xFFFF, 9, true, 400);
    assert_eq!(leg.said(), [('9', 0, 50, false)]);
}

#[test]
fn several_keys_in_one_payload_follow_each_other() {
    let mut leg = Leg::default();
    let payload = [1, 0x8A, 1, 0x90, 2, 0x8A, 3, 0x20, 3, 0x0A, 0, 160];
    leg.feed(0, EventFormat::TelephoneEvent, 0, true, &payload);
    leg.feed(1, EventFormat::TelephoneEvent, 0, true, &payload);
    leg.event(50, 1_200, 3, true, 400);
    assert_eq!(
        leg.said(),
        [
            ('1', 0, 50, true),
            ('2', 400, 100, true),
            ('3', 1_200, 50, true)
        ]
    );
}

#[test]
fn what_is_no_key_is_counted_and_ends_one() {
    let mut leg = Leg::default();
    leg.event(0, 0, 7, false, 400);
    leg.event(50, 800, 16, true, 400);
    leg.event(51, 800, 16, true, 400);
    leg.event(60, 1_600, 36, false, 400);
    leg.receiver.end();
    leg.drain(60);
    assert_eq!(leg.said(), [('7', 0, 50, false)]);
    assert_eq!(leg.receiver.stats().other_events, 2);
}

#[test]
fn broken_payloads_are_counted_and_change_nothing() {
    let mut leg = Leg::default();
    leg.event(0, 0, 7, false, 400);
    for payload in [&[][..], &[7], &[7, 0x80, 0]] {
        leg.feed(1, EventFormat::TelephoneEvent, 0, false, payload);
        leg.feed(1, EventFormat::Cisco, 0, false, payload);
    }
    leg.event(50, 0, 7, true, 800);
    assert_eq!(leg.said(), [('7', 0, 100, true)]);
    assert_eq!(leg.receiver.stats().malformed, 6);
}

#[test]
fn a_restart_ends_a_key_and_forgets_the_past() {
    let mut leg = Leg::default();
    leg.event(0, 0, 1, false, 400);
    leg.receiver.restart();
    leg.event(10, 0, 1, true, 400);
    assert_eq!(leg.said(), [('1', 0, 50, false), ('1', 0, 50, true)]);
}

#[test]
fn keys_that_nobody_polls_for_do_not_pile_up() {
    let mut receiver = EventReceiver::new();
    for n in 0..100_u64 {
        let packet = EventPacket {
            format: EventFormat::TelephoneEvent,
            payload: &[(n % 10) as u8, 0x80, 0, 160],
            time: at(n * 1_000),
            marker: true,
            clock: EventClock::Told(CLOCK),
        };
        receiver.receive(ms(n), packet);
    }
    assert_eq!(receiver.stats().overflow, 36);
    let first = receiver.poll(ms(100)).unwrap();
    assert_eq!(first.start, at(36_000));
}

#[test]
fn cisco_keys_follow_their_flags_and_powers() {
    let mut leg = Leg::default();
    // Digit 2 rises and falls, its end repeated; then 2 again with the other flag.
    let first = [0x10, 0x20, 0x20, 0x12, 0x0A, 0, 0];
    for (n, power) in first.into_iter().enumerate() {
        leg.cisco(20 * n as u64, 160 * n as u64, &[n as u8, 7, power, 2]);
    }
    leg.cisco(140, 1_120, &[9, 6, 0x20, 2, 0, 2, 0x0A, 2]);
    // Its end is only in the reserve of the next, 5.
    leg.cisco(260, 2_080, &[15, 7, 0x20, 5, 0, 2, 0x0A, 2]);
    leg.drain(700);
    assert_eq!(
        leg.said(),
        [
            ('2', 0, 100, true),
            ('2', 1_120, 20, true),
            ('5', 2_080, 20, false)
        ]
    );
}

#[test]
fn of_a_cisco_key_one_packet_suffices() {
    let mut leg = Leg::default();
    leg.cisco(0, 0, &[1, 1, 0x20, 1, 0x10, 1, 0x05, 1]);
    leg.cisco(100, 800, &[6, 0, 0, 1, 0x12, 1, 0x20, 1]);
    leg.cisco(120, 960, &[7, 0, 0, 1, 0, 1, 0x12, 1]);
    leg.cisco(200, 1_600, &[9, 1, 0, 1, 0x12, 1]);
    leg.drain(800);
    // The first began 40 ms before what was heard of it, by its reserve; so did the second.
    let start = BASE - 320;
    assert_eq!(leg.keys[0].start, ExtRtpTime(start));
    assert_eq!(leg.keys[0].duration, Duration::from_millis(60));
    assert_eq!(
        leg.said()[1..],
        [('1', 480, 40, true), ('1', 1_440, 20, true)]
    );
}

/// A key as a sender sends it: updates every 50 ms, three copies of the end.
fn packets_of(code: u8, start: u64, updates: u64) -> Vec<(u64, [u8; 4])> {
    let packet = |n: u64, is_end: bool| {
        let ticks = u16::try_from(400 * (n + 1)).unwrap_or(u16::MAX);
        let [high, low] = ticks.to_be_bytes();
        (start / 8 + 50 * n, [code, u8::from(is_end) << 7, high, low])
    };
    let ends = [packet(updates, true); 3];
    (0..updates).map(|n| packet(n, false)).chain(ends).collect()
}

proptest! {
    #[test]
    fn any_loss_that_leaves_one_packet_of_each_key_gives_each_key_once(
        keys in prop::collection::vec((0_u8..16, 1_u64..30, prop::collection::vec(0_u8..4, 40), any::<prop::sample::Index>(), 0_u64..2_000), 1..12),
    ) {
        let mut leg = Leg::default();
        let mut start = 0;
        let mut expected = Vec::new();
        for (code, updates, fates, kept, pause) in keys {
            let packets = packets_of(code, start, updates);
            let kept = kept.index(packets.len());
            for (index, ((now, payload), fate)) in packets.iter().zip(fates).enumerate() {
                // Three in four are lost, of the rest some arrive more than once.
                let copies = if index == kept { 1 + fate } else { fate.saturating_sub(2) };
                for _ in 0..copies {
                    leg.feed(*now, EventFormat::TelephoneEvent, start, index == 0, payload);
                }
            }
            expected.push((digit(code).unwrap(), at(start)));
            // Even, and no multiple of 400: no key begins just where a segment of another
            // would, or where it would have got to by its durations.
            start += 400 * (updates + 1) + 400 + 8 * pause + 4;
        }
        leg.receiver.end();
        leg.drain(start);
        let said: Vec<_> = leg.keys.iter().map(|key| (key.digit, key.start)).collect();
        prop_assert_eq!(said, expected);
    }

    #[test]
    fn any_packets_are_counted_and_say_no_more_keys_than_they_hold(
        packets in prop::collection::vec((any::<bool>(), any::<u32>(), any::<bool>(), 0_u64..1_000, prop::collection::vec(any::<u8>(), 0..80)), 0..100),
    ) {
        let mut leg = Leg::default();
        let (mut now, mut time, mut most) = (0, at(0), 0);
        let count = packets.len() as u64;
        for (cisco, jump, marker, after, payload) in packets {
            now += after;
            time = time.extend(RtpTime(if marker { jump } else { time.wire().0.wrapping_add(jump % 8) }));
            most += payload.len() / 2 + 1;
            let format = if cisco { EventFormat::Cisco } else { EventFormat::TelephoneEvent };
            leg.receiver.receive(ms(now), EventPacket { format, payload: &payload, time, marker, clock: EventClock::Told(CLOCK) });
            leg.drain(now);
            prop_assert!(leg.receiver.closed.len() <= MEMORY);
        }
        leg.receiver.end();
        leg.drain(now);
        let stats = leg.receiver.stats();
        prop_assert_eq!((stats.packets, stats.keys, stats.overflow), (count, leg.keys.len() as u64, 0));
        prop_assert!(leg.keys.len() <= most);
        prop_assert_eq!(leg.receiver.deadline(), None);
    }
}
