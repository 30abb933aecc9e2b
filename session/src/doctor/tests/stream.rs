//! Findings that the packets show.

use std::net::SocketAddr;

use asterscribe_call::MediaQuality;
use asterscribe_codecs::MediaFormat;

use super::signals::{prompts, silence, speech};
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const SILENT: [u8; 160] = [0xff; 160];

fn expecting(format: MediaFormat, arrival: ArrivalExpectation) -> ExpectedMedia {
    ExpectedMedia {
        format: Some(format),
        arrival,
    }
}

fn ulaw() -> Patient {
    Patient::new(expecting(MediaFormat::Ulaw, ArrivalExpectation::WithPauses))
}

#[test]
fn nothing_for_two_seconds_is_a_finding_until_something_comes() {
    let mut patient = ulaw();
    patient.pass(Duration::from_millis(1_999));
    patient.assert_healthy("not yet");
    patient.pass(Duration::from_millis(1));
    let finding = patient.found(FindingKind::NoRtp).clone();
    assert_eq!((finding.since_ms, finding.until_ms), (0, None));
    assert_eq!(finding.evidence, "0 packets in 2.0 s");
    patient.pass(SECOND * 5);
    patient.packet(0, &SILENT);
    assert_eq!(patient.found(FindingKind::NoRtp).until_ms, Some(7_000));
    let kinds: Vec<_> = patient.news.iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [CallEventKind::FindingBegan, CallEventKind::FindingEnded]
    );
    patient.pass(SECOND * 600);
    assert_eq!(patient.lasting(), [], "it may pause once it has spoken");
    assert_eq!(patient.doctor.deadline(), None);
}

#[test]
fn a_leg_named_later_has_its_two_seconds_then() {
    let opened = clock::now();
    let expected = expecting(MediaFormat::Ulaw, ArrivalExpectation::WithPauses);
    let mut doctor = MediaDoctor::new(opened);
    assert_eq!(doctor.deadline(), None);
    doctor.expect(opened + SECOND * 30, expected);
    assert_eq!(doctor.deadline(), Some(opened + SECOND * 32));
}

#[test]
fn a_flow_that_never_pauses_is_missed_after_two_seconds() {
    let mut patient = Patient::new(expecting(MediaFormat::Ulaw, ArrivalExpectation::Continuous));
    patient.hear(&silence(5.0));
    patient.assert_healthy("it goes on");
    patient.pass(SECOND * 3);
    let finding = patient.found(FindingKind::NoRtp);
    assert_eq!(finding.since_ms, 4_980);
    assert_eq!(finding.evidence, "0 packets in 2.0 s, after 250 before");
    patient.hear(&silence(1.0));
    assert_eq!(patient.lasting(), []);
}

#[test]
fn nothing_was_promised_by_a_capture() {
    let mut patient = Patient::any();
    patient.pass(SECOND * 100);
    patient.assert_healthy("a flow that begins later");
}

#[test]
fn what_lasts_ends_with_the_call() {
    let mut patient = ulaw();
    patient.pass(SECOND * 10);
    patient.doctor.close(patient.now);
    assert_eq!(patient.found(FindingKind::NoRtp).until_ms, Some(10_000));
    let news = patient.doctor.take_news();
    assert_eq!(news.len(), 1);
    assert!(news[0].text.contains("to the end of the call"), "{news:?}");
}

#[test]
fn refused_datagrams_are_part_of_the_evidence() {
    let mut patient = ulaw();
    for _ in 0..31 {
        patient.doctor.refused();
    }
    patient.pass(SECOND * 3);
    let evidence = &patient.found(FindingKind::NoRtp).evidence;
    assert!(evidence.contains("31 datagrams"), "{evidence}");
}

#[test]
fn a_stranger_is_named_while_the_leg_hears_nothing() {
    let (stranger, named): (SocketAddr, SocketAddr) = (
        "192.0.2.7:4002".parse().unwrap(),
        "192.0.2.7:4000".parse().unwrap(),
    );
    let mut patient = ulaw();
    patient.doctor.elsewhere(patient.now, stranger, named, 25);
    patient.assert_healthy("its name may still be under way");
    patient.pass(SECOND);
    patient.doctor.elsewhere(patient.now, stranger, named, 2);
    patient.assert_healthy("stray packets");
    patient.doctor.elsewhere(patient.now, stranger, named, 25);
    let finding = patient.found(FindingKind::UnexpectedSource);
    assert_eq!(
        finding.evidence,
        "25 RTP packets from 192.0.2.7:4002 within half a second, none from 192.0.2.7:4000, which was named"
    );
    patient.pass(SECOND * 4);
    assert_eq!(
        patient.lasting(),
        [FindingKind::NoRtp],
        "the stranger has gone"
    );
    patient.doctor.elsewhere(patient.now, stranger, named, 25);
    patient.packet(0, &SILENT);
    assert_eq!(patient.lasting(), []);
    patient.doctor.elsewhere(patient.now, stranger, named, 25);
    assert_eq!(patient.lasting(), [], "the leg has its source");
}

#[test]
fn another_payload_type_than_was_asked_for() {
    let mut patient = Patient::new(expecting(MediaFormat::Slin, ArrivalExpectation::WithPauses));
    patient.hear(&speech()[..16_000]);
    let finding = patient.found(FindingKind::UnexpectedPayloadType);
    assert_eq!(
        finding.evidence,
        "payload type 0 (ulaw) arrives, slin was asked for"
    );
    assert!(finding.fix.contains("Asterisk 16"));
    assert_eq!(finding.since_ms, 0);
    assert!(patient.told_at(FindingKind::UnexpectedPayloadType) <= 2_000);
    let until = patient.ms();
    patient.hear_linear(10, &speech()[..16_000], i16::to_be_bytes);
    let finding = patient.found(FindingKind::UnexpectedPayloadType);
    assert_eq!(finding.until_ms, Some(until));
    assert_eq!(patient.kinds().len(), 1);
}

#[test]
fn a_payload_type_that_nothing_decodes() {
    let mut patient = ulaw();
    for _ in 0..50 {
        patient.packet(97, &[1, 2, 3]);
        patient.pass(PACKET);
    }
    let finding = patient.found(FindingKind::UnexpectedPayloadType);
    assert_eq!(
        finding.evidence,
        "payload type 97 (not decoded here) arrives, ulaw was asked for"
    );
    for format in MediaFormat::ALL {
        assert!(finding.fix.contains(format.name()), "{}", finding.fix);
    }
}

#[test]
fn strays_keys_and_comfort_noise_are_expected() {
    let mut patient = ulaw();
    for n in 0..1_000 {
        let payload_type = match n % 10 {
            0 => 8,
            1 => 13,
            2 => 101,
            _ => 0,
        };
        patient.packet(payload_type, &SILENT);
        patient.pass(PACKET);
    }
    patient.assert_healthy("mostly ulaw");
}

#[test]
fn swapped_bytes_are_told_within_two_seconds_of_speech_and_nothing_else_is() {
    for (payload_type, ending) in [(118, "wav16"), (10, "wav")] {
        for (name, samples) in prompts(ending) {
            let mut patient = Patient::any();
            patient.hear_linear(payload_type, &samples, i16::to_le_bytes);
            if samples.len() >= 2 * 8_000 {
                assert_eq!(
                    patient.kinds(),
                    [FindingKind::ByteOrder],
                    "{name}: {:#?}",
                    patient.doctor.findings()
                );
            }
            if patient.kinds().is_empty() {
                continue;
            }
            let told = patient.told_at(FindingKind::ByteOrder);
            assert!(told <= 2_500, "{name}: {told}");
            patient.hear_linear(payload_type, &speech(), i16::to_be_bytes);
            assert_eq!(patient.lasting(), [], "{name}");
        }
    }
}

#[test]
fn bunches_jitter_and_changing_lengths_are_told_within_two_seconds() {
    let bunched = |n: u64| (n / 4) * 80;
    let jittery = |n: u64| n * 20 + (100.0 + 100.0 * (n as f64 * 0.19).sin()) as u64;
    for (name, arrival) in [
        ("bunches", &bunched as &dyn Fn(u64) -> u64),
        ("jitter", &jittery),
    ] {
        let mut patient = ulaw();
        patient.hear(&silence(3.0));
        patient.assert_healthy("steady");
        let start = patient.ms();
        let mut at = start;
        for n in 0..200 {
            let next = start + arrival(n);
            patient.pass(Duration::from_millis(next.saturating_sub(at)));
            at = at.max(next);
            patient.packet(0, &SILENT);
        }
        assert_eq!(patient.kinds(), [FindingKind::PacketTiming], "{name}");
        let told = patient.told_at(FindingKind::PacketTiming) - start;
        assert!(told <= 2_100, "{name}: {told}");
        patient.hear(&silence(6.0));
        assert_eq!(patient.lasting(), [], "{name}");
    }
    let mut patient = ulaw();
    for n in 0..60 {
        let length = [160, 320, 80][n % 3];
        patient.packet(0, &vec![0xff; length]);
        patient.pass(Duration::from_millis(length as u64 / 8));
    }
    let evidence = &patient.found(FindingKind::PacketTiming).evidence;
    assert!(evidence.contains("between 10 and 40 ms"), "{evidence}");
}

#[test]
fn one_freeze_and_pauses_of_the_sender_are_no_fault_of_timing() {
    let mut patient = ulaw();
    patient.hear(&silence(2.0));
    // Five seconds frozen, then everything at once.
    patient.pass(SECOND * 5);
    for _ in 0..250 {
        patient.packet(0, &SILENT);
    }
    patient.hear(&silence(3.0));
    for pause in [3, 1, 60] {
        patient.pass(SECOND * pause);
        patient.time += 8_000 * u64::from(pause);
        patient.hear(&silence(1.0));
    }
    // Asterisk's bursts of two where it cuts 40 ms in halves.
    for _ in 0..100 {
        patient.packet(0, &SILENT);
        patient.packet(0, &SILENT);
        patient.pass(2 * PACKET);
    }
    patient.assert_healthy("as networks are");
}

#[test]
fn a_clock_that_runs_off_for_some_seconds() {
    let quality = |ppm| MediaQuality {
        loss: 0.0,
        jitter_ms: 0.0,
        burst_ratio: 1.0,
        r_factor: 93.2,
        mos: 4.4,
        clock_drift_ppm: Some(ppm),
    };
    let mut patient = ulaw();
    patient.packet(0, &SILENT);
    let tell = |patient: &mut Patient, ppm, seconds| {
        for _ in 0..seconds {
            patient.doctor.quality(patient.now, &quality(ppm));
            patient.pass(SECOND);
        }
    };
    tell(&mut patient, 150.0, 20);
    tell(&mut patient, -400.0, 3);
    tell(&mut patient, 20.0, 3);
    patient.assert_healthy("it was off for a moment");
    tell(&mut patient, -400.0, 6);
    let evidence = &patient.found(FindingKind::ClockDrift).evidence;
    assert_eq!(
        evidence,
        "the sender's clock runs 400 ppm slower than ours, 1.4 s in an hour"
    );
    tell(&mut patient, 180.0, 20);
    assert_eq!(patient.lasting(), [FindingKind::ClockDrift]);
    tell(&mut patient, f32::NAN, 10);
    tell(&mut patient, 10.0, 6);
    assert_eq!(patient.lasting(), []);
}

#[test]
fn drops_of_the_kernel_are_summed_up_and_end_after_a_while() {
    let mut patient = ulaw();
    patient.packet(0, &SILENT);
    patient.doctor.kernel_drops(patient.now, 0);
    patient.assert_healthy("none");
    for _ in 0..3 {
        patient.doctor.kernel_drops(patient.now, 12);
        patient.pass(SECOND);
    }
    let finding = patient.found(FindingKind::KernelDrops);
    assert!(
        finding.evidence.contains("36 datagrams within 2 s"),
        "{finding:?}"
    );
    patient.pass(SECOND * 10);
    assert_eq!(
        patient.found(FindingKind::KernelDrops).until_ms,
        Some(2_000)
    );
}

#[test]
fn the_list_is_bounded_and_keeps_what_lasts() {
    let mut patient = Patient::new(expecting(MediaFormat::Ulaw, ArrivalExpectation::Continuous));
    patient.hear(&silence(0.1));
    patient.doctor.kernel_drops(patient.now, 1);
    for _ in 0..100 {
        patient.doctor.kernel_drops(patient.now, 1);
        patient.pass(SECOND * 3);
        patient.hear(&silence(0.1));
    }
    let findings = patient.doctor.findings();
    assert_eq!(findings.len(), 32);
    assert_eq!(findings[0].kind, FindingKind::KernelDrops);
    assert_eq!(findings[0].until_ms, None);
    assert_eq!(patient.news.len(), 201);
}
