//! The spectrum: log area ratios to reflection coefficients to a lattice
//! filter (GSM 06.10, 5.2.8 to 5.2.9 and 5.3.4).

use std::ops::Range;

use super::{FRAME_SAMPLES, product};

/// Order of the filter.
const ORDER: usize = 8;

/// Of each ratio: bits, offset, minimum and inverse of the step (tables 4.1, 4.2).
const RATIOS: [(usize, i16, i16, i16); ORDER] = [
    (6, 0, -32, 13_107),
    (6, 0, -32, 13_107),
    (5, 2_048, -16, 13_107),
    (5, -2_560, -16, 13_107),
    (4, 94, -8, 19_223),
    (4, -1_792, -8, 17_476),
    (3, -341, -4, 31_454),
    (3, -1_144, -4, 29_708),
];

/// Log area ratios of a frame.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LogAreaRatios([i16; ORDER]);

impl LogAreaRatios {
    /// Decodes them (5.2.8); `take` reads as many bits as it is told.
    pub(super) fn read(mut take: impl FnMut(usize) -> i16) -> Self {
        Self(RATIOS.map(|(width, offset, minimum, inverse_step)| {
            let scaled = (take(width) + minimum) << 10;
            let ratio = product(inverse_step, scaled.saturating_sub(offset << 1));
            ratio.saturating_add(ratio)
        }))
    }
}

/// The filter that gives the residue its spectrum.
#[derive(Debug, Default)]
pub(super) struct SynthesisFilter {
    /// Those of the frame before.
    last: LogAreaRatios,
    state: [i16; ORDER + 1],
}

impl SynthesisFilter {
    /// Turns a frame's residue into sound. The filter glides from the frame
    /// before over the first quarter of the frame (5.2.9.1).
    pub(super) fn run(&mut self, now: &LogAreaRatios, samples: &mut [i16; FRAME_SAMPLES]) {
        let mix =
            |weigh: fn(i16, i16) -> i16| std::array::from_fn(|n| weigh(self.last.0[n], now.0[n]));
        let stages: [(Range<usize>, [i16; ORDER]); 4] = [
            (
                0..13,
                mix(|last, now| {
                    (last >> 2)
                        .saturating_add(now >> 2)
                        .saturating_add(last >> 1)
                }),
            ),
            (
                13..27,
                mix(|last, now| (last >> 1).saturating_add(now >> 1)),
            ),
            (
                27..40,
                mix(|last, now| {
                    (last >> 2)
                        .saturating_add(now >> 2)
                        .saturating_add(now >> 1)
                }),
            ),
            (40..FRAME_SAMPLES, now.0),
        ];
        for (range, ratios) in stages {
            let reflection = ratios.map(reflection);
            for sample in &mut samples[range] {
                *sample = self.sample(&reflection, *sample);
            }
        }
        self.last = *now;
    }

    /// 5.3.4.
    fn sample(&mut self, reflection: &[i16; ORDER], residue: i16) -> i16 {
        let mut sample = residue;
        for n in (0..ORDER).rev() {
            sample = sample.saturating_sub(product(reflection[n], self.state[n]));
            self.state[n + 1] = self.state[n].saturating_add(product(reflection[n], sample));
        }
        self.state[0] = sample;
        sample
    }
}

/// The reflection coefficient of a log area ratio (5.2.9.2).
fn reflection(ratio: i16) -> i16 {
    let size = ratio.saturating_abs();
    let size = match size {
        ..11_059 => size << 1,
        11_059..20_070 => size + 11_059,
        _ => (size >> 2).saturating_add(26_112),
    };
    if ratio < 0 { -size } else { size }
}
