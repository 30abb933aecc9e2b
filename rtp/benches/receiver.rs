//! Cost of the receiver per packet, beside that of parsing alone, and the memory of an idle
//! receiver.
//!
//! `cargo bench -p asterscribe-rtp`

use std::hint::black_box;
use std::time::{Duration, Instant};

use asterscribe_rtp::testkit::{build, origin};
use asterscribe_rtp::{ClockRate, PacketVerdict, ReceiverConfig, RtpPacket, RtpReceiver};
use criterion::{Criterion, criterion_group, criterion_main};

const PACKET: Duration = Duration::from_millis(20);

/// An endless steady leg of PCMU, 20 ms a packet.
struct Source {
    datagram: Vec<u8>,
    seq: u16,
    time: u32,
    now: Instant,
}

impl Source {
    fn new() -> Self {
        Self {
            datagram: build::packet(0).payload(&[0x7F; 160]).bytes(),
            seq: 65_000,
            time: u32::MAX - 10_000,
            now: origin(),
        }
    }

    fn step(&mut self) {
        self.seq = self.seq.wrapping_add(1);
        self.time = self.time.wrapping_add(160);
        self.now += PACKET;
        self.datagram[2..4].copy_from_slice(&self.seq.to_be_bytes());
        self.datagram[4..8].copy_from_slice(&self.time.to_be_bytes());
    }
}

fn receiver() -> RtpReceiver {
    RtpReceiver::new(ReceiverConfig {
        clock_rate: ClockRate::new(8_000),
        ..ReceiverConfig::default()
    })
}

/// Hands a datagram in and drains; gives the bytes of payload that came out.
fn pass(receiver: &mut RtpReceiver, now: Instant, datagram: &[u8]) -> usize {
    let mut bytes = 0;
    if let PacketVerdict::InOrder(packet) = receiver.receive(now, datagram) {
        bytes += packet.payload.len();
    }
    while let Some(released) = receiver.poll(now) {
        black_box(released);
        bytes += 1;
    }
    bytes
}

fn steady(c: &mut Criterion) {
    let mut group = c.benchmark_group("one packet of a steady leg");
    let mut source = Source::new();
    group.bench_function("parsed only", |b| {
        b.iter(|| {
            source.step();
            black_box(RtpPacket::parse(black_box(&source.datagram)).is_ok())
        });
    });
    let (mut source, mut leg) = (Source::new(), receiver());
    group.bench_function("received in order", |b| {
        b.iter(|| {
            source.step();
            pass(&mut leg, source.now, black_box(&source.datagram))
        });
    });
    let (mut source, mut leg) = (Source::new(), receiver());
    group.bench_function("received, every fifth two packets late", |b| {
        let mut held = None;
        b.iter(|| {
            source.step();
            let now = source.now;
            if source.seq % 5 == 0 {
                held = Some(source.datagram.clone());
                return 0;
            }
            let mut bytes = pass(&mut leg, now, black_box(&source.datagram));
            if source.seq % 5 == 2
                && let Some(late) = held.take()
            {
                bytes += pass(&mut leg, now, &late);
            }
            bytes
        });
    });
    group.finish();
}

criterion_group!(benches, steady);
criterion_main!(benches);
