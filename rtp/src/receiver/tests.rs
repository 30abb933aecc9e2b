mod rate;
mod sources;

use super::*;
use crate::ids::{PayloadType, RtpTime, SeqNo};
use crate::testkit::{self, build, rtcp};

/// Items that the receiver released, in short; packets by their sequence number on the wire.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Out {
    Packet(u16),
    Lost(u64),
    /// How many, and how many of them for their rate.
    Shed(u64, u64),
    Skipped(u64),
    Restart(RestartReason),
}
use Out::{Lost, Packet as Rtp, Skipped};

const NEW_SSRC: Out = Out::Restart(RestartReason::SsrcChange);
const JUMP: Out = Out::Restart(RestartReason::SequenceJump);

/// A leg in a test: its receiver, virtual time in ms, and all that came out.
struct Leg {
    receiver: RtpReceiver,
    ms: u64,
    heard: Heard,
}

#[derive(Default)]
struct Heard {
    out: Vec<Out>,
    times: Vec<ExtRtpTime>,
    seqs: Vec<ExtSeq>,
}

impl Heard {
    fn note(&mut self, released: ReleasedItem<'_>) {
        self.out.push(match released {
            ReleasedItem::Packet(PlacedPacket { seq, time, .. }) => {
                self.times.push(time);
                self.seqs.push(seq);
                Rtp(seq.wire().0)
            }
            ReleasedItem::Lost { count, shed: 0 } => Lost(count),
            ReleasedItem::Lost { count, shed } => Out::Shed(count, shed),
            ReleasedItem::Skipped { count } => Skipped(count),
            ReleasedItem::Restart { reason } => Out::Restart(reason),
        });
    }
}

impl Leg {
    fn new() -> Self {
        Self {
            receiver: RtpReceiver::new(ReceiverConfig::default()),
            ms: 0,
            heard: Heard::default(),
        }
    }

    fn now(&self) -> Instant {
        testkit::origin() + Duration::from_millis(self.ms)
    }

    /// The verdict; a packet that is handed out at once counts as accepted.
    fn datagram(&mut self, datagram: &[u8]) -> PacketVerdict<'static> {
        let verdict = match self.receiver.receive(self.now(), datagram) {
            PacketVerdict::InOrder(packet) => {
                self.heard.note(ReleasedItem::Packet(packet));
                PacketVerdict::Accepted
            }
            PacketVerdict::Accepted => PacketVerdict::Accepted,
            PacketVerdict::OnProbation => PacketVerdict::OnProbation,
            PacketVerdict::Refused(refusal) => PacketVerdict::Refused(refusal),
        };
        assert!(self.receiver.stats().is_balanced());
        self.drain();
        verdict
    }

    fn rtp(&mut self, ssrc: u32, seq: u16) -> PacketVerdict<'static> {
        self.rtp_at(ssrc, seq, u32::from(seq) * 160)
    }

    fn rtp_at(&mut self, ssrc: u32, seq: u16, time: u32) -> PacketVerdict<'static> {
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
            assert_eq!(self.rtp(ssrc, seq), PacketVerdict::Accepted, "{seq}");
        }
    }

    fn drain(&mut self) {
        let now = self.now();
        while let Some(released) = self.receiver.poll(now) {
            self.heard.note(released);
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
            self.heard.seqs.is_sorted_by(|a, b| a < b),
            "sequence numbers must grow"
        );
        (self.heard.out, stats)
    }
}

fn packets(seqs: impl IntoIterator<Item = u16>) -> Vec<Out> {
    seqs.into_iter().map(Rtp).collect()
}

#[test]
fn the_first_packet_comes_out_at_once_and_an_older_one_is_too_old() {
    let mut leg = Leg::new();
    assert_eq!(leg.rtp(1, 0), PacketVerdict::Accepted);
    assert_eq!(leg.heard.out, [Rtp(0)]);
    let mut older = || leg.rtp_at(1, 65_535, 0_u32.wrapping_sub(160));
    assert_eq!(older(), PacketVerdict::Refused(DropReason::TooOld));
    assert_eq!(older(), PacketVerdict::Refused(DropReason::Duplicate));
    assert_eq!(leg.rtp(1, 1), PacketVerdict::Accepted);
    let (out, stats) = leg.end();
    assert_eq!(out, packets([0, 1]));
    assert_eq!(
        (stats.received, stats.released, stats.too_old, stats.late),
        (4, 2, 1, 0)
    );
}

#[test]
fn what_is_released_is_what_was_sent() {
    let mut receiver = RtpReceiver::new(ReceiverConfig::default());
    let now = testkit::origin();
    let datagram = build::packet(7)
        .ssrc(9)
        .time(1_234)
        .payload_type(118)
        .marker(true)
        .payload(b"sound")
        .bytes();
    let expected = PacketVerdict::InOrder(PlacedPacket {
        seq: ExtSeq::first(SeqNo(7)),
        time: ExtRtpTime::first(RtpTime(1_234)),
        payload_type: PayloadType::new(118).unwrap(),
        marker: true,
        payload: b"sound",
        arrived: now,
    });
    assert_eq!(receiver.receive(now, &datagram), expected);
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
                assert_eq!(leg.rtp_at(1, seq, time), PacketVerdict::Accepted);
                expected += 1;
            }
        }
        leg.ms += 200;
        leg.drain();
        let (first_seq, first_time) = (leg.heard.seqs[0], leg.heard.times[0]);
        for (seq, time) in leg.heard.seqs.iter().zip(&leg.heard.times) {
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
    let mut receiver = RtpReceiver::new(ReceiverConfig::default());
    let mut last = None;
    let count = 12 * 3_600 * 50_u64;
    for n in 0..count {
        let now = testkit::origin() + Duration::from_millis(20 * n);
        // A 48 kHz clock wraps after 24.9 h: begin half way.
        let time = (n * 960).wrapping_add(1 << 31) as u32;
        let datagram = build::packet(n as u16).time(time).payload(b"sound").bytes();
        let PacketVerdict::InOrder(PlacedPacket { seq, time, .. }) =
            receiver.receive(now, &datagram)
        else {
            panic!("packet {n} is not released at once");
        };
        let (first_seq, first_time) = *last.get_or_insert((seq, time));
        assert_eq!(seq.0 - first_seq.0, n);
        assert_eq!(time.since(first_time), i128::from(n * 960));
    }
    assert_eq!(receiver.stats().released, count);
}

#[test]
fn late_duplicate_and_reordered_are_counted_apart() {
    let mut leg = Leg::new();
    leg.steady(1, [0, 2]);
    leg.steady(1, [1]);
    assert_eq!(leg.rtp(1, 1), PacketVerdict::Refused(DropReason::Duplicate));
    leg.steady(1, [4]);
    leg.ms += 120;
    leg.drain();
    assert_eq!(leg.rtp(1, 3), PacketVerdict::Refused(DropReason::Late));
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
        leg.ms += 20;
        time = time.wrapping_sub((1 << 31) - 1);
        assert_eq!(leg.rtp_at(1, seq as u16, time), PacketVerdict::Accepted);
    }
    let steps: Vec<_> = leg
        .heard
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
    assert_eq!(leg.rtp_at(1, 9_000, 7), PacketVerdict::OnProbation);
    assert_eq!(leg.rtp_at(1, 9_001, 7 + step), PacketVerdict::Accepted);
    assert_eq!(
        leg.rtp_at(1, 9_002, 7 + step + 160),
        PacketVerdict::Accepted
    );
    assert_eq!(leg.heard.times[1], ExtRtpTime::first(RtpTime(7)));
    assert_eq!(
        leg.heard.times[2].since(leg.heard.times[1]),
        i128::from(step)
    );
    assert_eq!(leg.heard.times[3].since(leg.heard.times[2]), 160);
}

#[test]
fn other_protocols_change_nothing_but_their_counters() {
    let mut leg = Leg::new();
    leg.steady(1, [0]);
    let goodbye = rtcp::goodbye(&[1], None);
    let rtcp = PacketVerdict::Refused(DropReason::Malformed(MalformedPacket::NotRtp(
        MediaProtocol::Rtcp,
    )));
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
            PacketVerdict::Refused(DropReason::Malformed(_))
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
    assert_eq!(leg.rtp(1, 9_000), PacketVerdict::OnProbation);
    leg.receiver.close();
    leg.drain();
    assert_eq!(leg.heard.out, [Rtp(0), Lost(1), Rtp(2)]);
    assert_eq!(leg.rtp(1, 3), PacketVerdict::Refused(DropReason::Closed));
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
    assert_eq!(leg.rtp(2, 9), PacketVerdict::OnProbation);
    leg.steady(2, [10]);
    assert!(leg.receiver.jitter() < Duration::from_millis(1));
}

#[test]
fn rtcp_on_the_same_port_is_read_and_changes_nothing_else() {
    let mut leg = Leg::new();
    leg.steady(9, [0, 1]);
    let report = crate::rtcp::SenderReport {
        ssrc: Ssrc(9),
        ntp: 0xE000_0000_0000_0000,
        time: RtpTime(320),
        packets: 2,
        octets: 320,
    };
    let compound = [
        rtcp::sender_report(&report, 0),
        rtcp::source_description(9, "leg"),
        rtcp::goodbye(&[9], Some("not obeyed")),
    ]
    .concat();
    let verdict = leg.datagram(&compound);
    assert_eq!(verdict.refusal().map(DropReason::name), Some("rtcp"));
    let _verdict = leg.datagram(&[0x80, 200, 0, 9]);
    leg.steady(9, [2]);
    let counts = leg.receiver.rtcp().counts();
    assert_eq!(
        (counts.sender_reports, counts.goodbyes, counts.malformed),
        (1, 1, 1)
    );
    let heard = leg.receiver.rtcp().sender_report();
    assert_eq!(heard.map(|(_, report)| report), Some(report));
    let (out, stats) = leg.end();
    assert_eq!(out, packets([0, 1, 2]));
    assert_eq!((stats.rtcp, stats.datagrams), (2, 5));
}

#[test]
fn an_idle_receiver_is_small() {
    // What it takes on the heap: see the reorder buffer's own test.
    assert!(
        size_of::<RtpReceiver>() <= 1_408,
        "{}",
        size_of::<RtpReceiver>()
    );
}
