//! Speech over what an analogue line adds below it: the hum of the mains, an offset.

use std::f32::consts::TAU;
use std::fs;

use asterscribe_codecs::AudioDecoder;
use asterscribe_codecs::g711::encode_ulaw;

use super::*;

const RATE: f32 = 8_000.0;

/// The recorded prompts at 8 kHz with pauses between them, at that level while somebody speaks.
fn talk(dbfs: f32) -> Vec<f32> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/prompts");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "wav"))
        .collect();
    paths.sort();
    let mut samples = vec![0.0; 4_000];
    for path in paths {
        let bytes = fs::read(path).unwrap();
        let (pairs, _) = bytes[44..].as_chunks::<2>();
        samples.extend(
            pairs
                .iter()
                .map(|&pair| f32::from(i16::from_le_bytes(pair))),
        );
        samples.extend([0.0; 9_600]);
    }
    let spoken = samples.iter().filter(|sample| **sample != 0.0);
    let (count, sum) = spoken.fold((0, 0.0), |(n, sum), x| (n + 1, sum + x * x));
    let gain = 10f32.powf(dbfs / 20.0) / (sum / count as f32).sqrt();
    samples.iter().map(|sample| sample * gain).collect()
}

/// Sinusoids with their weights, together at that level.
fn hum(parts: &[(f32, f32)], dbfs: f32, samples: usize) -> Vec<f32> {
    let power: f32 = parts.iter().map(|(_, weight)| weight * weight / 2.0).sum();
    let gain = 10f32.powf(dbfs / 20.0) / power.sqrt();
    let at = |n: usize| {
        let phase = |hz: &f32| TAU * (hz * n as f32 / RATE).fract();
        let sum: f32 = parts
            .iter()
            .map(|(hz, weight)| weight * phase(hz).sin())
            .sum();
        sum * gain
    };
    (0..samples).map(at).collect()
}

/// The audio as it comes through µ-law and the decoder.
fn line(audio: &[f32]) -> Vec<f32> {
    let mut decoder = AudioDecoder::new();
    let mut out = Vec::new();
    for packet in audio.chunks(160) {
        let payload: Vec<u8> = packet
            .iter()
            .map(|sample| encode_ulaw((sample * 32_768.0) as i16))
            .collect();
        decoder.decode(0, &payload, &mut out).unwrap();
    }
    out
}

fn mixed(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// For each frame, whether the speech alone is no more than 20 dB below its level.
fn audible(speech: &[f32], dbfs: f32) -> Vec<bool> {
    let least = 10f32.powf((dbfs - 20.0) / 10.0) * FRAME as f32;
    let speech = line(speech);
    let energy = |frame: &[f32]| frame.iter().map(|x| x * x).sum::<f32>();
    let frames = speech.chunks_exact(FRAME);
    frames.map(|frame| energy(frame) >= least).collect()
}

/// Number of frames of speech that are in no utterance; number of utterances; seconds in them.
fn cut(speech: &[f32], dbfs: f32, below: &[f32]) -> (usize, usize, f32) {
    let (mut segmenter, mut done) = run(&line(&mixed(speech, below)), 320);
    segmenter.end(&mut done);
    let is_held = |frame: usize| {
        let place = (frame * FRAME + FRAME / 2) as u64;
        done.iter()
            .any(|one| (one.start..one.end()).contains(&place))
    };
    let audible = audible(speech, dbfs);
    let missed = (0..audible.len()).filter(|n| audible[*n] && !is_held(*n));
    let given: usize = done.iter().map(|one| one.samples.len()).sum();
    (missed.count(), done.len(), given as f32 / 16_000.0)
}

/// The harmonics of a rectifier, of a dimmer and of a bad earth.
const HUMS: [(&str, &[(f32, f32)]); 8] = [
    ("50 Hz", &[(50.0, 1.0)]),
    ("60 Hz", &[(60.0, 1.0)]),
    ("100 Hz", &[(100.0, 1.0)]),
    ("120 Hz", &[(120.0, 1.0)]),
    ("150 Hz", &[(150.0, 1.0)]),
    (
        "50 Hz and odd harmonics",
        &[(50.0, 1.0), (150.0, 0.5), (250.0, 0.3), (350.0, 0.2)],
    ),
    (
        "100 Hz and harmonics",
        &[(100.0, 1.0), (200.0, 0.5), (300.0, 0.3), (400.0, 0.2)],
    ),
    (
        "60 Hz, a sawtooth",
        &[
            (60.0, 1.0),
            (120.0, 0.5),
            (180.0, 0.33),
            (240.0, 0.25),
            (300.0, 0.2),
        ],
    ),
];

#[test]
fn a_voice_over_hum_is_heard_whatever_its_level() {
    for dbfs in [-38.0, -30.0, -20.0] {
        let speech = talk(dbfs);
        let (_, utterances, given) = cut(&speech, dbfs, &vec![0.0; speech.len()]);
        for (name, parts) in HUMS {
            for louder in [-6.0, 0.0, 6.0] {
                let hum = hum(parts, dbfs + louder, speech.len());
                let (missed, over_hum, given_over_hum) = cut(&speech, dbfs, &hum);
                let case = format!("{name}, {louder} dB over a voice at {dbfs} dBFS");
                assert_eq!(missed, 0, "{case}");
                assert!(over_hum.abs_diff(utterances) <= 5, "{case}: {over_hum}");
                assert!(given_over_hum <= 1.15 * given, "{case}: {given_over_hum} s");
            }
        }
    }
}

#[test]
fn a_constant_offset_changes_nothing() {
    let speech = talk(-30.0);
    let (_, utterances, given) = cut(&speech, -30.0, &vec![0.0; speech.len()]);
    for offset in [-0.3, -0.1, -0.02, 0.02, 0.1, 0.3] {
        let (missed, found, held) = cut(&speech, -30.0, &vec![offset; speech.len()]);
        assert_eq!((missed, found), (0, utterances), "{offset}");
        assert!((held - given).abs() < 0.5, "{offset}: {held} s");
    }
}

#[test]
fn a_hum_that_begins_in_mid_call_costs_no_word() {
    let speech = talk(-30.0);
    for (name, parts) in HUMS {
        let mut hum = hum(parts, -24.0, speech.len());
        // In a word, and gone again in another.
        hum[..50_000].fill(0.0);
        hum[170_000..].fill(0.0);
        let (missed, ..) = cut(&speech, -30.0, &hum);
        assert_eq!(missed, 0, "{name}");
    }
}

#[test]
fn a_hum_or_an_offset_alone_is_no_speech() {
    for (name, parts) in HUMS {
        for dbfs in [-50.0, -36.0, -24.0, -15.0] {
            let mut hum = hum(parts, dbfs, 240_000);
            hum[..40_000].fill(0.0);
            let (mut segmenter, mut done) = run(&line(&hum), 320);
            segmenter.end(&mut done);
            let heard: usize = done.iter().map(|one| one.samples.len()).sum();
            // As with any steady sound: until it is known.
            let most = if parts.len() == 1 && parts[0].0 <= 120.0 {
                0.0
            } else {
                1.5
            };
            assert!(heard <= seconds(most), "{name} at {dbfs} dBFS: {heard}");
        }
    }
    let (mut segmenter, mut done) = run(&line(&[0.2; 80_000]), 320);
    segmenter.end(&mut done);
    assert_eq!(done, []);
}
