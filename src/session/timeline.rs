//! Where a leg's packets belong on its timeline.
//!
//! RTP timestamps count the sender's sampling clock (RFC 3550 §5.1); Asterisk's
//! jump by the wall-clock gap after a pause. A jump is believed only as far as
//! arrival times bear it out, so a broken or hostile sender can neither run the
//! timeline backwards nor stretch it beyond real time.

use std::time::{Duration, Instant};

use asterscribe_codecs::RtpClockRate;

use crate::speech::SAMPLE_RATE;

/// How far a leg's audio may run ahead of its arrival before a jump of the
/// timestamps is not believed: well above a live network's jitter and bursts.
const MAX_LEAD_NS: i128 = 1_000_000_000;

/// How far it may lag: a frozen network that then delivers everything at once.
const MAX_LAG_NS: i128 = 30_000_000_000;

/// A sender's clock may be this much off ours for ever, in parts of 100.
const DRIFT_PERCENT: i128 = 1;

/// Steps smaller than this are a clock's rounding, not a break.
const STEP_TOLERANCE_NS: i128 = 5_000_000;

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
}

#[derive(Debug, Clone, Copy)]
struct Last {
    /// Extended RTP timestamp one past the last packet's audio.
    end: u64,
    clock: RtpClockRate,
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
        let audio = nanos(i128::from(end) - i128::from(begin), clock);
        let Some(last) = self.last else {
            self.last = Some(Last {
                end,
                clock,
                arrived,
                lead: 0,
            });
            return Placement::Contiguous;
        };
        let elapsed = arrived.saturating_duration_since(last.arrived).as_nanos() as i128;
        let lead = last.lead - elapsed * (100 + DRIFT_PERCENT) / 100;
        let (placement, gap) = if last.clock == clock {
            let jump = nanos(i128::from(begin) - i128::from(last.end), clock);
            if jump.abs() <= STEP_TOLERANCE_NS {
                (Placement::Contiguous, 0)
            } else if jump > 0 && lead + jump <= MAX_LEAD_NS {
                (Placement::After(samples(jump)), jump)
            } else {
                by_arrival(lead, audio)
            }
        } else {
            // Another clock counts in other units: only arrival is comparable.
            by_arrival(lead, audio)
        };
        let lead = (lead + gap + audio).clamp(-MAX_LAG_NS, MAX_LEAD_NS);
        self.last = Some(Last {
            end,
            clock,
            arrived,
            lead,
        });
        placement
    }

    /// A new numbering begins: the next packet is placed by arrival alone.
    /// Returns the time that passed unheard, in 16 kHz samples.
    pub(super) fn restart(&mut self, arrived: Instant) -> u64 {
        let Some(last) = self.last.take() else {
            return 0;
        };
        let elapsed = arrived.saturating_duration_since(last.arrived).as_nanos() as i128;
        samples((elapsed - last.lead.max(0)).max(0))
    }
}

/// How far the audio lags behind arrival is the time to fill in; jitter is not.
fn by_arrival(lead: i128, audio: i128) -> (Placement, i128) {
    let lag = -(lead + audio);
    let gap = if lag > MAX_LEAD_NS { lag } else { 0 };
    (Placement::Discontinuity(samples(gap)), gap)
}

fn nanos(units: i128, clock: RtpClockRate) -> i128 {
    units * 1_000_000_000 / i128::from(clock.hz())
}

fn samples(nanos: i128) -> u64 {
    u64::try_from(nanos * i128::from(SAMPLE_RATE) / 1_000_000_000).unwrap_or(u64::MAX)
}

/// `duration` in 16 kHz samples.
pub(super) fn to_samples(duration: Duration) -> u64 {
    samples(duration.as_nanos() as i128)
}
