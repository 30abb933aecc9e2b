//! GSM full rate, 13 kbit/s at 8 kHz: the decoder (ETSI GSM 06.10; the octets
//! of a frame as in RFC 3551, 4.5.8).
//!
//! A frame of 20 ms holds the spectrum as eight log area ratios and, for each
//! of its four parts, the distance and gain of the pitch and a coarse residue
//! of 13 pulses. Section numbers in the comments are those of GSM 06.10, whose
//! 16-bit arithmetic is kept to the bit.

mod spectrum;

use self::spectrum::{LogAreaRatios, SynthesisFilter};
use crate::codec::{Codec, DecodeError, PayloadDecoder};

/// Octets of a frame.
const FRAME: usize = 33;
/// Samples of a frame.
const FRAME_SAMPLES: usize = 160;
/// Signature of a GSM frame: its first four bits (RFC 3551, 4.5.8).
const SIGNATURE: u8 = 0xd;
/// Parts of a frame, and samples in each.
const PARTS: usize = 4;
const PART_SAMPLES: usize = FRAME_SAMPLES / PARTS;
/// Pulses of a part, three samples apart.
const PULSES: usize = 13;

/// Distance of the pitch, in samples.
const MIN_LAG: usize = 40;
const MAX_LAG: usize = 120;

/// Gain of the pitch (QLB, table 4.3b).
const GAINS: [i16; 4] = [3_277, 11_469, 21_299, 32_767];
/// Mantissas of the pulses' scale (FAC, table 4.6).
const MANTISSAS: [i16; 8] = [
    18_431, 20_479, 22_527, 24_575, 26_623, 28_671, 30_719, 32_767,
];

/// How many samples `payload` holds.
pub(crate) fn sample_count(payload: &[u8]) -> Result<usize, DecodeError> {
    let frames = payload.chunks(FRAME);
    let count = frames.len();
    for frame in frames {
        if frame.len() != FRAME || frame[0] >> 4 != SIGNATURE {
            return Err(DecodeError::Malformed {
                codec: Codec::Gsm,
                len: payload.len(),
            });
        }
    }
    Ok(count * FRAME_SAMPLES)
}

/// The decoder of one stream.
pub(crate) struct GsmDecoder {
    /// The last residue, with the pitch in it, the newest last.
    residue: [i16; MAX_LAG],
    lag: usize,
    synthesis: SynthesisFilter,
    /// The de-emphasis filter's last sample.
    last: i16,
}

impl GsmDecoder {
    pub(crate) fn new() -> Self {
        Self {
            residue: [0; MAX_LAG],
            lag: MIN_LAG,
            synthesis: SynthesisFilter::default(),
            last: 0,
        }
    }

    fn frame(&mut self, frame: &[u8; FRAME], out: &mut Vec<i16>) {
        let mut bits = BitReader { frame, place: 4 };
        let coefficients = LogAreaRatios::read(|width| bits.take(width));
        let mut samples = [0; FRAME_SAMPLES];
        for part in samples.as_chunks_mut::<PART_SAMPLES>().0 {
            *part = self.part(&mut bits);
        }
        self.synthesis.run(&coefficients, &mut samples);
        for sample in samples {
            // De-emphasis, doubling and truncation (5.3.5 to 5.3.7).
            self.last = sample.saturating_add(product(self.last, 28_180));
            out.push(self.last.saturating_add(self.last) & !7);
        }
    }

    /// The residue of a part: its pulses and what repeats from before (5.3.1, 5.3.2).
    fn part(&mut self, bits: &mut BitReader<'_>) -> [i16; PART_SAMPLES] {
        let lag = bits.take(7) as usize;
        let gain = GAINS[bits.take(2) as usize];
        let grid = bits.take(2) as usize;
        let (mantissa, exponent) = scale(bits.take(6));
        let mut part = [0; PART_SAMPLES];
        for pulse in 0..PULSES {
            part[grid + 3 * pulse] = inverse_apcm(bits.take(3), mantissa, exponent);
        }
        // A distance that cannot be is a bit error: the last one is kept.
        if (MIN_LAG..=MAX_LAG).contains(&lag) {
            self.lag = lag;
        }
        for (k, sample) in part.iter_mut().enumerate() {
            // The distance is never shorter than the part.
            let before = self.residue[MAX_LAG - self.lag + k];
            *sample = sample.saturating_add(product(gain, before));
        }
        self.residue.copy_within(PART_SAMPLES.., 0);
        self.residue[MAX_LAG - PART_SAMPLES..].copy_from_slice(&part);
        part
    }
}

impl PayloadDecoder for GsmDecoder {
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), DecodeError> {
        Codec::Gsm.sample_count(payload)?;
        for frame in payload.as_chunks::<FRAME>().0 {
            self.frame(frame, out);
        }
        Ok(())
    }
}

/// Fields of a frame, the most significant bit first.
struct BitReader<'a> {
    frame: &'a [u8; FRAME],
    place: usize,
}

impl BitReader<'_> {
    fn take(&mut self, width: usize) -> i16 {
        let mut value = 0;
        for place in self.place..self.place + width {
            let bit = self.frame[place / 8] >> (7 - place % 8) & 1;
            value = value << 1 | i16::from(bit);
        }
        self.place += width;
        value
    }
}

/// Mantissa and exponent of a part's largest pulse (4.2.15 of the decoded XMAXC).
fn scale(coded: i16) -> (i16, i16) {
    let mut exponent = if coded > 15 { (coded >> 3) - 1 } else { 0 };
    let mut mantissa = coded - (exponent << 3);
    if mantissa == 0 {
        return (7, -4);
    }
    while mantissa <= 7 {
        mantissa = mantissa << 1 | 1;
        exponent -= 1;
    }
    (mantissa - 8, exponent)
}

/// The height of a pulse (4.2.16).
fn inverse_apcm(coded: i16, mantissa: i16, exponent: i16) -> i16 {
    // Exponents are -4 ..= 6.
    let shift = 6 - exponent;
    let rounding = if shift == 0 { 0 } else { 1 << (shift - 1) };
    let height = product(((coded << 1) - 7) << 12, MANTISSAS[mantissa as usize]);
    height.saturating_add(rounding) >> shift
}

/// Product of two fractions of 15 bits, rounded.
fn product(a: i16, b: i16) -> i16 {
    let rounded = (i32::from(a) * i32::from(b) + 16_384) >> 15;
    // Beyond the range only for both at their negative end.
    rounded.min(i32::from(i16::MAX)) as i16
}

#[cfg(test)]
mod tests;
