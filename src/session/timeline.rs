//! Where a leg's packets belong on its timeline.
//!
//! RTP timestamps count the sender's sampling clock (RFC 3550 §5.1); Asterisk's
//! jump by the wall-clock gap after a pause. A jump is believed only as far as
//! arrival times bear it out, so a broken or hostile sender can neither run the
//! timeline backwards nor stretch it beyond real time.

use std::mem;
use std::time::{Duration, Instant};

use asterscribe_codecs::RtpClockRate;

use super::sum;
use crate::speech::SAMPLE_RATE;

/// How far a leg's audio may run ahead of its arrival before a jump of the
/// timestamps is not believed: well above a live network's jitter and bursts.
const MAX_LEAD_NS: i128 = 1_000_000_000;

/// How far it may lag: a frozen network that then delivers everything at once.
const MAX_LAG_NS: i128 = 30_000_000_000;

/// A sender's clock may for ever be faster than ours by one part in this many.
const DRIFT: u64 = 100;

/// Steps smaller than this are a clock's rounding, not a break.
const STEP_TOLERANCE_NS: i128 = 5_000_000;

/// A new numbering is placed by arrival; pauses up to this are jitter.
const RESTART_TOLERANCE_NS: i128 = 60_000_000;

/// Relation of one packet to what came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    /// It continues the audio without a break.
    Contiguous,
    /// Time passed between, in 16 kHz samples.
    After(u64),
    /// Its timestamp cannot be believed; time passed by arrival, in 16 kHz samples.
    Discontinuity(u64),
}

/// The timestamps' state of one leg.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    last: Option<Last>,
    restarted: bool,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    /// Extended RTP timestamp one past the audio placed so far.
    end: u64,
    clock: RtpClockRate,
    /// Latest arrival of any packet so far.
    arrived: Instant,
    /// Audio placed so far minus time passed, nanoseconds.
    lead: i128,
}

impl Timeline {
    /// Places a packet whose audio spans `begin..end` in extended timestamps of
    /// `clock`, and notes it as the last one.
    pub(super) fn place(
        &mut self,
        begin: u64,
        end: u64,
        clock: RtpClockRate,
        arrived: Instant,
    ) -> Placement {
        let length = nanos(i128::from(end) - i128::from(begin), clock);
        let restarted = mem::take(&mut self.restarted);
        let Some(last) = self.last else {
            self.last = Some(Last {
                end,
                clock,
                arrived,
                lead: 0,
            });
            return Placement::Contiguous;
        };
        // A packet put back in its place came in after the one behind it.
        let arrived = arrived.max(last.arrived);
        let lead = last.lead_at(arrived);
        let jump = nanos(i128::from(begin) - i128::from(last.end), clock);
        let (placement, gap, end) = if restarted {
            by_arrival(lead + length, RESTART_TOLERANCE_NS, end)
        } else if last.clock != clock {
            // Another clock counts in other units: only arrival is comparable.
            by_arrival(lead + length, MAX_LEAD_NS, end)
        } else if jump.abs() <= STEP_TOLERANCE_NS {
            // Small steps forward are counted from where the audio is, lest many go
            // unnoticed. After one backward (Asterisk's on a short frame) what
            // follows is counted from the packet's own time.
            let end = if jump > 0 {
                last.end + (end - begin)
            } else {
                end
            };
            (Placement::Contiguous, 0, end)
        } else if jump > 0 && lead + jump <= MAX_LEAD_NS {
            (Placement::After(samples(jump)), jump, end)
        } else {
            by_arrival(lead + length, MAX_LEAD_NS, end)
        };
        self.last = Some(Last {
            end,
            clock,
            arrived,
            lead: (lead + gap + length).clamp(-MAX_LAG_NS, MAX_LEAD_NS),
        });
        placement
    }

    /// See [`super::Session::glance`].
    pub(super) fn glance(&self) -> u64 {
        let last = self.last.map_or(0, |last| last.end ^ last.lead as u64);
        sum([last, self.restarted.into()])
    }

    /// A new numbering begins with the next packet: it is placed by arrival alone.
    pub(super) fn restart(&mut self) {
        self.restarted = true;
    }
}

impl Last {
    /// The lead at a later time. Only what is ahead is written off as drift: a
    /// lag must stay as long as it is, since a break of the timestamps fills it in.
    fn lead_at(&self, now: Instant) -> i128 {
        let elapsed = now.saturating_duration_since(self.arrived).as_nanos();
        // Not reached: 2⁶⁴ ns are 584 years.
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        let drift = i128::from(elapsed / DRIFT).min(self.lead.max(0));
        self.lead - drift - i128::from(elapsed)
    }
}

/// How far the audio lags behind arrival is the time to fill in; jitter is not.
fn by_arrival(lead: i128, tolerance: i128, end: u64) -> (Placement, i128, u64) {
    let gap = if -lead > tolerance { -lead } else { 0 };
    (Placement::Discontinuity(samples(gap)), gap, end)
}

fn nanos(units: i128, clock: RtpClockRate) -> i128 {
    // The clock of nearly every packet; a division of this width is dear.
    if clock == RtpClockRate::HZ_8000 {
        return units * 125_000;
    }
    units * 1_000_000_000 / i128::from(clock.hz())
}

/// `nanos` in 16 kHz samples; none for a negative time.
fn samples(nanos: i128) -> u64 {
    u64::try_from(nanos.max(0) * i128::from(SAMPLE_RATE) / 1_000_000_000).unwrap_or(u64::MAX)
}

/// `duration` in 16 kHz samples.
pub(super) fn to_samples(duration: Duration) -> u64 {
    // Widening: no duration has more than 95 bits of nanoseconds.
    samples(duration.as_nanos() as i128)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    const CLOCK: RtpClockRate = RtpClockRate::HZ_8000;
    const HOUR_OF_PACKETS: u64 = 180_000;
    /// Where extended timestamps begin.
    const BASE: u64 = 1 << 48;

    struct Sender {
        timeline: Timeline,
        now: Instant,
        time: u64,
    }

    impl Sender {
        fn new() -> Self {
            Self {
                timeline: Timeline::default(),
                now: clock::now(),
                time: BASE,
            }
        }

        /// One packet of 20 ms, this long after the one before.
        fn packet(&mut self, after: Duration) -> Placement {
            self.now += after;
            let begin = self.time;
            self.time += 160;
            self.timeline.place(begin, self.time, CLOCK, self.now)
        }

        fn flow(&mut self, packets: u64, step: Duration) {
            for _ in 0..packets {
                assert_eq!(self.packet(step), Placement::Contiguous);
            }
        }
    }

    const STEP: Duration = Duration::from_millis(20);

    #[test]
    fn a_pause_after_hours_with_a_fast_sender_is_believed() {
        let mut sender = Sender::new();
        sender.flow(2 * HOUR_OF_PACKETS, Duration::from_micros(19_900));
        sender.time += 8_000 * 60;
        let pause = sender.packet(Duration::from_secs(60));
        assert_eq!(pause, Placement::After(60 * 16_000));
    }

    #[test]
    fn what_a_slow_sender_lags_behind_is_filled_in_at_a_break_and_no_more() {
        for (step, expected) in [(20_002, 36), (20_000, 0), (19_998, 0)] {
            let mut sender = Sender::new();
            sender.flow(100 * HOUR_OF_PACKETS, Duration::from_micros(step));
            sender.time += 1 << 30;
            let Placement::Discontinuity(gap) = sender.packet(STEP) else {
                panic!("a leap of days is not believed");
            };
            // Of 36 s the timeline remembers at most 30 s.
            let expected = (expected * 16_000).min(30 * 16_000);
            assert!(gap.abs_diff(expected) <= 16, "{step} µs: {gap}");
        }
    }

    #[test]
    fn small_steps_of_the_timestamps_add_up() {
        let mut sender = Sender::new();
        let mut passed = 0;
        for _ in 0..500 {
            if let Placement::After(samples) = sender.packet(Duration::from_millis(24)) {
                passed += samples;
            }
            sender.time += 32;
        }
        // 4 ms in each of them.
        assert!((499 * 64u64).abs_diff(passed) <= 64, "{passed}");
    }

    #[test]
    fn a_short_frame_at_the_end_of_a_prompt_leaves_the_pause_as_long_as_it_was() {
        // As recorded: the frame of 16 ms claims to overlap the one before it by 4 ms.
        let mut sender = Sender::new();
        sender.flow(100, STEP);
        sender.time -= 32;
        let (begin, end) = (sender.time, sender.time + 128);
        sender.now += STEP;
        let short = sender.timeline.place(begin, end, CLOCK, sender.now);
        assert_eq!(short, Placement::Contiguous);
        sender.time = end + 8 * 1801;
        let pause = sender.packet(Duration::from_millis(1817));
        assert_eq!(pause, Placement::After(1801 * 16));
    }

    #[test]
    fn a_restart_is_placed_by_arrival_and_what_was_ahead_or_behind_stays_so() {
        for (pause, expected) in [(20, 0), (40, 0), (420, 400), (10_020, 10_000)] {
            let mut sender = Sender::new();
            sender.flow(1_000, STEP);
            sender.timeline.restart();
            sender.time = BASE + 77;
            let placement = sender.packet(Duration::from_millis(pause));
            assert_eq!(placement, Placement::Discontinuity(expected * 16));
            assert_eq!(sender.packet(STEP), Placement::Contiguous);
        }
    }

    proptest! {
        #[test]
        fn nothing_stretches_the_timeline_beyond_real_time(
            packets in prop::collection::vec((any::<u32>(), 0..5_000u64, any::<bool>(), 0..20u8), 1..300),
        ) {
            let mut timeline = Timeline::default();
            let start = clock::now();
            let (mut now, mut audio, mut passed, mut time) = (start, 0u64, 0u64, BASE);
            for (jump, after_ms, forward, dice) in packets {
                now += Duration::from_millis(after_ms);
                time = if forward { time + u64::from(jump) } else { time - u64::from(jump) };
                let clock = if dice == 0 { RtpClockRate::HZ_16000 } else { CLOCK };
                if dice == 1 {
                    timeline.restart();
                }
                // Some come in before those that are placed ahead of them.
                let arrived = if dice == 2 { now.checked_sub(STEP).unwrap_or(now) } else { now };
                match timeline.place(time, time + 160, clock, arrived) {
                    Placement::Contiguous => {}
                    Placement::After(gap) | Placement::Discontinuity(gap) => passed += gap,
                }
                time += 160;
                audio += 320;
            }
            let elapsed = to_samples(now.duration_since(start));
            prop_assert!(passed <= elapsed + elapsed / 100 + 17_000, "{passed} of {elapsed} ({audio} audio)");
        }
    }
}
