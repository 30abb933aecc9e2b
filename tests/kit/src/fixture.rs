//! Recorded calls in `fixtures/`: captures, and the words in them.

use std::fs::{self, File};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::pcap::{self, Packet};
use crate::{Error, Result, host};

/// Names of the recorded calls.
pub const NAMES: [&str; 6] = [
    "asterisk22_ulaw_stasis",
    "asterisk22_alaw_stasis",
    "asterisk22_slin_stasis",
    "asterisk22_slin16_stasis",
    "asterisk22_ulaw_snoop_pair",
    "asterisk16_slin_stasis",
];

/// A recorded call.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// Every packet, in order of arrival.
    pub packets: Vec<Packet>,
    /// Words that are spoken in the capture.
    pub words: Words,
}

/// Words that are spoken in a capture: the file `NAME.words.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// Name of the fixture.
    pub fixture: String,
    /// Version of the Asterisk that sent the packets.
    pub asterisk: String,
    /// The directions of media, in the order of their legs' labels in the scenario.
    pub flows: Vec<FlowWords>,
}

/// Words that are spoken in one flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowWords {
    /// Label of the party that speaks: `caller` or `callee`.
    pub leg: String,
    /// Format that Asterisk was asked for.
    pub format: String,
    /// Payload type that Asterisk sent.
    pub payload_type: u8,
    /// UDP port from which the flow came.
    pub source_port: u16,
    /// UDP port to which the flow was sent.
    pub destination_port: u16,
    /// SSRC of the flow's RTP stream.
    pub ssrc: u32,
    /// Packets captured.
    pub packets: usize,
    /// The sentences in order.
    pub sentences: Vec<Sentence>,
}

/// One utterance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentence {
    /// Start, milliseconds after the capture's first packet, ± 40.
    pub start_ms: u64,
    /// End, milliseconds after the capture's first packet, ± 40.
    pub end_ms: u64,
    /// The words, lower case, without punctuation.
    pub text: String,
}

impl FlowWords {
    /// Text of all sentences in the flow.
    pub fn text(&self) -> String {
        self.sentences
            .iter()
            .map(|sentence| sentence.text.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

impl Fixture {
    /// Reads a recorded call.
    pub fn load(name: &str) -> Result<Self> {
        let words_file = path(&format!("{name}.words.json"));
        let text = fs::read(&words_file)
            .map_err(Error::io(format!("cannot read {}", words_file.display())))?;
        let words = serde_json::from_slice(&text);
        let words =
            words.map_err(|error| Error::Failed(format!("{}: {error}", words_file.display())))?;
        let capture = pcap_path(name);
        let file = File::open(&capture)
            .map_err(Error::io(format!("cannot open {}", capture.display())))?;
        let packets = pcap::read(file)
            .map_err(|error| Error::Failed(format!("{}: {error}", capture.display())))?;
        Ok(Self { packets, words })
    }
}

/// Path of a fixture's capture.
pub fn pcap_path(name: &str) -> PathBuf {
    path(&format!("{name}.pcap"))
}

/// Path of a file in `fixtures/`.
pub fn path(file: &str) -> PathBuf {
    host::workspace_dir().join("fixtures").join(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp;

    /// Payload type and sizes of packets, as a real Asterisk was measured to send. The last packet
    /// of a played file is shorter.
    fn expected(fixture: &str) -> (u8, usize, u32) {
        match fixture {
            "asterisk22_alaw_stasis" => (8, 160, 160),
            "asterisk22_slin_stasis" => (10, 320, 160),
            "asterisk22_slin16_stasis" => (118, 640, 320),
            // ulaw as asked, and Asterisk 16 sends ulaw for slin.
            _ => (0, 160, 160),
        }
    }

    #[test]
    fn every_capture_is_whole_and_as_described() {
        for name in NAMES {
            let Fixture { packets, words } = Fixture::load(name).unwrap();
            assert!(packets.is_sorted_by_key(|packet| packet.at), "{name}");
            assert_eq!(words.fixture, name);
            assert_eq!(
                words.flows.iter().map(|flow| flow.packets).sum::<usize>(),
                packets.len(),
                "{name}"
            );
            let (payload_type, size, step) = expected(name);
            for flow in &words.flows {
                let own: Vec<_> = packets
                    .iter()
                    .filter(|packet| packet.source.port() == flow.source_port)
                    .collect();
                assert_eq!(
                    (own.len(), flow.payload_type),
                    (flow.packets, payload_type),
                    "{name}"
                );
                let mut last: Option<rtp::Header> = None;
                for packet in own {
                    assert_eq!(packet.destination.port(), flow.destination_port, "{name}");
                    let (header, payload) = rtp::parse(&packet.payload).unwrap();
                    assert_eq!(
                        (header.ssrc, header.payload_type),
                        (flow.ssrc, payload_type),
                        "{name}"
                    );
                    assert!(
                        !payload.is_empty() && payload.len() <= size,
                        "{name}: {} bytes",
                        payload.len()
                    );
                    if let Some(last) = last {
                        assert_eq!(
                            header.sequence,
                            last.sequence.wrapping_add(1),
                            "{name}: a packet is missing"
                        );
                        assert!(
                            header.marker || header.timestamp.wrapping_sub(last.timestamp) <= step,
                            "{name}"
                        );
                    }
                    last = Some(header);
                }
            }
        }
    }

    #[test]
    fn sentences_lie_apart_and_within_the_capture() {
        for name in NAMES {
            let Fixture { packets, words } = Fixture::load(name).unwrap();
            let (first, last) = (packets.first().unwrap().at, packets.last().unwrap().at);
            for flow in &words.flows {
                assert!(flow.sentences.len() >= 3, "{name}");
                assert!(
                    flow.sentences
                        .iter()
                        .all(|sentence| sentence.start_ms < sentence.end_ms),
                    "{name}"
                );
                assert!(
                    flow.sentences
                        .windows(2)
                        .all(|pair| pair[0].end_ms + 500 < pair[1].start_ms),
                    "{name}"
                );
                let end = flow.sentences.last().unwrap().end_ms;
                assert!(u128::from(end) <= (last - first).as_millis() + 40, "{name}");
            }
        }
    }
}
