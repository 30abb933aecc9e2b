//! Contract of both engines, whisper.cpp and CTranslate2, with real weights and recordings of
//! people: the same tests for each.

use asterscribe_call::SpeechTask;
use asterscribe_recognition::{Transcriber, UtteranceRef};
use asterscribe_speech::{DecodeOptions, Recognition, SAMPLE_RATE, SAMPLES_PER_MS};
use asterscribe_testkit::real_speech::List;
use asterscribe_testkit::spoken;
use asterscribe_testkit::words::WordErrors;

use crate::recognition::people_rig::{
    Form, MARGIN_MS, Said, every, forms, material, named, through_a_telephone,
};

/// Greatest error of the begin of a word, milliseconds.
const NEAR_MS: u64 = 150;

fn english() -> DecodeOptions {
    DecodeOptions {
        language: Some("en".to_owned()),
        ..DecodeOptions::default()
    }
}

fn of_language(language: &'static str) -> List {
    List {
        language,
        short: false,
    }
}

fn errors(language: &str, said: &[Said], heard: &[Recognition]) -> WordErrors {
    let pairs = said.iter().zip(heard);
    pairs.fold(WordErrors::default(), |sum, (said, heard)| {
        sum.plus(spoken::word_errors(language, &said.text, &heard.text))
    })
}

#[test]
fn people_are_understood() {
    let Some(material) = material() else { return };
    let said = every(&material, List::ENGLISH, 44);
    for form in forms(&material) {
        let mut transcriber = form.transcriber();
        let heard: Vec<_> = said
            .iter()
            .map(|said| {
                let audio = through_a_telephone(&said.sound);
                transcriber.transcribe(&audio, &english()).unwrap()
            })
            .collect();
        let errors = errors("en", &said, &heard);
        let told = format!("{form:?}: {errors:?} {heard:#?}");
        assert!(errors.reference > 40, "{told}");
        assert!(errors.total() * 100 <= errors.reference * 5, "{told}");
        for (said, heard) in said.iter().zip(&heard) {
            let length_ms = through_a_telephone(&said.sound).len() as u64 / SAMPLES_PER_MS;
            let words: Vec<_> = heard.words.iter().map(|word| word.text.trim()).collect();
            assert_eq!(words.join(" "), heard.text, "{told}");
            assert!(
                heard
                    .words
                    .windows(2)
                    .all(|two| two[0].start_ms <= two[1].start_ms),
                "{told}"
            );
            assert!(
                heard.words.iter().all(|word| word.end_ms <= length_ms),
                "{told}"
            );
            assert!(heard.confidence > 0.5, "{told}");
            assert_eq!(heard.language_probability, None);
        }
    }
}

/// Texts, words and their times are the same; probabilities may differ by what floating-point sums
/// of other lengths make of them.
fn assert_alike(one: &Recognition, other: &Recognition, form: &Form) {
    let words = |heard: &Recognition| -> Vec<_> {
        let words = heard.words.iter();
        let words = words.map(|word| (word.text.clone(), word.start_ms, word.end_ms));
        words.collect()
    };
    let told = format!("{form:?}\n{one:?}\n{other:?}");
    assert_eq!(
        (&one.text, words(one)),
        (&other.text, words(other)),
        "{told}"
    );
    let of_language = |heard: &Recognition| (heard.language.clone(), heard.retries.clone());
    assert_eq!(of_language(one), of_language(other), "{told}");
    let sure = |heard: &Recognition| [heard.confidence, heard.mean_logprob.unwrap_or_default()];
    for (one, other) in sure(one).into_iter().zip(sure(other)) {
        assert!((one - other).abs() < 0.01, "{told}");
    }
}

#[test]
fn words_of_an_utterance_do_not_depend_on_those_beside_it() {
    let Some(material) = material() else { return };
    let short = List {
        short: true,
        ..List::ENGLISH
    };
    let mut said = every(&material, List::ENGLISH, 60);
    said.extend(every(&material, short, 60));
    let audio = |said: &Said| through_a_telephone(&said.sound);
    let all: Vec<_> = said.iter().map(audio).collect();
    for form in forms(&material) {
        // whisper.cpp takes one after the other anyway, and is slow.
        let audio = match form.is_ctranslate2() {
            true => &all[..],
            false => &all[..2],
        };
        let mut transcriber = form.transcriber();
        let choices = english();
        let alone: Vec<_> = audio
            .iter()
            .map(|samples| transcriber.transcribe(samples, &choices).unwrap())
            .collect();
        let utterances: Vec<_> = audio
            .iter()
            .map(|samples| UtteranceRef {
                samples,
                choices: &choices,
            })
            .collect();
        let together = transcriber.transcribe_together(&utterances);
        for (alone, together) in alone.iter().zip(together) {
            assert_alike(alone, &together.unwrap(), &form);
        }
        // The other way round.
        let reversed: Vec<_> = utterances.iter().rev().copied().collect();
        let together = transcriber.transcribe_together(&reversed);
        for (alone, together) in alone.iter().rev().zip(together) {
            assert_alike(alone, &together.unwrap(), &form);
        }
    }
}

#[test]
fn a_prompt_and_a_language_leave_nothing_behind() {
    let Some(material) = material() else { return };
    let said = every(&material, List::ENGLISH, 200);
    let prompted = DecodeOptions {
        prompt: Some("Zanzibar, Quetzalcoatl, Xylophone.".parse().unwrap()),
        ..english()
    };
    let spanish = DecodeOptions {
        language: Some("es".to_owned()),
        ..DecodeOptions::default()
    };
    for form in forms(&material) {
        let mut transcriber = form.transcriber();
        for said in &said {
            let audio = through_a_telephone(&said.sound);
            let plain = transcriber.transcribe(&audio, &english()).unwrap();
            for other in [&prompted, &spanish, &DecodeOptions::default()] {
                transcriber.transcribe(&audio, other).unwrap();
                let again = transcriber.transcribe(&audio, &english()).unwrap();
                assert_eq!(plain, again, "{form:?} after {other:?}");
            }
        }
    }
}

/// An announcement in another language may have been taken for the party's.
#[test]
fn who_was_taken_to_speak_another_language_is_understood() {
    let Some(material) = material() else { return };
    let said = every(&material, List::ENGLISH, 53);
    for form in forms(&material) {
        if !form.is_multilingual() {
            continue;
        }
        let mut transcriber = form.transcriber();
        let heard: Vec<_> = said
            .iter()
            .map(|said| {
                let audio = through_a_telephone(&said.sound);
                let spanish = DecodeOptions {
                    language: Some("es".to_owned()),
                    language_is_detected: true,
                    ..DecodeOptions::default()
                };
                transcriber.transcribe(&audio, &spanish).unwrap()
            })
            .collect();
        let errors = errors("en", &said, &heard);
        let told = format!("{form:?}: {errors:?} {heard:#?}");
        assert!(errors.total() * 10 <= errors.reference, "{told}");
        let found = heard.iter().filter(|heard| heard.language == "en");
        assert!(found.clone().count() * 4 >= heard.len() * 3, "{told}");
        assert!(
            found
                .clone()
                .all(|heard| heard.language_probability.is_some()),
            "{told}"
        );
    }
}

#[test]
fn a_prompt_is_looked_at() {
    let Some(material) = material() else { return };
    let said = named(&material, List::ENGLISH, "queue-thankyou");
    let audio = through_a_telephone(&said.sound);
    let shouting = DecodeOptions {
        prompt: Some(
            "HELLO AND WELCOME. THANK YOU. PLEASE HOLD THE LINE."
                .parse()
                .unwrap(),
        ),
        ..english()
    };
    for form in forms(&material) {
        let mut transcriber = form.transcriber();
        let plain = transcriber.transcribe(&audio, &english()).unwrap();
        let heard = transcriber.transcribe(&audio, &shouting).unwrap();
        let told = |heard: &Recognition| (heard.text.clone(), heard.mean_logprob);
        assert_ne!(told(&plain), told(&heard), "{form:?}");
    }
}

#[test]
fn languages_are_detected_set_and_translated() {
    let Some(material) = material() else { return };
    let choices = |language: Option<&str>, among: &[&str], task| DecodeOptions {
        language: language.map(str::to_owned),
        among: among.iter().map(|code| (*code).to_owned()).collect(),
        task,
        ..DecodeOptions::default()
    };
    for form in forms(&material) {
        let mut transcriber = form.transcriber();
        let languages = match form.is_ctranslate2() {
            true => &["en", "es", "fr", "it", "ru"][..],
            false => &["fr"],
        };
        for &language in languages {
            // Long enough to leave no doubt.
            let mut list = every(&material, of_language(language), 1).into_iter();
            let said = list.find(|said| said.sound.len() > 8000 * 4);
            let audio = through_a_telephone(&said.unwrap().sound);
            let open = choices(None, &[], SpeechTask::Transcribe);
            let heard = transcriber.transcribe(&audio, &open).unwrap();
            if !form.is_multilingual() {
                assert_eq!(
                    (heard.language.as_str(), heard.language_probability),
                    ("en", None)
                );
                continue;
            }
            assert_eq!(heard.language, language, "{form:?} {heard:?}");
            assert!(
                heard.language_probability.unwrap() > 0.5,
                "{form:?} {heard:?}"
            );
            let set = choices(Some(language), &[], SpeechTask::Transcribe);
            let told = transcriber.transcribe(&audio, &set).unwrap();
            assert_eq!((&told.text, told.language_probability), (&heard.text, None));
            // Among others it is the likeliest of those.
            let others = ["de", "nl", "pl"];
            let among = choices(None, &others, SpeechTask::Transcribe);
            let heard = transcriber.transcribe(&audio, &among).unwrap();
            assert!(
                others.contains(&heard.language.as_str()),
                "{form:?} {heard:?}"
            );
        }
    }
}

#[test]
fn another_language_becomes_english_text_where_the_model_can() {
    let Some(material) = material() else { return };
    let said = named(&material, of_language("es"), "queue-thankyou");
    let audio = through_a_telephone(&said.sound);
    let translate = DecodeOptions {
        language: Some("es".to_owned()),
        task: SpeechTask::Translate,
        ..DecodeOptions::default()
    };
    for form in forms(&material) {
        let heard = form.transcriber().transcribe(&audio, &translate).unwrap();
        if form.is_multilingual() {
            assert_eq!(heard.task, SpeechTask::Translate);
            let text = heard.text.to_lowercase();
            assert!(text.contains("thank"), "{form:?} {heard:?}");
        } else {
            assert_eq!(
                (heard.task, heard.language.as_str()),
                (SpeechTask::Transcribe, "en")
            );
        }
    }
}

/// Digits with pauses between them: when each was said is known by how they were put together.
#[test]
fn words_begin_when_they_were_said() {
    const DIGITS: [&str; 6] = ["four", "seven", "two", "nine", "five", "three"];
    const NUMBERS: [&str; 6] = [
        "digits/4", "digits/7", "digits/2", "digits/9", "digits/5", "digits/3",
    ];
    let Some(material) = material() else { return };
    let short = List {
        short: true,
        ..List::ENGLISH
    };
    let (mut sound, mut begun_ms) = (Vec::new(), Vec::new());
    for number in NUMBERS {
        let said = named(&material, short, number).sound;
        let loud = |sample: &i16| sample.unsigned_abs() > 600;
        let first = said.iter().position(loud).unwrap();
        let last = said.iter().rposition(loud).unwrap();
        begun_ms.push(sound.len() as u64 / 8 + MARGIN_MS);
        sound.extend(&said[first..=last]);
        sound.extend([0; 8 * 260]);
    }
    let audio = through_a_telephone(&sound);
    for form in forms(&material) {
        let heard = form.transcriber().transcribe(&audio, &english()).unwrap();
        let texts: Vec<_> = heard
            .words
            .iter()
            .map(|word| {
                let text = word.text.trim().to_lowercase();
                text.trim_matches([',', '.', '-']).to_owned()
            })
            .collect();
        let digits = ["4", "7", "2", "9", "5", "3"];
        assert!(texts == DIGITS || texts == digits, "{form:?} {heard:?}");
        for (word, begun_ms) in heard.words.iter().zip(&begun_ms) {
            let off = word.start_ms.abs_diff(*begun_ms);
            assert!(
                off <= NEAR_MS,
                "{form:?}: {word:?} at {begun_ms}\n{heard:#?}"
            );
        }
    }
}

/// Speech without pauses: the two engines find its words in the same places.
#[test]
fn both_engines_find_words_in_the_same_places() {
    const PROMPTS: usize = 8;
    let Some(material) = material() else { return };
    let mut forms = forms(&material);
    forms.retain(Form::is_multilingual);
    let said = every(&material, List::ENGLISH, 264 / PROMPTS);
    let heard: Vec<Vec<_>> = forms
        .iter()
        .map(|form| {
            let mut transcriber = form.transcriber();
            let clips = said.iter().map(|said| through_a_telephone(&said.sound));
            clips
                .map(|clip| transcriber.transcribe(&clip, &english()).unwrap())
                .collect()
        })
        .collect();
    let [one, other] = heard.as_slice() else {
        panic!("{forms:?}");
    };
    let alike = |(a, b): &(&Recognition, &Recognition)| a.text == b.text;
    let pairs: Vec<_> = one.iter().zip(other).filter(alike).collect();
    assert!(2 * pairs.len() > one.len(), "{pairs:?}");
    let words = pairs.iter().flat_map(|(a, b)| a.words.iter().zip(&b.words));
    let apart: Vec<_> = words
        .map(|(a, b)| a.start_ms.abs_diff(b.start_ms))
        .collect();
    let near = apart.iter().filter(|ms| **ms <= NEAR_MS).count();
    assert!(10 * near >= 8 * apart.len(), "{apart:?}");
}

#[test]
fn any_length_and_any_sound_has_an_answer() {
    let Some(material) = material() else { return };
    let joined: Vec<_> = every(&material, List::ENGLISH, 20)
        .into_iter()
        .flat_map(|said| said.sound)
        .take(8000 * 28)
        .collect();
    let longest = through_a_telephone(&joined);
    let second = SAMPLE_RATE as usize;
    let square = (0..second).map(|n| if n / 40 % 2 == 0 { i16::MAX } else { i16::MIN });
    let sounds = [
        vec![0],
        vec![i16::MIN; 3],
        vec![0; second / 10],
        vec![1; 3 * second],
        square.collect(),
        longest,
    ];
    for form in forms(&material) {
        let mut transcriber = form.transcriber();
        // Whole windows of the larger model take whisper.cpp long.
        let is_slow = form.is_multilingual() && !form.is_ctranslate2();
        let sounds = &sounds[..if is_slow { 4 } else { sounds.len() }];
        for sound in sounds {
            let heard = transcriber.transcribe(sound, &english()).unwrap();
            assert!(
                heard.confidence.is_finite() && heard.words.len() < 120,
                "{heard:?}"
            );
        }
        for sound in [vec![], vec![0; 30 * second + 1]] {
            assert!(transcriber.transcribe(&sound, &english()).is_err());
        }
        // What was refused changes nothing of what comes after.
        let choices = english();
        let mixed = [&sounds[0][..], &[], &sounds[2]];
        let mixed = mixed.map(|samples| UtteranceRef {
            samples,
            choices: &choices,
        });
        let outcomes: Vec<_> = transcriber.transcribe_together(&mixed);
        let were_heard: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(were_heard, [true, false, true]);
    }
}
