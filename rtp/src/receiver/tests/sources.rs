use super::*;

/// Restarts, foreign packets and losses of a leg whose source changes.
fn sum(stats: &ReceiverStats) -> (u64, u64, u64) {
    (stats.restarts, stats.foreign_ssrc, stats.lost)
}

#[test]
fn a_second_ssrc_is_foreign_while_the_first_speaks() {
    let mut leg = Leg::new();
    for seq in 0..100 {
        leg.steady(1, [seq]);
        assert_eq!(leg.rtp(2, 500 + seq), PacketVerdict::OnProbation);
        assert_eq!(leg.receiver.stats().on_probation, 1);
    }
    let (out, stats) = leg.end();
    assert_eq!(out, packets(0..100));
    assert_eq!(sum(&stats), (0, 100, 0));
}

#[test]
fn a_new_ssrc_takes_over_after_silence_and_loses_nothing() {
    let mut leg = Leg::new();
    leg.steady(1, 0..10);
    let changed = leg.ms;
    let seqs = [65_530, 65_531, 65_532, 65_534, 65_533, 65_535, 0, 1, 2];
    for seq in seqs {
        leg.ms += 20;
        assert_eq!(leg.rtp(2, seq), PacketVerdict::OnProbation);
    }
    assert_eq!(leg.receiver.ssrc(), Some(Ssrc(1)));
    assert_eq!(leg.heard.out, packets(0..10));
    assert_eq!(
        leg.receiver.deadline(),
        Some(testkit::origin() + Duration::from_millis(changed + 200))
    );
    leg.steady(2, [3, 4]);
    assert_eq!(leg.receiver.ssrc(), Some(Ssrc(2)));
    let (out, stats) = leg.end();
    let new = packets((65_530..=65_535).chain(0..5));
    assert_eq!(out, [packets(0..10), vec![NEW_SSRC], new].concat());
    assert_eq!(sum(&stats), (1, 0, 0));
}

#[test]
fn time_alone_makes_the_change() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    let spoke = leg.ms;
    for seq in [7, 8, 10] {
        leg.ms += 10;
        assert_eq!(leg.rtp(2, seq), PacketVerdict::OnProbation);
    }
    leg.ms = spoke + 199;
    leg.drain();
    assert_eq!(leg.heard.out, [Rtp(0)]);
    assert_eq!(
        leg.receiver.deadline(),
        Some(leg.now() + Duration::from_millis(1))
    );
    leg.ms += 1;
    leg.drain();
    // What is missing among those held has been waited for as long as ever.
    assert_eq!(
        leg.heard.out,
        [Rtp(0), NEW_SSRC, Rtp(7), Rtp(8), Lost(1), Rtp(10)]
    );
    assert_eq!(leg.receiver.deadline(), None);
}

#[test]
fn the_change_happens_at_its_time_though_nobody_polled() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    for seq in [7, 8] {
        leg.ms += 10;
        assert_eq!(leg.rtp(2, seq), PacketVerdict::OnProbation);
    }
    leg.ms += 1_000;
    // The former source comes too late: it is the foreign one now.
    assert_eq!(leg.rtp(1, 1), PacketVerdict::OnProbation);
    leg.steady(2, [9]);
    let (out, stats) = leg.end();
    assert_eq!(out, [Rtp(0), NEW_SSRC, Rtp(7), Rtp(8), Rtp(9)]);
    assert_eq!(sum(&stats), (1, 1, 0));
}

#[test]
fn a_gap_before_a_restart_is_given_up_before_it() {
    let mut leg = Leg::new();
    leg.receiver = RtpReceiver::new(ReceiverConfig {
        reorder: ReorderConfig {
            wait: Duration::from_secs(5),
            ..ReorderConfig::default()
        },
        ..ReceiverConfig::default()
    });
    leg.steady(1, [0, 1, 3]);
    leg.ms += 300;
    assert_eq!(leg.rtp(2, 7), PacketVerdict::OnProbation);
    leg.steady(2, [8]);
    let (out, stats) = leg.end();
    assert_eq!(
        out,
        [Rtp(0), Rtp(1), Lost(1), Rtp(3), NEW_SSRC, Rtp(7), Rtp(8)]
    );
    assert_eq!((stats.lost, stats.released), (1, 5));
}

#[test]
fn the_present_ssrc_speaking_on_ends_a_probation_and_its_echo_does_not() {
    let mut leg = Leg::new();
    leg.steady(1, [0, 2]);
    leg.ms += 20;
    for seq in 10..13 {
        assert_eq!(leg.rtp(2, seq), PacketVerdict::OnProbation);
    }
    // Held back on the way, or a copy: no sign that it still speaks.
    assert_eq!(leg.rtp(1, 1), PacketVerdict::Accepted);
    assert_eq!(leg.rtp(1, 2), PacketVerdict::Refused(DropReason::Duplicate));
    assert_eq!(leg.receiver.stats().on_probation, 3);
    assert_eq!(leg.rtp(1, 3), PacketVerdict::Accepted);
    assert_eq!(leg.receiver.stats().foreign_ssrc, 3);
    let (out, stats) = leg.end();
    assert_eq!(out, packets([0, 1, 2, 3]));
    assert_eq!(sum(&stats), (0, 3, 0));
}

#[test]
fn flapping_ssrcs_are_followed_once_a_second_and_lose_nothing() {
    let mut leg = Leg::new();
    let mut sent = 0;
    for second in 0..60_u32 {
        for step in 0..50_u16 {
            leg.ms += 20;
            let verdict = leg.rtp(second % 3, second as u16 * 1_000 + step);
            assert_eq!(verdict.refusal(), None);
            assert!(leg.receiver.stats().on_probation <= 10);
            sent += 1;
        }
    }
    let (_, stats) = leg.end();
    assert_eq!((stats.datagrams, stats.released), (sent, sent));
    assert_eq!(sum(&stats), (59, 0, 0));
}

#[test]
fn of_many_ssrcs_none_takes_over_and_memory_is_bounded() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    leg.ms += 300;
    for n in 0..1_000_u32 {
        assert_eq!(leg.rtp(100 + n, n as u16), PacketVerdict::OnProbation);
        assert_eq!(leg.receiver.stats().on_probation, 1);
    }
    // One that sends much, and nothing in sequence.
    for n in 0..1_000_u16 {
        assert_eq!(leg.rtp(5, 2 * n), PacketVerdict::OnProbation);
        assert!(leg.receiver.stats().on_probation <= 32);
    }
    let (out, stats) = leg.end();
    assert_eq!(out, packets([0]));
    assert_eq!(stats.foreign_ssrc, 2_000);
}

#[test]
fn a_stranger_does_not_drive_out_a_candidate_that_is_proven() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    for seq in 7..16 {
        leg.ms += 20;
        assert_eq!(leg.rtp(2, seq), PacketVerdict::OnProbation);
        let stranger = leg.rtp(100 + u32::from(seq), 1);
        assert_eq!(stranger.refusal().is_some(), seq > 7, "{seq}");
        if seq == 7 {
            assert_eq!(leg.rtp(2, seq), PacketVerdict::OnProbation);
        }
    }
    leg.steady(2, [16]);
    let (out, stats) = leg.end();
    assert_eq!(out, [packets([0]), vec![NEW_SSRC], packets(7..17)].concat());
    // The strangers, and the one packet that the first of them drove out.
    assert_eq!(sum(&stats), (1, 10, 0));
}

#[test]
fn large_packets_are_held_within_bounds() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    let big = [0; 9_000];
    for seq in 0..100 {
        let datagram = build::packet(seq).ssrc(2).payload(&big).bytes();
        assert_eq!(leg.datagram(&datagram), PacketVerdict::OnProbation);
    }
    let stats = leg.receiver.stats();
    assert_eq!((stats.on_probation, stats.foreign_ssrc), (7, 93));
}

#[test]
fn probation_ends_after_its_time() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    leg.ms += 300;
    assert_eq!(leg.rtp(2, 10), PacketVerdict::OnProbation);
    assert_eq!(
        leg.rtp(2, 10),
        PacketVerdict::Refused(DropReason::Duplicate)
    );
    assert_eq!(
        leg.receiver.deadline(),
        Some(leg.now() + Duration::from_secs(2))
    );
    leg.ms += 2_000;
    leg.drain();
    assert_eq!(leg.receiver.stats().foreign_ssrc, 1);
    assert_eq!(leg.rtp(2, 11), PacketVerdict::OnProbation);
    leg.ms += 1_999;
    assert_eq!(leg.rtp(2, 12), PacketVerdict::Accepted);
    let (out, stats) = leg.end();
    assert_eq!(out, [Rtp(0), NEW_SSRC, Rtp(11), Rtp(12)]);
    assert_eq!((stats.foreign_ssrc, stats.duplicate), (1, 1));
}

#[test]
fn a_jump_needs_two_in_sequence() {
    for jump in [3_000, 20_000, 40_000, 65_536 - 110] {
        let mut leg = Leg::new();
        leg.steady(1, [0]);
        let far = jump as u16;
        assert_eq!(leg.rtp(1, far), PacketVerdict::OnProbation, "{jump}");
        leg.steady(1, [1]);
        assert_eq!(leg.rtp(1, far + 5), PacketVerdict::OnProbation);
        leg.steady(1, [far + 6, far + 7]);
        let (out, stats) = leg.end();
        assert_eq!(
            out,
            [
                Rtp(0),
                Rtp(1),
                JUMP,
                Rtp(far),
                Lost(4),
                Rtp(far + 5),
                Rtp(far + 6),
                Rtp(far + 7)
            ]
        );
        assert_eq!((stats.sequence_jump, stats.restarts, stats.lost), (0, 1, 4));
    }
}

#[test]
fn one_packet_from_far_ahead_takes_no_number_from_the_stream() {
    for ahead in [51, 500, 2_999] {
        let mut leg = Leg::new();
        leg.steady(1, 0..10);
        assert_eq!(leg.rtp(1, 9 + ahead), PacketVerdict::OnProbation, "{ahead}");
        leg.steady(1, 10..200);
        let (out, stats) = leg.end();
        assert_eq!(out, packets(0..200), "{ahead}");
        assert_eq!((stats.sequence_jump, stats.lost), (1, 0), "{ahead}");
    }
}

#[test]
fn a_step_that_took_its_time_is_loss_at_once() {
    // The packet time is not known here: half of the shortest is enough.
    for (ahead, ms) in [(51, 255), (500, 2_500), (2_999, 14_995)] {
        let mut leg = Leg::new();
        leg.steady(1, 0..10);
        leg.ms += ms - 1;
        let early = leg.rtp(1, 9 + ahead);
        assert_eq!(early, PacketVerdict::OnProbation, "{ahead}");
        let mut leg = Leg::new();
        leg.steady(1, 0..10);
        leg.ms += ms;
        assert_eq!(leg.rtp(1, 9 + ahead), PacketVerdict::Accepted, "{ahead}");
        let (out, stats) = leg.end();
        assert_eq!(out[10..], [Lost(u64::from(ahead) - 1), Rtp(9 + ahead)]);
        assert_eq!((stats.restarts, stats.lost), (0, u64::from(ahead) - 1));
    }
}

#[test]
fn a_sudden_step_that_goes_on_is_the_same_loss_as_ever() {
    for ahead in [51, 500, 2_999] {
        let mut leg = Leg::new();
        leg.steady(1, 0..10);
        assert_eq!(leg.rtp(1, 9 + ahead), PacketVerdict::OnProbation, "{ahead}");
        // One of its own, and one behind it.
        leg.steady(1, [10, 10 + ahead, 11 + ahead]);
        assert_eq!(leg.receiver.stats().on_probation, 0);
        let (out, stats) = leg.end();
        let step = [
            Lost(u64::from(ahead) - 2),
            Rtp(9 + ahead),
            Rtp(10 + ahead),
            Rtp(11 + ahead),
        ];
        assert_eq!(out[11..], step, "{ahead}");
        assert_eq!((stats.restarts, stats.sequence_jump), (0, 0), "{ahead}");
    }
}

#[test]
fn a_smaller_step_is_loss_not_a_jump() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    leg.ms += 2_999 * 10;
    leg.steady(1, [2_999]);
    let first = 0_u32.wrapping_sub(99);
    assert_eq!(
        leg.rtp_at(1, first as u16, first.wrapping_mul(160)),
        PacketVerdict::Refused(DropReason::TooOld)
    );
    let (out, stats) = leg.end();
    assert_eq!(out, [Rtp(0), Lost(2_998), Rtp(2_999)]);
    assert_eq!((stats.lost, stats.restarts), (2_998, 0));
}

#[test]
fn reordering_around_a_jump_loses_nothing() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    assert_eq!(leg.rtp(1, 9_000), PacketVerdict::OnProbation);
    leg.steady(1, [1, 9_001]);
    let (out, stats) = leg.end();
    assert_eq!(out, [Rtp(0), Rtp(1), JUMP, Rtp(9_000), Rtp(9_001)]);
    assert_eq!(stats.sequence_jump, 0);
}

#[test]
fn a_jump_that_comes_in_disorder_or_with_losses_keeps_all() {
    for (sent, out) in [
        (
            [9_002, 9_000, 9_001],
            vec![Rtp(9_000), Rtp(9_001), Rtp(9_002)],
        ),
        (
            [9_000, 9_002, 9_003],
            vec![Rtp(9_000), Lost(1), Rtp(9_002), Rtp(9_003)],
        ),
    ] {
        let mut leg = Leg::new();
        leg.steady(1, [0]);
        for seq in sent {
            leg.ms += 20;
            assert_eq!(leg.rtp(1, seq).refusal(), None);
        }
        let (heard, stats) = leg.end();
        assert_eq!(heard, [vec![Rtp(0), JUMP], out].concat());
        assert_eq!(stats.sequence_jump, 0);
    }
}

#[test]
fn a_stranger_does_not_drive_out_a_jump() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    leg.ms += 20;
    assert_eq!(leg.rtp(1, 9_000), PacketVerdict::OnProbation);
    assert_eq!(
        leg.rtp(2, 1),
        PacketVerdict::Refused(DropReason::ForeignSsrc)
    );
    leg.steady(1, [9_001]);
    let (out, stats) = leg.end();
    assert_eq!(out, [Rtp(0), JUMP, Rtp(9_000), Rtp(9_001)]);
    assert_eq!(sum(&stats), (1, 1, 0));
}
