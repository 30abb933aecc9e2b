//! The names under which media is asked for.

use std::fmt;
use std::str::FromStr;

use crate::Codec;

/// A media format by Asterisk's name: what an external-media channel is asked
/// for and what a registered RTP source claims to send.
///
/// It is a wish. What arrives is told by [`PayloadKind`](crate::PayloadKind).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaFormat {
    /// G.711 µ-law.
    Ulaw,
    /// G.711 A-law.
    Alaw,
    /// GSM full rate.
    Gsm,
    /// G.722: wide band in 64 kbit/s, as much as G.711 takes.
    G722,
    /// Opus: wide band in less than half of that, with a remedy for losses.
    Opus,
    /// Linear 16 bit, 8 kHz.
    Slin,
    /// Linear 16 bit, 12 kHz.
    Slin12,
    /// Linear 16 bit, 16 kHz.
    Slin16,
    /// Linear 16 bit, 24 kHz.
    Slin24,
    /// Linear 16 bit, 32 kHz.
    Slin32,
    /// Linear 16 bit, 44.1 kHz.
    Slin44,
    /// Linear 16 bit, 48 kHz.
    Slin48,
    /// Linear 16 bit, 96 kHz.
    Slin96,
}

impl MediaFormat {
    /// Every format that works.
    pub const ALL: [Self; 13] = [
        Self::Ulaw,
        Self::Alaw,
        Self::Gsm,
        Self::G722,
        Self::Opus,
        Self::Slin,
        Self::Slin12,
        Self::Slin16,
        Self::Slin24,
        Self::Slin32,
        Self::Slin44,
        Self::Slin48,
        Self::Slin96,
    ];

    /// Asterisk's name of it.
    pub const fn name(self) -> &'static str {
        self.codec().name()
    }

    /// The codec that a source keeping its promise will send. For what to
    /// expect, never for how to decode.
    pub const fn codec(self) -> Codec {
        match self {
            Self::Ulaw => Codec::Ulaw,
            Self::Alaw => Codec::Alaw,
            Self::Gsm => Codec::Gsm,
            Self::G722 => Codec::G722,
            Self::Opus => Codec::Opus,
            Self::Slin => Codec::Slin,
            Self::Slin12 => Codec::Slin12,
            Self::Slin16 => Codec::Slin16,
            Self::Slin24 => Codec::Slin24,
            Self::Slin32 => Codec::Slin32,
            Self::Slin44 => Codec::Slin44,
            Self::Slin48 => Codec::Slin48,
            Self::Slin96 => Codec::Slin96,
        }
    }
}

impl fmt::Display for MediaFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for MediaFormat {
    type Err = UnusableFormat;

    fn from_str(text: &str) -> Result<Self, UnusableFormat> {
        if let Some(format) = Self::ALL.into_iter().find(|format| format.name() == text) {
            return Ok(format);
        }
        let name = quoted(text);
        Err(if NEVER_SENT.contains(&text) {
            UnusableFormat::NeverSent { name }
        } else if text == BREAKS_OFF {
            UnusableFormat::BreaksOff { name }
        } else if NOT_DECODED.contains(&text) {
            UnusableFormat::NotDecoded { name }
        } else {
            UnusableFormat::Unknown { name }
        })
    }
}

/// Why a string names no format that can be used; the text lists those that can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnusableFormat {
    /// Asterisk has the format, this server has no decoder for it.
    #[error("{name} is not decoded by this server; {WORKING}")]
    NotDecoded {
        /// As given, quoted and cut to a readable length.
        name: String,
    },
    /// Asterisk takes the request and then never sends a packet, because it
    /// has no codec module to make the format.
    #[error(
        "{name} would be accepted by Asterisk, which has no encoder for it and would send nothing; {WORKING}"
    )]
    NeverSent {
        /// As given, quoted and cut to a readable length.
        name: String,
    },
    /// Asterisk sends it, until a packet is shorter than the others; then next
    /// to nothing, because the buffer it cuts packets in holds 8,000 bytes, and
    /// 20 ms of this are 7,680.
    #[error("{name} breaks off inside Asterisk, whose packets cannot hold it; {WORKING}")]
    BreaksOff {
        /// As given, quoted and cut to a readable length.
        name: String,
    },
    /// No format of Asterisk's.
    #[error("{name} is no media format of Asterisk; {WORKING}")]
    Unknown {
        /// As given, quoted and cut to a readable length.
        name: String,
    },
}

const WORKING: &str = "use one of ulaw, alaw, gsm, g722, opus, slin, slin12, slin16, slin24, \
     slin32, slin44, slin48, slin96";

const BREAKS_OFF: &str = "slin192";

/// Asterisk makes them, and nobody would choose them over what works.
const NOT_DECODED: [&str; 5] = ["g726", "g726aal2", "adpcm", "lpc10", "codec2"];

/// Asterisk has no codec module for them, or passes them through only.
const NEVER_SENT: [&str; 14] = [
    "speex", "speex16", "speex32", "g729", "g723", "ilbc", "amr", "amrwb", "evs", "siren7",
    "siren14", "g719", "silk8", "silk16",
];

/// Longest part of an unusable name that is repeated back.
const QUOTED_CHARS: usize = 24;

/// Escaped, so that no control character reaches a log or a terminal.
fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(QUOTED_CHARS).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> UnusableFormat {
        text.parse::<MediaFormat>().unwrap_err()
    }

    #[test]
    fn names_survive_a_round_trip() {
        for format in MediaFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
    }

    #[test]
    fn every_refusal_lists_what_works() {
        for text in ["adpcm", "g729", "pcmu"] {
            let said = refusal(text).to_string();
            assert!(said.contains(&format!("{text:?}")), "{said}");
            for format in MediaFormat::ALL {
                assert!(said.contains(format.name()), "{said}");
            }
        }
    }

    #[test]
    fn known_formats_are_told_from_nonsense() {
        for text in NOT_DECODED {
            assert!(
                matches!(refusal(text), UnusableFormat::NotDecoded { .. }),
                "{text}"
            );
        }
        for text in NEVER_SENT {
            assert!(
                matches!(refusal(text), UnusableFormat::NeverSent { .. }),
                "{text}"
            );
        }
        assert!(matches!(
            refusal("slin192"),
            UnusableFormat::BreaksOff { .. }
        ));
        for text in ["", "ULAW", " ulaw", "ulaw ", "slin8", "µ-law"] {
            assert!(
                matches!(refusal(text), UnusableFormat::Unknown { .. }),
                "{text}"
            );
        }
    }

    #[test]
    fn a_hostile_name_is_cut_and_escaped() {
        let said = refusal(&"\u{1b}[2J\n".repeat(10_000)).to_string();
        assert!(
            said.len() < 400 && !said.contains(char::is_control),
            "{said}"
        );
        assert!(said.contains('…'));
    }
}
