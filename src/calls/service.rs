//! Service of the REST API by the call manager.

use std::net::SocketAddr;
use std::time::Duration;

use asterscribe_call::{
    CallId, CallOrigin, CallPlayback, CallRecord, CallStatus, CaptureState, ChannelRef, EndReason,
    Leg,
};
use asterscribe_clock as clock;
use asterscribe_codecs::MediaFormat;
use asterscribe_session::{ArrivalExpectation, ExpectedMedia};
use asterscribe_store::StoreError;
use async_trait::async_trait;
use tokio::time::timeout;

use super::pending::AskedCommand;
use super::registry::{CallPhase, CallRegistry};
use super::{CallManager, lock};
use crate::capture::{CaptureFile, CapturePart};
use crate::media::{LegRefused, OwnPort};
use crate::metrics::MetricFamily;
use crate::service::{
    CallService, CallStatusView, CallsRequest, CallsView, CaptureRequest, InitiateRequest,
    MediaGrant, MediaRequest, ModelRequest, ModelView, PartHealth, PartState, PlayRequest,
    RtpTarget, ServiceError, ServiceHealth, TranscribeRequest, TranscriptView,
};

/// A store that hangs must not make `/health` hang.
const HEALTH_PATIENCE: Duration = Duration::from_millis(500);

#[async_trait]
impl CallService for CallManager {
    async fn health(&self) -> ServiceHealth {
        let counters = timeout(HEALTH_PATIENCE, self.stored.store.counters()).await;
        let asterisk = self.asterisk_health();
        let store = self.with_rival(self.store_health(&counters));
        let (model, media) = (self.model_health(), self.media_health());
        let (spool, second_pass) = (self.spool_health(), self.second_pass_health());
        let troubled = [&asterisk, &store, &model, &media, &spool, &second_pass]
            .iter()
            .any(|part| matches!(part.state, PartState::Degraded | PartState::Down));
        let counters = counters.ok().and_then(Result::ok).unwrap_or_default();
        ServiceHealth {
            status: if troubled {
                PartState::Degraded
            } else {
                PartState::Ok
            },
            version: env!("CARGO_PKG_VERSION").to_owned(),
            asterisk,
            store,
            model,
            media,
            spool,
            second_pass,
            active_calls: self.registry(|registry| registry.open_count()) as u64,
            max_concurrent_calls: self.config.max_calls as u64,
            total_calls_processed: counters.processed,
        }
    }

    async fn metrics(&self) -> Vec<MetricFamily> {
        self.figures()
    }

    async fn initiate(&self, request: InitiateRequest) -> Result<CallRecord, ServiceError> {
        let ari = self.ari()?;
        self.check_choices(&request.recognition)?;
        self.check_capacity()?;
        let call = ari.fresh_call_id();
        let endpoint = self.config.endpoint.endpoint(&request.destination);
        let command = ari.originate(&call, endpoint, &request);
        let asked = AskedCommand::Initiate(request);
        self.command(call.as_str(), command, Some(asked)).await?;
        self.record(&call).await
    }

    async fn take_back(&self) -> Result<PartHealth, ServiceError> {
        self.take_asterisk_back()
    }

    async fn model(&self) -> Result<ModelView, ServiceError> {
        Ok(self.model_view())
    }

    async fn switch_model(&self, request: ModelRequest) -> Result<ModelView, ServiceError> {
        self.begin_switch(request).await
    }

    async fn calls(&self, request: CallsRequest) -> Result<CallsView, ServiceError> {
        Ok(self.list(request).await)
    }

    async fn erase(&self, call: &CallId) -> Result<(), ServiceError> {
        self.erase_call(call).await
    }

    async fn status(&self, call: &CallId) -> Result<CallStatusView, ServiceError> {
        let here = self.registry(|registry| {
            self.show_captures(registry);
            let entry = registry.find(call)?;
            Some(CallStatusView {
                call: entry.record.clone(),
                dtmf: entry.dtmf().to_vec(),
            })
        });
        if let Some(here) = here {
            return Ok(here);
        }
        let record = self.stored(call).await?;
        let dtmf = self.stored.store.dtmf(call).await.map_err(unavailable)?;
        Ok(CallStatusView { call: record, dtmf })
    }

    async fn transcript(
        &self,
        call: &CallId,
        from_seq: u64,
    ) -> Result<TranscriptView, ServiceError> {
        self.view_transcript(call, from_seq).await
    }

    async fn transcribe(
        &self,
        channel: &ChannelRef,
        request: TranscribeRequest,
    ) -> Result<CallRecord, ServiceError> {
        self.listen_in(channel, request).await
    }

    async fn hangup(&self, call: &CallId) -> Result<CallRecord, ServiceError> {
        let over = || ServiceError::Conflict(format!("call {call} is over"));
        match self.registry(|registry| registry.phase(call)) {
            Some((CallPhase::Open, CallOrigin::Media)) => {
                let text = "ended through the API".to_owned();
                self.end(call, EndReason { cause: None, text }, CallStatus::Ended);
            }
            Some((CallPhase::Open, _)) => {
                let ari = self.ari()?;
                let channel = self
                    .registry(|registry| registry.find(call).map(|entry| entry.channel.clone()));
                let channel = channel.ok_or_else(over)?;
                let command = ari.hang_up(channel.clone());
                match self.command(&channel, command, None).await {
                    // It ended by itself meanwhile.
                    Err(ServiceError::UnknownChannel(_)) => return Err(over()),
                    outcome => drop(outcome?),
                }
            }
            Some((CallPhase::Ending | CallPhase::Over, _)) => return Err(over()),
            None => {
                let record = self.stored(call).await?;
                return Err(if record.status.is_open() {
                    self.elsewhere(&record)
                } else {
                    over()
                });
            }
        }
        self.record(call).await
    }

    async fn register_media(
        &self,
        call: &CallId,
        request: MediaRequest,
    ) -> Result<MediaGrant, ServiceError> {
        let MediaRequest {
            source,
            leg,
            format,
            recognition,
        } = request;
        self.check_choices(&recognition)?;
        self.check_source(source)?;
        let format: MediaFormat = format
            .parse()
            .map_err(|error| ServiceError::Unprocessable(format!("{error}")))?;
        let own = self.lease_port()?;
        let own_port = own.as_ref().map(OwnPort::port);
        let fresh = self.admit_media(call, &recognition).await?;
        let placed = self
            .add_registered_leg(call, leg.clone(), source, format, own)
            .await;
        if let Some(admission) = fresh {
            self.conclude_admission(call, admission, &placed);
        }
        let thread = placed.map_err(|refused| match refused {
            LegRefused::Overloaded => self.at_capacity(),
            conflict => ServiceError::Conflict(conflict.to_string()),
        })?;
        let shared = self.config.targets[thread];
        let send_to = RtpTarget {
            port: own_port.unwrap_or(shared.port),
            ..shared
        };
        Ok(MediaGrant {
            call_id: call.clone(),
            leg,
            send_to,
        })
    }

    async fn start_capture(
        &self,
        call: &CallId,
        request: CaptureRequest,
    ) -> Result<CaptureState, ServiceError> {
        self.begin_capture(call, request).await
    }

    async fn stop_capture(&self, call: &CallId) -> Result<CaptureState, ServiceError> {
        self.end_capture(call).await
    }

    async fn capture(&self, call: &CallId, part: CapturePart) -> Result<CaptureFile, ServiceError> {
        self.read_capture(call, part).await
    }

    async fn play(
        &self,
        call: &CallId,
        request: PlayRequest,
    ) -> Result<CallPlayback, ServiceError> {
        self.play_sound(call, request).await
    }

    async fn stop_play(
        &self,
        call: &CallId,
        id: Option<u64>,
    ) -> Result<Vec<CallPlayback>, ServiceError> {
        self.stop_sound(call, id).await
    }
}

impl CallManager {
    pub(super) fn ari(&self) -> Result<&super::AriLink, ServiceError> {
        let none = || ServiceError::AsteriskUnavailable("ASTERISK_ARI_URL is not set".to_owned());
        self.asterisk.link.as_ref().ok_or_else(none)
    }

    pub(super) fn check_capacity(&self) -> Result<(), ServiceError> {
        self.registry(|registry| self.check_capacity_in(registry))
    }

    /// Checks that there is a place for another call. Calls of every origin count, and so do
    /// commands under way that will open one.
    pub(super) fn check_capacity_in(&self, registry: &CallRegistry) -> Result<(), ServiceError> {
        let known = |channel: &str| registry.call_on(channel).is_some();
        let asked = lock(&self.asterisk.pending).places(clock::now(), known);
        if registry.open_count() + asked >= self.config.max_calls {
            return Err(self.at_capacity());
        }
        self.check_load()
    }

    pub(super) fn at_capacity(&self) -> ServiceError {
        ServiceError::AtCapacity {
            max: self.config.max_calls as u64,
        }
    }

    /// A port for one leg, where legs have their own. Asked for before anything
    /// else: what is missing is said while nothing has begun.
    fn lease_port(&self) -> Result<Option<OwnPort>, ServiceError> {
        let leased = self
            .media
            .own_ports
            .as_ref()
            .map(|pool| pool.lease(clock::now()));
        let leased = leased.transpose();
        leased.map_err(|none| ServiceError::NoRtpPort(none.to_string()))
    }

    /// Places a leg of a registered call; the result is the index of its media thread.
    async fn add_registered_leg(
        &self,
        call: &CallId,
        leg: Leg,
        source: SocketAddr,
        format: MediaFormat,
        own: Option<OwnPort>,
    ) -> Result<usize, LegRefused> {
        let media_run = self.registry(|registry| registry.find(call)?.running().cloned());
        let media_run = media_run.ok_or(LegRefused::NotOpen)?;
        let thread = self
            .media
            .threads
            .get(media_run.thread)
            .ok_or(LegRefused::NotOpen)?;
        let expected = ExpectedMedia {
            format: Some(format),
            arrival: ArrivalExpectation::WithPauses,
        };
        thread
            .add_leg(media_run.media, leg.clone(), source, expected, own)
            .await?;
        self.registry(|registry| {
            registry.leg(call, leg, source.to_string(), Some(format.to_string()))
        });
        Ok(media_run.thread)
    }

    pub(super) fn least_busy_thread(&self) -> usize {
        let mut load = vec![0usize; self.media.threads.len()];
        self.registry(|registry| {
            for media_run in registry.open_calls().filter_map(|entry| entry.running()) {
                if let Some(count) = load.get_mut(media_run.thread) {
                    *count += 1;
                }
            }
        });
        (0..load.len()).min_by_key(|&port| load[port]).unwrap_or(0)
    }

    pub(super) async fn record(&self, call: &CallId) -> Result<CallRecord, ServiceError> {
        let here = self.registry(|registry| registry.find(call).map(|entry| entry.record.clone()));
        match here {
            Some(record) => Ok(record),
            None => self.stored(call).await,
        }
    }

    pub(super) async fn stored(&self, call: &CallId) -> Result<CallRecord, ServiceError> {
        let found = self.stored.store.call(call).await.map_err(unavailable)?;
        found.ok_or_else(|| ServiceError::UnknownCall(call.clone()))
    }

    /// Error for a call that the store has as open and this process does not have.
    pub(super) fn elsewhere(&self, record: &CallRecord) -> ServiceError {
        let CallRecord { call_id, node, .. } = record;
        if *node == self.config.node {
            ServiceError::AsteriskUnavailable(format!(
                "whether call {call_id} still goes on is not known yet"
            ))
        } else {
            ServiceError::Conflict(format!("call {call_id} is served by {node}"))
        }
    }
}

pub(super) fn unavailable(error: StoreError) -> ServiceError {
    ServiceError::StoreUnavailable(error.to_string())
}
