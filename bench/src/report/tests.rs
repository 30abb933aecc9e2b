use super::*;
use crate::media::QUICK;
use crate::round::tests::round;

fn report(rounds: Vec<MediaRound>) -> MediaReport {
    MediaReport {
        machine: MachineDescription {
            processor: "A processor".to_owned(),
            kernel: "6.1".to_owned(),
            receiver_cpu: Some(1),
            sender_cpu: Some(0),
            place: ProcessPlace::default(),
        },
        scale: QUICK,
        quick: false,
        rounds,
        floors: Vec::new(),
        skipped: Vec::new(),
    }
}

fn reception(sink_ns: u64, server_ns: u64) -> Vec<MediaRound> {
    let of = |subject, ns: u64| {
        let mut round = round(subject, QUICK.flows);
        round.cpu_ns = ns * round.packets;
        round
    };
    vec![
        of(ReceiverSubject::Sink, sink_ns),
        of(ReceiverSubject::Ordered, server_ns),
    ]
}

fn g1(report: &MediaReport) -> ReportFigure {
    report.figures().swap_remove(0)
}

#[test]
fn the_ratio_is_of_medians_and_is_held_against_its_goal() {
    let figure = g1(&report(reception(1_000, 1_400)));
    assert_eq!(figure.value.unwrap().median, 1.4);
    assert_eq!(figure.met(), Some(true));
    assert_eq!(g1(&report(reception(1_000, 1_501))).met(), Some(false));
    let mut quick = report(reception(1_000, 9_000));
    quick.quick = true;
    assert_eq!(g1(&quick).met(), None);
}

#[test]
fn disturbed_rounds_count_only_where_they_are_most() {
    let mut rounds = reception(1_000, 1_400);
    let mut stolen = rounds[1].clone();
    stolen.cpu_ns *= 3;
    stolen.disturbed = Some("scripted".to_owned());
    rounds.push(stolen.clone());
    assert_eq!(g1(&report(rounds.clone())).value.unwrap().high, 1.4);
    rounds.push(stolen);
    assert_eq!(g1(&report(rounds)).value.unwrap().median, 4.2);
}

#[test]
fn a_lost_packet_of_ours_disqualifies_and_one_of_others_only_does_not_count() {
    let clean = report(reception(1_000, 1_400));
    assert!(clean.disqualified().is_empty());
    assert!(clean.sheet().to_text().contains("No packet was lost"));

    let mut rounds = reception(1_000, 1_400);
    rounds.push(round(ReceiverSubject::Gstreamer, QUICK.flows_of_others));
    rounds[2].faults.push("scripted".to_owned());
    let others = report(rounds.clone());
    assert!(others.disqualified().is_empty());
    assert!(
        others
            .sheet()
            .to_text()
            .contains("Does not count: GStreamer")
    );
    assert!(
        others
            .ns(ReceiverSubject::Gstreamer, QUICK.flows_of_others)
            .is_none()
    );

    rounds[0].faults.push("scripted".to_owned());
    let ours = report(rounds);
    assert_eq!(ours.disqualified().len(), 1);
    for text in [ours.sheet().to_text(), ours.sheet().to_markdown()] {
        assert!(text.contains("DISQUALIFIED"), "{text}");
    }
    assert!(
        ours.to_json()
            .unwrap()
            .contains("bare sink, 100 flows: scripted")
    );
}

#[test]
fn what_did_not_run_is_named_and_has_no_figure() {
    let mut report = report(reception(1_000, 1_400));
    report.skipped.push(SkippedReceiver {
        subject: ReceiverSubject::Gstreamer,
        why: "not here".to_owned(),
    });
    let text = report.sheet().to_text();
    assert!(
        text.contains("Not run: GStreamer, a pipeline per call: not here."),
        "{text}"
    );
    let row = text
        .lines()
        .find(|line| line.contains("server over GStreamer"))
        .unwrap();
    assert!(row.contains("not run") && !row.contains("met"), "{row}");
}

#[test]
fn memory_is_held_against_the_payload_that_is_held() {
    let [.., flows] = QUICK.growth;
    let mut spoken = round(ReceiverSubject::Speech, flows);
    spoken.case.payload = BenchPayload::Monologue;
    spoken.case.slower = 2;
    let figures = report(vec![spoken]).figures();
    let figure = figures
        .iter()
        .find(|figure| figure.what.contains("utterance"))
        .unwrap();
    // 125 packets of 160 bytes.
    assert!((figure.goal.unwrap() - (64.0 + 1.1 * 19.53125)).abs() < 1e-9);
    assert_eq!(figure.value.unwrap().median, 2_048.0 / f64::from(flows));
}
