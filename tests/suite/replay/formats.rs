//! Writes captures in every format and on every link layer that the replay
//! reads, byte by byte as their specifications have it.

use std::net::Ipv6Addr;
use std::time::Duration;

use asterscribe_testkit::pcap::Packet;

use crate::replay::rig::classic;

/// Length of a file's header, behind which the first record begins.
pub(crate) const CLASSIC_HEADER: usize = 24;
const CLASSIC_RECORD: usize = 16;

/// A captured frame of any link layer.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Time since the Unix epoch.
    pub(crate) at: Duration,
    /// Bytes that were captured of the frame.
    pub(crate) bytes: Vec<u8>,
}

/// The packets as bare IPv4 with UDP, as the kit writes them.
pub(crate) fn ipv4(packets: &[Packet]) -> Vec<Frame> {
    let file = classic(packets);
    let mut rest = &file[CLASSIC_HEADER..];
    let mut frames = Vec::new();
    for packet in packets {
        let length = usize::from(u16::from_be_bytes([
            rest[CLASSIC_RECORD + 2],
            rest[CLASSIC_RECORD + 3],
        ]));
        let (record, tail) = rest.split_at(CLASSIC_RECORD + length);
        frames.push(Frame {
            at: packet.at,
            bytes: record[CLASSIC_RECORD..].to_vec(),
        });
        rest = tail;
    }
    frames
}

/// The packets as bare IPv6 (RFC 8200) with UDP, behind a hop-by-hop header of padding.
pub(crate) fn ipv6(packets: &[Packet]) -> Vec<Frame> {
    let framed = |packet: &Packet| {
        let udp_length = u16::try_from(8 + packet.payload.len()).expect("a small datagram");
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend((8 + udp_length).to_be_bytes());
        bytes.extend([0, 64]);
        bytes.extend(Ipv6Addr::LOCALHOST.octets());
        bytes.extend(Ipv6Addr::LOCALHOST.octets());
        bytes.extend([17, 0, 1, 4, 0, 0, 0, 0]);
        bytes.extend(packet.source.port().to_be_bytes());
        bytes.extend(packet.destination.port().to_be_bytes());
        bytes.extend(udp_length.to_be_bytes());
        // The checksum is not looked at: network cards fill it in after the capture.
        bytes.extend([0, 0]);
        bytes.extend(&packet.payload);
        Frame {
            at: packet.at,
            bytes,
        }
    };
    packets.iter().map(framed).collect()
}

/// Puts a header of the link layer before each frame of IP, and a trailer behind it.
pub(crate) fn linked(frames: &[Frame], header: &[u8], trailer: &[u8]) -> Vec<Frame> {
    let wrapped = |frame: &Frame| Frame {
        at: frame.at,
        bytes: [header, &frame.bytes, trailer].concat(),
    };
    frames.iter().map(wrapped).collect()
}

/// A link layer: its name, its LINKTYPE, what precedes and what follows the IP packet.
pub(crate) struct Link {
    pub(crate) name: &'static str,
    pub(crate) number: u32,
    pub(crate) header: Vec<u8>,
    pub(crate) trailer: Vec<u8>,
}

/// Every link layer for IP with this EtherType and these numbers of the address family.
pub(crate) fn links(ether_type: u16, bare: u32, family: u8) -> Vec<Link> {
    let kind = ether_type.to_be_bytes();
    let link = |name, number, header: &[&[u8]], trailer: &[u8]| Link {
        name,
        number,
        header: header.concat(),
        trailer: trailer.to_vec(),
    };
    let addresses: &[u8] = &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    let mut links = vec![
        link("raw", 101, &[], &[]),
        link("raw of OpenBSD", 14, &[], &[]),
        link("raw of BSD", 12, &[], &[]),
        link("bare IP", bare, &[], &[]),
        link("Ethernet", 1, &[addresses, &kind], &[]),
        link(
            "Ethernet with its check sequence",
            1,
            &[addresses, &kind],
            &[1, 2, 3, 4],
        ),
        link("VLAN", 1, &[addresses, &[0x81, 0, 0, 7], &kind], &[]),
        link(
            "VLAN in VLAN",
            1,
            &[addresses, &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 8], &kind],
            &[],
        ),
        link("null, little-endian", 0, &[&[family, 0, 0, 0]], &[]),
        link("null, big-endian", 0, &[&[0, 0, 0, family]], &[]),
        link("loop", 108, &[&[0, 0, 0, family]], &[]),
    ];
    // Hardware as Linux numbers it: Ethernet, PPP, loopback, none (tunnels).
    for (name, hardware) in [
        ("Ethernet", 1u16),
        ("PPP", 512),
        ("lo", 772),
        ("tun", 0xfffe),
    ] {
        let hardware = hardware.to_be_bytes();
        let (v1, v2): (&[u8], &[u8]) = (
            &[&[0, 0][..], &hardware, &[0, 6, 2, 0, 0, 0, 0, 1, 0, 0]].concat(),
            &[
                &[0, 0, 0, 0, 0, 3][..],
                &hardware,
                &[0, 6, 2, 0, 0, 0, 0, 1, 0, 0],
            ]
            .concat(),
        );
        links.push(link(name, 113, &[v1, &kind], &[]));
        links.push(link(name, 276, &[&kind, v2], &[]));
    }
    links
}

/// Byte order of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    fn half(self, number: u16) -> [u8; 2] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }

    fn word(self, number: u32) -> [u8; 4] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }

    fn double(self, number: u64) -> [u8; 8] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }
}

/// A classic capture file (draft-ietf-opsawg-pcap); `nanoseconds` or microseconds.
pub(crate) fn pcap(order: Order, nanoseconds: bool, link: u32, frames: &[Frame]) -> Vec<u8> {
    let magic = if nanoseconds {
        0xa1b2_3c4d
    } else {
        0xa1b2_c3d4
    };
    let mut file = order.word(magic).to_vec();
    file.extend([order.half(2), order.half(4)].as_flattened());
    file.extend(
        [0, 0, 0xffff, link]
            .map(|field| order.word(field))
            .as_flattened(),
    );
    for frame in frames {
        let seconds = u32::try_from(frame.at.as_secs()).expect("this century");
        let fraction = if nanoseconds {
            frame.at.subsec_nanos()
        } else {
            frame.at.subsec_micros()
        };
        let length = u32::try_from(frame.bytes.len()).expect("a small frame");
        let record = [seconds, fraction, length, length];
        file.extend(record.map(|field| order.word(field)).as_flattened());
        file.extend(&frame.bytes);
    }
    file
}

/// A pcapng file (draft-ietf-opsawg-pcapng), block by block.
#[derive(Debug, Clone)]
pub(crate) struct Pcapng {
    pub(crate) order: Order,
    pub(crate) bytes: Vec<u8>,
    /// Offsets at which the blocks end.
    pub(crate) ends: Vec<usize>,
}

/// Clock of an interface: unit and offset of its times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// The option `if_tsresol`, a negative power of ten; `None` leaves it out: microseconds.
    pub(crate) digits: Option<u8>,
    /// The option `if_tsoffset`, in seconds; 0 leaves it out.
    pub(crate) offset: u64,
}

impl Clock {
    fn units(self, at: Duration) -> u64 {
        let digits = u32::from(self.digits.unwrap_or(6));
        let since = (at - Duration::from_secs(self.offset)).as_nanos();
        u64::try_from(since / 10u128.pow(9 - digits)).expect("64 bits of nanoseconds")
    }
}

impl Pcapng {
    /// A file that begins with a section in this byte order.
    pub(crate) fn new(order: Order) -> Self {
        let mut file = Self {
            order,
            bytes: Vec::new(),
            ends: Vec::new(),
        };
        file.section(order);
        file
    }

    /// A new section: other byte order, no interfaces yet.
    pub(crate) fn section(&mut self, order: Order) {
        self.order = order;
        let mut body = order.word(0x1a2b_3c4d).to_vec();
        body.extend([order.half(1), order.half(0)].as_flattened());
        body.extend(order.double(u64::MAX));
        body.extend(self.option(4, b"a test"));
        body.extend(self.option(0, b""));
        self.block(0x0a0d_0d0a, &body);
    }

    /// An interface; the first of a section has number 0.
    pub(crate) fn interface(&mut self, link: u16, clock: Clock) {
        let order = self.order;
        let mut body = [order.half(link), order.half(0)].concat();
        body.extend(order.word(0));
        body.extend(self.option(2, b"eth0"));
        if let Some(digits) = clock.digits {
            body.extend(self.option(9, &[digits]));
        }
        if clock.offset != 0 {
            body.extend(self.option(14, &order.double(clock.offset)));
        }
        body.extend(self.option(0, b""));
        self.block(1, &body);
    }

    /// A packet of that interface, with a comment.
    pub(crate) fn packet(&mut self, interface: u32, clock: Clock, frame: &Frame) {
        let order = self.order;
        let units = clock.units(frame.at);
        let length = u32::try_from(frame.bytes.len()).expect("a small frame");
        let (high, low) = ((units >> 32) as u32, units as u32);
        let mut body = [interface, high, low, length, length]
            .map(|field| order.word(field))
            .concat();
        body.extend(&frame.bytes);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(self.option(1, b"a comment"));
        body.extend(self.option(0, b""));
        self.block(6, &body);
    }

    /// A block of any type; its body is padded to whole words.
    pub(crate) fn block(&mut self, kind: u32, body: &[u8]) {
        let padded = body.len().next_multiple_of(4);
        let length = self
            .order
            .word(u32::try_from(12 + padded).expect("a small block"));
        self.bytes.extend(self.order.word(kind));
        self.bytes.extend(length);
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len() + padded - body.len(), 0);
        self.bytes.extend(length);
        self.ends.push(self.bytes.len());
    }

    fn option(&self, code: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).expect("a small option");
        let mut option = [self.order.half(code), self.order.half(length)].concat();
        option.extend(value);
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }
}
