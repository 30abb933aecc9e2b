//! The model of what was just heard: a prediction filter, its excitation and a pitch.

use std::f32::consts::{FRAC_PI_2, TAU};

/// Pitch periods in milliseconds: 67 to 200 Hz. Higher voices are found at a
/// multiple of theirs, which repeats as well.
const LAGS: (usize, usize) = (5, 15);

/// Samples that are compared with those a period earlier, milliseconds. The
/// 20 ms of Appendix I find a steadier pitch, these one that fits what was last.
const MATCHED: usize = 12;

/// How many periods are repeated at most: one for the first so many
/// milliseconds, then one more, lest the ear hear the repetition.
const MAX_PERIODS: usize = 2;
const PERIOD_STEP: usize = 10;

/// Of the prediction filter: enough for the formants of a voice at 16 kHz and,
/// at 8 kHz, for some of its pitch.
const ORDER: usize = 24;

/// Samples from which the filter is estimated, milliseconds: a window that
/// rises over all of them but the last few, so that the newest count most.
const ANALYSED: usize = 25;
const FALL: usize = 2;

/// Samples whose excitation makes noise, milliseconds.
const NOISE: usize = 10;

/// How alike periods are at the least if there is a pitch, and at the most if there is also noise.
const LIKENESS: (f32, f32) = (0.4, 0.7);

/// Peaks below this count as silence, of 16 bits: the least that µ-law codes besides 0 is 8.
const SILENCE: u16 = 8;

/// Samples of history that a voice is made from: what is compared and the
/// longest period before it, and the filter's past before the longest stretch that is repeated.
pub(super) const fn history_len(ms: usize) -> usize {
    let stretch = MAX_PERIODS * LAGS.1;
    let compared = MATCHED + LAGS.1;
    ms * if stretch > compared {
        stretch
    } else {
        compared
    } + ORDER
}

/// A voice that goes on. Samples have the scale of 16 bits.
pub(super) struct ContinuedVoice {
    ms: usize,
    /// Linear-prediction coefficients: weight of the previous sample, of the one before it, and so
    /// on.
    filter: [f32; ORDER],
    /// The last samples made, newest first.
    memory: [f32; ORDER],
    /// The history's excitation, newest last.
    excitation: Vec<f32>,
    /// The pitch period in samples.
    lag: usize,
    /// Shares of the repeated excitation and of noise.
    pulse: f32,
    noise: f32,
    /// Place in the stretch that is repeated, and its length in periods.
    place: usize,
    periods: usize,
    made: usize,
    /// Largest magnitude in the audio before the loss, which no sample made exceeds.
    peak: f32,
    chance: u32,
}

impl ContinuedVoice {
    /// Continues a history of [`history_len`] samples; none continues silence.
    pub(super) fn new(history: &[i16], ms: usize) -> Option<Self> {
        let peak = history.iter().map(|sample| sample.unsigned_abs()).max()?;
        if peak < SILENCE {
            return None;
        }
        let signal: Vec<f32> = history.iter().map(|&sample| f32::from(sample)).collect();
        let (lag, likeness) = pitch(&signal, ms);
        let filter = predictor(&signal[signal.len() - ANALYSED * ms..], ms);
        let first = signal.len() - MAX_PERIODS * LAGS.1 * ms;
        let excitation = (first..signal.len())
            .map(|at| signal[at] - predict(&filter, signal[at - ORDER..at].iter().rev()))
            .collect();
        let mut memory = [0.0; ORDER];
        for (kept, sample) in memory.iter_mut().zip(signal.iter().rev()) {
            *kept = *sample;
        }
        let pulse = ((likeness - LIKENESS.0) / (LIKENESS.1 - LIKENESS.0)).clamp(0.0, 1.0);
        Some(Self {
            ms,
            filter,
            memory,
            excitation,
            lag,
            pulse,
            noise: (1.0 - pulse * pulse).sqrt(),
            place: 0,
            periods: 1,
            made: 0,
            peak: f32::from(peak),
            chance: 1,
        })
    }

    /// The next sample of the voice.
    pub(super) fn next(&mut self) -> f32 {
        let drive = self.drive();
        let sample = drive + predict(&self.filter, self.memory.iter());
        let sample = sample.clamp(-self.peak, self.peak);
        self.memory.copy_within(..ORDER - 1, 1);
        self.memory[0] = sample;
        sample
    }

    fn drive(&mut self) -> f32 {
        let due = 1 + self.made / (PERIOD_STEP * self.ms);
        self.made += 1;
        if due > self.periods && self.periods < MAX_PERIODS {
            // On from the same place of a period, one further back.
            self.periods += 1;
            self.place %= self.lag;
        }
        let stretch = self.periods * self.lag;
        let pulse = self.excitation[self.excitation.len() - stretch + self.place];
        self.place = (self.place + 1) % stretch;
        self.pulse * pulse + self.noise * self.shuffled()
    }

    /// Excitation in a random order (xorshift): as strong, but without a period.
    fn shuffled(&mut self) -> f32 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 17;
        self.chance ^= self.chance << 5;
        let back = 1 + self.chance as usize % (NOISE * self.ms);
        self.excitation[self.excitation.len() - back]
    }
}

fn predict<'a>(filter: &[f32; ORDER], newest_first: impl Iterator<Item = &'a f32>) -> f32 {
    filter.iter().zip(newest_first).map(|(a, x)| a * x).sum()
}

/// The lag at which the newest samples are most like earlier ones, and how
/// alike they are: 1 for a perfect period, around 0 for noise.
fn pitch(signal: &[f32], ms: usize) -> (usize, f32) {
    let newest = signal.len() - MATCHED * ms;
    let now = &signal[newest..];
    let power = dot(now, now);
    let mut best = (LAGS.1 * ms, 0.0);
    for lag in LAGS.0 * ms..=LAGS.1 * ms {
        let then = &signal[newest - lag..signal.len() - lag];
        // At least 1, so that silence is like nothing.
        let likeness = dot(now, then) / (power * dot(then, then)).sqrt().max(1.0);
        if likeness > best.1 {
            best = (lag, likeness);
        }
    }
    best
}

/// The sum of products, in eight parts that a processor adds side by side.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Linear prediction by the autocorrelation method, which gives a filter that
/// cannot run away.
fn predictor(signal: &[f32], ms: usize) -> [f32; ORDER] {
    let (len, fall) = (signal.len(), FALL * ms);
    let rise = len - fall;
    let window = |n: usize| {
        let part = if n < rise {
            (n as f32 + 0.5) / rise as f32
        } else {
            ((len - n) as f32 - 0.5) / fall as f32
        };
        (FRAC_PI_2 * part).sin().powi(2)
    };
    let windowed: Vec<f32> = signal
        .iter()
        .enumerate()
        .map(|(n, x)| window(n) * x)
        .collect();
    let mut correlation = [0.0; ORDER + 1];
    for (lag, value) in correlation.iter_mut().enumerate() {
        // Blurs the spectrum by 40 Hz, so that no resonance gets too sharp.
        let blur = TAU * 40.0 * lag as f32 / (ms as f32 * 1000.0);
        *value = dot(&windowed[lag..], &windowed[..len - lag]) * (-0.5 * blur * blur).exp();
    }
    // White noise 40 dB down, since telephony leaves part of the band empty.
    correlation[0] *= 1.0001;
    levinson(&correlation)
}

/// Levinson's and Durbin's recursion from an autocorrelation to a filter.
fn levinson(correlation: &[f32; ORDER + 1]) -> [f32; ORDER] {
    let mut filter = [0.0; ORDER];
    let mut error = correlation[0];
    for order in 0..ORDER {
        // What is left is rounding: nothing more can be predicted.
        if error <= correlation[0] * 1e-6 {
            break;
        }
        let known: f32 = (0..order).map(|k| filter[k] * correlation[order - k]).sum();
        let reflection = (correlation[order + 1] - known) / error;
        let before = filter;
        for k in 0..order {
            filter[k] -= reflection * before[order - 1 - k];
        }
        filter[order] = reflection;
        error *= 1.0 - reflection * reflection;
    }
    filter
}
