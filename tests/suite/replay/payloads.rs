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
