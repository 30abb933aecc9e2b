//! One worker process: started, listened to, killed when it is stuck, started again.

use std::io::{self, BufReader};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use asterscribe_clock as clock;
use asterscribe_speech::Recognition;
use crossbeam_channel::{RecvTimeoutError, bounded};

use super::link::ProcessLink;
use super::program::WorkerProgram;
use super::wire::{self, ModelPlace, WorkerOrder, WorkerReport, WorkerStart};
use crate::UtteranceRef;
use crate::engine;
use crate::model::{ModelSource, SpeechModel};

/// How long a model may take to load: gigabytes from a slow disk.
const LOAD_PATIENCE: Duration = Duration::from_secs(300);

/// How long a worker may take to read what it is sent.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Time before the second start in a row that came to nothing, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why a job came back without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LostJob {
    /// The process ended.
    #[error("the recognition worker ended")]
    Ended,
    /// The process did not answer in time and was killed.
    #[error("the recognition worker was stuck for {} s and was killed", .0.as_secs())]
    Stuck(Duration),
    /// There is none, and none came up in time.
    #[error("no recognition worker: {0}")]
    NotUp(String),
}

/// Figures of all processes.
#[derive(Debug, Default)]
pub struct ProcessStats {
    /// Starts.
    pub started: AtomicU64,
    /// Ends that nobody asked for.
    pub crashed: AtomicU64,
    /// Killed because they were stuck.
    pub stuck: AtomicU64,
}

/// A worker process that is kept running. Dropping it ends it.
#[derive(Debug)]
pub(super) struct WorkerProcess {
    shared: Arc<SharedProcess>,
    /// Held for reading by each job, for writing by one that was lost before: if it takes
    /// the process down again, it takes no other job along.
    alone: RwLock<()>,
    ids: AtomicU64,
    keeper: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct SharedProcess {
    state: Mutex<ProcessState>,
    changed: Condvar,
    stats: Arc<ProcessStats>,
}

#[derive(Debug, Default)]
struct ProcessState {
    link: Option<Arc<ProcessLink>>,
    /// Reason why there is no link.
    why_not: String,
    /// The model was refused: the next start would fare no better, but is tried all the same,
    /// for whoever started this is told and decides.
    refused: Option<String>,
    /// Of a process that loads its model: to cut it off by.
    loading: Option<UnixStream>,
    is_over: bool,
}

impl WorkerProcess {
    pub(super) fn start(
        program: WorkerProgram,
        model: Arc<SpeechModel>,
        threads: usize,
        stats: Arc<ProcessStats>,
    ) -> io::Result<Self> {
        let shared = Arc::new(SharedProcess {
            state: Mutex::default(),
            changed: Condvar::new(),
            stats,
        });
        let keeper = ProcessSupervisor {
            shared: Arc::clone(&shared),
            program,
            model,
            threads,
        };
        let thread = thread::Builder::new().name("speech-keeper".to_owned());
        Ok(Self {
            shared,
            alone: RwLock::new(()),
            ids: AtomicU64::new(0),
            keeper: Some(thread.spawn(move || keeper.run())?),
        })
    }

    /// Waits for the first start.
    ///
    /// # Errors
    /// What came of it instead.
    pub(super) fn ready(&self) -> Result<(), String> {
        let mut state = self.shared.lock();
        loop {
            if state.link.is_some() {
                return Ok(());
            }
            if let Some(reason) = &state.refused {
                return Err(reason.clone());
            }
            state = self
                .shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether it is up.
    pub(super) fn is_up(&self) -> bool {
        self.shared.lock().link.is_some()
    }

    /// Recognises utterances together; blocks for as long as that takes, and at most for
    /// `patience` once a process is up, for which it waits for `start_patience`. Answers with
    /// what came of each, in their order, and with the time that they took.
    pub(super) fn recognise(
        &self,
        utterances: &[UtteranceRef<'_>],
        patience: Duration,
        start_patience: Duration,
        was_lost: bool,
    ) -> Result<(Vec<Result<Recognition, String>>, Duration), LostJob> {
        let (_shared, _alone);
        if was_lost {
            _alone = self.alone.write().unwrap_or_else(PoisonError::into_inner);
        } else {
            _shared = self.alone.read().unwrap_or_else(PoisonError::into_inner);
        }
        let link = self.shared.link(clock::now() + start_patience)?;
        let asked = clock::now();
        let until = asked + patience;
        let count = utterances.len() as u64;
        let first = self.ids.fetch_add(count, Ordering::Relaxed);
        let expected = (first..first + count).map(|id| {
            let (answer, answered) = bounded(1);
            link.expect(id, answer).map(|()| answered)
        });
        let expected = expected.collect::<Result<Vec<_>, _>>()?;
        link.send(first, utterances);
        let mut results = Vec::with_capacity(utterances.len());
        for answered in expected {
            match answered.recv_deadline(until) {
                Ok(result) => results.push(result),
                Err(RecvTimeoutError::Disconnected) => return Err(LostJob::Ended),
                Err(RecvTimeoutError::Timeout) => {
                    self.shared.stats.stuck.fetch_add(1, Ordering::Relaxed);
                    link.kill();
                    self.shared.lose(&link);
                    return Err(LostJob::Stuck(patience));
                }
            }
        }
        Ok((results, clock::now().saturating_duration_since(asked)))
    }
}

impl WorkerProcess {
    /// Ends it for good; jobs that it has are lost. Its keeper is not waited for.
    pub(super) fn stop(&self) {
        let mut state = self.shared.lock();
        state.is_over = true;
        if let Some(link) = &state.link {
            link.kill();
        }
        if let Some(loading) = &state.loading
            && let Err(error) = loading.shutdown(Shutdown::Both)
        {
            tracing::debug!(%error, "a recognition worker had already gone");
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.stop();
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            tracing::error!("the supervisor of a recognition worker panicked");
        }
    }
}

impl SharedProcess {
    fn lock(&self) -> MutexGuard<'_, ProcessState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut ProcessState)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Nobody shall be given that process any more.
    fn lose(&self, link: &Arc<ProcessLink>) {
        self.change(|state| {
            state.link.take_if(|up| Arc::ptr_eq(up, link));
        });
    }

    /// The process, once it is up.
    fn link(&self, until: Instant) -> Result<Arc<ProcessLink>, LostJob> {
        let mut state = self.lock();
        loop {
            if let Some(link) = &state.link {
                return Ok(Arc::clone(link));
            }
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() || state.is_over {
                return Err(LostJob::NotUp(state.why_not.clone()));
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Starts the process, listens to it, and starts it again.
struct ProcessSupervisor {
    shared: Arc<SharedProcess>,
    program: WorkerProgram,
    model: Arc<SpeechModel>,
    threads: usize,
}

impl ProcessSupervisor {
    fn run(self) {
        let mut failures = 0u32;
        while !self.shared.lock().is_over {
            match self.launch() {
                Ok((link, mut from)) => {
                    let link = Arc::new(link);
                    self.shared.change(|state| {
                        if state.is_over {
                            link.kill();
                        }
                        state.link = Some(Arc::clone(&link));
                        state.refused = None;
                    });
                    let heard = link.listen(&mut from);
                    self.clear_away(&link, heard);
                    failures = match link.done() {
                        0 => failures + 1,
                        _ => 0,
                    };
                    // The first end may have been an accident: at once again.
                    self.pause(failures.saturating_sub(1));
                }
                Err(reason) => {
                    failures += 1;
                    self.shared.change(|state| {
                        if !state.is_over {
                            tracing::error!(
                                reason,
                                failures,
                                "a recognition worker does not start"
                            );
                        }
                        state.why_not.clone_from(&reason);
                        state.refused = Some(reason);
                    });
                    self.pause(failures);
                }
            }
        }
    }

    fn launch(&self) -> Result<(ProcessLink, BufReader<UnixStream>), String> {
        self.shared.stats.started.fetch_add(1, Ordering::Relaxed);
        let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        let child = self.spawn(theirs).map_err(|error| {
            let program = self.program.command.first();
            let program = program.map(|program| program.to_string_lossy());
            format!("{}: {error}", program.unwrap_or_default())
        })?;
        let mut child = ReapedChild(Some(child));
        let from = ours.try_clone().map_err(|error| error.to_string())?;
        let mut from = BufReader::new(from);
        self.loading(Some(ours.try_clone().map_err(|error| error.to_string())?))?;
        let greeted = self.greet(&ours, &mut from);
        self.loading(None)?;
        greeted?;
        let child = child.0.take().ok_or("it is gone")?;
        Ok((ProcessLink::new(ours, child), from))
    }

    /// By what it can be cut off while it loads; an error once it is over.
    fn loading(&self, stream: Option<UnixStream>) -> Result<(), String> {
        let mut state = self.shared.lock();
        state.loading = stream;
        if state.is_over {
            return Err("it is not needed any more".to_owned());
        }
        Ok(())
    }

    fn spawn(&self, theirs: UnixStream) -> io::Result<Child> {
        let [program, arguments @ ..] = self.program.command.as_slice() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let model = match &self.model.source {
            ModelSource::File { file, .. } => Stdio::from(file.try_clone()?),
            ModelSource::Folder(_) | ModelSource::BuiltIn(_) => Stdio::null(),
        };
        Command::new(program)
            .args(arguments)
            .envs(engine::process_environment())
            .stdin(OwnedFd::from(theirs))
            .stdout(model)
            // Not in our group: an interrupt from the keyboard is for the server to act on.
            .process_group(0)
            .spawn()
    }

    fn greet(&self, mut to: &UnixStream, from: &mut BufReader<UnixStream>) -> Result<(), String> {
        let start = WorkerStart {
            model: match &self.model.source {
                ModelSource::File { .. } => ModelPlace::File {
                    name: self.model.name.clone(),
                },
                ModelSource::Folder(folder) => ModelPlace::Folder {
                    name: self.model.name.clone(),
                    path: folder.path.clone(),
                    files: folder.files.clone(),
                },
                ModelSource::BuiltIn(_) => ModelPlace::BuiltIn,
            },
            sha256: self.model.sha256.clone(),
            margins: self.program.margins.clone(),
            threads: self.threads,
            in_background: self.program.in_background,
        };
        let greeted = || {
            to.set_write_timeout(Some(WRITE_PATIENCE))?;
            wire::write(&mut to, &WorkerOrder::Start(start), &[])?;
            from.get_ref().set_read_timeout(Some(LOAD_PATIENCE))?;
            let report = wire::read(from)?;
            from.get_ref().set_read_timeout(None)?;
            Ok(report)
        };
        match greeted().map_err(|error: io::Error| error.to_string())? {
            Some(WorkerReport::Ready) => Ok(()),
            Some(WorkerReport::Refused(reason)) => Err(reason),
            Some(WorkerReport::Done { .. }) => Err("it answered what nobody asked".to_owned()),
            None => Err("it ended while it loaded the model".to_owned()),
        }
    }

    /// The process has ended, or must.
    fn clear_away(&self, link: &ProcessLink, heard: io::Result<()>) {
        link.kill();
        let status = link.wait();
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let why = match heard {
            Ok(()) => status,
            Err(error) => format!("{error}; {status}"),
        };
        self.shared.change(|state| {
            state.link = None;
            state.why_not.clone_from(&why);
            if !state.is_over {
                self.shared.stats.crashed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(why, "a recognition worker ended; restarting it");
            }
        });
        link.end();
    }

    fn pause(&self, failures: u32) {
        let Some(doublings) = failures.checked_sub(1) else {
            return;
        };
        let pause = FIRST_PAUSE * 2u32.saturating_pow(doublings).min(1 << 10);
        let until = clock::now() + pause.min(LONGEST_PAUSE);
        let mut state = self.shared.lock();
        while !state.is_over {
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A child that is ended unless it is taken out.
struct ReapedChild(Option<Child>);

impl Drop for ReapedChild {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            tracing::error!(%error, "cannot end a recognition worker");
        }
    }
}
