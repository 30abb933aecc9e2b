//! Which payload types carry telephone events. Nobody negotiates them with us, and
//! senders use any dynamic number, so their packets tell: by their shape, and by two of
//! them that follow each other as those of a key do and as no audio does.

use std::time::{Duration, Instant};

use crate::ids::{ExtRtpTime, PayloadType};
use crate::reorder::PlacedPacket;

use super::rfc4733::clock_ratio;
use super::{EventClock, EventFormat, EventPacket};

/// Dynamic payload types (RFC 3551 section 6).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;

/// Asterisk's number for Cisco's form of keys.
const CISCO: u8 = 121;

/// Events of one payload at most, and bytes of an event.
const MAX_BLOCKS: usize = 4;
const BLOCK: usize = 4;

/// Event codes in use end here (RFC 4733 section 7: tones of telephones, modems, faxes).
const MAX_CODE: u8 = 66;

/// Packets kept of a payload type that may be that of events, and for how long one may
/// wait for its like.
const MAX_HELD: usize = 8;
const PATIENCE: Duration = Duration::from_secs(2);

/// The payload types of one leg, as far as they are known.
#[derive(Debug, Default)]
pub struct EventTypes {
    /// Bit n: payload type 96 + n carries events.
    events: u32,
    /// Bit n: packets of payload type 96 + n were something else, such as audio.
    other: u32,
    /// Packets that may be events, until a second one of their payload type follows them.
    held: Vec<HeldEvent>,
}

/// The content of a packet, judged with what is known of its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PacketContent {
    /// The content is the one that the payload type stands for.
    AsNumbered,
    /// Possibly a telephone event; too short to be missed as audio, so the packet is kept.
    Undecided,
    /// A telephone event.
    Event,
    /// A telephone event, and so are these earlier packets, which were kept undecided.
    EventAfter(Vec<HeldEvent>),
}

/// A packet kept until it is clear whether its payload type carries telephone events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldEvent {
    payload_type: PayloadType,
    payload: [u8; BLOCK],
    time: ExtRtpTime,
    marker: bool,
    /// Arrival of the packet.
    pub arrived: Instant,
}

impl EventTypes {
    /// Content of the next packet in order, of a payload type that is not one of the known ones for
    /// events.
    pub fn judge(&mut self, packet: &PlacedPacket<'_>) -> PacketContent {
        let Some(bit) = bit(packet.payload_type) else {
            return PacketContent::AsNumbered;
        };
        let is_known = self.other & bit != 0;
        if is_known && packet.payload.len() != BLOCK {
            return PacketContent::AsNumbered;
        }
        let is_shaped = is_shaped(packet.payload);
        if self.events & bit != 0 {
            if is_shaped || packet.payload.len() <= MAX_BLOCKS * BLOCK {
                return PacketContent::Event;
            }
            self.events &= !bit;
        }
        if !is_shaped && !is_cisco(packet) {
            self.other |= bit;
            self.held
                .retain(|held| held.payload_type != packet.payload_type);
        }
        let single = <[u8; BLOCK]>::try_from(packet.payload);
        let Some(payload) = single.ok().filter(|_| is_shaped && !is_cisco(packet)) else {
            return PacketContent::AsNumbered;
        };
        let held = HeldEvent {
            payload_type: packet.payload_type,
            payload,
            time: packet.time,
            marker: packet.marker,
            arrived: packet.arrived,
        };
        match self.suspect(bit, held) {
            // A tiny one, as audio may end with.
            PacketContent::Undecided if is_known => PacketContent::AsNumbered,
            content => content,
        }
    }

    /// A new timeline begins: another sender may use other numbers.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    fn suspect(&mut self, bit: u32, held: HeldEvent) -> PacketContent {
        let of_type = |other: &HeldEvent| other.payload_type == held.payload_type;
        let before = self.held.iter().rfind(|other| of_type(other));
        if before.is_some_and(|before| held.follows(before)) {
            self.events |= bit;
            self.other &= !bit;
            let (own, rest) = self.held.drain(..).partition(of_type);
            self.held = rest;
            return PacketContent::EventAfter(own);
        }
        if self.held.len() >= MAX_HELD {
            self.held.remove(0);
        }
        self.held.push(held);
        PacketContent::Undecided
    }
}

impl HeldEvent {
    /// The held packet in the form that an [`EventReceiver`](super::EventReceiver) takes.
    pub fn packet(&self, clock: EventClock) -> EventPacket<'_> {
        EventPacket {
            format: EventFormat::TelephoneEvent,
            payload: &self.payload,
            time: self.time,
            marker: self.marker,
            clock,
        }
    }

    /// Whether it tells more of the same event: two packets of audio have neither one
    /// timestamp nor durations in them that go on with it.
    fn follows(&self, before: &Self) -> bool {
        let later = self.time.since(before.time);
        let longer = i128::from(self.duration()) - i128::from(before.duration());
        let waited = self.arrived.saturating_duration_since(before.arrived);
        self.payload[0] == before.payload[0]
            && waited <= PATIENCE
            && longer >= 0
            && (later == 0 || clock_ratio(later, longer).is_some())
    }

    fn duration(&self) -> u16 {
        let [_, _, high, low] = self.payload;
        u16::from_be_bytes([high, low])
    }
}

/// Whether it is of Cisco's own form, in which the fourth byte is a digit.
fn is_cisco(packet: &PlacedPacket<'_>) -> bool {
    packet.payload_type.get() == CISCO && packet.payload.get(3).is_some_and(|digit| *digit < 0x20)
}

/// The bit of a dynamic payload type.
fn bit(payload_type: PayloadType) -> Option<u32> {
    let number = payload_type.get();
    DYNAMIC
        .contains(&number)
        .then(|| 1 << (number - DYNAMIC.start()))
}

/// Whether a payload is nothing but telephone events (RFC 4733 section 2.3).
fn is_shaped(payload: &[u8]) -> bool {
    let (blocks, rest) = payload.as_chunks::<BLOCK>();
    let is_event = |&[code, flags, ..]: &[u8; BLOCK]| code <= MAX_CODE && flags & 0x40 == 0;
    rest.is_empty() && (1..=MAX_BLOCKS).contains(&blocks.len()) && blocks.iter().all(is_event)
}

#[cfg(test)]
mod tests;
