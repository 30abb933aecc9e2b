use std::time::Duration;

use super::*;
use crate::replay::capture::{CaptureSummary, CapturedDatagram, HeldCapture};

/// RTP datagrams of one sender with these sequence numbers.
fn stream(ssrc: u8, numbers: impl IntoIterator<Item = u16>) -> Vec<CapturedDatagram> {
    let datagram = |seq: u16| {
        let mut payload = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ssrc, 0xff];
        payload[2..4].copy_from_slice(&seq.to_be_bytes());
        CapturedDatagram {
            at: Duration::from_millis(seq.into()),
            from: ([127, 0, 0, 1], 4000).into(),
            to: ([127, 0, 0, 1], 5000).into(),
            payload,
            leg: None,
        }
    };
    numbers.into_iter().map(datagram).collect()
}

fn find(datagrams: &[CapturedDatagram]) -> FlowList {
    let capture = HeldCapture {
        datagrams: datagrams.to_vec(),
        ..HeldCapture::default()
    };
    let mut survey = FlowSurvey::default();
    let summary: Result<CaptureSummary, ()> = capture.pass(&mut |seen| {
        survey.see(seen);
        Ok(())
    });
    survey.finish(&summary.unwrap(), &[])
}

fn place(flows: &FlowList, datagram: &CapturedDatagram) -> Option<usize> {
    flows.of(&BorrowedDatagram {
        at: datagram.at,
        from: datagram.from,
        to: datagram.to,
        payload: &datagram.payload,
        leg: datagram.leg,
    })
}

fn is_found(datagrams: &[CapturedDatagram]) -> bool {
    place(&find(datagrams), &datagrams[0]) == Some(0)
}

#[test]
fn five_in_sequence_are_rtp_and_four_are_not() {
    assert!(is_found(
        &stream(1, 65_533..=65_535)
            .into_iter()
            .chain(stream(1, 0..2))
            .collect::<Vec<_>>()
    ));
    assert!(!is_found(&stream(1, 7..11)));
}

#[test]
fn copies_losses_and_wrong_order_do_not_hide_a_stream() {
    let copies: Vec<_> = (0..5).flat_map(|n| [n, n]).collect();
    assert!(is_found(&stream(1, copies)));
    let swapped: Vec<_> = (0..4).flat_map(|n| [2 * n + 1, 2 * n]).collect();
    assert!(is_found(&stream(1, swapped)));
    assert!(is_found(&stream(1, (0..5).map(|n| n * 16))));
    // No neighbour in the file is one in the stream, and the numbers begin anew on the way.
    let scattered = (0..40u16).map(|n| (n * 17 % 40 * 3).wrapping_sub(50));
    assert!(is_found(&stream(1, scattered)));
}

#[test]
fn copies_of_one_packet_and_scattered_numbers_prove_nothing() {
    assert!(!is_found(&stream(1, [9; 50])));
    assert!(!is_found(&stream(1, (0..50).map(|n| n * 17))));
    assert!(!is_found(
        &(0..50)
            .flat_map(|n| stream(n, [n.into()]))
            .collect::<Vec<_>>()
    ));
    let nothing = find(&[]);
    assert!(nothing.iter().next().is_none() && nothing.unread.is_empty());
}

#[test]
fn flows_are_numbered_by_their_first_packet_and_time_begins_with_it() {
    let mut noise = stream(9, [1]);
    noise[0].from.set_port(1);
    let mut other = stream(2, 100..110);
    other
        .iter_mut()
        .for_each(|datagram| datagram.from.set_port(2));
    let all = [noise, other, stream(1, 200..210)].concat();
    let flows = find(&all);
    let ports: Vec<_> = flows
        .iter()
        .map(|flow| (flow.leg.as_str(), flow.sockets.unwrap().0.port()))
        .collect();
    assert_eq!(ports, [("flow-1", 2), ("flow-2", 4000)]);
    assert_eq!(place(&flows, &all[0]), None);
    assert_eq!(flows.start, Duration::from_millis(100));
    let unread: Vec<_> = flows.unread.into_iter().collect();
    assert_eq!(unread, [("rtp_out_of_sequence".to_owned(), 1)]);
}

#[test]
fn a_number_that_never_counts_is_said() {
    let mut still = stream(1, [9; 50]);
    for (n, datagram) in still.iter_mut().enumerate() {
        datagram.payload[7] = n as u8;
    }
    let flows = find(&still);
    assert!(flows.iter().next().is_none());
    assert_eq!(flows.unread["rtp_number_stuck"], 50);
    assert!(
        flows.notes[0].contains("never counts (it stays 9)"),
        "{:?}",
        flows.notes
    );
}

#[test]
fn the_same_packets_between_other_sockets_are_one_flow_and_its_copy() {
    let mut behind = stream(1, 0..500);
    behind
        .iter_mut()
        .for_each(|datagram| datagram.from.set_port(7));
    // The other place has missed some, and seen them a little later.
    let before = stream(1, (0..500).filter(|n| n % 9 != 0));
    let mut stranger = stream(2, 0..500);
    stranger
        .iter_mut()
        .for_each(|datagram| datagram.from.set_port(8));
    let flows = find(&[behind, before, stranger].concat());
    let ports: Vec<_> = flows.iter().map(|f| f.sockets.unwrap().0.port()).collect();
    assert_eq!(ports, [7, 8]);
    let copies = &flows.flow(0).copies;
    assert_eq!((copies[0].0.0.port(), copies[0].1), (4000, 444));
    assert!(flows.flow(1).copies.is_empty());
    assert_eq!(flows.unread["copy"], 444);
}

#[test]
fn a_crowd_of_other_datagrams_is_bounded_and_counted() {
    let mut survey = FlowSurvey::default();
    let rtp = stream(1, 0..10);
    let mut seen = |datagram: &CapturedDatagram, port: u16, host: u8| {
        survey.see(crate::replay::capture::CapturePass::Datagram(
            BorrowedDatagram {
                at: datagram.at,
                from: ([10, 0, 0, host], port).into(),
                to: datagram.to,
                payload: &datagram.payload,
                leg: None,
            },
        ));
    };
    for datagram in &rtp {
        seen(datagram, 1, 99);
    }
    for host in 0..3 {
        for port in 0..u16::MAX {
            seen(&rtp[0], port, host);
        }
    }
    let flows = survey.finish(&CaptureSummary::default(), &[]);
    assert_eq!(flows.iter().count(), 1);
    assert_eq!(flows.unread["rtp_out_of_sequence"], 3 * u64::from(u16::MAX));
}
