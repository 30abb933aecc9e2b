//! Linear 16-bit audio, most significant byte first (RFC 3551, 4.5.11).

use crate::codec::{Codec, DecodeError, PayloadDecoder};

pub(crate) struct L16Decoder {
    /// Which of the linear codecs; they differ in their rates alone.
    pub(crate) codec: Codec,
}

impl PayloadDecoder for L16Decoder {
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), DecodeError> {
        self.codec.sample_count(payload)?;
        out.extend(
            payload
                .chunks_exact(2)
                .map(|pair| i16::from_be_bytes([pair[0], pair[1]])),
        );
        Ok(())
    }
}

pub(crate) fn sample_count(codec: Codec, payload: &[u8]) -> Result<usize, DecodeError> {
    let len = payload.len();
    if len % 2 == 1 {
        return Err(DecodeError::OddLength { codec, len });
    }
    Ok(len / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(payload: &[u8]) -> Result<Vec<i16>, DecodeError> {
        let mut out = Vec::new();
        Codec::Slin.decoder().decode(payload, &mut out)?;
        Ok(out)
    }

    #[test]
    fn the_high_byte_comes_first() {
        let payload = [0x00, 0x01, 0x01, 0x00, 0x7f, 0xff, 0x80, 0x00, 0xff, 0xff];
        assert_eq!(decode(&payload), Ok(vec![1, 256, i16::MAX, i16::MIN, -1]));
    }

    #[test]
    fn half_a_sample_is_refused_whole() {
        for codec in [Codec::Slin, Codec::Slin16] {
            let mut out = Vec::new();
            let result = codec.decoder().decode(&[0; 319], &mut out);
            assert_eq!(result, Err(DecodeError::OddLength { codec, len: 319 }));
            assert!(out.is_empty());
        }
    }

    proptest! {
        #[test]
        fn round_trip(samples in prop::collection::vec(any::<i16>(), 1..800)) {
            let payload: Vec<u8> = samples.iter().flat_map(|sample| sample.to_be_bytes()).collect();
            prop_assert_eq!(decode(&payload), Ok(samples));
        }
    }
}
