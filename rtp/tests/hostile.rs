//! A million datagrams that mean harm: no panic, and every one is counted.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use asterscribe_rtp::testkit::random::SplitMix;
use asterscribe_rtp::testkit::{build, origin, rtcp};
use asterscribe_rtp::{PacketVerdict, ReceiverConfig, ReleasedItem, RtpReceiver, fuzz};

/// One datagram, anything from pure noise to a packet that is almost right.
fn shaped(random: &mut SplitMix, seq: &mut u16) -> Vec<u8> {
    match random.below(8) {
        0 => noise(random, 64),
        1 => {
            let mut datagram = noise(random, 48);
            set_first(&mut datagram, 0x80 | random.byte() & 0x3F);
            datagram
        }
        2 => {
            let profile = [0xBEDE, 0x1000, 0x1001][random.below(3) as usize];
            let body = noise(random, 32);
            let datagram = build::packet(*seq).extension(profile, &body).bytes();
            truncated(random, datagram)
        }
        3 => {
            let mut datagram = valid(random, *seq);
            let hit = random.below(datagram.len() as u64) as usize;
            datagram[hit] = random.byte();
            datagram
        }
        4 => {
            let datagram = valid(random, *seq);
            truncated(random, datagram)
        }
        5 => {
            let far = random.number() as u16;
            valid(random, far)
        }
        _ => {
            *seq = seq.wrapping_add(random.below(3) as u16);
            valid(random, *seq)
        }
    }
}

fn noise(random: &mut SplitMix, most: u64) -> Vec<u8> {
    let mut bytes = vec![0; random.below(most + 1) as usize];
    random.fill(&mut bytes);
    bytes
}

fn set_first(datagram: &mut [u8], value: u8) {
    if let Some(first) = datagram.first_mut() {
        *first = value;
    }
}

fn truncated(random: &mut SplitMix, mut datagram: Vec<u8>) -> Vec<u8> {
    datagram.truncate(random.below(datagram.len() as u64 + 1) as usize);
    datagram
}

fn valid(random: &mut SplitMix, seq: u16) -> Vec<u8> {
    let payload = [0; 160];
    build::packet(seq)
        .ssrc(random.below(3) as u32)
        .time(random.number() as u32)
        .payload_type(random.byte())
        .marker(random.chance(0.1))
        .csrcs(&[1, 2, 3][..random.below(4) as usize])
        .padding(random.below(5) as u8)
        .payload(&payload[..random.below(161) as usize])
        .bytes()
}

fn drain(receiver: &mut RtpReceiver, now: Instant) -> (u64, u64) {
    let (mut packets, mut lost) = (0, 0);
    while let Some(released) = receiver.poll(now) {
        match released {
            ReleasedItem::Packet(_) => packets += 1,
            ReleasedItem::Lost { count, .. } => lost += count,
            ReleasedItem::Skipped { .. } | ReleasedItem::Restart { .. } => {}
        }
    }
    (packets, lost)
}

#[test]
fn a_million_shaped_datagrams_are_all_counted() {
    const SENT: u64 = 1_000_000;
    let mut random = SplitMix::new(20_260_801);
    let mut receiver = RtpReceiver::new(ReceiverConfig::default());
    let mut now = origin();
    let (mut seq, mut packets, mut lost) = (0, 0, 0);
    for _ in 0..SENT {
        let datagram = shaped(&mut random, &mut seq);
        now += Duration::from_micros(random.below(20_000));
        fuzz::wire(&datagram);
        let verdict = receiver.receive(now, &datagram);
        packets += u64::from(matches!(verdict, PacketVerdict::InOrder(_)));
        let (p, l) = drain(&mut receiver, now);
        (packets, lost) = (packets + p, lost + l);
    }
    receiver.close();
    let (p, l) = drain(&mut receiver, now);
    (packets, lost) = (packets + p, lost + l);

    let stats = receiver.stats();
    assert_eq!(stats.datagrams, SENT);
    assert!(stats.is_balanced(), "{stats:?}");
    assert_eq!((stats.held, stats.on_probation), (0, 0));
    assert_eq!((stats.released, stats.lost), (packets, lost));
    // The shapes do reach everything that a drained receiver can refuse for.
    let unreached: Vec<_> = stats
        .refusals()
        .into_iter()
        .filter(|(_, count)| *count == 0)
        .collect();
    let expected = ["overflow", "over_rate", "closed", "header"];
    assert_eq!(unreached, expected.map(|name| (name, 0)));
    assert!(
        stats.released > SENT / 20 && stats.restarts > 0,
        "{stats:?}"
    );
}

#[test]
fn random_scripts_keep_every_promise() {
    let mut random = SplitMix::new(3);
    for _ in 0..3_000 {
        fuzz::receiver_ops(&noise(&mut random, 600));
    }
}

/// One RTCP datagram, anything from noise to a compound that is almost right.
fn shaped_rtcp(random: &mut SplitMix) -> Vec<u8> {
    let mut compound = Vec::new();
    for _ in 0..=random.below(4) {
        let kind = 192 + random.below(32) as u8;
        let count = random.below(32) as u8;
        let body = noise(random, 80);
        compound.extend(rtcp::packet(kind, count, &body));
    }
    if random.chance(0.3) {
        let hit = random.below(compound.len() as u64) as usize;
        compound[hit] = random.byte();
    }
    if random.chance(0.3) {
        return truncated(random, compound);
    }
    compound
}

#[test]
fn rtcp_and_other_protocols_change_nothing() {
    let mut random = SplitMix::new(4);
    for _ in 0..100_000 {
        let datagram = if random.chance(0.8) {
            shaped_rtcp(&mut random)
        } else {
            noise(&mut random, 64)
        };
        fuzz::rtcp(&datagram);
    }
}

#[test]
fn random_events_say_no_key_that_was_not_told() {
    let mut random = SplitMix::new(6);
    for _ in 0..20_000 {
        fuzz::events(&noise(&mut random, 400));
    }
}

/// Regression test: every input that a fuzzer or the field has found passes.
#[test]
fn the_corpus_passes() {
    type Body = fn(&[u8]);
    let targets: [(&str, Body); 4] = [
        ("rtp_wire", fuzz::wire),
        ("rtcp_demux", fuzz::rtcp),
        ("receiver_ops", fuzz::receiver_ops),
        ("events", fuzz::events),
    ];
    for (target, body) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../fuzz/corpus")
            .join(target);
        let mut files = 0;
        for entry in fs::read_dir(&folder).expect("the corpus is committed") {
            let path = entry.expect("readable").path();
            body(&fs::read(&path).expect("readable"));
            files += 1;
        }
        assert!(files > 0, "{target}");
    }
}
