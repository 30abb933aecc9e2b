//! Test kit: real programs and recordings for the integration tests, the demo and the recording of
//! fixtures. It provides a real Asterisk, a real Redis, the built server as a child process, and
//! recorded calls.
//!
//! Everything here is blocking and depends on no other crate of the workspace:
//! a mistake in the code under test must not be shared by what tests it.
//! Children die with the process that started them, and every wait is bounded.

pub mod account;
pub mod asterisk;
pub mod chance;
pub mod children;
pub mod clips;
mod debian;
mod error;
pub mod fixture;
pub mod host;
mod http;
pub mod page;
pub mod pcap;
pub mod ports;
mod process;
pub mod program;
pub mod real_speech;
pub mod redis;
pub mod rtp;
pub mod scenario;
pub mod server;
pub mod sipp;
pub mod spoken;
pub mod wav;
pub mod whisper;
pub mod words;

pub use error::{Error, Result, available};
pub use http::Response;
