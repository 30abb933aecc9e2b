use proptest::prelude::*;

use super::*;
use crate::testkit::{self, rtcp};

fn all(datagram: &[u8]) -> Vec<Result<RtcpPacket, RtcpError>> {
    packets(datagram).collect()
}

fn report(ssrc: u32) -> SenderReport {
    SenderReport {
        ssrc: Ssrc(ssrc),
        ntp: 0x0102_0304_8000_0000,
        time: RtpTime(0xFFFF_FFF0),
        packets: 7,
        octets: 1_120,
    }
}

#[test]
fn every_kind_is_told_apart_in_one_compound() {
    let compound = [
        rtcp::sender_report(&report(9), 2),
        rtcp::receiver_report(9, 31),
        rtcp::source_description(9, "a@b"),
        rtcp::application(9, *b"qtst"),
        rtcp::packet(205, 1, &[0; 8]),
        rtcp::packet(206, 1, &[0; 12]),
        rtcp::extended_report(9, &[(4, 2), (5, 0)]),
        rtcp::packet(211, 0, &[]),
        rtcp::goodbye(&[9], Some("gone")),
    ]
    .concat();
    assert_eq!(
        all(&compound),
        [
            Ok(RtcpPacket::SenderReport(report(9))),
            Ok(RtcpPacket::ReceiverReport),
            Ok(RtcpPacket::SourceDescription),
            Ok(RtcpPacket::Application),
            Ok(RtcpPacket::Feedback),
            Ok(RtcpPacket::Feedback),
            Ok(RtcpPacket::ExtendedReport),
            Ok(RtcpPacket::Other(211)),
            Ok(RtcpPacket::Goodbye),
        ]
    );
}

#[test]
fn four_bytes_can_be_a_whole_packet() {
    assert_eq!(all(&[0x80, 203, 0, 0]), [Ok(RtcpPacket::Goodbye)]);
    assert_eq!(all(&[0x80, 202, 0, 0]), [Ok(RtcpPacket::SourceDescription)]);
    assert_eq!(all(&[0x80, 201, 0, 0]), [Err(RtcpError::Body)]);
    assert_eq!(all(&[0x81, 203, 0, 0]), [Err(RtcpError::Body)]);
    assert_eq!(all(&[0x80, 200, 0, 6]), [Err(RtcpError::Overrun)]);
    assert_eq!(all(&[0x80, 201]), [Err(RtcpError::Overrun)]);
}

#[test]
fn a_broken_packet_does_not_hide_the_next() {
    let broken = rtcp::packet(201, 1, &[0; 4]);
    let goodbye = rtcp::goodbye(&[9], None);
    assert_eq!(
        all(&[broken, goodbye].concat()),
        [Err(RtcpError::Body), Ok(RtcpPacket::Goodbye)]
    );
}

#[test]
fn padding_and_version_are_checked() {
    let padded = |filling: &[u8]| {
        let mut packet = rtcp::packet(203, 1, &[&[0, 0, 0, 9][..], filling].concat());
        packet[0] |= 0x20;
        packet
    };
    assert_eq!(all(&padded(&[0, 0, 0, 4])), [Ok(RtcpPacket::Goodbye)]);
    for wrong in [0, 3, 12] {
        assert_eq!(all(&padded(&[0, 0, 0, wrong])), [Err(RtcpError::Padding)]);
    }
    // Padding takes away what the body needs.
    assert_eq!(all(&padded(&[0, 0, 0, 8])), [Err(RtcpError::Body)]);
    assert_eq!(all(&[0x40, 203, 0, 0]), [Err(RtcpError::Version)]);
}

#[test]
fn a_report_of_another_source_is_counted_and_not_kept() {
    let now = testkit::origin();
    let mut log = RtcpLog::default();
    log.read(now, &rtcp::sender_report(&report(8), 0), Some(Ssrc(9)));
    assert_eq!(log.sender_report(), None);
    log.read(now, &rtcp::sender_report(&report(9), 1), Some(Ssrc(9)));
    log.read(now, &rtcp::sender_report(&report(8), 1), Some(Ssrc(9)));
    log.read(now, &[0x80], Some(Ssrc(9)));
    assert_eq!(log.sender_report(), Some((now, report(9))));
    let counts = RtcpCounts {
        sender_reports: 3,
        malformed: 1,
        ..RtcpCounts::default()
    };
    assert_eq!(*log.counts(), counts);
}

#[test]
fn every_truncation_is_an_error_at_most() {
    let compound = [
        rtcp::sender_report(&report(9), 1),
        rtcp::source_description(9, "somebody@somewhere"),
        rtcp::extended_report(9, &[(1, 3)]),
        rtcp::goodbye(&[9, 10], Some("end")),
    ]
    .concat();
    for length in 0..compound.len() {
        let found = all(&compound[..length]);
        let broken = found.iter().filter(|packet| packet.is_err()).count();
        let is_whole = [52, 52 + 32, 52 + 32 + 24].contains(&length);
        assert_eq!(broken, usize::from(length > 0 && !is_whole), "{length}");
    }
}

proptest! {
    #[test]
    fn any_bytes_give_no_more_packets_than_words(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let found = all(&bytes);
        prop_assert!(found.len() <= bytes.len().div_ceil(4));
        let overruns = found.iter().filter(|packet| **packet == Err(RtcpError::Overrun)).count();
        prop_assert!(overruns <= 1);
        if overruns == 1 {
            prop_assert_eq!(found.last(), Some(&Err(RtcpError::Overrun)));
        }
    }
}
