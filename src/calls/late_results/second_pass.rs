//! Second pass over calls that have ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use asterscribe_call::CallId;
use asterscribe_recognition::TranscribeError;
use asterscribe_recognition::on_demand::OnDemandWorker;
use asterscribe_recognition::pool::PoolStats;
use asterscribe_store::RecognitionPass;
use tokio::runtime::Handle;

use super::{AT_ONCE, LateRecognition, LateResultEnds, SecondWork};
use crate::calls::CallManager;
use crate::calls::health::part;
use crate::service::{PartHealth, PartState};

/// Time for the store to take what was written of a call before its second pass begins.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// Access of the call manager to the second pass.
pub(in crate::calls) struct SecondPassControl {
    /// Flag that is set when a call ends.
    news: Arc<AtomicBool>,
    workers: Arc<OnDemandWorker>,
}

impl CallManager {
    /// Starts the second pass, where there is a spool; it runs for as long as the returned value
    /// exists.
    ///
    /// # Errors
    /// The operating system gives no threads.
    pub fn start_second_pass(
        self: &Arc<Self>,
        workers: &Arc<OnDemandWorker>,
        live: Arc<PoolStats>,
    ) -> Option<Result<LateRecognition, TranscribeError>> {
        let spool = self.late.spool.clone()?;
        let begin = || {
            let manager = Arc::downgrade(self);
            let runtime = Handle::current();
            let news = Arc::new(AtomicBool::new(false));
            let work = SecondWork {
                workers: Arc::clone(workers),
                pool: workers.pool(AT_ONCE)?,
                live,
                may_begin: Box::new(move |call| {
                    let manager = Weak::upgrade(&manager);
                    manager.and_then(|manager| runtime.block_on(manager.may_be_heard_again(call)))
                }),
                news: Arc::clone(&news),
            };
            let started = LateRecognition::start_second(spool, work);
            let (backlog, LateResultEnds { heard, handled }) = started
                .map_err(|error| TranscribeError(format!("cannot start a thread: {error}")))?;
            let manager = SecondPassControl {
                news,
                workers: Arc::clone(workers),
            };
            // Nobody else begins it.
            let _is_first = self.late.second.set(manager);
            let ears = Arc::clone(self);
            tokio::spawn(async move { ears.follow_backlog(heard, handled).await });
            Ok(backlog)
        };
        Some(begin())
    }

    /// Whether a call is over, as far as is known, so that its second pass may begin; `None` while
    /// that cannot be said or results could not be written.
    async fn may_be_heard_again(&self, call: &CallId) -> Option<bool> {
        if !self.stored.is_recalled() || self.stored.is_far_behind() {
            return None;
        }
        if self.stored.is_left(call) {
            return Some(false);
        }
        let here = self.registry(|registry| {
            let is_settled = registry.find(call)?.is_settled();
            Some(is_settled && !registry.is_open(call))
        });
        if here.is_some() {
            return here;
        }
        // It may have been settled a moment ago.
        self.stored.writer.flush(WRITTEN_WITHIN).await.ok()?;
        let record = self.stored.store.call(call).await.ok()?;
        Some(record.is_none_or(|record| !record.status.is_open()))
    }

    /// Tells the second pass that there may be a call for it.
    pub(in crate::calls) fn hear_again(&self) {
        if let Some(second) = self.late.second.get() {
            second.news.store(true, Ordering::Relaxed);
        }
    }

    pub(in crate::calls) fn second_pass_health(&self) -> PartHealth {
        let off = |why: &str| part(PartState::Off, why.to_owned());
        let (Some(spool), Some(second)) = (&self.late.spool, self.late.second.get()) else {
            return off("SPOOL_PATH is off");
        };
        let stats = spool.stats(RecognitionPass::Second);
        let (waiting, kept) = (
            stats.waiting.load(Ordering::Relaxed),
            stats.kept.load(Ordering::Relaxed),
        );
        let default = self.config.defaults.second_pass.as_deref();
        let workers = second.workers.describe();
        if default.is_none() && waiting + kept == 0 && workers.is_none() {
            return off("SECOND_PASS_MODEL is not set, and no call has asked for one");
        }
        let bytes = stats.bytes.load(Ordering::Relaxed);
        let mut said = vec![format!("{waiting} utterances wait in {bytes} bytes")];
        said.extend(workers);
        let (troubles, is_in_trouble) = self.troubles(RecognitionPass::Second, stats);
        let state = if second.workers.is_in_trouble() || is_in_trouble {
            PartState::Degraded
        } else {
            PartState::Ok
        };
        said.extend(troubles);
        part(state, said.join("; "))
    }
}
