//! High-pass filter before any measurement of level: it takes off the mains' hum with its first
//! harmonics, and a constant offset. Neither is heard as speech, and both may be louder than it.

use crate::SAMPLE_RATE;

/// A Butterworth high-pass of fourth order for 16 kHz, its corner at 250 Hz: 56 dB off at 50 Hz, 50
/// at 60, 32 at 100, 26 at 120, 18 at 150. A telephone passes speech from 300 Hz on (ITU-T G.712).
#[derive(Debug, Clone)]
pub struct HighPass {
    sections: [BiquadSection; 2],
    /// Whether a sample has been taken.
    is_primed: bool,
}

/// Largest share of its energy that hum from 120 Hz down keeps behind the filter, with 4 dB to
/// spare.
pub const RESIDUE: f32 = 0.007;

/// Time for which earlier samples leave a trace, in samples (20 ms): 60 dB off.
const SETTLES: usize = SAMPLE_RATE as usize / 50;

/// The gain and the two feedbacks of each section: the bilinear transform of the two pairs of
/// poles, whose quality is 0.541 and 1.307.
const COEFFICIENTS: [[f64; 3]; 2] = [
    [
        0.914_755_717_349_129_4,
        -1.825_096_005_140_963,
        0.833_926_864_255_554_5,
    ],
    [
        0.961_525_970_622_325_7,
        -1.918_410_756_598_004_6,
        0.927_693_125_891_298_3,
    ],
];

/// A biquad in the direct form, whose zeros are both at 0 Hz: exact for a constant input.
#[derive(Debug, Clone, Copy, Default)]
struct BiquadSection {
    taken: [f64; 2],
    given: [f64; 2],
}

impl Default for HighPass {
    fn default() -> Self {
        Self::new()
    }
}

impl HighPass {
    /// A filter that takes its first sample as one that had always been there.
    pub const fn new() -> Self {
        const NEW: BiquadSection = BiquadSection {
            taken: [0.0; 2],
            given: [0.0; 2],
        };
        Self {
            sections: [NEW; 2],
            is_primed: false,
        }
    }

    /// A filter at the beginning of `samples`, as if they had gone on before it as they begin: a
    /// hum does not begin there.
    pub fn before(samples: &[i16]) -> Self {
        let mut filter = Self::new();
        let Some((first, rest)) = samples.split_first() else {
            return filter;
        };
        // Turned over at the first sample, so that neither it nor its slope is a step.
        for sample in rest[..rest.len().min(SETTLES)].iter().rev() {
            filter.next(2.0 * f64::from(*first) - f64::from(*sample));
        }
        filter
    }

    /// The next sample, filtered.
    pub fn next(&mut self, sample: f64) -> f64 {
        if !self.is_primed {
            self.is_primed = true;
            self.sections[0].taken = [sample; 2];
        }
        let mut sample = sample;
        for (section, [gain, near, far]) in self.sections.iter_mut().zip(COEFFICIENTS) {
            sample = section.next(sample, gain, near, far);
        }
        sample
    }

    /// The next samples, filtered and cut off at full scale.
    pub fn frame<const LENGTH: usize>(&mut self, samples: &[i16; LENGTH]) -> [i16; LENGTH] {
        samples.map(|sample| self.next(f64::from(sample)).round_ties_even() as i16)
    }

    /// Energy of the next samples, filtered.
    pub fn energy(&mut self, samples: &[i16]) -> f32 {
        let squares = samples.iter().map(|&sample| {
            let sample = self.next(f64::from(sample));
            sample * sample
        });
        squares.sum::<f64>() as f32
    }
}

impl BiquadSection {
    fn next(&mut self, sample: f64, gain: f64, near: f64, far: f64) -> f64 {
        let ([one, two], [last, before]) = (self.taken, self.given);
        // What does not wait for the last result comes first.
        let next = (gain * (sample - 2.0 * one + two) - far * before) - near * last;
        self.taken = [sample, one];
        self.given = [next, last];
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    /// A sinusoid of amplitude 10,000 that begins anywhere, on an offset.
    fn sine(hz: f64, offset: f64) -> Vec<i16> {
        let sample = |n: u32| 10_000.0 * (TAU * hz * f64::from(n) / 16_000.0 + 0.7).sin();
        (0..16_000).map(|n| (sample(n) + offset) as i16).collect()
    }

    fn decibels(samples: &[i16]) -> f32 {
        let mut filter = HighPass::before(samples);
        let energy = filter.energy(samples) / samples.len() as f32;
        10.0 * (energy / 5e7).log10()
    }

    #[test]
    fn hum_is_taken_off_and_speech_is_not() {
        for (hz, least, most) in [
            (50.0, -70.0, -50.0),
            (60.0, -60.0, -48.0),
            (100.0, -33.0, -30.0),
            (120.0, -27.0, -24.0),
            (250.0, -3.2, -2.8),
            (350.0, -0.5, 0.0),
            (1_000.0, -0.1, 0.1),
            (7_500.0, -0.1, 0.1),
        ] {
            for offset in [-12_000.0, 0.0, 12_000.0] {
                let found = decibels(&sine(hz, offset));
                assert!((least..=most).contains(&found), "{hz} Hz: {found}");
            }
        }
    }

    #[test]
    fn a_constant_leaves_nothing_at_all_from_the_first_sample_on() {
        for constant in [i16::MIN, -1, 0, 300, i16::MAX] {
            assert_eq!(HighPass::new().energy(&[constant; 4_000]), 0.0);
            assert_eq!(
                HighPass::before(&[constant; 10]).energy(&[constant; 400]),
                0.0
            );
        }
        assert_eq!(HighPass::before(&[]).energy(&[]), 0.0);
    }

    #[test]
    fn the_coefficients_are_those_of_butterworth() {
        let turn = TAU * 250.0 / 16_000.0;
        for ([gain, near, far], place) in COEFFICIENTS.into_iter().zip([3.0, 1.0]) {
            let quality = 1.0 / (2.0 * (place * TAU / 16.0).sin());
            let alpha = turn.sin() / (2.0 * quality);
            let whole = 1.0 + alpha;
            assert!((gain - (1.0 + turn.cos()) / 2.0 / whole).abs() < 1e-14);
            assert!((near + 2.0 * turn.cos() / whole).abs() < 1e-14);
            assert!((far - (1.0 - alpha) / whole).abs() < 1e-14);
        }
    }
}
