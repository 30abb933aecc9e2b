//! Places of a leg's audio on the call's clock, whatever its sender's timestamps count.

use asterscribe_call::{AudioAccount, FindingKind};

use super::*;

/// A sender of 20 ms packets, one for each payload.
struct Talk {
    rig: Rig,
    seq: u16,
    time: u32,
    /// Step of the timestamps per packet.
    ticks: u32,
}

impl Talk {
    fn new() -> Self {
        Self::with(SessionConfig::default())
    }

    fn with(config: SessionConfig) -> Self {
        Self {
            rig: Rig::new(config),
            seq: 65_500,
            time: u32::MAX - 7_000,
            ticks: 160,
        }
    }

    fn send(&mut self, payload: &[u8]) {
        let bytes = packet(self.seq, self.time, 0, payload);
        self.rig.send(&bytes);
        self.seq = self.seq.wrapping_add(1);
        self.time = self.time.wrapping_add(self.ticks);
    }

    fn say(mut self, payloads: &[Vec<u8>]) -> Self {
        for payload in payloads {
            self.send(payload);
            self.rig.pass(PACKET);
        }
        self
    }

    fn mute(self, packets: usize) -> Self {
        self.say(&vec![SILENCE.to_vec(); packets])
    }

    /// The sender stops; whether its timestamps count that.
    fn stop(mut self, ms: u32, is_counted: bool) -> Self {
        self.rig.pass(Duration::from_millis(ms.into()));
        if is_counted {
            self.time = self.time.wrapping_add(self.ticks * ms / 20);
        }
        self
    }

    /// The prompt with some silence about it.
    fn sentence(self) -> Self {
        self.mute(25).say(&speech()).mute(50)
    }

    fn ratio(mut self, ticks: u32) -> Self {
        self.ticks = ticks;
        self
    }

    /// Hangs up and answers; start and end of the lines, and the account.
    fn end(mut self) -> (Vec<(u64, u64)>, LegSnapshot) {
        let elapsed = self.rig.now.duration_since(self.rig.session.opened);
        self.rig.input(SessionInput::Hangup);
        for n in 0..self.rig.jobs.len() {
            self.rig.answer(n, "words");
        }
        let leg = self.rig.closed.take().unwrap().remove(0);
        assert!(leg.audio.is_conserved(), "{:?}", leg.audio);
        assert_eq!(leg.audio.pending, 0);
        assert!(
            leg.audio.span <= to_samples(elapsed) + 16_000,
            "{elapsed:?}: {:?}",
            leg.audio
        );
        let lines = self.rig.lines.iter();
        (
            lines.map(|line| (line.start_ms, line.end_ms)).collect(),
            leg,
        )
    }
}

fn to_samples(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap() * 16 / 1_000
}

fn ratio_of(leg: &LegSnapshot) -> Option<&str> {
    let finding = leg
        .findings
        .iter()
        .find(|f| f.kind == FindingKind::ClockRate);
    finding.map(|finding| finding.evidence.as_str())
}

#[track_caller]
fn assert_near(lines: &[(u64, u64)], expected: &[(u64, u64)], by: u64, what: &str) {
    let near =
        |(a, b): (&(u64, u64), &(u64, u64))| a.0.abs_diff(b.0) <= by && a.1.abs_diff(b.1) <= by;
    assert!(
        lines.len() == expected.len() && lines.iter().zip(expected).all(near),
        "{what}: {lines:?} instead of {expected:?}"
    );
}

#[test]
fn a_clock_that_counts_otherwise_changes_neither_words_nor_times() {
    let whole = |ticks| {
        Talk::new()
            .ratio(ticks)
            .sentence()
            .sentence()
            .stop(3_000, true)
            .sentence()
    };
    let (expected, leg) = whole(160).end();
    assert_eq!((expected.len(), ratio_of(&leg)), (3, None));
    for ticks in [32, 80, 120, 150, 165, 176, 200, 240, 320, 480, 640, 800] {
        let (lines, leg) = whole(ticks).end();
        assert_near(&lines, &expected, 1, &format!("{ticks} ticks"));
        let gaps = leg.audio.gaps;
        assert_eq!(gaps.total(), gaps.sender_silence, "{ticks} ticks: {gaps:?}");
        assert_eq!(leg.stats.overload_shed, 0, "{ticks} ticks");
        assert!(
            leg.audio.gaps.total().abs_diff(48_000) <= 32,
            "{:?}",
            leg.audio
        );
        let evidence = ratio_of(&leg).unwrap_or_else(|| panic!("{ticks}: no finding"));
        let ratio = format!("{:.2} times", f64::from(ticks) / 160.0);
        assert!(evidence.contains(&ratio), "{ticks}: {evidence}");
    }
}

#[test]
fn a_clock_may_change_in_a_call_and_change_back() {
    let call = |ticks| {
        let talk = Talk::new().sentence().ratio(ticks).sentence().sentence();
        talk.ratio(160).sentence().mute(100)
    };
    let (expected, _) = call(160).end();
    for ticks in [80, 320, 800] {
        let (lines, leg) = call(ticks).end();
        assert_near(&lines, &expected, 1, &format!("{ticks} ticks"));
        let found = leg
            .findings
            .iter()
            .find(|f| f.kind == FindingKind::ClockRate);
        assert!(found.unwrap().until_ms.is_some(), "{ticks}: {found:?}");
    }
}

#[test]
fn a_pause_that_is_not_counted_is_silence_of_the_sender() {
    for ms in [200, 500, 900, 3_000, 20_000, 100_000] {
        let call = |counted| {
            Talk::new()
                .sentence()
                .stop(ms, counted)
                .sentence()
                .sentence()
        };
        let ((expected, _), (lines, leg)) = (call(true).end(), call(false).end());
        assert_near(&lines, &expected, 1, &format!("{ms} ms"));
        let gaps = leg.audio.gaps;
        assert_eq!(gaps.sender_silence, u64::from(ms) * 16, "{ms} ms: {gaps:?}");
        assert_eq!(gaps.total(), gaps.sender_silence, "{ms} ms");
    }
}

#[test]
fn the_first_word_behind_such_a_pause_is_whole_and_in_its_place() {
    // Nothing is sent about the speech.
    let call = |counted| {
        let talk = Talk::new().say(&speech()).stop(5_000, counted);
        talk.say(&speech()).stop(2_000, counted)
    };
    let ((expected, _), (lines, _)) = (call(true).end(), call(false).end());
    assert_near(&lines, &expected, 1, "speech only");
}

#[test]
fn many_short_pauses_that_are_not_counted_add_up() {
    for ms in [60, 120, 160, 300, 700] {
        let mut talk = Talk::new();
        for _ in 0..30 {
            talk = talk.mute(20).stop(ms, false);
        }
        let began = talk.rig.now + Duration::from_millis(500);
        let at = began.duration_since(talk.rig.session.opened).as_millis() as u64;
        let (lines, _) = talk.sentence().end();
        let alone = Talk::new().sentence().end().0;
        let expected: Vec<_> = alone
            .iter()
            .map(|(start, end)| (start + at - 500, end + at - 500))
            .collect();
        assert_near(&lines, &expected, 450, &format!("{ms} ms"));
    }
}

#[test]
fn a_network_that_stands_still_is_no_pause() {
    let whole = Talk::new().sentence().sentence().end().0;
    for ms in [150u64, 400, 1_000, 5_000, 7_000] {
        // In the silence between the sentences, and what was held up comes at once or in a rush.
        for pace in [0, 2, 10] {
            let mut talk = Talk::new().sentence().mute(1);
            let mut behind = Duration::from_millis(ms);
            talk.rig.pass(behind);
            let payloads = [
                vec![SILENCE.to_vec(); 24],
                speech(),
                vec![SILENCE.to_vec(); 450],
            ]
            .concat();
            for payload in &payloads {
                talk.send(payload);
                let next = if behind >= PACKET {
                    Duration::from_millis(pace)
                } else {
                    PACKET
                };
                behind = behind.saturating_sub(PACKET - next);
                talk.rig.pass(next);
            }
            let (lines, leg) = talk.end();
            assert_near(&lines, &whole, 1, &format!("{ms} ms, {pace} ms"));
            assert_eq!(leg.audio.gaps.total(), 0, "{ms} ms, {pace} ms");
        }
    }
}

#[test]
fn a_pause_behind_the_last_packet_is_decided_when_the_call_ends() {
    let mut talk = Talk::new().sentence().stop(4_000, false);
    talk.send(&SILENCE);
    let during = talk.rig.session.snapshots()[0].audio;
    assert!(during.is_conserved());
    let (_, leg) = talk.end();
    assert_eq!(leg.audio.gaps.sender_silence, 64_000);
    assert!(leg.audio.span >= during.span);
}

#[test]
fn a_late_timer_does_not_change_what_a_break_was() {
    let call = |serve: bool| {
        let mut talk = Talk::new().sentence().stop(4_000, false);
        for n in 0..100 {
            talk.send(&SILENCE);
            if serve {
                talk.rig.pass(PACKET);
            } else {
                talk.rig.now += PACKET;
                if n % 7 == 0 {
                    talk.rig.input(SessionInput::Timer);
                }
            }
        }
        talk.sentence().end()
    };
    let ((lines, leg), (late_lines, late)) = (call(true), call(false));
    assert_eq!((lines, leg.audio), (late_lines, late.audio));
}

/// A sender of slin48 that pauses for 3 s, and sends so many samples then.
fn tiny(samples: usize, depth: SessionDepth) -> AudioAccount {
    let mut rig = Rig::new(SessionConfig {
        depth,
        ..SessionConfig::default()
    });
    let (mut seq, mut time) = (0, 0);
    let mut send = |rig: &mut Rig, samples: usize| {
        rig.send(&packet(seq, time, 126, &vec![0; 2 * samples]));
        (seq, time) = (seq + 1, time + samples as u32);
        rig.pass(PACKET);
        if samples < 960 {
            time += 3 * 48_000;
            rig.pass(Duration::from_secs(3) - PACKET);
        }
    };
    for _ in 0..50 {
        send(&mut rig, 960);
    }
    // The pause lies behind the first such packet and before the second.
    for _ in 0..2 {
        send(&mut rig, samples);
    }
    for _ in 0..50 {
        send(&mut rig, 960);
    }
    rig.input(SessionInput::Hangup);
    rig.closed.unwrap()[0].audio
}

#[test]
fn a_pause_before_less_than_a_sample_is_silence_of_the_sender() {
    for samples in [1, 2, 3, 5] {
        for depth in [SessionDepth::Speech, SessionDepth::Ordered] {
            let audio = tiny(samples, depth);
            assert!(audio.is_conserved(), "{samples}: {audio:?}");
            assert_eq!(audio.gaps.total(), audio.gaps.sender_silence);
            let silence = audio.gaps.sender_silence;
            assert!(
                silence.abs_diff(96_000) <= 2,
                "{samples}, {depth:?}: {audio:?}"
            );
            assert!(
                audio.non_speech.abs_diff(32_000) <= 4,
                "{samples}: {audio:?}"
            );
        }
    }
}
