//! Unpacks whisper.cpp's program into the cache and says where it is.

use std::io::{self, Write};
use std::process::ExitCode;

use asterscribe_testkit::whisper;

fn main() -> ExitCode {
    match whisper::cli() {
        Ok(path) => match writeln!(io::stdout(), "{}", path.display()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            // With standard error gone there is nobody left to tell.
            let _untold = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
