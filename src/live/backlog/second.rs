//! What the second pass knows beside what is common to both: which call it is at, what it has
//! tried in vain, and whether its workers are needed.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::SecondWork;
use crate::call::CallId;
use crate::recognition::occasional::Prepared;
use crate::store::{Kept, Pass, Spool, SpoolId, StoreError};

/// How often the second pass tries what its model fails on, a minute and more apart.
const ATTEMPTS: u32 = 3;

/// How long the workers of the second pass stay without work.
const IDLE: Duration = Duration::from_secs(30);

/// When an utterance can be heard.
pub(super) enum Ready {
    Now,
    /// When those that are being heard have been.
    Later,
    LongAfter,
}

/// What only the second pass needs: it goes call by call.
pub(super) struct Second {
    work: SecondWork,
    /// The call that is read.
    pub(super) of: Option<CallId>,
    /// Calls that have been read and may have more: after a while again.
    pub(super) rested: HashSet<CallId>,
    /// Models that could not be loaded: after a while again.
    pub(super) unusable: HashSet<String>,
    /// Of calls of which something cannot be read, how much.
    unreadable: HashMap<CallId, u64>,
    /// How often the model failed on an utterance, until it is given up.
    pub(super) failures: HashMap<SpoolId, u32>,
    /// Some call has ended since the spool was asked which there are.
    pub(super) is_news: bool,
    /// So much had come from the first pass by then.
    kept_on: u64,
    /// Since when there has been nothing to do.
    idle: Option<Instant>,
}

impl Second {
    pub(super) fn new(work: SecondWork) -> Self {
        Self {
            work,
            of: None,
            rested: HashSet::new(),
            unusable: HashSet::new(),
            unreadable: HashMap::new(),
            failures: HashMap::new(),
            is_news: true,
            kept_on: 0,
            idle: None,
        }
    }

    /// The next call that is over and has something to be heard.
    fn next_call(&mut self, spool: &Spool) -> Result<Option<CallId>, StoreError> {
        self.is_news = false;
        let calls = spool.second_calls()?;
        self.unreadable.retain(|call, _| calls.contains(call));
        let mut calls = calls.into_iter();
        Ok(calls.find(|call| !self.rested.contains(call) && (self.work.may_begin)(call)))
    }

    /// So many of the call's cannot be read; how many of all calls'.
    pub(super) fn unreadable(&mut self, of_call: u64) -> u64 {
        if let Some(call) = &self.of {
            self.unreadable.remove(call);
            if of_call > 0 {
                self.unreadable.insert(call.clone(), of_call);
            }
        }
        self.unreadable.values().sum()
    }

    /// More may have come of calls that have been read.
    pub(super) fn look(&mut self, spool: &Spool) {
        let kept_on = spool.stats(Pass::Second).kept_on.load(Ordering::Relaxed);
        let is_more = mem::replace(&mut self.kept_on, kept_on) != kept_on;
        if self.work.news.swap(false, Ordering::Relaxed) || is_more {
            self.rested.clear();
            self.is_news = true;
        }
    }

    pub(super) fn begin(&mut self, spool: &Spool) {
        // Where more came while it was read, that may lie before where the reading was.
        self.rested.extend(self.of.take().filter(|_| !self.is_news));
        match self.next_call(spool) {
            Ok(of) => self.of = of,
            Err(error) => tracing::error!(%error, "the spool cannot be read"),
        }
    }

    /// Lets the workers go home when there has been nothing to do for a while.
    pub(super) fn rest(&mut self, now: Instant, is_through: bool) {
        if !is_through || self.of.is_some() {
            self.idle = None;
            return;
        }
        let since = *self.idle.get_or_insert(now);
        if now.saturating_duration_since(since) >= IDLE {
            self.work.workers.rest();
        }
    }

    /// Whether the call that is read is still over.
    pub(super) fn may_go_on(&self) -> bool {
        let of = self.of.as_ref();
        of.is_none_or(|call| (self.work.may_begin)(call))
    }

    /// Lets the workers have the model that it is to be heard by; another than they have, if
    /// they are idle.
    pub(super) fn make_ready(&mut self, kept: &Kept, is_idle: bool) -> Ready {
        let model = kept.speech.second_pass.as_deref().unwrap_or_default();
        if self.unusable.contains(model) {
            return Ready::LongAfter;
        }
        match self.work.workers.prepare(model, is_idle) {
            Ok(Prepared::Ready) => Ready::Now,
            Ok(Prepared::Busy) => Ready::Later,
            Err(reason) => {
                tracing::error!(model, reason, "a second pass waits for its model");
                self.unusable.insert(model.to_owned());
                Ready::LongAfter
            }
        }
    }

    /// What failed may do so because the machine is short of something, as a large model is
    /// quick to be: it need not be tried at once, for it has words already.
    pub(super) fn is_worth_another(&mut self, id: SpoolId) -> bool {
        let failures = self.failures.entry(id).or_default();
        *failures += 1;
        let is_worth = *failures < ATTEMPTS;
        if !is_worth {
            self.failures.remove(&id);
        }
        is_worth
    }

    /// Whether the workers were sent home for good.
    pub(super) fn is_stopped(&self) -> bool {
        self.work.workers.is_stopped()
    }
}
