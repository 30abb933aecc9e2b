//! Sounds that are no speech.

use asterscribe_call::{LegSound, SoundKind};

use super::*;

fn rig() -> Rig {
    Rig::new(SessionConfig {
        partials: Some(PartialConfig::default()),
        ..SessionConfig::default()
    })
}

/// Packets of µ-law: North America's ringback, 2 s on and 4 s off.
fn ringback(times: usize) -> Vec<Vec<u8>> {
    let sine = |hz: f32, n: usize| (std::f32::consts::TAU * hz * n as f32 / 8_000.0).sin();
    let sample = |n: usize| match n % 48_000 {
        0..16_000 => (4_000.0 * (sine(440.0, n) + sine(480.0, n))) as i16,
        _ => 0,
    };
    let ulaw: Vec<u8> = (0..48_000 * times)
        .map(|n| asterscribe_codecs::g711::encode_ulaw(sample(n)))
        .collect();
    ulaw.chunks_exact(160).map(<[u8]>::to_vec).collect()
}

fn send_all(rig: &mut Rig, payloads: &[Vec<u8>]) {
    for (n, payload) in (0..).zip(payloads) {
        let seq = u16::try_from(n).unwrap();
        rig.send(&packet(seq, u32::from(seq) * 160, 0, payload));
        rig.pass(PACKET);
    }
}

#[test]
fn ringback_is_listed_and_what_is_said_after_it_recognised() {
    let mut rig = rig();
    let pause = vec![SILENCE.to_vec(); 50];
    let rings = ringback(2);
    send_all(&mut rig, &rings);
    assert_eq!((rig.jobs.len(), rig.drafts.len()), (0, 0));
    let mut rig = self::rig();
    send_all(&mut rig, &[rings, speech(), pause].concat());
    assert_eq!(rig.jobs.len(), 1);
    assert!(!rig.drafts.is_empty(), "speech is shown as it is said");
    rig.answer(0, "my account number");
    rig.input(SessionInput::Hangup);
    let legs = rig.closed.unwrap();
    let LegSound {
        kind,
        start_ms,
        end_ms,
    } = legs[0].sounds.sounds[0];
    assert_eq!(legs[0].sounds.sounds.len(), 1, "{:?}", legs[0].sounds);
    assert_eq!(kind, SoundKind::Ringback);
    assert!(
        start_ms <= 40 && (7_960..8_060).contains(&end_ms),
        "{start_ms}-{end_ms}"
    );
    let audio = legs[0].audio;
    assert!(audio.is_conserved() && audio.pending == 0, "{audio:?}");
    assert_eq!(audio.span, audio.transcribed + audio.non_speech);
    assert!(audio.non_speech >= 12 * 16_000 - 6_000, "{audio:?}");
    let line = &rig.lines[0];
    assert!((11_500..12_300).contains(&line.start_ms), "{line:?}");
}

#[test]
fn a_call_keeps_a_bounded_number_of_sounds_and_counts_the_rest() {
    let mut rig = rig();
    // A key every 6 s: too far apart to be one.
    let sine = |hz: f32, n: usize| (std::f32::consts::TAU * hz * n as f32 / 8_000.0).sin();
    let key = (0..160 * 10).map(|n| (4_000.0 * (sine(770.0, n) + sine(1_336.0, n))) as i16);
    let key: Vec<u8> = key.map(asterscribe_codecs::g711::encode_ulaw).collect();
    let key: Vec<Vec<u8>> = key.chunks_exact(160).map(<[u8]>::to_vec).collect();
    let once = [key, vec![SILENCE.to_vec(); 290]].concat();
    send_all(&mut rig, &vec![once; 70].concat());
    rig.input(SessionInput::Hangup);
    let sounds = &rig.closed.unwrap()[0].sounds;
    assert_eq!(sounds.sounds.len(), asterscribe_call::LegSounds::MOST);
    // The detector may need one to get used to.
    assert!(
        (5..=6).contains(&sounds.sounds_left_out),
        "{}",
        sounds.sounds_left_out
    );
    assert!(
        sounds
            .sounds
            .iter()
            .all(|sound| sound.kind == SoundKind::Dtmf)
    );
    assert!(rig.jobs.is_empty());
}

#[test]
fn with_the_setting_off_everything_is_recognised() {
    let mut config = SessionConfig::default();
    config.segmenter.tell_sounds = false;
    let mut rig = Rig::new(config);
    send_all(&mut rig, &ringback(1));
    assert_eq!(rig.jobs.len(), 1);
    assert!(rig.session.snapshots()[0].sounds.sounds.is_empty());
}
