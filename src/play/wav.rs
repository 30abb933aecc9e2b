//! Sound files: RIFF/WAVE with linear samples. The only module that knows the
//! crate which reads them.

use hound::{SampleFormat, WavReader, WavSpec};

/// Rates that are taken, samples per second.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;

/// From here on a data chunk's length is what programs write that do not know
/// it yet, because they write into a pipe: then the sound ends with the file.
const UNTOLD_LENGTH: u32 = 0x7fff_0000;

/// Why a file is none that can be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WavError {
    /// The file does not begin as such a file does.
    #[error("no RIFF/WAVE file")]
    NotWav,
    /// A chunk is missing.
    #[error("the file has no {0:?} chunk")]
    Missing(&'static str),
    /// The file ends before the sound does.
    #[error("the file breaks off: it promises {promised} bytes of sound and holds {held}")]
    BrokenOff {
        /// Bytes of sound that the header announces.
        promised: u64,
        /// Bytes that are there.
        held: u64,
    },
    /// Compressed, or samples of another width.
    #[error("the samples are not linear with 8, 16, 24 or 32 bits ({0})")]
    Samples(String),
    /// More than two channels.
    #[error("{0} channels; one or two can be played")]
    Channels(u16),
    /// Too slow or too fast.
    #[error("{0} samples per second; 8000 to 48000 can be played")]
    Rate(u32),
    /// The file holds no sound.
    #[error("the file holds no sound")]
    Empty,
    /// A floating-point sample that is no number, or is infinite.
    #[error("a sample is no finite number")]
    NotFinite,
}

/// A sound file that can be read.
pub struct WavFile<'a> {
    reader: WavReader<Box<dyn std::io::Read + 'a>>,
    spec: WavSpec,
    frames: u64,
}

impl std::fmt::Debug for WavFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wav")
            .field("spec", &self.spec)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

impl<'a> WavFile<'a> {
    /// Reads what comes before the samples.
    ///
    /// # Errors
    /// [`WavError`]; the samples themselves may still bring one.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WavError> {
        let (format, data) = chunks(bytes)?;
        let reader = reader(format, data)?;
        let spec = reader.spec();
        if !(1..=2).contains(&spec.channels) {
            return Err(WavError::Channels(spec.channels));
        }
        if !RATES.contains(&spec.sample_rate) {
            return Err(WavError::Rate(spec.sample_rate));
        }
        let wide = match spec.sample_format {
            SampleFormat::Int => matches!(spec.bits_per_sample, 8 | 16 | 24 | 32),
            SampleFormat::Float => spec.bits_per_sample == 32,
        };
        if !wide {
            let told = format!("{:?} of {} bits", spec.sample_format, spec.bits_per_sample);
            return Err(WavError::Samples(told));
        }
        let frames = u64::from(reader.duration());
        if frames == 0 {
            return Err(WavError::Empty);
        }
        Ok(Self {
            reader,
            spec,
            frames,
        })
    }

    /// Samples per second.
    pub fn rate(&self) -> u32 {
        self.spec.sample_rate
    }

    /// Samples that follow, of one channel.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The samples, two channels mixed to one.
    ///
    /// # Errors
    /// Each of them may bring one, after which nothing follows that is of use.
    pub fn samples(self) -> Box<dyn Iterator<Item = Result<i16, WavError>> + 'a> {
        let channels = self.spec.channels;
        let odd = |error: hound::Error| WavError::Samples(error.to_string());
        match self.spec.sample_format {
            SampleFormat::Int => {
                let bits = self.spec.bits_per_sample;
                let samples = self.reader.into_samples::<i32>();
                mixed(
                    channels,
                    samples.map(move |s| Ok(to_16_bits(s.map_err(odd)?, bits))),
                )
            }
            SampleFormat::Float => {
                let samples = self.reader.into_samples::<f32>();
                mixed(channels, samples.map(move |s| from_unit(s.map_err(odd)?)))
            }
        }
    }
}

/// The contents of `fmt ` and `data`. The crate below would be led astray by
/// chunks of odd length, which are padded, and by lengths that nobody knew.
fn chunks(bytes: &[u8]) -> Result<(&[u8], &[u8]), WavError> {
    let body = bytes.strip_prefix(b"RIFF").and_then(|rest| rest.get(4..));
    let body = body.and_then(|rest| rest.strip_prefix(b"WAVE"));
    let mut rest = body.ok_or(WavError::NotWav)?;
    let mut format = None;
    while let Some((head, content)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, length @ ..] = *head;
        let (name, told) = ([a, b, c, d], u32::from_le_bytes(length));
        let length = usize::try_from(told).unwrap_or(usize::MAX);
        match &name {
            b"fmt " => format = content.get(..length),
            b"data" => {
                let format = format.ok_or(WavError::Missing("fmt "))?;
                let data = match content.get(..length) {
                    Some(data) => data,
                    None if told >= UNTOLD_LENGTH => content,
                    None => {
                        return Err(WavError::BrokenOff {
                            promised: u64::from(told),
                            held: content.len() as u64,
                        });
                    }
                };
                return Ok((format, data));
            }
            _ => {}
        }
        let padded = length.saturating_add(length % 2);
        rest = content.get(padded..).unwrap_or_default();
    }
    Err(WavError::Missing("data"))
}

/// Hands the two chunks on as a file of nothing else, with whole frames only.
fn reader<'a>(
    format: &'a [u8],
    data: &'a [u8],
) -> Result<WavReader<Box<dyn std::io::Read + 'a>>, WavError> {
    let block = format.get(12..14).and_then(|field| field.first_chunk());
    let block = block.map_or(1, |field| usize::from(u16::from_le_bytes(*field)).max(1));
    let data = &data[..data.len() - data.len() % block];
    let [format_length, data_length] =
        [format, data].map(|chunk| u32::try_from(chunk.len()).unwrap_or(u32::MAX).to_le_bytes());
    let head = [&b"RIFF\xff\xff\xff\xffWAVEfmt "[..], &format_length].concat();
    let middle = [&b"data"[..], &data_length].concat();
    let file = std::io::Read::chain(std::io::Cursor::new(head), format);
    let file = std::io::Read::chain(file, std::io::Cursor::new(middle));
    let file = std::io::Read::chain(file, data);
    WavReader::new(Box::new(file) as Box<dyn std::io::Read>)
        .map_err(|error| WavError::Samples(error.to_string()))
}

/// One sample for each frame.
fn mixed<'a>(
    channels: u16,
    mut samples: impl Iterator<Item = Result<i16, WavError>> + 'a,
) -> Box<dyn Iterator<Item = Result<i16, WavError>> + 'a> {
    if channels == 1 {
        return Box::new(samples);
    }
    Box::new(std::iter::from_fn(move || {
        let (left, right) = (samples.next()?, samples.next()?);
        let mix = |left, right| i32::midpoint(i32::from(left), i32::from(right)) as i16;
        Some(left.and_then(|left| Ok(mix(left, right?))))
    }))
}

/// The upper 16 of `bits` bits; fewer are brought to full scale.
fn to_16_bits(sample: i32, bits: u16) -> i16 {
    let scaled = match bits {
        8 => sample << 8,
        24 => sample >> 8,
        32 => sample >> 16,
        _ => sample,
    };
    // No sample is wider than it says; what would not fit is at full scale.
    scaled.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// Full scale is 1; beyond it is full scale too.
fn from_unit(sample: f32) -> Result<i16, WavError> {
    if sample.is_finite() {
        // `as` stops at the ends of the type.
        Ok((sample * 32768.0).round() as i16)
    } else {
        Err(WavError::NotFinite)
    }
}

#[cfg(test)]
mod tests;
