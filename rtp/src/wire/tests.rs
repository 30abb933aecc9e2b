use proptest::prelude::*;

use super::*;
use crate::testkit::build;

fn refusal(datagram: &[u8]) -> &'static str {
    RtpPacket::parse(datagram)
        .expect_err("should be refused")
        .name()
}

fn full() -> build::PacketBuilder {
    build::packet(0x1234)
        .ssrc(0xDEAD_BEEF)
        .time(0x8765_4321)
        .payload_type(118)
        .marker(true)
        .csrcs(&[1, 2, 3])
        .extension(0xBEDE, &[0x10, 0xAA, 0x21, 0xBB, 0xCC])
        .padding(4)
        .payload(b"sound")
}

#[test]
fn every_field_is_read() {
    let datagram = full().bytes();
    let packet = RtpPacket::parse(&datagram).unwrap();
    assert_eq!(packet.ssrc, Ssrc(0xDEAD_BEEF));
    assert_eq!(packet.seq, SeqNo(0x1234));
    assert_eq!(packet.time, RtpTime(0x8765_4321));
    assert_eq!(packet.payload_type.get(), 118);
    assert!(packet.marker);
    assert_eq!(packet.payload, b"sound");
    let range = datagram.as_ptr_range();
    assert!(range.contains(&packet.payload.as_ptr()), "copied");
}

#[test]
fn the_packet_that_kills_the_parser_is_taken() {
    // An element of 16 bytes in an extension of 4.
    let datagram = [
        0x90, 0x00, 0x00, 0x01, 0, 0, 0, 0, 0, 0, 0, 1, 0xBE, 0xDE, 0x00, 0x01, 0x1F, 0, 0, 0, b'x',
    ];
    assert_eq!(RtpPacket::parse(&datagram).unwrap().payload, b"x");
}

#[test]
fn every_truncation_is_either_refused_or_agreed_upon() {
    let datagram = full().bytes();
    let header = datagram.len() - 4 - b"sound".len();
    for len in 0..datagram.len() {
        crate::fuzz::wire(&datagram[..len]);
        let reason = RtpPacket::parse(&datagram[..len]).map_err(MalformedPacket::name);
        match len {
            0 => assert_eq!(reason, Err("unknown")),
            1..12 => assert_eq!(reason, Err("too_short"), "{len}"),
            12..24 => assert_eq!(reason, Err("csrc_overrun"), "{len}"),
            24..36 => assert_eq!(reason, Err("extension_overrun"), "{len}"),
            _ if len == header => assert_eq!(reason, Err("padding_missing")),
            // The last byte is now sound, or padding's zeros.
            _ => assert!(reason.is_err(), "{len}"),
        }
    }
    assert_eq!(header, 36);
}

#[test]
fn all_first_two_bytes() {
    let mut datagram = [0_u8; 80];
    datagram[79] = 1;
    let mut accepted = 0;
    for first in 0..=u8::MAX {
        for second in 0..=u8::MAX {
            datagram[..2].copy_from_slice(&[first, second]);
            crate::fuzz::wire(&datagram);
            let is_rtp = (128..192).contains(&first) && !(192..224).contains(&second);
            assert_eq!(classify(&datagram) == DatagramClass::Rtp, is_rtp);
            assert_eq!(
                RtpPacket::parse(&datagram).is_ok(),
                is_rtp,
                "{first:02x} {second:02x}"
            );
            accepted += u32::from(is_rtp);
        }
    }
    assert_eq!(accepted, 64 * 224);
}

#[test]
fn the_other_protocols_have_names() {
    for (first, name) in [
        (0, "stun"),
        (3, "stun"),
        (4, "unknown"),
        (16, "zrtp"),
        (19, "zrtp"),
        (20, "dtls"),
        (63, "dtls"),
        (64, "turn_channel"),
        (b'I', "turn_channel"),
        (80, "unknown"),
        (127, "unknown"),
        (192, "unknown"),
        (255, "unknown"),
    ] {
        assert_eq!(refusal(&[first, 1, 0, 0]), name, "{first}");
    }
    // A receiver report of 8 bytes is RTCP, not a short RTP packet.
    assert_eq!(refusal(&[0x80, 201, 0, 1, 0, 0, 0, 1]), "rtcp");
    assert_eq!(refusal(&[0x81, 192, 0, 1]), "rtcp");
    assert_eq!(refusal(&[0x81, 223, 0, 1]), "rtcp");
    assert_eq!(refusal(&[0x81, 224, 0, 1]), "too_short");
}

#[test]
fn padding_is_checked() {
    let padded = |padding: &[u8]| {
        let mut datagram = build::packet(1).payload(padding).bytes();
        datagram[0] |= PADDING_BIT;
        datagram
    };
    assert_eq!(refusal(&padded(&[])), "padding_missing");
    assert_eq!(refusal(&padded(&[9, 0])), "padding_zero");
    assert_eq!(refusal(&padded(&[0, 0, 4])), "padding_overrun");
    assert_eq!(RtpPacket::parse(&padded(&[0, 0, 3])).unwrap().payload, b"");
    assert_eq!(RtpPacket::parse(&padded(&[7, 1])).unwrap().payload, [7]);
}

/// Content of header extensions is ignored, and never refused (RFC 8285 section 4.2 for id 15).
#[test]
fn no_extension_costs_its_packet() {
    let one_byte: [&[u8]; 8] = [
        &[],
        &[0, 0, 0, 0],
        &[0x12, 1, 2, 3],
        // Id 15 alone, with a length, before and behind another.
        &[0xF0, 0, 0, 0],
        &[0xFF, 1, 2, 3],
        &[0x10, 0x55, 0xF0, 0],
        &[0xF3, 9, 9, 9, 0x1F, 0, 0, 0],
        // An element that runs past the end.
        &[0x13, 1, 2, 3],
    ];
    let two_byte: [&[u8]; 6] = [
        &[1, 2, 1, 2],
        &[1, 0, 2, 0],
        &[1, 3, 1, 2],
        &[1, 1, 9, 7],
        &[1, 0, 0, 7],
        &[15, 255, 0, 0],
    ];
    let of_profile = |profile| move |body| (profile, body);
    let unknown = [0x1001, 0x100F, 0x1234, 0, 0xFFFF].map(|profile| (profile, two_byte[5]));
    let all = one_byte
        .map(of_profile(0xBEDE))
        .into_iter()
        .chain(two_byte.map(of_profile(0x1000)))
        .chain(unknown);
    for (profile, body) in all {
        let built = build::packet(7).extension(profile, body).payload(b"sound");
        for datagram in [
            built.bytes(),
            built.clone().csrcs(&[1, 2]).padding(3).bytes(),
        ] {
            let packet = RtpPacket::parse(&datagram).unwrap();
            assert_eq!(packet.payload, b"sound", "{profile:04x} {body:02x?}");
            assert_eq!(packet.seq, SeqNo(7));
            crate::fuzz::wire(&datagram);
        }
    }
}

#[test]
fn an_extension_that_is_longer_than_its_datagram_is_refused() {
    let with_words = |words: u16, rest: usize| {
        let mut datagram = build::packet(1).bytes();
        datagram[0] |= EXTENSION_BIT;
        datagram.extend([0xBE, 0xDE]);
        datagram.extend(words.to_be_bytes());
        datagram.resize(datagram.len() + rest, 0xF0);
        datagram
    };
    for (words, rest) in [(1, 0), (1, 3), (2, 7), (0xFFFF, 1_400)] {
        assert_eq!(refusal(&with_words(words, rest)), "extension_overrun");
    }
    for (words, rest) in [(0, 0), (0, 5), (1, 4), (2, 9)] {
        let datagram = with_words(words, rest);
        let left = rest - 4 * usize::from(words);
        assert_eq!(RtpPacket::parse(&datagram).unwrap().payload.len(), left);
    }
    let mut datagram = with_words(0, 0);
    datagram.truncate(15);
    assert_eq!(refusal(&datagram), "extension_overrun");
}

proptest! {
    #[test]
    fn any_bytes_agree_with_an_independent_parser(mut datagram in prop::collection::vec(any::<u8>(), 0..96)) {
        crate::fuzz::wire(&datagram);
        if let Some(first) = datagram.first_mut() {
            *first = 0x80 | *first & 0x3F;
        }
        crate::fuzz::wire(&datagram);
    }

    #[test]
    fn extensions_of_any_content_agree(profile in prop_oneof![Just(0xBEDE_u16), Just(0x1000), any::<u16>()],
                                       body in prop::collection::vec(any::<u8>(), 0..40),
                                       cut in 0_usize..80) {
        let datagram = build::packet(1).extension(profile, &body).payload(b"sound").bytes();
        crate::fuzz::wire(&datagram[..cut.min(datagram.len())]);
    }

    #[test]
    fn what_is_built_is_what_is_parsed(seq: u16, ssrc: u32, time: u32, kind in 0_u8..128, marker: bool,
                                       csrcs in prop::collection::vec(any::<u32>(), 0..16),
                                       padding: u8, payload in prop::collection::vec(any::<u8>(), 0..1400)) {
        prop_assume!(!(marker && (64..96).contains(&kind)));
        let datagram = build::packet(seq).ssrc(ssrc).time(time).payload_type(kind).marker(marker)
            .csrcs(&csrcs).padding(padding).payload(&payload).bytes();
        let packet = RtpPacket::parse(&datagram).unwrap();
        prop_assert_eq!(packet.seq, SeqNo(seq));
        prop_assert_eq!(packet.ssrc, Ssrc(ssrc));
        prop_assert_eq!(packet.time, RtpTime(time));
        prop_assert_eq!(packet.payload_type.get(), kind);
        prop_assert_eq!(packet.marker, marker);
        prop_assert_eq!(packet.payload, &payload[..]);
    }
}
