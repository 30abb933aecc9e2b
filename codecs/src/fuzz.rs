//! Bodies of fuzz targets, run over the corpus by the ordinary tests too.

use crate::{AudioDecoder, Concealer, SampleRate};

/// Reads `script` as a sequence of operations on one decoder and checks that
/// every sample given comes out, exactly once and finite.
///
/// An operation is an octet of kind and payload type and one of length. The
/// longest a payload gets is 255 octets, beyond which nothing new happens.
///
/// # Panics
/// When a promise of [`AudioDecoder`] is broken.
pub fn decode(script: &[u8]) {
    let mut decoder = AudioDecoder::new();
    let mut out = Vec::new();
    let mut given = 0;
    let mut rest = script;
    while let [operation, len, tail @ ..] = rest {
        let len = usize::from(*len);
        rest = tail;
        let before = out.len();
        match operation {
            0x80..=0xdf => {
                let (payload, tail) = rest.split_at(len.min(rest.len()));
                rest = tail;
                given += packet(
                    &mut decoder,
                    PAYLOAD_TYPES[usize::from(operation % 8)],
                    payload,
                    &mut out,
                );
            }
            0xe0..=0xe7 => {
                decoder.silence(len, &mut out);
                given += len;
            }
            0xe8..=0xef => {
                let made = decoder.conceal(len, &mut out);
                assert!(made <= len, "more was made up than was lost");
                given += len;
            }
            0xf0.. => {
                decoder.flush(&mut out);
                assert_eq!(out.len(), given, "after a flush nothing is held back");
            }
            pt => {
                let (payload, tail) = rest.split_at(len.min(rest.len()));
                rest = tail;
                given += packet(&mut decoder, *pt, payload, &mut out);
            }
        }
        assert!(out.len() <= given, "more came out than went in");
        assert!(given - out.len() <= HELD_BACK, "more than 15 ms held back");
        assert!(
            out[before..].iter().all(|sample| sample.abs() < 4.0),
            "out of range"
        );
    }
    decoder.flush(&mut out);
    assert_eq!(out.len(), given, "the duration changed");
}

/// Those that decode, so that random operations often do.
const PAYLOAD_TYPES: [u8; 8] = [0, 8, 10, 11, 118, 0, 13, 255];

/// 15 ms at 16 kHz.
const HELD_BACK: usize = 240;

/// The packet's duration at 16 kHz, 0 if it was refused.
fn packet(decoder: &mut AudioDecoder, pt: u8, payload: &[u8], out: &mut Vec<f32>) -> usize {
    let before = (decoder.codec(), out.len());
    let Ok(decoded) = decoder.decode(pt, payload, out) else {
        assert_eq!(
            (decoder.codec(), out.len()),
            before,
            "a refused packet left a trace"
        );
        return 0;
    };
    assert_eq!(decoder.codec(), Some(decoded.codec));
    assert_eq!(decoded.codec.sample_count(payload), Ok(decoded.samples_in));
    let rate = decoded.codec.sample_rate();
    decoded.samples_in * (SampleRate::OUTPUT.hz() / rate.hz()) as usize
}

/// Reads `script` as a sequence of operations on one [`Concealer`] and checks
/// lengths, bounds and what is said to be synthesised, and that a second one,
/// which is given the same in smaller pieces, makes the same of it.
///
/// The first octet chooses the rate. An operation is an octet of kind and two
/// of what it needs.
///
/// # Panics
/// When a promise of [`Concealer`] is broken.
pub fn conceal_ops(script: &[u8]) {
    let Some((first, script)) = script.split_first() else {
        return;
    };
    let rate = [SampleRate::HZ_8000, SampleRate::HZ_16000][usize::from(first % 2)];
    let (mut whole, mut pieces) = (Concealer::new(rate), Concealer::new(rate));
    // The largest sample that was given; no audio is concealed louder.
    let mut peak = 0;
    let (operations, _) = script.as_chunks::<3>();
    for &[kind, a, b] in operations {
        let count = usize::from(a) * 4;
        match kind {
            0..=0x9f => {
                let step = i16::from_le_bytes([kind, b]);
                let audio: Vec<i16> = (0..count as i16).map(|n| n.wrapping_mul(step)).collect();
                let (mut one, mut other) = (audio.clone(), audio);
                whole.good(&mut one);
                other
                    .chunks_mut(usize::from(b) + 1)
                    .for_each(|part| pieces.good(part));
                assert_eq!(one, other, "good audio depends on how it is cut");
                peak = one.iter().map(|x| x.unsigned_abs()).fold(peak, u16::max);
            }
            0xa0..=0xef => {
                let (mut one, mut other) = (vec![7.0_f32], vec![7.0_f32]);
                let made = whole.conceal(count, &mut one);
                let piece = count.min(usize::from(b));
                let mut sum = pieces.conceal(piece, &mut other);
                sum += pieces.conceal(count - piece, &mut other);
                assert_eq!(
                    (&one, made),
                    (&other, sum),
                    "a loss depends on how it is cut"
                );
                assert_eq!(one.len(), 1 + count);
                assert!(made <= count.min(60 * rate.hz() as usize / 1000));
                let loudest = f32::from(peak) / 32_768.0;
                assert!(
                    one[1..].iter().all(|sample| sample.abs() <= loudest),
                    "louder than what was heard"
                );
                assert!(
                    one[1 + made..].iter().all(|&sample| sample == 0.0),
                    "not silent"
                );
            }
            _ => {
                whole.reset();
                pieces.reset();
            }
        }
    }
}
