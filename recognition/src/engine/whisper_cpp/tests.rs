use asterscribe_speech::DecodeOptions;

use super::*;
use crate::Transcriber;
use crate::engine::LoadedModel;

fn demo() -> LoadedModel {
    LoadedModel::load(SpeechModel::demo().unwrap(), EngineConfig::default()).unwrap()
}

fn noise() -> Vec<i16> {
    let noise = |n: i32| i16::try_from(n * 7919 % 2000 - 1000).unwrap();
    (0..32_000).map(noise).collect()
}

#[test]
fn a_prompt_becomes_the_tokens_that_whisper_looks_at() {
    let config = EngineConfig::default();
    let weights = FileWeights::load(&SpeechModel::demo().unwrap(), &config).unwrap();
    let engine = weights.engine(&config).unwrap();
    let tokens = |text: &str| engine.prompt_tokens(&text.parse().unwrap()).unwrap();
    assert!(!tokens("hello support").is_empty());
    // Each letter of what the vocabulary has no word for is a token of its own.
    let long = tokens(&"q".repeat(1000));
    assert_eq!(long.len(), MAX_PROMPT_TOKENS);
    // And what it cannot say at all is none.
    assert!(tokens(&"ß".repeat(500)).len() <= MAX_PROMPT_TOKENS);
}

#[test]
fn the_demo_model_is_given_no_prompt_and_translates_nothing() {
    let choices = DecodeOptions {
        language: Some("de".to_owned()),
        prompt: Some("hello support".parse().unwrap()),
        task: SpeechTask::Translate,
        ..DecodeOptions::default()
    };
    let loaded = demo();
    let prompted = loaded.transcriber().unwrap().transcribe(&noise(), &choices);
    let plain = DecodeOptions::default();
    let plain = loaded.transcriber().unwrap().transcribe(&noise(), &plain);
    assert_eq!(prompted, plain);
    assert_eq!(plain.unwrap().task, SpeechTask::Transcribe);
}

#[test]
fn of_a_prompt_nothing_is_left_for_the_next_window() {
    let config = EngineConfig::default();
    let weights = FileWeights::load(&SpeechModel::demo().unwrap(), &config).unwrap();
    let audio: Vec<f32> = noise().iter().map(|&s| f32::from(s) / 32768.0).collect();
    let decode = |engine: &mut WhisperCppEngine, prompt: &[TokenId]| {
        let order = DecodeOrder {
            language: "en",
            task: SpeechTask::Transcribe,
            prompt,
            max_tokens: 20,
        };
        engine.encode(&[&audio], 128).unwrap();
        engine.decode(&[order]).unwrap()
    };
    let mut fresh = weights.engine(&config).unwrap();
    let expected = decode(&mut fresh, &[]);
    let mut used = weights.engine(&config).unwrap();
    let prompt = "thank you goodbye hello my account number is";
    let prompt = used.prompt_tokens(&prompt.parse().unwrap()).unwrap();
    decode(&mut used, &prompt);
    assert_eq!(decode(&mut used, &[]), expected);
}

/// The demo model with one more row in its vocabulary, which makes whisper.cpp take it for a
/// multilingual one. What it says is worth nothing, but it says it in every language.
fn multilingual(folder: &std::path::Path) -> SpeechModel {
    const NAME: &[u8] = b"decoder.token_embedding.weight";
    const WORDS: u32 = 51_864;
    let ModelSource::BuiltIn(demo) = SpeechModel::demo().unwrap().source else {
        panic!("the demo model is built in");
    };
    let mut file = demo.to_vec();
    let name = file.windows(NAME.len()).position(|part| part == NAME);
    let name = name.unwrap();
    let number = |at: usize| u32::from_le_bytes(demo[at..at + 4].try_into().unwrap());
    let (kind, width, words) = (number(name - 12), number(name - 8), number(name - 4));
    assert_eq!((kind, words, number(4)), (6, WORDS, WORDS), "q5_0");
    // 32 weights in 22 bytes.
    let row = width as usize / 32 * 22;
    let end = name + NAME.len() + WORDS as usize * row;
    let last = file[end - row..end].to_vec();
    file.splice(end..end, last);
    for at in [4, name - 4] {
        file[at..at + 4].copy_from_slice(&(WORDS + 1).to_le_bytes());
    }
    let path = folder.join("ggml-every.bin");
    std::fs::write(&path, file).unwrap();
    SpeechModel::open(&path).unwrap()
}

#[test]
fn a_multilingual_model_tells_languages_apart_whatever_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let model = multilingual(folder.path());
    assert!(!model.header.is_english() && !model.is_demo());
    let whisper = LoadedModel::load(model, EngineConfig::default()).unwrap();
    let mut transcriber = whisper.transcriber().unwrap();
    let wav = include_bytes!("../../../../fixtures/prompts/account-number.wav");
    let samples = wav[44..].chunks_exact(2);
    // At half its pace, which is of no matter here.
    let samples = samples.map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    let samples: Vec<i16> = samples.collect();
    let among = |codes: &[&str]| codes.iter().map(|&code| code.to_owned()).collect();
    for codes in [&["de", "fr"][..], &["yue", "en", "sw"], &[]] {
        let choices = DecodeOptions {
            among: among(codes),
            task: SpeechTask::Translate,
            prompt: Some("Kowalski".parse().unwrap()),
            ..DecodeOptions::default()
        };
        let heard = transcriber.transcribe(&samples, &choices).unwrap();
        let language = heard.language.as_str();
        assert!(codes.is_empty() || codes.contains(&language), "{language}");
        let probability = heard.language_probability.unwrap();
        assert!(probability > 0.0 && probability <= 1.0, "{probability}");
        assert_eq!(heard.task, SpeechTask::Translate);
        // whisper.cpp would detect with the context of the call before.
        transcriber.transcribe(&samples[..9_000], &choices).unwrap();
        let again = transcriber.transcribe(&samples, &choices).unwrap();
        assert_eq!(again, heard);
    }
    let said = DecodeOptions {
        language: Some("de".to_owned()),
        ..DecodeOptions::default()
    };
    let heard = transcriber.transcribe(&samples, &said).unwrap();
    assert_eq!(
        (heard.language.as_str(), heard.language_probability),
        ("de", None)
    );
    assert_eq!(heard.task, SpeechTask::Transcribe);
}
