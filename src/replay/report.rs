//! Report of a replay, as JSON and as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use asterscribe_call::{
    AudioAccount, CallId, DtmfDigit, GapReason, Leg, LegSounds, LegStats, MediaFinding,
    MediaQuality, TranscriptLine,
};
use asterscribe_session::LegSnapshot;
use asterscribe_speech::SAMPLES_PER_MS;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::capture::CaptureSummary;
use super::flows::{FlowList, SocketPair};

/// Number of duplicates from which on a mirrored port is suspected.
const MIRRORED: u64 = 50;

/// Most flows named one by one where no audio was decoded.
const MAX_NAMED: usize = 8;

/// Result of a replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// Zero of every `…_ms`: capture time of the first RTP packet, or, in a capture made by this
    /// program, the opening of its call.
    pub started_at: Timestamp,
    /// Call of the capture, if this program made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureNote>,
    /// Packets in the file.
    pub packets: u64,
    /// UDP datagrams among them.
    pub datagrams: u64,
    /// Packets that are of no flow, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unread: BTreeMap<String, u64>,
    /// Place and reason where the file broke off, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
    /// Remarks on packet times and payload types that the capture does not give reliably: how each
    /// was decided, or that it could not be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The RTP flows; each is a leg.
    pub flows: Vec<FlowReport>,
    /// Keys that were pressed, from telephone events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dtmf: Vec<DtmfDigit>,
    /// Lines of the transcript.
    pub lines: Vec<TranscriptLine>,
}

/// Completeness of a capture made by this program, as the file records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureNote {
    /// Id of the call.
    pub call_id: CallId,
    /// Packets that reached the call but not its capture.
    pub lost: u64,
    /// Older packets that were removed to keep to the capture's size limit.
    pub rolled_off: u64,
}

/// One RTP flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowReport {
    /// Label of the leg, as in the transcript's lines.
    pub leg: Leg,
    /// Sender, `address:port`; empty where nothing arrived.
    pub from: String,
    /// Receiver, `address:port`; empty where nothing arrived.
    pub to: String,
    /// Copies of its packets between other sockets, before or behind a translation of addresses;
    /// they were ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<CopyReport>,
    /// Packet counters.
    pub stats: LegStats,
    /// Account of its audio: every sample by its outcome.
    #[serde(default)]
    pub audio: AudioAccount,
    /// Quality of its reception; absent before the first packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<MediaQuality>,
    /// Findings of the media doctor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<MediaFinding>,
    /// Sounds on it that are not speech, such as tones and music.
    #[serde(flatten)]
    pub sounds: LegSounds,
}

impl CopyReport {
    fn new(((from, to), packets): &(SocketPair, u64)) -> Self {
        Self {
            from: from.to_string(),
            to: to.to_string(),
            packets: *packets,
        }
    }
}

/// Packets of a flow between other sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyReport {
    /// Sender, `address:port`.
    pub from: String,
    /// Receiver, `address:port`.
    pub to: String,
    /// Number of packets.
    pub packets: u64,
}

impl ReplayReport {
    /// A report without results; `zero` is that of its times.
    pub(super) fn new(summary: &CaptureSummary, flows: &FlowList, zero: Duration) -> Self {
        let socket =
            |socket: Option<SocketAddr>| socket.map_or_else(String::new, |s| s.to_string());
        let started_at = i128::try_from(zero.as_nanos())
            .ok()
            .and_then(|nanos| Timestamp::from_nanosecond(nanos).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            started_at,
            capture: summary.recorded.as_ref().map(|recorded| CaptureNote {
                call_id: recorded.call.clone(),
                lost: recorded.missing.lost,
                rolled_off: recorded.missing.rolled_off,
            }),
            packets: summary.packets,
            datagrams: summary.datagrams,
            unread: flows.unread.clone(),
            broken: summary.broken.clone(),
            notes: flows.notes.clone(),
            flows: flows
                .iter()
                .map(|flow| FlowReport {
                    leg: flow.leg.clone(),
                    from: socket(flow.sockets.map(|(from, _)| from)),
                    to: socket(flow.sockets.map(|(_, to)| to)),
                    copies: flow.copies.iter().map(CopyReport::new).collect(),
                    stats: LegStats::default(),
                    audio: AudioAccount::default(),
                    quality: None,
                    findings: Vec::new(),
                    sounds: LegSounds::default(),
                })
                .collect(),
            dtmf: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// The legs' last words; `start_ms` is where the session began on the clock of the report.
    pub(super) fn close(&mut self, legs: Vec<LegSnapshot>, start_ms: u64) {
        for (flow, leg) in self.flows.iter_mut().zip(legs) {
            if leg.stats.duplicate >= MIRRORED && leg.stats.duplicate * 10 >= leg.stats.received * 4
            {
                self.notes.push(format!(
                    "{}: nearly every packet is in the capture more than once (a mirrored port?); each was heard once",
                    flow.leg
                ));
            }
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

    /// The report as text.
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
            for copy in &flow.copies {
                let _infallible = writeln!(
                    text,
                    "  also {} → {}: {} packets, the same",
                    copy.from, copy.to, copy.packets
                );
            }
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
        } else if !self.unread.is_empty() {
            let _infallible = writeln!(text, "not read: {}", self.unread_to_text());
        }
        for line in &self.lines {
            let _infallible = writeln!(text, "{}", line_to_text(line));
        }
        text
    }
}

impl ReplayReport {
    /// Explanation for the user, if no audio was decoded: the packets that the file holds instead.
    pub fn heard_nothing(&self) -> Option<String> {
        if self.flows.is_empty() {
            let seen = match (self.packets, self.unread.is_empty()) {
                (0, _) => "the file holds no packets".to_owned(),
                (packets, true) => format!("none of {packets} packets is RTP"),
                (packets, false) => format!("of {packets} packets {}", self.unread_to_text()),
            };
            return Some(format!("no RTP was found: {seen}"));
        }
        let is_silent = |flow: &FlowReport| flow.stats.decoded == 0;
        let is_nothing = self.packets > 0 && self.flows.iter().all(is_silent);
        is_nothing.then(|| {
            let of_flow = |flow: &FlowReport| {
                let stats = &flow.stats;
                format!(
                    "{}: {} packets, {} of an unknown payload type, {} that cannot be decoded, {} without audio",
                    flow.leg,
                    stats.received,
                    stats.unknown_payload,
                    stats.decode_errors,
                    stats.not_audio
                )
            };
            let flows: Vec<_> = self.flows.iter().take(MAX_NAMED).map(of_flow).collect();
            format!("no audio was heard; {}", flows.join("; "))
        })
    }

    /// Packets that were not read, each reason with what to do about it.
    fn unread_to_text(&self) -> String {
        let reason = |(why, count): (&String, &u64)| match remedy(why) {
            Some(remedy) => format!("{count} {why} ({remedy})"),
            None => format!("{count} {why}"),
        };
        let reasons: Vec<_> = self.unread.iter().map(reason).collect();
        reasons.join(", ")
    }
}

/// Meaning of a reason for unread packets, or the remedy.
fn remedy(why: &str) -> Option<&'static str> {
    Some(match why {
        "cut_off" => "shorter than their headers say; capture whole packets: tcpdump -s 0",
        "fragment" => "other parts of them are not in the file",
        "joined_fragment" => "further parts of datagrams that were read",
        "copy" => "packets of a flow, elsewhere on their way",
        "no_interface" => "of an interface that the file does not describe",
        "rtp_out_of_sequence" => "like RTP, but never five in sequence",
        "rtp_number_stuck" => "like RTP, but the sequence number never counts",
        "tunnel_esp" => "encrypted; capture where IPsec ends",
        other if other.starts_with("tunnel_") => "a tunnel that is not opened here",
        other if other.starts_with("link_layer_") => {
            "by LINKTYPE; not read here, capture on an Ethernet interface or -i any"
        }
        _ => return None,
    })
}

/// One line of a transcript for people: `[00:03.240 - 00:05.120] caller: hello`.
pub fn line_to_text(line: &TranscriptLine) -> String {
    let said = match line.state.gap() {
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
