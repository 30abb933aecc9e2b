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
mod lately;
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
mod second;
mod service;
mod spool;
mod tapping;
mod targets;
mod transcript;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{Notify, mpsc};

pub use self::ari::{AriLink, RecalledCall};
use self::capacity::CapacityBoard;
pub use self::capture::CaptureDesk;
pub use self::choices::DefaultOptions;
use self::lately::RecentTroubles;
use self::model::LatestSwitch;
use self::pending::PendingCommands;
use self::play::SoundSources;
use self::ports::ReservedPorts;
use self::registry::{
    CallOpening, CallPast, CallPhase, CallRegistry, MediaRun, OpenedCall, RegisteredCall,
    StoredHistory,
};
pub use self::registry::{LateText, SecondPassProgress};
use self::second::SecondDesk;
pub use self::targets::PlayTargets;
use super::media::{
    LegRefused, MediaEvent, MediaEventKind, MediaPort, OpenCall, PortPool, PortReservation,
};
use crate::call::{CallId, CallOrigin, CallStatus, EndReason, Leg};
use crate::clock;
use crate::config::EndpointTemplate;
use crate::recognition::pool::PoolStats;
use crate::recognition::workers::WorkerStarter;
use crate::service::RtpTarget;
use crate::session::{ArrivalExpectation, ExpectedMedia};
use crate::store::{CallStore, RetentionTimes, SpeechSpool, SpoolId, StoreWriter, WriterState};

/// Events of media threads that are looked at together.
const EVENTS_AT_ONCE: usize = 64;

/// The configuration of the call manager.
#[derive(Debug, Clone)]
pub struct DeskConfig {
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

/// The call manager of a running server.
pub struct CallManager {
    config: DeskConfig,
    book: Mutex<CallRegistry>,
    ports: Vec<MediaPort>,
    own_ports: Option<PortPool>,
    /// Ports that Asterisk's side has for legs which are still to be placed.
    reserved: Mutex<ReservedPorts>,
    store: Arc<dyn CallStore>,
    writer: StoreWriter,
    /// Reason why the store refused a write when that was last tried.
    store_refusal: Mutex<Option<String>>,
    /// Calls of which the store had lost something that was written again.
    restored: AtomicU64,
    pool: Arc<PoolStats>,
    recogniser: Arc<WorkerStarter>,
    spool: Option<SpeechSpool>,
    /// Places in the spool whose lines are still to be entered into the call registry.
    untold: Mutex<HashSet<SpoolId>>,
    /// Recent troubles of the spool, one for each pass.
    troubles: Mutex<[RecentTroubles; 2]>,
    /// Whether it has been said that speech is on the disk unencrypted.
    is_warned: AtomicBool,
    /// Lock of whoever revises a call in the store that is no longer in the call registry.
    revising: tokio::sync::Mutex<()>,
    /// Second pass, once it has been started.
    second: OnceLock<SecondDesk>,
    switch: Arc<Mutex<LatestSwitch>>,
    capacity: CapacityBoard,
    ari: Option<AriLink>,
    captures: Option<CaptureDesk>,
    sounds: SoundSources,
    /// Commands to Asterisk whose outcome is still to come.
    pending: Mutex<PendingCommands>,
    /// Calls that an earlier process left open and that may go on.
    resumable: Mutex<HashMap<CallId, StoredHistory>>,
    /// Whether `resumable` has been filled from the store.
    is_recalled: AtomicBool,
    /// Whether another server of our `NODE_NAME` runs on the same store.
    has_rival: AtomicBool,
    /// Time until which the store is not asked whose a call id is, since it did not answer in time.
    store_rests: Mutex<Option<Instant>>,
    /// Signal that there may be a call whose past the store is to be asked for.
    unknown: Notify,
}

impl std::fmt::Debug for CallManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The parts that the call manager works with.
pub struct DeskParts {
    /// Media threads.
    pub ports: Vec<MediaPort>,
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
    pub captures: Option<CaptureDesk>,
}

impl std::fmt::Debug for DeskParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeskParts").finish_non_exhaustive()
    }
}

impl CallManager {
    /// A call manager without calls.
    pub fn new(config: DeskConfig, parts: DeskParts) -> Self {
        let DeskParts {
            ports,
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
            book: Mutex::new(CallRegistry::new(config.node.clone())),
            sounds: SoundSources::new(config.play_dir.clone(), config.play_max_bytes),
            config,
            ports,
            own_ports,
            reserved: Mutex::default(),
            store,
            writer,
            store_refusal: Mutex::default(),
            restored: AtomicU64::new(0),
            pool,
            recogniser,
            spool,
            untold: Mutex::default(),
            troubles: Mutex::default(),
            is_warned: AtomicBool::new(false),
            revising: tokio::sync::Mutex::default(),
            second: OnceLock::new(),
            switch: Arc::default(),
            capacity: CapacityBoard::default(),
            ari,
            captures,
            pending: Mutex::default(),
            resumable: Mutex::default(),
            is_recalled: AtomicBool::new(false),
            has_rival: AtomicBool::new(false),
            store_rests: Mutex::default(),
            unknown: Notify::new(),
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
            MediaEventKind::Line(line) => self.book(|book| book.line(&media, line)),
            MediaEventKind::Deferred(deferred) => self.defer(&media, *deferred),
            MediaEventKind::Partial(partial) => {
                self.book(|book| book.partial(&media, partial));
            }
            MediaEventKind::Digit(key) => self.book(|book| book.key(&media, key)),
            MediaEventKind::Event(event) => self.book(|book| book.event(&media, event)),
            MediaEventKind::Stats(legs) => self.book(|book| book.stats(&media, legs)),
            MediaEventKind::Played(report) => self.book(|book| book.played(&media, report)),
            MediaEventKind::Idle => {
                if let Some(call) = self.book(|book| book.call_of(&media)) {
                    let text = format!("no RTP came for {} s", self.config.media_idle.as_secs());
                    self.end(&call, EndReason { cause: None, text }, CallStatus::Ended);
                }
            }
            MediaEventKind::Closed(legs) => {
                self.captured_media_closed(&media);
                let is_to_be_heard = self.book(|book| {
                    let call = book.call_of(&media);
                    book.closed(&media, clock::wall(), legs);
                    self.tell_places(book);
                    call.is_some_and(|call| book.awaits_second_pass(&call))
                });
                if is_to_be_heard {
                    self.hear_again();
                }
            }
        }
    }

    /// Ends every call that only we keep open, and waits for the last lines.
    pub async fn close_all(&self, deadline: Duration) {
        let open: Vec<CallId> = self.book(|book| {
            let calls = book.open_calls();
            calls.map(|entry| entry.record.call_id.clone()).collect()
        });
        for call in open {
            let text = "the server is shutting down".to_owned();
            self.end(&call, EndReason { cause: None, text }, CallStatus::Ended);
        }
        let emptied = async {
            let mut look = tokio::time::interval(Duration::from_millis(20));
            while self.book(|book| book.open_count()) > 0 {
                look.tick().await;
            }
        };
        // Whatever the outcome: the next step ends those that are left.
        let _late = tokio::time::timeout(deadline, emptied).await;
    }

    /// Puts everything that is known into the store, or as much as the time
    /// allows. Calls that still wait for their last words end without them.
    pub async fn finish(&self, deadline: Duration) {
        let left = self.book(|book| {
            let left = book.abandon(clock::wall());
            book.assume_new();
            left
        });
        if left > 0 {
            tracing::warn!(left, "calls end without their last words");
        }
        let begun = clock::now();
        if *self.writer.state().borrow() == WriterState::Ok {
            // It may have come back empty a moment ago. If it hangs, the flush will say so.
            let mut hopeless = HashSet::new();
            // Half of the time, so that some is left for the flush behind it.
            let _late = tokio::time::timeout(deadline / 2, self.restore(&mut hopeless)).await;
        }
        let left = deadline.saturating_sub(clock::now().saturating_duration_since(begun));
        if let Err(error) = self.writer.flush(left).await {
            tracing::error!(%error, "the store is behind at the end");
        }
    }

    /// Opens a call on its media thread and in the call registry.
    fn open(&self, opening: CallOpening, idle_limit: Option<Duration>) -> bool {
        self.book(|book| self.open_in(book, opening, idle_limit))
    }

    /// Opens a call under the lock of the call registry: whoever finds the call there may give
    /// orders about it, which must reach the media thread after this one.
    fn open_in(
        &self,
        book: &mut CallRegistry,
        mut opening: CallOpening,
        idle_limit: Option<Duration>,
    ) -> bool {
        let call = opening.call.clone();
        let (manner, notes) = self.settle_manner(&mut opening.recognition);
        if matches!(opening.past, CallPast::Unknown) {
            self.unknown.notify_one();
        }
        let OpenedCall { stint, replaced } = book.open(clock::now(), clock::wall(), opening);
        if let Some(replaced) = replaced {
            tracing::warn!(%call, "a call was opened that is open already; its media is taken over");
            self.hang_up_media(book, &replaced);
        }
        let order = OpenCall {
            call: stint.media.clone(),
            opened: stint.zero,
            idle_limit,
            manner,
        };
        for note in notes {
            book.note(&call, note);
        }
        let taken = self
            .ports
            .get(stint.port)
            .is_some_and(|port| port.open(order));
        if taken {
            self.capture_by_rule(book, &call, &stint);
        } else {
            tracing::error!(%call, "no media thread takes the call");
            let text = "the media plane is overloaded".to_owned();
            book.ended(
                &call,
                clock::wall(),
                EndReason { cause: None, text },
                CallStatus::Failed,
            );
            book.closed(&stint.media, clock::wall(), Vec::new());
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
        let (port, media) = self.running(call).ok_or(LegRefused::NotOpen)?;
        let origin = self.book(|book| book.find(call).map(|entry| entry.record.origin));
        let expected = ExpectedMedia {
            format: format.as_deref().and_then(|name| name.parse().ok()),
            // A snoop channel never pauses; a bridge of two sends nothing while they are silent.
            arrival: match origin {
                Some(CallOrigin::Tap) => ArrivalExpectation::Continuous,
                _ => ArrivalExpectation::WithPauses,
            },
        };
        port.place_leg(media, leg.clone(), source, expected, at)
            .await?;
        let is_on_hold = self.book(|book| {
            book.leg(call, leg.clone(), source.to_string(), format);
            book.is_on_hold(call, &leg)
        });
        if is_on_hold {
            self.tell_hold(call, leg, true);
        }
        Ok(())
    }

    /// Ends a call: its media is closed, and then the call leaves the open ones of the call
    /// registry.
    fn end(&self, call: &CallId, reason: EndReason, status: CallStatus) {
        self.book(|book| {
            if let Some(stint) = book.ended(call, clock::wall(), reason, status) {
                self.hang_up_media(book, &stint);
            }
        });
    }

    fn hang_up_media(&self, book: &mut CallRegistry, stint: &MediaRun) {
        let port = self.ports.get(stint.port);
        if !port.is_some_and(|port| port.hang_up(stint.media.clone())) {
            tracing::error!(media = %stint.media, "the media thread does not take the hang-up; last lines are lost");
            book.closed(&stint.media, clock::wall(), Vec::new());
        }
    }

    /// Media thread of a call that goes on, and the id of its media run there.
    fn running(&self, call: &CallId) -> Option<(&MediaPort, CallId)> {
        let stint = self.book(|book| book.find(call)?.running().cloned())?;
        Some((self.ports.get(stint.port)?, stint.media))
    }

    /// Tells Asterisk's side how many places registered calls take, under the lock of the call
    /// registry so that the last message is the true one.
    fn tell_places(&self, book: &CallRegistry) {
        if let Some(ari) = &self.ari {
            let registered = |entry: &&RegisteredCall| entry.record.origin == CallOrigin::Media;
            ari.taken_elsewhere(book.open_calls().filter(registered).count());
        }
    }

    /// Works on the call registry and passes its writes on to the store.
    fn book<T>(&self, work: impl FnOnce(&mut CallRegistry) -> T) -> T {
        let mut book = lock(&self.book);
        let result = work(&mut book);
        // Under the lock, so that the store hears of a call in the order in which it happened.
        for write in book.take_writes() {
            if let Err(error) = self.writer.write(write) {
                tracing::error!(%error, "a change of a call is not stored");
            }
        }
        result
    }
}

/// The data is valid after every statement that changes it, whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
