//! Captures of live calls, for those that asked for them: a call's packets as
//! they reached its session, and the events of Asterisk that concern it.
//!
//! A media thread hands packets over with [`CaptureTap::packet`] and never waits: one
//! thread writes all captures, behind a bounded queue. What does not fit, or
//! cannot be written, is counted as lost and the call goes on. `asterscribe
//! replay` of a capture that has all packets is the call again, to the sample.

mod datagram;
mod folder;
pub mod mark;
mod pcapng;
mod recent;
mod rolling;
mod running;
mod tap;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use asterscribe_call::{CallId, CaptureState};
use crossbeam_channel::{Receiver, Sender, bounded};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use self::folder::CaptureFolder;
use self::recent::RecentEvents;
pub use self::tap::CaptureTap;
use self::tap::{CaptureItem, CaptureQueue, ItemKind, QUEUE, SharedCapture};
use self::writer::{CaptureWriter, WriterOrder};

/// Least that a capture may be bounded to: a segment must hold any datagram.
pub const MIN_BYTES: u64 = 256 << 10;

/// Orders that wait for the writer; beyond it starts and downloads are refused.
const ORDERS: usize = 256;

/// Settings of captures.
#[derive(Debug, Clone)]
pub struct CaptureConfig {
    /// Folder that holds them.
    pub dir: PathBuf,
    /// Size limit of all captures together, bytes.
    pub total_bytes: u64,
    /// Whether every call, or every call of some kind, is captured: then recent events of all calls
    /// are kept for a moment, because a call begins with one.
    pub by_rule: bool,
}

/// A call to be captured from now on.
#[derive(Debug, Clone)]
pub struct StartCapture {
    /// Id of the call.
    pub call: CallId,
    /// Id of the media run, under which its media thread has the call.
    pub media: CallId,
    /// Address and port that its packets arrive at.
    pub to: SocketAddr,
    /// Zero of the call's clock.
    pub zero: Instant,
    /// Size limit of the capture, bytes.
    pub max_bytes: u64,
}

/// Why a capture does not begin, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureRefused {
    /// The call is being captured already.
    #[error("call {0} is being captured already")]
    Running(CallId),
    /// No room: the running captures may fill `CAPTURE_TOTAL_BYTES`.
    #[error("the captures that are running may fill CAPTURE_TOTAL_BYTES ({0} bytes)")]
    NoRoom(u64),
    /// The folder cannot be read or written.
    #[error("CAPTURE_DIR: {0}")]
    Folder(String),
    /// The writer has too many orders waiting, or is ending.
    #[error("the writer of captures takes no orders now")]
    Busy,
}

/// Report of a capture's beginning or end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureNews {
    id: u64,
    /// Call that is captured.
    pub call: CallId,
    /// Time of the event.
    pub at: Instant,
    /// Figures of the capture at that time.
    pub state: CaptureState,
    /// Kind of event: begun, refused or ended.
    pub kind: CaptureNewsKind,
}

/// Kind of a report about a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptureNewsKind {
    /// The capture's files were created.
    Begun,
    /// The files could not be created, and whoever started the capture did not wait for the answer.
    Refused(CaptureRefused),
    /// The capture is over; nothing is added to it any more.
    Ended,
}

/// One of the two files of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapturePart {
    /// The packets, pcapng.
    Packets,
    /// The events of Asterisk, one JSON object a line.
    Events,
}

/// A file to be read from beginning to end. Its content stays the same, whatever happens to the
/// capture.
pub struct CaptureFile {
    /// Bytes that `body` will give.
    pub length: u64,
    /// The bytes; reading may wait for the disk.
    pub body: Box<dyn Read + Send>,
}

impl std::fmt::Debug for CaptureFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureFile")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// All captures, as the rest of the program sees them.
#[derive(Debug)]
pub struct CaptureSet {
    queue: CaptureQueue,
    orders: Sender<WriterOrder>,
    next: AtomicU64,
    running: Mutex<HashMap<CallId, Arc<SharedCapture>>>,
    /// Whether events of Asterisk are of any use now.
    wants_events: AtomicBool,
    /// Events of calls that may be captured in a moment.
    recent: Option<Mutex<RecentEvents>>,
}

/// The thread that writes captures. Dropping it ends them all and waits for that.
#[derive(Debug)]
pub struct CaptureThread {
    captures: Arc<CaptureSet>,
    thread: Option<JoinHandle<()>>,
}

impl CaptureThread {
    /// Looks at the folder and starts the thread; `news` is told of every
    /// beginning and end, and must be listened to until the thread has ended.
    ///
    /// # Errors
    /// The folder cannot be made, read or written, or there can be no thread.
    pub fn start(
        config: &CaptureConfig,
        news: mpsc::Sender<CaptureNews>,
        wall: fn() -> Timestamp,
        clock: fn() -> Instant,
    ) -> io::Result<Self> {
        let folder = CaptureFolder::open(&config.dir)?;
        let (captures, items, orders) = CaptureSet::new(config.by_rule);
        let waiting = captures.queue.waiting();
        let disk = Arc::new(folder.clone());
        let times = writer::WriterTimes { wall, clock };
        let writer = CaptureWriter::new(folder, disk, config.total_bytes, news, times, waiting)?;
        let thread = thread::Builder::new()
            .name("captures".to_owned())
            .spawn(move || writer.run(&orders, &items))?;
        Ok(Self {
            captures: Arc::new(captures),
            thread: Some(thread),
        })
    }

    /// The handle by which captures are started, stopped and read.
    pub fn captures(&self) -> Arc<CaptureSet> {
        Arc::clone(&self.captures)
    }
}

impl Drop for CaptureThread {
    fn drop(&mut self) {
        // It takes orders until it is told; should it be gone, there is nothing to wait for.
        let _gone = self.captures.orders.send(WriterOrder::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the capture writer panicked");
        }
    }
}

impl CaptureSet {
    fn new(by_rule: bool) -> (Self, Receiver<CaptureItem>, Receiver<WriterOrder>) {
        let (items, items_out) = bounded(QUEUE);
        let (orders, orders_out) = bounded(ORDERS);
        let queue = CaptureQueue::new(items);
        let captures = Self {
            queue,
            orders,
            next: AtomicU64::new(0),
            running: Mutex::default(),
            wants_events: AtomicBool::new(by_rule),
            recent: by_rule.then(Mutex::default),
        };
        (captures, items_out, orders_out)
    }

    /// Begins a capture. The tap may be used at once; the answer tells whether
    /// the files could be made. An earlier capture of the call is replaced.
    ///
    /// # Errors
    /// [`CaptureRefused::Running`] and [`CaptureRefused::Busy`].
    pub fn start(
        &self,
        start: StartCapture,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(CaptureTap, oneshot::Receiver<Result<(), CaptureRefused>>), CaptureRefused> {
        let call = start.call.clone();
        let mut running = lock(&self.running);
        if running
            .get(&call)
            .is_some_and(|old| old.ended.get().is_none())
        {
            return Err(CaptureRefused::Running(call));
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(SharedCapture::new(id, start, now, wall));
        let (reply, answer) = oneshot::channel();
        let order = WriterOrder::Start {
            capture: Arc::clone(&shared),
            reply,
        };
        self.orders
            .try_send(order)
            .map_err(|_| CaptureRefused::Busy)?;
        if let Some(recent) = &self.recent {
            for (at, text) in lock(recent).of(&call) {
                // One that does not fit is missed as any event would be.
                let _full = self.queue.offer(&shared, ItemKind::Event { at, text });
            }
        }
        running.insert(call, Arc::clone(&shared));
        self.wants_events.store(true, Ordering::Relaxed);
        Ok((CaptureTap::new(shared, self.queue.clone()), answer))
    }

    /// How the capture of a call stands, if one runs or its end is under way.
    pub fn state(&self, call: &CallId) -> Option<CaptureState> {
        lock(&self.running).get(call).map(|shared| shared.state())
    }

    /// Ends the capture of a call, and waits until all of it is written; `None`
    /// if none goes on. [`CaptureNewsKind::Ended`] is told too.
    ///
    /// # Errors
    /// [`CaptureRefused::Busy`]; it has ended all the same.
    pub async fn stop(
        &self,
        call: &CallId,
        now: Instant,
    ) -> Result<Option<CaptureState>, CaptureRefused> {
        let running = lock(&self.running).get(call).cloned();
        let Some(capture) = running.filter(|capture| capture.ended.set(now).is_ok()) else {
            return Ok(None);
        };
        let (reply, written) = oneshot::channel();
        let order = WriterOrder::Finish {
            id: capture.id,
            reply,
        };
        self.orders
            .try_send(order)
            .map_err(|_| CaptureRefused::Busy)?;
        written.await.map_err(|_| CaptureRefused::Busy)?;
        Ok(Some(capture.state()))
    }

    /// A media thread is through with a call.
    pub fn media_closed(&self, media: &CallId, now: Instant) {
        let running = lock(&self.running);
        for shared in running.values() {
            if shared.start.media == *media {
                // Its hang-up was the end, unless the thread could not tell any more.
                let _told = shared.ended.set(now);
            }
        }
    }

    /// Takes note of a report of the writer.
    pub fn heard(&self, news: &CaptureNews) {
        if news.kind != CaptureNewsKind::Begun {
            self.remove(&news.call, news.id);
        }
    }

    /// Forgets a capture that the writer refused to begin.
    pub fn abandon(&self, tap: &CaptureTap) {
        let capture = tap.capture();
        self.remove(&capture.start.call, capture.id);
    }

    fn remove(&self, call: &CallId, id: u64) {
        let mut running = lock(&self.running);
        if running.get(call).is_some_and(|shared| shared.id == id) {
            running.remove(call);
        }
        let wanted = self.recent.is_some() || !running.is_empty();
        self.wants_events.store(wanted, Ordering::Relaxed);
    }

    /// One file of a call's capture, running or not; `None` if there is no capture.
    ///
    /// # Errors
    /// [`CaptureRefused::Busy`], [`CaptureRefused::Folder`].
    pub async fn read(
        &self,
        call: &CallId,
        part: CapturePart,
    ) -> Result<Option<CaptureFile>, CaptureRefused> {
        let (reply, answer) = oneshot::channel();
        let order = WriterOrder::Read {
            call: call.clone(),
            part,
            reply,
        };
        self.orders
            .try_send(order)
            .map_err(|_| CaptureRefused::Busy)?;
        answer.await.unwrap_or(Err(CaptureRefused::Busy))
    }

    /// Removes every file of a call's capture; `false` if there was none.
    ///
    /// # Errors
    /// [`CaptureRefused::Busy`], [`CaptureRefused::Folder`].
    pub async fn erase(&self, call: &CallId) -> Result<bool, CaptureRefused> {
        if let Some(recent) = &self.recent {
            // What was kept for a capture that might have begun.
            drop(lock(recent).of(call));
        }
        let (reply, answer) = oneshot::channel();
        let order = WriterOrder::Erase {
            call: call.clone(),
            reply,
        };
        self.orders
            .try_send(order)
            .map_err(|_| CaptureRefused::Busy)?;
        answer.await.unwrap_or(Err(CaptureRefused::Busy))
    }

    /// Removes captures that were written last before that time.
    pub fn expire(&self, before: Timestamp) {
        // Another turn comes.
        let _later = self.orders.try_send(WriterOrder::Expire { before });
    }

    /// Whether [`Self::event`] would keep anything.
    pub fn wants_events(&self) -> bool {
        self.wants_events.load(Ordering::Relaxed)
    }

    /// Asterisk said something about a call. Never waits.
    pub fn event(&self, call: &CallId, at: Instant, text: &str) {
        // A line each; JSON has no line ends but between its tokens.
        let line: Box<str> = text.replace(['\r', '\n'], " ").into();
        let running = lock(&self.running);
        let capture = running
            .get(call)
            .filter(|shared| shared.ended.get().is_none());
        match (capture, &self.recent) {
            (Some(shared), _) => {
                let event = ItemKind::Event { at, text: line };
                if !self.queue.offer(shared, event) {
                    tracing::warn!(%call, "an ARI event is missing in the capture");
                }
            }
            (None, Some(recent)) => lock(recent).keep(call, at, line),
            (None, None) => {}
        }
    }
}

/// The data is valid after every statement that changes it, whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
