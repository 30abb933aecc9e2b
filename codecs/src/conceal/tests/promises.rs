//! Properties of the concealer that hold for any audio.

use std::f32::consts::TAU;
use std::fs;

use proptest::prelude::*;

use super::network::{PACKET, prompts, workspace};
use crate::g711;
use crate::{LossConcealer, SampleRate};

const RATES: [SampleRate; 2] = [SampleRate::HZ_8000, SampleRate::HZ_16000];

fn ms(rate: SampleRate, ms: usize) -> usize {
    rate.hz() as usize / 1000 * ms
}

/// A vowel: pulses at `pitch` Hz through a resonance.
fn vowel(rate: SampleRate, pitch: usize, millis: usize) -> Vec<i16> {
    let hz = rate.hz() as usize;
    let turn = 2.0 * 0.97 * (TAU * 700.0 / hz as f32).cos();
    let (mut last, mut before) = (0.0, 0.0);
    let sample = |n| {
        let pulse = if n % (hz / pitch) == 0 { 3_000.0 } else { 0.0 };
        let next = pulse + turn * last - 0.97 * 0.97 * before;
        (last, before) = (next, last);
        next as i16
    };
    (0..ms(rate, millis)).map(sample).collect()
}

fn noise(rate: SampleRate, millis: usize) -> Vec<i16> {
    let mut state = 1_u32;
    let sample = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 20) as i16 - 2_048
    };
    (0..ms(rate, millis)).map(sample).collect()
}

/// Concealment of `samples` samples lost after `heard`, and how many of them were synthesised.
fn after(rate: SampleRate, heard: &[i16], samples: usize) -> (Vec<i16>, usize) {
    let mut concealer = LossConcealer::new(rate);
    concealer.good(&mut heard.to_vec());
    let mut out = Vec::new();
    let made = concealer.conceal(samples, &mut out);
    assert_eq!(out.len(), samples);
    (out, made)
}

fn power(samples: &[i16]) -> f32 {
    samples
        .iter()
        .map(|&x| f32::from(x) * f32::from(x))
        .sum::<f32>()
        / samples.len() as f32
}

/// The largest likeness of `samples` to themselves at any lag of a pitch.
fn period(rate: SampleRate, samples: &[i16]) -> f32 {
    let product = |a: &[i16], b: &[i16]| -> f32 {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f32::from(a) * f32::from(b))
            .sum()
    };
    let likeness = |lag: usize| {
        let (now, then) = (&samples[lag..], &samples[..samples.len() - lag]);
        product(now, then) / (product(now, now) * product(then, then)).sqrt()
    };
    (ms(rate, 5)..=ms(rate, 15))
        .map(likeness)
        .fold(0.0, f32::max)
}

#[test]
fn a_vowel_goes_on_at_its_pitch() {
    for rate in RATES {
        let whole = vowel(rate, 100, 120);
        let (heard, lost) = whole.split_at(ms(rate, 100));
        let (made, count) = after(rate, heard, lost.len());
        assert_eq!(count, lost.len());
        // At full strength, so that the very samples can be compared.
        let full = ms(rate, 10);
        let error: Vec<i16> = made
            .iter()
            .zip(lost)
            .take(full)
            .map(|(a, b)| a - b)
            .collect();
        let ratio = 10.0 * (power(&lost[..full]) / power(&error)).log10();
        assert!(ratio > 20.0, "{rate}: {ratio} dB");
    }
}

#[test]
fn noise_goes_on_as_noise_of_its_strength_and_does_not_buzz() {
    for rate in RATES {
        let heard = noise(rate, 100);
        let (made, _) = after(rate, &heard, ms(rate, 50));
        let level = 10.0 * (power(&made[..ms(rate, 10)]) / power(&heard)).log10();
        assert!(level.abs() < 3.0, "{rate}: {level} dB");
        assert!(period(rate, &made) < 0.6, "{rate}: {}", period(rate, &made));
        // A repetition, which Appendix I would make of it, is found out.
        let buzz = heard[..ms(rate, 10)].repeat(5);
        assert!(period(rate, &buzz) > 0.9);
    }
}

#[test]
fn it_fades_from_ten_to_sixty_milliseconds_and_says_where_it_ended() {
    for rate in RATES {
        let heard = vowel(rate, 100, 100);
        let (made, count) = after(rate, &heard, ms(rate, 200));
        assert_eq!(count, ms(rate, 60));
        assert!(made[count..].iter().all(|&sample| sample == 0));
        let strength = |at| (power(&made[ms(rate, at)..ms(rate, at + 10)]) / power(&heard)).sqrt();
        assert!(strength(0) > 0.9 && strength(0) < 1.1, "{}", strength(0));
        for (at, expected) in [(10, 0.9), (20, 0.7), (30, 0.5), (40, 0.3), (50, 0.1)] {
            assert!(
                (strength(at) - expected).abs() < 0.12,
                "{rate}: {at} ms: {}",
                strength(at)
            );
        }
    }
}

#[test]
fn nothing_is_made_of_nothing() {
    for rate in RATES {
        let mut concealer = LossConcealer::new(rate);
        let mut out: Vec<f32> = Vec::new();
        assert_eq!(concealer.conceal(100, &mut out), 0, "nothing was heard");
        concealer.good(&mut [0.0_f32; 1_000]);
        assert_eq!(concealer.conceal(100, &mut out), 0, "silence was heard");
        concealer.good(&mut vowel(rate, 100, 100));
        concealer.reset();
        assert_eq!(concealer.conceal(100, &mut out), 0, "it was forgotten");
        assert_eq!(out, vec![0.0; 300]);
    }
}

#[test]
fn audio_behind_silence_is_left_as_it_is() {
    for rate in RATES {
        let mut concealer = LossConcealer::new(rate);
        concealer.good(&mut [0_i16; 1_000]);
        concealer.conceal(100, &mut Vec::<i16>::new());
        let spoken = vowel(rate, 100, 20);
        let mut samples = spoken.clone();
        concealer.good(&mut samples);
        assert_eq!(samples, spoken);
    }
}

/// The steepest step within a stretch of speech and the losses in it is no
/// steeper than one of the speech, but for a share.
#[test]
fn no_seam_clicks() {
    let (mut worst, mut zeroed) = (0.0_f32, 0.0_f32);
    for said in prompts() {
        let audio: Vec<i16> = said.iter().map(|&code| g711::decode_ulaw(code)).collect();
        for lost in (5..audio.len() / PACKET - 5).step_by(7) {
            let (start, end) = (lost * PACKET, (lost + 1) * PACKET);
            let mut concealer = LossConcealer::new(SampleRate::HZ_8000);
            concealer.good(&mut audio[..start].to_vec());
            let mut out = audio[..start].to_vec();
            concealer.conceal(PACKET, &mut out);
            let mut back = audio[end..].to_vec();
            concealer.good(&mut back);
            out.extend(back);

            let step =
                |audio: &[i16], at: usize| (f32::from(audio[at]) - f32::from(audio[at - 1])).abs();
            let around = start - 3 * PACKET..end + 2 * PACKET;
            let steepest = around.map(|at| step(&audio, at)).fold(200.0, f32::max);
            for seam in [start, start + 1, end, end + 1] {
                worst = worst.max(step(&out, seam) / steepest);
            }
            zeroed = zeroed.max(f32::from(audio[start - 1]).abs() / steepest);
        }
    }
    assert!(worst < 1.0, "{worst}");
    assert!(zeroed > 1.5, "silence would not click either: {zeroed}");
}

#[test]
fn the_corpus_keeps_the_promises() {
    let entries = fs::read_dir(workspace().join("fuzz/corpus/conceal")).unwrap();
    let scripts: Vec<_> = entries
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(!scripts.is_empty());
    for script in scripts {
        crate::fuzz::conceal_ops(&script);
    }
}

proptest! {
    #[test]
    fn any_script_keeps_the_promises(script in prop::collection::vec(any::<u8>(), 0..2_000)) {
        crate::fuzz::conceal_ops(&script);
    }

    #[test]
    fn how_audio_is_cut_into_packets_does_not_show(
        seed in any::<u16>(),
        heard in 1_usize..3_000,
        lost in 1_usize..1_500,
        cuts in prop::collection::vec(1_usize..400, 1..20),
        rate in prop::sample::select(&RATES[..]),
    ) {
        let mut before = vowel(rate, 80 + usize::from(seed % 200), 400);
        before.truncate(heard);
        let behind = noise(rate, 50);
        let whole = {
            let mut concealer = LossConcealer::new(rate);
            let (mut first, mut out, mut last) = (before.clone(), Vec::new(), behind.clone());
            concealer.good(&mut first);
            let made = concealer.conceal(lost, &mut out);
            concealer.good(&mut last);
            ([first, out, last].concat(), made)
        };
        let mut concealer = LossConcealer::new(rate);
        let (mut out, mut made) = (Vec::new(), 0);
        let mut cuts = cuts.iter().copied().cycle();
        let mut good = |concealer: &mut LossConcealer, samples: &[i16], out: &mut Vec<i16>| {
            let mut rest = samples;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                let mut now = now.to_vec();
                concealer.good(&mut now);
                out.extend(now);
                rest = later;
            }
        };
        good(&mut concealer, &before, &mut out);
        for part in [lost / 3, 0, lost - lost / 3] {
            made += concealer.conceal(part, &mut out);
        }
        good(&mut concealer, &behind, &mut out);
        prop_assert_eq!(whole, (out, made));
    }
}
