//! What the whole promises, against the real things: the built binary, real
//! captures, real Redis, real Asterisk. One binary, so that one link serves all;
//! one behaviour per file.

mod asterisk;
mod store_contract;
