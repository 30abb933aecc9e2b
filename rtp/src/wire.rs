//! A datagram as an RTP packet (RFC 3550 section 5.1), or the reason why not.
//!
//! The only module that touches the `rtp` and `webrtc-util` crates. Their
//! parser panics when an element of a header extension runs past the datagram,
//! so it is given the fixed header alone. Nothing here needs an extension, and
//! whatever its elements are, the packet is taken (RFC 8285 section 4.2).

use std::ops::Range;

use rtp::header::Header;
use webrtc_util::marshal::Unmarshal;

use crate::ids::{PayloadType, RtpTime, SeqNo, Ssrc};

/// A valid RTP packet; the payload is borrowed from the datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// SSRC.
    pub ssrc: Ssrc,
    /// Sequence number as sent.
    pub seq: SeqNo,
    /// Timestamp as sent.
    pub time: RtpTime,
    /// Payload type.
    pub payload_type: PayloadType,
    /// Marker bit; for audio the first packet after silence (RFC 3551 section 4.1).
    pub marker: bool,
    /// Payload: the octets between header and padding; may be empty.
    pub payload: &'a [u8],
}

impl<'a> RtpPacket<'a> {
    /// Validates the whole datagram once. CSRCs and the header extension are
    /// skipped by their lengths; what is in them is not looked at.
    ///
    /// # Errors
    /// [`MalformedPacket`] with the first thing that is wrong.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, MalformedPacket> {
        let payload = payload_range(datagram)?;
        let mut fixed = *datagram.first_chunk().ok_or(MalformedPacket::TooShort)?;
        let header = fixed_header(&mut fixed)?;
        let payload_type = PayloadType::new(header.payload_type).ok_or(MalformedPacket::Header)?;
        Ok(Self {
            ssrc: Ssrc(header.ssrc),
            seq: SeqNo(header.sequence_number),
            time: RtpTime(header.timestamp),
            payload_type,
            marker: header.marker,
            payload: &datagram[payload],
        })
    }
}

/// Why a datagram is no RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MalformedPacket {
    /// The datagram is of another protocol.
    #[error("not RTP but {}", .0.name())]
    NotRtp(MediaProtocol),
    /// Less than the 12 bytes of a fixed header.
    #[error("shorter than an RTP header")]
    TooShort,
    /// The CSRC list runs past the end.
    #[error("the CSRC list runs past the end")]
    CsrcOverrun,
    /// The header extension runs past the end.
    #[error("the header extension runs past the end")]
    ExtensionOverrun,
    /// The padding bit is set, but nothing follows the header.
    #[error("padding is announced, but there is none")]
    PaddingMissing,
    /// The padding length is 0, though it counts itself.
    #[error("the padding length is 0")]
    PaddingZero,
    /// The padding is longer than what follows the header.
    #[error("the padding is longer than the payload")]
    PaddingOverrun,
    /// The header parser refused what our checks let pass.
    #[error("the header parser refused it")]
    Header,
}

impl MalformedPacket {
    /// Stable name for counters and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotRtp(protocol) => protocol.name(),
            Self::TooShort => "too_short",
            Self::CsrcOverrun => "csrc_overrun",
            Self::ExtensionOverrun => "extension_overrun",
            Self::PaddingMissing => "padding_missing",
            Self::PaddingZero => "padding_zero",
            Self::PaddingOverrun => "padding_overrun",
            Self::Header => "header",
        }
    }
}

/// The class of a datagram, by its first two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatagramClass {
    /// RTP version 2; whether it is a valid packet says [`RtpPacket::parse`].
    Rtp,
    /// Any other protocol.
    Other(MediaProtocol),
}

/// A protocol that is met on media ports beside RTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaProtocol {
    /// RTCP on the RTP port (RFC 5761).
    Rtcp,
    /// STUN (RFC 8489).
    Stun,
    /// ZRTP (RFC 6189).
    Zrtp,
    /// DTLS (RFC 5764).
    Dtls,
    /// TURN channel data (RFC 8656), or text such as SIP.
    TurnChannel,
    /// None of these, or an empty datagram.
    Unknown,
}

impl MediaProtocol {
    /// Stable name for counters and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtcp => "rtcp",
            Self::Stun => "stun",
            Self::Zrtp => "zrtp",
            Self::Dtls => "dtls",
            Self::TurnChannel => "turn_channel",
            Self::Unknown => "unknown",
        }
    }
}

/// Tells protocols on one port apart (RFC 7983 section 7; RTCP by RFC 5761 section 4).
pub const fn classify(datagram: &[u8]) -> DatagramClass {
    match datagram {
        // The packet types of RTCP. RTP with the marker and payload type 64..=95
        // would look the same, which is why RFC 5761 forbids those.
        [128..=191, 192..=223, ..] => DatagramClass::Other(MediaProtocol::Rtcp),
        [128..=191, ..] => DatagramClass::Rtp,
        [0..=3, ..] => DatagramClass::Other(MediaProtocol::Stun),
        [16..=19, ..] => DatagramClass::Other(MediaProtocol::Zrtp),
        [20..=63, ..] => DatagramClass::Other(MediaProtocol::Dtls),
        [64..=79, ..] => DatagramClass::Other(MediaProtocol::TurnChannel),
        _ => DatagramClass::Other(MediaProtocol::Unknown),
    }
}

const FIXED_HEADER: usize = 12;
const VERSION_BITS: u8 = 0xC0;
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
const CSRC_COUNT: u8 = 0x0F;

/// The fixed header, read as that of a packet that has nothing but it.
fn fixed_header(bytes: &mut [u8; FIXED_HEADER]) -> Result<Header, MalformedPacket> {
    bytes[0] &= VERSION_BITS;
    Header::unmarshal(&mut &bytes[..]).map_err(|_| MalformedPacket::Header)
}

/// Where the payload lies, after checking every length in the datagram.
fn payload_range(datagram: &[u8]) -> Result<Range<usize>, MalformedPacket> {
    if let DatagramClass::Other(protocol) = classify(datagram) {
        return Err(MalformedPacket::NotRtp(protocol));
    }
    if datagram.len() < FIXED_HEADER {
        return Err(MalformedPacket::TooShort);
    }
    let flags = datagram[0];
    let mut start = FIXED_HEADER + 4 * usize::from(flags & CSRC_COUNT);
    if datagram.len() < start {
        return Err(MalformedPacket::CsrcOverrun);
    }
    if flags & EXTENSION_BIT != 0 {
        start += extension_len(&datagram[start..])?;
    }
    let mut end = datagram.len();
    if flags & PADDING_BIT != 0 {
        end -= padding_len(&datagram[start..])?;
    }
    Ok(start..end)
}

/// Length of the header extension at the start of `rest`, its 4-byte header
/// included (RFC 3550 section 5.3.1). Its profile and what is in it are not
/// looked at: a receiver that does not know them skips it.
fn extension_len(rest: &[u8]) -> Result<usize, MalformedPacket> {
    let [_, _, l0, l1, body @ ..] = rest else {
        return Err(MalformedPacket::ExtensionOverrun);
    };
    let len = 4 * usize::from(u16::from_be_bytes([*l0, *l1]));
    if body.len() < len {
        return Err(MalformedPacket::ExtensionOverrun);
    }
    Ok(4 + len)
}

/// Length of the padding at the end of `rest`; its last byte counts itself
/// (RFC 3550 section 5.1).
fn padding_len(rest: &[u8]) -> Result<usize, MalformedPacket> {
    match rest.last().copied().map(usize::from) {
        None => Err(MalformedPacket::PaddingMissing),
        Some(0) => Err(MalformedPacket::PaddingZero),
        Some(len) if len > rest.len() => Err(MalformedPacket::PaddingOverrun),
        Some(len) => Ok(len),
    }
}

#[cfg(test)]
mod tests;
