//! Opus (RFC 6716) by libopus, straight to 16 kHz mono. The only module that
//! knows the binding.
//!
//! What a packet holds is told by [`packet`] alone, without the library: so a
//! malformed one is refused before the library's state can be touched.

mod packet;

use audiopus::coder::Decoder as Libopus;
use audiopus::{Channels, MutSignals, SampleRate};

use self::packet::OpusPacket;
use crate::codec::{Codec, DecodeError, PayloadDecoder};

/// The least that libopus makes up, 2.5 ms.
const STEP: usize = 40;

/// Longest stretch that is made up before silence, 100 ms: what is lost by
/// then is no longer like what came before.
const MAX_CONCEALED: usize = 1_600;

/// How many samples at 16 kHz `payload` holds.
pub(crate) fn sample_count(payload: &[u8]) -> Result<usize, DecodeError> {
    OpusPacket::parse(payload)
        .map_or_else(|| Err(malformed(payload)), |packet| Ok(packet.samples()))
}

fn malformed(payload: &[u8]) -> DecodeError {
    DecodeError::Malformed {
        codec: Codec::Opus,
        len: payload.len(),
    }
}

/// The decoder of one stream; some 18 KiB.
pub(crate) struct OpusDecoder {
    libopus: Libopus,
    /// Samples in a frame of the last packet.
    frame: usize,
    /// Samples made up since the last packet.
    concealed: usize,
}

impl OpusDecoder {
    pub(crate) fn new() -> Self {
        let libopus = Libopus::new(SampleRate::Hz16000, Channels::Mono);
        Self {
            libopus: libopus.expect("16 kHz and mono are what libopus knows, and there is memory"),
            frame: 8 * STEP,
            concealed: 0,
        }
    }

    /// Runs libopus for exactly `samples`: of `payload`, of the copy of the
    /// frame before it that it carries, or without one of its own invention.
    fn run(
        &mut self,
        payload: Option<&[u8]>,
        copy: bool,
        samples: usize,
        out: &mut Vec<i16>,
    ) -> Result<(), audiopus::Error> {
        let start = out.len();
        out.resize(start + samples, 0);
        let input = payload.map(audiopus::packet::Packet::try_from).transpose();
        let result = input.and_then(|input| {
            let output = MutSignals::try_from(&mut out[start..])?;
            self.libopus.decode(input, output, copy)
        });
        match result {
            Ok(decoded) if decoded == samples => Ok(()),
            Ok(_) => Err(audiopus::Error::Opus(audiopus::ErrorCode::InternalError)),
            Err(error) => Err(error),
        }
        .inspect_err(|_| out.truncate(start))
    }

    /// As much as there is to be made up of `samples`, frame by frame.
    fn invent(&mut self, samples: usize, out: &mut Vec<i16>) -> usize {
        let room = MAX_CONCEALED - self.concealed.min(MAX_CONCEALED);
        let wanted = samples.min(room) / STEP * STEP;
        let mut done = 0;
        while done < wanted {
            let now = self.frame.min(wanted - done);
            if self.run(None, false, now, out).is_err() {
                break;
            }
            done += now;
        }
        self.concealed += done;
        done
    }
}

impl PayloadDecoder for OpusDecoder {
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), DecodeError> {
        Codec::Opus.sample_count(payload)?;
        let packet = OpusPacket::parse(payload).ok_or_else(|| malformed(payload))?;
        self.run(Some(payload), false, packet.samples(), out)
            .map_err(|_| malformed(payload))?;
        self.frame = packet.frame_samples();
        self.concealed = 0;
        Ok(())
    }

    /// The end of the gap comes from the copy that the next packet may carry of
    /// the frame before it (in-band FEC, RFC 6716, 2.1.7), the beginning from
    /// libopus' own invention, and what is between them is silence.
    fn conceal(&mut self, samples: usize, next: Option<&[u8]>, out: &mut Vec<i16>) -> usize {
        let start = out.len();
        let copied = next.and_then(|payload| {
            let packet = OpusPacket::parse(payload)?;
            let frame = packet.frame_samples();
            (packet.has_copy() && frame <= samples).then_some((payload, frame))
        });
        let from_copy = copied.map_or(0, |(_, frame)| frame);
        let mut concealed = self.invent(samples - from_copy, out);
        out.resize(start + samples - from_copy, 0);
        if let Some((payload, frame)) = copied {
            match self.run(Some(payload), true, frame, out) {
                Ok(()) => concealed += frame,
                Err(_) => out.resize(start + samples, 0),
            }
        }
        concealed
    }
}

#[cfg(test)]
mod tests;
