//! Counters of a leg: every datagram that came, by what became of it.

use crate::receiver::DropReason;
use crate::wire::{MalformedPacket, MediaProtocol};

/// Counters of a leg, in packets. Always true, at any moment
/// ([`Self::is_balanced`]):
///
/// `datagrams = received + malformed + rtcp + other`, and
/// `received = released + held + on_probation + late + too_old + duplicate +
/// overflow + over_rate + foreign_ssrc + sequence_jump + empty + closed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReceiverStats {
    /// Everything that was handed in.
    pub datagrams: u64,
    /// Valid RTP packets among it.
    pub received: u64,
    /// Released in order.
    pub released: u64,
    /// Held now, until they are released.
    pub held: u64,
    /// On probation now: they may begin a new timeline.
    pub on_probation: u64,
    /// Refused: their place had been given up. Each of them is among `lost`.
    pub late: u64,
    /// Refused: before their timeline, or so old that nothing is known of their place.
    pub too_old: u64,
    /// Refused: copies.
    pub duplicate: u64,
    /// Refused: the buffer was full because nobody polled.
    pub overflow: u64,
    /// Refused: beyond the leg's rate.
    pub over_rate: u64,
    /// Refused: of another SSRC while the leg's own spoke, or of one that did not go on.
    pub foreign_ssrc: u64,
    /// Refused: far from the sequence, or with a number that another packet had, and
    /// nothing followed there.
    pub sequence_jump: u64,
    /// Refused: without a payload, as some senders keep a path alive.
    pub empty: u64,
    /// Refused: after the end of the leg.
    pub closed: u64,
    /// Among the accepted: came after a packet with a higher number.
    pub reordered: u64,
    /// Never arrived, or not in time; not part of `received`.
    pub lost: u64,
    /// Among `lost`: came in and were refused for the leg's rate.
    pub shed: u64,
    /// Numbers passed over that no packet can have had, by the time between their
    /// neighbours, or that packets without a payload had; not part of `lost`.
    pub skipped: u64,
    /// Timelines that replaced another.
    pub restarts: u64,
    /// Broken RTP.
    pub malformed: MalformedCounts,
    /// RTCP.
    pub rtcp: u64,
    /// Other protocols.
    pub other: OtherCounts,
}

/// Broken RTP by reason; see [`MalformedPacket`] for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MalformedCounts {
    /// Shorter than a header.
    pub too_short: u64,
    /// CSRC list past the end.
    pub csrc_overrun: u64,
    /// Header extension past the end.
    pub extension_overrun: u64,
    /// Padding announced, none there.
    pub padding_missing: u64,
    /// Padding of length 0.
    pub padding_zero: u64,
    /// Padding longer than the payload.
    pub padding_overrun: u64,
    /// Refused by the header parser after our own checks.
    pub header: u64,
}

/// Neither RTP nor RTCP, by protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OtherCounts {
    /// STUN.
    pub stun: u64,
    /// ZRTP.
    pub zrtp: u64,
    /// DTLS.
    pub dtls: u64,
    /// TURN channel data, or text.
    pub turn_channel: u64,
    /// None of the known ones.
    pub unknown: u64,
}

impl ReceiverStats {
    /// Whether every datagram is counted exactly once.
    pub fn is_balanced(&self) -> bool {
        let refused: u64 = self.refusals().iter().map(|(_, count)| count).sum();
        let accepted = self.released + self.held + self.on_probation;
        let unparsed = self.malformed.total() + self.rtcp + self.other.total();
        self.datagrams == accepted + refused && self.received + unparsed == self.datagrams
    }

    /// Every reason of refusal by its stable name, with its count.
    pub fn refusals(&self) -> [(&'static str, u64); 22] {
        REFUSALS.map(|refusal| {
            let mut copy = *self;
            (refusal.name(), *copy.slot(refusal))
        })
    }

    pub(super) fn count(&mut self, refusal: DropReason, packets: u64) {
        *self.slot(refusal) += packets;
    }

    fn slot(&mut self, refusal: DropReason) -> &mut u64 {
        match refusal {
            DropReason::Late => &mut self.late,
            DropReason::TooOld => &mut self.too_old,
            DropReason::Duplicate => &mut self.duplicate,
            DropReason::Overflow => &mut self.overflow,
            DropReason::OverRate => &mut self.over_rate,
            DropReason::ForeignSsrc => &mut self.foreign_ssrc,
            DropReason::SequenceJump => &mut self.sequence_jump,
            DropReason::Empty => &mut self.empty,
            DropReason::Closed => &mut self.closed,
            DropReason::Malformed(malformed) => self.malformed_slot(malformed),
        }
    }

    fn malformed_slot(&mut self, malformed: MalformedPacket) -> &mut u64 {
        match malformed {
            MalformedPacket::TooShort => &mut self.malformed.too_short,
            MalformedPacket::CsrcOverrun => &mut self.malformed.csrc_overrun,
            MalformedPacket::ExtensionOverrun => &mut self.malformed.extension_overrun,
            MalformedPacket::PaddingMissing => &mut self.malformed.padding_missing,
            MalformedPacket::PaddingZero => &mut self.malformed.padding_zero,
            MalformedPacket::PaddingOverrun => &mut self.malformed.padding_overrun,
            MalformedPacket::Header => &mut self.malformed.header,
            MalformedPacket::NotRtp(MediaProtocol::Rtcp) => &mut self.rtcp,
            MalformedPacket::NotRtp(MediaProtocol::Stun) => &mut self.other.stun,
            MalformedPacket::NotRtp(MediaProtocol::Zrtp) => &mut self.other.zrtp,
            MalformedPacket::NotRtp(MediaProtocol::Dtls) => &mut self.other.dtls,
            MalformedPacket::NotRtp(MediaProtocol::TurnChannel) => &mut self.other.turn_channel,
            MalformedPacket::NotRtp(MediaProtocol::Unknown) => &mut self.other.unknown,
        }
    }
}

impl MalformedCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.too_short
            + self.csrc_overrun
            + self.extension_overrun
            + self.padding_missing
            + self.padding_zero
            + self.padding_overrun
            + self.header
    }
}

impl OtherCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.stun + self.zrtp + self.dtls + self.turn_channel + self.unknown
    }
}

const REFUSALS: [DropReason; 22] = [
    DropReason::Late,
    DropReason::TooOld,
    DropReason::Duplicate,
    DropReason::Overflow,
    DropReason::OverRate,
    DropReason::ForeignSsrc,
    DropReason::SequenceJump,
    DropReason::Empty,
    DropReason::Closed,
    DropReason::Malformed(MalformedPacket::TooShort),
    DropReason::Malformed(MalformedPacket::CsrcOverrun),
    DropReason::Malformed(MalformedPacket::ExtensionOverrun),
    DropReason::Malformed(MalformedPacket::PaddingMissing),
    DropReason::Malformed(MalformedPacket::PaddingZero),
    DropReason::Malformed(MalformedPacket::PaddingOverrun),
    DropReason::Malformed(MalformedPacket::Header),
    DropReason::Malformed(MalformedPacket::NotRtp(MediaProtocol::Rtcp)),
    DropReason::Malformed(MalformedPacket::NotRtp(MediaProtocol::Stun)),
    DropReason::Malformed(MalformedPacket::NotRtp(MediaProtocol::Zrtp)),
    DropReason::Malformed(MalformedPacket::NotRtp(MediaProtocol::Dtls)),
    DropReason::Malformed(MalformedPacket::NotRtp(MediaProtocol::TurnChannel)),
    DropReason::Malformed(MalformedPacket::NotRtp(MediaProtocol::Unknown)),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_name_and_counter() {
        let names: HashSet<_> = REFUSALS.iter().map(|refusal| refusal.name()).collect();
        assert_eq!(names.len(), REFUSALS.len());
        let snake_case = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(names.iter().all(|name| snake_case(name)), "{names:?}");
        for (index, refusal) in REFUSALS.into_iter().enumerate() {
            let mut stats = ReceiverStats::default();
            stats.count(refusal, 1);
            let counts = stats.refusals().map(|(_, count)| count);
            assert_eq!(counts.iter().sum::<u64>(), 1);
            assert_eq!(counts[index], 1, "{}", refusal.name());
        }
    }

    #[test]
    fn an_unaccounted_datagram_unbalances() {
        let mut stats = ReceiverStats {
            datagrams: 1,
            ..ReceiverStats::default()
        };
        assert!(!stats.is_balanced());
        stats.count(DropReason::Malformed(MalformedPacket::TooShort), 1);
        assert!(stats.is_balanced());
        stats.received = 1;
        assert!(!stats.is_balanced());
    }
}
