//! How long packets are that nobody can decode.

use std::time::Instant;

use asterscribe_codecs::RtpClockRate;

use super::nanos;

/// Of a packet of which nothing is known.
pub(super) const USUAL: i64 = 20_000_000;

/// The shortest and the longest there are.
const SHORTEST: i64 = 2_500_000;
pub(super) const LONGEST: i64 = 250_000_000;

/// Packets after which the mean of their arrivals is some measure.
const MEAN_OF: u64 = 4;

/// The length of such packets, once it is known, and their present run.
#[derive(Debug, Default)]
pub(super) struct LengthGuess {
    /// Nanoseconds.
    length: Option<i64>,
    run: Option<UnusableRun>,
}

/// Packets without audio between them.
#[derive(Debug)]
struct UnusableRun {
    clock: RtpClockRate,
    /// Timestamp of the last one, and how long it was taken for.
    time: u64,
    length: i64,
    first: Instant,
    /// Since the first one, those that are missing too.
    packets: u64,
}

impl LengthGuess {
    /// The length of a packet and, if it follows another one of its kind, how much longer that
    /// was than was thought; nanoseconds. It is what the timestamps say, if arrival does not
    /// contradict; else that of those before.
    pub(super) fn length(
        &mut self,
        time: u64,
        clock: RtpClockRate,
        arrived: Instant,
        numbered: u64,
        usual: i64,
    ) -> (i64, Option<i64>) {
        let run = self.run.as_mut().filter(|run| run.clock == clock);
        let Some(run) = run else {
            let length = self.length.unwrap_or(usual);
            self.run = Some(UnusableRun {
                clock,
                time,
                length,
                first: arrived,
                packets: 0,
            });
            return (length, None);
        };
        let packets = numbered.saturating_add(1);
        let passed = nanos(i128::from(time) - i128::from(run.time), clock);
        let step = passed / i64::try_from(packets).unwrap_or(i64::MAX);
        let more = (numbered == 0).then_some(passed - run.length);
        run.time = time;
        if (SHORTEST..=LONGEST).contains(&step) {
            run.packets = run.packets.saturating_add(packets);
            let came = arrived.saturating_duration_since(run.first).as_nanos();
            let mean = i64::try_from(came / u128::from(run.packets)).unwrap_or(i64::MAX / 4);
            let is_sure = run.packets >= MEAN_OF;
            let spread = if is_sure { 1 } else { 2 };
            // Arrival bounds what is too long.
            let fits = mean / 4 * 3 <= step * spread && step / 2 <= mean.saturating_mul(spread);
            if fits {
                self.length = Some(step);
            } else if is_sure {
                self.length = None;
            }
        } else {
            // A pause, or a break: the mean is of what follows.
            (run.first, run.packets) = (arrived, 0);
        }
        run.length = self.length.unwrap_or(usual);
        (run.length, more)
    }

    /// Audio came: what follows is another run.
    pub(super) fn interrupt(&mut self) {
        self.run = None;
    }
}
