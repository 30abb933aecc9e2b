//! Packets of a source, or of a place in the sequence, that is not believed yet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::ids::{ExtRtpTime, ExtSeq, PayloadType, RtpTime, SeqNo, Ssrc};
use crate::reorder::{PlacedPacket, RestartReason};
use crate::wire::RtpPacket;

use super::timeline::MAX_MISORDER;

/// Packets held at most: more than 200 ms of packets of 10 ms, and two.
pub(crate) const MAX_HELD: usize = 32;
/// Payload bytes held at most: 200 ms of the widest linear audio fit thrice.
const MAX_BYTES: usize = 64 * 1024;

/// The meaning of a packet on probation, should it be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CandidateClaim {
    /// The packet comes from another source (SSRC).
    Source,
    /// The packet is of the present source, elsewhere in the sequence.
    Elsewhere,
    /// The packet is of the present source, which counts again from a number it used before.
    UsedNumber,
}

impl CandidateClaim {
    pub(super) fn reason(self) -> RestartReason {
        match self {
            Self::Source => RestartReason::SsrcChange,
            Self::Elsewhere | Self::UsedNumber => RestartReason::SequenceJump,
        }
    }
}

/// Packets that may turn out to begin a new timeline. Believed once two of its packets follow each
/// other; then all that are held count.
#[derive(Debug)]
pub(super) struct TimelineCandidate {
    pub(super) reason: RestartReason,
    pub(super) ssrc: Ssrc,
    /// Packets on probation, in the order of arrival.
    held: VecDeque<HeldPacket>,
    bytes: usize,
    /// The former of two held that follow each other.
    pair: Option<SeqNo>,
}

#[derive(Debug)]
pub(super) struct HeldPacket {
    claim: CandidateClaim,
    pub(super) seq: SeqNo,
    pub(super) time: RtpTime,
    payload_type: PayloadType,
    marker: bool,
    payload: Box<[u8]>,
    arrived: Instant,
}

/// The packets of a candidate that is believed.
#[derive(Debug)]
pub(super) struct ConfirmedCandidate {
    held: Vec<(ExtSeq, ExtRtpTime, HeldPacket)>,
    /// How many were too far from the others to be part of it.
    pub(super) strays: u64,
}

impl TimelineCandidate {
    pub(super) fn new(reason: RestartReason, ssrc: Ssrc) -> Self {
        Self {
            reason,
            ssrc,
            held: VecDeque::new(),
            bytes: 0,
            pair: None,
        }
    }

    /// Keeps a packet and says how many older ones had to go for it; `None` for a copy.
    pub(super) fn hold(
        &mut self,
        now: Instant,
        packet: &RtpPacket<'_>,
        claim: CandidateClaim,
    ) -> Option<u64> {
        if self.has(packet.seq) {
            return None;
        }
        let length = packet.payload.len();
        let mut dropped = 0;
        while self.held.len() >= MAX_HELD || self.bytes + length > MAX_BYTES {
            if !self.drop_oldest() {
                break;
            }
            dropped += 1;
        }
        self.bytes += length;
        self.held.push_back(HeldPacket {
            claim,
            seq: packet.seq,
            time: packet.time,
            payload_type: packet.payload_type,
            marker: packet.marker,
            payload: packet.payload.into(),
            arrived: now,
        });
        if self.pair.is_none() {
            self.pair = self.pair_with(packet.seq);
        }
        Some(dropped)
    }

    /// Claim of the held packet that `packet` directly follows by number and timestamp, if one
    /// does.
    pub(super) fn leads_to(&self, packet: &RtpPacket<'_>) -> Option<CandidateClaim> {
        let leads = |held: &&HeldPacket| {
            let later = packet.time.0.wrapping_sub(held.time.0).cast_signed();
            held.seq.next() == packet.seq && later > 0
        };
        let own = self.ssrc == packet.ssrc;
        let before = self.held.iter().filter(|_| own).find(leads)?;
        Some(before.claim)
    }

    /// Lets go of what has been held longer than `limit`, and says how many those were.
    pub(super) fn expire(&mut self, now: Instant, limit: Duration) -> u64 {
        let mut dropped = 0;
        while self.expires(limit).is_some_and(|expires| expires <= now) {
            self.drop_oldest();
            dropped += 1;
        }
        dropped
    }

    /// When the oldest packet has been held for too long.
    pub(super) fn expires(&self, limit: Duration) -> Option<Instant> {
        self.held.front()?.arrived.checked_add(limit)
    }

    pub(super) fn is_proven(&self) -> bool {
        self.pair.is_some()
    }

    /// Arrival of the newest packet.
    pub(super) fn spoke(&self) -> Option<Instant> {
        self.held.back().map(|held| held.arrived)
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// The former of two that follow each other.
    pub(super) fn proof(&self) -> Option<&HeldPacket> {
        let pair = self.pair?;
        self.held.iter().find(|held| held.seq == pair)
    }

    /// All that belongs together, in order; `first` numbers the first of it. Nothing while
    /// unproven.
    pub(super) fn believe(
        self,
        first: impl Fn(SeqNo, RtpTime) -> (ExtSeq, ExtRtpTime),
    ) -> ConfirmedCandidate {
        let Some(pair) = self.pair else {
            let strays = self.held.len() as u64;
            return ConfirmedCandidate {
                held: Vec::new(),
                strays,
            };
        };
        let all = self.held.len();
        let offset = |held: &HeldPacket| held.seq.0.wrapping_sub(pair.0).cast_signed();
        let is_near = |held: &HeldPacket| u64::from(offset(held).unsigned_abs()) <= MAX_MISORDER;
        let mut near: Vec<_> = self.held.into_iter().filter(is_near).collect();
        near.sort_by_key(offset);
        let mut last = None;
        let held: Vec<_> = near
            .into_iter()
            .map(|held| {
                let (seq, time) = match last {
                    None => first(held.seq, held.time),
                    Some((seq, time)) => {
                        let (seq, time): (ExtSeq, ExtRtpTime) = (seq, time);
                        (seq.extend(held.seq), time.extend(held.time))
                    }
                };
                last = Some((seq, time));
                (seq, time, held)
            })
            .collect();
        let strays = (all - held.len()) as u64;
        ConfirmedCandidate { held, strays }
    }

    fn has(&self, seq: SeqNo) -> bool {
        self.held.iter().any(|held| held.seq == seq)
    }

    fn pair_with(&self, seq: SeqNo) -> Option<SeqNo> {
        let before = SeqNo(seq.0.wrapping_sub(1));
        if self.has(before) {
            Some(before)
        } else {
            self.has(seq.next()).then_some(seq)
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.held.pop_front() else {
            return false;
        };
        self.bytes -= oldest.payload.len();
        if self
            .pair
            .is_some_and(|pair| pair == oldest.seq || pair.next() == oldest.seq)
        {
            self.pair = self.held.iter().find_map(|held| self.pair_with(held.seq));
        }
        true
    }
}

impl HeldPacket {
    /// The held packet with the given number and time on a timeline.
    pub(super) fn placed(&self, seq: ExtSeq, time: ExtRtpTime) -> PlacedPacket<'_> {
        PlacedPacket {
            seq,
            time,
            payload_type: self.payload_type,
            marker: self.marker,
            payload: &self.payload,
            arrived: self.arrived,
        }
    }
}

impl ConfirmedCandidate {
    /// The packets, in order.
    pub(super) fn packets(&self) -> impl Iterator<Item = PlacedPacket<'_>> {
        self.held
            .iter()
            .map(|(seq, time, held)| held.placed(*seq, *time))
    }
}
