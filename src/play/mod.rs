//! Audio towards Asterisk: from a sound file to a paced stream of RTP.
//!
//! [`wav`] reads the file, [`EncodedClip`] is what it becomes, packet by packet, and a
//! [`LegPlayout`] says when which packet of which clip is due on a leg. Nothing
//! here reads a clock, a file or a socket.

mod budget;
mod clip;
mod playout;
pub mod wav;

pub use self::budget::{BytesReservation, SoundBudget};
pub use self::clip::{EncodedClip, UnplayableSound};
pub use self::playout::{
    LegPlayout, MAX_QUEUED, MAX_QUEUED_LENGTH, PlayEvent, PlayReport, PlayoutTurn, QueueFull,
    SendError,
};
