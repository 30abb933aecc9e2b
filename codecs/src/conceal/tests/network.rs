//! Speech that was said, and networks that lose some of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::g711;

/// Octets of µ-law in a packet, 20 ms.
pub(super) const PACKET: usize = 160;

/// Samples of 16 kHz in it.
pub(super) const LENGTH: usize = 2 * PACKET;

/// A network by its losses. No prompt loses its first or last three packets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Network {
    pub(super) name: &'static str,
    /// Share of packets.
    loss: f64,
    /// Mean length of a burst in packets (Gilbert and Elliott's model, whose
    /// bad state loses everything); 0 where packets are lost independently.
    burst: f64,
    /// Runs over all prompts, each with seeds of its own: enough for some hundred losses.
    pub(super) runs: u64,
}

pub(super) const NETWORKS: [Network; 6] = [
    uniform("1 %, uniform", 0.01, 20),
    uniform("3 %, uniform", 0.03, 7),
    uniform("5 %, uniform", 0.05, 4),
    uniform("10 %, uniform", 0.1, 2),
    bursts("5 %, bursts of 30 ms", 1.5),
    bursts("5 %, bursts of 60 ms", 3.0),
];

const fn uniform(name: &'static str, loss: f64, runs: u64) -> Network {
    Network {
        name,
        loss,
        burst: 0.0,
        runs,
    }
}

const fn bursts(name: &'static str, burst: f64) -> Network {
    Network {
        name,
        loss: 0.05,
        burst,
        runs: 4,
    }
}

impl Network {
    /// Which of so many packets are lost.
    pub(super) fn lost(&self, packets: usize, seed: u64) -> Vec<bool> {
        let mut chance = Chance::new(seed);
        let mut bad = false;
        let next = |n| {
            bad = chance.happens(match (self.burst, bad) {
                (0.0, _) => self.loss,
                (burst, true) => 1.0 - 1.0 / burst,
                (burst, false) => self.loss / (1.0 - self.loss) / burst,
            });
            bad && n >= 3 && n + 3 < packets
        };
        (0..packets).map(next).collect()
    }
}

/// Stretches of lost packets, in samples of 16 kHz.
pub(super) fn spans(lost: &[bool]) -> Vec<(usize, usize)> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for (n, _) in lost.iter().enumerate().filter(|(_, lost)| **lost) {
        match spans.last_mut() {
            Some((_, end)) if *end == n * LENGTH => *end += LENGTH,
            _ => spans.push((n * LENGTH, (n + 1) * LENGTH)),
        }
    }
    spans
}

/// Chance that depends on its seed only (SplitMix64).
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn happens(&mut self, probability: f64) -> bool {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        ((mixed >> 11) as f64) < probability * (1_u64 << 53) as f64
    }
}

/// The 8 kHz prompts as µ-law, in whole packets, by name.
pub(super) fn prompts() -> Vec<Vec<u8>> {
    let entries = fs::read_dir(workspace().join("fixtures/prompts")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wav"));
    paths.sort();
    assert!(paths.len() >= 12, "the prompts are missing");
    paths.iter().map(|path| prompt(path)).collect()
}

fn prompt(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let head = bytes.windows(4).position(|word| word == b"data").unwrap();
    let (samples, _) = bytes[head + 8..].as_chunks();
    let coded = samples
        .iter()
        .map(|&sample| g711::encode_ulaw(i16::from_le_bytes(sample)));
    coded.take(samples.len() / PACKET * PACKET).collect()
}

pub(super) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
