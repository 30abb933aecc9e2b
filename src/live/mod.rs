//! The running server: sockets, threads, tasks and time around the sans-IO core.

mod advertise;
pub mod desk;
mod ending;
pub mod hearing;
mod instance;
pub mod late_results;
mod limits;
pub mod media;
mod recording;
pub mod server;
