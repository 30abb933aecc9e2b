//! How many samples of 16 kHz the packets of a codec are.

use std::mem;

use asterscribe_codecs::SampleRate;
use asterscribe_speech::SAMPLE_RATE;

/// Audio since the resampler was last empty, so that packets whose length is no
/// whole number of 16 kHz samples add up to what the resampler makes of them.
#[derive(Debug, Default)]
pub(super) struct ResampledLength {
    rate: u64,
    /// Samples at `rate`.
    taken: u64,
    /// Samples of 16 kHz that they were taken for.
    given: u64,
}

impl ResampledLength {
    /// How many 16 kHz samples the next `count` samples are. At another rate than before the
    /// resampler ends its stretch, so that what is short of a sample is one.
    pub(super) fn take(&mut self, rate: SampleRate, count: u64) -> u64 {
        let rate = u64::from(rate.hz());
        let rest = if rate == self.rate { 0 } else { self.end() };
        self.rate = rate;
        self.taken += count;
        let due = self.taken * u64::from(SAMPLE_RATE) / rate;
        rest + due - mem::replace(&mut self.given, due)
    }

    /// The resampler gives out its tail: what has begun of a sample is one.
    pub(super) fn end(&mut self) -> u64 {
        let stretch = mem::take(self);
        match stretch.rate {
            0 => 0,
            rate => (stretch.taken * u64::from(SAMPLE_RATE)).div_ceil(rate) - stretch.given,
        }
    }

    /// See [`CallSession::glance`](crate::CallSession::glance).
    pub(super) fn glance(&self) -> u64 {
        self.taken
    }
}

/// `count` samples at `rate` by themselves, in 16 kHz samples.
pub(super) fn alone(rate: SampleRate, count: usize) -> u64 {
    count as u64 * u64::from(SAMPLE_RATE) / u64::from(rate.hz())
}
