//! When an event happened, on our clock. Events tell Asterisk's wall time, which may be any; but
//! none is heard before it happened, so the one that was heard soonest after it tells how far
//! the two clocks are apart.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// How long a lead is believed: clocks drift.
const WINDOW: Duration = Duration::from_secs(60);
/// How late an event can be heard. What seems later was told by a clock that was set.
const LATEST_MS: i64 = 30_000;

/// Asterisk's clock, as far as the events so far tell it.
#[derive(Debug, Default)]
pub(super) struct EventTime {
    /// A moment, told by both clocks.
    zero: Option<(Instant, Timestamp)>,
    /// How late events were heard at least, against `zero`, in this window and the one before.
    least_ms: [Option<i64>; 2],
    since: Option<Instant>,
}

impl EventTime {
    /// An event of that time is heard.
    pub(super) fn hear(&mut self, told: Timestamp, now: Instant) {
        if self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= WINDOW)
        {
            self.since = Some(now);
            self.least_ms = [None, self.least_ms[0]];
        }
        let late_ms = self.late_ms(told, now);
        match self.least().map(|least| late_ms.saturating_sub(least)) {
            Some(0..=LATEST_MS) => {
                let least = self.least_ms[0].get_or_insert(late_ms);
                *least = late_ms.min(*least);
            }
            // The first, or sooner than any, or by a clock that was set.
            Some(..0) => self.least_ms[0] = Some(late_ms),
            None | Some(_) => self.least_ms = [Some(late_ms), None],
        }
    }

    /// When an event of that time happened; never after `now`.
    pub(super) fn of(&self, told: Option<Timestamp>, now: Instant) -> Instant {
        let late = told.zip(self.least()).map(|(told, least)| {
            let ms = self.late_since_zero(told, now).saturating_sub(least);
            ms.clamp(0, LATEST_MS).unsigned_abs()
        });
        let late = Duration::from_millis(late.unwrap_or_default());
        now.checked_sub(late).unwrap_or(now)
    }

    fn least(&self) -> Option<i64> {
        self.least_ms.into_iter().flatten().min()
    }

    fn late_ms(&mut self, told: Timestamp, now: Instant) -> i64 {
        self.zero.get_or_insert((now, told));
        self.late_since_zero(told, now)
    }

    fn late_since_zero(&self, told: Timestamp, now: Instant) -> i64 {
        let Some((zero, zero_told)) = self.zero else {
            return 0;
        };
        let heard = now.saturating_duration_since(zero).as_millis();
        let heard = i64::try_from(heard).unwrap_or(i64::MAX);
        let told = told
            .as_millisecond()
            .saturating_sub(zero_told.as_millisecond());
        heard.saturating_sub(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn told(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_768_210_200_000 + ms).unwrap()
    }

    #[test]
    fn an_event_that_is_heard_late_happened_when_it_says() {
        let t0 = crate::testkit::t0();
        let mut time = EventTime::default();
        assert_eq!(time.of(Some(told(0)), t0), t0, "nothing is known yet");
        // Asterisk's clock is far from ours; the first event was heard 40 ms late, the next 5.
        time.hear(told(0), t0 + ms(40));
        time.hear(told(1_000), t0 + ms(1_005));
        time.hear(told(2_000), t0 + ms(4_005));
        let now = t0 + ms(4_005);
        assert_eq!(time.of(Some(told(2_000)), now), t0 + ms(2_005));
        assert_eq!(time.of(Some(told(9_000)), now), now, "never in the future");
        assert_eq!(time.of(None, now), now);
    }

    #[test]
    fn a_clock_that_is_set_costs_no_event_its_time() {
        let t0 = crate::testkit::t0();
        for by in [-3_600_000, 3_600_000] {
            let mut time = EventTime::default();
            time.hear(told(0), t0 + ms(10));
            time.hear(told(by), t0 + ms(1_000));
            assert_eq!(time.of(Some(told(by)), t0 + ms(1_000)), t0 + ms(1_000));
            let late = time.of(Some(told(by + 500)), t0 + ms(2_000));
            assert_eq!(late, t0 + ms(1_500), "{by}");
        }
    }

    #[test]
    fn clocks_that_drift_apart_are_followed() {
        let t0 = crate::testkit::t0();
        let mut time = EventTime::default();
        // Ours gains a second an hour on Asterisk's.
        for minute in 0..240u64 {
            let now = t0 + ms(minute * 60_000 + minute * 17);
            let at = told(i64::try_from(minute).unwrap() * 60_000);
            time.hear(at, now);
            let off = now - time.of(Some(at), now);
            assert!(off <= ms(40), "{off:?} after {minute} minutes");
        }
    }
}
