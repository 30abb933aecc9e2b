//! A packet that waits in the buffer, and the gap before it.

use std::time::Instant;

use crate::ids::{ExtRtpTime, ExtSeq, PayloadType};

use super::room::PacketTiming;
use super::seen::mark;
use super::{PlacedPacket, ReleasedItem, RestartReason};

/// A packet with a copy of its payload.
#[derive(Debug)]
pub(super) struct PacketSlot {
    pub(super) seq: ExtSeq,
    pub(super) time: ExtRtpTime,
    pub(super) arrived: Instant,
    pub(super) payload: Vec<u8>,
    pub(super) payload_type: PayloadType,
    pub(super) marker: bool,
    /// Numbers given up before it, once it is due.
    pub(super) gap: SequenceGap,
    /// This is the first packet of a new timeline.
    pub(super) restart: Option<RestartReason>,
}

/// Sequence numbers that were given up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SequenceGap {
    pub(super) lost: u64,
    /// Numbers among `lost` whose packet came and was refused for the leg's rate.
    pub(super) shed: u64,
    /// Numbers beside `lost` that no packet is missing for.
    pub(super) skipped: u64,
}

impl PacketSlot {
    /// `buffer` is one that may be used again.
    pub(super) fn new(
        packet: PlacedPacket<'_>,
        restart: Option<RestartReason>,
        buffer: Option<Vec<u8>>,
    ) -> Self {
        let mut payload = buffer.unwrap_or_default();
        payload.clear();
        payload.extend_from_slice(packet.payload);
        Self {
            seq: packet.seq,
            time: packet.time,
            arrived: packet.arrived,
            payload,
            payload_type: packet.payload_type,
            marker: packet.marker,
            gap: SequenceGap::default(),
            restart,
        }
    }

    pub(super) fn moment(&self) -> PacketTiming {
        PacketTiming {
            time: self.time,
            arrived: self.arrived,
        }
    }

    pub(super) fn mark(&self) -> u16 {
        mark(&PlacedPacket {
            seq: self.seq,
            time: self.time,
            payload_type: self.payload_type,
            marker: self.marker,
            payload: &self.payload,
            arrived: self.arrived,
        })
    }
}

impl SequenceGap {
    pub(super) fn is_empty(&self) -> bool {
        self.lost == 0 && self.skipped == 0
    }

    /// Takes out the next item that reports the gap: first `Lost`, then `Skipped`.
    pub(super) fn release(&mut self) -> Option<ReleasedItem<'static>> {
        let Self { lost, shed, .. } = *self;
        if lost > 0 {
            (self.lost, self.shed) = (0, 0);
            return Some(ReleasedItem::Lost { count: lost, shed });
        }
        let count = std::mem::take(&mut self.skipped);
        (count > 0).then_some(ReleasedItem::Skipped { count })
    }
}
