//! A network or a sender that stands still within a word and goes on where it was.

use super::*;

/// Packets of silence that whoever sends silence has sent before he speaks.
const LEAD: usize = 50;

/// The prompt between silences, from `skipped` packets of it on. Before some packets all stand
/// still for so long; what was held up then comes at once. Those of `lost` never come.
fn talk(skipped: usize, freezes: &[(usize, Duration)], lost: &[usize]) -> Rig {
    let mut rig = Rig::new(SessionConfig {
        partials: Some(PartialConfig::default()),
        ..SessionConfig::default()
    });
    let silence = |count| std::iter::repeat_n(SILENCE.to_vec(), count);
    let packets = silence(LEAD).chain(speech()).chain(silence(75));
    let mut behind = Duration::ZERO;
    for (n, payload) in packets.enumerate().skip(skipped) {
        if let Some((_, freeze)) = freezes.iter().find(|(before, _)| *before == n) {
            rig.pass(*freeze);
            behind += *freeze;
        }
        if !lost.contains(&n) {
            let seq = u16::try_from(n).unwrap();
            rig.send(&packet(seq, u32::from(seq) * 160, 0, &payload));
        }
        rig.pass(PACKET.saturating_sub(behind));
        behind = behind.saturating_sub(PACKET);
    }
    rig
}

/// Hangs up and settles the books; the lines' times.
fn lines(rig: &mut Rig) -> Vec<(u64, u64)> {
    rig.input(SessionInput::Hangup);
    for n in 0..rig.jobs.len() {
        rig.answer(n, "words");
    }
    let leg = &rig.closed.take().expect("all is answered")[0];
    assert!(leg.audio.is_conserved(), "{:?}", leg.audio);
    assert_eq!(leg.audio.pending, 0);
    rig.lines
        .iter()
        .map(|line| (line.start_ms, line.end_ms))
        .collect()
}

/// The places in the prompt, packets, some of them within each word.
fn places() -> impl Iterator<Item = usize> {
    (LEAD + 1..LEAD + speech().len()).step_by(4)
}

#[test]
fn a_freeze_within_a_word_leaves_the_sentence_whole() {
    let whole = lines(&mut talk(0, &[], &[]));
    assert_eq!(whole.len(), 1);
    for ms in [750, 1_500, 5_000, 8_000] {
        for place in places() {
            let mut rig = talk(0, &[(place, Duration::from_millis(ms))], &[]);
            assert_eq!(lines(&mut rig), whole, "{ms} ms at {place}");
        }
    }
}

#[test]
fn a_freeze_of_a_sender_of_which_nothing_is_known_may_last_for_two_seconds() {
    let whole = lines(&mut talk(LEAD, &[], &[]));
    for place in places() {
        let mut rig = talk(LEAD, &[(place, Duration::from_millis(1_900))], &[]);
        assert_eq!(lines(&mut rig), whole, "at {place}");
    }
}

#[test]
fn two_freezes_within_a_word_and_a_packet_that_never_comes_change_nothing() {
    let whole = lines(&mut talk(0, &[], &[]));
    let freeze = Duration::from_millis(2_500);
    for place in places() {
        let mut rig = talk(0, &[(place, freeze), (place + 2, freeze)], &[]);
        assert_eq!(lines(&mut rig), whole, "at {place}");
        let mut rig = talk(0, &[(place, freeze)], &[place, place + 1]);
        let found = lines(&mut rig);
        assert_eq!(found.len(), 1, "at {place}: {found:?}");
        let apart = |a: u64, b: u64| a.abs_diff(b) <= 60;
        assert!(
            apart(found[0].0, whole[0].0) && apart(found[0].1, whole[0].1),
            "{found:?}"
        );
    }
}

#[test]
fn after_a_longer_freeze_no_moment_is_heard_twice() {
    let whole = lines(&mut talk(0, &[], &[]))[0];
    for place in places() {
        let mut rig = talk(0, &[(place, Duration::from_secs(12))], &[]);
        let found = lines(&mut rig);
        assert!(
            found.windows(2).all(|pair| pair[0].1 <= pair[1].0),
            "{found:?}"
        );
        assert!(found.len() <= 2, "{found:?}");
        let length: u64 = found.iter().map(|(start, end)| end - start).sum();
        // Without what the detector remembers the end is found a little later.
        assert!(length <= whole.1 - whole.0 + 300, "{found:?}");
    }
}

#[test]
fn a_freeze_in_a_pause_ends_the_sentence_as_before() {
    let spoken = LEAD + speech().len();
    let mut rig = talk(0, &[(spoken + 10, Duration::from_secs(3))], &[]);
    assert_eq!(lines(&mut rig).len(), 1);
    let mut rig = Rig::new(SessionConfig::default());
    for n in 0..spoken + 10 {
        let payload = speech().get(n.wrapping_sub(LEAD)).cloned();
        let payload = payload.unwrap_or_else(|| SILENCE.to_vec());
        rig.send(&packet(n as u16, n as u32 * 160, 0, &payload));
        rig.pass(PACKET);
    }
    rig.pass(Duration::from_millis(700));
    assert_eq!(rig.jobs.len(), 1);
}

#[test]
fn partial_results_go_on_over_a_freeze() {
    let mut rig = talk(0, &[(LEAD + 70, Duration::from_secs(3))], &[]);
    let asked: Vec<_> = rig.drafts.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(asked, [1], "nobody answered, so nobody is asked again");
    let frozen = rig.drafts[0].1;
    assert!(frozen < rig.jobs[0].1, "{frozen}");
    rig.answer(0, "my account number");
    assert_eq!(lines(&mut rig).len(), 1);
}
