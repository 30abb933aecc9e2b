//! What becomes of a datagram, and by which name a refusal is counted.

use crate::reorder::Rejected;
use crate::wire::Malformed;

/// What became of a datagram at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It will be released.
    Accepted,
    /// Kept until its successor shows whether it begins a new timeline.
    OnProbation,
    /// Dropped and counted.
    Refused(Refusal),
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No RTP packet.
    Malformed(Malformed),
    /// Its place had been given up: it is among those said to be lost.
    Late,
    /// Before the first packet of its timeline, or so old that nothing is known of its place.
    TooOld,
    /// A copy of one that was here before.
    Duplicate,
    /// The reorder buffer is full because it was not polled.
    Overflow,
    /// Another SSRC while the leg's own spoke, or one that did not go on.
    ForeignSsrc,
    /// Far from the sequence, and nothing followed it there.
    SequenceJump,
    /// Came after [`Receiver::close`](crate::Receiver::close).
    Closed,
}

impl Refusal {
    /// Stable name for counters and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.name(),
            Self::Late => "late",
            Self::TooOld => "too_old",
            Self::Duplicate => "duplicate",
            Self::Overflow => "overflow",
            Self::ForeignSsrc => "foreign_ssrc",
            Self::SequenceJump => "sequence_jump",
            Self::Closed => "closed",
        }
    }
}

impl From<Rejected> for Refusal {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Late => Self::Late,
            Rejected::TooOld => Self::TooOld,
            Rejected::Duplicate => Self::Duplicate,
            Rejected::Overflow => Self::Overflow,
        }
    }
}
