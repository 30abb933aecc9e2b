//! Capture files as they come: every format and link layer, cut off, damaged,
//! with other traffic in them, or no captures at all.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::path::Path;
use std::process::Output;

use asterscribe::replay::{ReplayReport, capture, fuzz};
use asterscribe_testkit::fixture;
use asterscribe_testkit::pcap::Packet;
use serde_json::Value;

use crate::replay::formats::{
    CLASSIC_HEADER, Clock, Frame, Order, Pcapng, ipv4, ipv6, linked, links, pcap,
};
use crate::replay::rig::{Chance, classic, engines, file, packets, parse, program, replay};

const FIXTURE: &str = "asterisk22_alaw_stasis";

const MICRO: Clock = Clock {
    digits: None,
    offset: 0,
};

fn recorded() -> (Vec<Packet>, ReplayReport) {
    let packets = packets(FIXTURE);
    let report = replay(&classic(&packets), &engines(1));
    assert_eq!(report.lines.len(), 3);
    (packets, report)
}

#[test]
fn every_link_layer_gives_the_same_report() {
    let (packets, expected) = recorded();
    let pool = engines(1);
    let frames = ipv4(&packets);
    for link in links(0x0800, 228, 2) {
        let frames = linked(&frames, &link.header, &link.trailer);
        let report = replay(&pcap(Order::Little, false, link.number, &frames), &pool);
        assert_eq!(report, expected, "{} ({})", link.name, link.number);
    }
    // With the length of the check sequence beside the number of the link layer.
    let ethernet = links(0x0800, 228, 2).swap_remove(5);
    let frames = linked(&frames, &ethernet.header, &ethernet.trailer);
    let number = 1 | 1 << 26 | 2 << 28;
    assert_eq!(
        replay(&pcap(Order::Little, false, number, &frames), &pool),
        expected
    );
}

#[test]
fn ipv6_gives_the_same_but_for_the_addresses() {
    let (packets, mut expected) = recorded();
    let pool = engines(1);
    for flow in &mut expected.flows {
        for address in [&mut flow.from, &mut flow.to] {
            *address = address.replace("127.0.0.1", "[::1]");
        }
    }
    let frames = ipv6(&packets);
    // BSD, FreeBSD and macOS number the family differently.
    for family in [24, 28, 30] {
        for link in links(0x86dd, 229, family) {
            let frames = linked(&frames, &link.header, &link.trailer);
            let report = replay(&pcap(Order::Little, false, link.number, &frames), &pool);
            assert_eq!(report, expected, "{} ({})", link.name, link.number);
        }
    }
}

#[test]
fn byte_order_and_time_unit_of_a_classic_file_do_not_matter() {
    let (packets, expected) = recorded();
    let frames = ipv4(&packets);
    for order in [Order::Little, Order::Big] {
        for nanoseconds in [false, true] {
            let file = pcap(order, nanoseconds, 101, &frames);
            assert_eq!(
                replay(&file, &engines(1)),
                expected,
                "{order:?}, {nanoseconds}"
            );
        }
    }
    assert_eq!(
        pcap(Order::Little, false, 101, &frames),
        classic(&packets),
        "the two writers agree"
    );
}

#[test]
fn nanoseconds_are_kept() {
    let mut frames = ipv4(&packets(FIXTURE)[..1]);
    frames[0].at += std::time::Duration::from_nanos(789);
    for order in [Order::Little, Order::Big] {
        assert_eq!(
            parse(&pcap(order, true, 101, &frames)).datagrams[0].at,
            frames[0].at
        );
        let clock = Clock {
            digits: Some(9),
            offset: 0,
        };
        assert_eq!(
            parse(&ng(order, clock, &frames).bytes).datagrams[0].at,
            frames[0].at
        );
    }
}

/// One section with one interface of raw IP.
fn ng(order: Order, clock: Clock, frames: &[Frame]) -> Pcapng {
    let mut file = Pcapng::new(order);
    file.interface(101, clock);
    frames.iter().for_each(|frame| file.packet(0, clock, frame));
    file
}

#[test]
fn pcapng_gives_the_same_in_both_byte_orders_and_any_unit_of_time() {
    let (packets, expected) = recorded();
    let pool = engines(1);
    let frames = ipv4(&packets);
    for order in [Order::Little, Order::Big] {
        for digits in [None, Some(6), Some(9)] {
            for offset in [0, 1_700_000_000] {
                let clock = Clock { digits, offset };
                let report = replay(&ng(order, clock, &frames).bytes, &pool);
                assert_eq!(report, expected, "{order:?}, {clock:?}");
            }
        }
    }
}

#[test]
fn pcapng_may_hold_other_blocks_other_interfaces_and_other_sections() {
    let (packets, expected) = recorded();
    let frames = ipv4(&packets);
    let ethernet = links(0x0800, 228, 2).swap_remove(4);
    let framed = linked(&frames, &ethernet.header, &ethernet.trailer);
    let nano = Clock {
        digits: Some(9),
        offset: 0,
    };
    let mut file = Pcapng::new(Order::Little);
    for (half, order) in [Order::Little, Order::Big].into_iter().enumerate() {
        if half == 1 {
            file.section(order);
        }
        file.interface(101, MICRO);
        file.interface(1, nano);
        let range = if half == 0 {
            0..frames.len() / 2
        } else {
            frames.len() / 2..frames.len()
        };
        for place in range {
            match place % 5 {
                // Name resolution, statistics, custom, reserved for somebody, unheard of, empty.
                0 => file.block(4, &[0; 4]),
                1 => file.block(5, &[0; 12]),
                2 => file.block(0xbad, &[0, 0, 0, 42, 1, 2, 3]),
                3 => file.block(0x8000_1234, &[7; 100]),
                _ => file.block(0x77, &[]),
            }
            if place % 2 == 0 {
                file.packet(0, MICRO, &frames[place]);
            } else {
                file.packet(1, nano, &framed[place]);
            }
        }
    }
    assert_eq!(replay(&file.bytes, &engines(1)), expected);
}

#[test]
fn packets_without_interface_are_counted_as_other_and_those_without_time_are_read() {
    let frames = ipv4(&packets(FIXTURE)[..10]);
    let mut file = ng(Order::Little, MICRO, &frames);
    file.packet(1, MICRO, &frames[0]);
    let mut simple = (frames[0].bytes.len() as u32).to_le_bytes().to_vec();
    simple.extend(&frames[0].bytes);
    file.block(3, &simple);
    let capture = parse(&file.bytes);
    assert_eq!(
        (
            capture.packets,
            capture.datagrams.len(),
            capture.other_packets
        ),
        (12, 11, 1)
    );
}

#[test]
fn other_traffic_is_counted_and_changes_nothing() {
    let (packets, expected) = recorded();
    let ip = ipv4(&packets);
    let header = &links(0x0800, 228, 2).swap_remove(4).header;
    let mut frames = linked(&ip, header, &[]);
    let others = strangers(&frames[0]);
    for (place, other) in others.iter().enumerate() {
        frames.insert(place * 20 + 3, other.clone());
    }
    let bytes = pcap(Order::Little, false, 1, &frames);
    let capture = parse(&bytes);
    assert_eq!(capture.other_packets, others.len() as u64);
    assert_eq!(capture.datagrams.len(), packets.len());
    let report = replay(&bytes, &engines(1));
    assert_eq!(report.unread["cut_off"], 9);
    assert_eq!(report.unread.values().sum::<u64>(), others.len() as u64);
    let with_others = ReplayReport {
        packets: expected.packets + others.len() as u64,
        unread: report.unread.clone(),
        ..expected
    };
    assert_eq!(report, with_others);
}

/// Frames on Ethernet that hold no whole UDP datagram, made of one that does.
fn strangers(frame: &Frame) -> Vec<Frame> {
    let change = |changes: &[(usize, u8)]| {
        let mut other = frame.clone();
        changes
            .iter()
            .for_each(|&(at, byte)| other.bytes[at] = byte);
        other
    };
    let cut = |length: usize| Frame {
        bytes: frame.bytes[..length].to_vec(),
        ..frame.clone()
    };
    // Ethernet's 14 bytes, then IPv4: flags and fragment offset at 6, protocol at 9.
    let mut strangers = vec![
        change(&[(20, 0x20)]),
        change(&[(20, 0x20), (21, 25)]),
        change(&[(20, 0), (21, 25)]),
        change(&[(23, 6)]),
        change(&[(23, 1)]),
        change(&[(23, 132)]),
        change(&[(12, 0x08), (13, 0x06)]),
        change(&[(12, 0x88), (13, 0xcc)]),
        change(&[(14, 0x65)]),
        change(&[(14, 0x41)]),
        // A datagram that claims to be longer than its packet.
        change(&[(38, 0xff)]),
    ];
    // Cut off by the snap length, in each header and in the payload.
    let whole = frame.bytes.len();
    strangers.extend([0, 10, 14, 30, 38, 42, 60, whole - 1].map(cut));
    strangers
}

#[test]
fn fragments_of_ipv6_are_other_packets_too() {
    let mut frame = ipv6(&packets(FIXTURE)[..1]).swap_remove(0);
    // The hop-by-hop header becomes a fragment header: more to come, offset 0.
    frame.bytes[6] = 44;
    frame.bytes[40..44].copy_from_slice(&[17, 0, 0, 1]);
    let capture = parse(&pcap(Order::Little, false, 101, &[frame]));
    assert_eq!((capture.packets, capture.other_packets), (1, 1));
}

#[test]
fn a_link_layer_nobody_knows_gives_no_flows_but_a_count() {
    let frames = ipv4(&packets(FIXTURE));
    let report = replay(&pcap(Order::Little, false, 147, &frames), &engines(1));
    assert_eq!((report.packets, report.datagrams), (368, 0));
    assert!(report.flows.is_empty() && report.lines.is_empty());
    assert_eq!(report.to_text(), "no RTP was found\n");
}

#[test]
fn a_file_cut_off_anywhere_yields_what_it_holds_and_says_where() {
    let packets = &packets(FIXTURE)[..120];
    let whole = classic(packets);
    let ends: Vec<usize> = std::iter::once(CLASSIC_HEADER)
        .chain(ipv4(packets).iter().scan(CLASSIC_HEADER, |end, frame| {
            *end += 16 + frame.bytes.len();
            Some(*end)
        }))
        .collect();
    check_cuts(&whole, &ends, CLASSIC_HEADER, 0);

    for order in [Order::Little, Order::Big] {
        let file = ng(order, MICRO, &ipv4(packets));
        // The section's header and the interface hold no packet.
        check_cuts(&file.bytes, &file.ends, file.ends[0], 1);
    }
}

/// `ends[n]` is where the first `n` records end, `blank` more that hold no packet set aside.
fn check_cuts(whole: &[u8], ends: &[usize], header: usize, blank: usize) {
    let everything = parse(whole);
    assert_eq!(
        (everything.broken.clone(), ends.last()),
        (None, Some(&whole.len()))
    );
    let mut chance = Chance::new(whole.len() as u64);
    let seeded = (0..50).map(|_| chance.below(whole.len()));
    for cut in seeded
        .chain(ends[ends.len() - 2]..whole.len())
        .chain(0..header)
    {
        let Ok(capture) = capture::from_bytes(&whole[..cut]) else {
            assert!(cut < header, "cut at {cut} of {}", whole.len());
            continue;
        };
        assert!(cut >= header, "cut at {cut} in the header");
        let record = ends.iter().rposition(|&end| end <= cut).unwrap();
        let held = record.saturating_sub(blank);
        assert_eq!(
            capture.datagrams,
            everything.datagrams[..held],
            "cut at {cut}"
        );
        assert_eq!((capture.packets, capture.other_packets), (held as u64, 0));
        let broken = (cut != ends[record]).then(|| {
            format!(
                "the file is cut off in a block at byte {}, after {held} packets",
                ends[record]
            )
        });
        assert_eq!(capture.broken, broken, "cut at {cut}");
        fuzz::capture(&whole[..cut]);
    }
}

#[test]
fn the_program_transcribes_what_a_cut_file_holds_and_warns() {
    let whole = std::fs::read(fixture::pcap_path(FIXTURE)).unwrap();
    // Cut in the middle of the last sentence.
    let records = (whole.len() - CLASSIC_HEADER) as u64;
    let cut = file(&whole[..CLASSIC_HEADER + usize::try_from(records * 9 / 10).unwrap()]);
    let output = program(cut.path(), "json");
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let broken = report["broken"].as_str().unwrap();
    assert!(
        broken.starts_with("the file is cut off in a block at byte "),
        "{broken}"
    );
    assert!(
        broken.ends_with(&format!(", after {} packets", report["packets"])),
        "{broken}"
    );
    let lines = report["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["text"], "hello i have a problem with my phone");
    let warning = format!("{}: {broken}\n", cut.path().display());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), warning);
}

#[test]
fn a_record_that_makes_no_sense_ends_the_capture_but_not_the_program() {
    let packets = packets(FIXTURE);
    let mut whole = classic(&packets);
    let tenth = CLASSIC_HEADER
        + ipv4(&packets)[..9]
            .iter()
            .map(|f| 16 + f.bytes.len())
            .sum::<usize>();
    // A length beyond any frame, and beyond any machine's memory.
    whole[tenth + 8..tenth + 12].copy_from_slice(&[0xff; 4]);
    let capture = parse(&whole);
    assert_eq!((capture.packets, capture.datagrams.len()), (9, 9));
    let broken = capture.broken.unwrap();
    assert!(
        broken.ends_with(&format!(" at byte {tenth}, after 9 packets")),
        "{broken}"
    );
}

#[test]
fn what_is_no_capture_is_refused_with_the_file_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere.pcap");
    refused(&missing, "No such file");
    refused(folder.path(), "directory");
    for bytes in [
        &b""[..],
        b"\xd4\xc3\xb2",
        b"RIFF\x24\0\0\0WAVEfmt and what else there is in such a file",
        &[0; 5000],
        &classic(&packets(FIXTURE)[..5])[..CLASSIC_HEADER - 1],
    ] {
        let file = file(bytes);
        refused(file.path(), "neither a pcap nor a pcapng file");
    }
}

fn refused(path: &Path, reason: &str) {
    for format in ["text", "json"] {
        let Output {
            status,
            stdout,
            stderr,
        } = program(path, format);
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{stderr}");
        assert_eq!(stdout, b"", "{stderr}");
        assert!(stderr.starts_with("asterscribe: "), "{stderr}");
        assert!(stderr.contains(&path.display().to_string()), "{stderr}");
        assert!(stderr.contains(reason), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn a_capture_without_packets_is_one() {
    let output = program(file(&classic(&[])).path(), "text");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"no RTP was found\n");
}

#[test]
fn clocks_that_jump_by_centuries_do_no_harm() {
    let (packets, expected) = recorded();
    for step in [1_000u64, u64::from(u32::MAX), u64::MAX / 2, u64::MAX] {
        let mut file = Pcapng::new(Order::Little);
        file.interface(
            101,
            Clock {
                digits: Some(0),
                offset: 0,
            },
        );
        file.interface(101, MICRO);
        let frames = ipv4(&packets);
        for (place, frame) in frames.iter().enumerate() {
            if place == 200 {
                let far = Frame {
                    at: std::time::Duration::from_secs(step),
                    bytes: frame.bytes.clone(),
                };
                file.packet(
                    0,
                    Clock {
                        digits: Some(0),
                        offset: 0,
                    },
                    &far,
                );
            } else {
                file.packet(1, MICRO, frame);
            }
        }
        let report = replay(&file.bytes, &engines(1));
        assert_eq!(
            report.flows[0].stats.received,
            expected.flows[0].stats.received
        );
        assert_eq!(report.flows[0].stats.lost, 0);
        assert_eq!(report.lines[0], expected.lines[0]);
        fuzz::capture(&file.bytes);
    }
}

#[test]
fn random_changes_of_any_bytes_never_panic() {
    const CASES: usize = 2_000;
    let packets = &packets(FIXTURE)[..110];
    let frames = ipv4(packets);
    let ethernet = links(0x0800, 228, 2).swap_remove(6);
    let seeds = [
        classic(packets),
        pcap(Order::Big, true, 1, &linked(&frames, &ethernet.header, &[])),
        ng(
            Order::Little,
            Clock {
                digits: Some(9),
                offset: 5,
            },
            &frames,
        )
        .bytes,
        pcap(Order::Little, false, 101, &ipv6(packets)),
    ];
    seeds.iter().for_each(|seed| fuzz::capture(seed));
    let mut chance = Chance::new(7);
    for case in 0..CASES {
        let mut bytes = seeds[case % seeds.len()].clone();
        for _change in 0..=chance.below(20) {
            // Most of it is audio; what has structure is worth as much attention.
            let end = if chance.percent(30) { 600 } else { bytes.len() };
            let place = chance.below(end);
            bytes[place] = chance.below(256) as u8;
        }
        if chance.percent(10) {
            bytes.truncate(chance.below(bytes.len()));
        }
        fuzz::capture(&bytes);
    }
}
