//! `asterscribe bench clips`: recordings of people through a speech engine alone, one line of
//! text for each, to set engines, models and contexts beside each other.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use asterscribe::speech::engine::{EngineConfig, LoadedModel};
use asterscribe::speech::ladder::{ContextMargins, RetryReason};
use asterscribe::speech::transcriber::WhisperTranscriber;
use asterscribe::speech::{Choices, SAMPLE_RATE, Transcriber, UtteranceRef};
use clap::Args;

use super::meter::Meter;
use super::payload;

/// Recordings to recognise, and the engine and contexts to do it with.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A ggml file or a CTranslate2 folder; by default the demo model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Lines of NAME, seconds, 8 kHz WAV file and text, separated by tabs.
    #[arg(long)]
    list: PathBuf,
    /// Whisper's code of what is spoken; `auto`: it is detected.
    #[arg(long, default_value = "en")]
    language: String,
    /// Encoder positions behind the utterance for each try, such as 128,512; by default those
    /// measured for the model.
    #[arg(long, value_delimiter = ',')]
    margins: Option<Vec<u16>>,
    /// The whole window for every clip.
    #[arg(long, conflicts_with = "margins")]
    whole: bool,
    /// So many clips are handed to the engine at once.
    #[arg(long, default_value_t = 1)]
    together: usize,
    /// Only the first so many clips.
    #[arg(long, default_value_t = usize::MAX)]
    first: usize,
}

/// A recording as a telephone brings it.
struct Clip {
    name: String,
    samples: Vec<i16>,
}

/// Recognises the clips; prints a line for each and, on standard error, what they cost.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let model = super::speech::model(options.model.as_deref())?;
    let margins = match options.whole {
        true => Some(ContextMargins::WHOLE),
        false => options.margins.clone().map(ContextMargins::new),
    };
    let config = EngineConfig {
        margins,
        ..EngineConfig::default()
    };
    let choices = Choices {
        language: Some(options.language.clone()).filter(|code| code != "auto"),
        ..Choices::default()
    };
    let clips = clips(&options.list, options.first)?;
    let mut transcriber = LoadedModel::load(model, config)?.transcriber()?;
    // The first use of everything costs more.
    transcribe(&mut transcriber, &clips[..1], &choices)?;
    let mut totals = Totals::default();
    let mut out = io::stdout().lock();
    for group in clips.chunks(options.together.max(1)) {
        let meter = Meter::start()?;
        let recognitions = transcribe(&mut transcriber, group, &choices)?;
        let cpu_ns = meter.stop()?.own_ns;
        totals.cpu_ns += cpu_ns;
        for (clip, recognition) in group.iter().zip(recognitions) {
            totals.samples += clip.samples.len();
            for reason in &recognition.retries {
                totals.retries[*reason as usize] += 1;
            }
            let (name, language) = (&clip.name, &recognition.language);
            let text = &recognition.text;
            writeln!(out, "{name}\t{language}\t{text}").context("cannot print")?;
        }
    }
    writeln!(io::stderr(), "{}", totals.describe(clips.len())).context("cannot print")?;
    Ok(ExitCode::SUCCESS)
}

fn transcribe(
    transcriber: &mut WhisperTranscriber,
    clips: &[Clip],
    choices: &Choices,
) -> Result<Vec<asterscribe::speech::Recognition>> {
    let utterances: Vec<_> = clips
        .iter()
        .map(|clip| UtteranceRef {
            samples: &clip.samples,
            choices,
        })
        .collect();
    let results = transcriber.transcribe_together(&utterances);
    let results = results.into_iter().collect::<Result<Vec<_>, _>>();
    results.context("an utterance failed")
}

#[derive(Default)]
struct Totals {
    cpu_ns: u64,
    samples: usize,
    retries: [usize; RetryReason::ALL.len()],
}

impl Totals {
    fn describe(&self, clips: usize) -> String {
        let seconds = self.cpu_ns as f64 / 1e9;
        let minutes = self.samples as f64 / f64::from(SAMPLE_RATE) / 60.0;
        let retries = RetryReason::ALL.iter().zip(self.retries);
        let retries = retries.map(|(reason, count)| format!("{} {count}", reason.name()));
        format!(
            "{clips} clips, {minutes:.1} minutes: {:.0} CPU-ms a clip, {:.2} CPU-s a minute; tried again: {}",
            1000.0 * seconds / clips as f64,
            seconds / minutes,
            retries.collect::<Vec<_>>().join(", ")
        )
    }
}

fn clips(list: &Path, first: usize) -> Result<Vec<Clip>> {
    let text = fs::read_to_string(list);
    let text = text.with_context(|| format!("cannot read {}", list.display()))?;
    let clips = text.lines().take(first).map(|line| {
        let mut fields = line.split('\t');
        let name = fields.next().unwrap_or_default().to_owned();
        let path = fields
            .nth(1)
            .with_context(|| format!("no sound file in {line:?}"))?;
        let samples = through_a_telephone(Path::new(path))?;
        Ok(Clip { name, samples })
    });
    let clips: Vec<_> = clips.collect::<Result<_>>()?;
    ensure!(!clips.is_empty(), "{} is empty", list.display());
    Ok(clips)
}

/// An 8 kHz recording as the service has it behind µ-law.
fn through_a_telephone(path: &Path) -> Result<Vec<i16>> {
    let wav = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let packets = payload::samples(&wav).into_iter();
    let samples = payload::decoded(packets.map(|packet| payload::encode(&packet)))?;
    Ok(super::speech::pcm(&samples))
}
