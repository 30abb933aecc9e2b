//! Audio towards Asterisk: from a sound file to a paced stream of RTP.
//!
//! [`wav`] reads the file, [`Clip`] is what it becomes, packet by packet, and a
//! [`Playout`] says when which packet of which clip is due on a leg. Nothing
//! here reads a clock, a file or a socket.

mod budget;
mod clip;
mod playout;
pub mod wav;

pub use self::budget::{Budget, Reservation};
pub use self::clip::{Clip, Unplayable};
pub use self::playout::{
    MAX_QUEUED, MAX_QUEUED_LENGTH, PlayEvent, PlayReport, Playout, QueueFull, SendError, Turn,
};
