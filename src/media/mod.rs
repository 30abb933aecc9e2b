//! The media plane: a few threads, each with one UDP socket, which all its calls
//! share unless a leg has one of its own, and the calls that were assigned to
//! it. Nothing is shared between threads, so there is nothing
//! to lock; a call lives and dies on its thread.
//!
//! Threads wake on a tick, not per packet: at telephone rates that is the
//! difference between 7 µs and 1.4 µs of CPU per packet, and a packet waits at
//! most one tick.

mod capture;
mod own;
mod play;
mod ports;
mod shard;
mod socket;
#[cfg(test)]
mod tests;
mod thread;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use asterscribe_call::{CallEvent, CallId, DtmfDigit, Leg, PartialLine, TranscriptLine};
use asterscribe_recognition::pool::{PoolHandle, RecognitionPool};
use asterscribe_rtp::StreamStart;
use asterscribe_session::{CallOptions, DeferredLine, ExpectedMedia, LegSnapshot, SessionConfig};
use crossbeam_channel::{Sender, TrySendError, bounded};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use self::own::OwnSockets;
pub use self::play::{PlayOrder, PlayRefused};
use self::ports::ReservedPort;
pub use self::ports::{NoPort, OwnPort, PortPool, PortReservation, PortUse};
pub use self::shard::{JobTicket, MediaCounters};
use self::shard::{SessionShard, ShardConfig};
use self::socket::{RECEIVE_BUFFER, RtpSocket};
use self::thread::{MediaThread, ThreadEnds};
use crate::capture::CaptureTap;
use crate::play::PlayReport;

/// A stall of the process that a thread's receive buffer must bridge.
pub const STALL: Duration = Duration::from_millis(150);

/// Packets of a call with two legs, 20 ms each.
const PACKETS_PER_SECOND: usize = 100;

/// Bytes that the kernel charges a receive buffer for a telephone datagram, its own data included.
const DATAGRAM_IN_KERNEL: usize = 870;

/// Receive buffer, as the kernel is asked for it, that so many calls of two legs
/// fill in [`STALL`]; it makes twice that and counts its own memory in.
pub const fn buffer_for_stall(calls: usize) -> usize {
    let packets = calls * PACKETS_PER_SECOND * STALL.as_millis() as usize / 1000;
    packets * DATAGRAM_IN_KERNEL / 2
}

/// Answers to partials that wait for a thread's next tick, beside those to finals.
const PARTIAL_ANSWERS: usize = 1024;

/// Configuration of the media plane.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// Address of the first socket; thread k takes port + k, or a free port if it is 0.
    pub bind: SocketAddr,
    /// Number of sockets and threads.
    pub threads: usize,
    /// Time between two looks at the socket.
    pub tick: Duration,
    /// Whether legs may have sockets of their own.
    pub own_ports: bool,
    /// Configuration of the sessions.
    pub session: SessionConfig,
    /// Whether there is a spool for utterances that could not be recognised in time.
    pub keeps_late: bool,
}

/// Report of a call's media.
#[derive(Debug)]
pub struct MediaEvent {
    /// Call, by the id of its media run.
    pub call: CallId,
    /// Kind of the report, with its data.
    pub kind: MediaEventKind,
}

/// The kind of a media event.
#[derive(Debug)]
pub enum MediaEventKind {
    /// A line of the transcript, in order.
    Line(TranscriptLine),
    /// A line of which the words are still to come.
    Deferred(Box<DeferredLine>),
    /// A partial: the words of the utterance that is still being spoken. Empty: it came to nothing.
    Partial(PartialLine),
    /// An event of a leg's media.
    Event(CallEvent),
    /// A party pressed a key, by its packets.
    Digit(DtmfDigit),
    /// The counters have changed.
    Stats(Vec<LegSnapshot>),
    /// A report on a sound that is played to the call.
    Played(PlayReport),
    /// The call's idle limit has passed without a datagram on any leg.
    Idle,
    /// All lines are out; no counters come with it if the call's media panicked.
    Closed(Vec<LegSnapshot>),
}

/// A call to be opened on a media thread.
#[derive(Debug)]
pub struct OpenCall {
    /// Id of the media run.
    pub call: CallId,
    /// Zero of the call's clock.
    pub opened: Instant,
    /// Report [`MediaEventKind::Idle`] after this long without a datagram.
    pub idle_limit: Option<Duration>,
    /// Options of recognition, if they are not the defaults.
    pub call_options: Option<CallOptions>,
}

/// Reason why a leg could not be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LegRefused {
    /// Another leg already owns the source address.
    #[error("RTP from {0} already belongs to another leg")]
    SourceTaken(SocketAddr),
    /// The call has a leg of that label.
    #[error("the call already has a leg {0}")]
    LegExists(Leg),
    /// The call is over, or was never opened.
    #[error("the call is not open")]
    NotOpen,
    /// The leg's own socket cannot be read, for the reason given by the system.
    #[error("the leg's own socket cannot be read: {0}")]
    Socket(String),
    /// The media thread does not take orders now.
    #[error("the media plane is overloaded")]
    Overloaded,
}

#[derive(Debug)]
pub(super) enum MediaCommand {
    Open(OpenCall),
    AddLeg(AddLeg),
    Reserve(ReservedPort),
    Choose {
        call: CallId,
        call_options: CallOptions,
    },
    PartyMayDiffer {
        call: CallId,
        /// Leg that is concerned; `None`: any.
        leg: Option<Leg>,
        why: &'static str,
    },
    Hold {
        call: CallId,
        leg: Leg,
        is_on: bool,
    },
    Capture {
        call: CallId,
        tap: CaptureTap,
        /// Answered once packets are recorded.
        reply: oneshot::Sender<()>,
    },
    Play {
        call: CallId,
        order: PlayOrder,
        /// First numbers of the leg's outgoing stream, if this is its first sound.
        start: StreamStart,
        reply: oneshot::Sender<Result<(), PlayRefused>>,
    },
    StopPlay {
        call: CallId,
        id: Option<u64>,
    },
    Hangup(CallId),
}

#[derive(Debug)]
pub(super) struct AddLeg {
    call: CallId,
    leg: Leg,
    source: SocketAddr,
    /// Format that Asterisk, or whoever registered the leg, is expected to send.
    expected: ExpectedMedia,
    /// Whether the leg may exist already: then its source moves, as when its media channel was made
    /// anew.
    may_exist: bool,
    ear: LegSocket,
    reply: oneshot::Sender<Result<(), LegRefused>>,
}

/// Socket at which a leg is received.
#[derive(Debug, Default)]
enum LegSocket {
    /// The thread's socket; for a leg that exists, the one that it has.
    #[default]
    Shared,
    Own(OwnPort),
    Reserved(PortReservation),
}

impl AddLeg {
    fn answer(self, result: Result<(), LegRefused>) {
        // The asker may have given up; the leg then ends with its call.
        let _unheard = self.reply.send(result);
    }
}

/// Orders waiting for a media thread; it takes them every tick.
const COMMAND_QUEUE: usize = 4096;

/// Handle of a media thread for the rest of the program.
#[derive(Debug, Clone)]
pub struct MediaThreadHandle {
    local: SocketAddr,
    receive_buffer: usize,
    commands: Sender<MediaCommand>,
    counters: Arc<MediaCounters>,
}

impl MediaThreadHandle {
    /// Address that the thread's socket is bound to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Bytes that the kernel holds for the thread's socket between two reads.
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// Counters of the media thread.
    pub fn counters(&self) -> &MediaCounters {
        &self.counters
    }

    /// Opens a call; `false` if the thread's queue of orders is full.
    #[must_use]
    pub fn open(&self, call: OpenCall) -> bool {
        self.order(MediaCommand::Open(call)).is_ok()
    }

    /// Has a call's speech recognised like that from now on; `false` if the thread's queue of
    /// orders is full.
    #[must_use]
    pub fn choose(&self, call: CallId, call_options: CallOptions) -> bool {
        self.order(MediaCommand::Choose { call, call_options })
            .is_ok()
    }

    /// Announces that another party may speak on a leg of a call, or on any; `false` if the
    /// thread's queue of orders is full.
    #[must_use]
    pub fn party_may_differ(&self, call: CallId, leg: Option<Leg>, why: &'static str) -> bool {
        let order = MediaCommand::PartyMayDiffer { call, leg, why };
        self.order(order).is_ok()
    }

    /// Announces that the party of a leg has put the other on hold, or taken it off; `false` if the
    /// thread's queue of orders is full.
    #[must_use]
    pub fn hold(&self, call: CallId, leg: Leg, is_on: bool) -> bool {
        self.order(MediaCommand::Hold { call, leg, is_on }).is_ok()
    }

    /// Adds a leg that is spoken for by `source`, heard at a port of its `own`
    /// or else at the thread's socket.
    ///
    /// # Errors
    /// [`LegRefused`]; nothing has changed, and its own port is given back.
    pub async fn add_leg(
        &self,
        call: CallId,
        leg: Leg,
        source: SocketAddr,
        expected: ExpectedMedia,
        own: Option<OwnPort>,
    ) -> Result<(), LegRefused> {
        let ear = own.map_or(LegSocket::Shared, LegSocket::Own);
        self.leg(call, leg, source, expected, false, ear).await
    }

    /// Opens a port for a leg that is to be placed: what comes before is held as
    /// a stranger's datagrams are, for a moment.
    ///
    /// # Errors
    /// [`LegRefused`]; the port is given back.
    pub fn reserve(&self, own: OwnPort) -> Result<PortReservation, LegRefused> {
        let (reservation, port) = own.reserve();
        self.order(MediaCommand::Reserve(port))?;
        Ok(reservation)
    }

    /// Adds the leg, or lets `source` speak for it from now on if it exists. It
    /// is heard at the port that was reserved for it, and at no former one.
    ///
    /// # Errors
    /// [`LegRefused`], but never [`LegRefused::LegExists`]; nothing has changed,
    /// and the port is given back.
    pub async fn place_leg(
        &self,
        call: CallId,
        leg: Leg,
        source: SocketAddr,
        expected: ExpectedMedia,
        at: Option<PortReservation>,
    ) -> Result<(), LegRefused> {
        let ear = at.map_or(LegSocket::Shared, LegSocket::Reserved);
        self.leg(call, leg, source, expected, true, ear).await
    }

    async fn leg(
        &self,
        call: CallId,
        leg: Leg,
        source: SocketAddr,
        expected: ExpectedMedia,
        may_exist: bool,
        ear: LegSocket,
    ) -> Result<(), LegRefused> {
        let (reply, answer) = oneshot::channel();
        self.order(MediaCommand::AddLeg(AddLeg {
            call,
            leg,
            source,
            expected,
            may_exist,
            ear,
            reply,
        }))?;
        answer.await.unwrap_or(Err(LegRefused::NotOpen))
    }

    /// Records what reaches a call; what comes after the answer is recorded for
    /// certain. `None` if the thread's queue of orders is full.
    #[must_use]
    pub fn capture(&self, call: CallId, tap: CaptureTap) -> Option<oneshot::Receiver<()>> {
        let (reply, answer) = oneshot::channel();
        self.order(MediaCommand::Capture { call, tap, reply })
            .ok()?;
        Some(answer)
    }

    /// Plays a sound to a leg, after those that wait already.
    /// [`MediaEventKind::Played`] tells what becomes of it.
    ///
    /// # Errors
    /// [`PlayRefused`]; nothing is played.
    pub async fn play(&self, call: CallId, order: PlayOrder) -> Result<(), PlayRefused> {
        let (reply, answer) = oneshot::channel();
        let start = StreamStart::from_random(Uuid::new_v4().into_bytes());
        let command = MediaCommand::Play {
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
        self.order(MediaCommand::StopPlay { call, id }).is_ok()
    }

    /// Ends a call's media; [`MediaEventKind::Closed`] follows when its last line is out.
    #[must_use]
    pub fn hang_up(&self, call: CallId) -> bool {
        self.order(MediaCommand::Hangup(call)).is_ok()
    }

    fn order(&self, command: MediaCommand) -> Result<(), LegRefused> {
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
        pool: &RecognitionPool<JobTicket>,
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
        pool: PoolHandle<JobTicket>,
        pool_capacity: usize,
        events: mpsc::Sender<MediaEvent>,
    ) -> io::Result<MediaThread> {
        let mut bind = config.bind;
        if bind.port() != 0 {
            let port = u16::try_from(usize::from(bind.port()) + n)
                .map_err(|_| io::Error::other(format!("no port is left for media thread {n}")))?;
            bind.set_port(port);
        }
        let socket = RtpSocket::bind(bind, RECEIVE_BUFFER)?;
        let local = socket.local_addr()?;
        let receive_buffer = socket.granted();
        if receive_buffer < RECEIVE_BUFFER {
            tracing::warn!(
                granted = receive_buffer,
                wanted = RECEIVE_BUFFER,
                "the RTP receive buffer is smaller than asked for; raise net.core.rmem_max"
            );
        }
        let (commands, orders) = bounded(COMMAND_QUEUE);
        // As large as the pool: a worker that answers never waits for this thread.
        let (reply, answers) = bounded(pool_capacity + PARTIAL_ANSWERS);
        let counters = Arc::new(MediaCounters::default());
        let shard = SessionShard::new(
            ShardConfig {
                session: config.session.clone(),
                number: n,
                keeps_late: config.keeps_late,
            },
            pool,
            reply,
            Arc::clone(&counters),
        );
        let port = MediaThreadHandle {
            local,
            receive_buffer,
            commands,
            counters,
        };
        let own = config.own_ports.then(OwnSockets::new).transpose()?;
        let ends = ThreadEnds::new(socket, own, orders, answers, events);
        MediaThread::spawn(n, port, config.tick, shard, ends)
    }

    /// The threads' handles.
    pub fn threads(&self) -> Vec<MediaThreadHandle> {
        self.threads
            .iter()
            .map(|thread| thread.port().clone())
            .collect()
    }
}
