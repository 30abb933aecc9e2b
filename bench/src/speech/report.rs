//! Report on recognition: the figures against their goals.

use anyhow::Result;
use asterscribe_speech::segmenter::SegmenterConfig;
use serde::Serialize;
use serde_json::json;

use super::WORKERS;
use super::whisper_cli::CliRun;
use super::words;
use crate::figures::{FigureUnit, ReportFigure, RoundSpread, figure, ratio};
use crate::isolate::ProcessPlace;
use crate::proc;
use crate::server::TICK;
use crate::sheet::ReportSheet;
use crate::wire::OrderOutcome;

/// Latency beyond 1.05 times that of the engine alone, milliseconds.
const G6: [f64; 2] = [1.05, 20.0];
/// Delay beyond the hang-over, milliseconds.
const G7: f64 = 30.0;
/// CPU time over whisper-cli's: clips (also over the engine's), a live call, a backlog; and per
/// cent of words that differ.
const G8A: f64 = 1.05;
const G8B: [f64; 2] = [1.2, 1.0];
const G8C: f64 = 0.6;
/// Time and CPU time of two workers over those of one with two threads: a throughput of 1.3.
const G9: [f64; 2] = [1.0 / 1.3, 0.75];
/// Per cent of the workers' time in which they have nothing to do though jobs wait.
const G10: f64 = 5.0;
/// Milliseconds from a loaded model to a worker set that is ready.
const G13: f64 = 1_000.0;
/// Per cent of an utterance beyond which times of words are dear.
const WORD_TIMES: f64 = 15.0;

/// The program that played whisper-cli's part.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SpeechBaseline {
    /// whisper-cli itself; the nanoseconds that it takes to start and to load the model do not
    /// count.
    WhisperCli { start_ns: u64 },
    /// This program's own engine, on windows of 30 s, and the reason.
    Engine { why: String },
}

/// Results of one round.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SpeechRound {
    pub(super) cli_clips: CliRun,
    pub(super) cli_clips_plain: CliRun,
    pub(super) service_clips: OrderOutcome,
    pub(super) bare_clips: OrderOutcome,
    /// Clips without word times; measured in the first two rounds only.
    pub(super) untimed_clips: Option<OrderOutcome>,
    pub(super) two_threads: Option<OrderOutcome>,
    pub(super) cli_whole: CliRun,
    pub(super) cli_whole_plain: CliRun,
    pub(super) cli_whole_as_it_comes: CliRun,
    pub(super) service_live: OrderOutcome,
    pub(super) service_backlog: OrderOutcome,
    pub(super) bare_fitted: OrderOutcome,
    pub(super) untimed_fitted: OrderOutcome,
    /// Each utterance alone, milliseconds: through the service, and in the engine alone.
    pub(super) single: Vec<[f64; 2]>,
    /// Time until the worker set, and until the engine alone, is ready.
    pub(super) start: [OrderOutcome; 2],
}

/// Report of a whole run.
#[derive(Debug)]
pub(super) struct SpeechReport {
    pub(super) quick: bool,
    pub(super) place: ProcessPlace,
    pub(super) model: String,
    pub(super) baseline: SpeechBaseline,
    /// Length of the call, and of the clips, minutes.
    pub(super) minutes: u32,
    pub(super) clip_minutes: f64,
    /// Words of the script of the call.
    pub(super) truth: Vec<String>,
    /// Delays to the segmenter's decision, milliseconds: from the end of each utterance, and from
    /// the last frame that the detector takes for voice.
    pub(super) decisions_ms: Vec<[f64; 2]>,
    pub(super) rounds: Vec<SpeechRound>,
}

/// CPU time of the part and its workers together, nanoseconds.
fn all(outcome: &OrderOutcome) -> f64 {
    (outcome.own_ns + outcome.workers_ns) as f64
}

fn cli(ran: &CliRun) -> f64 {
    ran.cpu_ns as f64
}

impl SpeechReport {
    /// Faults that disqualify the run, in words.
    pub(super) fn faults(&self) -> Vec<String> {
        let named = |round: &SpeechRound| {
            [
                ("clips", &round.service_clips),
                ("live", &round.service_live),
                ("backlog", &round.service_backlog),
            ]
            .map(|(name, outcome)| (name, outcome.faults.clone()))
        };
        let faults = self.rounds.iter().flat_map(named);
        faults
            .flat_map(|(name, faults)| faults.into_iter().map(move |why| format!("{name}: {why}")))
            .collect()
    }

    fn of(&self, of: impl Fn(&SpeechRound) -> f64) -> Option<RoundSpread> {
        RoundSpread::of(self.rounds.iter().map(of))
    }

    /// Spread over the rounds in which it was measured.
    fn where_known(&self, of: impl Fn(&SpeechRound) -> Option<f64>) -> Option<RoundSpread> {
        RoundSpread::of(self.rounds.iter().filter_map(of))
    }

    pub(super) fn sheet(&self) -> ReportSheet {
        let faults = self.faults();
        let verdict = if faults.is_empty() {
            "Every job was answered with words, and the call's account balances.".to_owned()
        } else {
            format!("DISQUALIFIED:\n- {}", faults.join("\n- "))
        };
        ReportSheet {
            head: self.head(),
            figures: self.figures(),
            verdict,
        }
    }

    fn head(&self) -> Vec<String> {
        let time = if self.place.own_time() {
            "preferred to what else runs (nice -10)"
        } else {
            "among all else that runs"
        };
        let baseline = match &self.baseline {
            SpeechBaseline::WhisperCli { start_ns } => format!(
                "Baseline: whisper.cpp's whisper-cli, one thread; the {:.0} ms that it takes to start and to load the model are taken off.",
                *start_ns as f64 / 1e6
            ),
            SpeechBaseline::Engine { why } => format!(
                "Baseline: NOT whisper-cli but this program's own engine, one call of whisper_full for each 30 s ({why})."
            ),
        };
        let mut head = vec![
            format!(
                "{}, Linux {}; {time}, load average {} at the end; model {}; {} rounds.",
                proc::processor(),
                proc::kernel(),
                proc::load(),
                self.model,
                self.rounds.len()
            ),
            baseline,
        ];
        if self.quick {
            head.push("A quick run: it shows that all works and judges nothing.".to_owned());
        }
        head
    }

    /// All figures, in the order of the goals.
    pub(super) fn figures(&self) -> Vec<ReportFigure> {
        let mut figures = self.latency();
        figures.extend(self.clips());
        figures.extend(self.live());
        figures.extend(self.backlog());
        figures.extend(self.words());
        figures.extend(self.workers());
        figures.extend(self.word_times());
        if self.quick {
            figures.iter_mut().for_each(|figure| figure.goal = None);
        }
        figures
    }

    fn latency(&self) -> Vec<ReportFigure> {
        let single = || self.rounds.iter().flat_map(|round| &round.single);
        let ms = |of: fn(&[f64; 2]) -> f64| RoundSpread::of(single().map(of));
        let hang_over = SegmenterConfig::default().hang_over.as_millis() as f64;
        let tick = TICK.as_millis() as f64;
        let late = |n: usize| {
            let delays = self.decisions_ms.iter().map(move |ms| ms[n]);
            RoundSpread::of(delays.map(|ms| ms - hang_over + tick))
        };
        vec![
            figure(
                "G6",
                "final: decision to text through the service, less 1.05 × the engine alone; idle"
                    .to_owned(),
                FigureUnit::Milliseconds,
                ms(|[service, bare]| service - G6[0] * bare),
                Some(G6[1]),
            ),
            figure(
                "",
                "the engine alone, an utterance with the context fitted".to_owned(),
                FigureUnit::Milliseconds,
                ms(|[_, bare]| *bare),
                None,
            ),
            figure(
                "G7",
                "end of speech to decision, beyond the hang-over, one tick added".to_owned(),
                FigureUnit::Milliseconds,
                late(0),
                Some(G7),
            ),
            figure(
                "G7",
                "the same from the last frame that the detector takes for voice".to_owned(),
                FigureUnit::Milliseconds,
                late(1),
                Some(G7),
            ),
        ]
    }

    fn clips(&self) -> Vec<ReportFigure> {
        let service = self.of(|round| all(&round.service_clips));
        let over = |id, what: &str, below, goal| {
            let value = ratio(service, below);
            figure(id, what.to_owned(), FigureUnit::Ratio, value, goal)
        };
        let [flash, plain] = [
            self.of(|round| cli(&round.cli_clips)),
            self.of(|round| cli(&round.cli_clips_plain)),
        ];
        let cost = |what: &str, value| self.cost(what, value, self.clip_minutes);
        let untimed = self.where_known(|round| round.untimed_clips.as_ref().map(all));
        vec![
            over(
                "G8a",
                "utterances cut out beforehand, full context: service over whisper-cli",
                flash,
                Some(G8A),
            ),
            over(
                "G8a",
                "the same, both without flash attention",
                plain,
                Some(G8A),
            ),
            over(
                "G8b",
                "the same over this program's engine alone, window by window",
                self.of(|round| all(&round.bare_clips)),
                Some(G8A),
            ),
            over(
                "",
                "the same over the engine alone without times of words",
                untimed,
                None,
            ),
            cost("whisper-cli, a minute of such utterances", flash),
            cost("whisper-cli without flash attention", plain),
            cost("service", service),
        ]
    }

    fn cost(&self, what: &str, value: Option<RoundSpread>, minutes: f64) -> ReportFigure {
        let value = value.map(|value| value.map(|ns| ns / 1e9 / minutes));
        figure(
            "",
            what.to_owned(),
            FigureUnit::CpuSecondsPerMinute,
            value,
            None,
        )
    }

    fn live(&self) -> Vec<ReportFigure> {
        let service = self.of(|round| all(&round.service_live));
        let [flash, plain] = self.whole_file();
        let over = |what: &str, below| {
            let value = ratio(service, below);
            figure(
                "G8b",
                what.to_owned(),
                FigureUnit::Ratio,
                value,
                Some(G8B[0]),
            )
        };
        let cost = |what: &str, value| self.cost(what, value, f64::from(self.minutes));
        vec![
            over(
                "live call, packets to lines: service over whisper-cli on the whole file",
                flash,
            ),
            over("the same, both without flash attention", plain),
            cost("whisper-cli, a minute of the call", flash),
            cost("whisper-cli without flash attention", plain),
            cost(
                "whisper-cli with five beams and timestamps, as it comes",
                self.of(|round| cli(&round.cli_whole_as_it_comes)),
            ),
            cost("service", service),
            cost(
                "of which in the server's process, RTP and all",
                self.of(|round| round.service_live.own_ns as f64),
            ),
        ]
    }

    /// CPU time that whisper-cli takes for the whole call, nanoseconds: with flash attention, and
    /// without.
    fn whole_file(&self) -> [Option<RoundSpread>; 2] {
        [
            self.of(|round| cli(&round.cli_whole)),
            self.of(|round| cli(&round.cli_whole_plain)),
        ]
    }

    fn backlog(&self) -> Vec<ReportFigure> {
        let service = self.of(|round| all(&round.service_backlog));
        let [flash, plain] = self.whole_file();
        let over = |what: &str, below| {
            let value = ratio(service, below);
            figure("G8c", what.to_owned(), FigureUnit::Ratio, value, Some(G8C))
        };
        vec![
            over(
                "backlog of the call, packed, full context: service over whisper-cli on the whole file",
                flash,
            ),
            over("the same, both without flash attention", plain),
            self.cost("service, packed", service, f64::from(self.minutes)),
        ]
    }

    /// Figures on recognised words: how many differ between a fitted and a full context, and from
    /// the script.
    fn words(&self) -> Vec<ReportFigure> {
        let differ = |id, what: &str, goal, of: &dyn Fn(&SpeechRound) -> f64| {
            figure(id, what.to_owned(), FigureUnit::Percent, self.of(of), goal)
        };
        let from_script = |texts: &[String]| words::differing(&words::of_texts(texts), &self.truth);
        vec![
            differ(
                "G8b",
                "words that a fitted context hears otherwise than the whole window",
                Some(G8B[1]),
                &|round| {
                    let whole = &round.bare_clips.texts;
                    let fitted = round.bare_fitted.texts.get(..whole.len());
                    let fitted = words::of_texts(fitted.unwrap_or_default());
                    words::differing(&fitted, &words::of_texts(whole))
                },
            ),
            differ(
                "",
                "words of the script that are heard otherwise: service, live",
                None,
                &|round| from_script(&round.service_live.texts),
            ),
            differ("", "the same: service, packed backlog", None, &|round| {
                from_script(&round.service_backlog.texts)
            }),
            differ("", "the same: whisper-cli, whole file", None, &|round| {
                words::differing(&round.cli_whole.words, &self.truth)
            }),
        ]
    }

    fn workers(&self) -> Vec<ReportFigure> {
        let of_both = |of: fn(&OrderOutcome) -> f64| {
            ratio(
                self.of(|round| of(&round.service_clips)),
                self.where_known(|round| round.two_threads.as_ref().map(of)),
            )
        };
        let unused = |outcome: &OrderOutcome| {
            let all = outcome.wall_ns as f64 * WORKERS as f64;
            let used = (outcome.workers_ns + outcome.waited_ns) as f64;
            ((1.0 - used / all) * 100.0).max(0.0)
        };
        let start = |n: usize| move |round: &SpeechRound| round.start[n].wall_ns as f64 / 1e6;
        let later = self.of(|round| start(0)(round) - start(1)(round));
        let count = self
            .rounds
            .first()
            .map_or(0, |round| round.service_clips.texts.len());
        vec![
            figure(
                "G9",
                format!("{count} queued finals: time of 2 workers × 1 thread over 1 × 2"),
                FigureUnit::Ratio,
                of_both(|outcome| outcome.wall_ns as f64),
                Some(G9[0]),
            ),
            figure(
                "G9",
                "the same, CPU time".to_owned(),
                FigureUnit::Ratio,
                of_both(all),
                Some(G9[1]),
            ),
            figure(
                "G10",
                "of the workers' time at saturation, not used".to_owned(),
                FigureUnit::Percent,
                self.of(|round| unused(&round.service_clips)),
                Some(G10),
            ),
            figure(
                "G13",
                "all workers are ready, later than the engine alone has loaded the model"
                    .to_owned(),
                FigureUnit::Milliseconds,
                later,
                Some(G13),
            ),
        ]
    }

    fn word_times(&self) -> Vec<ReportFigure> {
        let share = |with: &OrderOutcome, without: &OrderOutcome| {
            let (with, without) = (all(with), all(without));
            (with - without) / with * 100.0
        };
        let row = |what: &str, value| {
            let what = format!("times of words (DTW), of an utterance; {what}");
            figure("", what, FigureUnit::Percent, value, Some(WORD_TIMES))
        };
        vec![
            row(
                "context fitted",
                self.of(|round| share(&round.bare_fitted, &round.untimed_fitted)),
            ),
            row(
                "full context",
                self.where_known(|round| {
                    let without = round.untimed_clips.as_ref()?;
                    Some(share(&round.bare_clips, without))
                }),
            ),
        ]
    }

    pub(super) fn to_json(&self) -> Result<String> {
        let figures: Vec<_> = self
            .figures()
            .into_iter()
            .map(|figure| json!({"met": figure.met(), "figure": figure}))
            .collect();
        let text = serde_json::to_string_pretty(&json!({
            "processor": proc::processor(),
            "kernel": proc::kernel(),
            "place": self.place,
            "model": self.model,
            "baseline": self.baseline,
            "quick": self.quick,
            "disqualified": self.faults(),
            "figures": figures,
            "decisions_ms": self.decisions_ms,
            "rounds": self.rounds,
        }))?;
        Ok(text + "\n")
    }
}
