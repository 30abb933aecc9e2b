//! The server's program, built beside those that measure it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{Error, Result};

/// `asterscribe` in the folder of the program that asks.
///
/// # Errors
/// It is not built.
pub fn built() -> Result<PathBuf> {
    let here = std::env::current_exe().map_err(Error::io("cannot find this program"))?;
    let path = here.with_file_name("asterscribe");
    if path.exists() {
        return Ok(path);
    }
    let path = path.display();
    Err(Error::Failed(format!("{path} is not built")))
}

/// What `asterscribe replay` reports of a capture, which is written to `file` first.
///
/// # Errors
/// The file cannot be written, or the replay fails.
pub fn replay(file: &Path, capture: &[u8], settings: &[(&str, &str)]) -> Result<Value> {
    let written = fs::write(file, capture);
    written.map_err(Error::io(format!("cannot write {}", file.display())))?;
    let output = Command::new(built()?)
        .args(["replay", "--format", "json"])
        .arg(file)
        .envs(settings.iter().copied())
        .output()
        .map_err(Error::io("cannot start the replay"))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Failed(format!("the replay failed: {told}")));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::Failed(format!("the replay's report: {error}")))
}
