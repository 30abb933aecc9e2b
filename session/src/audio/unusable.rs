//! Packets of no use: they cannot be decoded, or exceeded the leg's rate.

use std::mem;
use std::time::Instant;

use asterscribe_call::GapReason;
use asterscribe_codecs::RtpClockRate;

use super::{LegAudio, MissingNumbers};

impl LegAudio {
    /// Books a packet that cannot be decoded; `clock`: clock of its timestamps, where it is known.
    pub(super) fn unusable(
        &mut self,
        reason: GapReason,
        time: u64,
        clock: Option<RtpClockRate>,
        arrived: Instant,
    ) {
        self.settle_hold(false);
        self.begin(arrived);
        let missing = mem::take(&mut self.missing);
        let (placement, length) =
            self.timeline
                .place_unusable(time, clock, arrived, missing.count());
        self.pass(placement, missing);
        self.book(reason, length);
        let owed = self.timeline.owed();
        if owed > 0 {
            let samples = self.timeline.make_good(owed);
            self.book(reason, samples);
        }
    }

    /// Notes that packets were given up, `shed` of them because they exceeded the leg's rate.
    pub(crate) fn missed(&mut self, count: u64, shed: u64) {
        let booked = shed.min(self.shed_ahead);
        self.shed_ahead -= booked;
        self.missing.lost += count - shed;
        self.missing.shed += shed - booked;
    }

    /// Books a packet that exceeded the leg's rate, while no earlier one waits for its turn.
    pub(crate) fn shed(&mut self, arrived: Instant) {
        self.settle_hold(false);
        self.shed_ahead += 1;
        let samples = self.timeline.place_refused(1, arrived);
        self.book(GapReason::OverloadShed, samples);
    }

    /// Books the missing packets at the end, when no packet follows that would show their place.
    pub(super) fn book_rest(&mut self, now: Instant) {
        let missing: MissingNumbers = mem::take(&mut self.missing);
        let lost = self.timeline.place_lost(missing.lost, now);
        self.book(GapReason::NetLoss, lost);
        let shed = self.timeline.place_refused(missing.shed, now);
        self.book(GapReason::OverloadShed, shed);
    }
}
