//! The worker processes behind a pool: all with one model, and another model at any time.

use std::io;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use asterscribe_speech::{DecodeOptions, Recognition};

use super::batching::{SharedBatching, WorkerBatching};
use super::pool::{EngineFactory, PoolConfig, RecognitionPool};
pub use super::process::ProcessStats;
use super::process::{LostJob, WorkerProcess};
pub use super::program::WorkerProgram;
use super::watchdog::WatchdogEstimate;
use crate::ladder::ContextMargins;
use crate::model::SpeechModel;
use crate::{TranscribeError, Transcriber, UtteranceRef};

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
pub struct WorkerStarter {
    program: WorkerProgram,
    workers: usize,
    stats: Arc<ProcessStats>,
    /// Batching for the model in use.
    batching: SharedBatching,
    worker_set: Mutex<Arc<WorkerSet>>,
}

/// Worker processes with one model.
#[derive(Debug)]
struct WorkerSet {
    model: Arc<SpeechModel>,
    processes: Vec<WorkerProcess>,
    pace: Mutex<WatchdogEstimate>,
    in_background: bool,
}

impl WorkerStarter {
    /// Starts processes for so many workers and waits until they have loaded the model.
    ///
    /// # Errors
    /// They do not start, or do not take the model.
    pub fn start(
        program: WorkerProgram,
        model: SpeechModel,
        workers: usize,
    ) -> Result<Arc<Self>, TranscribeError> {
        let stats = Arc::new(ProcessStats::default());
        let worker_set = WorkerSet::start(&program, model, workers, &stats)?;
        let batching = SharedBatching::new(WorkerBatching::of(
            &worker_set.model,
            program.margins.as_ref(),
        ));
        Ok(Arc::new(Self {
            program,
            workers,
            stats,
            batching,
            worker_set: Mutex::new(Arc::new(worker_set)),
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
    ) -> Result<RecognitionPool<T>, TranscribeError> {
        let recogniser = Arc::clone(self);
        let factory: EngineFactory = Arc::new(move |number| Ok(recogniser.engine(number)));
        let config = PoolConfig {
            workers: self.workers,
            queue,
            max_age,
        };
        RecognitionPool::start_for(config, &factory, self.batching.clone())
    }

    /// An engine that works in the process of worker `number`.
    pub(super) fn engine(self: &Arc<Self>, number: usize) -> Box<dyn Transcriber> {
        let recogniser = Arc::clone(self);
        Box::new(RemoteEngine { recogniser, number })
    }

    /// Switches to another model: its processes take over, and those with the old model finish what
    /// they have. Blocks until the new model is loaded.
    ///
    /// # Errors
    /// The new model is not taken; the old one stays.
    pub fn switch(&self, model: SpeechModel) -> Result<(), TranscribeError> {
        let worker_set = WorkerSet::start(&self.program, model, self.workers, &self.stats)?;
        let batching = WorkerBatching::of(&worker_set.model, self.program.margins.as_ref());
        let mut current = self
            .worker_set
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let old = mem::replace(&mut *current, Arc::new(worker_set));
        self.batching.set(batching);
        // Without the lock: its processes are waited for.
        drop(current);
        drop(old);
        Ok(())
    }

    /// Ends all processes; jobs in progress are lost with them, and not tried again.
    pub fn stop(&self) {
        self.current()
            .processes
            .iter()
            .for_each(WorkerProcess::stop);
    }

    /// Number of workers that recognise at the same time.
    pub(super) fn workers(&self) -> usize {
        self.workers
    }

    /// Way in which utterances are handed to a worker.
    pub(super) fn batching(&self) -> WorkerBatching {
        self.batching.get()
    }

    /// The model in use.
    pub fn model(&self) -> Arc<SpeechModel> {
        Arc::clone(&self.current().model)
    }

    /// Encoder positions behind an utterance, for each try before the whole window.
    pub fn margins(&self) -> ContextMargins {
        ContextMargins::chosen(self.program.margins.as_ref(), &self.current().model)
    }

    /// Processes that are up, and how many there should be.
    pub fn up(&self) -> (usize, usize) {
        let worker_set = self.current();
        let up = worker_set
            .processes
            .iter()
            .filter(|process| process.is_up());
        (up.count(), worker_set.processes.len())
    }

    /// Figures of all processes since the start.
    pub fn stats(&self) -> &ProcessStats {
        &self.stats
    }

    fn current(&self) -> Arc<WorkerSet> {
        Arc::clone(
            &self
                .worker_set
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl WorkerSet {
    fn start(
        program: &WorkerProgram,
        model: SpeechModel,
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
            WorkerProcess::start(program, model, threads, Arc::clone(stats))
        };
        let processes = (0..processes).map(start).collect::<io::Result<Vec<_>>>();
        let processes = processes.map_err(|error| TranscribeError(error.to_string()))?;
        for process in &processes {
            process.ready().map_err(TranscribeError)?;
        }
        let pace = Mutex::new(WatchdogEstimate::of_model(&model.header));
        Ok(Self {
            model,
            processes,
            pace,
            in_background: program.in_background,
        })
    }

    /// Recognises utterances at the process of a worker. Those that are lost with it are tried
    /// again one by one, since one of them may be why it was lost.
    fn recognise(
        &self,
        worker: usize,
        utterances: &[UtteranceRef<'_>],
    ) -> Vec<Result<Recognition, TranscribeError>> {
        let process = &self.processes[worker % self.processes.len()];
        if let [utterance] = utterances {
            return vec![self.recognise_one(process, utterance, 0)];
        }
        let count = u32::try_from(utterances.len()).unwrap_or(u32::MAX).max(1);
        let patience = self.patience() * count;
        match process.recognise(utterances, patience, START_PATIENCE, false) {
            Ok((results, took)) => {
                self.pace().observe(took / count);
                let results = results.into_iter();
                results
                    .map(|result| result.map_err(TranscribeError))
                    .collect()
            }
            Err(why @ LostJob::NotUp(_)) => {
                let failed = Err(TranscribeError(why.to_string()));
                vec![failed; utterances.len()]
            }
            Err(why) => {
                let lost = self.note_loss(&why, utterances.len());
                let again = utterances.iter();
                again
                    .map(|utterance| self.recognise_one(process, utterance, lost))
                    .collect()
            }
        }
    }

    /// Recognises one utterance that was lost so often before.
    fn recognise_one(
        &self,
        process: &WorkerProcess,
        utterance: &UtteranceRef<'_>,
        mut lost: u32,
    ) -> Result<Recognition, TranscribeError> {
        // Whoever has work in the background sees for itself when it is tried again.
        let retries = if self.in_background { 0 } else { RETRIES };
        loop {
            let patience = self.patience();
            let utterance = std::slice::from_ref(utterance);
            match process.recognise(utterance, patience, START_PATIENCE, lost > 0) {
                Ok((results, took)) => {
                    let result = results.into_iter().next();
                    let result = result.unwrap_or_else(|| Err("it gave no answer".to_owned()));
                    if result.is_ok() {
                        self.pace().observe(took);
                    }
                    return result.map_err(TranscribeError);
                }
                Err(why @ LostJob::NotUp(_)) => return Err(TranscribeError(why.to_string())),
                Err(why) => {
                    lost += self.note_loss(&why, 1);
                    if lost > retries {
                        let why = format!("{why}, {lost} times with the same job");
                        return Err(TranscribeError(why));
                    }
                }
            }
        }
    }

    /// Time allowed for an answer.
    fn patience(&self) -> Duration {
        let least = if self.in_background {
            BACKGROUND_PATIENCE
        } else {
            Duration::ZERO
        };
        self.pace().patience().max(least)
    }

    /// Notes that jobs were lost with their process; how often that counts for each of them.
    fn note_loss(&self, why: &LostJob, jobs: usize) -> u32 {
        if matches!(why, LostJob::Stuck(_)) {
            self.pace().was_stuck();
        }
        tracing::warn!(%why, jobs, "recognition jobs were lost with their worker");
        1
    }

    fn pace(&self) -> MutexGuard<'_, WatchdogEstimate> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker's engine: one thread's way to its process.
struct RemoteEngine {
    recogniser: Arc<WorkerStarter>,
    number: usize,
}

impl Transcriber for RemoteEngine {
    fn transcribe(
        &mut self,
        samples: &[i16],
        choices: &DecodeOptions,
    ) -> Result<Recognition, TranscribeError> {
        let utterance = UtteranceRef { samples, choices };
        let mut results = self.transcribe_together(&[utterance]);
        let result = results.pop();
        result.unwrap_or_else(|| Err(TranscribeError("no answer came".to_owned())))
    }

    fn transcribe_together(
        &mut self,
        utterances: &[UtteranceRef<'_>],
    ) -> Vec<Result<Recognition, TranscribeError>> {
        // The worker set of now, for the whole of these jobs: a switch does not take it away.
        let worker_set = self.recogniser.current();
        worker_set.recognise(self.number, utterances)
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
