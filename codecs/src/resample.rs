//! Any sample rate to 8 or 16 kHz, aligned in time.

mod doubler;
mod fft;

use self::doubler::RateDoubler;
use self::fft::FftBlocks;
use crate::rate::SampleRate;

/// A stream of samples on its way from one sample rate to another.
///
/// Sample `n` that comes out belongs to the instant `n` / [`to`](Self::to)
/// after the first sample that went in (for 11.025, 22.05 and 44.1 kHz to
/// within half of the input's samples): the filter's delay is cut off at the
/// start and made up for by [`flush`](Self::flush), which brings the total to
/// exactly `to` / `from` times the samples taken (rounded up where that is no
/// whole number). Until then up to 15 ms are held back, 60 ms where the rates
/// are as odd as 11,025 Hz. What comes out does not depend on how the input
/// was cut into pieces.
///
/// Samples are scaled by 1 / 32768 and not clamped: where the input is at full
/// scale, the filter may overshoot 1.0 a little.
///
/// Equal rates pass through. All others are flat within 0.05 dB up to 3.4 kHz
/// and up to 0.425 of the lower rate, and whatever is added (images of the
/// input's spectrum, aliases of what the output cannot hold) stays below
/// -70 dB of a tone.
///
/// Memory: 8 to 16 kHz, the rates of nearly every call, holds under 1 KiB on
/// the heap; others hold tables of their own, from 10 KiB (12 to 8 kHz) over
/// 30 KiB (48 kHz) to 53 KiB (96 kHz). Once created, nothing but a growing `out` allocates.
pub struct Resampler {
    from: SampleRate,
    to: SampleRate,
    /// `None` where the rates are equal.
    engine: Option<Box<ResampleEngine>>,
}

/// Input rates for which the filter's quality is measured.
const FROM: [SampleRate; 10] = [
    SampleRate::HZ_8000,
    SampleRate::HZ_11025,
    SampleRate::HZ_12000,
    SampleRate::HZ_16000,
    SampleRate::HZ_22050,
    SampleRate::HZ_24000,
    SampleRate::HZ_32000,
    SampleRate::HZ_44100,
    SampleRate::HZ_48000,
    SampleRate::HZ_96000,
];

/// Output rates.
const TO: [SampleRate; 2] = [SampleRate::HZ_8000, SampleRate::HZ_16000];

impl Resampler {
    /// The start of a stream. From 8, 11.025, 12, 16, 22.05, 24, 32, 44.1, 48
    /// or 96 kHz, to 8 or 16 kHz.
    ///
    /// # Errors
    /// One of the rates is another, so its quality was never measured.
    pub fn new(from: SampleRate, to: SampleRate) -> Result<Self, UnsupportedRates> {
        if !FROM.contains(&from) || !TO.contains(&to) {
            return Err(UnsupportedRates { from, to });
        }
        let engine = (from != to).then(|| Box::new(ResampleEngine::new(from, to)));
        Ok(Self { from, to, engine })
    }

    /// The rate of what [`push`](Self::push) takes.
    pub fn from(&self) -> SampleRate {
        self.from
    }

    /// The rate of what comes out.
    pub fn to(&self) -> SampleRate {
        self.to
    }

    /// Takes `samples` and appends what is ready to `out`.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<f32>) {
        match &mut self.engine {
            Some(engine) => engine.push(samples, out),
            None => out.extend(samples.iter().map(|&sample| to_unit(sample))),
        }
    }

    /// Takes silence that lasts `samples_out` / [`to`](Self::to), as if zeros
    /// at the stream's own rate had been pushed. Where that is no whole number
    /// of them, the fraction counts towards the next silence or the flush.
    ///
    /// `out` grows by that much; the caller bounds it.
    pub fn push_silence(&mut self, samples_out: usize, out: &mut Vec<f32>) {
        match &mut self.engine {
            Some(engine) => engine.push_silence(samples_out, out),
            None => out.resize(out.len() + samples_out, 0.0),
        }
    }

    /// How many samples at [`from`](Self::from) are to be pushed for a break of
    /// `samples_out`. The fraction counts as in [`push_silence`](Self::push_silence).
    pub fn break_of(&mut self, samples_out: usize) -> usize {
        match &mut self.engine {
            Some(engine) => engine.break_of(samples_out) as usize,
            None => samples_out,
        }
    }

    /// Appends what was held back and is then ready for another stream.
    pub fn flush(&mut self, out: &mut Vec<f32>) {
        if let Some(engine) = &mut self.engine {
            engine.flush(out);
        }
    }
}

/// Rates between which [`Resampler`] does not go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{from} to {to} is not resampled; \
     8, 11.025, 12, 16, 22.05, 24, 32, 44.1, 48 and 96 kHz to 8 or 16 kHz are"
)]
pub struct UnsupportedRates {
    /// Rate of the input.
    pub from: SampleRate,
    /// Rate wanted for the output.
    pub to: SampleRate,
}

/// A filter that turns blocks of one length into blocks of another.
enum ResampleKernel {
    Doubler(RateDoubler),
    Blocks(FftBlocks),
}

impl ResampleKernel {
    fn new(from: SampleRate, to: SampleRate) -> Self {
        match (from, to) {
            (SampleRate::HZ_8000, SampleRate::HZ_16000) => Self::Doubler(RateDoubler::new()),
            _ => Self::Blocks(FftBlocks::new(from, to)),
        }
    }

    /// Samples in, at a time.
    fn block(&self) -> usize {
        match self {
            Self::Doubler(_) => doubler::BLOCK,
            Self::Blocks(blocks) => blocks.block(),
        }
    }

    /// Samples out, at a time.
    fn produced(&self) -> usize {
        match self {
            Self::Doubler(_) => 2 * doubler::BLOCK,
            Self::Blocks(blocks) => blocks.produced(),
        }
    }

    /// By how many samples the output comes late. No longer than a block, so
    /// that one block of zeros leaves the filter empty.
    fn delay(&self) -> usize {
        match self {
            Self::Doubler(_) => doubler::DELAY,
            Self::Blocks(blocks) => blocks.delay(),
        }
    }

    fn run(&mut self, block: &[f32], out: &mut [f32]) {
        match self {
            Self::Doubler(doubler) => doubler.run(block, out),
            Self::Blocks(blocks) => blocks.run(block, out),
        }
    }

    fn reset(&mut self) {
        match self {
            Self::Doubler(doubler) => doubler.reset(),
            Self::Blocks(blocks) => blocks.reset(),
        }
    }
}

/// Keeps a kernel's blocks filled and its delay out of the times.
struct ResampleEngine {
    kernel: ResampleKernel,
    from: u64,
    to: u64,
    /// Input that has yet to fill a block, less than one block between calls.
    block: Vec<f32>,
    /// Output still to be dropped: the filter's delay.
    trim: usize,
    /// Whether the last block was all zeros, which leaves the filter empty.
    drained: bool,
    /// Silence short of one input sample, in units of 1 / `to` of one.
    fraction: u64,
    /// Input samples since the start of the stream.
    taken: u64,
    /// Output samples since the start of the stream.
    given: u64,
}

impl ResampleEngine {
    fn new(from: SampleRate, to: SampleRate) -> Self {
        let kernel = ResampleKernel::new(from, to);
        Self {
            from: u64::from(from.hz()),
            to: u64::from(to.hz()),
            block: Vec::with_capacity(kernel.block()),
            trim: kernel.delay(),
            drained: true,
            fraction: 0,
            taken: 0,
            given: 0,
            kernel,
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

    fn break_of(&mut self, samples_out: usize) -> u64 {
        let exact = samples_out as u64 * self.from + self.fraction;
        self.fraction = exact % self.to;
        exact / self.to
    }

    fn push_silence(&mut self, samples_out: usize, out: &mut Vec<f32>) {
        let mut rest = self.break_of(samples_out);
        self.taken += rest;
        while rest > 0 {
            let now = (self.room() as u64).min(rest);
            self.block.resize(self.block.len() + now as usize, 0.0);
            rest -= now;
            self.run_if_full(out);
        }
    }

    fn flush(&mut self, out: &mut Vec<f32>) {
        let due = (self.taken * self.to + self.fraction).div_ceil(self.from);
        while self.given < due {
            self.block.resize(self.kernel.block(), 0.0);
            self.run_if_full(out);
        }
        // Only the last block overshoots, so all of the excess was added here.
        out.truncate(out.len() - (self.given - due) as usize);
        self.restart();
    }

    fn restart(&mut self) {
        self.kernel.reset();
        self.block.clear();
        self.trim = self.kernel.delay();
        self.drained = true;
        self.fraction = 0;
        self.taken = 0;
        self.given = 0;
    }

    fn room(&self) -> usize {
        self.kernel.block() - self.block.len()
    }

    fn run_if_full(&mut self, out: &mut Vec<f32>) {
        if self.room() > 0 {
            return;
        }
        let produced = self.kernel.produced();
        let start = out.len();
        out.resize(start + produced, 0.0);
        // Zeros through an empty filter are zeros. A quiet leg of a call is
        // mostly that, and need not pay for the filter.
        let silent = self.block.iter().all(|&sample| sample == 0.0);
        if !(silent && self.drained) {
            self.kernel.run(&self.block, &mut out[start..]);
        }
        self.drained = silent;
        self.block.clear();

        let trimmed = self.trim.min(produced);
        out.drain(start..start + trimmed);
        self.trim -= trimmed;
        self.given += (produced - trimmed) as u64;
    }
}

fn to_unit(sample: i16) -> f32 {
    f32::from(sample) * (1.0 / 32768.0)
}

#[cfg(test)]
mod tests;
