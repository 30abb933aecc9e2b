//! Pace of the clock behind the timestamps, against the length of the audio between them.

use crate::sum;

/// Equal steps in a row that show a clock, and not a pause.
const REPEATED: u8 = 3;

/// Largest step that is not a pause, unless the packets are that long; nanoseconds.
const PAUSE: i64 = 400_000_000;

/// Audio, or time, after which the clock is judged; nanoseconds.
const JUDGED: i64 = 2_000_000_000;

/// Audio without a fault after which the sums start over; nanoseconds.
const FORGOTTEN: i64 = 30_000_000_000;

/// Least deviation of a clock that is off: in all, nanoseconds, and as one part in so many.
const OFF: i64 = 100_000_000;
const OFF_SHARE: i64 = 200;

/// Largest deviation of a clock that is right again, as one part in so many.
const RIGHT_SHARE: i64 = 1_000;

/// Jitter at both ends of the time measured, nanoseconds.
const JITTER: i64 = 40_000_000;

/// Least change of the ratio that is reported again, as one part in so many.
const SAME: f64 = 20.0;

/// The usual step of the timestamps: what the timestamps count from one packet to the next, beyond
/// its audio, where that is always the same: a clock of another rate, and no pause.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct UsualStep {
    /// Length of a packet and, so far, the step beyond it that its timestamp skips each time;
    /// ticks.
    known: Option<(u64, i128)>,
    last: (u64, i128),
    repeated: u8,
}

impl UsualStep {
    /// Part of a jump before a packet of `ticks` that the clock's rate does not explain, in ticks
    /// of the right rate.
    pub(super) fn claim(&mut self, jump: i128, ticks: u64, numbered: u64) -> i128 {
        if jump == 0 && self.known.is_none() {
            self.repeated = 0;
            return 0;
        }
        if numbered == 0 {
            self.note(jump, ticks);
        }
        match self.known {
            Some((length, skip)) if length == ticks => {
                let length = i128::from(length);
                // The whole step, scaled back to the right clock, less the packet's own length.
                (jump + length) * length / (length + skip) - length
            }
            _ => jump,
        }
    }

    fn note(&mut self, jump: i128, ticks: u64) {
        let (length, skip) = self.last;
        let is_same = self.repeated > 0 && length == ticks && (skip - jump).abs() <= 1;
        self.last = (ticks, jump);
        self.repeated = if is_same {
            self.repeated.saturating_add(1)
        } else {
            1
        };
        if self.repeated >= REPEATED {
            let runs = jump != 0 && i128::from(ticks) + jump > 0;
            self.known = runs.then_some((ticks, jump));
        }
    }
}

/// The pace of the sender's clock, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ClockPace {
    /// Ratio of the clock to the audio, where arrival agrees with the audio and not with the clock.
    Off(f64),
    /// The clock counts the length of the audio.
    Right,
}

/// Sums over pairs of neighbouring packets, nanoseconds.
#[derive(Debug, Default)]
pub(super) struct ClockFit {
    audio: i64,
    /// Time that the timestamps count beyond the audio.
    off: i64,
    waited: i64,
    told: Option<f64>,
    news: Option<ClockPace>,
}

impl ClockFit {
    /// Takes two packets in a row: the time that the timestamps skip between them, the length of
    /// the first, and the time from one arrival to the next.
    pub(super) fn pair(&mut self, skipped: i64, length: i64, waited: i64) {
        if skipped.abs() > PAUSE.max(5 * length) || waited > PAUSE.max(5 * length) {
            return;
        }
        self.audio += length;
        self.off += skipped;
        self.waited += waited;
        if self.audio.max(self.waited) >= JUDGED {
            self.judge();
        }
    }

    /// Starts over with a new numbering.
    pub(super) fn restart(&mut self) {
        (self.audio, self.off, self.waited) = (0, 0, 0);
    }

    pub(super) fn take(&mut self) -> Option<ClockPace> {
        self.news.take()
    }

    pub(super) fn glance(&self) -> u64 {
        sum([self.audio as u64, self.news.is_some().into()])
    }

    fn judge(&mut self) {
        let claimed = self.audio + self.off;
        let by_time = (claimed - self.waited).abs();
        let by_audio = (self.audio - self.waited).abs();
        let off = self.off.abs();
        if off > OFF && off > self.audio / OFF_SHARE && by_time > 2 * by_audio + JITTER {
            let ratio = claimed as f64 / self.audio.max(1) as f64;
            let told = self.told.replace(ratio);
            if told.is_none_or(|told| (told - ratio).abs() * SAME > told.abs()) {
                self.news = Some(ClockPace::Off(ratio));
            } else {
                self.told = told;
            }
            self.restart();
        } else if self.told.is_some() {
            if off < self.audio / RIGHT_SHARE {
                self.told = None;
                self.news = Some(ClockPace::Right);
            }
            self.restart();
        } else if self.audio > FORGOTTEN {
            self.restart();
        }
    }
}
