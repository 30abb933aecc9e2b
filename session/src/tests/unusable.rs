//! Packets of no use are in the account from the moment at which they come.

use asterscribe_call::AudioAccount;

use super::*;
use crate::fuzz::AccountLaw;

/// Sends packets and holds the leg to the law after each.
struct Sender {
    rig: Rig,
    law: AccountLaw,
    seq: u16,
    time: u32,
}

impl Sender {
    fn new() -> Self {
        Self {
            rig: Rig::new(SessionConfig::default()),
            law: AccountLaw::default(),
            seq: 65_520,
            time: u32::MAX - 3_000,
        }
    }

    fn account(&mut self) -> AudioAccount {
        let leg = &self.rig.session.snapshots()[0];
        let elapsed = self.rig.now.duration_since(self.rig.session.opened);
        self.law.check(leg, elapsed);
        leg.audio
    }

    fn send(&mut self, payload_type: u8, payload: &[u8], ticks: u32) -> AudioAccount {
        let bytes = packet(self.seq, self.time, payload_type, payload);
        self.rig.send(&bytes);
        self.seq = self.seq.wrapping_add(1);
        self.time = self.time.wrapping_add(ticks);
        self.account()
    }

    fn flow(&mut self, packets: usize, payload_type: u8, payload: &[u8], ticks: u32, ms: u64) {
        for _ in 0..packets {
            self.send(payload_type, payload, ticks);
            self.rig.pass(Duration::from_millis(ms));
        }
    }

    fn audio(&mut self, packets: usize) {
        self.flow(packets, 0, &SILENCE, 160, 20);
    }

    fn end(mut self) -> (AudioAccount, LegStats) {
        self.rig.input(SessionInput::Hangup);
        let leg = self.rig.closed.unwrap().remove(0);
        assert!(leg.audio.is_conserved(), "{:?}", leg.audio);
        (leg.audio, leg.stats)
    }
}

#[test]
fn what_nobody_decodes_is_booked_at_the_start_in_the_middle_and_at_the_end() {
    for (before, after) in [(50, 50), (50, 0), (0, 50), (0, 0)] {
        // G.729, something unknown, half a sample of slin16, an empty kind of GSM.
        for (payload_type, payload, ticks) in [
            (18, &[1; 20][..], 160),
            (77, &[9; 33], 160),
            (118, &[1; 321], 320),
            (3, &[2; 40], 160),
        ] {
            let what = format!("{before}, {payload_type}, {after}");
            let mut sender = Sender::new();
            sender.audio(before);
            for n in 1..=100u64 {
                let gaps = sender.send(payload_type, payload, ticks).gaps;
                let booked = gaps.unknown_payload + gaps.decode_error;
                assert!(booked.abs_diff(n * 320) <= 400, "{what}: {booked} at {n}");
                sender.rig.pass(PACKET);
            }
            sender.audio(after);
            let (audio, stats) = sender.end();
            let span = (before + 100 + after) as u64 * 320;
            assert!(audio.span.abs_diff(span) <= 400, "{what}: {audio:?}");
            let gaps = audio.gaps;
            let booked = gaps.unknown_payload + gaps.decode_error;
            assert!(booked.abs_diff(32_000) <= 400, "{what}: {gaps:?}");
            assert_eq!(gaps.total(), booked, "{what}");
            assert_eq!(stats.unknown_payload + stats.decode_errors, 100, "{what}");
        }
    }
}

#[test]
fn a_leg_of_g729_lasts_as_long_as_it_lasts_whatever_its_packets_are() {
    for ms in [10, 20, 30, 40, 60, 100] {
        let mut sender = Sender::new();
        sender.flow(300, 18, &[3; 20], 8 * ms, u64::from(ms));
        let (audio, _) = sender.end();
        let expected = 300 * u64::from(ms) * 16;
        assert!(audio.span.abs_diff(expected) <= 2_000, "{ms} ms: {audio:?}");
        assert_eq!(audio.gaps.unknown_payload, audio.span, "{ms} ms");
    }
}

#[test]
fn pauses_and_losses_of_what_nobody_decodes_have_their_own_reasons() {
    let mut sender = Sender::new();
    sender.flow(100, 18, &[3; 20], 160, 20);
    sender.rig.pass(Duration::from_secs(5));
    sender.time += 5 * 8_000;
    sender.flow(100, 18, &[3; 20], 160, 20);
    (sender.seq, sender.time) = (sender.seq + 3, sender.time + 480);
    sender.rig.pass(3 * PACKET);
    sender.flow(100, 18, &[3; 20], 160, 20);
    let gaps = sender.end().0.gaps;
    assert_eq!(gaps.sender_silence, 80_000, "{gaps:?}");
    assert_eq!(gaps.net_loss, 960, "{gaps:?}");
    assert_eq!(gaps.unknown_payload, 96_000, "{gaps:?}");
}

#[test]
fn what_a_sender_has_too_much_is_booked_as_far_as_time_passed_for_it() {
    // 20 s stand still and come at once; the call ends with them, or goes on.
    for after in [0, 100] {
        let mut sender = Sender::new();
        sender.audio(100);
        sender.rig.pass(Duration::from_secs(20) - PACKET);
        let mut before = sender.account();
        for _ in 0..1_000 {
            let now = sender.send(0, &SILENCE, 160);
            assert!(now.span >= before.span);
            before = now;
        }
        sender.rig.pass(PACKET);
        sender.audio(after);
        let (audio, stats) = sender.end();
        let span = (100 + 1_000 + after) as u64 * 320;
        assert!(audio.span.abs_diff(span) <= 1_000, "{after}: {audio:?}");
        let shed = stats.overload_shed * 320;
        assert!(shed > 100_000, "{stats:?}");
        assert!(
            audio.gaps.overload_shed.abs_diff(shed) <= 1_000,
            "{after}: {audio:?}"
        );
        assert_eq!(audio.gaps.total(), audio.gaps.overload_shed, "{audio:?}");
    }
}

#[test]
fn what_comes_at_once_and_is_too_much_is_booked_by_its_timestamps() {
    // No time has passed for it: at the end of a call, at its start, in the middle.
    for (before, after) in [(100, 0), (0, 100), (100, 100)] {
        let mut sender = Sender::new();
        sender.audio(before);
        for _ in 0..1_000 {
            sender.send(0, &SILENCE, 160);
        }
        sender.rig.pass(PACKET);
        sender.audio(after);
        let (audio, stats) = sender.end();
        let span = (before + 1_000 + after) as u64 * 320;
        assert!(audio.span.abs_diff(span) <= 1_000, "{before}: {audio:?}");
        let shed = stats.overload_shed * 320;
        assert!(shed > 100_000, "{stats:?}");
        assert_eq!(
            audio.gaps.overload_shed, shed,
            "{before}, {after}: {audio:?}"
        );
        assert_eq!(audio.gaps.total(), shed, "{audio:?}");
    }
}

#[test]
fn what_nobody_decodes_beside_the_audio_adds_no_time() {
    let mut sender = Sender::new();
    for n in 0..500u32 {
        // As keys of a payload type that was agreed on elsewhere.
        sender.send(0, &SILENCE, 160);
        sender.rig.pass(Duration::from_millis(10));
        if n % 50 < 10 {
            let time = sender.time;
            sender.time = sender.time.wrapping_sub(160 * (n % 50 + 1));
            sender.send(96, &[1, 10, 0, 160], 0);
            sender.time = time;
        }
        sender.rig.pass(Duration::from_millis(10));
    }
    let (audio, _) = sender.end();
    assert!(audio.span <= 160_000 + 1_600, "{audio:?}");
}

#[test]
fn signalling_alone_begins_no_timeline() {
    let mut sender = Sender::new();
    sender.flow(50, 101, &[5, 10, 0, 160], 0, 20);
    sender.flow(50, 13, &[40], 160, 20);
    assert_eq!(sender.end().0.span, 0);
}

#[test]
fn the_rest_of_a_sample_before_what_nobody_decodes_is_no_speech_at_the_end() {
    // 80 samples at 48 kHz are 26⅔ at 16 kHz; a third of one of 44.1 kHz likewise.
    for (payload_type, samples) in [(126, 80), (126, 160), (125, 147), (125, 441), (10, 80)] {
        for packets in [1, 2, 5] {
            let mut sender = Sender::new();
            let payload = vec![0; 2 * samples];
            for _ in 0..packets {
                sender.send(payload_type, &payload, samples as u32);
                sender.rig.pass(PACKET);
            }
            for _ in 0..10 {
                sender.send(payload_type, &[0; 447], samples as u32);
                sender.rig.pass(PACKET);
            }
            let (audio, _) = sender.end();
            assert_eq!(audio.pending, 0, "{packets} of {samples}: {audio:?}");
        }
    }
}
