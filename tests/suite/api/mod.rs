//! The REST API of a running server.

mod access;
mod call;
mod choices;
mod front_door;
mod limits;
pub(crate) mod rig;
mod routes;
