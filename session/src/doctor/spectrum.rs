//! The few strong peaks of a block's spectrum: Goertzel's recurrence for many
//! frequencies side by side, behind a Hann window.

use std::f32::consts::TAU;

/// Samples of 8 kHz in a block, 100 ms. Behind the window tones are told apart
/// from some 40 Hz between them.
pub(super) const BLOCK: usize = 800;

const RATE: f32 = 8_000.0;

/// The grid: 200 Hz, 220 Hz, … 3,380 Hz.
const LANES: usize = 16;
const GROUPS: usize = 10;
const GRID: usize = LANES * GROUPS;
const LOWEST: f32 = 200.0;
const STEP: f32 = 20.0;

/// Peaks that are kept of a block.
pub(super) const KEPT: usize = 6;

/// Peaks further below the highest are the window's own: -25 dB.
const FLOOR: f32 = 0.003;

/// How much a peak may move between two blocks and be the same note, Hz.
const SAME: f32 = 6.0;

/// Share of a block's power in its tones from which it is made of them.
pub(super) const PURE: f32 = 0.85;

/// A block behind its window.
#[derive(Debug)]
pub(super) struct BlockSpectrum {
    windowed: [f32; BLOCK],
    /// Mean square of the block.
    power: f32,
}

/// The strongest peaks, the strongest first.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct SpectrumPeaks {
    pub(super) count: usize,
    pub(super) peaks: [SpectrumPeak; KEPT],
    /// Mean square of the block.
    pub(super) power: f32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct SpectrumPeak {
    /// Hz.
    pub(super) frequency: f32,
    /// Mean square of the sinusoid.
    pub(super) power: f32,
}

impl BlockSpectrum {
    pub(super) fn new() -> Self {
        Self {
            windowed: [0.0; BLOCK],
            power: 0.0,
        }
    }

    /// Takes a block; its mean square, as far as the window lets it through.
    pub(super) fn load(&mut self, block: &[f32; BLOCK]) -> f32 {
        // cos(n·θ) by its recurrence; exact enough in f64 for 800 steps.
        let theta = f64::from(TAU) / BLOCK as f64;
        let twice = 2.0 * theta.cos();
        let (mut last, mut cosine) = (theta.cos(), 1.0f64);
        let mut sum = 0.0;
        for (windowed, sample) in self.windowed.iter_mut().zip(block) {
            let window = (0.5 - 0.5 * cosine) as f32;
            (last, cosine) = (cosine, twice * cosine - last);
            *windowed = sample * window;
            sum += *windowed * *windowed;
        }
        // The window's mean square is 3/8.
        self.power = sum / (0.375 * BLOCK as f32);
        self.power
    }

    /// Whether the block is nothing but sinusoids of these frequencies.
    pub(super) fn is_made_of(&self, frequencies: &[f32]) -> bool {
        let mut lanes = [0.0; LANES];
        for (lane, frequency) in lanes.iter_mut().zip(frequencies) {
            *lane = *frequency;
        }
        let powers = self.powers(&lanes);
        let found: f32 = powers.iter().take(frequencies.len()).sum();
        found >= PURE * self.power
    }

    pub(super) fn peaks(&self) -> SpectrumPeaks {
        let mut grid = [0.0; GRID];
        for (group, powers) in grid.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let first = LOWEST + STEP * (group * LANES) as f32;
            let frequencies = std::array::from_fn(|lane| first + STEP * lane as f32);
            *powers = self.powers(&frequencies);
        }
        let mut found = SpectrumPeaks {
            power: self.power,
            ..SpectrumPeaks::default()
        };
        for place in 0..GRID {
            let left = if place > 0 { grid[place - 1] } else { 0.0 };
            let right = grid.get(place + 1).copied().unwrap_or(0.0);
            if grid[place] >= left && grid[place] > right {
                let frequency = LOWEST + STEP * place as f32;
                let power = grid[place];
                found.insert(SpectrumPeak { frequency, power });
            }
        }
        self.refine(&mut found);
        found
    }

    /// Finds the tops between the grid's lines: by a parabola through the
    /// logarithms, which near its top is what the window's lobe looks like.
    fn refine(&self, found: &mut SpectrumPeaks) {
        const HALF: f32 = STEP / 2.0;
        let mut lanes = [0.0; LANES];
        for (n, peak) in found.peaks[..found.count].iter().enumerate() {
            lanes[2 * n] = peak.frequency - HALF;
            lanes[2 * n + 1] = peak.frequency + HALF;
        }
        let powers = self.powers(&lanes);
        let log = |power: f32| power.max(f32::MIN_POSITIVE).ln();
        for (n, peak) in found.peaks[..found.count].iter_mut().enumerate() {
            let (left, top, right) = (log(powers[2 * n]), log(peak.power), log(powers[2 * n + 1]));
            let bend = left - 2.0 * top + right;
            if bend < 0.0 {
                let shift = (0.5 * (left - right) / bend).clamp(-1.0, 1.0);
                peak.frequency += shift * HALF;
                peak.power = (top - 0.25 * (left - right) * shift).exp();
            }
        }
    }

    /// Mean squares of sinusoids of these frequencies.
    fn powers(&self, frequencies: &[f32; LANES]) -> [f32; LANES] {
        let factors = frequencies.map(|f| 2.0 * (TAU * f / RATE).cos());
        let (mut one, mut two) = ([0.0f32; LANES], [0.0f32; LANES]);
        for &sample in &self.windowed {
            for lane in 0..LANES {
                let next = sample + factors[lane] * one[lane] - two[lane];
                two[lane] = one[lane];
                one[lane] = next;
            }
        }
        // |X|² of a sinusoid of amplitude a is (a·BLOCK/4)² behind the window.
        let scale = 8.0 / (BLOCK * BLOCK) as f32;
        std::array::from_fn(|lane| {
            let (one, two) = (one[lane], two[lane]);
            (one * one + two * two - factors[lane] * one * two).max(0.0) * scale
        })
    }
}

impl SpectrumPeaks {
    /// The peaks from the strongest to the weakest that is the block's own.
    pub(super) fn iter(&self) -> impl Iterator<Item = SpectrumPeak> + '_ {
        self.peaks[..self.count].iter().copied()
    }

    /// The frequencies of which the block is made, if they are one or two
    /// (multiples of the first, as distortion makes them, not counted).
    pub(super) fn tones(&self) -> Option<([f32; 2], usize)> {
        let first = self.iter().next()?;
        let (mut tones, mut count, mut explained) = ([first.frequency, 0.0], 1, first.power);
        for peak in self.iter().skip(1) {
            if peak.power < 0.02 * first.power {
                break;
            }
            explained += peak.power;
            let multiple = peak.frequency / first.frequency;
            if multiple > 1.5 && (multiple - multiple.round()).abs() < 0.02 {
                continue;
            }
            *tones.get_mut(count)? = peak.frequency;
            count += 1;
        }
        tones[..count].sort_by(f32::total_cmp);
        (explained >= PURE * self.power).then_some((tones, count))
    }

    /// Share of these peaks, by power, that were there before.
    pub(super) fn held_from(&self, before: &Self) -> f32 {
        let (mut held, mut total) = (0.0, 0.0);
        for peak in self.iter() {
            // By amplitude: a single loud note is not all there is to hear.
            let weight = peak.power.sqrt();
            let was_there = |old: SpectrumPeak| (old.frequency - peak.frequency).abs() <= SAME;
            total += weight;
            held += if before.iter().any(was_there) {
                weight
            } else {
                0.0
            };
        }
        if total > 0.0 { held / total } else { 0.0 }
    }

    fn insert(&mut self, peak: SpectrumPeak) {
        let place = self
            .iter()
            .take_while(|old| old.power >= peak.power)
            .count();
        let strongest = self.peaks[0].power;
        if place >= KEPT || (self.count > 0 && peak.power < FLOOR * strongest) {
            return;
        }
        self.peaks[place..].rotate_right(1);
        self.peaks[place] = peak;
        self.count = (self.count + 1).min(KEPT);
        let floor = FLOOR * self.peaks[0].power;
        while self.count > 1 && self.peaks[self.count - 1].power < floor {
            self.count -= 1;
        }
    }
}
