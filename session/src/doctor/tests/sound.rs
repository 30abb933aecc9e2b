//! Findings that the sound shows.

use super::signals::{
    cadence, clipped, mixed, music, noise, prompts, rumble, silence, sound, speech, tones,
};
use super::*;

#[test]
fn recorded_speech_is_healthy() {
    for (name, samples) in prompts("wav") {
        let mut patient = Patient::any();
        for _ in 0..3 {
            patient.hear(&samples);
        }
        patient.assert_healthy(&name);
    }
    for (name, samples) in prompts("wav16") {
        let mut patient = Patient::any();
        patient.hear_linear(118, &samples, i16::to_be_bytes);
        patient.assert_healthy(&name);
    }
    let mut patient = Patient::any();
    patient.hear(&speech());
    patient.hear_linear(10, &speech(), i16::to_be_bytes);
    patient.assert_healthy("all of it");
}

#[test]
fn silence_and_noise_are_healthy() {
    let speech = speech();
    let babble = mixed(&[
        &speech,
        &speech[20_000..],
        &speech[55_000..],
        &speech[90_000..],
    ]);
    for (name, samples) in [
        ("silence", silence(30.0)),
        ("hiss", noise(30.0, 0.001)),
        ("white noise", noise(30.0, 0.1)),
        ("loud noise", noise(30.0, 0.5)),
        ("rumble", rumble(30.0, 0.3)),
        ("babble", babble),
        ("speech in noise", mixed(&[&speech, &noise(30.0, 0.02)])),
    ] {
        let mut patient = Patient::any();
        patient.hear(&samples);
        patient.assert_healthy(name);
    }
}

#[test]
fn ringback_of_many_countries_is_told_within_two_seconds_and_its_cadence_later() {
    for (name, frequencies, lengths, said) in [
        (
            "North America",
            &[440.0, 480.0][..],
            &[2.0, 4.0][..],
            "ringback",
        ),
        (
            "United Kingdom",
            &[400.0, 450.0],
            &[0.4, 0.2, 0.4, 2.0],
            "ringback",
        ),
        ("Germany", &[425.0], &[1.0, 4.0], "ringback"),
        ("France", &[440.0], &[1.5, 3.5], "ringback"),
        ("Sweden", &[425.0], &[1.0, 5.0], "ringback"),
        ("China", &[450.0], &[1.0, 4.0], "ringback"),
        ("Spain", &[425.0], &[1.5, 3.0], "ringback"),
        ("busy, Europe", &[425.0], &[0.5, 0.5], "busy"),
        (
            "busy, North America",
            &[480.0, 620.0],
            &[0.5, 0.5],
            "busy or reorder",
        ),
        (
            "reorder, North America",
            &[480.0, 620.0],
            &[0.25, 0.25],
            "busy or reorder",
        ),
        (
            "dial tone, North America",
            &[350.0, 440.0],
            &[10.0],
            "dial tone",
        ),
        (
            "dial tone, United Kingdom",
            &[350.0, 450.0],
            &[10.0],
            "dial tone",
        ),
    ] {
        let mut patient = Patient::any();
        let rounds = (20.0 / lengths.iter().sum::<f64>()) as usize;
        patient.hear(&cadence(frequencies, lengths, rounds));
        assert_eq!(
            patient.kinds(),
            [FindingKind::Ringback],
            "{name}: {:#?}",
            patient.doctor.findings()
        );
        let told = patient.told_at(FindingKind::Ringback);
        assert!(told <= 2_000, "{name}: told at {told} ms");
        let finding = patient.found(FindingKind::Ringback).clone();
        assert!(finding.since_ms <= 250, "{name}: {finding:?}");
        assert!(
            finding.evidence.contains(said),
            "{name}: {}",
            finding.evidence
        );
        assert_eq!(patient.lasting(), [FindingKind::Ringback], "{name}");
        let rang_until = patient.ms();
        patient.hear(&speech());
        let until = patient.found(FindingKind::Ringback).until_ms.unwrap();
        assert!(
            until <= rang_until + 100,
            "{name}: over at {until}, rang until {rang_until}"
        );
        assert_eq!(
            patient.kinds(),
            [FindingKind::Ringback],
            "{name}: {:#?}",
            patient.doctor.findings()
        );
    }
}

#[test]
fn ringback_that_just_stops_is_over_when_the_next_burst_is_overdue() {
    let mut patient = Patient::any();
    patient.hear(&cadence(&[425.0], &[1.0, 4.0], 3));
    patient.pass(Duration::from_secs(5));
    let finding = patient.found(FindingKind::Ringback);
    assert!(
        finding.until_ms.unwrap().abs_diff(11_000) < 200,
        "{finding:?}"
    );
    assert!(
        finding.evidence.contains("1.0 s on and 4.0 s off"),
        "{finding:?}"
    );
}

#[test]
fn the_cadence_survives_a_sender_that_sends_nothing_in_the_pauses() {
    let mut patient = Patient::any();
    for _ in 0..4 {
        patient.hear(&tones(1.0, &[425.0], 0.1));
        patient.pass(Duration::from_secs(4));
    }
    assert_eq!(patient.lasting(), [FindingKind::Ringback]);
    let finding = patient.found(FindingKind::Ringback);
    assert!(finding.evidence.ends_with("ringback"), "{finding:?}");
}

#[test]
fn a_constant_tone_is_told_within_two_seconds_and_for_as_long_as_it_lasts() {
    for frequency in [300.0, 700.0, 1004.0, 1400.0, 2100.0, 3000.0] {
        let mut patient = Patient::any();
        patient.hear(&speech()[..24_000]);
        let begun = patient.ms();
        patient.hear(&tones(20.0, &[frequency], 0.2));
        assert_eq!(
            patient.lasting(),
            [FindingKind::ConstantTone],
            "{frequency}"
        );
        let told = patient.told_at(FindingKind::ConstantTone) - begun;
        assert!((900..=2_000).contains(&told), "{frequency}: {told}");
        let finding = patient.found(FindingKind::ConstantTone);
        assert!(
            finding.evidence.contains(&format!("{frequency:.0} Hz")),
            "{finding:?}"
        );
        let over = patient.ms();
        patient.hear(&speech());
        let until = patient.found(FindingKind::ConstantTone).until_ms.unwrap();
        assert!(until.abs_diff(over) <= 200, "{until} {over}");
    }
}

#[test]
fn keys_beeps_and_short_tones_are_none() {
    let mut patient = Patient::any();
    for keys in [
        [697.0, 1209.0],
        [770.0, 1336.0],
        [941.0, 1477.0],
        [852.0, 1209.0],
    ] {
        patient.hear(&tones(0.25, &keys, 0.1));
        patient.hear(&silence(0.1));
    }
    patient.hear(&speech()[..40_000]);
    patient.hear(&tones(0.5, &[1000.0], 0.2));
    patient.hear(&speech());
    patient.assert_healthy("keys and a beep");
}

#[test]
fn music_is_told_though_it_takes_longer() {
    for beat in [0.4, 0.5, 0.6, 0.75, 0.9, 1.0, 2.0] {
        let mut patient = Patient::any();
        patient.hear(&music(20.0, beat));
        assert_eq!(
            patient.lasting(),
            [FindingKind::Music],
            "{beat}: {:#?}",
            patient.doctor.findings()
        );
        let told = patient.told_at(FindingKind::Music);
        assert!(told <= 7_000, "{told}");
        patient.hear(&speech());
        assert_eq!(patient.lasting(), [], "{beat}");
        assert_eq!(patient.kinds(), [FindingKind::Music], "{beat}");
    }
}

#[test]
fn clipping_is_told_and_loud_speech_is_not() {
    let speech = speech();
    let peak = speech.iter().map(|s| s.unsigned_abs()).max().unwrap();
    let full = 32_000.0 / f64::from(peak);
    let mut patient = Patient::any();
    patient.hear(&clipped(&speech, full));
    patient.assert_healthy("speech at full scale");
    let begun = patient.ms();
    patient.hear(&clipped(&speech, 8.0 * full));
    assert_eq!(patient.lasting(), [FindingKind::Clipping]);
    let told = patient.told_at(FindingKind::Clipping) - begun;
    assert!(told <= 2_000, "{told}");
    patient.hear(&speech);
    assert_eq!(patient.lasting(), []);
    assert_eq!(patient.kinds(), [FindingKind::Clipping]);
}

#[test]
fn a_leg_that_is_mute_while_the_other_speaks() {
    let mut patient = Patient::any();
    let mut until_told = None;
    for second in 0..20 {
        patient.hear(&silence(1.0));
        patient.doctor.other_leg_spoke(patient.now, 700);
        patient.news.extend(patient.doctor.take_news());
        if until_told.is_none() && !patient.lasting().is_empty() {
            until_told = Some(second);
        }
    }
    assert_eq!(patient.lasting(), [FindingKind::OneLegSilent]);
    assert_eq!(until_told, Some(11), "8 s of speech");
    assert_eq!(patient.found(FindingKind::OneLegSilent).since_ms, 0);
    patient.hear(&speech()[..16_000]);
    assert_eq!(patient.lasting(), []);
}

#[test]
fn one_who_listens_or_sends_nothing_is_not_mute() {
    let mut listener = Patient::any();
    listener.hear(&speech()[..16_000]);
    for _ in 0..28 {
        listener.hear(&silence(1.0));
        listener.doctor.other_leg_spoke(listener.now, 1_000);
    }
    listener.assert_healthy("a listener of half a minute");
    let mut absent = Patient::any();
    absent.hear(&silence(0.5));
    for _ in 0..60 {
        absent.pass(Duration::from_secs(1));
        absent.doctor.other_leg_spoke(absent.now, 1_000);
    }
    absent.assert_healthy("a sender of nothing in silence");
}

#[test]
fn who_speaks_is_told_to_the_others_and_machines_are_not() {
    let spoken = |samples: &[i16]| {
        let mut patient = Patient::any();
        patient.hear(samples);
        patient.doctor.take_spoken_ms()
    };
    let speech = speech();
    let length = speech.len() as u32 / 8;
    assert!(
        (length / 2..length).contains(&spoken(&speech)),
        "{}",
        spoken(&speech)
    );
    assert_eq!(spoken(&silence(10.0)), 0);
    assert_eq!(spoken(&sound(10.0, |t| 0.001 * (t * 3000.0).sin())), 0);
    assert!(spoken(&tones(10.0, &[1000.0], 0.2)) < 1_500);
}

#[test]
fn hum_and_an_offset_are_nobodys_voice() {
    for (name, samples) in [
        ("50 Hz", tones(20.0, &[50.0], 0.3)),
        ("60 Hz", tones(20.0, &[60.0], 0.3)),
        ("100 Hz", tones(20.0, &[100.0], 0.1)),
        ("an offset", sound(20.0, |_| -0.2)),
    ] {
        let mut patient = Patient::any();
        patient.hear(&samples);
        // A look at its very beginning, where the filter settles.
        assert!(patient.doctor.take_spoken_ms() <= 100, "{name}");
        patient.assert_healthy(name);
    }
    // Whoever has no microphone, but a bad earth, is mute.
    let mut patient = Patient::any();
    for _ in 0..20 {
        patient.hear(&tones(1.0, &[50.0], 0.1));
        patient.doctor.other_leg_spoke(patient.now, 700);
    }
    assert_eq!(patient.lasting(), [FindingKind::OneLegSilent]);
    let speech = speech();
    let hum = tones(30.0, &[50.0], 0.2);
    let mut patient = Patient::any();
    patient.hear(&mixed(&[&speech, &hum]));
    let spoken = patient.doctor.take_spoken_ms();
    assert!(spoken > speech.len() as u32 / 8 / 2, "{spoken}");
}
