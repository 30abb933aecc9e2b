//! The word that is spoken behind an utterance never stands in its text, and a caller's own does.

use asterscribe_recognition::Transcriber;
use asterscribe_speech::{DecodeOptions, Recognition};
use asterscribe_testkit::real_speech::List;
use asterscribe_testkit::spoken;

use crate::recognition::people_rig::{Said, every, forms, material, named, through_a_telephone};

const SHORT: List = List {
    short: true,
    ..List::ENGLISH
};

/// Silence between two prompts of a caller, samples at 8 kHz (0.25 s).
const BREATH: usize = 2_000;

fn english() -> DecodeOptions {
    DecodeOptions {
        language: Some("en".to_owned()),
        ..DecodeOptions::default()
    }
}

/// Goodbyes in a text.
fn goodbyes(heard: &Recognition) -> usize {
    let text = heard.text.to_lowercase().replace("good bye", "goodbye");
    text.matches("bye").count()
}

/// One prompt behind the other.
fn joined(said: &Said, then: &Said) -> Said {
    let (sound, text) = (&said.sound, &said.text);
    Said {
        id: said.id.clone(),
        text: format!("{text} {}", then.text),
        sound: [sound, &[0; BREATH][..], &then.sound].concat(),
    }
}

#[test]
fn it_is_taken_off_and_a_callers_own_goodbye_stays() {
    let Some(material) = material() else { return };
    let said = every(&material, List::ENGLISH, 30);
    let goodbye = named(&material, SHORT, "vm-goodbye");
    for form in forms(&material) {
        if !form.is_ctranslate2() {
            continue;
        }
        let mut transcriber = form.transcriber();
        let mut hear = |said: &Said| {
            let audio = through_a_telephone(&said.sound);
            transcriber.transcribe(&audio, &english()).unwrap()
        };
        for said in &said {
            let heard = hear(said);
            assert_eq!(goodbyes(&heard), 0, "{form:?} {heard:?}");
            let with_goodbye = joined(said, &goodbye);
            let heard = hear(&with_goodbye);
            assert_eq!(goodbyes(&heard), 1, "{form:?} {heard:?}");
            let words = spoken::word_errors("en", &with_goodbye.text, &heard.text);
            let tolerated = 1 + words.reference / 4;
            assert!(words.total() <= tolerated, "{form:?} {heard:?}");
        }
        let alone = hear(&goodbye);
        assert_eq!(goodbyes(&alone), 1, "{form:?} {alone:?}");
        // One alone hears them as one, with the whole window, too.
        let twice = hear(&joined(&goodbye, &goodbye));
        assert!((1..=2).contains(&goodbyes(&twice)), "{form:?} {twice:?}");
        let begins = hear(&named(&material, List::ENGLISH, "demo-thanks"));
        assert_eq!(goodbyes(&begins), 1, "{form:?} {begins:?}");
    }
}
