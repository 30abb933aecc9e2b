//! Captures in a running server: begun with it, ended before its store.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::desk::{CallManager, CaptureDesk};
use crate::capture::{CaptureConfig, CaptureNews, CaptureThread};
use crate::clock;
use crate::config::CaptureSettings;

/// What became of captures, on its way to the desk; the writer waits beyond it.
const NEWS: usize = 1024;

/// The writer of captures, and what it has to tell.
#[derive(Debug)]
pub(super) struct CaptureRecording {
    thread: CaptureThread,
    news: mpsc::Receiver<CaptureNews>,
    settings: CaptureSettings,
}

/// The writer of captures, followed by the call manager.
#[derive(Debug)]
pub(super) struct FollowedRecording {
    thread: CaptureThread,
    clerk: JoinHandle<()>,
}

impl CaptureRecording {
    /// Captures are opt-in: without a folder there is no thread.
    pub(super) fn start(settings: Option<&CaptureSettings>) -> io::Result<Option<Self>> {
        let Some(settings) = settings else {
            return Ok(None);
        };
        let config = CaptureConfig {
            dir: settings.dir.clone(),
            total_bytes: settings.total_bytes,
            by_rule: !settings.rule.is_off(),
        };
        let (sender, news) = mpsc::channel(NEWS);
        let thread = CaptureThread::start(&config, sender, clock::wall, clock::now)?;
        Ok(Some(Self {
            thread,
            news,
            settings: settings.clone(),
        }))
    }

    /// What the desk needs of it.
    pub(super) fn for_desk(&self) -> CaptureDesk {
        CaptureDesk {
            captures: self.thread.captures(),
            rule: self.settings.rule.clone(),
            max_bytes: self.settings.max_bytes,
        }
    }

    /// Lets the desk hear of what becomes of captures.
    pub(super) fn follow(self, desk: Arc<CallManager>) -> FollowedRecording {
        let Self { thread, news, .. } = self;
        let clerk = tokio::spawn(async move { desk.follow_captures(news).await });
        FollowedRecording { thread, clerk }
    }
}

impl FollowedRecording {
    /// Writes all captures to their ends. A disk that hangs does not hold this up for longer.
    pub(super) async fn stop(self, deadline: Duration) {
        let Self { thread, clerk } = self;
        let ended = tokio::task::spawn_blocking(move || drop(thread));
        let both = async { tokio::join!(ended, clerk) };
        if tokio::time::timeout(deadline, both).await.is_err() {
            tracing::error!("captures were not written to their ends in time");
        }
    }
}
