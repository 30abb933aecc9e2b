use super::*;

/// A leg of 8 kHz whose packets are this far apart; sends `count` of them and
/// gives how many were refused for their rate.
fn flow(leg: &mut Leg, seq: &mut u16, count: u32, apart_ms: u64, ticks: u32) -> u64 {
    let mut refused = 0;
    for _ in 0..count {
        leg.ms += apart_ms;
        let verdict = leg.rtp_at(1, *seq, u32::from(*seq).wrapping_mul(ticks));
        match verdict {
            PacketVerdict::Accepted => {}
            PacketVerdict::Refused(DropReason::OverRate) => refused += 1,
            other => panic!("{other:?}"),
        }
        *seq = seq.wrapping_add(1);
    }
    refused
}

fn leg() -> Leg {
    let mut leg = Leg::new();
    leg.receiver.set_clock_rate(ClockRate::new(8_000));
    leg
}

#[test]
fn ten_times_the_rate_is_policed_to_twice_and_said() {
    let mut leg = leg();
    let mut seq = 60_000;
    assert_eq!(flow(&mut leg, &mut seq, 100, 20, 160), 0);
    // Ten seconds.
    let refused = flow(&mut leg, &mut seq, 5_000, 2, 160);
    assert!((3_550..=4_000).contains(&refused), "{refused}");
    assert!(leg.receiver.stats().held <= 1);
    // The flood is over: nothing is refused any more.
    assert_eq!(flow(&mut leg, &mut seq, 500, 20, 160), 0);
    let shed: u64 = leg
        .heard
        .out
        .iter()
        .filter_map(|out| match out {
            Out::Shed(count, shed) => Some((*count, *shed)),
            _ => None,
        })
        .map(|(count, shed)| {
            assert_eq!(count, shed);
            shed
        })
        .sum();
    assert_eq!(shed, refused);
    let (_, stats) = leg.end();
    assert_eq!(
        (stats.over_rate, stats.shed, stats.lost),
        (refused, refused, refused)
    );
    assert_eq!(stats.released + refused, 5_600);
}

#[test]
fn a_frozen_network_that_delivers_at_once_is_no_flood() {
    for (ms, burst) in [(20, 250), (10, 500)] {
        let mut leg = leg();
        let mut seq = 60_000;
        for _ in 0..3 {
            assert_eq!(flow(&mut leg, &mut seq, 500, ms, 8 * ms as u32), 0);
            leg.ms += 5_000;
            assert_eq!(flow(&mut leg, &mut seq, burst, 0, 8 * ms as u32), 0);
        }
        let (_, stats) = leg.end();
        assert_eq!((stats.lost, stats.over_rate), (0, 0));
    }
}

#[test]
fn copies_are_not_over_rate() {
    let mut leg = leg();
    for seq in 0..3_000 {
        leg.steady(1, [seq]);
        for _ in 0..4 {
            assert_eq!(
                leg.rtp(1, seq),
                PacketVerdict::Refused(DropReason::Duplicate)
            );
        }
    }
    assert_eq!(leg.end().1.over_rate, 0);
}

#[test]
fn another_ssrc_that_floods_costs_the_present_one_nothing() {
    let mut leg = leg();
    for seq in 0..2_000 {
        leg.steady(1, [seq]);
        for n in 0..50 {
            let verdict = leg.rtp(2, seq.wrapping_mul(50).wrapping_add(n));
            assert_eq!(verdict, PacketVerdict::OnProbation);
        }
    }
    let (out, stats) = leg.end();
    assert_eq!(out, packets(0..2_000));
    assert_eq!((stats.over_rate, stats.foreign_ssrc), (0, 100_000));
}

#[test]
fn jumping_about_gets_nobody_past_the_bound() {
    let mut leg = leg();
    leg.steady(1, [0]);
    let mut seq = 0_u16;
    let mut let_in = 0;
    for _ in 0..100_000 {
        seq = seq.wrapping_add(7_000);
        for seq in [seq, seq.wrapping_add(1)] {
            let_in += u64::from(leg.rtp(1, seq).refusal().is_none());
        }
    }
    let (_, stats) = leg.end();
    assert!(
        let_in < 900 && stats.over_rate > 190_000,
        "{let_in} {stats:?}"
    );
}
