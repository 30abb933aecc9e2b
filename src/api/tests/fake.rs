//! A service that answers at once, fails, hangs or panics, as told.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use asterscribe_call::{
    CallChoices, CallId, CallIdentity, CallKey, CallOrigin, CallPlayback, CallRecord, CallStatus,
    CaptureState, ChannelRef, Leg, PlaybackState, SecondHearing, TranscriptLine,
};
use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::capture::{CaptureFile, CapturePart};
use crate::metrics::{MetricFamily, MetricValues};
use crate::service::{
    CallService, CallStatusView, CallsRequest, CallsView, CaptureRequest, InitiateRequest,
    MediaGrant, MediaRequest, ModelRequest, ModelView, PartHealth, PartState, PlayRequest,
    RtpTarget, ServiceError, ServiceHealth, SoundSource, SwitchState, TranscribeRequest,
    TranscriptView,
};

pub(super) struct Fake {
    pub(super) mood: Mood,
    /// Requests that the service was asked, in order.
    pub(super) asked: Mutex<Vec<String>>,
    /// One permit per request that has come in.
    pub(super) arrived: Semaphore,
    /// Requests being served now, and the most at any time.
    busy: AtomicUsize,
    pub(super) peak: AtomicUsize,
}

pub(super) enum Mood {
    Well,
    Fail(ServiceError),
    Panic,
    /// Answers after a permit has been added.
    Wait(Semaphore),
    /// Lets everybody else go first for a while.
    Linger,
    /// Transcripts of that many lines.
    Verbose(u64),
}

impl Fake {
    pub(super) fn new(mood: Mood) -> Self {
        Self {
            mood,
            asked: Mutex::default(),
            arrived: Semaphore::new(0),
            busy: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        }
    }

    pub(super) fn well() -> Self {
        Self::new(Mood::Well)
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    async fn ask(&self, what: String) -> Result<(), ServiceError> {
        self.asked.lock().unwrap().push(what);
        self.arrived.add_permits(1);
        let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(busy, Ordering::SeqCst);
        let outcome = self.behave().await;
        self.busy.fetch_sub(1, Ordering::SeqCst);
        outcome
    }

    async fn behave(&self) -> Result<(), ServiceError> {
        match &self.mood {
            Mood::Well | Mood::Verbose(_) => {}
            Mood::Fail(error) => return Err(error.clone()),
            Mood::Panic => panic!("as told"),
            Mood::Wait(gate) => gate.acquire().await.unwrap().forget(),
            Mood::Linger => {
                for _ in 0..10_000 {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }
}

/// The choices as JSON, or an empty text if there are none.
fn shown(recognition: &CallChoices) -> String {
    if recognition.is_empty() {
        return String::new();
    }
    format!(" {}", serde_json::to_string(recognition).unwrap())
}

pub(super) fn record(id: &CallId) -> CallRecord {
    CallRecord {
        call_id: id.clone(),
        status: CallStatus::Active,
        origin: CallOrigin::Stasis,
        caller_number: Some("100".to_owned()),
        destination: Some("200".to_owned()),
        channel_name: None,
        identity: CallIdentity::default(),
        started_at: jiff::Timestamp::UNIX_EPOCH,
        answered_at: None,
        ended_at: None,
        end_reason: None,
        recognition: CallChoices::default(),
        legs: Vec::new(),
        channel_states: Vec::new(),
        lines: 1,
        revisions: 0,
        awaited: 0,
        second_pass: SecondHearing::default(),
        notes: Vec::new(),
        events: Vec::new(),
        playing: Vec::new(),
        capture: None,
        node: "one".to_owned(),
    }
}

fn line(seq: u64) -> TranscriptLine {
    TranscriptLine {
        start_ms: seq * 1000,
        end_ms: seq * 1000 + 500,
        text: "good morning".to_owned(),
        confidence: 0.9,
        language: "en".to_owned(),
        ..TranscriptLine::new(seq, Leg::caller())
    }
}

fn model(state: SwitchState, wanted: Option<String>) -> ModelView {
    ModelView {
        state,
        wanted,
        reason: None,
        name: "ggml-tiny.en.bin".to_owned(),
        revision: "ggml-tiny.en.bin@921e4cf8".to_owned(),
        sha256: "921e4cf8".to_owned(),
        bytes: 77_704_715,
        demo: false,
        fits_audio_ctx: true,
        engine: "whisper.cpp".to_owned(),
        sentinel_margin: None,
        context_margins: vec![256],
    }
}

fn playback(name: &str) -> CallPlayback {
    CallPlayback {
        id: 3,
        leg: Leg::caller(),
        name: name.to_owned(),
        state: PlaybackState::Queued,
        played_ms: 0,
        length_ms: 1200,
        format: "ulaw".to_owned(),
    }
}

fn new_id() -> CallId {
    "em-1".parse().unwrap()
}

#[async_trait]
impl CallService for Fake {
    async fn health(&self) -> ServiceHealth {
        let _outcome = self.ask("health".to_owned()).await;
        let part = || PartHealth {
            state: PartState::Off,
            detail: "not configured".to_owned(),
        };
        ServiceHealth {
            status: PartState::Degraded,
            version: "9.9.9".to_owned(),
            asterisk: part(),
            store: part(),
            model: part(),
            media: part(),
            spool: part(),
            second_pass: part(),
            active_calls: 1,
            max_concurrent_calls: 100,
            total_calls_processed: 7,
        }
    }

    async fn metrics(&self) -> Vec<MetricFamily> {
        let _outcome = self.ask("metrics".to_owned()).await;
        vec![MetricFamily {
            name: "calls_open",
            help: "Calls open now",
            values: MetricValues::Gauge(1.0),
        }]
    }

    async fn take_back(&self) -> Result<PartHealth, ServiceError> {
        self.ask("take back".to_owned()).await?;
        let detail = "replaced".to_owned();
        Ok(PartHealth {
            state: PartState::Down,
            detail,
        })
    }

    async fn model(&self) -> Result<ModelView, ServiceError> {
        self.ask("model".to_owned()).await?;
        Ok(model(SwitchState::Ready, None))
    }

    async fn switch_model(&self, request: ModelRequest) -> Result<ModelView, ServiceError> {
        self.ask(format!("switch {}", request.name)).await?;
        Ok(model(SwitchState::Loading, Some(request.name)))
    }

    async fn initiate(&self, request: InitiateRequest) -> Result<CallRecord, ServiceError> {
        self.ask(format!(
            "initiate {} {}{}",
            request.caller_number,
            request.destination,
            shown(&request.recognition)
        ))
        .await?;
        Ok(record(&new_id()))
    }

    async fn calls(&self, request: CallsRequest) -> Result<CallsView, ServiceError> {
        let CallsRequest { limit, before } = request;
        let behind = before.map(|key| format!(" behind {key}"));
        self.ask(format!("calls {limit}{}", behind.unwrap_or_default()))
            .await?;
        let calls = vec![record(&new_id())];
        Ok(CallsView {
            next: (limit == 1).then(|| CallKey::of(&calls[0]).to_string()),
            is_partial: limit == 2,
            calls,
        })
    }

    async fn erase(&self, call: &CallId) -> Result<(), ServiceError> {
        self.ask(format!("erase {call}")).await
    }

    async fn status(&self, call: &CallId) -> Result<CallStatusView, ServiceError> {
        self.ask(format!("status {call}")).await?;
        Ok(CallStatusView {
            call: record(call),
            dtmf: Vec::new(),
        })
    }

    async fn transcript(
        &self,
        call: &CallId,
        from_seq: u64,
    ) -> Result<TranscriptView, ServiceError> {
        self.ask(format!("transcript {call} {from_seq}")).await?;
        let count = if let Mood::Verbose(count) = self.mood {
            count
        } else {
            1
        };
        let lines = (from_seq..from_seq.saturating_add(count))
            .map(line)
            .collect();
        Ok(TranscriptView {
            call_id: call.clone(),
            complete: false,
            missing: 0,
            revisions: 0,
            lines,
            partials: Vec::new(),
        })
    }

    async fn transcribe(
        &self,
        channel: &ChannelRef,
        request: TranscribeRequest,
    ) -> Result<CallRecord, ServiceError> {
        let TranscribeRequest { legs, recognition } = request;
        let legs = legs.map(|legs| format!(" {} and {}", legs.channel, legs.peer));
        self.ask(format!(
            "transcribe {channel}{}{}",
            legs.unwrap_or_default(),
            shown(&recognition)
        ))
        .await?;
        let call = channel.as_str().parse();
        Ok(record(
            &call.unwrap_or_else(|_| "made-from-it".parse().unwrap()),
        ))
    }

    async fn hangup(&self, call: &CallId) -> Result<CallRecord, ServiceError> {
        self.ask(format!("hangup {call}")).await?;
        Ok(record(call))
    }

    async fn register_media(
        &self,
        call: &CallId,
        request: MediaRequest,
    ) -> Result<MediaGrant, ServiceError> {
        self.ask(format!(
            "media {call} {} {} {}{}",
            request.source,
            request.leg,
            request.format,
            shown(&request.recognition)
        ))
        .await?;
        let send_to = RtpTarget {
            host: Ipv4Addr::LOCALHOST.into(),
            port: 40000,
        };
        Ok(MediaGrant {
            call_id: call.clone(),
            leg: request.leg,
            send_to,
        })
    }

    async fn play(
        &self,
        call: &CallId,
        request: PlayRequest,
    ) -> Result<CallPlayback, ServiceError> {
        let PlayRequest { sound, leg, format } = request;
        let (name, held) = match sound {
            SoundSource::File(name) => (name, "named".to_owned()),
            SoundSource::Upload { name, wav } => (name, format!("{} bytes", wav.len())),
        };
        let leg = leg.map_or_else(|| "any".to_owned(), |leg| leg.to_string());
        let format = format.unwrap_or_else(|| "any".to_owned());
        self.ask(format!("play {call} {name} {held} {leg} {format}"))
            .await?;
        Ok(playback(name.as_str()))
    }

    async fn stop_play(
        &self,
        call: &CallId,
        id: Option<u64>,
    ) -> Result<Vec<CallPlayback>, ServiceError> {
        self.ask(format!("stop {call} {id:?}")).await?;
        Ok(vec![playback("a.wav")])
    }

    async fn start_capture(
        &self,
        call: &CallId,
        request: CaptureRequest,
    ) -> Result<CaptureState, ServiceError> {
        self.ask(format!("capture {call} {:?}", request.max_bytes))
            .await?;
        Ok(capture_state(true))
    }

    async fn stop_capture(&self, call: &CallId) -> Result<CaptureState, ServiceError> {
        self.ask(format!("stop capture {call}")).await?;
        Ok(capture_state(false))
    }

    async fn capture(&self, call: &CallId, part: CapturePart) -> Result<CaptureFile, ServiceError> {
        self.ask(format!("read capture {call} {part:?}")).await?;
        let text = "x".repeat(CAPTURE_BYTES);
        Ok(CaptureFile {
            length: CAPTURE_BYTES as u64,
            body: Box::new(std::io::Cursor::new(text)),
        })
    }
}

/// Bytes of a capture, enough for several pieces of a download.
pub(super) const CAPTURE_BYTES: usize = 200_000;

fn capture_state(running: bool) -> CaptureState {
    CaptureState {
        running,
        packets: 5,
        bytes: 1000,
        rolled_off: 0,
        lost: 0,
    }
}
