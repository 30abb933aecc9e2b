//! What goes into and comes out of a [`CallControl`](super::CallControl).

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;

use super::config::CallKind;
use crate::event::AriEvent;
use crate::model::{AriChannel, PartyId};
use crate::request::AriRequest;

/// Names a request until its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Something that happened.
#[derive(Debug, Clone)]
pub enum ControlInput {
    /// The events websocket is up.
    Connected,
    /// The events websocket is gone.
    Disconnected,
    /// The websocket said something.
    Event(AriEvent),
    /// A request was answered, or will not be.
    Reply {
        /// Which.
        id: RequestId,
        /// The reply's JSON (null where it has no body), or why there is none.
        result: Result<Value, RequestFailure>,
    },
    /// The time last named by [`ControlOutput::Wait`] has come.
    Timer,
    /// Somebody wants something.
    Command(ControlCommand),
}

/// Why a request brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure {
    /// Asterisk said no.
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
    /// No reply in time; it may have been carried out nevertheless.
    #[error("no answer in time")]
    TimedOut,
    /// There is no RTP address for a leg.
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

/// A wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlCommand {
    /// Call somebody.
    Originate {
        /// The call's id, which becomes the channel's.
        call: String,
        /// What to call: `PJSIP/100`.
        endpoint: String,
        /// Shown to the called party.
        caller_id: Option<String>,
        /// Formats to offer; for Local channels the media format is the default.
        formats: Option<String>,
        /// Variables to set on the channel.
        variables: Vec<(String, String)>,
    },
    /// Spy on an existing channel.
    Tap {
        /// Its id, which becomes the call's.
        call: String,
    },
    /// Find the channel of a name; [`ControlNotice::ChannelFound`] follows.
    Find {
        /// As Asterisk names it: `PJSIP/100-00000001`.
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
        /// How many.
        calls: usize,
    },
    /// Take no new calls for this reason, or take them again. Calls that go on are not concerned.
    Admission {
        /// Why not; `None`: as many as there are places.
        closed: Option<String>,
    },
    /// The answer to [`ControlNotice::PortsWanted`].
    Ports {
        /// Which.
        id: RequestId,
        /// As many addresses as were asked for, or why there are none. Each is told of
        /// once, by [`ControlNotice::MediaSource`] or by [`ControlNotice::PortsUnused`]; by the former again
        /// for a leg that must keep it when its media is made anew.
        ports: Result<Vec<SocketAddr>, String>,
    },
    /// The source that [`ControlNotice::MediaSource`] told cannot be heard for that leg: its media is made
    /// anew, and when that does not help its call fails for this reason. The leg's own RTP
    /// address, if it has one, is free again.
    Misplaced {
        /// The call.
        call: String,
        /// The leg.
        leg: String,
        /// The source.
        source: SocketAddr,
        /// Why.
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

/// Something to do.
#[derive(Debug, Clone)]
pub enum ControlOutput {
    /// Send this and answer with [`ControlInput::Reply`].
    Send {
        /// To be given back with the reply.
        id: RequestId,
        /// The request.
        request: AriRequest,
    },
    /// Tell whoever keeps the calls.
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

/// A variable's value. It may hold anything, so no log is told.
#[derive(Clone, PartialEq, Eq)]
pub struct VariableValue(pub String);

impl fmt::Debug for VariableValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

/// Why somebody else may speak on a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartyChange {
    /// One party put the other on hold: an announcement may follow.
    Hold,
    /// The parties talk again.
    Unhold,
    /// Whether they do was not heard: Asterisk was away, or who had put the other on hold left.
    HoldOver,
    /// The channel was told another name or number that it is connected to.
    Connected,
    /// The channel entered a bridge, and was in none as far as is known.
    Joined,
    /// The channel entered another bridge than it was in.
    Bridged,
    /// The call was transferred.
    Transferred,
}

impl PartyChange {
    /// The change in words.
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
/// called whom: `caller` is who is on that channel, `callee` whom it talks to. Each call gets exactly one `CallOpened`, and exactly
/// one of `CallEnded` and `CallFailed` after it; nothing about it follows that, except a
/// new `CallOpened` should the same channel come back, or another one of the same id. Only a call that was to be
/// recovered and is gone gets a `CallEnded` alone.
#[derive(Debug, Clone, PartialEq)]
pub enum ControlNotice {
    /// A call has begun.
    CallOpened {
        /// Its id: the channel's.
        call: String,
        /// How it came.
        kind: CallKind,
        /// Index into the configured RTP addresses: where its media will arrive.
        target: usize,
        /// Its channel.
        channel: Box<AriChannel>,
        /// Whether an earlier process had it open already.
        resumed: bool,
    },
    /// So many legs of a call need RTP addresses of their own, by [`ControlCommand::Ports`]. A call
    /// that gets none is turned away before anything of it has begun.
    PortsWanted {
        /// To be given back with the answer.
        id: RequestId,
        /// For this call, which may not be open yet.
        call: String,
        /// Index into the configured RTP addresses: where the call's media will arrive.
        target: usize,
        /// Addresses that are needed.
        legs: usize,
    },
    /// These addresses will not be used: nothing was asked to send to them, or what was is
    /// being taken down.
    PortsUnused {
        /// The addresses.
        ports: Vec<SocketAddr>,
    },
    /// What a call's channel has of [`ControlConfig::variables`](super::ControlConfig::variables), before
    /// any media of it. Not told where it has none.
    CallVariables {
        /// The call.
        call: String,
        /// Those that are set, by name, with their value or why it could not be had.
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
    /// Asterisk sends this leg's RTP from here.
    MediaSource {
        /// The call.
        call: String,
        /// The leg.
        leg: &'static str,
        /// The only source that may speak for it.
        source: SocketAddr,
        /// The format that was asked for; the payload type tells what is sent.
        format: String,
        /// The leg's own RTP address, where it has one: it was asked to send there.
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
        /// Why.
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
        /// Asterisk's name of it.
        state: String,
    },
    /// A key was pressed.
    Dtmf {
        /// The call.
        call: String,
        /// Who pressed it.
        leg: &'static str,
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
        /// How long it was held, milliseconds.
        duration_ms: u64,
        /// When that was told to us, or before, by the event's own time.
        at: Instant,
    },
    /// Somebody else may speak on a leg from now on.
    PartyMayDiffer {
        /// The call.
        call: String,
        /// The leg; `None`: any of the call's.
        leg: Option<&'static str>,
        /// The reason.
        change: PartyChange,
        /// The leg whose device asked for it, where one did: to put the other on hold, or to
        /// take it off. What comes from there meanwhile is no party's speech.
        by: Option<&'static str>,
        /// Whom the channel is connected to now, where that is told.
        connected: Option<PartyId>,
        /// When it happened.
        at: Instant,
    },
    /// The channel of a name was found.
    ChannelFound {
        /// As it was asked for.
        name: String,
        /// Its id.
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
        /// Why.
        text: String,
    },
    /// A call is over; for one that was to be recovered it may be all that is told.
    CallEnded {
        /// The call.
        call: String,
        /// Q.850 cause, where Asterisk gave one.
        cause: Option<u16>,
        /// In words.
        text: String,
    },
    /// A call could not be kept up. A Stasis caller goes on in the dialplan.
    CallFailed {
        /// The call.
        call: String,
        /// Why.
        text: String,
    },
    /// There is no place or no RTP address for it, or a stop is under way: the caller goes on in the dialplan.
    CallTurnedAway {
        /// Its channel.
        channel: Box<AriChannel>,
        /// Why.
        text: String,
    },
    /// A command is carried out. For a hang-up this may come after the call's end, for
    /// the events of the hang-up may overtake the reply.
    CommandAccepted {
        /// Which.
        command: CommandKind,
        /// For this call.
        call: String,
    },
    /// A command is not carried out.
    CommandRefused {
        /// Which.
        command: CommandKind,
        /// For this call.
        call: String,
        /// Asterisk's HTTP status, or what ours would be; `None` if Asterisk was not reached.
        status: Option<u16>,
        /// Why.
        message: String,
    },
    /// A command is not carried out because its call gets no RTP address; nothing has begun.
    CommandLacksPort {
        /// Which.
        command: CommandKind,
        /// For this call.
        call: String,
        /// Why.
        message: String,
    },
    /// Something of ours that belonged to no call was found and removed.
    Reaped {
        /// What.
        kind: ObjectKind,
        /// Its id.
        id: String,
    },
    /// Something is amiss in what Asterisk can be asked, and calls go on all the same; `None`: it
    /// no longer is.
    Trouble(Option<String>),
    /// The lists have been compared and both sides agree again.
    Synced,
    /// Another process took our application over, and goes on with the calls, which have been told
    /// to be over here; nothing will be heard or done until the next connection.
    Replaced,
    /// Counters, some time after they changed.
    Stats(ControlStats),
    /// After [`ControlCommand::Shutdown`]: nothing of ours is left, or nothing more can be done.
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
    /// Events heard.
    pub events: u64,
    /// Events of types that are not ours to handle.
    pub other_events: u64,
    /// Events dropped because a listing took too long; the next one makes up for them.
    pub dropped_events: u64,
}
