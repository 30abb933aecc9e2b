//! The samples that a segmenter keeps. A leg is silent for most of its life and
//! keeps a third of a second all the while: as bytes, if they are that quiet.

use std::collections::VecDeque;

/// Samples in order. What was pushed comes back exactly.
#[derive(Debug)]
pub(super) enum Held {
    /// All of them fit into a byte: more than 48 dB below full scale.
    Quiet(VecDeque<i8>),
    Any(VecDeque<i16>),
}

impl Held {
    pub(super) const fn new() -> Self {
        Self::Quiet(VecDeque::new())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Quiet(samples) => samples.len(),
            Self::Any(samples) => samples.len(),
        }
    }

    pub(super) fn extend(&mut self, new: &[i16]) {
        match self {
            Self::Quiet(samples) if new.iter().all(|&sample| is_quiet(sample)) => {
                samples.extend(new.iter().map(|&sample| sample as i8));
            }
            Self::Quiet(_) | Self::Any(_) => self.widen().extend(new),
        }
    }

    /// Lets go of the oldest.
    pub(super) fn drop_front(&mut self, count: usize) {
        match self {
            Self::Quiet(samples) => drop(samples.drain(..count)),
            Self::Any(samples) => drop(samples.drain(..count)),
        }
    }

    /// Lets go of memory beyond that for `capacity` samples, and of half of it if all are quiet.
    pub(super) fn compact(&mut self, capacity: usize) {
        if let Self::Any(samples) = self {
            if samples.iter().all(|&sample| is_quiet(sample)) {
                let mut quiet = VecDeque::with_capacity(capacity.max(samples.len()));
                quiet.extend(samples.iter().map(|&sample| sample as i8));
                *self = Self::Quiet(quiet);
            } else {
                samples.shrink_to(capacity);
            }
        } else if let Self::Quiet(samples) = self {
            samples.shrink_to(capacity);
        }
    }

    /// The samples, to be looked at or added to.
    pub(super) fn widen(&mut self) -> &mut VecDeque<i16> {
        if let Self::Quiet(quiet) = self {
            *self = Self::Any(quiet.iter().copied().map(i16::from).collect());
        }
        match self {
            Self::Any(samples) => samples,
            Self::Quiet(_) => unreachable!("it has just been widened"),
        }
    }

    /// Takes all of them out.
    pub(super) fn take(&mut self) -> Vec<i16> {
        match std::mem::replace(self, Self::new()) {
            Self::Any(samples) => samples.into(),
            Self::Quiet(samples) => samples.into_iter().map(i16::from).collect(),
        }
    }
}

#[cfg(test)]
impl Held {
    /// Memory taken.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Quiet(samples) => samples.capacity(),
            Self::Any(samples) => 2 * samples.capacity(),
        }
    }
}

impl From<Vec<i16>> for Held {
    fn from(samples: Vec<i16>) -> Self {
        Self::Any(samples.into())
    }
}

fn is_quiet(sample: i16) -> bool {
    i8::try_from(sample).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Extend(Vec<i16>),
        Drop(usize),
        Compact,
        Widen,
    }

    fn step() -> impl Strategy<Value = Step> {
        let quiet = prop::collection::vec(-128i16..128, 0..40);
        let any = prop::collection::vec(any::<i16>(), 0..10);
        prop_oneof![
            4 => quiet.prop_map(Step::Extend),
            1 => any.prop_map(Step::Extend),
            2 => (0usize..60).prop_map(Step::Drop),
            2 => Just(Step::Compact),
            1 => Just(Step::Widen),
        ]
    }

    proptest! {
        #[test]
        fn what_is_held_is_what_was_pushed(steps in prop::collection::vec(step(), 0..40)) {
            let (mut held, mut model) = (Held::new(), Vec::<i16>::new());
            for step in steps {
                match step {
                    Step::Extend(samples) => {
                        held.extend(&samples);
                        model.extend(samples);
                    }
                    Step::Drop(count) => {
                        let count = count.min(model.len());
                        held.drop_front(count);
                        model.drain(..count);
                    }
                    Step::Compact => {
                        held.compact(64);
                        let quiet = model.iter().all(|&sample| is_quiet(sample));
                        prop_assert_eq!(matches!(held, Held::Quiet(_)), quiet);
                    }
                    Step::Widen => {
                        let samples: Vec<i16> = held.widen().iter().copied().collect();
                        prop_assert_eq!(&samples, &model);
                    }
                }
                prop_assert_eq!(held.len(), model.len());
            }
            prop_assert_eq!(held.take(), model);
            prop_assert_eq!(held.len(), 0);
        }
    }
}
