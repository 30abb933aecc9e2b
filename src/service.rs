//! Interface between the REST API and the running server. `api` knows only this trait; `live`
//! implements it; tests of the API may put anything behind it.

use std::net::{IpAddr, SocketAddr};

use asterscribe_call::{
    CallChoices, CallId, CallKey, CallPlayback, CallRecord, CaptureState, ChannelRef, DtmfDigit,
    Leg, LegSides, PartialLine, SoundName, TranscriptLine,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::capture::{CaptureFile, CapturePart};
use crate::metrics::MetricFamily;

/// The server as the API sees it. Every method is bounded in time.
#[async_trait]
pub trait CallService: Send + Sync {
    /// Health of the parts. Never fails, never blocks on a part that hangs.
    async fn health(&self) -> ServiceHealth;
    /// Metrics for Prometheus. Never fails, waits for nothing.
    async fn metrics(&self) -> Vec<MetricFamily>;
    /// Places a call; answers once Asterisk has accepted the request.
    async fn initiate(&self, request: InitiateRequest) -> Result<CallRecord, ServiceError>;
    /// Takes the Stasis application back from another server that took it over; the result is the
    /// state of the connection before that.
    async fn take_back(&self) -> Result<PartHealth, ServiceError>;
    /// Model in use, and the state of the latest switch to another.
    async fn model(&self) -> Result<ModelView, ServiceError>;
    /// Begins to load another model; calls go on with the old one until it is there.
    async fn switch_model(&self, request: ModelRequest) -> Result<ModelView, ServiceError>;
    /// Open calls and the most recent ended ones, newest first.
    async fn calls(&self, request: CallsRequest) -> Result<CallsView, ServiceError>;
    /// Record and digits of one call.
    async fn status(&self, call: &CallId) -> Result<CallStatusView, ServiceError>;
    /// Lines of a call so far, from `from_seq` on.
    async fn transcript(
        &self,
        call: &CallId,
        from_seq: u64,
    ) -> Result<TranscriptView, ServiceError>;
    /// Taps an existing channel, by its id or its name; both parties become legs.
    async fn transcribe(
        &self,
        channel: &ChannelRef,
        request: TranscribeRequest,
    ) -> Result<CallRecord, ServiceError>;
    /// Hangs up a call of ours, or ends a tap or registration without touching the call behind it.
    async fn hangup(&self, call: &CallId) -> Result<CallRecord, ServiceError>;
    /// Removes all that is kept of a call that is over.
    async fn erase(&self, call: &CallId) -> Result<(), ServiceError>;
    /// Admits an RTP source that somebody else created.
    async fn register_media(
        &self,
        call: &CallId,
        request: MediaRequest,
    ) -> Result<MediaGrant, ServiceError>;
    /// Begins to record a call's packets and events.
    async fn start_capture(
        &self,
        call: &CallId,
        request: CaptureRequest,
    ) -> Result<CaptureState, ServiceError>;
    /// Ends the capture of a call; the file stays.
    async fn stop_capture(&self, call: &CallId) -> Result<CaptureState, ServiceError>;
    /// File with the packets, or the events, that were captured so far.
    async fn capture(&self, call: &CallId, part: CapturePart) -> Result<CaptureFile, ServiceError>;
    /// Plays a sound to a call, after those that wait already.
    async fn play(&self, call: &CallId, request: PlayRequest)
    -> Result<CallPlayback, ServiceError>;
    /// Stops that sound, or all of them; the result is the sounds that were playing or waiting.
    async fn stop_play(
        &self,
        call: &CallId,
        id: Option<u64>,
    ) -> Result<Vec<CallPlayback>, ServiceError>;
}

/// The query of `GET /api/calls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallsRequest {
    /// Most calls in the answer.
    pub limit: usize,
    /// Place in the list behind which the answer begins.
    pub before: Option<CallKey>,
}

/// Body of `GET /api/calls`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallsView {
    /// Calls, newest first.
    pub calls: Vec<CallRecord>,
    /// Whether some may be missing: the store does not answer.
    #[serde(default, rename = "partial", skip_serializing_if = "is_false")]
    pub is_partial: bool,
    /// Place where the list goes on, as `before` of the next request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn is_false(is: &bool) -> bool {
    !is
}

/// The body of `POST /api/call/{id}/play`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayRequest {
    /// Sound to be played.
    pub sound: SoundSource,
    /// Leg that the sound is played to; needed where a call has several.
    pub leg: Option<Leg>,
    /// Format that the sound is sent in, by Asterisk's name; as wide as the leg's own if absent.
    pub format: Option<String>,
}

/// Source of a sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SoundSource {
    /// A file of the server's folder of sounds.
    File(SoundName),
    /// A WAV file that comes with the request.
    Upload {
        /// Name of the sound in reports.
        name: SoundName,
        /// Bytes of the WAV file.
        wav: Vec<u8>,
    },
}

/// Body of `POST /api/call/initiate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitiateRequest {
    /// Caller id number that is shown to the called party.
    pub caller_number: String,
    /// Number or name to call; put into the endpoint template.
    pub destination: String,
    /// Label of the called party's leg; `callee` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg: Option<Leg>,
    /// Choices of how the call is recognised, where they differ from the settings.
    #[serde(
        default,
        deserialize_with = "CallChoices::from_object",
        skip_serializing_if = "CallChoices::is_empty"
    )]
    pub recognition: CallChoices,
}

/// Body of `POST /api/call/{id}/transcribe`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TranscribeRequest {
    /// Labels of the legs; `caller` and `callee`, by who called, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legs: Option<LegSides>,
    /// Choices of how the call is recognised, where they differ from the settings.
    #[serde(
        default,
        deserialize_with = "CallChoices::from_object",
        skip_serializing_if = "CallChoices::is_empty"
    )]
    pub recognition: CallChoices,
}

/// Body of `POST /api/call/{id}/media`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaRequest {
    /// Address that the RTP comes from; nothing else is accepted for this leg.
    pub source: SocketAddr,
    /// Label of the leg.
    pub leg: Leg,
    /// Format of the leg's audio, by Asterisk's name: one of
    /// [`MediaFormat::ALL`](asterscribe_codecs::MediaFormat::ALL).
    pub format: String,
    /// Choices of how the call is recognised, where they differ from the settings.
    #[serde(
        default,
        deserialize_with = "CallChoices::from_object",
        skip_serializing_if = "CallChoices::is_empty"
    )]
    pub recognition: CallChoices,
}

/// Body of `POST /api/model`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRequest {
    /// Name as in `WHISPER_MODEL_SIZE`, or `demo`.
    pub name: String,
}

/// Body of `GET /api/model`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelView {
    /// State of the latest switch.
    pub state: SwitchState,
    /// Model that is being loaded, or that could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// Reason why the switch failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Name of the model in use: that of its file or folder.
    pub name: String,
    /// Name and revision by which the lines of a transcript name the model.
    pub revision: String,
    /// SHA-256 of the model's file.
    pub sha256: String,
    /// Size of the model, bytes.
    pub bytes: u64,
    /// Whether the model is the demo model, which knows 120 words.
    pub demo: bool,
    /// Whether the encoder's context is fitted to each utterance.
    pub fits_audio_ctx: bool,
    /// Engine that computes the model: `whisper.cpp` or `CTranslate2`.
    pub engine: String,
    /// Encoder positions behind the sentinel, where the first try at English speech has one.
    pub sentinel_margin: Option<u16>,
    /// Encoder positions behind the utterance alone, for each try before the whole window.
    pub context_margins: Vec<u16>,
}

/// State of a switch of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwitchState {
    /// No switch is under way, and the latest has succeeded.
    Ready,
    /// A model is being loaded.
    Loading,
    /// The latest switch has failed; the model before it is in use.
    Failed,
}

/// Body of `POST /api/call/{id}/capture`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureRequest {
    /// Bytes that the capture may take; `CAPTURE_MAX_BYTES` unless less is asked for.
    #[serde(default)]
    pub max_bytes: Option<u64>,
}

/// Answer to the registration of a leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaGrant {
    /// Call of the leg, created if it did not exist.
    pub call_id: CallId,
    /// Label of the leg.
    pub leg: Leg,
    /// Address that the RTP is to be sent to.
    pub send_to: RtpTarget,
}

/// An address to send RTP to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtpTarget {
    /// IP address.
    pub host: IpAddr,
    /// UDP port.
    pub port: u16,
}

/// Body of `GET /api/call/{id}/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallStatusView {
    /// Record of the call.
    #[serde(flatten)]
    pub call: CallRecord,
    /// Digits pressed so far.
    pub dtmf: Vec<DtmfDigit>,
}

/// Body of `GET /api/call/{id}/transcript`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TranscriptView {
    /// Id of the call.
    pub call_id: CallId,
    /// Whether the transcript stays as it is: no line will follow, none is still to get its words,
    /// and none is missing.
    pub complete: bool,
    /// Lines of the call that the store has lost, or that cannot be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing: u64,
    /// Number of revisions of lines so far: whoever sees it grow asks for all lines again.
    #[serde(default)]
    pub revisions: u64,
    /// Lines in the order of `seq`.
    pub lines: Vec<TranscriptLine>,
    /// Partials: sentences that parties are still speaking; each becomes a line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partials: Vec<PartialLine>,
}

/// Health of one part of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartHealth {
    /// `ok`, `degraded`, `down` or `off`.
    pub state: PartState,
    /// Details, in words.
    pub detail: String,
}

/// State of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// Works.
    Ok,
    /// Works with a limitation that `detail` names.
    Degraded,
    /// Does not work now.
    Down,
    /// Not configured.
    Off,
}

/// Body of `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceHealth {
    /// `ok` if every configured part is; else `degraded`.
    pub status: PartState,
    /// Version of this program.
    pub version: String,
    /// Connection to Asterisk.
    pub asterisk: PartHealth,
    /// Connection to the store.
    pub store: PartHealth,
    /// The speech model; says plainly when it is the demo model.
    pub model: PartHealth,
    /// The RTP socket: datagrams received and refused, by reason.
    pub media: PartHealth,
    /// Speech on the disk that recognition had no time for yet.
    pub spool: PartHealth,
    /// Second pass: calls that are recognised once more when they are over.
    pub second_pass: PartHealth,
    /// Number of calls open now.
    pub active_calls: u64,
    /// `MAX_CONCURRENT_CALLS`.
    pub max_concurrent_calls: u64,
    /// Number of calls since the store was created.
    pub total_calls_processed: u64,
}

/// Reason why a request could not be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// 404: no call, or no channel, of that id.
    #[error("no call {0} is known")]
    UnknownCall(CallId),
    /// 404: no channel of that id or name.
    #[error("no channel {0} is known")]
    UnknownChannel(String),
    /// 404: the call has no capture, or has none any more.
    #[error("call {0} has no capture")]
    NoCapture(CallId),
    /// 404: no such file in the folder of sounds.
    #[error("there is no file {0} to play")]
    UnknownFile(SoundName),
    /// 404: no sound of that number is played to the call.
    #[error("playback {0} is neither playing nor waiting")]
    UnknownPlayback(u64),
    /// 403: the server does not send to that address; says what to set.
    #[error("{0}")]
    TargetNotAllowed(String),
    /// 409: the call, or the server, is in a state that does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// 422: understood, but cannot be done as asked; says what can.
    #[error("{0}")]
    Unprocessable(String),
    /// 503 + Retry-After: a bound of this server is reached that is not one of calls.
    #[error("{0}")]
    Busy(String),
    /// 503 + Retry-After: `MAX_CONCURRENT_CALLS` reached.
    #[error("all {max} call places are taken")]
    AtCapacity {
        /// Value of `MAX_CONCURRENT_CALLS`.
        max: u64,
    },
    /// 503 + Retry-After: `RTP_MODE=per-call`, and no port can be had; says why.
    #[error("no RTP port can be had: {0}")]
    NoRtpPort(String),
    /// 503 + Retry-After: Asterisk is not configured, or not reachable now.
    #[error("Asterisk cannot be asked: {0}")]
    AsteriskUnavailable(String),
    /// 502: Asterisk refused.
    #[error("Asterisk refused: {0}")]
    AsteriskRefused(String),
    /// 503 + Retry-After: the store does not answer.
    #[error("the store does not answer: {0}")]
    StoreUnavailable(String),
}
