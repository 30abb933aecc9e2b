//! Asterisk, as far as a media server needs it.
//!
//! - [`event`] and [`model`]: what Asterisk says, parsed leniently; unknown events are kept.
//! - [`request`]: what we ask of it, typed down to the last path segment.
//! - [`control`]: the choreography of calls, a state machine without sockets or clock.
//! - `client` (feature `client`): HTTP, the events websocket, and the task that drives a
//!   [`control::CallControl`] with both.
//! - `testkit` (feature `testkit`): a small Asterisk made of maps, for tests.

#[cfg(feature = "client")]
pub mod client;
pub mod control;
pub mod event;
#[doc(hidden)]
pub mod fuzz;
pub mod model;
pub mod request;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
