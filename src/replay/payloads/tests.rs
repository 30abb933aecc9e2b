use std::net::SocketAddr;

use super::*;

const INVITE: &str = "INVITE sip:bob@192.0.2.1 SIP/2.0\r\nContent-Type: application/sdp\r\n\r\n\
    v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 96 101 0\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n\
    m=video 4002 RTP/AVP 97\r\nc=IN IP4 192.0.2.10\r\na=rtpmap:97 VP8/90000\r\n\
    m=audio 4004 RTP/AVP 97 118\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:97 L16/24000\r\na=rtpmap:118 G729/8000\r\n";

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_session_description_tells_each_medium_s_numbers() {
    let mut sessions = SdpSessions::default();
    sessions.read(Duration::ZERO, INVITE.as_bytes());
    let far = socket("198.51.100.1:9");
    let of = |number, to| sessions.between(number, (far, socket(to)), Duration::ZERO);
    let opus = Some(PayloadMeaning::Audio(Codec::Opus));
    assert_eq!(of(96, "192.0.2.9:4000"), opus);
    assert_eq!(
        of(101, "192.0.2.9:4000"),
        Some(PayloadMeaning::TelephoneEvent(ClockRate::new(8_000)))
    );
    let wide = Some(PayloadMeaning::Audio(Codec::Slin24));
    assert_eq!(of(97, "[2001:db8::1]:4004"), wide);
    assert_eq!(of(118, "[2001:db8::1]:4004"), Some(PayloadMeaning::Other));
    assert_eq!(of(96, "[2001:db8::1]:4004"), None);
    assert_eq!(of(97, "192.0.2.10:4002"), None);
    // Behind a NAT the port stays, as a rule.
    assert_eq!(of(96, "203.0.113.5:4000"), opus);
    assert_eq!(of(96, "203.0.113.5:4001"), None);
}

#[test]
fn what_sessions_do_not_agree_on_is_nobody_s() {
    let mut sessions = SdpSessions::default();
    sessions.read(Duration::ZERO, INVITE.as_bytes());
    let kind = PayloadShape::new(96);
    let sockets = (socket("198.51.100.1:9"), socket("198.51.100.1:10"));
    let opus = PayloadVerdict::Told(PayloadMeaning::Audio(Codec::Opus));
    let only = |verdict| vec![(Duration::ZERO, verdict)];
    assert_eq!(judge(&[], &sessions, sockets, &kind), only(opus));
    sessions.read(
        Duration::ZERO,
        INVITE.replace("opus/48000/2", "iLBC/8000").as_bytes(),
    );
    assert_eq!(
        judge(&[], &sessions, sockets, &kind),
        only(PayloadVerdict::Unknown)
    );
    let told = ["96=slin16".parse().unwrap(), "96=alaw".parse().unwrap()];
    let alaw = PayloadVerdict::Told(PayloadMeaning::Audio(Codec::Alaw));
    assert_eq!(judge(&told, &sessions, sockets, &kind), only(alaw));
}

#[test]
fn an_option_names_a_number_and_a_format() {
    for (text, number, meaning) in [
        ("96=opus", 96, PayloadMeaning::Audio(Codec::Opus)),
        (" 8 = PCMU ", 8, PayloadMeaning::Audio(Codec::Ulaw)),
        (
            "127=telephone-event",
            127,
            PayloadMeaning::TelephoneEvent(None),
        ),
        (
            "110=telephone-event/48000",
            110,
            PayloadMeaning::TelephoneEvent(ClockRate::new(48_000)),
        ),
    ] {
        assert_eq!(text.parse(), Ok(ToldPayload { number, meaning }));
    }
    for text in [
        "",
        "96",
        "=opus",
        "128=opus",
        "-1=opus",
        "96=",
        "96=mp3",
        "96=g729",
        "96=telephone-event/",
        "96=telephone-event/x",
        "96=opus/48000",
    ] {
        assert!(text.parse::<ToldPayload>().is_err(), "{text}");
    }
}

#[test]
fn a_session_hears_of_every_meaning_by_a_number_of_its_own() {
    for format in MediaFormat::ALL {
        let number = PayloadMeaning::Audio(format.codec()).number(96);
        assert_eq!(
            PayloadKind::classify(number),
            PayloadKind::Audio(format.codec())
        );
    }
    assert_eq!(PayloadMeaning::Audio(Codec::Slin).number(11), 11);
    assert_eq!(PayloadMeaning::TelephoneEvent(None).number(126), 101);
    assert_eq!(PayloadMeaning::Other.number(96), 96);
    let hidden = PayloadMeaning::Other.number(123);
    assert!(matches!(
        PayloadKind::classify(hidden),
        PayloadKind::Unknown(_)
    ));
}

#[test]
fn only_what_lasts_as_long_as_its_timestamps_say_is_opus() {
    let shaped = |steps: &[(Option<u64>, u64)]| {
        let mut kind = PayloadShape::new(96);
        steps
            .iter()
            .for_each(|&(lasts, ticks)| kind.follows(lasts, ticks));
        kind.is_opus()
    };
    assert!(shaped(&[(Some(960), 960); 10]));
    assert!(!shaped(&[(Some(960), 960); 9]));
    assert!(!shaped(&[(Some(960), 480); 50]));
    assert!(!shaped(&[(None, 960); 50]));
    let with_pauses = [(Some(960), 960), (Some(960), 19_200)].repeat(10);
    assert!(shaped(&with_pauses));
    let mixed = [(Some(960), 960), (Some(960), 160)].repeat(50);
    assert!(!shaped(&mixed));
}

/// An SDP in which a socket takes 96 as that format.
fn takes(socket: &str, format: &str) -> String {
    let (host, port) = socket.split_once(':').unwrap();
    format!("v=0\r\nc=IN IP4 {host}\r\nm=audio {port} RTP/AVP 96\r\na=rtpmap:96 {format}\r\n")
}

#[test]
fn a_socket_takes_what_its_newest_description_up_to_then_says() {
    const PBX: &str = "192.0.2.1:10000";
    let secs = Duration::from_secs;
    let opus = PayloadVerdict::Told(PayloadMeaning::Audio(Codec::Opus));
    let wide = PayloadVerdict::Told(PayloadMeaning::Audio(Codec::Slin16));
    let other = PayloadVerdict::Told(PayloadMeaning::Other);
    let said = [
        (10, PBX, "opus/48000/2"),
        (100, PBX, "iLBC/8000"),
        (150, PBX, "L16/16000"),
    ];
    let heard = |said: &[(u64, &str, &str)], first: u64, last: u64| {
        let mut sessions = SdpSessions::default();
        for (at, socket, format) in said {
            sessions.read(secs(*at), takes(socket, format).as_bytes());
        }
        let mut kind = PayloadShape::new(96);
        kind.packet(secs(first));
        kind.packet(secs(last));
        let phone = socket("198.51.100.1:4000");
        judge(&[], &sessions, (phone, socket(PBX)), &kind)
    };
    let mut backwards = said;
    backwards.reverse();
    for said in [said, backwards] {
        assert_eq!(heard(&said, 11, 99), [(secs(0), opus)]);
        assert_eq!(heard(&said, 101, 149), [(secs(0), other)]);
        assert_eq!(heard(&said, 151, 999), [(secs(0), wide)]);
        let all = [(secs(0), opus), (secs(100), other), (secs(150), wide)];
        assert_eq!(heard(&said, 11, 999), all);
        // Nothing was said by then, and what is said later is of other calls.
        assert_eq!(heard(&said, 1, 9), [(secs(0), PayloadVerdict::Unknown)]);
    }
    // It comes while media flows already.
    assert_eq!(heard(&said[..1], 1, 99), [(secs(0), opus)]);
    // At one time two things are said of the receiver: the sender's own counts.
    let both = [
        (5, PBX, "opus/48000/2"),
        (5, PBX, "iLBC/8000"),
        (5, "198.51.100.1:4000", "L16/16000"),
    ];
    assert_eq!(heard(&both, 6, 9), [(secs(0), wide)]);
    assert_eq!(
        heard(&both[..2], 6, 9),
        [(secs(0), PayloadVerdict::Unknown)]
    );
}

#[test]
fn a_description_of_a_socket_replaces_the_one_before_it() {
    let mut sessions = SdpSessions::default();
    sessions.read(
        Duration::from_secs(1),
        takes("192.0.2.1:10000", "iLBC/8000").as_bytes(),
    );
    let second = "c=IN IP4 192.0.2.1\r\nm=audio 10000 RTP/AVP 0 97\r\na=rtpmap:97 opus/48000/2\r\n";
    sessions.read(Duration::from_secs(9), second.as_bytes());
    let sockets = (socket("198.51.100.1:4000"), socket("192.0.2.1:10000"));
    let at = |number, secs| sessions.between(number, sockets, Duration::from_secs(secs));
    assert_eq!((at(96, 8), at(97, 8)), (Some(PayloadMeaning::Other), None));
    assert_eq!(at(96, 10), None);
    assert_eq!(at(97, 10), Some(PayloadMeaning::Audio(Codec::Opus)));
}
