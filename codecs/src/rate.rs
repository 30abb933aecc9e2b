//! The two rates of a codec, which are easily taken for one another: G.722 has
//! a sample rate of 16 kHz and an RTP clock of 8 kHz (RFC 3551, 4.5.2), Opus
//! is decoded here at 16 kHz and has a clock of 48 kHz (RFC 7587, 4.1).

use std::fmt;

/// Audio samples per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleRate(u32);

impl SampleRate {
    /// Narrow band telephony.
    pub const HZ_8000: Self = Self(8_000);
    /// A quarter of the compact disc's rate.
    pub const HZ_11025: Self = Self(11_025);
    /// Asterisk's `slin12`.
    pub const HZ_12000: Self = Self(12_000);
    /// Wide band telephony.
    pub const HZ_16000: Self = Self(16_000);
    /// Half of the compact disc's rate.
    pub const HZ_22050: Self = Self(22_050);
    /// Asterisk's `slin24`, and what many speech synthesisers give.
    pub const HZ_24000: Self = Self(24_000);
    /// Asterisk's `slin32`.
    pub const HZ_32000: Self = Self(32_000);
    /// The compact disc's rate.
    pub const HZ_44100: Self = Self(44_100);
    /// The rate of nearly all sound hardware.
    pub const HZ_48000: Self = Self(48_000);
    /// Asterisk's `slin96`.
    pub const HZ_96000: Self = Self(96_000);
    /// The rate that this crate decodes every codec to: the one that speech detectors and Whisper
    /// take.
    pub const OUTPUT: Self = Self::HZ_16000;

    /// `hz` samples per second, or nothing for 0.
    pub const fn new(hz: u32) -> Option<Self> {
        if hz == 0 { None } else { Some(Self(hz)) }
    }

    /// In hertz; never 0.
    pub const fn hz(self) -> u32 {
        self.0
    }
}

impl fmt::Display for SampleRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Hz", self.0)
    }
}

/// Units of the RTP timestamp per second (RFC 3550, 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RtpClockRate(u32);

impl RtpClockRate {
    /// The clock of G.711, of GSM, of 8 kHz linear audio and, by an old mistake, of G.722.
    pub const HZ_8000: Self = Self(8_000);
    /// The clock of 12 kHz linear audio.
    pub const HZ_12000: Self = Self(12_000);
    /// The clock of 16 kHz linear audio.
    pub const HZ_16000: Self = Self(16_000);
    /// The clock of 24 kHz linear audio.
    pub const HZ_24000: Self = Self(24_000);
    /// The clock of 32 kHz linear audio.
    pub const HZ_32000: Self = Self(32_000);
    /// The clock of 44.1 kHz linear audio.
    pub const HZ_44100: Self = Self(44_100);
    /// The clock of 48 kHz linear audio and of Opus at any rate.
    pub const HZ_48000: Self = Self(48_000);
    /// The clock of 96 kHz linear audio.
    pub const HZ_96000: Self = Self(96_000);

    /// `hz` timestamp units per second, or nothing for 0.
    pub const fn new(hz: u32) -> Option<Self> {
        if hz == 0 { None } else { Some(Self(hz)) }
    }

    /// In hertz; never 0.
    pub const fn hz(self) -> u32 {
        self.0
    }
}

impl fmt::Display for RtpClockRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Hz", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rate_is_zero() {
        assert_eq!(SampleRate::new(0), None);
        assert_eq!(RtpClockRate::new(0), None);
        assert_eq!(SampleRate::new(16_000), Some(SampleRate::OUTPUT));
        assert_eq!(
            RtpClockRate::new(48_000).map(RtpClockRate::hz),
            Some(48_000)
        );
    }
}
