//! The running server: its start from the settings, its limits, its shutdown.

mod address;
mod captures;
mod instance;
mod limits;
pub mod recognition;
pub mod server;
mod shutdown;
