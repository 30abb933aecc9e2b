//! Calls that are heard once more when they are over.

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

/// How long the store may take for what was written of a call before that is heard once more.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// The call manager's access to the second pass.
pub(super) struct SecondDesk {
    /// Set when a call ends.
    news: Arc<AtomicBool>,
    workers: Arc<OnDemandWorker>,
}

impl CallManager {
    /// Begins to have calls heard once more, where there is a spool, for as long as what this
    /// returns is there.
    ///
    /// # Errors
    /// The system gives no threads.
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

    /// Whether nothing more will be said in a call, as far as is known, and whether what is heard
    /// of it could be written: else it would be heard for nothing.
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

    /// There may be a call that is over and to be heard once more.
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
