//! The choreography of calls with Asterisk, without sockets and without a clock.
//!
//! [`CallControl::handle`] takes what happened and when; [`CallControl::poll`] is then called until
//! it says [`ControlOutput::Wait`]. Everything between those two calls is decided here: which
//! requests go out, in which order things are made and unmade, what is told of a call.
//!
//! Rules that the measured behaviour of Asterisk imposes:
//! - Ids are chosen here and registered before the request goes out, for the reply, the
//!   events and even the RTP race each other.
//! - A channel is bridged only after its own `StasisStart`.
//! - What we made stays up for ever unless we delete it, and events missed while not
//!   connected are lost: after every connection the lists of channels, bridges and of our
//!   application are what counts, and what we made and belongs to no call goes. What anybody
//!   else made is never touched.
//! - Every request has a time-out, every state a deadline, every retry a limit.

mod again;
mod call;
mod config;
mod correlate;
mod ending;
mod event_time;
mod events;
mod finding;
mod giving_up;
mod io;
mod leg_recovery;
mod legs;
mod lives;
mod naming;
mod one_by_one;
mod opening;
mod party;
mod party_look;
mod peer;
mod ports;
mod reconcile;
mod replies;
mod snapshot;
mod stray;
mod tap;
mod teardown;
#[cfg(test)]
mod tests;
mod timers;
mod variables;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use tracing::debug;

use self::again::PendingRequest;
use self::call::{CallStage, ControlledCall, ObjectOwner};
pub use self::config::{CallKind, ConfigError, ControlConfig, RecoverCall};
use self::event_time::EventTime;
use self::finding::{ChannelSearch, ChannelSource};
pub use self::io::{
    CommandKind, ControlCommand, ControlInput, ControlNotice, ControlOutput, ControlStats,
    ObjectKind, PartyChange, RequestFailure, RequestId, VariableValue,
};
pub use self::naming::{ObjectMaker, ObjectNaming, OwnId, OwnKind};
use self::snapshot::PendingSnapshot;
use self::stray::CallDeparture;
use self::teardown::{AriObject, ObjectTeardown};
use crate::request::OriginateRequest;

/// The state machine. See the [module](self) for the contract.
#[derive(Debug)]
pub struct CallControl {
    config: ControlConfig,
    naming: ObjectNaming,
    link: LinkState,
    event_time: EventTime,
    /// Number of listings begun.
    epoch: u64,
    listing_at: Option<Instant>,
    listing_failures: u32,
    /// Fault of Asterisk's lists that was last reported by [`ControlNotice::Trouble`].
    trouble: Option<String>,
    recover: Vec<RecoverCall>,
    /// Channels of calls that an earlier process had reported as open: each is to be reported as
    /// opened again, or at least as ended.
    recalled: BTreeSet<String>,
    serial: u64,
    requests: u64,
    next_target: usize,
    calls: BTreeMap<String, ControlledCall>,
    owners: BTreeMap<String, ObjectOwner>,
    /// Calls that we placed, no longer have, and are not done with.
    departed: VecDeque<(String, CallDeparture)>,
    removals: BTreeMap<AriObject, ObjectTeardown>,
    searches: BTreeMap<u64, ChannelSearch>,
    pending: BTreeMap<RequestId, PendingRequest>,
    out: VecDeque<ControlOutput>,
    /// Places that calls without a channel take.
    taken_elsewhere: usize,
    /// Reason for taking no new calls, if none are taken.
    closed: Option<String>,
    stopping: bool,
    stopped: bool,
    stats: ControlStats,
    told: ControlStats,
    stats_at: Option<Instant>,
}

/// How we stand with the events websocket.
#[derive(Debug)]
enum LinkState {
    Down,
    /// Up; lists are being fetched and events wait for them.
    Listing(Box<PendingSnapshot>),
    Up,
    /// Another process has our application; nothing is asked of Asterisk until we are
    /// connected anew.
    Replaced,
}

/// The purpose of a request, by which its answer is understood.
#[derive(Debug)]
enum RequestPurpose {
    /// The current step of a leg.
    Leg {
        call: String,
        generation: u64,
    },
    /// A variable of a call's channel, by its place in the configured list.
    Variable {
        call: String,
        generation: u64,
        place: usize,
    },
    /// RTP addresses for a call that is to begin.
    Ports {
        call: String,
        generation: u64,
    },
    Originate {
        call: String,
    },
    /// Looking up the channel of a name.
    Find {
        name: String,
    },
    /// Channels that a search for a name may look at.
    SearchList {
        search: u64,
        source: ChannelSource,
    },
    /// A channel that may have the name that is searched for.
    SearchOne {
        search: u64,
    },
    /// Looking up whom a tapped channel talks to.
    PeerLook {
        call: String,
    },
    PeerSubscribe {
        call: String,
        peer: String,
    },
    /// Whether the peer is still in the bridge, now that it is heard of.
    PeerCheck {
        call: String,
        peer: String,
    },
    TapLook {
        call: String,
    },
    TapSubscribe {
        call: String,
    },
    /// For a channel that is offered to several applications.
    Claim,
    /// To hear of a caller's channel; the call goes on without.
    Follow {
        call: String,
    },
    /// Whether a tapped channel is still there, of which a Snoop is gone.
    Tapped {
        call: String,
        generation: u64,
    },
    /// Its creator lost interest; the removal waits for the answer.
    Settle(AriObject),
    Remove(AriObject),
    /// Looking at the party's channel before it is removed.
    PartyLook(String),
    Channels,
    Bridges,
    Application,
    /// One of a list that cannot be had as a whole.
    OneChannel(String),
    OneBridge(String),
}

impl CallControl {
    /// A machine that has not been connected yet.
    ///
    /// # Errors
    /// [`ConfigError`] for settings that cannot work.
    pub fn new(config: ControlConfig, _now: Instant) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            naming: config.naming(),
            recover: config.recover.clone(),
            recalled: (config.recover.iter())
                .map(|entry| entry.channel.clone())
                .collect(),
            config,
            link: LinkState::Down,
            event_time: EventTime::default(),
            epoch: 0,
            listing_at: None,
            listing_failures: 0,
            trouble: None,
            serial: 0,
            requests: 0,
            next_target: 0,
            calls: BTreeMap::new(),
            owners: BTreeMap::new(),
            departed: VecDeque::new(),
            removals: BTreeMap::new(),
            searches: BTreeMap::new(),
            pending: BTreeMap::new(),
            out: VecDeque::new(),
            taken_elsewhere: 0,
            closed: None,
            stopping: false,
            stopped: false,
            stats: ControlStats::default(),
            told: ControlStats::default(),
            stats_at: None,
        })
    }

    /// Takes one input. Call [`CallControl::poll`] until it waits afterwards.
    pub fn handle(&mut self, input: ControlInput, now: Instant) {
        match input {
            ControlInput::Connected => self.on_connected(now),
            ControlInput::Disconnected => self.on_disconnected(),
            ControlInput::Event(event) => self.on_event(event, now),
            ControlInput::Reply { id, result } => self.on_reply(id, result, now),
            ControlInput::Command(command) => self.on_command(command, now),
            ControlInput::Timer => {}
        }
        self.tick(now);
    }

    /// The next request, notice or pause; see the contract above.
    #[must_use = "an output that is dropped is lost"]
    pub fn poll(&mut self) -> ControlOutput {
        self.out
            .pop_front()
            .unwrap_or_else(|| ControlOutput::Wait(self.next_deadline()))
    }

    /// Counters so far.
    pub fn stats(&self) -> ControlStats {
        ControlStats {
            open: self.open_calls() as u64,
            ..self.stats
        }
    }

    /// Rule by which this process's ids in Asterisk are made and recognised.
    pub fn naming(&self) -> &ObjectNaming {
        &self.naming
    }

    /// Whether another process has our application, as far as Asterisk told.
    pub fn is_replaced(&self) -> bool {
        matches!(self.link, LinkState::Replaced)
    }

    /// Whether there is neither a call, nor an unanswered request, nor anything to remove.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.removals.is_empty() && self.pending.is_empty()
    }

    fn on_connected(&mut self, now: Instant) {
        debug!("connected");
        self.forget_requests();
        self.link = LinkState::Up;
        self.listing_failures = 0;
        self.forget_holds(now);
        self.begin_listing(now);
    }

    fn on_disconnected(&mut self) {
        debug!("disconnected");
        if matches!(self.link, LinkState::Replaced) {
            return;
        }
        self.forget_requests();
        self.link = LinkState::Down;
        self.listing_at = None;
    }

    /// Answers that are still out will not be believed; what was being made is looked for
    /// by the next listing.
    fn forget_requests(&mut self) {
        let broke = RequestFailure::Unreachable("the connection to Asterisk broke".to_owned());
        self.refuse_searches(&broke);
        let pending = std::mem::take(&mut self.pending);
        for (_, PendingRequest { purpose, .. }) in pending {
            match purpose {
                RequestPurpose::Leg { call, generation } => self.lose_leg(&call, generation),
                RequestPurpose::Ports { call, generation } => self.postpone(&call, generation),
                RequestPurpose::Variable {
                    call, generation, ..
                } => self.lose_variables(&call, generation),
                RequestPurpose::Originate { call }
                | RequestPurpose::TapLook { call }
                | RequestPurpose::TapSubscribe { call } => self.refuse_asking(&call, &broke),
                RequestPurpose::Find { name } => {
                    self.refuse_for(CommandKind::Find, &name, &broke);
                }
                RequestPurpose::PeerSubscribe { call, .. }
                | RequestPurpose::PeerCheck { call, .. } => self.forget_tie(&call),
                RequestPurpose::Settle(_)
                | RequestPurpose::Claim
                | RequestPurpose::Follow { .. }
                | RequestPurpose::Tapped { .. }
                | RequestPurpose::Remove(_)
                | RequestPurpose::PartyLook(_)
                | RequestPurpose::PeerLook { .. }
                | RequestPurpose::SearchList { .. }
                | RequestPurpose::SearchOne { .. }
                | RequestPurpose::Channels
                | RequestPurpose::Bridges
                | RequestPurpose::Application
                | RequestPurpose::OneChannel(_)
                | RequestPurpose::OneBridge(_) => {}
            }
        }
        self.lose_unfinished_legs();
        self.suspend_removals();
    }

    fn on_command(&mut self, command: ControlCommand, now: Instant) {
        match command {
            ControlCommand::Originate {
                call,
                endpoint,
                caller_id,
                formats,
                variables,
            } => {
                let originate = OriginateRequest {
                    channel: call,
                    app: self.config.app.clone(),
                    endpoint,
                    caller_id,
                    formats,
                    // Ours is the timer that counts; Asterisk's is the safety net should we die.
                    timeout_s: self.config.ring_timeout.as_secs() + 5,
                    variables,
                };
                self.originate(originate, now);
            }
            ControlCommand::Tap { call } => self.tap(call, now),
            ControlCommand::Find { name } => self.find(name, now),
            ControlCommand::Hangup { call } => self.hang_up(&call, now),
            ControlCommand::TakenElsewhere { calls } => self.taken_elsewhere = calls,
            ControlCommand::Admission { closed } => self.closed = closed,
            ControlCommand::Ports { id, ports } => self.on_ports(id, ports, now),
            ControlCommand::Misplaced {
                call,
                leg,
                source,
                text,
            } => self.misplaced(&call, &leg, source, &text, now),
            ControlCommand::Shutdown => self.shut_down(),
        }
    }

    /// Whether every place for a call is taken.
    fn is_full(&self) -> bool {
        self.open_calls().saturating_add(self.taken_elsewhere) >= self.config.max_calls
    }

    fn notice(&mut self, notice: ControlNotice) {
        debug!(?notice, "told");
        self.out.push_back(ControlOutput::Notice(notice));
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Number of calls that take up a place of [`ControlConfig::max_calls`].
    fn open_calls(&self) -> usize {
        self.calls
            .values()
            .filter(|call| !matches!(call.stage, CallStage::Ending(_)))
            .count()
    }

    fn is_connected(&self) -> bool {
        matches!(self.link, LinkState::Listing(_) | LinkState::Up)
    }
}
