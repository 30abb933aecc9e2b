//! A thread with an engine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use asterscribe_speech::{Recognition, peak_dbfs};
use crossbeam_channel::{Receiver, Sender};

use super::{EngineFactory, JobAnswer, JobBatch, NotRecognised, PoolJob, PoolStats, send};
use crate::pack;
use crate::queue::{JobUrgency, RecognitionTask};
use crate::{TranscribeError, Transcriber};

/// Worker thread of a pool.
pub(super) struct PoolWorker<T> {
    number: usize,
    factory: EngineFactory,
    jobs: Receiver<JobBatch<T>>,
    free: Sender<usize>,
    stats: Arc<PoolStats>,
}

impl<T> PoolWorker<T> {
    /// The worker of that number.
    pub(super) fn new(
        number: usize,
        factory: EngineFactory,
        jobs: Receiver<JobBatch<T>>,
        free: Sender<usize>,
        stats: Arc<PoolStats>,
    ) -> Self {
        Self {
            number,
            factory,
            jobs,
            free,
            stats,
        }
    }

    /// Makes its engine, says so, and works until no job will come.
    pub(super) fn run(self, ready: &Sender<Result<(), TranscribeError>>) {
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
            let Ok(batch) = self.jobs.recv() else { return };
            let results = self.recognise_batch(&mut engine, &batch);
            for (job, result) in batch.jobs.into_iter().zip(results) {
                if let Ok(recognition) = &result {
                    self.stats.count_retries(recognition);
                }
                let counter = match (&result, job.task.urgency) {
                    (Ok(_), JobUrgency::Partial) => Some(&self.stats.partials),
                    (Err(_), JobUrgency::Final | JobUrgency::Backlog) => Some(&self.stats.failed),
                    _ => None,
                };
                if let Some(counter) = counter {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                // What is broken off at the end may be done later, as what still waits then.
                let is_broken_off = result.is_err() && self.stats.is_letting_go();
                let (result, samples) = if is_broken_off {
                    (Err(NotRecognised::TooOld), job.task.samples)
                } else {
                    (result.map_err(NotRecognised::Failed), Vec::new())
                };
                let answer = JobAnswer {
                    ticket: job.ticket,
                    urgency: job.task.urgency,
                    result,
                    samples,
                };
                send(answer, &job.reply);
            }
        }
    }

    /// All in one window if that can be taken apart again, else each in its own.
    fn recognise_batch(
        &self,
        engine: &mut Option<Box<dyn Transcriber>>,
        batch: &JobBatch<T>,
    ) -> Vec<Result<Recognition, TranscribeError>> {
        let jobs = &batch.jobs;
        if batch.is_packed
            && jobs.len() > 1
            && let Some(parts) = self.recognise_packed(engine, jobs)
        {
            self.stats
                .packed
                .fetch_add(jobs.len() as u64, Ordering::Relaxed);
            // A window in which the engine stopped early says nothing of the rest.
            let parts = parts.into_iter().zip(jobs);
            let parts = parts.map(|(part, job)| match part.text.is_empty() {
                true => self.recognise(engine, &job.task),
                false => Ok(part),
            });
            return parts.collect();
        }
        if jobs.len() > 1 {
            self.stats
                .together
                .fetch_add(jobs.len() as u64, Ordering::Relaxed);
        }
        let utterances: Vec<_> = jobs.iter().map(PoolJob::utterance).collect();
        self.with_engine(engine, |engine| engine.transcribe_together(&utterances))
            .unwrap_or_else(|error| jobs.iter().map(|_| Err(error.clone())).collect())
    }

    fn recognise_packed(
        &self,
        engine: &mut Option<Box<dyn Transcriber>>,
        jobs: &[PoolJob<T>],
    ) -> Option<Vec<Recognition>> {
        let samples = || jobs.iter().map(|job| job.task.samples.as_slice());
        let window = RecognitionTask {
            samples: pack::pack(samples()),
            choices: Arc::clone(&jobs[0].task.choices),
            ..jobs[0].task
        };
        let heard = self.recognise(engine, &window).ok()?;
        let lengths: Vec<_> = samples().map(<[i16]>::len).collect();
        let mut parts = pack::unpack(&heard, &lengths)?;
        for (part, samples) in parts.iter_mut().zip(samples()) {
            part.peak_dbfs = peak_dbfs(samples);
        }
        Some(parts)
    }

    fn make_engine(&self) -> Result<Box<dyn Transcriber>, TranscribeError> {
        catch_unwind(AssertUnwindSafe(|| (self.factory)(self.number))).unwrap_or_else(|_| {
            let reason = "the engine panicked while it was made".to_owned();
            Err(TranscribeError(reason))
        })
    }

    fn recognise(
        &self,
        engine: &mut Option<Box<dyn Transcriber>>,
        task: &RecognitionTask,
    ) -> Result<Recognition, TranscribeError> {
        self.with_engine(engine, |engine| {
            engine.transcribe(&task.samples, &task.choices)
        })?
    }

    /// A panic in the engine costs the jobs at hand; the next ones get a new engine.
    fn with_engine<R>(
        &self,
        engine: &mut Option<Box<dyn Transcriber>>,
        work: impl FnOnce(&mut dyn Transcriber) -> R,
    ) -> Result<R, TranscribeError> {
        let mut current = match engine.take() {
            Some(engine) => engine,
            None => self.make_engine()?,
        };
        match catch_unwind(AssertUnwindSafe(|| work(&mut *current))) {
            Ok(result) => {
                *engine = Some(current);
                Ok(result)
            }
            Err(_) => {
                tracing::error!("the speech engine panicked; creating a new one");
                Err(TranscribeError("the engine panicked".to_owned()))
            }
        }
    }
}
