//! Asterscribe.
fn main() {}
