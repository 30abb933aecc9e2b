//! The codecs: their rates, their sizes, and the door to their decoders.

use std::fmt;

use crate::rate::{RtpClockRate, SampleRate};
use crate::{g711, l16};

/// How a payload holds its samples. All are mono.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// PCMU, G.711 µ-law (RFC 3551, 4.5.14).
    Ulaw,
    /// PCMA, G.711 A-law (RFC 3551, 4.5.14).
    Alaw,
    /// L16 at 8 kHz, big-endian (RFC 3551, 4.5.11).
    Slin,
    /// L16 at 16 kHz, big-endian.
    Slin16,
}

impl Codec {
    /// Every codec.
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

    /// The rate of the samples that its decoder yields.
    pub const fn sample_rate(self) -> SampleRate {
        match self {
            Self::Ulaw | Self::Alaw | Self::Slin => SampleRate::HZ_8000,
            Self::Slin16 => SampleRate::HZ_16000,
        }
    }

    /// The rate at which its RTP timestamps run.
    pub const fn rtp_clock_rate(self) -> RtpClockRate {
        match self {
            Self::Ulaw | Self::Alaw | Self::Slin => RtpClockRate::HZ_8000,
            Self::Slin16 => RtpClockRate::HZ_16000,
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
    /// Those of [`Decoder::decode`].
    pub fn sample_count(self, payload: &[u8]) -> Result<usize, DecodeError> {
        if payload.is_empty() {
            return Err(DecodeError::Empty { codec: self });
        }
        match self {
            Self::Ulaw | Self::Alaw => Ok(payload.len()),
            Self::Slin | Self::Slin16 => l16::sample_count(self, payload),
        }
    }

    /// A decoder at the start of a stream. For the codecs here that keep
    /// nothing between packets it costs no allocation.
    pub fn decoder(self) -> Box<dyn Decoder> {
        match self {
            Self::Ulaw => Box::new(g711::UlawDecoder),
            Self::Alaw => Box::new(g711::AlawDecoder),
            Self::Slin => Box::new(l16::L16Decoder { codec: self }),
            Self::Slin16 => Box::new(l16::L16Decoder { codec: self }),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One stream of payloads of one codec, in the order of their timestamps.
pub trait Decoder: Send {
    /// Appends the samples of `payload` to `out`: as many as
    /// [`Codec::sample_count`] tells, of any packet length.
    ///
    /// # Errors
    /// The payload cannot be one of this codec. `out` is then as it was.
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), DecodeError>;
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
            (Codec::Slin, 320, 160),
            (Codec::Slin16, 640, 320),
        ] {
            let samples = codec.sample_count(&vec![0; bytes]).unwrap();
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
