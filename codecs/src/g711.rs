//! G.711: 8-bit logarithmic audio (ITU-T G.711, 11/1988), as 16-bit linear.
//!
//! µ-law has 14 bits of linear range and A-law 13; both are scaled to the top
//! of 16 bits here, as everybody does. Decoding is a table made at compile
//! time, 512 bytes per law.

use crate::codec::{Codec, DecodeError, PayloadDecoder};

/// The linear value of a µ-law octet, -32124 ..= 32124. Both 0xff and 0x7f are 0.
pub const fn decode_ulaw(code: u8) -> i16 {
    ULAW[code as usize]
}

/// The linear value of an A-law octet, -32256 ..= 32256 and never 0.
pub const fn decode_alaw(code: u8) -> i16 {
    ALAW[code as usize]
}

/// The µ-law octet whose quantisation interval holds `sample`; values beyond
/// the range of the law become its extremes.
pub const fn encode_ulaw(sample: i16) -> u8 {
    let biased = magnitude(sample) + ULAW_BIAS;
    let biased = if biased > ULAW_MAX { ULAW_MAX } else { biased };
    // The bias puts the leading one of every magnitude at bit 7 or above, so
    // its place is the segment and the four bits below it the step.
    let segment = biased.ilog2() - 7;
    let step = (biased >> (segment + 3)) & 0x0f;
    !(sign_bit(sample < 0) | ((segment << 4) | step) as u8)
}

/// The A-law octet whose quantisation interval holds `sample`.
pub const fn encode_alaw(sample: i16) -> u8 {
    let units = magnitude(sample) >> 4;
    // Segments 0 and 1 have the same step, from 32 units on it doubles.
    let code = if units < 32 {
        units
    } else {
        let segment = units.ilog2() - 3;
        (segment << 4) | ((units >> (segment - 1)) & 0x0f)
    };
    (sign_bit(sample >= 0) | code as u8) ^ ALAW_EVEN_BITS
}

pub(crate) struct UlawDecoder;

impl PayloadDecoder for UlawDecoder {
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), DecodeError> {
        Codec::Ulaw.sample_count(payload)?;
        out.extend(payload.iter().map(|&code| decode_ulaw(code)));
        Ok(())
    }
}

pub(crate) struct AlawDecoder;

impl PayloadDecoder for AlawDecoder {
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), DecodeError> {
        Codec::Alaw.sample_count(payload)?;
        out.extend(payload.iter().map(|&code| decode_alaw(code)));
        Ok(())
    }
}

static ULAW: [i16; 256] = ulaw_table();
static ALAW: [i16; 256] = alaw_table();

/// 33 of the law's 14-bit units, as 16 bits.
const ULAW_BIAS: u32 = 33 << 2;
/// The last biased magnitude inside the outermost interval.
const ULAW_MAX: u32 = 0x7fff;
/// A-law octets are sent with every other bit inverted (G.711, table 1a, note 2).
const ALAW_EVEN_BITS: u8 = 0x55;

const fn ulaw_table() -> [i16; 256] {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        // µ-law octets are sent with all bits inverted (G.711, table 2a, note 2).
        let code = !octet;
        let segment = (code >> 4) & 0x07;
        let step = code & 0x0f;
        let magnitude = ((((step << 1) + 33) << segment) - 33) << 2;
        table[octet as usize] = if code & 0x80 == 0 {
            magnitude as i16
        } else {
            -magnitude as i16
        };
        octet += 1;
    }
    table
}

const fn alaw_table() -> [i16; 256] {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let code = octet ^ ALAW_EVEN_BITS as i32;
        let segment = (code >> 4) & 0x07;
        let step = code & 0x0f;
        let magnitude = match segment {
            0 => (step << 1) + 1,
            _ => ((step << 1) + 33) << (segment - 1),
        } << 3;
        table[octet as usize] = if code & 0x80 != 0 {
            magnitude as i16
        } else {
            -magnitude as i16
        };
        octet += 1;
    }
    table
}

/// One's complement for negative samples, as in ITU-T G.191: the intervals of
/// both signs then mirror each other, and `i16::MIN` needs no special care.
const fn magnitude(sample: i16) -> u32 {
    (if sample < 0 { !sample } else { sample }) as u32
}

const fn sign_bit(set: bool) -> u8 {
    if set { 0x80 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sign, segment and position of an octet once its inversions are undone.
    fn fields(code: u8) -> (bool, u32, f64) {
        (
            code & 0x80 != 0,
            u32::from(code >> 4 & 7),
            f64::from(code & 15),
        )
    }

    #[test]
    fn ulaw_follows_the_segment_formula() {
        for octet in 0..=u8::MAX {
            let (negative, segment, step) = fields(!octet);
            // Table 2a: intervals of 2^(segment+1) from 31 * 2^segment units on.
            let width = f64::from(2 << segment);
            let start = 33.0 * f64::from(1 << segment) - 33.0;
            let value = 4.0 * (start + width * step);
            let value = if negative { -value } else { value };
            assert_eq!(f64::from(decode_ulaw(octet)), value, "{octet:#04x}");
        }
    }

    #[test]
    fn alaw_follows_the_segment_formula() {
        for octet in 0..=u8::MAX {
            let (positive, segment, step) = fields(octet ^ 0x55);
            // Table 1a, in units of 1/4096: the centre of the interval.
            let (start, width) = if segment == 0 {
                (0.0, 2.0)
            } else {
                (f64::from(16 << segment), f64::from(1 << segment))
            };
            let value = 8.0 * (start + width * (step + 0.5));
            let value = if positive { value } else { -value };
            assert_eq!(f64::from(decode_alaw(octet)), value, "{octet:#04x}");
        }
    }

    #[test]
    fn known_values() {
        for (octet, value) in [
            (0xff, 0),
            (0x7f, 0),
            (0x00, -32124),
            (0x80, 32124),
            (0xfe, 8),
            (0x7e, -8),
            (0xef, 132),
            (0xce, 1052 - 64),
        ] {
            assert_eq!(decode_ulaw(octet), value, "{octet:#04x}");
        }
        for (octet, value) in [
            (0xd5, 8),
            (0x55, -8),
            (0xaa, 32256),
            (0x2a, -32256),
            (0xc5, 264),
            (0xf5, 528),
        ] {
            assert_eq!(decode_alaw(octet), value, "{octet:#04x}");
        }
    }

    #[test]
    fn every_octet_is_the_code_of_its_value() {
        for octet in 0..=u8::MAX {
            // Negative zero of µ-law has the value of zero and so its code.
            let expected = if octet == 0x7f { 0xff } else { octet };
            assert_eq!(encode_ulaw(decode_ulaw(octet)), expected);
            assert_eq!(encode_alaw(decode_alaw(octet)), octet);
        }
    }

    #[test]
    fn every_sample_is_within_half_a_step_of_its_code() {
        for sample in i16::MIN..=i16::MAX {
            let ulaw = encode_ulaw(sample);
            let half = 4 << fields(!ulaw).1;
            let in_range = i32::from(sample).clamp(-32635, 32635);
            let error = (in_range - i32::from(decode_ulaw(ulaw))).abs();
            assert!(error <= half, "µ-law {sample}: off by {error} of {half}");

            let alaw = encode_alaw(sample);
            let half = 8 << fields(alaw ^ 0x55).1.saturating_sub(1);
            let error = (i32::from(sample) - i32::from(decode_alaw(alaw))).abs();
            assert!(error <= half, "A-law {sample}: off by {error} of {half}");
        }
    }
}
