use super::*;
use crate::testkit::{self, build};
use crate::wire::{Malformed, Protocol};

/// What came out, in short; packets by their sequence number on the wire.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Out {
    Packet(u16),
    Lost(u64),
    Restart(RestartReason),
}
use Out::{Lost, Packet as Rtp};

const NEW_SSRC: Out = Out::Restart(RestartReason::SsrcChange);
const JUMP: Out = Out::Restart(RestartReason::SequenceJump);
const FOREIGN: Verdict = Verdict::Refused(Refusal::ForeignSsrc);

/// A leg in a test: its receiver, virtual time in ms, and all that came out.
struct Leg {
    receiver: Receiver,
    ms: u64,
    out: Vec<Out>,
    times: Vec<ExtRtpTime>,
    seqs: Vec<ExtSeq>,
}

impl Leg {
    fn new() -> Self {
        Self {
            receiver: Receiver::new(ReceiverConfig::default()),
            ms: 0,
            out: Vec::new(),
            times: Vec::new(),
            seqs: Vec::new(),
        }
    }

    fn now(&self) -> Instant {
        testkit::origin() + Duration::from_millis(self.ms)
    }

    fn datagram(&mut self, datagram: &[u8]) -> Verdict {
        let verdict = self.receiver.receive(self.now(), datagram);
        assert!(self.receiver.stats().is_balanced());
        self.drain();
        verdict
    }

    fn rtp(&mut self, ssrc: u32, seq: u16) -> Verdict {
        self.rtp_at(ssrc, seq, u32::from(seq) * 160)
    }

    fn rtp_at(&mut self, ssrc: u32, seq: u16, time: u32) -> Verdict {
        self.datagram(
            &build::packet(seq)
                .ssrc(ssrc)
                .time(time)
                .payload(&ssrc.to_be_bytes())
                .bytes(),
        )
    }

    /// Packets 20 ms apart, all of which must be accepted.
    fn steady(&mut self, ssrc: u32, seqs: impl IntoIterator<Item = u16>) {
        for seq in seqs {
            self.ms += 20;
            assert_eq!(self.rtp(ssrc, seq), Verdict::Accepted, "{seq}");
        }
    }

    fn drain(&mut self) {
        let now = self.now();
        while let Some(released) = self.receiver.poll(now) {
            self.out.push(match released {
                Released::Packet(Placed { seq, time, .. }) => {
                    self.times.push(time);
                    self.seqs.push(seq);
                    Rtp(seq.wire().0)
                }
                Released::Lost { count } => Lost(count),
                Released::Restart { reason } => Out::Restart(reason),
            });
        }
        assert!(self.receiver.stats().is_balanced());
    }

    /// Ends the leg and gives what came out and the counters.
    fn end(mut self) -> (Vec<Out>, ReceiverStats) {
        self.receiver.close();
        self.drain();
        let stats = *self.receiver.stats();
        assert_eq!((stats.held, stats.on_probation), (0, 0));
        assert!(
            self.seqs.is_sorted_by(|a, b| a < b),
            "sequence numbers must grow"
        );
        (self.out, stats)
    }
}

fn packets(seqs: impl IntoIterator<Item = u16>) -> Vec<Out> {
    seqs.into_iter().map(Rtp).collect()
}

#[test]
fn the_first_packet_comes_out_at_once_and_an_older_one_is_too_old() {
    let mut leg = Leg::new();
    assert_eq!(leg.rtp(1, 0), Verdict::Accepted);
    assert_eq!(leg.out, [Rtp(0)]);
    assert_eq!(leg.rtp(1, 65_535), Verdict::Refused(Refusal::TooOld));
    assert_eq!(leg.rtp(1, 65_535), Verdict::Refused(Refusal::Duplicate));
    assert_eq!(leg.rtp(1, 1), Verdict::Accepted);
    let (out, stats) = leg.end();
    assert_eq!(out, packets([0, 1]));
    assert_eq!(
        (stats.received, stats.released, stats.too_old, stats.late),
        (4, 2, 1, 0)
    );
}

#[test]
fn what_is_released_is_what_was_sent() {
    let mut receiver = Receiver::new(ReceiverConfig::default());
    let now = testkit::origin();
    let datagram = build::packet(7)
        .ssrc(9)
        .time(1_234)
        .payload_type(118)
        .marker(true)
        .payload(b"sound")
        .bytes();
    assert_eq!(receiver.receive(now, &datagram), Verdict::Accepted);
    let expected = Released::Packet(Placed {
        seq: ExtSeq::first(SeqNo(7)),
        time: ExtRtpTime::first(RtpTime(1_234)),
        payload_type: PayloadType::new(118).unwrap(),
        marker: true,
        payload: b"sound",
        arrived: now,
    });
    assert_eq!(receiver.poll(now), Some(expected));
    assert_eq!(receiver.poll(now), None);
    assert_eq!(receiver.ssrc(), Some(Ssrc(9)));
}

#[test]
fn wraps_of_sequence_and_time_with_drops_at_the_edge_are_exact() {
    for dropped in [&[][..], &[65_535], &[0], &[65_534, 65_535, 0, 1]] {
        let mut leg = Leg::new();
        let mut expected = 0_u64;
        let start = u32::MAX - 10 * 160 + 1;
        for step in 0..20_u16 {
            leg.ms += 20;
            let seq = 65_526_u16.wrapping_add(step);
            if !dropped.contains(&seq) {
                let time = start.wrapping_add(u32::from(step) * 160);
                assert_eq!(leg.rtp_at(1, seq, time), Verdict::Accepted);
                expected += 1;
            }
        }
        leg.ms += 200;
        leg.drain();
        let (first_seq, first_time) = (leg.seqs[0], leg.times[0]);
        for (seq, time) in leg.seqs.iter().zip(&leg.times) {
            assert_eq!(
                time.since(first_time),
                i128::from(seq.0 - first_seq.0) * 160
            );
        }
        let (_, stats) = leg.end();
        assert_eq!(stats.released, expected);
        assert_eq!((stats.lost, stats.restarts), (dropped.len() as u64, 0));
    }
}

#[test]
fn twelve_hours_are_exact() {
    let mut receiver = Receiver::new(ReceiverConfig::default());
    let mut last = None;
    let count = 12 * 3_600 * 50_u64;
    for n in 0..count {
        let now = testkit::origin() + Duration::from_millis(20 * n);
        // A 48 kHz clock wraps after 24.9 h: begin half way.
        let time = (n * 960).wrapping_add(1 << 31) as u32;
        let verdict = receiver.receive(now, &build::packet(n as u16).time(time).bytes());
        assert_eq!(verdict, Verdict::Accepted);
        let Some(Released::Packet(Placed { seq, time, .. })) = receiver.poll(now) else {
            panic!("packet {n} is not released at once");
        };
        let (first_seq, first_time) = *last.get_or_insert((seq, time));
        assert_eq!(seq.0 - first_seq.0, n);
        assert_eq!(time.since(first_time), i128::from(n * 960));
    }
    assert_eq!(receiver.stats().released, count);
}

#[test]
fn a_second_ssrc_is_foreign_while_the_first_speaks() {
    let mut leg = Leg::new();
    for seq in 0..100 {
        leg.steady(1, [seq]);
        assert_eq!(leg.rtp(2, 500 + seq), FOREIGN);
    }
    let (out, stats) = leg.end();
    assert_eq!(out, packets(0..100));
    assert_eq!((stats.foreign_ssrc, stats.restarts), (100, 0));
}

#[test]
fn a_new_ssrc_takes_over_after_silence_and_loses_nothing() {
    let mut leg = Leg::new();
    leg.steady(1, 0..10);
    leg.ms += 199;
    assert_eq!(leg.rtp(2, 65_535), FOREIGN);
    leg.ms += 1;
    assert_eq!(leg.rtp(2, 65_535), Verdict::OnProbation);
    assert_eq!(leg.receiver.ssrc(), Some(Ssrc(1)));
    leg.steady(2, [0, 1, 2]);
    assert_eq!(leg.receiver.ssrc(), Some(Ssrc(2)));
    let (out, stats) = leg.end();
    assert_eq!(
        out,
        [packets(0..10), vec![NEW_SSRC], packets([65_535, 0, 1, 2])].concat()
    );
    assert_eq!((stats.restarts, stats.foreign_ssrc, stats.lost), (1, 1, 0));
}

#[test]
fn a_gap_before_a_restart_is_given_up_before_it() {
    let mut leg = Leg::new();
    leg.steady(1, [0, 1]);
    leg.ms = 239;
    assert_eq!(leg.rtp(1, 3), Verdict::Accepted);
    // Takes over while 3 still waits for 2: only a longer wait makes that possible.
    leg.receiver = Receiver::new(ReceiverConfig {
        reorder: ReorderConfig {
            wait: Duration::from_secs(5),
            ..ReorderConfig::default()
        },
        ..ReceiverConfig::default()
    });
    leg.out.clear();
    leg.steady(1, [0, 1, 3]);
    leg.ms += 300;
    assert_eq!(leg.rtp(2, 7), Verdict::OnProbation);
    leg.seqs.clear();
    leg.steady(2, [8]);
    let (out, stats) = leg.end();
    assert_eq!(
        out,
        [Rtp(0), Rtp(1), Lost(1), Rtp(3), NEW_SSRC, Rtp(7), Rtp(8)]
    );
    assert_eq!((stats.lost, stats.released), (1, 5));
}

#[test]
fn the_present_ssrc_speaking_again_ends_a_probation() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    leg.ms += 300;
    assert_eq!(leg.rtp(2, 10), Verdict::OnProbation);
    assert_eq!(leg.receiver.stats().on_probation, 1);
    assert_eq!(leg.rtp(1, 1), Verdict::Accepted);
    assert_eq!(leg.receiver.stats().foreign_ssrc, 1);
    assert_eq!(leg.rtp(2, 11), FOREIGN);
    let (out, stats) = leg.end();
    assert_eq!(out, packets([0, 1]));
    assert_eq!((stats.foreign_ssrc, stats.restarts), (2, 0));
}

#[test]
fn flapping_ssrcs_are_followed_once_a_second_with_constant_memory() {
    let mut leg = Leg::new();
    let mut sent = 0;
    for second in 0..60_u32 {
        for step in 0..50_u16 {
            leg.ms += 20;
            leg.rtp(second % 3, second as u16 * 1_000 + step);
            sent += 1;
        }
    }
    let (_, stats) = leg.end();
    assert_eq!(stats.datagrams, sent);
    assert_eq!(stats.restarts, 59);
    // Foreign for 200 ms after each change: 9 packets of 20 ms.
    assert_eq!(stats.foreign_ssrc, 59 * 9);
    assert_eq!(stats.released, sent - 59 * 9);
}

#[test]
fn candidates_that_never_go_on_never_take_over() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    leg.ms += 300;
    for n in 0..1_000_u32 {
        assert_eq!(leg.rtp(100 + n, n as u16), Verdict::OnProbation);
    }
    assert_eq!(leg.receiver.stats().foreign_ssrc, 999);
    let (out, stats) = leg.end();
    assert_eq!(out, packets([0]));
    assert_eq!(stats.foreign_ssrc, 1_000);
}

#[test]
fn probation_ends_after_its_time() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    leg.ms += 300;
    assert_eq!(leg.rtp(2, 10), Verdict::OnProbation);
    assert_eq!(leg.rtp(2, 10), Verdict::Refused(Refusal::Duplicate));
    leg.ms += 2_001;
    assert_eq!(leg.rtp(2, 11), Verdict::OnProbation);
    leg.ms += 2_000;
    assert_eq!(leg.rtp(2, 12), Verdict::Accepted);
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
        assert_eq!(leg.rtp(1, far), Verdict::OnProbation, "{jump}");
        leg.steady(1, [1]);
        assert_eq!(leg.rtp(1, far + 5), Verdict::OnProbation);
        leg.steady(1, [far + 6, far + 7]);
        let (out, stats) = leg.end();
        assert_eq!(
            out,
            [
                Rtp(0),
                Rtp(1),
                JUMP,
                Rtp(far + 5),
                Rtp(far + 6),
                Rtp(far + 7)
            ]
        );
        assert_eq!((stats.sequence_jump, stats.restarts, stats.lost), (1, 1, 0));
    }
}

#[test]
fn a_smaller_step_is_loss_not_a_jump() {
    let mut leg = Leg::new();
    leg.steady(1, [0, 2_999]);
    assert_eq!(
        leg.rtp(1, 65_536_u32.wrapping_sub(99) as u16),
        Verdict::Refused(Refusal::TooOld)
    );
    let (out, stats) = leg.end();
    assert_eq!(out, [Rtp(0), Lost(2_998), Rtp(2_999)]);
    assert_eq!((stats.lost, stats.restarts), (2_998, 0));
}

#[test]
fn reordering_around_a_jump_loses_nothing() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    assert_eq!(leg.rtp(1, 9_000), Verdict::OnProbation);
    leg.steady(1, [1, 9_001]);
    let (out, stats) = leg.end();
    assert_eq!(out, [Rtp(0), Rtp(1), JUMP, Rtp(9_000), Rtp(9_001)]);
    assert_eq!(stats.sequence_jump, 0);
}

#[test]
fn late_duplicate_and_reordered_are_counted_apart() {
    let mut leg = Leg::new();
    leg.steady(1, [0, 2]);
    leg.steady(1, [1]);
    assert_eq!(leg.rtp(1, 1), Verdict::Refused(Refusal::Duplicate));
    leg.steady(1, [4]);
    leg.ms += 120;
    leg.drain();
    assert_eq!(leg.rtp(1, 3), Verdict::Refused(Refusal::Late));
    let (out, stats) = leg.end();
    assert_eq!(out, [Rtp(0), Rtp(1), Rtp(2), Lost(1), Rtp(4)]);
    assert_eq!(
        (stats.reordered, stats.duplicate, stats.late, stats.lost),
        (1, 1, 1, 1)
    );
}

#[test]
fn hostile_timestamps_stay_on_a_timeline() {
    let mut leg = Leg::new();
    let mut time = 0_u32;
    for seq in 0..50_000_u32 {
        time = time.wrapping_sub((1 << 31) - 1);
        assert_eq!(leg.rtp_at(1, seq as u16, time), Verdict::Accepted);
    }
    let steps: Vec<_> = leg
        .times
        .windows(2)
        .map(|pair| pair[1].since(pair[0]))
        .collect();
    assert!(steps.iter().all(|step| *step == 1 - (1 << 31)));
}

#[test]
fn timestamps_after_a_restart_follow_its_second_packet() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    let step = (1 << 31) - 1;
    assert_eq!(leg.rtp_at(1, 9_000, 7), Verdict::OnProbation);
    assert_eq!(leg.rtp_at(1, 9_001, 7 + step), Verdict::Accepted);
    assert_eq!(leg.rtp_at(1, 9_002, 7 + step + 160), Verdict::Accepted);
    assert_eq!(leg.times[1], ExtRtpTime::first(RtpTime(7)));
    assert_eq!(leg.times[2].since(leg.times[1]), i128::from(step));
    assert_eq!(leg.times[3].since(leg.times[2]), 160);
}

#[test]
fn other_protocols_change_nothing_but_their_counters() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    let goodbye = [0x81, 203, 0, 1, 0, 0, 0, 1];
    let rtcp = Verdict::Refused(Refusal::Malformed(Malformed::NotRtp(Protocol::Rtcp)));
    assert_eq!(leg.datagram(&goodbye), rtcp);
    for datagram in [
        &[][..],
        &[0, 1, 0, 0],
        &[16],
        &[22, 254],
        &[64],
        b"\x90INVITE",
    ] {
        assert!(matches!(
            leg.datagram(datagram),
            Verdict::Refused(Refusal::Malformed(_))
        ));
    }
    leg.steady(1, [1]);
    let (out, stats) = leg.end();
    assert_eq!(out, packets([0, 1]));
    assert_eq!(
        (stats.rtcp, stats.other.total(), stats.malformed.too_short),
        (1, 5, 1)
    );
    let other = OtherCounts {
        stun: 1,
        zrtp: 1,
        dtls: 1,
        turn_channel: 1,
        unknown: 1,
    };
    assert_eq!(stats.other, other);
}

#[test]
fn after_the_end_everything_is_refused_and_counted() {
    let mut leg = Leg::new();
    leg.steady(1, [0, 2]);
    leg.ms += 1;
    assert_eq!(leg.rtp(1, 9_000), Verdict::OnProbation);
    leg.receiver.close();
    leg.drain();
    assert_eq!(leg.out, [Rtp(0), Lost(1), Rtp(2)]);
    assert_eq!(leg.rtp(1, 3), Verdict::Refused(Refusal::Closed));
    let (_, stats) = leg.end();
    assert_eq!(
        (stats.closed, stats.sequence_jump, stats.released),
        (1, 1, 2)
    );
}

#[test]
fn jitter_is_measured_with_the_clock_rate() {
    let mut leg = Leg::new();
    leg.receiver.set_clock_rate(ClockRate::new(8_000));
    leg.steady(1, 0..50);
    assert_eq!(leg.receiver.jitter(), Duration::ZERO);
    leg.ms += 16;
    leg.steady(1, [50]);
    assert_eq!(leg.receiver.jitter(), Duration::from_millis(1));
    // Another source has other timestamps: not compared.
    leg.ms += 200;
    leg.rtp(2, 9);
    leg.steady(2, [10]);
    assert!(leg.receiver.jitter() < Duration::from_millis(1));
}
