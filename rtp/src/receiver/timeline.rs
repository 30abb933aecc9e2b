//! One source's sequence: where a packet belongs in it, or that it does not.

use std::time::{Duration, Instant};

use crate::ids::{ExtRtpTime, ExtSeq, SeqNo, Ssrc};
use crate::wire::RtpPacket;

/// A forward step of this many is no loss but another place in the sequence
/// (RFC 3550 appendix A.1).
pub(super) const MAX_DROPOUT: u64 = 3_000;
/// So is a packet older by more than this than the oldest still wanted
/// (RFC 3550 appendix A.1, which measures from the newest instead and so would
/// take the filler of a long gap for a restart).
pub(super) const MAX_MISORDER: u64 = 100;
/// A larger step forward is believed at once only if it took its time: a lost
/// packet takes as long as it lasts, and one that is forged or damaged comes at
/// once and would make losses of all before it. That is a second of the usual
/// packets, far more than a network puts out of order; the reorder buffer waits
/// for an eighth of that.
const MAX_LEAP: u64 = 50;

/// The sequence that is being followed.
#[derive(Debug)]
pub(super) struct SequenceTimeline {
    pub(super) ssrc: Ssrc,
    /// Highest number accepted, and the timestamp that came with it.
    pub(super) newest: ExtSeq,
    pub(super) newest_time: ExtRtpTime,
    /// When a packet last led it on; a late one or a copy is no sign of life.
    pub(super) spoke: Instant,
}

impl SequenceTimeline {
    /// A leg's first, begun by `packet`.
    pub(super) fn first(packet: &RtpPacket<'_>, now: Instant) -> Self {
        Self {
            ssrc: packet.ssrc,
            newest: ExtSeq::first(packet.seq),
            newest_time: ExtRtpTime::first(packet.time),
            spoke: now,
        }
    }

    /// The packet's number, unless it is too far from the sequence. `floor` is
    /// the oldest number still wanted.
    pub(super) fn place(&self, wire: SeqNo, floor: Option<ExtSeq>) -> Option<ExtSeq> {
        let seq = self.newest.extend(wire);
        let floor = floor.unwrap_or(seq);
        let too_new = seq.0 >= self.newest.0.saturating_add(MAX_DROPOUT);
        let too_old = seq.0.saturating_add(MAX_MISORDER) < floor.0;
        (!too_new && !too_old).then_some(seq)
    }

    /// Whether a packet comes so far ahead that another must follow it before it
    /// is believed: the packets between, each `lasting` that long, would have
    /// taken more than twice the time that has passed.
    pub(super) fn is_leap(&self, now: Instant, seq: ExtSeq, lasting: Duration) -> bool {
        let step = seq.0.saturating_sub(self.newest.0);
        let passed = now.saturating_duration_since(self.spoke);
        step > MAX_LEAP && 2 * passed.as_nanos() < lasting.as_nanos() * u128::from(step)
    }

    /// Notes an accepted packet; `false` if a newer one was accepted before it.
    pub(super) fn advance(&mut self, now: Instant, seq: ExtSeq, time: ExtRtpTime) -> bool {
        let in_order = seq >= self.newest;
        if in_order {
            self.spoke = now;
            self.newest = seq;
            self.newest_time = time;
        }
        in_order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit;

    fn timeline(newest: u64) -> SequenceTimeline {
        SequenceTimeline {
            ssrc: Ssrc(1),
            newest: ExtSeq(newest),
            newest_time: ExtRtpTime::first(crate::RtpTime(0)),
            spoke: testkit::origin(),
        }
    }

    #[test]
    fn the_bounds_are_exact() {
        let timeline = timeline(0x5_0000);
        let floor = Some(ExtSeq(0x5_0001));
        let place = |seq: u64| timeline.place(ExtSeq(seq).wire(), floor);
        assert_eq!(place(0x5_0000 + 2_999), Some(ExtSeq(0x5_0000 + 2_999)));
        assert_eq!(place(0x5_0000 + 3_000), None);
        assert_eq!(place(0x5_0001 - 100), Some(ExtSeq(0x5_0001 - 100)));
        assert_eq!(place(0x5_0001 - 101), None);
    }

    #[test]
    fn a_filler_of_a_long_gap_belongs() {
        let timeline = timeline(0x5_0000 + 2_000);
        let wanted = ExtSeq(0x5_0001);
        assert_eq!(timeline.place(wanted.wire(), Some(wanted)), Some(wanted));
    }
}
