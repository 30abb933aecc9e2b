use super::super::{EventFormat, EventPacket, EventReceiver, KeyPress};
use super::*;
use crate::ids::ExtRtpTime;
use crate::testkit::origin;

const CLOCKS: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

fn hertz(hertz: u32) -> ClockRate {
    ClockRate::new(hertz).unwrap()
}

/// A key of 100 ms, told of every `step` ms, with three copies of its end.
fn sent(clock: u32, step: u64) -> Vec<(u64, bool, u64)> {
    let told = |ms: u64| u64::from(clock) * ms / 1_000;
    let updates = (step..=100).step_by(step as usize);
    let updates = updates.map(|ms| (ms, false, told(ms)));
    let ends = [(100, true, told(100)); 3];
    updates.chain(ends).collect()
}

fn receive(receiver: &mut EventReceiver, from: u64, clock: EventClock, sent: &[(u64, bool, u64)]) {
    for &(ms, is_end, ticks) in sent {
        let [high, low] = u16::try_from(ticks).unwrap().to_be_bytes();
        let packet = EventPacket {
            format: EventFormat::TelephoneEvent,
            payload: &[5, u8::from(is_end) << 7 | 10, high, low],
            time: ExtRtpTime((1 << 40) + 1_000 * from),
            marker: false,
            clock,
        };
        receiver.receive(origin() + Duration::from_millis(from + ms), packet);
    }
}

fn keys(receiver: &mut EventReceiver) -> Vec<u128> {
    receiver.end();
    let keys = std::iter::from_fn(|| receiver.poll(origin()));
    keys.map(|key: KeyPress| key.duration.as_millis()).collect()
}

fn heard(clock: EventClock, sent: &[(u64, bool, u64)]) -> Vec<u128> {
    let mut receiver = EventReceiver::new();
    receive(&mut receiver, 0, clock, sent);
    keys(&mut receiver)
}

#[test]
fn a_key_is_as_long_as_it_was_held_whatever_its_clock() {
    for clock in CLOCKS {
        for step in [10, 20, 25, 50] {
            for audio in CLOCKS.map(hertz).map(Some).into_iter().chain([None]) {
                let told = heard(EventClock::Told(hertz(clock)), &sent(clock, step));
                assert_eq!(told, [100]);
                // One step of a clock that neither telephones nor the audio have is no
                // evidence, nor one that may have been held up.
                let is_usual = clock == 8_000 || audio == Some(hertz(clock));
                for of in [EventClock::asterisk(audio), EventClock::of_audio(audio)] {
                    let is_fast = hertz(clock) >= of.usual();
                    if step == 50 && !(is_usual && is_fast) {
                        continue;
                    }
                    assert_eq!(
                        heard(of, &sent(clock, step)),
                        [100],
                        "{clock} {step} {of:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_lone_packet_has_the_clock_of_the_keys_before_it_or_the_usual_one() {
    let audio = Some(hertz(48_000));
    let lone = &sent(48_000, 20)[7..];
    assert_eq!(heard(EventClock::asterisk(audio), lone), [600]);
    assert_eq!(heard(EventClock::of_audio(audio), lone), [100]);
    assert_eq!(
        heard(EventClock::of_audio(None), &sent(8_000, 20)[7..]),
        [100]
    );
    let mut receiver = EventReceiver::new();
    receive(
        &mut receiver,
        0,
        EventClock::asterisk(audio),
        &sent(48_000, 20),
    );
    receive(&mut receiver, 900, EventClock::asterisk(audio), lone);
    receiver.restart();
    receive(&mut receiver, 1_800, EventClock::asterisk(audio), lone);
    assert_eq!(keys(&mut receiver), [100, 100, 600]);
}

#[test]
fn neither_jitter_nor_a_freeze_of_the_network_changes_the_clock() {
    for (clock, audio) in [
        (8_000, 16_000),
        (8_000, 48_000),
        (16_000, 16_000),
        (48_000, 48_000),
    ] {
        let usual = match clock {
            8_000 => EventClock::asterisk(Some(hertz(audio))),
            _ => EventClock::of_audio(Some(hertz(audio))),
        };
        for step in [10, 20, 50] {
            // Nothing comes through up to then, and all that was held comes at once.
            for from in 0..=100 {
                for until in from..=from + 100 {
                    let late = |(ms, is_end, ticks): (u64, bool, u64)| {
                        let ms = if (from..until).contains(&ms) {
                            until
                        } else {
                            ms
                        };
                        (ms, is_end, ticks)
                    };
                    let sent: Vec<_> = sent(clock, step).into_iter().map(late).collect();
                    assert_eq!(heard(usual, &sent), [100], "{clock} {step} {from} {until}");
                }
            }
            for shift in 0..25 {
                let jitter = |(n, (ms, is_end, ticks)): (usize, (u64, bool, u64))| {
                    (ms + 1 + (n as u64 * 7 + shift) % 9, is_end, ticks)
                };
                let sent: Vec<_> = sent(clock, step)
                    .into_iter()
                    .enumerate()
                    .map(jitter)
                    .collect();
                assert_eq!(heard(usual, &sent), [100], "{clock} {step} {shift}");
            }
        }
    }
}
