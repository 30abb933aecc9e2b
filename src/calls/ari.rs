//! Connection of the call manager to Asterisk: commands out, notices in. The choreography itself is
//! in `asterscribe-ari`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asterscribe_ari::client::{
    AriClient, AriDriver, ClientConfig, ClientError, ConnectionState, fresh_nonce,
};
use asterscribe_ari::control::{
    CallControl, CallKind, CommandKind, ControlCommand, ControlConfig, ControlNotice, ObjectNaming,
    RecoverCall, RequestId,
};
use asterscribe_call::{CallId, CallOrigin, CallStatus, EndReason};
use asterscribe_clock as clock;
use jiff::Timestamp;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::opening::CallOpened;
use super::pending::{AskedCommand, CommandOutcome, PendingCommands};
use super::remarks::SyncStep;
use super::{CallManager, choices, lock, roles};
use crate::config::{AriSettings, Settings};
use crate::service::{InitiateRequest, RtpTarget, ServiceError};

/// Commands that wait for the driver; the API says 503 beyond it.
const COMMANDS: usize = 256;

/// Notices that wait for the call manager; the driver waits when there are as many.
const NOTICES: usize = 4096;

/// How long an answer may wait for room; the choreography waits longer for it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// How long the outcome of a command is waited for: above the request time-out
/// of the choreography, so that its word comes first.
const COMMAND_PATIENCE: Duration = Duration::from_secs(12);

/// The call manager's end of the connection to Asterisk.
#[derive(Debug)]
pub struct AriLink {
    commands: mpsc::Sender<ControlCommand>,
    pub(super) state: watch::Receiver<ConnectionState>,
    pub(super) url: String,
    naming: ObjectNaming,
    pub(super) take_back: Arc<Notify>,
    /// Fault in Asterisk that its driver has reported though the connection stands; for `/health`.
    pub(super) trouble: Mutex<Option<String>>,
    pub(super) step: SyncStep,
}

/// The driver's end of the connection, to be started once the call manager exists.
#[derive(Debug)]
pub struct AriTask {
    settings: AriSettings,
    config: ControlConfig,
    commands: mpsc::Receiver<ControlCommand>,
    state: watch::Sender<ConnectionState>,
    take_back: Arc<Notify>,
}

impl AriLink {
    /// Both ends of the connection, if an Asterisk is configured; it may open `max_calls` calls.
    pub fn prepare(
        settings: &Settings,
        targets: &[RtpTarget],
        max_calls: usize,
    ) -> (Option<Self>, Option<AriTask>) {
        let Some(ari) = settings.ari.clone() else {
            return (None, None);
        };
        let targets = targets
            .iter()
            .map(|target| SocketAddr::new(target.host, target.port))
            .collect();
        let config = ControlConfig {
            app: ari.app.clone(),
            format: settings.media_format.to_string(),
            own_ports: settings.rtp_own_ports.is_some(),
            max_calls,
            variables: roles::variables()
                .into_iter()
                .chain(choices::variables())
                .collect(),
            ..ControlConfig::new(fresh_nonce(), targets)
        };
        let (commands, orders) = mpsc::channel(COMMANDS);
        let (state, seen) = watch::channel(ConnectionState::Connecting);
        let link = Self {
            commands,
            step: SyncStep::new(seen.clone()),
            state: seen,
            url: ari.url.to_string(),
            naming: config.naming(),
            take_back: Arc::default(),
            trouble: Mutex::default(),
        };
        let take_back = Arc::clone(&link.take_back);
        (
            Some(link),
            Some(AriTask {
                settings: ari,
                config,
                commands: orders,
                state,
                take_back,
            }),
        )
    }

    /// Registered calls count towards the limit of Asterisk's side too.
    pub(super) fn taken_elsewhere(&self, calls: usize) {
        if self
            .commands
            .try_send(ControlCommand::TakenElsewhere { calls })
            .is_err()
        {
            tracing::warn!(
                calls,
                "cannot pass the call limit to the ARI client: its command queue is full"
            );
        }
    }

    /// Tells Asterisk's side whether new calls are taken; `closed` is the reason why not.
    pub(super) fn admission(&self, closed: Option<String>) {
        let command = ControlCommand::Admission { closed };
        if self.commands.try_send(command).is_err() {
            tracing::warn!(
                "cannot pass the admission state to the ARI client: its command queue is full"
            );
        }
    }

    /// An id for a call that we place. Its form marks the channel as ours, so
    /// that one which nobody knows any more is removed.
    pub(super) fn fresh_call_id(&self) -> CallId {
        let id = self.naming.call(Uuid::new_v4().as_u128());
        id.parse()
            .expect("an application's name, letters, digits and dashes, 76 at most")
    }

    pub(super) fn originate(
        &self,
        call: &CallId,
        endpoint: String,
        request: &InitiateRequest,
    ) -> ControlCommand {
        ControlCommand::Originate {
            call: call.to_string(),
            endpoint,
            caller_id: Some(request.caller_number.clone()),
            formats: None,
            variables: Vec::new(),
        }
    }

    pub(super) fn tap(&self, channel: &str) -> ControlCommand {
        ControlCommand::Tap {
            call: channel.to_owned(),
        }
    }

    pub(super) fn find(&self, name: &str) -> ControlCommand {
        ControlCommand::Find {
            name: name.to_owned(),
        }
    }

    pub(super) fn hang_up(&self, channel: String) -> ControlCommand {
        ControlCommand::Hangup { call: channel }
    }

    /// Answers a request for RTP ports; `false` if the answer found no room.
    pub(super) async fn give_ports(
        &self,
        id: RequestId,
        ports: Result<Vec<SocketAddr>, String>,
    ) -> bool {
        self.answer(ControlCommand::Ports { id, ports }).await
    }

    /// Answers a notice; `false` if the answer found no room.
    pub(super) async fn answer(&self, answer: ControlCommand) -> bool {
        let said = self.commands.send(answer);
        // Without a limit each side might wait for the other to hear it.
        let said = tokio::time::timeout(ANSWER_PATIENCE, said).await;
        said.is_ok_and(|said| said.is_ok())
    }

    fn order(&self, command: ControlCommand) -> Result<(), ServiceError> {
        if let Some(reason) = self.unavailable() {
            return Err(ServiceError::AsteriskUnavailable(reason));
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
    /// Starts the driver and the task that takes its notices; they run until `stopped` says so.
    pub fn spawn(
        self,
        manager: Arc<CallManager>,
        recalled: Vec<RecalledCall>,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>, String> {
        let Self {
            settings,
            mut config,
            commands,
            state,
            take_back,
        } = self;
        config.recover = recalled.into_iter().filter_map(recoverable).collect();
        let client = client(settings)?;
        let app = config.app.clone();
        let control = CallControl::new(config, clock::now())
            .map_err(|error| format!("ASTERISK_ARI_URL: {error}"))?;
        let (notices, mut heard) = mpsc::channel(NOTICES);
        let driver = AriDriver {
            client,
            app,
            control,
            commands,
            notices,
            state,
            take_back,
            tap: manager.event_tap(),
            clock: clock::now,
        };
        let stop = async move {
            // An error means that the server is gone: stop as well.
            let _asked = stopped.wait_for(|stop| *stop).await;
        };
        Ok(tokio::spawn(async move {
            let driver = tokio::spawn(driver.run(stop));
            while let Some(notice) = heard.recv().await {
                manager.hear(notice).await;
            }
            if driver.await.is_err() {
                tracing::error!("the ARI client panicked");
            }
            manager.forget_reserved();
        }))
    }
}

fn client(settings: AriSettings) -> Result<AriClient, String> {
    let mut reach = ClientConfig::new(settings.url, settings.user, settings.password.expose());
    if let Some(file) = settings.ca_file {
        let unreadable = |error| format!("ASTERISK_CA_FILE: {}: {error}", file.display());
        reach.authorities = Some(std::fs::read(&file).map_err(unreadable)?);
    }
    let named = |error| match error {
        ClientError::Authority(_) => format!("ASTERISK_CA_FILE: {error}"),
        error => format!("ASTERISK_ARI_URL: {error}"),
    };
    AriClient::new(&reach).map_err(named)
}

/// A call that an earlier process left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecalledCall {
    /// Id of the call.
    pub call: CallId,
    /// Asterisk's id of the call's channel.
    pub channel: String,
    /// Time at which the channel was created, as Asterisk reported it.
    pub created_at: Option<Timestamp>,
    /// Origin of the call.
    pub origin: CallOrigin,
}

fn recoverable(recalled: RecalledCall) -> Option<RecoverCall> {
    let kind = match recalled.origin {
        CallOrigin::Stasis => CallKind::Stasis,
        CallOrigin::Initiated => CallKind::Initiated,
        CallOrigin::Tap => CallKind::Tap,
        CallOrigin::Media | CallOrigin::Replay => return None,
    };
    Some(RecoverCall {
        call: recalled.call.to_string(),
        channel: recalled.channel,
        created_at: recalled.created_at,
        kind,
    })
}

/// Asterisk as the call manager works with it.
pub(super) struct AsteriskSide {
    /// Link to it, if one is configured.
    pub(super) link: Option<AriLink>,
    /// Commands to Asterisk whose outcome is still to come.
    pub(super) pending: Mutex<PendingCommands>,
}

impl AsteriskSide {
    pub(super) fn new(link: Option<AriLink>) -> Self {
        Self {
            link,
            pending: Mutex::default(),
        }
    }
}

impl CallManager {
    /// Hands a command to Asterisk and waits for its outcome. Whoever stops
    /// waiting does not undo it.
    pub(super) async fn command(
        &self,
        channel: &str,
        command: ControlCommand,
        asked: Option<AskedCommand>,
    ) -> CommandOutcome {
        let none = || ServiceError::AsteriskUnavailable("not configured".to_owned());
        let ari = self.asterisk.link.as_ref().ok_or_else(none)?;
        let kind = kind(&command);
        let answer = lock(&self.asterisk.pending).begin(clock::now(), channel, kind, asked);
        let busy = || ServiceError::Conflict(format!("call {channel} is being worked on"));
        let answer = answer.ok_or_else(busy)?;
        if let Err(error) = ari.order(command) {
            lock(&self.asterisk.pending).settle(channel, kind, Err(error));
        }
        let late = || ServiceError::AsteriskUnavailable("no answer in time".to_owned());
        match tokio::time::timeout(COMMAND_PATIENCE, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(late()),
        }
    }

    /// Handles one notice from Asterisk.
    async fn hear(&self, notice: ControlNotice) {
        match notice {
            ControlNotice::CallOpened {
                call,
                kind,
                target,
                channel,
                resumed,
            } => {
                let opened = CallOpened {
                    kind,
                    target,
                    resumed,
                };
                self.call_opened(&call, opened, &channel).await;
            }
            ControlNotice::MediaSource {
                call,
                leg,
                source,
                format,
                at,
            } => {
                let at = at.and_then(|at| self.media.take_reserved(at));
                self.media_source(&call, leg, source, format, at).await;
            }
            ControlNotice::PortsWanted {
                id,
                call,
                target,
                legs,
            } => self.ports_wanted(id, &call, target, legs).await,
            ControlNotice::PortsUnused { ports } => self.ports_unused(&ports),
            ControlNotice::Trouble(trouble) => self.asterisk_trouble(trouble),
            ControlNotice::CallEnded { call, cause, text } => {
                let reason = EndReason { cause, text };
                self.channel_over(&call, reason, CallStatus::Ended);
            }
            ControlNotice::CallFailed { call, text } => {
                let reason = EndReason { cause: None, text };
                self.channel_over(&call, reason, CallStatus::Failed);
            }
            ControlNotice::NotResumed { call, text } => {
                if let Ok(call) = call.parse() {
                    let reason = EndReason { cause: None, text };
                    self.call_over(&call, reason, CallStatus::Failed);
                }
            }
            answer @ (ControlNotice::CommandAccepted { .. }
            | ControlNotice::ChannelFound { .. }
            | ControlNotice::CommandRefused { .. }
            | ControlNotice::CommandLacksPort { .. }) => self.answered(answer),
            of_a_call => self.hear_of_call(of_a_call),
        }
    }
}

fn kind(command: &ControlCommand) -> CommandKind {
    match command {
        ControlCommand::Originate { .. } => CommandKind::Originate,
        ControlCommand::Tap { .. } => CommandKind::Tap,
        ControlCommand::Find { .. } => CommandKind::Find,
        // The last are never waited for.
        ControlCommand::Hangup { .. }
        | ControlCommand::Shutdown
        | ControlCommand::TakenElsewhere { .. }
        | ControlCommand::Admission { .. }
        | ControlCommand::Misplaced { .. }
        | ControlCommand::Ports { .. } => CommandKind::Hangup,
    }
}
