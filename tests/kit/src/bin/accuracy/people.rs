//! Real models on recordings of people: Asterisk plays its prompts in five languages into calls, and what the
//! transcripts say is set beside what the engine says of the same prompts alone.

use std::fs;
use std::path::Path;

use asterscribe_testkit::asterisk::{self, Release, Root};
use asterscribe_testkit::clips::Clips;
use asterscribe_testkit::program::{self, say};
use asterscribe_testkit::real_speech::{List, Prompt, RealSpeech, Weights};
use asterscribe_testkit::wav::Sound;
use asterscribe_testkit::words::WordErrors;
use asterscribe_testkit::{Error, Result, spoken};

use crate::calls::{self, Heard, LOSS};
use crate::delay::Delays;
use crate::{USAGE, failed};

/// Calls at once: of the server's captures no more have room.
const CALLS: usize = 14;

/// Silence behind a prompt, samples at 8 kHz (1.5 s).
const PAUSE: usize = 12_000;

/// Of the prompts in other languages only so many are taken: every so-manieth.
const OTHERS: usize = 4;

/// Figures of a model and a language.
struct Row {
    model: &'static str,
    list: List,
    prompts: usize,
    /// The prompts alone, through the engine.
    alone: WordErrors,
    live: WordErrors,
    thinned: WordErrors,
    packets_lost: u64,
    /// Delays of the first caller, alone.
    delays: Delays,
}

/// The recordings and the Asterisk that plays them.
struct Bench {
    material: RealSpeech,
    root: Root,
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
    let bench = Bench {
        material: RealSpeech::provide()?,
        root: asterisk::install(Release::V22)?,
    };
    let mut rows = vec![bench.row(Weights::TinyEn, List::ENGLISH, step)?];
    for list in List::all().filter(|list| !list.short) {
        let step = if list == List::ENGLISH {
            step
        } else {
            OTHERS * step
        };
        rows.push(bench.row(Weights::Base, list, step)?);
    }
    let text = table(&bench.root.version()?, &rows);
    fs::write(page, text).map_err(failed(Path::new(page)))
}

impl Bench {
    /// Every so-manieth prompt of a list, said to a model in calls.
    fn row(&self, weights: Weights, list: List, step: usize) -> Result<Row> {
        let prompts = self.material.prompts(list)?;
        let taken: Vec<_> = prompts.iter().step_by(step.max(1)).collect();
        let callers: Vec<Vec<&Prompt>> = (0..CALLS)
            .map(|caller| taken.iter().copied().skip(caller).step_by(CALLS).collect())
            .collect();
        let folder = tempfile::tempdir().map_err(failed(Path::new("a folder for sounds")))?;
        for (number, prompts) in callers.iter().enumerate() {
            write_sound(&folder.path().join(format!("{number}.wav")), prompts)?;
        }
        let model = self.material.ctranslate2(weights);
        let name = model.display().to_string();
        say(&format!(
            "{CALLS} calls in {} with {} …",
            list.language,
            weights.name()
        ));
        let settings = [
            ("WHISPER_MODEL", name.as_str()),
            ("WHISPER_LANGUAGE", list.language),
        ];
        let heard = calls::hear(&self.root, folder.path(), CALLS, "ulaw", &settings)?;
        let of = |text: fn(&Heard) -> &str| errors(list.language, &callers, heard.iter().map(text));
        // The same prompts, each by itself.
        let lists = self.material.models().with_file_name("lists");
        let file = lists.join(format!("{}.tsv", list.name()));
        let alone = ["--language", list.language, "--step", &step.to_string()];
        let alone = Clips::by_engine(&program::built_bench()?, &model, &file, &alone)?;
        Ok(Row {
            model: weights.name(),
            list,
            prompts: taken.len(),
            alone: alone.errors(list.language, &prompts),
            live: of(|heard| &heard.whole),
            thinned: of(|heard| &heard.thinned),
            packets_lost: heard.iter().map(|heard| heard.lost).sum(),
            delays: calls::time(&self.root, folder.path(), &settings)?,
        })
    }
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

fn errors<'a>(
    language: &str,
    callers: &[Vec<&Prompt>],
    heard: impl Iterator<Item = &'a str>,
) -> WordErrors {
    let pairs = callers.iter().zip(heard).map(|(prompts, heard)| {
        let said: Vec<_> = prompts.iter().map(|prompt| prompt.text.as_str()).collect();
        spoken::word_errors(language, &said.join(" "), heard)
    });
    pairs.fold(WordErrors::default(), WordErrors::plus)
}

fn table(asterisk: &str, rows: &[Row]) -> String {
    let mut text = format!(
        "# Real models on people's voices, through a real Asterisk\n\n\
         Written by `make accuracy-people`: Asterisk {asterisk} plays so many of its prompts (`make real-speech`) \
         into {CALLS} calls at once, with 1.5 s of pause between; the server takes each through `Stasis` and external media (µ-law), CTranslate2 with 8 bits, \
         the language set. The last column is the server's own captures of the same calls, replayed with {LOSS} % of the packets left out. \
         Beside them the prompts alone, each through µ-law and the engine, without the service.\n\n\
         | model | language | prompts | alone | live calls | packets lost in them | with {LOSS} % lost |\n|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let cell = |errors: &WordErrors| {
            let (wrong, of) = (errors.total(), errors.reference);
            format!("{:.2} % ({wrong} of {of})", 100.0 * errors.rate())
        };
        text += &format!(
            "| `{}` | {} | {} | {} | {} | {} | {} |\n",
            row.model,
            row.list.language,
            row.prompts,
            cell(&row.alone),
            cell(&row.live),
            row.packets_lost,
            cell(&row.thinned)
        );
    }
    text += "\n## How soon it can be read\n\n\
         The first of these callers alone, the transcript polled through the API every 10 ms. *Line*: from the end of an utterance's last word (`words`; \
         0.5 s of it are `VAD_HANG_OVER_MS`). *Partial*: from the beginning of its first word until anything of it can be read.\n\n\
         | model | language | lines | half within | 95 % within | partials | half within | 95 % within |\n|---|---|---|---|---|---|---|---|\n";
    for Row {
        model,
        list,
        delays,
        ..
    } in rows
    {
        let cells = |delays: &[i64]| {
            let within = |percent| match Delays::within(delays, percent) {
                Some(ms) => format!("{:.2} s", ms as f64 / 1000.0),
                None => "–".to_owned(),
            };
            format!("{} | {} | {}", delays.len(), within(50), within(95))
        };
        let (lines, partials) = (cells(&delays.lines), cells(&delays.partials));
        text += &format!("| `{model}` | {} | {lines} | {partials} |\n", list.language);
    }
    text
}
