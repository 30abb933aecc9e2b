//! Quick runs of the benches: they measure, lose nothing, and say so where something was lost.
//! No figure is judged.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod media;
mod speech;

/// Path of the program under test.
const BINARY: &str = env!("CARGO_BIN_EXE_asterscribe-bench");
