//! A small Asterisk made of maps, and a rig that plays a
//! [`CallControl`](crate::control::CallControl) against it in virtual time, with every order of
//! replies and events and every kind of failure. For tests of this crate and of what is built on
//! it.

mod parties;
mod ports;
mod requests;
mod rig;
mod world;

use std::time::Instant;

pub use self::ports::AddressPool;
pub use self::rig::{ControlRig, DeliveryOrder, RequestFault};
pub use self::world::AsteriskWorld;

/// Some point in time to count from.
#[expect(
    clippy::disallowed_methods,
    reason = "an anchor for virtual time; nothing is measured with it"
)]
pub fn t0() -> Instant {
    Instant::now()
}
