//! Findings of the legs' doctors, as the session gives them out.

use asterscribe_call::CallEvent;
use asterscribe_call::{CallEventKind, FindingKind};

use super::*;

/// Two legs and what the session said of them.
struct Pair {
    session: CallSession,
    legs: [LegIndex; 2],
    start: Instant,
    now: Instant,
    seq: u16,
    due: Option<Instant>,
    events: Vec<CallEvent>,
    told: Vec<LegSnapshot>,
}

impl Pair {
    fn new() -> Self {
        let start = clock::now();
        let mut session = CallSession::new(SessionConfig::default(), start);
        let legs = [Leg::caller(), Leg::callee()].map(|leg| session.add_leg(leg));
        let arrival = ArrivalExpectation::WithPauses;
        for leg in legs {
            let format = None;
            session.expect(start, leg, ExpectedMedia { format, arrival });
        }
        let mut pair = Self {
            session,
            legs,
            start,
            now: start,
            seq: 0,
            due: None,
            events: Vec::new(),
            told: Vec::new(),
        };
        pair.input(SessionInput::Timer);
        pair
    }

    fn input(&mut self, input: SessionInput<'_>) {
        self.session.handle(self.now, input);
        loop {
            match self.session.poll() {
                SessionOutput::Wait(due) => {
                    self.due = due;
                    return;
                }
                SessionOutput::Transcribe { job, .. } => {
                    let result = Err(GapReason::OverloadShed.into());
                    self.session
                        .handle(self.now, SessionInput::Recognised { job, result });
                }
                SessionOutput::Event(event) => self.events.push(event),
                SessionOutput::Stats(legs) | SessionOutput::Closed(legs) => self.told = legs,
                SessionOutput::Line(_)
                | SessionOutput::Deferred(_)
                | SessionOutput::Digit(_)
                | SessionOutput::Draft { .. }
                | SessionOutput::Partial(_) => {}
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.due.filter(|&due| due <= until) {
            self.now = self.now.max(due);
            self.input(SessionInput::Timer);
        }
        self.now = until;
    }

    /// A packet from each leg that has something to send.
    fn packets(&mut self, payloads: [Option<&[u8]>; 2]) {
        for (leg, payload) in self.legs.into_iter().zip(payloads) {
            if let Some(payload) = payload {
                let bytes = packet(self.seq, u32::from(self.seq) * 160, 0, payload);
                self.input(SessionInput::Datagram { leg, bytes: &bytes });
            }
        }
        self.seq = self.seq.wrapping_add(1);
        self.pass(PACKET);
    }

    fn ms(&self) -> u64 {
        self.now.duration_since(self.start).as_millis() as u64
    }
}

#[test]
fn a_leg_that_is_mute_is_found_by_the_speech_of_the_other() {
    let mut pair = Pair::new();
    let speech = speech();
    for _ in 0..8 {
        for payload in &speech {
            pair.packets([Some(payload), Some(&SILENCE)]);
        }
    }
    let kinds: Vec<_> = pair
        .events
        .iter()
        .map(|event| (event.kind, event.leg.clone()))
        .collect();
    let began = (CallEventKind::FindingBegan, Some(Leg::callee()));
    assert_eq!(kinds, [began], "{:?}", pair.events);
    assert!(pair.told[0].findings.is_empty());
    let finding = &pair.told[1].findings[0];
    assert_eq!(finding.kind, FindingKind::OneLegSilent);
    assert!(pair.events[0].at_ms <= pair.ms());
    pair.input(SessionInput::Hangup);
    assert_eq!(pair.events.len(), 2);
    assert_eq!(pair.told[1].findings[0].until_ms, Some(pair.ms()));
}

#[test]
fn legs_without_packets_wake_the_session_and_say_who_sends_instead() {
    let mut pair = Pair::new();
    assert_eq!(pair.due, Some(pair.start + Duration::from_secs(2)));
    pair.packets([Some(&SILENCE), None]);
    pair.pass(Duration::from_secs(3));
    let no_rtp = |legs: &[LegSnapshot]| -> Vec<Vec<FindingKind>> {
        let kinds = |leg: &LegSnapshot| leg.findings.iter().map(|f| f.kind).collect();
        legs.iter().map(kinds).collect()
    };
    assert_eq!(no_rtp(&pair.told), [vec![], vec![FindingKind::NoRtp]]);
    for leg in pair.legs {
        let (from, named) = ("192.0.2.1:4002".parse(), "192.0.2.1:4000".parse());
        pair.input(SessionInput::Elsewhere {
            leg,
            from: from.unwrap(),
            named: named.unwrap(),
            packets: 25,
        });
    }
    assert!(!pair.session.is_unheard(pair.legs[0]));
    assert!(pair.session.is_unheard(pair.legs[1]));
    let both = [
        vec![],
        vec![FindingKind::NoRtp, FindingKind::UnexpectedSource],
    ];
    assert_eq!(no_rtp(&pair.told), both);
    pair.input(SessionInput::KernelDrops(3));
    let drops = |leg: &LegSnapshot| leg.findings.last().map(|finding| finding.kind);
    let all: Vec<_> = pair.told.iter().map(drops).collect();
    assert_eq!(all, [Some(FindingKind::KernelDrops); 2]);
}

#[test]
fn findings_move_with_the_call_clock() {
    let mut pair = Pair::new();
    pair.packets([Some(&SILENCE), None]);
    pair.pass(Duration::from_secs(5));
    pair.packets([None, Some(&SILENCE)]);
    let mut leg = pair.told[1].clone();
    assert_eq!(
        (leg.findings[0].since_ms, leg.findings[0].until_ms),
        (0, Some(5_020))
    );
    leg.shift(1_000);
    assert_eq!(
        (leg.findings[0].since_ms, leg.findings[0].until_ms),
        (1_000, Some(6_020))
    );
}
