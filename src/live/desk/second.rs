//! Second pass over calls that have ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::health::part;
use super::{CallManager, lock};
use crate::call::CallId;
use crate::live::late_results::{AT_ONCE, DeskEnds, LateRecognition, SecondWork};
use crate::recognition::on_demand::OnDemandWorker;
use crate::recognition::pool::PoolStats;
use crate::service::{PartHealth, PartState};
use crate::speech::TranscribeError;
use crate::store::RecognitionPass;

/// Time for the store to take what was written of a call before its second pass begins.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// Access of the call manager to the second pass.
pub(super) struct SecondDesk {
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
        let spool = self.spool.clone()?;
        let begin = || {
            let desk = Arc::downgrade(self);
            let runtime = Handle::current();
            let news = Arc::new(AtomicBool::new(false));
            let work = SecondWork {
                workers: Arc::clone(workers),
                pool: workers.pool(AT_ONCE)?,
                live,
                may_begin: Box::new(move |call| {
                    let desk = Weak::upgrade(&desk);
                    desk.and_then(|desk| runtime.block_on(desk.may_be_heard_again(call)))
                }),
                news: Arc::clone(&news),
            };
            let started = LateRecognition::start_second(spool, work);
            let (backlog, DeskEnds { heard, handled }) = started
                .map_err(|error| TranscribeError(format!("cannot start a thread: {error}")))?;
            let desk = SecondDesk {
                news,
                workers: Arc::clone(workers),
            };
            // Nobody else begins it.
            let _is_first = self.second.set(desk);
            let ears = Arc::clone(self);
            tokio::spawn(async move { ears.follow_backlog(heard, handled).await });
            Ok(backlog)
        };
        Some(begin())
    }

    /// Whether a call is over, as far as is known, so that its second pass may begin; `None` while
    /// that cannot be said or results could not be written.
    async fn may_be_heard_again(&self, call: &CallId) -> Option<bool> {
        if !self.is_recalled.load(Ordering::Relaxed) || self.is_far_behind() {
            return None;
        }
        if lock(&self.resumable).contains_key(call) {
            return Some(false);
        }
        let here = self.book(|book| {
            let is_settled = book.find(call)?.is_settled();
            Some(is_settled && !book.is_open(call))
        });
        if here.is_some() {
            return here;
        }
        // It may have been settled a moment ago.
        self.writer.flush(WRITTEN_WITHIN).await.ok()?;
        let record = self.store.call(call).await.ok()?;
        Some(record.is_none_or(|record| !record.status.is_open()))
    }

    /// Tells the second pass that there may be a call for it.
    pub(super) fn hear_again(&self) {
        if let Some(second) = self.second.get() {
            second.news.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn second_pass_health(&self) -> PartHealth {
        let off = |why: &str| part(PartState::Off, why.to_owned());
        let (Some(spool), Some(second)) = (&self.spool, self.second.get()) else {
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
