//! Captures whose times or order are no help: appended, shuffled, of a clock that was set,
//! without any times. The words, their times and the account are those of the call.

use std::collections::BTreeMap;
use std::time::Duration;

use asterscribe::replay::{ReplayReport, fuzz};
use asterscribe_testkit::pcap::Packet;

use crate::replay::formats::{Clock, Frame, Order, Pcapng, ipv4, pcap};
use crate::replay::rig::{Chance, classic, engines, flows, packets, replay};

const ONE: &str = "asterisk22_alaw_stasis";
const TWO: &str = "asterisk22_ulaw_snoop_pair";

const RAW: u32 = 101;

/// Time within which the order of two packets in the file says nothing.
const NEAR: Duration = Duration::from_millis(500);

/// The report but for what says how the packets lay in the file.
fn plain(report: ReplayReport) -> ReplayReport {
    ReplayReport {
        notes: Vec::new(),
        unread: BTreeMap::new(),
        packets: 0,
        datagrams: 0,
        ..report
    }
}

/// Replays the file and holds it to what the call in its right order gives, but for the
/// arrival of packets: findings and quality may differ by what a clock cannot tell.
fn same_call(bytes: &[u8], expected: &ReplayReport) -> Vec<String> {
    let report = replay(bytes, &engines(1));
    fuzz::capture(bytes);
    let of = |report: &ReplayReport| {
        let flows = report.flows.iter();
        let flows: Vec<_> = flows
            .map(|flow| {
                (
                    flow.leg.clone(),
                    flow.from.clone(),
                    flow.stats.clone(),
                    flow.audio,
                )
            })
            .collect();
        (flows, report.lines.clone())
    };
    assert_eq!(of(&report), of(expected));
    report.notes
}

fn moved(packets: &[Packet], from: usize, by_ms: i64) -> Vec<Packet> {
    let mut packets = packets.to_vec();
    for packet in &mut packets[from..] {
        let step = Duration::from_millis(by_ms.unsigned_abs());
        packet.at = if by_ms < 0 {
            packet.at - step
        } else {
            packet.at + step
        };
    }
    packets
}

#[test]
fn the_order_in_the_file_changes_nothing() {
    for name in [ONE, TWO] {
        let packets = packets(name);
        let expected = replay(&classic(&packets), &engines(1));
        let mut chance = Chance::new(5);
        let mut shuffled: Vec<_> = packets
            .iter()
            .map(|p| (chance.below(1 << 30), p.clone()))
            .collect();
        shuffled.sort_by_key(|(key, _)| *key);
        let by_leg: Vec<_> = flows(&packets).into_iter().flatten().collect();
        let in_blocks: Vec<_> = packets.chunks(150).rev().flatten().cloned().collect();
        let orders = [
            packets.iter().rev().cloned().collect(),
            shuffled.into_iter().map(|(_, packet)| packet).collect(),
            by_leg
                .into_iter()
                .map(|place| packets[place].clone())
                .collect(),
            in_blocks,
        ];
        for ordered in orders {
            let report = replay(&classic(&ordered), &engines(1));
            assert_eq!(plain(report), plain(expected.clone()), "{name}");
        }
        // Tenths of a second are what several queues of a network card do; more is said.
        let near: Vec<_> = packets
            .chunks(2)
            .flat_map(|two| match two {
                [first, second] if second.at < first.at + NEAR => vec![second, first],
                far => far.iter().collect(),
            })
            .cloned()
            .collect();
        assert_eq!(replay(&classic(&near), &engines(1)), expected, "{name}");
    }
    let reversed: Vec<_> = packets(ONE).into_iter().rev().collect();
    let notes = replay(&classic(&reversed), &engines(1)).notes;
    assert!(notes[0].contains("not in the order of time"), "{notes:?}");
}

#[test]
fn a_clock_that_is_set_while_packets_are_captured_moves_no_word() {
    for name in [ONE, TWO] {
        let packets = packets(name);
        let expected = replay(&classic(&packets), &engines(1));
        for (from, by_ms) in [
            (150, -60_000),
            (200, -500),
            (90, -86_400_000),
            (150, 3_600_000),
            (20, 86_400_000),
        ] {
            let notes = same_call(&classic(&moved(&packets, from, by_ms)), &expected);
            assert!(notes[0].contains("clock was set by"), "{notes:?}");
        }
        // Set back and forth.
        let twice = moved(&moved(&packets, 100, -7_000), 160, -3_600_000);
        assert_eq!(same_call(&classic(&twice), &expected).len(), 2);
    }
}

#[test]
fn two_parties_that_go_on_after_a_leap_know_of_none() {
    let packets = packets(TWO);
    let expected = replay(&classic(&packets), &engines(1));
    // Where both of them send.
    let mut flows = flows(&packets).into_iter();
    let both = packets.len() / 2;
    assert!(flows.all(|flow| flow.first() < Some(&both) && flow.last() > Some(&both)));
    for by_ms in [5_000, 60_000, 400_000] {
        let notes = same_call(&classic(&moved(&packets, both, by_ms)), &expected);
        assert!(notes[0].contains("as if nothing had been"), "{notes:?}");
    }
}

#[test]
fn a_pause_that_the_sender_does_not_count_is_no_clock() {
    let packets = packets(ONE);
    let report = replay(&classic(&moved(&packets, 200, 20_000)), &engines(1));
    assert_eq!(report.notes, [""; 0]);
}

#[test]
fn a_capture_without_times_is_timed_by_rtp() {
    let packets = packets(ONE);
    let expected = replay(&classic(&packets), &engines(1));
    let frames = ipv4(&packets);
    let at = |at: Duration| {
        let frames: Vec<_> = frames
            .iter()
            .map(|frame| Frame {
                at,
                bytes: frame.bytes.clone(),
            })
            .collect();
        pcap(Order::Little, false, RAW, &frames)
    };
    let notes = same_call(&at(Duration::ZERO), &expected);
    assert!(notes[0].contains("have no time"), "{notes:?}");
    let notes = same_call(&at(Duration::from_secs(1_700_000_000)), &expected);
    assert!(notes[0].contains("many times faster"), "{notes:?}");

    // Ten times as fast as it was spoken.
    let fast = packets.iter().map(|packet| Packet {
        at: packets[0].at + (packet.at - packets[0].at) / 10,
        ..packet.clone()
    });
    let notes = same_call(&classic(&fast.collect::<Vec<_>>()), &expected);
    assert!(notes[0].contains("many times faster"), "{notes:?}");

    let mut file = Pcapng::new(Order::Big);
    let clock = Clock {
        digits: None,
        offset: 0,
    };
    file.interface(RAW as u16, clock);
    for frame in &frames {
        let mut simple = (frame.bytes.len() as u32).to_be_bytes().to_vec();
        simple.extend(&frame.bytes);
        file.block(3, &simple);
    }
    let notes = same_call(&file.bytes, &expected);
    assert!(
        notes[0].starts_with("368 packets have no time"),
        "{notes:?}"
    );
}

#[test]
fn two_parties_without_times_keep_their_order_in_the_file() {
    let packets = packets(TWO);
    let expected = replay(&classic(&packets), &engines(1));
    let timeless: Vec<_> = packets
        .iter()
        .map(|packet| Packet {
            at: Duration::ZERO,
            ..packet.clone()
        })
        .collect();
    let report = replay(&classic(&timeless), &engines(1));
    let words = |report: &ReplayReport| {
        let lines = report.lines.iter();
        let mut words: Vec<_> = lines
            .map(|line| (line.leg.clone(), line.text.clone()))
            .collect();
        words.sort();
        words
    };
    assert_eq!(words(&report), words(&expected));
    for (line, before) in report.lines.iter().zip(&expected.lines) {
        assert!(line.start_ms.abs_diff(before.start_ms) <= 100, "{line:?}");
    }
}

#[test]
fn obsolete_packet_blocks_are_read() {
    let packets = packets(ONE);
    let expected = replay(&classic(&packets), &engines(1));
    for order in [Order::Little, Order::Big] {
        let word = |number: u32| match order {
            Order::Little => number.to_le_bytes(),
            Order::Big => number.to_be_bytes(),
        };
        let clock = Clock {
            digits: None,
            offset: 0,
        };
        let mut file = Pcapng::new(order);
        file.interface(RAW as u16, clock);
        for frame in ipv4(&packets) {
            let micros = u64::try_from(frame.at.as_micros()).unwrap();
            let length = frame.bytes.len() as u32;
            // Interface 0 and no drops are zeros in any order.
            let mut body = vec![0; 4];
            for field in [(micros >> 32) as u32, micros as u32, length, length] {
                body.extend(word(field));
            }
            body.extend(&frame.bytes);
            file.block(2, &body);
        }
        assert_eq!(replay(&file.bytes, &engines(1)), expected, "{order:?}");
    }
}
