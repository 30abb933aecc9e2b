//! Row N1 of the targets: concealment of lost packets must not cost words.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;

use asterscribe_codecs::{AudioDecoder, g711};
use asterscribe_recognition::Transcriber;
use asterscribe_recognition::engine::{EngineConfig, LoadedModel};
use asterscribe_recognition::model::SpeechModel;
use asterscribe_speech::{DecodeOptions, SAMPLES_PER_MS};
use asterscribe_testkit::fixture;
use asterscribe_testkit::wav::Sound;
use asterscribe_testkit::words::WordErrors;

use crate::replay::rig::Chance;

/// Octets of µ-law in a packet, 20 ms, and how many samples become of them.
const PACKET: usize = 160;
const LENGTH: usize = 320;

/// Silence around a sentence, as the segmenter leaves some.
const MARGIN: usize = 200 * SAMPLES_PER_MS as usize;

const SEEDS: u64 = 3;

/// How packets get lost.
#[derive(Clone, Copy)]
struct Network {
    name: &'static str,
    /// Chances of a loss in a hundred, after a packet that came and after one that was lost.
    loss: [usize; 2],
}

/// The demo model hears every word of the prompts at 20 %, however the holes are filled.
const NETWORKS: [Network; 4] = [
    Network {
        name: "20 %, uniform",
        loss: [20, 20],
    },
    Network {
        name: "30 %, uniform",
        loss: [30, 30],
    },
    Network {
        name: "40 %, uniform",
        loss: [40, 40],
    },
    Network {
        name: "30 %, bursts of 60 ms",
        loss: [14, 67],
    },
];

type Fill = fn(&mut AudioDecoder, &mut Vec<f32>);

const SILENCE: Fill = |decoder, out| decoder.silence(LENGTH, out);
const CONCEALED: Fill = |decoder, out| {
    decoder.conceal(LENGTH, None, out);
};

#[test]
fn concealment_costs_no_words() {
    let whisper = LoadedModel::load(SpeechModel::demo().unwrap(), EngineConfig::default()).unwrap();
    let mut worker = whisper.transcriber().unwrap();
    let sentences = sentences();
    let mut errors = |lost: &dyn Fn(u64, usize) -> Vec<bool>, fill: Fill| {
        let mut errors = WordErrors::default();
        for (n, (text, payload)) in (0..).zip(&sentences) {
            let audio = heard(payload, &lost(n, payload.len() / PACKET), fill);
            let text_heard = worker
                .transcribe(&audio, &DecodeOptions::default())
                .unwrap()
                .text;
            errors = errors.plus(WordErrors::between(text, &text_heard));
        }
        errors
    };
    let clean = errors(&|_, packets| vec![false; packets], SILENCE);
    println!(
        "no loss: {} of {} words wrong",
        clean.total(),
        clean.reference
    );
    assert!(clean.reference > 60, "too little is said to judge by");

    let mut total = [WordErrors::default(); 2];
    for network in NETWORKS {
        let mut sum = [WordErrors::default(); 2];
        for seed in 1..=SEEDS {
            let lost = |n: u64, packets| network.lost(packets, seed * 1_000 + n);
            sum[0] = sum[0].plus(errors(&lost, SILENCE));
            sum[1] = sum[1].plus(errors(&lost, CONCEALED));
        }
        let [silence, concealed] = sum.map(|errors| errors.total());
        println!(
            "{}: of {} words {silence} wrong with silence, {concealed} concealed",
            network.name, sum[0].reference
        );
        total = [total[0].plus(sum[0]), total[1].plus(sum[1])];
    }
    let [silence, concealed] = total;
    println!(
        "together: {:.1} % and {:.1} %",
        silence.rate() * 100.0,
        concealed.rate() * 100.0
    );
    assert!(silence.total() > clean.total(), "the losses did not show");
    assert!(
        concealed.total() <= silence.total(),
        "{concealed:?}, {silence:?}"
    );
}

impl Network {
    fn lost(&self, packets: usize, seed: u64) -> Vec<bool> {
        let mut chance = Chance::new(seed);
        let mut lost = false;
        let next = |_| {
            lost = chance.percent(self.loss[usize::from(lost)]);
            lost
        };
        (0..packets).map(next).collect()
    }
}

/// Words of the prompts, and their sound as µ-law in whole packets.
fn sentences() -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(fixture::path("prompts")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wav"));
    paths.sort();
    let sentence = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.with_extension("txt")).unwrap();
        let samples = Sound::read(&path).unwrap().samples;
        let coded = samples.iter().map(|&sample| g711::encode_ulaw(sample));
        (text, coded.take(samples.len() / PACKET * PACKET).collect())
    };
    paths.into_iter().map(sentence).collect()
}

/// Samples that reach the recogniser, 16 kHz.
fn heard(payload: &[u8], lost: &[bool], fill: Fill) -> Vec<i16> {
    let (mut decoder, mut audio) = (AudioDecoder::new(), vec![0.0; MARGIN]);
    for (packet, lost) in payload.chunks(PACKET).zip(lost) {
        if *lost {
            fill(&mut decoder, &mut audio);
        } else {
            decoder.decode(0, packet, &mut audio).unwrap();
        }
    }
    decoder.flush(&mut audio);
    audio.resize(audio.len() + MARGIN, 0.0);
    audio
        .iter()
        .map(|sample| (sample * 32768.0) as i16)
        .collect()
}
