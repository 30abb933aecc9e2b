//! Speech of a party: samples at 8 kHz, and RTP packets of them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use asterscribe_testkit::Result;
use asterscribe_testkit::chance::Chance;
use asterscribe_testkit::pcap::{self, Packet};
use asterscribe_testkit::real_speech::Prompt;
use asterscribe_testkit::wav::Sound;

/// Samples of a millisecond.
pub(crate) const MS: usize = 8;

/// Samples of a packet of 20 ms.
const PACKET: usize = 20 * MS;

/// Pauses between prompts, milliseconds, in turn.
const PAUSES_MS: [usize; 6] = [700, 200, 1_500, 400, 2_000, 1_000];

/// A prompt within what a party says.
pub(crate) struct Spoken {
    /// Place at which the prompt's voice begins and ends, milliseconds.
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    pub(crate) text: String,
}

/// Samples of a party, and the prompts in them.
pub(crate) struct Party {
    pub(crate) samples: Vec<f64>,
    pub(crate) spoken: Vec<Spoken>,
}

impl Party {
    /// Prompts one after the other, each cut to its voice, with pauses of 0.2 to 2 s.
    pub(crate) fn says<'a>(prompts: impl Iterator<Item = &'a Prompt>) -> Result<Self> {
        let mut samples = vec![0.0; 500 * MS];
        let mut spoken = Vec::new();
        for (prompt, pause) in prompts.zip(PAUSES_MS.iter().cycle()) {
            let sound = prompt.sound()?;
            let from = samples.len();
            samples.extend(
                voice(&sound.samples)
                    .iter()
                    .map(|&sample| f64::from(sample)),
            );
            let ms = |samples: usize| (samples / MS) as u64;
            spoken.push(Spoken {
                from_ms: ms(from),
                to_ms: ms(samples.len()),
                text: prompt.text.clone(),
            });
            samples.resize(samples.len() + pause * MS, 0.0);
        }
        // The last word shall not be cut off by the end of the capture.
        samples.resize(samples.len() + 2_000 * MS, 0.0);
        Ok(Self { samples, spoken })
    }

    /// Mean power of the speech.
    fn power(&self) -> f64 {
        let ms = |at: u64| at as usize * MS;
        let voices = self.spoken.iter();
        let voiced = voices.flat_map(|said| &self.samples[ms(said.from_ms)..ms(said.to_ms)]);
        let (sum, count) = voiced.fold((0.0, 0usize), |(sum, count), sample| {
            (sum + sample * sample, count + 1)
        });
        sum / count.max(1) as f64
    }

    /// The party with white noise so many decibels below the voice.
    pub(crate) fn with_noise(mut self, decibels: f64) -> Self {
        // Evenly spread from -1 to 1 it has a power of a third.
        let gain = (3.0 * self.power() / 10f64.powf(decibels / 10.0)).sqrt();
        let mut chance = Chance(1);
        for sample in &mut self.samples {
            *sample += gain * chance.next_unit();
        }
        self
    }

    /// The party with another's voice so many decibels below, over and between the words.
    pub(crate) fn with_another(mut self, other: &Self, decibels: f64) -> Self {
        let ratio = self.power() / other.power() / 10f64.powf(decibels / 10.0);
        let gain = ratio.sqrt();
        for (sample, other) in self.samples.iter_mut().zip(&other.samples) {
            *sample += gain * other;
        }
        self
    }

    /// Prompts, each with so much of the silence before and behind it, milliseconds.
    pub(crate) fn cut(&self, before_ms: u64, behind_ms: u64) -> impl Iterator<Item = Sound> {
        self.spoken.iter().map(move |said| {
            let sample = |ms: u64| (ms as usize * MS).min(self.samples.len());
            let from = sample(said.from_ms.saturating_sub(before_ms));
            let part = &self.samples[from..sample(said.to_ms + behind_ms)];
            Sound {
                rate: 1_000 * MS as u32,
                samples: part.iter().map(|&sample| sample as i16).collect(),
            }
        })
    }

    /// Packets of RTP in µ-law, as a capture from a port of its own.
    pub(crate) fn packets(&self, port: u16) -> Vec<Packet> {
        let packet = |(number, part): (usize, &[f64])| {
            let count = number as u32;
            let mut payload = vec![0x80, 0];
            payload.extend((number as u16).to_be_bytes());
            payload.extend((count * PACKET as u32).to_be_bytes());
            payload.extend(u32::from(port).to_be_bytes());
            payload.extend(part.iter().map(|&sample| ulaw(sample)));
            Packet {
                at: Duration::from_millis(u64::from(count) * 20),
                source: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
                destination: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9),
                payload,
            }
        };
        let parts = self.samples.chunks_exact(PACKET);
        parts.enumerate().map(packet).collect()
    }
}

/// A capture of several parties, all at once.
pub(crate) fn capture(parties: &[Party]) -> Result<Vec<u8>> {
    let numbered = parties.iter().zip(10_000..);
    let mut packets: Vec<_> = numbered
        .flat_map(|(party, port)| party.packets(port))
        .collect();
    packets.sort_by_key(|packet| packet.at);
    let mut bytes = Vec::new();
    pcap::write(&mut bytes, &packets).map_err(crate::failed(Path::new("a capture")))?;
    Ok(bytes)
}

/// A recording without what is 40 dB below its loudest 10 ms at either end.
fn voice(samples: &[i16]) -> &[i16] {
    let block = 10 * MS;
    let loudness = |part: &[i16]| -> f64 { part.iter().map(|&s| f64::from(s).powi(2)).sum() };
    let blocks: Vec<f64> = samples.chunks(block).map(loudness).collect();
    let least = blocks.iter().copied().fold(0.0, f64::max) / 1e4;
    let is_voice = |&power: &f64| power > least;
    let first = blocks.iter().position(is_voice).unwrap_or_default();
    let last = blocks.iter().rposition(is_voice).unwrap_or_default();
    let end = samples.len().min((last + 1) * block);
    &samples[first * block..end]
}

/// An octet of µ-law (ITU-T G.711): sign, exponent and four bits of a logarithm.
fn ulaw(sample: f64) -> u8 {
    let sample = sample.clamp(-32_635.0, 32_635.0) as i32;
    let magnitude = sample.unsigned_abs() + 132;
    let exponent = (magnitude >> 7).ilog2();
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (exponent << 4 | mantissa) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the tables in G.711, for 16-bit samples.
    #[test]
    fn octets_are_those_of_the_recommendation() {
        for (sample, octet) in [
            (0.0, 0xff),
            (-1.0, 0x7f),
            (32_635.0, 0x80),
            (-32_768.0, 0x00),
            (1_000.0, 0xce),
            (-1_000.0, 0x4e),
        ] {
            assert_eq!(ulaw(sample), octet, "{sample}");
        }
    }

    #[test]
    fn noise_and_another_voice_have_the_level_that_was_asked_for() {
        let party = |amplitude: f64| Party {
            samples: (0..8_000)
                .map(|n| amplitude * f64::from(n % 2 * 2 - 1))
                .collect(),
            spoken: vec![Spoken {
                from_ms: 0,
                to_ms: 1_000,
                text: String::new(),
            }],
        };
        let clean = party(1_000.0);
        let power = clean.power();
        let added = |noisy: Party| -> f64 {
            let pairs = noisy.samples.iter().zip(&clean.samples);
            pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 8_000.0
        };
        let noise = added(party(1_000.0).with_noise(20.0));
        assert!((power / noise / 100.0 - 1.0).abs() < 0.05, "{noise}");
        let other = added(party(1_000.0).with_another(&party(50.0), 10.0));
        assert!((power / other / 10.0 - 1.0).abs() < 0.01, "{other}");
    }

    #[test]
    fn silence_around_a_voice_is_cut_off() {
        let mut samples = vec![1i16; 800];
        samples.extend([1_000; 400]);
        samples.extend([2; 300]);
        assert_eq!(voice(&samples), &[1_000; 400]);
        assert_eq!(voice(&[]), &[0i16; 0]);
    }
}
