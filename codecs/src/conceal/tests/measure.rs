//! How far concealed audio is from what was said.

use std::f32::consts::TAU;

/// Audio around each concealed span that is judged with it: 5 ms before, where
/// a filter may ring, and 10 ms behind it, where the seam is.
const EDGES: (usize, usize) = (80, 160);

/// Segments of the signal-to-noise ratio, 5 ms.
const SEGMENT: usize = 80;

/// Limits of a segment's ratio, dB, and the mean square under which there is nothing to be heard
/// (-55 dB).
const RATIO: (f32, f32) = (-10.0, 35.0);
const AUDIBLE: f32 = 3.2e-6;

/// Frames of the spectral distortion, 16 ms, one every 5 ms.
const FRAME: usize = 256;
const STEP: usize = 80;

/// Bins that telephony has: 250 Hz to 3.5 kHz.
const BINS: std::ops::Range<usize> = 4..56;

/// Bins further below the frame's loudest are as good as silent, as a power ratio (-50 dB).
const DEPTH: f32 = 1e-5;

/// Sums over all that was judged.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Distance {
    ratio: (f64, u32),
    distortion: (f64, u32),
}

impl Distance {
    /// Mean of the segments' signal-to-noise ratios, dB. Silence for a segment is 0.
    pub(super) fn ratio(&self) -> f64 {
        self.ratio.0 / f64::from(self.ratio.1)
    }

    /// Mean of the frames' log-spectral distortions, dB.
    pub(super) fn distortion(&self) -> f64 {
        self.distortion.0 / f64::from(self.distortion.1)
    }

    /// Judges `heard` against `said` around `span`.
    pub(super) fn add(&mut self, said: &[f32], heard: &[f32], span: (usize, usize)) {
        assert_eq!(said.len(), heard.len());
        let (start, end) = (span.0 - EDGES.0, (span.1 + EDGES.1).min(said.len()));
        for at in (start..end + 1 - SEGMENT).step_by(SEGMENT) {
            let (said, heard) = (&said[at..at + SEGMENT], &heard[at..at + SEGMENT]);
            let power: f32 = said.iter().map(|x| x * x).sum();
            let noise: f32 = said.iter().zip(heard).map(|(x, y)| (x - y) * (x - y)).sum();
            if power > AUDIBLE * SEGMENT as f32 {
                let ratio = 10.0 * (power / noise.max(1e-12)).log10();
                self.ratio.0 += f64::from(ratio.clamp(RATIO.0, RATIO.1));
                self.ratio.1 += 1;
            }
        }
        for centre in (start..end).step_by(STEP) {
            let Some(frame) = centre
                .checked_sub(FRAME / 2)
                .filter(|at| at + FRAME <= said.len())
            else {
                continue;
            };
            let (said, heard) = (&said[frame..frame + FRAME], &heard[frame..frame + FRAME]);
            let power: f32 = said.iter().map(|x| x * x).sum();
            if power > AUDIBLE * FRAME as f32 {
                self.distortion.0 += f64::from(distortion(said, heard));
                self.distortion.1 += 1;
            }
        }
    }
}

/// Root mean square over the bins of the difference of levels, dB.
fn distortion(said: &[f32], heard: &[f32]) -> f32 {
    let (said, heard) = (spectrum(said), spectrum(heard));
    let floor = said.iter().copied().fold(0.0, f32::max) * DEPTH;
    let level = |power: f32| 10.0 * power.max(floor).log10();
    let squares = said
        .iter()
        .zip(&heard)
        .map(|(x, y)| (level(*x) - level(*y)).powi(2));
    (squares.sum::<f32>() / said.len() as f32).sqrt()
}

fn spectrum(frame: &[f32]) -> Vec<f32> {
    let windowed: Vec<f32> = frame
        .iter()
        .enumerate()
        .map(|(n, x)| x * (0.5 - 0.5 * (TAU * (n as f32 + 0.5) / FRAME as f32).cos()))
        .collect();
    let power = |bin: usize| {
        // Goertzel's recursion.
        let turn = 2.0 * (TAU * bin as f32 / FRAME as f32).cos();
        let (mut last, mut before) = (0.0, 0.0);
        for x in &windowed {
            (last, before) = (x + turn * last - before, last);
        }
        (last * last + before * before - turn * last * before).max(0.0)
    };
    BINS.map(power).collect()
}
