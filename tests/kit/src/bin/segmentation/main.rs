//! `make bench-segmentation`: how people's speech is cut into utterances, setting by setting and with
//! noise, and what comes of half an hour in which nobody speaks; into a page.
//!
//! ```text
//! segmentation PAGE [STEP]    the page to write, and every how-manieth English prompt (1)
//! ```

mod page;
mod party;
mod quiet;
mod run;

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use asterscribe_testkit::program::{self, say};
use asterscribe_testkit::real_speech::{List, Prompt, RealSpeech, Weights};
use asterscribe_testkit::{Error, Result};

use crate::page::{Row, Silence};
use crate::party::Party;
use crate::run::{Bench, Condition};

/// Parties that say the prompts.
const PARTIES: usize = 12;

/// Settings that are changed, one at a time, and their values.
const SETTINGS: [(&str, &[&str]); 5] = [
    ("VAD_ENTER_SCORE", &["0.35", "0.4", "0.6", "0.7"]),
    ("VAD_LEAVE_SCORE", &["0.2", "0.5"]),
    ("VAD_PRE_ROLL_MS", &["60", "120", "400"]),
    ("VAD_HANG_OVER_MS", &["300", "400", "700", "1000"]),
    ("VAD_POST_ROLL_MS", &["100", "200", "500"]),
];

fn main() -> ExitCode {
    program::main("segmentation", run)
}

/// Error about a file, with its path.
fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    move |error| Error::Failed(format!("{}: {error}", path.display()))
}

fn run(arguments: &[String]) -> Result<()> {
    let usage = || Error::Failed("usage: segmentation PAGE [STEP]".to_owned());
    let (page, step) = match arguments {
        [page] => (page, Ok(1)),
        [page, step] => (page, step.parse()),
        _ => return Err(usage()),
    };
    let step: usize = step.map_err(|_| usage())?;
    let material = RealSpeech::provide()?;
    let prompts = material.prompts(List::ENGLISH)?.into_iter();
    let prompts: Vec<_> = prompts.step_by(step.max(1)).collect();
    let conditions = conditions(&prompts)?;
    let bench = Bench::new(&material, &conditions)?;
    let mut rows = Vec::new();
    for weights in [Weights::Base, Weights::TinyEn] {
        say(&format!("the defaults with {} …", weights.name()));
        let name = format!("**the defaults**, `{}`", weights.name());
        rows.push(Row {
            name,
            cells: bench.cells(weights, None)?,
        });
        rows.push(Row {
            name: format!("each prompt by itself, `{}`", weights.name()),
            cells: bench.cut_by_truth(weights)?,
        });
    }
    for (setting, values) in SETTINGS {
        for value in values {
            say(&format!("{setting}={value} …"));
            rows.push(Row {
                name: format!("`{setting}` {value}"),
                cells: bench.cells(Weights::TinyEn, Some((setting, value)))?,
            });
        }
    }
    let mut silences = Vec::new();
    for quiet in quiet::kinds(&material)? {
        say(&format!("{} …", quiet.name));
        let lines = |weights| bench.lines_of(weights, &quiet);
        silences.push(Silence {
            name: quiet.name,
            minutes: quiet.party.samples.len() as f64 / quiet::MINUTE as f64,
            lines: [lines(Weights::Base)?, lines(Weights::TinyEn)?],
        });
    }
    let names: Vec<_> = conditions.iter().map(|condition| condition.name).collect();
    let text = page::page(prompts.len(), &names, &rows, &silences);
    fs::write(page, text).map_err(failed(Path::new(page)))
}

/// Conditions of the parties: in quiet, in noise, and with somebody else to be heard.
fn conditions(prompts: &[Prompt]) -> Result<Vec<Condition>> {
    let parties = || -> Result<Vec<Party>> {
        let prompts = |party| prompts.iter().skip(party).step_by(PARTIES);
        (0..PARTIES)
            .map(|party| Party::says(prompts(party)))
            .collect()
    };
    let noisy = |decibels| -> Result<Vec<Party>> {
        let noisy = |party: Party| party.with_noise(decibels);
        Ok(parties()?.into_iter().map(noisy).collect())
    };
    let clean = parties()?;
    let others = clean.iter().cycle().skip(1);
    let crossed = parties()?.into_iter().zip(others);
    let crossed = crossed.map(|(party, other)| party.with_another(other, 20.0));
    Ok(vec![
        Condition::new("noise 20 dB below", noisy(20.0)?),
        Condition::new("noise 10 dB below", noisy(10.0)?),
        Condition::new("another voice 20 dB below", crossed.collect()),
        Condition::new("quiet", clean),
    ])
}
