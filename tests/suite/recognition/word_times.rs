//! Times of words, compared with those that the synthesiser knows.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::BTreeMap;
use std::fs;

use asterscribe_recognition::Transcriber;
use asterscribe_recognition::engine::{EngineConfig, LoadedModel};
use asterscribe_recognition::model::SpeechModel;
use asterscribe_speech::DecodeOptions;
use asterscribe_testkit::wav::Sound;
use asterscribe_testkit::{fixture, page};
use serde_json::Value;

use crate::recognition::people_rig::{self, MARGIN_MS};

/// Greatest error of the begin of a word, milliseconds.
const NEAR_MS: i64 = 150;

/// Words of each prompt and their begins in milliseconds, as the synthesiser knows them.
pub(crate) fn truth() -> BTreeMap<String, Vec<(String, i64)>> {
    let file = fs::read_to_string(fixture::path("prompts/word-times.json")).unwrap();
    let prompts: BTreeMap<String, Value> = serde_json::from_str(&file).unwrap();
    let word = |word: &Value| {
        let text = word["word"].as_str().unwrap().to_owned();
        (text, word["start_ms"].as_i64().unwrap())
    };
    let words = |words: Value| words.as_array().unwrap().iter().map(word).collect();
    prompts
        .into_iter()
        .map(|(name, times)| (name, words(times)))
        .collect()
}

/// Errors of the begins of words, milliseconds.
pub(crate) struct Errors(Vec<i64>);

impl Errors {
    pub(crate) fn new(mut errors: Vec<i64>) -> Self {
        errors.sort_unstable_by_key(|error| error.abs());
        Self(errors)
    }

    pub(crate) fn near(&self) -> usize {
        self.0.iter().filter(|error| error.abs() <= NEAR_MS).count()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Greatest error of the nearest `percent` of them, milliseconds.
    pub(crate) fn within(&self, percent: usize) -> i64 {
        self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)].abs()
    }
}

#[test]
fn words_begin_where_they_were_said() {
    let whisper = LoadedModel::load(SpeechModel::demo().unwrap(), EngineConfig::default()).unwrap();
    let mut worker = whisper.transcriber().unwrap();
    let mut errors = Vec::new();
    for (prompt, said) in truth() {
        let audio = through_a_telephone(&prompt);
        let heard = worker
            .transcribe(&audio, &DecodeOptions::default())
            .unwrap();
        let texts: Vec<_> = heard.words.iter().map(|word| word.text.as_str()).collect();
        let said_texts: Vec<_> = said.iter().map(|(word, _)| word.as_str()).collect();
        if texts != said_texts {
            println!("{prompt}: {texts:?}");
            continue;
        }
        for (word, (_, start_ms)) in heard.words.iter().zip(&said) {
            assert!(word.start_ms <= word.end_ms, "{word:?}");
            let begun = i64::try_from(word.start_ms).unwrap() - i64::try_from(MARGIN_MS).unwrap();
            errors.push(begun - start_ms);
        }
    }
    let errors = Errors::new(errors);
    let (near, all) = (errors.near(), errors.len());
    println!("{near} of {all} near; {:?}", errors.0);
    assert!(all > 50, "too little was heard to judge by");
    assert!(near * 100 >= all * 95, "{near} of {all}");
    page::assert_row(
        "docs/words.md",
        "12 prompts as µ-law, on the utterance's clock",
        &[
            &format!("{near} of {all}"),
            &format!("{} ms", errors.within(50)),
            &format!("{} ms", errors.within(90)),
        ],
    );
}

/// A prompt with silence around it, as it is after µ-law at 8 kHz.
fn through_a_telephone(prompt: &str) -> Vec<i16> {
    let sound = Sound::read(&fixture::path(&format!("prompts/{prompt}.wav"))).unwrap();
    people_rig::through_a_telephone(&sound.samples)
}
