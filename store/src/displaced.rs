//! Lines whose number another server had given to another utterance of the same call, while it took
//! the call over.

use std::sync::atomic::{AtomicU64, Ordering};

/// Log of the lines that got another number than theirs.
#[derive(Debug, Default)]
pub(super) struct DisplacedLog {
    lines: AtomicU64,
}

impl DisplacedLog {
    /// Tells of a line of that call that got another number.
    pub(super) fn tell(&self, call: &str) {
        self.lines.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            call,
            "another server has written a line of this call under the number of one of ours, which gets the next number"
        );
    }

    /// Number of lines that it told of.
    pub(super) fn count(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }
}
