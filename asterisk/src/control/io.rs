//! Inputs and outputs of a [`CallControl`](super::CallControl).

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;

use super::config::CallKind;
use crate::event::AriEvent;
use crate::model::{AriChannel, PartyId};
use crate::request::AriRequest;

/// Number that pairs a request with its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Input of the state machine: an event, a reply, a command or the time.
#[derive(Debug, Clone)]
pub enum ControlInput {
    /// The events websocket is up.
    Connected,
    /// The events websocket is gone.
    Disconnected,
    /// An event came over the websocket.
    Event(AriEvent),
    /// A request was answered, or will not be.
    Reply {
        /// Number of the request.
        id: RequestId,
        /// The reply's JSON (null where it has no body), or why there is none.
        result: Result<Value, RequestFailure>,
    },
    /// The time last named by [`ControlOutput::Wait`] has come.
    Timer,
    /// The call manager gave a command.
    Command(ControlCommand),
}

/// Failure of a request: refused, lost or unanswered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure {
    /// Asterisk answered with an HTTP status other than success.
    #[error("{message} ({status})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Asterisk's reason.
        message: String,
    },
    /// Asterisk was not reached, or what came back was no reply.
    #[error("{0}")]
    Unreachable(String),
    /// No reply within the time limit; the request may have been carried out nevertheless.
    #[error("no answer in time")]
    TimedOut,
    /// No RTP address is available for a leg.
    #[error("no-rtp-port: {0}")]
    NoPort(String),
}

impl RequestFailure {
    /// HTTP status, if Asterisk answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Unreachable(_) | Self::TimedOut | Self::NoPort(_) => None,
        }
    }
}

/// Command of the call manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlCommand {
    /// Place a call.
    Originate {
        /// The call's id, which becomes the channel's.
        call: String,
        /// Endpoint to dial, such as `PJSIP/100`.
        endpoint: String,
        /// Caller id that the called party sees.
        caller_id: Option<String>,
        /// Formats to offer; for Local channels the media format is the default.
        formats: Option<String>,
        /// Variables to set on the channel.
        variables: Vec<(String, String)>,
    },
    /// Spy on an existing channel.
    Tap {
        /// Id of the channel to spy on, which becomes the call's.
        call: String,
    },
    /// Find the channel of a name; [`ControlNotice::ChannelFound`] follows.
    Find {
        /// Channel name as Asterisk writes it, such as `PJSIP/100-00000001`.
        name: String,
    },
    /// End a call of ours; a tap ends without touching the channel.
    Hangup {
        /// The call.
        call: String,
    },
    /// So many calls are open now that came without a channel; they count towards
    /// [`ControlConfig::max_calls`](super::ControlConfig::max_calls).
    TakenElsewhere {
        /// Number of such calls.
        calls: usize,
    },
    /// Take no new calls for this reason, or take them again. Calls in progress go on either way.
    Admission {
        /// Reason for taking none; `None`: as many are taken as there are places.
        closed: Option<String>,
    },
    /// The answer to [`ControlNotice::PortsWanted`].
    Ports {
        /// Number of the question, as [`ControlNotice::PortsWanted`] gave it.
        id: RequestId,
        /// As many addresses as were asked for, or why there are none. Each is reported exactly
        /// once, by [`ControlNotice::MediaSource`] or by [`ControlNotice::PortsUnused`]; by the
        /// former again for a leg that must keep it when its media is made anew.
        ports: Result<Vec<SocketAddr>, String>,
    },
    /// The source that [`ControlNotice::MediaSource`] announced cannot be served for that leg: its
    /// media is made anew, and when that does not help its call fails for this reason. The leg's
    /// own RTP address, if it has one, is free again.
    Misplaced {
        /// The call.
        call: String,
        /// The leg.
        leg: String,
        /// Source that was announced.
        source: SocketAddr,
        /// Reason.
        text: String,
    },
    /// Take everything of ours down. Stasis callers go on in the dialplan, originated calls
    /// are hung up, tapped channels are left alone. [`ControlNotice::ShutdownComplete`] follows.
    Shutdown,
}

/// Which command a notice answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandKind {
    /// [`ControlCommand::Originate`].
    Originate,
    /// [`ControlCommand::Tap`].
    Tap,
    /// [`ControlCommand::Find`].
    Find,
    /// [`ControlCommand::Hangup`].
    Hangup,
}

/// Output of the state machine: a request, a notice or a pause.
#[derive(Debug, Clone)]
pub enum ControlOutput {
    /// Send this and answer with [`ControlInput::Reply`].
    Send {
        /// Number to be given back with the reply.
        id: RequestId,
        /// Request to send.
        request: AriRequest,
    },
    /// Notice for the call manager.
    Notice(ControlNotice),
    /// Nothing more to do until the next input, or [`ControlInput::Timer`] at this time.
    Wait(Option<Instant>),
}

/// The kind of an object that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A channel.
    Channel,
    /// A bridge.
    Bridge,
}

/// Value of a channel variable. It may be a secret, so `Debug` shows only its length.
#[derive(Clone, PartialEq, Eq)]
pub struct VariableValue(pub String);

impl fmt::Debug for VariableValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

/// Reason why somebody else may speak on a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartyChange {
    /// One party put the other on hold: an announcement may follow.
    Hold,
    /// The parties talk again.
    Unhold,
    /// Whether the hold still lasts is unknown: the connection to Asterisk was down, or the party
    /// that had asked for it left.
    HoldOver,
    /// The channel is reported to be connected to another name or number.
    Connected,
    /// The channel entered a bridge, and was in none as far as is known.
    Joined,
    /// The channel entered another bridge than it was in.
    Bridged,
    /// The call was transferred.
    Transferred,
}

impl PartyChange {
    /// Wording of the change for logs and the API.
    pub fn text(self) -> &'static str {
        match self {
            Self::Hold => "the call was put on hold",
            Self::Unhold => "the call was taken off hold",
            Self::HoldOver => "the call is not known to be on hold any more",
            Self::Connected => "the channel is connected to another party",
            Self::Joined => "the channel entered a bridge",
            Self::Bridged => "the channel entered another bridge",
            Self::Transferred => "the call was transferred",
        }
    }
}

/// News for whoever keeps the calls. A leg is named by its side of the call's channel, whoever
/// called whom: `caller` is who is on that channel, `callee` whom it talks to. Each call gets
/// exactly one `CallOpened`, and exactly one of `CallEnded` and `CallFailed` after it; nothing
/// about it follows that, except a new `CallOpened` should the same channel come back, or another
/// one of the same id. Only a call that was to be recovered and is gone gets a `CallEnded` alone.
#[derive(Debug, Clone, PartialEq)]
pub enum ControlNotice {
    /// A call has begun.
    CallOpened {
        /// Call id, which is the channel's.
        call: String,
        /// Origin of the call: Stasis, tap or placed.
        kind: CallKind,
        /// Index of the configured RTP address that the call's media is sent to.
        target: usize,
        /// The call's channel.
        channel: Box<AriChannel>,
        /// Whether an earlier process had it open already.
        resumed: bool,
    },
    /// RTP addresses are needed for `legs` legs of a call; [`ControlCommand::Ports`] answers. A
    /// call that gets none is turned away before anything of it has begun.
    PortsWanted {
        /// Number to be given back with the answer.
        id: RequestId,
        /// Call that needs them, which may not be open yet.
        call: String,
        /// Index of the configured RTP address that the call's media is sent to.
        target: usize,
        /// Number of addresses needed.
        legs: usize,
    },
    /// These addresses will not be used: nothing was asked to send to them, or what was is
    /// being taken down.
    PortsUnused {
        /// The addresses.
        ports: Vec<SocketAddr>,
    },
    /// Values of [`ControlConfig::variables`](super::ControlConfig::variables) on a call's channel,
    /// before any of its media. Not sent where the channel has none of them.
    CallVariables {
        /// The call.
        call: String,
        /// Variables that are set, by name, with the value or why it could not be read.
        found: Vec<(String, Result<VariableValue, String>)>,
    },
    /// Media is about to be asked for. For a leg that is open already: its old source will
    /// fall silent and another takes over.
    LegOpening {
        /// The call.
        call: String,
        /// `caller` or `callee`.
        leg: &'static str,
    },
    /// The address that Asterisk sends this leg's RTP from is known.
    MediaSource {
        /// The call.
        call: String,
        /// The leg.
        leg: &'static str,
        /// The only source that may speak for it.
        source: SocketAddr,
        /// The format that was asked for; the payload type tells what is sent.
        format: String,
        /// The leg's own RTP address, where it has one: Asterisk was asked to send there.
        at: Option<SocketAddr>,
    },
    /// The leg's media is bridged.
    MediaUp {
        /// The call.
        call: String,
        /// The leg.
        leg: &'static str,
    },
    /// The leg has no media and will get none.
    LegFailed {
        /// The call.
        call: String,
        /// The leg.
        leg: &'static str,
        /// Reason.
        text: String,
    },
    /// The call's channel is answered.
    CallAnswered {
        /// The call.
        call: String,
    },
    /// The state of the call's channel changed.
    StateChange {
        /// The call.
        call: String,
        /// Channel id.
        channel: String,
        /// Channel state as Asterisk names it, such as `Up`.
        state: String,
    },
    /// A key was pressed.
    Dtmf {
        /// The call.
        call: String,
        /// Leg whose party pressed it.
        leg: &'static str,
        /// One of `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
        /// Length of the key press, milliseconds.
        duration_ms: u64,
        /// When the event was received, or earlier if the event's own time says so.
        at: Instant,
    },
    /// Somebody else may speak on a leg from now on.
    PartyMayDiffer {
        /// The call.
        call: String,
        /// The leg; `None`: any of the call's.
        leg: Option<&'static str>,
        /// Reason.
        change: PartyChange,
        /// Leg whose device asked for the change, where one did: to put the other party on hold, or
        /// to take it off. Audio of that leg during a hold is not a party's speech.
        by: Option<&'static str>,
        /// Party that the channel is connected to now, where Asterisk reports it.
        connected: Option<PartyId>,
        /// Time of the change.
        at: Instant,
    },
    /// The channel that [`ControlCommand::Find`] asked for exists.
    ChannelFound {
        /// Channel name as it was asked for.
        name: String,
        /// Channel id.
        channel: String,
    },
    /// The call's channel itself is gone: what comes under its id from now on is another
    /// channel. The call's end follows.
    ChannelGone {
        /// The call.
        call: String,
    },
    /// A call that was to be recovered is gone, and its channel's id is another call's by now.
    NotResumed {
        /// As [`RecoverCall::call`](super::RecoverCall::call) names it.
        call: String,
        /// Reason.
        text: String,
    },
    /// A call is given up, because another server has taken the application over and may go on with
    /// it. Its end follows.
    CallGivenUp {
        /// The call.
        call: String,
    },
    /// A call is over. For a call that was to be recovered this may be the only notice.
    CallEnded {
        /// The call.
        call: String,
        /// Q.850 cause, where Asterisk gave one.
        cause: Option<u16>,
        /// Cause or reason in words.
        text: String,
    },
    /// A call could not be kept up. A Stasis caller goes on in the dialplan.
    CallFailed {
        /// The call.
        call: String,
        /// Reason.
        text: String,
    },
    /// A call is turned away for want of a place or an RTP address, or because the server stops:
    /// the caller goes on in the dialplan.
    CallTurnedAway {
        /// Channel of the caller.
        channel: Box<AriChannel>,
        /// Reason.
        text: String,
    },
    /// A command was carried out. For a hang-up this may come after the call's end, for its events
    /// may overtake Asterisk's reply.
    CommandAccepted {
        /// Command that is answered.
        command: CommandKind,
        /// Call that it concerns.
        call: String,
    },
    /// A command was not carried out.
    CommandRefused {
        /// Command that is answered.
        command: CommandKind,
        /// Call that it concerns.
        call: String,
        /// Asterisk's HTTP status, or the status that fits; `None` if Asterisk was not reached.
        status: Option<u16>,
        /// Reason.
        message: String,
    },
    /// A command was not carried out because its call gets no RTP address; nothing has begun.
    CommandLacksPort {
        /// Command that is answered.
        command: CommandKind,
        /// Call that it concerns.
        call: String,
        /// Reason.
        message: String,
    },
    /// Something of ours that belonged to no call was found and removed.
    Reaped {
        /// Kind of the object that the id names: channel or bridge.
        kind: ObjectKind,
        /// Id of the removed object.
        id: String,
    },
    /// Asterisk's lists cannot be read, or not in full, for the reason given, while calls go on;
    /// `None`: they can be read again.
    Trouble(Option<String>),
    /// The lists have been compared and both sides agree again.
    Synced,
    /// Another process took the ARI application over, and goes on with its calls, which have been
    /// reported here as ended; no event is handled and no request sent until the next connection.
    Replaced,
    /// Counters, some time after they changed.
    Stats(ControlStats),
    /// Answer to [`ControlCommand::Shutdown`]: everything made in Asterisk has been removed, or
    /// nothing more can be done.
    ShutdownComplete,
}

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ControlStats {
    /// Calls open now.
    pub open: u64,
    /// Calls opened.
    pub opened: u64,
    /// Calls ended.
    pub ended: u64,
    /// Calls failed.
    pub failed: u64,
    /// Callers sent on for want of a place.
    pub turned_away: u64,
    /// Legs failed.
    pub legs_failed: u64,
    /// Legs whose media had to be made anew.
    pub legs_renewed: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests refused.
    pub refused: u64,
    /// Requests without a reply in time.
    pub timed_out: u64,
    /// Requests that did not reach Asterisk.
    pub unreachable: u64,
    /// Removals and bridgings tried again.
    pub retries: u64,
    /// Removals given up until the next listing.
    pub abandoned: u64,
    /// Orphans removed.
    pub reaped: u64,
    /// Listings completed.
    pub listings: u64,
    /// Events received.
    pub events: u64,
    /// Events of types that are ignored.
    pub other_events: u64,
    /// Events dropped because a listing took too long; the next one makes up for them.
    pub dropped_events: u64,
}
