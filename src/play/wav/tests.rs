use std::io::Cursor;

use hound::WavWriter;
use proptest::prelude::*;

use super::*;

fn file(spec: WavSpec, write: impl FnOnce(&mut WavWriter<&mut Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
    write(&mut writer);
    writer.finalize().unwrap();
    bytes.into_inner()
}

fn ints(channels: u16, bits: u16, samples: &[i32]) -> Vec<u8> {
    let spec = WavSpec {
        channels,
        sample_rate: 8000,
        bits_per_sample: bits,
        sample_format: SampleFormat::Int,
    };
    file(spec, |writer| {
        for &sample in samples {
            writer.write_sample(sample).unwrap();
        }
    })
}

fn floats(samples: &[f32]) -> Vec<u8> {
    let spec = WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 32,
        sample_format: SampleFormat::Float,
    };
    file(spec, |writer| {
        for &sample in samples {
            writer.write_sample(sample).unwrap();
        }
    })
}

fn read(bytes: &[u8]) -> Result<Vec<i16>, WavError> {
    WavFile::parse(bytes)?.samples().collect()
}

/// A file of those chunks, written out by hand.
fn chunked(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WAVE".to_vec();
    for (name, content) in chunks {
        bytes.extend(*name);
        bytes.extend((content.len() as u32).to_le_bytes());
        bytes.extend(*content);
        bytes.extend(vec![0; content.len() % 2]);
    }
    bytes
}

const MONO_16: &[u8] = b"\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0";

#[test]
fn every_width_comes_to_16_bits_of_full_scale() {
    assert_eq!(
        read(&ints(1, 8, &[-128, 0, 127])),
        Ok(vec![-32768, 0, 32512])
    );
    assert_eq!(
        read(&ints(1, 16, &[-32768, 5, 32767])),
        Ok(vec![-32768, 5, 32767])
    );
    assert_eq!(
        read(&ints(1, 24, &[-(1 << 23), 0x1234, (1 << 23) - 1])),
        Ok(vec![-32768, 0x12, 32767])
    );
    assert_eq!(
        read(&ints(1, 32, &[i32::MIN, 0x1234_5678, i32::MAX])),
        Ok(vec![-32768, 0x1234, 32767])
    );
    assert_eq!(
        read(&floats(&[-1.0, 0.0, 0.5, 1.0, 7.0, -7.0])),
        Ok(vec![-32768, 0, 16384, 32767, 32767, -32768])
    );
}

#[test]
fn two_channels_are_mixed() {
    let bytes = ints(
        2,
        16,
        &[100, 200, -32768, -32768, 32767, 32767, 32767, -32768],
    );
    let wav = WavFile::parse(&bytes).unwrap();
    assert_eq!((wav.frames(), wav.rate()), (4, 8000));
    assert_eq!(read(&bytes), Ok(vec![150, -32768, 32767, 0]));
}

#[test]
fn chunks_of_odd_length_and_lengths_that_nobody_knew_are_read_past() {
    let bytes = chunked(&[
        (b"LIST", b"odd"),
        (b"fmt ", MONO_16),
        (b"data", b"\x01\0\xfe\xff"),
    ]);
    assert_eq!(read(&bytes), Ok(vec![1, -2]));
    for untold in [0x7fff_f000_u32, u32::MAX] {
        let mut piped = bytes.clone();
        let place = piped.len() - 8;
        piped[place..place + 4].copy_from_slice(&untold.to_le_bytes());
        assert_eq!(read(&piped), Ok(vec![1, -2]));
    }
    // Half a sample at the end is none.
    let half = chunked(&[(b"fmt ", MONO_16), (b"data", b"\x01\0\xfe")]);
    assert_eq!(read(&half), Ok(vec![1]));
}

#[test]
fn what_cannot_be_played_says_why() {
    let mut cut = ints(1, 16, &[1, 2, 3, 4]);
    cut.truncate(cut.len() - 3);
    assert_eq!(
        read(&cut),
        Err(WavError::BrokenOff {
            promised: 8,
            held: 5
        })
    );
    assert_eq!(
        read(b"ID3\x03 this is something else"),
        Err(WavError::NotWav)
    );
    assert_eq!(read(&[]), Err(WavError::NotWav));
    assert_eq!(read(&chunked(&[])), Err(WavError::Missing("data")));
    let no_format = chunked(&[(b"data", b"\x01\0")]);
    assert_eq!(read(&no_format), Err(WavError::Missing("fmt ")));
    assert_eq!(read(&ints(3, 16, &[0; 6])), Err(WavError::Channels(3)));
    assert_eq!(read(&ints(1, 16, &[])), Err(WavError::Empty));
    assert_eq!(read(&floats(&[0.0, f32::NAN])), Err(WavError::NotFinite));
    assert_eq!(read(&floats(&[f32::INFINITY])), Err(WavError::NotFinite));
    let mut slow = MONO_16.to_vec();
    slow[4..8].copy_from_slice(&4000_u32.to_le_bytes());
    slow[8..12].copy_from_slice(&8000_u32.to_le_bytes());
    let slow = chunked(&[(b"fmt ", &slow), (b"data", &[0, 0])]);
    assert_eq!(read(&slow), Err(WavError::Rate(4000)));
    // µ-law in a sound file.
    let mut ulaw = MONO_16.to_vec();
    ulaw[0] = 7;
    let ulaw = chunked(&[(b"fmt ", &ulaw), (b"data", &[0, 0])]);
    assert!(
        matches!(read(&ulaw), Err(WavError::Samples(_))),
        "{:?}",
        read(&ulaw)
    );
}

proptest! {
    #[test]
    fn no_file_upsets_it_or_gives_more_than_it_holds(
        flips in prop::collection::vec((0usize..120, any::<u8>()), 0..6),
        cut in 0usize..140,
        extensible: bool,
    ) {
        let mut bytes = if extensible {
            floats(&[0.25; 12])
        } else {
            ints(2, 16, &[77; 40])
        };
        for (at, byte) in flips {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(cut);
        if let Ok(wav) = WavFile::parse(&bytes) {
            let promised = wav.frames();
            prop_assert!(promised <= bytes.len() as u64);
            let read = wav.samples().take_while(Result::is_ok).count() as u64;
            prop_assert!(read <= promised);
        }
    }
}
