//! 8 to 16 kHz by a filter in the time domain: what nearly every call needs.
//! Its tables are shared by all streams, and a stream holds 32 ms of its past,
//! a fraction of what the transforms of the general way take.

use std::f64::consts::PI;
use std::sync::LazyLock;

/// Samples in at a time: 10 ms, as the general way has it.
pub(super) const BLOCK: usize = 80;

/// Samples out by which the filter is late: the half of it that looks ahead.
pub(super) const DELAY: usize = TAPS;

/// Input samples that an output sample is made of.
const TAPS: usize = 64;

/// Outputs of a phase that are worked out together; a block is a whole number of these.
/// Their sums fit into the registers of any processor.
const LANES: usize = 40;

/// In cycles per output sample, the middle of the transition from 3.4 kHz,
/// which telephony keeps, to 4 kHz, above which there are only images.
const CUT_OFF: f64 = 3_700.0 / 16_000.0;

/// Shape of the Kaiser window: -77 dB beyond a transition of 600 Hz.
const KAISER: f64 = 7.5;

/// The filter's values at the input samples around an output sample that falls
/// on one of them, and around one that falls between two.
static PHASES: LazyLock<[[f32; TAPS]; 2]> = LazyLock::new(|| [phase(0), phase(1)]);

pub(super) struct RateDoubler {
    past: [f32; TAPS],
}

impl RateDoubler {
    pub(super) fn new() -> Self {
        Self { past: [0.0; TAPS] }
    }

    /// [`BLOCK`] samples in, twice as many out.
    pub(super) fn run(&mut self, block: &[f32], out: &mut [f32]) {
        let mut input = [0.0; TAPS + BLOCK];
        input[..TAPS].copy_from_slice(&self.past);
        input[TAPS..].copy_from_slice(block);
        for (start, out) in (1..).step_by(LANES).zip(out.chunks_exact_mut(2 * LANES)) {
            // The window of output pair n has input n - 32 in its middle.
            let windows = &input[start..start + TAPS + LANES - 1];
            // One phase after the other: both at once have too many sums for
            // the registers, and cost three times as much.
            let [on, between] = [0, 1].map(|phase| convolve(windows, &PHASES[phase]));
            let outputs = on.into_iter().zip(between);
            for (pair, (on, between)) in out.as_chunks_mut::<2>().0.iter_mut().zip(outputs) {
                *pair = [on, between];
            }
        }
        self.past.copy_from_slice(&input[BLOCK..]);
    }

    pub(super) fn reset(&mut self) {
        self.past = [0.0; TAPS];
    }
}

/// Outputs of the filter for the windows that begin at the first [`LANES`] samples. Side by side,
/// so that the compiler may add them at once; the lengths are part of the types, so that it checks
/// no bounds.
fn convolve(samples: &[f32], filter: &[f32; TAPS]) -> [f32; LANES] {
    let mut sums = [0.0; LANES];
    for (window, tap) in samples.windows(LANES).zip(filter) {
        let window: &[f32; LANES] = window.first_chunk().expect("a window is as long as it is");
        for (sum, sample) in sums.iter_mut().zip(window) {
            *sum += sample * tap;
        }
    }
    sums
}

/// Every other value of the windowed sinc, from the oldest input sample on,
/// scaled so that a constant comes out unchanged.
fn phase(offset: usize) -> [f32; TAPS] {
    let value = |tap: usize| {
        // Distance from input sample to output sample, in output samples.
        let distance = (2 * (TAPS / 2 - 1) + offset) as f64 - 2.0 * tap as f64;
        windowed_sinc(distance)
    };
    let values: [f64; TAPS] = std::array::from_fn(value);
    let sum: f64 = values.iter().sum();
    values.map(|value| (value / sum) as f32)
}

/// Kaiser-windowed sinc; 0 at a distance of [`TAPS`] and beyond.
fn windowed_sinc(distance: f64) -> f64 {
    let x = 2.0 * CUT_OFF * distance;
    let sinc = if x == 0.0 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    };
    let place = distance / TAPS as f64;
    if place.abs() >= 1.0 {
        return 0.0;
    }
    sinc * bessel_i0(KAISER * (1.0 - place * place).sqrt())
}

/// The modified Bessel function of order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    let mut n = 1.0;
    while term > sum * 1e-16 {
        term *= (x / 2.0 / n).powi(2);
        sum += term;
        n += 1.0;
    }
    sum
}
