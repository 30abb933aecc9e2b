use super::*;

#[test]
fn the_most_probable_of_those_asked_for_is_it() {
    let all = [("en", 0.2), ("de", 0.1), ("fr", 0.6), ("nl", 0.1)];
    let among = |codes: &'static [&str]| {
        let possible = all.into_iter().filter(|(code, _)| codes.contains(code));
        most_probable(possible)
    };
    let (code, probability) = among(&["en", "de", "nl"]).unwrap();
    assert_eq!(code, "en");
    assert!((probability - 0.5).abs() < 1e-6, "{probability}");
    assert_eq!(most_probable(all.into_iter()).unwrap().0, "fr");
    assert_eq!(among(&["xx"]), None);
    let broken = [("en", f32::NAN), ("de", 0.0)];
    assert_eq!(most_probable(broken.into_iter()), None);
}

#[test]
fn a_prompt_becomes_the_tokens_that_whisper_looks_at() {
    let whisper = Whisper::load(Model::demo().unwrap()).unwrap();
    let worker = whisper.worker().unwrap();
    let tokens = |text: &str| worker.tokens(&text.parse().unwrap()).unwrap();
    assert!(!tokens("hello support").is_empty());
    // Each letter of what the vocabulary has no word for is a token of its own.
    let long = tokens(&"q".repeat(1000));
    assert_eq!(long.len(), MAX_PROMPT_TOKENS);
    // And what it cannot say at all is none.
    assert!(tokens(&"ß".repeat(500)).len() <= MAX_PROMPT_TOKENS);
}

#[test]
fn the_demo_model_is_given_no_prompt_and_translates_nothing() {
    let whisper = Whisper::load(Model::demo().unwrap()).unwrap();
    let mut worker = whisper.worker().unwrap();
    let choices = Choices {
        language: Some("de".to_owned()),
        prompt: Some("hello support".parse().unwrap()),
        task: Task::Translate,
        ..Choices::default()
    };
    let manner = worker.manner(&choices).unwrap();
    assert_eq!((manner.language, manner.task), ("en", Task::Transcribe));
    assert!(manner.prompt.is_empty());
    worker.is_demo = false;
    assert!(!worker.manner(&choices).unwrap().prompt.is_empty());
}

#[test]
fn of_a_prompt_nothing_is_left_for_the_next_job() {
    let whisper = Whisper::load(Model::demo().unwrap()).unwrap();
    let noise = |n: i32| i16::try_from(n * 7919 % 2000 - 1000).unwrap();
    let samples: Vec<i16> = (0..32_000).map(noise).collect();
    let plain = Choices::default();
    let prompted = Choices {
        prompt: Some(
            "thank you goodbye hello my account number is"
                .parse()
                .unwrap(),
        ),
        ..Choices::default()
    };
    let mut fresh = whisper.worker().unwrap();
    let expected = fresh.transcribe(&samples, &plain).unwrap();
    let mut used = whisper.worker().unwrap();
    used.is_demo = false;
    used.transcribe(&samples, &prompted).unwrap();
    assert_eq!(used.transcribe(&samples, &plain).unwrap(), expected);
}

/// The demo model with one more row in its vocabulary, which makes whisper.cpp take it for a
/// multilingual one. What it says is worth nothing, but it says it in every language.
fn multilingual(folder: &std::path::Path) -> Model {
    const NAME: &[u8] = b"decoder.token_embedding.weight";
    const WORDS: u32 = 51_864;
    let ModelSource::BuiltIn(demo) = Model::demo().unwrap().source else {
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
    Model::open(&path).unwrap()
}

#[test]
fn a_multilingual_model_tells_languages_apart_among_those_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let model = multilingual(folder.path());
    assert!(!model.header.is_english() && !model.is_demo());
    let whisper = Whisper::load(model).unwrap();
    let mut worker = whisper.worker().unwrap();
    let wav = include_bytes!("../../../fixtures/prompts/account-number.wav");
    let samples = wav[44..].chunks_exact(2);
    // At half its pace, which is of no matter here.
    let samples = samples.map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    let samples: Vec<i16> = samples.collect();
    let among = |codes: &[&str]| codes.iter().map(|&code| code.to_owned()).collect();
    for codes in [&["de", "fr"][..], &["yue", "en", "sw"], &[]] {
        let choices = Choices {
            among: among(codes),
            task: Task::Translate,
            prompt: Some("Kowalski".parse().unwrap()),
            ..Choices::default()
        };
        let heard = worker.transcribe(&samples, &choices).unwrap();
        let language = heard.language.as_str();
        assert!(codes.is_empty() || codes.contains(&language), "{language}");
        let probability = heard.language_probability.unwrap();
        assert!(probability > 0.0 && probability <= 1.0, "{probability}");
        assert_eq!(heard.task, Task::Translate);
        // The same again, whatever came before. Not so the text, which is drawn by lot where
        // a model is so unsure.
        let again = worker.transcribe(&samples, &choices).unwrap();
        assert_eq!(again.language_probability, Some(probability));
        assert_eq!(again.language, heard.language);
    }
    let said = Choices {
        language: Some("de".to_owned()),
        ..Choices::default()
    };
    let heard = worker.transcribe(&samples, &said).unwrap();
    assert_eq!(
        (heard.language.as_str(), heard.language_probability),
        ("de", None)
    );
    assert_eq!(heard.task, Task::Transcribe);
    let unknown = Choices {
        among: among(&["de", "klingon"]),
        ..Choices::default()
    };
    assert!(worker.transcribe(&samples, &unknown).is_err());
}
