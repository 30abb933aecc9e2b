//! The worker's side: a process that loads a model, recognises what it is handed, and
//! knows nothing of calls.
//!
//! It crashes rather than carry on: whoever started it starts it again, and knows what
//! it was doing. It ends when the server does, however that ends.

use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use asterscribe_speech::DecodeOptions;
use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::process::nice;

use super::wire::{self, JobOrder, WorkerOrder, WorkerReport};
pub use super::wire::{ModelPlace, WorkerStart};
use crate::engine::{EngineConfig, LoadedModel};
use crate::model::SpeechModel;
use crate::{TranscribeError, Transcriber, UtteranceRef};

/// Where a worker finds the file of its model: the server hands it down open.
const MODEL_FD: &str = "/proc/self/fd/1";

/// How much nicer than others a worker in the background is: as much as can be.
const LEAST: i32 = 19;

/// Exit status after a panic.
const PANICKED: i32 = 70;

/// Makes an engine for one thread.
pub type MakeEngine = dyn Fn() -> Result<Box<dyn Transcriber>, TranscribeError> + Send + Sync;

/// Works for the server at the other end of standard input until it closes that.
///
/// # Errors
/// What was said cannot be understood, or nobody is there.
pub fn run() -> io::Result<()> {
    run_with(load)
}

/// Runs a worker with another engine, for tests of what a worker can do wrong.
///
/// # Errors
/// As for [`run`].
pub fn run_with(
    load: impl FnOnce(&WorkerStart) -> Result<Box<MakeEngine>, String>,
) -> io::Result<()> {
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut from = BufReader::new(stream.try_clone()?);
    let to = Arc::new(Mutex::new(stream));
    let Some(WorkerOrder::Start(start)) = wire::read(&mut from)? else {
        return Err(io::Error::other("this is for asterscribe itself to start"));
    };
    if start.in_background
        && let Err(error) = nice(LEAST)
    {
        // It works all the same, and others have less of the processor.
        tracing::warn!(%error, "cannot lower the priority of a background worker");
    }
    let (groups, taken) = bounded(start.threads);
    let started = load(&start).and_then(|make| start_engines(&start, make, &taken, &to));
    match started {
        Ok(()) => say(&to, &WorkerReport::Ready)?,
        Err(reason) => return say(&to, &WorkerReport::Refused(reason)),
    }
    take_jobs(&mut from, &groups)
}

/// A job that waits for an engine.
struct WorkerJob {
    id: u64,
    samples: Vec<i16>,
    choices: DecodeOptions,
}

impl WorkerJob {
    fn utterance(&self) -> UtteranceRef<'_> {
        UtteranceRef {
            samples: &self.samples,
            choices: &self.choices,
        }
    }
}

/// Loads the model and makes Whisper engines of it.
///
/// # Errors
/// It is no usable model.
pub fn load(start: &WorkerStart) -> Result<Box<MakeEngine>, String> {
    let sha256 = &start.sha256;
    let model = match &start.model {
        ModelPlace::BuiltIn => SpeechModel::demo(),
        ModelPlace::File { name } => SpeechModel::handed_down(Path::new(MODEL_FD), name, sha256),
        ModelPlace::Folder { name, path, files } => {
            SpeechModel::checked_before(path, files, name, sha256)
        }
    };
    let config = EngineConfig {
        transcribers: start.threads,
        margins: start.margins.clone(),
        ..EngineConfig::default()
    };
    let loaded = model.and_then(|model| LoadedModel::load(model, config));
    let loaded = loaded.map_err(|error| error.to_string())?;
    Ok(Box::new(move || Ok(Box::new(loaded.transcriber()?))))
}

fn start_engines(
    start: &WorkerStart,
    make: Box<MakeEngine>,
    groups: &Receiver<Vec<WorkerJob>>,
    to: &Arc<Mutex<UnixStream>>,
) -> Result<(), String> {
    let make = Arc::new(make);
    let (ready, started) = bounded(start.threads);
    for n in 0..start.threads {
        let (make, groups, to, ready) = (
            Arc::clone(&make),
            groups.clone(),
            Arc::clone(to),
            ready.clone(),
        );
        let work = move || {
            let engine = (*make)().map_err(|error| error.to_string());
            match engine {
                Ok(engine) => {
                    let _unheard = ready.send(Ok(()));
                    recognise(engine, &groups, &to);
                }
                Err(reason) => {
                    let _unheard = ready.send(Err(reason));
                }
            }
        };
        let thread = thread::Builder::new().name(format!("whisper-{n}"));
        thread
            .spawn(move || crash_on_panic(work))
            .map_err(|error| format!("cannot start a thread: {error}"))?;
    }
    for _ in 0..start.threads {
        started.recv().map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// A thread that is gone would leave its jobs unanswered; a process that is gone is noticed.
fn crash_on_panic(work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        process::exit(PANICKED);
    }
}

fn recognise(
    mut engine: Box<dyn Transcriber>,
    groups: &Receiver<Vec<WorkerJob>>,
    to: &Mutex<UnixStream>,
) {
    for group in groups {
        let utterances: Vec<_> = group.iter().map(WorkerJob::utterance).collect();
        let results = engine.transcribe_together(&utterances);
        for (job, result) in group.iter().zip(results) {
            let done = WorkerReport::Done {
                id: job.id,
                result: result.map_err(|error| error.0),
            };
            if say(to, &done).is_err() {
                // Nobody is left to work for.
                process::exit(0);
            }
        }
    }
}

/// Hands jobs to the engines until the server closes its end; then there is nobody to
/// finish anything for.
fn take_jobs(from: &mut impl Read, groups: &Sender<Vec<WorkerJob>>) -> io::Result<()> {
    while let Some(order) = wire::read(from)? {
        let WorkerOrder::Jobs(orders) = order else {
            return Err(io::Error::other("told to start a second time"));
        };
        let read = |order: JobOrder| -> io::Result<WorkerJob> {
            Ok(WorkerJob {
                id: order.id,
                samples: wire::read_samples(from, order.samples)?,
                choices: order.choices,
            })
        };
        let group = orders.into_iter().map(read).collect::<io::Result<_>>()?;
        groups.send(group).map_err(io::Error::other)?;
    }
    Ok(())
}

fn say(to: &Mutex<UnixStream>, report: &WorkerReport) -> io::Result<()> {
    let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
    wire::write(&mut *to, report, &[])
}
