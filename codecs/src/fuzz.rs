//! Bodies of fuzz targets, run over the corpus by the ordinary tests too.

use crate::{AudioDecoder, SampleRate};

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
            0xe0..=0xef => {
                decoder.silence(len, &mut out);
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
