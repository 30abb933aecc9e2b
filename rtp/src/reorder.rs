//! Puts packets back in order: releases in order at once, waits only on a gap.
//!
//! Bounded in time ([`ReorderConfig::wait`]) and count
//! ([`ReorderConfig::capacity`]). When a bound is reached the missing packets
//! are given up, said as [`Released::Lost`], and the release goes on. There is
//! no playout clock: a transcript gains nothing from evenly spaced packets.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::ids::{ExtRtpTime, ExtSeq, PayloadType};

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReorderConfig {
    /// Longest time that a packet waits for those before it.
    pub wait: Duration,
    /// Packets held at most; with this many waiting, the oldest gap is given up
    /// at once. 0 counts as 1. A restart may add two.
    pub capacity: usize,
}

impl Default for ReorderConfig {
    fn default() -> Self {
        Self {
            wait: Duration::from_millis(120),
            capacity: 128,
        }
    }
}

/// What comes out, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released<'a> {
    /// The next packet.
    Packet {
        /// Its number; within a timeline one more than the one before, plus what was lost.
        seq: ExtSeq,
        /// Its timestamp on its timeline.
        time: ExtRtpTime,
        /// Its payload type.
        payload_type: PayloadType,
        /// Its marker bit.
        marker: bool,
        /// Its payload.
        payload: &'a [u8],
        /// When it came in.
        arrived: Instant,
    },
    /// Packets that never arrived, or not in time.
    Lost {
        /// How many, at least 1.
        count: u64,
    },
    /// A new timeline begins with the next packet: sequence numbers go up by an
    /// unspecified amount, timestamps begin anew.
    Restart {
        /// What made it one.
        reason: RestartReason,
    },
}

/// Why a timeline ended and another began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RestartReason {
    /// Another source took over after the former fell silent.
    SsrcChange,
    /// The same source went on elsewhere in its sequence.
    SequenceJump,
}

/// A packet to be put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// Its number.
    pub seq: ExtSeq,
    /// Its timestamp on its timeline.
    pub time: ExtRtpTime,
    /// Its payload type.
    pub payload_type: PayloadType,
    /// Its marker bit.
    pub marker: bool,
    /// Its payload; copied.
    pub payload: &'a [u8],
    /// When it came in.
    pub arrived: Instant,
}

/// Why a packet was not put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejected {
    /// Its place has been given up, or it is older than the timeline.
    Late,
    /// It is here, or has been.
    Duplicate,
    /// The buffer is full of packets that nobody polled for.
    Overflow,
}

/// The buffer. See the module for what it does.
#[derive(Debug)]
pub struct Reorder {
    wait: Duration,
    capacity: usize,
    /// Sorted by number, without duplicates.
    queue: VecDeque<Slot>,
    /// The number to release next; `None` before the first packet.
    next: Option<ExtSeq>,
    /// Bit n: number `next - 1 - n` has been here.
    seen: u128,
    /// A restart is in the queue: what is before it gets no more company.
    restart_pending: bool,
    closed: bool,
    /// Payload of the packet released last, lent to the caller.
    lent: Vec<u8>,
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Slot {
    seq: ExtSeq,
    time: ExtRtpTime,
    arrived: Instant,
    payload: Vec<u8>,
    payload_type: PayloadType,
    marker: bool,
    /// This is the first packet of a new timeline.
    restart: Option<RestartReason>,
}

/// Payload buffers kept for reuse, and the largest worth keeping: enough for a
/// leg in order, little for a leg that is idle.
const SPARE_BUFFERS: usize = 4;
const SPARE_BYTES: usize = 2048;
const IDLE_SLOTS: usize = 8;

impl Reorder {
    /// An empty buffer; the first packet inserted is the first released.
    pub fn new(config: ReorderConfig) -> Self {
        Self {
            wait: config.wait,
            capacity: config.capacity.max(1),
            queue: VecDeque::new(),
            next: None,
            seen: 0,
            restart_pending: false,
            closed: false,
            lent: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Puts a packet in its place. Poll until `None` afterwards.
    ///
    /// # Errors
    /// [`Rejected`], with nothing changed but the memory of having seen it.
    pub fn insert(&mut self, packet: Incoming<'_>) -> Result<(), Rejected> {
        let floor = *self.next.get_or_insert(packet.seq);
        let floor = self.timeline_start().unwrap_or(floor);
        if packet.seq < floor {
            return Err(self.judge_old(packet.seq));
        }
        let found = self
            .queue
            .binary_search_by_key(&packet.seq, |slot| slot.seq);
        let Err(place) = found else {
            return Err(Rejected::Duplicate);
        };
        if self.queue.len() >= self.capacity {
            return Err(Rejected::Overflow);
        }
        let slot = self.fill_slot(packet, None);
        self.queue.insert(place, slot);
        Ok(())
    }

    /// Begins a new timeline with the first two packets of it, which must be
    /// numbered beyond everything so far. What waits is released first, its
    /// gaps given up.
    ///
    /// # Errors
    /// [`Rejected::Overflow`] while an earlier restart has not been polled.
    pub fn restart(
        &mut self,
        reason: RestartReason,
        packets: [Incoming<'_>; 2],
    ) -> Result<(), Rejected> {
        if self.restart_pending {
            return Err(Rejected::Overflow);
        }
        let [first, second] = packets;
        debug_assert!(
            self.queue.back().is_none_or(|last| last.seq < first.seq) && first.seq < second.seq
        );
        self.next.get_or_insert(first.seq);
        self.restart_pending = true;
        let slot = self.fill_slot(first, Some(reason));
        self.queue.push_back(slot);
        let slot = self.fill_slot(second, None);
        self.queue.push_back(slot);
        Ok(())
    }

    /// The next thing to release, if it is time for it.
    pub fn poll(&mut self, now: Instant) -> Option<Released<'_>> {
        let next = self.next?;
        let front = self.queue.front_mut()?;
        let seq = front.seq;
        if let Some(reason) = front.restart.take() {
            self.next = Some(seq);
            self.seen = 0;
            self.restart_pending = false;
            return Some(Released::Restart { reason });
        }
        let count = seq.0 - next.0;
        if count == 0 {
            return self.release();
        }
        if self.must_give_up(now) {
            self.next = Some(seq);
            self.seen = shifted(self.seen, count);
            return Some(Released::Lost { count });
        }
        None
    }

    /// When to poll though nothing comes in; `None` while nothing waits. Not
    /// later than the present if there is something to poll for already.
    pub fn deadline(&self) -> Option<Instant> {
        let oldest = self.queue.iter().map(|slot| slot.arrived).min()?;
        if self.gives_up_at_once() || self.queue.front().map(|slot| slot.seq) == self.next {
            return Some(oldest);
        }
        oldest.checked_add(self.wait)
    }

    /// Waits for nothing any more: polling now empties the buffer.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Packets held.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The oldest number still wanted; `None` before the first packet.
    pub fn floor(&self) -> Option<ExtSeq> {
        self.timeline_start().or(self.next)
    }

    /// First number of a timeline that has not been polled yet.
    fn timeline_start(&self) -> Option<ExtSeq> {
        if !self.restart_pending {
            return None;
        }
        self.queue
            .iter()
            .rev()
            .find(|slot| slot.restart.is_some())
            .map(|slot| slot.seq)
    }

    /// A number that is no longer wanted: seen before, or only late?
    fn judge_old(&mut self, seq: ExtSeq) -> Rejected {
        let age = self
            .next
            .filter(|next| seq < *next)
            .map(|next| next.0 - 1 - seq.0);
        let Some(bit) = age.filter(|age| *age < 128).map(|age| 1_u128 << age) else {
            return Rejected::Late;
        };
        if self.seen & bit != 0 {
            return Rejected::Duplicate;
        }
        // A second copy of a late packet is a duplicate.
        self.seen |= bit;
        Rejected::Late
    }

    fn must_give_up(&self, now: Instant) -> bool {
        let expired = |slot: &Slot| now.saturating_duration_since(slot.arrived) >= self.wait;
        // Any slot, not the first: a packet behind two gaps may have waited longest.
        self.gives_up_at_once() || self.queue.iter().any(expired)
    }

    fn gives_up_at_once(&self) -> bool {
        self.closed || self.restart_pending || self.queue.len() >= self.capacity
    }

    fn release(&mut self) -> Option<Released<'_>> {
        let slot = self.queue.pop_front()?;
        if self.queue.is_empty() && self.queue.capacity() > IDLE_SLOTS {
            self.queue.shrink_to(IDLE_SLOTS);
        }
        self.next = Some(ExtSeq(slot.seq.0.saturating_add(1)));
        self.seen = shifted(self.seen, 1) | 1;
        let returned = std::mem::replace(&mut self.lent, slot.payload);
        if self.spare.len() < SPARE_BUFFERS && returned.capacity() <= SPARE_BYTES {
            self.spare.push(returned);
        }
        Some(Released::Packet {
            seq: slot.seq,
            time: slot.time,
            payload_type: slot.payload_type,
            marker: slot.marker,
            payload: &self.lent,
            arrived: slot.arrived,
        })
    }

    fn fill_slot(&mut self, packet: Incoming<'_>, restart: Option<RestartReason>) -> Slot {
        let mut payload = self.spare.pop().unwrap_or_default();
        payload.clear();
        payload.extend_from_slice(packet.payload);
        Slot {
            seq: packet.seq,
            time: packet.time,
            arrived: packet.arrived,
            payload,
            payload_type: packet.payload_type,
            marker: packet.marker,
            restart,
        }
    }
}

fn shifted(seen: u128, by: u64) -> u128 {
    u32::try_from(by)
        .ok()
        .and_then(|by| seen.checked_shl(by))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
