//! What nobody had time for.

use super::*;

#[test]
fn what_nobody_had_time_for_comes_in_its_turn_with_its_samples() {
    let mut rig = Rig::new(SessionConfig::default());
    let (mut seq, mut time) = (1, 1000);
    for _ in 0..2 {
        speak(&mut rig, &mut seq, &mut time);
        rig.pass(Duration::from_secs(2));
        time += 16_000;
    }
    let (job, length) = rig.jobs[1];
    let samples: Vec<i16> = (0..length).map(|n| n as i16).collect();
    rig.input(Input::Recognised {
        job,
        result: Err(Unheard::Late(samples.clone())),
    });
    assert_eq!(rig.deferred, []);
    rig.answer(0, "first");
    let [deferred] = &rig.deferred[..] else {
        panic!("{:?}", rig.deferred);
    };
    assert_eq!(
        (deferred.line.seq, deferred.line.gap),
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
