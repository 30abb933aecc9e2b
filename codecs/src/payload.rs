//! RTP payload types as Asterisk numbers them.

use crate::Codec;

/// The content of a packet by its payload type (RFC 3550, 5.1).
///
/// The numbers are Asterisk's own for external media, where nothing is
/// negotiated. They differ from the static assignments of RFC 3551, table 4, in
/// one place: 10 and 11 are 8 kHz mono here, not 44.1 kHz. A sender that is not
/// Asterisk may use any dynamic number for telephone events: whoever has its
/// packets tells those by their content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PayloadKind {
    /// Audio that [`Codec::decoder`] takes.
    Audio(Codec),
    /// Comfort noise parameters (RFC 3389); 19 is the number it had before.
    ComfortNoise,
    /// DTMF and other events (RFC 4733).
    TelephoneEvent,
    /// Cisco's DTMF from before RFC 2833.
    CiscoDtmf,
    /// Anything else, by its number; values above 127 are no payload types.
    Unknown(u8),
}

impl PayloadKind {
    /// The content that payload type `pt` stands for.
    pub const fn classify(pt: u8) -> Self {
        match pt {
            0 => Self::Audio(Codec::Ulaw),
            3 => Self::Audio(Codec::Gsm),
            8 => Self::Audio(Codec::Alaw),
            9 => Self::Audio(Codec::G722),
            10 | 11 => Self::Audio(Codec::Slin),
            107 => Self::Audio(Codec::Opus),
            118 => Self::Audio(Codec::Slin16),
            122 => Self::Audio(Codec::Slin12),
            123 => Self::Audio(Codec::Slin24),
            124 => Self::Audio(Codec::Slin32),
            125 => Self::Audio(Codec::Slin44),
            126 => Self::Audio(Codec::Slin48),
            127 => Self::Audio(Codec::Slin96),
            13 | 19 => Self::ComfortNoise,
            101 => Self::TelephoneEvent,
            121 => Self::CiscoDtmf,
            other => Self::Unknown(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asterisk_numbers() {
        let known = [
            (0, PayloadKind::Audio(Codec::Ulaw)),
            (3, PayloadKind::Audio(Codec::Gsm)),
            (8, PayloadKind::Audio(Codec::Alaw)),
            (9, PayloadKind::Audio(Codec::G722)),
            (10, PayloadKind::Audio(Codec::Slin)),
            (11, PayloadKind::Audio(Codec::Slin)),
            (13, PayloadKind::ComfortNoise),
            (19, PayloadKind::ComfortNoise),
            (101, PayloadKind::TelephoneEvent),
            (107, PayloadKind::Audio(Codec::Opus)),
            (118, PayloadKind::Audio(Codec::Slin16)),
            (121, PayloadKind::CiscoDtmf),
            (122, PayloadKind::Audio(Codec::Slin12)),
            (123, PayloadKind::Audio(Codec::Slin24)),
            (124, PayloadKind::Audio(Codec::Slin32)),
            (125, PayloadKind::Audio(Codec::Slin44)),
            (126, PayloadKind::Audio(Codec::Slin48)),
            (127, PayloadKind::Audio(Codec::Slin96)),
        ];
        for pt in 0..=u8::MAX {
            let expected = known.iter().find(|(number, _)| *number == pt);
            let expected = expected.map_or(PayloadKind::Unknown(pt), |(_, payload)| *payload);
            assert_eq!(PayloadKind::classify(pt), expected, "{pt}");
        }
    }
}
