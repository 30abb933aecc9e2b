//! Models on the disk: which are published, how they are fetched, and what one is.
//!
//! The server itself downloads nothing; whoever runs it does, with `asterscribe models pull`.

mod catalogue;
mod check;
mod error;
mod fetch;
mod folder;
mod hash;
mod hub;
mod list;
mod order;
mod outcome;
mod part;
mod progress;
mod pull;
#[cfg(test)]
mod tests;

pub use self::catalogue::{
    ACFT, FOLDERS, PUBLISHED, PublishedAcft, PublishedFolder, PublishedModel, published,
    published_folder,
};
pub use self::check::check;
pub use self::error::PullError;
pub use self::folder::{WantedFolder, pull_folder};
pub use self::list::{CallsHeld, list};
pub use self::order::{ModelOrder, OrderError, PublishedFormat};
pub use self::outcome::told;
pub use self::progress::PullProgress;
pub use self::pull::{PullOutcome, WantedFile, pull};
