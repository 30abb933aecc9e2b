//! The files of models: which there are, how they are fetched, and what one is.
//!
//! The server itself downloads nothing; whoever runs it does, with `asterscribe models pull`.

mod catalogue;
mod part;
mod progress;
mod pull;
mod report;
#[cfg(test)]
mod tests;

pub use self::catalogue::{PUBLISHED, Published, published};
pub use self::progress::Progress;
pub use self::pull::{PullError, Pulled, Wanted, pull};
pub use self::report::{check, list};
