//! Who recognises, and where: a pool with a queue in front, and behind it worker
//! processes of this same program, so that whatever a model file or whisper.cpp does
//! (it aborts on a failed assertion) costs no call.
//!
//! ```text
//!  media thread ─ offer ─▶ pool: queue, one thread a worker ─▶ crew ─ socket ─▶ worker process
//!       ▲                                                                          │ Whisper
//!       └───────────────────────────── Answer ◀────────────────────────────────────┘
//! ```

pub mod batching;
pub mod capacity;
pub mod crew;
mod ladder;
mod link;
pub mod occasional;
mod pace;
mod pack;
pub mod pool;
mod process;
mod program;
mod queue;
mod wire;
pub mod worker;

pub use self::ladder::OverloadStep;
pub use self::queue::{JobUrgency, RecognitionTask, SpeakerLeg};
