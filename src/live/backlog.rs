//! What waits on the disk, recognised when there is time: a thread between the spool, the
//! recognition pool and the desk.
//!
//! An utterance stays in the spool until the desk has written what was heard in it. So it may
//! be recognised twice, after a crash or where the store was away; the desk writes it once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{iter, mem};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::desk::Found;
use super::media::Ticket;
use crate::call::{CallId, GapReason, Leg};
use crate::clock;
use crate::recognition::pool::{Answer, PoolHandle, Unrecognised};
use crate::recognition::{Speaker, Step, Task, Urgency};
use crate::store::{Kept, Outlived, Page, Spool, SpoolId, Spoolable};

/// Utterances of the backlog in the pool at once: enough that no worker waits for the next,
/// and that some of a leg can share a window.
pub const AT_ONCE: usize = 16;

/// Time between two looks at whether there is time.
const LOOK: Duration = Duration::from_millis(200);

/// How long what could not be taken in rests before it is offered again.
const AGAIN: Duration = Duration::from_secs(5);

/// Time between two looks at what could not be read, or may have grown too old.
const LONG: Duration = Duration::from_secs(60);

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
    /// It is stored, and need not be kept.
    Done(SpoolId),
    /// It cannot be taken in now.
    Again(Heard),
    /// It is written and may not be stored yet: it is heard again, and then changes nothing.
    Unsure(SpoolId),
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
        let (handled, done) = bounded(HANDLED);
        // As many as are in the pool: a worker that answers never waits.
        let (reply, answers) = bounded(AT_ONCE);
        let feeder = Feeder {
            spool,
            pool,
            reply,
            heard,
            out: HashMap::new(),
            again: Vec::new(),
            postponed: HashSet::new(),
            pass: Pass::default(),
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
    /// What there was no room to tell.
    again: Vec<Heard>,
    /// What the desk cannot take in now: it is heard again, after a while.
    postponed: HashSet<SpoolId>,
    pass: Pass,
}

/// One reading of the spool from its beginning to its end.
#[derive(Debug, Default)]
struct Pass {
    /// Read, and not handed out.
    next: VecDeque<Kept>,
    /// How far the spool has been read.
    behind: Option<SpoolId>,
    is_at_end: bool,
    unreadable: u64,
}

struct Out {
    call: CallId,
    /// Whose it is in the pool.
    leg: Option<Leg>,
    audio: u64,
}

impl Feeder {
    fn run(
        mut self,
        answers: &Receiver<Answer<Ticket>>,
        done: &Receiver<Handled>,
        stop: &Receiver<()>,
    ) {
        let (mut begun, mut tried, mut freed) = (clock::now(), clock::now(), clock::now());
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
            let now = clock::now();
            let since = |then: Instant| now.saturating_duration_since(then);
            if since(tried) >= AGAIN {
                tried = now;
                for heard in mem::take(&mut self.again) {
                    self.tell(heard);
                }
            }
            // However often the spool is read meanwhile.
            if since(freed) >= LONG {
                freed = now;
                self.postponed.clear();
            }
            if self.is_through() {
                // Something has come, or there may be something that was left or has grown old.
                let wait = if self.holds_more() { LOOK } else { LONG };
                if since(begun) >= wait {
                    self.pass = Pass::default();
                    begun = now;
                }
            }
            self.feed();
        }
    }

    /// Whether all that was read has been done with.
    fn is_through(&self) -> bool {
        let nothing_left = self.pass.next.is_empty() && self.again.is_empty();
        self.pass.is_at_end && nothing_left && self.out.is_empty()
    }

    /// Whether the spool holds more than could not be read or taken in.
    fn holds_more(&self) -> bool {
        let stats = self.spool.stats();
        let of_no_use = stats.unreadable.load(Ordering::Relaxed) + self.postponed.len() as u64;
        stats.waiting.load(Ordering::Relaxed) > of_no_use
    }

    /// Hands out as much as there is time for.
    fn feed(&mut self) {
        while self.out.len() < AT_ONCE && self.pool.stats().step() == Step::Normal {
            let Some(kept) = self.read() else { return };
            if let Some(kept) = self.hand_out(kept) {
                self.pass.next.push_front(kept);
                return;
            }
        }
    }

    fn read(&mut self) -> Option<Kept> {
        let waiting = self.spool.stats().waiting.load(Ordering::Relaxed);
        let may_read = |feeder: &Self| {
            feeder.pass.next.is_empty() && !feeder.pass.is_at_end && feeder.again.len() < AT_ONCE
        };
        while waiting > 0 && may_read(self) {
            match self.spool.next(self.pass.behind, AT_ONCE) {
                Ok(page) => self.take(page),
                Err(error) => {
                    tracing::error!(%error, "the spool cannot be read");
                    self.pass.is_at_end = true;
                }
            }
        }
        if waiting == 0 {
            self.pass.is_at_end = true;
        }
        self.pass.next.pop_front()
    }

    fn take(&mut self, page: Page) {
        let pass = &mut self.pass;
        pass.is_at_end = page.is_last;
        pass.behind = page.upto.or(pass.behind);
        pass.unreadable += page.unreadable;
        if page.is_last {
            let unreadable = &self.spool.stats().unreadable;
            unreadable.store(pass.unreadable, Ordering::Relaxed);
        }
        let (out, postponed) = (&self.out, &self.postponed);
        let is_new = |id: &SpoolId| !out.contains_key(id) && !postponed.contains(id);
        let kept = page.kept.into_iter().filter(|kept| is_new(&kept.id));
        pass.next.extend(kept);
        let outlived = page.outlived.into_iter();
        let outlived: Vec<_> = outlived.filter(|old| is_new(&old.id)).collect();
        for Outlived { id, call, audio } in outlived {
            let result = Err(GapReason::OverloadShed);
            let out = Out {
                call: call.clone(),
                leg: None,
                audio,
            };
            self.out.insert(id, out);
            let found = Found { id, audio, result };
            self.tell(Heard { call, found });
        }
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
                    leg: Some(speech.leg),
                    audio: speech.audio,
                };
                self.out.insert(id, out);
                None
            }
            Err((_, samples)) => {
                let speech = Spoolable { samples, ..speech };
                Some(Kept { id, speech })
            }
        }
    }

    /// No live call's: those count from 0, these from the other end, one for each leg that
    /// has something in the pool.
    fn speaker(&self, id: SpoolId, call: &CallId, leg: &Leg) -> Speaker {
        let of_leg =
            |(_, out): &(&SpoolId, &Out)| out.call == *call && out.leg.as_ref() == Some(leg);
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
            // Live calls came between: its time will come, in the next pass.
            Err(Unrecognised::TooOld | Unrecognised::Replaced) => {
                self.out.remove(&id);
                return;
            }
        };
        if let Some(Out { call, audio, .. }) = self.out.get(&id) {
            let (call, audio) = (call.clone(), *audio);
            let found = Found { id, audio, result };
            self.tell(Heard { call, found });
        }
    }

    /// Tells the desk, or keeps it for the next time.
    fn tell(&mut self, heard: Heard) {
        match self.heard.try_send(heard) {
            Ok(()) => {}
            Err(TrySendError::Full(heard)) => self.again.push(heard),
            Err(TrySendError::Closed(heard)) => {
                self.out.remove(&heard.found.id);
            }
        }
    }

    /// Removes what the desk has done with.
    fn handled(&mut self, first: Handled, more: &Receiver<Handled>) {
        let mut done = Vec::new();
        for handled in iter::once(first).chain(more.try_iter()) {
            match handled {
                Handled::Done(id) => {
                    self.out.remove(&id);
                    done.push(id);
                }
                Handled::Unsure(id) => {
                    self.out.remove(&id);
                }
                Handled::Again(heard) => {
                    self.out.remove(&heard.found.id);
                    self.postponed.insert(heard.found.id);
                }
            }
        }
        if done.is_empty() {
            return;
        }
        if let Err(error) = self.spool.forget(done.clone()) {
            // What was heard is written: it will be heard again, and change nothing.
            tracing::error!(%error, "what was heard cannot be removed from the spool");
            self.postponed.extend(done);
        }
    }
}
