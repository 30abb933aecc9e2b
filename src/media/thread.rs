//! The loop of one media thread: the only I/O on the media path.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use asterscribe_clock as clock;
use asterscribe_recognition::pool::JobAnswer;
use crossbeam_channel::Receiver;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::own::OwnSockets;
use super::shard::{JobTicket, SessionShard};
use super::socket::{ReadBatch, RtpSocket, SocketRead};
use super::{
    AddLeg, LegRefused, LegSocket, MediaCommand, MediaEvent, MediaEventKind, MediaThreadHandle,
};
use crate::play::{PlayEvent, PlayReport};

/// Datagrams that one read of the socket takes.
const BATCH: usize = 64;

/// Reads of the socket before timers and orders get their turn.
const READS: usize = 64;

/// Factor by which ticks without a call are longer.
const IDLE_FACTOR: u32 = 4;

/// Shortest sleep: however many packets are to be sent, the thread wakes no more often, and none is
/// later by more.
const MIN_NAP: Duration = Duration::from_millis(1);

/// Events that wait for the call manager; beyond that counters are left out, and beyond twice that
/// lines are lost, loudly. The end of a call is never lost: there is one for each, and without it
/// the call would stay open for ever.
const OUTBOX: usize = 16_384;

/// A running thread; dropping it stops and joins it.
#[derive(Debug)]
pub(super) struct MediaThread {
    port: MediaThreadHandle,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MediaThread {
    pub(super) fn spawn(
        n: usize,
        port: MediaThreadHandle,
        tick: Duration,
        shard: SessionShard,
        mut ends: ThreadEnds,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name(format!("media-{n}"))
            .spawn(move || ends.run(shard, tick, &stopped))?;
        Ok(Self {
            port,
            stop,
            thread: Some(thread),
        })
    }

    pub(super) fn port(&self) -> &MediaThreadHandle {
        &self.port
    }
}

impl Drop for MediaThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a media thread panicked");
        }
    }
}

/// Time to sleep: a tick, or less where a packet is to be sent before.
fn nap(shard: &SessionShard, tick: Duration) -> Duration {
    let tick = if shard.is_empty() {
        tick * IDLE_FACTOR
    } else {
        tick
    };
    shard.next_send().map_or(tick, |due| {
        let left = due.saturating_duration_since(clock::now());
        left.max(MIN_NAP).min(tick)
    })
}

/// The ends of a media thread: what it reads and writes.
pub(super) struct ThreadEnds {
    socket: RtpSocket,
    /// Sockets of single legs, where they may have one.
    own: Option<OwnSockets>,
    orders: Receiver<MediaCommand>,
    answers: Receiver<JobAnswer<JobTicket>>,
    events: mpsc::Sender<MediaEvent>,
    outbox: VecDeque<MediaEvent>,
    errors: u64,
}

impl ThreadEnds {
    pub(super) fn new(
        socket: RtpSocket,
        own: Option<OwnSockets>,
        orders: Receiver<MediaCommand>,
        answers: Receiver<JobAnswer<JobTicket>>,
        events: mpsc::Sender<MediaEvent>,
    ) -> Self {
        Self {
            socket,
            own,
            orders,
            answers,
            events,
            outbox: VecDeque::new(),
            errors: 0,
        }
    }

    fn run(&mut self, mut shard: SessionShard, tick: Duration, stop: &AtomicBool) {
        let mut batch = ReadBatch::new(BATCH);
        while !stop.load(Ordering::Relaxed) {
            let turn = AssertUnwindSafe(|| self.turn(&mut shard, &mut batch));
            let more = catch_unwind(turn).unwrap_or_else(|_| {
                tracing::error!("a media thread panicked; all its calls end and it goes on");
                shard.reset();
                false
            });
            if !more {
                thread::sleep(nap(&shard, tick));
            }
        }
    }

    /// Does all that is due; `true` if more is waiting at the socket.
    fn turn(&mut self, shard: &mut SessionShard, batch: &mut ReadBatch) -> bool {
        let more = self.receive(shard, batch) | self.receive_own(shard);
        let now = clock::now();
        // Orders come after the datagrams that were already waiting: a leg
        // named in this tick finds them held at the gate.
        for command in self.orders.try_iter() {
            match (command, &mut self.own) {
                (MediaCommand::AddLeg(add), Some(own)) => add_leg(shard, own, now, add),
                (MediaCommand::Reserve(port), Some(own)) => {
                    if let Err(error) = own.reserve(port) {
                        // Its leg will be told.
                        tracing::error!(%error, "cannot read the socket of a leg");
                    }
                }
                (command, _) => shard.command(now, command),
            }
        }
        if let Some(own) = &mut self.own {
            own.sweep();
        }
        for answer in self.answers.try_iter() {
            shard.answer(now, answer);
        }
        shard.tick(now);
        self.send(shard);
        let deaf = shard.take_deaf();
        if let Some(own) = self.own.as_mut().filter(|_| !deaf.is_empty()) {
            own.close(|leg| deaf.contains(&leg.session));
        }
        self.publish(shard);
        more
    }

    /// Sends what is due, from the socket that hears the leg.
    fn send(&mut self, shard: &mut SessionShard) {
        let (shared, own) = (&self.socket, &self.own);
        shard.send_due(clock::now(), &mut |leg, to, datagram| {
            let socket = own.as_ref().and_then(|own| own.of_leg(leg));
            socket.unwrap_or(shared).send(to, datagram)
        });
    }

    /// Takes what the socket holds; `true` if it holds more.
    fn receive(&mut self, shard: &mut SessionShard, batch: &mut ReadBatch) -> bool {
        for _ in 0..READS {
            // One time for all of a read: what a session is told is what a capture records.
            let read = self.socket.read_all(batch, |datagrams| {
                shard.datagrams(clock::now(), datagrams);
            });
            match read {
                Ok(SocketRead { datagrams, dropped }) => {
                    if dropped > 0 {
                        shard.kernel_dropped(clock::now(), dropped);
                    }
                    if datagrams < batch.capacity() {
                        return false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(&error),
            }
        }
        true
    }

    /// Receives from the sockets of single legs.
    fn receive_own(&mut self, shard: &mut SessionShard) -> bool {
        for _ in 0..READS {
            let Some(own) = &mut self.own else {
                return false;
            };
            let now = clock::now();
            let mut dropped = Vec::new();
            let take = |leg, from, bytes: &[u8]| shard.own_datagram(now, leg, from, bytes);
            let more = own.read(take, |leg, count| dropped.push((leg, count)));
            for (leg, count) in dropped {
                shard.own_kernel_dropped(now, leg, count);
            }
            match more {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(&error),
            }
        }
        true
    }

    /// Handles an error of the socket, which is no packet's fault and no call's: counted,
    /// and logged at every power of two.
    fn failed(&mut self, error: &io::Error) -> bool {
        self.errors += 1;
        if self.errors.is_power_of_two() {
            tracing::error!(%error, count = self.errors, "receiving RTP failed");
        }
        false
    }

    /// Hands events to the call manager without ever waiting for it.
    fn publish(&mut self, shard: &mut SessionShard) {
        for event in shard.take_events() {
            match event.kind {
                // Newer ones follow, and `Closed` brings the last.
                MediaEventKind::Stats(_) | MediaEventKind::Partial(_)
                    if self.outbox.len() >= OUTBOX =>
                {
                    continue;
                }
                MediaEventKind::Played(PlayReport {
                    event: PlayEvent::Progress,
                    ..
                }) if self.outbox.len() >= OUTBOX => continue,
                MediaEventKind::Line(_)
                | MediaEventKind::Deferred(_)
                | MediaEventKind::Event(_)
                | MediaEventKind::Digit(_)
                | MediaEventKind::Played(_)
                    if self.outbox.len() >= 2 * OUTBOX =>
                {
                    let lost = shard.counters().count_event_lost();
                    if lost.is_power_of_two() {
                        tracing::error!(call = %event.call, lost, "the call manager does not keep up: lines are lost");
                    }
                    continue;
                }
                _ => self.outbox.push_back(event),
            }
        }
        while let Some(event) = self.outbox.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.outbox.push_front(event);
                    break;
                }
                // The manager is gone: the program is ending.
                Err(TrySendError::Closed(_)) => self.outbox.clear(),
            }
        }
    }
}

/// Adds a leg that may have a socket of its own.
fn add_leg(shard: &mut SessionShard, own: &mut OwnSockets, now: Instant, mut add: AddLeg) {
    let slot = match mem::take(&mut add.ear) {
        LegSocket::Shared => Ok(None),
        LegSocket::Own(port) => own.add(port).map(Some).map_err(|error| error.to_string()),
        LegSocket::Reserved(reservation) => {
            let slot = own.claim(&reservation).map(Some);
            slot.ok_or_else(|| "it could not be opened".to_owned())
        }
    };
    let slot = match slot {
        Ok(slot) => slot,
        Err(error) => return add.answer(Err(LegRefused::Socket(error))),
    };
    let placed = shard.add_leg(now, &add);
    match (slot, &placed) {
        (Some(slot), Ok(leg)) => own.assign(slot, *leg),
        (Some(slot), Err(_)) => own.remove(slot),
        (None, _) => {}
    }
    add.answer(placed.map(|_| ()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::shard::tests::{Rig, line};
    use crossbeam_channel::bounded;

    fn ends(events: mpsc::Sender<MediaEvent>) -> ThreadEnds {
        let socket = RtpSocket::bind("127.0.0.1:0".parse().unwrap(), 1 << 16).unwrap();
        ThreadEnds::new(socket, None, bounded(0).1, bounded(0).1, events)
    }

    #[test]
    fn a_desk_that_does_not_keep_up_loses_lines_but_no_end_of_a_call() {
        let (events, mut heard) = mpsc::channel(1);
        let mut ends = ends(events);
        let mut rig = Rig::new();
        for _ in 0..2 * OUTBOX + 10 {
            rig.shard.report(line());
        }
        for kind in [
            MediaEventKind::Stats(Vec::new()),
            MediaEventKind::Idle,
            MediaEventKind::Closed(Vec::new()),
        ] {
            rig.shard.report(kind);
        }
        ends.publish(&mut rig.shard);
        assert_eq!(rig.shard.counters().events_lost(), 10);
        let mut kinds = Vec::new();
        while let Ok(event) = heard.try_recv() {
            kinds.push(event.kind);
            ends.publish(&mut rig.shard);
        }
        assert_eq!(kinds.len(), 2 * OUTBOX + 2);
        let [.., MediaEventKind::Idle, MediaEventKind::Closed(_)] = kinds.as_slice() else {
            panic!("{:?}", &kinds[2 * OUTBOX - 1..]);
        };
    }
}
