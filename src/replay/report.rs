//! What a replay found, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::capture::Capture;
use super::flows::Flows;
use crate::call::{
    AudioAccount, DtmfDigit, Finding, GapReason, Leg, LegStats, MediaQuality, TranscriptLine,
};
use crate::session::LegSnapshot;

/// Result of a replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// When the first RTP packet was captured; zero of every `…_ms`.
    pub started_at: Timestamp,
    /// Packets in the file.
    pub packets: u64,
    /// UDP datagrams among them.
    pub datagrams: u64,
    /// Where the file broke off, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
    /// The RTP flows; each is a leg.
    pub flows: Vec<FlowReport>,
    /// Keys that were pressed, by their packets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dtmf: Vec<DtmfDigit>,
    /// The transcript.
    pub lines: Vec<TranscriptLine>,
}

/// One RTP flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowReport {
    /// Its label in the lines.
    pub leg: Leg,
    /// Sender, `address:port`.
    pub from: String,
    /// Receiver, `address:port`.
    pub to: String,
    /// Its counters.
    pub stats: LegStats,
    /// What became of its audio.
    #[serde(default)]
    pub audio: AudioAccount,
    /// How well its packets arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<MediaQuality>,
    /// What was wrong with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(capture: &Capture, flows: &Flows, start: Duration) -> Self {
        let started_at = i128::try_from(start.as_nanos())
            .ok()
            .and_then(|nanos| Timestamp::from_nanosecond(nanos).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            started_at,
            packets: capture.packets,
            datagrams: capture.datagrams.len() as u64,
            broken: capture.broken.clone(),
            flows: flows
                .iter()
                .map(|flow| FlowReport {
                    leg: flow.leg.clone(),
                    from: flow.from.to_string(),
                    to: flow.to.to_string(),
                    stats: LegStats::default(),
                    audio: AudioAccount::default(),
                    quality: None,
                    findings: Vec::new(),
                })
                .collect(),
            dtmf: Vec::new(),
            lines: Vec::new(),
        }
    }

    pub(super) fn close(&mut self, legs: Vec<LegSnapshot>) {
        for (flow, leg) in self.flows.iter_mut().zip(legs) {
            flow.stats = leg.stats;
            flow.audio = leg.audio;
            flow.quality = leg.quality;
            flow.findings = leg.findings;
        }
    }

    /// The report for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for flow in &self.flows {
            let stats = &flow.stats;
            // Writing to a String cannot fail.
            let _infallible = writeln!(
                text,
                "{}: {} → {}: {} packets, {} lost, {} late, {} duplicate; {} of audio, {} of speech",
                flow.leg,
                flow.from,
                flow.to,
                stats.received,
                stats.lost,
                stats.late,
                stats.duplicate,
                seconds(stats.audio_ms),
                seconds(stats.speech_ms),
            );
            for finding in &flow.findings {
                let until = finding.until_ms.map(clock).unwrap_or_default();
                let _infallible = writeln!(
                    text,
                    "  {} [{} - {until}]: {}. {}",
                    finding.kind.name(),
                    clock(finding.since_ms),
                    finding.evidence,
                    finding.fix,
                );
            }
        }
        if self.flows.is_empty() {
            text.push_str("no RTP was found\n");
        }
        for line in &self.lines {
            let _infallible = writeln!(text, "{}", line_to_text(line));
        }
        text
    }
}

/// One line of a transcript for people: `[00:03.240 - 00:05.120] caller: hello`.
pub fn line_to_text(line: &TranscriptLine) -> String {
    let said = match line.gap {
        None => line.text.as_str(),
        Some(GapReason::OverloadShed) => "(not transcribed: the server was overloaded)",
        Some(GapReason::RecognitionFailed) => "(not transcribed: recognition failed)",
        Some(_) => "(not transcribed)",
    };
    format!(
        "[{} - {}] {}: {said}",
        clock(line.start_ms),
        clock(line.end_ms),
        line.leg
    )
}

fn clock(ms: u64) -> String {
    let (minutes, rest) = (ms / 60_000, ms % 60_000);
    format!("{minutes:02}:{:02}.{:03}", rest / 1000, rest % 1000)
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}
