//! Languages of utterances: unknown to the model, or other than was detected before.

use super::*;

/// As loud as speech, with no constant offset.
fn audible(length: usize) -> Vec<i16> {
    let sample = |n: usize| {
        if (n / 8).is_multiple_of(2) {
            1000
        } else {
            -1000
        }
    };
    (0..length).map(sample).collect()
}

#[test]
fn a_language_that_the_model_has_no_token_for_is_detected_instead() {
    let (mut transcriber, asked) = transcriber(&[]);
    let samples = audible(LENGTH);
    let cantonese = |language_is_detected| DecodeOptions {
        language: Some("yue".to_owned()),
        language_is_detected,
        ..DecodeOptions::default()
    };
    // Whether it was detected with another model or chosen: alone and beside others.
    for choices in [cantonese(true), cantonese(false)] {
        let alone = transcriber.transcribe(&samples, &choices).unwrap();
        assert_eq!(
            (alone.language.as_str(), alone.text.as_str()),
            ("fr", "57600 samples")
        );
        assert!(alone.language_probability.is_some());
        let choices = [english(), choices, english()];
        let utterances = choices.each_ref().map(|choices| UtteranceRef {
            samples: &samples,
            choices,
        });
        let heard = transcriber.transcribe_together(&utterances).into_iter();
        let languages: Vec<_> = heard.map(|heard| heard.unwrap().language).collect();
        assert_eq!(languages, ["en", "fr", "en"]);
    }
    let among = DecodeOptions {
        among: vec!["de".to_owned(), "yue".to_owned()],
        ..cantonese(true)
    };
    assert_eq!(
        transcriber.transcribe(&samples, &among).unwrap().language,
        "de"
    );
    assert_eq!(asked.lock().unwrap().detected, 5);
}

/// A text of whose words the model is so sure.
fn sure(text: &str, probability: f32) -> WindowText {
    let mut said = decoding(text, -0.2);
    for token in &mut said.tokens {
        token.probability = probability;
    }
    said
}

/// French is the most probable language, with 0.86 among these.
fn detected(language: &str) -> DecodeOptions {
    DecodeOptions {
        language: Some(language.to_owned()),
        among: vec!["fr".to_owned(), "de".to_owned()],
        language_is_detected: true,
        ..DecodeOptions::default()
    }
}

fn in_german_and_french(german: f32, french: f32) -> (WhisperTranscriber, Arc<Mutex<Asked>>) {
    let said = [
        ("de", sure("Schalter", german)),
        ("fr", sure("bonjour", french)),
    ];
    transcriber_in(&[], said.into(), ScriptedFailure::Nothing)
}

#[test]
fn words_that_do_not_fit_are_recognised_in_the_language_that_is_surely_spoken() {
    let (mut transcriber, asked) = in_german_and_french(0.4, 0.9);
    let samples = audible(LENGTH);
    let heard = transcriber.transcribe(&samples, &detected("de")).unwrap();
    assert_eq!(
        (heard.text.as_str(), heard.language.as_str()),
        ("bonjour", "fr")
    );
    assert!(
        heard
            .language_probability
            .is_some_and(|p| (p - 0.857).abs() < 0.01)
    );
    assert_eq!(heard.retries, [RetryReason::Language]);
    assert_eq!(asked.lock().unwrap().detected, 1);
    // Together with others, too.
    let (choices, fits) = (detected("de"), detected("fr"));
    let both = [&choices, &fits].map(|choices| UtteranceRef {
        samples: &samples,
        choices,
    });
    let heard = transcriber.transcribe_together(&both);
    let texts: Vec<_> = heard
        .iter()
        .map(|heard| heard.as_ref().unwrap().text.as_str())
        .collect();
    assert_eq!(texts, ["bonjour", "bonjour"]);
}

#[test]
fn a_language_stays_where_its_words_fit_or_no_other_does() {
    let given = |german, french, choices: DecodeOptions, length| {
        let (mut transcriber, asked) = in_german_and_french(german, french);
        let heard = transcriber.transcribe(&audible(length), &choices).unwrap();
        assert_eq!(
            (heard.text.as_str(), heard.language_probability),
            ("Schalter", None)
        );
        asked.lock().unwrap().detected
    };
    assert_eq!(given(0.7, 0.9, detected("de"), LENGTH), 0, "it fits");
    assert_eq!(given(0.4, 0.4, detected("de"), LENGTH), 1, "no better");
    assert_eq!(given(0.4, 0.9, detected("de"), 23_999), 0, "too short");
    let chosen = DecodeOptions {
        language_is_detected: false,
        ..detected("de")
    };
    assert_eq!(given(0.4, 0.9, chosen, LENGTH), 0, "somebody chose it");
    let unsure = DecodeOptions {
        among: Vec::new(),
        ..detected("de")
    };
    assert_eq!(given(0.4, 0.9, unsure, LENGTH), 1, "0.6 is no certainty");
    let never_detected = DecodeOptions {
        among: vec!["sw".to_owned()],
        ..detected("de")
    };
    let why = "nothing of what is possible has a probability";
    assert_eq!(given(0.4, 0.9, never_detected, LENGTH), 1, "{why}");
}

/// In German, as detected before, "Schalter" with 0.4; French, which it surely is, as given.
fn beside_schalter(french: WindowText, fails: ScriptedFailure) -> Recognition {
    let said = [("de", sure("Schalter drei", 0.4)), ("fr", french)];
    let (mut transcriber, _) = transcriber_in(&[], said.into(), fails);
    transcriber
        .transcribe(&audible(LENGTH), &detected("de"))
        .unwrap()
}

#[test]
fn neither_a_loop_nor_a_text_that_nobody_said_takes_the_place_of_words() {
    let capped = WindowText {
        reached_cap: true,
        ..sure("et je dois encore", 0.95)
    };
    let texts = [
        sure("je vous appelle je vous appelle je vous appelle", 0.95),
        sure(&["oui"; 30].join(" "), 0.95),
        capped,
        sure("Sous-titrage ST' 501", 0.95),
        sure("[Musique]", 0.95),
        sure("...", 0.95),
        WindowText {
            no_speech_probability: Some(0.9),
            mean_logprob: -0.8,
            ..sure("je vous appelle", 0.45)
        },
        WindowText {
            tokens: Vec::new(),
            ..sure("", 0.95)
        },
    ];
    for french in texts {
        let case = french.text();
        let heard = beside_schalter(french, ScriptedFailure::Nothing);
        let said = (heard.text.as_str(), heard.language.as_str());
        assert_eq!(said, ("Schalter drei", "de"), "{case}");
        assert_eq!(heard.language_probability, None, "{case}");
        assert_eq!(heard.words.len(), 2, "{case}");
    }
}

#[test]
fn words_take_the_place_of_a_loop_however_sure_the_model_is_of_it() {
    for german in [
        "auf auf auf auf auf auf auf auf auf",
        "Untertitelung des ZDF, 2020",
    ] {
        let said = [("de", sure(german, 0.65)), ("fr", sure("bonjour", 0.6))];
        let (mut transcriber, _) = transcriber_in(&[], said.into(), ScriptedFailure::Nothing);
        let heard = transcriber
            .transcribe(&audible(LENGTH), &detected("de"))
            .unwrap();
        assert_eq!(heard.text, "bonjour", "{german}");
    }
}

#[test]
fn words_that_were_found_outlast_a_failure_on_the_way_to_others() {
    let failures = [
        ScriptedFailure::Encoding(2),
        ScriptedFailure::Encoding(3),
        ScriptedFailure::Detection,
        ScriptedFailure::Decoding("fr"),
    ];
    for fails in failures {
        let heard = beside_schalter(sure("bonjour", 0.9), fails);
        let said = (heard.text.as_str(), heard.language.as_str());
        assert_eq!(said, ("Schalter drei", "de"), "{fails:?}");
    }
    // So do unsure words that a wider window was to better.
    let unsure = [(LENGTH, 320, decoding("Zielinski", -1.5))];
    for fails in [ScriptedFailure::Encoding(2), ScriptedFailure::Encoding(3)] {
        let second = (LENGTH, 704, decoding("Zelinsky", -1.6));
        let script = [unsure[0].clone(), second];
        let (mut transcriber, _) = transcriber_in(&script, HashMap::new(), fails);
        assert_eq!(transcribe(&mut transcriber, LENGTH).text, "Zielinski");
    }
    // A loop does not.
    let again = [(LENGTH, 320, decoding("hold on hold on hold on", -0.1))];
    let (mut transcriber, _) = transcriber_in(&again, HashMap::new(), ScriptedFailure::Encoding(2));
    assert!(
        transcriber
            .transcribe(&audible(LENGTH), &english())
            .is_err()
    );
}
