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

use self::feeder::{Feeder, Reading};
use super::desk::Found;
use super::media::Ticket;
use crate::call::CallId;
use crate::recognition::occasional::Occasional;
use crate::recognition::pool::{Pool, PoolHandle, PoolStats};
use crate::store::{Pass, Spool, SpoolId};

/// Utterances of the backlog in the pool at once: enough that no worker waits for the next,
/// and that some of a leg can share a window.
pub const AT_ONCE: usize = 16;

/// The same of what is heard once more, by one worker.
const SECOND_AT_ONCE: usize = 2;

/// What was heard in an utterance that had been kept.
#[derive(Debug)]
pub struct Heard {
    /// Whose it is.
    pub call: CallId,
    /// What was heard, and where it is kept.
    pub found: Found,
}

/// What became of that.
#[derive(Debug)]
pub enum Handled {
    /// It is stored.
    Done {
        /// The utterance.
        id: SpoolId,
        /// Whether it is kept on, to be heard once more.
        again: bool,
    },
    /// It cannot be taken in now.
    Again(Box<Heard>),
    /// It is written and may not be stored yet: it is heard again, and then changes nothing.
    Unsure(SpoolId),
}

impl Handled {
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
    pub heard: mpsc::Receiver<Heard>,
    /// What became of it.
    pub handled: Sender<Handled>,
}

/// Says whether a call may be heard once more.
pub type MayBegin = dyn Fn(&CallId) -> Option<bool> + Send;

/// Who hears what is to be heard once more, and when.
pub struct SecondWork {
    /// Those that hear it …
    pub workers: Arc<Occasional>,
    /// … and the way to them.
    pub pool: Pool<Ticket>,
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
pub struct Backlog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backlog {
    /// Starts it for what nobody has heard.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(spool: Spool, pool: PoolHandle<Ticket>) -> std::io::Result<(Self, DeskEnds)> {
        Self::of(spool, pool, None)
    }

    /// Starts it for what is to be heard once more.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start_second(spool: Spool, work: SecondWork) -> std::io::Result<(Self, DeskEnds)> {
        Self::of(spool, work.pool.handle(), Some(work))
    }

    fn of(
        spool: Spool,
        pool: PoolHandle<Ticket>,
        second: Option<SecondWork>,
    ) -> std::io::Result<(Self, DeskEnds)> {
        let (stop, stopped) = bounded(0);
        let (heard, told) = mpsc::channel(AT_ONCE);
        let (handled, done) = bounded(HANDLED);
        // As many as are in the pool: a worker that answers never waits.
        let (reply, answers) = bounded(AT_ONCE);
        let (name, pass, at_once) = match second {
            None => ("backlog", Pass::First, AT_ONCE),
            Some(_) => ("second-pass", Pass::Second, SECOND_AT_ONCE),
        };
        let feeder = Feeder {
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
            reading: Reading::default(),
            second: second.map(second::Second::new),
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

impl Drop for Backlog {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the backlog's thread had panicked");
        }
    }
}
