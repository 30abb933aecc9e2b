//! Puts packets back in order: releases in order at once, waits only on a gap.
//!
//! Bounded in time ([`ReorderConfig::wait`]) and count
//! ([`ReorderConfig::capacity`]). When a bound is reached the missing packets
//! are given up, said as [`Released::Lost`], and the release goes on. There is
//! no playout clock: a transcript gains nothing from evenly spaced packets.
//!
//! What is due depends on time alone, not on how often anybody polls: every
//! operation first settles what its `now` decides ([`Reorder::settle`]).

mod shed;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::ids::{ExtRtpTime, ExtSeq, PayloadType};

use shed::Shed;

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReorderConfig {
    /// Longest time that a packet waits for those before it. A gap is given up
    /// at the very end of it: what arrives then is late.
    pub wait: Duration,
    /// Packets that wait on gaps at most; with this many, the oldest gap is
    /// given up at once. 0 counts as 1. Beside them up to [`MAX_DUE`] may be due
    /// and not polled for.
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

/// A packet and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed<'a> {
    /// Its number; within a timeline one more than the one before, plus what was lost.
    pub seq: ExtSeq,
    /// Its timestamp on its timeline.
    pub time: ExtRtpTime,
    /// Its payload type.
    pub payload_type: PayloadType,
    /// Its marker bit.
    pub marker: bool,
    /// Its payload.
    pub payload: &'a [u8],
    /// When it came in.
    pub arrived: Instant,
}

/// What comes out, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released<'a> {
    /// The next packet.
    Packet(Placed<'a>),
    /// Packets that never arrived, or not in time, or were shed.
    Lost {
        /// How many, at least 1.
        count: u64,
        /// How many of them did arrive and were refused for the leg's rate.
        shed: u64,
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

/// Why a packet was not put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejected {
    /// Its place has been given up, and it is among those said to be lost.
    Late,
    /// It is before its timeline, or so old that nothing is known of its place.
    TooOld,
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
    /// Sorted by number, without duplicates: first those that are due, then
    /// those that wait on a gap.
    queue: VecDeque<Slot>,
    /// How many are due.
    ready: usize,
    /// The number wanted next, behind all that are due; `None` before the first packet.
    next: Option<ExtSeq>,
    /// Where the timeline begins.
    start: ExtSeq,
    /// Bit n: number `next - 1 - n` has been here.
    seen: u128,
    /// Numbers wanted still that came in and were refused.
    shed: Shed,
    /// Given up behind the last packet that is due.
    gap: Gap,
    closed: bool,
    /// Payload of the packet released last, lent to the caller.
    lent: Vec<u8>,
    spare: Vec<Vec<u8>>,
}

/// Numbers given up.
#[derive(Debug, Clone, Copy, Default)]
struct Gap {
    count: u64,
    shed: u64,
}

/// A free place for a packet, until the next change of the buffer.
#[derive(Debug)]
pub struct Place(usize);

#[derive(Debug)]
struct Slot {
    seq: ExtSeq,
    time: ExtRtpTime,
    arrived: Instant,
    payload: Vec<u8>,
    payload_type: PayloadType,
    marker: bool,
    /// Given up before it, once it is due.
    gap: Gap,
    /// This is the first packet of a new timeline.
    restart: Option<RestartReason>,
}

/// Packets that are due and may wait to be polled for; with so many, newer ones are refused.
pub const MAX_DUE: usize = 128;

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
            ready: 0,
            next: None,
            start: ExtSeq(0),
            seen: 0,
            shed: Shed::default(),
            gap: Gap::default(),
            closed: false,
            lent: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Looks for a packet's place; to be followed by [`Self::pass`],
    /// [`Self::put`] or [`Self::shed`].
    ///
    /// # Errors
    /// [`Rejected`], with nothing changed but the memory of having seen it.
    pub fn find(&mut self, now: Instant, seq: ExtSeq) -> Result<Place, Rejected> {
        self.settle(now);
        let next = match self.next {
            Some(next) => next,
            None => self.begin(seq),
        };
        if seq < next {
            return Err(self.judge_old(next, seq));
        }
        // Those that are due have numbers below `next`.
        let found = self.queue.binary_search_by_key(&seq, |slot| slot.seq);
        match found {
            Ok(_) => Err(Rejected::Duplicate),
            Err(_) if self.shed.contains(seq) => Err(Rejected::Duplicate),
            Err(_) if self.is_full() => Err(Rejected::Overflow),
            Err(place) => Ok(Place(place)),
        }
    }

    /// Releases the packet with this number past the buffer, if it is the one
    /// wanted next and nothing is before it. `false`: nothing has changed.
    pub fn pass(&mut self, seq: ExtSeq) -> bool {
        let passes = self.next == Some(seq) && self.queue.is_empty() && self.gap.count == 0;
        if passes {
            self.next = Some(ExtSeq(seq.0.saturating_add(1)));
            self.seen = self.seen << 1 | 1;
        }
        passes
    }

    /// Puts a packet in its place. Poll until `None` afterwards.
    pub fn put(&mut self, now: Instant, place: Place, packet: Placed<'_>) {
        let slot = self.fill_slot(packet, None);
        self.queue.insert(place.0, slot);
        self.settle(now);
    }

    /// The packet with this number came in and is refused: it is not waited for.
    pub fn shed(&mut self, now: Instant, seq: ExtSeq) {
        self.shed.insert(seq);
        self.settle(now);
    }

    /// Begins a new timeline with its first packets, in order and numbered
    /// beyond everything so far. What waits is released first, its gaps given
    /// up. Not while [`Self::is_full`].
    pub fn restart<'a>(
        &mut self,
        now: Instant,
        reason: RestartReason,
        packets: impl IntoIterator<Item = Placed<'a>>,
    ) {
        self.settle(now);
        while self.queue.len() > self.ready {
            self.give_up();
        }
        self.give_up_shed();
        let mut reason = Some(reason);
        for packet in packets {
            if reason.is_some() {
                self.begin(packet.seq);
            }
            debug_assert!(self.queue.back().is_none_or(|last| last.seq < packet.seq));
            let slot = self.fill_slot(packet, reason.take());
            self.queue.push_back(slot);
            self.settle(now);
        }
    }

    /// Whether no more is taken until somebody polls.
    pub fn is_full(&self) -> bool {
        self.ready >= MAX_DUE
    }

    /// Decides what time decides: a gap whose wait is over is given up.
    pub fn settle(&mut self, now: Instant) {
        // Every packet of every leg comes by here, more than once.
        let waits = self.queue.len() > self.ready || !self.shed.is_empty();
        if waits || self.closed {
            self.settle_waiting(now);
        }
    }

    fn settle_waiting(&mut self, now: Instant) {
        loop {
            while let Some(behind) = self.next.and_then(|next| self.shed.run_at(next)) {
                self.pass_over(behind);
            }
            let Some(waiting) = self.queue.get(self.ready) else {
                break;
            };
            if Some(waiting.seq) != self.next && !self.must_give_up(now) {
                return;
            }
            self.give_up();
        }
        if self.closed {
            self.give_up_shed();
        }
    }

    /// See [`Receiver::glance`](crate::Receiver::glance).
    pub(crate) fn glance(&self) -> u64 {
        let next = self.next.map_or(0, |next| next.0);
        let held = self.queue.len() + self.ready;
        next ^ held as u64 ^ self.gap.count ^ (self.seen & 1) as u64 ^ self.shed.glance()
    }

    /// The next thing to release, if it is time for it.
    pub fn poll(&mut self, now: Instant) -> Option<Released<'_>> {
        self.settle(now);
        if self.closed && self.queue.is_empty() {
            return released_gap(&mut self.gap);
        }
        if self.ready == 0 {
            return None;
        }
        let front = self.queue.front_mut()?;
        if front.gap.count > 0 {
            return released_gap(&mut front.gap);
        }
        if let Some(reason) = front.restart.take() {
            return Some(Released::Restart { reason });
        }
        self.release()
    }

    /// When to poll though nothing comes in; `None` while nothing waits. Not
    /// later than the present if there is something to poll for already.
    pub fn deadline(&self) -> Option<Instant> {
        if self.ready > 0 || self.gives_up_at_once() {
            return self.queue.front().map(|slot| slot.arrived);
        }
        self.oldest_waiting()?.checked_add(self.wait)
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
        self.next
    }

    /// A timeline begins with this number.
    fn begin(&mut self, first: ExtSeq) -> ExtSeq {
        self.start = first;
        self.next = Some(first);
        self.seen = 0;
        first
    }

    /// A number that is no longer wanted: seen before, late, or too old to tell?
    fn judge_old(&mut self, next: ExtSeq, seq: ExtSeq) -> Rejected {
        let age = next.0 - 1 - seq.0;
        let Some(bit) = (age < 128).then(|| 1_u128 << age) else {
            return Rejected::TooOld;
        };
        if self.seen & bit != 0 {
            return Rejected::Duplicate;
        }
        // A second copy of it is a duplicate.
        self.seen |= bit;
        if seq < self.start {
            Rejected::TooOld
        } else {
            Rejected::Late
        }
    }

    fn must_give_up(&self, now: Instant) -> bool {
        // The oldest, not the first: a packet behind two gaps may have waited longest.
        let expired = |arrived| now.saturating_duration_since(arrived) >= self.wait;
        self.gives_up_at_once() || self.oldest_waiting().is_some_and(expired)
    }

    fn oldest_waiting(&self) -> Option<Instant> {
        let waiting = self.queue.range(self.ready..);
        waiting.map(|slot| slot.arrived).min()
    }

    fn gives_up_at_once(&self) -> bool {
        let waiting = self.queue.len() - self.ready;
        self.closed || waiting >= self.capacity
    }

    /// The first packet that waits is due, and what is missing before it is given up.
    fn give_up(&mut self) {
        let Some(seq) = self.queue.get(self.ready).map(|slot| slot.seq) else {
            return;
        };
        self.pass_over(seq);
        self.queue[self.ready].gap = std::mem::take(&mut self.gap);
        self.next = Some(ExtSeq(seq.0.saturating_add(1)));
        self.seen = self.seen << 1 | 1;
        self.ready += 1;
    }

    /// What was shed behind the last packet is over as well.
    fn give_up_shed(&mut self) {
        if let Some(end) = self.shed.end() {
            self.pass_over(end);
        }
    }

    /// Wants nothing before `to` any more.
    fn pass_over(&mut self, to: ExtSeq) {
        let count = to.0 - self.next.map_or(to.0, |next| next.0);
        if count == 0 {
            return;
        }
        self.next = Some(to);
        self.seen = shifted(self.seen, count);
        self.gap.count += count;
        while let Some((first, end)) = self.shed.take_below(to) {
            self.gap.shed += end - first;
            // A copy of what was shed is a duplicate, not late.
            for age in (to.0 - end..to.0 - first).take_while(|age| *age < 128) {
                self.seen |= 1 << age;
            }
        }
    }

    fn release(&mut self) -> Option<Released<'_>> {
        let slot = self.queue.pop_front()?;
        self.ready -= 1;
        if self.queue.is_empty() && self.queue.capacity() > IDLE_SLOTS {
            self.queue.shrink_to(IDLE_SLOTS);
        }
        let returned = std::mem::replace(&mut self.lent, slot.payload);
        if self.spare.len() < SPARE_BUFFERS && returned.capacity() <= SPARE_BYTES {
            self.spare.push(returned);
        }
        Some(Released::Packet(Placed {
            seq: slot.seq,
            time: slot.time,
            payload_type: slot.payload_type,
            marker: slot.marker,
            payload: &self.lent,
            arrived: slot.arrived,
        }))
    }

    fn fill_slot(&mut self, packet: Placed<'_>, restart: Option<RestartReason>) -> Slot {
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
            gap: Gap::default(),
            restart,
        }
    }
}

fn released_gap(gap: &mut Gap) -> Option<Released<'static>> {
    let Gap { count, shed } = std::mem::take(gap);
    (count > 0).then_some(Released::Lost { count, shed })
}

fn shifted(seen: u128, by: u64) -> u128 {
    u32::try_from(by)
        .ok()
        .and_then(|by| seen.checked_shl(by))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
