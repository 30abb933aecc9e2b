//! The utterances under recognition, in the order in which they were spoken to us.

use std::collections::VecDeque;

use crate::call::GapReason;
use crate::speech::Recognition;

/// Number of a job within its session, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u64);

/// Jobs opened and not yet given out.
#[derive(Debug)]
pub(super) struct JobLedger {
    jobs: VecDeque<Job>,
    /// Id of the front of `jobs`.
    first: u64,
    max_open: usize,
    unanswered: usize,
}

#[derive(Debug)]
struct Job {
    leg: usize,
    start_ms: u64,
    end_ms: u64,
    result: Option<Result<Recognition, GapReason>>,
}

/// An answered job whose turn has come.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) leg: usize,
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    pub(super) result: Result<Recognition, GapReason>,
}

impl JobLedger {
    pub(super) fn new(max_open: usize) -> Self {
        Self {
            jobs: VecDeque::new(),
            first: 0,
            max_open,
            unanswered: 0,
        }
    }

    /// Opens a job. `false`: too many are open; it is settled as shed already.
    pub(super) fn open(&mut self, leg: usize, start_ms: u64, end_ms: u64) -> (JobId, bool) {
        let id = JobId(self.first + self.jobs.len() as u64);
        let admitted = self.unanswered < self.max_open;
        let result = if admitted {
            self.unanswered += 1;
            None
        } else {
            Some(Err(GapReason::OverloadShed))
        };
        self.jobs.push_back(Job {
            leg,
            start_ms,
            end_ms,
            result,
        });
        (id, admitted)
    }

    /// Notes an answer. A second one, or one to a job given up, changes nothing.
    pub(super) fn answer(&mut self, id: JobId, result: Result<Recognition, GapReason>) {
        let Some(offset) = id.0.checked_sub(self.first) else {
            return;
        };
        let Some(job) = usize::try_from(offset)
            .ok()
            .and_then(|n| self.jobs.get_mut(n))
        else {
            return;
        };
        if job.result.is_none() {
            job.result = Some(result);
            self.unanswered -= 1;
        }
    }

    /// Settles everything unanswered.
    pub(super) fn give_up(&mut self, reason: GapReason) {
        for job in &mut self.jobs {
            job.result.get_or_insert(Err(reason));
        }
        self.unanswered = 0;
    }

    /// The next job in order, if it is answered.
    pub(super) fn next_settled(&mut self) -> Option<Settled> {
        self.jobs.front()?.result.as_ref()?;
        let Job {
            leg,
            start_ms,
            end_ms,
            result,
        } = self.jobs.pop_front()?;
        self.first += 1;
        Some(Settled {
            leg,
            start_ms,
            end_ms,
            result: result?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}
