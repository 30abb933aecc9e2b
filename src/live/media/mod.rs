//! The media plane: a few threads, each with one UDP socket and the calls that
//! were assigned to it. Nothing is shared between threads, so there is nothing
//! to lock; a call lives and dies on its thread.
//!
//! Threads wake on a tick, not per packet: at telephone rates that is the
//! difference between 7 µs and 1.4 µs of CPU per packet, and a packet waits at
//! most one tick.

mod play;
mod room;
mod socket;
mod thread;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use asterscribe_rtp::StreamStart;
use crossbeam_channel::{Sender, TrySendError, bounded};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::call::{CallId, Leg, TranscriptLine};
use crate::play::PlayReport;
use crate::session::{LegSnapshot, SessionConfig};
use crate::speech::pool::{Pool, PoolHandle};

pub use self::play::{PlayOrder, PlayRefused};
pub use self::room::{MediaCounters, Ticket};
use self::room::{Room, RoomConfig};
use self::thread::MediaThread;

/// How the media plane runs.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// Where the first socket binds; thread k takes port + k, or a free port if it is 0.
    pub bind: SocketAddr,
    /// Sockets, and threads, to run.
    pub threads: usize,
    /// Time between two looks at the socket.
    pub tick: Duration,
    /// How sessions treat their media.
    pub session: SessionConfig,
}

/// Something a call's media has to report.
#[derive(Debug)]
pub struct MediaEvent {
    /// The call.
    pub call: CallId,
    /// What happened.
    pub kind: MediaEventKind,
}

/// What can happen.
#[derive(Debug)]
pub enum MediaEventKind {
    /// A line of the transcript, in order.
    Line(TranscriptLine),
    /// The counters have changed.
    Stats(Vec<LegSnapshot>),
    /// Something has become of a sound that is played to the call.
    Played(PlayReport),
    /// Nothing has come from any leg for the call's idle limit.
    Idle,
    /// All lines are out; no counters come with it if the call's media panicked.
    Closed(Vec<LegSnapshot>),
}

/// A call to be opened on a media thread.
#[derive(Debug)]
pub struct OpenCall {
    /// The call.
    pub call: CallId,
    /// Zero of its clock.
    pub opened: Instant,
    /// Report [`MediaEventKind::Idle`] after this long without a datagram.
    pub idle_limit: Option<Duration>,
}

/// Why a leg could not be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LegRefused {
    /// Another leg already owns the source address.
    #[error("RTP from {0} already belongs to another leg")]
    SourceTaken(SocketAddr),
    /// The call has such a leg.
    #[error("the call already has a leg {0}")]
    LegExists(Leg),
    /// The call is over, or was never opened.
    #[error("the call is not open")]
    NotOpen,
    /// The media thread does not take orders now.
    #[error("the media plane is overloaded")]
    Overloaded,
}

#[derive(Debug)]
pub(super) enum Command {
    Open(OpenCall),
    AddLeg {
        call: CallId,
        leg: Leg,
        source: SocketAddr,
        /// Whether it may exist: then its source moves, as when its media channel was made anew.
        may_exist: bool,
        reply: oneshot::Sender<Result<(), LegRefused>>,
    },
    Play {
        call: CallId,
        order: PlayOrder,
        /// Of the leg's stream, if this is its first.
        start: StreamStart,
        reply: oneshot::Sender<Result<(), PlayRefused>>,
    },
    StopPlay {
        call: CallId,
        id: Option<u64>,
    },
    Hangup(CallId),
}

/// Orders waiting for a media thread; it takes them every tick.
const COMMAND_QUEUE: usize = 4096;

/// One media thread as the rest of the program sees it.
#[derive(Debug, Clone)]
pub struct MediaPort {
    local: SocketAddr,
    commands: Sender<Command>,
    counters: Arc<MediaCounters>,
}

impl MediaPort {
    /// Where its socket is bound.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Its counters.
    pub fn counters(&self) -> &MediaCounters {
        &self.counters
    }

    /// Opens a call; `false` if the thread's queue of orders is full.
    #[must_use]
    pub fn open(&self, call: OpenCall) -> bool {
        self.order(Command::Open(call)).is_ok()
    }

    /// Adds a leg that is spoken for by `source`.
    ///
    /// # Errors
    /// [`LegRefused`]; nothing has changed.
    pub async fn add_leg(
        &self,
        call: CallId,
        leg: Leg,
        source: SocketAddr,
    ) -> Result<(), LegRefused> {
        self.leg(call, leg, source, false).await
    }

    /// Adds the leg, or lets `source` speak for it from now on if it exists.
    ///
    /// # Errors
    /// [`LegRefused`], but never [`LegRefused::LegExists`]; nothing has changed.
    pub async fn place_leg(
        &self,
        call: CallId,
        leg: Leg,
        source: SocketAddr,
    ) -> Result<(), LegRefused> {
        self.leg(call, leg, source, true).await
    }

    async fn leg(
        &self,
        call: CallId,
        leg: Leg,
        source: SocketAddr,
        may_exist: bool,
    ) -> Result<(), LegRefused> {
        let (reply, answer) = oneshot::channel();
        self.order(Command::AddLeg {
            call,
            leg,
            source,
            may_exist,
            reply,
        })?;
        answer.await.unwrap_or(Err(LegRefused::NotOpen))
    }

    /// Plays a sound to a leg, after those that wait already.
    /// [`MediaEventKind::Played`] tells what becomes of it.
    ///
    /// # Errors
    /// [`PlayRefused`]; nothing is played.
    pub async fn play(&self, call: CallId, order: PlayOrder) -> Result<(), PlayRefused> {
        let (reply, answer) = oneshot::channel();
        let start = StreamStart::from_random(Uuid::new_v4().into_bytes());
        let command = Command::Play {
            call,
            order,
            start,
            reply,
        };
        self.order(command).map_err(|refused| match refused {
            LegRefused::Overloaded => PlayRefused::Overloaded,
            _ => PlayRefused::NotOpen,
        })?;
        answer.await.unwrap_or(Err(PlayRefused::NotOpen))
    }

    /// Plays no more of that sound, or of any; `false` if the thread's queue of orders is full.
    #[must_use]
    pub fn stop_play(&self, call: CallId, id: Option<u64>) -> bool {
        self.order(Command::StopPlay { call, id }).is_ok()
    }

    /// Ends a call's media; [`MediaEventKind::Closed`] follows when its last line is out.
    #[must_use]
    pub fn hang_up(&self, call: CallId) -> bool {
        self.order(Command::Hangup(call)).is_ok()
    }

    fn order(&self, command: Command) -> Result<(), LegRefused> {
        self.commands
            .try_send(command)
            .map_err(|error| match error {
                TrySendError::Full(_) => LegRefused::Overloaded,
                TrySendError::Disconnected(_) => LegRefused::NotOpen,
            })
    }
}

/// All media threads. Dropping it stops them.
#[derive(Debug)]
pub struct MediaPlane {
    threads: Vec<MediaThread>,
}

impl MediaPlane {
    /// Binds the sockets and starts the threads.
    ///
    /// # Errors
    /// A socket cannot be bound, or a thread cannot be started.
    pub fn start(
        config: &MediaConfig,
        pool: &Pool<Ticket>,
        events: &mpsc::Sender<MediaEvent>,
    ) -> io::Result<Self> {
        let threads = (0..config.threads)
            .map(|n| Self::start_one(config, n, pool.handle(), pool.capacity(), events.clone()))
            .collect::<io::Result<_>>()?;
        Ok(Self { threads })
    }

    fn start_one(
        config: &MediaConfig,
        n: usize,
        pool: PoolHandle<Ticket>,
        pool_capacity: usize,
        events: mpsc::Sender<MediaEvent>,
    ) -> io::Result<MediaThread> {
        let mut bind = config.bind;
        if bind.port() != 0 {
            let port = u16::try_from(usize::from(bind.port()) + n)
                .map_err(|_| io::Error::other(format!("no port is left for media thread {n}")))?;
            bind.set_port(port);
        }
        let socket = socket::bind(bind)?;
        let local = socket.local_addr()?;
        let (commands, orders) = bounded(COMMAND_QUEUE);
        // As large as the pool: a worker that answers never waits for this thread.
        let (reply, answers) = bounded(pool_capacity);
        let counters = Arc::new(MediaCounters::default());
        let room = Room::new(
            RoomConfig {
                session: config.session.clone(),
            },
            pool,
            reply,
            Arc::clone(&counters),
        );
        let port = MediaPort {
            local,
            commands,
            counters,
        };
        MediaThread::spawn(n, port, socket, config.tick, room, orders, answers, events)
    }

    /// The threads' handles.
    pub fn ports(&self) -> Vec<MediaPort> {
        self.threads
            .iter()
            .map(|thread| thread.port().clone())
            .collect()
    }
}
