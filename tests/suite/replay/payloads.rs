//! Payload types that are not Asterisk's: named by an SDP in the same file, by whoever
//! replays, or known by their shape.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::net::SocketAddrV4;
use std::process::Command;
use std::time::Duration;

use asterscribe::replay::ReplayReport;
use asterscribe_call::FindingKind;
use asterscribe_testkit::pcap::Packet;
use serde_json::Value;

use crate::replay::rig::{classic, engines, file, packets, replay};

const FIXTURE: &str = "asterisk22_slin16_stasis";

/// The packets with another payload type.
fn numbered(packets: &[Packet], number: u8) -> Vec<Packet> {
    let mut packets = packets.to_vec();
    for packet in &mut packets {
        packet.payload[1] = packet.payload[1] & 0x80 | number;
    }
    packets
}

/// A SIP message with this SDP, before the packets.
fn offered(packets: &[Packet], of: SocketAddrV4, map: &str) -> Vec<Packet> {
    let sdp = format!(
        "INVITE sip:x@192.0.2.1 SIP/2.0\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio {1} RTP/AVP 96 118\r\na=rtpmap:{map}\r\n",
        of.ip(),
        of.port(),
    );
    let mut all = packets.to_vec();
    all.insert(
        0,
        Packet {
            at: packets[0].at - Duration::from_secs(1),
            source: "127.0.0.1:5060".parse().unwrap(),
            destination: "127.0.0.1:5062".parse().unwrap(),
            payload: sdp.into_bytes(),
        },
    );
    all
}

#[test]
fn an_sdp_in_the_file_says_what_a_number_carries() {
    let packets = packets(FIXTURE);
    let expected = replay(&classic(&packets), &engines(1));
    let moved = numbered(&packets, 96);
    let (from, to) = (packets[0].source, packets[0].destination);
    let natted = SocketAddrV4::new("10.1.2.3".parse().unwrap(), to.port());
    let elsewhere = "10.1.2.3:9".parse().unwrap();
    for of in [to, from, natted, elsewhere] {
        let report = replay(&classic(&offered(&moved, of, "96 L16/16000")), &engines(1));
        assert_eq!(report.lines, expected.lines, "{of}");
        assert_eq!(report.flows[0].audio, expected.flows[0].audio, "{of}");
        assert_eq!(report.unread["udp_sip"], 1);
    }
    // It says so of a number of Asterisk's, too, where it is about this very leg.
    let shadowed = numbered(&packets, 107);
    let report = replay(
        &classic(&offered(&shadowed, to, "107 L16/16000")),
        &engines(1),
    );
    assert_eq!(report.lines, expected.lines);
    let report = replay(
        &classic(&offered(&packets, elsewhere, "118 opus/48000/2")),
        &engines(1),
    );
    assert_eq!(report.lines, expected.lines);
    // What nobody decodes is not heard as something else.
    let report = replay(
        &classic(&offered(&packets, to, "118 G729/8000")),
        &engines(1),
    );
    assert_eq!(report.flows[0].stats.unknown_payload, packets.len() as u64);
    assert!(
        report.notes[0].contains("payload type 118"),
        "{:?}",
        report.notes
    );
}

/// The packets as those of a later call from another phone to the same port.
fn later(packets: &[Packet], after: Duration) -> Vec<Packet> {
    let mut packets = packets.to_vec();
    for packet in &mut packets {
        packet.at += after;
        packet.source = SocketAddrV4::new("10.9.9.9".parse().unwrap(), 4444);
        // A sender of its own, and no copy.
        packet.payload[8..12].copy_from_slice(&[9; 4]);
        packet.payload[4] ^= 0x40;
    }
    packets
}

#[test]
fn what_a_later_call_says_of_a_port_changes_nothing_of_an_earlier_one() {
    let packets = packets(FIXTURE);
    let expected = replay(&classic(&packets), &engines(1));
    let (from, to) = (packets[0].source, packets[0].destination);
    let moved = numbered(&packets, 96);
    let next = later(&moved, Duration::from_secs(3_600));
    for (of, of_next) in [(to, to), (from, to), (to, next[0].source)] {
        for second in [
            "iLBC/8000",
            "opus/48000/2",
            "PCMU/8000",
            "telephone-event/8000",
        ] {
            let first = offered(&moved, of, "96 L16/16000");
            let next = offered(&next, of_next, &format!("96 {second}"));
            let report = replay(&classic(&[first, next].concat()), &engines(1));
            let lines = report
                .lines
                .iter()
                .filter(|line| line.leg == expected.lines[0].leg);
            assert!(lines.eq(&expected.lines), "{of} {of_next} {second}");
            let heard = report.flows[1].stats.decoded > 0;
            match second {
                "PCMU/8000" => assert!(heard, "{of} {of_next}"),
                "iLBC/8000" => assert!(!heard, "{of} {of_next}"),
                _ => {}
            }
        }
    }
    // The same call changes its mind, and both were right in their time.
    let again = numbered(&packets, 96);
    let pause = packets.last().unwrap().at - packets[0].at + Duration::from_secs(2);
    let wide = offered(&again, to, "96 L16/16000");
    let mut narrow = packets_of_ulaw(&again, pause);
    narrow = offered(&narrow, to, "96 PCMU/8000");
    let report = replay(&classic(&[wide, narrow].concat()), &engines(1));
    assert_eq!(report.flows.len(), 1);
    assert_eq!(report.lines[..expected.lines.len()], expected.lines);
    assert_eq!(report.flows[0].stats.unknown_payload, 0);
    assert_eq!(report.flows[0].stats.decoded, 2 * packets.len() as u64);
}

/// As many packets of 20 ms of quiet ulaw, which go on after the others with the same number.
fn packets_of_ulaw(packets: &[Packet], pause: Duration) -> Vec<Packet> {
    let last = packets.last().unwrap();
    let number = u16::from_be_bytes([last.payload[2], last.payload[3]]);
    let made = (1u16..).zip(packets).map(|(n, packet)| {
        let mut payload = last.payload[..12].to_vec();
        payload[2..4].copy_from_slice(&number.wrapping_add(n).to_be_bytes());
        payload[4..8].copy_from_slice(&(160 * u32::from(n)).to_be_bytes());
        payload.extend([0xff; 160]);
        Packet {
            at: packet.at + pause,
            payload,
            ..packet.clone()
        }
    });
    made.collect()
}

/// A key of 100 ms among the packets: telephone events of that number and clock.
fn with_key(
    packets: &[Packet],
    number: u8,
    clock: u32,
    comes: std::ops::Range<u16>,
) -> Vec<Packet> {
    let (head, tail) = packets.split_at(50);
    let base = head[49].clone();
    let time = u32::from_be_bytes(base.payload[4..8].try_into().unwrap()) + 320;
    let seq = u16::from_be_bytes([base.payload[2], base.payload[3]]);
    let mut all = head.to_vec();
    for n in comes.clone() {
        let ticks = u16::try_from(clock / 50 * u32::from(n.min(5))).unwrap();
        let mut payload = vec![0x80, number];
        payload.extend((seq + 1 + n - comes.start).to_be_bytes());
        payload.extend(time.to_be_bytes());
        payload.extend(&base.payload[8..12]);
        payload.extend([5, if n > 5 { 0x8a } else { 10 }]);
        payload.extend(ticks.to_be_bytes());
        let at = base.at + Duration::from_millis(20) * u32::from(n.min(5));
        all.push(Packet {
            at,
            payload,
            ..base.clone()
        });
    }
    for packet in tail {
        let mut packet = packet.clone();
        let own = u16::from_be_bytes([packet.payload[2], packet.payload[3]]);
        let own = own + comes.end - comes.start;
        packet.payload[2..4].copy_from_slice(&own.to_be_bytes());
        packet.at += Duration::from_millis(100);
        all.push(packet);
    }
    all
}

#[test]
fn a_key_is_as_long_as_its_clock_says() {
    let packets = packets(FIXTURE);
    let to = packets[0].destination;
    // Of one packet alone, too, where a session description has the clock.
    for comes in [1..8, 7..8] {
        for (number, clock) in [
            (110, 48_000),
            (101, 48_000),
            (126, 8_000),
            (118, 24_000),
            (97, 16_000),
        ] {
            let audio = if number == 118 { 96 } else { 118 };
            let sent = with_key(&numbered(&packets, audio), number, clock, comes.clone());
            let map = format!("{number} telephone-event/{clock}\r\na=rtpmap:{audio} L16/16000");
            let report = replay(&classic(&offered(&sent, to, &map)), &engines(1));
            let keys = report.dtmf.iter().map(|key| (key.digit, key.duration_ms));
            let keys: Vec<_> = keys.collect();
            assert_eq!(keys, [('5', 100)], "{number}/{clock} {comes:?}");
            assert!(report.flows[0].stats.decoded >= packets.len() as u64 - 5);
        }
    }
    let sent = with_key(&packets, 110, 48_000, 7..8);
    let (_, report, _) = with_option(&sent, &["--payload", "110=telephone-event/48000"]);
    assert_eq!(report["dtmf"][0]["duration_ms"], 100, "{}", report["dtmf"]);
}

fn with_option(packets: &[Packet], options: &[&str]) -> (Option<i32>, Value, String) {
    let elsewhere = tempfile::tempdir().unwrap();
    let capture = file(&classic(packets));
    let output = Command::new(env!("CARGO_BIN_EXE_asterscribe"))
        .args(["replay", "--format", "json"])
        .args(options)
        .arg(capture.path())
        .env_clear()
        .current_dir(elsewhere.path())
        .output()
        .unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), report, stderr)
}

#[test]
fn whoever_replays_can_say_what_a_number_carries() {
    let packets = packets(FIXTURE);
    let expected = replay(&classic(&packets), &engines(1));
    let moved = numbered(&packets, 96);
    let (status, report, stderr) = with_option(&moved, &["--payload", "96=slin16"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let said = expected.lines.iter().map(|line| line.text.as_str());
    let lines = report["lines"].as_array().unwrap().iter();
    let heard = lines.map(|line| line["text"].as_str().unwrap());
    assert!(heard.eq(said), "{report}");

    let (status, report, stderr) = with_option(&moved, &[]);
    assert_eq!(status, Some(0));
    assert!(stderr.contains("--payload 96=FORMAT"), "{stderr}");
    assert!(stderr.contains("no audio was heard"), "{stderr}");
    assert_eq!(report["lines"], Value::Array(Vec::new()));

    let (status, _, stderr) = with_option(&moved, &["--payload", "96=mp3"]);
    assert_eq!(status, Some(2));
    assert!(stderr.contains("mp3"), "{stderr}");
}

/// Packets of Opus, 20 ms each, of any content; in one of three nothing is sent behind it for a while.
fn opus(number: u8) -> Vec<Packet> {
    let mut time = 0u32;
    let packet = |n: u16| {
        let mut payload = vec![0x80, number];
        payload.extend(n.to_be_bytes());
        payload.extend(time.to_be_bytes());
        payload.extend([0, 0, 0, 7]);
        // SILK, wide band, 20 ms (RFC 6716 table 2), one frame.
        payload.push(9 << 3);
        payload.extend((0..40 + n % 30).map(|byte| (byte * 7 + n) as u8));
        let at = Duration::from_secs(1_700_000_000)
            + Duration::from_micros(u64::from(time) * 1_000 / 48);
        time += if n % 50 == 49 { 48_000 } else { 960 };
        Packet {
            at,
            source: "127.0.0.1:4000".parse().unwrap(),
            destination: "127.0.0.1:4002".parse().unwrap(),
            payload,
        }
    };
    (0..200).map(packet).collect()
}

fn counters(report: &ReplayReport) -> (u64, u64, u64) {
    let stats = &report.flows[0].stats;
    (stats.decoded, stats.unknown_payload, stats.decode_errors)
}

#[test]
fn opus_is_known_by_its_shape_under_any_number() {
    let expected = replay(&classic(&opus(107)), &engines(1));
    assert!(counters(&expected).0 > 100 && counters(&expected).1 == 0);
    assert_eq!(expected.notes, [""; 0]);
    for number in [96, 111, 118, 122, 123, 127] {
        let report = replay(&classic(&opus(number)), &engines(1));
        assert_eq!(counters(&report), counters(&expected), "{number}");
        assert_eq!(report.flows[0].audio, expected.flows[0].audio, "{number}");
        assert_eq!(report.lines, expected.lines, "{number}");
        let note = format!("payload type {number} is taken for Opus");
        assert!(report.notes[0].contains(&note), "{:?}", report.notes);
    }
}

#[test]
fn linear_audio_is_not_taken_for_opus() {
    let packets = packets(FIXTURE);
    let report = replay(&classic(&packets), &engines(1));
    assert_eq!(report.notes, [""; 0]);
    let report = replay(&classic(&numbered(&packets, 111)), &engines(1));
    assert_eq!(counters(&report).0, 0);
    assert!(report.notes[0].contains("nothing says what payload type 111 is"));
    let kinds: Vec<_> = report.flows[0].findings.iter().map(|f| f.kind).collect();
    assert!(
        kinds.contains(&FindingKind::UnexpectedPayloadType),
        "{kinds:?}"
    );
}
