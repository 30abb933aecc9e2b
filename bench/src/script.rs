//! A party's side of a telephone call, made from recorded prompts at a fixed seed: some 40 % speech, some 8 utterances of 1 to 8 s a minute, line noise between.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use asterscribe_speech::segmenter::{Segmenter, SegmenterConfig};
use asterscribe_speech::{SAMPLES_PER_MS, Utterance};

use super::payload::{self, PACKET};

/// A prompt: 8 kHz, 16 bits, and what is said in it.
type ScriptPrompt = (&'static [u8], &'static str);

/// Recordings that a party may say, with their words.
#[derive(Debug, Clone)]
pub(super) struct PromptSet(Vec<(Vec<[i16; PACKET]>, String)>);

macro_rules! prompt {
    ($name:literal) => {
        (
            include_bytes!(concat!("../../fixtures/prompts/", $name, ".wav")),
            include_str!(concat!("../../fixtures/prompts/", $name, ".txt")),
        )
    };
}

const PROMPTS: [ScriptPrompt; 12] = [
    prompt!("account-number"),
    prompt!("call-back"),
    prompt!("check-internet"),
    prompt!("good-day"),
    prompt!("goodbye"),
    prompt!("internet-broken"),
    prompt!("internet-works"),
    prompt!("one-moment"),
    prompt!("phone-problem"),
    prompt!("support-greeting"),
    prompt!("thanks-for-help"),
    prompt!("what-number"),
];

impl PromptSet {
    /// Prompts of the fixtures: synthetic voices.
    pub(super) fn synthetic() -> Self {
        let prompt = |(wav, text): ScriptPrompt| (payload::samples(wav), text.trim().to_owned());
        Self(PROMPTS.map(prompt).to_vec())
    }

    /// Recordings that a list names, less those that are too long for an utterance: lines of
    /// NAME, seconds, 8 kHz WAV file and text, separated by tabs.
    pub(super) fn listed(list: &Path) -> Result<Self> {
        let text = fs::read_to_string(list);
        let text = text.with_context(|| format!("cannot read {}", list.display()))?;
        let prompts = text.lines().map(|line| {
            let mut fields = line.split('\t').skip(2);
            let path = fields
                .next()
                .with_context(|| format!("no sound file in {line:?}"))?;
            let words = fields.next().unwrap_or_default().to_owned();
            let wav = fs::read(path).with_context(|| format!("cannot read {path}"))?;
            Ok((payload::samples(&wav), words))
        });
        let mut prompts = prompts.collect::<Result<Vec<_>>>()?;
        prompts.retain(|(packets, _)| packets.len() <= LONGEST);
        ensure!(!prompts.is_empty(), "{} has no prompt", list.display());
        Ok(Self(prompts))
    }
}

/// Packets of a second, and of a minute.
const SECOND: usize = 50;
pub(super) const MINUTE: usize = 60 * SECOND;

/// Of so many utterances this many have one, two and three sentences.
const SENTENCES: [usize; 20] = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3];

/// Longest utterance, and the breath between two of its sentences, packets.
const LONGEST: usize = 8 * SECOND;
const BREATH: usize = 5;

/// Pauses are so many times as long as the utterance before them, in per cent; on average
/// that leaves 40 % speech.
const PAUSE: [usize; 2] = [90, 210];

/// No pause is shorter, packets: the segmenter shall end the utterance in it.
const SHORTEST_PAUSE: usize = SECOND;

/// Milliseconds of a packet.
const PACKET_MS: u64 = 20;

/// An utterance as it was put into the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SpokenUtterance {
    /// Where the last packet with a voice ends, milliseconds.
    pub(super) end_ms: u64,
    /// The words.
    pub(super) words: String,
}

/// One party's side of a call.
#[derive(Debug, Clone)]
pub(super) struct PartyScript {
    /// Audio in packets of 20 ms, 8 kHz.
    pcm: Vec<[i16; PACKET]>,
    /// Utterances that were put into the audio, in order.
    pub(super) spoken: Vec<SpokenUtterance>,
}

impl PartyScript {
    /// A side of so many minutes, of synthetic voices.
    pub(super) fn new(minutes: u32, seed: u64) -> Self {
        Self::of(&PromptSet::synthetic(), minutes, seed)
    }

    /// A side of so many minutes.
    pub(super) fn of(prompts: &PromptSet, minutes: u32, seed: u64) -> Self {
        let mut chance = ScriptChance(seed);
        let length = minutes as usize * MINUTE;
        let mut script = Self {
            pcm: Vec::with_capacity(length),
            spoken: Vec::new(),
        };
        script.pause(SECOND, &mut chance);
        loop {
            let (utterance, words) = utterance(prompts, &mut chance);
            if script.pcm.len() + utterance.len() + SHORTEST_PAUSE > length {
                break;
            }
            let voiced = utterance.iter().rposition(payload::is_loud).unwrap_or(0);
            let end_ms = (script.pcm.len() + voiced + 1) as u64 * PACKET_MS;
            script.pcm.extend(&utterance);
            script.spoken.push(SpokenUtterance { end_ms, words });
            let pause = utterance.len() * chance.between(PAUSE[0], PAUSE[1]) / 100;
            let room = length - script.pcm.len();
            script.pause(pause.max(SHORTEST_PAUSE).min(room), &mut chance);
        }
        let rest = length - script.pcm.len();
        script.pause(rest, &mut chance);
        script
    }

    fn pause(&mut self, packets: usize, chance: &mut ScriptChance) {
        self.pcm.extend((0..packets).map(|_| chance.noise()));
    }

    /// The prompt as packets of µ-law.
    pub(super) fn packets(&self) -> Vec<[u8; PACKET]> {
        self.pcm.iter().map(payload::encode).collect()
    }

    /// The prompt as the service hears it: 16 kHz.
    pub(super) fn samples(&self) -> Result<Vec<f32>> {
        payload::decoded(self.packets())
    }

    /// Utterances that the segmenter, at its defaults, cuts out of the audio.
    pub(super) fn utterances(&self) -> Result<Vec<Utterance>> {
        let mut segmenter = Segmenter::new(&SegmenterConfig::default());
        let mut utterances = Vec::new();
        segmenter.push(&self.samples()?, &mut utterances);
        segmenter.end(&mut utterances);
        Ok(utterances)
    }

    /// For each utterance, milliseconds until the packet with which the segmenter knows that it
    /// has ended: from its last voiced packet, and from the last frame that the detector takes
    /// for voice.
    pub(super) fn decisions(&self) -> Result<Vec<[f64; 2]>> {
        let config = SegmenterConfig::default();
        let mut segmenter = Segmenter::new(&config);
        let (mut done, mut decided) = (Vec::new(), Vec::new());
        let packet = (PACKET_MS * SAMPLES_PER_MS) as usize;
        for (n, samples) in self.samples()?.chunks(packet).enumerate() {
            segmenter.push(samples, &mut done);
            let now_ms = (n as u64 + 1) * PACKET_MS;
            decided.extend(done.drain(..).map(|utterance| {
                // What is kept of the silence behind the voice.
                let kept = config.post_roll.as_millis() as f64;
                let heard_ms = utterance.end() as f64 / SAMPLES_PER_MS as f64 - kept;
                (utterance.end() / SAMPLES_PER_MS, now_ms, heard_ms)
            }));
        }
        // The one that ends what was said; a breath may have ended one before it.
        let delay = |spoken: &SpokenUtterance| {
            let of_it = |(end_ms, ..): &&(u64, u64, f64)| *end_ms >= spoken.end_ms;
            let (_, now_ms, heard_ms) = *decided.iter().find(of_it)?;
            Some([
                now_ms as f64 - spoken.end_ms as f64,
                now_ms as f64 - heard_ms,
            ])
        };
        Ok(self.spoken.iter().filter_map(delay).collect())
    }

    /// Words of all utterances.
    pub(super) fn words(&self) -> Vec<String> {
        let words = self
            .spoken
            .iter()
            .flat_map(|spoken| spoken.words.split(' '));
        words.map(str::to_owned).collect()
    }
}

fn utterance(
    PromptSet(prompts): &PromptSet,
    chance: &mut ScriptChance,
) -> (Vec<[i16; PACKET]>, String) {
    let sentences = SENTENCES[chance.between(0, SENTENCES.len() - 1)];
    let (mut audio, mut words) = (Vec::new(), Vec::<&str>::new());
    for _ in 0..sentences {
        let (sentence, text) = &prompts[chance.between(0, prompts.len() - 1)];
        if audio.len() + BREATH + sentence.len() > LONGEST {
            break;
        }
        if !audio.is_empty() {
            audio.extend((0..BREATH).map(|_| chance.noise()));
        }
        audio.extend(sentence);
        words.push(text);
    }
    (audio, words.join(" "))
}

/// Numbers that are the same in every run (a linear congruential generator, the upper bits).
struct ScriptChance(u64);

impl ScriptChance {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    /// A number from `least` to `most`, both included.
    fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.next() as usize % (most - least + 1)
    }

    /// Line noise some 60 dB below full scale.
    fn noise(&mut self) -> [i16; PACKET] {
        std::array::from_fn(|_| (self.next() % 64) as i16 - 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_shaped_like_a_call_and_the_same_each_time() {
        let script = PartyScript::new(5, 1);
        assert_eq!(script.packets().len(), 5 * MINUTE);
        assert_eq!(script.packets(), PartyScript::new(5, 1).packets());
        assert_ne!(script.packets(), PartyScript::new(5, 2).packets());
        assert!(
            (35..=45).contains(&script.spoken.len()),
            "{}",
            script.spoken.len()
        );
        let utterances = script.utterances().unwrap();
        let heard: usize = utterances.iter().map(|one| one.samples.len()).sum();
        let share = heard as f64 / (5.0 * 60.0 * 16_000.0);
        assert!((0.35..0.5).contains(&share), "{share}");
        assert!(utterances.iter().all(|one| one.samples.len() < 10 * 16_000));
    }

    #[test]
    fn every_utterance_is_decided_on_after_the_hang_over() {
        let script = PartyScript::new(2, 1);
        let delays = script.decisions().unwrap();
        assert_eq!(delays.len(), script.spoken.len());
        for [spoken, heard] in delays {
            assert!((500.0..1_000.0).contains(&spoken), "{spoken}");
            assert!((480.0..=540.0).contains(&heard), "{heard}");
        }
    }
}
