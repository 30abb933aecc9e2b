//! What waits on the disk, recognised when there is time: a thread between the spool, the
//! recognition pool and the desk.
//!
//! An utterance stays in the spool until the desk has written what was heard in it. So it may
//! be recognised twice, after a crash or where the store was away; the desk writes it once.

use std::collections::{HashMap, VecDeque};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use tokio::sync::mpsc;

use super::media::Ticket;
use crate::call::{CallId, GapReason, Leg};
use crate::clock;
use crate::recognition::pool::{Answer, PoolHandle, Unrecognised};
use crate::recognition::{Speaker, Step, Task, Urgency};
use crate::speech::Recognition;
use crate::store::{Kept, Spool, SpoolId};

/// Utterances of the backlog in the pool at once: enough that no worker waits for the next,
/// and that some of a leg can share a window.
pub const AT_ONCE: usize = 16;

/// Time between two looks at whether there is time.
const LOOK: Duration = Duration::from_millis(200);

/// How long what could not be taken in rests before the spool is read from its beginning again.
const AGAIN: Duration = Duration::from_secs(5);

/// What was heard in an utterance that had been kept.
#[derive(Debug)]
pub struct Heard {
    /// Its place in the spool.
    pub id: SpoolId,
    /// Whose it is.
    pub call: CallId,
    /// How much of it is audio, in 16 kHz samples.
    pub audio: u64,
    /// The words, or why there are none.
    pub result: Result<Recognition, GapReason>,
}

/// What became of that.
#[derive(Debug, Clone, Copy)]
pub struct Handled {
    /// Its place in the spool.
    pub id: SpoolId,
    /// Whether it is written, and need not be kept.
    pub is_done: bool,
}

/// The desk's ends of it.
#[derive(Debug)]
pub struct DeskEnds {
    /// What was heard.
    pub heard: mpsc::Receiver<Heard>,
    /// What became of it.
    pub handled: Sender<Handled>,
}

/// The running thread. Dropping it ends the thread; what it has in the pool is left there.
#[derive(Debug)]
pub struct Backlog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backlog {
    /// Starts it.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(spool: Spool, pool: PoolHandle<Ticket>) -> std::io::Result<(Self, DeskEnds)> {
        let (stop, stopped) = bounded(0);
        let (heard, told) = mpsc::channel(AT_ONCE);
        let (handled, done) = bounded(AT_ONCE);
        // As many as are in the pool: a worker that answers never waits.
        let (reply, answers) = bounded(AT_ONCE);
        let feeder = Feeder {
            spool,
            pool,
            reply,
            heard,
            out: HashMap::new(),
            next: VecDeque::new(),
            behind: None,
            is_at_end: false,
            left: false,
        };
        let thread = thread::Builder::new().name("backlog".to_owned());
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

struct Feeder {
    spool: Spool,
    pool: PoolHandle<Ticket>,
    reply: Sender<Answer<Ticket>>,
    heard: mpsc::Sender<Heard>,
    /// In the pool, or with the desk.
    out: HashMap<SpoolId, Out>,
    /// Read, and not handed out.
    next: VecDeque<Kept>,
    /// How far the spool has been read.
    behind: Option<SpoolId>,
    is_at_end: bool,
    /// Whether something that was handed out is still in the spool.
    left: bool,
}

struct Out {
    call: CallId,
    leg: Leg,
    audio: u64,
}

impl Feeder {
    fn run(
        mut self,
        answers: &Receiver<Answer<Ticket>>,
        done: &Receiver<Handled>,
        stop: &Receiver<()>,
    ) {
        let mut rested = clock::now();
        loop {
            select! {
                recv(answers) -> answer => if let Ok(answer) = answer { self.answered(answer) },
                recv(done) -> first => match first {
                    Ok(first) => self.handled(first, done),
                    // The desk is gone: the program is ending.
                    Err(_) => return,
                },
                recv(stop) -> _ => return,
                default(LOOK) => {}
            }
            if self.is_at_end && self.out.is_empty() {
                let now = clock::now();
                let is_rested = !self.left || now.saturating_duration_since(rested) >= AGAIN;
                if is_rested && self.waits() {
                    (self.behind, self.is_at_end, self.left) = (None, false, false);
                    rested = now;
                }
            }
            self.feed();
        }
    }

    /// Whether the spool holds anything that can be read.
    fn waits(&self) -> bool {
        use std::sync::atomic::Ordering;
        let stats = self.spool.stats();
        stats.waiting.load(Ordering::Relaxed) > stats.unreadable.load(Ordering::Relaxed)
    }

    /// Hands out as much as there is time for.
    fn feed(&mut self) {
        while self.out.len() < AT_ONCE && self.pool.stats().step() == Step::Normal {
            let Some(kept) = self.read() else { return };
            if let Some(kept) = self.hand_out(kept) {
                self.next.push_front(kept);
                return;
            }
        }
    }

    fn read(&mut self) -> Option<Kept> {
        if self.next.is_empty() && !self.is_at_end && self.waits() {
            match self.spool.next(self.behind, AT_ONCE) {
                Ok(more) => {
                    self.is_at_end = more.len() < AT_ONCE;
                    self.behind = more.last().map(|kept| kept.id).or(self.behind);
                    self.next.extend(more);
                }
                Err(error) => {
                    tracing::error!(%error, "the spool cannot be read");
                    (self.is_at_end, self.left) = (true, true);
                }
            }
        }
        self.next.pop_front()
    }

    /// Gives it back if the pool has no place for it.
    fn hand_out(&mut self, kept: Kept) -> Option<Kept> {
        let Kept { id, speech } = kept;
        let task = Task {
            samples: speech.samples,
            choices: speech.choices.clone().into(),
            urgency: Urgency::Backlog,
            speaker: self.speaker(id, &speech.call, &speech.leg),
            spoken: clock::now(),
        };
        match self.pool.offer(Ticket::Spooled(id), task, &self.reply) {
            Ok(()) => {
                let out = Out {
                    call: speech.call,
                    leg: speech.leg,
                    audio: speech.audio,
                };
                self.out.insert(id, out);
                None
            }
            Err((_, samples)) => {
                let speech = crate::store::Spoolable { samples, ..speech };
                Some(Kept { id, speech })
            }
        }
    }

    /// No live call's: those count from 0, these from the other end, one for each leg that
    /// has something in the pool.
    fn speaker(&self, id: SpoolId, call: &CallId, leg: &Leg) -> Speaker {
        let of_leg = |(_, out): &(&SpoolId, &Out)| out.call == *call && out.leg == *leg;
        let first = self.out.iter().filter(of_leg).map(|(id, _)| *id).min();
        Speaker::new(u64::MAX - first.unwrap_or(id).0, 0)
    }

    fn answered(&mut self, answer: Answer<Ticket>) {
        let Ticket::Spooled(id) = answer.ticket else {
            return;
        };
        let result = match answer.result {
            Ok(recognition) => Ok(recognition),
            Err(Unrecognised::Failed(error)) => {
                tracing::warn!(%error, "a spooled utterance could not be recognised");
                Err(GapReason::RecognitionFailed)
            }
            // Live calls came between: its time will come.
            Err(Unrecognised::TooOld | Unrecognised::Replaced) => {
                self.out.remove(&id);
                self.left = true;
                return;
            }
        };
        let Some(Out { call, audio, .. }) = self.out.get(&id) else {
            return;
        };
        let heard = Heard {
            id,
            call: call.clone(),
            audio: *audio,
            result,
        };
        if self.heard.blocking_send(heard).is_err() {
            self.out.remove(&id);
        }
    }

    /// Removes what the desk has done with.
    fn handled(&mut self, first: Handled, more: &Receiver<Handled>) {
        let mut done = Vec::new();
        for Handled { id, is_done } in std::iter::once(first).chain(more.try_iter()) {
            self.out.remove(&id);
            self.left |= !is_done;
            if is_done {
                done.push(id);
            }
        }
        if let Err(error) = self.spool.forget(done) {
            // What was heard is written: it will be heard again, and change nothing.
            tracing::error!(%error, "what was heard cannot be removed from the spool");
            self.left = true;
        }
    }
}
