//! The receiver behind a bad network, checked against the network's own log.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use asterscribe_rtp::testkit::netem::{LossModel, NetemConfig, NetworkEmulator, NetworkLog};
use asterscribe_rtp::testkit::{build, origin};
use asterscribe_rtp::{
    PacketVerdict, PlacedPacket, ReceiverConfig, ReceiverStats, ReleasedItem, RtpReceiver,
};

const PACKETS: usize = 2_000;
const FIRST_SEQ: u16 = 64_900;

/// Items that the receiver released: packets by their index, and losses by their size.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Out {
    Packet(usize),
    Lost(u64),
}

/// Sends a steady leg through the network and follows every deadline.
fn run(config: NetemConfig, seed: u64) -> (NetworkLog, Vec<Out>, ReceiverStats) {
    let mut netem = NetworkEmulator::new(config, seed);
    let mut receiver = RtpReceiver::new(ReceiverConfig::default());
    let mut out = Vec::new();
    for index in 0..PACKETS {
        let now = origin() + Duration::from_millis(20) * index as u32;
        deliver(&mut netem, &mut receiver, now, &mut out);
        netem.send(now, &datagram(index));
    }
    let end = origin() + Duration::from_secs(3_600);
    deliver(&mut netem, &mut receiver, end, &mut out);
    receiver.close();
    drain(&mut receiver, end, &mut out);
    (netem.log().clone(), out, *receiver.stats())
}

fn datagram(index: usize) -> Vec<u8> {
    let seq = FIRST_SEQ.wrapping_add(index as u16);
    build::packet(seq)
        .time(index as u32 * 160)
        .payload(&(index as u32).to_be_bytes())
        .bytes()
}

/// Everything that happens up to `until`, in the order of its time.
fn deliver(
    netem: &mut NetworkEmulator,
    receiver: &mut RtpReceiver,
    until: Instant,
    out: &mut Vec<Out>,
) {
    loop {
        let due = [netem.deadline(), receiver.deadline()]
            .into_iter()
            .flatten()
            .min();
        let Some(due) = due.filter(|due| *due <= until) else {
            return;
        };
        // What arrives at the very end of a wait is late.
        drain(receiver, due, out);
        while let Some((at, datagram)) = netem.poll(due) {
            match receiver.receive(at, &datagram) {
                PacketVerdict::InOrder(packet) => out.push(packet_of(packet)),
                verdict => assert_ne!(verdict, PacketVerdict::OnProbation),
            }
        }
        drain(receiver, due, out);
        assert!(
            receiver.deadline().is_none_or(|next| next > due),
            "polling does not get on"
        );
    }
}

fn drain(receiver: &mut RtpReceiver, now: Instant, out: &mut Vec<Out>) {
    while let Some(released) = receiver.poll(now) {
        out.push(match released {
            ReleasedItem::Packet(packet) => packet_of(packet),
            ReleasedItem::Lost { count, .. } => Out::Lost(count),
            ReleasedItem::Skipped { count } => panic!("skipped: {count}"),
            ReleasedItem::Restart { reason } => panic!("restarted: {reason:?}"),
        });
    }
}

fn packet_of(packet: PlacedPacket<'_>) -> Out {
    let index: [u8; 4] = packet.payload.try_into().expect("four bytes were sent");
    Out::Packet(u32::from_be_bytes(index) as usize)
}

/// Items and counters that the network's log demands, if nothing is later than the window.
fn expected(log: &NetworkLog) -> (Vec<Out>, ReceiverStats) {
    let mut stats = ReceiverStats::default();
    let first = log.delivered[0];
    let mut highest = first;
    let mut seen = HashSet::new();
    for &index in &log.delivered {
        stats.datagrams += 1;
        stats.received += 1;
        if !seen.insert(index) {
            stats.duplicate += 1;
        } else if index < first {
            stats.too_old += 1;
        } else {
            stats.released += 1;
            stats.reordered += u64::from(index < highest);
            highest = highest.max(index);
        }
    }
    let mut out = Vec::new();
    let mut hole = 0;
    for index in first..=highest {
        if !seen.contains(&index) {
            hole += 1;
            continue;
        }
        if hole > 0 {
            out.push(Out::Lost(hole));
            stats.lost += hole;
        }
        hole = 0;
        out.push(Out::Packet(index));
    }
    (out, stats)
}

fn check(config: NetemConfig) {
    for seed in 0..20 {
        let (log, out, stats) = run(config, seed);
        let (expected_out, expected_stats) = expected(&log);
        assert_eq!(out, expected_out, "seed {seed}");
        assert_eq!(stats, expected_stats, "seed {seed}");
        assert!(stats.is_balanced());
    }
}

const REORDERING: NetemConfig = NetemConfig {
    loss: LossModel::None,
    delay: Duration::from_millis(30),
    jitter: Duration::from_millis(60),
    reorder: 0.1,
    reorder_delay: Duration::from_millis(50),
    ..NetemConfig::PERFECT
};

#[test]
fn a_perfect_network() {
    check(NetemConfig::default());
}

#[test]
fn uniform_loss() {
    for percent in [1, 2, 5, 10, 20, 30] {
        let loss = LossModel::Uniform(f64::from(percent) / 100.0);
        check(NetemConfig {
            loss,
            ..NetemConfig::default()
        });
    }
}

#[test]
fn bursts_of_loss() {
    for leave in [0.66, 0.33, 0.1] {
        let loss = LossModel::Bursts {
            enter: 0.02,
            leave,
            good: 0.001,
            bad: 0.9,
        };
        check(NetemConfig {
            loss,
            ..NetemConfig::default()
        });
    }
}

#[test]
fn reordering_within_the_window_changes_nothing() {
    check(REORDERING);
    let (log, _, stats) = run(REORDERING, 1);
    assert!(stats.reordered > 100, "{log:?}");
    assert_eq!(stats.lost, 0);
}

#[test]
fn duplicates_change_nothing() {
    for duplicate in [0.01, 0.5, 1.0] {
        check(NetemConfig {
            duplicate,
            ..REORDERING
        });
        check(NetemConfig {
            duplicate,
            ..NetemConfig::default()
        });
    }
}

#[test]
fn everything_at_once() {
    let loss = LossModel::Bursts {
        enter: 0.02,
        leave: 0.3,
        good: 0.01,
        bad: 0.8,
    };
    check(NetemConfig {
        loss,
        duplicate: 0.2,
        ..REORDERING
    });
}

#[test]
fn beyond_the_window_late_packets_are_lost_and_counted() {
    let config = NetemConfig {
        reorder: 0.05,
        reorder_delay: Duration::from_millis(700),
        ..NetemConfig::default()
    };
    for seed in 0..20 {
        let (log, out, stats) = run(config, seed);
        assert!(stats.is_balanced());
        // Each late one left a hole, unless it was sent before the first that arrived.
        let before = log.delivered[0] as u64;
        assert_eq!(stats.released + stats.late + stats.too_old, log.sent as u64);
        assert!(stats.late > 0);
        assert_eq!((stats.lost, stats.too_old), (stats.late, before));
        let packets = out.iter().filter_map(|out| match out {
            Out::Packet(index) => Some(*index),
            Out::Lost(_) => None,
        });
        assert!(packets.is_sorted_by(|a, b| a < b));
    }
}
