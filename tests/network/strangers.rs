//! N4, N10 to N15: other sources, broken packets, other protocols, floods.

use std::net::SocketAddr;
use std::time::Duration;

use asterscribe_call::LegStats;
use asterscribe_rtp::gate::{GateConfig, GateRoute, SourceGate};
use asterscribe_rtp::testkit::build;
use asterscribe_rtp::testkit::origin;
use asterscribe_rtp::testkit::random::SplitMix;

use crate::oracle::Oracle;
use crate::rig::{
    Arrival, Format, Heard, Look, PER_MS, Script, hear, hear_everything, hear_looking, perfect,
};
use crate::table::Row;

const MS: Duration = Duration::from_millis(1);

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = changes_of_source();
    rows.push(spray());
    rows.push(right_address_wrong_source());
    rows.push(right_source_wrong_number());
    rows.push(truncations());
    rows.push(first_two_bytes());
    rows.extend(other_protocols());
    rows.extend(floods());
    rows
}

/// A good call of 10 s, and what else arrives between its packets.
fn disturbed(what: impl Fn(usize) -> Vec<Vec<u8>>) -> (Script, Vec<Arrival>) {
    let script = Script::new(Format::Slin16).speak(500, 20);
    let mut arrivals = Vec::new();
    for (n, good) in perfect(&script.sent).into_iter().enumerate() {
        let at = good.at;
        arrivals.push(good);
        for bytes in what(n) {
            let at = at + MS;
            arrivals.push(Arrival {
                at,
                index: None,
                bytes,
            });
        }
    }
    (script, arrivals)
}

#[track_caller]
fn undisturbed(script: &Script, arrivals: &[Arrival], case: &str) -> LegStats {
    let heard = hear(arrivals, hear_everything());
    Oracle::new(&script.sent, arrivals).check(&heard, case);
    counted(&heard.stats, arrivals, case);
    heard.stats
}

/// Checks that every datagram is in exactly one counter.
#[track_caller]
fn counted(s: &LegStats, arrivals: &[Arrival], case: &str) {
    let judged = s.decoded + s.not_audio + s.unknown_payload + s.decode_errors;
    let refused = s.late
        + s.too_old
        + s.duplicate
        + s.overflow
        + s.foreign_ssrc
        + s.sequence_jump
        + s.overload_shed;
    assert_eq!(s.received, judged + refused, "{case}: {s:?}");
    assert_eq!(
        s.received + s.malformed + s.rtcp + s.not_rtp,
        arrivals.len() as u64,
        "{case}: {s:?}"
    );
}

fn changes_of_source() -> Vec<Row> {
    let mut rows = Vec::new();
    for gap in [20u64, 100, 300, 5_000] {
        let mut script = Script::new(Format::Slin16).speak(200, 20);
        script.at += Duration::from_millis(gap - 20);
        let taken_over = script.position;
        script.ssrc = 0xBEEF;
        script.seq = 999;
        script.time = 123;
        let script = script.speak(200, 20);
        let case = format!("a new SSRC goes on {gap} ms after the last packet of the old one");
        let heard = hear(&perfect(&script.sent), hear_everything());
        whole(&heard, &script, &case);
        assert_eq!(heard.stats.restarts, 1, "{case}");
        // Only arrival tells where the new one begins; up to 60 ms are jitter.
        let added = if gap > 80 { (gap - 20) * PER_MS } else { 0 };
        assert_eq!(
            heard.audio.span,
            script.position + added,
            "{case}: {:?}",
            heard.audio
        );
        assert_eq!(heard.audio.gaps.discontinuity, added, "{case}");
        for at in 0..script.position {
            let place = if at < taken_over { at } else { at + added };
            if at >= taken_over && at < taken_over + crate::rig::BLEND {
                continue;
            }
            assert_eq!(
                heard.samples[place as usize],
                Some(crate::rig::noise(at)),
                "{case}: {at}"
            );
        }
        rows.push(Row::new("N4", case, "nothing of either is lost"));
    }
    rows.push(flapping());
    rows.push(interleaved());
    rows
}

/// Once a second the other of two sources speaks.
fn flapping() -> Row {
    let case = "two SSRCs take turns once a second, 30 times";
    let mut script = Script::new(Format::Slin16);
    for turn in 0..30u32 {
        script.ssrc = 1 + turn % 2;
        script.seq = script.seq.wrapping_add(7_777);
        script = script.speak(40, 20);
        script.at += 200 * MS;
    }
    let heard = hear(&perfect(&script.sent), hear_everything());
    whole(&heard, &script, case);
    Row::new(
        "N4",
        case,
        format!(
            "all {} packets heard, {} changes followed",
            heard.stats.decoded, heard.stats.restarts
        ),
    )
}

/// Two sources that send all the time: the first has the leg.
fn interleaved() -> Row {
    let case = "a second SSRC speaks all the time beside the first";
    let other = |n: usize| {
        vec![
            build::packet(n as u16)
                .ssrc(99)
                .payload_type(118)
                .payload(&[7; 640])
                .bytes(),
        ]
    };
    let (script, arrivals) = disturbed(other);
    let stats = undisturbed(&script, &arrivals, case);
    assert_eq!(stats.foreign_ssrc, 500, "{stats:?}");
    Row::new(
        "N4",
        case,
        "500 packets refused as `foreign_ssrc`, not a sample of them heard",
    )
}

#[track_caller]
fn whole(heard: &Heard, script: &Script, case: &str) {
    assert!(heard.audio.is_conserved(), "{case}: {:?}", heard.audio);
    assert_eq!(
        heard.stats.decoded,
        script.sent.len() as u64,
        "{case}: {:?}",
        heard.stats
    );
    assert_eq!(
        heard.audio.gaps.net_loss + heard.audio.gaps.late,
        0,
        "{case}"
    );
}

/// A thousand strangers at 10,000 packets a second, before the source is named and after.
fn spray() -> Row {
    let case = "10,000 packets a second from 1,000 other sources, before the call's source is named and during the call";
    let script = Script::new(Format::Slin16).speak(250, 20);
    let friend: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let mut all: Vec<(Duration, SocketAddr, Option<usize>, Vec<u8>)> = perfect(&script.sent)
        .into_iter()
        .map(|arrival| (arrival.at, friend, arrival.index, arrival.bytes))
        .collect();
    let mut random = SplitMix::new(5);
    for n in 0..50_000u64 {
        // The friend's address with another port, its port elsewhere, and strangers.
        let from: SocketAddr = match random.below(1_000) {
            0 => "192.0.2.1:4001".parse().unwrap(),
            1 => "192.0.2.9:4000".parse().unwrap(),
            2 => "[::ffff:192.0.2.8]:4000".parse().unwrap(),
            other => SocketAddr::new([198, 51, (other >> 8) as u8, other as u8].into(), 4_000),
        };
        let bytes = build::packet(n as u16)
            .ssrc(7)
            .payload_type(118)
            .payload(&[9; 640])
            .bytes();
        all.push((Duration::from_micros(100 * n), from, None, bytes));
    }
    all.sort_by_key(|(at, ..)| *at);
    let mut gate = SourceGate::<u8>::new(GateConfig::default());
    let named_at = 70 * MS;
    let (mut named, mut admitted) = (false, Vec::new());
    for (at, from, index, bytes) in all {
        if !named && at >= named_at {
            named = true;
            let claim = asterscribe_rtp::gate::NameClaim::Lasting;
            for held in gate.admit(origin() + at, friend, 1, claim).unwrap().held {
                let early = admitted.len();
                admitted.push(Arrival {
                    at: held.arrived.duration_since(origin()),
                    index: Some(early),
                    bytes: held.bytes,
                });
            }
        }
        if gate.route(origin() + at, from, &bytes) == GateRoute::To(1) {
            admitted.push(Arrival { at, index, bytes });
        }
    }
    let stats = gate.stats();
    assert_eq!(stats.admitted, admitted.len() as u64);
    let strangers = stats.unknown_source + stats.hold_full + stats.holding + stats.unknown_not_rtp;
    assert_eq!(strangers, 50_000, "{stats:?}");
    undisturbed(&script, &admitted, case);
    Row::new(
        "N10",
        case,
        "0 of 50,000 admitted, each counted; the call is exact to the sample",
    )
}

fn right_address_wrong_source() -> Row {
    let case = "packets forged with the call's own address and port, another SSRC, 50 a second";
    let forged = |n: usize| {
        vec![
            build::packet(n as u16)
                .ssrc(0x666)
                .time(n as u32 * 320)
                .payload_type(118)
                .payload(&[1; 640])
                .bytes(),
        ]
    };
    let (script, arrivals) = disturbed(forged);
    let stats = undisturbed(&script, &arrivals, case);
    let result = format!(
        "{} refused as `foreign_ssrc` while the call's own source speaks",
        stats.foreign_ssrc
    );
    Row::new("N11", case, result)
}

fn right_source_wrong_number() -> Row {
    let case = "one packet a second forged with the call's own address, port and SSRC, 51 to 2,999 numbers ahead";
    let script = Script::new(Format::Slin16).speak(500, 20);
    let mut arrivals = Vec::new();
    for (n, good) in perfect(&script.sent).into_iter().enumerate() {
        let (at, mut bytes) = (good.at + MS, good.bytes.clone());
        arrivals.push(good);
        if n % 50 == 25 {
            let ahead = (51 + 294 * (n as u16 / 50)).min(2_999);
            let seq = u16::from_be_bytes([bytes[2], bytes[3]]).wrapping_add(ahead);
            bytes[2..4].copy_from_slice(&seq.to_be_bytes());
            bytes[12..].fill(1);
            arrivals.push(Arrival {
                at,
                index: None,
                bytes,
            });
        }
    }
    let stats = undisturbed(&script, &arrivals, case);
    assert_eq!((stats.sequence_jump, stats.lost), (10, 0), "{case}");
    Row::new(
        "N11",
        case,
        "10 refused as `sequence_jump`; the call is exact to the sample (two in sequence are believed: plain RTP cannot tell)",
    )
}

fn truncations() -> Row {
    let case = "every truncation of packets with CSRCs, extensions and padding; 0 and 9,000 bytes";
    let cut = |n: usize| {
        let whole = build::packet(3)
            .ssrc(7)
            .csrcs(&[1, 2, 3])
            .extension([0xBEDE, 0x1000, 7][n % 3], &[0x10, 1, 0x22, 1, 2, 3, 0, 0])
            .padding(8)
            .payload_type(118)
            .payload(&[3; 100])
            .bytes();
        let mut cuts = vec![whole[..n.min(whole.len() - 1)].to_vec()];
        if n == 100 {
            cuts.push(vec![0x80; 9_000]);
            cuts.push(Vec::new());
        }
        cuts
    };
    let (script, arrivals) = disturbed(cut);
    let stats = undisturbed(&script, &arrivals, case);
    Row::new(
        "N12",
        case,
        format!(
            "{} malformed, {} refused otherwise: each counted, none heard",
            stats.malformed,
            stats.too_old
                + stats.duplicate
                + stats.not_rtp
                + stats.foreign_ssrc
                + stats.sequence_jump
                + stats.not_audio
        ),
    )
}

fn first_two_bytes() -> Row {
    let case = "all 65,536 values of the first two bytes on a packet of the call's own";
    let script = Script::new(Format::Slin16).speak(500, 20);
    let mut arrivals = Vec::new();
    let mut value = 0u32;
    for (n, good) in perfect(&script.sent).into_iter().enumerate() {
        let at = good.at;
        let copy = good.bytes.clone();
        arrivals.push(good);
        while value < 65_536 * (n as u32 + 1) / 500 {
            let mut bytes = copy.clone();
            bytes[..2].copy_from_slice(&(value as u16).to_be_bytes());
            arrivals.push(Arrival {
                at: at + MS,
                index: None,
                bytes,
            });
            value += 1;
        }
    }
    let heard = hear(&arrivals, hear_everything());
    Oracle::new(&script.sent, &arrivals).check(&heard, case);
    counted(&heard.stats, &arrivals, case);
    Row::new(
        "N12",
        case,
        "each counted once, none heard, the call exact to the sample",
    )
}

fn other_protocols() -> Vec<Row> {
    let rtcp: Vec<Vec<u8>> = vec![
        vec![0x80, 0xC8, 0, 0],
        [
            &[0x80u8, 0xC8, 0, 6][..],
            &[0; 24],
            &[0x81, 0xCA, 0, 1, 0, 0, 0, 7],
        ]
        .concat(),
        vec![0x81, 0xCB, 0, 1, 0, 0, 0, 7],
        vec![0x80, 0xCC, 0, 2, 0, 0, 0, 7, b't', b'e', b's', b't'],
        vec![0x80, 0xCF, 0, 1, 0, 0, 0, 7],
        vec![0x80, 0xC9, 0, 1, 0, 0, 0, 7],
    ];
    let count = rtcp.len();
    let (script, arrivals) = disturbed(|n| vec![rtcp[n % count].clone()]);
    let case = "RTCP on the same port: 4 bytes, compound, BYE, APP, XR, between all packets";
    let stats = undisturbed(&script, &arrivals, case);
    assert_eq!(stats.rtcp + stats.malformed, 500, "{stats:?}");
    let mut rows = vec![Row::new(
        "N13",
        case,
        "500 counted as RTCP, never heard; a BYE ends nothing",
    )];

    let others: Vec<Vec<u8>> = vec![
        [&[0u8, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[0; 12]].concat(),
        vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        vec![0x40, 0, 0, 4, 1, 2, 3, 4],
        [&[0x10u8, 0, 0, 1][..], b"ZRTP", &[0; 12]].concat(),
        b"INVITE sip:1@example.org SIP/2.0\r\n\r\n".to_vec(),
        vec![0xFF; 172],
    ];
    let count = others.len();
    let (script, arrivals) = disturbed(|n| vec![others[n % count].clone()]);
    let case = "STUN, DTLS, TURN, ZRTP, SIP and noise from the call's own address";
    let stats = undisturbed(&script, &arrivals, case);
    assert_eq!(stats.not_rtp, 500, "{stats:?}");
    rows.push(Row::new(
        "N14",
        case,
        "500 counted, none heard; nothing is answered (there is nothing to answer with)",
    ));
    rows
}

fn floods() -> Vec<Row> {
    let case = "the call's own source sends ten times its rate for 20 s";
    let mut script = Script::new(Format::Slin16).speak(100, 20);
    for _ in 0..10_000 {
        script.packet(320);
        script.at += 2 * MS;
    }
    let arrivals = perfect(&script.sent);
    let look = Look::Every(5 * MS);
    let heard = hear_looking(&arrivals, hear_everything(), look);
    counted(&heard.stats, &arrivals, case);
    assert!(heard.audio.is_conserved(), "{:?}", heard.audio);
    let accepted = heard.stats.decoded;
    // 22 s at twice the rate, and one burst as after a freeze.
    assert!(accepted <= 2 * 22 * 50 + 1_000, "{accepted} accepted");
    assert!(
        heard.stats.overload_shed >= 10_100 - accepted - 200,
        "{:?}",
        heard.stats
    );
    let shed = Row::new(
        "N15",
        case,
        format!(
            "{accepted} of 10,100 heard, {} refused as `overload_shed`; the call goes on",
            heard.stats.overload_shed
        ),
    );
    let case = "each packet of the call eleven times";
    let copies = Script::new(Format::Slin16).speak(500, 20);
    let mut arrivals = Vec::new();
    for good in perfect(&copies.sent) {
        for n in 0..11 {
            arrivals.push(Arrival {
                at: good.at + MS * n,
                ..good.clone()
            });
        }
    }
    arrivals.sort_by_key(|arrival| arrival.at);
    let heard = hear(&arrivals, hear_everything());
    Oracle::new(&copies.sent, &arrivals).check(&heard, case);
    counted(&heard.stats, &arrivals, case);
    vec![
        shed,
        Row::new(
            "N15",
            case,
            format!(
                "{} copies refused, not a packet of the call",
                heard.stats.duplicate
            ),
        ),
    ]
}

#[test]
fn no_stranger_changes_a_sample() {
    rows();
}
