use std::f64::consts::TAU;

use proptest::prelude::*;

use super::*;

const AMPLITUDE: f64 = 16_000.0;

fn rate(hz: u32) -> SampleRate {
    SampleRate::new(hz).unwrap()
}

/// Every pair of rates that is resampled.
fn pairs() -> impl Iterator<Item = (u32, u32)> {
    let pairs = TO
        .into_iter()
        .flat_map(|to| FROM.map(|from| (from.hz(), to.hz())));
    pairs.filter(|(from, to)| from != to)
}

fn resample(from: u32, to: u32, samples: &[i16]) -> Vec<f32> {
    let mut resampler = Resampler::new(rate(from), rate(to)).unwrap();
    let mut out = Vec::new();
    resampler.push(samples, &mut out);
    resampler.flush(&mut out);
    out
}

fn doubler() -> Resampler {
    Resampler::new(SampleRate::HZ_8000, SampleRate::HZ_16000).unwrap()
}

fn doubled(samples: &[i16]) -> Vec<f32> {
    resample(8_000, 16_000, samples)
}

/// A sine that begins at phase 0.
fn tone(hz: u32, frequency: f64, len: usize) -> Vec<i16> {
    let sample =
        |n| (AMPLITUDE * (TAU * frequency * n as f64 / f64::from(hz)).sin()).round() as i16;
    (0..len).map(sample).collect()
}

/// A tone of 400 ms between two rates: its settled middle, whole periods of
/// any multiple of 10 Hz, that begins with phase 0.
fn settled(from: u32, to: u32, frequency: f64) -> Vec<f32> {
    let audio = resample(from, to, &tone(from, frequency, from as usize * 2 / 5));
    let unit = to as usize / 10;
    audio[unit..3 * unit].to_vec()
}

/// In-phase and quadrature amplitude of `frequency`, relative to a tone made by [`tone`].
fn project(audio: &[f32], hz: u32, frequency: f64) -> (f64, f64) {
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (n, &sample) in audio.iter().enumerate() {
        let phase = TAU * frequency * n as f64 / f64::from(hz);
        sine += f64::from(sample) * phase.sin();
        cosine += f64::from(sample) * phase.cos();
    }
    let scale = 2.0 * 32768.0 / AMPLITUDE / audio.len() as f64;
    (sine * scale, cosine * scale)
}

/// Level of what is left of a tone's audio when the tone is taken out of it.
fn residue(audio: &[f32], hz: u32, frequency: f64) -> f64 {
    let (sine, cosine) = project(audio, hz, frequency);
    let mut power = 0.0;
    for (n, &sample) in audio.iter().enumerate() {
        let phase = TAU * frequency * n as f64 / f64::from(hz);
        let tone = sine * phase.sin() + cosine * phase.cos();
        power += (f64::from(sample) * 32768.0 / AMPLITUDE - tone).powi(2);
    }
    decibels((2.0 * power / audio.len() as f64).sqrt())
}

fn decibels(amplitude: f64) -> f64 {
    20.0 * amplitude.log10()
}

fn level(audio: &[f32], hz: u32, frequency: f64) -> f64 {
    let (sine, cosine) = project(audio, hz, frequency);
    decibels(sine.hypot(cosine))
}

#[test]
fn only_vouched_rates_are_taken() {
    for (from, to) in [(8_001, 16_000), (8_000, 12_000), (16_000, 48_000), (1, 1)] {
        let (from, to) = (rate(from), rate(to));
        let refusal = Resampler::new(from, to).err();
        assert_eq!(refusal, Some(UnsupportedRates { from, to }));
    }
    for (from, to) in pairs() {
        let resampler = Resampler::new(rate(from), rate(to)).unwrap();
        assert_eq!((resampler.from().hz(), resampler.to().hz()), (from, to));
    }
}

#[test]
fn equal_rates_pass_through_untouched() {
    let samples = [0, 1, -1, i16::MAX, i16::MIN, 16_384];
    let expected = samples.map(|sample| f32::from(sample) / 32768.0);
    assert_eq!(resample(16_000, 16_000, &samples), expected);
    assert_eq!(resample(8_000, 8_000, &samples), expected);
}

#[test]
fn every_length_comes_out_exactly() {
    for (from, to) in pairs() {
        let mut resampler = Resampler::new(rate(from), rate(to)).unwrap();
        for samples in (0..=1_400).step_by(if from == 8_000 { 1 } else { 37 }) {
            let mut out = Vec::new();
            let expected = (samples as u64 * u64::from(to)).div_ceil(u64::from(from));
            for stream in 1..=2 {
                resampler.push(&vec![1_000; samples], &mut out);
                resampler.flush(&mut out);
                assert_eq!(out.len() as u64, stream * expected, "{from} to {to}");
            }
        }
    }
}

/// Distance of the tones that are tried; the rates of nearly every call are looked at closely.
fn step(from: u32) -> usize {
    if from == 8_000 { 50 } else { 425 }
}

/// Up to 3.4 kHz, and further where both rates allow.
#[test]
fn pass_band_is_flat_at_every_rate() {
    for (from, to) in pairs() {
        let top = f64::from(from.min(to)) * 0.425;
        let tones = (50..=top as usize).step_by(step(from));
        for frequency in tones.map(|hz| hz as f64).chain([top - top % 10.0]) {
            let gain = level(&settled(from, to, frequency), to, frequency);
            assert!(
                gain.abs() <= 0.05,
                "{from} to {to}, {frequency} Hz: {gain:.4} dB"
            );
        }
    }
}

/// Images, aliases, rounding and all.
#[test]
fn nothing_is_added_to_a_tone_at_any_rate() {
    for (from, to) in pairs() {
        let top = from.min(to) / 2 - 10;
        for frequency in (50..top).step_by(step(from)).chain([top]).map(f64::from) {
            let added = residue(&settled(from, to, frequency), to, frequency);
            assert!(
                added <= -70.0,
                "{from} to {to}, {frequency} Hz: {added:.1} dB"
            );
        }
    }
}

#[test]
fn what_the_output_cannot_hold_is_not_heard() {
    for (from, to) in pairs().filter(|(from, to)| from > to) {
        let step = ((from - to) / 20).next_multiple_of(10) as usize;
        let tones = (to / 2 + 10..from / 2).step_by(step);
        for frequency in tones.map(f64::from) {
            let audio = settled(from, to, frequency);
            let power: f64 = audio.iter().map(|&sample| f64::from(sample).powi(2)).sum();
            let rms = (2.0 * power / audio.len() as f64).sqrt() * 32768.0 / AMPLITUDE;
            assert!(
                decibels(rms) <= -70.0,
                "{from} to {to}, {frequency} Hz: {:.1} dB",
                decibels(rms)
            );
        }
    }
}

#[test]
fn a_tone_keeps_its_phase_at_every_rate() {
    for (from, to) in pairs() {
        for frequency in [100.0, 1_000.0, 3_000.0] {
            let (sine, cosine) = project(&settled(from, to, frequency), to, frequency);
            let samples_off = cosine.atan2(sine) / TAU * f64::from(to) / frequency;
            // Blocks of an odd number of samples have their middle between two.
            let odd = from % 2_205 == 0;
            let half = if odd {
                0.5 * f64::from(to) / f64::from(from)
            } else {
                0.0
            };
            assert!(
                samples_off.abs() < half + 0.002,
                "{from} to {to}, {frequency} Hz: {samples_off} samples"
            );
        }
    }
}

#[test]
fn a_pulse_stays_where_it_was() {
    for place in [0, 1, 79, 80, 500, 799] {
        let mut samples = vec![0; 800];
        samples[place] = 20_000;
        let audio = doubled(&samples);
        let peak = (0..audio.len()).max_by(|&a, &b| audio[a].abs().total_cmp(&audio[b].abs()));
        assert_eq!(peak, Some(2 * place));
        for distance in 1..=(2 * place).min(audio.len() - 1 - 2 * place) {
            let [before, after] = [audio[2 * place - distance], audio[2 * place + distance]];
            assert!(
                (before - after).abs() < 1e-5,
                "pulse at {place} is lopsided at {distance}"
            );
        }
    }
}

#[test]
fn silence_is_exact_zeros_and_leaves_no_trace() {
    let (mut resampler, mut out) = (doubler(), Vec::new());
    resampler.push_silence(16_000, &mut out);
    assert!(out.len() > 15_000 && out.iter().all(|&sample| sample == 0.0));
    resampler.push(&tone(8_000, 700.0, 800), &mut out);
    resampler.push_silence(3_200, &mut out);
    resampler.flush(&mut out);
    assert_eq!(out.len(), 16_000 + 1_600 + 3_200);

    let mut samples = vec![0; 8_000];
    samples.extend(tone(8_000, 700.0, 800));
    samples.extend([0; 1_600]);
    assert_eq!(out, doubled(&samples));
}

/// The shortcut for silence must not show: the filters themselves, fed the same.
#[test]
fn skipping_silent_blocks_changes_nothing() {
    for (from, to) in [(8_000, 16_000), (48_000, 16_000)] {
        let mut kernel = ResampleKernel::new(rate(from), rate(to));
        let block = kernel.block();
        let mut samples = vec![0; 5 * block + 100];
        samples.extend(tone(from, 900.0, 4 * block + 13));
        samples.extend(vec![0; 9 * block]);
        samples.extend(tone(from, 300.0, 2 * block + 40));
        samples.resize(samples.len().next_multiple_of(block), 0);

        let mut expected = Vec::new();
        for block in samples.chunks_exact(block) {
            let block: Vec<_> = block.iter().map(|&sample| to_unit(sample)).collect();
            let start = expected.len();
            expected.resize(start + kernel.produced(), 0.0);
            kernel.run(&block, &mut expected[start..]);
        }
        let audio = resample(from, to, &samples);
        let delay = kernel.delay();
        assert_eq!(audio[..audio.len() - delay], expected[delay..]);
    }
}

#[test]
fn halves_of_a_sample_of_silence_add_up() {
    let (mut resampler, mut out) = (doubler(), Vec::new());
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
    let (mut resampler, mut out) = (doubler(), Vec::new());
    // Streams that end early and late in a block, and with one.
    for before in [730, 777, 800] {
        resampler.push(&vec![i16::MIN; before], &mut out);
        resampler.flush(&mut out);
        out.clear();
        resampler.push(&samples, &mut out);
        resampler.flush(&mut out);
        assert_eq!(out, doubled(&samples), "after {before}");
        out.clear();
    }
}

proptest! {
    #[test]
    fn how_the_input_is_cut_does_not_show(
        (from, to) in prop::sample::select(pairs().collect::<Vec<_>>()),
        samples in prop::collection::vec(any::<i16>(), 0..3_000),
        cuts in prop::collection::vec(1_usize..700, 1..30),
    ) {
        let mut resampler = Resampler::new(rate(from), rate(to)).unwrap();
        let mut out = Vec::new();
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
        let exact = samples.len() as u64 * u64::from(to);
        prop_assert_eq!(out.len() as u64, exact.div_ceil(u64::from(from)));
        prop_assert_eq!(out, resample(from, to, &samples));
    }

    #[test]
    fn no_more_than_fifteen_milliseconds_are_held_back(pieces in prop::collection::vec(0_usize..500, 1..20)) {
        let (mut resampler, mut out, mut pushed) = (doubler(), Vec::new(), 0);
        for piece in pieces {
            resampler.push(&vec![5; piece], &mut out);
            pushed += 2 * piece;
            prop_assert!(out.len() <= pushed && pushed - out.len() <= 240);
        }
    }
}
