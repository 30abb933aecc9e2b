//! Power spectra of windowed samples: the only module that uses `realfft`, which the
//! resampler brings along anyway.

use std::f32::consts::TAU;
use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

/// A Fourier transform of a fixed length behind a periodic Hann window; shared by all that look.
pub struct PowerSpectrum {
    transform: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
}

impl PowerSpectrum {
    /// A transform of `length` samples.
    pub fn new(length: usize) -> Self {
        let turn = TAU / length as f32;
        Self {
            transform: RealFftPlanner::new().plan_fft_forward(length),
            window: (0..length)
                .map(|n| 0.5 - 0.5 * (turn * n as f32).cos())
                .collect(),
        }
    }

    /// The power in each of `BINS` bins, half of `LENGTH` and one; all 0 if the lengths are not
    /// the transform's.
    pub fn powers<const LENGTH: usize, const BINS: usize>(
        &self,
        mut samples: [f32; LENGTH],
    ) -> [f32; BINS] {
        for (sample, window) in samples.iter_mut().zip(&self.window) {
            *sample *= window;
        }
        let mut bins = [Complex32::default(); BINS];
        let mut scratch = [Complex32::default(); LENGTH];
        let done = self
            .transform
            .process_with_scratch(&mut samples, &mut bins, &mut scratch);
        debug_assert!(done.is_ok(), "{done:?}");
        bins.map(|bin| bin.norm_sqr())
    }
}
