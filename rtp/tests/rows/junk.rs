//! Rows N12 to N15: damage, other protocols, and too much of the right one.

use std::collections::BTreeSet;

use super::*;

#[test]
fn n12_damage_is_counted_and_spares_the_rest() {
    for seed in SEEDS {
        let mut sender = sender(SenderConfig::default());
        sender.talk(2_000);
        let script = sender.finish();
        let config = NetemConfig {
            corrupt: 0.1,
            corrupt_from: 12,
            truncate: 0.1,
            duplicate: 0.1,
            ..NetemConfig::PERFECT
        };
        let run = through(&script, NetworkEmulator::new(config, seed));
        let intact: BTreeSet<_> = (0..2_000)
            .filter(|index| run.log.is_intact(*index))
            .collect();
        let released: BTreeSet<_> = run
            .out
            .iter()
            .filter_map(|out| match out {
                Out::Packet(packet) if packet.is_as_sent(&script) => Some(packet.index),
                _ => None,
            })
            .collect();
        assert!(intact.is_subset(&released), "seed {seed}");
        assert!(run.stats.malformed.too_short > 0);
        // Damage to the headers as well: all that is asked is that it is counted.
        let config = NetemConfig {
            corrupt_from: 0,
            ..config
        };
        let run = through(&script, NetworkEmulator::new(config, seed));
        assert!(run.stats.foreign_ssrc > 0);
    }
}

#[test]
fn n12_all_first_bytes_and_all_lengths_are_judged() {
    let mut receiver = RtpReceiver::new(ReceiverConfig::default());
    let big = vec![0x80; 9_000];
    let mut handed_in = 0;
    for head in 0..=u16::MAX {
        for length in [2, 11, 12, 13, 40] {
            let mut datagram = vec![0; length];
            datagram[..2].copy_from_slice(&head.to_be_bytes());
            let _verdict = receiver.receive(origin(), &datagram);
            handed_in += 1;
        }
        while receiver.poll(origin()).is_some() {}
    }
    for length in 0..=big.len() {
        let _verdict = receiver.receive(origin(), &big[..length]);
        handed_in += 1;
        while receiver.poll(origin()).is_some() {}
    }
    let stats = receiver.stats();
    assert!(stats.is_balanced());
    assert_eq!(stats.datagrams, handed_in);
}

#[test]
fn n13_and_n14_what_is_no_rtp_changes_nothing_but_counters() {
    let mut leg = sender(SenderConfig::default());
    leg.talk(200);
    let script = leg.finish();
    let ssrc = script.log[0].ssrc;
    let compound = [
        rtcp::receiver_report(ssrc, 3),
        rtcp::source_description(ssrc, "x"),
        rtcp::goodbye(&[ssrc], Some("bye")),
    ];
    let strangers: [&[u8]; 9] = [
        &[0x80, 203, 0, 0],
        &compound.concat(),
        &rtcp::application(ssrc, *b"name"),
        &rtcp::extended_report(ssrc, &[(4, 2)]),
        // STUN binding request, DTLS client hello, TURN channel data, ZRTP, SIP.
        &[
            0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ],
        &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x40, 0, 0, 4, 1, 2, 3, 4],
        &[0x10, 0, 0, 1, 0x5A, 0x52, 0x54, 0x50],
        b"OPTIONS sip:somebody@example.org SIP/2.0\r\n\r\n",
    ];
    let mut netem = NetworkEmulator::new(NetemConfig::PERFECT, 1);
    let mut random = SplitMix::new(3);
    for (at, datagram) in &script.datagrams {
        netem.send(*at, datagram);
        for (n, stranger) in strangers.iter().enumerate() {
            netem.inject(*at + MS * n as u32, stranger);
        }
        let mut noise = vec![0; random.below(100) as usize];
        random.fill(&mut noise);
        if let Some(first) = noise.first_mut() {
            // Of whatever version, but not RTP's.
            *first &= 0x7F;
        }
        netem.inject(*at + 10 * MS, &noise);
    }
    let run = play(ReceiverConfig::default(), &script, netem);
    assert_eq!(run.out.len(), 200);
    let stats = run.stats;
    assert_eq!((stats.released, stats.restarts, stats.lost), (200, 0, 0));
    assert_eq!((stats.received, stats.rtcp), (200, 800));
    assert!(stats.other.stun >= 200 && stats.other.dtls >= 200 && stats.other.zrtp >= 200);
    let counts = run.rtcp;
    assert_eq!((counts.goodbyes, counts.receiver_reports), (400, 200));
    assert_eq!(
        (
            counts.applications,
            counts.extended_reports,
            counts.malformed
        ),
        (200, 200, 0)
    );
}

#[test]
fn n15_the_right_source_at_ten_times_its_rate_is_policed() {
    let mut leg = sender(SenderConfig::default());
    leg.talk(500);
    leg.flood(10_000, 10);
    leg.talk(500);
    let script = leg.finish();
    let config = ReceiverConfig {
        clock_rate: ClockRate::new(8_000),
        ..ReceiverConfig::default()
    };
    let run = play_in(
        config,
        &script,
        NetworkEmulator::new(NetemConfig::PERFECT, 1),
    );
    check(&script, &run, &[]);
    let stats = run.stats;
    // 20 s at twice 50 packets a second, and one burst of 8 s.
    assert!(stats.released <= 1_000 + 2_000 + 401, "{stats:?}");
    assert!(stats.released >= 1_000 + 2_000, "{stats:?}");
    assert_eq!((stats.shed, stats.lost), (stats.over_rate, stats.over_rate));
    assert_eq!(stats.released + stats.over_rate, 11_000);
}
