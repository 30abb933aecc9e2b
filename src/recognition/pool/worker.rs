//! A thread with an engine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};

use super::{Answer, Batch, EngineFactory, Job, PoolStats, Unrecognised, send};
use crate::recognition::pack;
use crate::recognition::queue::{Task, Urgency};
use crate::speech::{Recognition, TranscribeError, Transcriber, peak_dbfs};

/// One of a pool's workers.
pub(super) struct Worker<T> {
    number: usize,
    factory: EngineFactory,
    jobs: Receiver<Batch<T>>,
    free: Sender<usize>,
    stats: Arc<PoolStats>,
}

impl<T> Worker<T> {
    /// The worker of that number.
    pub(super) fn new(
        number: usize,
        factory: EngineFactory,
        jobs: Receiver<Batch<T>>,
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
            for (job, result) in batch.into_iter().zip(results) {
                let counter = match (&result, job.task.urgency) {
                    (Ok(_), Urgency::Partial) => Some(&self.stats.partials),
                    (Err(_), Urgency::Final | Urgency::Backlog) => Some(&self.stats.failed),
                    _ => None,
                };
                if let Some(counter) = counter {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                let result = result.map_err(Unrecognised::Failed);
                let answer = Answer {
                    ticket: job.ticket,
                    urgency: job.task.urgency,
                    result,
                    samples: Vec::new(),
                };
                send(answer, &job.reply);
            }
        }
    }

    /// All in one window if that can be taken apart again, else one after the other.
    fn recognise_batch(
        &self,
        engine: &mut Option<Box<dyn Transcriber>>,
        batch: &[Job<T>],
    ) -> Vec<Result<Recognition, TranscribeError>> {
        if batch.len() > 1
            && let Some(parts) = self.recognise_together(engine, batch)
        {
            self.stats
                .packed
                .fetch_add(batch.len() as u64, Ordering::Relaxed);
            // A window in which the engine stopped early says nothing of the rest.
            let parts = parts.into_iter().zip(batch);
            let parts = parts.map(|(part, job)| match part.text.is_empty() {
                true => self.recognise(engine, &job.task),
                false => Ok(part),
            });
            return parts.collect();
        }
        let one_by_one = batch.iter().map(|job| self.recognise(engine, &job.task));
        one_by_one.collect()
    }

    fn recognise_together(
        &self,
        engine: &mut Option<Box<dyn Transcriber>>,
        batch: &[Job<T>],
    ) -> Option<Vec<Recognition>> {
        let samples = || batch.iter().map(|job| job.task.samples.as_slice());
        let window = Task {
            samples: pack::pack(samples()),
            choices: Arc::clone(&batch[0].task.choices),
            ..batch[0].task
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
