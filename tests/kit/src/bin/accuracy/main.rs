//! `make accuracy`: how many words come out wrong when a real Asterisk plays
//! held-out recordings into calls, voice by voice, in narrow and in wide band,
//! with packets lost and without.
//!
//! ```text
//! accuracy FOLDER [PAGE]           callers made by tools/demo-model; the page is written with the result
//! accuracy --people PAGE [STEP]    real models on Asterisk's English prompts, every how-manieth (1)
//! ```

mod calls;
mod delay;
mod loss;
mod people;
mod table;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use asterscribe_testkit::asterisk::{self, Release};
use asterscribe_testkit::program::{self, say};
use asterscribe_testkit::words::WordErrors;
use asterscribe_testkit::{Error, Result};
use serde::Deserialize;

use crate::calls::Heard;
use crate::table::Row;

/// Formats that externalMedia is asked for, and in which the caller's channel speaks.
const FORMATS: [&str; 2] = ["ulaw", "slin16"];

const USAGE: &str = "usage: accuracy FOLDER [PAGE], or accuracy --people PAGE [STEP]";

/// A caller, whose words one voice says.
#[derive(Debug, Deserialize)]
struct Caller {
    voice: String,
    /// Whether the model was trained on this voice (never on these words).
    seen: bool,
    sentences: Vec<String>,
}

fn main() -> ExitCode {
    program::main("accuracy", run)
}

fn run(arguments: &[String]) -> Result<()> {
    if let Some((first, rest)) = arguments.split_first()
        && first == "--people"
    {
        return people::run(rest);
    }
    let (folder, page) = match arguments {
        [folder] => (Path::new(folder), None),
        [folder, page] => (Path::new(folder), Some(Path::new(page))),
        _ => return Err(Error::Failed(USAGE.to_owned())),
    };
    let folder = fs::canonicalize(folder).map_err(failed(folder))?;
    let callers = callers(&folder)?;
    let root = asterisk::install(Release::V22)?;
    let mut heard = Vec::new();
    for format in FORMATS {
        say(&format!("{} callers in {format} …", callers.len()));
        heard.push(calls::hear(&root, &folder, callers.len(), format, &[])?);
    }
    let text = table::page(&root.version()?, &rows(&callers, &heard), &heard);
    match page {
        Some(page) => fs::write(page, &text).map_err(failed(page)),
        None => io::stdout()
            .write_all(text.as_bytes())
            .map_err(failed(Path::new("standard output"))),
    }
}

fn callers(folder: &Path) -> Result<Vec<Caller>> {
    let path = folder.join("voices.json");
    let text = fs::read_to_string(&path).map_err(failed(&path))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Failed(format!("{}: {error}", path.display())))
}

/// Errors of each caller: without loss in each format, then with loss in each.
fn rows(callers: &[Caller], heard: &[Vec<Heard>]) -> Vec<Row> {
    let row = |(number, caller): (usize, &Caller)| {
        let said = caller.sentences.join(" ");
        let errors = |text: &String| WordErrors::between(&said, text);
        let whole = heard.iter().map(|format| errors(&format[number].whole));
        let thinned = heard.iter().map(|format| errors(&format[number].thinned));
        Row {
            voice: caller.voice.clone(),
            seen: caller.seen,
            errors: whole.chain(thinned).collect(),
        }
    };
    callers.iter().enumerate().map(row).collect()
}

/// Error about a file, with its path.
fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    move |error| Error::Failed(format!("{}: {error}", path.display()))
}
