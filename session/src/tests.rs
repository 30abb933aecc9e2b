mod diagnosis;
mod drafts;
mod encrypted;
mod freezes;
mod hold;
mod keys;
mod language;
mod late;
mod properties;
mod sounds;
mod time;
mod unusable;

use std::time::{Duration, Instant};

use asterscribe_call::{CallEvent, PartialLine, TranscriptLine};
use asterscribe_clock as clock;
use asterscribe_speech::Recognition;

use super::*;

const PACKET: Duration = Duration::from_millis(20);

/// A session on a clock of its own, with one leg and an engine that answers
/// each job with its length.
struct Rig {
    session: CallSession,
    leg: LegIndex,
    now: Instant,
    lines: Vec<TranscriptLine>,
    deferred: Vec<DeferredLine>,
    jobs: Vec<(JobId, usize)>,
    /// How the jobs are to be recognised.
    choices: Vec<Arc<DecodeOptions>>,
    events: Vec<CallEvent>,
    keys: Vec<DtmfDigit>,
    drafts: Vec<(u32, usize)>,
    partials: Vec<PartialLine>,
    due: Option<Instant>,
    closed: Option<Vec<LegSnapshot>>,
}

impl Rig {
    fn new(config: SessionConfig) -> Self {
        let now = clock::now();
        let mut session = CallSession::new(config, now);
        let leg = session.add_leg(Leg::caller());
        Self {
            session,
            leg,
            now,
            lines: Vec::new(),
            deferred: Vec::new(),
            jobs: Vec::new(),
            choices: Vec::new(),
            events: Vec::new(),
            keys: Vec::new(),
            drafts: Vec::new(),
            partials: Vec::new(),
            due: None,
            closed: None,
        }
    }

    fn input(&mut self, input: SessionInput<'_>) {
        self.session.handle(self.now, input);
        loop {
            match self.session.poll() {
                SessionOutput::Wait(due) => {
                    self.due = due;
                    return;
                }
                SessionOutput::Transcribe {
                    job,
                    samples,
                    choices,
                    ..
                } => {
                    self.jobs.push((job, samples.len()));
                    self.choices.push(choices);
                }
                SessionOutput::Draft {
                    revision, samples, ..
                } => self.drafts.push((revision, samples.len())),
                SessionOutput::Partial(partial) => self.partials.push(partial),
                SessionOutput::Line(line) => self.lines.push(line),
                SessionOutput::Deferred(deferred) => self.deferred.push(*deferred),
                SessionOutput::Event(event) => self.events.push(event),
                SessionOutput::Digit(key) => self.keys.push(key),
                SessionOutput::Stats(_) => {}
                SessionOutput::Closed(legs) => self.closed = Some(legs),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let leg = self.leg;
        self.input(SessionInput::Datagram { leg, bytes });
    }

    /// Lets time pass and serves every timer that falls due.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.due.filter(|&due| due <= until) {
            self.now = self.now.max(due);
            self.input(SessionInput::Timer);
        }
        self.now = until;
    }

    fn answer(&mut self, n: usize, text: &str) {
        let (job, _) = self.jobs[n];
        let result = Ok(Recognition {
            text: text.to_owned(),
            confidence: 0.5,
            language: "en".into(),
            ..Recognition::default()
        });
        self.input(SessionInput::Recognised { job, result });
    }

    fn stats(&self) -> LegStats {
        self.session.snapshots()[0].stats.clone()
    }
}

fn packet(seq: u16, time: u32, payload_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, payload_type];
    bytes.extend(seq.to_be_bytes());
    bytes.extend(time.to_be_bytes());
    bytes.extend(7u32.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Real speech: the samples of a spoken prompt as µ-law packets of 20 ms.
fn speech() -> Vec<Vec<u8>> {
    let wav = include_bytes!("../../fixtures/prompts/account-number.wav");
    let samples = wav[44..]
        .chunks_exact(2)
        .map(|b| i16::from_le_bytes([b[0], b[1]]));
    let ulaw: Vec<u8> = samples.map(asterscribe_codecs::g711::encode_ulaw).collect();
    ulaw.chunks_exact(160).map(<[u8]>::to_vec).collect()
}

const SILENCE: [u8; 160] = [0xff; 160];

/// Speaks the prompt in one go, as Asterisk would send it.
fn speak(rig: &mut Rig, seq: &mut u16, time: &mut u32) {
    for payload in speech() {
        rig.send(&packet(*seq, *time, 0, &payload));
        *seq = seq.wrapping_add(1);
        *time = time.wrapping_add(160);
        rig.pass(PACKET);
    }
}

/// So many utterances, with a pause after each.
fn say_sentences(rig: &mut Rig, count: usize) {
    let (mut seq, mut time) = (1, 1000);
    for _ in 0..count {
        speak(rig, &mut seq, &mut time);
        rig.pass(Duration::from_secs(2));
        time += 16_000;
    }
}

#[test]
fn an_utterance_ends_though_the_sender_stops_sending() {
    let mut rig = Rig::new(SessionConfig::default());
    let (mut seq, mut time) = (u16::MAX - 20, u32::MAX - 2000);
    speak(&mut rig, &mut seq, &mut time);
    assert!(rig.jobs.is_empty(), "no hang-over has passed");
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.jobs.len(), 1);
    rig.answer(0, "my account number");
    let line = &rig.lines[0];
    assert_eq!(
        (line.seq, line.text.as_str(), line.state.gap()),
        (0, "my account number", None)
    );
    assert!(line.end_ms - line.start_ms > 2000, "{line:?}");
    assert_eq!(rig.stats().utterances, 1);
}

#[test]
fn a_pause_of_the_sender_is_silence_and_times_stay_true() {
    let mut rig = Rig::new(SessionConfig::default());
    let (mut seq, mut time) = (1, 1000);
    speak(&mut rig, &mut seq, &mut time);
    let before = rig.now;
    rig.pass(Duration::from_secs(10));
    time += 10 * 8000;
    speak(&mut rig, &mut seq, &mut time);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.jobs.len(), 2);
    rig.answer(0, "a");
    rig.answer(1, "b");
    let spoken = rig.lines[1].start_ms - rig.lines[0].start_ms;
    let apart = before.duration_since(rig.session.opened).as_millis() as u64 + 10_000;
    assert!(
        spoken.abs_diff(apart) <= 300,
        "{spoken} ms between the lines, {apart} ms between the speech"
    );
    let stats = rig.stats();
    assert_eq!((stats.lost, stats.lost_ms, stats.silent_ms), (0, 0, 10_000));
}

#[test]
fn lost_packets_are_told_from_silence() {
    let mut rig = Rig::new(SessionConfig::default());
    for n in 0..50u16 {
        if n != 20 && n != 21 {
            rig.send(&packet(n, u32::from(n) * 160, 0, &SILENCE));
        }
        rig.pass(PACKET);
    }
    let stats = rig.stats();
    assert_eq!((stats.lost, stats.lost_ms, stats.silent_ms), (2, 40, 0));
    assert_eq!(
        (stats.received, stats.decoded, stats.audio_ms),
        (48, 48, 960)
    );
}

#[test]
fn ordered_packets_alone_are_accounted_for_and_nothing_is_heard() {
    let mut rig = Rig::new(SessionConfig {
        depth: SessionDepth::Ordered,
        ..SessionConfig::default()
    });
    let (mut seq, mut time) = (1, 1000);
    speak(&mut rig, &mut seq, &mut time);
    // Two packets are lost, and later the sender pauses.
    (seq, time) = (seq + 2, time + 320);
    rig.pass(2 * PACKET);
    speak(&mut rig, &mut seq, &mut time);
    rig.pass(Duration::from_secs(10));
    time += 10 * 8000;
    speak(&mut rig, &mut seq, &mut time);
    rig.input(SessionInput::Hangup);
    assert!(rig.jobs.is_empty());
    let leg = &rig.closed.expect("nothing is waited for")[0];
    let packets = 3 * speech().len() as u64;
    assert_eq!((leg.stats.received, leg.stats.decoded), (packets, 0));
    assert_eq!((leg.stats.lost, leg.stats.lost_ms), (2, 40));
    assert_eq!(leg.stats.silent_ms, 10_000);
    assert!(leg.audio.is_conserved(), "{:?}", leg.audio);
    assert_eq!(leg.audio.pending, 0);
    assert_eq!(leg.audio.non_speech, packets * 320);
    assert_eq!(leg.audio.gaps.net_loss, 640);
    assert_eq!(leg.audio.gaps.sender_silence, 160_000);
}

#[test]
fn order_within_the_window_changes_nothing() {
    let transcript = |shuffle: bool| {
        let mut rig = Rig::new(SessionConfig::default());
        let mut packets: Vec<_> = speech()
            .iter()
            .enumerate()
            .map(|(n, p)| packet(n as u16, n as u32 * 160, 0, p))
            .collect();
        if shuffle {
            for pair in packets.chunks_exact_mut(2).skip(1) {
                pair.swap(0, 1);
            }
        }
        for bytes in &packets {
            rig.send(bytes);
            rig.pass(PACKET);
        }
        rig.pass(Duration::from_secs(2));
        let stats = rig.stats();
        (
            rig.jobs
                .iter()
                .map(|&(_, length)| length)
                .collect::<Vec<_>>(),
            stats.decoded,
            stats.lost,
        )
    };
    assert_eq!(transcript(true), transcript(false));
}

#[test]
fn lines_come_in_the_order_of_speech_whatever_the_engine_does() {
    let mut rig = Rig::new(SessionConfig::default());
    let (mut seq, mut time) = (1, 1000);
    for _ in 0..3 {
        speak(&mut rig, &mut seq, &mut time);
        rig.pass(Duration::from_secs(2));
        time += 16_000;
    }
    assert_eq!(rig.jobs.len(), 3);
    rig.answer(2, "third");
    assert!(rig.lines.is_empty());
    rig.answer(0, "");
    let (job, _) = rig.jobs[1];
    rig.input(SessionInput::Recognised {
        job,
        result: Err(GapReason::OverloadShed.into()),
    });
    let said: Vec<_> = rig
        .lines
        .iter()
        .map(|l| (l.seq, l.text.as_str(), l.state.gap()))
        .collect();
    assert_eq!(
        said,
        [(0, "", Some(GapReason::OverloadShed)), (1, "third", None)]
    );
    rig.answer(1, "too late");
    assert_eq!(rig.lines.len(), 2, "a job has one answer");
}

#[test]
fn hanging_up_in_mid_sentence_keeps_the_last_words() {
    let mut rig = Rig::new(SessionConfig::default());
    let (mut seq, mut time) = (1, 1000);
    speak(&mut rig, &mut seq, &mut time);
    rig.input(SessionInput::Hangup);
    assert_eq!(rig.jobs.len(), 1);
    assert!(rig.closed.is_none(), "its last words are still out");
    rig.answer(0, "bye");
    assert_eq!(rig.lines[0].text, "bye");
    assert!(rig.closed.is_some() && rig.session.is_closed());
    rig.send(&packet(seq, time, 0, &SILENCE));
    assert_eq!(rig.due, None, "a closed session wants nothing");
}

#[test]
fn an_engine_that_never_answers_does_not_keep_a_call_open() {
    let mut rig = Rig::new(SessionConfig::default());
    let (mut seq, mut time) = (1, 1000);
    speak(&mut rig, &mut seq, &mut time);
    rig.input(SessionInput::Hangup);
    rig.pass(Duration::from_secs(61));
    assert_eq!(rig.lines[0].state.gap(), Some(GapReason::RecognitionFailed));
    assert!(rig.closed.is_some());
}

#[test]
fn beyond_the_bound_of_open_jobs_speech_is_shed_with_a_line() {
    let mut rig = Rig::new(SessionConfig {
        max_jobs: 1,
        ..SessionConfig::default()
    });
    let (mut seq, mut time) = (1, 1000);
    for _ in 0..2 {
        speak(&mut rig, &mut seq, &mut time);
        rig.pass(Duration::from_secs(2));
        time += 16_000;
    }
    assert_eq!(rig.jobs.len(), 1);
    rig.answer(0, "first");
    assert_eq!(rig.lines[1].state.gap(), Some(GapReason::OverloadShed));
    assert_eq!(rig.stats().unrecognised, 1);
}

#[test]
fn the_codec_follows_the_payload_type_from_packet_to_packet() {
    let mut rig = Rig::new(SessionConfig::default());
    rig.send(&packet(1, 0, 0, &SILENCE));
    rig.pass(PACKET);
    rig.send(&packet(2, 160, 8, &[0xd5; 160]));
    rig.pass(PACKET);
    rig.send(&packet(3, 320, 118, &[0; 640]));
    rig.pass(PACKET);
    rig.send(&packet(4, 640, 101, &[5, 10, 0, 160]));
    rig.send(&packet(5, 640, 13, &[40]));
    rig.send(&packet(6, 640, 77, &[1; 160]));
    rig.send(&packet(7, 640, 10, &[1; 161]));
    let stats = rig.stats();
    assert_eq!((stats.decoded, stats.audio_ms), (3, 60));
    assert_eq!(
        (stats.not_audio, stats.unknown_payload, stats.decode_errors),
        (2, 1, 1)
    );
}

#[test]
fn a_broken_clock_neither_runs_back_nor_stretches_the_timeline() {
    let mut rig = Rig::new(SessionConfig::default());
    let mut time = 0u32;
    for n in 0..500u16 {
        // A sender whose timestamps leap by hours, forwards and backwards.
        time = time.wrapping_add(if n % 3 == 0 { 0x7000_0000 } else { 160 });
        rig.send(&packet(n, time, 0, &SILENCE));
        rig.pass(PACKET);
    }
    let stats = rig.stats();
    assert_eq!(stats.audio_ms, 10_000);
    assert!(stats.silent_ms + stats.lost_ms <= 1_000, "{stats:?}");
}

#[test]
fn what_is_no_rtp_is_counted_and_changes_nothing() {
    let mut rig = Rig::new(SessionConfig::default());
    rig.send(b"OPTIONS sip:nobody SIP/2.0\r\n\r\n");
    rig.send(&[
        0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xbe, 0xde, 0, 2, 0x1f, 0, 0, 0,
    ]);
    rig.send(&[]);
    let stats = rig.stats();
    assert_eq!((stats.received, stats.decoded), (0, 0));
    assert_eq!((stats.malformed, stats.not_rtp), (1, 2));
}

#[test]
fn the_call_clock_of_a_leg_begins_with_its_audio_not_with_its_signalling() {
    let mut rig = Rig::new(SessionConfig::default());
    let (mut seq, mut time) = (1u16, 1000u32);
    for _ in 0..10 {
        rig.send(&packet(seq, time, 101, &[5, 10, 0, 160]));
        seq += 1;
        rig.pass(Duration::from_secs(1));
        time += 8000;
    }
    speak(&mut rig, &mut seq, &mut time);
    rig.input(SessionInput::Hangup);
    rig.answer(0, "hello");
    assert!(rig.lines[0].start_ms >= 10_000, "{:?}", rig.lines[0]);
}

#[test]
fn comfort_noise_does_not_keep_a_sentence_open() {
    let mut rig = Rig::new(SessionConfig::default());
    let (mut seq, mut time) = (1, 1000);
    speak(&mut rig, &mut seq, &mut time);
    for _ in 0..50 {
        rig.send(&packet(seq, time, 13, &[40]));
        seq += 1;
        rig.pass(Duration::from_millis(100));
        time += 800;
    }
    assert_eq!(
        rig.jobs.len(),
        1,
        "five seconds of comfort noise are a pause"
    );
}

#[test]
fn a_restarted_sender_in_full_flow_adds_no_silence() {
    let mut rig = Rig::new(SessionConfig::default());
    for n in 0..100u16 {
        // After half of it numbers and timestamps are others.
        let (seq, time) = if n < 50 { (n, 0) } else { (n + 20_000, 77_777) };
        rig.send(&packet(seq, time + u32::from(n) * 160, 0, &SILENCE));
        rig.pass(PACKET);
    }
    let stats = rig.stats();
    assert_eq!(
        (stats.restarts, stats.decoded, stats.audio_ms),
        (1, 100, 2000)
    );
    assert_eq!((stats.silent_ms, stats.lost_ms), (0, 0));
}

#[test]
fn a_change_of_codec_late_in_a_call_adds_no_silence() {
    let mut rig = Rig::new(SessionConfig::default());
    for n in 0..20_000u32 {
        rig.send(&packet(n as u16, n * 160, 0, &SILENCE));
        rig.pass(PACKET);
    }
    rig.send(&packet(20_000, 20_000 * 160, 118, &[0; 640]));
    let stats = rig.stats();
    assert_eq!((stats.audio_ms, stats.silent_ms), (400_020, 0));
}

#[test]
fn packets_put_back_in_order_do_not_pile_up_delay() {
    let mut rig = Rig::new(SessionConfig::default());
    for n in (0..6_000u32).step_by(4) {
        // The first of four comes 60 ms late.
        for k in [1, 2, 3, 0] {
            rig.pass(PACKET);
            rig.send(&packet((n + k) as u16, (n + k) * 160, 0, &SILENCE));
        }
    }
    rig.pass(PACKET);
    rig.send(&packet(6_000, 1 << 31, 0, &SILENCE));
    let stats = rig.stats();
    // The first three were older than the first that came.
    assert_eq!((stats.decoded, stats.silent_ms), (6_000, 0), "{stats:?}");
}
