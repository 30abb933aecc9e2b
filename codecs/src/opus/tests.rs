use audiopus::coder::Encoder;
use audiopus::{Application, Bitrate};
use proptest::prelude::*;

use super::*;
use crate::testdata;

/// 20 ms at 16 kHz.
const FRAME: usize = 320;

/// Half a second of speech in packets of 20 ms, with copies for a lossy path.
fn speech() -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(SampleRate::Hz16000, Channels::Mono, Application::Voip).unwrap();
    encoder.set_bitrate(Bitrate::BitsPerSecond(24_000)).unwrap();
    encoder.set_inband_fec(true).unwrap();
    encoder.set_packet_loss_perc(30).unwrap();
    let encode = |frame: &[i16]| {
        let mut packet = vec![0; 1_500];
        let len = encoder.encode(frame, &mut packet).unwrap();
        packet.truncate(len);
        packet
    };
    let samples = testdata::samples("wide.s16");
    samples[..25 * FRAME].chunks(FRAME).map(encode).collect()
}

fn decoded(packets: &[Vec<u8>]) -> Vec<i16> {
    let (mut decoder, mut out) = (OpusDecoder::new(), Vec::new());
    for packet in packets {
        decoder.decode(packet, &mut out).unwrap();
    }
    out
}

/// Level of the difference against the original, in dB.
fn difference(heard: &[i16], original: &[i16]) -> f64 {
    assert_eq!(heard.len(), original.len());
    let (mut signal, mut noise) = (1.0, 1.0);
    for (&a, &b) in heard.iter().zip(original) {
        signal += f64::from(b).powi(2);
        noise += (f64::from(a) - f64::from(b)).powi(2);
    }
    10.0_f64 * (noise / signal).log10()
}

#[test]
fn speech_survives() {
    let original = testdata::samples("wide.s16");
    let heard = decoded(&speech());
    assert_eq!(heard.len(), 25 * FRAME);
    let at = |delay: usize| {
        let pairs = original[..25 * FRAME - delay].iter().zip(&heard[delay..]);
        let (mut product, mut a, mut b) = (0.0, 0.0, 0.0);
        for (&x, &y) in pairs {
            let (x, y) = (f64::from(x), f64::from(y));
            product += x * y;
            a += x * x;
            b += y * y;
        }
        product / (a * b).sqrt()
    };
    let likeness = (0..200).map(at).fold(0.0, f64::max);
    assert!(likeness > 0.9, "{likeness}");
}

/// A copy in the next packet brings most of a lost frame back; without it the
/// frame is guessed, which is still better than nothing.
#[test]
fn a_lost_frame_comes_back_from_its_copy() {
    let packets = speech();
    let original = decoded(&packets);
    let mut levels = [0.0; 3];
    let lost: Vec<_> = (5..24)
        .filter(|&n| OpusPacket::parse(&packets[n + 1]).unwrap().has_copy())
        .collect();
    assert!(lost.len() > 10, "{} copies", lost.len());
    for &n in &lost {
        let place = n * FRAME..(n + 1) * FRAME;
        for (level, next) in levels.iter_mut().zip([Some(&packets[n + 1][..]), None]) {
            let (mut decoder, mut out) = (OpusDecoder::new(), Vec::new());
            for packet in &packets[..n] {
                decoder.decode(packet, &mut out).unwrap();
            }
            assert_eq!(decoder.conceal(FRAME, next, &mut out), FRAME);
            *level += difference(&out[place.clone()], &original[place.clone()]);
        }
        levels[2] += difference(&[0; FRAME], &original[place.clone()]);
    }
    let [copied, guessed, silent] = levels.map(|level| level / lost.len() as f64);
    assert!(
        copied < guessed - 3.0 && copied < silent - 5.0,
        "{copied:.1} {guessed:.1} {silent:.1} dB"
    );
}

#[test]
fn a_long_gap_is_silent_but_for_its_ends() {
    let packets = speech();
    let with_copy = packets
        .iter()
        .rposition(|packet| OpusPacket::parse(packet).unwrap().has_copy());
    let next = &packets[with_copy.unwrap()][..];
    let (mut decoder, mut out) = (OpusDecoder::new(), Vec::new());
    decoder.decode(&packets[10], &mut out).unwrap();
    out.clear();
    assert_eq!(
        decoder.conceal(8_005, Some(next), &mut out),
        MAX_CONCEALED + FRAME
    );
    assert_eq!(out.len(), 8_005);
    assert!(
        out[MAX_CONCEALED..8_005 - FRAME]
            .iter()
            .all(|&sample| sample == 0)
    );
    assert!(out[8_005 - FRAME..].iter().any(|&sample| sample != 0));
    // The allowance is one for a gap, in however many pieces it is told.
    out.clear();
    assert_eq!(decoder.conceal(320, None, &mut out), 0);
    assert_eq!(out, [0; 320]);
    decoder.decode(next, &mut out).unwrap();
    assert_eq!(decoder.conceal(320, None, &mut out), 320);
}

#[test]
fn packets_of_every_duration_are_taken() {
    for (samples, config) in [(40, 16), (80, 17), (160, 18), (320, 19), (640, 2), (960, 3)] {
        let payload = [config << 3, 0, 0, 0];
        let mut out = Vec::new();
        OpusDecoder::new().decode(&payload, &mut out).unwrap();
        assert_eq!(out.len(), samples, "configuration {config}");
    }
}

/// Every payload that libopus takes has the length that was told, and every
/// other was refused before.
fn agrees_with_libopus(payload: &[u8]) -> Result<(), TestCaseError> {
    let mut samples = vec![0; 5_760];
    let mut libopus = Libopus::new(SampleRate::Hz16000, Channels::Mono).unwrap();
    let result = libopus.decode(
        Some(payload.try_into().unwrap()),
        (&mut samples).try_into().unwrap(),
        false,
    );
    prop_assert_eq!(result.ok(), sample_count(payload).ok());
    Ok(())
}

proptest! {
    #[test]
    fn any_octets_agree_with_libopus(payload in prop::collection::vec(any::<u8>(), 1..200)) {
        agrees_with_libopus(&payload)?;
    }

    #[test]
    fn many_frames_agree_with_libopus(
        toc in any::<u8>(),
        counts in any::<u8>(),
        sizes in prop::collection::vec(0_u8..6, 0..200),
    ) {
        agrees_with_libopus(&[&[toc | 3, counts][..], &sizes].concat())?;
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_gap_has_its_length_whatever_it_is(
        gap in 0_usize..3_000,
        before in 0_usize..20,
        next in prop::option::of(prop::collection::vec(any::<u8>(), 0..60)),
    ) {
        let packets = speech();
        let (mut decoder, mut out) = (OpusDecoder::new(), Vec::new());
        for packet in &packets[..before] {
            decoder.decode(packet, &mut out).unwrap();
        }
        let concealed = decoder.conceal(gap, next.as_deref(), &mut out);
        prop_assert!(concealed <= gap);
        prop_assert_eq!(out.len(), before * FRAME + gap);
    }
}
