//! Packets that go into the buffer, items that come out of it, and reasons for a refusal.

use std::time::Instant;

use crate::ids::{ExtRtpTime, ExtSeq, PayloadType};

/// A packet with its number and time on a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedPacket<'a> {
    /// Extended sequence number; within a timeline one more than the one before, plus what was lost
    /// or skipped.
    pub seq: ExtSeq,
    /// Timestamp on its timeline.
    pub time: ExtRtpTime,
    /// RTP payload type.
    pub payload_type: PayloadType,
    /// Marker bit.
    pub marker: bool,
    /// Payload, which the receiver never releases empty.
    pub payload: &'a [u8],
    /// Arrival of the packet.
    pub arrived: Instant,
}

/// An item that comes out, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleasedItem<'a> {
    /// The next packet.
    Packet(PlacedPacket<'a>),
    /// Packets that never arrived, or not in time, or were shed.
    Lost {
        /// Number of packets, at least 1.
        count: u64,
        /// Packets among them that did arrive, and were refused for the leg's rate.
        shed: u64,
    },
    /// Sequence numbers passed over without a loss: the time between the packets before and behind
    /// has no room for them, or they were of packets without a payload.
    Skipped {
        /// Number of them, at least 1.
        count: u64,
    },
    /// A new timeline begins with the next packet: sequence numbers go up by an unspecified amount.
    /// Timestamps begin anew if it is another source's; those of the same source are given as if
    /// they went on, and perhaps do not.
    Restart {
        /// Event that ended the old timeline.
        reason: RestartReason,
    },
}

/// Why a timeline ended and another began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RestartReason {
    /// Another source took over after the former fell silent.
    SsrcChange,
    /// A jump of one source: it went on elsewhere in its sequence.
    SequenceJump,
}

/// Why a packet was not put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// Its place has been given up, and it has been reported as lost.
    Late,
    /// The packet is before its timeline, or so old that nothing is known of its place.
    TooOld,
    /// A copy of a packet that is in the buffer or has been released.
    Duplicate,
    /// Its number was used by another packet; or the number is past, and the packet newer than
    /// those behind it. So the sender may count from elsewhere.
    Reused,
    /// The buffer is full of packets that nobody polled for.
    Overflow,
}
