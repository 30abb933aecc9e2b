//! Counters of a media thread.

use std::sync::atomic::{AtomicU64, Ordering};

use asterscribe_rtp::gate::GateStats;

/// The counts of a media thread; read by `/health`.
#[derive(Debug, Default)]
pub struct MediaCounters {
    datagrams: AtomicU64,
    kernel_drops: AtomicU64,
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

    /// Datagrams that the kernel dropped because a receive buffer was full;
    /// not among [`Self::datagrams`].
    pub fn kernel_drops(&self) -> u64 {
        self.kernel_drops.load(Ordering::Relaxed)
    }

    /// Datagrams at the gate, by outcome: admitted, held, refused by reason.
    pub fn gate(&self) -> GateStats {
        GateStats {
            admitted: self.admitted.load(Ordering::Relaxed),
            holding: self.holding.load(Ordering::Relaxed),
            unknown_not_rtp: self.unknown_not_rtp.load(Ordering::Relaxed),
            unknown_source: self.unknown_source.load(Ordering::Relaxed),
            hold_full: self.hold_full.load(Ordering::Relaxed),
        }
    }

    /// Events that were lost because the call manager was too slow.
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

    pub(super) fn count_sent(&self, sent: bool) {
        let counter = if sent { &self.sent } else { &self.unsent };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a lost event; the result is the count so far.
    pub(in crate::media) fn count_event_lost(&self) -> u64 {
        self.events_lost.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_kernel_drops(&self, count: u64) {
        self.kernel_drops.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn publish(&self, datagrams: u64, gate: GateStats) {
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
