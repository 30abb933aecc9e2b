//! Everything between a UDP datagram and an ordered, accounted stream of RTP
//! packets of one leg of a call.
//!
//! Sans-IO: datagrams and `now` go in, [`Released`] comes out; no socket, no
//! clock, no runtime. The contract, once per datagram:
//!
//! 1. [`Receiver::receive`] with the datagram: it hands the packet out at once
//!    if it is the next one ([`Verdict::InOrder`]), or says whether it was
//!    accepted or why it was refused, and counts it exactly once.
//! 2. [`Receiver::poll`] until it gives `None`.
//! 3. Call [`Receiver::poll`] again at [`Receiver::deadline`] if nothing arrives before.
//!
//! At the end of the leg [`Receiver::close`], then poll until `None`.
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
pub use outgoing::{Outgoing, StreamStart};
pub use receiver::{RateConfig, Receiver, ReceiverConfig, ReceiverStats, Refusal, Verdict};
pub use reorder::{Placed, Released, ReorderConfig, RestartReason};
pub use wire::{Class, Malformed, Packet, Protocol, classify};
