//! `make bench-people`: real models on recordings of people, by engine, model and window, beside
//! whisper.cpp's own program and faster-whisper on the same recordings; into a page.
//!
//! ```text
//! people PROGRAM PAGE [STEP]    `asterscribe`, the page to write, and every how-manieth English prompt (1)
//! ```

mod page;
mod run;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use asterscribe_testkit::program::{self, say};
use asterscribe_testkit::real_speech::{List, Precision, RealSpeech, Weights};
use asterscribe_testkit::{Error, Result};

use crate::page::Row;
use crate::run::{Bench, Peer};

/// Of the prompts in other languages only so many are taken, and of the English ones for engines that
/// take long: every so-manieth.
const OTHERS: usize = 10;

fn main() -> ExitCode {
    program::main("people", run)
}

fn run(arguments: &[String]) -> Result<()> {
    let (program, page, step) = match arguments {
        [program, page] => (program, page, Ok(1)),
        [program, page, step] => (program, page, step.parse()),
        _ => return Err(usage()),
    };
    let step: usize = step.map_err(|_| usage())?;
    let material = RealSpeech::provide()?;
    let bench = Bench {
        program: Path::new(program),
        material: &material,
    };
    let english = english(&bench, step)?;
    let languages = languages(&bench, step)?;
    let peers = peers(&bench, step)?;
    let mut calls = Vec::new();
    for weights in Weights::ALL {
        say(&format!("calls with {} …", weights.name()));
        calls.push(bench.calls(&material.ctranslate2(weights))?);
    }
    let text = page::page(&english, &languages, &peers, &calls);
    fs::write(page, text).map_err(|error| Error::Failed(format!("cannot write {page}: {error}")))
}

fn usage() -> Error {
    Error::Failed("usage: people PROGRAM PAGE [STEP]".to_owned())
}

/// Both models with the whole window and with their ladder, on long and on short prompts.
fn english(bench: &Bench<'_>, step: usize) -> Result<Vec<[Row; 2]>> {
    let short = List {
        short: true,
        ..List::ENGLISH
    };
    let mut rows = Vec::new();
    for weights in Weights::ALL {
        let model = bench.material.ctranslate2(weights);
        for context in [Some("whole"), Some("256,512"), None] {
            let on = |list| {
                say(&format!("{weights:?}, {context:?}, {list:?} …"));
                bench.clips(weights.name(), &model, list, context, step)
            };
            rows.push([on(List::ENGLISH)?, on(short)?]);
        }
    }
    Ok(rows)
}

/// The multilingual model with the whole window and with its ladder.
fn languages(bench: &Bench<'_>, step: usize) -> Result<Vec<[Row; 2]>> {
    let model = bench.material.ctranslate2(Weights::Base);
    let others = List::all().filter(|list| list.language != "en" && !list.short);
    let rows = others.map(|list| {
        say(&format!("{list:?} …"));
        let on = |context| bench.clips("base", &model, list, context, step * OTHERS);
        Ok([on(Some("whole"))?, on(None)?])
    });
    rows.collect()
}

/// Ours beside the others, on fewer prompts.
fn peers(bench: &Bench<'_>, step: usize) -> Result<Vec<Row>> {
    let step = step * OTHERS;
    let mut rows = Vec::new();
    for weights in Weights::ALL {
        let (name, folder) = (weights.name(), bench.material.ctranslate2(weights));
        let ggml = bench.material.ggml(weights, Precision::Q8);
        say(&format!("{name} beside others …"));
        for peer in [Peer::WhisperCli(&ggml), Peer::FasterWhisper(&folder)] {
            match bench.peer(name, &peer, step) {
                Ok(row) => rows.push(row),
                Err(error) => say(&format!("{} was left out: {error}", peer.name())),
            }
        }
        for model in [&ggml, &folder] {
            for context in [Some("whole"), None] {
                rows.push(bench.clips(name, model, List::ENGLISH, context, step)?);
            }
        }
    }
    Ok(rows)
}
