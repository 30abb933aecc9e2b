//! Upkeep of the store: lost writes are repeated, expired calls forgotten, and it is watched
//! whether the store takes writes at all.

use std::collections::HashSet;
use std::time::Duration;

use asterscribe_call::CallId;
use asterscribe_clock as clock;
use asterscribe_store::{GivenCounts, StoreError};

use super::registry::RemovalOutcome;
use super::{CallManager, CallPhase};
use crate::service::ServiceError;

/// Time between two looks for calls that are to be forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// Time between two looks at the store.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long the store may take to get what was written before it is asked.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

/// Lines that are written again at a time, before the store is waited for.
const AT_ONCE: usize = 256;

/// How long the spool's disk may take to close its file.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

impl CallManager {
    /// Forgets in time what the store forgets, and sees to it that the store takes what it is
    /// given, and has it.
    pub async fn follow_store(&self) {
        let mut forget = tokio::time::interval(FORGET_EVERY);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut hopeless = HashSet::new();
        loop {
            tokio::select! {
                _ = forget.tick() => {
                    let keep = self.config.retention;
                    self.registry(|registry| registry.forget(clock::wall(), keep));
                }
                _ = look.tick() => {
                    self.stored.try_write().await;
                    self.restore(&mut hopeless).await;
                }
            }
        }
    }

    /// Writes again what the store has lost of the calls that are here: it may have come back
    /// empty, or older than it was. Once for each call: `hopeless` are those for which it did not
    /// help.
    pub(super) async fn restore(&self, hopeless: &mut HashSet<CallId>) {
        let given = self.given(|_| true);
        hopeless.retain(|call| given.iter().any(|given| given.call == *call));
        for call in self.stored.lacking(&given, WRITTEN_WITHIN).await {
            if hopeless.contains(&call) {
                continue;
            }
            tracing::warn!(%call, "the store has lost parts of this call; writing them again");
            let mut from = Some(0);
            while let Some(next) = from {
                from = self.registry(|registry| registry.write_again(&call, next, AT_ONCE));
                if self.stored.writer.flush(WRITTEN_WITHIN).await.is_err() {
                    return;
                }
            }
            self.stored.count_restored();
            let now = self.given(|given| given.call == call);
            if !self.stored.lacking(&now, WRITTEN_WITHIN).await.is_empty() {
                tracing::error!(%call, "the store does not accept the lost parts of this call");
                hopeless.insert(call);
            }
        }
    }

    fn given(&self, which: impl Fn(&GivenCounts) -> bool) -> Vec<GivenCounts> {
        let keep = self.config.retention;
        let mut given = self.registry(|registry| registry.given(clock::now(), keep));
        given.retain(which);
        given
    }

    /// Removes all that there is of a call: here, in the store, in the spool and as a capture.
    pub(super) async fn erase_call(&self, call: &CallId) -> Result<(), ServiceError> {
        // Nobody else writes about a call that is over.
        let _alone = self.late.alone().await;
        let goes_on = || ServiceError::Conflict(format!("call {call} goes on: hang it up first"));
        let here = self.registry(|registry| registry.phase(call));
        if let Some((CallPhase::Open | CallPhase::Ending, _)) = here {
            return Err(goes_on());
        }
        let is_stored = self.is_stored(call).await?;
        let was_captured = self.erase_capture(call).await?;
        let was_spooled = self.erase_spooled(call).await?;
        if !is_stored && here.is_none() && !was_captured && !was_spooled {
            return Err(ServiceError::UnknownCall(call.clone()));
        }
        let erased = self.registry(|registry| {
            let erased = registry.erase(call);
            if erased != RemovalOutcome::Open {
                registry.write_erasure(call);
            }
            erased
        });
        if erased == RemovalOutcome::Open {
            return Err(goes_on());
        }
        let not_yet = |error: String| {
            ServiceError::StoreUnavailable(format!("call {call} is not erased yet: {error}"))
        };
        let flushed = self.stored.writer.flush(WRITTEN_WITHIN).await;
        flushed.map_err(|error| not_yet(error.to_string()))?;
        if self.is_stored(call).await? {
            return Err(not_yet("the store still has something of it".to_owned()));
        }
        tracing::info!(%call, "erased");
        Ok(())
    }

    /// Whether the store has anything of a call that is not open.
    async fn is_stored(&self, call: &CallId) -> Result<bool, ServiceError> {
        // What cannot be read can be erased all the same.
        let known = |asked: Result<bool, StoreError>| match asked {
            Err(StoreError::Broken(_)) => Ok(true),
            other => other.map_err(|error| ServiceError::StoreUnavailable(error.to_string())),
        };
        match self.stored.store.call(call).await {
            Ok(Some(record)) if record.status.is_open() => return Err(self.elsewhere(&record)),
            Ok(None) => {}
            found => return known(found.map(|_| true)),
        }
        let lines = self.stored.store.lines_below(call, u64::MAX).await;
        let digits = self.stored.store.dtmf(call).await;
        Ok(known(lines.map(|count| count > 0))? || known(digits.map(|all| !all.is_empty()))?)
    }

    async fn erase_capture(&self, call: &CallId) -> Result<bool, ServiceError> {
        let Some(control) = &self.captures else {
            return Ok(false);
        };
        let erased = control.captures.erase(call).await;
        erased.map_err(|refused| ServiceError::Busy(refused.to_string()))
    }

    async fn erase_spooled(&self, call: &CallId) -> Result<bool, ServiceError> {
        let Some(spool) = self.late.spool.clone() else {
            return Ok(false);
        };
        let of = call.clone();
        let erased = tokio::task::spawn_blocking(move || spool.erase(of)).await;
        let gone = StoreError::Unavailable("the spool's thread has ended".to_owned());
        match erased.unwrap_or(Err(gone)) {
            Ok(count) => Ok(count > 0),
            Err(error) => Err(ServiceError::Busy(format!("the spool: {error}"))),
        }
    }

    /// Closes the files: nothing that was removed is left in a log beside them.
    pub async fn close_files(&self) {
        if let Err(error) = self.stored.store.close().await {
            tracing::error!(%error, "cannot close the store");
        }
        let Some(spool) = self.late.spool.clone() else {
            return;
        };
        let closed = tokio::task::spawn_blocking(move || spool.close());
        match tokio::time::timeout(CLOSED_WITHIN, closed).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "cannot close the spool"),
            Ok(Err(_)) | Err(_) => tracing::error!("the disk of the spool does not respond"),
        }
    }
}
