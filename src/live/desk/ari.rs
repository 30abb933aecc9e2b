//! The desk and Asterisk: commands out, notices in. The choreography itself is
//! `asterscribe-ari`'s.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use asterscribe_ari::client::{Client, ClientConfig, ConnectionState, Driver, fresh_nonce};
use asterscribe_ari::control::{CallKind, Command, CommandKind, Config, Control, Notice, RecoverCall};
use asterscribe_ari::model::Channel;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::book::Opening;
use super::{Desk, lock};
use crate::call::{CallId, CallStatus, EndReason, Leg, Origin};
use crate::clock;
use crate::config::{AriSettings, Settings};
use crate::service::{InitiateRequest, PartHealth, PartState, RtpTarget, ServiceError};

/// Commands that wait for the driver; the API says 503 beyond it.
const COMMANDS: usize = 256;

/// Notices that wait for the desk; the driver waits when it is full.
const NOTICES: usize = 4096;

/// How long the outcome of a command is waited for: above the request time-out
/// of the choreography, so that its word comes first.
const COMMAND_PATIENCE: Duration = Duration::from_secs(12);

/// The desk's end of the connection to Asterisk.
#[derive(Debug)]
pub struct AriLink {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<ConnectionState>,
    url: String,
    prefix: String,
}

/// The other end, to be started once the desk is there.
#[derive(Debug)]
pub struct AriTask {
    settings: AriSettings,
    config: Config,
    commands: mpsc::Receiver<Command>,
    state: watch::Sender<ConnectionState>,
}

impl AriLink {
    /// Both ends, if an Asterisk is configured.
    pub fn prepare(settings: &Settings, targets: &[RtpTarget]) -> (Option<Self>, Option<AriTask>) {
        let Some(ari) = settings.ari.clone() else { return (None, None) };
        let targets = targets.iter().map(|target| SocketAddr::new(target.host, target.port)).collect();
        let config = Config {
            app: ari.app.clone(),
            format: settings.media_format.to_string(),
            max_calls: settings.max_concurrent_calls,
            ..Config::new(fresh_nonce(), targets)
        };
        let (commands, orders) = mpsc::channel(COMMANDS);
        let (state, seen) = watch::channel(ConnectionState::Connecting);
        let link = Self { commands, state: seen, url: ari.url.to_string(), prefix: config.prefix() };
        (Some(link), Some(AriTask { settings: ari, config, commands: orders, state }))
    }

    pub(super) fn health(&self) -> PartHealth {
        match &*self.state.borrow() {
            ConnectionState::Connected => PartHealth { state: PartState::Ok, detail: self.url.clone() },
            ConnectionState::Connecting => {
                PartHealth { state: PartState::Down, detail: format!("connecting to {}", self.url) }
            }
            ConnectionState::Failed(reason) => {
                PartHealth { state: PartState::Down, detail: format!("{}: {reason}", self.url) }
            }
        }
    }

    /// An id for a call that we place. Its prefix marks the channel as ours, so
    /// that one which nobody knows any more is removed.
    pub(super) fn fresh_call_id(&self) -> CallId {
        let id = format!("{}call-{}", self.prefix, Uuid::new_v4());
        id.parse().expect("an application's name, letters, digits and dashes, 74 at most")
    }

    pub(super) fn originate(&self, call: &CallId, endpoint: String, request: &InitiateRequest) -> Command {
        Command::Originate {
            call: call.to_string(),
            endpoint,
            caller_id: Some(request.caller_number.clone()),
            formats: None,
            variables: Vec::new(),
        }
    }

    pub(super) fn tap(&self, channel: &CallId) -> Command {
        Command::Tap { call: channel.to_string() }
    }

    pub(super) fn hang_up(&self, call: &CallId) -> Command {
        Command::Hangup { call: call.to_string() }
    }

    fn order(&self, command: Command) -> Result<(), ServiceError> {
        if let ConnectionState::Failed(reason) = &*self.state.borrow() {
            return Err(ServiceError::AsteriskUnavailable(reason.clone()));
        }
        self.commands.try_send(command).map_err(|error| {
            ServiceError::AsteriskUnavailable(match error {
                TrySendError::Full(_) => "too many commands are waiting".to_owned(),
                TrySendError::Closed(_) => "the connection is shut down".to_owned(),
            })
        })
    }
}

impl AriTask {
    /// Starts the driver and the desk's ear for it; they run until `stopped` says so.
    pub fn spawn(
        self,
        desk: Arc<Desk>,
        recalled: Vec<(CallId, Origin)>,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>, String> {
        let Self { settings, mut config, commands, state } = self;
        config.recover = recalled.into_iter().filter_map(recoverable).collect();
        let reach = ClientConfig::new(settings.url, settings.user, settings.password.expose());
        let client = Client::new(&reach).map_err(|error| error.to_string())?;
        let app = config.app.clone();
        let control = Control::new(config, clock::now()).map_err(|error| error.to_string())?;
        let (notices, mut heard) = mpsc::channel(NOTICES);
        let driver = Driver { client, app, control, commands, notices, state, clock: clock::now };
        let stop = async move {
            // An error means that the server is gone: stop as well.
            let _asked = stopped.wait_for(|stop| *stop).await;
        };
        Ok(tokio::spawn(async move {
            let driver = tokio::spawn(driver.run(stop));
            while let Some(notice) = heard.recv().await {
                desk.hear(notice).await;
            }
            if driver.await.is_err() {
                tracing::error!("the connection to Asterisk had panicked");
            }
        }))
    }
}

fn recoverable((call, origin): (CallId, Origin)) -> Option<RecoverCall> {
    let kind = match origin {
        Origin::Stasis => CallKind::Stasis,
        Origin::Initiated => CallKind::Initiated,
        Origin::Tap => CallKind::Tap,
        Origin::Media | Origin::Replay => return None,
    };
    Some(RecoverCall { call: call.to_string(), channel: call.to_string(), kind })
}

impl Desk {
    /// Hands a command to Asterisk and waits for its outcome.
    pub(super) async fn command(&self, call: &CallId, command: Command) -> Result<(), ServiceError> {
        let ari = self.ari.as_ref().ok_or_else(|| ServiceError::AsteriskUnavailable("not configured".to_owned()))?;
        let (outcome, answer) = oneshot::channel();
        {
            let mut pending = lock(&self.pending);
            if pending.contains_key(call) {
                return Err(ServiceError::Conflict(format!("call {call} is being worked on")));
            }
            pending.insert(call.clone(), outcome);
        }
        let sent = ari.order(command);
        let result = match sent {
            Err(error) => Err(error),
            Ok(()) => match tokio::time::timeout(COMMAND_PATIENCE, answer).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) | Err(_) => Err(ServiceError::AsteriskUnavailable("no answer in time".to_owned())),
            },
        };
        lock(&self.pending).remove(call);
        result
    }

    /// Takes one notice from Asterisk.
    async fn hear(&self, notice: Notice) {
        match notice {
            Notice::CallOpened { call, kind, target, channel, resumed } => {
                self.with_id(&call, |id| self.call_opened(id, kind, target, &channel, resumed));
            }
            Notice::MediaSource { call, leg, source, format } => {
                if let Some(id) = parse(&call) {
                    self.media_source(&id, leg, source, format).await;
                }
            }
            Notice::LegFailed { call, leg, text } => {
                tracing::warn!(call, leg, text, "a leg has no media");
                self.with_id(&call, |id| self.book(|book| book.note(id, format!("leg {leg}: {text}"))));
            }
            Notice::CallAnswered { call } => {
                self.with_id(&call, |id| self.book(|book| book.answered(id, clock::wall())));
            }
            Notice::StateChange { call, channel, state } => self.with_id(&call, |id| {
                self.book(|book| book.channel_state(id, clock::now(), channel, state));
            }),
            Notice::Dtmf { call, leg, digit, duration_ms } => self.with_id(&call, |id| {
                if let Ok(leg) = leg.parse() {
                    self.book(|book| book.digit(id, clock::now(), digit, duration_ms, leg));
                }
            }),
            Notice::CallEnded { call, cause, text } => self.with_id(&call, |id| {
                self.call_over(id, EndReason { cause, text }, CallStatus::Ended);
            }),
            Notice::CallFailed { call, text } => self.with_id(&call, |id| {
                self.call_over(id, EndReason { cause: None, text }, CallStatus::Failed);
            }),
            Notice::CallTurnedAway { channel } => {
                tracing::warn!(channel = channel.id, "no call place is free; the caller goes on in the dialplan");
            }
            Notice::CommandAccepted { call, .. } => self.with_id(&call, |id| self.outcome(id, Ok(()))),
            Notice::CommandRefused { command, call, status, message } => {
                self.with_id(&call, |id| self.outcome(id, Err(refusal(id, command, status, message))));
            }
            Notice::Reaped { kind, id } => tracing::info!(?kind, id, "removed what an earlier process left in Asterisk"),
            Notice::Synced => tracing::info!("in step with Asterisk"),
            Notice::Replaced => tracing::error!("another program has taken over our Stasis application"),
            Notice::LegOpening { .. } | Notice::MediaUp { .. } | Notice::Stats(_) | Notice::ShutdownComplete => {}
        }
    }

    fn with_id(&self, call: &str, work: impl FnOnce(&CallId)) {
        if let Some(id) = parse(call) {
            work(&id);
        }
    }

    fn call_opened(&self, id: &CallId, kind: CallKind, target: usize, channel: &Channel, resumed: bool) {
        let left = lock(&self.resumable).remove(id);
        let opening = Opening {
            call: id.clone(),
            origin: match kind {
                CallKind::Stasis => Origin::Stasis,
                CallKind::Initiated => Origin::Initiated,
                CallKind::Tap => Origin::Tap,
            },
            port: target,
            caller_number: non_empty(&channel.caller.number),
            destination: non_empty(&channel.dialplan.exten),
            channel_name: non_empty(&channel.name),
            resumed: left,
        };
        tracing::info!(call = %id, ?kind, channel = channel.name, resumed, "a call has begun");
        if self.open(opening, None) {
            let (channel, state) = (channel.id.clone(), channel.state.clone());
            self.book(|book| book.channel_state(id, clock::now(), channel, state));
        }
    }

    /// A call is over: one that is open here, or one that an earlier process left.
    fn call_over(&self, id: &CallId, reason: EndReason, status: CallStatus) {
        match lock(&self.resumable).remove(id) {
            Some(left) => self.book(|book| book.settle(left.record, clock::wall(), reason.text)),
            None => self.end(id, reason, status),
        }
    }

    async fn media_source(&self, id: &CallId, leg: &str, source: SocketAddr, format: String) {
        let Ok(leg) = leg.parse::<Leg>() else { return };
        if let Err(refused) = self.place_leg(id, leg.clone(), source, Some(format)).await {
            tracing::error!(call = %id, %leg, %source, %refused, "a leg's media cannot be taken");
            self.book(|book| book.note(id, format!("leg {leg}: {refused}")));
        }
    }

    fn outcome(&self, call: &CallId, result: Result<(), ServiceError>) {
        if let Some(waiting) = lock(&self.pending).remove(call) {
            // Whoever asked may have stopped waiting; the call's own notices follow all the same.
            let _unheard = waiting.send(result);
        }
    }

    /// Settles what an earlier process left, once a store that was away at start is back.
    pub async fn settle_later(&self) {
        let mut again = tokio::time::interval(Duration::from_secs(5));
        loop {
            again.tick().await;
            let Ok(left) = self.recall().await else { continue };
            for (call, _) in left {
                // Asterisk was asked long ago: what it still has was opened as a call of its own.
                let text = "the server was restarted".to_owned();
                self.call_over(&call, EndReason { cause: None, text }, CallStatus::Failed);
            }
            return;
        }
    }
}

/// Channels with ids that are no call ids (somebody chose them so) cannot be served.
fn parse(call: &str) -> Option<CallId> {
    let id = call.parse();
    if id.is_err() {
        tracing::error!(call, "a channel id that is no call id; its call is not recorded");
    }
    id.ok()
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn refusal(call: &CallId, command: CommandKind, status: Option<u16>, message: String) -> ServiceError {
    match (command, status) {
        (CommandKind::Tap | CommandKind::Hangup, Some(404)) => ServiceError::UnknownCall(call.clone()),
        (_, Some(409)) => ServiceError::Conflict(message),
        (_, Some(503)) => ServiceError::AsteriskUnavailable(message),
        (_, Some(_)) => ServiceError::AsteriskRefused(message),
        (_, None) => ServiceError::AsteriskUnavailable(message),
    }
}
