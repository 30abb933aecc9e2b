//! Detection of each party's language, once for the call where it is to be detected.

use asterscribe_call::CallEventKind;

use super::*;

fn detecting() -> CallOptions {
    CallOptions {
        choices: Arc::new(DecodeOptions {
            among: vec!["en".to_owned(), "de".to_owned()],
            ..DecodeOptions::default()
        }),
        partials: None,
        second_pass: None,
    }
}

fn rig(manner: CallOptions) -> Rig {
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
    rig.input(SessionInput::Recognised { job, result });
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
    hear(&mut rig, "yes", "de", None, 1.0);
    utterance(&mut rig, &mut seq, &mut time);
    let languages = rig
        .choices
        .iter()
        .map(|choices| choices.language.as_deref());
    let mut expected = vec![None; 6];
    expected.extend([Some("de"), Some("de")]);
    assert_eq!(languages.collect::<Vec<_>>(), expected);
    assert_eq!(rig.choices[6].among, ["en", "de"]);
    let is_detected = rig
        .choices
        .iter()
        .map(|choices| choices.language_is_detected);
    assert!(is_detected.eq((0..8).map(|n| n >= 6)));
    let [text] = locked(&rig)[..] else {
        panic!("{:?}", rig.events);
    };
    assert!(text.starts_with("de: probability 0.97"), "{text}");
    let snapshot = &rig.session.snapshots()[0];
    assert_eq!(snapshot.language.as_deref(), Some("de"));
}

#[test]
fn an_utterance_that_is_surely_of_another_language_settles_that() {
    let mut rig = rig(detecting());
    let (mut seq, mut time) = (1, 1000);
    utterance(&mut rig, &mut seq, &mut time);
    hear(
        &mut rig,
        "Ihr Anruf wird aufgezeichnet",
        "de",
        Some(0.97),
        0.9,
    );
    utterance(&mut rig, &mut seq, &mut time);
    hear(&mut rig, "my account number is four", "en", Some(0.79), 0.9);
    assert_eq!(rig.session.choices_of(0).language.as_deref(), Some("de"));
    utterance(&mut rig, &mut seq, &mut time);
    hear(&mut rig, "can you call me back", "en", Some(0.95), 0.9);
    assert_eq!(rig.session.choices_of(0).language.as_deref(), Some("en"));
    assert_eq!(locked(&rig).len(), 2);
    let [text] = reopened(&rig)[..] else {
        panic!("{:?}", rig.events);
    };
    assert!(text.contains("surely en"), "{text}");
}

#[test]
fn what_was_said_last_settles_it_in_whatever_order_results_come() {
    let mut rig = rig(detecting());
    let (mut seq, mut time) = (1, 1000);
    for _ in 0..2 {
        utterance(&mut rig, &mut seq, &mut time);
    }
    let first = rig.jobs.remove(0);
    hear(&mut rig, "meine Nummer ist vier", "de", Some(0.97), 0.9);
    rig.jobs.push(first);
    hear(&mut rig, "hello and good morning", "en", Some(0.97), 0.9);
    assert_eq!(rig.session.choices_of(0).language.as_deref(), Some("de"));
}

#[test]
fn what_was_said_to_be_spoken_is_not_found_out() {
    let choices = DecodeOptions {
        language: Some("en".to_owned()),
        ..DecodeOptions::default()
    };
    let mut rig = rig(CallOptions {
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

fn reopened(rig: &Rig) -> Vec<&str> {
    let events = rig.events.iter();
    let events = events.filter(|event| event.kind == CallEventKind::LanguageReopened);
    events.map(|event| event.text.as_str()).collect()
}

/// A session in which one party has a language, and where its next packet belongs.
struct Talk {
    rig: Rig,
    seq: u16,
    time: u32,
}

impl Talk {
    /// With a party that is taken to speak English.
    fn in_english() -> Self {
        let mut choices = detecting();
        let among = ["en", "es"].map(str::to_owned);
        choices.choices = Arc::new(DecodeOptions {
            among: among.to_vec(),
            ..DecodeOptions::default()
        });
        let mut talk = Self {
            rig: rig(choices),
            seq: 1,
            time: 1000,
        };
        talk.detect("Your call may be recorded.", "en", 0.98, 0.93);
        assert_eq!(talk.language(), Some("en"));
        talk
    }

    /// An utterance of which the language is to be detected.
    fn detect(&mut self, text: &str, language: &str, probability: f32, confidence: f32) {
        self.say(text, language, Some(probability), confidence);
    }

    /// An utterance in the language that the party is taken to speak.
    fn say(&mut self, text: &str, language: &str, probability: Option<f32>, confidence: f32) {
        utterance(&mut self.rig, &mut self.seq, &mut self.time);
        let asked = self.rig.choices.last().unwrap().language.clone();
        assert_eq!(
            asked.is_none(),
            probability.is_some(),
            "{text}: asked for {asked:?}"
        );
        hear(&mut self.rig, text, language, probability, confidence);
    }

    fn language(&self) -> Option<&str> {
        self.rig.session.locked(0)
    }

    fn wait(&mut self, time: Duration) {
        self.rig.pass(time);
        self.time += u32::try_from(time.as_millis()).unwrap() * 8;
    }
}

#[test]
fn a_language_of_an_announcement_is_given_up_for_that_of_the_party() {
    let mut talk = Talk::in_english();
    talk.say("Marche and number one", "en", None, 0.55);
    assert_eq!(
        talk.language(),
        Some("en"),
        "one utterance may be a bad one"
    );
    talk.say("Ali Dare, Adi Hado, La Conferencia", "en", None, 0.53);
    assert_eq!(talk.language(), None);
    let [text] = reopened(&talk.rig)[..] else {
        panic!("{:?}", talk.rig.events);
    };
    assert!(text.starts_with("en no longer"), "{text}");
    assert!(text.contains("0.53"), "{text}");
    assert_eq!(talk.rig.session.snapshots()[0].language, None);
    talk.detect("quiero hablar con ventas", "es", 0.97, 0.88);
    assert_eq!(talk.language(), Some("es"));
    talk.say("mi número es el cuatro", "es", None, 0.9);
    assert_eq!((locked(&talk.rig).len(), reopened(&talk.rig).len()), (2, 1));
    // The former doubt was right: there is no reason to wait with another.
    talk.say("jelou", "es", None, 0.4);
    talk.say("mai neim is", "es", None, 0.4);
    assert_eq!(talk.language(), None);
}

#[test]
fn loops_and_descriptions_of_a_foreign_language_speak_against_it_too() {
    let mut talk = Talk::in_english();
    talk.say("(speaking in foreign language)", "en", None, 0.9);
    // Neither says anything: no words at all, and music.
    talk.say("", "en", None, 0.0);
    talk.say("(upbeat music)", "en", None, 0.2);
    assert_eq!(talk.language(), Some("en"));
    talk.say(&"la la la la ".repeat(5), "en", None, 0.9);
    assert_eq!(talk.language(), None);
}

#[test]
fn words_that_fit_take_the_doubt_away() {
    let mut talk = Talk::in_english();
    for _ in 0..3 {
        talk.say("mumble", "en", None, 0.5);
        talk.say("I would like to speak to sales", "en", None, 0.92);
    }
    assert_eq!(talk.language(), Some("en"));
    assert_eq!(reopened(&talk.rig), Vec::<&str>::new());
}

#[test]
fn who_mumbles_gets_the_language_back_and_is_left_alone_for_a_while() {
    let mut talk = Talk::in_english();
    let mumble = |talk: &mut Talk| {
        for _ in 0..2 {
            talk.say("mumble", "en", None, 0.5);
        }
    };
    mumble(&mut talk);
    assert_eq!(talk.language(), None);
    talk.detect("mumble", "es", 0.6, 0.5);
    assert_eq!(talk.language(), None, "that is not certain");
    // The same language again: it was not the reason for the low confidence.
    talk.detect("mumble", "en", 0.85, 0.5);
    assert_eq!(talk.language(), Some("en"));
    for _ in 0..8 {
        mumble(&mut talk);
    }
    assert_eq!(
        (talk.language(), reopened(&talk.rig).len()),
        (Some("en"), 1)
    );
    talk.wait(Duration::from_secs(120));
    mumble(&mut talk);
    assert_eq!((talk.language(), reopened(&talk.rig).len()), (None, 2));
    talk.detect("mumble", "en", 0.85, 0.5);
    // Found again twice, it rests for longer.
    talk.wait(Duration::from_secs(180));
    mumble(&mut talk);
    assert_eq!(
        (talk.language(), reopened(&talk.rig).len()),
        (Some("en"), 2)
    );
    talk.wait(Duration::from_secs(60));
    mumble(&mut talk);
    assert_eq!(reopened(&talk.rig).len(), 3);
}

#[test]
fn hold_and_another_party_open_it_at_once() {
    let mut talk = Talk::in_english();
    let leg = Some(talk.rig.leg);
    for (leg, why) in [
        (leg, "the call was transferred"),
        (None, "the call was taken off hold"),
    ] {
        talk.rig.input(SessionInput::PartyMayDiffer { leg, why });
        assert_eq!(talk.language(), None);
        assert!(reopened(&talk.rig).last().unwrap().ends_with(why));
        let count = reopened(&talk.rig).len();
        // Nothing is locked now, so nothing is opened.
        talk.rig
            .input(SessionInput::PartyMayDiffer { leg: None, why });
        assert_eq!(reopened(&talk.rig).len(), count);
        talk.detect("mumble", "en", 0.9, 0.5);
        assert_eq!(talk.language(), None, "somebody else must leave no doubt");
        talk.detect("good morning", "en", 0.9, 0.9);
        assert_eq!(talk.language(), Some("en"));
    }
    let why = "of another call";
    let leg = Some(LegIndex::NONE);
    talk.rig.input(SessionInput::PartyMayDiffer { leg, why });
    assert_eq!(talk.language(), Some("en"));
    talk.rig.input(SessionInput::Hangup);
    talk.rig
        .input(SessionInput::PartyMayDiffer { leg: None, why });
    assert_eq!(talk.language(), Some("en"), "it is over");
}

#[test]
fn what_was_said_before_another_party_came_settles_nothing_for_that_party() {
    let mut rig = rig(detecting());
    let (mut seq, mut time) = (1, 1000);
    utterance(&mut rig, &mut seq, &mut time);
    let why = "transferred";
    rig.input(SessionInput::PartyMayDiffer { leg: None, why });
    hear(&mut rig, "meine Nummer ist vier", "de", Some(0.97), 0.9);
    assert_eq!(locked(&rig), Vec::<&str>::new());
    utterance(&mut rig, &mut seq, &mut time);
    hear(&mut rig, "my number is four", "en", Some(0.97), 0.9);
    assert_eq!(locked(&rig).len(), 1);
}

#[test]
fn a_language_that_somebody_chose_is_never_opened() {
    let choices = DecodeOptions {
        language: Some("en".to_owned()),
        ..DecodeOptions::default()
    };
    let mut rig = rig(CallOptions {
        choices: Arc::new(choices),
        partials: None,
        second_pass: None,
    });
    let (mut seq, mut time) = (1, 1000);
    for _ in 0..4 {
        utterance(&mut rig, &mut seq, &mut time);
        hear(&mut rig, "Ali Dare, Adi Hado", "en", None, 0.3);
        let why = "the call was transferred";
        rig.input(SessionInput::PartyMayDiffer { leg: None, why });
    }
    assert_eq!(reopened(&rig), Vec::<&str>::new());
    let asked = rig
        .choices
        .iter()
        .map(|choices| choices.language.as_deref());
    assert!(asked.into_iter().all(|language| language == Some("en")));
}

#[test]
fn what_was_under_way_in_a_former_language_does_not_speak_against_the_new_one() {
    let mut talk = Talk::in_english();
    // Four utterances are asked for in English before the first is answered.
    for _ in 0..4 {
        utterance(&mut talk.rig, &mut talk.seq, &mut talk.time);
    }
    let jobs: Vec<_> = talk.rig.jobs.iter().skip(1).map(|(job, _)| *job).collect();
    utterance(&mut talk.rig, &mut talk.seq, &mut talk.time);
    let answer = |talk: &mut Talk, job, language: &str, probability, confidence| {
        let result = Ok(Recognition {
            text: "something".to_owned(),
            language: language.to_owned(),
            language_probability: probability,
            confidence,
            ..Recognition::default()
        });
        talk.rig.input(SessionInput::Recognised { job, result });
    };
    for &job in &jobs {
        answer(&mut talk, job, "en", None, 0.4);
    }
    assert_eq!((talk.language(), reopened(&talk.rig).len()), (None, 1));
    let (last, _) = *talk.rig.jobs.last().unwrap();
    answer(&mut talk, last, "en", None, 0.4);
    talk.detect("quiero hablar con ventas", "es", 0.97, 0.88);
    assert_eq!(
        (talk.language(), reopened(&talk.rig).len()),
        (Some("es"), 1)
    );
}

#[test]
fn partial_results_begin_and_end_with_the_choice() {
    let mut rig = Rig::new(SessionConfig::default());
    let on = CallOptions {
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
