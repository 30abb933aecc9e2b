use super::*;
use crate::ids::{RtpTime, SeqNo};
use crate::testkit;

/// A leg's packets handed to the police.
struct Leg {
    police: RatePolicer,
    clock: Option<ClockRate>,
    seq: ExtSeq,
    time: ExtRtpTime,
    now: Instant,
}

impl Leg {
    fn new(clock: u32) -> Self {
        Self {
            police: RatePolicer::new(RateConfig::default()),
            clock: ClockRate::new(clock),
            seq: ExtSeq::first(SeqNo(65_000)),
            time: ExtRtpTime::first(RtpTime(u32::MAX - 1_000)),
            now: testkit::origin(),
        }
    }

    fn packet(&mut self, ticks: u64) -> bool {
        self.seq.0 += 1;
        self.time.0 += ticks;
        let packet = PlacedPacket {
            seq: self.seq,
            time: self.time,
            payload_type: PayloadType::new(0).unwrap(),
            marker: false,
            payload: &[],
            arrived: self.now,
        };
        self.police.observe(self.clock, &packet);
        self.police.admit(self.now)
    }

    /// How many of so many packets are let in, this far apart.
    fn admitted(&mut self, packets: u32, ticks: u64, apart: Duration) -> u32 {
        let mut admitted = 0;
        for _ in 0..packets {
            self.now += apart;
            admitted += u32::from(self.packet(ticks));
        }
        admitted
    }
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_steady_leg_of_any_packet_time_is_never_refused() {
    for ms in [10, 20, 30, 40, 60, 120] {
        let mut leg = Leg::new(8_000);
        assert_eq!(leg.admitted(10_000, 8 * ms, MS * ms as u32), 10_000, "{ms}");
    }
}

#[test]
fn what_a_freeze_of_five_seconds_held_back_passes_untouched() {
    for (ms, burst) in [(20, 250), (10, 500), (60, 84)] {
        let mut leg = Leg::new(8_000);
        for _ in 0..10 {
            assert_eq!(leg.admitted(500, 8 * ms, MS * ms as u32), 500);
            leg.now += Duration::from_secs(5);
            assert_eq!(leg.admitted(burst, 8 * ms, Duration::ZERO), burst, "{ms}");
        }
    }
}

#[test]
fn ten_times_the_rate_gets_twice_the_rate_and_one_burst() {
    for ms in [20, 60] {
        let mut leg = Leg::new(8_000);
        assert_eq!(leg.admitted(1_000, 8 * ms, MS * ms as u32), 1_000);
        let minute = 600_000 / ms as u32;
        let admitted = leg.admitted(minute, 8 * ms, MS * ms as u32 / 10);
        let twice = minute / 5;
        let burst = 8_000 / ms as u32;
        assert!(admitted <= twice + burst + 1, "{ms}: {admitted}");
        assert!(admitted >= twice, "{ms}: {admitted}");
        // Back to its own rate it has nothing to fear.
        assert_eq!(leg.admitted(1_000, 8 * ms, MS * ms as u32), 1_000);
    }
}

#[test]
fn a_wrong_clock_or_stuck_timestamps_do_not_make_a_leg_too_fast() {
    // 48,000 ticks per second taken for 8,000; the reverse; none at all.
    for (clock, ticks) in [(8_000, 960), (48_000, 160), (8_000, 0)] {
        let mut leg = Leg::new(clock);
        assert_eq!(
            leg.admitted(10_000, ticks, 20 * MS),
            10_000,
            "{clock} {ticks}"
        );
    }
}

#[test]
fn a_pause_does_not_bear_out_a_wrong_clock() {
    for ticks in [320, 640, 800, 960, 1_280] {
        let mut leg = Leg::new(8_000);
        // With the step that the pause takes by that clock, and with none.
        for paused in [150 * ticks, ticks] {
            assert_eq!(leg.admitted(60, ticks, 20 * MS), 60, "{ticks}");
            leg.now += 3_000 * MS;
            assert!(leg.packet(paused), "{ticks}");
        }
        assert_eq!(leg.admitted(3_000, ticks, 20 * MS), 3_000, "{ticks}");
    }
}

#[test]
fn no_timestamps_raise_the_ceiling() {
    // 1 ms a packet, none at all, and no clock: 200 packets a second each.
    for (clock, ticks) in [(8_000, 8), (8_000, 0), (0, 160)] {
        let mut leg = Leg::new(clock);
        let admitted = leg.admitted(100_000, ticks, MS / 10);
        assert!(
            (2_000..=2_801).contains(&admitted),
            "{clock} {ticks}: {admitted}"
        );
    }
}

#[test]
fn a_change_of_packet_time_is_followed() {
    let mut leg = Leg::new(8_000);
    for ms in [60, 10, 20, 120, 10] {
        assert_eq!(leg.admitted(2_000, 8 * ms, MS * ms as u32), 2_000, "{ms}");
    }
}
