use asterscribe_clock as clock;
use proptest::prelude::*;

use super::*;

const CLOCK: RtpClockRate = RtpClockRate::HZ_8000;
const HOUR_OF_PACKETS: u64 = 180_000;
/// Where extended timestamps begin.
const BASE: u64 = 1 << 48;

struct Sender {
    timeline: LegTimeline,
    now: Instant,
    time: u64,
    /// Step of the timestamps per packet of 160 samples.
    step: u64,
}

impl Sender {
    fn new() -> Self {
        Self {
            timeline: LegTimeline::default(),
            now: clock::now(),
            time: BASE,
            step: 160,
        }
    }

    /// One packet of 20 ms, this long after the one before, behind `missing` that never came.
    fn packet_behind(&mut self, after: Duration, missing: u64) -> PacketPlacement {
        self.now += after;
        self.time += missing * self.step;
        let begin = self.time;
        self.time += self.step;
        let span = PacketSpan {
            begin,
            end: begin + 160,
            clock: CLOCK,
        };
        self.timeline.place(span, self.now, missing)
    }

    fn packet(&mut self, after: Duration) -> PacketPlacement {
        self.packet_behind(after, 0)
    }

    fn flow(&mut self, packets: u64, step: Duration) {
        for n in 0..packets {
            assert_eq!(self.packet(step), PacketPlacement::default(), "packet {n}");
        }
    }

    /// Packets in a steady flow, with what is owed made good at once; returns the sum of that.
    fn flow_made_good(&mut self, packets: u64, step: Duration) -> u64 {
        let mut sum = 0;
        for _ in 0..packets {
            assert_eq!(self.packet(step), PacketPlacement::default());
            let owed = self.timeline.owed();
            sum += self.timeline.make_good(owed);
        }
        sum
    }
}

const STEP: Duration = Duration::from_millis(20);

fn after(gap: u64) -> PacketPlacement {
    PacketPlacement {
        gap,
        is_broken: false,
    }
}

fn broken(gap: u64) -> PacketPlacement {
    PacketPlacement {
        gap,
        is_broken: true,
    }
}

#[test]
fn a_pause_after_hours_with_a_fast_sender_gives_back_what_it_ran_ahead() {
    let mut sender = Sender::new();
    sender.flow(2 * HOUR_OF_PACKETS, Duration::from_micros(19_900));
    sender.time += 8_000 * 60;
    let pause = sender.packet(Duration::from_secs(60));
    // 36 s ahead, of which one may stay.
    assert!(!pause.is_broken);
    let expected = 25 * 16_000;
    assert!(pause.gap.abs_diff(expected) <= 320, "{pause:?}");
    // Its clock is right now, so the next is as long as it says.
    sender.time += 8_000 * 60;
    let pause = sender.packet(Duration::from_secs(60) + STEP);
    assert_eq!(pause, after(60 * 16_000));
}

#[test]
fn what_a_slow_sender_lags_behind_is_made_good_as_it_comes() {
    for (step, expected) in [(20_010, 36), (20_000, 0), (19_990, 0)] {
        let mut sender = Sender::new();
        let step = Duration::from_micros(step);
        let made_good = sender.flow_made_good(20 * HOUR_OF_PACKETS, step);
        let expected = expected * 16_000;
        assert!(
            made_good.abs_diff(expected) <= 1_700,
            "{step:?}: {made_good}"
        );
        sender.time += 1 << 30;
        let leap = sender.packet(STEP);
        assert!(leap.is_broken, "a leap of days is not believed");
        assert!(leap.gap <= 1_700, "{leap:?}");
    }
}

#[test]
fn pauses_too_short_to_hear_add_up() {
    // 4 ms between packets, which the timestamps tell, or do not.
    for told in [32, 0] {
        let mut sender = Sender::new();
        let mut passed = 0;
        for _ in 0..500 {
            passed += sender.packet(Duration::from_millis(24)).gap;
            let owed = sender.timeline.owed();
            passed += sender.timeline.make_good(owed);
            sender.time += told;
        }
        let expected = 499 * 64;
        assert!(
            (expected - 8_500..=expected).contains(&passed),
            "{told}: {passed} of {expected}"
        );
        assert_eq!(sender.timeline.take_pace(), None, "{told}");
    }
}

#[test]
fn a_short_frame_at_the_end_of_a_prompt_leaves_the_pause_as_long_as_it_was() {
    // As recorded: the frame of 16 ms claims to overlap the one before it by 4 ms.
    let mut sender = Sender::new();
    sender.flow(100, STEP);
    sender.time -= 32;
    let (begin, end) = (sender.time, sender.time + 128);
    sender.now += STEP;
    let clock = CLOCK;
    let span = PacketSpan { begin, end, clock };
    let short = sender.timeline.place(span, sender.now, 0);
    assert_eq!(short, PacketPlacement::default());
    sender.time = end + 8 * 1801;
    let pause = sender.packet(Duration::from_millis(1817));
    assert_eq!(pause, after(1801 * 16));
}

#[test]
fn a_restart_is_placed_by_arrival_and_what_was_ahead_or_behind_stays_so() {
    for (pause, expected) in [(20, 0), (40, 0), (420, 400), (10_020, 10_000)] {
        let mut sender = Sender::new();
        sender.flow(1_000, STEP);
        sender.timeline.restart();
        sender.time = BASE + 77;
        let placement = sender.packet(Duration::from_millis(pause));
        assert_eq!(placement, broken(expected * 16));
        assert_eq!(sender.packet(STEP), PacketPlacement::default());
    }
}

#[test]
fn a_clock_that_counts_otherwise_is_known_and_adds_nothing() {
    for step in [32, 80, 128, 152, 162, 168, 176, 200, 240, 320, 480, 800] {
        let mut sender = Sender::new();
        sender.step = step;
        sender.flow(3_000, STEP);
        let expected = step as f64 / 160.0;
        let Some(ClockPace::Off(ratio)) = sender.timeline.take_pace() else {
            panic!("{step}: nothing is known of its clock");
        };
        assert!((ratio - expected).abs() < 0.01, "{step}: {ratio}");
        assert_eq!(sender.timeline.owed(), 0, "{step}");
        // A pause and a loss are as long as they are, by that clock.
        sender.time += 3 * 50 * step;
        let pause = sender.packet(Duration::from_millis(3_020));
        assert!(pause.gap.abs_diff(48_000) <= 16, "{step}: {pause:?}");
        sender.flow(100, STEP);
        let loss = sender.packet_behind(3 * STEP, 2);
        assert!(loss.gap.abs_diff(640) <= 8, "{step}: {loss:?}");
        sender.step = 160;
        for _ in 0..500 {
            assert_eq!(sender.packet(STEP).gap, 0, "{step}, and then the right one");
        }
        assert_eq!(
            sender.timeline.take_pace(),
            Some(ClockPace::Right),
            "{step}"
        );
    }
}

#[test]
fn jitter_makes_no_time_of_a_fast_clock() {
    for step in [240, 320, 480, 800] {
        let mut sender = Sender::new();
        sender.step = step;
        let (start, mut gaps) = (sender.now, 0);
        for n in 0..1_000u32 {
            let jitter = Duration::from_millis(u64::from(n.wrapping_mul(7_919) % 120));
            let at = (start + STEP * n + jitter).max(sender.now);
            gaps += sender.packet(at - sender.now).gap;
        }
        assert!(gaps <= 120 * 16, "{step}: {gaps}");
    }
}

#[test]
fn a_break_that_the_timestamps_do_not_tell_is_a_lag_until_it_is_made_good() {
    let mut sender = Sender::new();
    sender.flow(100, STEP);
    assert_eq!(sender.packet(Duration::from_secs(20) + STEP), after(0));
    let (lag, fell) = sender.timeline.lag();
    assert_eq!((lag, fell), (20_000_000_000, 20_000_000_000));
    assert_eq!(sender.timeline.make_good(lag), 20 * 16_000);
    sender.flow(100, STEP);
    assert_eq!(sender.timeline.lag(), (0, 0));
    // The network stands still: what was held up comes at once.
    sender.packet(Duration::from_secs(5));
    sender.flow(249, Duration::ZERO);
    sender.flow(200, STEP);
    assert_eq!((sender.timeline.lag().0, sender.timeline.owed()), (0, 0));
}

#[test]
fn what_nobody_decodes_is_as_long_as_its_timestamps_and_arrival_say() {
    // Milliseconds of a packet, its clock, and the clock that is known of it.
    for (ms, hertz, known) in [
        (20, 8_000, Some(8_000)),
        (10, 8_000, None),
        (60, 8_000, None),
        (120, 8_000, None),
        (20, 48_000, None),
        (30, 16_000, None),
    ] {
        let mut timeline = LegTimeline::default();
        let start = clock::now();
        let mut placed = 0;
        for n in 0..500u64 {
            let at = start + Duration::from_millis(n * ms);
            let time = BASE + n * ms * hertz / 1_000;
            let known = known.and_then(RtpClockRate::new);
            let (before, length) = timeline.place_unusable(time, known, at, 0);
            placed += before.gap + length;
            let owed = timeline.owed();
            placed += timeline.make_good(owed);
        }
        let expected = 500 * ms * 16;
        assert!(
            placed.abs_diff(expected) <= 150 * 16,
            "{ms} ms at {hertz}: {placed} of {expected}"
        );
    }
}

#[test]
fn what_came_beside_the_audio_takes_no_time_of_its_own() {
    let mut sender = Sender::new();
    let (start, mut placed) = (sender.now, 0);
    for _ in 0..500 {
        placed += 320 + sender.packet(STEP).gap;
        let now = sender.now + Duration::from_millis(3);
        let (before, length) = sender
            .timeline
            .place_unusable(sender.time - 80, None, now, 0);
        placed += before.gap + length;
    }
    let passed = to_samples(sender.now - start);
    assert!(placed <= passed + 1_600, "{placed} in {passed}");
}

#[test]
fn what_was_refused_lasts_as_long_as_it_was_but_not_for_ever() {
    let mut sender = Sender::new();
    sender.flow(100, STEP);
    sender.packet(Duration::from_secs(5));
    let now = sender.now;
    let mut refuse = |packets: u32| -> u64 {
        let booked = (0..packets).map(|_| sender.timeline.place_refused(1, now));
        booked.sum()
    };
    assert_eq!(refuse(1_000), 16 * 20_000);
    assert_eq!(refuse(9_000), 16 * (5_000 - 20 + 30_000 - 20_000));
}

proptest! {
    #[test]
    fn nothing_stretches_the_timeline_beyond_real_time(
        packets in prop::collection::vec((any::<u32>(), 0..5_000u64, any::<bool>(), 0..20u8, 0..4u64), 1..300),
    ) {
        let mut timeline = LegTimeline::default();
        let start = clock::now();
        let (mut now, mut audio, mut passed, mut time) = (start, 0u64, 0u64, BASE);
        for (jump, after_ms, forward, dice, missing) in packets {
            now += Duration::from_millis(after_ms);
            time = if forward { time + u64::from(jump) } else { time - u64::from(jump) };
            let clock = if dice == 0 { RtpClockRate::HZ_16000 } else { CLOCK };
            if dice == 1 {
                timeline.restart();
            }
            // Some come in before those that are placed ahead of them.
            let arrived = if dice == 2 { now.checked_sub(STEP).unwrap_or(now) } else { now };
            if dice == 3 {
                let (before, length) = timeline.place_unusable(time, None, arrived, missing);
                passed += before.gap + length;
            } else {
                let span = PacketSpan { begin: time, end: time + 160, clock };
                passed += timeline.place(span, arrived, missing).gap;
                audio += 320;
            }
            let owed = timeline.owed();
            passed += timeline.make_good(owed);
            if dice == 4 {
                timeline.place_refused(missing, arrived);
            }
            time += 160;
        }
        let elapsed = to_samples(now.duration_since(start));
        prop_assert!(passed <= elapsed + elapsed / 100 + 17_000, "{passed} of {elapsed} ({audio} audio)");
    }
}
