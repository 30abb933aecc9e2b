//! What a replay found, for people and for programs.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::capture::Capture;
use super::flows::Flows;
use crate::call::{
    AudioAccount, CallId, DtmfDigit, Finding, GapReason, Leg, LegStats, MediaQuality, Sounds,
    TranscriptLine,
};
use crate::session::LegSnapshot;
use crate::speech::SAMPLES_PER_MS;

/// Result of a replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Zero of every `…_ms`: when the first RTP packet was captured, or, in a
    /// capture of ours, when its call was opened.
    pub started_at: Timestamp,
    /// Whose capture it is, if it is one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureNote>,
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

/// What a capture of ours says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureNote {
    /// The call.
    pub call_id: CallId,
    /// Packets that reached the call but not its capture.
    pub lost: u64,
    /// Older packets that the capture's bound let go of.
    pub rolled_off: u64,
}

/// One RTP flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowReport {
    /// Its label in the lines.
    pub leg: Leg,
    /// Sender, `address:port`; empty where nothing arrived.
    pub from: String,
    /// Receiver, `address:port`; empty where nothing arrived.
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
    /// What was heard of it that is no speech.
    #[serde(flatten)]
    pub sounds: Sounds,
}

impl Report {
    /// A report without results; `zero` is that of its times.
    pub(super) fn new(capture: &Capture, flows: &Flows, zero: Duration) -> Self {
        let socket =
            |socket: Option<SocketAddr>| socket.map_or_else(String::new, |s| s.to_string());
        let started_at = i128::try_from(zero.as_nanos())
            .ok()
            .and_then(|nanos| Timestamp::from_nanosecond(nanos).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            started_at,
            capture: capture.recorded.as_ref().map(|recorded| CaptureNote {
                call_id: recorded.call.clone(),
                lost: recorded.missing.lost,
                rolled_off: recorded.missing.rolled_off,
            }),
            packets: capture.packets,
            datagrams: capture.datagrams.len() as u64,
            broken: capture.broken.clone(),
            flows: flows
                .iter()
                .map(|flow| FlowReport {
                    leg: flow.leg.clone(),
                    from: socket(flow.sockets.map(|(from, _)| from)),
                    to: socket(flow.sockets.map(|(_, to)| to)),
                    stats: LegStats::default(),
                    audio: AudioAccount::default(),
                    quality: None,
                    findings: Vec::new(),
                    sounds: Sounds::default(),
                })
                .collect(),
            dtmf: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// The legs' last words; `start_ms` is where the session began on the clock of the report.
    pub(super) fn close(&mut self, legs: Vec<LegSnapshot>, start_ms: u64) {
        for (flow, leg) in self.flows.iter_mut().zip(legs) {
            flow.stats = leg.stats;
            flow.audio = leg.audio;
            if flow.audio.span > 0 {
                flow.audio.start += start_ms * SAMPLES_PER_MS;
            }
            flow.quality = leg.quality;
            flow.sounds = leg.sounds;
            flow.sounds.shift(start_ms);
            flow.findings = leg.findings;
            for finding in &mut flow.findings {
                finding.since_ms += start_ms;
                finding.until_ms = finding.until_ms.map(|until| until + start_ms);
            }
        }
    }

    /// The report for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if let Some(capture) = &self.capture {
            // Writing to a String cannot fail.
            let _infallible = write!(text, "call {}", capture.call_id);
            if capture.lost + capture.rolled_off > 0 {
                let _infallible = write!(
                    text,
                    ": {} packets rolled off, {} were not recorded",
                    capture.rolled_off, capture.lost
                );
            }
            text.push('\n');
        }
        for flow in &self.flows {
            let stats = &flow.stats;
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
            for sound in &flow.sounds.sounds {
                let _infallible = writeln!(
                    text,
                    "  {} [{} - {}]",
                    sound.kind.name(),
                    clock(sound.start_ms),
                    clock(sound.end_ms),
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
