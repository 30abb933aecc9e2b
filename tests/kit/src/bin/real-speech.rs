//! Fetches real weights and recordings of people into the cache and says what there is.
//!
//! ```text
//! real-speech                         fetch; print the folders
//! real-speech score LIST HYPOTHESES   word errors of what `asterscribe-bench clips` printed:
//!                                     lines that begin with ID and end with the text, separated by tabs
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use asterscribe_testkit::real_speech::{List, RealSpeech};
use asterscribe_testkit::spoken;
use asterscribe_testkit::words::WordErrors;
use asterscribe_testkit::{Error, Result};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [] => fetch(),
        ["score", list, hypotheses] => score(list, Path::new(hypotheses)),
        _ => Err(Error::Failed(
            "usage: real-speech [score LIST HYPOTHESES]".to_owned(),
        )),
    };
    let told = match &done {
        Ok(text) => writeln!(io::stdout(), "{text}"),
        Err(error) => writeln!(io::stderr(), "real-speech: {error}"),
    };
    match (done, told) {
        (Ok(_), Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn fetch() -> Result<String> {
    let speech = RealSpeech::provide()?;
    let mut lines = vec![format!("models: {}", speech.models().display())];
    for list in List::all() {
        let prompts = speech.prompts(list)?;
        let minutes = prompts.iter().map(|prompt| prompt.seconds).sum::<f64>() / 60.0;
        lines.push(format!(
            "{}: {} prompts, {minutes:.1} minutes",
            list.name(),
            prompts.len()
        ));
    }
    lines.push(format!("music on hold: {} pieces", speech.music()?.len()));
    Ok(lines.join("\n"))
}

fn score(list: &str, hypotheses: &Path) -> Result<String> {
    let list = List::all().find(|known| known.name() == list);
    let list = list.ok_or_else(|| Error::Failed("there is no such list".to_owned()))?;
    let prompts = RealSpeech::provide()?.prompts(list)?;
    let read = fs::read_to_string(hypotheses);
    let read = read.map_err(|error| Error::Failed(format!("{}: {error}", hypotheses.display())))?;
    let texts: BTreeMap<&str, &str> = read
        .lines()
        .filter_map(|line| {
            let (id, rest) = line.split_once('\t')?;
            let (_, text) = rest.rsplit_once('\t')?;
            Some((id, text))
        })
        .collect();
    let mut errors = WordErrors::default();
    let mut lines = Vec::new();
    for prompt in &prompts {
        let Some(text) = texts.get(prompt.id.as_str()) else {
            continue;
        };
        let wrong = spoken::word_errors(list.language, &prompt.text, text);
        if wrong.total() > 0 {
            lines.push(format!(
                "{}\n  said  {}\n  heard {text}",
                prompt.id, prompt.text
            ));
        }
        errors = errors.plus(wrong);
    }
    lines.push(format!(
        "{}: {} of {} words wrong ({:.2} %): {} replaced, {} left out, {} put in",
        list.name(),
        errors.total(),
        errors.reference,
        100.0 * errors.rate(),
        errors.substitutions,
        errors.deletions,
        errors.insertions
    ));
    Ok(lines.join("\n"))
}
