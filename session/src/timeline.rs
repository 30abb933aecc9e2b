//! Timeline of a leg: places its packets by timestamps, sequence numbers and arrival.
//!
//! RTP timestamps count the sender's sampling clock (RFC 3550 §5.1); Asterisk's
//! jump by the wall-clock gap after a pause. Numbers say what is missing, arrival
//! says how much time there was: a jump is believed only as far as one of the two
//! bears it out. So a clock that counts too fast, a broken or a hostile one can
//! neither run the timeline backwards nor stretch it beyond real time; and what
//! lags behind arrival for longer than jitter lasts is time that passed, whatever
//! the timestamps say.

mod guess;
mod lag;
mod rate;
#[cfg(test)]
mod tests;

use std::mem;
use std::time::{Duration, Instant};

use asterscribe_codecs::RtpClockRate;
use asterscribe_speech::SAMPLE_RATE;

use self::guess::LengthGuess;
use self::lag::ArrivalLag;
pub(super) use self::rate::ClockPace;
use self::rate::{ClockFit, UsualStep};
use super::sum;

/// Most by which a gap may bring the timeline ahead of arrival, nanoseconds.
const MAX_LEAD: i64 = 1_000_000_000;

/// Most by which refused audio may bring it ahead: it came, and is booked by its timestamps, but a
/// flood must not move all that follows for ever.
const MAX_LEAD_REFUSED: i64 = 30_000_000_000;

/// Drift allowed to a sender, one part in this many: sending more audio than time passes, within
/// that, costs it none of the gaps that its numbers show.
const DRIFT: u64 = 100;

/// Largest step of the timestamps that is a clock's rounding and not a break.
const STEP_TOLERANCE: i64 = 5_000_000;

/// Shortest packet whose length counts for its neighbours: one 16 kHz sample.
const SHORTEST: i64 = 1_000_000_000 / SAMPLE_RATE as i64;

/// Jitter allowed for the packet before a pause and the one behind it.
const JITTER: i64 = 60_000_000;

/// Largest ratio of a jump to the time that arrival shows; a larger one, beyond a second, is
/// nonsense.
const MAX_RATIO: i64 = 5;

/// The span of a packet of audio, in extended timestamps of its clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacketSpan {
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) clock: RtpClockRate,
}

/// Relation of a packet to those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PacketPlacement {
    /// Time between them, in 16 kHz samples.
    pub(super) gap: u64,
    /// Whether its timestamp cannot be believed, so that the time is known by arrival only.
    pub(super) is_broken: bool,
}

/// The timestamps' state of one leg.
#[derive(Debug, Default)]
pub(super) struct LegTimeline {
    last: Option<LastPlaced>,
    restarted: bool,
    rate: ClockFit,
    /// Estimate for packets that cannot be decoded; most legs have none.
    guess: Option<Box<LengthGuess>>,
}

/// State after the last packet; times in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct LastPlaced {
    /// Extended RTP timestamp one past the audio placed so far.
    end: u64,
    clock: RtpClockRate,
    /// Latest arrival of any packet so far.
    arrived: Instant,
    /// Time placed so far, less the time that has passed.
    lead: i64,
    /// Part of the lead that is written off, as the drift of the sender's clock.
    drift: i64,
    /// Lead of the least late packet among those without a break before them.
    best: i64,
    /// Length of the last packet with audio.
    length: i64,
    usual: UsualStep,
    lag: ArrivalLag,
}

impl LegTimeline {
    /// Places a packet of audio, `numbered` packets behind the last one by the sender's count,
    /// and notes it as the last one.
    pub(super) fn place(
        &mut self,
        span: PacketSpan,
        arrived: Instant,
        numbered: u64,
    ) -> PacketPlacement {
        let ticks = span.end.saturating_sub(span.begin);
        let length = nanos(i128::from(ticks), span.clock);
        let restarted = mem::take(&mut self.restarted);
        if let Some(guess) = &mut self.guess {
            guess.interrupt();
        }
        let Some(last) = &mut self.last else {
            self.last = Some(LastPlaced::first(span.end, span.clock, arrived, length));
            return PacketPlacement::default();
        };
        let waited = last.advance(arrived);
        let (gap, is_broken) = if restarted {
            last.usual = UsualStep::default();
            self.rate.restart();
            (last.borne_out(length, JITTER), true)
        } else if last.clock != span.clock {
            // Another clock counts in other units: only arrival is comparable.
            last.usual = UsualStep::default();
            self.rate.restart();
            (last.borne_out(length, MAX_LEAD), true)
        } else {
            let jump = i128::from(span.begin) - i128::from(last.end);
            if numbered == 0 {
                let step = nanos(jump, span.clock);
                self.rate.pair(step, last.length, waited);
            }
            let claim = nanos(last.usual.claim(jump, ticks, numbered), span.clock);
            if claim.abs() <= STEP_TOLERANCE {
                last.best = last.best.max(last.lead.saturating_add(length));
            }
            last.believe(claim, length, numbered)
        };
        last.end = span.end;
        last.clock = span.clock;
        if length >= SHORTEST {
            last.length = length;
        }
        last.go_on(gap, length);
        PacketPlacement {
            gap: samples(gap),
            is_broken,
        }
    }

    /// Places a packet that cannot be decoded: the gap before it, and its length, estimated from
    /// its neighbours, its timestamps and arrival. `clock`: clock of its timestamps, if known.
    pub(super) fn place_unusable(
        &mut self,
        time: u64,
        clock: Option<RtpClockRate>,
        arrived: Instant,
        numbered: u64,
    ) -> (PacketPlacement, u64) {
        let known = self.last.map(|last| last.clock);
        let clock = clock.or(known).unwrap_or(RtpClockRate::HZ_8000);
        let usual = self.last.map_or(guess::USUAL, |last| last.length);
        let guess = self.guess.get_or_insert_default();
        let (length, more) = guess.length(time, clock, arrived, numbered, usual);
        let more = more.filter(|more| more.abs() <= guess::LONGEST);
        let usual = length;
        let restarted = mem::take(&mut self.restarted);
        let end = time.saturating_add(ticks(length, clock));
        let Some(last) = &mut self.last else {
            self.last = Some(LastPlaced::first(end, clock, arrived, length));
            return (PacketPlacement::default(), samples(length));
        };
        last.advance(arrived);
        self.rate.restart();
        let is_comparable = !restarted && last.clock == clock;
        let claim = i128::from(time) - i128::from(last.end);
        let claim = nanos(if is_comparable { claim } else { 0 }, clock);
        let (gap, is_broken, more) = match more {
            // The one before was longer than was thought, or shorter.
            Some(more) if is_comparable => (0, false, more),
            _ if is_comparable => {
                let (gap, is_broken) = last.believe(claim, length, numbered);
                // Of two that claim the same time one has it.
                (gap, is_broken, claim.clamp(-guess::LONGEST, 0))
            }
            _ => (last.borne_out(length, JITTER), true, 0),
        };
        // Nor does it last longer than arrival allows.
        let room = last.room(gap).saturating_add(STEP_TOLERANCE);
        let length = (length + more).min(room).max(0);
        // One that counts by another clock says nothing of the audio behind it.
        let is_near = !is_comparable || claim.abs() <= MAX_LEAD;
        last.end = if is_near {
            end.max(last.end)
        } else {
            last.end.saturating_add(ticks(gap + length, clock))
        };
        last.clock = clock;
        last.length = usual;
        last.usual = UsualStep::default();
        last.go_on(gap, length);
        let placement = PacketPlacement {
            gap: samples(gap),
            is_broken,
        };
        (placement, samples(length))
    }

    /// Places packets that were refused unread; returns their length in 16 kHz samples.
    pub(super) fn place_refused(&mut self, packets: u64, arrived: Instant) -> u64 {
        self.pass_over(packets, arrived, MAX_LEAD_REFUSED)
    }

    /// Places packets that never came, with none behind them to show their place; returns their
    /// length in 16 kHz samples, at most the time that has passed.
    pub(super) fn place_lost(&mut self, packets: u64, arrived: Instant) -> u64 {
        self.pass_over(packets, arrived, 0)
    }

    fn pass_over(&mut self, packets: u64, arrived: Instant, limit: i64) -> u64 {
        let Some(last) = &mut self.last else {
            return 0;
        };
        last.advance(arrived);
        let packets = i64::try_from(packets).unwrap_or(i64::MAX);
        let length = last.length.saturating_mul(packets);
        last.end = last.end.saturating_add(ticks(length, last.clock));
        let room = limit.saturating_sub(last.lead);
        let placed = length.min(room).max(0);
        last.go_on(0, placed);
        samples(placed)
    }

    /// Length of the last packet, in 16 kHz samples; as a rule its neighbours are as long.
    pub(super) fn length(&self) -> u64 {
        self.last.map_or(0, |last| samples(last.length))
    }

    /// Lag of the timeline behind arrival, nanoseconds, measured from the least late packet of all;
    /// and its increase with the last packet.
    pub(super) fn lag(&self) -> (i64, i64) {
        self.last
            .map_or((0, 0), |last| (last.behind(), last.lag.fell))
    }

    /// Inserts time before the last packet which its timestamp does not show, at most the present
    /// lag; returns it in 16 kHz samples.
    pub(super) fn make_good(&mut self, lag: i64) -> u64 {
        let Some(last) = &mut self.last else {
            return 0;
        };
        let gap = lag.min(last.behind());
        if gap <= 0 {
            return 0;
        }
        last.lead += gap;
        last.lag.made_good();
        samples(gap)
    }

    /// Lag behind arrival that has lasted too long to be jitter, nanoseconds.
    pub(super) fn owed(&self) -> i64 {
        self.last.map_or(0, |last| last.lag.owed)
    }

    /// Change of the known pace of the clock behind the timestamps, since the last call.
    pub(super) fn take_pace(&mut self) -> Option<ClockPace> {
        self.rate.take()
    }

    /// See [`super::CallSession::glance`].
    pub(super) fn glance(&self) -> u64 {
        let last = self
            .last
            .map_or(0, |last| last.end ^ last.lead as u64 ^ last.lag.glance());
        sum([last, self.restarted.into(), self.rate.glance()])
    }

    /// Prepares for a new numbering: its first packet is placed by arrival alone.
    pub(super) fn restart(&mut self) {
        self.restarted = true;
    }
}

impl LastPlaced {
    fn first(end: u64, clock: RtpClockRate, arrived: Instant, length: i64) -> Self {
        Self {
            end,
            clock,
            arrived,
            lead: 0,
            drift: 0,
            best: 0,
            length: if length < SHORTEST {
                guess::USUAL
            } else {
                length
            },
            usual: UsualStep::default(),
            lag: ArrivalLag::starting(arrived),
        }
    }

    /// Moves on to an arrival; returns the time since the one before.
    fn advance(&mut self, arrived: Instant) -> i64 {
        // A packet put back in its place came in after the one behind it.
        let waited = arrived.saturating_duration_since(self.arrived).as_nanos();
        // Not reached: a quarter of 2⁶³ ns are 73 years.
        let waited = i64::try_from(waited).unwrap_or(i64::MAX).min(i64::MAX / 4);
        self.arrived = self.arrived.max(arrived);
        self.lag.before = self.lead;
        let ahead = (self.lead - self.drift).max(0);
        self.lead = self.lead.saturating_sub(waited).max(i64::MIN / 4);
        self.drift += (waited / DRIFT as i64).min(ahead);
        self.drift = self.drift.min(self.lead.max(0));
        waited
    }

    /// Part of `claim`, the time that passed by the timestamps, that is believed before a packet of
    /// that length; and whether the timestamps broke off.
    fn believe(&mut self, claim: i64, length: i64, numbered: u64) -> (i64, bool) {
        if claim.abs() <= STEP_TOLERANCE {
            return (0, false);
        }
        if claim < 0 {
            let gap = self.borne_out(length, MAX_LEAD);
            return (gap, claim < -MAX_LEAD || gap > 0);
        }
        // Numbers that are missing took their time.
        let numbered = i64::try_from(numbered).unwrap_or(i64::MAX);
        let missing = self.length.saturating_mul(numbered).min(claim);
        let room = MAX_LEAD - (self.lead - self.drift + length);
        let missing = missing.min(room).max(0);
        let rest = claim - missing;
        let room = self.target() - (self.lead + length + missing);
        if rest <= STEP_TOLERANCE {
            return (missing, false);
        }
        let limit = self.best.saturating_add(JITTER.min(rest / 2)).min(MAX_LEAD);
        if self.lead + length + missing + rest <= limit {
            return (missing + rest, false);
        }
        let rest = if room >= JITTER { room.min(rest) } else { 0 };
        let is_nonsense = claim > rest.saturating_mul(MAX_RATIO).saturating_add(MAX_LEAD);
        (missing + rest, is_nonsense)
    }

    /// Lag behind arrival of a packet of that length, if it exceeds `tolerance`; else 0.
    fn borne_out(&self, length: i64, tolerance: i64) -> i64 {
        let room = self.room(length);
        if room > tolerance { room } else { 0 }
    }

    /// Lead that the timeline should have: that of the least late packet, within [`MAX_LEAD`].
    fn target(&self) -> i64 {
        self.best.min(MAX_LEAD)
    }

    /// Time that can still be inserted before `more`, until the timeline has that lead.
    fn room(&self, more: i64) -> i64 {
        self.target().saturating_sub(self.lead).saturating_sub(more)
    }

    /// Lag of the timeline behind that lead.
    fn behind(&self) -> i64 {
        self.room(0)
    }

    fn go_on(&mut self, gap: i64, length: i64) {
        self.lead = self.lead.saturating_add(gap).saturating_add(length);
        let target = self.target();
        self.lag.packet(self.arrived, self.lead, target);
    }
}

fn nanos(units: i128, clock: RtpClockRate) -> i64 {
    // The clock of nearly every packet; a division of this width is dear.
    let nanos = match units {
        0 => 0,
        units if clock == RtpClockRate::HZ_8000 => units.saturating_mul(125_000),
        units => units.saturating_mul(1_000_000_000) / i128::from(clock.hz()),
    };
    const MOST: i128 = i64::MAX as i128 / 4;
    i64::try_from(nanos.clamp(-MOST, MOST)).unwrap_or_default()
}

/// `nanos` in units of `clock`; none for a negative time.
fn ticks(nanos: i64, clock: RtpClockRate) -> u64 {
    let ticks = i128::from(nanos.max(0)) * i128::from(clock.hz()) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// `nanos` in 16 kHz samples; none for a negative time.
fn samples(nanos: i64) -> u64 {
    let samples = i128::from(nanos.max(0)) * i128::from(SAMPLE_RATE) / 1_000_000_000;
    u64::try_from(samples).unwrap_or(u64::MAX)
}

/// `duration` in 16 kHz samples.
pub(super) fn to_samples(duration: Duration) -> u64 {
    samples(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}
