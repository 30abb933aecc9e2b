//! The codecs: their rates, their sizes, and the door to their decoders.

use std::fmt;

use crate::rate::{RtpClockRate, SampleRate};
use crate::{g711, g722, gsm, l16, opus};

/// How a payload holds its samples. All are mono, but for Opus, whose packets
/// may be stereo and are decoded to mono.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// PCMU, G.711 µ-law (RFC 3551, 4.5.14).
    Ulaw,
    /// PCMA, G.711 A-law (RFC 3551, 4.5.14).
    Alaw,
    /// GSM full rate (RFC 3551, 4.5.8).
    Gsm,
    /// G.722 at 64 kbit/s (RFC 3551, 4.5.2).
    G722,
    /// Opus (RFC 7587), decoded to 16 kHz whatever it was made from.
    Opus,
    /// L16 at 8 kHz, big-endian (RFC 3551, 4.5.11).
    Slin,
    /// L16 at 12 kHz, big-endian.
    Slin12,
    /// L16 at 16 kHz, big-endian.
    Slin16,
    /// L16 at 24 kHz, big-endian.
    Slin24,
    /// L16 at 32 kHz, big-endian.
    Slin32,
    /// L16 at 44.1 kHz, big-endian.
    Slin44,
    /// L16 at 48 kHz, big-endian.
    Slin48,
    /// L16 at 96 kHz, big-endian.
    Slin96,
}

impl Codec {
    /// Every codec.
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
        match self {
            Self::Ulaw => "ulaw",
            Self::Alaw => "alaw",
            Self::Gsm => "gsm",
            Self::G722 => "g722",
            Self::Opus => "opus",
            Self::Slin => "slin",
            Self::Slin12 => "slin12",
            Self::Slin16 => "slin16",
            Self::Slin24 => "slin24",
            Self::Slin32 => "slin32",
            Self::Slin44 => "slin44",
            Self::Slin48 => "slin48",
            Self::Slin96 => "slin96",
        }
    }

    /// The rate of the samples that its decoder yields.
    pub const fn sample_rate(self) -> SampleRate {
        match self {
            Self::Ulaw | Self::Alaw | Self::Gsm | Self::Slin => SampleRate::HZ_8000,
            Self::Slin12 => SampleRate::HZ_12000,
            Self::G722 | Self::Opus | Self::Slin16 => SampleRate::HZ_16000,
            Self::Slin24 => SampleRate::HZ_24000,
            Self::Slin32 => SampleRate::HZ_32000,
            Self::Slin44 => SampleRate::HZ_44100,
            Self::Slin48 => SampleRate::HZ_48000,
            Self::Slin96 => SampleRate::HZ_96000,
        }
    }

    /// The rate at which its RTP timestamps run.
    pub const fn rtp_clock_rate(self) -> RtpClockRate {
        match self {
            Self::Ulaw | Self::Alaw | Self::Gsm | Self::G722 | Self::Slin => RtpClockRate::HZ_8000,
            Self::Slin12 => RtpClockRate::HZ_12000,
            Self::Slin16 => RtpClockRate::HZ_16000,
            Self::Slin24 => RtpClockRate::HZ_24000,
            Self::Slin32 => RtpClockRate::HZ_32000,
            Self::Slin44 => RtpClockRate::HZ_44100,
            Self::Opus | Self::Slin48 => RtpClockRate::HZ_48000,
            Self::Slin96 => RtpClockRate::HZ_96000,
        }
    }

    /// How far `samples` decoded samples advance the RTP timestamp, in units of
    /// [`rtp_clock_rate`](Self::rtp_clock_rate).
    pub const fn rtp_ticks(self, samples: usize) -> u64 {
        // Widening only: usize has at most 64 bits.
        samples as u64 * self.rtp_clock_rate().hz() as u64 / self.sample_rate().hz() as u64
    }

    /// How many samples `payload` decodes to, at
    /// [`sample_rate`](Self::sample_rate), told without decoding it.
    ///
    /// The whole payload is asked for, because some codecs write their length
    /// into it.
    ///
    /// # Errors
    /// Those of [`PayloadDecoder::decode`].
    pub fn sample_count(self, payload: &[u8]) -> Result<usize, DecodeError> {
        if payload.is_empty() {
            return Err(DecodeError::Empty { codec: self });
        }
        match self {
            Self::Ulaw | Self::Alaw => Ok(payload.len()),
            Self::G722 => Ok(2 * payload.len()),
            Self::Gsm => gsm::sample_count(payload),
            Self::Opus => opus::sample_count(payload),
            linear => l16::sample_count(linear, payload),
        }
    }

    /// A decoder at the start of a stream. For G.711 and linear audio, which
    /// keep nothing between packets, it costs no allocation; of the others
    /// Opus takes most, some 18 KiB.
    pub fn decoder(self) -> Box<dyn PayloadDecoder> {
        match self {
            Self::Ulaw => Box::new(g711::UlawDecoder),
            Self::Alaw => Box::new(g711::AlawDecoder),
            Self::Gsm => Box::new(gsm::GsmDecoder::new()),
            Self::G722 => Box::new(g722::G722Decoder::new()),
            Self::Opus => Box::new(opus::OpusDecoder::new()),
            linear => Box::new(l16::L16Decoder { codec: linear }),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One stream of payloads of one codec, in the order of their timestamps.
pub trait PayloadDecoder: Send {
    /// Appends the samples of `payload` to `out`: as many as
    /// [`Codec::sample_count`] tells, of any packet length.
    ///
    /// # Errors
    /// The payload cannot be one of this codec. `out` is then as it was.
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), DecodeError>;

    /// Appends `samples` in place of packets that did not come, if the codec
    /// has a way of its own to make them up; `next` is the payload after the
    /// gap, of the same codec, if it is there already. It is only looked at,
    /// and must still be decoded.
    ///
    /// Answers how many of the samples are made up; the others are silence.
    /// A codec without a way of its own appends nothing.
    fn conceal(&mut self, samples: usize, next: Option<&[u8]>, out: &mut Vec<i16>) -> usize {
        let _ = (samples, next, out);
        0
    }
}

/// Why a packet yields no audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The payload type carries something else than audio, or is unknown.
    #[error("payload type {0} is none that is decoded to audio")]
    NotAudio(u8),
    /// There are no bytes after the RTP header.
    #[error("empty {codec} payload")]
    Empty {
        /// By the packet's payload type.
        codec: Codec,
    },
    /// 16-bit samples, and half of one at the end.
    #[error("{codec} payload of {len} bytes, which is no whole number of 16-bit samples")]
    OddLength {
        /// By the packet's payload type.
        codec: Codec,
        /// Bytes of payload.
        len: usize,
    },
    /// A payload with a structure of its own, which this one has not.
    #[error("{len} bytes that are no {codec} payload")]
    Malformed {
        /// By the packet's payload type.
        codec: Codec,
        /// Bytes of payload.
        len: usize,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn twenty_milliseconds_of_each_as_asterisk_sends_them() {
        for (codec, bytes, ticks) in [
            (Codec::Ulaw, 160, 160),
            (Codec::Alaw, 160, 160),
            (Codec::Gsm, 33, 160),
            (Codec::G722, 160, 160),
            (Codec::Opus, 120, 960),
            (Codec::Slin, 320, 160),
            (Codec::Slin12, 480, 240),
            (Codec::Slin16, 640, 320),
            (Codec::Slin24, 960, 480),
            (Codec::Slin32, 1_280, 640),
            (Codec::Slin44, 1_764, 882),
            (Codec::Slin48, 1_920, 960),
            (Codec::Slin96, 3_840, 1_920),
        ] {
            let mut payload = vec![0; bytes];
            payload[0] = match codec {
                Codec::Gsm => 0xd0,
                Codec::Opus => 0x08, // 20 ms of SILK
                _ => 0,
            };
            let samples = codec.sample_count(&payload).unwrap();
            assert_eq!(samples as u32, codec.sample_rate().hz() / 50);
            assert_eq!(codec.rtp_ticks(samples), ticks);
        }
    }

    #[test]
    fn nothing_is_an_error_in_every_codec() {
        for codec in Codec::ALL {
            let mut out = vec![7];
            assert_eq!(
                codec.decoder().decode(&[], &mut out),
                Err(DecodeError::Empty { codec })
            );
            assert_eq!(out, [7]);
        }
    }

    proptest! {
        #[test]
        fn the_count_is_what_decoding_yields(
            codec in prop::sample::select(&Codec::ALL[..]),
            payload in prop::collection::vec(any::<u8>(), 0..1500),
        ) {
            let mut out = vec![1, 2, 3];
            let result = codec.decoder().decode(&payload, &mut out);
            match codec.sample_count(&payload) {
                Ok(samples) => {
                    prop_assert_eq!(result, Ok(()));
                    prop_assert_eq!(out.len(), 3 + samples);
                }
                Err(error) => {
                    prop_assert_eq!(result, Err(error));
                    prop_assert_eq!(out.len(), 3);
                }
            }
            prop_assert_eq!(&out[..3], &[1, 2, 3]);
        }
    }
}
