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
mod link;
pub mod on_demand;
mod overload;
mod pack;
pub mod pool;
mod process;
mod program;
mod queue;
mod watchdog;
mod wire;
pub mod worker;
pub mod workers;

pub use self::overload::OverloadStep;
pub use self::queue::{JobUrgency, RecognitionTask, SpeakerLeg};
