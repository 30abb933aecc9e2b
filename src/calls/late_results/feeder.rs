//! Thread that takes utterances from the spool into the pool, and their results to the call
//! manager.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{iter, mem};

use asterscribe_call::{CallId, GapReason, InitialPrompt, Leg};
use asterscribe_clock as clock;
use asterscribe_recognition::pool::{JobAnswer, NotRecognised, PoolHandle, PoolStats};
use asterscribe_recognition::{JobUrgency, OverloadStep, RecognitionTask, SpeakerLeg};
use asterscribe_speech::Recognition;
use asterscribe_store::{
    ExpiredUtterance, RecognitionPass, SpeechSpool, SpoolId, SpoolPage, SpoolableSpeech,
    SpooledUtterance,
};
use crossbeam_channel::{Receiver, Sender, select};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::second_queue::{SecondPassQueue, SecondPassReadiness};
use super::{AT_ONCE, LateOutcome, LateResult, LateText};
use crate::calls::SecondPassProgress;
use crate::media::JobTicket;

/// Time between two looks at whether recognition has time for the spool.
const LOOK: Duration = Duration::from_millis(200);

/// Time until a result is offered again for which the call manager had no room.
const AGAIN: Duration = Duration::from_secs(5);

/// Time between two readings that are not caused by news: rows may have grown too old.
const LONG: Duration = Duration::from_secs(60);

pub(super) struct SpoolFeeder {
    pub(super) pass: RecognitionPass,
    /// Utterances in the pool at once.
    pub(super) at_once: usize,
    /// Load of the pool whose work comes first.
    pub(super) load: Arc<PoolStats>,
    pub(super) spool: SpeechSpool,
    pub(super) pool: PoolHandle<JobTicket>,
    pub(super) reply: Sender<JobAnswer<JobTicket>>,
    pub(super) heard: mpsc::Sender<LateResult>,
    /// Jobs in the pool, or with the call manager.
    pub(super) out: HashMap<SpoolId, FeederJobs>,
    /// Results for which the channel to the call manager had no room.
    pub(super) again: Vec<LateResult>,
    /// Utterances that the call manager cannot take in now: they are recognised again, after a
    /// while.
    pub(super) postponed: HashSet<SpoolId>,
    pub(super) reading: SpoolReading,
    /// Queue of the second pass, in its feeder.
    pub(super) second: Option<SecondPassQueue>,
}

/// One reading of the spool from its beginning to its end, or of what it has of one call.
#[derive(Debug, Default)]
pub(super) struct SpoolReading {
    /// Rows read and not handed out yet.
    next: VecDeque<SpooledUtterance>,
    /// Last place in the spool that has been read.
    behind: Option<SpoolId>,
    is_at_end: bool,
    unreadable: u64,
}

pub(super) struct FeederJobs {
    call: CallId,
    /// Leg as which the job is queued in the pool.
    leg: Option<Leg>,
    audio: u64,
    /// Whether the audio is kept on for the second pass.
    again: SecondPassProgress,
    prompt: Option<InitialPrompt>,
}

impl SpoolFeeder {
    pub(super) fn run(
        mut self,
        answers: &Receiver<JobAnswer<JobTicket>>,
        done: &Receiver<LateOutcome>,
        stop: &Receiver<()>,
    ) {
        let (mut begun, mut tried, mut freed) = (clock::now(), clock::now(), clock::now());
        loop {
            select! {
                recv(answers) -> answer => if let Ok(answer) = answer { self.answered(answer) },
                recv(done) -> first => match first {
                    Ok(first) => self.handled(first, done),
                    // The manager is gone: the program is ending.
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
                if let Some(second) = &mut self.second {
                    second.look_again();
                }
            }
            if let Some(second) = &mut self.second {
                second.look(&self.spool);
            }
            let is_through = self.is_through();
            if is_through && since(begun) >= self.pause() {
                self.begin();
                begun = now;
            }
            if let Some(second) = &mut self.second {
                second.rest(now, is_through);
            }
            self.feed();
        }
    }

    /// Whether everything that was read is done with.
    fn is_through(&self) -> bool {
        let nothing_left = self.reading.next.is_empty() && self.again.is_empty();
        self.reading.is_at_end && nothing_left && self.out.is_empty()
    }

    /// Time from the beginning of one reading to the next: short if something has come, long if
    /// there can only be rows that were left or have grown old.
    fn pause(&self) -> Duration {
        match &self.second {
            Some(second) if second.of.is_some() || second.is_news => Duration::ZERO,
            Some(_) => LONG,
            None if self.holds_more() => LOOK,
            None => LONG,
        }
    }

    fn begin(&mut self) {
        self.reading = SpoolReading::default();
        if let Some(second) = &mut self.second {
            second.begin(&self.spool);
        }
    }

    /// Whether the spool holds more than could not be read or taken in.
    fn holds_more(&self) -> bool {
        let stats = self.spool.stats(self.pass);
        let of_no_use = stats.unreadable.load(Ordering::Relaxed) + self.postponed.len() as u64;
        stats.waiting.load(Ordering::Relaxed) > of_no_use
    }

    /// Hands out as many utterances as recognition has time for.
    fn feed(&mut self) {
        while self.out.len() < self.at_once && self.is_time() {
            let Some(kept) = self.read() else { return };
            if let Some(kept) = self.hand_out(kept) {
                self.reading.next.push_front(kept);
                return;
            }
        }
    }

    /// Whether recognition has time: live speech comes first, and all of it before any second pass.
    fn is_time(&self) -> bool {
        let is_idle = || self.load.waiting.load(Ordering::Relaxed) == 0;
        self.load.step() == OverloadStep::Normal
            && (self.pass == RecognitionPass::First || is_idle())
    }

    fn read(&mut self) -> Option<SpooledUtterance> {
        let waiting = self.spool.stats(self.pass).waiting.load(Ordering::Relaxed);
        let of = self.second.as_ref().and_then(|second| second.of.clone());
        if waiting == 0 || (self.pass == RecognitionPass::Second && of.is_none()) {
            self.reading.is_at_end = true;
        }
        let may_read = |feeder: &Self| {
            let reading = &feeder.reading;
            reading.next.is_empty() && !reading.is_at_end && feeder.again.len() < AT_ONCE
        };
        while may_read(self) {
            if !self.second.as_ref().is_none_or(SecondPassQueue::may_go_on) {
                // It has come back: it goes on when it is over again.
                self.reading.is_at_end = true;
                break;
            }
            match self.spool.next(of.clone(), self.reading.behind, AT_ONCE) {
                Ok(page) => self.take(page),
                Err(error) => {
                    tracing::error!(%error, "cannot read the spool");
                    self.reading.is_at_end = true;
                }
            }
        }
        self.reading.next.pop_front()
    }

    fn take(&mut self, page: SpoolPage) {
        let reading = &mut self.reading;
        reading.is_at_end = page.is_last;
        reading.behind = page.upto.or(reading.behind);
        reading.unreadable += page.unreadable;
        if page.is_last {
            let all = match &mut self.second {
                None => reading.unreadable,
                Some(second) => second.unreadable(reading.unreadable),
            };
            let unreadable = &self.spool.stats(self.pass).unreadable;
            unreadable.store(all, Ordering::Relaxed);
        }
        let (out, postponed) = (&self.out, &self.postponed);
        let is_new = |id: &SpoolId| !out.contains_key(id) && !postponed.contains(id);
        let kept = page.kept.into_iter().filter(|kept| is_new(&kept.id));
        reading.next.extend(kept);
        let outlived = page.outlived.into_iter();
        let outlived: Vec<_> = outlived.filter(|old| is_new(&old.id)).collect();
        let count = &self.spool.stats(self.pass).outlived;
        count.fetch_add(outlived.len() as u64, Ordering::Relaxed);
        for ExpiredUtterance { id, call, audio } in outlived {
            let out = FeederJobs {
                call,
                leg: None,
                audio,
                again: SecondPassProgress::No,
                prompt: None,
            };
            self.out.insert(id, out);
            self.found(id, Err(GapReason::OverloadShed));
        }
    }

    /// Hands an utterance to the pool; the result is the utterance if the pool has no room.
    fn hand_out(&mut self, kept: SpooledUtterance) -> Option<SpooledUtterance> {
        let is_idle = self.out.is_empty();
        let second = self.second.as_mut();
        match second.map_or(SecondPassReadiness::Now, |second| {
            second.make_ready(&kept, is_idle)
        }) {
            SecondPassReadiness::Now => {}
            SecondPassReadiness::Later => return Some(kept),
            SecondPassReadiness::LongAfter => {
                self.postponed.insert(kept.id);
                return None;
            }
        }
        let SpooledUtterance { id, speech } = kept;
        let task = RecognitionTask {
            samples: speech.samples,
            choices: speech.choices.clone().into(),
            urgency: JobUrgency::Backlog,
            speaker: self.speaker(id, &speech.call, &speech.leg),
            spoken: clock::now(),
        };
        match self.pool.offer(JobTicket::Spooled(id), task, &self.reply) {
            Ok(()) => {
                let out = FeederJobs {
                    call: speech.call,
                    leg: Some(speech.leg),
                    audio: speech.audio,
                    again: match (self.pass, &speech.second_pass) {
                        (RecognitionPass::First, Some(_)) => SecondPassProgress::Wanted,
                        _ => SecondPassProgress::No,
                    },
                    prompt: speech.choices.prompt,
                };
                self.out.insert(id, out);
                None
            }
            Err((_, samples)) => {
                let speech = SpoolableSpeech { samples, ..speech };
                Some(SpooledUtterance { id, speech })
            }
        }
    }

    /// Speaker of a spooled job in the pool's queue: live calls count from 0, spooled ones from the
    /// other end, one for each leg that has something in the pool.
    fn speaker(&self, id: SpoolId, call: &CallId, leg: &Leg) -> SpeakerLeg {
        let of_leg =
            |(_, out): &(&SpoolId, &FeederJobs)| out.call == *call && out.leg.as_ref() == Some(leg);
        let first = self.out.iter().filter(of_leg).map(|(id, _)| *id).min();
        SpeakerLeg::new(u64::MAX - first.unwrap_or(id).0, 0)
    }

    fn answered(&mut self, answer: JobAnswer<JobTicket>) {
        let JobTicket::Spooled(id) = answer.ticket else {
            return;
        };
        let result = match answer.result {
            Ok(recognition) => Ok(recognition),
            Err(NotRecognised::Failed(error))
                if (self.second.as_mut()).is_some_and(|second| second.is_worth_another(id)) =>
            {
                tracing::warn!(%error, "the second pass of an utterance failed; it will be tried again");
                self.out.remove(&id);
                self.postponed.insert(id);
                return;
            }
            Err(NotRecognised::Failed(error)) => {
                tracing::warn!(%error, "cannot recognise a spooled utterance");
                Err(GapReason::RecognitionFailed)
            }
            // Live calls came between: its time will come, in the next reading.
            Err(NotRecognised::TooOld | NotRecognised::Replaced) => {
                self.out.remove(&id);
                return;
            }
        };
        self.found(id, result);
    }

    fn found(&mut self, id: SpoolId, result: Result<Recognition, GapReason>) {
        let Some(out) = self.out.get(&id) else { return };
        let found = LateText {
            id,
            audio: out.audio,
            pass: self.pass,
            again: out.again,
            prompt: out.prompt.clone(),
            result,
        };
        let call = out.call.clone();
        self.tell(LateResult { call, found });
    }

    /// Passes a result to the call manager, or keeps it for the next time.
    fn tell(&mut self, heard: LateResult) {
        match self.heard.try_send(heard) {
            Ok(()) => {}
            Err(TrySendError::Full(heard)) => self.again.push(heard),
            Err(TrySendError::Closed(heard)) => {
                self.out.remove(&heard.found.id);
            }
        }
    }

    /// Removes the rows of results that the call manager has stored.
    fn handled(&mut self, first: LateOutcome, more: &Receiver<LateOutcome>) {
        let (mut done, mut kept_on) = (Vec::new(), Vec::new());
        for handled in iter::once(first).chain(more.try_iter()) {
            match handled {
                LateOutcome::Done { id, again } => {
                    self.out.remove(&id);
                    if let Some(second) = &mut self.second {
                        second.failures.remove(&id);
                    }
                    match again {
                        true => kept_on.push(id),
                        false => done.push(id),
                    }
                }
                LateOutcome::Unsure(id) => {
                    self.out.remove(&id);
                }
                LateOutcome::Again(heard) => {
                    self.out.remove(&heard.found.id);
                    self.postponed.insert(heard.found.id);
                }
            }
        }
        // Where the disk fails: what was heard is written. It will be heard again, and change
        // nothing.
        if !kept_on.is_empty()
            && let Err(error) = self.spool.hear_again(kept_on.clone())
        {
            tracing::error!(%error, "cannot keep recognised audio for the second pass");
            self.postponed.extend(kept_on);
        }
        if !done.is_empty()
            && let Err(error) = self.spool.forget(done.clone())
        {
            tracing::error!(%error, "cannot remove recognised audio from the spool");
            self.postponed.extend(done);
        }
    }
}
