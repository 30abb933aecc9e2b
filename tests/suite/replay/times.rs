//! A recorded call whose sender counts, pauses or encrypts otherwise: what is said in it, and when.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::time::Duration;

use asterscribe::replay::ReplayReport;
use asterscribe_call::FindingKind;
use asterscribe_testkit::pcap::Packet;

use crate::replay::rig::{Chance, engines, packets, replay_packets};

const FIXTURE: &str = "asterisk22_ulaw_stasis";

/// The timestamp of an RTP packet, set by what it was.
fn count(packet: &mut Packet, how: impl FnOnce(u32) -> u32) {
    let time: [u8; 4] = packet.payload[4..8].try_into().unwrap();
    let time = how(u32::from_be_bytes(time));
    packet.payload[4..8].copy_from_slice(&time.to_be_bytes());
}

fn lines(report: &ReplayReport) -> Vec<(u64, u64, &str)> {
    let lines = report.lines.iter();
    let lines = lines.map(|line| (line.start_ms, line.end_ms, line.text.as_str()));
    lines.collect()
}

fn kinds(report: &ReplayReport) -> Vec<FindingKind> {
    let findings = report.flows.iter().flat_map(|flow| &flow.findings);
    findings.map(|finding| finding.kind).collect()
}

#[test]
fn a_clock_of_any_rate_changes_no_line() {
    let pool = engines(1);
    let original = packets(FIXTURE);
    let calm = replay_packets(&original, &pool);
    for percent in [20u64, 50, 90, 110, 125, 200, 300, 500] {
        let mut changed = original.clone();
        for packet in &mut changed {
            count(packet, |time| (u64::from(time) * percent / 100) as u32);
        }
        let report = replay_packets(&changed, &pool);
        assert_eq!(lines(&report).len(), lines(&calm).len(), "{percent} %");
        for (line, expected) in lines(&report).iter().zip(lines(&calm)) {
            assert_eq!(line.2, expected.2, "{percent} %");
            assert!(
                line.0.abs_diff(expected.0) <= 60,
                "{percent} %: {line:?}, {expected:?}"
            );
        }
        assert_eq!(kinds(&report), [FindingKind::ClockRate], "{percent} %");
        for (flow, calm) in report.flows.iter().zip(&calm.flows) {
            let apart = flow.audio.span.abs_diff(calm.audio.span);
            assert!(apart <= 1_600, "{percent} %: {:?}", flow.audio);
        }
    }
}

#[test]
fn a_pause_that_nobody_counts_moves_what_follows_and_nothing_else() {
    let pool = engines(1);
    let original = packets(FIXTURE);
    let calm = replay_packets(&original, &pool);
    let first = original[0].at;
    let pause = Duration::from_secs(20);
    // Between the sentences.
    for pair in lines(&calm).windows(2) {
        let place = first + Duration::from_millis(u64::midpoint(pair[0].1, pair[1].0));
        let mut changed = original.clone();
        for packet in changed.iter_mut().filter(|packet| packet.at > place) {
            packet.at += pause;
        }
        let report = replay_packets(&changed, &pool);
        assert_eq!(lines(&report).len(), lines(&calm).len());
        for (line, expected) in lines(&report).iter().zip(lines(&calm)) {
            let moved = if expected.0 >= pair[1].0 { 20_000 } else { 0 };
            assert!(
                line.0.abs_diff(expected.0 + moved) <= 60,
                "{line:?}, {expected:?}"
            );
            assert_eq!(line.2, expected.2);
        }
        let silence = report.flows[0].audio.gaps.sender_silence;
        let before = calm.flows[0].audio.gaps.sender_silence;
        assert!((silence - before).abs_diff(320_000) <= 1_000, "{silence}");
    }
}

#[test]
fn what_is_encrypted_has_no_line_and_a_finding() {
    let pool = engines(1);
    for tag in [4, 10, 16] {
        let mut chance = Chance::new(tag as u64);
        let mut changed = packets(FIXTURE);
        for packet in &mut changed {
            let length = packet.payload.len() - 12 + tag;
            packet.payload.truncate(12);
            let dice = (0..length).map(|_| chance.below(256) as u8);
            packet.payload.extend(dice);
        }
        let report = replay_packets(&changed, &pool);
        assert_eq!(kinds(&report), [FindingKind::Encrypted], "{tag}");
        assert_eq!(lines(&report), [], "{tag}");
        let calm = replay_packets(&packets(FIXTURE), &pool);
        let (span, expected) = (report.flows[0].audio.span, calm.flows[0].audio.span);
        assert!(span.abs_diff(expected) <= 3_200, "{span}, {expected}");
    }
}
