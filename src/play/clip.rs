//! A sound as the payloads that will be sent.

use std::time::Duration;

use asterscribe_codecs::{
    FRAME_MS, Resampler, SampleRate, SendFormat, StreamEncoder, UnsupportedRates,
};

use super::budget::{BytesReservation, SoundBudget};
use super::wav::{WavError, WavFile};

/// Samples that go through the resampler at a time.
const BLOCK: usize = 4096;

/// Error: a sound cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnplayableSound {
    /// The file cannot be read.
    #[error(transparent)]
    Wav(#[from] WavError),
    /// The file's sample rate is not supported by the resampler.
    #[error(transparent)]
    Rate(#[from] UnsupportedRates),
    /// The sound is longer than the limit.
    #[error("it lasts {} s; {} s can be played", .length.as_secs(), .limit.as_secs())]
    TooLong {
        /// Length of the sound.
        length: Duration,
        /// Longest sound that is played.
        limit: Duration,
    },
    /// Too much sound of all calls together waits to be played already.
    #[error("too much audio waits to be played")]
    NoRoom,
}

/// A sound, encoded and cut into packets.
#[derive(Debug)]
pub struct EncodedClip {
    format: SendFormat,
    payload: Vec<u8>,
    length: Duration,
    /// Memory reserved for the payload, given back with it.
    _held: BytesReservation,
}

impl EncodedClip {
    /// Out of a sound file. What it takes is reserved before it is allocated.
    ///
    /// # Errors
    /// [`UnplayableSound`].
    pub fn from_wav(
        file: &[u8],
        format: SendFormat,
        limit: Duration,
        budget: &SoundBudget,
    ) -> Result<Self, UnplayableSound> {
        let wav = WavFile::parse(file)?;
        let length = Duration::from_micros(wav.frames() * 1_000_000 / u64::from(wav.rate()));
        if length > limit {
            return Err(UnplayableSound::TooLong { length, limit });
        }
        let rate = SampleRate::new(wav.rate()).ok_or(WavError::Rate(0))?;
        let resampler = Resampler::new(rate, format.sample_rate())?;
        let samples = wav.frames() * u64::from(format.sample_rate().hz());
        let samples = samples.div_ceil(u64::from(rate.hz()));
        let packets = usize::try_from(samples)
            .unwrap_or(usize::MAX)
            .div_ceil(format.frame_samples());
        let bytes = packets.saturating_mul(format.frame_bytes());
        let held = budget.reserve(bytes).ok_or(UnplayableSound::NoRoom)?;
        let payload = encode(wav, resampler, format, bytes)?;
        Ok(Self {
            format,
            payload,
            length,
            _held: held,
        })
    }

    /// Format of its RTP payloads.
    pub fn format(&self) -> SendFormat {
        self.format
    }

    /// Length of the sound.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// Payload number `n`, a full frame; `None` behind the last.
    pub fn packet(&self, n: usize) -> Option<&[u8]> {
        self.payload.chunks(self.format.frame_bytes()).nth(n)
    }

    /// Length of sound that has been played once `n` packets are out.
    pub fn played(&self, n: usize) -> Duration {
        let played = Duration::from_millis(FRAME_MS * n as u64);
        played.min(self.length)
    }
}

#[cfg(test)]
impl EncodedClip {
    /// So many packets; number `n` holds `mark` and `n` over and over.
    pub(crate) fn marked(format: SendFormat, packets: usize, mark: u8) -> Self {
        let frame = |n: usize| [mark, n as u8].repeat(format.frame_bytes() / 2);
        Self {
            format,
            payload: (0..packets).flat_map(frame).collect(),
            length: Duration::from_millis(FRAME_MS * packets as u64),
            _held: SoundBudget::new(0).reserve(0).unwrap(),
        }
    }
}

/// The last frame is filled up with silence.
fn encode(
    wav: WavFile<'_>,
    mut resampler: Resampler,
    format: SendFormat,
    bytes: usize,
) -> Result<Vec<u8>, UnplayableSound> {
    let mut payload = Vec::with_capacity(bytes);
    let mut encoder = StreamEncoder::new(format);
    let (mut block, mut audio) = (Vec::with_capacity(BLOCK), Vec::new());
    let mut frame = Vec::with_capacity(format.frame_samples());
    let mut samples = wav.samples();
    loop {
        block.clear();
        for sample in samples.by_ref().take(BLOCK) {
            block.push(sample?);
        }
        let last = block.len() < BLOCK;
        resampler.push(&block, &mut audio);
        if last {
            resampler.flush(&mut audio);
            audio.resize(audio.len().next_multiple_of(format.frame_samples()), 0.0);
        }
        let whole = audio.len() - audio.len() % format.frame_samples();
        for samples in audio[..whole].chunks_exact(format.frame_samples()) {
            frame.clear();
            // `as` stops at the ends of the type.
            frame.extend(
                samples
                    .iter()
                    .map(|sample| (sample * 32768.0).round() as i16),
            );
            encoder.encode(&frame, &mut payload);
        }
        audio.drain(..whole);
        if last {
            return Ok(payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use asterscribe_codecs::g711;
    use hound::{SampleFormat, WavSpec, WavWriter};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A tone of 440 Hz at a quarter of full scale.
    fn tone(rate: u32, samples: u32) -> Vec<u8> {
        let spec = WavSpec {
            channels: 1,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
        for n in 0..samples {
            let phase = f64::from(n) / f64::from(rate) * 440.0 * std::f64::consts::TAU;
            writer.write_sample((phase.sin() * 8192.0) as i16).unwrap();
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    fn clip(file: &[u8], format: SendFormat) -> Result<EncodedClip, UnplayableSound> {
        EncodedClip::from_wav(file, format, MINUTE, &SoundBudget::new(1 << 20))
    }

    #[test]
    fn every_rate_becomes_whole_frames_of_the_right_length() {
        for rate in [8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000] {
            for format in SendFormat::ALL {
                // 1.01 s: half of the last frame is silence.
                let clip = clip(&tone(rate, rate + rate / 100), format).unwrap();
                let packets = (0..).map_while(|n| clip.packet(n));
                let lengths: Vec<_> = packets.map(<[u8]>::len).collect();
                assert_eq!(lengths, [format.frame_bytes(); 51], "{rate} {format}");
                assert!(clip.length() <= Duration::from_millis(1010));
                assert_eq!(clip.played(1), Duration::from_millis(20));
                assert_eq!(clip.played(51), clip.length());
            }
        }
    }

    #[test]
    fn the_tone_is_in_it_and_nothing_else() {
        for rate in [8000, 11_025, 44_100, 48_000] {
            let clip = clip(&tone(rate, rate), SendFormat::Ulaw).unwrap();
            let heard: Vec<f64> = (0..50)
                .flat_map(|n| clip.packet(n).unwrap())
                .map(|&code| f64::from(g711::decode_ulaw(code)))
                .collect();
            // Away from the ends, where the filter has less to go by; the tone fits in exactly.
            let middle = &heard[200..7800];
            let turn = |n: usize| (n as f64 / 8000.0 * 440.0 * std::f64::consts::TAU).sin_cos();
            let (mut sine, mut cosine) = (0.0, 0.0);
            for (n, sample) in (200..).zip(middle) {
                sine += sample * turn(n).0 * 2.0 / 7600.0;
                cosine += sample * turn(n).1 * 2.0 / 7600.0;
            }
            let level = sine.hypot(cosine);
            assert!((level / 8192.0 - 1.0).abs() < 0.01, "{rate}: {level}");
            // Within half a sample of its place.
            assert!(cosine.atan2(sine).abs() < 0.175, "{rate}: {sine} {cosine}");
            let rest = (200..)
                .zip(middle)
                .map(|(n, sample)| (sample - sine * turn(n).0 - cosine * turn(n).1).powi(2));
            let rest = (rest.sum::<f64>() / 7600.0).sqrt();
            // The quantisation of µ-law at this level.
            assert!(rest < 120.0, "{rate}: {rest} beside the tone");
        }
    }

    #[test]
    fn linear_audio_at_its_own_rate_is_the_file() {
        let file = tone(8000, 400);
        let clip = clip(&file, SendFormat::Slin).unwrap();
        let sent = [0, 1, 2].map(|n| clip.packet(n).unwrap()).concat();
        let swapped: Vec<u8> = file[44..]
            .chunks(2)
            .flat_map(|pair| [pair[1], pair[0]])
            .collect();
        assert_eq!(sent[..800], swapped);
        assert_eq!(sent[800..], [0; 160]);
    }

    #[test]
    fn what_is_too_much_is_refused_before_it_is_made() {
        let budget = SoundBudget::new(50 * 160);
        let file = tone(8000, 8000);
        let first = EncodedClip::from_wav(&file, SendFormat::Ulaw, MINUTE, &budget).unwrap();
        let second = EncodedClip::from_wav(&file, SendFormat::Ulaw, MINUTE, &budget);
        assert_eq!(second.unwrap_err(), UnplayableSound::NoRoom);
        drop(first);
        assert_eq!(budget.left(), 50 * 160);
        let second = Duration::from_secs(1);
        assert!(EncodedClip::from_wav(&file, SendFormat::Ulaw, second, &budget).is_ok());
        let file = tone(8000, 16_000);
        let refused = EncodedClip::from_wav(&file, SendFormat::Ulaw, second, &budget).unwrap_err();
        let length = Duration::from_secs(2);
        assert_eq!(
            refused,
            UnplayableSound::TooLong {
                length,
                limit: second
            }
        );
        assert_eq!(budget.left(), 50 * 160, "a refusal keeps nothing");
    }
}
