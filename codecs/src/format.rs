//! The names under which media is asked for.

use std::fmt;
use std::str::FromStr;

use crate::Codec;

/// A media format by Asterisk's name: what an external-media channel is asked
/// for and what a registered RTP source claims to send.
///
/// It is a wish. What arrives is told by [`Payload`](crate::Payload).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaFormat {
    /// G.711 µ-law.
    Ulaw,
    /// G.711 A-law.
    Alaw,
    /// Linear 16 bit, 8 kHz.
    Slin,
    /// Linear 16 bit, 16 kHz.
    Slin16,
}

impl MediaFormat {
    /// Every format that works.
    pub const ALL: [Self; 4] = [Self::Ulaw, Self::Alaw, Self::Slin, Self::Slin16];

    /// Asterisk's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ulaw => "ulaw",
            Self::Alaw => "alaw",
            Self::Slin => "slin",
            Self::Slin16 => "slin16",
        }
    }

    /// The codec that a source keeping its promise will send. For what to
    /// expect, never for how to decode.
    pub const fn codec(self) -> Codec {
        match self {
            Self::Ulaw => Codec::Ulaw,
            Self::Alaw => Codec::Alaw,
            Self::Slin => Codec::Slin,
            Self::Slin16 => Codec::Slin16,
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
    /// No format of Asterisk's.
    #[error("{name} is no media format of Asterisk; {WORKING}")]
    Unknown {
        /// As given, quoted and cut to a readable length.
        name: String,
    },
}

const WORKING: &str = "use one of ulaw, alaw, slin, slin16";

const NOT_DECODED: [&str; 13] = [
    "g722", "opus", "gsm", "slin12", "slin24", "slin32", "slin44", "slin48", "slin96", "slin192",
    "g726", "adpcm", "lpc10",
];

const NEVER_SENT: [&str; 6] = ["speex", "speex16", "speex32", "g729", "ilbc", "amr"];

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
        for text in ["g722", "g729", "pcmu"] {
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
