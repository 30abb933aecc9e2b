//! Interarrival jitter (RFC 3550 section 6.4.1, appendix A.8).

use std::time::{Duration, Instant};

use crate::ids::{ClockRate, ExtRtpTime, PayloadType};

/// The estimate, kept as time instead of ticks so that it outlives a change of
/// clock rate.
#[derive(Debug)]
pub(super) struct JitterEstimate {
    rate: Option<ClockRate>,
    last: Option<(Instant, ExtRtpTime, PayloadType)>,
    /// Nanoseconds × 16, which is what makes the integer form of A.8 round well.
    scaled: u128,
}

impl JitterEstimate {
    pub(super) fn new(rate: Option<ClockRate>) -> Self {
        Self {
            rate,
            last: None,
            scaled: 0,
        }
    }

    /// The packets before and after are not compared with each other.
    pub(super) fn restart(&mut self) {
        self.last = None;
    }

    pub(super) fn set_clock_rate(&mut self, rate: Option<ClockRate>) {
        if self.rate != rate {
            self.rate = rate;
            self.last = None;
        }
    }

    /// A packet came in, in whatever order.
    pub(super) fn update(&mut self, now: Instant, time: ExtRtpTime, payload_type: PayloadType) {
        let last = self.last.replace((now, time, payload_type));
        let (Some(rate), Some((last_now, last_time, last_type))) = (self.rate, last) else {
            return;
        };
        // Another payload type may have another clock.
        if payload_type != last_type {
            return;
        }
        let nanos = |duration: Duration| duration.as_nanos().cast_signed();
        let waited = nanos(now.saturating_duration_since(last_now));
        let played = rate.nanos(time.since(last_time));
        let deviation = (waited - played).unsigned_abs();
        self.scaled = self.scaled + deviation - ((self.scaled + 8) >> 4);
    }

    /// See [`RtpReceiver::glance`](super::RtpReceiver::glance).
    pub(super) fn glance(&self) -> u64 {
        let last = self.last.map_or(0, |(_, time, _)| time.0);
        last ^ (self.scaled & u128::from(u64::MAX)) as u64
    }

    pub(super) fn estimate(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.scaled >> 4).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RtpTime;
    use crate::testkit;

    const ULAW: PayloadType = PayloadType::new(0).unwrap();

    fn fed(arrivals_ms: impl IntoIterator<Item = u64>) -> JitterEstimate {
        let mut jitter = JitterEstimate::new(ClockRate::new(8_000));
        let mut time = ExtRtpTime::first(RtpTime(u32::MAX - 500));
        for at in arrivals_ms {
            jitter.update(testkit::origin() + Duration::from_millis(at), time, ULAW);
            time = time.extend(RtpTime(time.wire().0.wrapping_add(160)));
        }
        jitter
    }

    #[test]
    fn a_steady_stream_has_none_even_across_the_wrap() {
        assert_eq!(fed((0..100).map(|n| n * 20)).estimate(), Duration::ZERO);
    }

    #[test]
    fn one_late_packet_counts_a_sixteenth() {
        assert_eq!(fed([0, 36]).estimate(), Duration::from_millis(1));
    }

    #[test]
    fn alternating_delay_converges_to_it() {
        let estimate = fed((0..400).map(|n| n * 20 + (n % 2) * 8)).estimate();
        assert!(
            estimate.abs_diff(Duration::from_millis(8)) < Duration::from_micros(1),
            "{estimate:?}"
        );
    }

    #[test]
    fn the_slowest_clock_and_the_widest_step_do_not_overflow() {
        let mut jitter = JitterEstimate::new(ClockRate::new(1));
        for n in 0..1_000 {
            let time = ExtRtpTime(if n % 2 == 0 { 0 } else { u64::MAX });
            jitter.update(testkit::origin(), time, ULAW);
        }
        assert_eq!(jitter.estimate(), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn unknown_clock_and_change_of_payload_type_are_not_measured() {
        let mut jitter = JitterEstimate::new(None);
        let at = |ms| testkit::origin() + Duration::from_millis(ms);
        let time = ExtRtpTime::first(RtpTime(0));
        jitter.update(at(0), time, ULAW);
        jitter.update(at(500), time, ULAW);
        assert_eq!(jitter.estimate(), Duration::ZERO);
        jitter.set_clock_rate(ClockRate::new(8_000));
        jitter.update(at(1_000), time, ULAW);
        jitter.update(at(2_000), time, PayloadType::new(107).unwrap());
        assert_eq!(jitter.estimate(), Duration::ZERO);
    }
}
