//! ITU-T G.711 Appendix I, to be compared with: written anew from what the
//! Recommendation describes, at 8 kHz in frames of 10 ms, with its delay of 3.75 ms.

/// Samples in a frame, 10 ms.
pub(super) const FRAME: usize = 80;

/// Shortest and longest pitch period.
const PITCH: (usize, usize) = (40, 120);

/// A quarter of the longest period: what is held back to smooth the seam.
pub(super) const DELAY: usize = PITCH.1 / 4;

const HISTORY: usize = 3 * PITCH.1 + DELAY;

/// Samples that are correlated, 20 ms.
const MATCHED: usize = 160;

/// Power under which a correlation does not count, of 16-bit samples at every second place.
const LEAST_POWER: f32 = 250.0;

/// Strength lost in a frame, from the second on.
const FADE: f32 = 0.2;

/// By how much each further lost frame lengthens the cross-fade behind the loss, 4 ms.
const OVERLAP_STEP: usize = 32;

pub(super) struct Appendix {
    history: Vec<f32>,
    /// Lost frames in a row.
    lost: usize,
    pitch: usize,
    /// The history as it was before the loss, its end smoothed for the number of periods in use.
    source: Vec<f32>,
    /// The last quarter period before it was smoothed.
    quarter: Vec<f32>,
    /// Periods that are repeated.
    periods: usize,
    place: usize,
}

impl Appendix {
    pub(super) fn new() -> Self {
        Self {
            history: vec![0.0; HISTORY],
            lost: 0,
            pitch: 0,
            source: Vec::new(),
            quarter: Vec::new(),
            periods: 1,
            place: 0,
        }
    }

    /// A frame that came, or none; out comes one that began [`DELAY`] samples earlier.
    pub(super) fn frame(&mut self, frame: Option<&[f32]>) -> Vec<f32> {
        let frame = match frame {
            Some(frame) => self.good(frame),
            None => self.lost(),
        };
        self.history.drain(..FRAME);
        self.history.extend(frame);
        self.history[HISTORY - FRAME - DELAY..HISTORY - DELAY].to_vec()
    }

    fn good(&mut self, frame: &[f32]) -> Vec<f32> {
        let mut frame = frame.to_vec();
        if self.lost > 0 {
            let len = (self.pitch / 4 + (self.lost - 1) * OVERLAP_STEP).min(FRAME);
            let gain = self.gain();
            let tail = self.synthesise(len);
            for (n, (sample, concealed)) in frame.iter_mut().zip(tail).enumerate() {
                let weight = (n + 1) as f32 / len as f32;
                *sample = weight * *sample + (1.0 - weight) * gain * concealed;
            }
        }
        self.lost = 0;
        frame
    }

    fn lost(&mut self) -> Vec<f32> {
        let gain = self.gain();
        let quarter = self.pitch / 4;
        let mut frame = match self.lost {
            0 => {
                self.begin();
                self.synthesise(FRAME)
            }
            1 | 2 => {
                let place = self.place;
                let old = self.synthesise(quarter);
                self.place = place % self.pitch;
                self.periods += 1;
                self.smooth();
                let mut new = self.synthesise(FRAME);
                for (n, (sample, old)) in new.iter_mut().zip(old).enumerate() {
                    let weight = (n + 1) as f32 / quarter as f32;
                    *sample = weight * *sample + (1.0 - weight) * old;
                }
                new
            }
            _ => self.synthesise(FRAME),
        };
        for (n, sample) in frame.iter_mut().enumerate() {
            let fade = if self.lost == 0 {
                0.0
            } else {
                FADE * n as f32 / FRAME as f32
            };
            *sample *= (gain - fade).max(0.0);
        }
        self.lost += 1;
        frame
    }

    /// Of the next lost frame, at its beginning.
    fn gain(&self) -> f32 {
        (1.0 - self.lost.saturating_sub(1) as f32 * FADE).max(0.0)
    }

    fn begin(&mut self) {
        self.source = self.history.clone();
        self.pitch = self.find_pitch();
        self.quarter = self.source[HISTORY - self.pitch / 4..].to_vec();
        self.periods = 1;
        self.place = 0;
        self.smooth();
        // What is held back ends in the same way as the period that is repeated.
        let quarter = HISTORY - self.pitch / 4;
        self.history[quarter..].copy_from_slice(&self.source[quarter..]);
    }

    /// Cross-fades the source's last quarter period into what precedes the
    /// repeated stretch, so that its end leads to its beginning.
    fn smooth(&mut self) {
        let len = self.pitch / 4;
        let before = HISTORY - self.periods * self.pitch - len;
        for n in 0..len {
            let weight = (n + 1) as f32 / len as f32;
            self.source[HISTORY - len + n] =
                (1.0 - weight) * self.quarter[n] + weight * self.source[before + n];
        }
    }

    fn synthesise(&mut self, count: usize) -> Vec<f32> {
        let stretch = self.periods * self.pitch;
        let start = HISTORY - stretch;
        let sample = |_| {
            let sample = self.source[start + self.place];
            self.place = (self.place + 1) % stretch;
            sample
        };
        (0..count).map(sample).collect()
    }

    /// Normalised correlation, at every second sample first, then around the best.
    fn find_pitch(&self) -> usize {
        let coarse = self.best((PITCH.0..=PITCH.1).rev().step_by(2), 2);
        let near = coarse.saturating_sub(1).max(PITCH.0)..=(coarse + 1).min(PITCH.1);
        self.best(near.rev(), 1)
    }

    fn best(&self, lags: impl Iterator<Item = usize>, step: usize) -> usize {
        let newest = HISTORY - MATCHED;
        let (mut best, mut most) = (PITCH.1, f32::MIN);
        for lag in lags {
            let (mut power, mut product) = (0.0f32, 0.0);
            for n in (newest..HISTORY).step_by(step) {
                power += self.source[n - lag] * self.source[n - lag];
                product += self.source[n - lag] * self.source[n];
            }
            let likeness = product / power.max(LEAST_POWER).sqrt();
            if likeness > most {
                (best, most) = (lag, likeness);
            }
        }
        best
    }
}
