//! `asterscribe-bench clips`: recordings of people through a speech engine alone, one line of
//! text for each, to set engines, models and contexts beside each other.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fmt, fs};

use anyhow::{Context, Result, ensure};
use asterscribe_recognition::engine;
use asterscribe_recognition::engine::{EngineConfig, LoadedModel};
use asterscribe_recognition::ladder::ContextMargins;
use asterscribe_recognition::transcriber::WhisperTranscriber;
use asterscribe_recognition::{Transcriber, UtteranceRef};
use asterscribe_speech::RetryReason;
use asterscribe_speech::{DecodeOptions, Recognition, SAMPLE_RATE, SAMPLES_PER_MS};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::meter::CpuMeter;
use super::{payload, proc};

/// Recordings to recognise, and the engine and contexts to do it with.
#[derive(Debug, Args)]
pub(crate) struct ClipsOptions {
    /// A ggml file or a CTranslate2 folder; by default the demo model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Lines of NAME, seconds, 8 kHz WAV file and text, separated by tabs.
    #[arg(long)]
    list: PathBuf,
    /// Whisper's code of what is spoken; `auto`: it is detected.
    #[arg(long, default_value = "en")]
    language: String,
    /// Encoder positions for each try, as in `WHISPER_CONTEXT`; by default those measured for the
    /// model.
    #[arg(long)]
    context: Option<ContextMargins>,
    /// So many clips are handed to the engine at once.
    #[arg(long, default_value_t = 1)]
    together: usize,
    /// Only the first so many clips.
    #[arg(long, default_value_t = usize::MAX)]
    first: usize,
    /// Only every so-manieth clip.
    #[arg(long, default_value_t = 1)]
    step: usize,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
    /// This process was started as a recognition process is; set by the program itself.
    #[arg(long, hide = true)]
    as_worker: bool,
}

/// A recording as a telephone brings it.
struct TelephoneClip {
    name: String,
    samples: Vec<i16>,
}

/// Recognises the clips; prints a line for each and, on standard error, what they cost.
pub(super) fn run(options: &ClipsOptions) -> Result<ExitCode> {
    if !options.as_worker {
        let mut again = Command::new(env::current_exe()?);
        again.args(env::args_os().skip(1)).arg("--as-worker");
        let failed = again.envs(engine::process_environment()).exec();
        return Err(failed).context("cannot start this program again");
    }
    let model = super::speech::model(options.model.as_deref())?;
    let config = EngineConfig {
        margins: options.context.clone(),
        ..EngineConfig::default()
    };
    let choices = DecodeOptions {
        language: Some(options.language.clone()).filter(|code| code != "auto"),
        ..DecodeOptions::default()
    };
    let clips = clips(options)?;
    let mut transcriber = LoadedModel::load(model, config)?.transcriber()?;
    // The first use of everything costs more.
    transcribe(&mut transcriber, &clips[..1], &choices)?;
    let (mut totals, mut all) = (ClipTotals::default(), Vec::new());
    let mut out = io::stdout().lock();
    for group in clips.chunks(options.together.max(1)) {
        let meter = CpuMeter::start()?;
        let recognitions = transcribe(&mut transcriber, group, &choices)?;
        let cpu_ns = meter.stop()?.own_ns;
        totals.cpu_ns += cpu_ns;
        for (clip, recognition) in group.iter().zip(recognitions) {
            totals.add(clip, &recognition);
            let heard = ClipResult::new(clip, recognition);
            match options.json {
                true => all.push(heard),
                false => writeln!(out, "{heard}").context("cannot print")?,
            }
        }
    }
    if options.json {
        let peak_memory = proc::peak_memory()?;
        let told = json!({
            "clips": all, "cpu_ms": totals.cpu_ns / 1_000_000,
            "audio_ms": totals.samples as u64 / SAMPLES_PER_MS, "peak_memory": peak_memory,
        });
        writeln!(out, "{told}").context("cannot print")?;
    } else {
        let told = totals.describe(clips.len());
        writeln!(io::stderr(), "{told}").context("cannot print")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The result of recognising a clip.
#[derive(Debug, Serialize)]
struct ClipResult {
    name: String,
    language: String,
    mean_logprob: f32,
    /// Reasons why each try but the last was rejected.
    retries: Vec<&'static str>,
    text: String,
}

impl ClipResult {
    fn new(clip: &TelephoneClip, recognition: Recognition) -> Self {
        let retries = recognition.retries.iter().map(|why| why.name());
        Self {
            name: clip.name.clone(),
            language: recognition.language,
            mean_logprob: recognition.mean_logprob.unwrap_or_default(),
            retries: retries.collect(),
            text: recognition.text,
        }
    }
}

impl fmt::Display for ClipResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            language,
            mean_logprob,
            retries,
            text,
        } = self;
        let retries = retries.join(",");
        write!(
            f,
            "{name}\t{language}\t{mean_logprob:.2}\t{retries}\t{text}"
        )
    }
}

fn transcribe(
    transcriber: &mut WhisperTranscriber,
    clips: &[TelephoneClip],
    choices: &DecodeOptions,
) -> Result<Vec<Recognition>> {
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
struct ClipTotals {
    cpu_ns: u64,
    samples: usize,
    retries: [usize; RetryReason::ALL.len()],
}

impl ClipTotals {
    fn add(&mut self, clip: &TelephoneClip, recognition: &Recognition) {
        self.samples += clip.samples.len();
        for reason in &recognition.retries {
            self.retries[*reason as usize] += 1;
        }
    }

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

fn clips(options: &ClipsOptions) -> Result<Vec<TelephoneClip>> {
    let list = &options.list;
    let text = fs::read_to_string(list);
    let text = text.with_context(|| format!("cannot read {}", list.display()))?;
    let lines = text
        .lines()
        .step_by(options.step.max(1))
        .take(options.first);
    let clips = lines.map(|line| {
        let mut fields = line.split('\t');
        let name = fields.next().unwrap_or_default().to_owned();
        let path = fields
            .nth(1)
            .with_context(|| format!("no sound file in {line:?}"))?;
        let samples = through_a_telephone(Path::new(path))?;
        Ok(TelephoneClip { name, samples })
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
