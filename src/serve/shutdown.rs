//! Shutdown of the server, in order.

use std::sync::Arc;
use std::time::Duration;

use asterscribe_recognition::on_demand::OnDemandWorker;
use asterscribe_recognition::pool::PoolHandle;
use asterscribe_recognition::workers::WorkerStarter;
use tokio::task::JoinHandle;

use super::captures::FollowedRecording;
use crate::calls::CallManager;
use crate::calls::late_results::LateRecognition;
use crate::media::{JobTicket, MediaPlane};

/// Time for API requests under way to end; meanwhile calls are hung up at Asterisk. The last words
/// follow, then the store. With all of them hanging the end takes 29 s, and 5 s more for the
/// store's files.
pub(super) const DRAIN_GRACE: Duration = Duration::from_secs(5);
const BACKLOG_GRACE: Duration = Duration::from_secs(1);
const ARI_GRACE: Duration = Duration::from_secs(12);
const WORDS_GRACE: Duration = Duration::from_secs(8);
const EVENTS_GRACE: Duration = Duration::from_secs(2);
const CAPTURE_GRACE: Duration = Duration::from_secs(2);
const STORE_GRACE: Duration = Duration::from_secs(4);

/// Waits until callers go on in their dialplan and everything of ours has left Asterisk.
pub(super) async fn release_callers(ari_task: Option<JoinHandle<()>>) {
    if let Some(task) = ari_task
        && tokio::time::timeout(ARI_GRACE, task).await.is_err()
    {
        tracing::warn!(
            "Asterisk did not confirm that every channel and bridge of this server is gone"
        );
    }
}

/// Pool by which utterances that will not be recognised before the end get onto the disk.
pub(super) struct LastResort {
    pub(super) pool: PoolHandle<JobTicket>,
    pub(super) recogniser: Arc<WorkerStarter>,
}

/// Thread and workers of the second pass.
pub(super) struct SecondPassEngine {
    pub(super) backlog: LateRecognition,
    pub(super) workers: Arc<OnDemandWorker>,
}

/// Stops taking utterances from the spool; those that are being recognised stay in it.
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
            "the disk of the spool does not respond, or a model is being loaded: a thread is left behind"
        );
    }
}

/// Waits for the calls' last words. Utterances for which there is no time are put into the spool,
/// if there is one.
pub(super) async fn say_the_last(manager: &CallManager, last_resort: Option<LastResort>) {
    let words = manager.close_all(WORDS_GRACE);
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

/// Stops the media threads, then the store.
pub(super) async fn stop(
    manager: &Arc<CallManager>,
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
    manager.finish(STORE_GRACE).await;
    manager.close_files().await;
}
