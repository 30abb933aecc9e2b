//! What goes into the buffer, what comes out of it, and what does not.

use std::time::Instant;

use crate::ids::{ExtRtpTime, ExtSeq, PayloadType};

/// A packet and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedPacket<'a> {
    /// Its number; within a timeline one more than the one before, plus what was lost or skipped.
    pub seq: ExtSeq,
    /// Its timestamp on its timeline.
    pub time: ExtRtpTime,
    /// Its payload type.
    pub payload_type: PayloadType,
    /// Its marker bit.
    pub marker: bool,
    /// Its payload, which the receiver never releases empty.
    pub payload: &'a [u8],
    /// When it came in.
    pub arrived: Instant,
}

/// An item that comes out, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleasedItem<'a> {
    /// The next packet.
    Packet(PlacedPacket<'a>),
    /// Packets that never arrived, or not in time, or were shed.
    Lost {
        /// How many, at least 1.
        count: u64,
        /// How many of them did arrive and were refused for the leg's rate.
        shed: u64,
    },
    /// Numbers that stand for nothing that could be missed: the time between the packets
    /// before and behind has no room for them, or they were of packets without a payload.
    Skipped {
        /// How many, at least 1.
        count: u64,
    },
    /// A new timeline begins with the next packet: sequence numbers go up by an
    /// unspecified amount. Timestamps begin anew if it is another source's; those of the
    /// same are told as if they went on, and perhaps do not.
    Restart {
        /// What made it one.
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
    /// Its place has been given up, and it is among those said to be lost.
    Late,
    /// The packet is before its timeline, or so old that nothing is known of its place.
    TooOld,
    /// The packet is here, or has been.
    Duplicate,
    /// Its number is taken, but by another packet; or it is over, and the packet newer
    /// than those behind it. So the sender may count from elsewhere.
    Reused,
    /// The buffer is full of packets that nobody polled for.
    Overflow,
}
