//! Start of the server.

mod start_refusals;
