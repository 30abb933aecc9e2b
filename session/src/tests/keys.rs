//! Keys of senders whose telephone events are on other clocks than that of 8 kHz.

use super::*;

/// Packets of 20 ms of a sender, whose keys stand in the place of its audio.
struct Sender {
    rig: Rig,
    seq: u16,
    time: u32,
    /// Payload type of its audio, ticks and bytes of a packet.
    audio: (u8, u32, usize),
}

impl Sender {
    fn new(audio: (u8, u32, usize)) -> Self {
        let rig = Rig::new(SessionConfig::default());
        Self {
            rig,
            seq: 0,
            time: 0,
            audio,
        }
    }

    fn send(&mut self, time: u32, payload_type: u8, payload: &[u8]) {
        self.rig
            .send(&packet(self.seq, time, payload_type, payload));
        self.seq = self.seq.wrapping_add(1);
    }

    fn talk(&mut self, packets: u32) {
        let (payload_type, ticks, bytes) = self.audio;
        // SILK, wide band, 20 ms, where it is Opus (RFC 6716 table 2).
        let payload = [vec![9 << 3], vec![0; bytes - 1]].concat();
        for _packet in 0..packets {
            self.send(self.time, payload_type, &payload);
            self.time += ticks;
            self.rig.pass(PACKET);
        }
    }

    /// A key of 100 ms on that clock; of its packets only some come.
    fn press(&mut self, digit: u8, payload_type: u8, clock: u32, comes: std::ops::Range<u32>) {
        let began = self.time;
        for n in 1..=7 {
            let is_end = n > 5;
            let ticks = u16::try_from(clock / 50 * n.min(5)).unwrap();
            let [high, low] = ticks.to_be_bytes();
            if comes.contains(&n) {
                let payload = [digit, u8::from(is_end) << 7 | 10, high, low];
                self.send(began, payload_type, &payload);
            }
            if n < 6 {
                self.time += self.audio.1;
                self.rig.pass(PACKET);
            }
        }
    }

    fn keys(&self) -> Vec<(char, u64)> {
        let keys = self.rig.keys.iter();
        keys.map(|key| (key.digit, key.duration_ms)).collect()
    }
}

const OPUS: (u8, u32, usize) = (107, 960, 40);
const SLIN16: (u8, u32, usize) = (118, 320, 640);
const SLIN24: (u8, u32, usize) = (123, 480, 960);
const SLIN48: (u8, u32, usize) = (126, 960, 1_920);
const ULAW: (u8, u32, usize) = (0, 160, 160);

#[test]
fn a_key_is_as_long_as_it_was_held_and_told_when_it_was_let_go() {
    for (audio, clock) in [
        (OPUS, 48_000),
        (SLIN48, 48_000),
        (SLIN24, 24_000),
        (SLIN16, 16_000),
        (ULAW, 16_000),
        (ULAW, 8_000),
        (SLIN16, 8_000),
        (OPUS, 8_000),
    ] {
        for payload_type in [110, 101, 96, 126] {
            if payload_type == audio.0 {
                continue;
            }
            let mut sender = Sender::new(audio);
            sender.talk(50);
            sender.press(5, payload_type, clock, 1..8);
            sender.talk(20);
            sender.press(11, payload_type, clock, 1..8);
            sender.talk(20);
            let case = format!("{clock} beside {audio:?} as {payload_type}");
            assert_eq!(sender.keys(), [('5', 100), ('#', 100)], "{case}");
            // From the arrival of its first packet on.
            let at: Vec<_> = sender.rig.keys.iter().map(|key| key.at_ms).collect();
            assert_eq!(at, [1_100, 1_600], "{case}");
        }
    }
}

#[test]
fn of_a_key_whose_clock_was_named_one_packet_suffices() {
    for (payload_type, clock) in [(110, 48_000), (101, 48_000), (118, 16_000), (126, 8_000)] {
        let mut sender = Sender::new(OPUS);
        let leg = sender.rig.leg;
        let rate = ClockRate::new(clock);
        sender.rig.session.name_events(leg, payload_type, rate);
        sender.talk(50);
        sender.press(7, payload_type, clock, 6..8);
        sender.talk(20);
        assert_eq!(sender.keys(), [('7', 100)], "{payload_type}/{clock}");
    }
}

#[test]
fn a_lone_packet_is_on_the_clock_that_the_keys_before_it_have_shown() {
    for (audio, clock) in [(OPUS, 48_000), (SLIN24, 24_000), (SLIN16, 8_000)] {
        let mut sender = Sender::new(audio);
        sender.talk(50);
        sender.press(1, 101, clock, 1..8);
        sender.talk(20);
        sender.press(2, 101, clock, 7..8);
        sender.talk(20);
        assert_eq!(sender.keys(), [('1', 100), ('2', 100)], "{clock}");
    }
}
