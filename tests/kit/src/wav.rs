//! Sound files of one channel of 16-bit samples: all that the prompts are.

use std::fs;
use std::path::Path;

use crate::{Error, Result};

/// A sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sound {
    /// Samples per second.
    pub rate: u32,
    /// The samples.
    pub samples: Vec<i16>,
}

impl Sound {
    /// Reads a RIFF/WAVE file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(Error::io(format!("cannot read {}", path.display())))?;
        Self::parse(&bytes).ok_or_else(|| {
            Error::Failed(format!(
                "{} is no mono 16-bit PCM sound file",
                path.display()
            ))
        })
    }

    /// Bytes of a file that [`read`](Self::read) reads.
    ///
    /// # Errors
    /// The file would be longer than one of this kind can be (4 GiB).
    pub fn to_file(&self) -> Result<Vec<u8>> {
        let data: Vec<u8> = self.samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        let length = u32::try_from(36 + data.len());
        let length = length.map_err(|_| Error::Failed("too long a sound".to_owned()))?;
        let mut file = b"RIFF".to_vec();
        file.extend(length.to_le_bytes());
        file.extend(b"WAVEfmt ");
        // 16 octets of format: linear, mono, samples and octets a second, octets and bits of a sample.
        file.extend(16u32.to_le_bytes());
        file.extend([1u16, 1].map(u16::to_le_bytes).concat());
        file.extend([self.rate, 2 * self.rate].map(u32::to_le_bytes).concat());
        file.extend([2u16, 16].map(u16::to_le_bytes).concat());
        file.extend(b"data");
        file.extend((length - 36).to_le_bytes());
        file.extend(data);
        Ok(file)
    }

    /// Length in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.samples.len() as u64 * 1000 / u64::from(self.rate)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let body = bytes
            .strip_prefix(b"RIFF")?
            .get(4..)?
            .strip_prefix(b"WAVE")?;
        let format = chunk(body, b"fmt ")?;
        let field = |at: usize| Some(u16::from_le_bytes([*format.get(at)?, *format.get(at + 1)?]));
        let (pcm, channels, bits) = (field(0)?, field(2)?, field(14)?);
        let rate = u32::from(field(4)?) | u32::from(field(6)?) << 16;
        if (pcm, channels, bits) != (1, 1, 16) || rate == 0 {
            return None;
        }
        let (pairs, _) = chunk(body, b"data")?.as_chunks();
        Some(Self {
            rate,
            samples: pairs.iter().map(|&pair| i16::from_le_bytes(pair)).collect(),
        })
    }
}

fn chunk<'a>(mut body: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    loop {
        let length = u32::from_le_bytes(*body.get(4..)?.first_chunk()?) as usize;
        let content = body.get(8..)?;
        if body.starts_with(name) {
            // A file that was cut off, or written to a pipe, holds less than it says.
            return Some(&content[..length.min(content.len())]);
        }
        // Chunks begin at even places.
        body = content.get(length.checked_add(length % 2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file() -> Vec<u8> {
        let mut bytes = b"RIFF\x34\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0".to_vec();
        bytes.extend(b"data\x04\0\0\0\x01\0\xfe\xff");
        bytes
    }

    #[test]
    fn samples_are_read_past_other_chunks_of_odd_length() {
        assert_eq!(
            Sound::parse(&file()),
            Some(Sound {
                rate: 8000,
                samples: vec![1, -2]
            })
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rate in 1u32..200_000, samples: Vec<i16>) {
            let sound = Sound { rate, samples };
            prop_assert_eq!(Sound::parse(&sound.to_file().unwrap()), Some(sound));
        }

        #[test]
        fn no_file_upsets_the_parser(at in 0usize..60, byte: u8, cut in 0usize..70) {
            let mut bytes = file();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut);
            if let Some(sound) = Sound::parse(&bytes) {
                prop_assert!(sound.rate > 0);
            }
        }
    }
}
