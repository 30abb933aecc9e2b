//! State that only the second pass has: the call it is at, the attempts that failed, and whether
//! its worker is needed.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use asterscribe_call::CallId;
use asterscribe_recognition::on_demand::ModelReadiness;
use asterscribe_store::{RecognitionPass, SpeechSpool, SpoolId, SpooledUtterance, StoreError};

use super::SecondWork;

/// Attempts at an utterance on which the model fails, mostly a minute apart.
const ATTEMPTS: u32 = 3;

/// How long the workers of the second pass stay without work.
const IDLE: Duration = Duration::from_secs(30);

/// Time at which an utterance can be recognised.
pub(super) enum SecondPassReadiness {
    Now,
    /// When those that are being recognised are done.
    Later,
    LongAfter,
}

/// Queue of the second pass, which goes call by call.
pub(super) struct SecondPassQueue {
    work: SecondWork,
    /// Call that is being read.
    pub(super) of: Option<CallId>,
    /// Calls that have been read in this round.
    rested: HashSet<CallId>,
    /// Models that could not be loaded; they are tried again after a while.
    unusable: HashSet<String>,
    /// Number of rows that cannot be read, by call.
    unreadable: HashMap<CallId, u64>,
    /// Failures of the model on an utterance, until it is given up.
    pub(super) failures: HashMap<SpoolId, u32>,
    /// Whether calls that have been read may have more by now. They are read once more at the end
    /// of the round, so that a call with nothing to give does not keep others from their turn.
    pub(super) is_news: bool,
    /// Utterances that the first pass had kept on when that was last looked at.
    kept_on: u64,
    /// Time since which there has been nothing to do.
    idle: Option<Instant>,
}

impl SecondPassQueue {
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

    /// The next call that is over and has something to be heard: in this round, or in the next.
    fn next_call(&mut self, spool: &SpeechSpool) -> Result<Option<CallId>, StoreError> {
        let calls = spool.second_calls()?;
        self.unreadable.retain(|call, _| calls.contains(call));
        if let Some(next) = self.next_of(&calls) {
            return Ok(Some(next));
        }
        if !mem::take(&mut self.is_news) {
            return Ok(None);
        }
        self.rested.clear();
        Ok(self.next_of(&calls))
    }

    fn next_of(&self, calls: &[CallId]) -> Option<CallId> {
        for call in calls.iter().filter(|call| !self.rested.contains(*call)) {
            match (self.work.may_begin)(call) {
                Some(true) => return Some(call.clone()),
                Some(false) => {}
                // Nobody can say, and will not be able to of the others.
                None => return None,
            }
            if self.is_stopped() {
                return None;
            }
        }
        None
    }

    /// Sets the number of unreadable rows of the call that is being read; the result is the number
    /// of all calls.
    pub(super) fn unreadable(&mut self, of_call: u64) -> u64 {
        if let Some(call) = &self.of {
            self.unreadable.remove(call);
            if of_call > 0 {
                self.unreadable.insert(call.clone(), of_call);
            }
        }
        self.unreadable.values().sum()
    }

    /// Looks whether calls that have been read may have more by now.
    pub(super) fn look(&mut self, spool: &SpeechSpool) {
        let kept_on = spool
            .stats(RecognitionPass::Second)
            .kept_on
            .load(Ordering::Relaxed);
        let is_more = mem::replace(&mut self.kept_on, kept_on) != kept_on;
        self.is_news |= self.work.news.swap(false, Ordering::Relaxed) || is_more;
    }

    /// Lets models and calls be tried again after a while.
    pub(super) fn look_again(&mut self) {
        self.unusable.clear();
        self.is_news = true;
    }

    pub(super) fn begin(&mut self, spool: &SpeechSpool) {
        self.rested.extend(self.of.take());
        match self.next_call(spool) {
            Ok(of) => self.of = of,
            Err(error) => {
                // Not at once: the disk is looked at again after a while.
                self.is_news = false;
                tracing::error!(%error, "cannot read the spool");
            }
        }
    }

    /// Stops the worker when there has been nothing to do for [`IDLE`].
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

    /// Whether the call that is being read is still over.
    pub(super) fn may_go_on(&self) -> bool {
        let of = self.of.as_ref();
        of.is_none_or(|call| (self.work.may_begin)(call) == Some(true))
    }

    /// Has the worker load the model for an utterance; a different one than it has, only if it is
    /// idle.
    pub(super) fn make_ready(
        &mut self,
        kept: &SpooledUtterance,
        is_idle: bool,
    ) -> SecondPassReadiness {
        let model = kept.speech.second_pass.as_deref().unwrap_or_default();
        if self.unusable.contains(model) {
            return SecondPassReadiness::LongAfter;
        }
        match self.work.workers.prepare(model, is_idle) {
            Ok(ModelReadiness::Ready) => SecondPassReadiness::Now,
            Ok(ModelReadiness::Busy) => SecondPassReadiness::Later,
            Err(reason) => {
                tracing::error!(model, reason, "the second pass waits for its model");
                self.unusable.insert(model.to_owned());
                SecondPassReadiness::LongAfter
            }
        }
    }

    /// Counts a failure of an utterance; `false` if it is to be given up. A model may fail because
    /// the machine is short of memory, or because the server stops its workers: the utterance has
    /// words already, so another attempt can wait.
    pub(super) fn is_worth_another(&mut self, id: SpoolId) -> bool {
        if self.is_stopped() {
            return true;
        }
        let failures = self.failures.entry(id).or_default();
        *failures += 1;
        let is_worth = *failures < ATTEMPTS;
        if !is_worth {
            self.failures.remove(&id);
        }
        is_worth
    }

    /// Whether the worker was stopped for good.
    fn is_stopped(&self) -> bool {
        self.work.workers.is_stopped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asterscribe_call::Leg;
    use asterscribe_clock as clock;
    use asterscribe_recognition::on_demand::OnDemandWorker;
    use asterscribe_recognition::pool::PoolStats;
    use asterscribe_recognition::workers::WorkerProgram;
    use asterscribe_speech::DecodeOptions;
    use asterscribe_store::{SpoolConfig, SpoolableSpeech};
    use std::sync::atomic::AtomicBool;
    use std::sync::{Arc, Mutex};

    struct Rig {
        _folder: tempfile::TempDir,
        spool: SpeechSpool,
        open: Arc<Mutex<HashSet<CallId>>>,
        news: Arc<AtomicBool>,
        second: SecondPassQueue,
    }

    fn call(id: &str) -> CallId {
        id.parse().unwrap()
    }

    impl Rig {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let config = SpoolConfig {
                max_bytes: 1 << 20,
                keep: Duration::from_secs(60),
                key: None,
            };
            let spool =
                SpeechSpool::open(&folder.path().join("s.db"), config, clock::wall).unwrap();
            let open_model = |name: &str| Err(format!("{name} is gone"));
            let workers = OnDemandWorker::new(WorkerProgram::this(), Box::new(open_model));
            let (open, news) = (Arc::<Mutex<HashSet<CallId>>>::default(), Arc::default());
            let of_desk = Arc::clone(&open);
            let work = SecondWork {
                pool: workers.pool(4).unwrap(),
                workers,
                live: Arc::<PoolStats>::default(),
                may_begin: Box::new(move |call| Some(!of_desk.lock().unwrap().contains(call))),
                news: Arc::clone(&news),
            };
            Self {
                _folder: folder,
                spool,
                open,
                news,
                second: SecondPassQueue::new(work),
            }
        }

        fn keep(&self, call: &CallId, pass: RecognitionPass) -> SpooledUtterance {
            let id = self.spool.place();
            let speech = SpoolableSpeech {
                call: call.clone(),
                leg: Leg::caller(),
                audio: 16,
                samples: vec![1; 16],
                choices: DecodeOptions::default(),
                second_pass: Some("large".to_owned()),
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            let kept = self.spool.keep(id, speech.clone(), pass);
            runtime.block_on(kept).unwrap();
            SpooledUtterance { id, speech }
        }

        fn begin(&mut self) -> Option<CallId> {
            self.second.look(&self.spool);
            self.second.begin(&self.spool);
            self.second.of.clone()
        }
    }

    #[test]
    fn calls_are_read_one_after_the_other_once_they_are_over() {
        let mut rig = Rig::new();
        let (one, two) = (call("2.1"), call("1.2"));
        rig.keep(&one, RecognitionPass::Second);
        rig.keep(&two, RecognitionPass::Second);
        rig.open.lock().unwrap().insert(one.clone());
        assert_eq!(rig.begin(), Some(two.clone()));
        // Read again only because it is the first round; then nothing is new until a call ends.
        assert_eq!(rig.begin(), Some(two));
        assert_eq!(rig.begin(), None);
        rig.open.lock().unwrap().clear();
        rig.news.store(true, Ordering::Relaxed);
        // The one that came first, whatever the calls are called.
        assert_eq!(rig.begin(), Some(one.clone()));
        assert!(rig.second.may_go_on());
        rig.open.lock().unwrap().insert(one);
        assert!(!rig.second.may_go_on(), "it has come back");
    }

    #[test]
    fn what_comes_of_a_call_while_it_is_read_is_read_after_it() {
        let mut rig = Rig::new();
        let one = call("1.1");
        let first = rig.keep(&one, RecognitionPass::First);
        rig.keep(&one, RecognitionPass::Second);
        assert_eq!(rig.begin(), Some(one.clone()));
        rig.second.is_news = false;
        rig.spool.hear_again(vec![first.id]).unwrap();
        assert_eq!(rig.begin(), Some(one));
        assert_eq!(rig.begin(), None);
    }

    #[test]
    fn a_call_that_has_nothing_to_give_keeps_none_from_its_turn() {
        let mut rig = Rig::new();
        let calls = ["1.1", "1.2", "1.3"].map(call);
        for call in &calls {
            rig.keep(call, RecognitionPass::Second);
        }
        let mut read = HashSet::new();
        for _ in &calls {
            // Calls end all the time.
            rig.news.store(true, Ordering::Relaxed);
            read.extend(rig.begin());
        }
        assert_eq!(read, HashSet::from(calls));
    }

    #[test]
    fn what_fails_is_tried_again_and_a_model_that_is_gone_waited_for() {
        let mut rig = Rig::new();
        let kept = rig.keep(&call("1.1"), RecognitionPass::Second);
        for _ in 1..ATTEMPTS {
            assert!(rig.second.is_worth_another(kept.id));
        }
        assert!(!rig.second.is_worth_another(kept.id));
        assert!(rig.second.is_worth_another(kept.id), "counted anew");
        for _ in 0..2 {
            assert!(matches!(
                rig.second.make_ready(&kept, true),
                SecondPassReadiness::LongAfter
            ));
        }
        assert!(rig.second.unusable.contains("large"));
    }

    #[test]
    fn what_cannot_be_read_is_counted_over_all_calls() {
        let mut rig = Rig::new();
        for (id, unreadable, all) in [("1.1", 2, 2), ("1.2", 3, 5), ("1.1", 0, 3)] {
            rig.second.of = Some(call(id));
            assert_eq!(rig.second.unreadable(unreadable), all);
        }
        rig.second.of = None;
        assert_eq!(rig.begin(), None);
        assert!(rig.second.unreadable.is_empty(), "it is not there any more");
    }
}
