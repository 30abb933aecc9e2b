//! The task that owns a [`CallControl`] and moves things between it and the world.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::ConnectionState;
use super::http::{AriClient, MAX_REQUESTS};
use super::link::{ConnectionKeeper, SocketEvent};
use crate::control::{
    CallControl, ControlCommand, ControlInput, ControlNotice, ControlOutput, RequestFailure,
    RequestId,
};
use crate::event::AriEvent;
use crate::request::AriRequest;

/// Events read ahead.
const MAX_EVENTS: usize = 1024;
/// How long taking everything down may take when we are told to stop.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Everything [`AriDriver::run`] needs.
#[derive(Debug)]
pub struct AriDriver {
    /// Speaks to Asterisk.
    pub client: AriClient,
    /// Name of the Stasis application, as in the machine's settings.
    pub app: String,
    /// Decides.
    pub control: CallControl,
    /// Wishes; the queue's bound is its maker's.
    pub commands: mpsc::Receiver<ControlCommand>,
    /// Notices for the call manager. When the queue is full, events and commands wait; replies and
    /// timers go on.
    pub notices: mpsc::Sender<ControlNotice>,
    /// State of the connection to Asterisk.
    pub state: watch::Sender<ConnectionState>,
    /// Signal to ask for the application, should another process have taken it over.
    pub take_back: Arc<Notify>,
    /// Receiver of the events as they came, if anybody wants them.
    pub tap: Option<Arc<dyn EventTap>>,
    /// The monotonic clock.
    pub clock: fn() -> Instant,
}

/// Receiver of events as Asterisk sent them. It must not wait.
pub trait EventTap: fmt::Debug + Send + Sync {
    /// Whether any event is of use now; asked for each.
    fn is_wanted(&self) -> bool;
    /// An event that names the call's channel or one that we made for it. The
    /// same event comes once for each call that it names; one that a channel
    /// entered our application, whether or not the channel becomes a call.
    fn take(&self, call: &str, heard: Instant, text: &str);
}

/// Outcome of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverEnd {
    /// Everything of ours is gone from Asterisk.
    Clean,
    /// Time ran out first; the next start finds what was left.
    Abandoned,
}

impl AriDriver {
    /// Runs until `shutdown` resolves, or nobody takes the notices any more, and everything
    /// of ours has been taken down, for which there are 10 s.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> DriverEnd {
        let (heard_in, heard) = mpsc::channel(MAX_EVENTS);
        let mut tasks = JoinSet::new();
        let keeper = ConnectionKeeper {
            client: self.client.clone(),
            app: self.app,
            naming: self.control.naming().clone(),
            out: heard_in,
            state: self.state,
            take_back: self.take_back,
            clock: self.clock,
        };
        tasks.spawn(keeper.keep());
        let running = DriverTask {
            client: self.client,
            control: self.control,
            clock: self.clock,
            tap: self.tap,
            notices: self.notices,
            commands: Some(self.commands),
            heard,
            queue: VecDeque::new(),
            requests: JoinSet::new(),
            backlog: VecDeque::new(),
            stop_at: None,
            complete: false,
        };
        let stopped = running.run(shutdown).await;
        info!(?stopped, "no longer speaking to Asterisk");
        stopped
    }
}

struct DriverTask {
    client: AriClient,
    control: CallControl,
    clock: fn() -> Instant,
    tap: Option<Arc<dyn EventTap>>,
    notices: mpsc::Sender<ControlNotice>,
    commands: Option<mpsc::Receiver<ControlCommand>>,
    heard: mpsc::Receiver<SocketEvent>,
    /// Requests that wait for a place; one that waits longer than it may is forgotten by the
    /// machine.
    queue: VecDeque<(Instant, RequestId, AriRequest)>,
    requests: JoinSet<(RequestId, Result<Value, RequestFailure>)>,
    /// Notices that wait for room. Nothing but replies and timers adds to it meanwhile.
    backlog: VecDeque<ControlNotice>,
    stop_at: Option<Instant>,
    complete: bool,
}

/// The reason for which the task woke.
enum WakeReason {
    Room,
    NobodyListens,
    Replied(RequestId, Result<Value, RequestFailure>),
    Heard(Option<SocketEvent>),
    Command(Option<ControlCommand>),
    Due,
    Stop,
    OutOfTime,
}

impl DriverTask {
    async fn run(mut self, shutdown: impl Future<Output = ()> + Send) -> DriverEnd {
        let mut shutdown = pin!(shutdown);
        loop {
            let wait = self.drain();
            self.start_requests();
            if self.complete && self.backlog.is_empty() {
                return DriverEnd::Clean;
            }
            let stopping = self.stop_at.is_some();
            let free = self.backlog.is_empty();
            let clock = self.clock;
            let woken = tokio::select! {
                room = self.notices.reserve(), if !free => match room {
                    Ok(room) => {
                        if let Some(notice) = self.backlog.pop_front() {
                            room.send(notice);
                        }
                        WakeReason::Room
                    }
                    Err(_) => WakeReason::NobodyListens,
                },
                Some(done) = self.requests.join_next(), if !self.requests.is_empty() => match done {
                    Ok((id, result)) => WakeReason::Replied(id, result),
                    Err(error) => {
                        // Its time-out will tell the machine.
                        error!(%error, "a request was lost");
                        WakeReason::Room
                    }
                },
                heard = self.heard.recv(), if free => WakeReason::Heard(heard),
                command = next_command(&mut self.commands), if free => WakeReason::Command(command),
                () = until(wait, clock) => WakeReason::Due,
                () = &mut shutdown, if !stopping => WakeReason::Stop,
                () = until(self.stop_at, clock), if stopping => WakeReason::OutOfTime,
            };
            if let Some(stopped) = self.take(woken) {
                return stopped;
            }
        }
    }

    fn take(&mut self, woken: WakeReason) -> Option<DriverEnd> {
        match woken {
            WakeReason::Room => {}
            WakeReason::Replied(id, result) => self.input(ControlInput::Reply { id, result }),
            WakeReason::Heard(Some(SocketEvent::Connected)) => self.input(ControlInput::Connected),
            WakeReason::Heard(Some(SocketEvent::Event(event, text))) => {
                self.event(event, &text);
                if self.control.is_replaced() {
                    // Whoever has the application now would be harmed.
                    self.queue.clear();
                }
            }
            WakeReason::Heard(Some(SocketEvent::Disconnected)) => {
                // The machine has given these up, and Asterisk would make what nobody hears of.
                self.queue.clear();
                self.input(ControlInput::Disconnected);
            }
            WakeReason::Heard(None) => {
                error!("the events task ended");
                self.stop();
            }
            WakeReason::Command(Some(command)) => self.input(ControlInput::Command(command)),
            WakeReason::Command(None) => self.commands = None,
            WakeReason::Due => self.input(ControlInput::Timer),
            WakeReason::Stop => self.stop(),
            WakeReason::NobodyListens => {
                self.backlog.clear();
                self.stop();
            }
            WakeReason::OutOfTime => {
                warn!("not everything could be taken down in time");
                return Some(DriverEnd::Abandoned);
            }
        }
        None
    }

    fn stop(&mut self) {
        if self.stop_at.is_none() {
            self.stop_at = Some((self.clock)() + STOP_WITHIN);
            self.input(ControlInput::Command(ControlCommand::Shutdown));
        }
    }

    fn event(&mut self, event: AriEvent, text: &str) {
        let tap = self.tap.clone().filter(|tap| tap.is_wanted());
        let message = tap.as_ref().and_then(|_| serde_json::from_str(text).ok());
        let named = |running: &Self| {
            let message: Option<&Value> = message.as_ref();
            message.map_or_else(BTreeSet::new, |m| running.control.calls_named_in(m))
        };
        // A call is known before the event that ends it, and after the one that begins it.
        let mut calls = named(self);
        if let AriEvent::StasisStart { channel, .. } = &event {
            // It may become one only after a listing that is under way.
            calls.insert(channel.id.clone());
        }
        let heard = (self.clock)();
        self.input(ControlInput::Event(event));
        calls.extend(named(self));
        if let Some(tap) = tap {
            for call in calls {
                tap.take(&call, heard, text);
            }
        }
    }

    fn input(&mut self, input: ControlInput) {
        self.control.handle(input, (self.clock)());
    }

    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.control.poll() {
                ControlOutput::Send { id, request } => {
                    self.queue.push_back(((self.clock)(), id, request))
                }
                ControlOutput::Notice(notice) => {
                    self.complete |= notice == ControlNotice::ShutdownComplete;
                    if !self.notices.is_closed() {
                        self.backlog.push_back(notice);
                    }
                }
                ControlOutput::Wait(at) => return at,
            }
        }
    }

    fn start_requests(&mut self) {
        let now = (self.clock)();
        let longest = self.client.config.request_timeout;
        while self.requests.len() < MAX_REQUESTS {
            let Some((since, id, request)) = self.queue.pop_front() else {
                return;
            };
            if now.saturating_duration_since(since) >= longest {
                warn!(?request, "waited too long for its turn and is not sent");
                continue;
            }
            let client = self.client.clone();
            self.requests
                .spawn(async move { (id, client.execute(&request).await) });
        }
    }
}

async fn next_command(
    commands: &mut Option<mpsc::Receiver<ControlCommand>>,
) -> Option<ControlCommand> {
    match commands {
        Some(commands) => commands.recv().await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>, clock: fn() -> Instant) {
    match at {
        Some(at) => tokio::time::sleep(at.saturating_duration_since(clock())).await,
        None => std::future::pending().await,
    }
}
