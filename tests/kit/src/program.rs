//! Shared parts of the kit's own programs, and the server's program, built beside them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::Value;

use crate::{Error, Result};

/// The whole of a program's `main`: runs it with its arguments, and says what went wrong under its name.
pub fn main(name: &str, run: impl FnOnce(&[String]) -> Result<()>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{name}: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints progress on standard error; failures to do so are ignored.
pub fn say(text: &str) {
    let _untold = writeln!(io::stderr(), "{text}");
}

/// Path of `asterscribe` in the folder of the calling program.
///
/// # Errors
/// The program is not built.
pub fn built() -> Result<PathBuf> {
    beside("asterscribe")
}

/// Path of `asterscribe-bench` in the folder of the calling program.
///
/// # Errors
/// The program is not built.
pub fn built_bench() -> Result<PathBuf> {
    beside("asterscribe-bench")
}

fn beside(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().map_err(Error::io("cannot find this program"))?;
    let path = here.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    let path = path.display();
    Err(Error::Failed(format!("{path} is not built")))
}

/// Report of `asterscribe replay` on a capture, which is written to `file` first.
///
/// # Errors
/// The file cannot be written, or the replay fails.
pub fn replay(file: &Path, capture: &[u8], settings: &[(&str, &str)]) -> Result<Value> {
    let written = fs::write(file, capture);
    written.map_err(Error::io(format!("cannot write {}", file.display())))?;
    let mut command = Command::new(built()?);
    command.args(["replay", "--format", "json"]).arg(file);
    let printed = output(command.envs(settings.iter().copied()))?;
    serde_json::from_slice(&printed)
        .map_err(|error| Error::Failed(format!("the replay's report: {error}")))
}

/// Standard output of a program.
///
/// # Errors
/// The program cannot be started, or fails: the error then has the last line that it wrote to
/// standard error.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output();
    let output = output.map_err(Error::io(format!("cannot start {program}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let last = told.lines().last().unwrap_or_default();
    let status = output.status;
    Err(Error::Failed(format!("{program}: {status}: {last}")))
}
