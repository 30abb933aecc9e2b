//! Bodies of fuzz targets: any bytes in, a panic only for a bug of ours. They
//! live here so that every build type-checks them and tests run them over a corpus.

use std::time::{Duration, Instant};

use rtp_types::RtpPacket;

use crate::ids::{ExtSeq, SeqNo};
use crate::receiver::{Receiver, ReceiverConfig, Verdict};
use crate::reorder::{MAX_DUE, Placed, Released, ReorderConfig};
use crate::testkit::{self, build};
use crate::wire::{Malformed, Packet, Protocol};

/// Parses `datagram` and compares with an independent parser, in both directions.
pub fn wire(datagram: &[u8]) {
    let theirs = RtpPacket::parse(datagram);
    match Packet::parse(datagram) {
        Ok(ours) => {
            let theirs = theirs.expect("what we accept is RTP");
            assert_eq!(ours.ssrc.0, theirs.ssrc());
            assert_eq!(ours.seq.0, theirs.sequence_number());
            assert_eq!(ours.time.0, theirs.timestamp());
            assert_eq!(ours.payload_type.get(), theirs.payload_type());
            assert_eq!(ours.marker, theirs.marker_bit());
            assert_eq!(ours.payload, theirs.payload());
        }
        // These two look deeper than the other parser does, and it does not know RTCP.
        Err(
            Malformed::ElementOverrun
            | Malformed::ReservedElement
            | Malformed::NotRtp(Protocol::Rtcp),
        ) => {}
        Err(Malformed::Header) => panic!("our checks let pass what the header parser refuses"),
        Err(reason) => assert!(theirs.is_err(), "refused for {}, but valid", reason.name()),
    }
}

/// Interprets `script` as operations on a [`Receiver`] and checks after each
/// that every datagram is counted, memory is bounded and the order holds.
pub fn receiver_ops(script: &[u8]) {
    let mut bytes = script.iter().copied();
    let mut world = World::new(bytes.next().unwrap_or(0));
    while let (Some(op), Some(argument)) = (bytes.next(), bytes.next()) {
        world.step(op, argument);
        world.check();
    }
    world.receiver.close();
    world.drain();
    world.check();
    let stats = world.receiver.stats();
    assert_eq!((stats.held, stats.on_probation), (0, 0));
    assert_eq!(stats.lost, world.lost);
    assert_eq!(world.receiver.deadline(), None);
}

struct World {
    receiver: Receiver,
    capacity: usize,
    now: Instant,
    seqs: [u16; 3],
    handed_in: u64,
    lost: u64,
    expected: Option<ExtSeq>,
}

impl World {
    fn new(setup: u8) -> Self {
        let capacity = usize::from(setup % 16);
        let config = ReceiverConfig {
            reorder: ReorderConfig {
                capacity,
                ..ReorderConfig::default()
            },
            ..ReceiverConfig::default()
        };
        Self {
            receiver: Receiver::new(config),
            capacity: capacity.max(1),
            now: testkit::origin(),
            seqs: [0xFFF0, 5, 0x8000],
            handed_in: 0,
            lost: 0,
            expected: None,
        }
    }

    fn step(&mut self, op: u8, argument: u8) {
        let source = usize::from(op >> 6) % 3;
        match op & 0x07 {
            // The next packet, with or without a step, ahead or back.
            0 | 1 => self.send(source, 1),
            2 => self.send(source, u16::from(argument % 8)),
            3 => self.send(source, 0_u16.wrapping_sub(u16::from(argument))),
            4 => self.send(source, u16::from(argument) << 8),
            5 => self.now += Duration::from_millis(u64::from(argument)),
            6 => self.raw(&[argument; 16][..usize::from(op >> 4)]),
            _ if argument == 0 => self.receiver.close(),
            _ => self.drain(),
        }
    }

    fn send(&mut self, source: usize, step: u16) {
        let seq = self.seqs[source].wrapping_add(step);
        self.seqs[source] = seq;
        let time = u32::from(seq).wrapping_mul(0x0101_0101);
        let datagram = build::packet(seq)
            .ssrc(source as u32)
            .time(time)
            .payload(&seq.to_be_bytes())
            .bytes();
        self.raw(&datagram);
    }

    fn raw(&mut self, datagram: &[u8]) {
        self.handed_in += 1;
        let before = *self.receiver.stats();
        let verdict = self.receiver.receive(self.now, datagram);
        let after = *self.receiver.stats();
        let kept = |stats: crate::ReceiverStats| stats.held + stats.on_probation;
        match verdict {
            Verdict::Accepted => assert!(after.held > before.held),
            Verdict::OnProbation => assert_eq!(after.on_probation, 1),
            Verdict::Refused(_) => assert!(kept(after) <= kept(before)),
        }
    }

    fn drain(&mut self) {
        while let Some(released) = self.receiver.poll(self.now) {
            match released {
                Released::Packet(Placed { seq, payload, .. }) => {
                    assert!(
                        self.expected.is_none_or(|expected| expected == seq),
                        "out of order"
                    );
                    if payload.len() == 2 {
                        assert_eq!(
                            SeqNo(u16::from_be_bytes([payload[0], payload[1]])),
                            seq.wire()
                        );
                    }
                    self.expected = Some(ExtSeq(seq.0 + 1));
                }
                Released::Lost { count } => {
                    assert!(count > 0);
                    self.lost += count;
                    self.expected = self.expected.map(|expected| ExtSeq(expected.0 + count));
                }
                Released::Restart { .. } => self.expected = None,
            }
        }
    }

    fn check(&self) {
        let stats = self.receiver.stats();
        assert!(stats.is_balanced(), "{stats:?}");
        assert_eq!(stats.datagrams, self.handed_in);
        assert!(stats.held <= (MAX_DUE + self.capacity) as u64 + 2);
        assert_eq!(self.receiver.deadline().is_some(), stats.held > 0);
    }
}
