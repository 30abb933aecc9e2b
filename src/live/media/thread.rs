//! The loop of one media thread: the only I/O on the media path.

use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Receiver;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::room::{Room, Ticket};
use super::socket;
use super::{Command, MediaEvent, MediaEventKind, MediaPort};
use crate::clock;
use crate::play::{PlayEvent, PlayReport};
use crate::speech::pool::Answer;

/// Datagrams taken per tick before timers and orders get their turn.
const BATCH: usize = 4096;

/// Ticks without a call are this much longer.
const IDLE_FACTOR: u32 = 4;

/// However many packets are to be sent, the thread wakes no more often than
/// this, and none is later by more.
const MIN_NAP: Duration = Duration::from_millis(1);

/// Events that wait for the desk; beyond it counters are left out, and beyond
/// twice this lines are lost, loudly. The end of a call is never lost: there is
/// one for each, and without it the call would stay open for ever.
const OUTBOX: usize = 16_384;

/// The largest UDP payload.
const MAX_DATAGRAM: usize = 65_536;

/// A running thread; dropping it stops and joins it.
#[derive(Debug)]
pub(super) struct MediaThread {
    port: MediaPort,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MediaThread {
    #[expect(
        clippy::too_many_arguments,
        reason = "the thread's ends, each used once"
    )]
    pub(super) fn spawn(
        n: usize,
        port: MediaPort,
        socket: UdpSocket,
        tick: Duration,
        room: Room,
        orders: Receiver<Command>,
        answers: Receiver<Answer<Ticket>>,
        events: mpsc::Sender<MediaEvent>,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name(format!("media-{n}"))
            .spawn(move || {
                let mut ends = Ends {
                    socket,
                    orders,
                    answers,
                    events,
                    outbox: VecDeque::new(),
                    errors: 0,
                };
                ends.run(room, tick, &stopped);
            })?;
        Ok(Self {
            port,
            stop,
            thread: Some(thread),
        })
    }

    pub(super) fn port(&self) -> &MediaPort {
        &self.port
    }
}

impl Drop for MediaThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a media thread had panicked");
        }
    }
}

/// Until when to sleep: less than a tick where a packet is to be sent before.
fn nap(room: &Room, tick: Duration) -> Duration {
    let tick = if room.is_empty() {
        tick * IDLE_FACTOR
    } else {
        tick
    };
    room.next_send().map_or(tick, |due| {
        let left = due.saturating_duration_since(clock::now());
        left.max(MIN_NAP).min(tick)
    })
}

struct Ends {
    socket: UdpSocket,
    orders: Receiver<Command>,
    answers: Receiver<Answer<Ticket>>,
    events: mpsc::Sender<MediaEvent>,
    outbox: VecDeque<MediaEvent>,
    errors: u64,
}

impl Ends {
    fn run(&mut self, mut room: Room, tick: Duration, stop: &AtomicBool) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        while !stop.load(Ordering::Relaxed) {
            let turn = AssertUnwindSafe(|| self.turn(&mut room, &mut buffer));
            let more = catch_unwind(turn).unwrap_or_else(|_| {
                tracing::error!("a media thread panicked; all its calls end and it goes on");
                room.reset();
                false
            });
            if !more {
                thread::sleep(nap(&room, tick));
            }
        }
    }

    /// Does all there is to do now; `true` if more is waiting at the socket.
    fn turn(&mut self, room: &mut Room, buffer: &mut [u8]) -> bool {
        let more = self.receive(room, buffer);
        let now = clock::now();
        // Orders come after the datagrams that were already waiting: a leg
        // named in this tick finds them held at the gate.
        for command in self.orders.try_iter() {
            room.command(now, command);
        }
        for answer in self.answers.try_iter() {
            room.answer(now, answer);
        }
        room.tick(now);
        let socket = &self.socket;
        room.send_due(clock::now(), &mut |to, datagram| {
            socket::send(socket, to, datagram)
        });
        self.publish(room);
        more
    }

    /// Takes what the socket holds; `true` if it holds more.
    fn receive(&mut self, room: &mut Room, buffer: &mut [u8]) -> bool {
        for _ in 0..BATCH {
            match self.socket.recv_from(buffer) {
                Ok((length, from)) => room.datagram(clock::now(), from, &buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Not a packet's fault and not a call's: say so the first time and count the rest.
                    self.errors += 1;
                    if self.errors.is_power_of_two() {
                        tracing::error!(%error, count = self.errors, "receiving RTP failed");
                    }
                    return false;
                }
            }
        }
        true
    }

    /// Hands events to the desk without ever waiting for it.
    fn publish(&mut self, room: &mut Room) {
        for event in room.take_events() {
            match event.kind {
                // Newer ones follow, and `Closed` brings the last.
                MediaEventKind::Stats(_) if self.outbox.len() >= OUTBOX => continue,
                MediaEventKind::Played(PlayReport {
                    event: PlayEvent::Progress,
                    ..
                }) if self.outbox.len() >= OUTBOX => continue,
                MediaEventKind::Line(_) | MediaEventKind::Played(_)
                    if self.outbox.len() >= 2 * OUTBOX =>
                {
                    let lost = room.counters().count_event_lost();
                    if lost.is_power_of_two() {
                        tracing::error!(call = %event.call, lost, "the call desk does not keep up: lines or reports of playbacks are lost");
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
                // The desk is gone: the program is ending.
                Err(TrySendError::Closed(_)) => self.outbox.clear(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::live::media::room::tests::{Rig, line};

    fn ends(events: mpsc::Sender<MediaEvent>) -> Ends {
        Ends {
            socket: UdpSocket::bind("127.0.0.1:0").unwrap(),
            orders: bounded(0).1,
            answers: bounded(0).1,
            events,
            outbox: VecDeque::new(),
            errors: 0,
        }
    }

    #[test]
    fn a_desk_that_does_not_keep_up_loses_lines_but_no_end_of_a_call() {
        let (events, mut heard) = mpsc::channel(1);
        let mut ends = ends(events);
        let mut rig = Rig::new();
        for _ in 0..2 * OUTBOX + 10 {
            rig.room.report(line());
        }
        for kind in [
            MediaEventKind::Stats(Vec::new()),
            MediaEventKind::Idle,
            MediaEventKind::Closed(Vec::new()),
        ] {
            rig.room.report(kind);
        }
        ends.publish(&mut rig.room);
        assert_eq!(rig.room.counters().events_lost(), 10);
        let mut kinds = Vec::new();
        while let Ok(event) = heard.try_recv() {
            kinds.push(event.kind);
            ends.publish(&mut rig.room);
        }
        assert_eq!(kinds.len(), 2 * OUTBOX + 2);
        let [.., MediaEventKind::Idle, MediaEventKind::Closed(_)] = kinds.as_slice() else {
            panic!("{:?}", &kinds[2 * OUTBOX - 1..]);
        };
    }
}
