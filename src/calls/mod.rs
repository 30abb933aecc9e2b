//! The call manager: knows every open call, receives the events of media threads and Asterisk,
//! answers the API, and writes to the store. It stands beside the media path, not on it.

mod ari;
pub(crate) mod capacity;
mod capture;
mod channel;
mod choices;
mod health;
mod history;
mod keeping;
pub mod late_results;
mod list;
mod load;
mod metrics;
mod model;
mod notices;
mod opening;
mod party;
mod pending;
mod placing;
mod play;
mod ports;
mod reach;
mod registering;
mod registry;
mod remarks;
mod roles;
mod service;
mod stored;
mod tapping;
mod targets;
mod transcript;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use asterscribe_call::{CallId, CallOrigin, CallStatus, EndReason, Leg};
use asterscribe_clock as clock;
use asterscribe_recognition::pool::PoolStats;
use asterscribe_recognition::workers::WorkerStarter;
use asterscribe_session::{ArrivalExpectation, ExpectedMedia};
use asterscribe_store::{CallStore, RetentionTimes, SpeechSpool, StoreWriter};
use futures_util::future::join_all;
use tokio::sync::mpsc;

use self::ari::AsteriskSide;
pub use self::ari::{AriLink, RecalledCall};
pub use self::capture::CaptureControl;
pub use self::choices::DefaultOptions;
use self::late_results::LateSpeech;
use self::model::RecognitionControl;
use self::play::SoundSources;
use self::ports::MediaThreads;
use self::registry::{
    CallOpening, CallPast, CallPhase, CallRegistry, MediaRun, OpenedCall, RegisteredCall,
};
pub use self::registry::{LateText, SecondPassProgress};
use self::stored::StoredCalls;
pub use self::targets::PlayTargets;
use crate::config::EndpointTemplate;
use crate::media::{
    LegRefused, MediaEvent, MediaEventKind, MediaThreadHandle, OpenCall, PortPool, PortReservation,
};
use crate::service::RtpTarget;

/// Events of media threads that are looked at together.
const EVENTS_AT_ONCE: usize = 64;

/// The configuration of the call manager.
#[derive(Debug, Clone)]
pub struct CallManagerConfig {
    /// Name of this server in the records.
    pub node: String,
    /// Calls open at once.
    pub max_calls: usize,
    /// A registered call from which nothing comes for this long is over.
    pub media_idle: Duration,
    /// Times for which calls are kept, here as in the store.
    pub retention: RetentionTimes,
    /// Template that makes an Asterisk endpoint of a destination.
    pub endpoint: EndpointTemplate,
    /// Addresses that peers are to send RTP to, one for each media thread.
    pub targets: Vec<RtpTarget>,
    /// Folder in which models are looked for by name.
    pub models_dir: PathBuf,
    /// Options of calls that ask for nothing else.
    pub defaults: DefaultOptions,
    /// Folder of sound files that may be played to calls.
    pub play_dir: Option<PathBuf>,
    /// Upper bound on the size of a sound file, bytes.
    pub play_max_bytes: usize,
    /// Addresses that sounds may be sent to.
    pub play_targets: PlayTargets,
}

/// The call manager of a running server. Each part owns its state and its locks.
pub struct CallManager {
    config: CallManagerConfig,
    registry: Mutex<CallRegistry>,
    media: MediaThreads,
    stored: StoredCalls,
    recognition: RecognitionControl,
    late: LateSpeech,
    asterisk: AsteriskSide,
    captures: Option<CaptureControl>,
    sounds: SoundSources,
}

impl std::fmt::Debug for CallManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallManager")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The parts that the call manager works with.
pub struct CallManagerParts {
    /// Media threads.
    pub threads: Vec<MediaThreadHandle>,
    /// Pool of ports for `RTP_MODE=per-call`.
    pub own_ports: Option<PortPool>,
    /// Store, for reading.
    pub store: Arc<dyn CallStore>,
    /// Writer of the store.
    pub writer: StoreWriter,
    /// Counters of recognition.
    pub pool: Arc<PoolStats>,
    /// Starter of the recognition workers.
    pub recogniser: Arc<WorkerStarter>,
    /// Spool for speech that recognition has no time for, if there is one.
    pub spool: Option<SpeechSpool>,
    /// Asterisk, if one is configured.
    pub ari: Option<AriLink>,
    /// Captures, if a folder for them is named.
    pub captures: Option<CaptureControl>,
}

impl std::fmt::Debug for CallManagerParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallManagerParts").finish_non_exhaustive()
    }
}

impl CallManager {
    /// A call manager without calls.
    pub fn new(config: CallManagerConfig, parts: CallManagerParts) -> Self {
        let CallManagerParts {
            threads,
            own_ports,
            store,
            writer,
            pool,
            recogniser,
            spool,
            ari,
            captures,
        } = parts;
        Self {
            registry: Mutex::new(CallRegistry::new(config.node.clone())),
            sounds: SoundSources::new(config.play_dir.clone(), config.play_max_bytes),
            config,
            media: MediaThreads::new(threads, own_ports),
            stored: StoredCalls::new(store, writer),
            recognition: RecognitionControl::new(pool, recogniser),
            late: LateSpeech::new(spool),
            asterisk: AsteriskSide::new(ari),
            captures,
        }
    }

    /// Follows the media threads until they are gone.
    pub async fn follow_media(&self, mut events: mpsc::Receiver<MediaEvent>) {
        let mut batch = Vec::with_capacity(EVENTS_AT_ONCE);
        while events.recv_many(&mut batch, EVENTS_AT_ONCE).await > 0 {
            // All that is to be put on the disk at the same time, so that it is synchronised once.
            let deferred = batch.iter_mut().filter_map(|event| match &mut event.kind {
                MediaEventKind::Deferred(deferred) => Some((&event.call, deferred)),
                _ => None,
            });
            let kept = deferred.map(|(media, deferred)| self.keep(media, deferred));
            join_all(kept).await;
            for event in batch.drain(..) {
                self.media_event(event);
            }
        }
    }

    fn media_event(&self, MediaEvent { call: media, kind }: MediaEvent) {
        match kind {
            MediaEventKind::Line(line) => self.registry(|registry| registry.line(&media, line)),
            MediaEventKind::Deferred(deferred) => self.defer(&media, *deferred),
            MediaEventKind::Partial(partial) => {
                self.registry(|registry| registry.partial(&media, partial));
            }
            MediaEventKind::Digit(key) => self.registry(|registry| registry.key(&media, key)),
            MediaEventKind::Event(event) => self.registry(|registry| registry.event(&media, event)),
            MediaEventKind::Stats(legs) => self.registry(|registry| registry.stats(&media, legs)),
            MediaEventKind::Played(report) => {
                self.registry(|registry| registry.played(&media, report))
            }
            MediaEventKind::Idle => {
                if let Some(call) = self.registry(|registry| registry.call_of(&media)) {
                    let text = format!("no RTP came for {} s", self.config.media_idle.as_secs());
                    self.end(&call, EndReason { cause: None, text }, CallStatus::Ended);
                }
            }
            MediaEventKind::Closed(legs) => {
                self.captured_media_closed(&media);
                let is_to_be_heard = self.registry(|registry| {
                    let call = registry.call_of(&media);
                    registry.closed(&media, clock::wall(), legs);
                    self.tell_places(registry);
                    call.is_some_and(|call| registry.awaits_second_pass(&call))
                });
                if is_to_be_heard {
                    self.hear_again();
                }
            }
        }
    }

    /// Ends every call that only we keep open, and waits for the last lines.
    pub async fn close_all(&self, deadline: Duration) {
        let open: Vec<CallId> = self.registry(|registry| {
            let calls = registry.open_calls();
            calls.map(|entry| entry.record.call_id.clone()).collect()
        });
        for call in open {
            let text = "the server is shutting down".to_owned();
            self.registry(|registry| registry.give_up(&call));
            self.end(&call, EndReason { cause: None, text }, CallStatus::Ended);
        }
        let emptied = async {
            let mut look = tokio::time::interval(Duration::from_millis(20));
            while self.registry(|registry| registry.open_count()) > 0 {
                look.tick().await;
            }
        };
        // Whatever the outcome: the next step ends those that are left.
        let _late = tokio::time::timeout(deadline, emptied).await;
    }

    /// Puts everything that is known into the store, or as much as the time
    /// allows. Calls that still wait for their last words end without them.
    pub async fn finish(&self, deadline: Duration) {
        let left = self.registry(|registry| {
            let left = registry.abandon(clock::wall());
            registry.assume_new();
            left
        });
        if left > 0 {
            tracing::warn!(
                left,
                "calls end before their last utterances are recognised"
            );
        }
        let begun = clock::now();
        if self.stored.is_up() {
            // It may have come back empty a moment ago. If it hangs, the flush will say so.
            let mut hopeless = HashSet::new();
            // Half of the time, so that some is left for the flush behind it.
            let _late = tokio::time::timeout(deadline / 2, self.restore(&mut hopeless)).await;
        }
        let left = deadline.saturating_sub(clock::now().saturating_duration_since(begun));
        if let Err(error) = self.stored.writer.flush(left).await {
            tracing::error!(%error, "writes were still waiting for the store at shutdown");
        }
    }

    /// Opens a call on its media thread and in the call registry.
    fn open(&self, opening: CallOpening, idle_limit: Option<Duration>) -> bool {
        self.registry(|registry| self.open_in(registry, opening, idle_limit))
    }

    /// Opens a call under the lock of the call registry: whoever finds the call there may give
    /// orders about it, which must reach the media thread after this one.
    fn open_in(
        &self,
        registry: &mut CallRegistry,
        mut opening: CallOpening,
        idle_limit: Option<Duration>,
    ) -> bool {
        let call = opening.call.clone();
        let (call_options, notes) = self.settle_call_options(&mut opening.recognition);
        if matches!(opening.past, CallPast::Unknown) {
            self.stored.unknown.notify_one();
        }
        let OpenedCall {
            media_run,
            replaced,
        } = registry.open(clock::now(), clock::wall(), opening);
        if let Some(replaced) = replaced {
            tracing::warn!(%call, "a call that is open was opened again; the new media replaces the old");
            self.hang_up_media(registry, &replaced);
        }
        let order = OpenCall {
            call: media_run.media.clone(),
            opened: media_run.zero,
            idle_limit,
            call_options,
        };
        for note in notes {
            registry.note(&call, note);
        }
        let taken = self
            .media
            .threads
            .get(media_run.thread)
            .is_some_and(|thread| thread.open(order));
        if taken {
            self.capture_by_rule(registry, &call, &media_run);
        } else {
            tracing::error!(%call, "no media thread accepts the call");
            let text = "the media plane is overloaded".to_owned();
            registry.ended(
                &call,
                clock::wall(),
                EndReason { cause: None, text },
                CallStatus::Failed,
            );
            registry.closed(&media_run.media, clock::wall(), Vec::new());
        }
        taken
    }

    /// Lets `source` speak for a leg, which is heard at its own port if one was reserved.
    async fn place_leg(
        &self,
        call: &CallId,
        leg: Leg,
        source: SocketAddr,
        format: Option<String>,
        at: Option<PortReservation>,
    ) -> Result<(), LegRefused> {
        let (thread, media) = self.running(call).ok_or(LegRefused::NotOpen)?;
        let origin = self.registry(|registry| registry.find(call).map(|entry| entry.record.origin));
        let expected = ExpectedMedia {
            format: format.as_deref().and_then(|name| name.parse().ok()),
            // A snoop channel never pauses; a bridge of two sends nothing while they are silent.
            arrival: match origin {
                Some(CallOrigin::Tap) => ArrivalExpectation::Continuous,
                _ => ArrivalExpectation::WithPauses,
            },
        };
        thread
            .place_leg(media, leg.clone(), source, expected, at)
            .await?;
        let is_on_hold = self.registry(|registry| {
            registry.leg(call, leg.clone(), source.to_string(), format);
            registry.is_on_hold(call, &leg)
        });
        if is_on_hold {
            self.tell_hold(call, leg, true);
        }
        Ok(())
    }

    /// Ends a call: its media is closed, and then the call leaves the open ones of the call
    /// registry.
    fn end(&self, call: &CallId, reason: EndReason, status: CallStatus) {
        self.registry(|registry| {
            if let Some(media_run) = registry.ended(call, clock::wall(), reason, status) {
                self.hang_up_media(registry, &media_run);
            }
        });
    }

    fn hang_up_media(&self, registry: &mut CallRegistry, media_run: &MediaRun) {
        let thread = self.media.threads.get(media_run.thread);
        if !thread.is_some_and(|thread| thread.hang_up(media_run.media.clone())) {
            tracing::error!(media = %media_run.media, "the media thread does not accept the hang-up; last lines are lost");
            registry.closed(&media_run.media, clock::wall(), Vec::new());
        }
    }

    /// Media thread of a call that goes on, and the id of its media run there.
    fn running(&self, call: &CallId) -> Option<(&MediaThreadHandle, CallId)> {
        let media_run = self.registry(|registry| registry.find(call)?.running().cloned())?;
        Some((self.media.threads.get(media_run.thread)?, media_run.media))
    }

    /// Tells Asterisk's side how many places registered calls take, under the lock of the call
    /// registry so that the last message is the true one.
    fn tell_places(&self, registry: &CallRegistry) {
        if let Some(ari) = &self.asterisk.link {
            let registered = |entry: &&RegisteredCall| entry.record.origin == CallOrigin::Media;
            ari.taken_elsewhere(registry.open_calls().filter(registered).count());
        }
    }

    /// Works on the call registry and passes its writes on to the store.
    fn registry<T>(&self, work: impl FnOnce(&mut CallRegistry) -> T) -> T {
        let mut registry = lock(&self.registry);
        let result = work(&mut registry);
        // Under the lock, so that the store hears of a call in the order in which it happened.
        for write in registry.take_writes() {
            if let Err(error) = self.stored.writer.write(write) {
                tracing::error!(%error, "cannot store a change of a call");
            }
        }
        result
    }
}

/// The data is valid after every statement that changes it, whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
