//! A party that has put the other on hold.

use super::*;

/// Speech of a leg before, during and after hold, with losses and pauses meanwhile.
struct Held {
    rig: Rig,
    seq: u16,
    time: u32,
}

impl Held {
    fn new() -> Self {
        Self {
            rig: Rig::new(SessionConfig::default()),
            seq: 1,
            time: 1000,
        }
    }

    fn speak(&mut self) {
        speak(&mut self.rig, &mut self.seq, &mut self.time);
    }

    fn hold(&mut self, is_on: bool) {
        let leg = self.rig.leg;
        self.rig.input(SessionInput::Hold { leg, is_on });
    }

    fn silence(&mut self, packets: u16) {
        for _ in 0..packets {
            self.rig.send(&packet(self.seq, self.time, 0, &SILENCE));
            self.seq += 1;
            self.time += 160;
            self.rig.pass(PACKET);
        }
    }

    /// Hangs up; the account and the lines' starts, the call being whole.
    fn account(mut self) -> (asterscribe_call::AudioAccount, Vec<u64>) {
        self.rig.input(SessionInput::Hangup);
        for n in 0..self.rig.jobs.len() {
            self.rig.answer(n, "words");
        }
        let leg = self.rig.closed.take().expect("all is answered").remove(0);
        let audio = leg.audio;
        assert!(audio.is_conserved() && audio.pending == 0, "{audio:?}");
        let stats = leg.stats;
        let counted = (stats.audio_ms + stats.lost_ms + stats.silent_ms) * 16;
        assert!(audio.span.abs_diff(counted) <= 64, "{audio:?} {stats:?}");
        assert_eq!(stats.received, stats.decoded);
        let starts = self.rig.lines.iter().map(|line| line.start_ms);
        (audio, starts.collect())
    }
}

#[test]
fn what_comes_from_a_party_that_holds_is_accounted_for_and_nobodys_words() {
    let packets = u64::try_from(speech().len()).unwrap();
    let mut held = Held::new();
    held.speak();
    // In the middle of a sentence: what was said of it stays.
    held.hold(true);
    held.speak();
    held.hold(true);
    held.silence(50);
    held.speak();
    held.hold(false);
    held.silence(50);
    let before_ms = u64::from(held.seq - 1) * 20;
    held.speak();
    held.silence(50);
    assert_eq!(held.rig.jobs.len(), 2, "nothing of what was held");
    let (audio, starts) = held.account();
    assert_eq!(audio.gaps.on_hold, (2 * packets + 50) * 320);
    assert_eq!(audio.gaps.total(), audio.gaps.on_hold);
    assert_eq!(audio.span, (4 * packets + 150) * 320);
    assert!(
        starts[1] >= before_ms.saturating_sub(300),
        "{starts:?} {before_ms}"
    );
}

#[test]
fn losses_pauses_and_odd_packets_on_hold_have_their_own_reasons() {
    for lost in [1u16, 5, 60] {
        let mut held = Held::new();
        held.silence(20);
        held.hold(true);
        held.silence(10);
        held.rig.pass(PACKET * u32::from(lost));
        held.seq += lost;
        held.time += u32::from(lost) * 160;
        held.silence(10);
        // A pause of the sender, whom nobody hears.
        held.rig.pass(Duration::from_secs(3));
        held.time += 24_000;
        held.silence(10);
        held.hold(false);
        held.silence(10);
        held.speak();
        held.silence(50);
        assert_eq!(held.rig.jobs.len(), 1, "{lost}");
        let (audio, _) = held.account();
        assert_eq!(audio.gaps.net_loss, u64::from(lost) * 320, "{lost}");
        assert_eq!(audio.gaps.sender_silence, 3 * 16_000);
        assert_eq!(audio.gaps.on_hold, 30 * 320);
    }
}

#[test]
fn hold_before_anything_came_and_to_the_end_of_the_call() {
    let mut held = Held::new();
    held.hold(true);
    held.speak();
    held.rig.pass(Duration::from_secs(5));
    assert!(held.rig.jobs.is_empty());
    let (audio, starts) = held.account();
    assert_eq!((audio.gaps.on_hold, starts.len()), (audio.span, 0));
}

#[test]
fn a_packet_of_part_of_a_sample_costs_the_account_nothing() {
    // 11,025 samples a second do not divide into 16,000.
    for is_held in [false, true] {
        let mut rig = Rig::new(SessionConfig::default());
        let leg = rig.leg;
        let (mut seq, mut time) = (1, 0);
        let mut send = |rig: &mut Rig, count: usize| {
            for _ in 0..count {
                let payload = vec![0; 882 * 2];
                rig.send(&packet(seq, time, 125, &payload));
                seq += 1;
                time += 882;
                rig.pass(PACKET);
            }
        };
        send(&mut rig, 7);
        rig.input(SessionInput::Hold {
            leg,
            is_on: is_held,
        });
        send(&mut rig, 33);
        rig.input(SessionInput::Hold { leg, is_on: false });
        send(&mut rig, 7);
        rig.input(SessionInput::Hangup);
        let audio = rig.closed.unwrap()[0].audio;
        assert!(audio.is_conserved() && audio.pending == 0, "{audio:?}");
        assert!(audio.span.abs_diff(47 * 320) <= 4, "{audio:?}");
        let held = if is_held { 33 * 320 } else { 0 };
        assert!(audio.gaps.on_hold.abs_diff(held) <= 2, "{audio:?}");
    }
}
