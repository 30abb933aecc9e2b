//! Candidate for RTP: whether packets between two sockets are RTP, and what the replay needs to
//! know of them.

use std::time::Duration;

use asterscribe_rtp::RtpPacket;

use super::copies::FlowSketch;
use crate::replay::moments::{StreamClock, StreamPace};
use crate::replay::payloads::{PayloadShape, opus_ticks};

/// Packets in sequence that make a flow RTP: two can be chance, RFC 3550 A.1
/// asks for as many of a live sender; a capture can wait for more.
const MIN_SEQUENTIAL: u32 = 5;

/// How far apart the numbers of neighbours may lie: some are lost, some
/// overtaken by others.
const MAX_STEP: u16 = 16;

/// Numbers of a sender that are kept until it has proven itself: as many as may lie between
/// neighbours where the file's order is none.
const MAX_NUMBERS: usize = 64;

/// Payload types of one flow that are looked at.
const MAX_KINDS: usize = 8;

/// Packets from one socket to another that look like RTP.
#[derive(Debug)]
pub(super) struct RtpLikeness {
    /// Number of the first datagram in the file.
    pub(super) first: u64,
    pub(super) earliest: Duration,
    pub(super) packets: u64,
    /// Datagrams between the same sockets that are not RTP, once all are known.
    pub(super) beside: u64,
    pub(super) stream: StreamClock,
    pub(super) pace: StreamPace,
    pub(super) kinds: Vec<PayloadShape>,
    /// Sketch of the flow, once it has proven to be RTP.
    pub(super) sketch: Option<FlowSketch>,
    last: Option<LastPacket>,
    run: u32,
    /// Sequence numbers of the last packets, sorted.
    numbers: Vec<u16>,
    /// Packets with the same sequence number as the one before, but another content.
    stuck: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LastPacket {
    ssrc: u32,
    seq: u16,
    time: u32,
    payload_type: u8,
    /// Duration of the packet if it is Opus, in ticks of the Opus clock.
    lasts: Option<u64>,
}

impl RtpLikeness {
    pub(super) fn new(first: u64) -> Self {
        Self {
            first,
            earliest: Duration::MAX,
            packets: 0,
            beside: 0,
            stream: StreamClock::default(),
            pace: StreamPace::default(),
            kinds: Vec::new(),
            sketch: None,
            last: None,
            run: 0,
            numbers: Vec::new(),
            stuck: 0,
        }
    }

    /// Whether the packets have proven to be RTP.
    pub(super) fn is_proven(&self) -> bool {
        self.sketch.is_some()
    }

    /// The number that all of its packets have, if it is one that should count.
    pub(super) fn stuck_at(&self) -> Option<u16> {
        let last = self.last.filter(|_| self.stuck >= MIN_SEQUENTIAL)?;
        (!self.is_proven()).then_some(last.seq)
    }

    /// Takes notice of a packet that came then; `filed`: its time in the file.
    pub(super) fn packet(&mut self, at: Duration, filed: Duration, packet: &RtpPacket<'_>) {
        self.packets += 1;
        self.earliest = self.earliest.min(at);
        self.pace.packet(at, packet);
        let payload_type = packet.payload_type.get();
        let next = LastPacket {
            ssrc: packet.ssrc.0,
            seq: packet.seq.0,
            time: packet.time.0,
            payload_type,
            lasts: opus_ticks(payload_type, packet.payload),
        };
        let last = self.last.filter(|last| last.ssrc == next.ssrc);
        let step = last.map(|last| next.seq.wrapping_sub(last.seq).cast_signed());
        self.run = match step {
            // A mirrored port shows every packet twice.
            Some(0) => self.run,
            Some(step) if step.unsigned_abs() <= MAX_STEP => self.run + 1,
            _ => 1,
        };
        if step == Some(0) && last.is_some_and(|last| last.time != next.time) {
            self.stuck += 1;
        }
        self.note_kind(filed, last.filter(|_| step == Some(1)), next);
        self.last = Some(next);
        if !self.is_proven() {
            if step.is_none() {
                self.numbers.clear();
            }
            let beside = self.numbers_beside(next.seq);
            if self.run.max(beside) >= MIN_SEQUENTIAL {
                self.sketch.get_or_insert_default();
                self.numbers = Vec::new();
            }
        }
        if let Some(sketch) = &mut self.sketch {
            sketch.add(packet);
        }
    }

    /// Takes a number; how many there are that lie side by side with it, itself included.
    fn numbers_beside(&mut self, number: u16) -> u32 {
        let place = match self.numbers.binary_search(&number) {
            Ok(_) => return 0,
            Err(_) if self.numbers.len() >= MAX_NUMBERS => {
                self.numbers.clear();
                0
            }
            Err(place) => place,
        };
        self.numbers.insert(place, number);
        let all = self.numbers.len();
        let at = |place: usize| self.numbers[place % all];
        // They are a circle: 0 follows 65,535.
        let reach = |way: &dyn Fn(usize) -> usize| {
            let near = |n: &usize| {
                let apart = at(way(n + 1)).wrapping_sub(at(way(*n))).cast_signed();
                apart.unsigned_abs() <= MAX_STEP
            };
            (0..all - 1).take_while(near).count()
        };
        let found = 1 + reach(&|n| place + n) + reach(&|n| place + all - n);
        u32::try_from(found.min(all)).unwrap_or(u32::MAX)
    }

    fn note_kind(&mut self, filed: Duration, before: Option<LastPacket>, next: LastPacket) {
        let number = next.payload_type;
        let known = self.kinds.iter().position(|kind| kind.number == number);
        let place = known.unwrap_or_else(|| {
            if self.kinds.len() < MAX_KINDS {
                self.kinds.push(PayloadShape::new(number));
            }
            self.kinds.len() - 1
        });
        let kind = &mut self.kinds[place];
        if kind.number != number {
            return;
        }
        kind.packet(filed);
        if let Some(before) = before.filter(|before| before.payload_type == number) {
            let ticks = next.time.wrapping_sub(before.time);
            kind.follows(before.lasts, ticks.into());
        }
    }
}
