//! A worker process that is up: jobs go to it, answers come back to whoever waits for them.

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use asterscribe_speech::Recognition;
use crossbeam_channel::Sender;

use super::process::LostJob;
use super::wire::{self, JobOrder, WorkerOrder, WorkerReport};
use crate::UtteranceRef;

type LinkAnswers = HashMap<u64, Sender<Result<Recognition, String>>>;

/// A process that is up.
#[derive(Debug)]
pub(super) struct ProcessLink {
    to: Mutex<UnixStream>,
    child: Mutex<Child>,
    /// `None` once it has ended.
    waiting: Mutex<Option<LinkAnswers>>,
    done: AtomicU64,
}

impl ProcessLink {
    /// A process that has said that it is ready, and the socket that leads to it.
    pub(super) fn new(to: UnixStream, child: Child) -> Self {
        Self {
            to: Mutex::new(to),
            child: Mutex::new(child),
            waiting: Mutex::new(Some(HashMap::new())),
            done: AtomicU64::new(0),
        }
    }

    pub(super) fn expect(
        &self,
        id: u64,
        answer: Sender<Result<Recognition, String>>,
    ) -> Result<(), LostJob> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = waiting.as_mut().ok_or(LostJob::Ended)?;
        waiting.insert(id, answer);
        Ok(())
    }

    /// Sends jobs, numbered from `first`. A process that does not take them is of no more use.
    pub(super) fn send(&self, first: u64, utterances: &[UtteranceRef<'_>]) {
        let jobs = (first..).zip(utterances).map(|(id, utterance)| JobOrder {
            id,
            samples: utterance.samples.len(),
            choices: utterance.choices.clone(),
        });
        let order = WorkerOrder::Jobs(jobs.collect());
        let samples: Vec<_> = utterances.iter().map(|one| one.samples).collect();
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = wire::write(&mut *to, &order, &samples) {
            tracing::warn!(%error, "a recognition worker takes no work");
            self.kill();
        }
    }

    pub(super) fn kill(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = child.kill() {
            tracing::error!(%error, "cannot kill a recognition worker");
        }
    }

    /// Hands answers on until the process ends.
    pub(super) fn listen(&self, from: &mut BufReader<UnixStream>) -> io::Result<()> {
        while let Some(report) = wire::read(from)? {
            let WorkerReport::Done { id, result } = report else {
                return Err(io::Error::other("it said that it is ready a second time"));
            };
            self.done.fetch_add(1, Ordering::Relaxed);
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let asker = waiting.as_mut().and_then(|waiting| waiting.remove(&id));
            if let Some(asker) = asker {
                // It may have lost its patience meanwhile.
                let _unheard = asker.send(result);
            }
        }
        Ok(())
    }

    /// Jobs that it has done.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits for its end.
    pub(super) fn wait(&self) -> io::Result<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.wait()
    }

    /// Those who wait for an answer learn that none will come.
    pub(super) fn end(&self) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
