//! Sounds of the network and of hold, as a leg of µ-law brings them.

use asterscribe_codecs::AudioDecoder;
use asterscribe_codecs::g711::encode_ulaw;
use proptest::prelude::*;

use super::*;
use crate::segmenter::{Segmenter, SegmenterConfig, SoundSpan};
use crate::{SAMPLES_PER_MS, Utterance};

const RATE: f32 = 8_000.0;

/// Sinusoids at once, each of that amplitude, full scale 1.
fn tones(frequencies: &[f32], ms: usize, amplitude: f32) -> Vec<f32> {
    let at = |n: usize, f: &f32| (std::f32::consts::TAU * f * n as f32 / RATE).sin() * amplitude;
    (0..ms * 8)
        .map(|n| frequencies.iter().map(|f| at(n, f)).sum())
        .collect()
}

fn pause(ms: usize) -> Vec<f32> {
    vec![0.0; ms * 8]
}

/// A burst and a pause, so many times.
fn cadence(frequencies: &[f32], on: usize, off: usize, times: usize) -> Vec<f32> {
    let once = [tones(frequencies, on, 0.15), pause(off)].concat();
    once.repeat(times)
}

fn add_noise(audio: &mut [f32], power: f32) {
    let peak = (3.0 * power).sqrt();
    let mut state = 7u32;
    for sample in audio {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *sample += ((state >> 8) as f32 / 8_388_608.0 - 1.0) * peak;
    }
}

/// Through µ-law, decoder and segmenter.
fn hear(audio: &[f32]) -> (Vec<Utterance>, Vec<SoundSpan>) {
    let mut decoder = AudioDecoder::new();
    let mut segmenter = Segmenter::new(&SegmenterConfig::default());
    let (mut samples, mut done) = (Vec::new(), Vec::new());
    let mut sounds = Vec::new();
    for packet in audio.chunks(160) {
        let payload: Vec<u8> = packet
            .iter()
            .map(|sample| encode_ulaw((sample * 32_767.0) as i16))
            .collect();
        decoder.decode(0, &payload, &mut samples).unwrap();
        segmenter.push(&samples, &mut done);
        samples.clear();
        sounds.extend(segmenter.take_sounds());
    }
    segmenter.end(&mut done);
    sounds.extend(segmenter.take_sounds());
    (done, sounds)
}

/// As text: `busy 8-8520`, milliseconds.
fn shown(sounds: &[SoundSpan]) -> Vec<String> {
    let ms = |position| position / SAMPLES_PER_MS;
    sounds
        .iter()
        .map(|one| format!("{} {}-{}", one.kind.name(), ms(one.start), ms(one.end)))
        .collect()
}

/// Whether nothing of it goes to recognition, and all that is told is of that kind.
#[track_caller]
fn is_all(name: &str, audio: &[f32], kind: SoundKind) {
    let (speech, sounds) = hear(audio);
    let speech: Vec<_> = speech
        .iter()
        .map(|u| (u.start / 16, u.end() / 16))
        .collect();
    assert_eq!(speech, [], "{name}: {:?}", shown(&sounds));
    assert!(!sounds.is_empty(), "{name}: nothing was told");
    let others = sounds.iter().any(|sound| sound.kind != kind);
    assert!(!others, "{name}: {:?}", shown(&sounds));
}

#[test]
fn tones_of_many_countries_are_told_and_not_recognised() {
    use SoundKind::{Busy, Ringback, Tone};
    type Case = (&'static str, &'static [f32], [usize; 2], usize, SoundKind);
    let cases: [Case; 11] = [
        (
            "ringback, North America",
            &[440.0, 480.0],
            [2_000, 4_000],
            2,
            Ringback,
        ),
        ("ringback, Europe", &[425.0], [1_000, 4_000], 2, Ringback),
        ("ringback, France", &[440.0], [1_500, 3_500], 2, Ringback),
        (
            "ringback, United Kingdom",
            &[400.0, 450.0],
            [400, 200],
            2,
            Ringback,
        ),
        ("busy, North America", &[480.0, 620.0], [500, 500], 6, Busy),
        (
            "reorder, North America",
            &[480.0, 620.0],
            [250, 250],
            8,
            Busy,
        ),
        ("busy, Europe", &[425.0], [500, 500], 6, Busy),
        ("congestion, Europe", &[425.0], [250, 250], 8, Busy),
        ("busy, United Kingdom", &[400.0], [375, 375], 6, Busy),
        (
            "dial tone, North America",
            &[350.0, 440.0],
            [6_000, 900],
            1,
            Tone,
        ),
        ("fax, calling", &[1_100.0], [500, 3_000], 2, Tone),
    ];
    for (name, frequencies, [on, off], times, kind) in cases {
        let audio = [pause(500), cadence(frequencies, on, off, times), pause(900)].concat();
        is_all(name, &audio, kind);
        for gain in [0.1, 3.0] {
            let audio: Vec<f32> = audio.iter().map(|sample| sample * gain).collect();
            let (speech, _) = hear(&audio);
            assert_eq!(speech.len(), 0, "{name} at {gain}");
        }
        let mut noisy = audio.clone();
        // 20 dB below a single tone. It is not known to be the line's own at once.
        add_noise(&mut noisy, 0.15 * 0.15 / 2.0 / 100.0);
        let (speech, sounds) = hear(&noisy);
        let case = format!("{name}, noisy: {:?}", shown(&sounds));
        assert!(sounds.iter().all(|sound| sound.kind == kind), "{case}");
        let over = |u: &Utterance| -> usize {
            let inside = |from: usize| {
                let until = (u.end() as usize / 16).min(from + on);
                until.saturating_sub(from.max(u.start as usize / 16))
            };
            (0..times).map(|n| inside(500 + n * (on + off))).sum()
        };
        let given: usize = speech.iter().map(over).sum();
        assert!(given <= 100, "{case}: {given} ms");
    }
}

#[test]
fn special_information_tones_are_told() {
    let once = [950.0, 1_400.0, 1_800.0].map(|hz| tones(&[hz], 330, 0.15));
    let audio = [pause(500), once.concat(), pause(900)].concat();
    is_all("SIT", &audio, SoundKind::Tone);
}

#[test]
fn keys_in_band_are_told_however_short_and_one_sound_together() {
    const LOW: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
    const HIGH: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
    for ms in [60, 80, 100, 200] {
        let keys = (0..16).flat_map(|n| cadence(&[LOW[n / 4], HIGH[n % 4]], ms, ms, 1));
        let keys: Vec<f32> = keys.collect();
        let audio = [pause(500), keys, pause(900)].concat();
        is_all(&format!("keys of {ms} ms"), &audio, SoundKind::Dtmf);
        let (_, sounds) = hear(&audio);
        assert_eq!(sounds.len(), 1, "{:?}", shown(&sounds));
    }
}

/// A recorded prompt, full scale 1.
fn prompt(name: &str) -> Vec<f32> {
    let path = format!(
        "{}/../fixtures/prompts/{name}.wav",
        env!("CARGO_MANIFEST_DIR")
    );
    let wav = std::fs::read(path).unwrap();
    let (samples, _) = wav[44..].as_chunks::<2>();
    samples
        .iter()
        .map(|bytes| f32::from(i16::from_le_bytes(*bytes)) / 32_768.0)
        .collect()
}

const PROMPTS: [&str; 5] = [
    "account-number",
    "good-day",
    "one-moment",
    "support-greeting",
    "what-number",
];

#[test]
fn speech_behind_a_tone_is_recognised_and_the_tone_is_not() {
    let before: [(&str, Vec<f32>); 4] = [
        ("ringback", tones(&[440.0, 480.0], 1_300, 0.15)),
        ("busy", cadence(&[425.0], 500, 500, 2)),
        ("keys", cadence(&[770.0, 1_336.0], 100, 80, 4)),
        ("music", chords(8_000)),
    ];
    for (name, before) in before {
        for prompt_name in PROMPTS {
            let spoken = prompt(prompt_name);
            let border = (500 + before.len() / 8) as u64;
            let audio = [pause(500), before.clone(), spoken.clone(), pause(900)].concat();
            let (speech, sounds) = hear(&audio);
            let case = format!("{name}, {prompt_name}: {:?}", shown(&sounds));
            let first = speech.first().map(|u| u.start / SAMPLES_PER_MS).unwrap();
            // The prompts begin at once.
            assert!(first <= border + 20, "{case}: {first}");
            let told = sounds
                .last()
                .map(|sound| sound.end / SAMPLES_PER_MS)
                .unwrap();
            assert!(first + 40 >= told || name == "music", "{case}: {first}");
            let end = speech.last().map(|u| u.end() / SAMPLES_PER_MS).unwrap();
            assert!(
                end + 250 >= border + spoken.len() as u64 / 8,
                "{case}: {end}"
            );
            assert!(!sounds.is_empty(), "{case}");
        }
    }
}

#[test]
fn speech_is_never_another_sound() {
    for name in PROMPTS {
        for noise in [0.0, 1e-4, 1e-3] {
            let mut audio = [pause(500), prompt(name), pause(900)].concat();
            add_noise(&mut audio, noise);
            let (speech, sounds) = hear(&audio);
            assert_eq!(shown(&sounds), [""; 0], "{name}, noise of {noise}");
            assert!(!speech.is_empty(), "{name}, noise of {noise}");
        }
    }
}

#[test]
fn speech_over_a_tone_or_music_is_recognised() {
    for (name, under) in [
        ("ringback", tones(&[440.0, 480.0], 9_000, 0.02)),
        ("music", chords(9_000)),
    ] {
        let spoken = prompt("account-number");
        let mut audio = [pause(500), under, pause(900)].concat();
        let at = 4_000 * 8;
        for (sample, spoken) in audio[at..].iter_mut().zip(&spoken) {
            *sample = *sample * 0.5 + spoken;
        }
        let (speech, sounds) = hear(&audio);
        let (from, until) = (at as u64 * 2, (at + spoken.len()) as u64 * 2);
        let heard: u64 = speech
            .iter()
            .map(|u| u.end().min(until).saturating_sub(u.start.max(from)))
            .sum();
        assert!(
            heard * 100 >= (until - from) * 90,
            "{name}: {heard} of {}, {:?}",
            until - from,
            shown(&sounds)
        );
    }
}

/// Hold music: four chords of held notes, two seconds each, over and over.
fn chords(ms: usize) -> Vec<f32> {
    const CHORDS: [[f32; 4]; 4] = [
        [261.6, 329.6, 392.0, 523.3],
        [220.0, 261.6, 329.6, 440.0],
        [174.6, 261.6, 349.2, 440.0],
        [196.0, 246.9, 293.7, 392.0],
    ];
    let turn = |hz: f32, t: f32| (std::f32::consts::TAU * hz * t).sin();
    let sample = |n: usize| {
        let t = n as f32 / RATE;
        let chord = CHORDS[n / 16_000 % 4];
        let since = (n % 16_000) as f32 / RATE;
        let swell = (since * 8.0).min(1.0) * ((2.0 - since) * 8.0).min(1.0);
        let notes = chord.map(|hz| turn(hz, t) + 0.3 * turn(2.0 * hz, t));
        0.07 * swell * notes.iter().sum::<f32>()
    };
    (0..ms * 8).map(sample).collect()
}

#[test]
fn music_is_told_once_it_is_certain() {
    let audio = [pause(500), chords(20_000), pause(900)].concat();
    let (speech, sounds) = hear(&audio);
    let told: u64 = sounds
        .iter()
        .map(|s| (s.end - s.start) / SAMPLES_PER_MS)
        .sum();
    assert!(sounds.iter().all(|s| s.kind == SoundKind::Music));
    let given: u64 = speech
        .iter()
        .map(|u| u.samples.len() as u64 / SAMPLES_PER_MS)
        .sum();
    assert!(told >= 15_000, "{told} ms told, {given} ms recognised");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes: no sample is in two utterances or sounds, none is out of the timeline.
    #[test]
    fn utterances_and_sounds_are_disjoint_and_in_order(
        parts in prop::collection::vec((0..6usize, 20..2_500usize, 0.0f32..1.2), 1..8),
    ) {
        let mut audio = Vec::new();
        for (what, ms, gain) in parts {
            let part = match what {
                0 => pause(ms),
                1 => tones(&[440.0, 480.0], ms, 0.3),
                2 => tones(&[425.0], ms, 0.5),
                3 => tones(&[770.0, 1_336.0], ms, 0.3),
                4 => chords(ms),
                _ => prompt("good-day"),
            };
            audio.extend(part.iter().map(|sample| sample * gain));
        }
        let (speech, sounds) = hear(&audio);
        let mut all: Vec<(u64, u64)> = speech.iter().map(|u| (u.start, u.end())).collect();
        prop_assert!(all.is_sorted());
        all.extend(sounds.iter().map(|sound| (sound.start, sound.end)));
        all.sort_unstable();
        for pair in all.windows(2) {
            prop_assert!(pair[0].1 <= pair[1].0, "{all:?}");
        }
        prop_assert!(all.iter().all(|(start, end)| start < end));
        // The resampler may round up a sample.
        prop_assert!(all.iter().all(|(_, end)| *end <= audio.len() as u64 * 2 + 64));
    }
}

#[test]
fn tones_over_hum_are_told_as_without() {
    let hum = tones(&[50.0], 12_000, 0.2);
    for (name, rings, kind) in [
        (
            "ringback",
            cadence(&[440.0, 480.0], 2_000, 4_000, 2),
            SoundKind::Ringback,
        ),
        ("busy", cadence(&[425.0], 500, 500, 12), SoundKind::Busy),
    ] {
        for offset in [-0.1, 0.0, 0.1] {
            let mixed = rings.iter().zip(&hum).map(|(a, b)| a + b + offset);
            is_all(name, &mixed.collect::<Vec<_>>(), kind);
        }
    }
}
