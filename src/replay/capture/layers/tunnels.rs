//! Tunnels over UDP. The port alone proves nothing, since media may have any, and neither does a
//! header of which every bit may be set: what shall be opened has to carry what such a tunnel does.
//!
//! Bits that are reserved, or belong to an extension, are ignored on receipt, as the tunnels' own
//! receivers do.

use super::{LayerResult, byte, ether_type, ethernet, first, half, ip, rest};
use crate::replay::capture::unread::UnreadReason;

/// Header of VXLAN, and of its kin.
const VXLAN_HEADER: usize = 8;

/// Content of the tunnel, if the datagram is of one.
pub(super) fn open(port: u16, payload: &[u8], depth: u8) -> Option<LayerResult<'_>> {
    match port {
        // VXLAN, its number that Linux used before it had one, and that of its extension.
        4789 | 8472 | 4790 => vxlan(port, payload, depth),
        6081 => geneve(payload, depth),
        2152 => gtp(payload, depth),
        1701 => l2tp(payload),
        37008 => match payload {
            [1, 0 | 1, high, low, tags @ ..] => {
                Some(tzsp(u16::from_be_bytes([*high, *low]), tags, depth))
            }
            _ => None,
        },
        _ => None,
    }
}

/// VXLAN (RFC 7348) with Ethernet in it, also with a group policy (GBP) or other bits set; and its
/// extension GPE, whose P bit says that the header names what follows.
fn vxlan(port: u16, payload: &[u8], depth: u8) -> Option<LayerResult<'_>> {
    let (head, inner) = payload.split_first_chunk::<VXLAN_HEADER>()?;
    let [flags, second, third, next, ..] = *head;
    let (has_network, names_next) = (flags & 0x08 != 0, flags & 0x04 != 0);
    if !has_network {
        return None;
    }
    let is_bare = second == 0 && third == 0 && flags & 0xc0 == 0;
    match next {
        1 | 2 if names_next && is_ip(inner) => Some(ip(inner, depth)),
        3 if names_next && is_bare => Some(ethernet(inner, depth)),
        0 if flags == 0x08 && is_bare => Some(ethernet(inner, depth)),
        _ if is_ethernet(inner) => Some(ethernet(inner, depth)),
        // What else it may carry shows nothing by which it could be told from media.
        _ if port == 4790 && names_next && is_bare => Some(Err(UnreadReason::Tunnel("vxlan_gpe"))),
        _ => None,
    }
}

/// Geneve (RFC 8926); what its protocol number does not name here is named as such a tunnel.
fn geneve(payload: &[u8], depth: u8) -> Option<LayerResult<'_>> {
    let (&[options, flags, high, low, ..], inner) = payload.split_first_chunk::<8>()?;
    let (version, kind) = (options >> 6, u16::from_be_bytes([high, low]));
    // Below are no EtherTypes, but the lengths in STUN.
    if version != 0 || kind < 0x0600 {
        return None;
    }
    let inner = match rest(inner, usize::from(options & 0x3f) * 4) {
        Ok(inner) => inner,
        Err(why) => return (flags & 0x3f == 0).then_some(Err(why)),
    };
    match kind {
        0x6558 if flags & 0x3f == 0 || is_ethernet(inner) => Some(ethernet(inner, depth)),
        0x0800 | 0x86dd if is_ip(inner) => Some(ip(inner, depth)),
        0x8847 | 0x8848 => Some(ether_type(kind, inner, depth)),
        _ => (flags & 0x3f == 0).then_some(Err(UnreadReason::Tunnel("geneve"))),
    }
}

/// GTP-U (3GPP TS 29.281): what a telephone's packets are in between a mobile network's nodes.
fn gtp(payload: &[u8], depth: u8) -> Option<LayerResult<'_>> {
    const PACKET: u8 = 255;
    let (&[flags, kind, high, low, ..], behind) = payload.split_first_chunk::<8>()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    // Version 1, and its own kind of GTP.
    if flags >> 4 != 0x3 || length > behind.len() {
        return None;
    }
    if kind != PACKET {
        return Some(Err(UnreadReason::Tunnel("gtp")));
    }
    Some(
        gtp_packet(flags, &behind[..length]).and_then(|inner| match is_ip(inner) {
            true => ip(inner, depth),
            false => Err(UnreadReason::Tunnel("gtp")),
        }),
    )
}

/// A packet behind GTP-U's optional fields and its chain of extension headers.
fn gtp_packet(flags: u8, behind: &[u8]) -> Result<&[u8], UnreadReason> {
    if flags & 0x07 == 0 {
        return Ok(behind);
    }
    let (mut next, mut behind) = (byte(behind, 3)?, rest(behind, 4)?);
    while flags & 0x04 != 0 && next != 0 {
        // In words of four bytes, the last byte naming the next one.
        let length = usize::from(first(behind)?) * 4;
        let last = length.checked_sub(1).ok_or(UnreadReason::Malformed)?;
        (next, behind) = (byte(behind, last)?, rest(behind, length)?);
    }
    Ok(behind)
}

/// L2TP of version 2 (RFC 2661), which is named only: an RTP packet has neither its version nor the
/// first two bits of any of its headers.
fn l2tp(payload: &[u8]) -> Option<LayerResult<'_>> {
    let [flags, version, ..] = *payload else {
        return None;
    };
    // A message of control has a length and numbers as well.
    let is_possible = flags & 0x80 == 0 || flags & 0xc8 == 0xc8;
    (version == 2 && flags & 0x34 == 0 && is_possible).then_some(Err(UnreadReason::Tunnel("l2tp")))
}

/// TaZmen Sniffer Protocol: tags, then what was sniffed.
fn tzsp(encapsulated: u16, tags: &[u8], depth: u8) -> LayerResult<'_> {
    let mut tags = tags;
    loop {
        tags = match first(tags)? {
            0 => rest(tags, 1)?,
            1 => break,
            _ => rest(tags, 2 + usize::from(byte(tags, 1)?))?,
        };
    }
    match encapsulated {
        1 => ethernet(rest(tags, 1)?, depth),
        _ => Err(UnreadReason::Tunnel("tzsp")),
    }
}

/// Whether bytes are an IP packet that is as long as it says, or shorter.
fn is_ip(data: &[u8]) -> bool {
    let (Some(first), Ok(second), Ok(third)) = (data.first(), half(data, 2), half(data, 4)) else {
        return false;
    };
    match first >> 4 {
        4 => first & 0x0f >= 5 && usize::from(second) <= data.len(),
        6 => 40 + usize::from(third) <= data.len(),
        _ => false,
    }
}

/// Whether bytes are an Ethernet frame, by the type that it has or by the header behind its length.
fn is_ethernet(frame: &[u8]) -> bool {
    let (Ok(kind), Ok(body)) = (half(frame, 12), rest(frame, 14)) else {
        return false;
    };
    match kind {
        0x0800 => body.first().is_some_and(|first| first >> 4 == 4),
        0x86dd => body.first().is_some_and(|first| first >> 4 == 6),
        // ARP and its reverse, tags, MPLS, PPPoE, 802.1X, MACsec, LLDP, time, loops.
        0x0806 | 0x8035 | 0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x8847 | 0x8848 | 0x8863 | 0x8864
        | 0x888e | 0x88e5 | 0x88cc | 0x88f7 | 0x8902 | 0x9000 => true,
        // Spanning tree, IS-IS, SNAP.
        0..=1500 => [&[0x42, 0x42, 3][..], &[0xfe, 0xfe, 3], &[0xaa, 0xaa, 3]]
            .iter()
            .any(|header| body.starts_with(header)),
        _ => false,
    }
}
