//! Captures of calls: asked for through the API, or made by rule.

use std::sync::Arc;
use std::time::{Duration, Instant};

use asterscribe_ari::client::EventTap;
use asterscribe_call::{CallEventKind, CallId, CaptureState};
use asterscribe_clock as clock;
use tokio::sync::mpsc;

use super::registry::{CallRegistry, MediaRun};
use super::{CallManager, channel};
use crate::capture::{
    self, CaptureFile, CaptureNews, CaptureNewsKind, CapturePart, CaptureRefused, CaptureSet,
    StartCapture,
};
use crate::config::CaptureRule;
use crate::service::{CaptureRequest, ServiceError};

/// Captures as the call control uses them, where a folder for them is named.
#[derive(Debug, Clone)]
pub struct CaptureControl {
    /// The captures.
    pub captures: Arc<CaptureSet>,
    /// Which calls are captured without being asked for.
    pub rule: CaptureRule,
    /// Bytes of one capture at most.
    pub max_bytes: u64,
}

impl CallManager {
    /// Records the states of captures, until their writer is gone.
    pub async fn follow_captures(&self, mut news: mpsc::Receiver<CaptureNews>) {
        while let Some(news) = news.recv().await {
            if let Some(control) = &self.captures {
                control.captures.heard(&news);
                self.registry(|registry| record(registry, &control.captures, news));
            }
        }
    }

    /// Removes captures that have been kept for that long.
    pub fn expire_captures(&self, retention: Duration) {
        if let Some(control) = &self.captures
            && let Ok(before) = clock::wall().checked_sub(retention)
        {
            control.captures.expire(before);
        }
    }

    pub(super) async fn begin_capture(
        &self,
        call: &CallId,
        request: CaptureRequest,
    ) -> Result<CaptureState, ServiceError> {
        let control = self.capture_control()?;
        let max_bytes = request.max_bytes.unwrap_or(control.max_bytes);
        if !(capture::MIN_BYTES..=control.max_bytes).contains(&max_bytes) {
            return Err(ServiceError::Unprocessable(format!(
                "max_bytes must be from {} to {} (CAPTURE_MAX_BYTES)",
                capture::MIN_BYTES,
                control.max_bytes
            )));
        }
        let (media_run, zero) = self.capturable(call).await?;
        let start = self.start_order(call, &media_run, zero, max_bytes);
        let (tap, answer) = control
            .captures
            .start(start, clock::now(), clock::wall())
            .map_err(refused)?;
        if let Err(refusal) = answer.await.unwrap_or(Err(CaptureRefused::Busy)) {
            control.captures.abandon(&tap);
            return Err(refused(refusal));
        }
        let thread = self.media.threads.get(media_run.thread);
        let Some(attached) = thread.and_then(|thread| thread.capture(media_run.media, tap.clone()))
        else {
            tap.end(clock::now());
            return Err(refused(CaptureRefused::Busy));
        };
        if attached.await.is_err() {
            // The media thread is gone: the server is ending.
            tap.end(clock::now());
        }
        let state = control.captures.state(call);
        state.ok_or_else(|| ServiceError::Conflict(format!("call {call} is over")))
    }

    /// The media of a call that can be captured, and zero of the call's clock.
    async fn capturable(&self, call: &CallId) -> Result<(MediaRun, Instant), ServiceError> {
        let found = self.registry(|registry| {
            let entry = registry.find(call)?;
            let media_run = entry.running()?;
            Some((media_run.clone(), entry.zero_for(media_run.zero)))
        });
        if let Some(found) = found {
            return Ok(found);
        }
        // It may be over, another server's, or nobody's.
        let record = self.record(call).await?;
        Err(ServiceError::Conflict(if record.status.is_open() {
            format!("call {call} is not served here now")
        } else {
            format!("call {call} is over")
        }))
    }

    pub(super) async fn end_capture(&self, call: &CallId) -> Result<CaptureState, ServiceError> {
        let captures = &self.capture_control()?.captures;
        let stopped = captures.stop(call, clock::now()).await.map_err(refused)?;
        stopped.ok_or_else(|| ServiceError::Conflict(format!("call {call} is not being captured")))
    }

    pub(super) async fn read_capture(
        &self,
        call: &CallId,
        part: CapturePart,
    ) -> Result<CaptureFile, ServiceError> {
        let control = self.capture_control()?;
        if let Some(file) = control.captures.read(call, part).await.map_err(refused)? {
            return Ok(file);
        }
        self.record(call).await?;
        Err(ServiceError::NoCapture(call.clone()))
    }

    /// Starts a capture if the rule takes the call, which has just been opened, before anything
    /// reaches its media. Done under the lock of the call registry, so that the media thread gets
    /// its orders in order.
    pub(super) fn capture_by_rule(
        &self,
        registry: &CallRegistry,
        call: &CallId,
        media_run: &MediaRun,
    ) {
        let Some((control, entry)) = self.captures.as_ref().zip(registry.find(call)) else {
            return;
        };
        if !control.rule.takes(entry.record.origin) {
            return;
        }
        let zero = entry.zero_for(media_run.zero);
        let start = self.start_order(call, media_run, zero, control.max_bytes);
        match control.captures.start(start, clock::now(), clock::wall()) {
            // What comes of it is news.
            Ok((tap, _answer)) => {
                let thread = self.media.threads.get(media_run.thread);
                // Orders are taken in order: it is there before the first leg.
                let ordered =
                    thread.and_then(|thread| thread.capture(media_run.media.clone(), tap.clone()));
                if ordered.is_none() {
                    tap.end(clock::now());
                }
            }
            Err(refused) => tracing::error!(%call, %refused, "cannot capture a call"),
        }
    }

    /// Ends the capture of a media run that has closed.
    pub(super) fn captured_media_closed(&self, media: &CallId) {
        if let Some(control) = &self.captures {
            control.captures.media_closed(media, clock::now());
        }
    }

    /// Brings the figures of running captures up to date, for readers.
    pub(super) fn show_captures(&self, registry: &mut CallRegistry) {
        if let Some(control) = &self.captures {
            registry.show_captures(|call| control.captures.state(call));
        }
    }

    /// Tap of Asterisk's events for the captures; `None` if captures are off.
    pub(super) fn event_tap(self: &Arc<Self>) -> Option<Arc<dyn EventTap>> {
        let control = self.captures.as_ref()?;
        Some(Arc::new(CaptureEar {
            captures: Arc::clone(&control.captures),
            control: Arc::clone(self),
        }))
    }

    fn start_order(
        &self,
        call: &CallId,
        media_run: &MediaRun,
        zero: Instant,
        max_bytes: u64,
    ) -> StartCapture {
        let target = self.config.targets[media_run.thread];
        StartCapture {
            call: call.clone(),
            media: media_run.media.clone(),
            to: (target.host, target.port).into(),
            zero,
            max_bytes,
        }
    }

    fn capture_control(&self) -> Result<&CaptureControl, ServiceError> {
        let none = || {
            let text = "calls are not captured here: CAPTURE_DIR is not set";
            ServiceError::Unprocessable(text.to_owned())
        };
        self.captures.as_ref().ok_or_else(none)
    }
}

fn record(registry: &mut CallRegistry, captures: &CaptureSet, news: CaptureNews) {
    let CaptureNews {
        call,
        at,
        state,
        kind,
        ..
    } = news;
    let (kind, text) = match kind {
        CaptureNewsKind::Begun => (
            CallEventKind::CaptureStarted,
            "packets and events are recorded".to_owned(),
        ),
        CaptureNewsKind::Ended => (
            CallEventKind::CaptureStopped,
            format!(
                "{} packets in {} bytes; {} rolled off, {} lost",
                state.packets, state.bytes, state.rolled_off, state.lost
            ),
        ),
        CaptureNewsKind::Refused(refused) => {
            return registry.note(&call, format!("not captured: {refused}"));
        }
    };
    tracing::info!(%call, text, "capture");
    // Another one may have begun meanwhile.
    let state = captures.state(&call).unwrap_or(state);
    registry.capture(&call, at, state, kind, text);
}

fn refused(refused: CaptureRefused) -> ServiceError {
    ServiceError::Conflict(refused.to_string())
}

/// Receiver of Asterisk's events for the captures.
#[derive(Debug)]
struct CaptureEar {
    captures: Arc<CaptureSet>,
    control: Arc<CallManager>,
}

impl EventTap for CaptureEar {
    fn is_wanted(&self) -> bool {
        self.captures.wants_events()
    }

    fn take(&self, call: &str, heard: Instant, text: &str) {
        let open = self.control.registry(|registry| registry.call_on(call));
        let call = open.unwrap_or_else(|| channel::call_id(call));
        self.captures.event(&call, heard, text);
    }
}
