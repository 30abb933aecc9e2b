//! Partials of sentences that are still being spoken.

use asterscribe_call::SpokenWord;

use super::*;

fn rig() -> Rig {
    Rig::new(SessionConfig {
        partials: Some(PartialConfig::default()),
        ..SessionConfig::default()
    })
}

/// Answers the newest question with these words.
fn draft(rig: &mut Rig, text: &str) {
    let (revision, _) = *rig.drafts.last().expect("something was asked");
    let leg = rig.leg;
    let word = |text: &str| SpokenWord {
        text: text.to_owned(),
        start_ms: 0,
        end_ms: 900,
        probability: 0.9,
    };
    let result = Some(Recognition {
        text: text.to_owned(),
        words: text.split_whitespace().map(word).collect(),
        ..Recognition::default()
    });
    rig.input(SessionInput::Drafted {
        leg,
        revision,
        result,
    });
}

/// Speaks the first packets of the prompt.
fn begin(rig: &mut Rig, packets: std::ops::Range<usize>) {
    for (n, payload) in speech()
        .iter()
        .enumerate()
        .take(packets.end)
        .skip(packets.start)
    {
        let seq = u16::try_from(n).unwrap();
        rig.send(&packet(seq, u32::from(seq) * 160, 0, payload));
        rig.pass(PACKET);
    }
}

#[test]
fn a_sentence_is_shown_within_a_second_and_revised_until_its_line_comes() {
    let mut rig = rig();
    begin(&mut rig, 0..50);
    assert_eq!(rig.drafts.len(), 1, "one second of speech");
    draft(&mut rig, "my account");
    begin(&mut rig, 50..95);
    draft(&mut rig, "my account number");
    let shown: Vec<_> = rig
        .partials
        .iter()
        .map(|partial| {
            (
                partial.text.as_str(),
                partial.stable_words,
                partial.revision,
            )
        })
        .collect();
    assert_eq!(shown, [("my account", 0, 1), ("my account number", 2, 2)]);
    let end = speech().len();
    begin(&mut rig, 95..end);
    rig.pass(Duration::from_secs(2));
    let asked = rig.drafts.len();
    rig.answer(0, "my account number is four");
    assert_eq!(rig.lines.len(), 1);
    // What was asked of it and comes only now is of no interest any more.
    let before = rig.partials.len();
    draft(&mut rig, "my account number is");
    assert_eq!((rig.partials.len(), rig.drafts.len()), (before, asked));
}

#[test]
fn a_question_that_is_not_answered_is_not_repeated() {
    let mut rig = rig();
    let end = speech().len();
    begin(&mut rig, 0..end);
    assert_eq!(rig.drafts.len(), 1);
}

#[test]
fn what_was_shown_of_a_sentence_without_words_is_taken_back() {
    let mut rig = rig();
    begin(&mut rig, 0..60);
    draft(&mut rig, "mhm");
    rig.pass(Duration::from_secs(2));
    rig.answer(0, "");
    assert!(rig.lines.is_empty());
    let texts: Vec<_> = rig
        .partials
        .iter()
        .map(|partial| partial.text.as_str())
        .collect();
    assert_eq!(texts, ["mhm", ""]);
}

#[test]
fn a_phantom_is_not_shown_even_for_a_moment() {
    let mut rig = rig();
    begin(&mut rig, 0..60);
    let (revision, _) = rig.drafts[0];
    let leg = rig.leg;
    let result = Some(Recognition {
        text: "Thanks for watching!".to_owned(),
        language: "en".to_owned(),
        ..Recognition::default()
    });
    rig.input(SessionInput::Drafted {
        leg,
        revision,
        result,
    });
    assert!(rig.partials.is_empty());
}

#[test]
fn a_draft_of_the_next_sentence_stays_when_the_line_of_the_last_one_comes_without_words() {
    let mut rig = rig();
    let end = speech().len();
    begin(&mut rig, 0..end);
    // The pause in which the first sentence ends, then the next one, on the same timeline.
    let rest = std::iter::repeat_n(SILENCE.to_vec(), 60).chain(speech());
    for (seq, payload) in (u16::try_from(end).unwrap()..).zip(rest) {
        rig.send(&packet(seq, u32::from(seq) * 160, 0, &payload));
        rig.pass(PACKET);
    }
    assert_eq!(rig.jobs.len(), 1, "the first sentence waits for its line");
    draft(&mut rig, "and the next");
    let shown = rig.partials.last().unwrap().clone();
    assert_eq!(shown.text, "and the next");
    rig.answer(0, "");
    assert_eq!(rig.partials.last(), Some(&shown), "it was taken back");
    // The call ends with the second sentence unanswered, then without words.
    rig.input(SessionInput::Hangup);
    rig.answer(1, "");
    assert_eq!(rig.partials.last().unwrap().text, "");
    assert!(rig.closed.is_some());
}

#[test]
fn an_answer_that_comes_when_the_sentence_is_over_is_not_shown() {
    let mut rig = rig();
    begin(&mut rig, 0..60);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.jobs.len(), 1);
    draft(&mut rig, "too late");
    assert!(rig.partials.is_empty(), "{:?}", rig.partials);
}
