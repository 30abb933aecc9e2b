//! Replays of capture files.

mod captures;
mod carriers;
pub(crate) mod formats;
mod golden;
mod order;
mod packed;
mod payloads;
pub(crate) mod rig;
mod times;
mod tunnels;
