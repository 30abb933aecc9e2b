//! The `asterscribe` program: its command line. Everything else is in the library.

mod cli;
mod demo;
mod signals;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use self::cli::CommandLine;

fn main() -> ExitCode {
    cli::run(CommandLine::parse()).unwrap_or_else(|error| {
        // With standard error gone there is nobody left to tell.
        let _untold = writeln!(io::stderr(), "asterscribe: {}", in_words(&error));
        ExitCode::FAILURE
    })
}

/// The error and its causes, without those whose words an outer one already holds.
fn in_words(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .fold(String::new(), |mut text, cause| {
            if !text.contains(&cause) {
                if !text.is_empty() {
                    text.push_str(": ");
                }
                text.push_str(&cause);
            }
            text
        })
}
