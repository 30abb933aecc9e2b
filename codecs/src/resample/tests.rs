use std::f64::consts::TAU;

use proptest::prelude::*;

use super::*;

/// Rates that Asterisk has names for; all but two wait for their codecs.
const RATES: [u32; 8] = [
    8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000, 96_000,
];
const AMPLITUDE: f64 = 16_000.0;

fn at(hz: u32) -> To16k {
    To16k::at(SampleRate::new(hz).unwrap())
}

fn resample(hz: u32, samples: &[i16]) -> Vec<f32> {
    let (mut resampler, mut out) = (at(hz), Vec::new());
    resampler.push(samples, &mut out);
    resampler.flush(&mut out);
    out
}

/// A sine that begins at phase 0.
fn tone(hz: u32, frequency: f64, len: usize) -> Vec<i16> {
    let sample =
        |n| (AMPLITUDE * (TAU * frequency * n as f64 / f64::from(hz)).sin()).round() as i16;
    (0..len).map(sample).collect()
}

/// In-phase and quadrature amplitude of `frequency` in 16 kHz audio from
/// sample `start` on, relative to a tone made by [`tone`].
fn project(audio: &[f32], start: usize, frequency: f64) -> (f64, f64) {
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (n, &sample) in audio.iter().enumerate() {
        let phase = TAU * frequency * (start + n) as f64 / 16_000.0;
        sine += f64::from(sample) * phase.sin();
        cosine += f64::from(sample) * phase.cos();
    }
    let scale = 2.0 * 32768.0 / AMPLITUDE / audio.len() as f64;
    (sine * scale, cosine * scale)
}

fn decibels(amplitude: f64) -> f64 {
    20.0 * amplitude.log10()
}

fn level(audio: &[f32], start: usize, frequency: f64) -> f64 {
    let (sine, cosine) = project(audio, start, frequency);
    decibels(sine.hypot(cosine))
}

/// The settled middle of a tone: a whole number of its periods, if `frequency`
/// is a multiple of 10.
fn settled(audio: &[f32]) -> &[f32] {
    &audio[1_600..1_600 + 3_200]
}

#[test]
fn only_vouched_rates_are_taken() {
    for hz in RATES {
        let rate = SampleRate::new(hz).unwrap();
        match To16k::new(rate) {
            Ok(resampler) => assert!([8_000, 16_000].contains(&resampler.rate().hz())),
            Err(error) => assert_eq!(error, UnsupportedRate(rate)),
        }
    }
}

#[test]
fn sixteen_kilohertz_pass_through_untouched() {
    let samples = [0, 1, -1, i16::MAX, i16::MIN, 16_384];
    let expected = samples.map(|sample| f32::from(sample) / 32768.0);
    assert_eq!(resample(16_000, &samples), expected);
}

#[test]
fn every_length_comes_out_exactly() {
    for samples in 0..=1_400 {
        let (mut resampler, mut out) = (at(8_000), Vec::new());
        for stream in 1..=2 {
            resampler.push(&vec![1_000; samples], &mut out);
            resampler.flush(&mut out);
            assert_eq!(out.len(), stream * 2 * samples);
        }
    }
}

#[test]
fn pass_band_is_flat_up_to_3400_hz() {
    for frequency in (50..=3_400).step_by(50).map(f64::from) {
        let audio = resample(8_000, &tone(8_000, frequency, 3_200));
        let gain = level(settled(&audio), 1_600, frequency);
        assert!(gain.abs() <= 0.01, "{frequency} Hz: {gain:.4} dB");
    }
}

#[test]
fn images_are_inaudible() {
    for frequency in (50..4_000).step_by(50).map(f64::from) {
        let audio = resample(8_000, &tone(8_000, frequency, 3_200));
        let image = level(settled(&audio), 1_600, 8_000.0 - frequency);
        assert!(image <= -80.0, "{frequency} Hz: image at {image:.1} dB");
    }
}

#[test]
fn nothing_else_is_added_either() {
    for frequency in (50..=3_400).step_by(50).map(f64::from) {
        let audio = resample(8_000, &tone(8_000, frequency, 3_200));
        let (sine, cosine) = project(settled(&audio), 1_600, frequency);
        let mut power = 0.0;
        for (n, &sample) in settled(&audio).iter().enumerate() {
            let phase = TAU * frequency * (1_600 + n) as f64 / 16_000.0;
            let residual =
                f64::from(sample) * 32768.0 / AMPLITUDE - sine * phase.sin() - cosine * phase.cos();
            power += 2.0 * residual * residual / 3_200.0;
        }
        assert!(
            decibels(power.sqrt()) <= -80.0,
            "{frequency} Hz: {:.1} dB",
            decibels(power.sqrt())
        );
    }
}

#[test]
fn a_tone_keeps_its_phase() {
    for frequency in [100.0, 1_000.0, 3_000.0] {
        let audio = resample(8_000, &tone(8_000, frequency, 3_200));
        let (sine, cosine) = project(settled(&audio), 1_600, frequency);
        let samples_off = cosine.atan2(sine) / TAU * 16_000.0 / frequency;
        assert!(
            samples_off.abs() < 0.001,
            "{frequency} Hz: {samples_off} samples"
        );
    }
}

#[test]
fn a_pulse_stays_where_it_was() {
    for place in [0, 1, 79, 80, 500, 799] {
        let mut samples = vec![0; 800];
        samples[place] = 20_000;
        let audio = resample(8_000, &samples);
        let peak = (0..audio.len()).max_by(|&a, &b| audio[a].abs().total_cmp(&audio[b].abs()));
        assert_eq!(peak, Some(2 * place));
        for distance in 1..=(2 * place).min(audio.len() - 1 - 2 * place) {
            let [before, after] = [audio[2 * place - distance], audio[2 * place + distance]];
            // Interpolation by blocks is symmetric to within -95 dB of the peak.
            assert!(
                (before - after).abs() < 1e-5,
                "pulse at {place} is lopsided at {distance}"
            );
        }
    }
}

#[test]
fn other_ratios_are_aligned_and_level_too() {
    for hz in RATES {
        let audio = resample(hz, &tone(hz, 1_000.0, hz as usize * 2 / 5));
        let (sine, cosine) = project(settled(&audio), 1_600, 1_000.0);
        assert!(decibels(sine.hypot(cosine)).abs() < 0.1, "{hz} Hz");
        let samples_off = cosine.atan2(sine) / TAU * 16.0;
        assert!(samples_off.abs() < 0.5, "{hz} Hz: {samples_off} samples");
    }
}

#[test]
fn silence_is_exact_zeros_and_leaves_no_trace() {
    let (mut resampler, mut out) = (at(8_000), Vec::new());
    resampler.push_silence(16_000, &mut out);
    assert!(out.len() > 15_000 && out.iter().all(|&sample| sample == 0.0));
    resampler.push(&tone(8_000, 700.0, 800), &mut out);
    resampler.push_silence(3_200, &mut out);
    resampler.flush(&mut out);
    assert_eq!(out.len(), 16_000 + 1_600 + 3_200);

    let mut samples = vec![0; 8_000];
    samples.extend(tone(8_000, 700.0, 800));
    samples.extend([0; 1_600]);
    assert_eq!(out, resample(8_000, &samples));
}

/// The shortcut for silence must not show: the filter itself, fed the same.
#[test]
fn skipping_silent_blocks_changes_nothing() {
    let mut samples = vec![0; 500];
    samples.extend(tone(8_000, 900.0, 333));
    samples.extend([0; 700]);
    samples.extend(tone(8_000, 300.0, 200));
    samples.extend([0; 187]);
    assert_eq!(samples.len() % 80, 0);

    let mut plain = Engine::new(SampleRate::HZ_8000);
    let mut expected = Vec::new();
    for block in samples.chunks_exact(80) {
        plain.block = block.iter().map(|&sample| to_unit(sample)).collect();
        let start = expected.len();
        expected.resize(start + 160, 0.0);
        plain.transform(&mut expected[start..]);
    }
    let audio = resample(8_000, &samples);
    assert_eq!(audio[..audio.len() - 80], expected[80..]);
}

#[test]
fn halves_of_a_sample_of_silence_add_up() {
    let (mut resampler, mut out) = (at(8_000), Vec::new());
    for _ in 0..7 {
        resampler.push_silence(3, &mut out);
    }
    resampler.flush(&mut out);
    assert_eq!(out.len(), 21);
    resampler.push_silence(1, &mut out);
    resampler.flush(&mut out);
    resampler.flush(&mut out);
    assert_eq!(out.len(), 22);
}

#[test]
fn a_flushed_resampler_is_as_new() {
    let samples = tone(8_000, 440.0, 1_234);
    let (mut resampler, mut out) = (at(8_000), Vec::new());
    // Streams that end early and late in a block, and with one.
    for before in [730, 777, 800] {
        resampler.push(&vec![i16::MIN; before], &mut out);
        resampler.flush(&mut out);
        out.clear();
        resampler.push(&samples, &mut out);
        resampler.flush(&mut out);
        assert_eq!(out, resample(8_000, &samples), "after {before}");
        out.clear();
    }
}

proptest! {
    #[test]
    fn how_the_input_is_cut_does_not_show(
        hz in prop::sample::select(&RATES[..]),
        samples in prop::collection::vec(any::<i16>(), 0..3_000),
        cuts in prop::collection::vec(1_usize..700, 1..30),
    ) {
        let (mut resampler, mut out) = (at(hz), Vec::new());
        let mut rest = &samples[..];
        for &cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(cut.min(rest.len()));
            resampler.push(now, &mut out);
            rest = later;
        }
        resampler.flush(&mut out);
        let exact = samples.len() as u64 * 16_000;
        prop_assert_eq!(out.len() as u64, exact.div_ceil(u64::from(hz)));
        prop_assert_eq!(out, resample(hz, &samples));
    }

    #[test]
    fn no_more_than_fifteen_milliseconds_are_held_back(pieces in prop::collection::vec(0_usize..500, 1..20)) {
        let (mut resampler, mut out, mut pushed) = (at(8_000), Vec::new(), 0);
        for piece in pieces {
            resampler.push(&vec![5; piece], &mut out);
            pushed += 2 * piece;
            prop_assert!(out.len() <= pushed && pushed - out.len() <= 240);
        }
    }
}
