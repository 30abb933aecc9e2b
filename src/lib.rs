//! Asterscribe: a live, searchable transcript for every call on an Asterisk PBX.
//!
//! Start reading at `ARCHITECTURE.md`; the path of a packet to a line of text
//! is drawn there once.

pub mod api;
pub mod calls;
pub mod capture;
pub mod config;
pub mod media;
pub mod metrics;
pub mod models;
pub mod play;
pub mod replay;
pub mod serve;
pub mod service;
pub mod telemetry;
