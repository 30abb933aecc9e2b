//! The choreography of calls with Asterisk, without sockets and without a clock.
//!
//! [`Control::handle`] takes what happened and when; [`Control::poll`] is then called until
//! it says [`Output::Wait`]. Everything between those two calls is decided here: which
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
mod comparing;
mod concern;
mod config;
mod ending;
mod event_time;
mod events;
mod finding;
mod giving_up;
mod io;
mod legs;
mod listing;
mod lives;
mod naming;
mod one_by_one;
mod opening;
mod party;
mod peer;
mod ports;
mod removal;
mod replies;
mod stray;
mod tapping;
#[cfg(test)]
mod tests;
mod timers;
mod upkeep;
mod variables;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use tracing::debug;

use self::again::Pending;
use self::call::{Call, Owner, Stage};
pub use self::config::{CallKind, Config, ConfigError, RecoverCall};
use self::event_time::EventTime;
pub use self::io::{
    Command, CommandKind, Input, Notice, ObjectKind, Output, PartyChange, RequestFailure,
    RequestId, Stats, Told,
};
use self::listing::Listing;
pub use self::naming::{Maker, Naming, OwnId, OwnKind};
use self::removal::{Object, Removal};
use self::stray::Departure;
use crate::request::Originate;

/// The state machine. See the [module](self) for the contract.
#[derive(Debug)]
pub struct Control {
    config: Config,
    naming: Naming,
    link: Link,
    event_time: EventTime,
    /// Number of listings begun.
    epoch: u64,
    listing_at: Option<Instant>,
    listing_failures: u32,
    /// What was last told to be amiss with the lists.
    trouble: Option<String>,
    recover: Vec<RecoverCall>,
    /// Channels of calls that an earlier process told of and that are to be told of again: opened,
    /// or at least ended.
    recalled: BTreeSet<String>,
    serial: u64,
    requests: u64,
    next_target: usize,
    calls: BTreeMap<String, Call>,
    owners: BTreeMap<String, Owner>,
    /// Calls that we placed and no longer have, while their channel lived on.
    departed: VecDeque<(String, Departure)>,
    removals: BTreeMap<Object, Removal>,
    pending: BTreeMap<RequestId, Pending>,
    out: VecDeque<Output>,
    /// Places that calls without a channel take.
    taken_elsewhere: usize,
    /// Why no new calls are taken, if so.
    closed: Option<String>,
    stopping: bool,
    stopped: bool,
    stats: Stats,
    told: Stats,
    stats_at: Option<Instant>,
}

/// How we stand with the events websocket.
#[derive(Debug)]
enum Link {
    Down,
    /// Up; lists are being fetched and events wait for them.
    Listing(Box<Listing>),
    Up,
    /// Another process has our application; nothing is asked of Asterisk until we are
    /// connected anew.
    Replaced,
}

/// What a request is for.
#[derive(Debug)]
enum Purpose {
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
    /// The channel of a name.
    Find {
        name: String,
    },
    /// Whom a tapped channel talks to.
    PeerLook {
        call: String,
    },
    PeerSubscribe {
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
    Settle(Object),
    Remove(Object),
    Channels,
    Bridges,
    Application,
    /// One of a list that cannot be had as a whole.
    OneChannel(String),
    OneBridge(String),
}

impl Control {
    /// A machine that has not been connected yet.
    ///
    /// # Errors
    /// [`ConfigError`] for settings that cannot work.
    pub fn new(config: Config, _now: Instant) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            naming: config.naming(),
            recover: config.recover.clone(),
            recalled: (config.recover.iter())
                .map(|entry| entry.channel.clone())
                .collect(),
            config,
            link: Link::Down,
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
            pending: BTreeMap::new(),
            out: VecDeque::new(),
            taken_elsewhere: 0,
            closed: None,
            stopping: false,
            stopped: false,
            stats: Stats::default(),
            told: Stats::default(),
            stats_at: None,
        })
    }

    /// Takes one input. Call [`Control::poll`] until it waits afterwards.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Connected => self.on_connected(now),
            Input::Disconnected => self.on_disconnected(),
            Input::Event(event) => self.on_event(event, now),
            Input::Reply { id, result } => self.on_reply(id, result, now),
            Input::Command(command) => self.on_command(command, now),
            Input::Timer => {}
        }
        self.tick(now);
    }

    /// The next thing to do.
    #[must_use = "an output that is dropped is lost"]
    pub fn poll(&mut self) -> Output {
        self.out
            .pop_front()
            .unwrap_or_else(|| Output::Wait(self.next_deadline()))
    }

    /// Counters so far.
    pub fn stats(&self) -> Stats {
        Stats {
            open: self.open_calls() as u64,
            ..self.stats
        }
    }

    /// How ours is named.
    pub fn naming(&self) -> &Naming {
        &self.naming
    }

    /// Whether another process has our application, as far as Asterisk told.
    pub fn is_replaced(&self) -> bool {
        matches!(self.link, Link::Replaced)
    }

    /// Whether there is neither a call, nor an unanswered request, nor anything to remove.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.removals.is_empty() && self.pending.is_empty()
    }

    fn on_connected(&mut self, now: Instant) {
        debug!("connected");
        self.forget_requests();
        self.link = Link::Up;
        self.listing_failures = 0;
        self.forget_holds(now);
        self.begin_listing(now);
    }

    fn on_disconnected(&mut self) {
        debug!("disconnected");
        if matches!(self.link, Link::Replaced) {
            return;
        }
        self.forget_requests();
        self.link = Link::Down;
        self.listing_at = None;
    }

    /// Answers that are still out will not be believed; what was being made is looked for
    /// by the next listing.
    fn forget_requests(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for (_, Pending { purpose, .. }) in pending {
            match purpose {
                Purpose::Leg { call, generation } => self.lose_leg(&call, generation),
                Purpose::Ports { call, generation } => self.postpone(&call, generation),
                Purpose::Variable {
                    call, generation, ..
                } => self.lose_variables(&call, generation),
                Purpose::Originate { call }
                | Purpose::TapLook { call }
                | Purpose::TapSubscribe { call } => {
                    let failure =
                        RequestFailure::Unreachable("the connection to Asterisk broke".to_owned());
                    self.refuse_asking(&call, &failure);
                }
                Purpose::Find { name } => {
                    let failure =
                        RequestFailure::Unreachable("the connection to Asterisk broke".to_owned());
                    self.refuse_for(CommandKind::Find, &name, &failure);
                }
                Purpose::Settle(_)
                | Purpose::Claim
                | Purpose::Follow { .. }
                | Purpose::Tapped { .. }
                | Purpose::Remove(_)
                | Purpose::PeerLook { .. }
                | Purpose::PeerSubscribe { .. }
                | Purpose::Channels
                | Purpose::Bridges
                | Purpose::Application
                | Purpose::OneChannel(_)
                | Purpose::OneBridge(_) => {}
            }
        }
        self.lose_unfinished_legs();
        self.suspend_removals();
    }

    fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Originate {
                call,
                endpoint,
                caller_id,
                formats,
                variables,
            } => {
                let originate = Originate {
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
            Command::Tap { call } => self.tap(call, now),
            Command::Find { name } => self.find(name, now),
            Command::Hangup { call } => self.hang_up(&call, now),
            Command::TakenElsewhere { calls } => self.taken_elsewhere = calls,
            Command::Admission { closed } => self.closed = closed,
            Command::Ports { id, ports } => self.on_ports(id, ports, now),
            Command::Misplaced {
                call,
                leg,
                source,
                text,
            } => self.misplaced(&call, &leg, source, &text, now),
            Command::Shutdown => self.shut_down(),
        }
    }

    /// Whether every place for a call is taken.
    fn is_full(&self) -> bool {
        self.open_calls().saturating_add(self.taken_elsewhere) >= self.config.max_calls
    }

    fn notice(&mut self, notice: Notice) {
        debug!(?notice, "told");
        self.out.push_back(Output::Notice(notice));
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Calls that take up a place.
    fn open_calls(&self) -> usize {
        self.calls
            .values()
            .filter(|call| !matches!(call.stage, Stage::Ending(_)))
            .count()
    }

    fn is_connected(&self) -> bool {
        matches!(self.link, Link::Listing(_) | Link::Up)
    }
}
