//! `asterscribe-bench calls`: how many calls of two parties this machine holds with lines
//! that come in time, found by trying.

mod probe;
pub(super) mod server;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use self::probe::LoadProbe;
use super::cpus::UsedCpus;
use super::figures::{FigureUnit, ReportFigure, RoundSpread, figure};
use super::isolate::{self, ProcessPlace};
use super::sheet::{self, ReportSheet, SheetFormat};
use super::{proc, speech};

/// How to run it.
#[derive(Debug, Args)]
pub(crate) struct CallsOptions {
    /// A few calls for a moment: shows that it works, judges nothing.
    #[arg(long)]
    quick: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = SheetFormat::Text)]
    format: SheetFormat,
    /// So late, from the end of speech, may 95 % of the lines be, milliseconds.
    #[arg(long, default_value_t = 2_000)]
    latency_ms: u64,
    /// A model; by default the demo model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// A list of what people say in the calls, English: lines of NAME, seconds, 8 kHz WAV file and text,
    /// separated by tabs; by default synthetic voices.
    #[arg(long)]
    prompts: Option<PathBuf>,
    #[command(flatten)]
    place: ProcessPlace,
}

/// Calls with which the search begins: what they cost gives a first guess.
const FIRST: u32 = 4;

/// Loads that are tried in search of the one that is only just held.
const MAX_TRIES: usize = 6;

/// Search ends where the next load would be nearer than this part.
const NEAR: f64 = 0.06;

/// Factor by which the load is lowered when a load that held in a short trial does not hold in the
/// longer one; at most `MAX_STEPS_BACK` times.
const STEP_BACK: f64 = 0.9;
const MAX_STEPS_BACK: usize = 4;

/// Part of the processors that other programs may take before the report says that it matters.
const MAX_OTHERS: f64 = 0.05;

/// Length of a trial in the search, and of the one that is reported.
const TRIED: Duration = Duration::from_secs(20);
const CONFIRMED: Duration = Duration::from_secs(60);
const QUICK: Duration = Duration::from_secs(8);

/// Runs it and prints what came of it.
pub(super) fn run(options: CallsOptions) -> Result<ExitCode> {
    isolate::enter(options.place, UsedCpus::choose()?, isolate::PREFERRED)?;
    isolate::raise_file_limit()?;
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut search = LoadSearch {
        bound: Duration::from_millis(options.latency_ms),
        workers,
        options: &options,
        probes: Vec::new(),
    };
    let held = search.run()?;
    let report = CallsReport {
        quick: options.quick,
        bound: search.bound,
        processors: workers,
        model: speech::model(options.model.as_deref())?.name,
        is_people: options.prompts.is_some(),
        place: options.place,
        probes: search.probes,
        held,
    };
    report.sheet().print(options.format, || report.to_json())?;
    Ok(sheet::status(report.held.is_some()))
}

struct LoadSearch<'a> {
    bound: Duration,
    workers: usize,
    options: &'a CallsOptions,
    probes: Vec<LoadProbe>,
}

impl LoadSearch<'_> {
    /// The highest load that is held, if any is.
    fn run(&mut self) -> Result<Option<LoadProbe>> {
        if self.options.quick {
            let probe = self.probe(FIRST, QUICK)?;
            return Ok(probe.holds(self.bound).then_some(probe));
        }
        let mut calls = self.most()?;
        for _ in 0..MAX_STEPS_BACK {
            let probe = self.probe(calls, CONFIRMED)?;
            if probe.holds(self.bound) {
                return Ok(Some(probe));
            }
            calls = ((f64::from(calls) * STEP_BACK) as u32).max(1);
        }
        Ok(None)
    }

    /// About the most calls that are held in a short trial: the first guess doubled until it is too
    /// much, and then halves of what is between.
    fn most(&mut self) -> Result<u32> {
        let first = self.probe(FIRST, TRIED)?;
        let busy: f64 = first.busy.iter().sum();
        let guess = f64::from(FIRST) * self.workers as f64 / busy.max(0.001);
        let (mut held, mut too_many) = (1, None);
        let mut calls = (guess as u32).max(1);
        for _ in 0..MAX_TRIES {
            if self.probe(calls, TRIED)?.holds(self.bound) {
                held = calls;
            } else {
                too_many = Some(calls);
            }
            calls =
                too_many.map_or_else(|| held + held.div_ceil(4), |most| u32::midpoint(held, most));
            let near = (f64::from(held) * NEAR) as u32;
            if calls <= held + near {
                break;
            }
        }
        Ok(held)
    }

    fn probe(&mut self, calls: u32, length: Duration) -> Result<LoadProbe> {
        let model = self.options.model.as_deref();
        let prompts = self.options.prompts.as_deref();
        let probe = probe::run(calls, length, self.workers, model, prompts)?;
        self.probes.push(probe.clone());
        Ok(probe)
    }
}

/// Report of a whole run.
struct CallsReport {
    quick: bool,
    bound: Duration,
    processors: usize,
    model: String,
    is_people: bool,
    place: ProcessPlace,
    probes: Vec<LoadProbe>,
    held: Option<LoadProbe>,
}

impl CallsReport {
    fn sheet(&self) -> ReportSheet {
        ReportSheet {
            head: self.head(),
            figures: self.figures(),
            verdict: self.verdict(),
        }
    }

    fn head(&self) -> Vec<String> {
        let time = if self.place.own_time() {
            "preferred to what else runs (nice -10)"
        } else {
            "among all else that runs"
        };
        let mut head = vec![
            format!(
                "{}, {} processors, Linux {}; {time}, load average {} at the end, of which most is the bench itself; model {}.",
                proc::processor(),
                self.processors,
                proc::kernel(),
                proc::load(),
                self.model
            ),
            format!(
                "Server, its workers and the generator of RTP share the processors. Each party speaks 40 % of the time, some 8 utterances a minute; the voices are {}.",
                if self.is_people {
                    "those of people"
                } else {
                    "synthetic"
                }
            ),
        ];
        if self.quick {
            head.push("A quick run: it shows that all works and judges nothing.".to_owned());
        }
        head.extend(self.probes.iter().map(|probe| {
            let line = probe.outcome(self.bound);
            format!("Tried for {:.0} s: {line}.", probe.seconds)
        }));
        head
    }

    fn figures(&self) -> Vec<ReportFigure> {
        let held = |of: &dyn Fn(&LoadProbe) -> f64| RoundSpread::of(self.held.iter().map(of));
        let bound = self.bound.as_secs_f64() * 1e3;
        let latency = |what: &str, n: usize, goal: Option<f64>| {
            let value = held(&|probe| probe.latency_ms[n]);
            figure("", what.to_owned(), FigureUnit::Milliseconds, value, goal)
        };
        let share = |what: &str, n: usize| {
            let value = held(&|probe| probe.busy[n] * 100.0 / f64::from(probe.calls));
            figure("", what.to_owned(), FigureUnit::PercentOfCore, value, None)
        };
        let goal = (!self.quick).then_some(bound);
        vec![
            figure(
                "",
                "calls of two parties that are held".to_owned(),
                FigureUnit::Calls,
                held(&|probe| f64::from(probe.calls)),
                None,
            ),
            latency("end of speech to line, half of the lines within", 0, None),
            latency("end of speech to line, 95 % of the lines within", 1, goal),
            latency("end of speech to line, 99 % of the lines within", 2, None),
            share("a call, recognition workers", 1),
            share("a call, server: RTP to utterances, lines", 0),
            share("a call, generator of RTP (a real caller's is elsewhere)", 2),
            figure(
                "",
                "calls that would keep all processors busy, by what one costs: an upper bound"
                    .to_owned(),
                FigureUnit::Calls,
                held(&|probe| {
                    let busy: f64 = probe.busy.iter().sum();
                    f64::from(probe.calls) * self.processors as f64 / busy
                }),
                None,
            ),
            figure(
                "",
                "calls, by the estimate that a server makes when it starts".to_owned(),
                FigureUnit::Calls,
                held(&|probe| probe.estimate),
                None,
            ),
            figure(
                "",
                "of the processors' time, taken by other things meanwhile".to_owned(),
                FigureUnit::Percent,
                held(&|probe| probe.others * 100.0 / self.processors as f64),
                None,
            ),
        ]
    }

    fn verdict(&self) -> String {
        let Some(held) = &self.held else {
            return "DISQUALIFIED: no load was held without loss and in time.".to_owned();
        };
        let (calls, bound) = (held.calls, self.bound.as_secs_f64());
        let per = f64::from(calls) / self.processors as f64;
        let most = held.latency_ms[1] / 1e3;
        let quick = if self.quick { "at least " } else { "" };
        let others = held.others / self.processors as f64;
        let shared = if others > MAX_OTHERS {
            format!(
                " Other things took {:.0} % of the processors meanwhile: alone it holds more.",
                others * 100.0
            )
        } else {
            String::new()
        };
        format!(
            "Sizing: {quick}{calls} calls of two parties on {} processors ({per:.0} a processor) with {}: \
             95 % of the lines within {most:.2} s of the end of speech (bound {bound:.1} s); no packet, no utterance lost.{shared}",
            self.processors, self.model
        )
    }

    fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(&json!({
            "processor": proc::processor(),
            "processors": self.processors,
            "kernel": proc::kernel(),
            "place": self.place,
            "model": self.model,
            "voices_of_people": self.is_people,
            "quick": self.quick,
            "bound_ms": self.bound.as_secs_f64() * 1e3,
            "held": self.held,
            "probes": self.probes,
            "figures": self.figures(),
            "sizing": self.verdict(),
        }))?;
        Ok(text + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(held: Option<LoadProbe>) -> CallsReport {
        CallsReport {
            quick: false,
            bound: Duration::from_secs(2),
            processors: 2,
            model: "a model".to_owned(),
            is_people: false,
            place: ProcessPlace::default(),
            probes: Vec::new(),
            held,
        }
    }

    #[test]
    fn the_sizing_line_names_calls_processors_model_and_latency() {
        let held = probe::tests::of(50, vec![800.0; 20]);
        let report = report(Some(held));
        let text = report.sheet().to_text();
        assert!(
            text.contains("Sizing: 50 calls of two parties on 2 processors (25 a processor) with a model: 95 % of the lines within 0.80 s"),
            "{text}"
        );
        assert_eq!(report.figures()[2].met(), Some(true));
    }

    #[test]
    fn where_nothing_is_held_the_run_is_worth_nothing() {
        assert!(report(None).sheet().to_text().contains("DISQUALIFIED"));
    }
}
