//! RTP within tunnels and behind tags.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use asterscribe::replay::fuzz;

use crate::replay::formats::{Frame, Order, ipv4, linked, pcap};
use crate::replay::rig::{classic, engines, packets, replay};

pub(crate) const FIXTURE: &str = "asterisk22_alaw_stasis";

pub(crate) const RAW: u32 = 101;
pub(crate) const ETHERNET: u32 = 1;

/// Ethernet's addresses, then its type.
pub(crate) fn ethernet(kind: u16) -> Vec<u8> {
    [
        &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..],
        &kind.to_be_bytes(),
    ]
    .concat()
}

/// IPv4's header before so many bytes of that protocol. Checksums are not looked at.
fn ip(protocol: u8, length: usize) -> Vec<u8> {
    let total = u16::try_from(20 + length).unwrap().to_be_bytes();
    let mut header = vec![0x45, 0, total[0], total[1], 0, 7, 0, 0, 64, protocol, 0, 0];
    header.extend([198, 51, 100, 1, 198, 51, 100, 2]);
    header
}

fn udp(port: u16, length: usize) -> Vec<u8> {
    let length = u16::try_from(8 + length).unwrap();
    [40_000, port, length, 0].map(u16::to_be_bytes).concat()
}

/// The beginning of a message of STUN (RFC 8489, section 5).
pub(crate) const STUN: [u8; 20] = [
    0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
];

/// The frames, each behind what `head` makes for its length.
fn behind(frames: &[Frame], head: impl Fn(usize) -> Vec<u8>) -> Vec<Frame> {
    let wrapped = |frame: &Frame| Frame {
        at: frame.at,
        bytes: [&head(frame.bytes.len())[..], &frame.bytes].concat(),
    };
    frames.iter().map(wrapped).collect()
}

/// A tunnel within IP: its protocol, and its own header.
pub(crate) fn over_ip(frames: &[Frame], protocol: u8, header: &[u8]) -> Vec<Frame> {
    behind(frames, |length| {
        [ip(protocol, header.len() + length), header.to_vec()].concat()
    })
}

pub(crate) fn over_udp(frames: &[Frame], port: u16, header: &[u8]) -> Vec<Frame> {
    behind(frames, |length| {
        let inner = header.len() + length;
        [ip(17, 8 + inner), udp(port, inner), header.to_vec()].concat()
    })
}

/// A tunnel over UDP whose header says how long its content is.
fn over_udp_with(frames: &[Frame], port: u16, header: impl Fn(u16) -> Vec<u8>) -> Vec<Frame> {
    behind(frames, |length| {
        let header = header(u16::try_from(length).unwrap());
        let inner = header.len() + length;
        [ip(17, 8 + inner), udp(port, inner), header].concat()
    })
}

#[test]
fn tunnels_and_tags_give_the_same_report() {
    let packets = packets(FIXTURE);
    let expected = replay(&classic(&packets), &engines(1));
    let bare = ipv4(&packets);
    let framed = linked(&bare, &ethernet(0x0800), &[]);
    let vxlan = [8, 0, 0, 0, 0, 0, 100, 0];
    let raw = [
        ("IP in IP", over_ip(&bare, 4, &[])),
        ("GRE", over_ip(&bare, 47, &[0, 0, 8, 0])),
        (
            "GRE with checksum, key and number",
            over_ip(
                &bare,
                47,
                &[0xb0, 0, 8, 0, 1, 2, 0, 0, 0, 0, 0, 5, 0, 0, 0, 9],
            ),
        ),
        (
            "GRE with Ethernet",
            over_ip(&framed, 47, &[0, 0, 0x65, 0x58]),
        ),
        (
            "PPTP",
            over_ip(
                &bare,
                47,
                &[
                    0x30, 0x81, 0x88, 0x0b, 0, 9, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 3, 0x21,
                ],
            ),
        ),
        ("ERSPAN I", over_ip(&framed, 47, &[0, 0, 0x88, 0xbe])),
        (
            "ERSPAN II",
            over_ip(
                &framed,
                47,
                &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 1, 0, 2, 0, 0, 0, 3],
            ),
        ),
        (
            "ERSPAN III",
            over_ip(
                &framed,
                47,
                &[
                    0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0,
                ],
            ),
        ),
        (
            "ERSPAN III with its subheader",
            over_ip(
                &framed,
                47,
                &[
                    0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 9, 9,
                    9, 9, 9, 9, 9, 9,
                ],
            ),
        ),
        ("VXLAN", over_udp(&framed, 4789, &vxlan)),
        ("VXLAN of Linux", over_udp(&framed, 8472, &vxlan)),
        (
            "VXLAN-GPE",
            over_udp(&bare, 4790, &[12, 0, 0, 1, 0, 0, 100, 0]),
        ),
        (
            "Geneve with an option",
            over_udp(&framed, 6081, &[1, 0, 0x65, 0x58, 0, 0, 100, 0, 9, 9, 9, 9]),
        ),
        // The reserved bits are ignored on receipt (RFC 7348, section 5; RFC 8926, section 3.4).
        (
            "VXLAN with a group policy",
            over_udp(&framed, 4789, &[0x88, 0, 0, 9, 0, 0, 100, 0]),
        ),
        (
            "VXLAN with a policy applied, of Linux",
            over_udp(&framed, 8472, &[0x88, 0x48, 0x12, 0x34, 0, 0, 100, 0]),
        ),
        (
            "VXLAN with reserved bits",
            over_udp(&framed, 4789, &[0xff, 0xff, 0xff, 0xff, 0, 0, 100, 0xff]),
        ),
        (
            "VXLAN whose header names nothing, on the extension's port",
            over_udp(&framed, 4790, &[8, 0, 0, 0, 0, 0, 100, 0]),
        ),
        (
            "VXLAN-GPE with Ethernet and reserved bits",
            over_udp(&framed, 4790, &[0x8c, 1, 0, 3, 0, 0, 100, 0]),
        ),
        (
            "VXLAN-GPE with reserved bits",
            over_udp(&bare, 4790, &[0x8c, 0, 1, 1, 0, 0, 100, 7]),
        ),
        (
            "Geneve with IP and reserved bits",
            over_udp(&bare, 6081, &[0, 0x7f, 8, 0, 0, 0, 100, 9]),
        ),
        (
            "GTP-U",
            over_udp_with(&bare, 2152, |length| {
                [&[0x30, 255][..], &u16::to_be_bytes(length), &[0, 0, 0, 7]].concat()
            }),
        ),
        (
            "GTP-U with a number and the header of 5G's sessions",
            over_udp_with(&bare, 2152, |length| {
                let fields = [0, 0, 0, 7, 0, 1, 0, 0x85, 1, 0, 1, 0];
                [&[0x36, 255][..], &u16::to_be_bytes(8 + length), &fields].concat()
            }),
        ),
        (
            "TZSP with tags",
            over_udp(&framed, 37008, &[1, 0, 0, 1, 0, 0x0a, 1, 5, 1]),
        ),
        (
            "VXLAN in GRE",
            over_ip(&over_udp(&framed, 4789, &vxlan), 47, &[0, 0, 8, 0]),
        ),
        (
            "authenticated",
            over_ip(&bare, 51, &[4, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
        ),
    ];
    for (name, frames) in raw {
        let report = replay(&pcap(Order::Little, false, RAW, &frames), &engines(1));
        assert_eq!(report, expected, "{name}");
    }
    let pppoe = |length: usize| {
        let length = u16::try_from(length + 2).unwrap().to_be_bytes();
        [
            &ethernet(0x8864)[..],
            &[0x11, 0, 0, 7, length[0], length[1], 0, 0x21],
        ]
        .concat()
    };
    let on_ethernet = [
        ("PPPoE", behind(&bare, pppoe)),
        (
            "MPLS",
            linked(
                &bare,
                &[&ethernet(0x8847)[..], &[0, 1, 0, 64, 0, 2, 1, 64]].concat(),
                &[],
            ),
        ),
        (
            "Ethernet over MPLS",
            linked(
                &framed,
                &[&ethernet(0x8847)[..], &[0, 1, 1, 64, 0, 0, 0, 0]].concat(),
                &[],
            ),
        ),
        (
            "SNAP",
            linked(
                &bare,
                &[&ethernet(300)[..], &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0]].concat(),
                &[],
            ),
        ),
        (
            "three tags",
            linked(
                &bare,
                &[
                    &ethernet(0x88a8)[..],
                    &[0, 1, 0x91, 0, 0, 2, 0x81, 0, 0, 3, 8, 0],
                ]
                .concat(),
                &[],
            ),
        ),
    ];
    for (name, frames) in on_ethernet {
        let bytes = pcap(Order::Little, false, ETHERNET, &frames);
        assert_eq!(replay(&bytes, &engines(1)), expected, "{name}");
        fuzz::capture(&bytes);
    }
}

#[test]
fn a_payload_on_a_tunnel_s_port_is_still_media() {
    for port in [4789, 8472, 4790, 6081, 2152, 1701] {
        // With eight sources that contribute, too: then the first byte has the bit of VXLAN.
        for sources in [0, 8, 15] {
            let mut packets = packets(FIXTURE);
            for packet in &mut packets {
                packet.destination.set_port(port);
                packet.payload[0] |= sources;
                let list = vec![7; 4 * usize::from(sources)];
                packet.payload.splice(12..12, list);
            }
            let report = replay(&classic(&packets), &engines(1));
            let heard = (report.flows.len(), report.lines.len());
            assert_eq!(heard, (1, 3), "{port} {sources}");
        }
    }
}
