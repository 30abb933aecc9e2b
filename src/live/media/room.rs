//! The calls of one media thread, without its socket and its clock.

mod playing;

use std::collections::HashMap;
use std::mem;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use asterscribe_rtp::gate::{self, Gate, GateConfig, GateStats, HeldDatagram, Route};
use crossbeam_channel::Sender;

use super::play::Players;
use super::{Command, LegRefused, MediaEvent, MediaEventKind, OpenCall};
use crate::call::{CallId, GapReason, Leg};
use crate::session::{Input, JobId, LegIndex, Output, Session, SessionConfig};
use crate::speech::pool::{Answer, PoolHandle};

/// How a room treats its calls.
#[derive(Debug, Clone)]
pub(super) struct RoomConfig {
    pub(super) session: SessionConfig,
}

/// Whose a recognition job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    session: SessionKey,
    job: JobId,
}

/// Never used twice, so a late answer cannot reach another call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct SessionKey(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct LegKey {
    session: SessionKey,
    leg: LegIndex,
}

#[derive(Debug)]
struct Resident {
    call: CallId,
    session: Session,
    sources: Vec<(LegIndex, SocketAddr)>,
    /// From the session's last [`Output::Wait`].
    due: Option<Instant>,
    idle_limit: Option<Duration>,
    last_heard: Instant,
}

impl Resident {
    /// Who speaks for a leg.
    fn source(&self, leg: LegIndex) -> Option<SocketAddr> {
        let mut sources = self.sources.iter();
        let found = sources.find(|(owner, _)| *owner == leg);
        found.map(|(_, source)| *source)
    }
}

/// What has passed through a media thread; read by `/health`.
#[derive(Debug, Default)]
pub struct MediaCounters {
    datagrams: AtomicU64,
    admitted: AtomicU64,
    unknown_source: AtomicU64,
    unknown_not_rtp: AtomicU64,
    hold_full: AtomicU64,
    holding: AtomicU64,
    events_lost: AtomicU64,
    panics: AtomicU64,
    sent: AtomicU64,
    unsent: AtomicU64,
}

impl MediaCounters {
    /// Datagrams received.
    pub fn datagrams(&self) -> u64 {
        self.datagrams.load(Ordering::Relaxed)
    }

    /// What became of them at the gate.
    pub fn gate(&self) -> GateStats {
        GateStats {
            admitted: self.admitted.load(Ordering::Relaxed),
            holding: self.holding.load(Ordering::Relaxed),
            unknown_not_rtp: self.unknown_not_rtp.load(Ordering::Relaxed),
            unknown_source: self.unknown_source.load(Ordering::Relaxed),
            hold_full: self.hold_full.load(Ordering::Relaxed),
        }
    }

    /// Events that the desk was too slow for.
    pub fn events_lost(&self) -> u64 {
        self.events_lost.load(Ordering::Relaxed)
    }

    /// Panics on the media path, each a defect of this program: of one call,
    /// which then has ended, or of the thread's own, which ends all its calls.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Packets sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Packets that the system did not take.
    pub fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    fn count_sent(&self, sent: bool) {
        let counter = if sent { &self.sent } else { &self.unsent };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one; how many it is by now.
    pub(super) fn count_event_lost(&self) -> u64 {
        self.events_lost.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    fn publish(&self, datagrams: u64, gate: GateStats) {
        self.datagrams.store(datagrams, Ordering::Relaxed);
        self.admitted.store(gate.admitted, Ordering::Relaxed);
        self.holding.store(gate.holding, Ordering::Relaxed);
        self.unknown_not_rtp
            .store(gate.unknown_not_rtp, Ordering::Relaxed);
        self.unknown_source
            .store(gate.unknown_source, Ordering::Relaxed);
        self.hold_full.store(gate.hold_full, Ordering::Relaxed);
    }
}

/// The calls of one thread.
#[derive(Debug)]
pub(super) struct Room {
    config: RoomConfig,
    gate: Gate<LegKey>,
    residents: HashMap<SessionKey, Resident>,
    by_call: HashMap<CallId, SessionKey>,
    next_key: u64,
    players: Players<LegKey>,
    pool: PoolHandle<Ticket>,
    reply: Sender<Answer<Ticket>>,
    events: Vec<MediaEvent>,
    datagrams: u64,
    counters: Arc<MediaCounters>,
}

impl Room {
    pub(super) fn new(
        config: RoomConfig,
        pool: PoolHandle<Ticket>,
        reply: Sender<Answer<Ticket>>,
        counters: Arc<MediaCounters>,
    ) -> Self {
        Self {
            config,
            gate: Gate::new(GateConfig::default()),
            residents: HashMap::new(),
            by_call: HashMap::new(),
            next_key: 0,
            players: Players::default(),
            pool,
            reply,
            events: Vec::new(),
            datagrams: 0,
            counters,
        }
    }

    fn resident(&mut self, call: &CallId) -> Option<(SessionKey, &mut Resident)> {
        let key = *self.by_call.get(call)?;
        Some((key, self.residents.get_mut(&key)?))
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

    pub(super) fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.datagrams += 1;
        if let Route::To(key) = self.gate.route(now, from, bytes) {
            self.deliver(now, key, bytes);
        }
    }

    pub(super) fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Open(open) => self.open(now, open),
            Command::AddLeg {
                call,
                leg,
                source,
                may_exist,
                reply,
            } => {
                let result = self.add_leg(now, &call, leg, source, may_exist);
                // The asker may have given up; the leg then ends with its call.
                let _unheard = reply.send(result);
            }
            Command::Play {
                call,
                order,
                start,
                reply,
            } => {
                let result = self.play(now, &call, order, start);
                // Whoever asked may have given up; it is played all the same.
                let _unheard = reply.send(result);
            }
            Command::StopPlay { call, id } => self.stop_play(now, &call, id),
            Command::Hangup(call) => self.hang_up(now, &call),
        }
    }

    /// A recognition job was answered.
    pub(super) fn answer(&mut self, now: Instant, answer: Answer<Ticket>) {
        let Ticket { session, job } = answer.ticket;
        let result = answer.result.map_err(|error| {
            tracing::warn!(%error, "an utterance could not be recognised");
            GapReason::RecognitionFailed
        });
        self.feed(now, session, Input::Recognised { job, result });
    }

    /// Runs whatever is due.
    pub(super) fn tick(&mut self, now: Instant) {
        self.gate.expire(now);
        let due: Vec<_> = self
            .residents
            .iter()
            .filter(|(_, resident)| resident.due.is_some_and(|due| due <= now))
            .map(|(&key, _)| key)
            .collect();
        for key in due {
            self.feed(now, key, Input::Timer);
        }
        for resident in self.residents.values_mut() {
            if let Some(limit) = resident.idle_limit
                && now.saturating_duration_since(resident.last_heard) > limit
            {
                resident.idle_limit = None;
                self.events.push(MediaEvent {
                    call: resident.call.clone(),
                    kind: MediaEventKind::Idle,
                });
            }
        }
        self.counters.publish(self.datagrams, self.gate.stats());
    }

    fn open(&mut self, now: Instant, open: OpenCall) {
        let OpenCall {
            call,
            opened,
            idle_limit,
        } = open;
        if self.by_call.contains_key(&call) {
            tracing::error!(%call, "a call was opened twice; the first one goes on");
            return;
        }
        let key = SessionKey(self.next_key);
        self.next_key += 1;
        let session = Session::new(self.config.session.clone(), opened);
        self.by_call.insert(call.clone(), key);
        self.residents.insert(
            key,
            Resident {
                call,
                session,
                sources: Vec::new(),
                due: None,
                idle_limit,
                last_heard: now,
            },
        );
    }

    fn add_leg(
        &mut self,
        now: Instant,
        call: &CallId,
        leg: Leg,
        source: SocketAddr,
        may_exist: bool,
    ) -> Result<(), LegRefused> {
        let source = gate::canonical(source);
        let key = *self.by_call.get(call).ok_or(LegRefused::NotOpen)?;
        let resident = self.residents.get_mut(&key).ok_or(LegRefused::NotOpen)?;
        if !resident.session.is_open() {
            return Err(LegRefused::NotOpen);
        }
        let existing = resident.session.leg(&leg);
        if existing.is_some() && !may_exist {
            return Err(LegRefused::LegExists(leg));
        }
        // Named first: if somebody else owns the source, no leg must be left behind.
        let index = existing.unwrap_or_else(|| resident.session.next_leg());
        let held = self
            .gate
            .admit(
                now,
                source,
                LegKey {
                    session: key,
                    leg: index,
                },
            )
            .map_err(|taken| LegRefused::SourceTaken(taken.0))?;
        if existing.is_none() {
            resident.session.add_leg(leg);
        }
        resident.sources.retain(|&(owner, old)| {
            let moved = owner == index && old != source;
            if moved {
                self.gate.revoke(now, old);
            }
            !moved && (owner, old) != (index, source)
        });
        resident.sources.push((index, source));
        for HeldDatagram { arrived, bytes } in held {
            self.deliver(
                arrived,
                LegKey {
                    session: key,
                    leg: index,
                },
                &bytes,
            );
        }
        Ok(())
    }

    fn hang_up(&mut self, now: Instant, call: &CallId) {
        let Some(&key) = self.by_call.get(call) else {
            return;
        };
        self.silence(now, key);
        if let Some(resident) = self.residents.get_mut(&key) {
            for (_, source) in resident.sources.drain(..) {
                self.gate.revoke(now, source);
            }
            resident.idle_limit = None;
            self.feed(now, key, Input::Hangup);
        }
    }

    fn deliver(&mut self, arrived: Instant, key: LegKey, bytes: &[u8]) {
        if let Some(resident) = self.residents.get_mut(&key.session) {
            resident.last_heard = resident.last_heard.max(arrived);
            let leg = key.leg;
            self.feed(arrived, key.session, Input::Datagram { leg, bytes });
        }
    }

    /// Hands a session an input and does what it then wants.
    fn feed(&mut self, now: Instant, key: SessionKey, input: Input<'_>) {
        self.contain(now, key, |room| {
            if let Some(resident) = room.residents.get_mut(&key) {
                resident.session.handle(now, input);
                room.pump(key, now);
            }
        });
    }

    /// A panic in one call's media costs that call and no other.
    fn contain(&mut self, now: Instant, key: SessionKey, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        self.counters.count_panic();
        self.players.remove(|leg| leg.session == key);
        let Some(resident) = self.residents.remove(&key) else {
            return;
        };
        tracing::error!(call = %resident.call, "the call's media panicked; the call ends");
        self.by_call.remove(&resident.call);
        for (_, source) in resident.sources {
            self.gate.revoke(now, source);
        }
        // Its counters are no more to be trusted than the rest of it.
        self.events.push(closed_without_stats(resident.call));
    }

    /// Starts anew after a panic outside of any call: all calls end, and the
    /// gate's counters begin at 0.
    pub(super) fn reset(&mut self) {
        self.counters.count_panic();
        self.gate = Gate::new(GateConfig::default());
        self.players = Players::default();
        self.by_call.clear();
        let calls = mem::take(&mut self.residents).into_values();
        self.events
            .extend(calls.map(|resident| closed_without_stats(resident.call)));
    }

    /// Does what a session wants until it waits.
    fn pump(&mut self, key: SessionKey, now: Instant) {
        let Some(resident) = self.residents.get_mut(&key) else {
            return;
        };
        let call = &resident.call;
        let mut closed = false;
        loop {
            let kind = match resident.session.poll() {
                Output::Wait(due) => {
                    resident.due = due;
                    break;
                }
                Output::Transcribe { job, samples } => {
                    if self
                        .pool
                        .offer(Ticket { session: key, job }, samples, &self.reply)
                        .is_err()
                    {
                        tracing::warn!(%call, "the recognition queue is full; an utterance has no text");
                        let result = Err(GapReason::OverloadShed);
                        resident
                            .session
                            .handle(now, Input::Recognised { job, result });
                    }
                    continue;
                }
                Output::Line(line) => MediaEventKind::Line(line),
                Output::Stats(legs) => MediaEventKind::Stats(legs),
                Output::Closed(legs) => {
                    closed = true;
                    MediaEventKind::Closed(legs)
                }
            };
            self.events.push(MediaEvent {
                call: call.clone(),
                kind,
            });
        }
        if closed && let Some(resident) = self.residents.remove(&key) {
            self.by_call.remove(&resident.call);
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
pub(in crate::live::media) mod tests;
