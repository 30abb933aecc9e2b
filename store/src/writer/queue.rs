//! Queue of the writes that wait to be stored: bounded, in order, records of one call merged where
//! nothing lies between them.

use std::collections::{HashMap, VecDeque};

use asterscribe_call::CallId;

use super::super::StoreWrite;

#[derive(Debug)]
pub(super) struct WriteQueue {
    waiting: VecDeque<StoreWrite>,
    /// Number of the record's write, for each call whose last waiting write is its record.
    merge: HashMap<CallId, u64>,
    /// Number of the first waiting write.
    first: u64,
    /// Writes that were taken and are not done yet.
    in_flight: usize,
    capacity: usize,
}

/// The outcome of offering a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PushOutcome {
    /// The write waits at the end.
    Queued,
    /// The write took the place of the call's previous record.
    Merged,
    /// There was no room.
    Refused,
}

impl WriteQueue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            merge: HashMap::new(),
            first: 0,
            in_flight: 0,
            capacity,
        }
    }

    /// Number of writes not yet done.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.in_flight
    }

    pub(super) fn push(&mut self, write: StoreWrite) -> PushOutcome {
        if let StoreWrite::Call(record) | StoreWrite::GivenUp(record) = &write
            && let Some(number) = self.merge.get(&record.call_id)
        {
            let place = usize::try_from(number - self.first)
                .expect("it waits, so it lies within the queue");
            self.waiting[place] = write;
            return PushOutcome::Merged;
        }
        if self.len() >= self.capacity {
            return PushOutcome::Refused;
        }
        let number = self.first + u64::try_from(self.waiting.len()).expect("a length");
        match &write {
            StoreWrite::Call(record) | StoreWrite::GivenUp(record) => {
                self.merge.insert(record.call_id.clone(), number);
            }
            // A record must not overtake this: it may say that the call is over.
            _ => {
                self.merge.remove(write.call_id());
            }
        }
        self.waiting.push_back(write);
        PushOutcome::Queued
    }

    /// Takes up to `max` writes; they count until [`Self::done`].
    pub(super) fn take(&mut self, max: usize) -> Vec<StoreWrite> {
        let taken: Vec<StoreWrite> = self.waiting.drain(..max.min(self.waiting.len())).collect();
        self.first += u64::try_from(taken.len()).expect("a length");
        for write in &taken {
            if self
                .merge
                .get(write.call_id())
                .is_some_and(|number| *number < self.first)
            {
                self.merge.remove(write.call_id());
            }
        }
        self.in_flight += taken.len();
        taken
    }

    /// `count` of those taken are stored or given up.
    pub(super) fn done(&mut self, count: usize) {
        self.in_flight -= count;
    }
}
