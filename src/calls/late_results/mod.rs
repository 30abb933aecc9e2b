//! Recognition of the spool's utterances when there is time: a thread between the spool, a
//! recognition pool and the call manager. There is one for utterances without words, and one, with
//! an on-demand worker, for the second pass.
//!
//! An utterance stays in the spool until the call manager has written its result. So it may be
//! recognised twice, after a crash or where the store was away; the result is written once.

mod feeder;
mod second_pass;
mod second_queue;
mod spool;
mod troubles;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};

use asterscribe_call::CallId;
use asterscribe_recognition::on_demand::OnDemandWorker;
use asterscribe_recognition::pool::{PoolHandle, PoolStats, RecognitionPool};
use asterscribe_store::{RecognitionPass, SpeechSpool, SpoolId};
use crossbeam_channel::{Sender, bounded};
use tokio::sync::mpsc;

use self::feeder::{SpoolFeeder, SpoolReading};
pub(super) use self::spool::LateSpeech;
use super::LateText;
use crate::media::JobTicket;

/// Utterances of the backlog in the pool at once: enough that no worker waits for the next,
/// and that some of a leg can share a window.
pub const AT_ONCE: usize = 16;

/// Utterances of the second pass that are out at once, by one worker.
const SECOND_AT_ONCE: usize = 2;

/// Result for an utterance of the spool.
#[derive(Debug)]
pub struct LateResult {
    /// Call that the utterance belongs to.
    pub call: CallId,
    /// Result, and the place of the utterance in the spool.
    pub found: LateText,
}

/// Outcome of a late result at the call manager.
#[derive(Debug)]
pub enum LateOutcome {
    /// The result is stored.
    Done {
        /// Place of the utterance in the spool.
        id: SpoolId,
        /// Whether the audio is kept on for the second pass.
        again: bool,
    },
    /// The result cannot be taken in now.
    Again(Box<LateResult>),
    /// The result is written and may not be stored yet: the utterance is recognised again, which
    /// then changes nothing.
    Unsure(SpoolId),
}

impl LateOutcome {
    /// Place of the utterance in the spool.
    pub fn id(&self) -> SpoolId {
        match self {
            Self::Done { id, .. } | Self::Unsure(id) => *id,
            Self::Again(heard) => heard.found.id,
        }
    }
}

/// Outcomes on their way back: more than the call manager can have at hand.
const HANDLED: usize = 256;

/// The call manager's ends of a feeder.
#[derive(Debug)]
pub struct LateResultEnds {
    /// Results of recognition.
    pub heard: mpsc::Receiver<LateResult>,
    /// Outcomes of those results.
    pub handled: Sender<LateOutcome>,
}

/// Function that says whether a call's second pass may begin.
pub type MayBegin = dyn Fn(&CallId) -> Option<bool> + Send;

/// Parts that the second pass works with.
pub struct SecondWork {
    /// Worker of the second pass, which is there while it has work.
    pub workers: Arc<OnDemandWorker>,
    /// Pool through which the jobs reach that worker.
    pub pool: RecognitionPool<JobTicket>,
    /// Load of the pool for live speech, which comes first.
    pub live: Arc<PoolStats>,
    /// Whether a call is over and results of its second pass can be written; `None` where that
    /// cannot be said now, of any call. May block.
    pub may_begin: Box<MayBegin>,
    /// Flag that is set when a call ends.
    pub news: Arc<AtomicBool>,
}

impl std::fmt::Debug for SecondWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecondWork").finish_non_exhaustive()
    }
}

/// A running feeder thread. Dropping it ends the thread; what it has in the pool is left there.
#[derive(Debug)]
pub struct LateRecognition {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LateRecognition {
    /// Starts the thread for utterances without words.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        spool: SpeechSpool,
        pool: PoolHandle<JobTicket>,
    ) -> std::io::Result<(Self, LateResultEnds)> {
        Self::of(spool, pool, None)
    }

    /// Starts the thread for the second pass.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start_second(
        spool: SpeechSpool,
        work: SecondWork,
    ) -> std::io::Result<(Self, LateResultEnds)> {
        Self::of(spool, work.pool.handle(), Some(work))
    }

    fn of(
        spool: SpeechSpool,
        pool: PoolHandle<JobTicket>,
        second: Option<SecondWork>,
    ) -> std::io::Result<(Self, LateResultEnds)> {
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
            second: second.map(second_queue::SecondPassQueue::new),
        };
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || feeder.run(&answers, &done, &stopped))?;
        let running = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        let ends = LateResultEnds {
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
            tracing::error!("the thread of the backlog panicked");
        }
    }
}
