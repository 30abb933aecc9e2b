//! The utterances under recognition, in the order in which they were spoken to us.

use std::collections::VecDeque;

use asterscribe_call::GapReason;
use asterscribe_speech::Recognition;

use super::{LaterSpeech, UnheardReason};

/// Number of a job within its session, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u64);

/// Jobs opened and not yet given out.
///
/// Bounded: beyond `max_open` speech is shed, and a leg's next shed utterance
/// joins the one before it. So an engine that is stuck costs a call one entry
/// for each leg, however long it goes on.
#[derive(Debug)]
pub(super) struct JobLedger {
    jobs: VecDeque<SessionJob>,
    /// Id of the front of `jobs`.
    first: u64,
    max_open: usize,
}

#[derive(Debug)]
struct SessionJob {
    leg: usize,
    start_ms: u64,
    end_ms: u64,
    /// More than one only where they were shed.
    utterances: u64,
    audio: u64,
    again: Option<LaterSpeech>,
    result: Option<Result<Recognition, UnheardReason>>,
}

/// An answered job whose turn has come.
#[derive(Debug)]
pub(super) struct SettledJob {
    pub(super) leg: usize,
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    pub(super) utterances: u64,
    /// How much of them is audio, in 16 kHz samples.
    pub(super) audio: u64,
    pub(super) again: Option<LaterSpeech>,
    pub(super) result: Result<Recognition, UnheardReason>,
}

impl JobLedger {
    pub(super) fn new(max_open: usize) -> Self {
        Self {
            jobs: VecDeque::new(),
            first: 0,
            max_open,
        }
    }

    /// Opens a job for an utterance, or sheds the utterance: too many are open.
    pub(super) fn open(
        &mut self,
        leg: usize,
        (start_ms, end_ms): (u64, u64),
        audio: u64,
        again: Option<LaterSpeech>,
    ) -> Option<JobId> {
        if self.jobs.len() >= self.max_open {
            self.shed(leg, start_ms, end_ms, audio);
            return None;
        }
        let id = JobId(self.first + self.jobs.len() as u64);
        self.jobs.push_back(SessionJob {
            leg,
            start_ms,
            end_ms,
            utterances: 1,
            audio,
            again,
            result: None,
        });
        Some(id)
    }

    fn shed(&mut self, leg: usize, start_ms: u64, end_ms: u64, audio: u64) {
        let of_leg = self.jobs.iter_mut().rev().find(|job| job.leg == leg);
        if let Some(job) = of_leg
            && job.result == Some(Err(UnheardReason::Gap(GapReason::OverloadShed)))
        {
            job.end_ms = end_ms;
            job.utterances += 1;
            job.audio += audio;
            return;
        }
        self.jobs.push_back(SessionJob {
            leg,
            start_ms,
            end_ms,
            utterances: 1,
            audio,
            again: None,
            result: Some(Err(UnheardReason::Gap(GapReason::OverloadShed))),
        });
    }

    /// Notes an answer. A second one, or one to a job given up, changes nothing.
    pub(super) fn answer(&mut self, id: JobId, result: Result<Recognition, UnheardReason>) {
        let Some(offset) = id.0.checked_sub(self.first) else {
            return;
        };
        let Some(job) = usize::try_from(offset)
            .ok()
            .and_then(|n| self.jobs.get_mut(n))
        else {
            return;
        };
        if let (Err(UnheardReason::Late(_)), Some(again)) = (&result, &mut job.again) {
            // They have come back.
            again.samples = Vec::new();
        }
        job.result.get_or_insert(result);
    }

    /// Settles everything unanswered.
    pub(super) fn give_up(&mut self, reason: GapReason) {
        for job in &mut self.jobs {
            job.result.get_or_insert(Err(UnheardReason::Gap(reason)));
        }
    }

    /// The next job in order, if it is answered.
    pub(super) fn next_settled(&mut self) -> Option<SettledJob> {
        self.jobs.front()?.result.as_ref()?;
        let SessionJob {
            leg,
            start_ms,
            end_ms,
            utterances,
            audio,
            again,
            result,
        } = self.jobs.pop_front()?;
        self.first += 1;
        Some(SettledJob {
            leg,
            start_ms,
            end_ms,
            utterances,
            audio,
            again,
            result: result?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Those that are not given out.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_engine_costs_one_entry_a_leg_also_where_the_pool_refuses() {
        let mut ledger = JobLedger::new(4);
        let stuck = ledger.open(0, (0, 1), 16, None).expect("the first fits");
        for n in 1..10_000 {
            let leg = n as usize % 3;
            if let Some(id) = ledger.open(leg, (n * 10, n * 10 + 5), 80, None) {
                ledger.answer(id, Err(UnheardReason::Gap(GapReason::OverloadShed)));
            }
        }
        assert!(ledger.jobs.len() <= 4 + 3, "{}", ledger.jobs.len());
        assert!(ledger.next_settled().is_none());
        ledger.answer(stuck, Err(UnheardReason::Gap(GapReason::RecognitionFailed)));
        let settled: Vec<_> = std::iter::from_fn(|| ledger.next_settled()).collect();
        assert_eq!(
            settled.iter().map(|job| job.utterances).sum::<u64>(),
            10_000
        );
        assert!(ledger.is_empty());
        let next = ledger
            .open(1, (0, 1), 16, None)
            .expect("there is room again");
        assert!(next > stuck);
    }
}
