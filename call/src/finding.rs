//! Findings of the media doctor: what is wrong with a leg's media.

use serde::{Deserialize, Serialize};

/// Something wrong with a leg's media, or that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaFinding {
    /// Kind of the fault.
    pub kind: FindingKind,
    /// Since when, call clock, milliseconds.
    pub since_ms: u64,
    /// Until when; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Evidence, with figures.
    pub evidence: String,
    /// The likely cause, and what to do.
    pub fix: String,
}

/// The kind of a fault in a leg's media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Nothing arrives at all.
    NoRtp,
    /// Packets arrive from somewhere else than was named.
    UnexpectedSource,
    /// Linear audio whose two bytes are the wrong way round.
    ByteOrder,
    /// Another payload type than was asked for.
    UnexpectedPayloadType,
    /// Audio arrives and holds nothing but silence, while another leg speaks.
    OneLegSilent,
    /// A constant tone.
    ConstantTone,
    /// Ringback or another call-progress tone.
    Ringback,
    /// Music.
    Music,
    /// Samples at full scale.
    Clipping,
    /// The sender's clock runs off.
    ClockDrift,
    /// The timestamps count at another rate than the audio has.
    ClockRate,
    /// Payloads that nobody can decode without a key.
    Encrypted,
    /// Packets come in bursts, or their lengths vary.
    PacketTiming,
    /// The kernel dropped packets because we were too slow.
    KernelDrops,
}

impl FindingKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::NoRtp,
        Self::UnexpectedSource,
        Self::ByteOrder,
        Self::UnexpectedPayloadType,
        Self::OneLegSilent,
        Self::ConstantTone,
        Self::Ringback,
        Self::Music,
        Self::Clipping,
        Self::ClockDrift,
        Self::ClockRate,
        Self::Encrypted,
        Self::PacketTiming,
        Self::KernelDrops,
    ];

    /// Its name, as JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoRtp => "no_rtp",
            Self::UnexpectedSource => "unexpected_source",
            Self::ByteOrder => "byte_order",
            Self::UnexpectedPayloadType => "unexpected_payload_type",
            Self::OneLegSilent => "one_leg_silent",
            Self::ConstantTone => "constant_tone",
            Self::Ringback => "ringback",
            Self::Music => "music",
            Self::Clipping => "clipping",
            Self::ClockDrift => "clock_drift",
            Self::ClockRate => "clock_rate",
            Self::Encrypted => "encrypted",
            Self::PacketTiming => "packet_timing",
            Self::KernelDrops => "kernel_drops",
        }
    }
}
