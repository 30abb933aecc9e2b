//! The server under the load of calls: the media plane with real recognition behind it,
//! without API and store.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use asterscribe::media::{
    MediaConfig, MediaEvent, MediaEventKind, MediaPlane, MediaThreadHandle, OpenCall,
};
use asterscribe::serve::recognition;
use asterscribe_call::{CallId, Leg, TranscriptLine};
use asterscribe_clock as clock;
use asterscribe_recognition::workers::{WorkerProgram, WorkerStarter};
use asterscribe_session::{ExpectedMedia, LegSnapshot, SessionConfig, SessionDepth};
use asterscribe_speech::DecodeOptions;
use asterscribe_speech::segmenter::SegmenterConfig;
use clap::Args;
use futures_util::future::try_join_all;
use tokio::sync::mpsc;

use crate::account;
use crate::meter::CpuMeter;
use crate::server::{EVENTS, TICK, await_all, books};
use crate::speech::model;
use crate::wire::{self, HeldCalls, PartMessage, SentCount};

/// Jobs that may wait, and how long: the server's own defaults.
const QUEUE: usize = 512;
const MAX_AGE: Duration = Duration::from_secs(50);

/// How long the last lines of the calls may take.
const PATIENCE: Duration = Duration::from_secs(70);

/// Utterances that begin within it are the rest of longer ones: all parties begin in mid-script.
const BEGINNING: Duration = Duration::from_millis(300);

/// Faults that are reported in full.
const TOLD: usize = 2;

/// How the server runs.
#[derive(Debug, Args)]
pub(crate) struct CallsServerOptions {
    /// Worker processes.
    #[arg(long)]
    workers: usize,
    /// Model, a ggml file or a CTranslate2 folder; by default the demo model.
    #[arg(long)]
    model: Option<PathBuf>,
}

/// Holds calls of two legs each.
pub(crate) fn run(options: &CallsServerOptions) -> Result<()> {
    let model = model(options.model.as_deref())?;
    let recogniser = WorkerStarter::start(WorkerProgram::this(), model, options.workers)?;
    // As a server does; the first use of everything costs more.
    let estimate = recognition::calls_held_by(&recogniser).map_err(|error| anyhow!(error))?;
    let pool = recogniser.pool(QUEUE, Some(MAX_AGE))?;
    let (tell, events) = mpsc::channel(EVENTS);
    let config = MediaConfig {
        bind: (Ipv4Addr::LOCALHOST, 0).into(),
        threads: 1,
        tick: TICK,
        own_ports: false,
        session: SessionConfig {
            choices: Arc::new(DecodeOptions {
                language: Some("en".to_owned()),
                ..DecodeOptions::default()
            }),
            ..SessionConfig::default()
        },
        keeps_late: false,
    };
    let plane = MediaPlane::start(&config, &pool, &tell)?;
    let [port] = <[MediaThreadHandle; 1]>::try_from(plane.threads())
        .map_err(|ports| anyhow!("{} media threads instead of one", ports.len()))?;
    wire::say(&PartMessage::Ready)?;
    let PartMessage::Sources(sources) = wire::hear()? else {
        bail!("expected the sources");
    };
    let opened = clock::now();
    let calls = open(&port, &sources, opened)?;
    let listener = CallsListener::start(events, opened, calls.len())?;
    wire::say(&PartMessage::Targets(vec![port.local().port()]))?;
    let meter = CpuMeter::start()?;
    let PartMessage::Sent(sent) = wire::hear()? else {
        bail!("expected what was sent");
    };
    let spent = meter.stop()?;
    await_all(&sent, || port.counters().datagrams());
    let cut_off = clock::now().saturating_duration_since(opened);
    for call in &calls {
        ensure!(port.hang_up(call.clone()), "a call could not be hung up");
    }
    let mut held = listener.finish()?;
    let mut faults = books(&port, &sent);
    faults.append(&mut held.faults);
    faults.extend(flaws(&calls, &held.ended, &sent));
    let more = faults.len().saturating_sub(TOLD);
    faults.truncate(TOLD);
    if more > 0 {
        faults.push(format!("and {more} more"));
    }
    wire::say(&PartMessage::Held(HeldCalls {
        estimate,
        latencies_ms: held.latencies_ms(cut_off),
        spent,
        faults,
    }))
}

/// Opens a call for each pair of sources.
fn open(port: &MediaThreadHandle, sources: &[u16], opened: Instant) -> Result<Vec<CallId>> {
    let calls = (0..sources.len() / 2)
        .map(|n| format!("bench-{n}").parse())
        .collect::<Result<Vec<CallId>, _>>()?;
    for call in &calls {
        let opened = OpenCall {
            call: call.clone(),
            opened,
            idle_limit: None,
            call_options: None,
        };
        ensure!(port.open(opened), "a call could not be opened");
    }
    let legs = calls.iter().zip(sources.chunks_exact(2));
    let legs = legs.flat_map(|(call, pair)| {
        let legs = [Leg::caller(), Leg::callee()];
        legs.into_iter().zip(pair).map(|(leg, &source)| {
            let source = SocketAddr::from((Ipv4Addr::LOCALHOST, source));
            port.add_leg(call.clone(), leg, source, ExpectedMedia::default(), None)
        })
    });
    tokio::runtime::Builder::new_current_thread()
        .build()?
        .block_on(try_join_all(legs))?;
    Ok(calls)
}

/// Legs whose counters disagree with what was sent to them, in words.
fn flaws(
    calls: &[CallId],
    ended: &BTreeMap<CallId, Vec<LegSnapshot>>,
    sent: &SentCount,
) -> Vec<String> {
    let check = |(n, call): (usize, &CallId)| {
        let legs = ended.get(call).map_or(&[][..], Vec::as_slice);
        if legs.len() != 2 {
            return vec![format!("{call}: {} legs have ended of two", legs.len())];
        }
        (2 * n as u64..)
            .zip(legs)
            .filter_map(|(flow, leg)| {
                account::check(leg, sent.flow(flow), SessionDepth::Speech).err()
            })
            .map(|flaw| format!("{call}: {flaw}"))
            .collect()
    };
    calls.iter().enumerate().flat_map(check).collect()
}

/// A line by the clock of its call.
#[derive(Debug, Clone, Copy)]
struct TimedLine {
    /// Time at which the utterance began, pre-roll included.
    began: Duration,
    /// Time at which its last word ended.
    spoken: Duration,
    /// Time at which the line came.
    came: Duration,
}

/// The results of the calls.
#[derive(Debug, Default)]
struct HeardCalls {
    lines: Vec<TimedLine>,
    faults: Vec<String>,
    ended: BTreeMap<CallId, Vec<LegSnapshot>>,
}

impl HeardCalls {
    fn line(&mut self, line: &TranscriptLine, since_opened: Duration) {
        if let Some(gap) = line.state.gap() {
            self.faults.push(format!("a line of {gap:?}"));
            return;
        }
        // What is kept of the silence behind the voice is part of the utterance.
        let post_roll = SegmenterConfig::default().post_roll;
        self.lines.push(TimedLine {
            began: Duration::from_millis(line.start_ms),
            spoken: Duration::from_millis(line.end_ms).saturating_sub(post_roll),
            came: since_opened,
        });
    }

    /// Times from the end of speech to the line. Calls do not all begin and end at the same time in
    /// mid-word, as they do here: the utterances that this cuts off, of two parties in five at
    /// either end, are not counted.
    fn latencies_ms(&self, cut_off: Duration) -> Vec<f64> {
        let whole = BEGINNING..cut_off.saturating_sub(SegmenterConfig::default().hang_over);
        let is_whole = |line: &&TimedLine| line.began >= whole.start && line.spoken < whole.end;
        let lines = self.lines.iter().filter(is_whole);
        let latency = |line: &TimedLine| line.came.saturating_sub(line.spoken).as_secs_f64() * 1e3;
        lines.map(latency).collect()
    }
}

/// Thread that takes the events of the media thread as they come, as the server's call manager
/// does.
struct CallsListener(thread::JoinHandle<HeardCalls>);

impl CallsListener {
    /// Starts listening; `opened` is the zero of all calls' clocks.
    fn start(
        mut events: mpsc::Receiver<MediaEvent>,
        opened: Instant,
        calls: usize,
    ) -> Result<Self> {
        let thread = thread::Builder::new().spawn(move || {
            let mut heard = HeardCalls::default();
            while heard.ended.len() < calls {
                let Some(MediaEvent { call, kind }) = events.blocking_recv() else {
                    break;
                };
                match kind {
                    MediaEventKind::Line(line) => {
                        heard.line(&line, clock::now().saturating_duration_since(opened));
                    }
                    MediaEventKind::Closed(legs) => {
                        heard.ended.insert(call, legs);
                    }
                    _ => {}
                }
            }
            heard
        })?;
        Ok(Self(thread))
    }

    /// Results of all calls, once they have ended.
    fn finish(self) -> Result<HeardCalls> {
        let late = clock::now() + PATIENCE;
        while !self.0.is_finished() {
            ensure!(clock::now() < late, "the calls do not end");
            thread::sleep(TICK);
        }
        self.0
            .join()
            .map_err(|_| anyhow!("the thread that takes events has panicked"))
    }
}
