//! Report of the media path: the figures against their goals, and how they are printed.

mod print;
#[cfg(test)]
mod tests;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::figures::{FigureUnit, ReportFigure, RoundSpread, figure, ratio};
use super::isolate::ProcessPlace;
use super::media::MediaScale;
use super::payload::{BenchPayload, PACKET};
use super::receivers::ReceiverSubject;
use super::round::{MediaRound, RoundCase};

/// CPU time over that of a bare sink.
const G1: f64 = 1.5;
/// CPU time over that of asyncio, and of GStreamer.
const G2: [f64; 2] = [0.1, 1.0 / 3.0];
/// Per cent of a core for a call, and CPU time over that of the stages alone.
const G3: [f64; 2] = [0.10, 2.2];
/// KiB for a call without speech; with speech, KiB beside the payload, and how often the payload.
const G4: [f64; 3] = [32.0, 64.0, 1.1];
/// CPU time of a call among many over that among few.
const G5: f64 = 1.0;

/// Machine on which the run was made.
#[derive(Debug, Clone, Serialize)]
pub(super) struct MachineDescription {
    pub(super) processor: String,
    pub(super) kernel: String,
    /// Processor on which the receiver runs, alone.
    pub(super) receiver_cpu: Option<usize>,
    /// Processor on which the generator runs.
    pub(super) sender_cpu: Option<usize>,
    /// Isolation that the run had: a network namespace, priority.
    pub(super) place: ProcessPlace,
}

/// The cost of table, resampler and detector alone.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct MediaFloor {
    pub(super) payload: BenchPayload,
    pub(super) ns_per_packet: f64,
    pub(super) disturbed: bool,
}

/// A receiver that did not run, and why.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SkippedReceiver {
    pub(super) subject: ReceiverSubject,
    pub(super) why: String,
}

/// Report of a whole run.
#[derive(Debug)]
pub(super) struct MediaReport {
    pub(super) machine: MachineDescription,
    pub(super) scale: MediaScale,
    /// Whether the run was too short to be judged.
    pub(super) quick: bool,
    pub(super) rounds: Vec<MediaRound>,
    pub(super) floors: Vec<MediaFloor>,
    pub(super) skipped: Vec<SkippedReceiver>,
}

impl MediaReport {
    /// Faults of the program under test, or of the sink that it is held against, in words. If there
    /// are any, no other result of the run counts.
    pub(super) fn disqualified(&self) -> Vec<String> {
        self.faults(is_ours)
    }

    /// Faults of the other receivers, in words: such rounds do not count.
    fn faults_of_others(&self) -> Vec<String> {
        self.faults(|subject| !is_ours(subject))
    }

    /// Faults of the receivers that `whose` selects: one line for each round that has any.
    fn faults(&self, whose: impl Fn(ReceiverSubject) -> bool) -> Vec<String> {
        let named = |round: &MediaRound| {
            let (name, flows) = (round.case.subject.name(), round.case.flows);
            let meanwhile = round.disturbed.as_ref().map(|why| format!(" ({why})"));
            let faults = round.faults.join("; ");
            format!(
                "{name}, {flows} flows: {faults}{}",
                meanwhile.unwrap_or_default()
            )
        };
        self.rounds
            .iter()
            .filter(|round| whose(round.case.subject) && !round.faults.is_empty())
            .map(named)
            .collect()
    }

    /// The rounds that count among the `wanted` ones: the undisturbed ones if they are at least
    /// half.
    fn counted(&self, wanted: impl Fn(&RoundCase) -> bool) -> Vec<&MediaRound> {
        let all: Vec<_> = self
            .rounds
            .iter()
            .filter(|round| wanted(&round.case) && round.faults.is_empty())
            .collect();
        prefer(all, |round| round.disturbed.is_none())
    }

    /// Number of disturbed rounds.
    fn disturbed(&self) -> usize {
        self.rounds
            .iter()
            .filter(|round| round.disturbed.is_some())
            .count()
    }

    fn spread(
        &self,
        subject: ReceiverSubject,
        flows: u32,
        payload: BenchPayload,
        of: impl Fn(&MediaRound) -> f64,
    ) -> Option<RoundSpread> {
        let rounds = self.counted(|case| {
            (case.subject, case.flows, case.payload, case.slower) == (subject, flows, payload, 1)
        });
        RoundSpread::of(rounds.into_iter().map(of))
    }

    fn ns(&self, subject: ReceiverSubject, flows: u32) -> Option<RoundSpread> {
        self.spread(
            subject,
            flows,
            BenchPayload::Silence,
            MediaRound::ns_per_packet,
        )
    }

    /// All figures, in the order of the goals.
    pub(super) fn figures(&self) -> Vec<ReportFigure> {
        let mut figures = self.reception();
        figures.extend(self.others());
        figures.extend(self.whole_path());
        figures.extend(self.memory());
        figures.extend(self.growth());
        figures.extend(self.loss());
        if self.quick {
            figures.iter_mut().for_each(|figure| figure.goal = None);
        }
        figures
    }

    fn reception(&self) -> Vec<ReportFigure> {
        let flows = self.scale.flows;
        let (server, sink) = (
            self.ns(ReceiverSubject::Ordered, flows),
            self.ns(ReceiverSubject::Sink, flows),
        );
        let load = format!("{flows} flows, {} packets/s", flows * 50);
        let both = |subject| {
            self.spread(
                subject,
                flows,
                BenchPayload::Silence,
                MediaRound::ns_per_packet_of_all,
            )
        };
        vec![
            figure(
                "G1",
                format!("reception, server over bare sink; {load}"),
                FigureUnit::Ratio,
                ratio(server, sink),
                Some(G1),
            ),
            figure(
                "",
                "bare sink, CPU per packet".to_owned(),
                FigureUnit::Nanoseconds,
                sink,
                None,
            ),
            figure(
                "",
                "server, ordered and accounted, CPU per packet".to_owned(),
                FigureUnit::Nanoseconds,
                server,
                None,
            ),
            figure(
                "",
                "the same with the sender and the kernel's way in".to_owned(),
                FigureUnit::Nanoseconds,
                both(ReceiverSubject::Ordered),
                None,
            ),
        ]
    }

    fn others(&self) -> Vec<ReportFigure> {
        let few = self.scale.flows_of_others;
        let same = self.ns(ReceiverSubject::Ordered, few);
        let full = self.ns(ReceiverSubject::Ordered, self.scale.flows);
        let mut figures = Vec::new();
        for (subject, goal) in [
            (ReceiverSubject::PythonEach, G2[0]),
            (ReceiverSubject::PythonShared, G2[0]),
            (ReceiverSubject::Gstreamer, G2[1]),
        ] {
            let (theirs, name) = (self.ns(subject, few), subject.name());
            figures.extend([
                figure(
                    "G2",
                    format!("reception, server over {name}; both {few} flows"),
                    FigureUnit::Ratio,
                    ratio(same, theirs),
                    Some(goal),
                ),
                figure(
                    "G2",
                    format!("the same, server at {} flows", self.scale.flows),
                    FigureUnit::Ratio,
                    ratio(full, theirs),
                    Some(goal),
                ),
                figure(
                    "",
                    format!("{name}, CPU per packet; {few} flows"),
                    FigureUnit::Nanoseconds,
                    theirs,
                    None,
                ),
            ]);
        }
        figures.push(figure(
            "",
            format!("server, ordered and accounted, CPU per packet; {few} flows"),
            FigureUnit::Nanoseconds,
            same,
            None,
        ));
        figures
    }

    fn whole_path(&self) -> Vec<ReportFigure> {
        let flows = self.scale.flows;
        let sink = self.ns(ReceiverSubject::Sink, flows);
        let mut figures = Vec::new();
        for (payload, name) in [
            (BenchPayload::Silence, "silence"),
            (BenchPayload::Speech, "speech"),
        ] {
            let of = |of: fn(&MediaRound) -> f64| {
                self.spread(ReceiverSubject::Speech, flows, payload, of)
            };
            let stages = self.stages(payload);
            let floor = sink
                .zip(stages)
                .map(|(sink, stages)| stages.map(|ns| ns + sink.median));
            figures.extend([
                figure(
                    "G3",
                    format!("whole path up to the speech gate, a call of {name}; {flows} flows"),
                    FigureUnit::PercentOfCore,
                    of(MediaRound::percent_per_call),
                    Some(G3[0]),
                ),
                figure(
                    "G3",
                    format!("the same over its floor; {name}"),
                    FigureUnit::Ratio,
                    ratio(of(MediaRound::ns_per_packet), floor),
                    Some(G3[1]),
                ),
                figure(
                    "",
                    format!("whole path, CPU per packet; {name}"),
                    FigureUnit::Nanoseconds,
                    of(MediaRound::ns_per_packet),
                    None,
                ),
                figure(
                    "",
                    format!("table, resampler and detector alone, CPU per packet; {name}"),
                    FigureUnit::Nanoseconds,
                    stages,
                    None,
                ),
            ]);
        }
        figures
    }

    fn stages(&self, payload: BenchPayload) -> Option<RoundSpread> {
        let all: Vec<_> = self
            .floors
            .iter()
            .filter(|floor| floor.payload == payload)
            .collect();
        let counted = prefer(all, |floor| !floor.disturbed);
        RoundSpread::of(counted.into_iter().map(|floor| floor.ns_per_packet))
    }

    fn memory(&self) -> Vec<ReportFigure> {
        let [.., flows] = self.scale.growth;
        let measured =
            |payload: BenchPayload| self.counted(|case| case.slower > 1 && case.payload == payload);
        let kib = |payload, of: fn(&MediaRound) -> f64| {
            let spread = RoundSpread::of(measured(payload).into_iter().map(of))?;
            Some(spread.map(|bytes| bytes / 1024.0))
        };
        let spoken = measured(BenchPayload::Monologue);
        let held = spoken
            .first()
            .map_or(0, |round| round.case.packets_at_look() as usize * PACKET);
        let limit = G4[1] + G4[2] * held as f64 / 1024.0;
        let held = held / 1024;
        vec![
            figure(
                "G4",
                format!("memory of a call that has sent nothing yet; {flows} calls"),
                FigureUnit::Kibibytes,
                kib(BenchPayload::Silence, MediaRound::bytes_per_silent_call),
                Some(G4[0]),
            ),
            figure(
                "G4",
                "memory of a call with packets of silence".to_owned(),
                FigureUnit::Kibibytes,
                kib(BenchPayload::Silence, MediaRound::bytes_per_call),
                Some(G4[0]),
            ),
            figure(
                "G4",
                format!("memory of a call in an utterance of {held} KiB of payload so far"),
                FigureUnit::Kibibytes,
                kib(BenchPayload::Monologue, MediaRound::bytes_per_call),
                Some(limit),
            ),
        ]
    }

    fn growth(&self) -> Vec<ReportFigure> {
        let [few, some, many] = self.scale.growth;
        let of = |flows| {
            self.spread(
                ReceiverSubject::Speech,
                flows,
                BenchPayload::Speech,
                MediaRound::percent_per_call,
            )
        };
        let over = |more, less| {
            format!("whole path, CPU of a call of speech: among {more} calls over among {less}")
        };
        vec![
            figure(
                "G5",
                over(many, few),
                FigureUnit::Ratio,
                ratio(of(many), of(few)),
                Some(G5),
            ),
            figure(
                "G5",
                over(some, few),
                FigureUnit::Ratio,
                ratio(of(some), of(few)),
                Some(G5),
            ),
            figure(
                "",
                format!("whole path, a call of speech among {few}"),
                FigureUnit::PercentOfCore,
                of(few),
                None,
            ),
            figure(
                "",
                format!("whole path, a call of speech among {some}"),
                FigureUnit::PercentOfCore,
                of(some),
                None,
            ),
            figure(
                "",
                format!("whole path, a call of speech among {many}"),
                FigureUnit::PercentOfCore,
                of(many),
                None,
            ),
        ]
    }

    fn loss(&self) -> Vec<ReportFigure> {
        let flows = self.scale.flows;
        let ours = |round: &&MediaRound| {
            matches!(
                round.case.subject,
                ReceiverSubject::Ordered | ReceiverSubject::Speech
            ) && round.case.flows == flows
        };
        let lost = |round: &MediaRound| round.sent.saturating_sub(round.received) as f64;
        let all = RoundSpread::of(self.rounds.iter().filter(ours).map(lost));
        let worst = all.map(|lost| lost.map(|_| lost.high));
        let used = |payload| {
            self.spread(ReceiverSubject::Speech, flows, payload, |round| {
                round.percent_per_call() * f64::from(round.case.flows)
            })
        };
        let load = format!("{flows} flows, {} packets/s", flows * 50);
        vec![
            figure(
                "",
                format!("packets lost in the worst round; {load}"),
                FigureUnit::Packets,
                worst,
                Some(0.0),
            ),
            figure(
                "",
                format!("of one core, the whole path; {load} of speech"),
                FigureUnit::PercentOfCore,
                used(BenchPayload::Speech),
                Some(100.0),
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
            "machine": self.machine,
            "quick": self.quick,
            "disqualified": self.disqualified(),
            "not_run": self.skipped,
            "faults_of_others": self.faults_of_others(),
            "figures": figures,
            "floors": self.floors,
            "rounds": self.rounds,
        }))?;
        Ok(text + "\n")
    }
}

/// Whether faults of this receiver disqualify the run.
fn is_ours(subject: ReceiverSubject) -> bool {
    matches!(
        subject,
        ReceiverSubject::Sink | ReceiverSubject::Ordered | ReceiverSubject::Speech
    )
}

/// The good ones if they are at least half of all; else all, since an exception is no measurement
/// either.
fn prefer<T: Copy>(all: Vec<T>, good: impl Fn(T) -> bool) -> Vec<T> {
    let best: Vec<_> = all.iter().copied().filter(|&one| good(one)).collect();
    if 2 * best.len() >= all.len() {
        best
    } else {
        all
    }
}
