//! Clock of the durations of keys. RFC 4733 wants that of the audio beside them (section 2.1), most
//! telephones keep to 8 kHz whatever their audio, and nobody negotiates with us. A sender tells of a
//! key while it is held, so its durations grow by as many ticks in a second as its clock has.

use std::time::Duration;

use crate::ids::ClockRate;

/// Clock of narrow-band telephony.
const NARROW: ClockRate = ClockRate::new(8_000).unwrap();

/// Clocks of wide-band telephone events that are in use.
const WIDE: [ClockRate; 3] = [
    ClockRate::new(16_000).unwrap(),
    ClockRate::new(24_000).unwrap(),
    ClockRate::new(48_000).unwrap(),
];

/// Shortest time between a key's packets that shows a clock: less may be jitter alone.
const SHOWS: Duration = Duration::from_millis(40);

/// The clock by which the durations of a sender's telephone events count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventClock {
    /// The clock that was negotiated.
    Told(ClockRate),
    /// Nothing was negotiated.
    Untold {
        /// Clock as long as the sender's keys have shown none.
        usual: ClockRate,
        /// Clock of its audio, once there is any.
        audio: Option<ClockRate>,
    },
}

impl EventClock {
    /// The clock of Asterisk's telephone events, which is 8 kHz unless the keys show another.
    pub fn asterisk(audio: Option<ClockRate>) -> Self {
        Self::Untold {
            usual: NARROW,
            audio,
        }
    }

    /// The clock of a sender that keeps to RFC 4733: that of its audio unless the keys show another.
    pub fn of_audio(audio: Option<ClockRate>) -> Self {
        Self::Untold {
            usual: audio.unwrap_or(NARROW),
            audio,
        }
    }

    /// Clock of durations while nothing has shown another.
    pub(super) fn usual(self) -> ClockRate {
        match self {
            Self::Told(clock) => clock,
            Self::Untold { usual, .. } => usual,
        }
    }

    /// The slowest clock that the durations may have.
    pub(super) fn slowest(self) -> ClockRate {
        match self {
            Self::Told(clock) => clock,
            Self::Untold { usual, .. } => NARROW.min(usual),
        }
    }

    /// Clock of the timestamps: that of the audio between them, as far as it is known.
    pub(super) fn of_timestamps(self) -> ClockRate {
        match self {
            Self::Told(clock) => clock,
            Self::Untold { usual, audio } => audio.unwrap_or(usual),
        }
    }

    /// Clocks that the events may have. First those that senders have as a rule: any other needs
    /// more evidence.
    fn candidates(self) -> [ClockRate; Self::CANDIDATES] {
        let own = match self {
            Self::Told(clock) => clock,
            Self::Untold { audio, .. } => audio.unwrap_or(NARROW),
        };
        [NARROW, own, WIDE[0], WIDE[1], WIDE[2]]
    }

    const CANDIDATES: usize = 5;
    const USUAL_ONES: usize = 2;

    /// Place of the candidate that a rate is nearest to.
    fn nearest(self, ticks: u64, within: Duration) -> Option<usize> {
        let nanos = u64::try_from(within.as_nanos()).ok()?;
        let rate = ticks.saturating_mul(1_000_000_000).checked_div(nanos)?;
        let candidates = self.candidates();
        let apart = |clock: ClockRate| {
            let hertz = u64::from(clock.hertz());
            rate.max(hertz) as f64 / rate.min(hertz).max(1) as f64
        };
        let nearest_of = |places: std::ops::Range<usize>| {
            let near = places.filter(|place| apart(candidates[*place]) < std::f64::consts::SQRT_2);
            near.min_by(|a, b| apart(candidates[*a]).total_cmp(&apart(candidates[*b])))
        };
        nearest_of(0..Self::USUAL_ONES).or_else(|| nearest_of(Self::USUAL_ONES..Self::CANDIDATES))
    }
}

/// The growth of one key's durations against the arrival of its packets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DurationPace {
    ticks: u64,
    waited: Duration,
    /// Pairs of packets of which the second told of a longer duration, and how many of them are
    /// nearest to each candidate.
    pairs: u32,
    nearest_to: [u32; EventClock::CANDIDATES],
}

impl DurationPace {
    /// Takes notice that a duration grew by `ticks` while `waited` passed.
    pub(super) fn grown(&mut self, clock: EventClock, ticks: u64, waited: Duration) {
        self.pairs += 1;
        self.ticks = self.ticks.saturating_add(ticks);
        self.waited += waited;
        if let Some(place) = clock.nearest(ticks, waited) {
            self.nearest_to[place] += 1;
        }
    }

    /// The clock that the key has shown. Its length and most of its steps must show the same: jitter
    /// falsifies the steps and a freeze of the network the length, and neither does both alike.
    pub(super) fn shown(&self, clock: EventClock) -> Option<ClockRate> {
        let place = clock.nearest(self.ticks, self.waited)?;
        let votes = self.nearest_to[place];
        let shown = clock.candidates()[place];
        // A single step may have been held up, so that it looks slower; it cannot have come earlier.
        let suffices_once = place < EventClock::USUAL_ONES && shown >= clock.usual();
        let least = if suffices_once { 1 } else { 2 };
        let is_sure = self.waited >= SHOWS && votes >= least && 2 * votes > self.pairs;
        is_sure.then_some(shown)
    }
}

#[cfg(test)]
mod tests;
