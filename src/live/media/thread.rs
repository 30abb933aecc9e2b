//! The loop of one media thread: the only I/O on the media path.

use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Receiver;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::room::{Room, Ticket};
use super::{Command, MediaEvent, MediaEventKind, MediaPort};
use crate::clock;
use crate::speech::pool::Answer;

/// Datagrams taken per tick before timers and orders get their turn.
const BATCH: usize = 4096;

/// Ticks without a call are this much longer.
const IDLE_FACTOR: u32 = 4;

/// Events that wait for the desk; beyond it counters are left out, and beyond
/// twice this lines are lost, loudly.
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
            let more = self.receive(&mut room, &mut buffer);
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
            self.publish(&mut room);
            if !more {
                thread::sleep(if room.is_empty() {
                    tick * IDLE_FACTOR
                } else {
                    tick
                });
            }
        }
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
            let expendable = matches!(event.kind, MediaEventKind::Stats(_));
            if expendable && self.outbox.len() >= OUTBOX {
                continue; // Newer ones follow, and `Closed` brings the last.
            }
            if self.outbox.len() >= 2 * OUTBOX {
                tracing::error!(call = %event.call, "the call desk does not keep up: an event is lost");
                room.counters().count_event_lost();
                continue;
            }
            self.outbox.push_back(event);
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
