//! Jobs that waited too long and come back with their samples.

use super::*;

#[test]
fn what_nobody_had_time_for_comes_in_its_turn_with_its_samples() {
    let mut rig = Rig::new(SessionConfig::default());
    say_sentences(&mut rig, 2);
    let (job, length) = rig.jobs[1];
    let samples: Vec<i16> = (0..length).map(|n| n as i16).collect();
    rig.input(SessionInput::Recognised {
        job,
        result: Err(UnheardReason::Late(samples.clone())),
    });
    assert_eq!(rig.deferred, []);
    rig.answer(0, "first");
    let [deferred] = &rig.deferred[..] else {
        panic!("{:?}", rig.deferred);
    };
    assert_eq!(
        (deferred.line.seq, deferred.line.state.gap()),
        (1, Some(GapReason::Spooled))
    );
    assert_eq!(deferred.samples, samples);
    let audio = rig.session.snapshots()[0].audio;
    assert_eq!(
        (audio.gaps.spooled, audio.is_conserved()),
        (deferred.audio, true)
    );
    assert_eq!(rig.stats().unrecognised, 1);
}

#[test]
fn what_is_to_be_heard_once_more_comes_with_its_words_and_its_samples() {
    let mut rig = Rig::new(SessionConfig {
        second_pass: Some("large".into()),
        ..SessionConfig::default()
    });
    say_sentences(&mut rig, 2);
    rig.answer(0, "first");
    rig.input(SessionInput::Recognised {
        job: rig.jobs[1].0,
        result: Err(GapReason::RecognitionFailed.into()),
    });
    assert_eq!(rig.lines, []);
    let texts = rig
        .deferred
        .iter()
        .map(|deferred| deferred.line.text.as_str());
    assert_eq!(texts.collect::<Vec<_>>(), ["first", ""]);
    for (deferred, (_, length)) in rig.deferred.iter().zip(&rig.jobs) {
        assert_eq!(deferred.samples.len(), *length);
        assert_eq!(deferred.second_pass.as_deref(), Some("large"));
        assert!(deferred.audio > 0);
    }
    let gap = rig.deferred[1].line.state.gap();
    assert_eq!(gap, Some(GapReason::RecognitionFailed));
}

#[test]
fn speech_beyond_the_bound_makes_one_line_however_long_the_engine_is_stuck() {
    let mut rig = Rig::new(SessionConfig {
        max_jobs: 1,
        ..SessionConfig::default()
    });
    say_sentences(&mut rig, 6);
    rig.answer(0, "first");
    assert_eq!(rig.lines.len(), 2, "{:?}", rig.lines);
    let shed = &rig.lines[1];
    assert_eq!(shed.state.gap(), Some(GapReason::OverloadShed));
    assert!(shed.end_ms - shed.start_ms > 10_000, "{shed:?}");
    assert_eq!(rig.stats().unrecognised, 5);
}
