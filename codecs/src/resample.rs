//! Any sample rate to 16 kHz, aligned in time. The only module that knows the
//! resampling crate.

use audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

use crate::rate::SampleRate;

/// A stream of samples on its way to [`SampleRate::OUTPUT`].
///
/// Sample `n` that comes out belongs to the instant `n` / 16000 s after the
/// first sample that went in: the filter's delay is cut off at the start and
/// made up for by [`flush`](Self::flush), which brings the total to exactly
/// 16000 / rate times the samples taken (rounded up where that is no whole
/// number). Until then up to 15 ms are held back. What comes out does not
/// depend on how the input was cut into pieces.
///
/// Samples are scaled by 1 / 32768 and not clamped: where the input is at full
/// scale, the filter may overshoot 1.0 a little.
///
/// 16 kHz passes through. 8 kHz is flat within 0.01 dB up to 3.4 kHz with
/// images below -80 dB.
///
/// Memory: 8 kHz holds some 11 KiB on the heap, 16 kHz nothing. Creating the former
/// takes some 30 µs; once created, nothing but a growing `out` allocates.
pub struct To16k {
    rate: SampleRate,
    /// None where the rates are equal.
    engine: Option<Box<Engine>>,
}

impl To16k {
    /// The start of a stream at `rate`.
    ///
    /// # Errors
    /// No codec of this crate has that rate, so its quality was never measured.
    pub fn new(rate: SampleRate) -> Result<Self, UnsupportedRate> {
        match rate.hz() {
            8_000 | 16_000 => Ok(Self::at(rate)),
            _ => Err(UnsupportedRate(rate)),
        }
    }

    /// The rate of what [`push`](Self::push) takes.
    pub fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Takes `samples` and appends what is ready to `out`.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<f32>) {
        match &mut self.engine {
            Some(engine) => engine.push(samples, out),
            None => out.extend(samples.iter().map(|&sample| to_unit(sample))),
        }
    }

    /// Takes silence that lasts `samples_16k` / 16000 s, as if zeros at the
    /// stream's own rate had been pushed. Where that is no whole number of
    /// them, the fraction counts towards the next silence or the flush.
    ///
    /// `out` grows by that much; the caller bounds it.
    pub fn push_silence(&mut self, samples_16k: usize, out: &mut Vec<f32>) {
        match &mut self.engine {
            Some(engine) => engine.push_silence(samples_16k, out),
            None => out.resize(out.len() + samples_16k, 0.0),
        }
    }

    /// Appends what was held back and is then ready for another stream.
    pub fn flush(&mut self, out: &mut Vec<f32>) {
        if let Some(engine) = &mut self.engine {
            engine.flush(out);
        }
    }

    /// Any rate at all; [`new`](Self::new) guards which are vouched for.
    fn at(rate: SampleRate) -> Self {
        let engine = (rate != SampleRate::OUTPUT).then(|| Box::new(Engine::new(rate)));
        Self { rate, engine }
    }
}

/// A rate that [`To16k`] does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no sample rate that is resampled here; 8000 Hz and 16000 Hz are")]
pub struct UnsupportedRate(pub SampleRate);

/// Blocks per second. 10 ms is the shortest packet in use, and every rate
/// that Asterisk has is a whole number of samples in it. Blocks of 20 ms would
/// take twice the memory and hold back twice as long for the same CPU time.
const BLOCKS_PER_SECOND: u32 = 100;

/// Of the windows on offer, the narrowest transition among those whose images
/// stay far below what G.711 itself distorts; with 10 ms blocks the wider ones
/// would eat into the pass band (rubato's default loses 10 dB at 3.4 kHz).
const WINDOW: WindowFunction = WindowFunction::Blackman;

struct Engine {
    fft: Fft<f32>,
    rate: u64,
    /// Input that has yet to fill a block, less than one block between calls.
    block: Vec<f32>,
    /// Output still to be dropped: the filter's delay.
    trim: usize,
    /// Whether the last block was all zeros, which leaves the filter empty.
    drained: bool,
    /// Silence short of one input sample, in units of 1 / 16000 of one.
    fraction: u64,
    /// Input samples since the start of the stream.
    taken: u64,
    /// Output samples since the start of the stream.
    given: u64,
}

const OUTPUT_HZ: u64 = SampleRate::OUTPUT.hz() as u64;

impl Engine {
    fn new(rate: SampleRate) -> Self {
        let [from, to] = [rate.hz(), SampleRate::OUTPUT.hz()].map(|hz| hz as usize);
        let block = rate.hz().div_ceil(BLOCKS_PER_SECOND) as usize;
        let fft = Fft::new_custom(from, to, block, 1, 1, WINDOW, FixedSync::Both)
            .expect("rates and block length are not zero");
        Self {
            rate: u64::from(rate.hz()),
            block: Vec::with_capacity(fft.input_frames_next()),
            trim: fft.output_delay(),
            drained: true,
            fraction: 0,
            taken: 0,
            given: 0,
            fft,
        }
    }

    fn push(&mut self, samples: &[i16], out: &mut Vec<f32>) {
        self.taken += samples.len() as u64;
        let mut rest = samples;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.room().min(rest.len()));
            self.block.extend(now.iter().map(|&sample| to_unit(sample)));
            rest = later;
            self.run_if_full(out);
        }
    }

    fn push_silence(&mut self, samples_16k: usize, out: &mut Vec<f32>) {
        let exact = samples_16k as u64 * self.rate + self.fraction;
        self.fraction = exact % OUTPUT_HZ;
        let mut rest = exact / OUTPUT_HZ;
        self.taken += rest;
        while rest > 0 {
            let now = (self.room() as u64).min(rest);
            self.block.resize(self.block.len() + now as usize, 0.0);
            rest -= now;
            self.run_if_full(out);
        }
    }

    fn flush(&mut self, out: &mut Vec<f32>) {
        let due = (self.taken * OUTPUT_HZ + self.fraction).div_ceil(self.rate);
        while self.given < due {
            self.block.resize(self.fft.input_frames_next(), 0.0);
            self.run_if_full(out);
        }
        // Only the last block overshoots, so all of the excess was added here.
        out.truncate(out.len() - (self.given - due) as usize);
        self.restart();
    }

    fn restart(&mut self) {
        self.fft.reset();
        self.block.clear();
        self.trim = self.fft.output_delay();
        self.drained = true;
        self.fraction = 0;
        self.taken = 0;
        self.given = 0;
    }

    fn room(&self) -> usize {
        self.fft.input_frames_next() - self.block.len()
    }

    fn run_if_full(&mut self, out: &mut Vec<f32>) {
        if self.room() > 0 {
            return;
        }
        let produced = self.fft.output_frames_next();
        let start = out.len();
        out.resize(start + produced, 0.0);
        // Zeros through an empty filter are zeros. A quiet leg of a call is
        // mostly that, and need not pay for the transforms.
        let silent = self.block.iter().all(|&sample| sample == 0.0);
        if !(silent && self.drained) {
            self.transform(&mut out[start..]);
        }
        self.drained = silent;
        self.block.clear();

        let trimmed = self.trim.min(produced);
        out.drain(start..start + trimmed);
        self.trim -= trimmed;
        self.given += (produced - trimmed) as u64;
    }

    /// One full block in, one full block out.
    fn transform(&mut self, out: &mut [f32]) {
        let frames = out.len();
        let input = SequentialSlice::new(&self.block, 1, self.block.len())
            .expect("the block is as long as it is");
        let mut output =
            SequentialSlice::new_mut(out, 1, frames).expect("the slice is as long as it is");
        self.fft
            .process_into_buffer(&input, &mut output, None)
            .expect("both buffers are one channel of exactly a block");
    }
}

fn to_unit(sample: i16) -> f32 {
    f32::from(sample) * (1.0 / 32768.0)
}

#[cfg(test)]
mod tests;
