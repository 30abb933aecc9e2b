//! Payloads to which nobody has the key, and sounds that are taken for none.

use asterscribe_call::FindingKind;
use asterscribe_codecs::{Codec, MediaFormat, SendFormat, StreamEncoder, g711};

use super::*;

/// Random bytes that depend on their seed only.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u8 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 56) as u8
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// Packets of 20 ms: payload type, what they add to the timestamps, and the payloads.
fn hear(payload_type: u8, ticks: u32, payloads: impl Iterator<Item = Vec<u8>>) -> Rig {
    let mut rig = Rig::new(SessionConfig {
        partials: Some(PartialConfig::default()),
        ..SessionConfig::default()
    });
    for (n, payload) in (0..).zip(payloads) {
        let seq = (n & 0xffff) as u16;
        rig.send(&packet(
            seq,
            (n as u32).wrapping_mul(ticks),
            payload_type,
            &payload,
        ));
        rig.pass(PACKET);
    }
    rig
}

fn kinds(rig: &Rig) -> Vec<FindingKind> {
    let leg = &rig.session.snapshots()[0];
    leg.findings.iter().map(|finding| finding.kind).collect()
}

/// Payload type, ticks and bytes of 20 ms.
const FORMATS: [(u8, u32, usize); 8] = [
    (0, 160, 160),
    (8, 160, 160),
    (9, 160, 160),
    (3, 160, 33),
    (107, 960, 60),
    (107, 960, 160),
    (118, 320, 640),
    (10, 160, 320),
];

#[test]
fn what_is_encrypted_is_found_and_nothing_of_it_heard() {
    for (payload_type, ticks, length) in FORMATS {
        for tag in [4, 10, 16] {
            let mut dice = Dice(u64::from(payload_type) * 100 + tag as u64);
            let what = format!("payload type {payload_type}, {length} + {tag} bytes");
            let mut rig = hear(
                payload_type,
                ticks,
                (0..3_000).map(|_| dice.bytes(length + tag)),
            );
            assert_eq!(kinds(&rig), [FindingKind::Encrypted], "{what}");
            assert_eq!((rig.jobs.len(), rig.drafts.len()), (0, 0), "{what}");
            rig.input(SessionInput::Hangup);
            let leg = &rig.closed.expect("nothing is waited for")[0];
            let audio = leg.audio;
            assert!(
                audio.is_conserved() && audio.pending == 0,
                "{what}: {audio:?}"
            );
            assert!(audio.span.abs_diff(960_000) <= 3_200, "{what}: {audio:?}");
            assert_eq!(audio.transcribed, 0, "{what}");
            assert!(audio.gaps.decode_error >= 940_000, "{what}: {audio:?}");
        }
    }
}

#[test]
fn g711_and_g722_are_known_to_be_encrypted_without_a_tag() {
    for payload_type in [0, 8, 9] {
        let mut dice = Dice(5);
        let rig = hear(payload_type, 160, (0..500).map(|_| dice.bytes(160)));
        assert_eq!(kinds(&rig), [FindingKind::Encrypted], "{payload_type}");
        assert!(rig.jobs.is_empty());
    }
}

#[test]
fn once_it_is_plain_it_is_heard() {
    let mut dice = Dice(3);
    let secret = (0..200).map(|_| dice.bytes(170));
    let plain = std::iter::repeat_n(SILENCE.to_vec(), 60).chain(speech());
    let quiet = std::iter::repeat_n(SILENCE.to_vec(), 100);
    let rig = hear(0, 160, secret.chain(plain).chain(quiet));
    assert_eq!(rig.jobs.len(), 1);
    let leg = &rig.session.snapshots()[0];
    assert!(leg.findings[0].until_ms.is_some(), "{:?}", leg.findings);
}

#[test]
fn a_call_that_begins_to_be_encrypted_is_not_heard_from_then_on() {
    let mut dice = Dice(4);
    let plain = speech()
        .into_iter()
        .chain(std::iter::repeat_n(SILENCE.to_vec(), 50));
    let rig = hear(0, 160, plain.chain((0..500).map(|_| dice.bytes(164))));
    assert_eq!(rig.jobs.len(), 1, "what was said before");
    assert_eq!(kinds(&rig), [FindingKind::Encrypted]);
}

/// Sounds at 8 kHz that are hard to tell from dice.
fn sounds() -> Vec<(&'static str, Vec<i16>)> {
    let mut dice = Dice(11);
    let mut uniform = |amplitude: f64| {
        (f64::from(dice.next()) * 256.0 + f64::from(dice.next())) / 32_768.0 * amplitude - amplitude
    };
    let noise = |loud: f64, uniform: &mut dyn FnMut(f64) -> f64| -> Vec<i16> {
        (0..80_000)
            .map(|_| (uniform(loud) * 32_767.0) as i16)
            .collect()
    };
    let mut all = Vec::new();
    for (name, loud) in [
        ("noise", 0.01),
        ("loud noise", 0.2),
        ("noise at full scale", 1.0),
    ] {
        all.push((name, noise(loud, &mut uniform)));
    }
    let gauss = |uniform: &mut dyn FnMut(f64) -> f64| (0..6).map(|_| uniform(0.3)).sum::<f64>();
    let normal = (0..80_000)
        .map(|_| (gauss(&mut uniform) * 8_000.0) as i16)
        .collect();
    all.push(("noise as of a line", normal));
    // Bursts of every loudness: as near to dice as sound comes.
    let bursts = (0..80_000).map(|n| {
        let loud = 2f64.powi(-(n / 40 % 12));
        (uniform(1.0) * loud * 32_000.0) as i16
    });
    all.push(("bursts of noise", bursts.collect()));
    let wave = |f: f64, n: i32| (f64::from(n) * f / 8_000.0 * std::f64::consts::TAU).sin();
    let chord =
        (0..80_000).map(|n| ((wave(261.6, n) + wave(329.6, n) + wave(392.0, n)) * 9_000.0) as i16);
    all.push(("music", chord.collect()));
    // V.21 as of a fax: one of two tones, by chance, 300 a second.
    let mut bits = Dice(7);
    let (mut phase, mut tone) = (0.0f64, 0.0);
    let fax = (0..80_000).map(|n| {
        if n % 27 == 0 {
            tone = if bits.next() & 1 == 0 {
                1_650.0
            } else {
                1_850.0
            };
        }
        phase += tone / 8_000.0 * std::f64::consts::TAU;
        (phase.sin() * 12_000.0) as i16
    });
    all.push(("fax", fax.collect()));
    let said = speech()
        .concat()
        .iter()
        .map(|&byte| g711::decode_ulaw(byte))
        .collect();
    all.push(("speech", said));
    all
}

#[test]
fn no_sound_is_taken_for_encrypted_whatever_its_timestamps() {
    for (name, samples) in sounds() {
        for format in [MediaFormat::Ulaw, MediaFormat::Alaw, MediaFormat::G722] {
            let codec = format.codec();
            // Samples for 20 ms.
            let count = if codec == Codec::G722 { 320 } else { 160 };
            let mut encoder = StreamEncoder::new(SendFormat::towards(format));
            let mut payloads = Vec::new();
            for part in samples.chunks_exact(count) {
                let mut payload = Vec::new();
                encoder.encode(part, &mut payload);
                payloads.push(payload);
            }
            let payload_type = match codec {
                Codec::Ulaw => 0,
                Codec::Alaw => 8,
                _ => 9,
            };
            for ticks in [160, 150, 320] {
                let rig = hear(payload_type, ticks, payloads.iter().cloned());
                let found = kinds(&rig);
                assert!(
                    !found.contains(&FindingKind::Encrypted),
                    "{name} as {codec:?} by {ticks}: {found:?}"
                );
            }
        }
    }
}
