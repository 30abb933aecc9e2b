//! `asterscribe-bench`: CPU, memory and latency of Asterscribe on this machine beside those of other
//! programs, in one run. [`media`], [`speech`] and [`calls`] are conductors; each part that is
//! measured, and the one that sends, is a process of its own, so that the kernel counts their CPU
//! time apart.

mod account;
mod calls;
mod clips;
mod cpus;
mod figures;
mod floor;
mod generator;
mod isolate;
mod media;
mod meter;
mod part;
mod payload;
mod proc;
mod receivers;
mod report;
mod round;
mod script;
mod server;
mod sheet;
mod sink;
mod speech;
mod wire;

use std::process::ExitCode;

use anyhow::Result;
use asterscribe_recognition::worker;
use clap::{Parser, Subcommand};

/// Measures what Asterscribe costs on this machine.
#[derive(Debug, Parser)]
#[command(version, about)]
struct CommandLine {
    /// Subject of the measurement.
    #[command(subcommand)]
    what: BenchCommand,
}

/// A thing to measure: what can be measured; the hidden ones are the parts that the others start.
#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// The media path: CPU per packet and per call, memory per call, and ratios to other receivers.
    Media(media::MediaOptions),
    /// Recognition: CPU per minute of audio beside whisper.cpp's own program, latency, word times.
    Speech(speech::SpeechOptions),
    /// How many calls this machine holds with lines that come in time.
    Calls(calls::CallsOptions),
    /// Recordings through a speech engine alone: a line of text for each, and what they cost.
    Clips(clips::ClipsOptions),
    /// Sends RTP as asked on standard input.
    #[command(hide = true)]
    Generate(generator::GeneratorOptions),
    /// The media plane without anything around it.
    #[command(hide = true)]
    Serve(server::BenchServerOptions),
    /// Recognition as the service does it.
    #[command(hide = true)]
    Recognition(speech::service::ServiceOptions),
    /// The media plane with recognition.
    #[command(hide = true)]
    Hold(calls::server::CallsServerOptions),
    /// The speech engine alone.
    #[command(hide = true)]
    Engine(speech::bare::BareOptions),
    /// Counts datagrams and does nothing else.
    #[command(hide = true)]
    Sink,
    /// Works for the part that started this process: recognises what it is handed.
    #[command(hide = true)]
    Recognise,
}

fn main() -> Result<ExitCode> {
    match CommandLine::parse().what {
        BenchCommand::Media(options) => media::run(options),
        BenchCommand::Speech(options) => speech::run(options),
        BenchCommand::Calls(options) => calls::run(options),
        BenchCommand::Clips(options) => clips::run(&options),
        BenchCommand::Hold(options) => calls::server::run(&options).map(|()| ExitCode::SUCCESS),
        BenchCommand::Generate(options) => generator::run(&options).map(|()| ExitCode::SUCCESS),
        BenchCommand::Serve(options) => server::run(&options).map(|()| ExitCode::SUCCESS),
        BenchCommand::Recognition(options) => {
            speech::service::run(&options).map(|()| ExitCode::SUCCESS)
        }
        BenchCommand::Engine(options) => speech::bare::run(&options).map(|()| ExitCode::SUCCESS),
        BenchCommand::Recognise => Ok(worker::run().map(|()| ExitCode::SUCCESS)?),
        BenchCommand::Sink => sink::run().map(|()| ExitCode::SUCCESS),
    }
}
