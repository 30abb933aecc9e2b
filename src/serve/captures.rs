//! Captures in a running server: begun with it, ended before its store.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use asterscribe_clock as clock;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::calls::{CallManager, CaptureControl};
use crate::capture::{CaptureConfig, CaptureNews, CaptureThread};
use crate::config::CaptureSettings;

/// News of captures on their way to the call manager; when the channel is full, the writer waits.
const NEWS: usize = 1024;

/// Writer of captures, with the channel of its news.
#[derive(Debug)]
pub(super) struct CaptureRecording {
    thread: CaptureThread,
    news: mpsc::Receiver<CaptureNews>,
    settings: CaptureSettings,
}

/// Writer of captures whose news the call manager takes.
#[derive(Debug)]
pub(super) struct FollowedRecording {
    thread: CaptureThread,
    clerk: JoinHandle<()>,
}

impl CaptureRecording {
    /// Starts the thread, if the settings name a folder: captures are opt-in.
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

    /// Captures, rule and bounds for the call manager.
    pub(super) fn for_desk(&self) -> CaptureControl {
        CaptureControl {
            captures: self.thread.captures(),
            rule: self.settings.rule.clone(),
            max_bytes: self.settings.max_bytes,
        }
    }

    /// Has the call manager take the news of the captures.
    pub(super) fn follow(self, manager: Arc<CallManager>) -> FollowedRecording {
        let Self { thread, news, .. } = self;
        let clerk = tokio::spawn(async move { manager.follow_captures(news).await });
        FollowedRecording { thread, clerk }
    }
}

impl FollowedRecording {
    /// Writes all captures to their ends; a disk that hangs holds this up for no longer than
    /// `deadline`.
    pub(super) async fn stop(self, deadline: Duration) {
        let Self { thread, clerk } = self;
        let ended = tokio::task::spawn_blocking(move || drop(thread));
        let both = async { tokio::join!(ended, clerk) };
        if tokio::time::timeout(deadline, both).await.is_err() {
            tracing::error!("captures could not be completed in time");
        }
    }
}
