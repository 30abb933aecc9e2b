//! The recorded calls, replayed: the words, the counters, the very bytes; and
//! that what a network does to packets changes no more than it must.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::time::Duration;

use asterscribe::replay::ReplayReport;
use asterscribe_call::{LegStats, TranscriptLine};
use asterscribe_testkit::fixture::{self, Fixture, NAMES};
use asterscribe_testkit::host;
use asterscribe_testkit::pcap::Packet;
use asterscribe_testkit::words::WordErrors;

use crate::replay::rig::{
    Chance, apart, engines, flows, json, packets, program, replay, replay_packets,
};

/// Confidence is a sum of floats, and whisper.cpp adds in the order that the
/// processor's vector length suggests.
const CONFIDENCE_TOLERANCE: f32 = 0.05;

/// Longest displacement in time: below the 120 ms for which a gap is waited.
const MAX_DISPLACEMENT: Duration = Duration::from_millis(100);

/// How far packets are displaced, in places.
const MAX_PLACES: usize = 5;

const SEEDS: [u64; 3] = [1, 2, 3];

fn bytes(name: &str) -> Vec<u8> {
    fs::read(fixture::pcap_path(name)).unwrap()
}

/// `UPDATE_EXPECT=1` writes the expectations anew; look at the difference before keeping it.
#[test]
fn every_fixture_gives_the_report_beside_it() {
    let pool = engines(1);
    for name in NAMES {
        let report = replay(&bytes(name), &pool);
        let path = fixture::path(&format!("{name}.expect.json"));
        if host::variable("UPDATE_EXPECT").is_some() {
            fs::write(&path, json(&report)).unwrap();
        }
        for flow in &report.flows {
            assert_eq!(flow.findings, [], "{name}: nothing is wrong with it");
        }
        let expected =
            fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let expected: ReplayReport = serde_json::from_slice(&expected).unwrap();
        for (line, expected) in report.lines.iter().zip(&expected.lines) {
            let difference = (line.confidence - expected.confidence).abs();
            assert!(difference <= CONFIDENCE_TOLERANCE, "{name}: {line:?}");
        }
        assert_eq!(unsure(report), unsure(expected), "{name}");
    }
}

/// The report without what may differ between processors.
fn unsure(mut report: ReplayReport) -> ReplayReport {
    for line in &mut report.lines {
        line.confidence = 0.0;
    }
    report
}

#[test]
fn the_words_are_those_that_were_said() {
    let pool = engines(1);
    let mut total = WordErrors::default();
    for name in NAMES {
        let words = Fixture::load(name).unwrap().words;
        let report = replay(&bytes(name), &pool);
        assert_eq!(report.flows.len(), words.flows.len(), "{name}");
        let mut errors = WordErrors::default();
        for flow in &report.flows {
            let port = |at: &str| at.rsplit(':').next().unwrap().parse::<u16>().unwrap();
            let ports = (port(&flow.from), port(&flow.to));
            let said = words
                .flows
                .iter()
                .find(|said| (said.source_port, said.destination_port) == ports)
                .unwrap();
            let lines: Vec<_> = lines_of(&report, flow.leg.as_str()).collect();
            assert_eq!(
                lines.len(),
                said.sentences.len(),
                "{name}: one line a sentence"
            );
            for (line, sentence) in lines.iter().zip(&said.sentences) {
                assert!(
                    line.start_ms <= sentence.start_ms + 40,
                    "{name}: begins late: {line:?}"
                );
                assert!(
                    line.end_ms + 40 >= sentence.end_ms,
                    "{name}: ends early: {line:?}"
                );
                errors = errors.plus(WordErrors::between(&sentence.text, &line.text));
            }
            assert_eq!(flow.stats.received, said.packets as u64, "{name}");
        }
        // The demo model hears every word of them.
        assert_eq!(
            errors.total(),
            0,
            "{name}: {errors:?}\n{}",
            report.to_text()
        );
        total = total.plus(errors);
    }
    assert!(
        total.reference >= 170,
        "too little is said to judge by: {total:?}"
    );
}

fn lines_of<'a>(
    report: &'a ReplayReport,
    leg: &'a str,
) -> impl Iterator<Item = &'a TranscriptLine> {
    report
        .lines
        .iter()
        .filter(move |line| line.leg.as_str() == leg)
}

#[test]
fn a_replay_is_the_same_to_the_byte_however_many_engines_and_through_the_program() {
    let pools = [1, 1, 3].map(engines);
    for name in NAMES {
        let [first, second, other] = pools
            .each_ref()
            .map(|pool| json(&replay(&bytes(name), pool)));
        assert_eq!(first, second, "{name}: two runs");
        assert_eq!(first, other, "{name}: another number of engines");
        for _run in 0..2 {
            let output = program(&fixture::pcap_path(name), "json");
            assert!(output.status.success(), "{name}: {output:?}");
            assert_eq!(String::from_utf8(output.stdout).unwrap(), first, "{name}");
            assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{name}");
        }
        let text = replay(&bytes(name), &pools[0]).to_text();
        let output = program(&fixture::pcap_path(name), "text");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), text, "{name}");
    }
}

#[test]
fn packets_out_of_order_within_the_wait_change_no_line() {
    let pool = engines(2);
    for name in NAMES {
        let original = packets(name);
        let calm = replay_packets(&original, &pool);
        for seed in SEEDS {
            let (shuffled, swaps) = swapped(&original, seed);
            assert!(swaps.iter().sum::<u64>() > 20, "{name}: {swaps:?}");
            let report = replay_packets(&shuffled, &pool);
            for ((flow, calm), swaps) in report.flows.iter().zip(&calm.flows).zip(&swaps) {
                let stats = LegStats {
                    reordered: flow.stats.reordered,
                    ..calm.stats.clone()
                };
                assert_eq!(flow.stats, stats, "{name}, seed {seed}");
                // Whoever was overtaken is counted: of each pair, at least the packet that lost its place.
                assert!(flow.stats.reordered >= *swaps, "{name}, seed {seed}");
            }
            assert_eq!(report.lines, calm.lines, "{name}, seed {seed}");
        }
    }
}

/// Exchanges what arrived at pairs of moments, pair after pair, within a flow.
/// Its first packet stays: the first to come is believed to be the first.
fn swapped(original: &[Packet], seed: u64) -> (Vec<Packet>, Vec<u64>) {
    let mut chance = Chance::new(seed);
    let mut packets = original.to_vec();
    let mut swaps = Vec::new();
    for flow in flows(original) {
        let (mut place, mut count) = (1, 0);
        while place < flow.len() {
            let partner = place + 1 + chance.below(MAX_PLACES);
            let near = |&other: &usize| apart(original, flow[place], other) <= MAX_DISPLACEMENT;
            match flow.get(partner).copied().filter(near) {
                Some(other) if chance.percent(40) => {
                    let (early, late) = (packets[flow[place]].payload.clone(), &packets[other]);
                    packets[flow[place]].payload = late.payload.clone();
                    packets[other].payload = early;
                    count += 1;
                    place = partner + 1;
                }
                _ => place += 1,
            }
        }
        swaps.push(count);
    }
    (packets, swaps)
}

#[test]
fn copies_change_nothing_but_their_own_counter() {
    let pool = engines(2);
    for name in NAMES {
        let original = packets(name);
        let calm = replay_packets(&original, &pool);
        for seed in SEEDS {
            // Seed 1 is a mirrored port: every packet twice.
            let (share, places) = if seed == 1 {
                (100, 1)
            } else {
                (10, MAX_PLACES)
            };
            let (copied, copies) = copied(&original, seed, share, places);
            let report = replay_packets(&copied, &pool);
            assert_eq!(report.lines, calm.lines, "{name}, seed {seed}");
            for ((flow, calm), copies) in report.flows.iter().zip(&calm.flows).zip(&copies) {
                let stats = LegStats {
                    duplicate: *copies,
                    received: calm.stats.received + copies,
                    ..calm.stats.clone()
                };
                assert_eq!(flow.stats, stats, "{name}, seed {seed}");
            }
        }
    }
}

/// Sends `share` of 100 packets once more, less than `places` packets of the flow later.
fn copied(original: &[Packet], seed: u64, share: usize, places: usize) -> (Vec<Packet>, Vec<u64>) {
    let mut chance = Chance::new(seed);
    let mut packets = original.to_vec();
    let mut copies = Vec::new();
    for flow in flows(original) {
        let before = packets.len();
        for (place, &packet) in flow.iter().enumerate() {
            if chance.percent(share) {
                let again = flow[(place + chance.below(places)).min(flow.len() - 1)];
                packets.push(Packet {
                    at: original[again].at,
                    ..original[packet].clone()
                });
            }
        }
        copies.push((packets.len() - before) as u64);
    }
    // Stable: a copy comes after what it is a copy of.
    packets.sort_by_key(|packet| packet.at);
    (packets, copies)
}

#[test]
fn lost_packets_are_counted_to_the_packet_and_the_rest_stays_in_order() {
    let pool = engines(2);
    for name in NAMES {
        let original = packets(name);
        let calm = replay_packets(&original, &pool);
        for seed in SEEDS {
            let (thinned, lost) = thinned(&original, seed);
            let report = replay_packets(&thinned, &pool);
            assert_eq!(report.flows.len(), calm.flows.len(), "{name}, seed {seed}");
            for ((flow, calm), lost) in report.flows.iter().zip(&calm.flows).zip(&lost) {
                let (stats, calm) = (&flow.stats, &calm.stats);
                assert!(*lost > 0, "{name}, seed {seed}: nothing was lost");
                assert_eq!(
                    (stats.lost, stats.received),
                    (*lost, calm.received - lost),
                    "{name}, seed {seed}"
                );
                assert_eq!(
                    (stats.late, stats.reordered, stats.decode_errors),
                    (0, 0, 0)
                );
                assert_eq!(span(stats), span(calm), "{name}, seed {seed}: {stats:?}");
                assert!(
                    stats.lost_ms > 0 && stats.lost_ms <= 20 * lost,
                    "{name}, seed {seed}"
                );
                let lines: Vec<_> = lines_of(&report, flow.leg.as_str()).collect();
                assert!(!lines.is_empty(), "{name}, seed {seed}");
                assert!(lines.is_sorted_by(|before, after| before.end_ms <= after.start_ms));
            }
            assert!(
                report
                    .lines
                    .iter()
                    .zip(0..)
                    .all(|(line, seq)| line.seq == seq)
            );
        }
    }
}

/// Time on the flow's timeline, in packets of 20 ms: what was lost is still time that passed.
fn span(stats: &LegStats) -> u64 {
    (stats.audio_ms + stats.lost_ms + stats.silent_ms + 10) / 20
}

/// Loses 5 of 100 packets, but no flow's first and last: before and after them nobody knows of any.
fn thinned(original: &[Packet], seed: u64) -> (Vec<Packet>, Vec<u64>) {
    let mut chance = Chance::new(seed);
    let mut keep = vec![true; original.len()];
    let mut lost = Vec::new();
    for flow in flows(original) {
        let inner = &flow[1..flow.len() - 1];
        inner
            .iter()
            .for_each(|&packet| keep[packet] = !chance.percent(5));
        lost.push(inner.iter().filter(|&&packet| !keep[packet]).count() as u64);
    }
    let kept = original.iter().zip(keep).filter(|(_, keep)| *keep);
    (kept.map(|(packet, _)| packet.clone()).collect(), lost)
}
