//! Numbers that are missing for a reason: refused for the leg's rate, or of packets
//! without a payload.

use std::collections::VecDeque;

use crate::ids::ExtSeq;

/// A set of numbers: runs, in order and apart from each other.
#[derive(Debug, Default)]
pub(super) struct SequenceRuns {
    /// First number and the one behind the last.
    runs: VecDeque<(u64, u64)>,
}

/// Runs remembered; more do not arise unless what is refused alternates with
/// what is missing. A number beyond is lost like any other.
const MAX_RUNS: usize = 128;

impl SequenceRuns {
    /// Notes a number.
    pub(super) fn insert(&mut self, seq: ExtSeq) {
        let seq = seq.0;
        let place = self.runs.partition_point(|(_, end)| *end < seq);
        match self.runs.get_mut(place) {
            Some((first, end)) if *first <= seq => {
                if seq == *end {
                    *end += 1;
                    self.join(place);
                }
            }
            Some((first, _)) if *first == seq + 1 => *first = seq,
            _ => {
                if self.runs.len() < MAX_RUNS {
                    self.runs.insert(place, (seq, seq + 1));
                }
            }
        }
    }

    /// Whether none is noted.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// See [`RtpReceiver::glance`](crate::RtpReceiver::glance).
    pub(super) fn glance(&self) -> u64 {
        self.runs.len() as u64
    }

    /// Whether it was noted.
    pub(super) fn contains(&self, seq: ExtSeq) -> bool {
        let place = self.runs.partition_point(|(_, end)| *end <= seq.0);
        self.runs
            .get(place)
            .is_some_and(|(first, _)| *first <= seq.0)
    }

    /// The number behind the run that begins with `next`, if one does.
    pub(super) fn run_at(&self, next: ExtSeq) -> Option<ExtSeq> {
        let &(first, end) = self.runs.front()?;
        (first <= next.0 && next.0 < end).then_some(ExtSeq(end))
    }

    /// The number behind all of them.
    pub(super) fn end(&self) -> Option<ExtSeq> {
        self.runs.back().map(|&(_, end)| ExtSeq(end))
    }

    /// Takes out the first run, as far as it is below `limit`.
    pub(super) fn take_below(&mut self, limit: ExtSeq) -> Option<(u64, u64)> {
        let front = self.runs.front_mut()?;
        let (first, end) = *front;
        if first >= limit.0 {
            return None;
        }
        if end > limit.0 {
            front.0 = limit.0;
            return Some((first, limit.0));
        }
        self.runs.pop_front()
    }

    /// A run has grown up to the next one.
    fn join(&mut self, place: usize) {
        let Some(&(first, end)) = self.runs.get(place + 1) else {
            return;
        };
        if self.runs.get(place).is_some_and(|run| run.1 == first) {
            self.runs[place].1 = end;
            self.runs.remove(place + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(numbers in prop::collection::vec(0_u64..100, 0..200), limits in prop::collection::vec(0_u64..110, 0..5)) {
            let (mut runs, mut set) = (SequenceRuns::default(), BTreeSet::new());
            for number in numbers {
                runs.insert(ExtSeq(number));
                set.insert(number);
                prop_assert!(runs.runs.iter().all(|(first, end)| first < end));
                prop_assert!(runs.runs.iter().zip(runs.runs.iter().skip(1)).all(|(a, b)| a.1 < b.0));
            }
            for number in 0..110 {
                prop_assert_eq!(runs.contains(ExtSeq(number)), set.contains(&number));
            }
            prop_assert_eq!(runs.end().map(|end| end.0 - 1), set.last().copied());
            for limit in limits {
                let mut taken = Vec::new();
                while let Some((first, end)) = runs.take_below(ExtSeq(limit)) {
                    taken.extend(first..end);
                }
                let above = set.split_off(&limit);
                prop_assert_eq!(taken, set.into_iter().collect::<Vec<_>>());
                set = above;
            }
        }
    }

    #[test]
    fn runs_are_bounded() {
        let mut runs = SequenceRuns::default();
        for n in 0..1_000 {
            runs.insert(ExtSeq(2 * n));
        }
        assert_eq!(runs.runs.len(), MAX_RUNS);
        assert!(!runs.contains(ExtSeq(1_998)));
    }
}
