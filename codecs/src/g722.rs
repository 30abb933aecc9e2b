//! G.722: 16 kHz audio in 64 kbit/s (ITU-T G.722, 11/1988, mode 1).
//!
//! Two bands of 4 kHz, split by a quadrature mirror filter, each coded as the
//! difference to its prediction: the lower in six bits, the upper in two. An
//! octet holds both and stands for two samples. Block names in the comments
//! are those of the Recommendation's section 6.
//!
//! The arithmetic is that of the Recommendation, for encoder and decoder of
//! different makers stay in step only where they agree bit by bit. The tests
//! hold both against what other programs make of the same sound.

mod band;
mod tables;

use self::band::SubBand;
use self::tables::{DECISIONS, QM2, QM6, QMF};
use crate::codec::{Codec, DecodeError, PayloadDecoder};

/// Taps of the mirror filter, and so samples of the past that it needs.
const MIRROR: usize = 24;

/// The decoder of one stream.
pub(crate) struct G722Decoder {
    low: SubBand,
    high: SubBand,
    /// Sums and differences of both bands, the newest last.
    mirror: [i32; MIRROR],
}

impl G722Decoder {
    pub(crate) fn new() -> Self {
        Self {
            low: SubBand::low(),
            high: SubBand::high(),
            mirror: [0; MIRROR],
        }
    }

    fn octet(&mut self, octet: u8) -> [i16; 2] {
        let low = self.low_band(octet & 0x3f);
        let high = self.high_band(octet >> 6);
        // The receiving mirror filter.
        self.mirror.copy_within(2.., 0);
        self.mirror[MIRROR - 2] = low + high;
        self.mirror[MIRROR - 1] = low - high;
        let (mut first, mut second) = (0, 0);
        for (pair, tap) in self.mirror.as_chunks::<2>().0.iter().zip(0..) {
            second += pair[0] * QMF[tap];
            first += pair[1] * QMF[QMF.len() - 1 - tap];
        }
        [first, second].map(|sum| saturate(sum >> 11) as i16)
    }

    fn low_band(&mut self, code: u8) -> i32 {
        // INVQBL, RECONS, LIMIT: what is heard has all six bits.
        let fine = self.low.scaled(QM6[usize::from(code)]);
        let heard = (self.low.prediction() + fine).clamp(-16_384, 16_383);
        self.low.follow_low(code >> 2);
        heard
    }

    fn high_band(&mut self, code: u8) -> i32 {
        let difference = self.high.scaled(QM2[usize::from(code)]);
        let heard = (self.high.prediction() + difference).clamp(-16_384, 16_383);
        self.high.follow_high(code);
        heard
    }
}

impl PayloadDecoder for G722Decoder {
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), DecodeError> {
        Codec::G722.sample_count(payload)?;
        out.reserve(2 * payload.len());
        for &octet in payload {
            out.extend(self.octet(octet));
        }
        Ok(())
    }
}

/// An encoder of one stream.
///
/// ```
/// let mut encoder = asterscribe_codecs::g722::G722Encoder::new();
/// let mut payload = Vec::new();
/// encoder.encode(&[0; 320], &mut payload); // 20 ms at 16 kHz
/// assert_eq!(payload.len(), 160);
/// ```
#[derive(Debug, Clone)]
pub struct G722Encoder {
    low: SubBand,
    high: SubBand,
    /// Samples, the newest last.
    mirror: [i32; MIRROR],
    /// The first of two samples, until the second comes.
    half: Option<i16>,
}

impl Default for G722Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl G722Encoder {
    /// The start of a stream.
    pub fn new() -> Self {
        Self {
            low: SubBand::low(),
            high: SubBand::high(),
            mirror: [0; MIRROR],
            half: None,
        }
    }

    /// Appends one octet to `out` for every two `samples` at 16 kHz. Of an odd
    /// number the last one waits for the next call.
    pub fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        for &sample in samples {
            match self.half.take() {
                None => self.half = Some(sample),
                Some(first) => out.push(self.pair(first, sample)),
            }
        }
    }

    fn pair(&mut self, first: i16, second: i16) -> u8 {
        // The transmitting mirror filter.
        self.mirror.copy_within(2.., 0);
        self.mirror[MIRROR - 2] = i32::from(first);
        self.mirror[MIRROR - 1] = i32::from(second);
        let (mut odd, mut even) = (0, 0);
        for (pair, tap) in self.mirror.as_chunks::<2>().0.iter().zip(0..) {
            odd += pair[0] * QMF[tap];
            even += pair[1] * QMF[QMF.len() - 1 - tap];
        }
        let low = self.low_code((even + odd) >> 14);
        let high = self.high_code((even - odd) >> 14);
        high << 6 | low
    }

    fn low_code(&mut self, sample: i32) -> u8 {
        // SUBTRA, QUANTL.
        let difference = saturate(sample - self.low.prediction());
        let size = magnitude(difference);
        let passed = DECISIONS.partition_point(|&level| size >= self.low.decision(level));
        let passed = passed as u8; // 29 at most
        let code = match (difference < 0, passed) {
            (false, _) => 61 - passed,
            (true, 0 | 1) => 63 - passed,
            (true, _) => 33 - passed,
        };
        self.low.follow_low(code >> 2);
        code
    }

    fn high_code(&mut self, sample: i32) -> u8 {
        // SUBTRA, QUANTH.
        let difference = saturate(sample - self.high.prediction());
        let is_large = magnitude(difference) >= self.high.decision(564);
        let code = match (difference < 0, is_large) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        };
        self.high.follow_high(code);
        code
    }
}

/// One's complement for negative values.
fn magnitude(difference: i32) -> i32 {
    if difference < 0 {
        !difference
    } else {
        difference
    }
}

fn saturate(value: i32) -> i32 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

#[cfg(test)]
mod tests;
