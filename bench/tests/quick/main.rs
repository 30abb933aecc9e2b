//! Quick runs of the benches: they measure, lose nothing, and say so where something was lost.
//! No figure is judged.

use std::sync::{Mutex, MutexGuard, PoisonError};

mod media;
mod speech;

/// Path of the program under test.
const BINARY: &str = env!("CARGO_BIN_EXE_asterscribe-bench");

/// Lock of the processors: benches that run beside each other disturb each other.
static PROCESSORS: Mutex<()> = Mutex::new(());

/// Waits until no other bench runs.
fn alone() -> MutexGuard<'static, ()> {
    PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner)
}
