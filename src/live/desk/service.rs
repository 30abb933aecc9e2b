//! The desk answers the REST API.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use asterscribe_codecs::MediaFormat;
use async_trait::async_trait;
use tokio::time::timeout;

use super::book::{Entry, Opening};
use super::{Desk, lock};
use crate::call::{CallId, CallRecord, CallStatus, DtmfDigit, EndReason, Origin, TranscriptLine};
use crate::live::media::LegRefused;
use crate::service::{
    CallService, CallStatusView, Health, InitiateRequest, MediaGrant, MediaRequest, PartHealth,
    PartState, ServiceError, TranscriptView,
};
use crate::store::{Counters, StoreError, WriterState};

/// A store that hangs must not make `/health` hang.
const HEALTH_PATIENCE: Duration = Duration::from_millis(500);

#[async_trait]
impl CallService for Desk {
    async fn health(&self) -> Health {
        let counters = timeout(HEALTH_PATIENCE, self.store.counters()).await;
        let store = self.store_health(&counters);
        let asterisk = self.ari.as_ref().map_or_else(
            || PartHealth {
                state: PartState::Off,
                detail: "ASTERISK_ARI_URL is not set".to_owned(),
            },
            |ari| ari.health(),
        );
        let (model, media) = (self.model_health(), self.media_health());
        let troubled = [&asterisk, &store, &model, &media]
            .iter()
            .any(|part| matches!(part.state, PartState::Degraded | PartState::Down));
        Health {
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
            active_calls: self.book(|book| book.open_count()) as u64,
            max_concurrent_calls: self.config.max_calls as u64,
            total_calls_processed: counters
                .ok()
                .and_then(Result::ok)
                .unwrap_or_default()
                .processed,
        }
    }

    async fn initiate(&self, request: InitiateRequest) -> Result<CallRecord, ServiceError> {
        let ari = self.ari()?;
        self.check_capacity()?;
        let call = ari.fresh_call_id();
        let endpoint = self.config.endpoint.endpoint(&request.destination);
        self.command(&call, ari.originate(&call, endpoint, &request))
            .await?;
        self.book(|book| book.numbers(&call, request.caller_number, request.destination));
        self.record(&call).await
    }

    async fn calls(&self, limit: usize) -> Result<Vec<CallRecord>, ServiceError> {
        // A store that is away must not hide the calls that are here.
        let stored = self.store.calls(limit).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "listing only the calls of this process");
            Vec::new()
        });
        let mut calls: BTreeMap<CallId, CallRecord> = stored
            .into_iter()
            .map(|record| (record.call_id.clone(), record))
            .collect();
        self.book(|book| {
            calls.extend(
                book.iter()
                    .map(|entry| (entry.record.call_id.clone(), entry.record.clone())),
            );
        });
        let mut calls: Vec<_> = calls.into_values().collect();
        calls.sort_by(|a, b| {
            b.started_at
                .cmp(&a.started_at)
                .then_with(|| b.call_id.cmp(&a.call_id))
        });
        calls.truncate(limit);
        Ok(calls)
    }

    async fn status(&self, call: &CallId) -> Result<CallStatusView, ServiceError> {
        let Some(Entry {
            record,
            dtmf,
            first_digit,
            ..
        }) = self.entry(call)
        else {
            let record = self.stored(call).await?;
            let dtmf = self.store.dtmf(call).await.map_err(unavailable)?;
            return Ok(CallStatusView { call: record, dtmf });
        };
        let mut digits: Vec<DtmfDigit> = Vec::new();
        if first_digit > 0 {
            digits = self.store.dtmf(call).await.map_err(unavailable)?;
            digits.truncate(usize::try_from(first_digit).unwrap_or(usize::MAX));
        }
        digits.extend(dtmf);
        Ok(CallStatusView {
            call: record,
            dtmf: digits,
        })
    }

    async fn transcript(
        &self,
        call: &CallId,
        from_seq: u64,
    ) -> Result<TranscriptView, ServiceError> {
        let call_id = call.clone();
        let Some(Entry {
            record,
            lines: here,
            ..
        }) = self.entry(call)
        else {
            let lines = self
                .store
                .lines(call, from_seq)
                .await
                .map_err(unavailable)?;
            // A transcript outlives its call's record.
            let complete = match self.stored(call).await {
                Ok(record) => !record.status.is_open(),
                Err(ServiceError::UnknownCall(_)) if !lines.is_empty() => true,
                Err(error) => return Err(error),
            };
            return Ok(TranscriptView {
                call_id,
                complete,
                lines,
            });
        };
        let first_here = here.first().map_or(record.lines, |line| line.seq);
        let mut lines: Vec<TranscriptLine> = Vec::new();
        if from_seq < first_here {
            lines = self
                .store
                .lines(call, from_seq)
                .await
                .map_err(unavailable)?;
            lines.retain(|line| line.seq < first_here);
        }
        lines.extend(here.into_iter().filter(|line| line.seq >= from_seq));
        Ok(TranscriptView {
            call_id,
            complete: !record.status.is_open(),
            lines,
        })
    }

    async fn transcribe(&self, channel: &CallId) -> Result<CallRecord, ServiceError> {
        let ari = self.ari()?;
        if self.book(|book| book.is_open(channel)) {
            return Err(ServiceError::Conflict(format!(
                "call {channel} is being transcribed already"
            )));
        }
        self.check_capacity()?;
        self.command(channel, ari.tap(channel)).await?;
        self.record(channel).await
    }

    async fn hangup(&self, call: &CallId) -> Result<CallRecord, ServiceError> {
        let Some(entry) = self
            .entry(call)
            .filter(|entry| entry.record.status.is_open())
        else {
            let record = self.record(call).await?;
            return Err(ServiceError::Conflict(format!(
                "call {} is over",
                record.call_id
            )));
        };
        if entry.record.origin == Origin::Media {
            let reason = EndReason {
                cause: None,
                text: "ended through the API".to_owned(),
            };
            self.end(call, reason, CallStatus::Ended);
        } else {
            let ari = self.ari()?;
            self.command(call, ari.hang_up(call)).await?;
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
        } = request;
        let format: MediaFormat = format
            .parse()
            .map_err(|error| ServiceError::Unprocessable(format!("{error}")))?;
        let fresh = self.admit_media(call).await?;
        let placed = self
            .add_registered_leg(call, leg.clone(), source, format)
            .await;
        if let Err(refused) = placed {
            if fresh {
                let reason = EndReason {
                    cause: None,
                    text: refused.to_string(),
                };
                self.end(call, reason, CallStatus::Failed);
            }
            return Err(match refused {
                LegRefused::Overloaded => ServiceError::AtCapacity {
                    max: self.config.max_calls as u64,
                },
                conflict => ServiceError::Conflict(conflict.to_string()),
            });
        }
        let port = self.book(|book| book.find(call).map_or(0, |entry| entry.port));
        let send_to = self.config.targets[port.min(self.config.targets.len() - 1)];
        Ok(MediaGrant {
            call_id: call.clone(),
            leg,
            send_to,
        })
    }
}

impl Desk {
    fn ari(&self) -> Result<&super::AriLink, ServiceError> {
        let none = || ServiceError::AsteriskUnavailable("ASTERISK_ARI_URL is not set".to_owned());
        self.ari.as_ref().ok_or_else(none)
    }

    fn check_capacity(&self) -> Result<(), ServiceError> {
        let busy = self.book(|book| book.open_count()) + lock(&self.pending).len();
        if busy >= self.config.max_calls {
            return Err(ServiceError::AtCapacity {
                max: self.config.max_calls as u64,
            });
        }
        Ok(())
    }

    /// Opens a registered call if there is none; whether it did.
    async fn admit_media(&self, call: &CallId) -> Result<bool, ServiceError> {
        if self.is_open_registration(call)? {
            return Ok(false);
        }
        let stored = self.store.call(call).await;
        // The call's other leg may have opened it while the store was asked.
        let _one_at_a_time = lock(&self.admission);
        if self.is_open_registration(call)? {
            return Ok(false);
        }
        if stored.is_ok_and(|stored| stored.is_some()) {
            return Err(ServiceError::Conflict(format!("call {call} is over")));
        }
        self.check_capacity()?;
        let opening = Opening {
            call: call.clone(),
            origin: Origin::Media,
            port: self.least_busy_port(),
            caller_number: None,
            destination: None,
            channel_name: None,
            resumed: None,
        };
        if self.open(opening, Some(self.config.media_idle)) {
            Ok(true)
        } else {
            Err(ServiceError::AtCapacity {
                max: self.config.max_calls as u64,
            })
        }
    }

    /// Whether the call is one that takes registrations; an error if it is another or over.
    fn is_open_registration(&self, call: &CallId) -> Result<bool, ServiceError> {
        let Some(entry) = self.entry(call) else {
            return Ok(false);
        };
        match (entry.record.status.is_open(), entry.record.origin) {
            (true, Origin::Media) => Ok(true),
            (true, _) => Err(ServiceError::Conflict(format!(
                "call {call} gets its media from Asterisk"
            ))),
            (false, _) => Err(ServiceError::Conflict(format!("call {call} is over"))),
        }
    }

    async fn add_registered_leg(
        &self,
        call: &CallId,
        leg: crate::call::Leg,
        source: std::net::SocketAddr,
        format: MediaFormat,
    ) -> Result<(), LegRefused> {
        let port = self
            .port_of(call)
            .and_then(|port| self.ports.get(port))
            .ok_or(LegRefused::NotOpen)?;
        port.add_leg(call.clone(), leg.clone(), source).await?;
        self.book(|book| book.leg(call, leg, source.to_string(), Some(format.to_string())));
        Ok(())
    }

    fn least_busy_port(&self) -> usize {
        let mut load = vec![0usize; self.ports.len()];
        self.book(|book| {
            for entry in book.open_calls() {
                if let Some(count) = load.get_mut(entry.port) {
                    *count += 1;
                }
            }
        });
        (0..load.len()).min_by_key(|&port| load[port]).unwrap_or(0)
    }

    fn entry(&self, call: &CallId) -> Option<Entry> {
        self.book(|book| book.find(call).cloned())
    }

    async fn record(&self, call: &CallId) -> Result<CallRecord, ServiceError> {
        match self.entry(call) {
            Some(entry) => Ok(entry.record),
            None => self.stored(call).await,
        }
    }

    async fn stored(&self, call: &CallId) -> Result<CallRecord, ServiceError> {
        let found = self.store.call(call).await.map_err(unavailable)?;
        found.ok_or_else(|| ServiceError::UnknownCall(call.clone()))
    }

    fn store_health(
        &self,
        counters: &Result<Result<Counters, StoreError>, tokio::time::error::Elapsed>,
    ) -> PartHealth {
        let name = self.store.name();
        match (&*self.writer.state().borrow(), counters) {
            (
                WriterState::Behind {
                    queued,
                    since,
                    reason,
                },
                _,
            ) => PartHealth {
                state: PartState::Down,
                detail: format!("{name}: {queued} writes wait since {since}: {reason}"),
            },
            (WriterState::Ok, Ok(Ok(_))) => PartHealth {
                state: PartState::Ok,
                detail: name.to_owned(),
            },
            (WriterState::Ok, Ok(Err(error))) => PartHealth {
                state: PartState::Down,
                detail: format!("{name}: {error}"),
            },
            (WriterState::Ok, Err(_)) => PartHealth {
                state: PartState::Down,
                detail: format!("{name} does not answer"),
            },
        }
    }

    fn model_health(&self) -> PartHealth {
        let (refused, failed) = (
            self.pool.refused.load(Ordering::Relaxed),
            self.pool.failed.load(Ordering::Relaxed),
        );
        let mut model = self.config.model.clone();
        if refused + failed > 0 {
            model.detail = format!(
                "{}; utterances refused for overload: {refused}, failed: {failed}",
                model.detail
            );
        }
        model
    }

    fn media_health(&self) -> PartHealth {
        let ports: Vec<String> = self
            .ports
            .iter()
            .map(|port| {
                let (counters, gate) = (port.counters(), port.counters().gate());
                format!(
                    "{}: {} datagrams, {} admitted, {} from unknown sources, {} not RTP, {} beyond the hold, {} held",
                    port.local(),
                    counters.datagrams(),
                    gate.admitted,
                    gate.unknown_source,
                    gate.unknown_not_rtp,
                    gate.hold_full,
                    gate.holding,
                )
            })
            .collect();
        let lost: u64 = self
            .ports
            .iter()
            .map(|port| port.counters().events_lost())
            .sum();
        let state = if lost > 0 {
            PartState::Degraded
        } else {
            PartState::Ok
        };
        PartHealth {
            state,
            detail: ports.join("; "),
        }
    }
}

fn unavailable(error: StoreError) -> ServiceError {
    ServiceError::StoreUnavailable(error.to_string())
}
