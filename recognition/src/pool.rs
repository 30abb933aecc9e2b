//! The recognition pool: one thread that knows what waits, and a few that recognise,
//! one engine each.
//!
//! Bounded in count (`queue` jobs that must be answered; the newest beyond it is refused
//! at once) and in time (one older than `max_age` is answered with that). Whoever handed
//! a job in says so in the transcript. Every job taken is answered exactly once, engine
//! failures and panics included; only a partial's answer may be lost, when nobody fetches answers.

mod dispatcher;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use asterscribe_speech::Recognition;
use asterscribe_speech::RetryReason;
use crossbeam_channel::{Sender, TrySendError, bounded};

use self::dispatcher::{DispatcherInput, JobDispatcher};
use self::worker::PoolWorker;
use super::batching::SharedBatching;
use super::overload::OverloadStep;
use super::queue::{JobUrgency, RecognitionTask};
use crate::{TranscribeError, Transcriber, UtteranceRef};

/// Makes the engine of one worker, on that worker's thread; told the worker's number.
pub type EngineFactory =
    Arc<dyn Fn(usize) -> Result<Box<dyn Transcriber>, TranscribeError> + Send + Sync>;

/// Time between two looks at what has grown old.
const LOOK: Duration = Duration::from_millis(100);

/// Partials on their way into the queue, where one a leg remains.
const PARTIALS: usize = 1024;

/// Settings of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConfig {
    /// Engines, each with a thread.
    pub workers: usize,
    /// Most jobs that wait.
    pub queue: usize,
    /// Longest age of a job, counted from when its audio was spoken; `None`: no limit, for jobs
    /// that are not live.
    pub max_age: Option<Duration>,
}

/// A piece of work. `T` says whose it is; it comes back with the answer.
#[derive(Debug)]
struct PoolJob<T> {
    ticket: T,
    task: RecognitionTask,
    reply: Sender<JobAnswer<T>>,
}

impl<T> PoolJob<T> {
    fn utterance(&self) -> UtteranceRef<'_> {
        UtteranceRef {
            samples: &self.task.samples,
            choices: &self.task.choices,
        }
    }
}

/// The jobs that a worker gets at once, for one window or one batch.
#[derive(Debug)]
struct JobBatch<T> {
    jobs: Vec<PoolJob<T>>,
    /// Whether they are of one leg and go into one window; else each has a window of its own.
    is_packed: bool,
}

/// The answer to a job.
#[derive(Debug)]
pub struct JobAnswer<T> {
    /// Ticket of the job, as it was handed in.
    pub ticket: T,
    /// Urgency of the job.
    pub urgency: JobUrgency,
    /// Recognised text, or why there is none.
    pub result: Result<Recognition, NotRecognised>,
    /// Samples of a job that waited too long, so that they can be recognised later.
    pub samples: Vec<i16>,
}

/// Error: a job was not recognised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRecognised {
    /// The engine failed on the job.
    #[error(transparent)]
    Failed(#[from] TranscribeError),
    /// The job waited longer than [`PoolConfig::max_age`].
    #[error("it waited too long for an engine")]
    TooOld,
    /// A partial: a newer one or the whole utterance took its place in the queue.
    #[error("it was replaced")]
    Replaced,
}

/// Figures for `/health`.
#[derive(Debug, Default)]
pub struct PoolStats {
    /// Jobs taken that must be answered, partials not among them.
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
    /// Age of the oldest waiting final, counted from when it was spoken, milliseconds.
    pub oldest_ms: AtomicU64,
    /// Utterances that were recognised in one window with others of their leg.
    pub packed: AtomicU64,
    /// Utterances that were decoded together with others.
    pub together: AtomicU64,
    /// Tries after the first, by [`RetryReason`] as its place in [`RetryReason::ALL`].
    retries: [AtomicU64; RetryReason::ALL.len()],
    /// [`OverloadStep`], as its place in [`OverloadStep::ALL`].
    step: AtomicU8,
    /// Whether waiting jobs are to be given back unrecognised.
    letting_go: AtomicBool,
}

impl PoolStats {
    fn is_letting_go(&self) -> bool {
        self.letting_go.load(Ordering::Relaxed)
    }

    fn count_retries(&self, recognition: &Recognition) {
        for reason in &recognition.retries {
            self.retries[*reason as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Repeated tries of the model, by reason.
    pub fn retries(&self) -> [(RetryReason, u64); RetryReason::ALL.len()] {
        RetryReason::ALL.map(|reason| {
            let count = self.retries[reason as usize].load(Ordering::Relaxed);
            (reason, count)
        })
    }

    /// Present overload level.
    pub fn step(&self) -> OverloadStep {
        let place = usize::from(self.step.load(Ordering::Relaxed));
        OverloadStep::ALL.get(place).copied().unwrap_or_default()
    }
}

/// The pool. Dropping it and its handles ends the threads once the queue is empty.
#[derive(Debug)]
pub struct RecognitionPool<T> {
    handle: PoolHandle<T>,
    capacity: usize,
    _threads: Vec<JoinHandle<()>>,
}

/// A handle to hand work in; cheap to clone.
#[derive(Debug)]
pub struct PoolHandle<T> {
    inbox: Sender<PoolJob<T>>,
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

impl<T: Send + 'static> RecognitionPool<T> {
    /// Starts the workers.
    ///
    /// # Errors
    /// Not every worker's engine comes up; those that do end again.
    pub fn start(config: PoolConfig, factory: &EngineFactory) -> Result<Self, TranscribeError> {
        Self::start_for(config, factory, SharedBatching::default())
    }

    /// Starts workers whose engines do better with several utterances at once, or will after
    /// another model has taken the place of the first.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn start_for(
        config: PoolConfig,
        factory: &EngineFactory,
        batching: SharedBatching,
    ) -> Result<Self, TranscribeError> {
        let PoolConfig { workers, queue, .. } = config;
        let stats = Arc::new(PoolStats::default());
        let (free, idle) = bounded(workers);
        let (ready, started) = bounded(workers);
        let mut threads = Vec::with_capacity(workers + 1);
        let mut desks = Vec::with_capacity(workers);
        for number in 0..workers {
            let (desk, jobs) = bounded(1);
            let stats = Arc::clone(&stats);
            let worker = PoolWorker::new(number, Arc::clone(factory), jobs, free.clone(), stats);
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
        let (inbox, jobs) = bounded(queue + 2 * PARTIALS);
        let (places, taken) = bounded(queue);
        let incoming = DispatcherInput {
            jobs,
            places: taken,
            idle,
        };
        let dispatcher = JobDispatcher::new(config, batching, incoming, desks, Arc::clone(&stats));
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

    /// Jobs that can be in the pool at once; a reply channel of this capacity never blocks a
    /// worker.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Figures of the pool.
    pub fn stats(&self) -> Arc<PoolStats> {
        self.handle.stats()
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
    /// Figures of the pool.
    pub fn stats(&self) -> Arc<PoolStats> {
        Arc::clone(&self.stats)
    }

    /// From now on nothing waits: what no worker takes at once is answered as too old. For the end.
    pub fn let_go(&self) {
        self.stats.letting_go.store(true, Ordering::Relaxed);
    }

    /// Hands a job in without waiting.
    ///
    /// # Errors
    /// The queue is full, or the workers are gone; the ticket and the samples come back.
    pub fn offer(
        &self,
        ticket: T,
        task: RecognitionTask,
        reply: &Sender<JobAnswer<T>>,
    ) -> Result<(), (T, Vec<i16>)> {
        let is_bound = task.urgency != JobUrgency::Partial;
        // Finals must find room where partials wait.
        if !is_bound && (self.stats.step() > OverloadStep::Normal || self.inbox.len() >= PARTIALS) {
            return Err((ticket, task.samples));
        }
        // The backlog leaves most of the places to what is said now.
        let is_too_many = self.places.len() > self.places.capacity().unwrap_or(1) / 4;
        if task.urgency == JobUrgency::Backlog && is_too_many {
            return Err((ticket, task.samples));
        }
        if is_bound && self.places.try_send(()).is_err() {
            self.stats.refused.fetch_add(1, Ordering::Relaxed);
            return Err((ticket, task.samples));
        }
        let reply = reply.clone();
        let job = PoolJob {
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
                Err((job.ticket, job.task.samples))
            }
        }
    }

    /// Hands a job in, waiting for a place: for replay, where nothing is live.
    ///
    /// # Errors
    /// The workers are gone; the ticket comes back.
    pub fn submit(
        &self,
        ticket: T,
        task: RecognitionTask,
        reply: &Sender<JobAnswer<T>>,
    ) -> Result<(), T> {
        if self.places.send(()).is_err() {
            return Err(ticket);
        }
        let reply = reply.clone();
        let job = PoolJob {
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

/// Answers a job without words.
fn refuse<T>(ticket: T, reply: &Sender<JobAnswer<T>>, task: RecognitionTask, why: NotRecognised) {
    let answer = JobAnswer {
        ticket,
        urgency: task.urgency,
        result: Err(why),
        samples: task.samples,
    };
    send(answer, reply);
}

fn send<T>(answer: JobAnswer<T>, reply: &Sender<JobAnswer<T>>) {
    // The asker may be gone with its call; then there is no transcript to put it in.
    let _unheard = if answer.urgency == JobUrgency::Partial {
        reply.try_send(answer).is_ok()
    } else {
        reply.send(answer).is_ok()
    };
}

#[cfg(test)]
mod tests;
