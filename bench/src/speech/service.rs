//! The service's recognition as it is: segmenter, pool, worker processes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use asterscribe::replay;
use asterscribe::replay::capture::{CapturedDatagram, HeldCapture};
use asterscribe_clock as clock;
use asterscribe_recognition::model::SpeechModel;
use asterscribe_recognition::pool::{JobAnswer, RecognitionPool};
use asterscribe_recognition::workers::{WorkerProgram, WorkerStarter};
use asterscribe_recognition::{JobUrgency, RecognitionTask, SpeakerLeg};
use asterscribe_session::{JobId, LegSnapshot, SessionConfig, SessionDepth};
use asterscribe_speech::{DecodeOptions, SAMPLES_PER_MS, Utterance};
use clap::Args;
use crossbeam_channel::bounded;

use super::SEED;
use crate::account::{self, FlowAccount};
use crate::generator::{PACE, rtp};
use crate::meter::CpuMeter;
use crate::payload::PACKET;
use crate::script::PartyScript;
use crate::wire::{OrderOutcome, SpeechOrder};

/// Jobs that may wait; there are never as many.
const QUEUE: usize = 4_096;

/// How old a job may grow here: nothing is to be given up.
const MAX_AGE: Duration = Duration::from_secs(24 * 3_600);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The service to be measured.
#[derive(Debug, Args)]
pub(crate) struct ServiceOptions {
    /// Minutes of the call.
    #[arg(long)]
    minutes: u32,
    /// Worker processes.
    #[arg(long)]
    workers: usize,
    /// Model, a ggml file or a CTranslate2 folder; by default the demo model.
    #[arg(long)]
    model: Option<PathBuf>,
}

/// Runs the orders of the conductor.
pub(crate) fn run(options: &ServiceOptions) -> Result<()> {
    let service = MeasuredService::start(options)?;
    super::orders::obey(|order| service.obey(order))
}

struct MeasuredService {
    model: SpeechModel,
    workers: usize,
    packets: Vec<[u8; PACKET]>,
    utterances: Vec<Utterance>,
    recogniser: Arc<WorkerStarter>,
    clips: RecognitionPool<usize>,
    backlog: RecognitionPool<usize>,
    live: RecognitionPool<JobId>,
}

impl MeasuredService {
    fn start(options: &ServiceOptions) -> Result<Self> {
        let model = super::orders::model(options.model.as_deref())?;
        let script = PartyScript::new(options.minutes, SEED);
        let recogniser =
            WorkerStarter::start(WorkerProgram::this(), model.clone(), options.workers)?;
        Ok(Self {
            model,
            workers: options.workers,
            packets: script.packets(),
            utterances: script.utterances()?,
            clips: recogniser.pool(QUEUE, None)?,
            backlog: recogniser.pool(QUEUE, Some(MAX_AGE))?,
            live: recogniser.pool(QUEUE, None)?,
            recogniser,
        })
    }

    fn obey(&self, order: SpeechOrder) -> Result<OrderOutcome> {
        let mut outcome = match order {
            SpeechOrder::Clips {
                count,
                full_context,
            } => self.clips(count, full_context),
            SpeechOrder::Clip(n) => self.clip(n),
            SpeechOrder::Live => self.live(),
            SpeechOrder::Backlog => self.backlog(),
            SpeechOrder::Start => self.anew(),
            SpeechOrder::Windows => bail!("the service takes no whole files"),
        }?;
        let (crashed, stuck) = self.recogniser.stats().ends();
        if crashed + stuck > 0 {
            let fault = format!("{crashed} workers ended, {stuck} were stuck");
            outcome.faults.push(fault);
        }
        Ok(outcome)
    }

    fn clips(&self, count: usize, full_context: bool) -> Result<OrderOutcome> {
        let choices = choices(full_context);
        let clips = self.utterances.iter().take(count).enumerate();
        let tasks = clips.map(|(n, clip)| task(clip, &choices, SpeakerLeg::new(n as u64, 0)));
        answers(&self.clips, tasks.collect())
    }

    fn clip(&self, n: usize) -> Result<OrderOutcome> {
        let clip = self.utterances.get(n).context("no such utterance")?;
        let task = task(clip, &choices(false), SpeakerLeg::new(0, 0));
        answers(&self.clips, vec![task])
    }

    /// Recognises the call as a live one, on the call's own clock but as fast as recognition
    /// allows.
    fn live(&self) -> Result<OrderOutcome> {
        let capture = capture(&self.packets);
        let meter = CpuMeter::start()?;
        let report =
            replay::run_capture(&capture, SessionConfig::default(), &self.live, clock::now())?;
        let mut outcome = meter.stop()?;
        outcome.texts = report.lines.iter().map(|line| line.text.clone()).collect();
        let [flow] = report.flows.as_slice() else {
            bail!("{} flows of one", report.flows.len());
        };
        let leg = LegSnapshot {
            stats: flow.stats.clone(),
            audio: flow.audio,
            ..LegSnapshot::new(flow.leg.clone())
        };
        let flow = FlowAccount {
            packets: self.packets.len() as u64,
            slipped_us: 0,
        };
        let books = account::check(&leg, flow, SessionDepth::Speech);
        outcome.faults.extend(books.err());
        let gaps = report.lines.iter().filter_map(|line| line.state.gap());
        outcome
            .faults
            .extend(gaps.map(|gap| format!("a line of {gap:?}")));
        Ok(outcome)
    }

    /// Jobs that keep the workers busy come first, so that the rest has waited when its turn
    /// comes; what they cost is measured alone and taken off.
    fn backlog(&self) -> Result<OrderOutcome> {
        let choices = choices(true);
        let first = self.utterances.first().context("no utterance")?;
        let busy = |n: usize| task(first, &choices, SpeakerLeg::new(1 + n as u64, 0));
        let alone = answers(&self.backlog, (0..self.workers).map(busy).collect())?;
        let end = self.packets.len() as u64 * PACE.as_millis() as u64;
        let waited = self.utterances.iter().map(|utterance| {
            let mut task = task(utterance, &choices, SpeakerLeg::new(0, 0));
            let ago = end.saturating_sub(utterance.end() / SAMPLES_PER_MS);
            let spoken = task.spoken.checked_sub(Duration::from_millis(ago));
            task.spoken = spoken.unwrap_or(task.spoken);
            task
        });
        let tasks = (0..self.workers).map(busy).chain(waited).collect();
        let mut both = answers(&self.backlog, tasks)?;
        both.texts.drain(..self.workers.min(both.texts.len()));
        Ok(OrderOutcome {
            wall_ns: both.wall_ns.saturating_sub(alone.wall_ns),
            own_ns: both.own_ns.saturating_sub(alone.own_ns),
            workers_ns: both.workers_ns.saturating_sub(alone.workers_ns),
            ..both
        })
    }

    /// Starts another worker set and waits until all of it is ready.
    fn anew(&self) -> Result<OrderOutcome> {
        let from = clock::now();
        let worker_set =
            WorkerStarter::start(WorkerProgram::this(), self.model.clone(), self.workers)?;
        let wall = clock::now().saturating_duration_since(from);
        drop(worker_set);
        Ok(OrderOutcome {
            wall_ns: wall.as_nanos() as u64,
            ..OrderOutcome::default()
        })
    }
}

fn choices(full_context: bool) -> Arc<DecodeOptions> {
    Arc::new(DecodeOptions {
        full_context,
        ..DecodeOptions::default()
    })
}

fn task(
    utterance: &Utterance,
    choices: &Arc<DecodeOptions>,
    speaker: SpeakerLeg,
) -> RecognitionTask {
    RecognitionTask {
        samples: utterance.samples.clone(),
        choices: Arc::clone(choices),
        urgency: JobUrgency::Final,
        speaker,
        spoken: clock::now(),
    }
}

/// Hands the tasks in at once and waits for all answers.
fn answers(pool: &RecognitionPool<usize>, tasks: Vec<RecognitionTask>) -> Result<OrderOutcome> {
    let (reply, answers) = bounded(tasks.len());
    let handle = pool.handle();
    let mut texts = vec![None; tasks.len()];
    let meter = CpuMeter::start()?;
    for (n, task) in tasks.into_iter().enumerate() {
        let offered = handle.offer(n, task, &reply);
        offered.map_err(|_| anyhow!("a job was refused"))?;
    }
    let mut faults = Vec::new();
    for _ in 0..texts.len() {
        let JobAnswer { ticket, result, .. } = answers
            .recv_timeout(PATIENCE)
            .context("a job was not answered")?;
        ensure!(texts[ticket].is_none(), "a job was answered twice");
        texts[ticket] = Some(match result {
            Ok(heard) => heard.text,
            Err(why) => {
                faults.push(format!("job {ticket}: {why}"));
                String::new()
            }
        });
    }
    Ok(OrderOutcome {
        texts: texts.into_iter().flatten().collect(),
        faults,
        ..meter.stop()?
    })
}

/// The call as a capture would hold it.
fn capture(packets: &[[u8; PACKET]]) -> HeldCapture {
    let socket = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let datagrams: Vec<_> = (0u32..)
        .zip(packets)
        .map(|(n, packet)| CapturedDatagram {
            at: PACE * n,
            from: socket(4_000),
            to: socket(4_002),
            payload: rtp(n.into(), 0, packet).to_vec(),
            leg: None,
        })
        .collect();
    HeldCapture {
        packets: datagrams.len() as u64,
        datagrams,
        ..HeldCapture::default()
    }
}
