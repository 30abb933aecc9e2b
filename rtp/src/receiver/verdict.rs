//! Verdicts on a datagram, and the names under which refusals are counted.

use crate::reorder::{PlacedPacket, RejectReason};
use crate::wire::MalformedPacket;

/// The verdict on a datagram, at once.
#[must_use = "a packet in order is handed out here and nowhere else"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketVerdict<'a> {
    /// The packet is the next one, and nothing waits before it: it is handed out here, counted as
    /// released. Polling does not give it again.
    InOrder(PlacedPacket<'a>),
    /// The packet waits in the reorder buffer; polling will release it.
    Accepted,
    /// The packet is kept until it is clear whether it begins a new timeline.
    OnProbation,
    /// The datagram is dropped and counted.
    Refused(DropReason),
}

impl PacketVerdict<'_> {
    /// Reason for dropping it, if it was dropped.
    pub const fn refusal(&self) -> Option<DropReason> {
        match self {
            Self::Refused(refusal) => Some(*refusal),
            Self::InOrder(_) | Self::Accepted | Self::OnProbation => None,
        }
    }
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Not an RTP packet.
    Malformed(MalformedPacket),
    /// Its place had been given up: it has been reported as lost.
    Late,
    /// Before the first packet of its timeline, or so old that nothing is known of its place.
    TooOld,
    /// A copy of one that was here before.
    Duplicate,
    /// The reorder buffer is full because it was not polled.
    Overflow,
    /// Beyond the leg's rate.
    OverRate,
    /// Another SSRC while the leg's own spoke, or one that did not go on.
    ForeignSsrc,
    /// Far from the sequence, or with a number that another packet had, and nothing
    /// followed it there.
    SequenceJump,
    /// The packet has no payload.
    Empty,
    /// The packet came after [`RtpReceiver::close`](crate::RtpReceiver::close).
    Closed,
}

impl DropReason {
    /// Stable name for counters and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.name(),
            Self::Late => "late",
            Self::TooOld => "too_old",
            Self::Duplicate => "duplicate",
            Self::Overflow => "overflow",
            Self::OverRate => "over_rate",
            Self::ForeignSsrc => "foreign_ssrc",
            Self::SequenceJump => "sequence_jump",
            Self::Empty => "empty",
            Self::Closed => "closed",
        }
    }
}

impl From<RejectReason> for DropReason {
    fn from(rejected: RejectReason) -> Self {
        match rejected {
            RejectReason::Late => Self::Late,
            RejectReason::TooOld => Self::TooOld,
            RejectReason::Duplicate => Self::Duplicate,
            RejectReason::Reused => Self::SequenceJump,
            RejectReason::Overflow => Self::Overflow,
        }
    }
}
