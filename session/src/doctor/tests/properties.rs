//! Whatever happens.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Back(u64),
    Packet(u8, Vec<u8>, i64),
    Tone(f32, f32, u8),
    Audio(Vec<f32>),
    Elsewhere(u64),
    Drops(u64),
    Other(u32),
    Drift(f32),
    Rename,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_000u64).prop_map(Step::Pass),
        (0..3_000u64).prop_map(Step::Back),
        (
            prop_oneof![Just(0u8), Just(10), Just(118), Just(97), any::<u8>()],
            prop::collection::vec(any::<u8>(), 0..700),
            any::<i64>(),
        )
            .prop_map(|(pt, bytes, jump)| Step::Packet(pt, bytes, jump)),
        (100f32..4_000.0, 0f32..2.0, 1..40u8).prop_map(|(f, a, n)| Step::Tone(f, a, n)),
        prop::collection::vec(prop_oneof![any::<f32>(), -1f32..1.0], 0..2_000)
            .prop_map(Step::Audio),
        any::<u64>().prop_map(Step::Elsewhere),
        (0..u64::from(u32::MAX)).prop_map(Step::Drops),
        any::<u32>().prop_map(Step::Other),
        any::<f32>().prop_map(Step::Drift),
        Just(Step::Rename),
    ]
}

fn arrival() -> impl Strategy<Value = ArrivalExpectation> {
    prop_oneof![
        Just(ArrivalExpectation::Unknown),
        Just(ArrivalExpectation::WithPauses),
        Just(ArrivalExpectation::Continuous)
    ]
}

fn apply(patient: &mut Patient, step: Step) {
    let ms = Duration::from_millis;
    match step {
        Step::Pass(time) => patient.pass(ms(time)),
        Step::Back(time) => {
            // A datagram that waited at the gate.
            let earlier = patient.now.checked_sub(ms(time)).unwrap_or(patient.now);
            patient.doctor.audio(earlier, &[0.1; 320]);
        }
        Step::Packet(payload_type, payload, jump) => {
            patient.time = patient.time.wrapping_add_signed(jump);
            patient.doctor.packet(ExaminedPacket {
                arrived: patient.now,
                payload_type,
                payload: &payload,
                pace: Some((patient.time, payload.len() as u64, 8_000)),
            });
        }
        Step::Tone(frequency, amplitude, packets) => {
            for packet in 0..u32::from(packets) {
                let at = |n: u32| (packet * 320 + n) as f32 / 16_000.0;
                let samples: Vec<f32> = (0..320)
                    .map(|n| (std::f32::consts::TAU * frequency * at(n)).sin() * amplitude)
                    .collect();
                patient.doctor.audio(patient.now, &samples);
                patient.pass(PACKET);
            }
        }
        Step::Audio(samples) => patient.doctor.audio(patient.now, &samples),
        Step::Elsewhere(packets) => {
            let (from, named) = ("192.0.2.1:1".parse(), "192.0.2.1:2".parse());
            patient
                .doctor
                .elsewhere(patient.now, from.unwrap(), named.unwrap(), packets);
        }
        Step::Drops(count) => patient.doctor.kernel_drops(patient.now, count),
        Step::Other(ms) => patient.doctor.other_leg_spoke(patient.now, ms),
        Step::Drift(ppm) => {
            let quality = MediaQuality {
                loss: 0.0,
                jitter_ms: 0.0,
                burst_ratio: 1.0,
                r_factor: 90.0,
                mos: 4.0,
                clock_drift_ppm: Some(ppm),
            };
            patient.doctor.quality(patient.now, &quality);
        }
        Step::Rename => patient.doctor.expect(patient.now, ExpectedMedia::default()),
    }
    patient.news.extend(patient.doctor.take_news());
}

proptest! {
    #[test]
    fn the_findings_are_bounded_consistent_and_told(
        arrival in arrival(),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut patient = Patient::new(ExpectedMedia { format: None, arrival });
        for step in steps {
            apply(&mut patient, step);
            let findings = patient.doctor.findings();
            prop_assert!(findings.len() <= findings::MAX_FINDINGS);
            for finding in findings {
                prop_assert!(finding.since_ms <= patient.ms());
                prop_assert!(finding.until_ms.is_none_or(|until| (finding.since_ms..=patient.ms()).contains(&until)));
            }
            for kind in FindingKind::ALL {
                let lasting = findings.iter().filter(|f| f.kind == kind && f.until_ms.is_none());
                prop_assert!(lasting.count() <= 1);
            }
        }
        patient.doctor.close(patient.now);
        patient.news.extend(patient.doctor.take_news());
        prop_assert_eq!(patient.lasting(), []);
        prop_assert!(patient.news.is_sorted_by_key(|event| event.at_ms));
        let count = |kind| patient.news.iter().filter(|event| event.kind == kind).count();
        prop_assert_eq!(count(CallEventKind::FindingBegan), count(CallEventKind::FindingEnded));
    }
}
