//! Replays of captures, and what their lines are beside what was said.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use asterscribe_testkit::clips::Clips;
use asterscribe_testkit::real_speech::{RealSpeech, Weights};
use asterscribe_testkit::words::WordErrors;
use asterscribe_testkit::{Error, Result, program, spoken};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::failed;
use crate::party::{self, Party};
use crate::quiet::Quiet;

/// A line and a prompt have that much in common if they have anything, milliseconds.
const OVERLAP_MS: u64 = 100;

/// Silence that the segmenter leaves before and behind a voice by default, milliseconds.
const PRE_ROLL_MS: u64 = 240;
const POST_ROLL_MS: u64 = 300;

/// Parties, and the name of what can be heard beside their voices.
pub(crate) struct Condition {
    pub(crate) name: &'static str,
    parties: Vec<Party>,
}

impl Condition {
    pub(crate) fn new(name: &'static str, parties: Vec<Party>) -> Self {
        Self { name, parties }
    }
}

/// Figures of a setting in a condition.
#[derive(Default)]
pub(crate) struct Cell {
    pub(crate) errors: WordErrors,
    pub(crate) lines: usize,
    /// Borders of lines within prompts.
    pub(crate) torn: usize,
    /// Lines with more than one prompt.
    pub(crate) joined: usize,
}

/// Lines where nobody speaks.
pub(crate) struct Lines {
    pub(crate) with_text: usize,
    pub(crate) without_text: usize,
}

/// A line of a replay.
#[derive(Debug, Deserialize)]
struct Line {
    leg: String,
    start_ms: u64,
    end_ms: u64,
    text: String,
    /// Reason why the line was not recognised.
    gap: Option<String>,
}

pub(crate) struct Bench<'a> {
    material: &'a RealSpeech,
    conditions: &'a [Condition],
    captures: Vec<Vec<u8>>,
    folder: TempDir,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(material: &'a RealSpeech, conditions: &'a [Condition]) -> Result<Self> {
        let captures = conditions
            .iter()
            .map(|condition| party::capture(&condition.parties));
        Ok(Self {
            material,
            conditions,
            captures: captures.collect::<Result<_>>()?,
            folder: tempfile::tempdir().map_err(failed(Path::new("a folder for captures")))?,
        })
    }

    /// Every condition with a setting; as many at once as there are.
    pub(crate) fn cells(
        &self,
        weights: Weights,
        setting: Option<(&str, &str)>,
    ) -> Result<Vec<Cell>> {
        std::thread::scope(|scope| {
            let numbered = self.conditions.iter().zip(&self.captures).enumerate();
            let running: Vec<_> = numbered
                .map(|(number, (condition, capture))| {
                    scope.spawn(move || {
                        let name = format!("{number}.pcap");
                        let report = self.replay(&name, capture, weights, setting)?;
                        cell(&condition.parties, &report)
                    })
                })
                .collect();
            let joined = running.into_iter().map(|running| {
                running
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            joined.collect()
        })
    }

    /// Every condition, each prompt cut where it is known to be: what better cuts could win.
    pub(crate) fn cut_by_truth(&self, weights: Weights) -> Result<Vec<Cell>> {
        let cut = self.conditions.iter().map(|condition| {
            let mut list = String::new();
            let mut said = Vec::new();
            for (party, number) in condition.parties.iter().zip(0..) {
                let sounds = party.cut(PRE_ROLL_MS, POST_ROLL_MS);
                for (n, (sound, spoken)) in sounds.zip(&party.spoken).enumerate() {
                    let path = self.folder.path().join(format!("{number}-{n}.wav"));
                    fs::write(&path, sound.to_file()?).map_err(failed(&path))?;
                    list += &format!("{number}-{n}\t0\t{}\t-\n", path.display());
                    said.push(spoken.text.as_str());
                }
            }
            let path = self.folder.path().join("cut.tsv");
            fs::write(&path, list).map_err(failed(&path))?;
            let heard = Clips::by_engine(
                &program::built_bench()?,
                &self.material.ctranslate2(weights),
                &path,
                &[],
            )?;
            let pairs = said.iter().zip(&heard.clips);
            let errors = pairs.map(|(said, clip)| spoken::word_errors("en", said, &clip.text));
            Ok(Cell {
                errors: errors.fold(WordErrors::default(), WordErrors::plus),
                lines: heard.clips.len(),
                ..Cell::default()
            })
        });
        cut.collect()
    }

    pub(crate) fn lines_of(&self, weights: Weights, quiet: &Quiet) -> Result<Lines> {
        let capture = party::capture(std::slice::from_ref(&quiet.party))?;
        let report = self.replay("quiet.pcap", &capture, weights, None)?;
        let lines = lines(&report)?;
        let with_text = lines.iter().filter(|line| !line.text.is_empty()).count();
        Ok(Lines {
            with_text,
            without_text: lines.len() - with_text,
        })
    }

    fn replay(
        &self,
        name: &str,
        capture: &[u8],
        weights: Weights,
        setting: Option<(&str, &str)>,
    ) -> Result<Value> {
        let model = self.material.ctranslate2(weights);
        let model = model.display().to_string();
        let own = [
            ("WHISPER_MODEL", model.as_str()),
            ("WHISPER_LANGUAGE", "en"),
        ];
        let settings: Vec<_> = own.into_iter().chain(setting).collect();
        program::replay(&self.folder.path().join(name), capture, &settings)
    }
}

fn lines(report: &Value) -> Result<Vec<Line>> {
    let lines = Vec::<Line>::deserialize(&report["lines"]);
    let lines = lines.map_err(|error| Error::Failed(format!("the replay's lines: {error}")))?;
    // A line without text must not pass for quiet because nobody listened.
    match lines.iter().find_map(|line| line.gap.as_deref()) {
        Some(gap) => Err(Error::Failed(format!("a line was not recognised: {gap}"))),
        None => Ok(lines),
    }
}

fn cell(parties: &[Party], report: &Value) -> Result<Cell> {
    let lines = lines(report)?;
    let flows = report["flows"].as_array().into_iter().flatten();
    let legs: BTreeMap<&str, &str> = flows
        .filter_map(|flow| Some((flow["from"].as_str()?, flow["leg"].as_str()?)))
        .collect();
    let mut cell = Cell::default();
    for (party, port) in parties.iter().zip(10_000..) {
        let from = format!("127.0.0.1:{port}");
        let leg = legs.get(from.as_str());
        let leg =
            leg.ok_or_else(|| Error::Failed(format!("the replay has no flow from {from}")))?;
        let own: Vec<_> = lines.iter().filter(|line| line.leg == **leg).collect();
        add(&mut cell, party, &own);
    }
    Ok(cell)
}

fn add(cell: &mut Cell, party: &Party, lines: &[&Line]) {
    let said: Vec<_> = party.spoken.iter().map(|said| said.text.as_str()).collect();
    let heard: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    let errors = spoken::word_errors("en", &said.join(" "), &heard.join(" "));
    cell.errors = cell.errors.plus(errors);
    cell.lines += lines.len();
    let meet = |line: &Line, from: u64, to: u64| {
        line.end_ms.min(to) > line.start_ms.max(from) + OVERLAP_MS
    };
    for said in &party.spoken {
        let pieces = lines
            .iter()
            .filter(|line| meet(line, said.from_ms, said.to_ms));
        cell.torn += pieces.count().saturating_sub(1);
    }
    let holds_several = |line: &&&Line| {
        let within = party
            .spoken
            .iter()
            .filter(|said| meet(line, said.from_ms, said.to_ms));
        within.count() > 1
    };
    cell.joined += lines.iter().filter(holds_several).count();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::party::Spoken;

    #[test]
    fn lines_that_tear_and_join_are_counted() {
        let said = |from_ms, to_ms, text: &str| Spoken {
            from_ms,
            to_ms,
            text: text.to_owned(),
        };
        let party = Party {
            samples: Vec::new(),
            spoken: vec![
                said(0, 1_000, "one two"),
                said(1_200, 2_000, "three"),
                said(4_000, 5_000, "four"),
            ],
        };
        let line = |start_ms, end_ms, text: &str| Line {
            leg: "a".to_owned(),
            start_ms,
            end_ms,
            text: text.to_owned(),
            gap: None,
        };
        let lines = [
            line(0, 2_050, "one two three"),
            line(3_950, 4_400, "for"),
            line(4_400, 5_050, ""),
        ];
        let mut cell = Cell::default();
        add(&mut cell, &party, &lines.iter().collect::<Vec<_>>());
        assert_eq!((cell.lines, cell.torn, cell.joined), (3, 1, 1));
        assert_eq!((cell.errors.total(), cell.errors.reference), (1, 4));
    }
}
