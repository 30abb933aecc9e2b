//! Samples to the payloads that Asterisk takes without negotiation.
//!
//! External media negotiates nothing: whatever comes with a dynamic payload
//! type is dropped there without a word. The four static ones below are heard
//! on every channel, whatever its own format is, because Asterisk goes by the
//! number and transcodes.

use std::fmt;
use std::str::FromStr;

use crate::rate::{RtpClockRate, SampleRate};
use crate::{Codec, MediaFormat, g711, g722};

/// Length of a packet that we send, in milliseconds.
pub const FRAME_MS: u64 = 20;

/// A format in which audio goes to Asterisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendFormat {
    /// G.711 µ-law, payload type 0.
    Ulaw,
    /// G.711 A-law, payload type 8.
    Alaw,
    /// G.722 at 64 kbit/s, payload type 9: the only wide band among them.
    G722,
    /// Linear 16 bit at 8 kHz, payload type 11 by Asterisk's own numbering.
    Slin,
}

impl SendFormat {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Ulaw, Self::Alaw, Self::G722, Self::Slin];

    /// Asterisk's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ulaw => "ulaw",
            Self::Alaw => "alaw",
            Self::G722 => "g722",
            Self::Slin => "slin",
        }
    }

    /// The number that Asterisk knows it by.
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Ulaw => 0,
            Self::Alaw => 8,
            Self::G722 => 9,
            Self::Slin => 11,
        }
    }

    /// The rate of the samples that its [`StreamEncoder`] takes.
    pub const fn sample_rate(self) -> SampleRate {
        match self {
            Self::Ulaw | Self::Alaw | Self::Slin => SampleRate::HZ_8000,
            Self::G722 => SampleRate::HZ_16000,
        }
    }

    /// The rate at which its RTP timestamps run: 8 kHz for G.722 too (RFC 3551, 4.5.2).
    pub const fn rtp_clock_rate(self) -> RtpClockRate {
        RtpClockRate::HZ_8000
    }

    /// Samples in a frame of [`FRAME_MS`].
    pub const fn frame_samples(self) -> usize {
        match self {
            Self::Ulaw | Self::Alaw | Self::Slin => 160,
            Self::G722 => 320,
        }
    }

    /// Bytes of payload in a frame of [`FRAME_MS`].
    pub const fn frame_bytes(self) -> usize {
        match self {
            Self::Ulaw | Self::Alaw | Self::G722 => 160,
            Self::Slin => 320,
        }
    }

    /// The best that goes back to a leg which was asked to send `format`: its
    /// own law for G.711, µ-law for other narrow band, G.722 for wide band.
    pub fn towards(format: MediaFormat) -> Self {
        match format.codec() {
            Codec::Alaw => Self::Alaw,
            codec if codec.sample_rate() <= SampleRate::HZ_8000 => Self::Ulaw,
            _ => Self::G722,
        }
    }
}

impl fmt::Display for SendFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SendFormat {
    type Err = NotSendable;

    fn from_str(text: &str) -> Result<Self, NotSendable> {
        let known = Self::ALL.into_iter().find(|format| format.name() == text);
        known.ok_or(NotSendable)
    }
}

/// A name of no [`SendFormat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("audio goes to Asterisk as ulaw, alaw, g722 or slin; it drops everything else unheard")]
pub struct NotSendable;

/// One stream of samples on its way to Asterisk.
pub struct StreamEncoder {
    format: SendFormat,
    /// Only this one keeps anything between frames.
    g722: Option<Box<g722::G722Encoder>>,
}

impl fmt::Debug for StreamEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl StreamEncoder {
    /// The start of a stream.
    pub fn new(format: SendFormat) -> Self {
        let g722 = || Box::new(g722::G722Encoder::new());
        Self {
            format,
            g722: (format == SendFormat::G722).then(g722),
        }
    }

    /// Appends the payload of `samples` to `out`. G.722 codes them in pairs: an
    /// odd last one waits for the next call.
    pub fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        match (self.format, &mut self.g722) {
            (SendFormat::Ulaw, _) => {
                out.extend(samples.iter().map(|&sample| g711::encode_ulaw(sample)));
            }
            (SendFormat::Alaw, _) => {
                out.extend(samples.iter().map(|&sample| g711::encode_alaw(sample)));
            }
            (SendFormat::Slin, _) => {
                out.extend(samples.iter().flat_map(|sample| sample.to_be_bytes()));
            }
            (SendFormat::G722, Some(encoder)) => {
                encoder.encode(samples, out);
            }
            (SendFormat::G722, None) => unreachable!("it is made with the format"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PayloadKind;

    /// A frame of a tone of 1 kHz at a quarter of full scale.
    fn tone(format: SendFormat, frames: usize) -> Vec<i16> {
        let rate = f64::from(format.sample_rate().hz());
        (0..frames * format.frame_samples())
            .map(|n| ((n as f64 / rate * 1000.0 * std::f64::consts::TAU).sin() * 8192.0) as i16)
            .collect()
    }

    #[test]
    fn a_frame_is_20_ms_in_samples_bytes_and_ticks() {
        for format in SendFormat::ALL {
            let samples = tone(format, 1);
            assert_eq!(samples.len() * 50, format.sample_rate().hz() as usize);
            assert_eq!(format.rtp_clock_rate().hz(), 8000);
            let mut out = vec![1];
            StreamEncoder::new(format).encode(&samples, &mut out);
            assert_eq!(out.len(), 1 + format.frame_bytes(), "{format}");
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        for never in ["slin16", "opus", "ULAW", "", "gsm"] {
            assert_eq!(never.parse::<SendFormat>(), Err(NotSendable), "{never}");
        }
    }

    #[test]
    fn the_decoder_of_its_payload_type_hears_what_went_in() {
        for format in SendFormat::ALL {
            let PayloadKind::Audio(codec) = PayloadKind::classify(format.payload_type()) else {
                panic!("{format} has no decoder");
            };
            assert_eq!(codec.sample_rate(), format.sample_rate(), "{format}");
            let (samples, mut encoder) = (tone(format, 20), StreamEncoder::new(format));
            let (mut decoder, mut heard) = (codec.decoder(), Vec::new());
            for frame in samples.chunks(format.frame_samples()) {
                let mut payload = Vec::new();
                encoder.encode(frame, &mut payload);
                decoder.decode(&payload, &mut heard).unwrap();
            }
            // G.722 answers late by its two filters, and takes a while to adapt.
            let delay = if format == SendFormat::G722 { 22 } else { 0 };
            let (begin, end) = (format.frame_samples() * 5, samples.len() - delay);
            let (mut signal, mut noise) = (0.0, 0.0);
            for n in begin..end {
                let (sent, heard) = (f64::from(samples[n]), f64::from(heard[n + delay]));
                signal += sent * sent;
                noise += (sent - heard).powi(2);
            }
            let ratio = 10.0 * (signal / noise.max(1.0)).log10();
            assert!(ratio > 25.0, "{format}: {ratio:.1} dB");
        }
    }

    #[test]
    fn what_goes_back_is_as_wide_as_what_comes() {
        for (format, back) in [
            (MediaFormat::Ulaw, SendFormat::Ulaw),
            (MediaFormat::Alaw, SendFormat::Alaw),
            (MediaFormat::Slin, SendFormat::Ulaw),
            (MediaFormat::Slin16, SendFormat::G722),
        ] {
            assert_eq!(SendFormat::towards(format), back);
        }
        for format in MediaFormat::ALL {
            let narrow = format.codec().sample_rate() == SampleRate::HZ_8000;
            let back = SendFormat::towards(format);
            assert_eq!(
                back.sample_rate() == SampleRate::HZ_8000,
                narrow,
                "{format}"
            );
        }
    }
}
