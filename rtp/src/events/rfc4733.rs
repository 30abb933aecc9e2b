//! RFC 4733: a packet says which event began at its timestamp and how long it
//! has lasted; all packets of an event have the same timestamp.

use std::time::Instant;

use super::{EventPacket, EventReceiver, Open};
use crate::ids::ExtRtpTime;

/// Ticks of a segment that is full; a longer event goes on in another one, which
/// begins that much later (RFC 4733 section 2.5.1.3).
const SEGMENT: i128 = 0xFFFF;

/// Whole segments that may be lost between two that are heard: 65 s at 8 kHz.
const MAX_SEGMENTS: i128 = 8;

/// Events in one payload, each of which begins where the one before it ends
/// (RFC 4733 section 2.5.1.5); more than these are not read.
const MAX_BLOCKS: usize = 16;

/// One event as a packet tells of it.
#[derive(Debug, Clone, Copy)]
struct Block {
    code: u8,
    is_end: bool,
    ticks: u16,
}

impl EventReceiver {
    /// `false` if the packet is of no use.
    pub(super) fn telephone_event(&mut self, now: Instant, packet: EventPacket<'_>) -> bool {
        let (blocks, rest) = packet.payload.as_chunks::<4>();
        if blocks.is_empty() {
            return false;
        }
        let count = blocks.len().min(MAX_BLOCKS);
        let mut understood = rest.is_empty() && count == blocks.len();
        let mut time = packet.time;
        for (index, &[code, flags, high, low]) in blocks[..count].iter().enumerate() {
            let block = Block {
                code,
                // One that is followed by another in the same packet is over.
                is_end: flags & 0x80 != 0 || index + 1 < count,
                ticks: u16::from_be_bytes([high, low]),
            };
            let is_first = packet.marker && index == 0;
            let at = EventPacket {
                time,
                marker: is_first,
                ..packet
            };
            understood &= self.block(now, at, block);
            time = ExtRtpTime(time.0.saturating_add(u64::from(block.ticks)));
        }
        understood
    }

    fn block(&mut self, now: Instant, packet: EventPacket<'_>, block: Block) -> bool {
        let time = packet.time;
        if self.is_over(packet, block.code) {
            return true;
        }
        if let Some(open) = &mut self.open {
            let since_segment = time.since(open.segment);
            let same = open.code == block.code && open.format == packet.format;
            if since_segment == 0 && !same {
                // Two events cannot begin at the same moment in one stream.
                return false;
            }
            let continues = same && !packet.marker && is_later_segment(since_segment);
            if since_segment == 0 || continues {
                open.segment = time;
                let so_far = u64::try_from(time.since(open.start)).unwrap_or(0);
                open.ticks = open.ticks.max(so_far + u64::from(block.ticks));
                open.heard = now;
                if block.is_end {
                    self.close(true);
                }
                return true;
            }
            if same && is_later_segment(open.segment.since(time)) && time >= open.start {
                // An old packet of a segment that is full.
                return true;
            }
        }
        let event = Open {
            format: packet.format,
            code: block.code,
            start: time,
            segment: time,
            ticks: u64::from(block.ticks),
            clock: packet.clock,
            began: now,
            heard: now,
        };
        if self.open.is_some_and(|open| time < open.start) {
            // Older than the present one and not known yet: all that will be heard of it.
            self.say(event, block.is_end);
            return true;
        }
        self.close(false);
        self.open = Some(event);
        if block.is_end {
            self.close(true);
        }
        true
    }

    /// Whether the packet belongs to an event that has been said already.
    fn is_over(&mut self, packet: EventPacket<'_>, code: u8) -> bool {
        self.closed.iter_mut().any(|closed| {
            let since_start = packet.time.since(closed.start);
            let since_segment = packet.time.since(closed.segment);
            if since_start == 0 || since_segment == 0 {
                return true;
            }
            if closed.code != code {
                return false;
            }
            let earlier = since_start > 0 && is_later_segment(-since_segment);
            // What was timed out may go on after all: it is no second key.
            let goes_on = !closed.end_seen && !packet.marker && is_later_segment(since_segment);
            if goes_on {
                closed.segment = packet.time;
            }
            earlier || goes_on
        })
    }
}

/// Whether a segment that begins so many ticks after another can be of the same event.
fn is_later_segment(ticks: i128) -> bool {
    ticks > 0 && ticks % SEGMENT == 0 && ticks / SEGMENT <= MAX_SEGMENTS
}
