//! The worker processes behind a pool: all with one model, and another model at any time.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::pace::Pace;
use super::pool::{EngineFactory, Pool, PoolConfig};
pub use super::process::ProcessStats;
use super::process::{Lost, Process};
pub use super::program::Program;
use crate::speech::model::Model;
use crate::speech::{Choices, Recognition, TranscribeError, Transcriber};

/// A model up to this size is loaded by each worker for itself; of larger ones memory
/// holds one copy, and the workers are threads of one process.
pub const LARGE_MODEL: u64 = 300 << 20;

/// How often a job that a process was lost with is tried again.
const RETRIES: u32 = 2;

/// How long a worker in the background may take for a job: others may leave it next to no time.
const BACKGROUND_PATIENCE: Duration = Duration::from_secs(600);

/// How long a job waits for a process to come up, beside what it takes itself: a large model
/// takes its time.
const START_PATIENCE: Duration = Duration::from_secs(300);

/// Starts worker processes, and has others take their place.
#[derive(Debug)]
pub struct Recogniser {
    program: Program,
    workers: usize,
    stats: Arc<ProcessStats>,
    /// Whether the model in use takes a whole window for every utterance, so that several
    /// in one are cheaper.
    packs: Arc<AtomicBool>,
    crew: Mutex<Arc<Crew>>,
}

/// Processes with the same model.
#[derive(Debug)]
struct Crew {
    model: Arc<Model>,
    processes: Vec<Process>,
    pace: Mutex<Pace>,
    in_background: bool,
}

impl Recogniser {
    /// Starts processes for so many workers and waits until they have loaded the model.
    ///
    /// # Errors
    /// They do not start, or do not take the model.
    pub fn start(
        program: Program,
        model: Model,
        workers: usize,
    ) -> Result<Arc<Self>, TranscribeError> {
        let stats = Arc::new(ProcessStats::default());
        let crew = Crew::start(&program, model, workers, &stats)?;
        let packs = Arc::new(AtomicBool::new(crew.packs()));
        Ok(Arc::new(Self {
            program,
            workers,
            stats,
            packs,
            crew: Mutex::new(Arc::new(crew)),
        }))
    }

    /// A pool of these workers.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn pool<T: Send + 'static>(
        self: &Arc<Self>,
        queue: usize,
        max_age: Option<Duration>,
    ) -> Result<Pool<T>, TranscribeError> {
        let recogniser = Arc::clone(self);
        let factory: EngineFactory = Arc::new(move |number| Ok(recogniser.engine(number)));
        let config = PoolConfig {
            workers: self.workers,
            queue,
            max_age,
            packs: false,
        };
        Pool::start_for(config, &factory, Arc::clone(&self.packs))
    }

    /// A way to the process of the worker of that number.
    pub(super) fn engine(self: &Arc<Self>, number: usize) -> Box<dyn Transcriber> {
        let recogniser = Arc::clone(self);
        Box::new(Remote { recogniser, number })
    }

    /// Lets processes with another model take over; those with the old one finish what they
    /// have. Blocks until the new model is loaded.
    ///
    /// # Errors
    /// The new model is not taken; the old one stays.
    pub fn switch(&self, model: Model) -> Result<(), TranscribeError> {
        let crew = Crew::start(&self.program, model, self.workers, &self.stats)?;
        let packs = crew.packs();
        let mut current = self.crew.lock().unwrap_or_else(PoisonError::into_inner);
        let old = mem::replace(&mut *current, Arc::new(crew));
        self.packs.store(packs, Ordering::Relaxed);
        // Without the lock: its processes are waited for.
        drop(current);
        drop(old);
        Ok(())
    }

    /// Ends all processes; what they have at hand is lost with them, and nothing is tried again.
    pub fn stop(&self) {
        self.current().processes.iter().for_each(Process::stop);
    }

    /// The model in use.
    pub fn model(&self) -> Arc<Model> {
        Arc::clone(&self.current().model)
    }

    /// Processes that are up, and how many there should be.
    pub fn up(&self) -> (usize, usize) {
        let crew = self.current();
        let up = crew.processes.iter().filter(|process| process.is_up());
        (up.count(), crew.processes.len())
    }

    /// Figures of all processes so far.
    pub fn stats(&self) -> &ProcessStats {
        &self.stats
    }

    fn current(&self) -> Arc<Crew> {
        Arc::clone(&self.crew.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Crew {
    fn start(
        program: &Program,
        model: Model,
        workers: usize,
        stats: &Arc<ProcessStats>,
    ) -> Result<Self, TranscribeError> {
        let model = Arc::new(model);
        let (processes, threads) = if model.bytes > LARGE_MODEL {
            (1, workers)
        } else {
            (workers, 1)
        };
        let start = |_| {
            let (program, model) = (program.clone(), Arc::clone(&model));
            Process::start(program, model, threads, Arc::clone(stats))
        };
        let processes = (0..processes).map(start).collect::<io::Result<Vec<_>>>();
        let processes = processes.map_err(|error| TranscribeError(error.to_string()))?;
        for process in &processes {
            process.ready().map_err(TranscribeError)?;
        }
        let pace = Mutex::new(Pace::of_model(&model.header));
        Ok(Self {
            model,
            processes,
            pace,
            in_background: program.in_background,
        })
    }

    fn packs(&self) -> bool {
        !self.model.fits_audio_ctx()
    }

    /// Recognises a job at the process of a worker; one that is lost with it is tried again.
    fn recognise(
        &self,
        worker: usize,
        samples: &[i16],
        choices: &Choices,
    ) -> Result<Recognition, TranscribeError> {
        let process = &self.processes[worker % self.processes.len()];
        // Whoever has work in the background sees for itself when it is tried again.
        let (retries, least_patience) = match self.in_background {
            true => (0, BACKGROUND_PATIENCE),
            false => (RETRIES, Duration::ZERO),
        };
        let mut lost = 0;
        loop {
            let patience = self.pace().patience().max(least_patience);
            match process.recognise(samples, choices, patience, START_PATIENCE, lost > 0) {
                Ok((result, took)) => {
                    if result.is_ok() {
                        self.pace().observe(took);
                    }
                    return result.map_err(TranscribeError);
                }
                Err(why @ Lost::NotUp(_)) => return Err(TranscribeError(why.to_string())),
                Err(why) => {
                    if matches!(why, Lost::Stuck(_)) {
                        self.pace().was_stuck();
                    }
                    lost += 1;
                    let samples = samples.len();
                    tracing::warn!(%why, lost, samples, "a recognition job was lost with its worker");
                    if lost > retries {
                        let why = format!("{why}, {lost} times with the same job");
                        return Err(TranscribeError(why));
                    }
                }
            }
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker's engine: one thread's way to its process.
struct Remote {
    recogniser: Arc<Recogniser>,
    number: usize,
}

impl Transcriber for Remote {
    fn transcribe(
        &mut self,
        samples: &[i16],
        choices: &Choices,
    ) -> Result<Recognition, TranscribeError> {
        // The crew of now, for the whole of this job: a switch does not take it away.
        let crew = self.recogniser.current();
        crew.recognise(self.number, samples, choices)
    }
}

impl ProcessStats {
    /// Ends that nobody asked for, and those of stuck ones among them.
    pub fn ends(&self) -> (u64, u64) {
        (
            self.crashed.load(Ordering::Relaxed),
            self.stuck.load(Ordering::Relaxed),
        )
    }
}
