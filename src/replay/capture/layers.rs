//! Layers of a captured frame: from the link layer through tags and tunnels down to UDP, TCP or a
//! fragment of either; or the reason why nothing of it is read.

mod tunnels;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::unread::UnreadReason;

/// Headers of IP and Ethernet within each other; no network nests as many.
const MAX_DEPTH: u8 = 12;

/// The content of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameContent<'a> {
    /// A whole UDP datagram.
    Udp {
        from: SocketAddr,
        to: SocketAddr,
        payload: &'a [u8],
    },
    /// A segment of TCP: no media, but perhaps signalling.
    Tcp(&'a [u8]),
    /// A part of an IP packet.
    Fragment(IpFragment<'a>),
}

/// A part of an IP packet (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IpFragment<'a> {
    pub(super) of: FragmentedPacket,
    /// Offset in the packet, octets.
    pub(super) offset: usize,
    /// Whether further fragments follow (the More Fragments flag).
    pub(super) more: bool,
    pub(super) bytes: &'a [u8],
}

/// Identity of the IP packet that a fragment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FragmentedPacket {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) id: u32,
    /// Protocol that the packet carries, by its IP protocol number.
    pub(super) protocol: u8,
}

type LayerResult<'a> = Result<FrameContent<'a>, UnreadReason>;

/// Linux cooked headers end (version 1) or begin (version 2) with the EtherType
/// of what follows; of the hardware they were captured on nothing is needed.
const SLL_HEADER: usize = 16;
const SLL2_HEADER: usize = 20;

/// Content of a frame of the link layer `link` (its LINKTYPE number).
pub(super) fn open(link: i32, data: &[u8]) -> LayerResult<'_> {
    let at = MAX_DEPTH;
    match link {
        1 => ethernet(data, at),
        // Four bytes of address family in the capturing machine's byte order, then IP.
        0 | 108 => ip(rest(data, 4)?, at),
        9 | 50 => ppp(data, at),
        12 | 14 | 101 | 228 | 229 => ip(data, at),
        51 => pppoe(data, at),
        // Address and control of Cisco's HDLC, then an EtherType.
        104 => ether_type(half(data, 2)?, rest(data, 4)?, at),
        113 => ether_type(half(data, SLL_HEADER - 2)?, rest(data, SLL_HEADER)?, at),
        276 => ether_type(half(data, 0)?, rest(data, SLL2_HEADER)?, at),
        other => Err(UnreadReason::LinkLayer(other)),
    }
}

/// Content of a packet that was put together from fragments.
pub(super) fn reassembled(of: FragmentedPacket, data: &[u8]) -> LayerResult<'_> {
    transport(of.source, of.destination, of.protocol, data, MAX_DEPTH)
}

fn ethernet(data: &[u8], depth: u8) -> LayerResult<'_> {
    ether_type(half(data, 12)?, rest(data, 14)?, deeper(depth)?)
}

fn ether_type(kind: u16, data: &[u8], depth: u8) -> LayerResult<'_> {
    match kind {
        0x0800 if first(data)? >> 4 == 4 => ip(data, depth),
        0x86dd if first(data)? >> 4 == 6 => ip(data, depth),
        0x0800 | 0x86dd => Err(UnreadReason::Malformed),
        // Tags of a VLAN (IEEE 802.1Q, 802.1ad and the numbers before it).
        0x8100 | 0x88a8 | 0x9100 | 0x9200 => {
            ether_type(half(data, 2)?, rest(data, 4)?, deeper(depth)?)
        }
        0x8847 | 0x8848 => mpls(data, depth),
        0x8864 => pppoe(data, depth),
        0x880b => ppp(data, depth),
        0x6558 => ethernet(data, depth),
        // A length instead, and the EtherType behind a SNAP header.
        0..=1500 if data.starts_with(&[0xaa, 0xaa, 3, 0, 0, 0]) => {
            ether_type(half(data, 6)?, rest(data, 8)?, deeper(depth)?)
        }
        _ => Err(UnreadReason::NotIp),
    }
}

/// Labels (RFC 3032), then whatever their makers agreed on: IP, or Ethernet with or
/// without a control word before it (RFC 4448).
fn mpls(data: &[u8], depth: u8) -> LayerResult<'_> {
    let mut data = data;
    while half(data, 2)? & 0x0100 == 0 {
        data = rest(data, 4)?;
    }
    let data = rest(data, 4)?;
    match first(data)? >> 4 {
        4 | 6 => ip(data, depth),
        0 => ethernet(rest(data, 4)?, depth),
        _ => ethernet(data, depth),
    }
}

/// A PPPoE session (RFC 2516).
fn pppoe(data: &[u8], depth: u8) -> LayerResult<'_> {
    match half(data, 0)? {
        0x1100 => ppp(rest(data, 6)?, depth),
        _ => Err(UnreadReason::NotIp),
    }
}

/// PPP with or without HDLC's address and control, its protocol number in one or
/// two bytes (RFC 1661, RFC 1662).
fn ppp(data: &[u8], depth: u8) -> LayerResult<'_> {
    let data = data.strip_prefix(&[0xff, 3]).unwrap_or(data);
    let (protocol, data) = match first(data)? {
        short if short & 1 == 1 => (short.into(), rest(data, 1)?),
        _ => (half(data, 0)?, rest(data, 2)?),
    };
    match protocol {
        0x0021 | 0x0057 => ip(data, deeper(depth)?),
        0x0281 => mpls(data, deeper(depth)?),
        _ => Err(UnreadReason::NotIp),
    }
}

fn ip(data: &[u8], depth: u8) -> LayerResult<'_> {
    let depth = deeper(depth)?;
    match first(data)? >> 4 {
        4 => ipv4(data, depth),
        6 => ipv6(data, depth),
        _ => Err(UnreadReason::Malformed),
    }
}

fn ipv4(data: &[u8], depth: u8) -> LayerResult<'_> {
    let head: &[u8; 20] = data.first_chunk().ok_or(UnreadReason::CutOff)?;
    let header = usize::from(head[0] & 0x0f) * 4;
    let length = usize::from(half(head, 2)?);
    if header < head.len() || length < header {
        return Err(UnreadReason::Malformed);
    }
    let body = data.get(header..length).ok_or(UnreadReason::CutOff)?;
    let address = |at: usize| {
        let [a, b, c, d] = [head[at], head[at + 1], head[at + 2], head[at + 3]];
        IpAddr::from(Ipv4Addr::new(a, b, c, d))
    };
    let (source, destination, protocol) = (address(12), address(16), head[9]);
    let place = half(head, 6)?;
    let (more, offset) = (place & 0x2000 != 0, usize::from(place & 0x1fff) * 8);
    if more || offset > 0 {
        let of = FragmentedPacket {
            source,
            destination,
            id: half(head, 4)?.into(),
            protocol,
        };
        return Ok(FrameContent::Fragment(IpFragment {
            of,
            offset,
            more,
            bytes: body,
        }));
    }
    transport(source, destination, protocol, body, depth)
}

fn ipv6(data: &[u8], depth: u8) -> LayerResult<'_> {
    let head: &[u8; 40] = data.first_chunk().ok_or(UnreadReason::CutOff)?;
    let length = usize::from(half(head, 4)?);
    let body = rest(data, head.len())?;
    // A jumbogram has its length elsewhere; it is all that there is.
    let body = match length {
        0 => body,
        _ => body.get(..length).ok_or(UnreadReason::CutOff)?,
    };
    let address = |at: usize| {
        let bytes: [u8; 16] = head[at..at + 16].try_into().expect("sixteen bytes");
        IpAddr::from(Ipv6Addr::from(bytes))
    };
    let (source, destination) = (address(8), address(24));
    let (mut next, mut body) = (head[6], body);
    loop {
        match next {
            // Hop-by-hop options, routing, destination options.
            0 | 43 | 60 => {
                let length = (usize::from(byte(body, 1)?) + 1) * 8;
                (next, body) = (first(body)?, rest(body, length)?);
            }
            44 => {
                let place = half(body, 2)?;
                let id = u32::from(half(body, 4)?) << 16 | u32::from(half(body, 6)?);
                let (protocol, bytes) = (first(body)?, rest(body, 8)?);
                let of = FragmentedPacket {
                    source,
                    destination,
                    id,
                    protocol,
                };
                return Ok(FrameContent::Fragment(IpFragment {
                    of,
                    offset: usize::from(place & 0xfff8),
                    more: place & 1 == 1,
                    bytes,
                }));
            }
            _ => return transport(source, destination, next, body, depth),
        }
    }
}

fn transport(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    data: &[u8],
    depth: u8,
) -> LayerResult<'_> {
    match protocol {
        1 | 58 => Err(UnreadReason::Icmp),
        4 | 41 => ip(data, depth),
        6 => {
            let header = usize::from(byte(data, 12)? >> 4) * 4;
            Ok(FrameContent::Tcp(rest(data, header.max(20))?))
        }
        17 => udp(source, destination, data, depth),
        47 => gre(data, depth),
        50 => Err(UnreadReason::Tunnel("esp")),
        // An authentication header counts its length in words, less two (RFC 4302).
        51 => {
            let length = (usize::from(byte(data, 1)?) + 2) * 4;
            let depth = deeper(depth)?;
            transport(
                source,
                destination,
                first(data)?,
                rest(data, length)?,
                depth,
            )
        }
        115 => Err(UnreadReason::Tunnel("l2tpv3")),
        137 => mpls(data, depth),
        other => Err(UnreadReason::IpProtocol(other)),
    }
}

fn udp(source: IpAddr, destination: IpAddr, data: &[u8], depth: u8) -> LayerResult<'_> {
    let (from, to) = (half(data, 0)?, half(data, 2)?);
    let payload = match usize::from(half(data, 4)?) {
        0 => rest(data, 8)?,
        length if length < 8 => return Err(UnreadReason::Malformed),
        length => data.get(8..length).ok_or(UnreadReason::CutOff)?,
    };
    if let Some(found) = tunnels::open(to, payload, depth) {
        return found;
    }
    Ok(FrameContent::Udp {
        from: SocketAddr::new(source, from),
        to: SocketAddr::new(destination, to),
        payload,
    })
}

/// GRE (RFC 2784, RFC 2890), with what is put into it: IP, Ethernet, MPLS, a mirrored
/// port (ERSPAN), and PPP in the version of PPTP (RFC 2637).
fn gre(data: &[u8], depth: u8) -> LayerResult<'_> {
    let (flags, protocol) = (half(data, 0)?, half(data, 2)?);
    let (checksum, routing, key, numbered) = (
        flags & 0x8000 != 0,
        flags & 0x4000 != 0,
        flags & 0x2000 != 0,
        flags & 0x1000 != 0,
    );
    let words = match flags & 7 {
        0 if !routing => usize::from(checksum) + usize::from(key) + usize::from(numbered),
        1 => 1 + usize::from(numbered) + usize::from(flags & 0x80 != 0),
        _ => return Err(UnreadReason::Tunnel("gre")),
    };
    let inner = rest(data, 4 + 4 * words)?;
    match protocol {
        // Type I has no header of its own, type II one of 8 bytes.
        0x88be if !numbered => ethernet(inner, depth),
        0x88be => ethernet(rest(inner, 8)?, depth),
        0x22eb => {
            let kind = half(inner, 10)?;
            // With a subheader of the platform, if it says so.
            let frame = rest(inner, if kind & 1 == 1 { 20 } else { 12 })?;
            match kind >> 10 & 0x1f {
                2 => ip(frame, depth),
                _ => ethernet(frame, depth),
            }
        }
        0x0800 | 0x86dd | 0x6558 | 0x8847 | 0x8848 | 0x880b | 0x8100 => {
            ether_type(protocol, inner, depth)
        }
        _ => Err(UnreadReason::Tunnel("gre")),
    }
}

fn deeper(depth: u8) -> Result<u8, UnreadReason> {
    depth.checked_sub(1).ok_or(UnreadReason::TooDeep)
}

fn first(data: &[u8]) -> Result<u8, UnreadReason> {
    byte(data, 0)
}

fn byte(data: &[u8], at: usize) -> Result<u8, UnreadReason> {
    data.get(at).copied().ok_or(UnreadReason::CutOff)
}

fn half(data: &[u8], at: usize) -> Result<u16, UnreadReason> {
    let bytes = rest(data, at)?.first_chunk().ok_or(UnreadReason::CutOff)?;
    Ok(u16::from_be_bytes(*bytes))
}

fn rest(data: &[u8], from: usize) -> Result<&[u8], UnreadReason> {
    data.get(from..).ok_or(UnreadReason::CutOff)
}
