//! The samples that a segmenter keeps. A leg is silent for most of its life and
//! keeps a third of a second all the while: as bytes, if they are that quiet. In
//! an utterance it keeps up to half a minute, packed but for the newest.

use std::collections::VecDeque;
use std::mem;

use crate::packed::{AHEAD, BLOCK, PackedAudio};

/// Samples in order. What was pushed comes back exactly.
#[derive(Debug)]
pub(super) struct HeldSamples {
    /// The older ones, once there is an utterance.
    packed: Option<Box<PackedAudio>>,
    recent: RecentFrames,
}

#[derive(Debug)]
enum RecentFrames {
    /// All of them fit into a byte: more than 48 dB below full scale.
    Quiet(VecDeque<i8>),
    Any(VecDeque<i16>),
}

impl HeldSamples {
    pub(super) const fn new() -> Self {
        Self {
            packed: None,
            recent: RecentFrames::Quiet(VecDeque::new()),
        }
    }

    pub(super) fn len(&self) -> usize {
        let packed = self.packed.as_ref().map_or(0, |packed| packed.len());
        packed + self.recent.len()
    }

    pub(super) fn extend(&mut self, new: &[i16]) {
        self.recent.extend(new);
    }

    /// Packs all but the newest.
    pub(super) fn pack(&mut self) {
        if self.recent.len() < BLOCK + AHEAD {
            return;
        }
        let packed = self.packed.get_or_insert_default();
        let recent = self.recent.widen();
        while let Some(block) = recent.make_contiguous().first_chunk() {
            packed.push(block);
            drop(recent.drain(..BLOCK));
        }
        recent.shrink_to(2 * BLOCK + AHEAD);
    }

    /// Lets go of the oldest.
    pub(super) fn drop_front(&mut self, count: usize) {
        self.unpack();
        self.recent.drop_front(count);
    }

    /// Lets go of memory beyond that for `capacity` samples, and of half of it if all are quiet.
    pub(super) fn compact(&mut self, capacity: usize) {
        self.unpack();
        self.recent.compact(capacity);
    }

    /// A copy of all of them.
    pub(super) fn to_vec(&self) -> Vec<i16> {
        let recent = self.recent.to_vec();
        let Some(packed) = &self.packed else {
            return recent;
        };
        let mut samples = Vec::with_capacity(packed.len() + recent.len());
        packed.unpack(recent.iter().copied(), &mut samples);
        samples.extend(recent);
        samples
    }

    /// Takes all of them out.
    pub(super) fn take(&mut self) -> Vec<i16> {
        let Self { packed, recent } = mem::replace(self, Self::new());
        let Some(packed) = packed else {
            return recent.into_samples();
        };
        let recent = recent.into_samples();
        let mut samples = Vec::with_capacity(packed.len() + recent.len());
        packed.unpack(recent.iter().copied(), &mut samples);
        samples.extend(recent);
        samples
    }

    fn unpack(&mut self) {
        if self.packed.is_some() {
            *self = self.take().into();
        }
    }
}

impl RecentFrames {
    fn len(&self) -> usize {
        match self {
            Self::Quiet(samples) => samples.len(),
            Self::Any(samples) => samples.len(),
        }
    }

    fn extend(&mut self, new: &[i16]) {
        match self {
            Self::Quiet(samples) if new.iter().all(|&sample| is_quiet(sample)) => {
                samples.extend(new.iter().map(|&sample| sample as i8));
            }
            Self::Quiet(_) | Self::Any(_) => self.widen().extend(new),
        }
    }

    fn drop_front(&mut self, count: usize) {
        match self {
            Self::Quiet(samples) => drop(samples.drain(..count)),
            Self::Any(samples) => drop(samples.drain(..count)),
        }
    }

    fn compact(&mut self, capacity: usize) {
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

    /// The samples, to be added to.
    fn widen(&mut self) -> &mut VecDeque<i16> {
        if let Self::Quiet(quiet) = self {
            *self = Self::Any(quiet.iter().copied().map(i16::from).collect());
        }
        match self {
            Self::Any(samples) => samples,
            Self::Quiet(_) => unreachable!("it has just been widened"),
        }
    }

    fn to_vec(&self) -> Vec<i16> {
        match self {
            Self::Any(samples) => samples.iter().copied().collect(),
            Self::Quiet(samples) => samples.iter().copied().map(i16::from).collect(),
        }
    }

    fn into_samples(self) -> Vec<i16> {
        match self {
            Self::Any(samples) => samples.into(),
            Self::Quiet(samples) => samples.into_iter().map(i16::from).collect(),
        }
    }
}

#[cfg(test)]
impl HeldSamples {
    /// Memory taken.
    pub(super) fn bytes(&self) -> usize {
        let packed = self.packed.as_ref().map_or(0, |packed| packed.bytes());
        packed
            + match &self.recent {
                RecentFrames::Quiet(samples) => samples.capacity(),
                RecentFrames::Any(samples) => 2 * samples.capacity(),
            }
    }
}

impl From<Vec<i16>> for HeldSamples {
    fn from(samples: Vec<i16>) -> Self {
        Self {
            packed: None,
            recent: RecentFrames::Any(samples.into()),
        }
    }
}

fn is_quiet(sample: i16) -> bool {
    i8::try_from(sample).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Extend(Vec<i16>),
        Drop(usize),
        Compact,
        Pack,
    }

    fn step() -> impl Strategy<Value = Step> {
        let quiet = prop::collection::vec(-128i16..128, 0..400);
        let any = prop::collection::vec(any::<i16>(), 0..100);
        prop_oneof![
            4 => quiet.prop_map(Step::Extend),
            1 => any.prop_map(Step::Extend),
            1 => (0usize..600).prop_map(Step::Drop),
            1 => Just(Step::Compact),
            2 => Just(Step::Pack),
        ]
    }

    proptest! {
        #[test]
        fn what_is_held_is_what_was_pushed(steps in prop::collection::vec(step(), 0..40)) {
            let (mut held, mut model) = (HeldSamples::new(), Vec::<i16>::new());
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
                        prop_assert_eq!(matches!(held.recent, RecentFrames::Quiet(_)), quiet);
                    }
                    Step::Pack => {
                        held.pack();
                        prop_assert!(held.recent.len() < BLOCK + AHEAD);
                    }
                }
                prop_assert_eq!(held.len(), model.len());
                prop_assert_eq!(&held.to_vec(), &model);
            }
            prop_assert_eq!(held.take(), model);
            prop_assert_eq!(held.len(), 0);
        }
    }
}
