//! Every pair of rates, block by block through a Fourier transform. The only
//! module that knows the resampling crate.

use audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

use crate::rate::SampleRate;

/// Blocks per second where the rates allow: 10 ms is the shortest packet in
/// use, and every rate that Asterisk has is a whole number of samples in it.
/// Blocks of 20 ms would take twice the memory and hold back twice as long for
/// the same CPU time.
const BLOCKS_PER_SECOND: u32 = 100;

/// Of the windows on offer, the narrowest transition among those whose images
/// stay far below what G.711 itself distorts; with 10 ms blocks the wider ones
/// would eat into the pass band (rubato's default loses 10 dB at 3.4 kHz).
const WINDOW: WindowFunction = WindowFunction::Blackman;

pub(super) struct FftBlocks(Fft<f32>);

impl FftBlocks {
    pub(super) fn new(from: SampleRate, to: SampleRate) -> Self {
        let block = from.hz().div_ceil(BLOCKS_PER_SECOND) as usize;
        let [from, to] = [from, to].map(|rate| rate.hz() as usize);
        let fft = Fft::new_custom(from, to, block, 1, 1, WINDOW, FixedSync::Both)
            .expect("rates and block length are not zero");
        Self(fft)
    }

    pub(super) fn block(&self) -> usize {
        self.0.input_frames_next()
    }

    pub(super) fn produced(&self) -> usize {
        self.0.output_frames_next()
    }

    pub(super) fn delay(&self) -> usize {
        self.0.output_delay()
    }

    /// One full block in, one full block out.
    pub(super) fn run(&mut self, block: &[f32], out: &mut [f32]) {
        let frames = out.len();
        let input =
            SequentialSlice::new(block, 1, block.len()).expect("the block is as long as it is");
        let mut output =
            SequentialSlice::new_mut(out, 1, frames).expect("the slice is as long as it is");
        self.0
            .process_into_buffer(&input, &mut output, None)
            .expect("both buffers are one channel of exactly a block");
    }

    pub(super) fn reset(&mut self) {
        self.0.reset();
    }
}
