//! The one place that reads a clock. Everything else is told the time: the
//! sans-IO core as an argument, the shell through these two functions.

use std::time::Instant;

use jiff::Timestamp;

/// Monotonic time: what timers, jitter and the call's own clock run on.
#[expect(clippy::disallowed_methods, reason = "this is the one clock read")]
pub fn now() -> Instant {
    Instant::now()
}

/// Wall time, for records that people and other machines read. Never used in a timer.
#[expect(clippy::disallowed_methods, reason = "this is the one clock read")]
pub fn wall() -> Timestamp {
    Timestamp::now()
}
