//! `asterscribe-bench media`: what the media path costs per packet and per
//! call, beside a bare sink, Python and GStreamer, in one run.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use asterscribe_clock as clock;
use clap::Args;

use super::cpus::{self, UsedCpus};
use super::isolate::ProcessPlace;
use super::payload::BenchPayload;
use super::receivers::ReceiverSubject;
use super::report::{MachineDescription, MediaFloor, MediaReport, SkippedReceiver};
use super::round::{self, MAX_STOLEN, MediaRound, RoundCase};
use super::sheet::{self, SheetFormat};
use super::{floor, isolate, proc};

/// How to run it.
#[derive(Debug, Args)]
pub(crate) struct MediaOptions {
    /// One short round of each with few flows: shows that it works, judges nothing.
    #[arg(long)]
    quick: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = SheetFormat::Text)]
    format: SheetFormat,
    #[command(flatten)]
    place: ProcessPlace,
}

/// Disturbed rounds are repeated as long as the run is younger than this.
const REPEAT_UNTIL: Duration = Duration::from_secs(150);

/// Where memory is measured packets come at half their pace: a thousand calls of
/// speech leave one processor no reserve, and memory does not ask how fast.
const SLOWER: u32 = 2;

/// Size of a run: rounds, packets and flows.
#[derive(Debug, Clone, Copy)]
pub(super) struct MediaScale {
    /// Rounds of reception alone, and of everything else.
    pub(super) rounds: [u32; 2],
    /// Measured packets of each flow.
    pub(super) packets: u32,
    /// Packets for the receivers that we are compared with.
    pub(super) packets_of_others: u32,
    /// Packets where memory is measured under speech that does not end.
    pub(super) packets_of_monologue: u32,
    /// Length of a loop of the stages behind reception.
    floor: Duration,
    /// Flows for the figures per packet.
    pub(super) flows: u32,
    /// Flows that the others can bear.
    pub(super) flows_of_others: u32,
    /// Flows between which the cost of a call must not rise.
    pub(super) growth: [u32; 3],
}

const FULL: MediaScale = MediaScale {
    rounds: [5, 3],
    packets: 150,
    packets_of_others: 100,
    packets_of_monologue: 200,
    floor: Duration::from_millis(400),
    flows: 800,
    flows_of_others: 100,
    growth: [10, 100, 1_000],
};

pub(super) const QUICK: MediaScale = MediaScale {
    rounds: [1, 1],
    packets: 40,
    packets_of_others: 40,
    packets_of_monologue: 60,
    floor: Duration::from_millis(50),
    flows: 100,
    flows_of_others: 20,
    growth: [5, 20, 100],
};

/// Runs it and prints what came of it.
pub(super) fn run(options: MediaOptions) -> Result<ExitCode> {
    let cpus = UsedCpus::choose()?;
    let priority = if options.quick {
        isolate::NONE
    } else {
        isolate::FIRST
    };
    isolate::enter(options.place, cpus, priority)?;
    isolate::raise_file_limit()?;
    let scale = if options.quick { QUICK } else { FULL };
    let mut bench = MediaConductor::new(scale, cpus);
    if !options.quick {
        bench.repeat_until = Some(clock::now() + REPEAT_UNTIL);
    }
    bench.play()?;
    let report = MediaReport {
        machine: bench.machine(options.place),
        scale,
        quick: options.quick,
        rounds: bench.rounds,
        floors: bench.floors,
        skipped: bench.skipped,
    };
    report.sheet().print(options.format, || report.to_json())?;
    Ok(sheet::status(report.disqualified().is_empty()))
}

struct MediaConductor {
    scale: MediaScale,
    cpus: UsedCpus,
    repeat_until: Option<Instant>,
    rounds: Vec<MediaRound>,
    floors: Vec<MediaFloor>,
    skipped: Vec<SkippedReceiver>,
}

impl MediaConductor {
    fn new(scale: MediaScale, cpus: UsedCpus) -> Self {
        Self {
            scale,
            cpus,
            repeat_until: None,
            rounds: Vec::new(),
            floors: Vec::new(),
            skipped: Vec::new(),
        }
    }

    fn play(&mut self) -> Result<()> {
        self.reception()?;
        self.others()?;
        self.whole_path()?;
        self.growth()?;
        self.memory()
    }

    /// G1: a sink before and after each round of ours.
    fn reception(&mut self) -> Result<()> {
        let (flows, packets) = (self.scale.flows, self.scale.packets);
        self.measure(ReceiverSubject::Sink, flows, BenchPayload::Silence, packets)?;
        for _ in 0..self.scale.rounds[0] {
            for subject in [ReceiverSubject::Ordered, ReceiverSubject::Sink] {
                self.measure(subject, flows, BenchPayload::Silence, packets)?;
            }
        }
        Ok(())
    }

    /// G2: in turns, at a load that all of them can bear.
    fn others(&mut self) -> Result<()> {
        let mut there = vec![ReceiverSubject::Ordered];
        for subject in [
            ReceiverSubject::PythonShared,
            ReceiverSubject::PythonEach,
            ReceiverSubject::Gstreamer,
        ] {
            match subject.missing() {
                None => there.push(subject),
                Some(why) => self.skipped.push(SkippedReceiver { subject, why }),
            }
        }
        let (flows, packets) = (self.scale.flows_of_others, self.scale.packets_of_others);
        for _ in 0..self.scale.rounds[1] {
            for subject in there.clone() {
                let measured = self.measure(subject, flows, BenchPayload::Silence, packets);
                let Err(error) = measured else {
                    continue;
                };
                if subject == ReceiverSubject::Ordered {
                    return Err(error);
                }
                // It is not ours to mend; the report says that it is missing.
                let why = format!("{error:#}");
                self.skipped.push(SkippedReceiver { subject, why });
                there.retain(|&other| other != subject);
            }
        }
        Ok(())
    }

    /// G3: with and without speech, and what the stages cost alone.
    fn whole_path(&mut self) -> Result<()> {
        let (flows, packets) = (self.scale.flows, self.scale.packets);
        for _ in 0..self.scale.rounds[1] {
            for payload in [BenchPayload::Silence, BenchPayload::Speech] {
                self.measure(ReceiverSubject::Speech, flows, payload, packets)?;
                self.floors.push(MediaFloor {
                    payload,
                    ns_per_packet: floor::measure(payload, self.scale.floor, self.cpus.receiver)?,
                    disturbed: cpus::stolen(self.cpus.receiver)? > MAX_STOLEN,
                });
            }
        }
        Ok(())
    }

    /// G5.
    fn growth(&mut self) -> Result<()> {
        for _ in 0..self.scale.rounds[1] {
            for flows in self.scale.growth {
                let packets = self.scale.packets;
                self.measure(
                    ReceiverSubject::Speech,
                    flows,
                    BenchPayload::Speech,
                    packets,
                )?;
            }
        }
        Ok(())
    }

    /// G4: memory hardly varies, one round tells.
    fn memory(&mut self) -> Result<()> {
        let [.., flows] = self.scale.growth;
        for (payload, packets) in [
            (BenchPayload::Silence, self.scale.packets),
            (BenchPayload::Monologue, self.scale.packets_of_monologue),
        ] {
            self.round(RoundCase {
                subject: ReceiverSubject::Speech,
                flows,
                payload,
                packets,
                slower: SLOWER,
            })?;
        }
        Ok(())
    }

    /// One round in real time.
    fn measure(
        &mut self,
        subject: ReceiverSubject,
        flows: u32,
        payload: BenchPayload,
        packets: u32,
    ) -> Result<()> {
        self.round(RoundCase {
            subject,
            flows,
            payload,
            packets,
            slower: 1,
        })
    }

    /// One round, and once more if it was disturbed and there is time.
    fn round(&mut self, case: RoundCase) -> Result<()> {
        for _ in 0..2 {
            let round = round::run(case, self.cpus)
                .with_context(|| format!("{} with {} flows", case.subject.name(), case.flows))?;
            let again = round.disturbed.is_some();
            self.rounds.push(round);
            if !again || self.repeat_until.is_none_or(|until| clock::now() >= until) {
                break;
            }
        }
        Ok(())
    }

    fn machine(&self, place: ProcessPlace) -> MachineDescription {
        MachineDescription {
            processor: proc::processor(),
            kernel: proc::kernel(),
            receiver_cpu: self.cpus.receiver,
            sender_cpu: self.cpus.sender,
            place,
        }
    }
}
