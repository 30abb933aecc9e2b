//! The thread that knows what waits, and hands it out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use asterscribe_clock as clock;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::{JobAnswer, JobBatch, LOOK, NotRecognised, PoolConfig, PoolJob, PoolStats, refuse};
use crate::batching::{MOST_TOGETHER, SharedBatching, WorkerBatching};
use crate::overload::{OverloadLadder, OverloadStep};
use crate::queue::{JobQueue, JobUrgency, RecognitionTask};

/// The thread that knows what waits.
#[derive(Debug)]
pub(super) struct JobDispatcher<T> {
    jobs: Receiver<PoolJob<T>>,
    places: Receiver<()>,
    idle: Receiver<usize>,
    /// Where a worker finds its next job.
    desks: Vec<Sender<JobBatch<T>>>,
    free: Vec<usize>,
    /// Since when a worker is busy with a partial, by number.
    on_partial: Vec<Option<Instant>>,
    queue: JobQueue<(T, Sender<JobAnswer<T>>)>,
    max_age: Option<Duration>,
    batching: SharedBatching,
    ladder: OverloadLadder,
    stats: Arc<PoolStats>,
}

/// A job as it waits: whose it is, whom to answer, and what to do.
type WaitingTicket<T> = ((T, Sender<JobAnswer<T>>), RecognitionTask);

/// An input of a dispatcher.
#[derive(Debug)]
pub(super) struct DispatcherInput<T> {
    pub(super) jobs: Receiver<PoolJob<T>>,
    /// One token for each job that waits and must be answered.
    pub(super) places: Receiver<()>,
    /// Workers that have become free, by number.
    pub(super) idle: Receiver<usize>,
}

impl<T> JobDispatcher<T> {
    /// One that hands jobs out to so many desks, each a worker's.
    pub(super) fn new(
        config: PoolConfig,
        batching: SharedBatching,
        incoming: DispatcherInput<T>,
        desks: Vec<Sender<JobBatch<T>>>,
        stats: Arc<PoolStats>,
    ) -> Self {
        let DispatcherInput { jobs, places, idle } = incoming;
        let workers = desks.len();
        Self {
            jobs,
            places,
            idle,
            desks,
            free: Vec::with_capacity(workers),
            on_partial: vec![None; workers],
            queue: JobQueue::new(workers, config.queue),
            max_age: config.max_age,
            batching,
            ladder: OverloadLadder::default(),
            stats,
        }
    }

    /// Works until no job will come and none waits.
    pub(super) fn run(mut self) {
        let mut is_open = true;
        while is_open || self.queue.waiting() > 0 {
            is_open &= self.wait(is_open);
            while let Ok(job) = self.jobs.try_recv() {
                self.take(job);
            }
            while let Ok(worker) = self.idle.try_recv() {
                self.has_become_free(worker);
            }
            self.hand_out();
            self.look();
        }
        for ((ticket, reply), task) in self.queue.take_partials() {
            refuse(ticket, &reply, task, NotRecognised::Replaced);
        }
    }

    /// Waits until there may be something to do; `false` if no job will come any more.
    fn wait(&mut self, is_open: bool) -> bool {
        if !is_open {
            // Only a worker that becomes free lets anything go on.
            self.await_worker();
            return false;
        }
        // Jobs that wait need a worker, and the other way round.
        if self.free.is_empty() {
            self.await_worker();
            return true;
        }
        match self.jobs.recv_timeout(LOOK) {
            Ok(job) => self.take(job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    fn await_worker(&mut self) {
        match self.idle.recv_timeout(LOOK) {
            Ok(worker) => self.has_become_free(worker),
            Err(RecvTimeoutError::Timeout) => {}
            // No thread of ours ends before this one; should they, then not in a busy loop.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK),
        }
    }

    fn has_become_free(&mut self, worker: usize) {
        if let Some(since) = self.on_partial[worker].take() {
            let now = clock::now();
            let time = now.saturating_duration_since(since);
            self.queue.spent_on_partial(now, time);
        }
        self.free.push(worker);
    }

    fn take(&mut self, job: PoolJob<T>) {
        let PoolJob {
            ticket,
            task,
            reply,
        } = job;
        if let Some(((ticket, reply), task)) = self.queue.push((ticket, reply), task) {
            refuse(ticket, &reply, task, NotRecognised::Replaced);
        }
    }

    fn hand_out(&mut self) {
        while let Some(&worker) = self.free.last() {
            let now = clock::now();
            let Some(((ticket, reply), task)) = self.queue.pop(now) else {
                return;
            };
            // With this one: they share what waits.
            let free = self.free.len();
            self.free.pop();
            self.on_partial[worker] = (task.urgency == JobUrgency::Partial).then_some(now);
            let mut jobs = vec![((ticket, reply), task)];
            let is_packed = self.add_others(&mut jobs, free);
            let jobs = jobs.into_iter().map(|((ticket, reply), task)| {
                self.give_place_back(&task);
                PoolJob {
                    ticket,
                    task,
                    reply,
                }
            });
            let batch = JobBatch {
                jobs: jobs.collect(),
                is_packed,
            };
            // It has room for one, and a worker that said it is free has none.
            if self.desks[worker].send(batch).is_err() {
                tracing::error!(worker, "a recognition thread has ended");
            }
        }
    }

    /// Adds to a job what shall be recognised along with it; whether all are for one window.
    fn add_others(&mut self, jobs: &mut Vec<WaitingTicket<T>>, free: usize) -> bool {
        let first = &jobs[0].1;
        let batching = self.batching.get();
        let may_pack = matches!(batching, WorkerBatching::Packed) || first.choices.full_context;
        if may_pack && self.is_late(first) {
            let fellows = self.queue.pop_fellows(first);
            jobs.extend(fellows);
            return true;
        }
        if let WorkerBatching::Together(ladder) = batching
            && !first.choices.full_context
        {
            let window_of =
                |task: &RecognitionTask| ladder.first_window(task.samples.len(), &task.choices);
            let window = window_of(first);
            let is_alike = |task: &RecognitionTask| {
                !task.choices.full_context
                    && task.choices.prompt == first.choices.prompt
                    && window_of(task) == window
            };
            let share = (self.queue.waiting() + 1).div_ceil(free.max(1));
            let most = share.clamp(1, MOST_TOGETHER) - 1;
            let others = self.queue.pop_alike(first.urgency, most, is_alike);
            jobs.extend(others);
        }
        false
    }

    /// Whether nobody waits for a job's words any more.
    fn is_late(&self, task: &RecognitionTask) -> bool {
        let is_late = task.urgency == JobUrgency::Backlog && self.max_age.is_some();
        is_late || self.stats.step() >= OverloadStep::Packing
    }

    /// Longest age that a job may have now.
    fn max_age(&self) -> Option<Duration> {
        let age = self.max_age?;
        Some(if self.stats.is_letting_go() {
            Duration::ZERO
        } else {
            age
        })
    }

    /// Gives up jobs that are too old, and updates the figures.
    fn look(&mut self) {
        let now = clock::now();
        if let Some(than) = self.max_age().and_then(|age| now.checked_sub(age)) {
            for ((ticket, reply), task) in self.queue.take_older(than) {
                self.give_place_back(&task);
                let is_final = u64::from(task.urgency == JobUrgency::Final);
                self.stats.too_old.fetch_add(is_final, Ordering::Relaxed);
                refuse(ticket, &reply, task, NotRecognised::TooOld);
            }
        }
        let oldest = self.queue.oldest(now);
        let step = self.ladder_step(now, oldest);
        self.climb(step, oldest);
        let oldest = u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX);
        self.stats.oldest_ms.store(oldest, Ordering::Relaxed);
        let waiting = self.places.len() as u64;
        self.stats.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Where on the ladder we are now; nowhere, where nothing is live.
    fn ladder_step(&mut self, now: Instant, oldest: Duration) -> OverloadStep {
        match self.max_age {
            Some(_) => self.ladder.look(now, oldest),
            None => OverloadStep::Normal,
        }
    }

    fn climb(&mut self, step: OverloadStep, oldest: Duration) {
        let before = self.stats.step();
        if step == before {
            return;
        }
        let place = OverloadStep::ALL.iter().position(|&known| known == step);
        let place = place.and_then(|place| u8::try_from(place).ok());
        self.stats
            .step
            .store(place.unwrap_or_default(), Ordering::Relaxed);
        if step > before {
            tracing::warn!(?step, ?before, ?oldest, "recognition under load");
        } else {
            tracing::info!(?step, ?before, ?oldest, "recognition is catching up");
        }
        if step > OverloadStep::Normal {
            for ((ticket, reply), task) in self.queue.take_partials() {
                refuse(ticket, &reply, task, NotRecognised::Replaced);
            }
        }
    }

    fn give_place_back(&self, task: &RecognitionTask) {
        if task.urgency != JobUrgency::Partial {
            // One was taken for it when it came.
            let _token = self.places.try_recv();
        }
    }
}
