//! The recognition pool: one thread that knows what waits, and a few that recognise,
//! one engine each.
//!
//! Bounded in count (`queue` jobs that must be answered; the newest beyond it is refused
//! at once) and in time (one older than `max_age` is answered with that). Whoever handed
//! a job in says so in the transcript. Every job taken is answered exactly once, engine
//! failures and panics included; only a partial's answer may be lost, when nobody fetches answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::queue::{Queue, Task, Urgency};
use crate::clock;
use crate::speech::{Recognition, TranscribeError, Transcriber};

/// Makes the engine of one worker, on that worker's thread; told the worker's number.
pub type EngineFactory =
    Arc<dyn Fn(usize) -> Result<Box<dyn Transcriber>, TranscribeError> + Send + Sync>;

/// Time between two looks at what has grown old.
const LOOK: Duration = Duration::from_millis(100);

/// Partials on their way into the queue, where one a leg remains.
const PARTIALS: usize = 1024;

/// How a pool works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConfig {
    /// Engines, each with a thread.
    pub workers: usize,
    /// Jobs that may wait.
    pub queue: usize,
    /// How old a job may grow, counted from when its audio was spoken; `None`: nothing here is live.
    pub max_age: Option<Duration>,
}

/// A piece of work. `T` says whose it is; it comes back with the answer.
#[derive(Debug)]
struct Job<T> {
    ticket: T,
    task: Task,
    reply: Sender<Answer<T>>,
}

/// What became of a job.
#[derive(Debug)]
pub struct Answer<T> {
    /// As it was handed in.
    pub ticket: T,
    /// How urgent it was.
    pub urgency: Urgency,
    /// The words, or why there are none.
    pub result: Result<Recognition, Unrecognised>,
}

/// Why a job has no words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unrecognised {
    /// The engine failed on it.
    #[error(transparent)]
    Failed(#[from] TranscribeError),
    /// It waited longer than it may.
    #[error("it waited too long for an engine")]
    TooOld,
    /// A partial: a newer one or the whole utterance came before its turn.
    #[error("it was replaced")]
    Replaced,
}

/// Figures for `/health`.
#[derive(Debug, Default)]
pub struct PoolStats {
    /// Jobs taken that must be answered.
    pub accepted: AtomicU64,
    /// Jobs refused because the queue was full.
    pub refused: AtomicU64,
    /// Jobs that waited too long.
    pub too_old: AtomicU64,
    /// Jobs answered with an error.
    pub failed: AtomicU64,
    /// Partials recognised.
    pub partials: AtomicU64,
    /// Jobs that wait now.
    pub waiting: AtomicU64,
    /// How long ago the oldest final that waits was spoken, milliseconds.
    pub oldest_ms: AtomicU64,
}

/// The pool. Dropping it and its handles ends the threads once the queue is empty.
#[derive(Debug)]
pub struct Pool<T> {
    handle: PoolHandle<T>,
    capacity: usize,
    _threads: Vec<JoinHandle<()>>,
}

/// A handle to hand work in; cheap to clone.
#[derive(Debug)]
pub struct PoolHandle<T> {
    inbox: Sender<Job<T>>,
    /// One token for each job that waits and must be answered.
    places: Sender<()>,
    stats: Arc<PoolStats>,
}

impl<T> Clone for PoolHandle<T> {
    fn clone(&self) -> Self {
        Self {
            inbox: self.inbox.clone(),
            places: self.places.clone(),
            stats: Arc::clone(&self.stats),
        }
    }
}

impl<T: Send + 'static> Pool<T> {
    /// Starts the workers.
    ///
    /// # Errors
    /// Not every worker's engine comes up; those that do end again.
    pub fn start(config: PoolConfig, factory: &EngineFactory) -> Result<Self, TranscribeError> {
        let PoolConfig { workers, queue, .. } = config;
        let stats = Arc::new(PoolStats::default());
        let (free, idle) = bounded(workers);
        let (ready, started) = bounded(workers);
        let mut threads = Vec::with_capacity(workers + 1);
        let mut desks = Vec::with_capacity(workers);
        for number in 0..workers {
            let (desk, jobs) = bounded(1);
            let worker = Worker {
                number,
                factory: Arc::clone(factory),
                jobs,
                free: free.clone(),
                stats: Arc::clone(&stats),
            };
            let ready = ready.clone();
            threads.push(spawn(format!("speech-{number}"), move || {
                worker.run(&ready)
            })?);
            desks.push(desk);
        }
        for _ in 0..workers {
            started
                .recv()
                .map_err(|_| TranscribeError("a worker died while starting".to_owned()))??;
        }
        let (inbox, jobs) = bounded(queue + PARTIALS);
        let (places, taken) = bounded(queue);
        let dispatcher = Dispatcher {
            jobs,
            places: taken,
            idle,
            desks,
            free: Vec::with_capacity(workers),
            on_partial: vec![None; workers],
            queue: Queue::new(workers, queue),
            max_age: config.max_age,
            stats: Arc::clone(&stats),
        };
        threads.push(spawn("speech-queue".to_owned(), move || dispatcher.run())?);
        let handle = PoolHandle {
            inbox,
            places,
            stats,
        };
        Ok(Self {
            handle,
            capacity: queue + workers,
            _threads: threads,
        })
    }

    /// Jobs that can be in the pool at once; a reply channel of this capacity never blocks a worker.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Figures.
    pub fn stats(&self) -> Arc<PoolStats> {
        Arc::clone(&self.handle.stats)
    }

    /// A handle to hand work in.
    pub fn handle(&self) -> PoolHandle<T> {
        self.handle.clone()
    }
}

fn spawn(
    name: String,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, TranscribeError> {
    thread::Builder::new()
        .name(name)
        .spawn(work)
        .map_err(|error| TranscribeError(format!("cannot start a thread: {error}")))
}

impl<T> PoolHandle<T> {
    /// Hands a job in without waiting.
    ///
    /// # Errors
    /// The queue is full, or the workers are gone; the ticket comes back.
    pub fn offer(&self, ticket: T, task: Task, reply: &Sender<Answer<T>>) -> Result<(), T> {
        let is_bound = task.urgency != Urgency::Partial;
        if is_bound && self.places.try_send(()).is_err() {
            self.stats.refused.fetch_add(1, Ordering::Relaxed);
            return Err(ticket);
        }
        let reply = reply.clone();
        let job = Job {
            ticket,
            task,
            reply,
        };
        match self.inbox.try_send(job) {
            Ok(()) => {
                self.stats
                    .accepted
                    .fetch_add(u64::from(is_bound), Ordering::Relaxed);
                Ok(())
            }
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                self.stats
                    .refused
                    .fetch_add(u64::from(is_bound), Ordering::Relaxed);
                Err(job.ticket)
            }
        }
    }

    /// Hands a job in, waiting for a place: for replay, where nothing is live.
    ///
    /// # Errors
    /// The workers are gone; the ticket comes back.
    pub fn submit(&self, ticket: T, task: Task, reply: &Sender<Answer<T>>) -> Result<(), T> {
        if self.places.send(()).is_err() {
            return Err(ticket);
        }
        let reply = reply.clone();
        let job = Job {
            ticket,
            task,
            reply,
        };
        self.inbox
            .send(job)
            .map_err(|error| error.into_inner().ticket)?;
        self.stats.accepted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The thread that knows what waits.
struct Dispatcher<T> {
    jobs: Receiver<Job<T>>,
    places: Receiver<()>,
    /// Workers that have become free, by number.
    idle: Receiver<usize>,
    /// Where a worker finds its next job.
    desks: Vec<Sender<Job<T>>>,
    free: Vec<usize>,
    /// Since when a worker is busy with a partial, by number.
    on_partial: Vec<Option<Instant>>,
    queue: Queue<(T, Sender<Answer<T>>)>,
    max_age: Option<Duration>,
    stats: Arc<PoolStats>,
}

impl<T> Dispatcher<T> {
    fn run(mut self) {
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
            refuse(ticket, &reply, &task, Unrecognised::Replaced);
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

    fn take(&mut self, job: Job<T>) {
        let Job {
            ticket,
            task,
            reply,
        } = job;
        if let Some(((ticket, reply), task)) = self.queue.push((ticket, reply), task) {
            refuse(ticket, &reply, &task, Unrecognised::Replaced);
        }
    }

    fn hand_out(&mut self) {
        while let Some(&worker) = self.free.last() {
            let now = clock::now();
            let Some(((ticket, reply), task)) = self.queue.pop(now) else {
                return;
            };
            self.free.pop();
            self.on_partial[worker] = (task.urgency == Urgency::Partial).then_some(now);
            self.give_place_back(&task);
            let job = Job {
                ticket,
                task,
                reply,
            };
            // It has room for one, and a worker that said it is free has none.
            if self.desks[worker].send(job).is_err() {
                tracing::error!(worker, "a recognition thread is gone");
            }
        }
    }

    /// Lets go of what is too old, and tells how it stands.
    fn look(&mut self) {
        let now = clock::now();
        if let Some(than) = self.max_age.and_then(|age| now.checked_sub(age)) {
            for ((ticket, reply), task) in self.queue.take_older(than) {
                self.give_place_back(&task);
                self.stats.too_old.fetch_add(1, Ordering::Relaxed);
                refuse(ticket, &reply, &task, Unrecognised::TooOld);
            }
        }
        let oldest = u64::try_from(self.queue.oldest(now).as_millis()).unwrap_or(u64::MAX);
        self.stats.oldest_ms.store(oldest, Ordering::Relaxed);
        let waiting = self.places.len() as u64;
        self.stats.waiting.store(waiting, Ordering::Relaxed);
    }

    fn give_place_back(&self, task: &Task) {
        if task.urgency != Urgency::Partial {
            // One was taken for it when it came.
            let _token = self.places.try_recv();
        }
    }
}

/// Answers a job without words.
fn refuse<T>(ticket: T, reply: &Sender<Answer<T>>, task: &Task, why: Unrecognised) {
    answer(ticket, reply, task.urgency, Err(why));
}

fn answer<T>(
    ticket: T,
    reply: &Sender<Answer<T>>,
    urgency: Urgency,
    result: Result<Recognition, Unrecognised>,
) {
    let answer = Answer {
        ticket,
        urgency,
        result,
    };
    // The asker may be gone with its call; then there is no transcript to put it in.
    let _unheard = if urgency == Urgency::Partial {
        reply.try_send(answer).is_ok()
    } else {
        reply.send(answer).is_ok()
    };
}

struct Worker<T> {
    number: usize,
    factory: EngineFactory,
    jobs: Receiver<Job<T>>,
    free: Sender<usize>,
    stats: Arc<PoolStats>,
}

impl<T> Worker<T> {
    fn run(self, ready: &Sender<Result<(), TranscribeError>>) {
        let mut engine = match self.make_engine() {
            Ok(engine) => {
                // The pool may have given up waiting; then nobody hands in jobs either.
                let _unheard = ready.send(Ok(()));
                Some(engine)
            }
            Err(error) => {
                let _unheard = ready.send(Err(error));
                return;
            }
        };
        while self.free.send(self.number).is_ok() {
            let Ok(job) = self.jobs.recv() else { return };
            let result = self.recognise(&mut engine, &job.task);
            let is_partial = job.task.urgency == Urgency::Partial;
            if result.is_err() {
                self.stats.failed.fetch_add(1, Ordering::Relaxed);
            } else if is_partial {
                self.stats.partials.fetch_add(1, Ordering::Relaxed);
            }
            let result = result.map_err(Unrecognised::Failed);
            answer(job.ticket, &job.reply, job.task.urgency, result);
        }
    }

    fn make_engine(&self) -> Result<Box<dyn Transcriber>, TranscribeError> {
        catch_unwind(AssertUnwindSafe(|| (self.factory)(self.number))).unwrap_or_else(|_| {
            let reason = "the engine panicked while it was made".to_owned();
            Err(TranscribeError(reason))
        })
    }

    /// A panic in the engine costs that job; the next one gets a new engine.
    fn recognise(
        &self,
        engine: &mut Option<Box<dyn Transcriber>>,
        task: &Task,
    ) -> Result<Recognition, TranscribeError> {
        let mut current = match engine.take() {
            Some(engine) => engine,
            None => self.make_engine()?,
        };
        match catch_unwind(AssertUnwindSafe(|| {
            current.transcribe(&task.samples, &task.choices)
        })) {
            Ok(result) => {
                *engine = Some(current);
                result
            }
            Err(_) => {
                tracing::error!("the speech engine panicked; it is made anew");
                Err(TranscribeError("the engine panicked".to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
