//! What a leg received and what became of it.

use crate::receiver::Refusal;
use crate::wire::{Malformed, Protocol};

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
    /// Handed out in order.
    pub released: u64,
    /// Waiting to be handed out, now.
    pub held: u64,
    /// Waiting to be believed, now.
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

/// Broken RTP by reason; see [`Malformed`] for each.
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

    pub(super) fn count(&mut self, refusal: Refusal, packets: u64) {
        *self.slot(refusal) += packets;
    }

    fn slot(&mut self, refusal: Refusal) -> &mut u64 {
        match refusal {
            Refusal::Late => &mut self.late,
            Refusal::TooOld => &mut self.too_old,
            Refusal::Duplicate => &mut self.duplicate,
            Refusal::Overflow => &mut self.overflow,
            Refusal::OverRate => &mut self.over_rate,
            Refusal::ForeignSsrc => &mut self.foreign_ssrc,
            Refusal::SequenceJump => &mut self.sequence_jump,
            Refusal::Empty => &mut self.empty,
            Refusal::Closed => &mut self.closed,
            Refusal::Malformed(malformed) => self.malformed_slot(malformed),
        }
    }

    fn malformed_slot(&mut self, malformed: Malformed) -> &mut u64 {
        match malformed {
            Malformed::TooShort => &mut self.malformed.too_short,
            Malformed::CsrcOverrun => &mut self.malformed.csrc_overrun,
            Malformed::ExtensionOverrun => &mut self.malformed.extension_overrun,
            Malformed::PaddingMissing => &mut self.malformed.padding_missing,
            Malformed::PaddingZero => &mut self.malformed.padding_zero,
            Malformed::PaddingOverrun => &mut self.malformed.padding_overrun,
            Malformed::Header => &mut self.malformed.header,
            Malformed::NotRtp(Protocol::Rtcp) => &mut self.rtcp,
            Malformed::NotRtp(Protocol::Stun) => &mut self.other.stun,
            Malformed::NotRtp(Protocol::Zrtp) => &mut self.other.zrtp,
            Malformed::NotRtp(Protocol::Dtls) => &mut self.other.dtls,
            Malformed::NotRtp(Protocol::TurnChannel) => &mut self.other.turn_channel,
            Malformed::NotRtp(Protocol::Unknown) => &mut self.other.unknown,
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

const REFUSALS: [Refusal; 22] = [
    Refusal::Late,
    Refusal::TooOld,
    Refusal::Duplicate,
    Refusal::Overflow,
    Refusal::OverRate,
    Refusal::ForeignSsrc,
    Refusal::SequenceJump,
    Refusal::Empty,
    Refusal::Closed,
    Refusal::Malformed(Malformed::TooShort),
    Refusal::Malformed(Malformed::CsrcOverrun),
    Refusal::Malformed(Malformed::ExtensionOverrun),
    Refusal::Malformed(Malformed::PaddingMissing),
    Refusal::Malformed(Malformed::PaddingZero),
    Refusal::Malformed(Malformed::PaddingOverrun),
    Refusal::Malformed(Malformed::Header),
    Refusal::Malformed(Malformed::NotRtp(Protocol::Rtcp)),
    Refusal::Malformed(Malformed::NotRtp(Protocol::Stun)),
    Refusal::Malformed(Malformed::NotRtp(Protocol::Zrtp)),
    Refusal::Malformed(Malformed::NotRtp(Protocol::Dtls)),
    Refusal::Malformed(Malformed::NotRtp(Protocol::TurnChannel)),
    Refusal::Malformed(Malformed::NotRtp(Protocol::Unknown)),
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
        stats.count(Refusal::Malformed(Malformed::TooShort), 1);
        assert!(stats.is_balanced());
        stats.received = 1;
        assert!(!stats.is_balanced());
    }
}
