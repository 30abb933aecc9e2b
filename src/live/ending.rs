//! Taking the server down, in order.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::desk::CallManager;
use super::late_results::LateRecognition;
use super::media::{JobTicket, MediaPlane};
use super::recording::FollowedRecording;
use crate::recognition::on_demand::OnDemandWorker;
use crate::recognition::pool::PoolHandle;
use crate::recognition::workers::WorkerStarter;

/// How long the end may take: requests under way and, meanwhile, hang-ups at
/// Asterisk; then last words, then the store. With all of them hanging, 29 s, and 5 s more for its files.
pub(super) const DRAIN_GRACE: Duration = Duration::from_secs(5);
const BACKLOG_GRACE: Duration = Duration::from_secs(1);
const ARI_GRACE: Duration = Duration::from_secs(12);
const WORDS_GRACE: Duration = Duration::from_secs(8);
const EVENTS_GRACE: Duration = Duration::from_secs(2);
const CAPTURE_GRACE: Duration = Duration::from_secs(2);
const STORE_GRACE: Duration = Duration::from_secs(4);

/// Callers go on in their dialplan, and everything of ours leaves Asterisk.
pub(super) async fn release_callers(ari_task: Option<JoinHandle<()>>) {
    if let Some(task) = ari_task
        && tokio::time::timeout(ARI_GRACE, task).await.is_err()
    {
        tracing::warn!("Asterisk did not confirm that everything of ours is gone");
    }
}

/// The recogniser of last resort: it puts on the disk what is recognised no more at the end.
pub(super) struct LastResort {
    pub(super) pool: PoolHandle<JobTicket>,
    pub(super) recogniser: Arc<WorkerStarter>,
}

/// The engine of the second pass.
pub(super) struct SecondPassEngine {
    pub(super) backlog: LateRecognition,
    pub(super) workers: Arc<OnDemandWorker>,
}

/// Nothing is taken from the spool any more. What is in hand is still there.
pub(super) async fn stop_backlogs(
    backlog: Option<LateRecognition>,
    second_pass: Option<SecondPassEngine>,
) {
    let stopped = tokio::task::spawn_blocking(move || {
        drop(backlog);
        if let Some(SecondPassEngine { backlog, workers }) = second_pass {
            workers.stop();
            drop(backlog);
        }
    });
    if tokio::time::timeout(BACKLOG_GRACE, stopped).await.is_err() {
        tracing::error!(
            "the spool's disk hangs, or a model is being loaded: a thread is left behind"
        );
    }
}

/// The calls' last words. Those that nobody has time for by then are kept, where they can be.
pub(super) async fn say_the_last(desk: &CallManager, last_resort: Option<LastResort>) {
    let words = desk.close_all(WORDS_GRACE);
    let Some(LastResort { pool, recogniser }) = last_resort else {
        return words.await;
    };
    let give_up = async {
        tokio::time::sleep(WORDS_GRACE / 2).await;
        pool.let_go();
        // What is being recognised holds up what was said after it.
        tokio::time::sleep(WORDS_GRACE / 4).await;
        recogniser.stop();
        std::future::pending().await
    };
    tokio::select! {
        () = words => {}
        () = give_up => {}
    }
}

/// The media threads, then the store.
pub(super) async fn stop(
    desk: &Arc<CallManager>,
    plane: MediaPlane,
    follower: JoinHandle<()>,
    captures: Option<FollowedRecording>,
) {
    let joined = tokio::task::spawn_blocking(move || drop(plane)).await;
    if joined.is_err() {
        tracing::error!("stopping the media threads failed");
    }
    // With the threads gone it ends by itself, after their last events.
    if tokio::time::timeout(EVENTS_GRACE, follower).await.is_err() {
        tracing::error!("the media threads' last events were not taken in time");
    }
    if let Some(captures) = captures {
        captures.stop(CAPTURE_GRACE).await;
    }
    desk.finish(STORE_GRACE).await;
    desk.close_files().await;
}
