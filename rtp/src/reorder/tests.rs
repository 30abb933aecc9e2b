use proptest::prelude::*;

use super::*;
use crate::ids::{ExtRtpTime, PayloadType, RtpTime, SeqNo};
use crate::testkit;

const START: u64 = 70_000;

/// Items that the buffer released, in short: packets by their number less [`START`].
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Out {
    Packet(u64),
    Lost(u64),
    /// How many, and how many of them for their rate.
    Shed(u64, u64),
    Skipped(u64),
    Restart(RestartReason),
}
use Out::{Lost, Packet, Shed, Skipped};

fn at(ms: u64) -> Instant {
    testkit::origin() + Duration::from_millis(ms)
}

fn placed(seq: u64, arrived: Instant, payload: &[u8]) -> PlacedPacket<'_> {
    PlacedPacket {
        seq: ExtSeq(START + seq),
        time: ExtRtpTime::first(RtpTime(160 * seq as u32)),
        payload_type: PayloadType::new(8).unwrap(),
        marker: seq == 0,
        payload,
        arrived,
    }
}

fn put(reorder: &mut ReorderBuffer, seq: u64, ms: u64) -> Result<(), RejectReason> {
    insert(reorder, placed(seq, at(ms), &seq.to_be_bytes()))
}

fn insert(reorder: &mut ReorderBuffer, packet: PlacedPacket<'_>) -> Result<(), RejectReason> {
    let place = reorder.find(packet.arrived, &packet)?;
    reorder.put(packet.arrived, place, packet);
    Ok(())
}

fn drain(reorder: &mut ReorderBuffer, ms: u64) -> Vec<Out> {
    let mut out = Vec::new();
    while let Some(released) = reorder.poll(at(ms)) {
        out.push(match released {
            ReleasedItem::Packet(PlacedPacket {
                seq,
                time,
                payload_type,
                marker,
                payload,
                ..
            }) => {
                let number = seq.0 - START;
                assert_eq!(payload, number.to_be_bytes());
                assert_eq!(time.wire(), RtpTime(160 * number as u32));
                assert_eq!((payload_type.get(), marker), (8, number == 0));
                Packet(number)
            }
            ReleasedItem::Lost { count, shed: 0 } => Lost(count),
            ReleasedItem::Lost { count, shed } => Shed(count, shed),
            ReleasedItem::Skipped { count } => Skipped(count),
            ReleasedItem::Restart { reason } => Out::Restart(reason),
        });
    }
    out
}

fn buffer() -> ReorderBuffer {
    ReorderBuffer::new(ReorderConfig::default())
}

#[test]
fn in_order_is_released_at_once_and_nothing_waits() {
    let mut reorder = buffer();
    for seq in 0..300 {
        put(&mut reorder, seq, seq * 20).unwrap();
        assert!(reorder.deadline().unwrap() <= at(seq * 20));
        assert_eq!(drain(&mut reorder, seq * 20), [Packet(seq)]);
        assert_eq!(reorder.deadline(), None);
    }
}

#[test]
fn a_gap_is_waited_for_and_filled() {
    let mut reorder = buffer();
    put(&mut reorder, 0, 0).unwrap();
    put(&mut reorder, 2, 40).unwrap();
    assert_eq!(drain(&mut reorder, 40), [Packet(0)]);
    assert_eq!(reorder.deadline(), Some(at(160)));
    put(&mut reorder, 1, 60).unwrap();
    assert_eq!(drain(&mut reorder, 60), [Packet(1), Packet(2)]);
}

#[test]
fn an_unfilled_gap_is_given_up_at_the_deadline_not_before() {
    let mut reorder = buffer();
    put(&mut reorder, 0, 0).unwrap();
    put(&mut reorder, 3, 60).unwrap();
    put(&mut reorder, 4, 80).unwrap();
    put(&mut reorder, 6, 100).unwrap();
    assert_eq!(drain(&mut reorder, 179), [Packet(0)]);
    assert_eq!(drain(&mut reorder, 180), [Lost(2), Packet(3), Packet(4)]);
    // The second gap has its own time.
    assert_eq!(reorder.deadline(), Some(at(220)));
    assert_eq!(drain(&mut reorder, 220), [Lost(1), Packet(6)]);
}

#[test]
fn a_packet_behind_two_gaps_waits_no_longer_either() {
    let mut reorder = buffer();
    put(&mut reorder, 0, 0).unwrap();
    put(&mut reorder, 4, 10).unwrap();
    put(&mut reorder, 2, 100).unwrap();
    assert_eq!(drain(&mut reorder, 100), [Packet(0)]);
    assert_eq!(reorder.deadline(), Some(at(130)));
    assert_eq!(
        drain(&mut reorder, 130),
        [Lost(1), Packet(2), Lost(1), Packet(4)]
    );
}

#[test]
fn a_gap_whose_wait_is_over_is_given_up_though_nobody_polled() {
    let mut reorder = buffer();
    for seq in [0, 2, 4] {
        put(&mut reorder, seq, seq * 10).unwrap();
    }
    // 2 has waited for 120 ms, 4 has not.
    assert_eq!(put(&mut reorder, 1, 140), Err(RejectReason::Late));
    put(&mut reorder, 3, 140).unwrap();
    assert_eq!(
        drain(&mut reorder, 140),
        [Packet(0), Lost(1), Packet(2), Packet(3), Packet(4)]
    );
}

#[test]
fn restarts_that_nobody_polled_for_follow_each_other() {
    let mut reorder = buffer();
    put(&mut reorder, 0, 0).unwrap();
    let payload = 200_000_u64.to_be_bytes();
    for (seq, reason) in [
        (200_000, RestartReason::SsrcChange),
        (400_000, RestartReason::SequenceJump),
    ] {
        let payload = u64::to_be_bytes(seq);
        let packets = [placed(seq, at(1), &payload)];
        reorder.restart(at(1), reason, packets);
    }
    assert_eq!(
        drain(&mut reorder, 1),
        [
            Packet(0),
            Out::Restart(RestartReason::SsrcChange),
            Packet(200_000),
            Out::Restart(RestartReason::SequenceJump),
            Packet(400_000)
        ]
    );
    assert_eq!(reorder.deadline(), None);
    assert_eq!(
        insert(&mut reorder, placed(200_000, at(2), &payload)),
        Err(RejectReason::TooOld)
    );
}

#[test]
fn what_was_shed_is_not_waited_for_and_said_with_the_loss() {
    let mut reorder = buffer();
    put(&mut reorder, 0, 0).unwrap();
    reorder.shed(at(1), ExtSeq(START + 1));
    reorder.shed(at(1), ExtSeq(START + 2));
    put(&mut reorder, 3, 2).unwrap();
    assert_eq!(drain(&mut reorder, 2), [Packet(0), Shed(2, 2), Packet(3)]);
    // 4 is missing, 5 shed: 4 is waited for.
    reorder.shed(at(3), ExtSeq(START + 5));
    put(&mut reorder, 6, 3).unwrap();
    assert_eq!(drain(&mut reorder, 122), []);
    assert_eq!(drain(&mut reorder, 123), [Shed(2, 1), Packet(6)]);
    // Copies of what was shed, before and after it was given up; 4 is late.
    reorder.shed(at(124), ExtSeq(START + 8));
    assert_eq!(put(&mut reorder, 8, 124), Err(RejectReason::Duplicate));
    assert_eq!(put(&mut reorder, 5, 124), Err(RejectReason::Duplicate));
    assert_eq!(put(&mut reorder, 2, 124), Err(RejectReason::Duplicate));
    assert_eq!(put(&mut reorder, 4, 124), Err(RejectReason::Late));
    // At the end what was shed behind the last packet is said too.
    reorder.close();
    assert_eq!(drain(&mut reorder, 124), [Shed(2, 1)]);
}

#[test]
fn what_was_shed_before_a_restart_is_said_before_it() {
    let mut reorder = buffer();
    put(&mut reorder, 0, 0).unwrap();
    reorder.shed(at(1), ExtSeq(START + 1));
    let payload = u64::to_be_bytes(200_000);
    let packets = [placed(200_000, at(2), &payload)];
    reorder.restart(at(2), RestartReason::SsrcChange, packets);
    let restart = Out::Restart(RestartReason::SsrcChange);
    assert_eq!(
        drain(&mut reorder, 2),
        [Packet(0), Shed(1, 1), restart, Packet(200_000)]
    );
}

#[test]
fn only_what_nothing_waits_before_passes_by() {
    let mut reorder = buffer();
    let pass = |reorder: &mut ReorderBuffer, seq: u64, ms: u64| {
        let payload = seq.to_be_bytes();
        let packet = placed(seq, at(ms), &payload);
        reorder.find(at(ms), &packet).unwrap();
        reorder.pass(&packet)
    };
    assert!(pass(&mut reorder, 0, 0));
    assert!(!pass(&mut reorder, 2, 0));
    assert!(pass(&mut reorder, 1, 0));
    assert_eq!(put(&mut reorder, 1, 0), Err(RejectReason::Duplicate));
    put(&mut reorder, 3, 0).unwrap();
    assert!(!pass(&mut reorder, 2, 0));
    put(&mut reorder, 2, 0).unwrap();
    // Due, but not polled for.
    assert!(!pass(&mut reorder, 4, 0));
    assert_eq!(drain(&mut reorder, 0), [Packet(2), Packet(3)]);
    reorder.shed(at(0), ExtSeq(START + 4));
    assert!(!pass(&mut reorder, 5, 0));
    put(&mut reorder, 5, 0).unwrap();
    assert_eq!(drain(&mut reorder, 0), [Shed(1, 1), Packet(5)]);
    assert!(pass(&mut reorder, 6, 0));
}

#[test]
fn the_count_gives_a_gap_up_too() {
    let mut reorder = ReorderBuffer::new(ReorderConfig {
        capacity: 4,
        ..ReorderConfig::default()
    });
    put(&mut reorder, 0, 0).unwrap();
    drain(&mut reorder, 0);
    for seq in [2, 3, 5] {
        put(&mut reorder, seq, 0).unwrap();
        assert_eq!(drain(&mut reorder, 0), []);
    }
    put(&mut reorder, 6, 0).unwrap();
    assert_eq!(drain(&mut reorder, 0), [Lost(1), Packet(2), Packet(3)]);
    assert_eq!(reorder.len(), 2);
}

#[test]
fn late_and_duplicate_are_told_apart() {
    let mut reorder = buffer();
    for seq in [0, 2, 3] {
        put(&mut reorder, seq, 0).unwrap();
    }
    assert_eq!(put(&mut reorder, 3, 0), Err(RejectReason::Duplicate));
    assert_eq!(
        drain(&mut reorder, 120),
        [Packet(0), Lost(1), Packet(2), Packet(3)]
    );
    assert_eq!(put(&mut reorder, 2, 121), Err(RejectReason::Duplicate));
    assert_eq!(put(&mut reorder, 1, 121), Err(RejectReason::Late));
    assert_eq!(put(&mut reorder, 1, 122), Err(RejectReason::Duplicate));
    assert_eq!(put(&mut reorder, 0, 122), Err(RejectReason::Duplicate));
    assert_eq!(drain(&mut reorder, 500), []);
}

#[test]
fn what_was_seen_is_remembered_for_128_numbers() {
    let mut reorder = buffer();
    for seq in 0..=128 {
        put(&mut reorder, seq, 0).unwrap();
        drain(&mut reorder, 0);
    }
    assert_eq!(put(&mut reorder, 1, 0), Err(RejectReason::Duplicate));
    assert_eq!(put(&mut reorder, 0, 0), Err(RejectReason::TooOld));
    put(&mut reorder, 1_000, 0).unwrap();
    assert_eq!(drain(&mut reorder, 120), [Lost(871), Packet(1_000)]);
    assert_eq!(put(&mut reorder, 999, 0), Err(RejectReason::Late));
    assert_eq!(put(&mut reorder, 1_000, 0), Err(RejectReason::Duplicate));
}

#[test]
fn unpolled_packets_overflow_instead_of_piling_up() {
    let mut reorder = buffer();
    for seq in 0..128 {
        put(&mut reorder, seq, 0).unwrap();
    }
    assert_eq!(put(&mut reorder, 128, 0), Err(RejectReason::Overflow));
    assert_eq!(
        drain(&mut reorder, 0),
        (0..128).map(Packet).collect::<Vec<_>>()
    );
    put(&mut reorder, 128, 0).unwrap();
    assert_eq!(drain(&mut reorder, 0), [Packet(128)]);
}

#[test]
fn closing_empties_it() {
    let mut reorder = buffer();
    for seq in [0, 2, 5] {
        put(&mut reorder, seq, 0).unwrap();
    }
    reorder.close();
    assert_eq!(
        drain(&mut reorder, 0),
        [Packet(0), Lost(1), Packet(2), Lost(2), Packet(5)]
    );
    assert_eq!(reorder.deadline(), None);
}

#[test]
fn a_restart_releases_the_old_timeline_first() {
    let mut reorder = buffer();
    put(&mut reorder, 0, 0).unwrap();
    put(&mut reorder, 2, 0).unwrap();
    let payloads = [100_000_u64.to_be_bytes(), 100_001_u64.to_be_bytes()];
    let pair = [
        placed(100_000, at(1), &payloads[0]),
        placed(100_001, at(2), &payloads[1]),
    ];
    let reason = RestartReason::SsrcChange;
    reorder.restart(at(2), reason, pair);
    assert_eq!(put(&mut reorder, 1, 2), Err(RejectReason::TooOld));
    assert_eq!(put(&mut reorder, 99_999, 2), Err(RejectReason::TooOld));
    put(&mut reorder, 100_002, 2).unwrap();
    let restart = Out::Restart(RestartReason::SsrcChange);
    let new = [Packet(100_000), Packet(100_001), Packet(100_002)];
    assert_eq!(
        drain(&mut reorder, 2),
        [&[Packet(0), Lost(1), Packet(2), restart], &new[..]].concat()
    );
    assert_eq!(put(&mut reorder, 99_999, 2), Err(RejectReason::Duplicate));
    assert_eq!(put(&mut reorder, 100_000, 2), Err(RejectReason::Duplicate));
}

#[test]
fn an_idle_buffer_is_small() {
    let mut reorder = buffer();
    let big = [0; 9_000];
    for seq in 1..128 {
        let packet = placed(if seq == 1 { 0 } else { seq }, at(0), &big);
        insert(&mut reorder, packet).unwrap();
    }
    reorder.close();
    while reorder.poll(at(0)).is_some() {}
    for seq in 200..206 {
        put(&mut reorder, seq, 0).unwrap();
        drain(&mut reorder, 0);
    }
    let spare: usize = reorder.spare.iter().map(Vec::capacity).sum();
    let slots = reorder.queue.capacity() * size_of::<PacketSlot>();
    assert!(
        spare + slots + reorder.lent.capacity() <= 8 * 1_024,
        "{spare} {slots}"
    );
}

#[test]
fn payload_buffers_are_used_again() {
    let mut reorder = buffer();
    let mut buffers = std::collections::HashSet::new();
    for seq in 0..100_u64 {
        put(&mut reorder, seq, 0).unwrap();
        while let Some(released) = reorder.poll(at(0)) {
            let ReleasedItem::Packet(PlacedPacket { payload, .. }) = released else {
                continue;
            };
            buffers.insert(payload.as_ptr());
        }
    }
    assert!(buffers.len() <= 2, "{}", buffers.len());
}

proptest! {
    #[test]
    fn any_order_within_the_window_comes_out_in_order(
        order in (2_u64..=128).prop_flat_map(|n| Just((1..n).collect::<Vec<_>>()).prop_shuffle()),
        copies in prop::collection::vec(any::<prop::sample::Index>(), 0..50),
    ) {
        let count = order.len() as u64 + 1;
        let mut reorder = ReorderBuffer::new(ReorderConfig { capacity: 129, ..ReorderConfig::default() });
        put(&mut reorder, 0, 0).unwrap();
        let mut out = drain(&mut reorder, 0);
        for (position, seq) in order.iter().enumerate() {
            let ms = position as u64 * 119 / count;
            put(&mut reorder, *seq, ms).unwrap();
            out.extend(drain(&mut reorder, ms));
            for copy in copies.iter().filter(|copy| copy.index(order.len()) == position) {
                let repeated = order[copy.index(position + 1)];
                prop_assert_eq!(put(&mut reorder, repeated, ms), Err(RejectReason::Duplicate));
                prop_assert_eq!(drain(&mut reorder, ms), []);
            }
        }
        prop_assert_eq!(out, (0..count).map(Packet).collect::<Vec<_>>());
        prop_assert!(reorder.is_empty());
    }

    #[test]
    fn every_hole_is_lost_with_its_exact_size(arrives in prop::collection::vec(any::<bool>(), 0..500)) {
        let mut reorder = buffer();
        let mut out = Vec::new();
        let mut expected = vec![Packet(0)];
        let mut hole = 0;
        put(&mut reorder, 0, 0).unwrap();
        for (seq, arrives) in (1_u64..).zip(arrives) {
            if !arrives {
                hole += 1;
                continue;
            }
            if hole > 0 {
                expected.push(Lost(hole));
            }
            hole = 0;
            expected.push(Packet(seq));
            put(&mut reorder, seq, seq * 20).unwrap();
            out.extend(drain(&mut reorder, seq * 20));
        }
        reorder.close();
        out.extend(drain(&mut reorder, 0));
        prop_assert_eq!(out, expected);
    }
}

#[test]
fn numbering_survives_the_top_of_the_range() {
    let mut reorder = buffer();
    let seq = ExtSeq(u64::MAX);
    let packet = PlacedPacket {
        seq,
        ..placed(0, at(0), &[])
    };
    insert(&mut reorder, packet).unwrap();
    assert!(matches!(reorder.poll(at(0)), Some(ReleasedItem::Packet(_))));
    assert_eq!(seq.wire(), SeqNo(0xFFFF));
}
