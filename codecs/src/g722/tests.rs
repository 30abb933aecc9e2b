use std::f64::consts::TAU;

use proptest::prelude::*;

use super::*;
use crate::testdata;

fn encode(samples: &[i16]) -> Vec<u8> {
    let mut out = Vec::new();
    G722Encoder::new().encode(samples, &mut out);
    out
}

fn decode(payload: &[u8]) -> Vec<i16> {
    let mut out = Vec::new();
    G722Decoder::new().decode(payload, &mut out).unwrap();
    out
}

#[test]
fn encodes_to_the_bit_what_ffmpeg_does() {
    let samples = testdata::samples("wide.s16");
    assert_eq!(encode(&samples), testdata::octets("wide.g722"));
}

#[test]
fn decodes_to_the_bit_what_ffmpeg_does() {
    let payload = testdata::octets("wide.g722");
    assert_eq!(decode(&payload), testdata::samples("wide.g722.s16"));
}

/// Both mirror filters together.
const DELAY: usize = 22;

#[test]
fn tones_of_both_bands_survive() {
    for frequency in [100.0, 300.0, 1_000.0, 2_000.0, 3_400.0, 5_000.0, 6_500.0] {
        let sample = |n: usize| (8_000.0 * (TAU * frequency * n as f64 / 16_000.0).sin()) as i16;
        let samples: Vec<_> = (0..8_000).map(sample).collect();
        let heard = decode(&encode(&samples));
        let (mut signal, mut noise) = (0.0, 0.0);
        for n in 1_600..8_000 - DELAY {
            signal += f64::from(samples[n]).powi(2);
            noise += (f64::from(heard[n + DELAY]) - f64::from(samples[n])).powi(2);
        }
        let ratio = 10.0 * (signal / noise).log10();
        // Two bits carry the upper band.
        let least = if frequency < 4_000.0 { 25.0 } else { 10.0 };
        assert!(ratio > least, "{frequency} Hz: {ratio:.1} dB");
    }
}

#[test]
fn silence_is_next_to_silent() {
    let heard = decode(&encode(&[0; 3_200]));
    assert!(heard.iter().all(|sample| sample.abs() < 20), "{heard:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_octets_are_sound(payload in prop::collection::vec(any::<u8>(), 1..3_000)) {
        prop_assert_eq!(decode(&payload).len(), 2 * payload.len());
    }

    #[test]
    fn any_sound_is_encoded_however_it_is_cut(
        samples in prop::collection::vec(any::<i16>(), 0..3_000),
        cuts in prop::collection::vec(1_usize..400, 1..20),
    ) {
        let (mut encoder, mut out) = (G722Encoder::new(), Vec::new());
        let mut rest = &samples[..];
        for &cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(cut.min(rest.len()));
            encoder.encode(now, &mut out);
            rest = later;
        }
        prop_assert_eq!(out.len(), samples.len() / 2);
        prop_assert_eq!(out, encode(&samples));
    }

    /// A decoder that missed packets finds its way back.
    #[test]
    fn what_was_lost_is_forgotten(lost in prop::collection::vec(any::<u8>(), 1..800)) {
        let sample = |n: usize| (8_000.0 * (TAU * 440.0 * n as f64 / 16_000.0).sin()) as i16;
        let payload = encode(&(0..16_000).map(sample).collect::<Vec<_>>());
        let expected = decode(&payload);
        let heard = decode(&[&lost[..], &payload].concat());
        let heard = &heard[2 * lost.len()..];
        for (a, b) in heard.iter().zip(&expected).skip(12_000) {
            prop_assert!((i32::from(*a) - i32::from(*b)).abs() < 200);
        }
    }
}
