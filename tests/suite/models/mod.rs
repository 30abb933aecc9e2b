//! Models fetched from a local server.

mod pull;
mod pull_folder;
mod pull_hostile;
pub(crate) mod rig;
