//! What parties speak is found out once, if that is to be found out.

use super::*;
use crate::call::CallEventKind;

fn detecting() -> Manner {
    Manner {
        choices: Arc::new(Choices {
            among: vec!["en".to_owned(), "de".to_owned()],
            ..Choices::default()
        }),
        partials: None,
        second_pass: None,
    }
}

fn rig(manner: Manner) -> Rig {
    let mut rig = Rig::new(SessionConfig::default());
    rig.session.choose(manner);
    rig
}

fn utterance(rig: &mut Rig, seq: &mut u16, time: &mut u32) {
    speak(rig, seq, time);
    rig.pass(Duration::from_secs(2));
    *time += 16_000;
}

fn hear(rig: &mut Rig, text: &str, language: &str, probability: Option<f32>, confidence: f32) {
    let (job, _) = *rig.jobs.last().unwrap();
    let result = Ok(Recognition {
        text: text.to_owned(),
        language: language.to_owned(),
        language_probability: probability,
        confidence,
        peak_dbfs: -20.0,
        ..Recognition::default()
    });
    rig.input(Input::Recognised { job, result });
}

fn locked(rig: &Rig) -> Vec<&str> {
    let locks = rig.events.iter();
    let locks = locks.filter(|event| event.kind == CallEventKind::LanguageLocked);
    locks.map(|event| event.text.as_str()).collect()
}

#[test]
fn the_first_result_without_a_doubt_settles_it() {
    let mut rig = rig(detecting());
    let (mut seq, mut time) = (1, 1000);
    let doubtful = [
        ("meine Nummer ist", Some(0.79), 0.9),
        ("meine Nummer ist", Some(0.95), 0.5),
        ("meine Nummer ist", Some(f32::NAN), 0.9),
        ("", Some(1.0), 0.9),
        // What subtitles say.
        ("Vielen Dank fürs Zuschauen!", Some(1.0), 0.9),
    ];
    for (text, probability, confidence) in doubtful {
        utterance(&mut rig, &mut seq, &mut time);
        hear(&mut rig, text, "de", probability, confidence);
    }
    assert_eq!(locked(&rig), Vec::<&str>::new());
    utterance(&mut rig, &mut seq, &mut time);
    hear(&mut rig, "meine Nummer ist vier", "de", Some(0.97), 0.9);
    utterance(&mut rig, &mut seq, &mut time);
    // Whatever else is heard of it.
    hear(&mut rig, "yes", "en", Some(1.0), 1.0);
    utterance(&mut rig, &mut seq, &mut time);
    let languages = rig
        .choices
        .iter()
        .map(|choices| choices.language.as_deref());
    let mut expected = vec![None; 6];
    expected.extend([Some("de"), Some("de")]);
    assert_eq!(languages.collect::<Vec<_>>(), expected);
    assert_eq!(rig.choices[6].among, Vec::<String>::new());
    let [text] = locked(&rig)[..] else {
        panic!("{:?}", rig.events);
    };
    assert!(text.starts_with("de: probability 0.97"), "{text}");
    let snapshot = &rig.session.snapshots()[0];
    assert_eq!(snapshot.language.as_deref(), Some("de"));
}

#[test]
fn what_was_said_to_be_spoken_is_not_found_out() {
    let choices = Choices {
        language: Some("en".to_owned()),
        ..Choices::default()
    };
    let mut rig = rig(Manner {
        choices: Arc::new(choices),
        partials: None,
        second_pass: None,
    });
    let (mut seq, mut time) = (1, 1000);
    utterance(&mut rig, &mut seq, &mut time);
    hear(&mut rig, "hello", "en", None, 0.9);
    utterance(&mut rig, &mut seq, &mut time);
    // No engine says that here; if one does, it changes nothing.
    hear(&mut rig, "hallo", "de", Some(1.0), 1.0);
    assert_eq!(locked(&rig), Vec::<&str>::new());
    assert_eq!(rig.session.snapshots()[0].language, None);
}

#[test]
fn each_leg_has_a_language_of_its_own() {
    let mut rig = rig(detecting());
    let other = rig.session.add_leg(Leg::callee());
    let (mut seq, mut time) = (1, 1000);
    utterance(&mut rig, &mut seq, &mut time);
    hear(&mut rig, "meine Nummer ist vier", "de", Some(0.97), 0.9);
    assert_eq!(rig.session.choices_of(0).language.as_deref(), Some("de"));
    assert_eq!(rig.session.choices_of(other.place()).language, None);
    // Told anew how to recognise, it finds out anew.
    rig.session.choose(detecting());
    assert_eq!(rig.session.choices_of(0).language, None);
}

#[test]
fn partial_results_begin_and_end_with_the_choice() {
    let mut rig = Rig::new(SessionConfig::default());
    let on = Manner {
        partials: Some(PartialConfig::default()),
        ..detecting()
    };
    rig.session.choose(on);
    let (mut seq, mut time) = (1, 1000);
    utterance(&mut rig, &mut seq, &mut time);
    assert!(!rig.drafts.is_empty());
    rig.session.choose(detecting());
    rig.drafts.clear();
    utterance(&mut rig, &mut seq, &mut time);
    assert_eq!(rig.drafts, []);
}
