//! Which numbers have been here, and with what, so that a copy is told from a
//! packet that bears a used number.

use crate::ids::ExtSeq;

use super::PlacedPacket;

/// How many numbers are remembered, counted from the one wanted next.
const REMEMBERED: u64 = 128;

/// Memory of the last [`REMEMBERED`] sequence numbers.
#[derive(Debug)]
pub(super) struct SequenceMemory {
    /// Bit n: number `next - 1 - n` was used.
    here: u128,
    /// Bit n: number `next - 1 - n` was used, and the mark of its packet is known.
    marked: u128,
    /// Mark of each number's packet, by the low bits of the number.
    marks: [u16; REMEMBERED as usize],
}

/// The state of a sequence number in the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberState {
    /// No packet with the number has come.
    New,
    /// This very packet has come before.
    Copy,
    /// Another packet with the number has come.
    Reused,
    /// A packet with the number has come, of which nothing is known.
    Used,
    /// The number is too old to tell.
    Forgotten,
}

impl SequenceMemory {
    pub(super) fn new() -> Self {
        Self {
            here: 0,
            marked: 0,
            marks: [0; REMEMBERED as usize],
        }
    }

    /// Forgets all numbers.
    pub(super) fn clear(&mut self) {
        (self.here, self.marked) = (0, 0);
    }

    /// The number wanted next has come, with this mark; the one behind it is wanted.
    pub(super) fn push(&mut self, seq: ExtSeq, mark: u16) {
        self.here = self.here << 1 | 1;
        self.marked = self.marked << 1 | 1;
        self.marks[place(seq)] = mark;
    }

    /// So many numbers are not wanted any more.
    pub(super) fn pass_over(&mut self, count: u64) {
        self.here = shifted(self.here, count);
        self.marked = shifted(self.marked, count);
    }

    /// The number `age` before the newest has been here, whatever it was.
    pub(super) fn note_used(&mut self, age: u64) {
        self.here |= bit(age).unwrap_or(0);
    }

    /// The number `age` before the newest has come after all.
    pub(super) fn note_late(&mut self, age: u64, seq: ExtSeq, mark: u16) {
        if let Some(bit) = bit(age) {
            self.here |= bit;
            self.marked |= bit;
            self.marks[place(seq)] = mark;
        }
    }

    /// State of the number `age` before the newest, for a packet with this mark.
    pub(super) fn look(&self, age: u64, seq: ExtSeq, mark: u16) -> NumberState {
        let Some(bit) = bit(age) else {
            return NumberState::Forgotten;
        };
        if self.here & bit == 0 {
            NumberState::New
        } else if self.marked & bit == 0 {
            NumberState::Used
        } else if self.marks[place(seq)] == mark {
            NumberState::Copy
        } else {
            NumberState::Reused
        }
    }

    /// See [`RtpReceiver::glance`](crate::RtpReceiver::glance).
    pub(super) fn glance(&self, next: u64) -> u64 {
        (self.here & 1) as u64 ^ u64::from(self.marks[place(ExtSeq(next))])
    }
}

/// Mark of a packet, by which two of the same number are told apart: a hash of the timestamp, and
/// of nothing that damage may have changed in a copy. Two timestamps that differ have the same mark
/// once in 65,536 times.
pub(super) fn mark(packet: &PlacedPacket<'_>) -> u16 {
    // Fibonacci hashing, so that steady steps of the timestamps spread.
    (packet.time.wire().0.wrapping_mul(0x9E37_79B1) >> 16) as u16
}

fn place(seq: ExtSeq) -> usize {
    (seq.0 % REMEMBERED) as usize
}

fn bit(age: u64) -> Option<u128> {
    (age < REMEMBERED).then(|| 1_u128 << age)
}

fn shifted(bits: u128, by: u64) -> u128 {
    u32::try_from(by)
        .ok()
        .and_then(|by| bits.checked_shl(by))
        .unwrap_or(0)
}
