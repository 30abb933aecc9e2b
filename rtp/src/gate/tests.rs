use super::*;
use crate::testkit::origin;

const MS: Duration = Duration::from_millis(1);
const RTP: [u8; 14] = [0x80, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9, 1, 2];

const LASTING: NameClaim = NameClaim::Lasting;

fn nothing() -> AdmittedSource<u32> {
    AdmittedSource {
        held: Vec::new(),
        former: None,
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn packets_that_overtake_the_naming_come_back_in_order() {
    let (mut gate, t0) = (SourceGate::<u32>::new(GateConfig::default()), origin());
    let source = address("127.0.0.1:4000");
    for n in 0..3u8 {
        let mut bytes = RTP;
        bytes[3] = n;
        assert_eq!(
            gate.route(t0 + MS * u32::from(n), source, &bytes),
            GateRoute::Held
        );
    }
    assert_eq!(gate.strangers().collect::<Vec<_>>(), [(source, 3)]);
    let held = gate.admit(t0 + MS * 3, source, 7, LASTING).unwrap().held;
    assert_eq!(gate.strangers().count(), 0);
    assert_eq!(
        held.iter().map(|h| h.bytes[3]).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert_eq!(gate.route(t0 + MS * 4, source, &RTP), GateRoute::To(7));
    assert_eq!(
        gate.stats(),
        GateStats {
            admitted: 4,
            ..GateStats::default()
        }
    );
}

#[test]
fn what_nobody_names_in_time_is_refused_and_counted() {
    let (mut gate, t0) = (SourceGate::<u32>::new(GateConfig::default()), origin());
    let source = address("127.0.0.1:4000");
    gate.route(t0, source, &RTP);
    gate.route(t0, source, b"OPTIONS sip:x SIP/2.0");
    assert_eq!(
        gate.admit(t0 + MS * 501, source, 7, LASTING).unwrap().held,
        []
    );
    let stats = gate.stats();
    assert_eq!(
        (stats.unknown_source, stats.unknown_not_rtp, stats.holding),
        (1, 1, 0)
    );
}

#[test]
fn a_spray_of_sources_cannot_grow_the_gate() {
    let (mut gate, t0) = (SourceGate::<u32>::new(GateConfig::default()), origin());
    for port in 1..10_000 {
        gate.route(t0, SocketAddr::new([127, 0, 0, 9].into(), port), &RTP);
    }
    for _ in 0..1000 {
        gate.route(t0, SocketAddr::new([127, 0, 0, 9].into(), 1), &RTP);
    }
    let stats = gate.stats();
    assert_eq!(stats.holding, 64 + 49);
    assert_eq!(stats.holding + stats.hold_full, 9_999 + 1000);
}

#[test]
fn a_source_has_one_owner_and_its_port_counts() {
    let (mut gate, t0) = (SourceGate::<u32>::new(GateConfig::default()), origin());
    let source = address("127.0.0.1:4000");
    gate.admit(t0, source, 1, LASTING).unwrap();
    assert_eq!(gate.admit(t0, source, 2, LASTING), Err(SourceTaken(source)));
    assert_eq!(gate.admit(t0, source, 1, LASTING), Ok(nothing()));
    assert_ne!(
        gate.route(t0, address("127.0.0.1:4001"), &RTP),
        GateRoute::To(1)
    );
    assert_ne!(
        gate.route(t0, address("127.0.0.2:4000"), &RTP),
        GateRoute::To(1)
    );
    assert_eq!(
        gate.route(t0, address("[::ffff:127.0.0.1]:4000"), &RTP),
        GateRoute::To(1)
    );
    gate.revoke(t0, source, 1);
    assert_ne!(gate.route(t0, source, &RTP), GateRoute::To(1));
}

#[test]
fn the_end_of_one_call_is_not_the_beginning_of_the_next() {
    let (mut gate, t0) = (SourceGate::<u32>::new(GateConfig::default()), origin());
    let source = address("127.0.0.1:4000");
    gate.admit(t0, source, 1, LASTING).unwrap();
    gate.revoke(t0, source, 1);
    assert_eq!(gate.route(t0 + MS * 500, source, &RTP), GateRoute::Refused);
    assert_eq!(gate.stats().unknown_source, 1);
    // It goes on for long: still no stranger, whose words would be kept for whoever comes.
    for n in 1..100 {
        assert_eq!(
            gate.route(t0 + MS * 500 * n, source, &RTP),
            GateRoute::Refused
        );
    }
    let t1 = t0 + MS * 500 * 99;
    gate.admit(t1, source, 2, LASTING).unwrap();
    gate.revoke(t1, source, 2);
    // Some time after its last word it is a stranger like any other.
    assert_eq!(gate.route(t1 + MS * 501, source, &RTP), GateRoute::Held);
    assert!(gate.revoked.is_empty());
}

fn rtp_of(ssrc: u8) -> [u8; 14] {
    let mut bytes = RTP;
    bytes[11] = ssrc;
    bytes
}

#[test]
fn the_last_words_of_one_call_are_not_in_the_next_that_has_its_source() {
    let (mut gate, t0) = (SourceGate::<u32>::new(GateConfig::default()), origin());
    let source = address("127.0.0.1:4000");
    gate.admit(t0, source, 1, LASTING).unwrap();
    assert_eq!(gate.route(t0, source, &rtp_of(1)), GateRoute::To(1));
    gate.revoke(t0 + MS, source, 1);
    assert_eq!(gate.admit(t0 + MS * 2, source, 2, LASTING), Ok(nothing()));
    assert_eq!(
        gate.route(t0 + MS * 3, source, &rtp_of(1)),
        GateRoute::Refused
    );
    assert_eq!(
        gate.route(t0 + MS * 4, source, &rtp_of(2)),
        GateRoute::To(2)
    );
    // However long the old one goes on beside the new one.
    for n in 1..100 {
        let now = t0 + MS * 20 * n;
        assert_eq!(gate.route(now, source, &rtp_of(1)), GateRoute::Refused);
        assert_eq!(gate.route(now, source, &rtp_of(2)), GateRoute::To(2));
    }
    assert_eq!(gate.stats().unknown_source, 100);
}

#[test]
fn a_stream_that_alone_goes_on_is_the_one_that_was_named_anew() {
    let (mut gate, t0) = (SourceGate::<u32>::new(GateConfig::default()), origin());
    let source = address("127.0.0.1:4000");
    gate.admit(t0, source, 1, LASTING).unwrap();
    gate.route(t0, source, &RTP);
    gate.revoke(t0, source, 1);
    gate.admit(t0, source, 2, LASTING).unwrap();
    assert_eq!(gate.route(t0 + MS * 499, source, &RTP), GateRoute::Refused);
    assert_eq!(gate.route(t0 + MS * 500, source, &RTP), GateRoute::To(2));
    // The same leg again: nothing of it is foreign.
    gate.revoke(t0 + MS * 501, source, 2);
    gate.admit(t0 + MS * 501, source, 2, LASTING).unwrap();
    assert_eq!(gate.route(t0 + MS * 501, source, &RTP), GateRoute::To(2));
}

#[test]
fn a_port_of_one_leg_hears_no_other_leg() {
    let (mut gate, t0) = (SourceGate::<u32>::new(GateConfig::default()), origin());
    let (one, two) = (address("127.0.0.1:4000"), address("127.0.0.1:4002"));
    gate.admit(t0, one, 1, LASTING).unwrap();
    gate.admit(t0, two, 2, LASTING).unwrap();
    assert_eq!(gate.route_own(t0, one, &RTP, 1), GateRoute::To(1));
    assert_eq!(gate.route_own(t0, two, &RTP, 1), GateRoute::Refused);
    assert_eq!(gate.stats().unknown_source, 1);
}

#[test]
fn sources_that_lost_their_name_cannot_grow_the_gate() {
    let (mut gate, t0) = (SourceGate::<u32>::new(GateConfig::default()), origin());
    for port in 1..5000 {
        let source = SocketAddr::new([127, 0, 0, 9].into(), port);
        gate.admit(t0, source, 1, LASTING).unwrap();
        gate.revoke(t0, source, 1);
    }
    assert_eq!(gate.revoked.len(), MAX_REVOKED);
}

#[test]
fn the_latest_word_of_who_gives_a_source_to_one_at_a_time_counts() {
    let (mut gate, t0) = (SourceGate::<u32>::new(GateConfig::default()), origin());
    let source = address("127.0.0.1:4000");
    gate.admit(t0, source, 1, NameClaim::Latest).unwrap();
    assert_eq!(gate.route(t0, source, &rtp_of(1)), GateRoute::To(1));
    // Asterisk gives the port out again before the first call is told to be over.
    let taken = gate
        .admit(t0 + MS * 9, source, 2, NameClaim::Latest)
        .unwrap();
    assert_eq!((taken.held, taken.former), (vec![], Some(1)));
    assert_eq!(
        gate.route(t0 + MS * 10, source, &rtp_of(1)),
        GateRoute::Refused
    );
    assert_eq!(
        gate.route(t0 + MS * 11, source, &rtp_of(2)),
        GateRoute::To(2)
    );
    // The end of the first takes nothing from the second.
    gate.revoke(t0 + MS * 250, source, 1);
    assert_eq!(
        gate.route(t0 + MS * 260, source, &rtp_of(2)),
        GateRoute::To(2)
    );
    assert_eq!(
        gate.route(t0 + MS * 900, source, &rtp_of(1)),
        GateRoute::Refused
    );
    // Nor does the third's beginning depend on the second's end.
    let taken = gate
        .admit(t0 + MS * 901, source, 3, NameClaim::Latest)
        .unwrap();
    assert_eq!(taken.former, Some(2));
    assert_eq!(
        gate.route(t0 + MS * 902, source, &rtp_of(3)),
        GateRoute::To(3)
    );
    assert_eq!(gate.stats().admitted, 4);
}

#[test]
fn a_lasting_claim_neither_takes_nor_loses_a_source() {
    let (mut gate, t0) = (SourceGate::<u32>::new(GateConfig::default()), origin());
    for (n, first, second) in [
        (0, NameClaim::Lasting, NameClaim::Latest),
        (2, NameClaim::Latest, NameClaim::Lasting),
        (4, NameClaim::Lasting, NameClaim::Lasting),
    ] {
        let source = address(&format!("127.0.0.1:{}", 4000 + n));
        gate.admit(t0, source, 1, first).unwrap();
        assert_eq!(gate.admit(t0, source, 2, second), Err(SourceTaken(source)));
        assert_eq!(gate.route(t0, source, &RTP), GateRoute::To(1));
        // Once it is revoked it is free for any claim.
        gate.revoke(t0, source, 1);
        assert_eq!(gate.admit(t0, source, 2, second), Ok(nothing()));
    }
}
