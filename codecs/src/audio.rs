//! One direction of one call: packets of whatever codec in, 16 kHz out.

use crate::codec::{Codec, DecodeError, PayloadDecoder};
use crate::conceal::LossConcealer;
use crate::payload::PayloadKind;
use crate::rate::SampleRate;
use crate::resample::Resampler;

/// Turns the payloads of one RTP stream, in order, into one stream of 16 kHz
/// mono audio with full scale 1.0.
///
/// Every method appends to the caller's `out`. What has been appended after a
/// [`flush`](Self::flush) lasts exactly as long as what was given, whatever
/// the packet lengths and codec changes; between flushes up to 15 ms of it are
/// held back by the resampler. Sample `n` since the last flush belongs to the
/// instant `n` / 16000 s on the same clock, so no delay needs to be deducted
/// but a codec's own, which is far below a packet (G.722 1.4 ms, Opus 6.5 ms).
///
/// Memory: a new one holds none. After the first packet it holds what
/// [`Resampler`] does, under 1 KiB at 8 kHz and nothing at 16 kHz, what
/// [`Codec::decoder`] and [`LossConcealer`] do, and two bytes per sample of the
/// longest packet so far, at most 8 KiB.
#[derive(Default)]
pub struct AudioDecoder {
    /// None before the first packet that could be decoded.
    stream: Option<CodecStream>,
    /// A packet's samples between decoder and resampler, empty between calls.
    samples: Vec<i16>,
}

struct CodecStream {
    codec: Codec,
    decoder: Box<dyn PayloadDecoder>,
    /// At the codec's rate, so that the resampler glides over the seams.
    concealer: LossConcealer,
    resampler: Resampler,
}

/// The content of a packet, as far as it could be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodedPacket {
    /// Codec of the packet's payload type.
    pub codec: Codec,
    /// Samples in the packet, at [`Codec::sample_rate`].
    pub samples_in: usize,
}

/// Room for samples that is kept between packets; longer ones, which only
/// somebody hostile sends, allocate anew.
const KEPT_SAMPLES: usize = 4_096;

impl std::fmt::Debug for AudioDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AudioDecoder")
            .field("codec", &self.codec())
            .finish_non_exhaustive()
    }
}

impl AudioDecoder {
    /// The start of a stream. Costs nothing until the first packet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes the payload of a packet with payload type `pt`.
    ///
    /// When the codec changes, the decoder is replaced; when its sample rate
    /// changes too, what the resampler held back goes to `out` first.
    ///
    /// # Errors
    /// `pt` is not audio, or the payload is none of its codec. Nothing has
    /// then changed, neither here nor in `out`: how long the packet would have
    /// lasted is for the caller to tell and to make up for by
    /// [`silence`](Self::silence).
    pub fn decode(
        &mut self,
        pt: u8,
        payload: &[u8],
        out: &mut Vec<f32>,
    ) -> Result<DecodedPacket, DecodeError> {
        let PayloadKind::Audio(codec) = PayloadKind::classify(pt) else {
            return Err(DecodeError::NotAudio(pt));
        };
        let stream = match &mut self.stream {
            Some(stream) if stream.codec == codec => {
                stream.decoder.decode(payload, &mut self.samples)?;
                stream
            }
            stream => {
                // Decoded before anything is replaced: a stray packet that is
                // refused must not disturb the stream it strayed into.
                let mut decoder = codec.decoder();
                decoder.decode(payload, &mut self.samples)?;
                let (concealer, resampler) = match stream.take() {
                    Some(old) => rest_after(old, codec, out),
                    None => rest_for(codec),
                };
                stream.insert(CodecStream {
                    codec,
                    decoder,
                    concealer,
                    resampler,
                })
            }
        };
        stream.concealer.good(&mut self.samples);
        stream.resampler.push(&self.samples, out);
        let samples_in = self.samples.len();
        self.empty();
        Ok(DecodedPacket { codec, samples_in })
    }

    /// Lets `samples_16k` / 16000 s of silence pass in place of packets that
    /// were never sent. It goes through the same resampler, so the audio before
    /// it fades out as the filter has it, without a click. A loss behind it is
    /// not concealed by what was heard before.
    ///
    /// `out` grows by that much at once; the caller bounds it.
    pub fn silence(&mut self, samples_16k: usize, out: &mut Vec<f32>) {
        match &mut self.stream {
            Some(stream) => {
                if samples_16k > 0 {
                    stream.concealer.reset();
                }
                stream.resampler.push_silence(samples_16k, out);
            }
            None => out.resize(out.len() + samples_16k, 0.0),
        }
    }

    /// Makes up `samples_16k` / 16000 s of audio in place of packets that were
    /// lost, and returns how many of these samples, from the first on, were
    /// synthesised; the rest is silence. Calls in a row continue the same loss,
    /// and what is long is mostly silence.
    ///
    /// Opus has a way of its own: for the first 100 ms, and for as much before
    /// the gap's end as `next` carries a copy of. `next` is payload type and
    /// payload of the packet after the gap, if it is there already; it must
    /// still be decoded. All others are continued by [`LossConcealer`].
    ///
    /// `out` grows by that much at once; the caller bounds it.
    pub fn conceal(
        &mut self,
        samples_16k: usize,
        next: Option<(u8, &[u8])>,
        out: &mut Vec<f32>,
    ) -> usize {
        let Some(stream) = &mut self.stream else {
            out.resize(out.len() + samples_16k, 0.0);
            return 0;
        };
        let same =
            |&(pt, _): &(u8, &[u8])| PayloadKind::classify(pt) == PayloadKind::Audio(stream.codec);
        let next = next.filter(same).map(|(_, payload)| payload);
        // Codecs with a way of their own are at 16 kHz, as they are to be.
        let mut made = stream.decoder.conceal(samples_16k, next, &mut self.samples);
        if self.samples.is_empty() {
            let count = stream.resampler.break_of(samples_16k);
            let made_up = stream.concealer.conceal(count, &mut self.samples);
            // Half a sample more or less: as many as there were in all.
            made = (made_up * samples_16k).checked_div(count).unwrap_or(0);
        }
        stream.resampler.push(&self.samples, out);
        self.empty();
        made
    }

    /// Appends what was held back. The next packet begins a new stretch of
    /// audio, of the same codec unless its payload type says otherwise.
    pub fn flush(&mut self, out: &mut Vec<f32>) {
        if let Some(stream) = &mut self.stream {
            stream.concealer.reset();
            stream.resampler.flush(out);
        }
    }

    /// The codec of the last packet that could be decoded.
    pub fn codec(&self) -> Option<Codec> {
        self.stream.as_ref().map(|stream| stream.codec)
    }

    fn empty(&mut self) {
        self.samples.clear();
        self.samples.shrink_to(KEPT_SAMPLES);
    }
}

/// Concealer and resampler that follow the decoder of `codec`, after the change from `old`: the old
/// ones, in full flow, if the sample rate stays, else new ones, with the old resampler flushed into
/// `out`.
fn rest_after(
    mut old: CodecStream,
    codec: Codec,
    out: &mut Vec<f32>,
) -> (LossConcealer, Resampler) {
    if old.resampler.from() == codec.sample_rate() {
        return (old.concealer, old.resampler);
    }
    old.resampler.flush(out);
    rest_for(codec)
}

fn rest_for(codec: Codec) -> (LossConcealer, Resampler) {
    (
        LossConcealer::new(codec.sample_rate()),
        resampler_for(codec),
    )
}

fn resampler_for(codec: Codec) -> Resampler {
    Resampler::new(codec.sample_rate(), SampleRate::OUTPUT)
        .expect("every codec decodes to a rate that is resampled")
}

#[cfg(test)]
mod tests;
