//! Rig for the tests of the replay: engines, fixtures, seeded chance, and the program itself.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use asterscribe::replay::capture::{self, HeldCapture};
use asterscribe::replay::{self, ReplayReport};
use asterscribe_recognition::engine::{EngineConfig, LoadedModel};
use asterscribe_recognition::model::SpeechModel;
use asterscribe_recognition::pool::{EngineFactory, PoolConfig, RecognitionPool};
use asterscribe_session::{JobId, SessionConfig};
use asterscribe_testkit::fixture::Fixture;
use asterscribe_testkit::pcap::{self, Packet};
use asterscribe_testkit::{account, host};

/// Engines on the demo model, as the program starts them.
pub(crate) fn engines(workers: usize) -> RecognitionPool<JobId> {
    static MODEL: OnceLock<Arc<LoadedModel>> = OnceLock::new();
    let model = MODEL.get_or_init(|| {
        Arc::new(LoadedModel::load(SpeechModel::demo().unwrap(), EngineConfig::default()).unwrap())
    });
    let factory: EngineFactory = Arc::new(move |_| Ok(Box::new(model.transcriber()?)));
    let config = PoolConfig {
        workers,
        queue: workers,
        max_age: None,
    };
    RecognitionPool::start(config, &factory).unwrap()
}

/// A capture read from memory; it must be one.
pub(crate) fn parse(bytes: &[u8]) -> HeldCapture {
    capture::from_bytes(bytes).unwrap()
}

/// The report on a capture in memory.
pub(crate) fn replay(bytes: &[u8], pool: &RecognitionPool<JobId>) -> ReplayReport {
    let config = SessionConfig::default();
    let report = replay::run_capture(&parse(bytes), config, pool, host::now()).unwrap();
    account::assert_flows_conserved(&serde_json::to_value(&report).unwrap());
    report
}

/// The report on these packets.
pub(crate) fn replay_packets(packets: &[Packet], pool: &RecognitionPool<JobId>) -> ReplayReport {
    replay(&classic(packets), pool)
}

/// A capture file as the fixtures are: little-endian, microseconds, raw IPv4.
pub(crate) fn classic(packets: &[Packet]) -> Vec<u8> {
    let mut file = Vec::new();
    pcap::write(&mut file, packets).unwrap();
    file
}

/// The packets of a fixture.
pub(crate) fn packets(name: &str) -> Vec<Packet> {
    Fixture::load(name).unwrap().packets
}

/// The bytes of the report as the program prints them.
pub(crate) fn json(report: &ReplayReport) -> String {
    serde_json::to_string_pretty(report).unwrap() + "\n"
}

/// Output of `asterscribe replay FILE`, far from any settings of this machine.
pub(crate) fn program(file: &Path, format: &str) -> Output {
    let elsewhere = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_asterscribe"))
        .args(["replay", "--format", format])
        .arg(file)
        .env_clear()
        .current_dir(elsewhere.path())
        .output()
        .unwrap()
}

/// `bytes` in a file of their own, as long as the guard lives.
pub(crate) fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

/// Chance that depends on its seed only (SplitMix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// `true` in `percent` of a hundred cases.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// The places of each flow's packets among `packets`, in order of arrival.
pub(crate) fn flows(packets: &[Packet]) -> Vec<Vec<usize>> {
    let mut flows: Vec<Vec<usize>> = Vec::new();
    for (place, packet) in packets.iter().enumerate() {
        let same = |flow: &&mut Vec<usize>| packets[flow[0]].source == packet.source;
        match flows.iter_mut().find(same) {
            Some(flow) => flow.push(place),
            None => flows.push(vec![place]),
        }
    }
    flows
}

/// Time between the arrivals of two packets.
pub(crate) fn apart(packets: &[Packet], a: usize, b: usize) -> Duration {
    packets[a].at.abs_diff(packets[b].at)
}
