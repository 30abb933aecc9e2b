//! How many packets can have been sent between two: loss is set against the
//! time that passed, since a sender's numbers may step with nothing missing.

use std::time::{Duration, Instant};

use crate::ids::ExtRtpTime;

/// Equal steps of the timestamps in a row that make another packet time.
const STEPS: u8 = 3;
/// Packets that a network delivers at once, as a rule, at most.
const BUNCHED: u64 = 10;
/// No packet is shorter, ticks: 5 ms of the slowest clock in use.
const SHORTEST: i128 = 40;

/// A packet, as far as time is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacketTiming {
    pub(super) time: ExtRtpTime,
    pub(super) arrived: Instant,
}

/// Spacing of a leg's packets, in timestamps and in time.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacketPace {
    /// Ticks from one packet to the next; 0 while no two have followed each other.
    ticks: i128,
    /// Another step, and how often it came in a row.
    other: i128,
    repeated: u8,
    /// Packet duration by which arrival times are turned into a number of packets.
    lasting: Duration,
}

impl PacketPace {
    pub(super) fn new() -> Self {
        Self {
            ticks: 0,
            other: 0,
            repeated: 0,
            lasting: Duration::from_millis(10),
        }
    }

    /// Sets the packet duration, known from elsewhere than these timestamps.
    pub(super) fn set_lasting(&mut self, lasting: Duration) {
        self.lasting = lasting;
    }

    /// Two packets followed each other, so many ticks apart.
    pub(super) fn observe(&mut self, ticks: i128) {
        if ticks == self.ticks {
            self.repeated = 0;
        } else if ticks > 0 {
            self.differ(ticks);
        }
    }

    fn differ(&mut self, ticks: i128) {
        if ticks != self.other {
            (self.other, self.repeated) = (ticks, 0);
        }
        self.repeated += 1;
        if self.repeated >= STEPS || self.ticks == 0 {
            (self.ticks, self.repeated) = (ticks, 0);
        }
    }

    /// How many of the `missing` numbers between two packets were packets.
    /// `next` is what follows the latter without a gap, if it is here.
    ///
    /// Timestamps that count as many packets as the numbers do are believed, and
    /// those that count fewer unless arrival is far from it. Others tell nothing of
    /// it, be it that they stand still (telephone events) or that they jump; then
    /// arrival tells.
    pub(super) fn sent_between(
        &self,
        before: PacketTiming,
        behind: PacketTiming,
        next: Option<PacketTiming>,
        missing: u64,
    ) -> u64 {
        let arrived = self.within(behind.arrived.saturating_duration_since(before.arrived));
        let ticks = behind.time.since(before.time);
        let after = next.map_or(0, |next| next.time.since(behind.time));
        let each = if self.ticks > 0 { self.ticks } else { after };
        let numbered = |each: i128| each.saturating_mul(i128::from(missing) + 1);
        if each > 0 && ticks > 0 {
            // Short frames and clocks that are rounded.
            let slack = each / 8;
            if ticks + each - slack <= numbered(each) {
                let packets = (ticks - slack - 1).max(0) / each;
                let packets = u64::try_from(packets).unwrap_or(0);
                return packets.min(arrived.saturating_add(BUNCHED));
            }
            if ticks <= numbered(each) + each {
                return missing;
            }
        } else if ticks >= numbered(SHORTEST) {
            return missing;
        }
        arrived.min(missing)
    }

    /// How many packets there can be between two that came so long after each other.
    fn within(&self, passed: Duration) -> u64 {
        let lasting = self.lasting.as_nanos().max(1);
        let packets = (2 * passed.as_nanos() + lasting) / (2 * lasting);
        u64::try_from(packets.saturating_sub(1)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit;

    const BASE: u64 = 1 << 48;

    fn moment(ticks: i64, ms: u64) -> PacketTiming {
        PacketTiming {
            time: ExtRtpTime(BASE.saturating_add_signed(ticks)),
            arrived: testkit::origin() + Duration::from_millis(ms),
        }
    }

    fn pace(ticks: i128) -> PacketPace {
        let mut pace = PacketPace::new();
        pace.observe(ticks);
        pace.set_lasting(Duration::from_millis(20));
        pace
    }

    /// Between a packet at 0 and one at `ticks` that came `ms` later.
    fn sent(ticks: i64, ms: u64, missing: u64) -> u64 {
        pace(160).sent_between(moment(0, 0), moment(ticks, ms), None, missing)
    }

    #[test]
    fn what_the_timestamps_count_was_sent_whenever_it_comes() {
        for missing in [1, 3, 49, 500, 2_998] {
            let ticks = 160 * (missing as i64 + 1);
            for ms in [0, 20, 20 * (missing + 1), 3_600_000] {
                assert_eq!(sent(ticks, ms, missing), missing);
                // A short frame before it, and a clock that is rounded up.
                assert_eq!(sent(ticks - 139, ms, missing), missing);
                assert_eq!(sent(ticks + 5, ms, missing), missing);
            }
        }
    }

    #[test]
    fn numbers_that_step_on_their_own_are_no_packets() {
        for missing in [1, 3, 49, 500, 2_998] {
            assert_eq!(sent(160, 20, missing), 0, "{missing}");
            assert_eq!(sent(160, 900, missing), 0, "{missing}: jitter");
            assert_eq!(sent(21, 20, missing), 0, "{missing}: a short frame");
            if missing > 3 {
                assert_eq!(
                    sent(4 * 160, 80, missing),
                    3,
                    "{missing}: three are missing"
                );
            }
        }
    }

    #[test]
    fn where_timestamps_tell_nothing_arrival_does() {
        // Telephone events: one timestamp for all.
        assert_eq!(sent(0, 20, 500), 0);
        assert_eq!(sent(0, 100, 4), 4);
        // They jump, ahead or back.
        assert_eq!(sent(1_000_000, 20, 500), 0);
        assert_eq!(sent(-1_000_000, 20, 500), 0);
        // A pause, and a loss at its end.
        assert_eq!(sent(8_000 + 480, 1_060, 2), 2);
    }

    #[test]
    fn at_the_beginning_the_packets_behind_tell_the_packet_time() {
        let next = Some(moment(320, 40));
        let sent = PacketPace::new().sent_between(moment(0, 0), moment(160, 20), next, 500);
        assert_eq!(sent, 0);
    }

    #[test]
    fn before_any_packet_time_is_known_what_can_be_loss_is() {
        let sent = |ticks, missing| {
            PacketPace::new().sent_between(moment(0, 0), moment(ticks, 0), None, missing)
        };
        assert_eq!((sent(3 * 160, 2), sent(5 * 80, 4)), (2, 4));
        assert_eq!((sent(160, 500), sent(-160, 500)), (0, 0));
    }

    #[test]
    fn another_packet_time_is_believed_after_three() {
        let mut pace = pace(160);
        for ticks in [80, 80, 0, -160, 1_600, 80, 80] {
            pace.observe(ticks);
            assert_eq!(pace.ticks, 160);
        }
        pace.observe(80);
        assert_eq!(pace.ticks, 80);
    }

    #[test]
    fn the_ends_of_the_ranges_do_not_overflow() {
        let (low, high) = (ExtRtpTime(0), ExtRtpTime(u64::MAX));
        let at = |time| PacketTiming {
            time,
            arrived: testkit::origin(),
        };
        let mut pace = PacketPace::new();
        pace.observe(high.since(low));
        pace.set_lasting(Duration::ZERO);
        for (before, behind) in [(low, high), (high, low)] {
            let sent = pace.sent_between(at(before), at(behind), Some(at(high)), u64::MAX);
            assert!(sent == 0);
        }
    }
}
