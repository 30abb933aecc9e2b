use proptest::prelude::*;

use super::*;
use crate::g711;

const PACKETS: [(u8, usize, usize); 5] =
    [(0, 1, 2), (8, 1, 2), (10, 2, 2), (11, 2, 2), (118, 2, 1)];

#[test]
fn every_codec_can_be_resampled() {
    for codec in Codec::ALL {
        assert_eq!(resampler_for(codec).from(), codec.sample_rate());
    }
}

#[test]
fn every_packet_size_yields_its_exact_duration() {
    for (pt, bytes_per_sample, ratio) in PACKETS {
        let mut decoder = AudioDecoder::new();
        for len in (1..=1_400).filter(|len| len % bytes_per_sample == 0) {
            let mut out = Vec::new();
            let decoded = decoder.decode(pt, &vec![0x5a; len], &mut out).unwrap();
            decoder.flush(&mut out);
            assert_eq!(decoded.samples_in, len / bytes_per_sample);
            assert_eq!(out.len(), len / bytes_per_sample * ratio);
        }
    }
}

#[test]
fn a_change_of_codec_loses_nothing() {
    let mut decoder = AudioDecoder::new();
    let mut out = Vec::new();
    let mut expected = 0;
    // Odd lengths leave the resampler with part of a block at each change.
    for (pt, payload, samples_16k) in [
        (0, 157, 314),
        (8, 33, 66),
        (118, 642, 321),
        (118, 2, 1),
        (10, 322, 322),
        (0, 5, 10),
        (118, 640, 320),
    ] {
        decoder.decode(pt, &vec![0x11; payload], &mut out).unwrap();
        expected += samples_16k;
        assert!(out.len() <= expected);
    }
    assert_eq!(decoder.codec(), Some(Codec::Slin16));
    decoder.flush(&mut out);
    assert_eq!(out.len(), expected);
}

#[test]
fn a_change_of_law_is_seamless() {
    let sample = |n: usize| (9_000.0 * (n as f64 * 0.3).sin()) as i16;
    let ulaw: Vec<u8> = (0..400).map(|n| g711::encode_ulaw(sample(n))).collect();
    let alaw: Vec<u8> = (400..800).map(|n| g711::encode_alaw(sample(n))).collect();
    let mut linear: Vec<i16> = ulaw.iter().map(|&code| g711::decode_ulaw(code)).collect();
    linear.extend(alaw.iter().map(|&code| g711::decode_alaw(code)));
    let slin: Vec<u8> = linear
        .iter()
        .flat_map(|sample| sample.to_be_bytes())
        .collect();

    let (mut both, mut one) = (Vec::new(), Vec::new());
    let mut decoder = AudioDecoder::new();
    decoder.decode(0, &ulaw, &mut both).unwrap();
    decoder.decode(8, &alaw, &mut both).unwrap();
    decoder.flush(&mut both);
    let mut decoder = AudioDecoder::new();
    decoder.decode(10, &slin, &mut one).unwrap();
    decoder.flush(&mut one);
    assert_eq!(both, one);
}

#[test]
fn a_refused_packet_changes_nothing() {
    let payload: Vec<u8> = (0..=255).collect();
    let mut expected = Vec::new();
    let mut decoder = AudioDecoder::new();
    decoder.decode(0, &payload, &mut expected).unwrap();
    decoder.decode(0, &payload, &mut expected).unwrap();

    let mut out = Vec::new();
    let mut decoder = AudioDecoder::new();
    let refuse = |decoder: &mut AudioDecoder, out: &mut Vec<f32>| {
        let before = out.len();
        for (pt, bytes, error) in [
            (101, &payload[..4], DecodeError::NotAudio(101)),
            (200, &payload[..], DecodeError::NotAudio(200)),
            (0, &[], DecodeError::Empty { codec: Codec::Ulaw }),
            (
                118,
                &[],
                DecodeError::Empty {
                    codec: Codec::Slin16,
                },
            ),
            (
                118,
                &payload[..7],
                DecodeError::OddLength {
                    codec: Codec::Slin16,
                    len: 7,
                },
            ),
        ] {
            assert_eq!(decoder.decode(pt, bytes, out), Err(error));
        }
        assert_eq!(out.len(), before);
    };
    refuse(&mut decoder, &mut out);
    assert_eq!(decoder.codec(), None);
    decoder.decode(0, &payload, &mut out).unwrap();
    refuse(&mut decoder, &mut out);
    decoder.decode(0, &payload, &mut out).unwrap();
    assert_eq!(out, expected);
}

#[test]
fn silence_takes_its_place_in_the_stream() {
    let mut decoder = AudioDecoder::new();
    let mut out = Vec::new();
    decoder.silence(777, &mut out);
    assert_eq!(out, vec![0.0; 777]);
    decoder.decode(0, &[0x80; 160], &mut out).unwrap();
    decoder.silence(801, &mut out);
    decoder.decode(0, &[0x80; 160], &mut out).unwrap();
    decoder.flush(&mut out);
    assert_eq!(out.len(), 777 + 320 + 801 + 320);
    // The middle of each stretch, out of reach of the filter's ringing.
    assert!(out[777 + 160] > 0.9 && out[777 + 320 + 801 + 160] > 0.9);
    assert!(out[777 + 320 + 400].abs() < 1e-3);
}

#[test]
fn a_huge_packet_leaves_no_huge_buffer() {
    let mut decoder = AudioDecoder::new();
    let mut out = Vec::new();
    decoder.decode(0, &[0xff; 65_000], &mut out).unwrap();
    assert!(decoder.samples.capacity() <= KEPT_SAMPLES);
    decoder.flush(&mut out);
    assert_eq!(out.len(), 130_000);
}

proptest! {
    #[test]
    fn any_bytes_under_any_payload_type(script in prop::collection::vec(any::<u8>(), 0..4_000)) {
        crate::fuzz::decode(&script);
    }

    #[test]
    fn how_audio_is_cut_into_packets_does_not_show(
        audio in prop::collection::vec(any::<u8>(), 2..3_000),
        cuts in prop::collection::vec(1_usize..400, 1..20),
        (pt, bytes_per_sample, _) in prop::sample::select(&PACKETS[..]),
    ) {
        let audio = &audio[..audio.len() / 2 * 2];
        let (mut whole, mut cut_up) = (Vec::new(), Vec::new());
        let mut decoder = AudioDecoder::new();
        decoder.decode(pt, audio, &mut whole).unwrap();
        decoder.flush(&mut whole);

        let mut decoder = AudioDecoder::new();
        let mut rest = audio;
        for &cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((cut * bytes_per_sample).min(rest.len()));
            decoder.decode(pt, now, &mut cut_up).unwrap();
            rest = later;
        }
        decoder.flush(&mut cut_up);
        prop_assert_eq!(whole, cut_up);
    }
}
