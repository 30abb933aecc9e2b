//! Short calls by SIP, a great many, through a real Asterisk with a hundred pairs of RTP ports: every
//! call has its media and its record, and nothing is left behind.
//!
//! `soak CALLS RATE [trouble]`: so many calls of a second, so many of them beginning in a second,
//! once for each `RTP_MODE`. With `trouble` channels are hung up by others meanwhile, and server and
//! Asterisk are killed; then only what is left behind and whose words stand where is judged.

mod figures;
mod run;
mod trouble;

use std::io::{self, Write};
use std::process::ExitCode;

use asterscribe_testkit::program::{self, say};
use asterscribe_testkit::{Error, Result};

use self::run::{Load, Outcome};

fn main() -> ExitCode {
    program::main("soak", soak)
}

fn load(arguments: &[String]) -> Result<Load> {
    let usage = || Error::Failed("usage: soak CALLS RATE [trouble]".to_owned());
    let number = |text: &String| text.parse().map_err(|_| usage());
    let (calls, rate, trouble) = match arguments {
        [calls, rate] => (calls, rate, false),
        [calls, rate, word] if word == "trouble" => (calls, rate, true),
        _ => return Err(usage()),
    };
    Ok(Load {
        calls: number(calls)?,
        rate: number(rate)?,
        trouble,
    })
}

fn soak(arguments: &[String]) -> Result<()> {
    let load = load(arguments)?;
    let mut faults = Vec::new();
    for mode in ["shared", "per-call"] {
        say(&format!("RTP_MODE={mode}: {} calls …", load.calls));
        let outcome = run::run(&load, mode)?;
        print(mode, &outcome)?;
        let found = outcome.faults(&load).into_iter();
        faults.extend(found.map(|fault| format!("RTP_MODE={mode}: {fault}")));
    }
    match faults.as_slice() {
        [] => Ok(()),
        _ => Err(Error::Failed(faults.join("; "))),
    }
}

fn print(mode: &str, outcome: &Outcome) -> Result<()> {
    let mut out = io::stdout();
    writeln!(out, "RTP_MODE={mode}\n{outcome}").map_err(Error::io("cannot print"))
}
