//! Asterscribe: a live, searchable transcript for every call on an Asterisk PBX.
//!
//! Start reading at `ARCHITECTURE.md`; the path of a packet to a line of text
//! is drawn there once.

pub mod call;
pub mod service;
pub mod store;
