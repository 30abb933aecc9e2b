//! Sounds, at 8 kHz.

use std::f64::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};

/// Random numbers that depend on their seed only.
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// -1 to 1.
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1u32 << 30) - 1.0
    }
}

pub(super) fn sound(seconds: f64, wave: impl FnMut(f64) -> f64) -> Vec<i16> {
    sound_at(8_000.0, seconds, wave)
}

pub(super) fn sound_at(rate: f64, seconds: f64, mut wave: impl FnMut(f64) -> f64) -> Vec<i16> {
    (0..(seconds * rate) as usize)
        .map(|n| (wave(n as f64 / rate) * 32_767.0).clamp(-32_768.0, 32_767.0) as i16)
        .collect()
}

pub(super) fn silence(seconds: f64) -> Vec<i16> {
    sound(seconds, |_| 0.0)
}

/// Sinusoids of an amplitude each.
pub(super) fn tones(seconds: f64, frequencies: &[f64], amplitude: f64) -> Vec<i16> {
    sound(seconds, |t| {
        frequencies.iter().map(|f| (TAU * f * t).sin()).sum::<f64>() * amplitude
    })
}

/// Tones that come and go by these lengths in turn, on and off.
pub(super) fn cadence(frequencies: &[f64], lengths: &[f64], rounds: usize) -> Vec<i16> {
    let mut samples = Vec::new();
    for _ in 0..rounds {
        for (n, &length) in lengths.iter().enumerate() {
            samples.extend(if n % 2 == 0 {
                tones(length, frequencies, 0.1)
            } else {
                silence(length)
            });
        }
    }
    samples
}

pub(super) fn noise(seconds: f64, amplitude: f64) -> Vec<i16> {
    let mut noise = Noise::new(7);
    sound(seconds, |_| noise.next() * amplitude)
}

/// Noise of the low frequencies only, as in a car.
pub(super) fn rumble(seconds: f64, amplitude: f64) -> Vec<i16> {
    let (mut noise, mut one, mut two) = (Noise::new(11), 0.0, 0.0);
    sound(seconds, |_| {
        one += (noise.next() - one) * 0.15;
        two += (one - two) * 0.15;
        two * amplitude * 6.0
    })
}

/// Chords, with overtones and vibrato, that change every so often and decay a little.
pub(super) fn music(seconds: f64, beat: f64) -> Vec<i16> {
    const CHORDS: [[f64; 3]; 4] = [
        [261.6, 329.6, 392.0],
        [220.0, 261.6, 329.6],
        [349.2, 440.0, 523.3],
        [392.0, 493.9, 587.3],
    ];
    sound(seconds, |t| {
        let chord = CHORDS[(t / beat) as usize % 4];
        let vibrato = 0.15 * (TAU * 5.0 * t).sin() / 5.0;
        let decay = 0.5 + 0.5 * (-(t % beat) / beat).exp();
        let note = |f: f64| {
            (1..=3)
                .map(|k| (TAU * f * f64::from(k) * t + vibrato * f64::from(k)).sin() / f64::from(k))
                .sum::<f64>()
        };
        0.08 * decay * chord.into_iter().map(note).sum::<f64>()
    })
}

/// Cut off where it exceeds full scale.
pub(super) fn clipped(samples: &[i16], gain: f64) -> Vec<i16> {
    samples
        .iter()
        .map(|&s| (f64::from(s) * gain).clamp(-32_768.0, 32_767.0) as i16)
        .collect()
}

pub(super) fn mixed(sounds: &[&[i16]]) -> Vec<i16> {
    let length = sounds.iter().map(|sound| sound.len()).min().unwrap_or(0);
    (0..length)
        .map(|n| {
            let sum: i32 = sounds.iter().map(|sound| i32::from(sound[n])).sum();
            sum.clamp(-32_768, 32_767) as i16
        })
        .collect()
}

/// The recorded prompts of one of the rates: name and samples.
pub(super) fn prompts(ending: &str) -> Vec<(String, Vec<i16>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/prompts");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path).unwrap();
            // The files have the plain header of 44 bytes.
            let (pairs, _) = bytes[44..].as_chunks::<2>();
            let samples = pairs.iter().map(|&pair| i16::from_le_bytes(pair)).collect();
            (path.display().to_string(), samples)
        })
        .collect()
}

/// All prompts of 8 kHz, one after the other.
pub(super) fn speech() -> Vec<i16> {
    prompts("wav")
        .into_iter()
        .flat_map(|(_, samples)| samples)
        .collect()
}
