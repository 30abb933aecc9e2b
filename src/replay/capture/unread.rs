//! Why a packet of a capture is not read.

use std::collections::BTreeMap;
use std::fmt;

/// Why no datagram was got out of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnreadReason {
    /// Its link layer is not known here, by LINKTYPE's number.
    LinkLayer(i32),
    /// The packet is of an interface that the file does not describe.
    NoInterface,
    /// The packet carries no IP: ARP, LLDP, spanning tree.
    NotIp,
    /// The packet is shorter than its own headers say, as a rule by the capture's snap length.
    CutOff,
    /// The packet contradicts itself.
    Malformed,
    /// The packet is a part of a datagram whose other parts are not in the file.
    Fragment,
    /// TCP.
    Tcp,
    /// ICMP of either version.
    Icmp,
    /// Another protocol over IP, by its number.
    IpProtocol(u8),
    /// The packet is in a tunnel that is not opened here, or not with what it carries.
    Tunnel(&'static str),
    /// Too many headers are in each other.
    TooDeep,
}

impl fmt::Display for UnreadReason {
    /// Its name in the report.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkLayer(number) => write!(f, "link_layer_{number}"),
            Self::NoInterface => f.write_str("no_interface"),
            Self::NotIp => f.write_str("not_ip"),
            Self::CutOff => f.write_str("cut_off"),
            Self::Malformed => f.write_str("malformed"),
            Self::Fragment => f.write_str("fragment"),
            Self::Tcp => f.write_str("tcp"),
            Self::Icmp => f.write_str("icmp"),
            Self::IpProtocol(number) => write!(f, "ip_protocol_{number}"),
            Self::Tunnel(kind) => write!(f, "tunnel_{kind}"),
            Self::TooDeep => f.write_str("too_deep"),
        }
    }
}

/// How many packets were not read, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnreadCounts(BTreeMap<UnreadReason, u64>);

impl UnreadCounts {
    pub(super) fn count(&mut self, why: UnreadReason, packets: u64) {
        if packets > 0 {
            *self.0.entry(why).or_default() += packets;
        }
    }

    /// Number of packets over all reasons.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Number of packets for that reason.
    pub fn of(&self, why: UnreadReason) -> u64 {
        self.0.get(&why).copied().unwrap_or(0)
    }

    /// Every reason that occurred, with its number of packets.
    pub fn iter(&self) -> impl Iterator<Item = (UnreadReason, u64)> {
        self.0.iter().map(|(why, count)| (*why, *count))
    }
}
