//! The server under test: the real media plane with its threads, gate and
//! sessions, and around it nothing: no API, no store, an engine that answers at once.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use asterscribe::media::{
    MediaConfig, MediaEvent, MediaEventKind, MediaPlane, MediaThreadHandle, OpenCall,
};
use asterscribe_call::{CallId, Leg};
use asterscribe_clock as clock;
use asterscribe_recognition::pool::{EngineFactory, PoolConfig, RecognitionPool};
use asterscribe_recognition::{TranscribeError, Transcriber};
use asterscribe_session::{LegSnapshot, SessionConfig, SessionDepth};
use asterscribe_speech::{DecodeOptions, Recognition};
use clap::Args;
use futures_util::future::try_join_all;
use tokio::sync::mpsc;

use super::account;
use super::wire::{self, PartMessage, ReceivedCount, SentCount};

/// Time between two looks at the socket: the server's own.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// Jobs that may wait for the engine.
const QUEUE: usize = 4_096;

/// Events between the media thread and this one, as in the server.
pub(super) const EVENTS: usize = 8_192;

/// Time between two looks at the events. The call manager, which wants them at once, is not
/// measured here.
const LOOK: Duration = Duration::from_millis(50);

/// How long the last packets may take, and then the calls' ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// Faults that are reported in full.
const TOLD: usize = 2;

/// How the server runs.
#[derive(Debug, Args)]
pub(crate) struct BenchServerOptions {
    /// Stop at the ordered packets: decode nothing, hear nothing.
    #[arg(long)]
    ordered: bool,
}

/// A transcriber that answers at once, with the same text each time.
struct AtOnce;

impl Transcriber for AtOnce {
    fn transcribe(&mut self, _: &[i16], _: &DecodeOptions) -> Result<Recognition, TranscribeError> {
        Ok(Recognition {
            text: "heard".to_owned(),
            confidence: 1.0,
            language: "und".into(),
            ..Recognition::default()
        })
    }
}

/// Serves the flows that the conductor announces.
pub(super) fn run(options: &BenchServerOptions) -> Result<()> {
    let depth = if options.ordered {
        SessionDepth::Ordered
    } else {
        SessionDepth::Speech
    };
    let factory: EngineFactory = Arc::new(|_| Ok(Box::new(AtOnce)));
    let config = PoolConfig {
        workers: 1,
        queue: QUEUE,
        max_age: None,
    };
    let pool = RecognitionPool::start(config, &factory)?;
    let (tell, events) = mpsc::channel(EVENTS);
    let config = MediaConfig {
        bind: (Ipv4Addr::LOCALHOST, 0).into(),
        threads: 1,
        tick: TICK,
        own_ports: false,
        session: SessionConfig {
            depth,
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
    let calls = open(&port, &sources)?;
    let listener = BenchListener::start(events)?;
    wire::say(&PartMessage::Targets(vec![port.local().port()]))?;
    let PartMessage::Sent(sent) = wire::hear()? else {
        bail!("expected what was sent");
    };
    let datagrams = await_all(&sent, || port.counters().datagrams());
    for call in &calls {
        ensure!(port.hang_up(call.clone()), "a call could not be hung up");
    }
    let ended = listener.finish(calls.len())?;
    let mut faults = books(&port, &sent);
    faults.extend(flaws(&calls, &ended, &sent, depth));
    let more = faults.len().saturating_sub(TOLD);
    faults.truncate(TOLD);
    if more > 0 {
        faults.push(format!("and {more} more"));
    }
    wire::say(&PartMessage::Received(ReceivedCount {
        datagrams,
        faults,
        utterances: ended.values().map(|leg| leg.stats.utterances).sum(),
    }))
}

/// Opens a call for each source, with one leg.
fn open(port: &MediaThreadHandle, sources: &[u16]) -> Result<Vec<CallId>> {
    let calls = (0..sources.len())
        .map(|n| format!("bench-{n}").parse())
        .collect::<Result<Vec<CallId>, _>>()?;
    for call in &calls {
        let opened = OpenCall {
            call: call.clone(),
            opened: clock::now(),
            idle_limit: None,
            call_options: None,
        };
        ensure!(port.open(opened), "a call could not be opened");
    }
    let legs = calls.iter().zip(sources).map(|(call, &source)| {
        let source = SocketAddr::from((Ipv4Addr::LOCALHOST, source));
        port.add_leg(
            call.clone(),
            Leg::caller(),
            source,
            asterscribe_session::ExpectedMedia::default(),
            None,
        )
    });
    tokio::runtime::Builder::new_current_thread()
        .build()?
        .block_on(try_join_all(legs))?;
    Ok(calls)
}

/// Disagreements between the media thread's own counters and what was sent, in words: all datagrams
/// must have been admitted, and no event lost.
pub(super) fn books(port: &MediaThreadHandle, sent: &SentCount) -> Vec<String> {
    let (counters, gate) = (port.counters(), port.counters().gate());
    let refused = gate.unknown_source + gate.unknown_not_rtp + gate.hold_full + gate.holding;
    [
        ("admitted", gate.admitted, sent.packets),
        ("refused at the gate", refused, 0),
        ("events lost", counters.events_lost(), 0),
        ("panics", counters.panics(), 0),
    ]
    .into_iter()
    .filter(|(_, is, should)| is != should)
    .map(|(name, is, should)| format!("{name}: {is}, not {should}"))
    .collect()
}

/// Legs whose counters disagree with what was sent to them, in words.
fn flaws(
    calls: &[CallId],
    ended: &BTreeMap<CallId, LegSnapshot>,
    sent: &SentCount,
    depth: SessionDepth,
) -> Vec<String> {
    let check = |(n, call): (usize, &CallId)| {
        let flaw = match ended.get(call) {
            None => Err("has not ended".to_owned()),
            Some(leg) => account::check(leg, sent.flow(n as u64), depth),
        };
        flaw.err().map(|flaw| format!("{call}: {flaw}"))
    };
    calls.iter().enumerate().filter_map(check).collect()
}

/// Takes events off the media thread's hands, and keeps the calls' ends.
struct BenchListener(
    thread::JoinHandle<BTreeMap<CallId, LegSnapshot>>,
    mpsc::Sender<usize>,
);

impl BenchListener {
    fn start(mut events: mpsc::Receiver<MediaEvent>) -> Result<Self> {
        let (tell, mut told) = mpsc::channel(1);
        let thread = thread::Builder::new().spawn(move || {
            let mut ended = BTreeMap::new();
            let mut until = None;
            loop {
                while let Ok(MediaEvent { call, kind }) = events.try_recv() {
                    if let MediaEventKind::Closed(legs) = kind {
                        ended.extend(legs.into_iter().next().map(|leg| (call, leg)));
                    }
                }
                if let Ok(calls) = told.try_recv() {
                    until = Some((calls, clock::now() + PATIENCE));
                }
                if let Some((calls, late)) = until
                    && (ended.len() >= calls || clock::now() >= late)
                {
                    return ended;
                }
                thread::sleep(LOOK);
            }
        })?;
        Ok(Self(thread, tell))
    }

    /// Last counters of each call's leg, once there are that many calls or patience is over.
    fn finish(self, calls: usize) -> Result<BTreeMap<CallId, LegSnapshot>> {
        self.1.try_send(calls)?;
        self.0
            .join()
            .map_err(|_| anyhow!("the thread that takes events has panicked"))
    }
}

/// Waits, within bounds, until as many packets have come as were sent; the result is how many came.
pub(super) fn await_all(sent: &SentCount, count: impl Fn() -> u64) -> u64 {
    let late = clock::now() + PATIENCE;
    while count() < sent.packets && clock::now() < late {
        thread::sleep(TICK);
    }
    count()
}
