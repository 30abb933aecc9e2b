//! For tests, of this crate and of those above it: packets built by hand, a
//! network that misbehaves on purpose, and a moment to count time from.

pub mod build;
pub mod netem;
pub mod random;
pub mod rtcp;
pub mod sender;

use std::time::Instant;

/// Some moment. Tests count time from it and never ask for another.
pub fn origin() -> Instant {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had no other way; read once, never compared with the clock"
    )]
    *ORIGIN.get_or_init(Instant::now)
}
