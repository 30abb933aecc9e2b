use asterscribe_call::SpokenWord;
use proptest::prelude::*;

use super::*;

fn heard(text: &str, language: &str) -> Recognition {
    Recognition {
        text: text.to_owned(),
        language: language.to_owned(),
        peak_dbfs: -20.0,
        confidence: 0.9,
        ..Recognition::default()
    }
}

fn judge_alone(heard: Recognition, ms: u64) -> Option<SuppressedText> {
    judge(heard, ms, None).suppressed
}

fn reason(text: &str, language: &str, ms: u64) -> Option<DoubtReason> {
    judge_alone(heard(text, language), ms).map(|held| held.reason)
}

#[test]
fn what_callers_say_is_believed() {
    for text in [
        "hello my account number is one one one one two two two",
        "yes yes yes",
        "no no no no no no no",
        "thank you",
        "Thank you for watching the house while we were away.",
        "I'll call you back, I'll call you back tomorrow.",
        "",
    ] {
        assert_eq!(reason(text, "en", 4000), None, "{text}");
    }
    assert_eq!(reason("hi", "en", 90), None);
}

#[test]
fn what_subtitles_say_is_not() {
    let phantom = Some(DoubtReason::PhantomPhrase);
    assert_eq!(reason("Thanks for watching!", "en", 2000), phantom);
    assert_eq!(
        reason(" Untertitel im Auftrag des ZDF.", "de", 2000),
        phantom
    );
    assert_eq!(reason("Thanks for watching!", "de", 2000), None);
    let translated = Recognition {
        task: SpeechTask::Translate,
        ..heard("Thanks for watching!", "de")
    };
    assert_eq!(
        judge_alone(translated, 2000).map(|held| held.reason),
        phantom
    );
}

#[test]
fn loops_are_told_by_phrase_and_number() {
    let text = "so I said ".to_owned() + &"you know what I mean ".repeat(5);
    let held = judge_alone(heard(&text, "en"), 20_000).unwrap();
    assert_eq!(held.reason, DoubtReason::Repetition);
    assert!(held.evidence.starts_with("4 times"), "{}", held.evidence);
    assert_eq!(held.text, text);
    assert_eq!(
        reason(&"the ".repeat(30), "en", 20_000),
        Some(DoubtReason::Repetition)
    );
}

#[test]
fn text_on_silence_and_faster_than_speech_is_held_back() {
    let quiet = Recognition {
        peak_dbfs: -71.0,
        ..heard("goodbye", "en")
    };
    assert_eq!(
        judge_alone(quiet, 1000).unwrap().reason,
        DoubtReason::NearSilence
    );
    let fast = "one two three four five six seven eight nine ten";
    assert_eq!(reason(fast, "en", 900), Some(DoubtReason::SpeechRate));
    assert_eq!(reason(fast, "en", 2500), None);
}

#[test]
fn a_word_in_many_seconds_is_not_believed_where_the_model_is_not_sure() {
    let rate = |text, language, confidence, ms| {
        let unsure = Recognition {
            confidence,
            ..heard(text, language)
        };
        judge_alone(unsure, ms).map(|held| held.reason)
    };
    let sparse = Some(DoubtReason::SpeechRate);
    // Of music on hold, with tiny.en and base.
    let next = "I'm going to go to the next one.";
    assert_eq!(rate(next, "en", 0.26, 28_000), sparse);
    assert_eq!(rate("I'm", "en", 0.09, 24_700), sparse);
    assert_eq!(rate("I'm", "en", 0.09, 4_000), None);
    assert_eq!(rate(next, "en", 0.26, 14_000), None);
    assert_eq!(rate("I'm", "en", 0.6, 24_700), None);
    assert_eq!(
        rate("もしもし、お電話ありがとうございます", "ja", 0.3, 8_000),
        None
    );
}

#[test]
fn thanks_are_not_believed_where_they_are_all_that_was_said_in_many_seconds() {
    let thanks = |text, ms| {
        let sure = Recognition {
            confidence: 0.95,
            no_speech_probability: None,
            ..heard(text, "en")
        };
        judge_alone(sure, ms)
    };
    // Of music on hold, with tiny.en in whisper.cpp.
    let held = thanks("Thank you.", 14_372).unwrap();
    assert_eq!(held.reason, DoubtReason::PhantomPhrase);
    assert_eq!(held.evidence, "nothing but \"thank you\" in 14372 ms");
    for (text, ms) in [
        ("Thank you.", 1_200),
        ("Thank you.", 4_900),
        ("Thank you. Bye bye.", 6_000),
        ("Thank you, Ann.", 14_372),
    ] {
        assert_eq!(thanks(text, ms), None, "{text} in {ms} ms");
    }
}

fn words(text: &str) -> Vec<SpokenWord> {
    let word = |(text, n): (&str, u64)| SpokenWord {
        text: text.to_owned(),
        start_ms: 100 * n,
        end_ms: 100 * n + 90,
        probability: if text.contains(['[', ']', '(', ')']) {
            0.1
        } else {
            0.8
        },
    };
    text.split_whitespace().zip(0..).map(word).collect()
}

#[test]
fn an_annotation_beside_words_is_taken_from_them_and_kept_apart() {
    let text = "[Music] Hello. (upbeat music) My name is Ann.";
    let judged = judge(
        Recognition {
            words: words(text),
            confidence: 0.5,
            ..heard(text, "en")
        },
        5000,
        None,
    );
    assert_eq!(judged.believed.text, "Hello. My name is Ann.");
    let times = judged.believed.words.iter();
    let times: Vec<_> = times
        .map(|word| (word.text.as_str(), word.start_ms))
        .collect();
    let expected = [
        ("Hello.", 100),
        ("My", 400),
        ("name", 500),
        ("is", 600),
        ("Ann.", 700),
    ];
    assert_eq!(times, expected);
    assert!((judged.believed.confidence - 0.8).abs() < 1e-6);
    let suppressed = judged.suppressed.unwrap();
    assert_eq!(suppressed.reason, DoubtReason::Annotation);
    assert_eq!(suppressed.text, "[Music] (upbeat music)");
}

#[test]
fn what_is_left_beside_an_annotation_is_judged_too() {
    let judged = judge(heard("[Music] Thanks for watching!", "en"), 2000, None);
    let suppressed = judged.suppressed.unwrap();
    assert_eq!(suppressed.reason, DoubtReason::PhantomPhrase);
    assert_eq!(suppressed.text, "[Music] Thanks for watching!");
    assert_eq!(
        (judged.believed.text.as_str(), judged.believed.words.len()),
        ("", 0)
    );
    for text in [
        "[BLANK_AUDIO]",
        "[BLANK_AUDIO] [BLANK_AUDIO] [BLANK_AUDIO] [BLANK_AUDIO]",
        "...",
        "- [Music]",
    ] {
        assert_eq!(
            reason(text, "en", 2000),
            Some(DoubtReason::Annotation),
            "{text}"
        );
    }
}

#[test]
fn only_an_annotation_names_foreign_speech() {
    for (text, names) in [
        ("(speaking in foreign language)", true),
        ("[Speaking Spanish]", true),
        ("[FOREIGN]", true),
        ("(upbeat music)", false),
    ] {
        let suppressed = judge(heard(text, "en"), 2000, None).suppressed.unwrap();
        assert_eq!(
            JudgedText::names_foreign_speech(&suppressed),
            names,
            "{text}"
        );
    }
    let phantom = SuppressedText {
        reason: DoubtReason::Repetition,
        evidence: String::new(),
        text: "speaking speaking".to_owned(),
    };
    assert!(!JudgedText::names_foreign_speech(&phantom));
}

#[test]
fn text_of_a_model_that_hears_nobody_and_is_not_sure_is_held_back() {
    let text = "I'm going to go to the next station.";
    for (confidence, no_speech, is_held) in [
        (0.24, Some(0.9), true),
        (0.29, Some(0.49), true),
        (0.18, Some(0.42), true),
        (0.57, Some(0.42), false),
        (0.43, Some(0.41), false),
        (0.21, Some(0.01), false),
        // Sure of its words it is believed, as on a bad line.
        (0.6, Some(0.9), false),
        // Whisper.cpp does not tell.
        (0.2, None, false),
    ] {
        let heard = Recognition {
            confidence,
            no_speech_probability: no_speech,
            ..heard(text, "en")
        };
        let held = judge_alone(heard, 3000).map(|held| held.reason);
        assert_eq!(
            held,
            is_held.then_some(DoubtReason::NoSpeech),
            "{confidence} {no_speech:?}"
        );
    }
    let named = Recognition {
        confidence: 0.02,
        no_speech_probability: Some(0.45),
        mean_logprob: Some(-0.3),
        ..heard("Zielinski", "en")
    };
    assert_eq!(judge_alone(named, 900), None);
}

#[test]
fn the_prompt_is_known_by_its_words_and_audio_that_cannot_hold_them() {
    let prompt: InitialPrompt = "Kowalski, Asterscribe, Zielinski, Nowak".parse().unwrap();
    let echo = |ms| {
        judge(
            heard("Kowalski, Asterscribe, Zielinski, Nowak.", "en"),
            ms,
            Some(&prompt),
        )
    };
    let reason = echo(500).suppressed.map(|held| held.reason);
    assert_eq!(reason, Some(DoubtReason::PromptEcho));
    assert_eq!(echo(2500).suppressed, None);
    let none = judge_alone(heard("Kowalski, Asterscribe, Zielinski, Nowak.", "en"), 400);
    assert_eq!(
        none.map(|held| held.reason),
        Some(DoubtReason::SpeechRate),
        "without a prompt"
    );
}

proptest! {
    #[test]
    fn no_text_upsets_it_and_nothing_is_lost(
        text in "[\\[\\](（）)*♪【】 .,aB1音]{0,40}",
        confidence in 0.0f32..1.0,
        ms in 0u64..30_000,
    ) {
        let prompt: InitialPrompt = "a B a 音".parse().unwrap();
        let heard = Recognition { words: words(&text), confidence, ..heard(&text, "en") };
        let JudgedText { believed, suppressed } = judge(heard.clone(), ms, Some(&prompt));
        match suppressed {
            None => prop_assert_eq!(believed, heard),
            Some(suppressed) if believed.text.is_empty() => {
                prop_assert_eq!(suppressed.text, text);
                prop_assert!(believed.words.is_empty());
            }
            Some(suppressed) => {
                let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
                prop_assert_eq!(letters(&suppressed.text) + letters(&believed.text), letters(&text));
                let spoken: usize = believed.words.iter().map(|word| letters(&word.text)).sum();
                prop_assert_eq!(spoken, letters(&believed.text));
            }
        }
    }
}
