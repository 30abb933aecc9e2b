use proptest::prelude::*;

use super::*;
use crate::testdata;

fn decode(payload: &[u8]) -> Result<Vec<i16>, DecodeError> {
    let mut out = Vec::new();
    GsmDecoder::new().decode(payload, &mut out).map(|()| out)
}

#[test]
fn decodes_to_the_bit_what_libgsm_does() {
    let payload = testdata::octets("narrow.gsm");
    assert_eq!(decode(&payload), Ok(testdata::samples("narrow.gsm.s16")));
}

#[test]
fn frames_may_come_together_or_one_by_one() {
    let payload = testdata::octets("narrow.gsm");
    let (mut decoder, mut out) = (GsmDecoder::new(), Vec::new());
    for frame in payload.chunks(FRAME) {
        decoder.decode(frame, &mut out).unwrap();
    }
    assert_eq!(decode(&payload), Ok(out));
}

#[test]
fn what_is_no_frame_is_refused_whole() {
    let payload = testdata::octets("narrow.gsm");
    let mut unsigned = payload[..99].to_vec();
    unsigned[66] ^= 0x10;
    for bad in [&payload[..32], &payload[..34], &payload[1..34], &unsigned] {
        let (codec, len) = (Codec::Gsm, bad.len());
        assert_eq!(decode(bad), Err(DecodeError::Malformed { codec, len }));
        assert_eq!(
            sample_count(bad),
            Err(DecodeError::Malformed { codec, len })
        );
    }
}

proptest! {
    #[test]
    fn any_bits_are_sound(frames in prop::collection::vec(any::<[u8; FRAME]>(), 1..30)) {
        let mut payload = frames.concat();
        for frame in payload.chunks_mut(FRAME) {
            frame[0] = frame[0] & 0x0f | SIGNATURE << 4;
        }
        prop_assert_eq!(decode(&payload).map(|out| out.len()), Ok(frames.len() * FRAME_SAMPLES));
    }
}
