//! What waits on the disk, recognised when there is time: a thread between the spool, a
//! recognition pool and the desk. One for what nobody has heard, and one, with workers of its
//! own, for what is to be heard once more.
//!
//! An utterance stays in the spool until the desk has written what was heard in it. So it may
//! be recognised twice, after a crash or where the store was away; the desk writes it once.

mod feeder;
mod second;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, bounded};
use tokio::sync::mpsc;

use self::feeder::{SpoolFeeder, SpoolReading};
use super::desk::LateText;
use super::media::JobTicket;
use crate::call::CallId;
use crate::recognition::on_demand::OnDemandWorker;
use crate::recognition::pool::{PoolHandle, PoolStats, RecognitionPool};
use crate::store::{RecognitionPass, SpeechSpool, SpoolId};

/// Utterances of the backlog in the pool at once: enough that no worker waits for the next,
/// and that some of a leg can share a window.
pub const AT_ONCE: usize = 16;

/// Utterances of the second pass that are out at once, by one worker.
const SECOND_AT_ONCE: usize = 2;

/// The result of recognising an utterance that had been kept.
#[derive(Debug)]
pub struct LateResult {
    /// Whose it is.
    pub call: CallId,
    /// What was heard, and where it is kept.
    pub found: LateText,
}

/// The outcome of a late result.
#[derive(Debug)]
pub enum LateOutcome {
    /// The result is stored.
    Done {
        /// The utterance.
        id: SpoolId,
        /// Whether it is kept on, to be heard once more.
        again: bool,
    },
    /// The result cannot be taken in now.
    Again(Box<LateResult>),
    /// The result is written and may not be stored yet: it is heard again, and then changes nothing.
    Unsure(SpoolId),
}

impl LateOutcome {
    /// The utterance.
    pub fn id(&self) -> SpoolId {
        match self {
            Self::Done { id, .. } | Self::Unsure(id) => *id,
            Self::Again(heard) => heard.found.id,
        }
    }
}

/// Answers of the desk on their way: more than it can have at hand.
const HANDLED: usize = 256;

/// The desk's ends of it.
#[derive(Debug)]
pub struct DeskEnds {
    /// What was heard.
    pub heard: mpsc::Receiver<LateResult>,
    /// What became of it.
    pub handled: Sender<LateOutcome>,
}

/// Says whether a call may be heard once more.
pub type MayBegin = dyn Fn(&CallId) -> Option<bool> + Send;

/// The work of the second pass: who hears what is to be heard once more, and when.
pub struct SecondWork {
    /// Those that hear it …
    pub workers: Arc<OnDemandWorker>,
    /// … and the way to them.
    pub pool: RecognitionPool<JobTicket>,
    /// How those are doing whose work comes first.
    pub live: Arc<PoolStats>,
    /// Whether nothing more will be said in a call, and what is heard of it can be written;
    /// `None` where nobody can say now, of any call. May block.
    pub may_begin: Box<MayBegin>,
    /// Set when a call ends.
    pub news: Arc<AtomicBool>,
}

impl std::fmt::Debug for SecondWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecondWork").finish_non_exhaustive()
    }
}

/// The running thread. Dropping it ends the thread; what it has in the pool is left there.
#[derive(Debug)]
pub struct LateRecognition {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LateRecognition {
    /// Starts it for what nobody has heard.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        spool: SpeechSpool,
        pool: PoolHandle<JobTicket>,
    ) -> std::io::Result<(Self, DeskEnds)> {
        Self::of(spool, pool, None)
    }

    /// Starts it for what is to be heard once more.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start_second(spool: SpeechSpool, work: SecondWork) -> std::io::Result<(Self, DeskEnds)> {
        Self::of(spool, work.pool.handle(), Some(work))
    }

    fn of(
        spool: SpeechSpool,
        pool: PoolHandle<JobTicket>,
        second: Option<SecondWork>,
    ) -> std::io::Result<(Self, DeskEnds)> {
        let (stop, stopped) = bounded(0);
        let (heard, told) = mpsc::channel(AT_ONCE);
        let (handled, done) = bounded(HANDLED);
        // As many as are in the pool: a worker that answers never waits.
        let (reply, answers) = bounded(AT_ONCE);
        let (name, pass, at_once) = match second {
            None => ("backlog", RecognitionPass::First, AT_ONCE),
            Some(_) => ("second-pass", RecognitionPass::Second, SECOND_AT_ONCE),
        };
        let feeder = SpoolFeeder {
            pass,
            at_once,
            load: second
                .as_ref()
                .map_or_else(|| pool.stats(), |work| Arc::clone(&work.live)),
            spool,
            pool,
            reply,
            heard,
            out: HashMap::new(),
            again: Vec::new(),
            postponed: HashSet::new(),
            reading: SpoolReading::default(),
            second: second.map(second::SecondPassQueue::new),
        };
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || feeder.run(&answers, &done, &stopped))?;
        let running = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        let ends = DeskEnds {
            heard: told,
            handled,
        };
        Ok((running, ends))
    }
}

impl Drop for LateRecognition {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the backlog's thread had panicked");
        }
    }
}
