//! Captures of calls: asked for through the API, or made by rule.

use std::sync::Arc;
use std::time::{Duration, Instant};

use asterscribe_ari::client::EventTap;
use tokio::sync::mpsc;

use super::registry::{CallRegistry, MediaRun};
use super::{CallManager, channel};
use crate::call::{CallEventKind, CallId, CaptureState};
use crate::capture::{
    self, CaptureFile, CaptureNews, CaptureNewsKind, CapturePart, CaptureRefused, CaptureSet,
    StartCapture,
};
use crate::clock;
use crate::config::CaptureRule;
use crate::service::{CaptureRequest, ServiceError};

/// Captures as the call manager uses them, where a folder for them is named.
#[derive(Debug, Clone)]
pub struct CaptureDesk {
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
            if let Some(desk) = &self.captures {
                desk.captures.heard(&news);
                self.book(|book| record(book, &desk.captures, news));
            }
        }
    }

    /// Removes captures that have been kept for that long.
    pub fn expire_captures(&self, retention: Duration) {
        if let Some(desk) = &self.captures
            && let Ok(before) = clock::wall().checked_sub(retention)
        {
            desk.captures.expire(before);
        }
    }

    pub(super) async fn begin_capture(
        &self,
        call: &CallId,
        request: CaptureRequest,
    ) -> Result<CaptureState, ServiceError> {
        let desk = self.capture_desk()?;
        let max_bytes = request.max_bytes.unwrap_or(desk.max_bytes);
        if !(capture::MIN_BYTES..=desk.max_bytes).contains(&max_bytes) {
            return Err(ServiceError::Unprocessable(format!(
                "max_bytes must be from {} to {} (CAPTURE_MAX_BYTES)",
                capture::MIN_BYTES,
                desk.max_bytes
            )));
        }
        let (stint, zero) = self.capturable(call).await?;
        let start = self.start_order(call, &stint, zero, max_bytes);
        let (tap, answer) = desk
            .captures
            .start(start, clock::now(), clock::wall())
            .map_err(refused)?;
        if let Err(refusal) = answer.await.unwrap_or(Err(CaptureRefused::Busy)) {
            desk.captures.abandon(&tap);
            return Err(refused(refusal));
        }
        let port = self.ports.get(stint.port);
        let Some(attached) = port.and_then(|port| port.capture(stint.media, tap.clone())) else {
            tap.end(clock::now());
            return Err(refused(CaptureRefused::Busy));
        };
        if attached.await.is_err() {
            // The media thread is gone: the server is ending.
            tap.end(clock::now());
        }
        let state = desk.captures.state(call);
        state.ok_or_else(|| ServiceError::Conflict(format!("call {call} is over")))
    }

    /// The media of a call that can be captured, and zero of the call's clock.
    async fn capturable(&self, call: &CallId) -> Result<(MediaRun, Instant), ServiceError> {
        let found = self.book(|book| {
            let entry = book.find(call)?;
            let stint = entry.running()?;
            Some((stint.clone(), entry.zero_for(stint.zero)))
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
        let captures = &self.capture_desk()?.captures;
        let stopped = captures.stop(call, clock::now()).await.map_err(refused)?;
        stopped.ok_or_else(|| ServiceError::Conflict(format!("call {call} is not being captured")))
    }

    pub(super) async fn read_capture(
        &self,
        call: &CallId,
        part: CapturePart,
    ) -> Result<CaptureFile, ServiceError> {
        let desk = self.capture_desk()?;
        if let Some(file) = desk.captures.read(call, part).await.map_err(refused)? {
            return Ok(file);
        }
        self.record(call).await?;
        Err(ServiceError::NoCapture(call.clone()))
    }

    /// Starts a capture if the rule takes the call, which has just been opened, before anything
    /// reaches its media. Done under the lock of the call registry, so that the media thread gets
    /// its orders in order.
    pub(super) fn capture_by_rule(&self, book: &CallRegistry, call: &CallId, stint: &MediaRun) {
        let Some((desk, entry)) = self.captures.as_ref().zip(book.find(call)) else {
            return;
        };
        if !desk.rule.takes(entry.record.origin) {
            return;
        }
        let zero = entry.zero_for(stint.zero);
        let start = self.start_order(call, stint, zero, desk.max_bytes);
        match desk.captures.start(start, clock::now(), clock::wall()) {
            // What comes of it is news.
            Ok((tap, _answer)) => {
                let port = self.ports.get(stint.port);
                // Orders are taken in order: it is there before the first leg.
                let ordered = port.and_then(|port| port.capture(stint.media.clone(), tap.clone()));
                if ordered.is_none() {
                    tap.end(clock::now());
                }
            }
            Err(refused) => tracing::error!(%call, %refused, "a call is not captured"),
        }
    }

    /// Ends the capture of a media run that has closed.
    pub(super) fn captured_media_closed(&self, media: &CallId) {
        if let Some(desk) = &self.captures {
            desk.captures.media_closed(media, clock::now());
        }
    }

    /// Brings the figures of running captures up to date, for readers.
    pub(super) fn show_captures(&self, book: &mut CallRegistry) {
        if let Some(desk) = &self.captures {
            book.show_captures(|call| desk.captures.state(call));
        }
    }

    /// Tap of Asterisk's events for the captures; `None` if captures are off.
    pub(super) fn event_tap(self: &Arc<Self>) -> Option<Arc<dyn EventTap>> {
        let desk = self.captures.as_ref()?;
        Some(Arc::new(CaptureEar {
            captures: Arc::clone(&desk.captures),
            desk: Arc::clone(self),
        }))
    }

    fn start_order(
        &self,
        call: &CallId,
        stint: &MediaRun,
        zero: Instant,
        max_bytes: u64,
    ) -> StartCapture {
        let target = self.config.targets[stint.port];
        StartCapture {
            call: call.clone(),
            media: stint.media.clone(),
            to: (target.host, target.port).into(),
            zero,
            max_bytes,
        }
    }

    fn capture_desk(&self) -> Result<&CaptureDesk, ServiceError> {
        let none = || {
            let text = "calls are not captured here: CAPTURE_DIR is not set";
            ServiceError::Unprocessable(text.to_owned())
        };
        self.captures.as_ref().ok_or_else(none)
    }
}

fn record(book: &mut CallRegistry, captures: &CaptureSet, news: CaptureNews) {
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
            return book.note(&call, format!("not captured: {refused}"));
        }
    };
    tracing::info!(%call, text, "capture");
    // Another one may have begun meanwhile.
    let state = captures.state(&call).unwrap_or(state);
    book.capture(&call, at, state, kind, text);
}

fn refused(refused: CaptureRefused) -> ServiceError {
    ServiceError::Conflict(refused.to_string())
}

/// Receiver of Asterisk's events for the captures.
#[derive(Debug)]
struct CaptureEar {
    captures: Arc<CaptureSet>,
    desk: Arc<CallManager>,
}

impl EventTap for CaptureEar {
    fn is_wanted(&self) -> bool {
        self.captures.wants_events()
    }

    fn take(&self, call: &str, heard: Instant, text: &str) {
        let open = self.desk.book(|book| book.call_on(call));
        let call = open.unwrap_or_else(|| channel::call_id(call));
        self.captures.event(&call, heard, text);
    }
}
