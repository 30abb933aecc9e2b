//! RFC 4733: a packet says which event began at its timestamp and how long it
//! has lasted; all packets of an event have the same timestamp.
//!
//! Senders that do it otherwise are understood too: those whose timestamp goes on
//! with every packet of a key, and those whose next key has the timestamp of the
//! one before. What a packet belongs to is told by digit, timestamp, duration, end
//! and marker together.

use std::time::{Duration, Instant};

use super::{
    ClosedEvent, DurationPace, EventPacket, EventReceiver, EventTimestamps, OpenEvent, TIMEOUT,
    ticks,
};
use crate::ids::ExtRtpTime;

/// Ticks of a segment that is full; a longer event goes on in another one, which
/// begins that much later (RFC 4733 section 2.5.1.3).
const SEGMENT: i128 = 0xFFFF;

/// Whole segments that may be lost between two that are heard: 65 s at 8 kHz.
const MAX_SEGMENTS: i128 = 8;

/// Events in one payload, each of which begins where the one before it ends
/// (RFC 4733 section 2.5.1.5); more than these are not read.
const MAX_BLOCKS: usize = 16;

/// How much later than its durations say a packet of a key may come.
const STEP_JITTER: Duration = Duration::from_millis(50);

/// Two keys do not begin within so many ticks, 60 ms at 8 kHz.
const NEAR: i128 = 480;

/// One event as a packet tells of it.
#[derive(Debug, Clone, Copy)]
struct EventBlock {
    code: u8,
    is_end: bool,
    ticks: u16,
    /// The payload tells of no other event.
    is_alone: bool,
}

impl EventReceiver {
    /// `false` if the packet is of no use.
    pub(super) fn telephone_event(&mut self, now: Instant, packet: EventPacket<'_>) -> bool {
        let (blocks, rest) = packet.payload.as_chunks::<4>();
        if blocks.is_empty() {
            return false;
        }
        let count = blocks.len().min(MAX_BLOCKS);
        let understood = rest.is_empty() && count == blocks.len();
        let mut time = packet.time;
        for (index, &[code, flags, high, low]) in blocks[..count].iter().enumerate() {
            let block = EventBlock {
                code,
                // One that is followed by another in the same packet is over.
                is_end: flags & 0x80 != 0 || index + 1 < count,
                ticks: u16::from_be_bytes([high, low]),
                is_alone: count == 1,
            };
            let is_first = packet.marker && index == 0;
            let at = EventPacket {
                time,
                marker: is_first,
                ..packet
            };
            self.block(now, at, block);
            time = ExtRtpTime(time.0.saturating_add(u64::from(block.ticks)));
        }
        understood
    }

    fn block(&mut self, now: Instant, packet: EventPacket<'_>, block: EventBlock) {
        let time = packet.time;
        if let Some(open) = &mut self.open
            && open.format == packet.format
            && open.code == block.code
        {
            if open.goes_on(now, packet, block) {
                open.extend(now, time, block);
                if block.is_end {
                    self.close(true);
                }
                return;
            }
            if time >= open.stamp && (open.is_old_segment(time) || open.is_old_stamp(time)) {
                return;
            }
        }
        if self.is_over(now, packet, block) {
            return;
        }
        let is_older = self.open.is_some_and(|open| time < open.stamp);
        if !is_older {
            self.close(false);
        }
        let event = self.begin(now, packet, block);
        if is_older || block.is_end {
            // Older than the present one and not known yet: all that will be heard of it.
            self.say(event, block.is_end);
        } else {
            self.open = Some(event);
        }
    }

    fn begin(&self, now: Instant, packet: EventPacket<'_>, block: EventBlock) -> OpenEvent {
        let time = packet.time;
        // Two keys do not begin at the same moment: the timestamp is that of the one before.
        let before = self.closed.back().filter(|closed| closed.stamp == time);
        let length = u64::from(block.ticks);
        OpenEvent {
            format: packet.format,
            code: block.code,
            start: before.map_or(time, |before| before.end),
            stamp: time,
            segment: time,
            first: length,
            told: length,
            stamps: match self.habit {
                EventTimestamps::Moving => EventTimestamps::Moving,
                EventTimestamps::Unknown | EventTimestamps::Constant => EventTimestamps::Unknown,
            },
            ticks: length,
            clock: packet.clock,
            pace: DurationPace::default(),
            began: now,
            heard: now,
        }
    }

    /// Whether the packet belongs to an event that has been said already.
    fn is_over(&mut self, now: Instant, packet: EventPacket<'_>, block: EventBlock) -> bool {
        let of_code = self.closed.iter_mut().rev();
        let mut of_code = of_code.filter(|closed| closed.code == block.code);
        // The newest that it can be of decides.
        let is_over = of_code.find_map(|closed| closed.covers(now, packet, block));
        is_over.unwrap_or(false)
    }
}

impl OpenEvent {
    /// Whether the packet tells more of this event.
    fn goes_on(&self, now: Instant, packet: EventPacket<'_>, block: EventBlock) -> bool {
        let later = packet.time.since(self.segment);
        let longer = i128::from(block.ticks) - i128::from(self.told);
        if later == 0 {
            // It is the next one if it is as short again as an event is that begins.
            let begins = packet.marker && !block.is_end && longer < 0;
            return !begins;
        }
        if is_later_segment(later) && !packet.marker {
            return true;
        }
        let is_near = (1..=NEAR).contains(&later) && longer >= 0 && !packet.marker;
        // Where timestamps go on, copies of the end have one of their own, but no other duration.
        let is_copy = self.stamps == EventTimestamps::Moving && block.is_end && longer >= 0;
        let limit = match self.stamps {
            EventTimestamps::Constant => NEAR,
            EventTimestamps::Unknown | EventTimestamps::Moving => lately(packet),
        };
        let is_near = is_near || is_copy || self.keeps_step(now, later, longer);
        block.is_alone && is_near && (1..=limit).contains(&later)
    }

    /// Whether the timestamp went on with the duration, on its clock or on that of wider audio.
    fn keeps_step(&self, now: Instant, later: i128, longer: i128) -> bool {
        let waited = now.saturating_duration_since(self.heard);
        let clock = self.clock.slowest();
        let told = clock.duration(u64::try_from(longer).unwrap_or(0));
        match clock_ratio(later, longer) {
            Some(1) => true,
            // Not a key that begins where the durations would have got to by chance.
            Some(_) => waited <= told + STEP_JITTER,
            None => false,
        }
    }

    fn extend(&mut self, now: Instant, time: ExtRtpTime, block: EventBlock) {
        let length = u64::from(block.ticks);
        let later = time.since(self.segment);
        if length > self.told && !is_later_segment(later) {
            let waited = now.saturating_duration_since(self.heard);
            self.pace.grown(self.clock, length - self.told, waited);
        }
        if later == 0 && length > self.told {
            self.stamps = EventTimestamps::Constant;
        } else if later != 0 && !is_later_segment(later) {
            self.stamps = EventTimestamps::Moving;
        }
        let since = u64::try_from(time.since(self.stamp)).unwrap_or(0);
        let so_far = match self.stamps {
            // Timestamps may be on another clock than durations.
            EventTimestamps::Moving => length,
            EventTimestamps::Unknown | EventTimestamps::Constant => since + length,
        };
        self.ticks = self.ticks.max(so_far);
        (self.segment, self.told, self.heard) = (time, length, now);
    }

    /// A packet of a segment that is full.
    fn is_old_segment(&self, time: ExtRtpTime) -> bool {
        is_later_segment(self.segment.since(time))
    }

    /// A packet from before the present one, of a sender whose timestamps go on.
    fn is_old_stamp(&self, time: ExtRtpTime) -> bool {
        self.stamps == EventTimestamps::Moving && time < self.segment
    }
}

impl ClosedEvent {
    /// Whether the packet, which has its code, tells of this event or of another with its
    /// timestamp; nothing if it has nothing to do with it.
    fn covers(&mut self, now: Instant, packet: EventPacket<'_>, block: EventBlock) -> Option<bool> {
        let since_start = packet.time.since(self.stamp);
        let later = packet.time.since(self.segment);
        let longer = i128::from(block.ticks) - i128::from(self.told);
        if since_start == 0 || later == 0 {
            let is_other = self.is_before(now, packet, block);
            if !is_other {
                self.told = self.told.max(u64::from(block.ticks));
            }
            return Some(!is_other);
        }
        let earlier = since_start > 0
            && (is_later_segment(-later) || self.stamps == EventTimestamps::Moving && later < 0);
        // What was timed out may go on after all: it is no second key.
        let is_open = !self.end_seen && !packet.marker;
        let steps = block.is_alone && self.stamps != EventTimestamps::Constant && later > 0;
        let goes_on = is_open && (is_later_segment(later) || steps && later == longer);
        // Copies of the end whose timestamps go on.
        let limit = match self.stamps {
            EventTimestamps::Moving => lately(packet),
            EventTimestamps::Unknown | EventTimestamps::Constant => NEAR,
        };
        let is_copy = self.end_seen && block.is_end && longer >= 0;
        let is_copy = is_copy && steps && later <= limit;
        if goes_on || is_copy {
            self.segment = packet.time;
            self.told = u64::from(block.ticks);
        }
        (earlier || goes_on || is_copy).then_some(true)
    }

    /// Whether the packet has the timestamp of this event and still tells of another one
    /// after it: shorter than what was heard last, since no event gets shorter.
    fn is_before(&self, now: Instant, packet: EventPacket<'_>, block: EventBlock) -> bool {
        let length = u64::from(block.ticks);
        if length >= self.told {
            return false;
        }
        let is_quiet = now.saturating_duration_since(self.heard) >= TIMEOUT;
        let begins = length <= self.first && !block.is_end;
        packet.marker && !block.is_end
            || self.end_seen && (begins || block.is_end)
            || is_quiet && !block.is_end
    }
}

/// Ticks within which a packet follows another of the same event.
fn lately(packet: EventPacket<'_>) -> i128 {
    i128::from(ticks(TIMEOUT, packet.clock.of_timestamps()))
}

/// By how much timestamps that went on `later` run faster than durations that got `longer`:
/// audio of up to 48 kHz has events on its own clock, or on that of 8 kHz.
pub(super) fn clock_ratio(later: i128, longer: i128) -> Option<i128> {
    if later <= 0 || longer <= 0 {
        return None;
    }
    let ratio = later / longer;
    (later % longer == 0 && ratio <= 6).then_some(ratio)
}

/// Whether a segment that begins so many ticks after another can be of the same event.
fn is_later_segment(ticks: i128) -> bool {
    ticks > 0 && ticks % SEGMENT == 0 && ticks / SEGMENT <= MAX_SEGMENTS
}
