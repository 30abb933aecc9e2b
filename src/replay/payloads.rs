//! Formats of a capture's payload types. A session knows Asterisk's own numbers; phones and
//! browsers negotiate others, which are known from the command line, from an SDP in the same file,
//! or from the shape of the packets.

mod sdp;

use std::str::FromStr;
use std::time::Duration;

use asterscribe_codecs::{Codec, MediaFormat, PayloadKind};
use asterscribe_rtp::ClockRate;

pub(super) use self::sdp::SdpSessions;
use super::flows::SocketPair;

/// Payload types that may be given out dynamically (RFC 3551, section 6).
const DYNAMIC: std::ops::RangeInclusive<u8> = 35..=127;

/// Format of a payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadMeaning {
    /// Audio that is decoded here.
    Audio(Codec),
    /// Telephone events, and the clock of their durations where it is told.
    TelephoneEvent(Option<ClockRate>),
    /// Comfort noise.
    ComfortNoise,
    /// A format that this program does not decode.
    Other,
}

/// A payload type with its format, as given on the command line: `96=opus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldPayload {
    number: u8,
    meaning: PayloadMeaning,
}

impl FromStr for ToldPayload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, name) = text
            .split_once('=')
            .ok_or("a payload type, = and a format: 96=opus")?;
        let number: u8 = number
            .trim()
            .parse()
            .ok()
            .filter(|number| *number < 128)
            .ok_or("the payload type must be a number from 0 to 127")?;
        let name = name.trim().to_ascii_lowercase();
        let meaning = match name.as_str() {
            "telephone-event" | "dtmf" => PayloadMeaning::TelephoneEvent(None),
            name if name.starts_with("telephone-event/") => PayloadMeaning::of_encoding(name)
                .ok_or("the clock must be a number: telephone-event/48000")?,
            "cn" => PayloadMeaning::ComfortNoise,
            "pcmu" => PayloadMeaning::Audio(Codec::Ulaw),
            "pcma" => PayloadMeaning::Audio(Codec::Alaw),
            name => match name.parse::<MediaFormat>() {
                Ok(format) => PayloadMeaning::Audio(format.codec()),
                Err(error) => return Err(error.to_string()),
            },
        };
        Ok(Self { number, meaning })
    }
}

impl PayloadMeaning {
    /// By its encoding name, clock and channels in an SDP (RFC 8866 section 6.6).
    fn of_encoding(encoding: &str) -> Option<Self> {
        let mut parts = encoding.trim().split('/');
        let name = parts.next()?.to_ascii_lowercase();
        let clock: u32 = parts.next()?.trim().parse().ok()?;
        let channels = parts
            .next()
            .map_or(Some(1), |channels| channels.trim().parse().ok())?;
        let linear = |clock| match clock {
            8_000 => Some(Codec::Slin),
            12_000 => Some(Codec::Slin12),
            16_000 => Some(Codec::Slin16),
            24_000 => Some(Codec::Slin24),
            32_000 => Some(Codec::Slin32),
            44_100 => Some(Codec::Slin44),
            48_000 => Some(Codec::Slin48),
            96_000 => Some(Codec::Slin96),
            _ => None,
        };
        let codec = match (name.as_str(), clock, channels) {
            ("opus", 48_000, _) => Some(Codec::Opus),
            ("pcmu", 8_000, 1) => Some(Codec::Ulaw),
            ("pcma", 8_000, 1) => Some(Codec::Alaw),
            ("gsm", 8_000, 1) => Some(Codec::Gsm),
            ("g722", 8_000, 1) => Some(Codec::G722),
            ("l16", clock, 1) => linear(clock),
            ("telephone-event", clock, _) => {
                return Some(Self::TelephoneEvent(ClockRate::new(clock)));
            }
            ("cn", _, _) => return Some(Self::ComfortNoise),
            _ => None,
        };
        Some(codec.map_or(Self::Other, Self::Audio))
    }

    /// Payload type by which a session knows the format; `number`: the one in the packets.
    pub(super) fn number(self, number: u8) -> u8 {
        let wanted = match self {
            Self::Audio(codec) => PayloadKind::Audio(codec),
            Self::TelephoneEvent(_) => PayloadKind::TelephoneEvent,
            Self::ComfortNoise => PayloadKind::ComfortNoise,
            Self::Other => PayloadKind::Unknown(number),
        };
        let known = |number: &u8| match (PayloadKind::classify(*number), self) {
            (PayloadKind::Unknown(_), Self::Other) => true,
            (payload, _) => payload == wanted,
        };
        Some(number)
            .filter(known)
            .or_else(|| (0..128).find(known))
            .unwrap_or(number)
    }
}

/// Packets of one payload type in a stream, and whether they look like Opus: the duration in each
/// packet is the step of the timestamps to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct PayloadShape {
    pub(super) number: u8,
    pub(super) packets: u64,
    /// Times in the file of the first and of the last packet.
    first: Duration,
    last: Duration,
    like_opus: u32,
    unlike_opus: u32,
}

impl PayloadShape {
    /// Matching pairs from which on it is no coincidence.
    const ENOUGH: u32 = 10;

    pub(super) fn new(number: u8) -> Self {
        Self {
            number,
            packets: 0,
            first: Duration::MAX,
            last: Duration::ZERO,
            like_opus: 0,
            unlike_opus: 0,
        }
    }

    /// Takes in a packet that the file has at that time.
    pub(super) fn packet(&mut self, at: Duration) {
        self.packets += 1;
        (self.first, self.last) = (self.first.min(at), self.last.max(at));
    }

    /// Takes in a packet `ticks` behind one that would last `lasts` as Opus; `None`: that one is
    /// not valid Opus.
    pub(super) fn follows(&mut self, lasts: Option<u64>, ticks: u64) {
        match lasts {
            Some(lasts) if lasts == ticks => self.like_opus += 1,
            // Nothing is sent in pauses.
            Some(lasts) if ticks > lasts && (ticks - lasts).is_multiple_of(120) => {}
            _ => self.unlike_opus += 1,
        }
    }

    /// Whether a remark is due if the format is unknown. Numbers below the dynamic ones are fixed,
    /// and the leg's findings name them.
    pub(super) fn is_worth_telling(&self) -> bool {
        DYNAMIC.contains(&self.number) && self.packets >= 5
    }

    fn is_opus(&self) -> bool {
        self.like_opus >= Self::ENOUGH && self.like_opus / 9 >= self.unlike_opus
    }
}

/// Duration of a packet if it is Opus, in ticks of 48 kHz; `None` if it cannot be.
pub(super) fn opus_ticks(number: u8, payload: &[u8]) -> Option<u64> {
    if !DYNAMIC.contains(&number) {
        return None;
    }
    let samples = Codec::Opus.sample_count(payload).ok()?;
    Some(Codec::Opus.rtp_ticks(samples))
}

/// Decision on the format of one payload type of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayloadVerdict {
    /// The format is Asterisk's for this number.
    AsNumbered,
    /// The format is named on the command line or by SDP.
    Told(PayloadMeaning),
    /// The packets look like Opus.
    Opus,
    /// The format is unknown.
    Unknown,
}

/// Decides on the format of a payload type between two sockets: what it is from each time on, in
/// order.
pub(super) fn judge(
    told: &[ToldPayload],
    sessions: &SdpSessions,
    sockets: SocketPair,
    kind: &PayloadShape,
) -> Vec<(Duration, PayloadVerdict)> {
    let number = kind.number;
    let by_option = told.iter().rev().find(|told| told.number == number);
    if let Some(told) = by_option {
        return vec![(Duration::ZERO, PayloadVerdict::Told(told.meaning))];
    }
    let changes = sessions.changes(sockets, kind.first, kind.last);
    let mut verdicts = Vec::new();
    for (from, at) in [(Duration::ZERO, kind.first)].into_iter().chain(changes) {
        let verdict = judge_at(sessions, sockets, kind, at);
        if verdicts.last().is_none_or(|(_, last)| *last != verdict) {
            verdicts.push((from, verdict));
        }
    }
    verdicts
}

/// Decides on the format that a payload type had then.
fn judge_at(
    sessions: &SdpSessions,
    sockets: SocketPair,
    kind: &PayloadShape,
    at: Duration,
) -> PayloadVerdict {
    let number = kind.number;
    if let Some(meaning) = sessions.between(number, sockets, at) {
        return PayloadVerdict::Told(meaning);
    }
    if kind.is_opus() && PayloadKind::classify(number) != PayloadKind::Audio(Codec::Opus) {
        return PayloadVerdict::Opus;
    }
    if let Some(meaning) = sessions.ever(number, sockets, kind.last) {
        return PayloadVerdict::Told(meaning);
    }
    if !matches!(PayloadKind::classify(number), PayloadKind::Unknown(_)) {
        return PayloadVerdict::AsNumbered;
    }
    match sessions.anywhere(number) {
        Some(meaning) => PayloadVerdict::Told(meaning),
        None => PayloadVerdict::Unknown,
    }
}

#[cfg(test)]
mod tests;
