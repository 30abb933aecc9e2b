use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ids::{ClockRate, ExtRtpTime};
use crate::testkit;
use crate::testkit::random::SplitMix;

fn near(value: f32, expected: f32, tolerance: f32) -> bool {
    (value - expected).abs() <= tolerance
}

#[test]
fn opinion_scores_are_those_of_the_recommendation() {
    // ITU-T G.107 annex B, table B.1, and its default connection.
    for (r, score) in [
        (90.0, 4.34),
        (80.0, 4.03),
        (70.0, 3.60),
        (60.0, 3.10),
        (50.0, 2.58),
    ] {
        assert!(near(mos(r), score, 0.01), "{r}: {}", mos(r));
    }
    assert!(near(mos(93.2), 4.41, 0.005));
    assert_eq!(
        (mos(-5.0), mos(0.0), mos(100.0), mos(120.0)),
        (1.0, 1.0, 4.5, 4.5)
    );
    assert!(mos(3.0) >= 1.0);
}

#[test]
fn impairments_under_loss_are_those_of_the_appendix() {
    // ITU-T G.113 appendix I lists these for G.729A with silence suppression.
    for (percent, listed) in [
        (0.0, 11.0),
        (1.0, 15.0),
        (2.0, 19.0),
        (4.0, 26.0),
        (8.0, 36.0),
        (16.0, 49.0),
    ] {
        let effective = BEST_R - r_factor(CodecImpairment::G729A, percent / 100.0, 1.0);
        assert!(near(effective, listed, 0.6), "{percent} %: {effective}");
    }
    assert!(near(r_factor(CodecImpairment::G711, 0.0, 1.0), 93.2, 1e-4));
    assert!(near(
        r_factor(CodecImpairment::G711_CONCEALED, 0.05, 1.0),
        77.42,
        0.01
    ));
    // Without concealment a loss of 2 % costs more than a third of the scale.
    assert!(near(
        r_factor(CodecImpairment::G711, 0.02, 1.0),
        63.04,
        0.01
    ));
}

#[test]
fn bursts_make_it_worse_and_more_than_even_loss_does_not_make_it_better() {
    let r = |bursts| r_factor(CodecImpairment::G711_CONCEALED, 0.05, bursts);
    assert!(r(2.0) < r(1.0) - 1.0);
    assert_eq!(r(0.9), r(1.0));
}

fn bursts(pattern: &[u8]) -> LossBursts {
    let mut bursts = LossBursts::default();
    for &arrived in pattern {
        if arrived == 1 {
            bursts.packet();
        } else {
            bursts.lost(1);
        }
    }
    bursts
}

#[test]
fn a_leg_without_loss_has_no_bursts() {
    let none = LossBursts::default();
    assert_eq!((none.loss(), none.burst_ratio()), (0.0, 1.0));
    let clean = bursts(&[1; 10]);
    assert_eq!((clean.loss(), clean.burst_ratio()), (0.0, 1.0));
    let all_lost = bursts(&[0; 10]);
    assert_eq!((all_lost.loss(), all_lost.burst_ratio()), (1.0, 1.0));
}

#[test]
fn the_burst_ratio_is_exact() {
    // 4 of 10 lost in 2 bursts: mean 2; random loss of 40 % has 1 / 0.6.
    let leg = bursts(&[1, 0, 0, 0, 1, 1, 1, 0, 1, 1]);
    assert_eq!(leg.loss(), 0.4);
    assert!(near(leg.burst_ratio(), 1.2, 1e-6));
    let mut same = LossBursts::default();
    same.packet();
    same.lost(2);
    same.lost(1);
    (0..3).for_each(|_| same.packet());
    same.lost(1);
    (0..2).for_each(|_| same.packet());
    assert_eq!(
        (same.loss(), same.burst_ratio()),
        (leg.loss(), leg.burst_ratio())
    );
}

#[test]
fn random_loss_has_a_ratio_of_one_and_bursts_their_own() {
    let mut random = SplitMix::new(5);
    let mut uniform = LossBursts::default();
    let mut gilbert = LossBursts::default();
    let mut bad = false;
    for _ in 0..200_000 {
        if random.chance(0.1) {
            uniform.lost(1);
        } else {
            uniform.packet();
        }
        bad ^= random.chance(if bad { 0.25 } else { 0.05 });
        if bad {
            gilbert.lost(1);
        } else {
            gilbert.packet();
        }
    }
    assert!(
        near(uniform.burst_ratio(), 1.0, 0.02),
        "{}",
        uniform.burst_ratio()
    );
    // Of a two-state chain it is 1 / (p + q) (ITU-T G.107 section 7.4).
    let expected = 1.0 / (0.05 + 0.25);
    assert!(
        near(gilbert.burst_ratio(), expected, 0.1),
        "{}",
        gilbert.burst_ratio()
    );
}

proptest! {
    #[test]
    fn every_rating_is_on_its_scale(loss in -1_f32..2.0, bursts in -1_f32..100.0, r in -200_f32..200.0) {
        for codec in [CodecImpairment::G711, CodecImpairment::GSM, CodecImpairment::OPUS] {
            let rating = r_factor(codec, loss, bursts);
            prop_assert!((0.0..=93.2).contains(&rating), "{}", rating);
        }
        prop_assert!((1.0..=4.5).contains(&mos(r)));
    }
}

/// A sender whose clock is off by `ppm`, behind a network with jitter, from
/// `from` on its own way; `seconds` of 20 ms packets.
struct Sender {
    drift: ClockDrift,
    random: SplitMix,
    sent: Duration,
    time: u64,
    ppm: f64,
}

impl Sender {
    fn new(ppm: f64) -> Self {
        Self {
            drift: ClockDrift::new(),
            random: SplitMix::new(11),
            sent: Duration::ZERO,
            time: 1 << 48,
            ppm,
        }
    }

    fn talk(&mut self, seconds: u64, delay_ms: u64) {
        for _ in 0..seconds * 50 {
            let missing = u32::from(self.random.chance(0.02));
            let packet = Duration::from_secs_f64(0.02 / (1.0 + self.ppm * 1e-6));
            // What is missing takes its time as well.
            self.sent += packet * (1 + missing);
            self.time += 160 * u64::from(missing);
            let jitter = Duration::from_micros(self.random.below(30_000));
            let arrived = self.sent + jitter + Duration::from_millis(delay_ms);
            self.drift.packet(DriftPacket {
                arrived: testkit::origin() + arrived,
                time: ExtRtpTime(self.time),
                ticks: 160,
                missing: u64::from(missing),
                clock: ClockRate::new(8_000).unwrap(),
            });
            self.time += 160;
        }
    }
}

#[test]
fn a_drift_is_told_after_a_while_through_jitter_and_loss() {
    for ppm in [-300.0, -50.0, 0.0, 100.0, 2_000.0] {
        let mut sender = Sender::new(ppm);
        sender.talk(55, 40);
        assert_eq!(sender.drift.ppm(), None);
        sender.talk(65, 40);
        let told = f64::from(sender.drift.ppm().unwrap());
        assert!((told - ppm).abs() < 12.0, "{ppm}: {told}");
    }
}

#[test]
fn a_change_of_route_is_no_drift() {
    let mut sender = Sender::new(0.0);
    sender.talk(140, 40);
    sender.talk(20, 100);
    let told = sender.drift.ppm().unwrap();
    assert!(told.abs() < 40.0, "{told}");
}

#[test]
fn pauses_whose_length_is_only_roughly_told_are_no_drift() {
    let mut sender = Sender::new(80.0);
    for _ in 0..6 {
        sender.talk(90, 40);
        // The pause lasts 5 s; the timestamps claim 15 ms more.
        sender.sent += Duration::from_secs(5);
        sender.time += 8 * 5_015;
    }
    let told = f64::from(sender.drift.ppm().unwrap());
    assert!((told - 80.0).abs() < 15.0, "{told}");
    // Short sentences say nothing, and what was known fades.
    for _ in 0..60 {
        sender.talk(12, 40);
        sender.sent += Duration::from_secs(1);
        sender.time += 8 * 1_010;
    }
    assert_eq!(sender.drift.ppm(), None);
}

#[test]
fn no_timestamp_is_too_strange() {
    let mut drift = ClockDrift::new();
    let mut random = SplitMix::new(1);
    for n in 0..10_000_u32 {
        drift.packet(DriftPacket {
            arrived: testkit::origin() + Duration::from_millis(random.below(1 << 20)),
            time: ExtRtpTime(if n % 3 == 0 {
                u64::MAX
            } else {
                random.number()
            }),
            ticks: random.below(1 << 20),
            missing: random.below(1 << 16),
            clock: ClockRate::new(1).unwrap(),
        });
        drift.ppm();
    }
}
