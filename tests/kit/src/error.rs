//! Error type of the kit.

use std::io;
use std::time::Duration;

use crate::{host, process};

/// Shorthand for results of the kit.
pub type Result<T> = std::result::Result<T, Error>;

/// Reason why the kit could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This machine lacks what the kit needs: apt, network, a Debian archive. A test may skip on
    /// this one, and on no other.
    #[error("not available on this machine: {0}")]
    Unavailable(String),
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// Operation that failed.
        what: String,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {limit:?}{log}")]
    TimedOut {
        /// Event that was waited for.
        what: String,
        /// Time that was waited.
        limit: Duration,
        /// The tail of the log concerned, set off by a line break; may be empty.
        log: String,
    },
    /// A program or a peer failed, in its own words.
    #[error("{0}")]
    Failed(String),
}

/// The value, or `None` if this machine cannot provide it and the test must skip. With
/// `ASTERSCRIBE_REQUIRE_ALL` set, as in CI, nothing is skipped.
///
/// # Panics
/// On any other error: that is a failure, not a lack.
pub fn available<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Unavailable(reason)) if host::variable("ASTERSCRIBE_REQUIRE_ALL").is_none() => {
            process::report(&format!("SKIPPED: {reason}"));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

impl Error {
    /// Whether a test may skip because of it.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// An error of a file or a stream, with the operation that failed.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
