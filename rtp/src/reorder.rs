//! Puts packets back in order: releases in order at once, waits only on a gap.
//!
//! Bounded in time ([`ReorderConfig::wait`]) and count
//! ([`ReorderConfig::capacity`]). When a bound is reached the missing packets
//! are given up, said as [`ReleasedItem::Lost`], and the release goes on. There is
//! no playout clock: a transcript gains nothing from evenly spaced packets.
//!
//! What is due depends on time alone, not on how often anybody polls: every
//! operation first settles what its `now` decides ([`ReorderBuffer::settle`]).

mod released;
mod room;
mod runs;
mod seen;
mod slot;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::ids::ExtSeq;

use room::{PacketPace, PacketTiming};
use runs::SequenceRuns;
use seen::{NumberState, SequenceMemory, mark};
use slot::{PacketSlot, SequenceGap};

pub use released::{PlacedPacket, RejectReason, ReleasedItem, RestartReason};

/// Limits of the buffer, in time and packets.
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

/// The buffer. See the module for what it does.
#[derive(Debug)]
pub struct ReorderBuffer {
    wait: Duration,
    capacity: usize,
    /// Sorted by number, without duplicates: first those that are due, then
    /// those that wait on a gap.
    queue: VecDeque<PacketSlot>,
    /// Number of packets at the head of `queue` that are due.
    ready: usize,
    /// The number wanted next, behind all that are due; `None` before the first packet.
    next: Option<ExtSeq>,
    /// Number with which the timeline begins.
    start: ExtSeq,
    seen: SequenceMemory,
    /// The last packet before `next`; `None` before the first of the timeline.
    last: Option<PacketTiming>,
    pace: PacketPace,
    /// Numbers wanted still that came in and were refused.
    shed: SequenceRuns,
    /// Numbers wanted still with which a packet without a payload came.
    empty: SequenceRuns,
    /// Numbers given up behind the last packet that is due.
    gap: SequenceGap,
    closed: bool,
    /// Payload of the packet released last, lent to the caller.
    lent: Vec<u8>,
    spare: Vec<Vec<u8>>,
}

/// A free place for a packet, until the next change of the buffer.
#[derive(Debug)]
pub struct FreeSlot(usize);

/// Packets that are due and may wait to be polled for; with so many, newer ones are refused. Those
/// that begin a timeline come all at once, so that up to 31 more may be due then.
pub const MAX_DUE: usize = 128;

/// Payload buffers kept for reuse, and the largest worth keeping: enough for a
/// leg in order, little for a leg that is idle.
const SPARE_BUFFERS: usize = 4;
const SPARE_BYTES: usize = 2048;
const IDLE_SLOTS: usize = 8;

impl ReorderBuffer {
    /// An empty buffer; the first packet inserted is the first released.
    pub fn new(config: ReorderConfig) -> Self {
        Self {
            wait: config.wait,
            capacity: config.capacity.max(1),
            queue: VecDeque::new(),
            ready: 0,
            next: None,
            start: ExtSeq(0),
            seen: SequenceMemory::new(),
            last: None,
            pace: PacketPace::new(),
            shed: SequenceRuns::default(),
            empty: SequenceRuns::default(),
            gap: SequenceGap::default(),
            closed: false,
            lent: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Looks for a packet's place; to be followed by [`Self::pass`],
    /// [`Self::put`] or [`Self::shed`].
    ///
    /// # Errors
    /// [`RejectReason`], with nothing changed but the memory of having seen it.
    pub fn find(
        &mut self,
        now: Instant,
        packet: &PlacedPacket<'_>,
    ) -> Result<FreeSlot, RejectReason> {
        self.settle(now);
        let seq = packet.seq;
        let next = match self.next {
            Some(next) => next,
            None => self.begin(seq),
        };
        if seq < next {
            return Err(self.judge_old(next, packet));
        }
        // Those that are due have numbers below `next`.
        let found = self.queue.binary_search_by_key(&seq, |slot| slot.seq);
        match found {
            Ok(place) if self.queue[place].mark() != mark(packet) => Err(RejectReason::Reused),
            Ok(_) => Err(RejectReason::Duplicate),
            Err(_) if self.shed.contains(seq) => Err(RejectReason::Duplicate),
            Err(place) if self.is_newer(packet, place) => Err(RejectReason::Reused),
            Err(_) if self.is_full() => Err(RejectReason::Overflow),
            Err(place) => Ok(FreeSlot(place)),
        }
    }

    /// Releases the packet past the buffer, if it is the one wanted next and
    /// nothing is before it. `false`: nothing has changed.
    pub fn pass(&mut self, packet: &PlacedPacket<'_>) -> bool {
        let passes = self.next == Some(packet.seq) && self.queue.is_empty() && self.gap.is_empty();
        if passes {
            let moment = PacketTiming {
                time: packet.time,
                arrived: packet.arrived,
            };
            self.goes_on(packet.seq, moment, mark(packet), true);
        }
        passes
    }

    /// Puts a packet in its place. Poll until `None` afterwards.
    pub fn put(&mut self, now: Instant, place: FreeSlot, packet: PlacedPacket<'_>) {
        let slot = PacketSlot::new(packet, None, self.spare.pop());
        self.queue.insert(place.0, slot);
        self.settle(now);
    }

    /// The packet with this number came in and is refused: it is not waited for.
    pub fn shed(&mut self, now: Instant, seq: ExtSeq) {
        self.shed.insert(seq);
        self.settle(now);
    }

    /// A packet without a payload came with this number: should nothing else come
    /// with it, nothing is lost. Of no consequence for a number that is not wanted.
    pub fn note_empty(&mut self, now: Instant, seq: ExtSeq) {
        self.settle(now);
        let Some(next) = self.next else { return };
        // What has come after all.
        while self.empty.take_below(next).is_some() {}
        if seq >= next {
            self.empty.insert(seq);
        }
    }

    /// Sets the packet duration, by which arrival times tell how many packets can be missing.
    pub fn set_lasting(&mut self, lasting: Duration) {
        self.pace.set_lasting(lasting);
    }

    /// Begins a new timeline with its first packets, in order and numbered
    /// beyond everything so far. What waits is released first, its gaps given
    /// up. Not while [`Self::is_full`].
    pub fn restart<'a>(
        &mut self,
        now: Instant,
        reason: RestartReason,
        packets: impl IntoIterator<Item = PlacedPacket<'a>>,
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
            let slot = PacketSlot::new(packet, reason.take(), self.spare.pop());
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

    /// See [`RtpReceiver::glance`](crate::RtpReceiver::glance).
    pub(crate) fn glance(&self) -> u64 {
        let next = self.next.map_or(0, |next| next.0);
        let held = self.queue.len() + self.ready;
        next ^ held as u64 ^ self.gap.lost ^ self.seen.glance(next) ^ self.shed.glance()
    }

    /// The next thing to release, if it is time for it.
    pub fn poll(&mut self, now: Instant) -> Option<ReleasedItem<'_>> {
        self.settle(now);
        if self.closed && self.queue.is_empty() {
            return self.gap.release();
        }
        if self.ready == 0 {
            return None;
        }
        let front = self.queue.front_mut()?;
        if !front.gap.is_empty() {
            return front.gap.release();
        }
        if let Some(reason) = front.restart.take() {
            return Some(ReleasedItem::Restart { reason });
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

    /// Begins a timeline with this number.
    fn begin(&mut self, first: ExtSeq) -> ExtSeq {
        self.start = first;
        self.next = Some(first);
        self.seen.clear();
        self.last = None;
        self.empty = SequenceRuns::default();
        first
    }

    /// A number that is no longer wanted: seen before, late, or too old to tell?
    fn judge_old(&mut self, next: ExtSeq, packet: &PlacedPacket<'_>) -> RejectReason {
        let (seq, mark) = (packet.seq, mark(packet));
        let age = next.0 - 1 - seq.0;
        // What is late was sent before those that came in its stead.
        let is_newer = self.last.is_some_and(|last| packet.time > last.time);
        match self.seen.look(age, seq, mark) {
            NumberState::Copy => return RejectReason::Duplicate,
            NumberState::Reused => return RejectReason::Reused,
            _ if is_newer => return RejectReason::Reused,
            NumberState::Used => return RejectReason::Duplicate,
            NumberState::Forgotten => return RejectReason::TooOld,
            NumberState::New => {}
        }
        // A second copy of it is a duplicate.
        self.seen.note_late(age, seq, mark);
        if seq < self.start {
            RejectReason::TooOld
        } else {
            RejectReason::Late
        }
    }

    /// Whether a packet that would fill a gap was sent after the one behind it: both go on
    /// from the last that was released, by their timestamps in the other order.
    fn is_newer(&self, packet: &PlacedPacket<'_>, place: usize) -> bool {
        let Some((behind, last)) = self.queue.get(place).zip(self.last) else {
            return false;
        };
        let times = [last.time, behind.time, packet.time];
        behind.payload_type == packet.payload_type && times.is_sorted_by(|a, b| a < b)
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
        let gap = std::mem::take(&mut self.gap);
        let gap = self.bounded(gap);
        let slot = &mut self.queue[self.ready];
        slot.gap = gap;
        let (moment, mark) = (slot.moment(), slot.mark());
        self.goes_on(seq, moment, mark, gap.is_empty());
        self.ready += 1;
    }

    /// The packet wanted next has come; `follows`: with nothing between it and the last.
    fn goes_on(&mut self, seq: ExtSeq, moment: PacketTiming, mark: u16, follows: bool) {
        self.next = Some(ExtSeq(seq.0.saturating_add(1)));
        self.seen.push(seq, mark);
        let last = self.last.replace(moment);
        if let Some(last) = last.filter(|_| follows) {
            self.pace.observe(moment.time.since(last.time));
        }
    }

    /// Loses no more packets than the time before the one that is due has room for.
    fn bounded(&self, gap: SequenceGap) -> SequenceGap {
        let (Some(last), Some(due)) = (self.last, self.queue.get(self.ready)) else {
            return gap;
        };
        if gap.lost == gap.shed {
            return gap;
        }
        let next = self.queue.get(self.ready + 1);
        let next = next.filter(|next| next.seq.0 == due.seq.0.wrapping_add(1));
        let next = next.map(PacketSlot::moment);
        let sent = self.pace.sent_between(last, due.moment(), next, gap.lost);
        let lost = sent.max(gap.shed);
        SequenceGap {
            lost,
            skipped: gap.skipped + gap.lost - lost,
            ..gap
        }
    }

    /// Gives up the numbers of packets that were refused behind the last one in the buffer.
    fn give_up_shed(&mut self) {
        if let Some(end) = self.shed.end() {
            self.pass_over(end);
        }
    }

    /// Gives up every number before `to` that is still missing.
    fn pass_over(&mut self, to: ExtSeq) {
        let next = self.next.unwrap_or(to);
        let count = to.0 - next.0;
        if count == 0 {
            return;
        }
        self.next = Some(to);
        self.seen.pass_over(count);
        self.gap.lost += count;
        while let Some((first, end)) = self.empty.take_below(to) {
            for seq in (first.max(next.0)..end).map(ExtSeq) {
                if !self.shed.contains(seq) {
                    self.gap.lost -= 1;
                    self.gap.skipped += 1;
                    self.seen.note_used(to.0 - 1 - seq.0);
                }
            }
        }
        while let Some((first, end)) = self.shed.take_below(to) {
            self.gap.shed += end - first;
            // A copy of what was shed is a duplicate, not late.
            for age in (to.0 - end..to.0 - first).take_while(|age| *age < 128) {
                self.seen.note_used(age);
            }
        }
    }

    fn release(&mut self) -> Option<ReleasedItem<'_>> {
        let slot = self.queue.pop_front()?;
        self.ready -= 1;
        if self.queue.is_empty() && self.queue.capacity() > IDLE_SLOTS {
            self.queue.shrink_to(IDLE_SLOTS);
        }
        let returned = std::mem::replace(&mut self.lent, slot.payload);
        if self.spare.len() < SPARE_BUFFERS && returned.capacity() <= SPARE_BYTES {
            self.spare.push(returned);
        }
        Some(ReleasedItem::Packet(PlacedPacket {
            seq: slot.seq,
            time: slot.time,
            payload_type: slot.payload_type,
            marker: slot.marker,
            payload: &self.lent,
            arrived: slot.arrived,
        }))
    }
}

#[cfg(test)]
mod tests;
