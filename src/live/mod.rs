//! The running server: sockets, threads, tasks and time around the sans-IO core.

mod advertise;
pub mod backlog;
pub mod desk;
mod ending;
pub mod hearing;
mod instance;
mod limits;
pub mod media;
mod recording;
pub mod server;
