//! Keys that were pressed: telephone events (RFC 4733) and Cisco's own form of
//! them, each said exactly once.
//!
//! Sans-IO, behind the [`RtpReceiver`](crate::RtpReceiver): packets in the order of
//! their sequence and `now` go in, [`KeyPress`] comes out. A key is said when
//! its end was seen, when another begins, or when nothing has come of it for
//! [`TIMEOUT`]. Of a key one packet suffices, whichever it is.

mod cisco;
mod clock;
mod rfc4733;
mod types;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::ids::{ClockRate, ExtRtpTime};

use self::clock::DurationPace;
pub use self::clock::EventClock;
pub use self::types::{EventTypes, HeldEvent, PacketContent};

/// A key of which nothing more came for so long is over. Senders repeat it every
/// 50 ms or oftener (RFC 4733 section 2.5.1.2): eight of those in a row are lost.
pub const TIMEOUT: Duration = Duration::from_millis(400);

/// Keys kept for a caller that does not poll; older ones then go, counted.
const MAX_UNPOLLED: usize = 64;

/// A key that was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPress {
    /// `0` to `9`, `*`, `#`, `A` to `D`.
    pub digit: char,
    /// Timestamp at which the key begins, on the leg's timeline; if a sender gives it the previous
    /// key's timestamp, the end of that key.
    pub start: ExtRtpTime,
    /// Arrival of its first packet.
    pub began: Instant,
    /// Length of the key press, as far as its packets reported it.
    pub duration: Duration,
    /// Whether a packet with the end (E bit) came; without it the key may have been held longer.
    pub end_seen: bool,
}

/// Format in which a payload reports keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventFormat {
    /// `telephone-event` (RFC 4733; Asterisk's payload type 101).
    TelephoneEvent,
    /// Cisco's, older than the RFC (Asterisk's payload type 121).
    Cisco,
}

/// A packet with a key's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPacket<'a> {
    /// Format, by the packet's payload type.
    pub format: EventFormat,
    /// RTP payload.
    pub payload: &'a [u8],
    /// RTP timestamp on the leg's timeline.
    pub time: ExtRtpTime,
    /// Its marker bit: with it an event begins (RFC 4733 section 2.4.1).
    pub marker: bool,
    /// Clock of its durations.
    pub clock: EventClock,
}

/// Counters. Packets unless named otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventStats {
    /// Packets handed in.
    pub packets: u64,
    /// Of no use: too short, or contradicting what came before.
    pub malformed: u64,
    /// Events that are no key of a telephone: flash, fax and modem tones …
    pub other_events: u64,
    /// Keys reported.
    pub keys: u64,
    /// Keys that nobody polled for, and that were dropped.
    pub overflow: u64,
}

/// The receiver of one leg's keys.
#[derive(Debug, Default)]
pub struct EventReceiver {
    open: Option<OpenEvent>,
    /// Events that are over, so that late repetitions of them are recognised.
    closed: VecDeque<ClosedEvent>,
    /// Behaviour of the timestamps of this sender's keys so far.
    habit: EventTimestamps,
    /// Clock that this sender's keys have shown last.
    shown: Option<ClockRate>,
    /// The newest packet in Cisco's format.
    cisco: Option<cisco::LastCiscoPacket>,
    out: VecDeque<KeyPress>,
    stats: EventStats,
}

/// How many events that are over are remembered.
const MEMORY: usize = 16;

/// The event that is under way.
#[derive(Debug, Clone, Copy)]
struct OpenEvent {
    format: EventFormat,
    code: u8,
    start: ExtRtpTime,
    /// Timestamp of the first packet that was heard of it.
    stamp: ExtRtpTime,
    /// The timestamp of the last packet, where its present segment begins (RFC 4733 section
    /// 2.5.1.3).
    segment: ExtRtpTime,
    /// Duration in the first packet and in the last, ticks.
    first: u64,
    told: u64,
    stamps: EventTimestamps,
    /// Its length so far, in ticks.
    ticks: u64,
    clock: EventClock,
    pace: DurationPace,
    began: Instant,
    /// Arrival of its last packet.
    heard: Instant,
}

/// The timestamps of an event's packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum EventTimestamps {
    #[default]
    Unknown,
    /// Equal in all packets of an event or segment (RFC 4733 section 2.2).
    Constant,
    /// Moving on with the duration, against RFC 4733 section 2.2.
    Moving,
}

/// The memory of an event that is over.
#[derive(Debug, Clone, Copy)]
struct ClosedEvent {
    code: u8,
    stamp: ExtRtpTime,
    segment: ExtRtpTime,
    end: ExtRtpTime,
    first: u64,
    told: u64,
    stamps: EventTimestamps,
    heard: Instant,
    end_seen: bool,
}

impl EventReceiver {
    /// A receiver without any key so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a packet. Then [`Self::poll`] until `None`.
    pub fn receive(&mut self, now: Instant, packet: EventPacket<'_>) {
        self.settle(now);
        self.stats.packets += 1;
        let understood = match packet.format {
            EventFormat::TelephoneEvent => self.telephone_event(now, packet),
            EventFormat::Cisco => self.cisco(now, packet),
        };
        if !understood {
            self.stats.malformed += 1;
        }
    }

    /// The next key, in the order in which they ended.
    pub fn poll(&mut self, now: Instant) -> Option<KeyPress> {
        self.settle(now);
        self.out.pop_front()
    }

    /// When to poll though nothing comes in; `None` while no key is held down.
    pub fn deadline(&self) -> Option<Instant> {
        if let Some(waiting) = self.out.front() {
            // A time that has passed: a key that waits is to be polled for at once.
            return Some(waiting.began);
        }
        self.open.map(|open| open.heard + TIMEOUT)
    }

    /// A new timeline begins: a key held down ends, and timestamps mean nothing any more.
    pub fn restart(&mut self) {
        self.close(false);
        self.closed.clear();
        self.habit = EventTimestamps::Unknown;
        self.shown = None;
        self.cisco = None;
    }

    /// The leg is over: a key held down ends. Then poll until `None`.
    pub fn end(&mut self) {
        self.close(false);
    }

    /// The counters.
    pub fn stats(&self) -> EventStats {
        self.stats
    }

    fn settle(&mut self, now: Instant) {
        let over = |open: &OpenEvent| now.saturating_duration_since(open.heard) >= TIMEOUT;
        if self.open.as_ref().is_some_and(over) {
            self.close(false);
        }
    }

    /// Ends the open event, if there is one.
    fn close(&mut self, end_seen: bool) {
        if let Some(open) = self.open.take() {
            self.say(open, end_seen);
        }
    }

    /// The clock of an event's durations, by the best that is known at its end.
    fn clock_of(&mut self, event: &OpenEvent) -> ClockRate {
        if let EventClock::Told(clock) = event.clock {
            return clock;
        }
        self.shown = event.pace.shown(event.clock).or(self.shown);
        self.shown.unwrap_or_else(|| event.clock.usual())
    }

    fn say(&mut self, event: OpenEvent, end_seen: bool) {
        if event.stamps != EventTimestamps::Unknown {
            self.habit = event.stamps;
        }
        if self.closed.len() >= MEMORY {
            self.closed.pop_front();
        }
        self.closed.push_back(ClosedEvent {
            code: event.code,
            stamp: event.stamp,
            segment: event.segment,
            end: ExtRtpTime(event.start.0.saturating_add(event.ticks)),
            first: event.first,
            told: event.told,
            stamps: event.stamps,
            heard: event.heard,
            end_seen,
        });
        let clock = self.clock_of(&event);
        let Some(digit) = digit(event.code) else {
            self.stats.other_events += 1;
            return;
        };
        if self.out.len() >= MAX_UNPOLLED {
            self.out.pop_front();
            self.stats.overflow += 1;
        }
        self.stats.keys += 1;
        self.out.push_back(KeyPress {
            digit,
            start: event.start,
            began: event.began,
            duration: clock.duration(event.ticks),
            end_seen,
        });
    }
}

/// Event codes 0 to 15 are keys (RFC 4733 section 3.2); Cisco's are the same.
fn digit(code: u8) -> Option<char> {
    b"0123456789*#ABCD"
        .get(usize::from(code))
        .map(|&byte| char::from(byte))
}

fn ticks(duration: Duration, clock: ClockRate) -> u64 {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    millis.saturating_mul(u64::from(clock.hertz())) / 1_000
}

#[cfg(test)]
mod tests;
