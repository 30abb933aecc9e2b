//! From a media thread to the writer: what is handed over, and the queue.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use asterscribe_call::{CaptureState, Leg};
use crossbeam_channel::Sender;
use jiff::Timestamp;

use super::StartCapture;

/// Most packets and events that wait for the writer; beyond it the newest are lost.
pub(super) const QUEUE: usize = 16_384;

/// Most bytes of them that wait; beyond it the newest are lost.
pub(super) const QUEUE_BYTES: usize = 32 << 20;

/// The state of one capture that threads share.
#[derive(Debug)]
pub(super) struct SharedCapture {
    pub(super) id: u64,
    pub(super) start: StartCapture,
    /// Wall time of the call's zero, nanoseconds since the Unix epoch.
    pub(super) zero_ns: u64,
    /// Time of the end, once set: later packets and events do not belong to the capture.
    pub(super) ended: OnceLock<Instant>,
    /// Whether everything is written, or never will be, so that the figures are final.
    pub(super) written: AtomicBool,
    pub(super) packets: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) rolled_off: AtomicU64,
    pub(super) lost: AtomicU64,
}

impl SharedCapture {
    pub(super) fn new(id: u64, start: StartCapture, now: Instant, wall: Timestamp) -> Self {
        let age = now.saturating_duration_since(start.zero);
        let wall = u64::try_from(wall.as_nanosecond()).unwrap_or(0);
        Self {
            id,
            zero_ns: wall.saturating_sub(nanos(age)),
            start,
            ended: OnceLock::new(),
            written: AtomicBool::new(false),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            rolled_off: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// Nanoseconds since the Unix epoch of a time of the call's clock. Differences are exact.
    pub(super) fn wall_ns(&self, at: Instant) -> u64 {
        match at.checked_duration_since(self.start.zero) {
            Some(after) => self.zero_ns.saturating_add(nanos(after)),
            None => self
                .zero_ns
                .saturating_sub(nanos(self.start.zero.saturating_duration_since(at))),
        }
    }

    pub(super) fn state(&self) -> CaptureState {
        CaptureState {
            running: !self.written.load(Ordering::Relaxed),
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            rolled_off: self.rolled_off.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Leg, packet or event on its way to the writer.
#[derive(Debug)]
pub(super) struct CaptureItem {
    pub(super) capture: Arc<SharedCapture>,
    pub(super) kind: ItemKind,
}

#[derive(Debug)]
pub(super) enum ItemKind {
    Leg(Leg),
    Packet {
        /// Number of the leg, in the order in which legs were named.
        leg: usize,
        at: Instant,
        from: SocketAddr,
        bytes: Box<[u8]>,
    },
    Event {
        at: Instant,
        text: Box<str>,
    },
}

impl ItemKind {
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Leg(_) => 0,
            Self::Packet { bytes, .. } => bytes.len(),
            Self::Event { text, .. } => text.len(),
        }
    }
}

/// Sending end of the writer's queue.
#[derive(Debug, Clone)]
pub(super) struct CaptureQueue {
    items: Sender<CaptureItem>,
    /// Bytes waiting in the queue.
    waiting: Arc<AtomicUsize>,
}

impl CaptureQueue {
    pub(super) fn new(items: Sender<CaptureItem>) -> Self {
        Self {
            items,
            waiting: Arc::default(),
        }
    }

    /// Counter of the waiting bytes, from which whoever takes an item subtracts its size.
    pub(super) fn waiting(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.waiting)
    }

    /// Puts an item into the queue; `false` if the queue is full.
    pub(super) fn offer(&self, capture: &Arc<SharedCapture>, kind: ItemKind) -> bool {
        let size = kind.size();
        // Reserved before the comparison, so that threads at the same time cannot exceed the limit
        // together.
        if self.waiting.fetch_add(size, Ordering::Relaxed) + size > QUEUE_BYTES {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
            return false;
        }
        let item = CaptureItem {
            capture: Arc::clone(capture),
            kind,
        };
        let taken = self.items.try_send(item).is_ok();
        if !taken {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
        }
        taken
    }
}

/// A media thread's access to one capture.
#[derive(Debug, Clone)]
pub struct CaptureTap {
    capture: Arc<SharedCapture>,
    queue: CaptureQueue,
}

impl CaptureTap {
    pub(super) fn new(capture: Arc<SharedCapture>, queue: CaptureQueue) -> Self {
        Self { capture, queue }
    }

    pub(super) fn capture(&self) -> &SharedCapture {
        &self.capture
    }

    /// Whether the capture is over, so that nothing is taken any more.
    pub fn is_over(&self) -> bool {
        self.capture.ended.get().is_some()
    }

    /// Names the capture's next leg; legs are numbered from 0 in the order of the session's.
    /// `false`: the queue is full, and the leg must be named again before any packet of it.
    #[must_use]
    pub fn leg(&self, leg: &Leg) -> bool {
        self.queue.offer(&self.capture, ItemKind::Leg(leg.clone()))
    }

    /// Records a datagram that is about to reach the session. Never waits.
    pub fn packet(&self, leg: usize, at: Instant, from: SocketAddr, bytes: &[u8]) {
        let packet = ItemKind::Packet {
            leg,
            at,
            from,
            bytes: bytes.into(),
        };
        if !self.queue.offer(&self.capture, packet) {
            self.count_lost();
        }
    }

    /// Counts a datagram that reaches the session without being recorded.
    pub fn count_lost(&self) {
        self.capture.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the capture, because the session has ended.
    pub fn end(&self, at: Instant) {
        // It may have been stopped before.
        let _first_wins = self.capture.ended.set(at);
    }
}
