//! RTP in fragments, and packets that cannot be read, each named with its count.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use asterscribe::replay::{ReplayReport, fuzz};
use serde_json::Value;

use crate::replay::formats::{Frame, Order, ipv4, ipv6, linked, pcap};
use crate::replay::rig::{Chance, classic, engines, file, packets, parse, program, replay};
use crate::replay::tunnels::{ETHERNET, FIXTURE, RAW, STUN, ethernet, over_ip, over_udp};

/// Cuts packets of IPv4 into fragments of so many bytes.
fn fragmented(frames: &[Frame], size: usize) -> Vec<Frame> {
    let mut fragments = Vec::new();
    for (n, frame) in (1u16..).zip(frames) {
        let (header, body) = frame.bytes.split_at(20);
        for (place, part) in body.chunks(size).enumerate() {
            let mut bytes = header.to_vec();
            let is_last = (place + 1) * size >= body.len();
            let place = u16::try_from(place * size / 8).unwrap() | if is_last { 0 } else { 0x2000 };
            bytes[2..4].copy_from_slice(&u16::try_from(20 + part.len()).unwrap().to_be_bytes());
            bytes[4..6].copy_from_slice(&n.to_be_bytes());
            bytes[6..8].copy_from_slice(&place.to_be_bytes());
            bytes.extend(part);
            fragments.push(Frame {
                at: frame.at,
                bytes,
            });
        }
    }
    fragments
}

fn plain(report: ReplayReport) -> ReplayReport {
    ReplayReport {
        unread: std::collections::BTreeMap::new(),
        notes: Vec::new(),
        packets: 0,
        ..report
    }
}

#[test]
fn fragments_are_put_together_in_any_order() {
    let packets = packets(FIXTURE);
    let expected = replay(&classic(&packets), &engines(1));
    let frames = ipv4(&packets);
    for size in [64, 176] {
        let mut fragments = fragmented(&frames, size);
        let further = (fragments.len() - frames.len()) as u64;
        let mut chance = Chance::new(3);
        for _swap in 0..200 {
            let place = chance.below(fragments.len() - 1);
            if fragments[place].at == fragments[place + 1].at {
                fragments.swap(place, place + 1);
            }
        }
        let report = replay(&pcap(Order::Little, false, RAW, &fragments), &engines(1));
        assert_eq!(report.unread["joined_fragment"], further);
        assert_eq!(plain(report), plain(expected.clone()));
    }
    // Also within a tunnel, and a tunnel's own packets.
    let inner = over_udp(
        &linked(&fragmented(&frames, 64), &ethernet(0x0800), &[]),
        4789,
        &[8, 0, 0, 0, 0, 0, 1, 0],
    );
    let outer = fragmented(&over_ip(&frames, 47, &[0, 0, 8, 0]), 160);
    for frames in [inner, outer] {
        let report = replay(&pcap(Order::Little, false, RAW, &frames), &engines(1));
        assert_eq!(plain(report), plain(expected.clone()));
    }
}

#[test]
fn fragments_of_ipv6_are_put_together() {
    let packets = packets(FIXTURE);
    let frames = ipv6(&packets);
    let expected = replay(&pcap(Order::Little, false, RAW, &frames), &engines(1));
    let mut fragments = Vec::new();
    for (n, frame) in (1u32..).zip(&frames) {
        // The hop-by-hop header stays before the fragment's.
        let (head, body) = frame.bytes.split_at(48);
        for (place, part) in body.chunks(104).enumerate() {
            let is_last = (place + 1) * 104 >= body.len();
            let mut bytes = head.to_vec();
            bytes[4..6].copy_from_slice(&u16::try_from(16 + part.len()).unwrap().to_be_bytes());
            bytes[40] = 44;
            let place = u16::try_from(place * 104).unwrap() | u16::from(!is_last);
            bytes.extend([17, 0]);
            bytes.extend(place.to_be_bytes());
            bytes.extend(n.to_be_bytes());
            bytes.extend(part);
            fragments.push(Frame {
                at: frame.at,
                bytes,
            });
        }
    }
    let further = (fragments.len() - frames.len()) as u64;
    let report = replay(&pcap(Order::Little, false, RAW, &fragments), &engines(1));
    assert_eq!(report.unread["joined_fragment"], further);
    assert_eq!(plain(report), plain(expected));
}

#[test]
fn a_datagram_with_a_part_missing_is_lost_and_its_parts_are_counted() {
    let packets = packets(FIXTURE);
    let mut fragments = fragmented(&ipv4(&packets), 96);
    fragments.remove(41);
    let bytes = pcap(Order::Little, false, RAW, &fragments);
    let report = replay(&bytes, &engines(1));
    assert_eq!(report.unread["fragment"], 1);
    assert_eq!(report.flows[0].stats.lost, 1);
    fuzz::capture(&bytes);
}

#[test]
fn packets_that_are_cut_off_are_named_and_the_program_fails() {
    let packets = packets(FIXTURE);
    let frames: Vec<_> = linked(&ipv4(&packets), &ethernet(0x0800), &[])
        .into_iter()
        .map(|mut frame| {
            frame.bytes.truncate(96);
            frame
        })
        .collect();
    let cut = file(&pcap(Order::Little, false, ETHERNET, &frames));
    for format in ["text", "json"] {
        let output = program(cut.path(), format);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.contains("no RTP was found: of 368 packets 366 cut_off"),
            "{stderr}"
        );
        assert!(stderr.contains("tcpdump -s 0"), "{stderr}");
    }
    let output = program(cut.path(), "json");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Two frames were short enough.
    assert_eq!(report["unread"]["cut_off"], 366);
    assert_eq!(report["unread"]["rtp_out_of_sequence"], 2);
}

#[test]
fn what_is_not_opened_is_named_with_its_count() {
    let frames = ipv4(&packets(FIXTURE)[..50]);
    for (name, frames, link) in [
        ("tunnel_esp", over_ip(&frames, 50, &[0; 8]), RAW),
        ("tunnel_gre", over_ip(&frames, 47, &[0x40, 0, 8, 0]), RAW),
        (
            "tunnel_tzsp",
            over_udp(&frames, 37008, &[1, 0, 0, 18, 1]),
            RAW,
        ),
        (
            "tunnel_vxlan_gpe",
            over_udp(&frames, 4790, &[0x0c, 0, 0, 4, 0, 0, 100, 0]),
            RAW,
        ),
        (
            "tunnel_geneve",
            over_udp(&frames, 6081, &[0, 0, 0x89, 0x4f, 0, 0, 100, 0]),
            RAW,
        ),
        (
            "tunnel_gtp",
            over_udp(&frames, 2152, &[0x32, 1, 0, 4, 0, 0, 0, 0]),
            RAW,
        ),
        (
            "tunnel_l2tp",
            over_udp(&frames, 1701, &[0x40, 2, 0, 99, 0, 1, 0, 1]),
            RAW,
        ),
        (
            "not_ip",
            over_udp(
                &linked(&frames, &ethernet(0x0806), &[]),
                4789,
                &[0x88, 0, 0, 9, 0, 0, 100, 0],
            ),
            RAW,
        ),
        ("udp_stun", over_udp(&frames, 6081, &STUN), RAW),
        ("udp_stun", over_udp(&frames, 4789, &STUN), RAW),
        ("tcp", over_ip(&frames, 6, &[0; 20]), RAW),
        ("icmp", over_ip(&frames, 1, &[0; 8]), RAW),
        ("ip_protocol_132", over_ip(&frames, 132, &[0; 8]), RAW),
        ("not_ip", linked(&frames, &ethernet(0x0806), &[]), ETHERNET),
        ("link_layer_147", frames.clone(), 147),
        ("udp_stun", over_udp(&frames, 3478, &[0, 1]), RAW),
        ("udp_rtcp", over_udp(&frames, 3478, &[0x80, 200]), RAW),
    ] {
        let bytes = pcap(Order::Little, false, link, &frames);
        let report = replay(&bytes, &engines(1));
        let unread: Vec<_> = report.unread.clone().into_iter().collect();
        assert_eq!(unread, [(name.to_owned(), 50)]);
        let told = report.heard_nothing().unwrap();
        assert!(told.contains(&format!("of 50 packets 50 {name}")), "{told}");
        fuzz::capture(&bytes);
    }
    let nested = (0..40).fold(frames, |frames, _| over_ip(&frames, 4, &[]));
    let report = replay(&pcap(Order::Little, false, RAW, &nested), &engines(1));
    assert_eq!(report.unread["too_deep"], 50);
}

#[test]
fn the_same_packets_behind_another_address_are_one_leg() {
    let packets = packets(FIXTURE);
    let expected = replay(&classic(&packets), &engines(1));
    let mut both = Vec::new();
    for packet in &packets {
        both.push(packet.clone());
        let mut behind = packet.clone();
        behind.at += std::time::Duration::from_micros(300);
        behind.destination.set_port(7);
        both.push(behind);
    }
    let report = replay(&classic(&both), &engines(1));
    assert_eq!(report.flows[0].copies[0].packets, 368);
    assert_eq!(report.flows[0].copies[0].to, "127.0.0.1:7");
    assert_eq!(report.lines, expected.lines);
    assert_eq!(report.flows[0].stats, expected.flows[0].stats);
    assert!(
        report
            .to_text()
            .contains("127.0.0.1:7: 368 packets, the same")
    );

    // A mirrored port: the very same packets.
    let twice: Vec<_> = packets
        .iter()
        .flat_map(|p| [p.clone(), p.clone()])
        .collect();
    let report = replay(&classic(&twice), &engines(1));
    assert_eq!(report.lines, expected.lines);
    assert!(
        report.notes[0].contains("more than once"),
        "{:?}",
        report.notes
    );
}

#[test]
fn a_number_that_never_counts_is_said() {
    let mut packets = packets(FIXTURE);
    for packet in &mut packets {
        packet.payload[2..4].copy_from_slice(&[0x12, 0x34]);
    }
    let still = file(&classic(&packets));
    let output = program(still.path(), "text");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.contains("368 packets look like RTP, but their sequence number never counts"),
        "{stderr}"
    );
    assert!(stderr.contains("368 rtp_number_stuck"), "{stderr}");
}

#[test]
fn any_change_to_a_carrier_is_harmless() {
    let frames = ipv4(&packets(FIXTURE)[..60]);
    let framed = linked(&frames, &ethernet(0x0800), &[]);
    let seeds = [
        fragmented(&frames, 64),
        over_ip(
            &framed,
            47,
            &[
                0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 9, 9, 9, 9,
                9, 9, 9, 9,
            ],
        ),
        over_udp(&framed, 4789, &[8, 0, 0, 0, 0, 0, 1, 0]),
        over_udp(&framed, 37008, &[1, 0, 0, 1, 0, 0x0a, 1, 5, 1]),
        over_udp(&framed, 8472, &[0x88, 0x48, 0, 9, 0, 0, 1, 0]),
        over_udp(&framed, 6081, &[1, 0, 0x65, 0x58, 0, 0, 100, 0, 9, 9, 9, 9]),
    ];
    let mut chance = Chance::new(11);
    for case in 0..400 {
        let mut frames = seeds[case % seeds.len()].clone();
        for frame in &mut frames {
            if chance.percent(30) {
                let place = chance.below(frame.bytes.len().min(80));
                frame.bytes[place] = chance.below(256) as u8;
            }
            if chance.percent(5) {
                let length = chance.below(frame.bytes.len());
                frame.bytes.truncate(length);
            }
        }
        let bytes = pcap(Order::Little, false, RAW, &frames);
        assert_eq!(parse(&bytes).packets, frames.len() as u64);
        fuzz::capture(&bytes);
    }
}
