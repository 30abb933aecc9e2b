//! Half an hour in which nobody speaks.

use std::f64::consts::TAU;

use asterscribe_testkit::Result;
use asterscribe_testkit::chance::Chance;
use asterscribe_testkit::real_speech::RealSpeech;
use asterscribe_testkit::wav::Sound;

use crate::party::{MS, Party};

/// Samples of a second.
const SECOND: usize = 1_000 * MS;

/// Samples of a minute.
pub(crate) const MINUTE: usize = 60 * SECOND;

/// A full-scale wave.
const FULL: f64 = 32_767.0;

/// Pairs of frequencies of keys, Hz (ITU-T Q.23).
const KEYS: [(f64, f64); 4] = [
    (697.0, 1_209.0),
    (770.0, 1_336.0),
    (852.0, 1_477.0),
    (941.0, 1_209.0),
];

/// A sound that is no speech.
pub(crate) struct Quiet {
    pub(crate) name: &'static str,
    pub(crate) party: Party,
}

/// Every kind; music is Asterisk's own, all of it.
pub(crate) fn kinds(material: &RealSpeech) -> Result<Vec<Quiet>> {
    let mut music = Vec::new();
    for piece in material.music()? {
        music.extend(Sound::read(&piece)?.samples.into_iter().map(f64::from));
    }
    let quiet = |name, samples| Quiet {
        name,
        party: Party {
            samples,
            spoken: Vec::new(),
        },
    };
    Ok(vec![
        quiet("silence", vec![0.0; 2 * MINUTE]),
        quiet("line noise, -60 dBFS", noise(-60.0)),
        quiet("line noise, -40 dBFS", noise(-40.0)),
        quiet("breaths in line noise", breaths()),
        quiet("hum, 50 Hz and harmonics", hum(50.0)),
        quiet("hum, 60 Hz and harmonics", hum(60.0)),
        quiet("keys", keys()),
        quiet("ringback, 440 and 480 Hz", tone([440.0, 480.0], 4, 12)),
        quiet("ringback, 425 Hz", tone([425.0, 425.0], 2, 10)),
        quiet("busy, 480 and 620 Hz", tone([480.0, 620.0], 1, 2)),
        quiet("music on hold", music),
    ])
}

fn amplitude(decibels: f64) -> f64 {
    FULL * 10f64.powf(decibels / 20.0)
}

/// A wave of a frequency, at a sample.
fn wave(hertz: f64, at: usize) -> f64 {
    (TAU * hertz * at as f64 / SECOND as f64).sin()
}

/// Two minutes of white noise of a level.
fn noise(decibels: f64) -> Vec<f64> {
    // Evenly spread from -1 to 1 it has a power of a third.
    let gain = 3f64.sqrt() * amplitude(decibels);
    let mut chance = Chance(7);
    (0..2 * MINUTE).map(|_| gain * chance.next_unit()).collect()
}

/// Two minutes of breaths of 0.6 s every 4 s.
fn breaths() -> Vec<f64> {
    let (length, period) = (SECOND * 6 / 10, 4 * SECOND);
    let swell = |at: usize| match at % period {
        within if within < length => (TAU / 2.0 * within as f64 / length as f64).sin().powi(2),
        _ => 0.0,
    };
    let mut chance = Chance(9);
    let sample = |at| FULL * (0.04 * swell(at) + 0.001) * chance.next_unit();
    (0..2 * MINUTE).map(sample).collect()
}

/// Two minutes of hum that comes and goes every 10 s.
fn hum(hertz: f64) -> Vec<f64> {
    let sample = |at: usize| {
        let is_there = (at / (10 * SECOND)).is_multiple_of(2);
        let wave = wave(hertz, at) + 0.3 * wave(3.0 * hertz, at) + 0.1 * wave(5.0 * hertz, at);
        if is_there {
            amplitude(-20.0) * wave
        } else {
            0.0
        }
    };
    (0..2 * MINUTE).map(sample).collect()
}

/// Two minutes of keys, 120 ms each, two a second, ten in a row and then a pause.
fn keys() -> Vec<f64> {
    let sample = |at: usize| {
        let (press, within) = (at / (SECOND / 2), at % (SECOND / 2));
        let (low, high) = KEYS[press % KEYS.len()];
        match within < 120 * MS && press / 10 % 2 == 0 {
            true => amplitude(-13.0) * (wave(low, at) + wave(high, at)),
            false => 0.0,
        }
    };
    (0..2 * MINUTE).map(sample).collect()
}

/// Two minutes of a tone of two frequencies that sounds for `on` of each `period` half seconds.
fn tone(hertz: [f64; 2], on: usize, period: usize) -> Vec<f64> {
    let sample = |at: usize| match at / (SECOND / 2) % period < on {
        true => amplitude(-19.0) * (wave(hertz[0], at) + wave(hertz[1], at)),
        false => 0.0,
    };
    (0..2 * MINUTE).map(sample).collect()
}
