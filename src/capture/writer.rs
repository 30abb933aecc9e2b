//! The thread that writes captures.
//!
//! Orders and packets come by two queues. What was queued before an order must
//! be written before it is carried out, and a start before what follows it; so
//! each turn looks at the lengths of both in that order.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use asterscribe_call::CallId;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::folder::{CaptureFolder, EVENTS, PACKETS, StoredCapture};
use super::rolling::SegmentDisk;
use super::running::RunningCapture;
use super::tap::{CaptureItem, ItemKind, SharedCapture};
use super::{CaptureFile, CaptureNews, CaptureNewsKind, CapturePart, CaptureRefused};

/// Time between two looks at the queue while a capture runs: so much of it a crash may cost.
const PAUSE: Duration = Duration::from_millis(50);

/// An order to the writing thread.
#[derive(Debug)]
pub(super) enum WriterOrder {
    Start {
        capture: Arc<SharedCapture>,
        reply: oneshot::Sender<Result<(), CaptureRefused>>,
    },
    /// Writes a capture that is over to its end.
    Finish {
        id: u64,
        reply: oneshot::Sender<()>,
    },
    Read {
        call: CallId,
        part: CapturePart,
        reply: oneshot::Sender<Result<Option<CaptureFile>, CaptureRefused>>,
    },
    /// Removes a call's capture, ending it first.
    Erase {
        call: CallId,
        reply: oneshot::Sender<Result<bool, CaptureRefused>>,
    },
    Expire {
        before: Timestamp,
    },
    /// Ends everything, and the thread.
    Stop,
}

/// The present time on both clocks.
#[derive(Clone, Copy)]
pub(super) struct WriterTimes {
    pub(super) wall: fn() -> Timestamp,
    pub(super) clock: fn() -> Instant,
}

/// All captures, running and stored.
pub(super) struct CaptureWriter {
    folder: CaptureFolder,
    disk: Arc<dyn SegmentDisk>,
    total_bytes: u64,
    news: mpsc::Sender<CaptureNews>,
    times: WriterTimes,
    /// Bytes that wait in the queue.
    waiting: Arc<AtomicUsize>,
    running: HashMap<u64, RunningCapture>,
    stored: BTreeMap<CallId, StoredCapture>,
}

impl CaptureWriter {
    pub(super) fn new(
        folder: CaptureFolder,
        disk: Arc<dyn SegmentDisk>,
        total_bytes: u64,
        news: mpsc::Sender<CaptureNews>,
        times: WriterTimes,
        waiting: Arc<AtomicUsize>,
    ) -> io::Result<Self> {
        let mut writer = Self {
            stored: folder.scan()?,
            folder,
            disk,
            total_bytes,
            news,
            times,
            waiting,
            running: HashMap::new(),
        };
        // The bound may be lower than it was.
        writer.make_room(0);
        Ok(writer)
    }

    pub(super) fn run(mut self, orders: &Receiver<WriterOrder>, items: &Receiver<CaptureItem>) {
        let mut due = Vec::new();
        loop {
            let order = if !due.is_empty() {
                orders.recv_timeout(Duration::ZERO)
            } else if self.running.is_empty() {
                orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                orders.recv_timeout(PAUSE)
            };
            match order {
                Ok(order) => due.extend(self.begin(order)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => due.push(WriterOrder::Stop),
            }
            // All that belongs to these is queued by now.
            let over: Vec<u64> = self.over().collect();
            let count = items.len();
            let mut next = Vec::new();
            for order in orders.try_iter() {
                next.extend(self.begin(order));
            }
            self.take(items.try_iter().take(count));
            over.into_iter().for_each(|id| self.finish(id));
            for order in std::mem::replace(&mut due, next) {
                if !self.carry_out(order) {
                    return;
                }
            }
        }
    }

    /// Captures that go on no more.
    fn over(&self) -> impl Iterator<Item = u64> {
        let captures = self.running.values().map(|running| &running.shared);
        let over = captures.filter(|capture| capture.ended.get().is_some());
        over.map(|capture| capture.id)
    }

    /// Starts at once; gives back what must wait.
    fn begin(&mut self, order: WriterOrder) -> Option<WriterOrder> {
        match order {
            WriterOrder::Start { capture, reply } => {
                let now = (self.times.clock)();
                let result = self.start(&capture);
                match &result {
                    Ok(()) => self.tell(&capture, now, CaptureNewsKind::Begun),
                    Err(refused) => {
                        tracing::error!(call = %capture.start.call, %refused, "cannot capture a call");
                        // What comes for it is not waited for.
                        let _first_wins = capture.ended.set(now);
                        capture.written.store(true, Ordering::Relaxed);
                    }
                }
                // By rule, nobody waits for the answer.
                if let Err(Err(refused)) = reply.send(result) {
                    self.tell(&capture, now, CaptureNewsKind::Refused(refused));
                }
                None
            }
            later => Some(later),
        }
    }

    /// `false` if the thread is to end.
    fn carry_out(&mut self, order: WriterOrder) -> bool {
        match order {
            WriterOrder::Start { .. } => {}
            WriterOrder::Finish { id, reply } => {
                self.finish(id);
                // Who asked may have given up.
                let _unheard = reply.send(());
            }
            WriterOrder::Read { call, part, reply } => {
                let _unheard = reply.send(self.read(&call, part));
            }
            WriterOrder::Erase { call, reply } => {
                let _unheard = reply.send(self.erase(&call));
            }
            WriterOrder::Expire { before } => self.expire(before),
            WriterOrder::Stop => {
                for id in self.running.keys().copied().collect::<Vec<_>>() {
                    self.finish(id);
                }
                return false;
            }
        }
        true
    }

    /// Takes what waits in the queue and hands it to the system.
    fn take(&mut self, items: impl Iterator<Item = CaptureItem>) {
        for CaptureItem { capture, kind } in items {
            self.waiting.fetch_sub(kind.size(), Ordering::Relaxed);
            let Some(running) = self.running.get_mut(&capture.id) else {
                capture.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            match kind {
                ItemKind::Leg(leg) => running.leg(leg),
                ItemKind::Packet {
                    leg,
                    at,
                    from,
                    bytes,
                } => running.packet(leg, at, from, &bytes),
                ItemKind::Event { at, text } => running.event(at, &text),
            }
        }
        self.running.values_mut().for_each(RunningCapture::flush);
    }

    fn erase(&mut self, call: &CallId) -> Result<bool, CaptureRefused> {
        self.finish_call(call);
        let Some(stored) = self.stored.remove(call) else {
            return Ok(false);
        };
        if let Err(error) = self.folder.remove_capture(call, &stored) {
            self.stored.insert(call.clone(), stored);
            return Err(CaptureRefused::Folder(error.to_string()));
        }
        Ok(true)
    }

    fn finish_call(&mut self, call: &CallId) {
        let same = |running: &&RunningCapture| running.shared.start.call == *call;
        if let Some(id) = self.running.values().find(same).map(|r| r.shared.id) {
            self.finish(id);
        }
    }

    fn start(&mut self, capture: &Arc<SharedCapture>) -> Result<(), CaptureRefused> {
        let call = &capture.start.call;
        self.finish_call(call);
        self.remove(call);
        if !self.make_room(capture.start.max_bytes) {
            return Err(CaptureRefused::NoRoom(self.total_bytes));
        }
        let running = RunningCapture::create(Arc::clone(capture), &self.disk);
        let running = running.map_err(|error| CaptureRefused::Folder(error.to_string()))?;
        self.running.insert(capture.id, running);
        Ok(())
    }

    fn finish(&mut self, id: u64) {
        let Some(mut running) = self.running.remove(&id) else {
            return;
        };
        let end = *running.shared.ended.get_or_init(self.times.clock);
        running.finish(end);
        running.shared.written.store(true, Ordering::Relaxed);
        let pieces = [CapturePart::Packets, CapturePart::Events].map(|part| running.pieces(part));
        let stored =
            StoredCapture::of(&pieces[0], &pieces[1], running.bytes(), (self.times.wall)());
        let capture = running.shared;
        self.stored.insert(capture.start.call.clone(), stored);
        self.tell(&capture, end, CaptureNewsKind::Ended);
    }

    fn tell(&self, capture: &SharedCapture, at: Instant, kind: CaptureNewsKind) {
        let news = CaptureNews {
            id: capture.id,
            call: capture.start.call.clone(),
            at,
            state: capture.state(),
            kind,
        };
        // The call manager listens until this thread has ended; media threads wait for neither.
        if self.news.blocking_send(news).is_err() {
            tracing::error!("the state of a capture cannot be reported");
        }
    }

    fn read(
        &mut self,
        call: &CallId,
        part: CapturePart,
    ) -> Result<Option<CaptureFile>, CaptureRefused> {
        let same = |running: &&mut RunningCapture| running.shared.start.call == *call;
        let (pieces, tail) = if let Some(running) = self.running.values_mut().find(same) {
            let now = running.shared.ended.get().copied();
            let now = now.unwrap_or_else(self.times.clock);
            let tail = match part {
                CapturePart::Packets => running.tail(now),
                CapturePart::Events => Vec::new(),
            };
            (Ok(running.pieces(part)), tail)
        } else if let Some(stored) = self.stored.get(call) {
            let extension = match part {
                CapturePart::Packets => PACKETS,
                CapturePart::Events => EVENTS,
            };
            (self.folder.pieces(call, stored, extension), Vec::new())
        } else {
            return Ok(None);
        };
        let reading = pieces.and_then(|pieces| self.folder.read(&pieces, tail));
        let reading = reading.map_err(|error| CaptureRefused::Folder(error.to_string()))?;
        Ok(Some(CaptureFile {
            length: reading.length,
            body: reading.body,
        }))
    }

    fn expire(&mut self, before: Timestamp) {
        let old = self
            .stored
            .iter()
            .filter(|(_, stored)| stored.since < before);
        let old: Vec<CallId> = old.map(|(call, _)| call.clone()).collect();
        for call in &old {
            tracing::info!(%call, "removed a capture older than its retention time");
            self.remove(call);
        }
    }

    /// Lets the oldest captures go until so many bytes more may be written;
    /// `false` if those that run may need too much.
    fn make_room(&mut self, more: u64) -> bool {
        let running = self.running.values();
        let claimed: u64 = running.map(|running| running.shared.start.max_bytes).sum();
        let Some(room) = self.total_bytes.checked_sub(claimed.saturating_add(more)) else {
            return false;
        };
        let mut taken: u64 = self.stored.values().map(|stored| stored.bytes).sum();
        while taken > room {
            let oldest = self.stored.iter().min_by_key(|(_, stored)| stored.since);
            let Some((call, stored)) = oldest.map(|(call, stored)| (call.clone(), stored.bytes))
            else {
                break;
            };
            tracing::warn!(%call, "removed a capture to make room for newer ones");
            self.remove(&call);
            taken -= stored;
        }
        true
    }

    fn remove(&mut self, call: &CallId) {
        if let Some(stored) = self.stored.remove(call) {
            // Each file that could not be removed is in the log.
            let _told = self.folder.remove_capture(call, &stored);
        }
    }
}
