//! Integration tests of the whole against the real things: the built binary, real captures, real
//! Redis, real Asterisk. One binary, so that one link serves all; one behaviour per file.

mod api;
mod architecture;
mod asterisk;
mod calls;
mod media;
mod models;
mod recognition;
mod replay;
mod serve;
mod store;
