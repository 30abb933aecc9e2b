//! The `asterscribe` program: its command line. What it does is in the library.

mod cli;
mod demo;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use self::cli::Cli;

fn main() -> ExitCode {
    cli::run(Cli::parse()).unwrap_or_else(|error| {
        // With standard error gone there is nobody left to tell.
        let _untold = writeln!(io::stderr(), "asterscribe: {error:#}");
        ExitCode::FAILURE
    })
}
