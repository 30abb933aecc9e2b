//! Bodies of fuzz targets: any bytes in, a panic only for a bug of ours. They
//! live here so that every build type-checks them and tests run them over a corpus.

use std::time::{Duration, Instant};

use rtp_types::RtpPacket as OtherPacket;

use crate::events::{
    EventClock, EventFormat, EventPacket, EventReceiver, EventTypes, PacketContent,
};
use crate::ids::{ClockRate, ExtRtpTime, ExtSeq, PayloadType, RtpTime, SeqNo};
use crate::receiver::{MAX_HELD, PacketVerdict, RateConfig, ReceiverConfig, RtpReceiver};
use crate::reorder::{MAX_DUE, PlacedPacket, ReleasedItem, ReorderConfig};
use crate::rtcp::packets;
use crate::testkit::{self, build};
use crate::wire::{DatagramClass, MalformedPacket, MediaProtocol, RtpPacket, classify};

/// Parses `datagram` and compares with an independent parser, in both directions.
pub fn wire(datagram: &[u8]) {
    let theirs = OtherPacket::parse(datagram);
    match RtpPacket::parse(datagram) {
        Ok(ours) => {
            let theirs = theirs.expect("what we accept is RTP");
            assert_eq!(ours.ssrc.0, theirs.ssrc());
            assert_eq!(ours.seq.0, theirs.sequence_number());
            assert_eq!(ours.time.0, theirs.timestamp());
            assert_eq!(ours.payload_type.get(), theirs.payload_type());
            assert_eq!(ours.marker, theirs.marker_bit());
            assert_eq!(ours.payload, theirs.payload());
        }
        // The other parser does not know RTCP.
        Err(MalformedPacket::NotRtp(MediaProtocol::Rtcp)) => {}
        Err(MalformedPacket::Header) => {
            panic!("our checks let pass what the header parser refuses")
        }
        Err(reason) => assert!(theirs.is_err(), "refused for {}, but valid", reason.name()),
    }
}

/// Hands `datagram` to a leg in the middle of a call, as RTCP or whatever it is.
/// What is not RTP changes nothing but counters.
pub fn rtcp(datagram: &[u8]) {
    let now = testkit::origin();
    let mut receiver = RtpReceiver::new(ReceiverConfig::default());
    let ours = |seq: u16| {
        let packet = build::packet(seq).time(u32::from(seq) * 160);
        packet.payload(b"sound").bytes()
    };
    let first = ours(0);
    assert!(matches!(
        receiver.receive(now, &first),
        PacketVerdict::InOrder(_)
    ));
    let verdict = receiver.receive(now, datagram);
    let found = packets(datagram).collect::<Vec<_>>();
    assert!(found.len() <= datagram.len().div_ceil(4));
    if classify(datagram) == DatagramClass::Rtp {
        // RTP, or broken RTP: judged elsewhere.
        return;
    }
    assert!(verdict.refusal().is_some());
    assert_eq!(receiver.poll(now), None);
    assert_eq!(receiver.deadline(), None);
    let counts = receiver.rtcp().counts();
    let is_rtcp = classify(datagram) == DatagramClass::Other(MediaProtocol::Rtcp);
    let broken = found.iter().filter(|packet| packet.is_err()).count() as u64;
    assert_eq!(counts.malformed, if is_rtcp { broken } else { 0 });
    assert_eq!(receiver.stats().rtcp, u64::from(is_rtcp));
    let second = ours(1);
    assert!(matches!(
        receiver.receive(now, &second),
        PacketVerdict::InOrder(_)
    ));
    assert!(receiver.stats().is_balanced());
}

/// Interprets `script` as packets of telephone events and checks that every one
/// is counted and that no key is said that none of them tells of.
pub fn events(script: &[u8]) {
    let (mut events, mut types) = (EventReceiver::new(), EventTypes::default());
    let (mut now, mut time) = (
        testkit::origin(),
        ExtRtpTime::first(RtpTime(u32::MAX - 999)),
    );
    let (mut handed_in, mut said, mut blocks) = (0, 0, 0);
    let mut rest = script;
    while let [head, step, after, behind @ ..] = rest {
        let (payload, next) = behind.split_at(behind.len().min(usize::from(head & 0x1F)));
        rest = next;
        now += Duration::from_millis(u64::from(*after));
        // Most are of the same moment or a little later, some of segments and some far away.
        let ticks = match step {
            0..=99 => 0,
            100..=199 => u32::from(*step),
            200..=239 => 0xFFFF,
            _ => u32::from(*step) << 20,
        };
        time = time.extend(RtpTime(time.wire().0.wrapping_add(ticks)));
        if step % 64 == 63 {
            events.restart();
        }
        let format = if head & 0x80 == 0 {
            EventFormat::TelephoneEvent
        } else {
            EventFormat::Cisco
        };
        let packet = EventPacket {
            format,
            payload,
            time,
            marker: head & 0x40 != 0,
            clock: EventClock::asterisk(ClockRate::new(400 * u32::from(*step))),
        };
        let placed = PlacedPacket {
            seq: ExtSeq(handed_in),
            time,
            payload_type: PayloadType::new(96 + step % 32).expect("below 128"),
            marker: packet.marker,
            payload,
            arrived: now,
        };
        if let PacketContent::EventAfter(held) = types.judge(&placed) {
            assert!((1..=8).contains(&held.len()));
        }
        events.receive(now, packet);
        handed_in += 1;
        blocks += payload.len() / 2 + 1;
        said += std::iter::from_fn(|| events.poll(now)).count();
    }
    events.end();
    said += std::iter::from_fn(|| events.poll(now)).count();
    let stats = events.stats();
    assert_eq!((stats.packets, stats.keys), (handed_in, said as u64));
    assert_eq!((stats.overflow, events.deadline()), (0, None));
    assert!(said <= blocks);
}

/// Interprets `script` as operations on a [`RtpReceiver`] and checks after each
/// that every datagram is counted, memory is bounded and the order holds.
pub fn receiver_ops(script: &[u8]) {
    let mut bytes = script.iter().copied();
    let mut world = FuzzWorld::new(bytes.next().unwrap_or(0));
    while let (Some(op), Some(argument)) = (bytes.next(), bytes.next()) {
        world.step(op, argument);
        world.check();
    }
    world.receiver.close();
    world.drain();
    world.check();
    let stats = world.receiver.stats();
    assert_eq!((stats.held, stats.on_probation), (0, 0));
    let heard = &world.heard;
    assert_eq!((stats.lost, stats.shed), (heard.lost, heard.shed));
    assert_eq!(stats.skipped, heard.skipped);
    assert!(stats.shed <= stats.over_rate);
    assert_eq!(world.receiver.deadline(), None);
}

struct FuzzWorld {
    receiver: RtpReceiver,
    capacity: usize,
    now: Instant,
    seqs: [u16; 3],
    /// Timestamps of those that count time and not their numbers.
    times: [u32; 3],
    handed_in: u64,
    heard: FuzzOutput,
}

/// The output so far.
#[derive(Default)]
struct FuzzOutput {
    lost: u64,
    shed: u64,
    skipped: u64,
    expected: Option<ExtSeq>,
}

impl FuzzOutput {
    fn note(&mut self, released: ReleasedItem<'_>) {
        match released {
            ReleasedItem::Packet(PlacedPacket { seq, payload, .. }) => {
                assert!(!payload.is_empty());
                let in_order = self.expected.is_none_or(|expected| expected == seq);
                assert!(in_order, "out of order");
                if let Ok(sent) = payload.try_into() {
                    assert_eq!(SeqNo(u16::from_be_bytes(sent)), seq.wire());
                }
                self.expected = Some(ExtSeq(seq.0 + 1));
            }
            ReleasedItem::Lost { count, shed } => {
                assert!(count > 0 && shed <= count);
                self.lost += count;
                self.shed += shed;
                self.expected = self.expected.map(|expected| ExtSeq(expected.0 + count));
            }
            ReleasedItem::Skipped { count } => {
                assert!(count > 0);
                self.skipped += count;
                self.expected = self.expected.map(|expected| ExtSeq(expected.0 + count));
            }
            ReleasedItem::Restart { .. } => self.expected = None,
        }
    }
}

impl FuzzWorld {
    fn new(setup: u8) -> Self {
        let capacity = usize::from(setup % 16);
        let config = ReceiverConfig {
            reorder: ReorderConfig {
                capacity,
                ..ReorderConfig::default()
            },
            rate: RateConfig {
                burst: Duration::from_millis(u64::from(setup)),
                ..RateConfig::default()
            },
            clock_rate: ClockRate::new(u32::from(setup) * 400),
            ..ReceiverConfig::default()
        };
        Self {
            receiver: RtpReceiver::new(config),
            capacity: capacity.max(1),
            now: testkit::origin(),
            seqs: [0xFFF0, 5, 0x8000],
            times: [0, u32::MAX - 800, 1 << 31],
            handed_in: 0,
            heard: FuzzOutput::default(),
        }
    }

    fn step(&mut self, op: u8, argument: u8) {
        match op & 0x07 {
            // The next packet, with or without a step, ahead or back.
            0 | 1 => self.send(op, 1),
            2 => self.send(op, u16::from(argument % 8)),
            3 => self.send(op, 0_u16.wrapping_sub(u16::from(argument))),
            4 => self.send(op, u16::from(argument) << 8),
            // Time passes, with a timer kept on the way or none.
            5 => {
                self.now += Duration::from_millis(u64::from(argument));
                if op & 0x08 != 0 {
                    self.drain();
                }
            }
            // A flood.
            6 if op & 0x30 == 0 => (0..argument).for_each(|_| self.send(op, 1)),
            6 => self.raw(&[argument; 16][..usize::from(op >> 4)]),
            _ if argument == 0 => self.receiver.close(),
            _ => self.drain(),
        }
    }

    /// A packet of the source that `op` names, so many numbers behind its last. Its
    /// timestamp goes with its number, or with the packets that were sent; it has no
    /// payload, and then may leave its number to the next.
    fn send(&mut self, op: u8, step: u16) {
        let source = usize::from(op >> 6) % 3;
        let (counts_time, is_empty, is_shared) = (op & 0x10 != 0, op & 0x20 != 0, op & 0x08 != 0);
        let seq = self.seqs[source].wrapping_add(step);
        if !(is_empty && is_shared) {
            self.seqs[source] = seq;
        }
        let time = if counts_time {
            self.times[source] = self.times[source].wrapping_add(160);
            self.times[source]
        } else {
            u32::from(seq).wrapping_mul(0x0101_0101)
        };
        let payload = seq.to_be_bytes();
        let datagram = build::packet(seq)
            .ssrc(source as u32)
            .time(time)
            .padding(u8::from(is_empty && counts_time))
            .payload(if is_empty { &[] } else { &payload })
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
            PacketVerdict::InOrder(packet) => {
                assert_eq!((before.held, after.held), (0, 0));
                self.heard.note(ReleasedItem::Packet(packet));
            }
            PacketVerdict::Accepted => assert!(after.held > before.held),
            PacketVerdict::OnProbation => {
                assert!((1..=MAX_HELD as u64).contains(&after.on_probation));
            }
            PacketVerdict::Refused(_) => assert!(kept(after) <= kept(before)),
        }
    }

    fn drain(&mut self) {
        while let Some(released) = self.receiver.poll(self.now) {
            self.heard.note(released);
        }
    }

    fn check(&self) {
        let stats = self.receiver.stats();
        assert!(stats.is_balanced(), "{stats:?}");
        assert_eq!(stats.datagrams, self.handed_in);
        // A timeline may begin while one packet fewer is due than may be.
        let most = MAX_DUE - 1 + self.capacity + MAX_HELD;
        assert!(stats.held <= most as u64, "{stats:?}");
        let waits = stats.held + stats.on_probation > 0;
        assert_eq!(self.receiver.deadline().is_some(), waits);
    }
}
