//! Log-mel spectrograms: what Whisper's encoder looks at.
//!
//! OpenAI's `whisper/audio.py`, `log_mel_spectrogram`: 400 samples behind a Hann window every
//! 160, the power in mel bands, its logarithm clamped to 8 below the loudest and scaled.

use std::f64::consts::LN_10;

use asterscribe_speech::SAMPLE_RATE;
use asterscribe_speech::fourier::PowerSpectrum;

/// Samples of a frame's window, and frequencies of its spectrum.
const WINDOW: usize = 400;
const FREQUENCIES: usize = WINDOW / 2 + 1;

/// Samples from one frame to the next: 10 ms.
const HOP: usize = 160;

/// Frames of one position of the encoder, whose second convolution takes every other.
pub(crate) const FRAMES_PER_POSITION: usize = 2;

/// Samples of one position of the encoder: 20 ms.
pub(crate) const SAMPLES_PER_POSITION: usize = HOP * FRAMES_PER_POSITION;

/// Power below which nothing is told apart.
const LEAST_POWER: f32 = 1e-10;

/// A mel band: the frequencies that it takes in, and their weights.
struct MelBand {
    first: usize,
    weights: Vec<f32>,
}

/// Makes spectrograms of one number of mel bands.
pub(crate) struct MelSpectrogram {
    spectrum: PowerSpectrum,
    bands: Vec<MelBand>,
}

impl MelSpectrogram {
    /// Spectrograms of `n_mels` bands: 80, or 128 from large-v3 on.
    pub(crate) fn new(n_mels: usize) -> Self {
        Self {
            spectrum: PowerSpectrum::new(WINDOW),
            bands: mel_bands(n_mels),
        }
    }

    /// The spectrogram of 16 kHz samples, cut or followed by silence to so many positions of the
    /// encoder: band by band, `FRAMES_PER_POSITION` values for each position.
    pub(crate) fn of(&self, samples: &[f32], positions: usize) -> Vec<f32> {
        let frames = positions * FRAMES_PER_POSITION;
        let samples = &samples[..samples.len().min(frames * HOP)];
        let silence = LEAST_POWER.log10();
        let mut mels = vec![silence; self.bands.len() * frames];
        // Beyond half a window behind the last sample a frame holds nothing but silence.
        let heard = (samples.len() + WINDOW / 2).div_ceil(HOP).min(frames);
        let mut loudest = silence;
        for frame in 0..heard {
            let powers: [f32; FREQUENCIES] = self.spectrum.powers(window_at(samples, frame));
            for (n, band) in self.bands.iter().enumerate() {
                let power: f32 = band
                    .weights
                    .iter()
                    .zip(&powers[band.first..])
                    .map(|(weight, power)| weight * power)
                    .sum();
                let level = power.max(LEAST_POWER).log10();
                loudest = loudest.max(level);
                mels[n * frames + frame] = level;
            }
        }
        for level in &mut mels {
            *level = (level.max(loudest - 8.0) + 4.0) / 4.0;
        }
        mels
    }
}

/// The samples around the middle of a frame; before the first one those behind it, mirrored.
fn window_at(samples: &[f32], frame: usize) -> [f32; WINDOW] {
    std::array::from_fn(|n| {
        let at = (frame * HOP + n).abs_diff(WINDOW / 2);
        samples.get(at).copied().unwrap_or(0.0)
    })
}

/// Slaney's mel scale as librosa has it, which Whisper was trained with: linear up to 1 kHz,
/// logarithmic above; each band's triangle has the same area.
fn mel_bands(n_mels: usize) -> Vec<MelBand> {
    const LINEAR_HZ: f64 = 200.0 / 3.0;
    const KNEE_HZ: f64 = 1_000.0;
    let step = 6.4f64.log10() * LN_10 / 27.0;
    let knee = KNEE_HZ / LINEAR_HZ;
    let nyquist = f64::from(SAMPLE_RATE) / 2.0;
    let highest = knee + (nyquist / KNEE_HZ).ln() / step;
    let hertz = |mel: f64| {
        if mel < knee {
            mel * LINEAR_HZ
        } else {
            KNEE_HZ * (step * (mel - knee)).exp()
        }
    };
    let corner = |n: usize| hertz(highest * n as f64 / (n_mels + 1) as f64);
    let frequency = |n: usize| nyquist * n as f64 / (FREQUENCIES - 1) as f64;
    let band = |n: usize| {
        let (low, middle, high) = (corner(n), corner(n + 1), corner(n + 2));
        let weight = |n: usize| {
            let rising = (frequency(n) - low) / (middle - low);
            let falling = (high - frequency(n)) / (high - middle);
            (rising.min(falling).max(0.0) * 2.0 / (high - low)) as f32
        };
        let inside = |n: &usize| low < frequency(*n) && frequency(*n) < high;
        let first = (0..FREQUENCIES).find(inside).unwrap_or(0);
        let weights = (first..FREQUENCIES).take_while(inside).map(weight);
        MelBand {
            first,
            weights: weights.collect(),
        }
    };
    (0..n_mels).map(band).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, samples: usize) -> Vec<f32> {
        let turn = std::f32::consts::TAU * hz / SAMPLE_RATE as f32;
        (0..samples)
            .map(|n| 0.5 * (turn * n as f32).sin())
            .collect()
    }

    #[test]
    fn a_tone_is_in_its_band_and_silence_is_eight_below() {
        let spectrogram = MelSpectrogram::new(80);
        let (positions, samples) = (100, tone(1_000.0, 16_000));
        let mels = spectrogram.of(&samples, positions);
        let frames = positions * FRAMES_PER_POSITION;
        assert_eq!(mels.len(), 80 * frames);
        let level = |band: usize, frame: usize| mels[band * frames + frame];
        let loudest = (0..80).max_by(|&a, &b| level(a, 50).total_cmp(&level(b, 50)));
        // 1 kHz is mel 15 of 45.2, which is band 26 of 81 corners.
        assert!(matches!(loudest, Some(25..=26)), "{loudest:?}");
        let top = mels.iter().copied().fold(f32::MIN, f32::max);
        assert!(
            (level(0, 190) - (top - 2.0)).abs() < 1e-5,
            "silence follows"
        );
    }

    #[test]
    fn frames_of_silence_behind_the_audio_are_the_same_whether_computed_or_not() {
        let spectrogram = MelSpectrogram::new(80);
        let samples = tone(300.0, 12_345);
        let padded: Vec<f32> = samples.iter().copied().chain(vec![0.0; 40_000]).collect();
        assert_eq!(spectrogram.of(&samples, 150), spectrogram.of(&padded, 150));
    }

    #[test]
    fn each_band_weighs_the_same_band_of_noise_alike() {
        for n_mels in [80, 128] {
            let bands = mel_bands(n_mels);
            assert_eq!(bands.len(), n_mels);
            for band in &bands {
                let area: f32 = band.weights.iter().sum::<f32>() * 40.0;
                assert!((0.1..1.9).contains(&area), "{area}");
                assert!(band.first + band.weights.len() <= FREQUENCIES);
            }
        }
        // The second weight of OpenAI's first filter (assets/mel_filters.npz).
        assert!((mel_bands(80)[0].weights[0] - 0.024_862_594).abs() < 1e-7);
    }
}
