//! Properties of a session that hold for any call: random scripts of datagrams, pauses, timers,
//! answers and the hang-up.

use std::collections::{BTreeMap, HashSet};

use asterscribe_call::{PartialLine, SpokenWord, TranscriptLine};
use asterscribe_speech::Recognition;
use proptest::prelude::*;

use super::*;
use crate::fuzz::AccountLaw;

const MAX_SAMPLES: usize = 480_000;

/// One thing that happens. Legs and jobs are chosen modulo what there is.
#[derive(Debug, Clone)]
enum Op {
    /// Speech of a leg, this many packets of 20 ms in its own codec.
    Speak {
        leg: usize,
        packets: usize,
    },
    /// Packets of silence.
    Mute {
        leg: usize,
        packets: usize,
    },
    /// Numbers that are used up and never sent.
    Lose {
        leg: usize,
        packets: u16,
    },
    /// Two neighbours in wrong order, then a copy of the second.
    Swap {
        leg: usize,
    },
    /// The timestamps jump by this much, in units of 1/8000 s.
    JumpTime {
        leg: usize,
        units: u32,
    },
    /// The numbers jump too, as after a restart of the sender.
    JumpSequence {
        leg: usize,
        to: u16,
    },
    /// The sender comes back with another SSRC.
    ChangeSource {
        leg: usize,
    },
    /// Its timestamps count by another clock, in fifths of the right one.
    ChangeClock {
        leg: usize,
        fifths: u32,
    },
    /// The sender changes its codec.
    ChangeCodec {
        leg: usize,
        to: u8,
    },
    /// One packet of any payload type.
    Other {
        leg: usize,
        payload_type: u8,
    },
    /// Any bytes.
    Garbage {
        leg: usize,
        bytes: Vec<u8>,
    },
    /// A packet whose arrival lies before the present, as the gate hands it out.
    Belated {
        leg: usize,
        by: Duration,
    },
    /// Time passes with its timers, or with none of them served.
    Pass(Duration),
    Stall(Duration),
    /// A timer out of turn.
    Timer,
    /// The answer to a job, perhaps its second.
    Answer {
        job: usize,
        outcome: u8,
    },
    Hangup,
}

fn op() -> impl Strategy<Value = Op> {
    let leg = 0..3usize;
    let ms = |range| prop::num::u64::ANY.prop_map(move |n| Duration::from_millis(n % range));
    prop_oneof![
        8 => (leg.clone(), 1..140usize).prop_map(|(leg, packets)| Op::Speak { leg, packets }),
        4 => (leg.clone(), 1..80usize).prop_map(|(leg, packets)| Op::Mute { leg, packets }),
        2 => (leg.clone(), 1..300u16).prop_map(|(leg, packets)| Op::Lose { leg, packets }),
        2 => leg.clone().prop_map(|leg| Op::Swap { leg }),
        2 => (leg.clone(), any::<u32>()).prop_map(|(leg, units)| Op::JumpTime { leg, units }),
        2 => (leg.clone(), 0..200_000u32).prop_map(|(leg, units)| Op::JumpTime { leg, units }),
        1 => (leg.clone(), any::<u16>()).prop_map(|(leg, to)| Op::JumpSequence { leg, to }),
        1 => leg.clone().prop_map(|leg| Op::ChangeSource { leg }),
        2 => (leg.clone(), 1..26u32).prop_map(|(leg, fifths)| Op::ChangeClock { leg, fifths }),
        1 => (leg.clone(), 0..5u8).prop_map(|(leg, to)| Op::ChangeCodec { leg, to }),
        2 => (leg.clone(), any::<u8>()).prop_map(|(leg, payload_type)| Op::Other { leg, payload_type }),
        2 => (leg.clone(), prop::collection::vec(any::<u8>(), 0..64))
            .prop_map(|(leg, bytes)| Op::Garbage { leg, bytes }),
        1 => (leg, ms(600)).prop_map(|(leg, by)| Op::Belated { leg, by }),
        4 => ms(3_000).prop_map(Op::Pass),
        1 => ms(90_000).prop_map(Op::Pass),
        1 => ms(5_000).prop_map(Op::Stall),
        1 => Just(Op::Timer),
        6 => (any::<usize>(), any::<u8>()).prop_map(|(job, outcome)| Op::Answer { job, outcome }),
        // Scripts end by hanging up; a few do so earlier.
        1 => prop::bool::weighted(0.1).prop_map(|early| if early { Op::Hangup } else { Op::Timer }),
    ]
}

/// State of a simulated sender.
struct Sender {
    ssrc: u32,
    seq: u16,
    time: u32,
    payload_type: u8,
    /// How fast its timestamps run, in fifths.
    fifths: u32,
}

impl Sender {
    fn next(&mut self, ulaw: &[u8]) -> Vec<u8> {
        let payload: Vec<u8> = match self.payload_type {
            8 => vec![0x55; ulaw.len()],
            10 | 11 => ulaw.repeat(2),
            118 => ulaw.repeat(4),
            _ => ulaw.to_vec(),
        };
        let mut bytes = packet(self.seq, self.time, self.payload_type, &payload);
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        let units = if self.payload_type == 118 { 320 } else { 160 };
        self.seq = self.seq.wrapping_add(1);
        self.time = self.time.wrapping_add(units * self.fifths / 5);
        bytes
    }
}

/// Drives a session and checks its contract after every input.
struct Checked {
    session: CallSession,
    legs: Vec<(LegIndex, Sender)>,
    now: Instant,
    due: Option<Instant>,
    jobs: Vec<JobId>,
    answered: HashSet<JobId>,
    lines: u64,
    ends: BTreeMap<String, u64>,
    datagrams: Vec<u64>,
    hung_up: bool,
    closed: Option<Vec<LegSnapshot>>,
    drafts: Vec<(LegIndex, u32)>,
    laws: [AccountLaw; 3],
}

impl Checked {
    fn new(config: SessionConfig) -> Self {
        let now = clock::now();
        let mut session = CallSession::new(config, now);
        let legs = (0..3u16)
            .map(|n| {
                let leg = session.add_leg(format!("leg-{n}").parse().unwrap());
                let sender = Sender {
                    ssrc: u32::from(n),
                    seq: 65_400 + n,
                    time: u32::MAX - 4_000,
                    payload_type: 0,
                    fifths: 5,
                };
                (leg, sender)
            })
            .collect();
        Self {
            session,
            legs,
            now,
            due: None,
            jobs: Vec::new(),
            answered: HashSet::new(),
            lines: 0,
            ends: BTreeMap::new(),
            datagrams: vec![0; 3],
            hung_up: false,
            closed: None,
            drafts: Vec::new(),
            laws: Default::default(),
        }
    }

    fn input_at(&mut self, now: Instant, input: SessionInput<'_>) {
        let is_timer = matches!(input, SessionInput::Timer);
        self.session.handle(now, input);
        loop {
            match self.session.poll() {
                SessionOutput::Wait(due) => {
                    self.due = due;
                    // Whoever serves the timer must not be asked for the same again.
                    assert!(
                        !is_timer || due.is_none_or(|due| due > now),
                        "a timer spins"
                    );
                    break;
                }
                SessionOutput::Transcribe { job, samples, .. } => {
                    assert!((1..=MAX_SAMPLES).contains(&samples.len()));
                    assert!(!self.jobs.contains(&job));
                    self.jobs.push(job);
                }
                SessionOutput::Draft {
                    leg,
                    revision,
                    samples,
                    ..
                } => {
                    assert!((1..=MAX_SAMPLES).contains(&samples.len()));
                    self.drafts.push((leg, revision));
                }
                SessionOutput::Partial(partial) => self.check_partial(&partial),
                SessionOutput::Line(line) => self.check_line(&line),
                SessionOutput::Deferred(deferred) => {
                    assert_eq!(deferred.line.state.gap(), Some(GapReason::Spooled));
                    assert!(!deferred.samples.is_empty());
                    self.check_line(&deferred.line);
                }
                SessionOutput::Stats(_) | SessionOutput::Event(_) | SessionOutput::Digit(_) => {
                    assert!(self.closed.is_none())
                }
                SessionOutput::Closed(legs) => {
                    assert!(self.hung_up, "closed before the hang-up");
                    assert!(self.closed.replace(legs).is_none(), "closed twice");
                }
            }
        }
        assert_eq!(self.session.is_closed(), self.closed.is_some());
        // A packet may have arrived before the present.
        let elapsed = self.now.max(now).duration_since(self.session.opened);
        for (leg, law) in self.session.snapshots().iter().zip(&mut self.laws) {
            law.check(leg, elapsed);
        }
    }

    /// Answers what was asked for first, as the pool may at any later time.
    fn answer_draft(&mut self) {
        if self.drafts.is_empty() {
            return;
        }
        let (leg, revision) = self.drafts.remove(0);
        let word = SpokenWord {
            text: format!("word{}", revision % 3),
            start_ms: 0,
            end_ms: 500,
            probability: 0.5,
        };
        let result = (revision % 4 > 0).then(|| Recognition {
            text: word.text.clone(),
            words: vec![word],
            ..Recognition::default()
        });
        let input = SessionInput::Drafted {
            leg,
            revision,
            result,
        };
        self.input_at(self.now, input);
    }

    fn check_partial(&mut self, partial: &PartialLine) {
        assert!(self.closed.is_none(), "a partial after the end");
        if partial.text.is_empty() {
            return;
        }
        let end = self.ends.get(partial.leg.as_str()).copied();
        // A forced cut may fall within a millisecond.
        assert!(
            partial.start_ms + 1 >= end.unwrap_or_default(),
            "{partial:?} after its line, which ends at {end:?}"
        );
    }

    fn check_line(&mut self, line: &TranscriptLine) {
        assert!(self.closed.is_none(), "a line after the end");
        assert_eq!(line.seq, self.lines, "a hole in the lines");
        self.lines += 1;
        assert!(line.start_ms <= line.end_ms);
        let end = self.ends.entry(line.leg.as_str().to_owned()).or_default();
        assert!(line.start_ms >= *end, "{line:?} begins before {end}");
        *end = line.end_ms;
    }

    fn input(&mut self, input: SessionInput<'_>) {
        self.input_at(self.now, input);
    }

    fn datagram_at(&mut self, now: Instant, n: usize, bytes: &[u8]) {
        if self.datagrams[n].is_multiple_of(3) {
            self.answer_draft();
        }
        let leg = self.legs[n].0;
        if !self.hung_up {
            self.datagrams[n] += 1;
        }
        self.input_at(now, SessionInput::Datagram { leg, bytes });
    }

    fn packets(&mut self, n: usize, payloads: &[Vec<u8>]) {
        for payload in payloads {
            let bytes = self.legs[n].1.next(payload);
            self.datagram_at(self.now, n, &bytes);
            self.pass(PACKET);
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

    fn answer(&mut self, job: JobId, outcome: u8) {
        let heard = |text: &str| Recognition {
            text: text.to_owned(),
            confidence: 0.5,
            language: "en".into(),
            ..Recognition::default()
        };
        let result = match outcome % 5 {
            0 => Err(UnheardReason::Gap(GapReason::OverloadShed)),
            4 => Err(UnheardReason::Late(vec![0; 160])),
            1 => Ok(heard("")),
            _ => Ok(heard("words")),
        };
        self.answered.insert(job);
        self.input(SessionInput::Recognised { job, result });
    }

    fn run(&mut self, op: Op, voice: &[Vec<u8>]) {
        match op {
            Op::Speak { leg, packets } => self.packets(leg, &voice[..packets.min(voice.len())]),
            Op::Mute { leg, packets } => self.packets(leg, &vec![SILENCE.to_vec(); packets]),
            Op::Lose { leg, packets } => {
                let sender = &mut self.legs[leg].1;
                sender.seq = sender.seq.wrapping_add(packets);
                sender.time = sender.time.wrapping_add(160 * u32::from(packets));
            }
            Op::Swap { leg } => {
                let [first, second] = [&voice[0], &voice[1]].map(|p| self.legs[leg].1.next(p));
                for bytes in [&second, &first, &second] {
                    self.datagram_at(self.now, leg, bytes);
                    self.pass(PACKET);
                }
            }
            Op::JumpTime { leg, units } => {
                let sender = &mut self.legs[leg].1;
                sender.time = sender.time.wrapping_add(units);
            }
            Op::JumpSequence { leg, to } => self.legs[leg].1.seq = to,
            Op::ChangeSource { leg } => {
                let sender = &mut self.legs[leg].1;
                sender.ssrc = sender.ssrc.wrapping_add(100);
                sender.time = sender.time.wrapping_mul(3);
            }
            Op::ChangeClock { leg, fifths } => self.legs[leg].1.fifths = fifths,
            Op::ChangeCodec { leg, to } => {
                self.legs[leg].1.payload_type = [0, 8, 10, 11, 118][usize::from(to)];
            }
            Op::Other { leg, payload_type } => {
                let was = self.legs[leg].1.payload_type;
                self.legs[leg].1.payload_type = payload_type & 0x7f;
                let bytes = self.legs[leg].1.next(&[0x55; 7]);
                self.legs[leg].1.payload_type = was;
                self.datagram_at(self.now, leg, &bytes);
            }
            Op::Garbage { leg, bytes } => self.datagram_at(self.now, leg, &bytes),
            Op::Belated { leg, by } => {
                let bytes = self.legs[leg].1.next(&voice[0]);
                let arrived = self.now.checked_sub(by).unwrap_or(self.now);
                self.datagram_at(arrived, leg, &bytes);
            }
            Op::Pass(time) => self.pass(time),
            Op::Stall(time) => {
                self.now += time;
                self.input(SessionInput::Timer);
            }
            Op::Timer => self.input(SessionInput::Timer),
            Op::Answer { job, outcome } => {
                if let Some(&job) = self.jobs.get(job % self.jobs.len().max(1)) {
                    self.answer(job, outcome);
                }
            }
            Op::Hangup => {
                self.hung_up = true;
                self.input(SessionInput::Hangup);
            }
        }
    }

    /// Hangs up, answers what is out, and checks the books.
    fn finish(&mut self, answer_all: bool) {
        self.run(Op::Hangup, &[]);
        if answer_all {
            for job in self.jobs.clone() {
                self.answer(job, 2);
            }
        } else {
            self.pass(Duration::from_secs(61));
        }
        self.run(Op::Hangup, &[]);
        assert_eq!(self.due, None, "a closed session waits for something");
        let legs = self.closed.take().expect("it closes");
        let mut settled = 0;
        for (
            n,
            LegSnapshot {
                stats: s, audio, ..
            },
        ) in legs.iter().enumerate()
        {
            let judged = s.decoded + s.not_audio + s.unknown_payload + s.decode_errors;
            let refused =
                s.late + s.too_old + s.duplicate + s.overflow + s.foreign_ssrc + s.sequence_jump;
            assert_eq!(s.received, judged + refused, "{s:?}");
            assert_eq!(
                self.datagrams[n],
                s.received + s.malformed + s.rtcp + s.not_rtp
            );
            settled += s.utterances + s.unrecognised;
            assert!(audio.is_conserved(), "{audio:?}");
            assert_eq!(audio.pending, 0, "{audio:?}");
        }
        assert!(settled >= self.jobs.len() as u64);
        assert!(self.lines <= settled);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_contract_holds_whatever_happens(
        ops in prop::collection::vec(op(), 1..60),
        answer_all: bool,
        max_jobs in 1..6usize,
    ) {
        let voice = speech();
        let mut checked = Checked::new(SessionConfig {
            max_jobs,
            partials: Some(PartialConfig::default()),
            ..SessionConfig::default()
        });
        for op in ops {
            checked.run(op, &voice);
        }
        checked.finish(answer_all);
    }
}
