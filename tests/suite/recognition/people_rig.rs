//! Real weights and recordings of people, for the tests with a real model.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::path::PathBuf;

use asterscribe_codecs::{AudioDecoder, g711};
use asterscribe_recognition::engine::{EngineConfig, LoadedModel};
use asterscribe_recognition::model::SpeechModel;
use asterscribe_recognition::transcriber::WhisperTranscriber;
use asterscribe_speech::SAMPLES_PER_MS;
use asterscribe_testkit::available;
use asterscribe_testkit::real_speech::{List, Precision, RealSpeech, Weights};

/// Silence before and behind an utterance, as the segmenter leaves some.
pub(crate) const MARGIN_MS: u64 = 240;

/// Octets of µ-law in a packet, 20 ms.
const PACKET: usize = 160;

/// Weights in the form of one engine.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    pub(crate) weights: Weights,
    pub(crate) path: PathBuf,
}

impl Form {
    pub(crate) fn transcriber(&self) -> WhisperTranscriber {
        let model = SpeechModel::open(&self.path).unwrap();
        let loaded = LoadedModel::load(model, EngineConfig::default()).unwrap();
        loaded.transcriber().unwrap()
    }

    pub(crate) fn is_ctranslate2(&self) -> bool {
        self.path.is_dir()
    }

    pub(crate) fn is_multilingual(&self) -> bool {
        self.weights == Weights::Base
    }
}

/// Weights and recordings, where they can be had.
pub(crate) fn material() -> Option<RealSpeech> {
    available(RealSpeech::provide())
}

/// Both models in the forms of both engines.
pub(crate) fn forms(material: &RealSpeech) -> Vec<Form> {
    let both = |weights| {
        let paths = [
            material.ctranslate2(weights),
            material.ggml(weights, Precision::Q8),
        ];
        paths.map(|path| Form { weights, path })
    };
    Weights::ALL.into_iter().flat_map(both).collect()
}

/// A recording and its words.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// Name of the prompt.
    pub(crate) id: String,
    pub(crate) text: String,
    /// Samples, 8 kHz.
    pub(crate) sound: Vec<i16>,
}

/// Every so-manieth prompt of a list.
pub(crate) fn every(material: &RealSpeech, list: List, step: usize) -> Vec<Said> {
    let prompts = material.prompts(list).unwrap();
    let every = prompts.into_iter().step_by(step);
    let said = every.map(|prompt| Said {
        sound: prompt.sound().unwrap().samples,
        id: prompt.id,
        text: prompt.text,
    });
    said.collect()
}

/// The prompt of that name.
pub(crate) fn named(material: &RealSpeech, list: List, id: &str) -> Said {
    let prompts = every(material, list, 1);
    let found = prompts.into_iter().find(|said| said.id == id);
    found.unwrap_or_else(|| panic!("there is no prompt {id}"))
}

/// A recording at 8 kHz with silence around it, as it is behind µ-law and at 16 kHz.
pub(crate) fn through_a_telephone(sound: &[i16]) -> Vec<i16> {
    let coded: Vec<u8> = sound.iter().map(|&s| g711::encode_ulaw(s)).collect();
    let margin = usize::try_from(MARGIN_MS * SAMPLES_PER_MS).unwrap();
    let (mut decoder, mut audio) = (AudioDecoder::new(), vec![0.0; margin]);
    for packet in coded.chunks(PACKET) {
        decoder.decode(0, packet, &mut audio).unwrap();
    }
    decoder.flush(&mut audio);
    audio.resize(audio.len() + margin, 0.0);
    let sample = |sample: &f32| (sample * 32768.0) as i16;
    audio.iter().map(sample).collect()
}
