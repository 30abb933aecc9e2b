//! Everything between a UDP datagram and an ordered, accounted stream of RTP
//! packets of one leg of a call.
//!
//! Sans-IO: datagrams and `now` go in, [`ReleasedItem`] comes out; no socket, no
//! clock, no runtime. The contract, once per datagram:
//!
//! 1. [`RtpReceiver::receive`] with the datagram: it hands the packet out at once
//!    if it is the next one ([`PacketVerdict::InOrder`]), or says whether it was
//!    accepted or why it was refused, and counts it exactly once.
//! 2. [`RtpReceiver::poll`] until it gives `None`.
//! 3. Call [`RtpReceiver::poll`] again at [`RtpReceiver::deadline`] if nothing arrives before.
//!
//! At the end of the leg [`RtpReceiver::close`], then poll until `None`.
//!
//! No input can make it panic or grow: the bounds are [`ReorderConfig`] for
//! packets that wait on a gap, 32 packets of a source on probation, and
//! [`RateConfig`] for what a leg may send.

pub mod events;
pub mod gate;
pub mod ids;
pub mod outgoing;
pub mod quality;
pub mod receiver;
pub mod reorder;
pub mod rtcp;
pub mod wire;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use ids::{ClockRate, ExtRtpTime, ExtSeq, PayloadType, RtpTime, SeqNo, Ssrc};
pub use outgoing::{OutgoingStream, StreamStart};
pub use receiver::{
    DropReason, PacketVerdict, RateConfig, ReceiverConfig, ReceiverStats, RtpReceiver,
};
pub use reorder::{PlacedPacket, ReleasedItem, ReorderConfig, RestartReason};
pub use wire::{DatagramClass, MalformedPacket, MediaProtocol, RtpPacket, classify};
