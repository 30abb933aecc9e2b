//! Audio that the flows of the bench carry.

use std::path::Path;

use anyhow::{Context, Result};
use asterscribe_codecs::AudioDecoder;
use asterscribe_codecs::g711::encode_ulaw;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::script::{PartyScript, PromptSet};

/// Samples, and bytes, of a 20 ms packet of µ-law.
pub(super) const PACKET: usize = 160;

/// Three of the recorded prompts: synthetic voices, 8 kHz, 16 bits.
const PROMPTS: [&[u8]; 3] = [
    include_bytes!("../../fixtures/prompts/support-greeting.wav"),
    include_bytes!("../../fixtures/prompts/account-number.wav"),
    include_bytes!("../../fixtures/prompts/phone-problem.wav"),
];

/// Bytes before the samples in each of them.
const WAV_HEADER: usize = 44;

/// Packets of background noise after each prompt: long enough to end an utterance.
const PAUSE: usize = 50;

/// Mean magnitude below which 20 ms of a prompt are no voice.
const QUIET: u64 = 200;

/// The call that is repeated: how long, and by what chance.
const CALL_MINUTES: u32 = 3;
/// Minutes of a call with people's prompts, of which there are many more.
const PEOPLE_MINUTES: u32 = 12;
const CALL_SEED: u64 = 1;

/// Kinds of audio.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub(super) enum BenchPayload {
    /// Digital silence.
    Silence,
    /// Sentences with a second of line noise after each, some 70 % speech.
    Speech,
    /// Speech without a pause: one utterance that does not end.
    Monologue,
    /// A party's side of a call, three minutes of it.
    Call,
}

impl BenchPayload {
    /// The audio, to be repeated for ever: packets of µ-law; of a call, with the prompts of a
    /// list.
    pub(super) fn packets_of(self, list: Option<&Path>) -> Result<Vec<[u8; PACKET]>> {
        let Some(list) = list.filter(|_| self == Self::Call) else {
            return Ok(self.packets());
        };
        let prompts = PromptSet::listed(list)?;
        Ok(PartyScript::of(&prompts, PEOPLE_MINUTES, CALL_SEED).packets())
    }

    /// The audio, to be repeated for ever: packets of µ-law.
    pub(super) fn packets(self) -> Vec<[u8; PACKET]> {
        let spoken = PROMPTS.map(samples);
        match self {
            Self::Silence => vec![encode(&[0; PACKET])],
            Self::Speech => spoken
                .iter()
                .flat_map(|prompt| prompt.iter().copied().chain(noise()))
                .map(|packet| encode(&packet))
                .collect(),
            Self::Monologue => spoken
                .iter()
                .flatten()
                .filter(|packet| is_loud(packet))
                .map(encode)
                .collect(),
            Self::Call => PartyScript::new(CALL_MINUTES, CALL_SEED).packets(),
        }
    }
}

/// Samples of a prompt in whole packets; the rest that does not fill one is left out.
pub(super) fn samples(wav: &[u8]) -> Vec<[i16; PACKET]> {
    let samples: Vec<_> = wav[WAV_HEADER..]
        .chunks_exact(2)
        .map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]]))
        .collect();
    samples.as_chunks().0.to_vec()
}

/// White noise some 60 dB below full scale.
fn noise() -> impl Iterator<Item = [i16; PACKET]> {
    let mut state = 1u32;
    (0..PAUSE).map(move |_| {
        std::array::from_fn(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i16 / 1024
        })
    })
}

/// A packet's samples as µ-law.
pub(super) fn encode(samples: &[i16; PACKET]) -> [u8; PACKET] {
    samples.map(encode_ulaw)
}

/// Packets of µ-law as the service hears them: 16 kHz.
pub(super) fn decoded(packets: impl IntoIterator<Item = [u8; PACKET]>) -> Result<Vec<f32>> {
    let (mut decoder, mut samples) = (AudioDecoder::default(), Vec::new());
    for packet in packets {
        decoder
            .decode(0, &packet, &mut samples)
            .context("a payload of our own was refused")?;
    }
    decoder.flush(&mut samples);
    Ok(samples)
}

/// Whether the packet holds a voice.
pub(super) fn is_loud(samples: &[i16; PACKET]) -> bool {
    loudness(samples) >= QUIET
}

fn loudness(samples: &[i16; PACKET]) -> u64 {
    let sum: u64 = samples
        .iter()
        .map(|sample| u64::from(sample.unsigned_abs()))
        .sum();
    sum / PACKET as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_what_its_name_says() {
        let count = |payload: BenchPayload| payload.packets().len();
        assert_eq!(BenchPayload::Silence.packets(), [[0xff; PACKET]]);
        let (speech, monologue) = (count(BenchPayload::Speech), count(BenchPayload::Monologue));
        // The prompts last 8.5 s, less a part of a packet each.
        assert!((420..=430).contains(&(speech - 3 * PAUSE)), "{speech}");
        assert!(
            monologue > 250 && monologue < speech - 3 * PAUSE,
            "{monologue}"
        );
    }
}
