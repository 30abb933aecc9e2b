mod language;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use asterscribe_call::InitialPrompt;
use proptest::prelude::*;

use super::*;
use crate::engine::{LanguageProbabilities, TextToken};
use crate::ladder::ContextMargins;

/// Requests that the scripted engine received.
#[derive(Debug, Default)]
struct Asked {
    /// Lengths of the windows and their context.
    encoded: Vec<(Vec<usize>, usize)>,
    aligned: usize,
    detected: usize,
}

/// Step at which the engine fails, beside the utterance of 57,100 samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ScriptedFailure {
    #[default]
    Nothing,
    /// Encoding, from that one on.
    Encoding(usize),
    Detection,
    Decoding(&'static str),
}

/// An engine that gives the text scripted for an utterance's length and context.
struct Scripted {
    script: HashMap<(usize, usize), WindowText>,
    /// Text that it gives in some languages, whatever the script has.
    in_language: HashMap<&'static str, WindowText>,
    fails: ScriptedFailure,
    asked: Arc<Mutex<Asked>>,
    windows: Vec<usize>,
    positions: usize,
}

fn decoding(text: &str, mean_logprob: f32) -> WindowText {
    let tokens = text.split(' ').zip(0u32..);
    WindowText {
        tokens: tokens
            .map(|(word, id)| TextToken {
                id,
                bytes: format!(" {word}").into_bytes(),
                probability: 0.5,
                left_ms: None,
            })
            .collect(),
        mean_logprob,
        no_speech_probability: Some(0.01),
        reached_cap: false,
    }
}

impl SpeechEngine for Scripted {
    fn is_multilingual(&self) -> bool {
        true
    }

    fn knows_language(&self, code: &str) -> bool {
        code != "yue"
    }

    fn prompt_tokens(&self, prompt: &InitialPrompt) -> Result<Vec<TokenId>, TranscribeError> {
        Ok(prompt.text().bytes().map(u32::from).collect())
    }

    fn encode(&mut self, windows: &[&[f32]], positions: usize) -> Result<(), TranscribeError> {
        self.windows = windows.iter().map(|window| window.len()).collect();
        self.positions = positions;
        let mut asked = self.asked.lock().unwrap();
        asked.encoded.push((self.windows.clone(), positions));
        let is_failing = match self.fails {
            ScriptedFailure::Encoding(first) => asked.encoded.len() >= first,
            _ => self.windows.contains(&57_100),
        };
        match is_failing {
            true => Err(TranscribeError("scripted".to_owned())),
            false => Ok(()),
        }
    }

    fn detect_languages(&mut self) -> Result<Vec<LanguageProbabilities>, TranscribeError> {
        self.asked.lock().unwrap().detected += 1;
        if self.fails == ScriptedFailure::Detection {
            return Err(TranscribeError("scripted".to_owned()));
        }
        let probabilities = vec![("en", 0.2), ("de", 0.1), ("fr", 0.6), ("nl", 0.1)];
        Ok(vec![probabilities; self.windows.len()])
    }

    fn decode(&mut self, orders: &[DecodeOrder<'_>]) -> Result<Vec<WindowText>, TranscribeError> {
        assert_eq!(orders.len(), self.windows.len());
        if let ScriptedFailure::Decoding(language) = self.fails
            && orders.iter().any(|order| order.language == language)
        {
            return Err(TranscribeError("scripted".to_owned()));
        }
        let said = |(length, order): (&usize, &DecodeOrder<'_>)| {
            let said = self.in_language.get(order.language).cloned();
            let said = said.or_else(|| self.script.get(&(*length, self.positions)).cloned());
            said.unwrap_or_else(|| decoding(&format!("{length} samples"), -0.2))
        };
        Ok(self.windows.iter().zip(orders).map(said).collect())
    }

    fn align(
        &mut self,
        _orders: &[DecodeOrder<'_>],
        decodings: &mut [WindowText],
    ) -> Result<(), TranscribeError> {
        self.asked.lock().unwrap().aligned += 1;
        for token in decodings.iter_mut().flat_map(|one| &mut one.tokens) {
            let left = 100 * u64::from(token.id + 1);
            token.left_ms = token.left_ms.or(Some(left));
        }
        Ok(())
    }
}

/// A transcriber that tries margins of 128 and 512 positions, and what its engine was asked.
fn transcriber(script: &[(usize, usize, WindowText)]) -> (WhisperTranscriber, Arc<Mutex<Asked>>) {
    transcriber_in(script, HashMap::new(), ScriptedFailure::Nothing)
}

/// Likewise, with an engine that has something to write in some languages.
fn transcriber_in(
    script: &[(usize, usize, WindowText)],
    in_language: HashMap<&'static str, WindowText>,
    fails: ScriptedFailure,
) -> (WhisperTranscriber, Arc<Mutex<Asked>>) {
    let asked = Arc::<Mutex<Asked>>::default();
    let script = script.iter().cloned();
    let engine = Scripted {
        script: script
            .map(|(length, context, said)| ((length, context), said))
            .collect(),
        in_language,
        fails,
        asked: Arc::clone(&asked),
        windows: Vec::new(),
        positions: 0,
    };
    let model = SpeechModel::demo().unwrap();
    let ladder = ContextLadder::new(ContextMargins::new(vec![128, 512]), &model);
    let mut transcriber = WhisperTranscriber::new(Box::new(engine), ladder, &model);
    transcriber.is_demo = false;
    (transcriber, asked)
}

/// 3.6 s, for which the contexts are 320, 704 and 1500.
const LENGTH: usize = 57_600;

fn english() -> DecodeOptions {
    DecodeOptions {
        language: Some("en".to_owned()),
        ..DecodeOptions::default()
    }
}

fn transcribe(transcriber: &mut WhisperTranscriber, length: usize) -> Recognition {
    transcriber
        .transcribe(&vec![100; length], &english())
        .unwrap()
}

#[test]
fn a_sound_text_is_tried_once_and_has_its_times() {
    let (mut transcriber, asked) = transcriber(&[]);
    let recognition = transcribe(&mut transcriber, LENGTH);
    assert_eq!(recognition.text, "57600 samples");
    assert_eq!(recognition.retries, []);
    assert_eq!(recognition.words[0].end_ms, 100);
    let asked = asked.lock().unwrap();
    assert_eq!(asked.encoded, [(vec![LENGTH], 320)]);
    assert_eq!((asked.aligned, asked.detected), (1, 0));
}

#[test]
fn a_text_without_an_end_is_tried_with_more_up_to_the_whole_window() {
    let again = decoding("please hold the line please hold the", -0.1);
    let capped = WindowText {
        reached_cap: true,
        ..decoding("please hold the line", -0.1)
    };
    let (mut transcriber, asked) = transcriber(&[
        (LENGTH, 320, again),
        (LENGTH, 704, capped),
        (LENGTH, 1500, decoding("please hold", -0.9)),
    ]);
    let recognition = transcribe(&mut transcriber, LENGTH);
    assert_eq!(recognition.text, "please hold");
    let reasons = [RetryReason::BeginsAgain, RetryReason::TokenCap];
    assert_eq!(recognition.retries, reasons);
    // Only what stays is aligned.
    assert_eq!(asked.lock().unwrap().aligned, 1);
}

#[test]
fn of_two_unsure_texts_the_surer_one_stays_with_its_times() {
    let (mut transcriber, _) = transcriber(&[
        (LENGTH, 320, decoding("mumble", -1.2)),
        (LENGTH, 704, decoding("rumble", -1.5)),
        (LENGTH, 1500, decoding("tumble", -1.4)),
    ]);
    let recognition = transcribe(&mut transcriber, LENGTH);
    assert_eq!(recognition.text, "mumble");
    assert_eq!(recognition.words[0].end_ms, 100);
    assert_eq!(recognition.retries, [RetryReason::LowProbability; 2]);
}

/// A transcriber that tries the sentinel first.
fn with_sentinel(script: &[(usize, usize, WindowText)]) -> (WhisperTranscriber, Arc<Mutex<Asked>>) {
    let (mut transcriber, asked) = transcriber(script);
    let margins = ContextMargins {
        sentinel: Some(64),
        alone: vec![128, 512],
    };
    transcriber.ladder = ContextLadder::new(margins, &SpeechModel::demo().unwrap());
    (transcriber, asked)
}

#[test]
fn the_sentinel_is_heard_behind_the_utterance_and_taken_off() {
    let with = LENGTH + sentinel::samples();
    let mut heard = decoding("please hold goodbye goodbye", -0.1);
    heard.reached_cap = true;
    heard.tokens[2].left_ms = Some(4_400);
    let (mut transcriber, asked) = with_sentinel(&[(with, 288, heard)]);
    let recognition = transcribe(&mut transcriber, LENGTH);
    assert_eq!(recognition.text, "please hold");
    assert_eq!(recognition.words.len(), 2);
    assert_eq!(recognition.retries, []);
    assert_eq!(asked.lock().unwrap().encoded, [(vec![with], 288)]);
}

#[test]
fn a_text_that_the_sentinel_does_not_end_is_tried_without_it() {
    let with = LENGTH + sentinel::samples();
    let again = decoding("please hold the line please hold the line", -0.1);
    let (mut transcriber, asked) = with_sentinel(&[(with, 288, again)]);
    let recognition = transcribe(&mut transcriber, LENGTH);
    assert_eq!(recognition.text, format!("{LENGTH} samples"));
    assert_eq!(recognition.retries, [RetryReason::BeginsAgain]);
    // With the widest margin at once.
    let encoded = &asked.lock().unwrap().encoded;
    assert_eq!(*encoded, [(vec![with], 288), (vec![LENGTH], 704)]);
}

#[test]
fn unsure_words_are_better_than_none_and_than_a_loop() {
    let nothing = WindowText {
        tokens: Vec::new(),
        ..decoding("", 0.0)
    };
    let again = decoding("on and on on and on on and on", -0.1);
    for worse in [nothing, again] {
        let (mut transcriber, _) = transcriber(&[
            (LENGTH, 320, decoding("Zielinski", -1.1)),
            (LENGTH, 704, worse.clone()),
            (LENGTH, 1500, worse),
        ]);
        assert_eq!(transcribe(&mut transcriber, LENGTH).text, "Zielinski");
    }
}

#[test]
fn what_begins_alike_is_decoded_together_and_what_fails_goes_on_alone() {
    let again = decoding("hold on hold on hold on", -0.1);
    let (mut transcriber, asked) = transcriber(&[(57_000, 320, again)]);
    let samples: Vec<Vec<i16>> = [LENGTH, 57_000, 80_000, 57_500].map(|n| vec![9; n]).into();
    let choices = english();
    let utterances: Vec<_> = samples
        .iter()
        .map(|samples| UtteranceRef {
            samples,
            choices: &choices,
        })
        .collect();
    let together = transcriber.transcribe_together(&utterances);
    let texts: Vec<_> = together.into_iter().map(|one| one.unwrap().text).collect();
    let expected = [LENGTH, 57_000, 80_000, 57_500].map(|n| format!("{n} samples"));
    assert_eq!(texts, expected);
    let encoded = &asked.lock().unwrap().encoded;
    // The text of 57,000 samples may have one token less.
    let alike = (vec![LENGTH, 57_500], 320);
    let alone = [
        (vec![57_000], 320),
        (vec![57_000], 704),
        (vec![80_000], 384),
    ];
    let expected = [&[alike][..], &alone].concat();
    assert_eq!(*encoded, expected);
}

#[test]
fn one_that_fails_takes_no_other_along() {
    let (mut transcriber, _) = transcriber(&[]);
    // The first two begin with the same context.
    let samples = [vec![1; 57_100], vec![1; LENGTH], Vec::new()];
    let choices = english();
    let utterances = samples.each_ref().map(|samples| UtteranceRef {
        samples,
        choices: &choices,
    });
    let results = transcriber.transcribe_together(&utterances);
    assert!(results[0].is_err() && results[1].is_ok() && results[2].is_err());
}

#[test]
fn a_language_is_detected_once_among_those_that_may_be_spoken() {
    let again = decoding("hold on hold on hold on", -0.1);
    let (mut transcriber, asked) = transcriber(&[(LENGTH, 320, again)]);
    let choices = |among: &[&str]| DecodeOptions {
        among: among.iter().map(|&code| code.to_owned()).collect(),
        ..DecodeOptions::default()
    };
    let samples = vec![1; LENGTH];
    let any = transcriber.transcribe(&samples, &choices(&[])).unwrap();
    assert_eq!(any.language, "fr");
    assert_eq!(
        asked.lock().unwrap().detected,
        1,
        "not once more for the second try"
    );
    let among = choices(&["en", "de", "nl"]);
    let among = transcriber.transcribe(&samples, &among).unwrap();
    assert_eq!(among.language, "en");
    assert!((among.language_probability.unwrap() - 0.5).abs() < 1e-6);
    let unknown = choices(&["de", "klingon"]);
    assert!(transcriber.transcribe(&samples, &unknown).is_err());
    assert!(transcriber.transcribe(&samples, &choices(&["sw"])).is_err());
}

#[test]
fn probabilities_that_are_no_numbers_make_no_language() {
    let broken = vec![("en", f32::NAN), ("de", 0.0)];
    assert!(most_probable(&broken, &DecodeOptions::default()).is_err());
}

#[test]
fn the_whole_window_is_what_is_asked_for() {
    let (mut transcriber, asked) = transcriber(&[]);
    let choices = DecodeOptions {
        full_context: true,
        ..english()
    };
    transcriber.transcribe(&[5; 8_000], &choices).unwrap();
    assert_eq!(asked.lock().unwrap().encoded, [(vec![8_000], 1500)]);
}

proptest! {
    #[test]
    fn what_comes_of_an_utterance_does_not_depend_on_those_beside_it(
        lengths in prop::collection::vec(1usize..200_000, 1..6),
        faults in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..4),
    ) {
        let mut script = Vec::new();
        for (index, low) in faults {
            let length = lengths[index.index(lengths.len())].max(8_000);
            let said = match low {
                true => decoding("low", -1.7),
                false => decoding("so it goes so it goes", -0.3),
            };
            let (probe, _) = transcriber(&[]);
            let first = probe.ladder.first_window(length, &english());
            script.push((length, first.positions, said));
        }
        let samples: Vec<Vec<i16>> = lengths.iter().map(|&n| vec![7; n]).collect();
        let choices = english();
        let utterances: Vec<_> = samples
            .iter()
            .map(|samples| UtteranceRef { samples, choices: &choices })
            .collect();
        let together = transcriber(&script).0.transcribe_together(&utterances);
        for (together, samples) in together.into_iter().zip(&samples) {
            let alone = transcriber(&script).0.transcribe(samples, &choices);
            prop_assert_eq!(together, alone);
        }
    }
}
