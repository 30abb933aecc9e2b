use proptest::prelude::*;

use super::*;
use crate::g711;

/// Payload type, octets of the smallest payload, samples in it, their rate:
/// of the codecs that take any octets.
const PACKETS: [(u8, usize, usize, usize); 12] = [
    (0, 1, 1, 8_000),
    (8, 1, 1, 8_000),
    (9, 1, 2, 16_000),
    (10, 2, 1, 8_000),
    (11, 2, 1, 8_000),
    (118, 2, 1, 16_000),
    (122, 2, 1, 12_000),
    (123, 2, 1, 24_000),
    (124, 2, 1, 32_000),
    (125, 2, 1, 44_100),
    (126, 2, 1, 48_000),
    (127, 2, 1, 96_000),
];

#[test]
fn every_codec_can_be_resampled() {
    for codec in Codec::ALL {
        assert_eq!(resampler_for(codec).from(), codec.sample_rate());
    }
}

#[test]
fn every_packet_size_yields_its_exact_duration() {
    for (pt, octets, samples, rate) in PACKETS {
        let mut decoder = AudioDecoder::new();
        for units in (1..=1_400 / octets).step_by(if rate > 16_000 { 7 } else { 1 }) {
            let mut out = Vec::new();
            let payload = vec![0x5a; units * octets];
            let decoded = decoder.decode(pt, &payload, &mut out).unwrap();
            decoder.flush(&mut out);
            assert_eq!(decoded.samples_in, units * samples);
            assert_eq!(out.len(), (units * samples * 16_000).div_ceil(rate));
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
        (9, 161, 322),
        (125, 882, 160),
        (127, 12, 1),
        (126, 2, 1),
        (9, 1, 2),
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

/// A tone of 200 Hz in µ-law, 20 ms from a sample on.
fn tone(start: usize) -> Vec<u8> {
    let sample = |n| {
        let turn = std::f32::consts::TAU * 200.0 / 8_000.0;
        g711::encode_ulaw((8_000.0 * (turn * n as f32).sin()) as i16)
    };
    (start..start + 160).map(sample).collect()
}

#[test]
fn a_loss_is_concealed_in_its_place_and_what_was_made_up_is_told() {
    let mut decoder = AudioDecoder::new();
    let mut out = Vec::new();
    assert_eq!(
        decoder.conceal(321, None, &mut out),
        0,
        "nothing was heard yet"
    );
    assert_eq!(out, vec![0.0; 321]);
    for n in 0..5 {
        decoder.decode(0, &tone(n * 160), &mut out).unwrap();
    }
    // Halves of a sample of 8 kHz add up.
    assert_eq!(decoder.conceal(161, None, &mut out), 161);
    assert_eq!(decoder.conceal(161, None, &mut out), 161);
    decoder.silence(0, &mut out);
    assert_eq!(
        decoder.conceal(960, None, &mut out),
        960 - 322,
        "60 ms, no more"
    );
    decoder.decode(0, &tone(0), &mut out).unwrap();
    decoder.flush(&mut out);
    assert_eq!(out.len(), 321 + 5 * 320 + 161 + 161 + 960 + 320);

    // The first 10 ms go on as the tone did.
    let lost = 321 + 5 * 320;
    for at in lost..lost + 160 {
        assert!((out[at] - out[at - 160]).abs() < 0.02, "{at}");
    }
    assert!(
        out[lost + 1_000..lost + 1_200]
            .iter()
            .all(|x| x.abs() < 1e-3)
    );
}

#[test]
fn silence_and_a_flush_end_what_a_loss_could_go_on_from() {
    type Pause = fn(&mut AudioDecoder, &mut Vec<f32>);
    let pauses: [Pause; 2] = [|decoder, out| decoder.silence(1, out), AudioDecoder::flush];
    for pause in pauses {
        let mut decoder = AudioDecoder::new();
        let mut out = Vec::new();
        decoder.decode(0, &tone(0), &mut out).unwrap();
        pause(&mut decoder, &mut out);
        assert_eq!(decoder.conceal(320, None, &mut out), 0);
    }
}

#[test]
fn another_codec_of_the_same_rate_goes_on_from_the_last() {
    let mut decoder = AudioDecoder::new();
    let mut out = Vec::new();
    decoder.decode(0, &tone(0), &mut out).unwrap();
    decoder.decode(8, &[0xd5; 8], &mut out).unwrap();
    assert_eq!(decoder.conceal(320, None, &mut out), 320);
    decoder.decode(118, &[0; 640], &mut out).unwrap();
    assert_eq!(
        decoder.conceal(320, None, &mut out),
        0,
        "of 16 kHz nothing was heard"
    );
}

#[test]
fn opus_makes_up_what_is_missing_by_itself() {
    let (mut decoder, mut out) = (AudioDecoder::new(), Vec::new());
    let packet = [0x08, 0x9a, 0x51, 0x33, 0x77, 0x21, 0x0c, 0x5e];
    decoder.decode(107, &packet, &mut out).unwrap();
    for next in [None, Some((0, &packet[..])), Some((107, &packet[..]))] {
        assert_eq!(decoder.conceal(320, next, &mut out), 320);
    }
    assert_eq!(decoder.conceal(1_000, None, &mut out), 1_600 - 3 * 320);
    assert_eq!(out.len(), 320 + 3 * 320 + 1_000);
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
    fn any_bytes_to_each_decoder(script in prop::collection::vec(any::<u8>(), 0..2_000)) {
        crate::fuzz::gsm(&script);
        crate::fuzz::g722(&script);
        crate::fuzz::opus(&script);
    }

    #[test]
    fn how_audio_is_cut_into_packets_does_not_show(
        audio in prop::collection::vec(any::<u8>(), 2..3_000),
        cuts in prop::collection::vec(1_usize..400, 1..20),
        (pt, octets, ..) in prop::sample::select(&PACKETS[..]),
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
            let (now, later) = rest.split_at((cut * octets).min(rest.len()));
            decoder.decode(pt, now, &mut cut_up).unwrap();
            rest = later;
        }
        decoder.flush(&mut cut_up);
        prop_assert_eq!(whole, cut_up);
    }
}
