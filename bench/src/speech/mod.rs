//! `asterscribe-bench speech`: what recognition costs beside whisper.cpp's own program on
//! the same audio with the same model, in one run.

pub(super) mod bare;
mod orders;
mod report;
pub(super) mod service;
mod whisper_cli;
mod words;

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use asterscribe_recognition::model::SpeechModel;
use asterscribe_speech::Utterance;
use clap::Args;

pub(super) use self::orders::model;
use self::report::{SpeechBaseline, SpeechReport, SpeechRound};
use self::whisper_cli::{CliMode, CliRun, WhisperCli};
use super::cpus::UsedCpus;
use super::isolate::{self, ProcessPlace};
use super::part::BenchPart;
use super::script::PartyScript;
use super::sheet::{self, SheetFormat};
use super::wire::{OrderOutcome, PartMessage, SpeechOrder};

/// Seed by which the call is made.
const SEED: u64 = 1;

/// Worker processes of the service, one thread each.
const WORKERS: usize = 2;

/// How long a part may take for an order, and to start.
const PATIENCE: Duration = Duration::from_secs(180);

/// How to run it.
#[derive(Debug, Args)]
pub(crate) struct SpeechOptions {
    /// One short round of each: shows that it works, judges nothing.
    #[arg(long)]
    quick: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = SheetFormat::Text)]
    format: SheetFormat,
    /// whisper.cpp's program.
    #[arg(long, default_value = "whisper-cli")]
    whisper_cli: PathBuf,
    /// A model for all of them; by default the demo model.
    #[arg(long)]
    model: Option<PathBuf>,
    #[command(flatten)]
    place: ProcessPlace,
}

/// Rounds with what takes long and need not be known so well.
const LONG_ROUNDS: u32 = 2;

/// Size of a run: rounds, minutes and clips.
#[derive(Debug, Clone, Copy)]
struct SpeechScale {
    rounds: u32,
    /// Minutes of the call.
    minutes: u32,
    /// Utterances that are recognised in a whole window each.
    clips: usize,
}

const FULL: SpeechScale = SpeechScale {
    rounds: 5,
    minutes: 3,
    clips: 16,
};

const QUICK: SpeechScale = SpeechScale {
    rounds: 1,
    minutes: 1,
    clips: 3,
};

/// Runs it and prints what came of it.
pub(super) fn run(options: SpeechOptions) -> Result<ExitCode> {
    isolate::enter(options.place, UsedCpus::choose()?, isolate::PREFERRED)?;
    let scale = if options.quick { QUICK } else { FULL };
    let mut bench = SpeechConductor::new(&options, scale)?;
    let rounds = (0..scale.rounds)
        .map(|n| bench.round(n))
        .collect::<Result<_>>()?;
    let report = SpeechReport {
        quick: options.quick,
        place: options.place,
        model: bench.model.name.clone(),
        baseline: bench.baseline(),
        minutes: scale.minutes,
        clip_minutes: minutes(bench.clips()),
        truth: bench.script.words(),
        decisions_ms: bench.script.decisions()?,
        rounds,
    };
    report.sheet().print(options.format, || report.to_json())?;
    Ok(sheet::status(report.faults().is_empty()))
}

/// Samples as whisper.cpp's program reads them from a file.
pub(super) fn pcm(samples: &[f32]) -> Vec<i16> {
    let pcm = samples.iter().map(|&sample| (sample * 32_768.0).round());
    pcm.map(|sample| sample as i16).collect()
}

fn minutes(utterances: &[Utterance]) -> f64 {
    let samples: usize = utterances.iter().map(|one| one.samples.len()).sum();
    samples as f64 / 16_000.0 / 60.0
}

/// Program and files of whisper-cli, or the reason why it is not there.
type OtherPrograms = Result<(WhisperCli, Vec<PathBuf>, [PathBuf; 1]), String>;

struct SpeechConductor {
    scale: SpeechScale,
    model: SpeechModel,
    script: PartyScript,
    utterances: Vec<Utterance>,
    cli: OtherPrograms,
    service: BenchPart,
    bare: BenchPart,
    untimed: BenchPart,
    two_threads: BenchPart,
}

impl SpeechConductor {
    fn new(options: &SpeechOptions, scale: SpeechScale) -> Result<Self> {
        let model = model(options.model.as_deref())?;
        let script = PartyScript::new(scale.minutes, SEED);
        let utterances = script.utterances()?;
        let clips = &utterances[..scale.clips.min(utterances.len())];
        let cli = prepare(options, &model, clips, &script).map_err(|error| format!("{error:#}"));
        let part = |name, what: &[&str], threads| start(name, what, threads, options, scale);
        let workers = WORKERS.to_string();
        Ok(Self {
            service: part("service", &["recognition", "--workers", &workers], 1)?,
            bare: part("engine", &["engine"], 1)?,
            untimed: part(
                "engine without word times",
                &["engine", "--no-word-times"],
                1,
            )?,
            two_threads: part("engine of two threads", &["engine", "--threads", "2"], 2)?,
            scale,
            model,
            script,
            utterances,
            cli,
        })
    }

    fn clips(&self) -> &[Utterance] {
        &self.utterances[..self.scale.clips.min(self.utterances.len())]
    }

    fn baseline(&self) -> SpeechBaseline {
        match &self.cli {
            Ok((cli, ..)) => SpeechBaseline::WhisperCli {
                start_ns: cli.start_ns(),
            },
            Err(why) => SpeechBaseline::Engine { why: why.clone() },
        }
    }

    /// One round: each measurement once, beside what it is held against.
    fn round(&mut self, number: u32) -> Result<SpeechRound> {
        let whole_windows = SpeechOrder::Clips {
            count: self.scale.clips,
            full_context: true,
        };
        let fitted = SpeechOrder::Clips {
            count: usize::MAX,
            full_context: false,
        };
        let is_long = number < LONG_ROUNDS;
        let if_long = |part| is_long.then(|| ask(part, whole_windows)).transpose();
        Ok(SpeechRound {
            untimed_clips: if_long(&mut self.untimed)?,
            two_threads: if_long(&mut self.two_threads)?,
            cli_clips: self.cli_clips(CliMode::Greedy)?,
            service_clips: ask(&mut self.service, whole_windows)?,
            cli_clips_plain: self.cli_clips(CliMode::Plain)?,
            bare_clips: ask(&mut self.bare, whole_windows)?,
            cli_whole: self.cli_whole(CliMode::Greedy)?,
            service_live: ask(&mut self.service, SpeechOrder::Live)?,
            cli_whole_plain: self.cli_whole(CliMode::Plain)?,
            service_backlog: ask(&mut self.service, SpeechOrder::Backlog)?,
            cli_whole_as_it_comes: self.cli_whole(CliMode::AsItComes)?,
            bare_fitted: ask(&mut self.bare, fitted)?,
            untimed_fitted: ask(&mut self.untimed, fitted)?,
            single: self.single()?,
            start: [
                ask(&mut self.service, SpeechOrder::Start)?,
                ask(&mut self.bare, SpeechOrder::Start)?,
            ],
        })
    }

    /// Each utterance alone, milliseconds: through the service, and in the engine alone.
    fn single(&mut self) -> Result<Vec<[f64; 2]>> {
        let mut both = Vec::new();
        for n in 0..self.clips().len() {
            let service = ask(&mut self.service, SpeechOrder::Clip(n))?;
            let bare = ask(&mut self.bare, SpeechOrder::Clip(n))?;
            both.push([service.wall_ns as f64 / 1e6, bare.wall_ns as f64 / 1e6]);
        }
        Ok(both)
    }

    fn cli_clips(&mut self, manner: CliMode) -> Result<CliRun> {
        match &self.cli {
            Ok((cli, clips, _)) => cli.run(manner, clips),
            Err(_) => self.instead(SpeechOrder::Clips {
                count: self.scale.clips,
                full_context: true,
            }),
        }
    }

    fn cli_whole(&mut self, manner: CliMode) -> Result<CliRun> {
        match &self.cli {
            Ok((cli, _, whole)) => cli.run(manner, whole),
            Err(_) => self.instead(SpeechOrder::Windows),
        }
    }

    /// Runs the order in this program's own engine, without word times, in place of a missing
    /// whisper-cli.
    fn instead(&mut self, order: SpeechOrder) -> Result<CliRun> {
        let outcome = ask(&mut self.untimed, order)?;
        Ok(CliRun {
            cpu_ns: outcome.own_ns,
            words: words::of_texts(&outcome.texts),
        })
    }
}

fn prepare(
    options: &SpeechOptions,
    model: &SpeechModel,
    clips: &[Utterance],
    script: &PartyScript,
) -> Result<(WhisperCli, Vec<PathBuf>, [PathBuf; 1])> {
    let cli = WhisperCli::find(&options.whisper_cli, model)?;
    let clips = clips.iter().enumerate();
    let clips = clips.map(|(n, clip)| cli.file(&format!("clip-{n}"), &clip.samples));
    let clips = clips.collect::<Result<_>>()?;
    let whole = cli.file("whole", &pcm(&script.samples()?))?;
    Ok((cli, clips, [whole]))
}

fn start(
    name: &'static str,
    what: &[&str],
    threads: u32,
    options: &SpeechOptions,
    scale: SpeechScale,
) -> Result<BenchPart> {
    let mut command = Command::new(env::current_exe()?);
    command.args(what);
    command.args(["--minutes", &scale.minutes.to_string()]);
    if let Some(model) = &options.model {
        command.arg("--model").arg(model);
    }
    // Or whisper.cpp would take four for the times of words.
    command.env("OMP_THREAD_LIMIT", threads.to_string());
    let part = BenchPart::start(name, command, None)?;
    match part.hear(PATIENCE)? {
        PartMessage::Ready => Ok(part),
        other => bail!("expected the {name} to be ready, not {other:?}"),
    }
}

fn ask(part: &mut BenchPart, order: SpeechOrder) -> Result<OrderOutcome> {
    part.say(&PartMessage::Recognise(order))?;
    let answer = part.hear(PATIENCE);
    match answer.with_context(|| format!("{order:?}"))? {
        PartMessage::Recognised(outcome) => Ok(outcome),
        other => bail!("expected what was recognised, not {other:?}"),
    }
}
