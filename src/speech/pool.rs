//! The recognition pool: a bounded queue in front of a few threads, one engine
//! each. Overflow policy: the newest job is refused at once, and whoever handed
//! it in says so in the transcript. Every job taken is answered exactly once,
//! engine failures and panics included.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::{Recognition, TranscribeError, Transcriber};

/// Makes the engine of one worker, on that worker's thread.
pub type EngineFactory =
    Arc<dyn Fn() -> Result<Box<dyn Transcriber>, TranscribeError> + Send + Sync>;

/// A piece of work. `T` says whose it is; it comes back with the answer.
#[derive(Debug)]
struct Job<T> {
    ticket: T,
    samples: Vec<i16>,
    reply: Sender<Answer<T>>,
}

/// What became of a job.
#[derive(Debug)]
pub struct Answer<T> {
    /// As it was handed in.
    pub ticket: T,
    /// The words, or why there are none.
    pub result: Result<Recognition, TranscribeError>,
}

/// Counters for `/health`.
#[derive(Debug, Default)]
pub struct PoolStats {
    /// Jobs taken.
    pub accepted: AtomicU64,
    /// Jobs refused because the queue was full.
    pub refused: AtomicU64,
    /// Jobs answered with an error.
    pub failed: AtomicU64,
}

/// The pool. Dropping it and its handles ends the threads once the queue is empty.
#[derive(Debug)]
pub struct Pool<T> {
    queue: Sender<Job<T>>,
    capacity: usize,
    stats: Arc<PoolStats>,
    _threads: Vec<JoinHandle<()>>,
}

/// A handle to hand work in; cheap to clone.
#[derive(Debug)]
pub struct PoolHandle<T> {
    queue: Sender<Job<T>>,
    stats: Arc<PoolStats>,
}

impl<T> Clone for PoolHandle<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            stats: Arc::clone(&self.stats),
        }
    }
}

impl<T: Send + 'static> Pool<T> {
    /// Starts `workers` threads behind a queue of `queue` jobs.
    ///
    /// # Errors
    /// Not every worker's engine comes up; those that do end again.
    pub fn start(
        workers: usize,
        queue: usize,
        factory: &EngineFactory,
    ) -> Result<Self, TranscribeError> {
        let (sender, receiver) = bounded::<Job<T>>(queue);
        let stats = Arc::new(PoolStats::default());
        let (ready, started) = bounded(workers);
        let mut threads = Vec::with_capacity(workers);
        for n in 0..workers {
            let worker = Worker {
                factory: Arc::clone(factory),
                jobs: receiver.clone(),
                stats: Arc::clone(&stats),
            };
            let ready = ready.clone();
            let thread = thread::Builder::new()
                .name(format!("whisper-{n}"))
                .spawn(move || worker.run(&ready))
                .map_err(|error| TranscribeError(format!("cannot start a worker: {error}")))?;
            threads.push(thread);
        }
        for _ in 0..workers {
            started
                .recv()
                .map_err(|_| TranscribeError("a worker died while starting".to_owned()))??;
        }
        Ok(Self {
            queue: sender,
            capacity: queue + workers,
            stats,
            _threads: threads,
        })
    }

    /// Jobs that can be in the pool at once; a reply channel of this capacity never blocks a worker.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Counters.
    pub fn stats(&self) -> Arc<PoolStats> {
        Arc::clone(&self.stats)
    }

    /// A handle to hand work in.
    pub fn handle(&self) -> PoolHandle<T> {
        PoolHandle {
            queue: self.queue.clone(),
            stats: Arc::clone(&self.stats),
        }
    }
}

impl<T> PoolHandle<T> {
    /// Hands a job in without waiting.
    ///
    /// # Errors
    /// The queue is full, or the workers are gone; the ticket comes back.
    pub fn offer(&self, ticket: T, samples: Vec<i16>, reply: &Sender<Answer<T>>) -> Result<(), T> {
        match self.queue.try_send(Job {
            ticket,
            samples,
            reply: reply.clone(),
        }) {
            Ok(()) => {
                self.stats.accepted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                self.stats.refused.fetch_add(1, Ordering::Relaxed);
                Err(job.ticket)
            }
        }
    }

    /// Hands a job in, waiting for a place: for replay, where nothing is live.
    ///
    /// # Errors
    /// The workers are gone; the ticket comes back.
    pub fn submit(&self, ticket: T, samples: Vec<i16>, reply: &Sender<Answer<T>>) -> Result<(), T> {
        match self.queue.send(Job {
            ticket,
            samples,
            reply: reply.clone(),
        }) {
            Ok(()) => {
                self.stats.accepted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(error.into_inner().ticket),
        }
    }
}

struct Worker<T> {
    factory: EngineFactory,
    jobs: Receiver<Job<T>>,
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
        while let Ok(job) = self.jobs.recv() {
            let result = self.recognise(&mut engine, &job.samples);
            if result.is_err() {
                self.stats.failed.fetch_add(1, Ordering::Relaxed);
            }
            // The asker may be gone with its call; then there is no transcript to put it in.
            let _unheard = job.reply.send(Answer {
                ticket: job.ticket,
                result,
            });
        }
    }

    fn make_engine(&self) -> Result<Box<dyn Transcriber>, TranscribeError> {
        catch_unwind(AssertUnwindSafe(|| (self.factory)())).unwrap_or_else(|_| {
            let reason = "the engine panicked while it was made".to_owned();
            Err(TranscribeError(reason))
        })
    }

    /// A panic in the engine costs that job; the next one gets a new engine.
    fn recognise(
        &self,
        engine: &mut Option<Box<dyn Transcriber>>,
        samples: &[i16],
    ) -> Result<Recognition, TranscribeError> {
        let mut current = match engine.take() {
            Some(engine) => engine,
            None => self.make_engine()?,
        };
        match catch_unwind(AssertUnwindSafe(|| current.transcribe(samples))) {
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
mod tests {
    use super::*;

    /// Says how many samples it got; panics on 13, fails on 14, waits on 15.
    struct Counting(Receiver<()>);

    impl Transcriber for Counting {
        fn transcribe(&mut self, samples: &[i16]) -> Result<Recognition, TranscribeError> {
            match samples.len() {
                13 => panic!("scripted"),
                14 => Err(TranscribeError("scripted".to_owned())),
                n => {
                    if n == 15 {
                        self.0.recv().unwrap();
                    }
                    Ok(Recognition {
                        text: n.to_string(),
                        confidence: 1.0,
                        language: "en".into(),
                    })
                }
            }
        }
    }

    fn pool(workers: usize, queue: usize) -> (Pool<usize>, Sender<()>) {
        let (release, gate) = bounded(100);
        let factory: EngineFactory = Arc::new(move || Ok(Box::new(Counting(gate.clone()))));
        (Pool::start(workers, queue, &factory).unwrap(), release)
    }

    #[test]
    fn every_job_is_answered_once_with_its_own_ticket() {
        let (pool, _release) = pool(3, 100);
        let (reply, answers) = bounded(100);
        for n in 20..80 {
            pool.handle().offer(n, vec![0; n], &reply).unwrap();
        }
        let mut seen: Vec<usize> = (0..60)
            .map(|_| {
                let answer = answers.recv().unwrap();
                assert_eq!(answer.result.unwrap().text, answer.ticket.to_string());
                answer.ticket
            })
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (20..80).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_and_a_failure_are_answers_too_and_the_worker_goes_on() {
        let (pool, _release) = pool(1, 10);
        let (reply, answers) = bounded(10);
        for n in [13, 14, 16] {
            pool.handle().offer(n, vec![0; n], &reply).unwrap();
        }
        let results: Vec<_> = (0..3).map(|_| answers.recv().unwrap()).collect();
        assert!(results[0].result.is_err() && results[1].result.is_err());
        assert_eq!(results[2].result.as_ref().unwrap().text, "16");
        assert_eq!(pool.stats().failed.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_full_queue_refuses_the_newest_and_counts_it() {
        let (pool, release) = pool(1, 2);
        let (reply, answers) = bounded(10);
        // One job holds the worker at the gate, two wait, the rest are refused.
        let mut refused = 0;
        for n in 0..10 {
            if pool.handle().offer(n, vec![0; 15], &reply).is_err() {
                refused += 1;
            }
        }
        assert!((7..=8).contains(&refused), "{refused}");
        assert_eq!(pool.stats().refused.load(Ordering::Relaxed), refused);
        for _ in 0..10 - refused {
            release.send(()).unwrap();
            answers.recv().unwrap().result.unwrap();
        }
    }

    #[test]
    fn an_engine_that_cannot_start_stops_the_start() {
        let factory: EngineFactory = Arc::new(|| Err(TranscribeError("no".to_owned())));
        assert_eq!(
            Pool::<usize>::start(2, 2, &factory).unwrap_err(),
            TranscribeError("no".to_owned())
        );
    }

    #[test]
    fn an_engine_that_panics_while_starting_stops_the_start() {
        let factory: EngineFactory = Arc::new(|| panic!("scripted"));
        assert!(Pool::<usize>::start(2, 2, &factory).is_err());
    }

    #[test]
    fn an_engine_that_cannot_be_made_anew_fails_its_jobs_and_no_more() {
        let made = AtomicU64::new(0);
        let factory: EngineFactory = Arc::new(move || match made.fetch_add(1, Ordering::Relaxed) {
            1 => panic!("scripted"),
            _ => Ok(Box::new(Counting(bounded(0).1))),
        });
        let pool = Pool::start(1, 10, &factory).unwrap();
        let (reply, answers) = bounded(10);
        for n in [13, 16, 17] {
            pool.handle().offer(n, vec![0; n], &reply).unwrap();
        }
        let results: Vec<_> = (0..3).map(|_| answers.recv().unwrap().result).collect();
        assert!(results[0].is_err() && results[1].is_err());
        assert_eq!(results[2].as_ref().unwrap().text, "17");
    }
}
