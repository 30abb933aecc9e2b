//! Real models on recordings of people: Asterisk plays its English prompts into calls, and what the
//! transcripts say is set beside what the engine says of the same prompts alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use asterscribe_testkit::asterisk::{self, Release};
use asterscribe_testkit::real_speech::{List, Prompt, RealSpeech, Weights};
use asterscribe_testkit::wav::Sound;
use asterscribe_testkit::words::WordErrors;
use asterscribe_testkit::{Error, Result, program, spoken};
use serde_json::Value;

use crate::calls::{self, Heard, LOSS};
use crate::{USAGE, failed, say};

/// Calls at once: of the server's captures no more have room.
const CALLS: usize = 14;

/// Silence behind a prompt, samples at 8 kHz (1.5 s).
const PAUSE: usize = 12_000;

/// What came of a model.
struct Row {
    model: &'static str,
    /// The prompts alone, through the engine.
    alone: WordErrors,
    live: WordErrors,
    thinned: WordErrors,
    packets_lost: u64,
}

/// Measures both models and writes the page.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let usage = || Error::Failed(USAGE.to_owned());
    let (page, step) = match arguments {
        [page] => (page, Ok(1)),
        [page, step] => (page, step.parse()),
        _ => return Err(usage()),
    };
    let step: usize = step.map_err(|_| usage())?;
    let material = RealSpeech::provide()?;
    let prompts = material.prompts(List::ENGLISH)?.into_iter();
    let prompts: Vec<_> = prompts.step_by(step.max(1)).collect();
    let callers: Vec<Vec<&Prompt>> = (0..CALLS)
        .map(|caller| prompts.iter().skip(caller).step_by(CALLS).collect())
        .collect();
    let folder = tempfile::tempdir().map_err(failed(Path::new("a folder for sounds")))?;
    for (number, prompts) in callers.iter().enumerate() {
        write_sound(&folder.path().join(format!("{number}.wav")), prompts)?;
    }
    let root = asterisk::install(Release::V22)?;
    let mut rows = Vec::new();
    for weights in Weights::ALL {
        let model = material.ctranslate2(weights);
        let (model, name) = (model.display().to_string(), weights.name());
        say(&format!("{} calls with {name} …", callers.len()));
        let settings = [
            ("WHISPER_MODEL", model.as_str()),
            ("WHISPER_LANGUAGE", "en"),
        ];
        let heard = calls::hear(&root, folder.path(), callers.len(), "ulaw", &settings)?;
        let of = |text: fn(&Heard) -> &str| errors(&callers, heard.iter().map(text));
        rows.push(Row {
            model: name,
            alone: alone(&model, &material, step)?,
            live: of(|heard| &heard.whole),
            thinned: of(|heard| &heard.thinned),
            packets_lost: heard.iter().map(|heard| heard.lost).sum(),
        });
    }
    let text = table(&root.version()?, prompts.len(), &rows);
    fs::write(page, text).map_err(failed(Path::new(page)))
}

/// Prompts one after the other, at 8 kHz.
fn write_sound(path: &Path, prompts: &[&Prompt]) -> Result<()> {
    let mut samples: Vec<i16> = Vec::new();
    for prompt in prompts {
        samples.extend(prompt.sound()?.samples);
        samples.resize(samples.len() + PAUSE, 0);
    }
    let sound = Sound {
        rate: 8_000,
        samples,
    };
    fs::write(path, sound.to_file()?).map_err(failed(path))
}

fn errors<'a>(callers: &[Vec<&Prompt>], heard: impl Iterator<Item = &'a str>) -> WordErrors {
    let pairs = callers.iter().zip(heard).map(|(prompts, heard)| {
        let said: Vec<_> = prompts.iter().map(|prompt| prompt.text.as_str()).collect();
        spoken::word_errors("en", &said.join(" "), heard)
    });
    pairs.fold(WordErrors::default(), WordErrors::plus)
}

/// The same prompts by `asterscribe bench clips`, each by itself.
fn alone(model: &str, material: &RealSpeech, step: usize) -> Result<WordErrors> {
    let binary = program::built()?;
    let list = material.models().with_file_name("lists").join("en.tsv");
    let mut command = Command::new(&binary);
    command.args(["bench", "clips", "--json", "--model", model, "--step"]);
    command.arg(step.to_string()).arg("--list").arg(list);
    let output = command.output().map_err(failed(&binary))?;
    let printed: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::Failed(format!("bench clips printed no result: {error}")))?;
    let prompts = material.prompts(List::ENGLISH)?.into_iter();
    let said: BTreeMap<_, _> = prompts.map(|prompt| (prompt.id, prompt.text)).collect();
    let clips = printed["clips"].as_array().into_iter().flatten();
    let errors = clips.filter_map(|clip| {
        let said = said.get(clip["name"].as_str()?)?;
        Some(spoken::word_errors("en", said, clip["text"].as_str()?))
    });
    Ok(errors.fold(WordErrors::default(), WordErrors::plus))
}

fn table(asterisk: &str, prompts: usize, rows: &[Row]) -> String {
    let mut text = format!(
        "# Real models on people's voices, through a real Asterisk\n\n\
         Written by `make accuracy-people`: Asterisk {asterisk} plays {prompts} of its English prompts (`make real-speech`) into {CALLS} calls at once, \
         with 1.5 s of pause between; the server takes each through `Stasis` and external media (µ-law), CTranslate2 with 8 bits, `WHISPER_LANGUAGE=en`. \
         The last column is the server's own captures of the same calls, replayed with {LOSS} % of the packets left out. \
         Beside them the prompts alone, each through µ-law and the engine, without the service.\n\n\
         | model | prompts alone | live calls | packets lost in them | with {LOSS} % lost |\n|---|---|---|---|---|\n"
    );
    for row in rows {
        let cell = |errors: &WordErrors| {
            let (wrong, of) = (errors.total(), errors.reference);
            format!("{:.2} % ({wrong} of {of})", 100.0 * errors.rate())
        };
        text += &format!(
            "| `{}` | {} | {} | {} | {} |\n",
            row.model,
            cell(&row.alone),
            cell(&row.live),
            row.packets_lost,
            cell(&row.thinned)
        );
    }
    text
}
