//! Asterscribe: a live, searchable transcript for every call on an Asterisk PBX.
//!
//! Start reading at `ARCHITECTURE.md`; the path of a packet to a line of text
//! is drawn there once.

pub mod api;
pub mod call;
pub mod capture;
pub mod clock;
pub mod config;
pub mod live;
pub mod metrics;
pub mod models;
pub mod play;
pub mod recognition;
pub mod replay;
pub mod service;
pub mod session;
pub mod speech;
pub mod store;
pub mod telemetry;
