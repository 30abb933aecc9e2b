//! The body of a fuzz target, run by the ordinary tests too; and the law of the account, which
//! all tests of a session hold it to.

use std::time::{Duration, Instant};

use asterscribe_call::{AudioAccount, GapReason, Leg};
use asterscribe_speech::{Recognition, SAMPLES_PER_MS};

use super::{
    CallSession, JobId, LegIndex, LegSnapshot, SessionConfig, SessionInput, SessionOutput,
    UnheardReason,
};

/// Gaps of packets that never came or hold no audio, which the time that has passed bounds.
const OF_TIME: [GapReason; 5] = [
    GapReason::NetLoss,
    GapReason::Late,
    GapReason::SenderSilence,
    GapReason::UnknownPayload,
    GapReason::Discontinuity,
];

/// Law of a leg's account from one moment to the next: audio is booked when it comes, and nothing
/// is taken back, except that a lost packet may turn out to be late.
#[derive(Debug, Default)]
pub(super) struct AccountLaw {
    before: AudioAccount,
}

impl AccountLaw {
    /// Checks the account `elapsed` after the call began.
    pub(super) fn check(&mut self, leg: &LegSnapshot, elapsed: Duration) {
        let (audio, before) = (leg.audio, self.before);
        assert!(audio.is_conserved(), "{audio:?}");
        assert!(audio.span >= before.span, "{before:?}, then {audio:?}");
        assert!(
            audio.transcribed >= before.transcribed,
            "{before:?}, then {audio:?}"
        );
        assert!(
            audio.non_speech >= before.non_speech,
            "{before:?}, then {audio:?}"
        );
        for reason in GapReason::ALL {
            let (was, is) = (before.gaps.of(reason), audio.gaps.of(reason));
            assert!(
                is >= was || reason == GapReason::NetLoss,
                "{reason:?}: {before:?}, then {audio:?}"
            );
        }
        let missing: u64 = OF_TIME.iter().map(|&reason| audio.gaps.of(reason)).sum();
        let passed = to_samples(elapsed);
        assert!(
            missing <= passed + passed / 100 + 17_000,
            "{missing} samples are missing of {passed}: {audio:?}"
        );
        self.before = audio;
    }
}

/// Interprets `script` as what two senders, a network and an engine do from `opened` on, which
/// is any moment, and holds both legs to the law after every input.
///
/// # Panics
/// When the account of a leg breaks the law.
pub fn session(opened: Instant, script: &[u8]) {
    let mut run = FuzzRun::new(opened);
    let mut rest = script;
    while let [op, value, tail @ ..] = rest {
        rest = tail;
        run.step(*op, *value);
    }
    run.finish();
}

/// State of a simulated sender.
#[derive(Debug)]
struct FuzzSender {
    seq: u16,
    time: u32,
    ssrc: u32,
    payload_type: u8,
    length: usize,
    /// Step of the timestamps per packet.
    ticks: u32,
    /// Packet spacing, ms.
    pace: u64,
    random: u32,
}

impl FuzzSender {
    fn packet(&mut self) -> Vec<u8> {
        let mut bytes = vec![0x80, self.payload_type];
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.time.to_be_bytes());
        bytes.extend(self.ssrc.to_be_bytes());
        for _ in 0..self.length {
            self.random = self
                .random
                .wrapping_mul(1_664_525)
                .wrapping_add(1_013_904_223);
            bytes.push((self.random >> 24) as u8);
        }
        self.seq = self.seq.wrapping_add(1);
        self.time = self.time.wrapping_add(self.ticks);
        bytes
    }
}

struct FuzzRun {
    session: CallSession,
    opened: Instant,
    now: Instant,
    legs: Vec<(LegIndex, FuzzSender, AccountLaw)>,
    jobs: Vec<JobId>,
    due: Option<Instant>,
}

impl FuzzRun {
    fn new(opened: Instant) -> Self {
        let mut session = CallSession::new(SessionConfig::default(), opened);
        let legs = [Leg::caller(), Leg::callee()].map(|leg| {
            let sender = FuzzSender {
                seq: 65_000,
                time: u32::MAX - 9_000,
                ssrc: 1,
                payload_type: 0,
                length: 160,
                ticks: 160,
                pace: 20,
                random: 1,
            };
            (session.add_leg(leg), sender, AccountLaw::default())
        });
        Self {
            session,
            opened,
            now: opened,
            legs: legs.into(),
            jobs: Vec::new(),
            due: None,
        }
    }

    fn step(&mut self, op: u8, value: u8) {
        const TYPES: [u8; 14] = [0, 3, 8, 9, 10, 107, 118, 126, 125, 18, 77, 101, 13, 96];
        let n = usize::from(op >> 7);
        let (sender, wide) = (&mut self.legs[n].1, u32::from(value));
        match op & 0x0f {
            0..=3 => self.speak(n, usize::from(value % 64) + 1, false),
            4 => self.speak(n, usize::from(value) * 4, true),
            5 => sender.payload_type = TYPES[usize::from(value) % TYPES.len()],
            6 => sender.length = usize::from(value) * 3 % 701,
            7 => sender.ticks = wide * 8,
            8 => sender.pace = u64::from(value % 41),
            9 => sender.time = sender.time.wrapping_add(wide << (op >> 4 & 7) << 6),
            10 => sender.time = sender.time.wrapping_sub(wide << (op >> 4 & 7) << 6),
            11 => sender.seq = sender.seq.wrapping_add(u16::from(value)),
            12 => sender.seq = sender.seq.wrapping_sub(u16::from(value)),
            13 => sender.ssrc = wide,
            14 => self.pass(Duration::from_millis(u64::from(value) * 40)),
            _ => self.answer(value),
        }
    }

    fn speak(&mut self, n: usize, packets: usize, at_once: bool) {
        for _ in 0..packets {
            let leg = self.legs[n].0;
            let bytes = self.legs[n].1.packet();
            self.input(SessionInput::Datagram { leg, bytes: &bytes });
            if !at_once {
                self.pass(Duration::from_millis(self.legs[n].1.pace));
            }
        }
    }

    fn answer(&mut self, value: u8) {
        let Some(job) = self.jobs.pop() else {
            return;
        };
        let result = match value % 3 {
            0 => Ok(Recognition {
                text: "words".to_owned(),
                ..Recognition::default()
            }),
            1 => Ok(Recognition::default()),
            _ => Err(UnheardReason::Gap(GapReason::RecognitionFailed)),
        };
        self.input(SessionInput::Recognised { job, result });
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.due.filter(|&due| due <= until) {
            self.now = self.now.max(due);
            self.input(SessionInput::Timer);
        }
        self.now = until;
    }

    fn input(&mut self, input: SessionInput<'_>) {
        self.session.handle(self.now, input);
        loop {
            match self.session.poll() {
                SessionOutput::Wait(due) => {
                    self.due = due;
                    break;
                }
                SessionOutput::Transcribe { job, .. } => self.jobs.push(job),
                _ => {}
            }
        }
        let elapsed = self.now.saturating_duration_since(self.opened);
        for (snapshot, (_, _, law)) in self.session.snapshots().iter().zip(&mut self.legs) {
            law.check(snapshot, elapsed);
        }
    }

    fn finish(mut self) {
        self.input(SessionInput::Hangup);
        while !self.jobs.is_empty() {
            self.answer(0);
        }
        assert!(self.session.is_closed(), "all is answered");
        for leg in self.session.snapshots() {
            assert_eq!(leg.audio.pending, 0, "{:?}", leg.audio);
        }
    }
}

fn to_samples(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 64) * SAMPLES_PER_MS
}

#[cfg(test)]
mod tests {
    use asterscribe_clock as clock;
    use proptest::prelude::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_corpus_keeps_the_law() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/session");
        for file in fs::read_dir(folder).unwrap() {
            super::session(clock::now(), &fs::read(file.unwrap().path()).unwrap());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn any_script_keeps_the_law(script in prop::collection::vec(any::<u8>(), 0..160)) {
            super::session(clock::now(), &script);
        }
    }
}
