//! RTCP on the RTP port (RFC 3550 section 6, RFC 5761): read and counted, never
//! answered, never obeyed. A BYE is a number like any other: only ARI ends a call.
//!
//! Lenient as a listener may be: reduced-size compounds pass (RFC 5506), and a
//! packet with a broken body does not hide those behind it.

use std::time::Instant;

use crate::ids::{RtpTime, Ssrc};

/// One RTCP packet of a compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RtcpPacket {
    /// SR (RFC 3550 section 6.4.1).
    SenderReport(SenderReport),
    /// RR (section 6.4.2).
    ReceiverReport,
    /// SDES (section 6.5).
    SourceDescription,
    /// BYE (section 6.6).
    Goodbye,
    /// APP (section 6.7).
    Application,
    /// XR (RFC 3611).
    ExtendedReport,
    /// RTPFB or PSFB (RFC 4585).
    Feedback,
    /// A type that is not known here.
    Other(u8),
}

/// A report of a sender: what a sender says of its clocks and of what it has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport {
    /// SSRC of the sender.
    pub ssrc: Ssrc,
    /// The moment of the report on the sender's wall clock: seconds since 1900
    /// in the upper 32 bits, fraction in the lower.
    pub ntp: u64,
    /// The moment of the report on the clock of the RTP timestamps.
    pub time: RtpTime,
    /// Packets sent; wraps.
    pub packets: u32,
    /// Payload bytes sent; wraps.
    pub octets: u32,
}

/// The fault of an RTCP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RtcpError {
    /// Its header or its announced length runs past the datagram.
    #[error("runs past the end of the datagram")]
    Overrun,
    /// Not version 2.
    #[error("not of version 2")]
    Version,
    /// Padding that is 0, no multiple of 4, or longer than the packet.
    #[error("its padding has an impossible length")]
    Padding,
    /// Content that the packet's type demands, such as a sender report's 24 octets, exceeds its
    /// length.
    #[error("its content does not fit into its length")]
    Body,
}

/// RTCP packets by kind, and the broken ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RtcpCounts {
    /// Sender reports.
    pub sender_reports: u64,
    /// Receiver reports.
    pub receiver_reports: u64,
    /// Source descriptions.
    pub source_descriptions: u64,
    /// Goodbyes.
    pub goodbyes: u64,
    /// Application-defined packets.
    pub applications: u64,
    /// Extended reports.
    pub extended_reports: u64,
    /// Feedback messages.
    pub feedback: u64,
    /// Types that are not known here.
    pub other: u64,
    /// Broken ones, for whatever reason.
    pub malformed: u64,
}

/// The RTCP that came with a leg.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RtcpLog {
    counts: RtcpCounts,
    latest: Option<(Instant, SenderReport)>,
}

impl RtcpLog {
    /// Counts what is in a datagram of class [`MediaProtocol::Rtcp`](crate::MediaProtocol::Rtcp).
    /// A sender report is kept if it is of `source`, or if none is known yet.
    pub fn read(&mut self, now: Instant, datagram: &[u8], source: Option<Ssrc>) {
        for packet in packets(datagram) {
            let counts = &mut self.counts;
            *match packet {
                Ok(RtcpPacket::SenderReport(report)) => {
                    if source.is_none_or(|source| source == report.ssrc) {
                        self.latest = Some((now, report));
                    }
                    &mut counts.sender_reports
                }
                Ok(RtcpPacket::ReceiverReport) => &mut counts.receiver_reports,
                Ok(RtcpPacket::SourceDescription) => &mut counts.source_descriptions,
                Ok(RtcpPacket::Goodbye) => &mut counts.goodbyes,
                Ok(RtcpPacket::Application) => &mut counts.applications,
                Ok(RtcpPacket::ExtendedReport) => &mut counts.extended_reports,
                Ok(RtcpPacket::Feedback) => &mut counts.feedback,
                Ok(RtcpPacket::Other(_)) => &mut counts.other,
                Err(_) => &mut counts.malformed,
            } += 1;
        }
    }

    /// The counters.
    pub fn counts(&self) -> &RtcpCounts {
        &self.counts
    }

    /// The latest sender report and when it came in.
    pub fn sender_report(&self) -> Option<(Instant, SenderReport)> {
        self.latest
    }
}

/// The packets of a compound, each or what is wrong with it. After one whose
/// length cannot be believed nothing follows.
pub fn packets(datagram: &[u8]) -> impl Iterator<Item = Result<RtcpPacket, RtcpError>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((packet, behind)) = split(rest) else {
            rest = &[];
            return Some(Err(RtcpError::Overrun));
        };
        rest = behind;
        Some(parse(packet))
    })
}

const HEADER: usize = 4;
const REPORT_BLOCK: usize = 24;

/// The first packet and what is behind it; its length counts words less one
/// (RFC 3550 section 6.4.1).
fn split(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let [_, _, high, low, ..] = datagram else {
        return None;
    };
    let words = usize::from(u16::from_be_bytes([*high, *low])) + 1;
    datagram.split_at_checked(4 * words)
}

/// One packet of exactly its own length, 4 bytes at least.
fn parse(packet: &[u8]) -> Result<RtcpPacket, RtcpError> {
    let (flags, kind) = (packet[0], packet[1]);
    if flags >> 6 != 2 {
        return Err(RtcpError::Version);
    }
    let mut body = &packet[HEADER..];
    if flags & 0x20 != 0 {
        let padding = usize::from(packet[packet.len() - 1]);
        if padding == 0 || padding % 4 != 0 || padding > body.len() {
            return Err(RtcpError::Padding);
        }
        body = &body[..body.len() - padding];
    }
    let count = usize::from(flags & 0x1F);
    let is_whole = match kind {
        200 => body.len() >= 24 + count * REPORT_BLOCK,
        201 => body.len() >= 4 + count * REPORT_BLOCK,
        202 => chunks_fit(body, count),
        203 => goodbye_fits(body, count),
        204..=206 => body.len() >= 8,
        207 => blocks_fit(body),
        _ => true,
    };
    if !is_whole {
        return Err(RtcpError::Body);
    }
    Ok(match kind {
        200 => RtcpPacket::SenderReport(sender_report(body).ok_or(RtcpError::Body)?),
        201 => RtcpPacket::ReceiverReport,
        202 => RtcpPacket::SourceDescription,
        203 => RtcpPacket::Goodbye,
        204 => RtcpPacket::Application,
        205 | 206 => RtcpPacket::Feedback,
        207 => RtcpPacket::ExtendedReport,
        other => RtcpPacket::Other(other),
    })
}

fn sender_report(body: &[u8]) -> Option<SenderReport> {
    let word = |index: usize| {
        let bytes = body.get(4 * index..4 * index + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    Some(SenderReport {
        ssrc: Ssrc(word(0)?),
        ntp: u64::from(word(1)?) << 32 | u64::from(word(2)?),
        time: RtpTime(word(3)?),
        packets: word(4)?,
        octets: word(5)?,
    })
}

/// SDES: each chunk is an SSRC, items up to a null byte, and filling to 4 bytes
/// (RFC 3550 section 6.5).
fn chunks_fit(mut body: &[u8], count: usize) -> bool {
    for _ in 0..count {
        let Some(items) = body.get(4..) else {
            return false;
        };
        let mut used = 0;
        loop {
            match items.get(used..) {
                Some([0, ..]) => break,
                Some([_, len, ..]) => used += 2 + usize::from(*len),
                _ => return false,
            }
        }
        // The null byte, and what fills up to a multiple of 4.
        let Some(behind) = items.get((used + 1).next_multiple_of(4)..) else {
            return false;
        };
        body = behind;
    }
    true
}

/// BYE: sources, then an optional reason with its length in front (section 6.6).
fn goodbye_fits(body: &[u8], count: usize) -> bool {
    match body.get(4 * count..) {
        None => false,
        Some([]) => true,
        Some([len, reason @ ..]) => reason.len() >= usize::from(*len),
    }
}

/// XR: an SSRC, then blocks with their length in words (RFC 3611 section 3).
fn blocks_fit(body: &[u8]) -> bool {
    let Some(mut blocks) = body.get(4..) else {
        return false;
    };
    while !blocks.is_empty() {
        let [_, _, high, low, rest @ ..] = blocks else {
            return false;
        };
        let words = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(behind) = rest.get(4 * words..) else {
            return false;
        };
        blocks = behind;
    }
    true
}

#[cfg(test)]
mod tests;
