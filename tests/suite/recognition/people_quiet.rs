//! Where nobody speaks no line says that somebody does: music on hold, breath and hum, recognised as
//! if the segmenter had taken them for a voice, with real weights.

use asterscribe_recognition::Transcriber;
use asterscribe_speech::guard::judge;
use asterscribe_speech::{DecodeOptions, SAMPLES_PER_MS};
use asterscribe_testkit::wav::Sound;

use crate::recognition::people_rig::{forms, material, through_a_telephone};

/// Samples of a second at 8 kHz.
const SECOND: usize = 8_000;

/// A number generator whose numbers are the same each time (Knuth's constants), from -1 to 1.
fn noise(state: &mut u64) -> f32 {
    let next = state.wrapping_mul(6_364_136_223_846_793_005);
    *state = next.wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
}

fn pcm(samples: impl Iterator<Item = f32>) -> Vec<i16> {
    samples.map(|sample| (sample * 32_767.0) as i16).collect()
}

/// A breath of 0.6 s in the noise of a line.
fn breath() -> Vec<i16> {
    let length = SECOND * 6 / 10;
    let mut state = 1;
    let swell = |n: usize| {
        (std::f32::consts::PI * n as f32 / length as f32)
            .sin()
            .powi(2)
    };
    let breath = (0..length).map(|n| (0.04 * swell(n) + 0.001) * noise(&mut state));
    pcm(breath)
}

/// Hum of a mains of 60 Hz with two overtones.
fn hum() -> Vec<i16> {
    let wave = |n: usize, hertz: f32| {
        let turns = hertz * n as f32 / SECOND as f32;
        (std::f32::consts::TAU * turns).sin()
    };
    pcm((0..2 * SECOND)
        .map(|n| 0.1 * wave(n, 60.0) + 0.03 * wave(n, 180.0) + 0.02 * wave(n, 300.0)))
}

#[test]
fn music_breath_and_hum_say_nothing() {
    let Some(material) = material() else { return };
    let mut sounds = vec![breath(), hum()];
    for piece in material.music().unwrap() {
        let piece = Sound::read(&piece).unwrap();
        let from = |second: usize| piece.samples.get(second * SECOND..);
        let parts = [from(10), from(40), from(70)].into_iter().flatten();
        let lengths = [25, 12, 3].map(|seconds| seconds * SECOND);
        sounds.extend(
            parts
                .zip(lengths)
                .map(|(part, most)| part[..most.min(part.len())].to_vec()),
        );
    }
    let english = DecodeOptions {
        language: Some("en".to_owned()),
        ..DecodeOptions::default()
    };
    for form in forms(&material) {
        if !form.is_ctranslate2() {
            continue;
        }
        let mut transcriber = form.transcriber();
        for sound in &sounds {
            let audio = through_a_telephone(sound);
            let length_ms = audio.len() as u64 / SAMPLES_PER_MS;
            let heard = transcriber.transcribe(&audio, &english).unwrap();
            let judged = judge(heard.clone(), length_ms, None);
            assert_eq!(judged.believed.text, "", "{form:?}: {heard:?}");
        }
    }
}
