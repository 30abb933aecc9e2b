//! The calls of one media thread, without its socket and its clock.
//!
//! A datagram costs what its session does with it at once; what the session
//! then wants, its timers and its counters are looked at once a tick.

mod counters;
mod outputs;
mod parties;
mod playing;
mod slots;
mod strangers;

use std::mem;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use asterscribe_call::CallId;
use asterscribe_recognition::pool::{JobAnswer, PoolHandle};
use asterscribe_rtp::gate::{
    self, AdmittedSource, GateConfig, GateRoute, HeldDatagram, NameClaim, SourceGate,
};
use asterscribe_session::{CallOptions, CallSession, LegIndex, SessionConfig, SessionInput};
use crossbeam_channel::Sender;

pub use self::counters::MediaCounters;
pub use self::outputs::JobTicket;
pub(super) use self::slots::SessionKey;
use self::slots::SlotTable;
use super::capture::SessionRecorder;
use super::play::ThreadPlayers;
use super::{AddLeg, LegRefused, MediaCommand, MediaEvent, MediaEventKind, OpenCall};
use crate::capture::CaptureTap;

/// Configuration of a shard.
#[derive(Debug, Clone)]
pub(super) struct ShardConfig {
    pub(super) session: SessionConfig,
    /// Number of the shard among those of all media threads.
    pub(super) number: usize,
    /// Whether there is a spool for utterances that could not be recognised in time.
    pub(super) keeps_late: bool,
}

/// Key of a leg of a call in the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LegKey {
    pub(super) session: SessionKey,
    pub(super) leg: LegIndex,
}

impl LegKey {
    /// Key of no leg: a source that has it is not received.
    pub(super) const NOBODY: Self = Self {
        session: SessionKey::NONE,
        leg: LegIndex::NONE,
    };
}

/// Time between two log lines about drops in the kernel.
const DROPS_LOGGED_EVERY: Duration = Duration::from_secs(1);

/// The shard of one media thread: its calls.
#[derive(Debug)]
pub(super) struct SessionShard {
    config: ShardConfig,
    gate: SourceGate<LegKey>,
    residents: SlotTable,
    /// Kept to reuse its memory.
    routed: Vec<Option<LegKey>>,
    /// Calls that were given something since the last tick.
    touched: Vec<SessionKey>,
    /// Kept to reuse its memory.
    awake: Vec<SessionKey>,
    /// Calls that take no more datagrams, whose own sockets the thread is to close.
    deaf: Vec<SessionKey>,
    /// Time at which the calls are next told of strangers and of the kernel's drops.
    next_look: Option<Instant>,
    players: ThreadPlayers<LegKey>,
    /// Datagrams that the kernel has dropped since then: at the thread's socket, and by leg at
    /// those of single legs.
    dropped: u64,
    own_dropped: Vec<(LegKey, u64)>,
    pool: PoolHandle<JobTicket>,
    reply: Sender<JobAnswer<JobTicket>>,
    events: Vec<MediaEvent>,
    datagrams: u64,
    drops_logged: Option<Instant>,
    counters: Arc<MediaCounters>,
}

impl SessionShard {
    pub(super) fn new(
        config: ShardConfig,
        pool: PoolHandle<JobTicket>,
        reply: Sender<JobAnswer<JobTicket>>,
        counters: Arc<MediaCounters>,
    ) -> Self {
        Self {
            config,
            gate: SourceGate::new(GateConfig::default()),
            residents: SlotTable::default(),
            routed: Vec::new(),
            touched: Vec::new(),
            awake: Vec::new(),
            deaf: Vec::new(),
            next_look: None,
            players: ThreadPlayers::default(),
            dropped: 0,
            own_dropped: Vec::new(),
            pool,
            reply,
            events: Vec::new(),
            datagrams: 0,
            drops_logged: None,
            counters,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.residents.is_empty()
    }

    pub(super) fn counters(&self) -> &MediaCounters {
        &self.counters
    }

    pub(super) fn take_events(&mut self) -> Vec<MediaEvent> {
        mem::take(&mut self.events)
    }

    /// Handles the datagrams that came to the shared socket, in their order.
    pub(super) fn datagrams(&mut self, now: Instant, datagrams: &[(SocketAddr, &[u8])]) {
        self.datagrams += datagrams.len() as u64;
        let mut routed = mem::take(&mut self.routed);
        for (from, bytes) in datagrams {
            let route = self.gate.route(now, *from, bytes);
            routed.push(match route {
                GateRoute::To(key) => Some(key),
                GateRoute::Held | GateRoute::Refused => None,
            });
        }
        // A call was last at work 20 ms and thousands of other packets ago, and
        // nothing of it is near the processor. Looking at all of them first, the
        // processor waits for many at a time, and not for one after the other.
        for key in routed.iter().flatten() {
            self.residents.glance(*key);
        }
        for (key, (_, bytes)) in routed.drain(..).zip(datagrams) {
            if let Some(key) = key {
                self.deliver(now, key, bytes);
            }
        }
        self.routed = routed;
    }

    /// Handles a datagram that came to the own socket of a leg, or of one still to be placed.
    pub(super) fn own_datagram(
        &mut self,
        now: Instant,
        leg: Option<LegKey>,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        self.datagrams += 1;
        let leg = leg.unwrap_or(LegKey::NOBODY);
        if let GateRoute::To(key) = self.gate.route_own(now, from, bytes, leg) {
            self.deliver(now, key, bytes);
        }
    }

    /// Takes the calls that no longer need their own sockets.
    pub(super) fn take_deaf(&mut self) -> Vec<SessionKey> {
        mem::take(&mut self.deaf)
    }

    /// Counts datagrams that the kernel dropped at the shared socket; whose they were is not known.
    pub(super) fn kernel_dropped(&mut self, now: Instant, count: u64) {
        self.dropped += count;
        self.count_drops(now, count);
    }

    /// Counts datagrams that the kernel dropped at the own socket of a leg, which alone is told.
    pub(super) fn own_kernel_dropped(&mut self, now: Instant, leg: Option<LegKey>, count: u64) {
        let known = self.own_dropped.iter_mut();
        match (
            leg,
            known.into_iter().find(|(owner, _)| Some(*owner) == leg),
        ) {
            (_, Some((_, dropped))) => *dropped += count,
            (Some(leg), None) => self.own_dropped.push((leg, count)),
            (None, None) => {}
        }
        self.count_drops(now, count);
    }

    fn count_drops(&mut self, now: Instant, count: u64) {
        self.counters.count_kernel_drops(count);
        let recently = |at: Instant| now.saturating_duration_since(at) < DROPS_LOGGED_EVERY;
        if !self.drops_logged.is_some_and(recently) {
            self.drops_logged = Some(now);
            let total = self.counters.kernel_drops();
            tracing::error!(
                count,
                total,
                "the kernel dropped RTP: the receive buffer was full"
            );
        }
    }

    pub(super) fn command(&mut self, now: Instant, command: MediaCommand) {
        match command {
            MediaCommand::Open(open) => self.open(now, open),
            MediaCommand::AddLeg(add) => {
                let result = self.add_leg(now, &add).map(|_| ());
                add.answer(result);
            }
            // Without sockets of single legs it goes back at once.
            MediaCommand::Reserve(port) => drop(port),
            MediaCommand::Choose { call, call_options } => self.choose(&call, call_options),
            MediaCommand::PartyMayDiffer { call, leg, why } => {
                self.party_may_differ(now, &call, leg.as_ref(), why);
            }
            MediaCommand::Hold { call, leg, is_on } => self.hold(now, &call, &leg, is_on),
            MediaCommand::Capture { call, tap, reply } => {
                self.capture(now, &call, tap);
                // By rule, nobody waits for the answer.
                let _unheard = reply.send(());
            }
            MediaCommand::Play {
                call,
                order,
                start,
                reply,
            } => {
                let result = self.play(now, &call, order, start);
                // Whoever asked may have given up; it is played all the same.
                let _unheard = reply.send(result);
            }
            MediaCommand::StopPlay { call, id } => self.stop_play(now, &call, id),
            MediaCommand::Hangup(call) => self.hang_up(now, &call),
        }
    }

    fn choose(&mut self, call: &CallId, call_options: CallOptions) {
        let key = self.residents.key(call);
        if let Some(resident) = key.and_then(|key| self.residents.get_mut(key)) {
            resident.session.choose(call_options);
        }
    }

    fn capture(&mut self, now: Instant, call: &CallId, tap: CaptureTap) {
        let key = self.residents.key(call);
        match key.and_then(|key| self.residents.get_mut(key)) {
            Some(resident) if resident.session.is_open() => {
                let recorder = SessionRecorder::new(tap, &resident.session, &resident.sources);
                resident.recorder = Some(recorder);
            }
            // It was hung up while the capture began: there is nothing to come.
            _ => tap.end(now),
        }
    }

    /// Runs the timers that are due, and carries out what the sessions ask for.
    pub(super) fn tick(&mut self, now: Instant) {
        self.gate.expire(now);
        self.observe(now);
        let mut touched = mem::take(&mut self.touched);
        for key in touched.drain(..) {
            self.contain(now, key, |room| room.pump(key, now));
        }
        self.touched = touched;
        let mut awake = mem::take(&mut self.awake);
        self.residents.awake(now, &mut awake);
        for key in awake.drain(..) {
            self.contain(now, key, |room| room.wake(key, now));
        }
        self.awake = awake;
        self.counters.publish(self.datagrams, self.gate.stats());
    }

    fn wake(&mut self, key: SessionKey, now: Instant) {
        let Some(resident) = self.residents.get_mut(key) else {
            return;
        };
        if resident.falls_idle(now) {
            self.events.push(MediaEvent {
                call: resident.call.clone(),
                kind: MediaEventKind::Idle,
            });
        }
        if resident.due.is_some_and(|due| due <= now) {
            resident.session.handle(now, SessionInput::Timer);
        }
        self.pump(key, now);
    }

    fn open(&mut self, now: Instant, open: OpenCall) {
        let OpenCall {
            call,
            opened,
            idle_limit,
            call_options,
        } = open;
        let mut session = CallSession::new(self.config.session.clone(), opened);
        if let Some(call_options) = call_options {
            session.choose(call_options);
        }
        let name = call.clone();
        if self
            .residents
            .insert(now, call, session, idle_limit)
            .is_none()
        {
            tracing::error!(call = %name, "a call was opened twice; the first stays open");
        }
    }

    /// Adds a leg, or lets another source speak for it.
    pub(super) fn add_leg(&mut self, now: Instant, add: &AddLeg) -> Result<LegKey, LegRefused> {
        let AddLeg {
            call,
            leg,
            source,
            expected,
            may_exist,
            ..
        } = add;
        let source = gate::canonical(*source);
        let key = self.residents.key(call).ok_or(LegRefused::NotOpen)?;
        let resident = self.residents.get_mut(key).ok_or(LegRefused::NotOpen)?;
        if !resident.session.is_open() {
            return Err(LegRefused::NotOpen);
        }
        let existing = resident.session.leg(leg);
        if existing.is_some() && !may_exist {
            return Err(LegRefused::LegExists(leg.clone()));
        }
        // Named first: if somebody else owns the source, no leg must be left behind.
        let index = existing.unwrap_or_else(|| resident.session.next_leg());
        let place = LegKey {
            session: key,
            leg: index,
        };
        // Only Asterisk lets a leg move, and only it may give a port out again.
        let claim = if *may_exist {
            NameClaim::Latest
        } else {
            NameClaim::Lasting
        };
        let AdmittedSource { held, former } = self
            .gate
            .admit(now, source, place, claim)
            .map_err(|taken| LegRefused::SourceTaken(taken.0))?;
        if let Some(former) = former {
            self.lose_source(former, source);
        }
        let resident = self.residents.get_mut(key).ok_or(LegRefused::NotOpen)?;
        if let Some(recorder) = &mut resident.recorder {
            recorder.leg(index, leg, source);
        }
        if existing.is_none() {
            resident.session.add_leg(leg.clone());
        }
        resident.session.expect(now, index, *expected);
        resident.sources.retain(|&(owner, old)| {
            let moved = owner == index && old != source;
            if moved {
                self.gate.revoke(now, old, place);
            }
            !moved && (owner, old) != (index, source)
        });
        resident.sources.push((index, source));
        // The session waits for something else now.
        if !mem::replace(&mut resident.touched, true) {
            self.touched.push(key);
        }
        for HeldDatagram { arrived, bytes } in held {
            self.deliver(arrived, place, &bytes);
        }
        Ok(place)
    }

    /// Stops sending to a source that is another leg's now.
    fn lose_source(&mut self, loser: LegKey, source: SocketAddr) {
        if let Some(resident) = self.residents.get_mut(loser.session) {
            resident.sources.retain(|own| *own != (loser.leg, source));
            let call = &resident.call;
            tracing::debug!(%call, %source, "its source was given to another leg");
        }
    }

    fn hang_up(&mut self, now: Instant, call: &CallId) {
        let Some(key) = self.residents.key(call) else {
            return;
        };
        self.silence(now, key);
        if let Some(resident) = self.residents.get_mut(key) {
            for (leg, source) in resident.sources.drain(..) {
                self.gate.revoke(now, source, LegKey { session: key, leg });
            }
            resident.idle = None;
            if let Some(recorder) = resident.recorder.take() {
                recorder.end(now);
            }
            self.deaf.push(key);
            self.feed(now, key, SessionInput::Hangup);
        }
    }

    fn deliver(&mut self, arrived: Instant, key: LegKey, bytes: &[u8]) {
        self.contain(arrived, key.session, |room| {
            room.hand_over(arrived, key, bytes);
        });
    }

    /// Hands a session a datagram; its outputs wait for the tick.
    fn hand_over(&mut self, arrived: Instant, key: LegKey, bytes: &[u8]) {
        let LegKey { session: key, leg } = key;
        let Some(resident) = self.residents.get_mut(key) else {
            return;
        };
        resident.last_heard = resident.last_heard.max(arrived);
        if let Some(recorder) = &mut resident.recorder {
            recorder.datagram(leg, arrived, bytes);
        }
        let input = SessionInput::Datagram { leg, bytes };
        resident.session.handle(arrived, input);
        if !mem::replace(&mut resident.touched, true) {
            self.touched.push(key);
        }
    }

    /// Hands a session an input and carries out its outputs.
    fn feed(&mut self, now: Instant, key: SessionKey, input: SessionInput<'_>) {
        self.contain(now, key, |room| {
            if let Some(resident) = room.residents.get_mut(key) {
                resident.session.handle(now, input);
                room.pump(key, now);
            }
        });
    }

    /// Runs `work` so that a panic in one call's media costs that call and no other.
    fn contain(&mut self, now: Instant, key: SessionKey, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        self.counters.count_panic();
        self.players.remove(|leg| leg.session == key);
        let Some(resident) = self.residents.remove(key) else {
            return;
        };
        tracing::error!(call = %resident.call, "the call's media panicked; the call ends");
        self.deaf.push(key);
        for (leg, source) in resident.sources {
            self.gate.revoke(now, source, LegKey { session: key, leg });
        }
        // Its counters are no more to be trusted than the rest of it.
        self.events.push(closed_without_stats(resident.call));
    }

    /// Begins anew after a panic outside of any call: all calls end, and the gate's counters begin
    /// at 0.
    pub(super) fn reset(&mut self) {
        self.counters.count_panic();
        self.gate = SourceGate::new(GateConfig::default());
        self.players = ThreadPlayers::default();
        self.touched.clear();
        for (key, resident) in self.residents.clear() {
            self.deaf.push(key);
            self.events.push(closed_without_stats(resident.call));
        }
    }
}

fn closed_without_stats(call: CallId) -> MediaEvent {
    MediaEvent {
        call,
        kind: MediaEventKind::Closed(Vec::new()),
    }
}

#[cfg(test)]
pub(in crate::media) mod tests;
