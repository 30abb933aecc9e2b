//! Speech that recognition has no time for: put on the disk before its line is written, and the
//! line revised once there are words.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use asterscribe_call::{CallId, GapReason, TranscriptLine};
use asterscribe_clock as clock;
use asterscribe_session::DeferredLine;
use asterscribe_store::{
    RecognitionPass, SpeechSpool, SpoolError, SpoolId, SpoolStats, SpoolableSpeech, StoreError,
    UnflushedWrites,
};
use crossbeam_channel::{Sender, TrySendError};
use tokio::sync::mpsc;

use super::second_pass::SecondPassControl;
use super::troubles::RecentTroubles;
use super::{LateOutcome, LateResult};
use crate::calls::health::part;
use crate::calls::registry::{LateText, LineRevision, SecondPassProgress};
use crate::calls::{CallManager, lock};
use crate::service::{PartHealth, PartState};

/// Time for the store to take results before they are recognised again.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

/// Results that are taken in together, before the store is waited for.
const BATCH: usize = 64;

/// Speech that is recognised later: the spool, its second pass, and what is known of both.
pub(in crate::calls) struct LateSpeech {
    /// Spool, where there is one.
    pub(in crate::calls) spool: Option<SpeechSpool>,
    /// Second pass, once it has been started.
    pub(in crate::calls) second: OnceLock<SecondPassControl>,
    /// Places in the spool whose lines are still to be entered into the call registry.
    untold: Mutex<HashSet<SpoolId>>,
    /// Recent troubles of the spool, one for each pass.
    troubles: Mutex<[RecentTroubles; 2]>,
    /// Whether it has been said that speech is on the disk unencrypted.
    is_warned: AtomicBool,
    /// Lock of whoever revises a call in the store that is no longer in the call registry.
    revising: tokio::sync::Mutex<()>,
}

impl LateSpeech {
    pub(in crate::calls) fn new(spool: Option<SpeechSpool>) -> Self {
        Self {
            spool,
            second: OnceLock::new(),
            untold: Mutex::default(),
            troubles: Mutex::default(),
            is_warned: AtomicBool::new(false),
            revising: tokio::sync::Mutex::default(),
        }
    }

    /// Waits until nobody else revises a call that is over; nobody does while the guard lives.
    pub(in crate::calls) async fn alone(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.revising.lock().await
    }

    /// Whether this is the first warning that speech is on the disk unencrypted.
    pub(in crate::calls) fn warns_first(&self) -> bool {
        !self.is_warned.swap(true, Ordering::Relaxed)
    }
}

impl CallManager {
    /// Puts the audio of a deferred line into the spool before the line is written. Without room
    /// the line gets the gap `overload_shed`.
    pub(in crate::calls) async fn keep(&self, media: &CallId, deferred: &mut DeferredLine) {
        let call = self.registry(|registry| registry.call_of(media));
        let (Some(call), Some(spool)) = (call, &self.late.spool) else {
            return;
        };
        let speech = SpoolableSpeech {
            call,
            leg: deferred.line.leg.clone(),
            audio: deferred.audio,
            samples: std::mem::take(&mut deferred.samples),
            choices: (*deferred.choices).clone(),
            second_pass: deferred.second_pass.as_deref().map(str::to_owned),
        };
        let pass = match deferred.line.awaits_words() {
            true => RecognitionPass::First,
            false => RecognitionPass::Second,
        };
        let id = spool.place();
        lock(&self.late.untold).insert(id);
        let kept = spool.keep(id, speech, pass).await;
        let may_be_kept = match pass {
            // Where the disk was only too slow it may be there after all, and then the line is known.
            RecognitionPass::First => matches!(kept, Ok(()) | Err(SpoolError::Slow)),
            RecognitionPass::Second => kept.is_ok(),
        };
        if may_be_kept {
            deferred.line.state = deferred.line.state.at(id.0);
        } else {
            lock(&self.late.untold).remove(&id);
        }
        match (kept, pass) {
            (Ok(()), _) => {}
            (Err(error), RecognitionPass::First) => {
                tracing::error!(%media, %error, "an utterance has no text: recognition could not keep up");
                deferred.line.state = deferred.line.state.shed();
            }
            (Err(error), RecognitionPass::Second) => {
                tracing::warn!(%media, %error, "cannot keep an utterance for the second pass");
                self.registry(|registry| registry.not_kept_for_second_pass(media));
            }
        }
    }

    /// Enters a line of which the words are still to come, or will not come.
    pub(in crate::calls) fn defer(&self, media: &CallId, deferred: DeferredLine) {
        let DeferredLine { line, audio, .. } = deferred;
        let place = line.state.place();
        self.registry(|registry| {
            if line.state.gap() == Some(GapReason::OverloadShed) {
                // The media thread has counted on it.
                registry.unkept(media, line.leg.clone(), audio);
            }
            registry.line(media, line);
        });
        if let Some(place) = place {
            lock(&self.late.untold).remove(&SpoolId(place));
        }
    }

    /// Takes in late results until there are no more.
    pub async fn follow_backlog(
        &self,
        mut heard: mpsc::Receiver<LateResult>,
        handled: Sender<LateOutcome>,
    ) {
        let mut batch = Vec::new();
        while heard.recv_many(&mut batch, BATCH).await > 0 {
            let handed = batch.len();
            let done = self.take_in_all(std::mem::take(&mut batch)).await;
            if let Err(error) = &done {
                tracing::warn!(%error, handed, "results of spooled utterances are not stored yet");
            }
            for handled_now in done.unwrap_or_else(|NotStored { left, .. }| left) {
                // With nobody there to hear of it, it is heard again after the next start.
                let id = handled_now.id().0;
                if let Err(TrySendError::Full(_)) = handled.try_send(handled_now) {
                    tracing::error!(id, "the queue of late results is full");
                }
            }
        }
    }

    async fn take_in_all(&self, batch: Vec<LateResult>) -> Result<Vec<LateOutcome>, NotStored> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for heard in batch {
            let id = heard.found.id;
            outcomes.push(match self.take_in(&heard).await {
                Ok(again) => LateOutcome::Done { id, again },
                Err(error) => {
                    tracing::debug!(%error, id = id.0, "a spooled utterance waits on");
                    LateOutcome::Again(Box::new(heard))
                }
            });
        }
        // Not before it is stored is it removed from the spool; until then it is heard again.
        if let Err(error) = self.stored.writer.flush(WRITTEN_WITHIN).await {
            let left = outcomes.into_iter().map(|handled| match handled {
                LateOutcome::Done { id, .. } => LateOutcome::Unsure(id),
                other => other,
            });
            let left = left.collect();
            return Err(NotStored { error, left });
        }
        Ok(outcomes)
    }

    /// Writes a late result into its line, in the registry or in the store. The result is whether
    /// the audio is to be kept on for the second pass.
    async fn take_in(&self, heard: &LateResult) -> Result<bool, StoreError> {
        let LateResult { call, found } = heard;
        let found = &self.to_be_kept_on(found);
        let wait = |why: &str| Err(StoreError::Unavailable(format!("call {call} {why}")));
        if self.stored.is_far_behind() {
            return wait("has a store that is far behind");
        }
        if lock(&self.late.untold).contains(&found.id) {
            return wait("is still to be told of it");
        }
        // Not beside the other pass, which may be at the same call.
        let _alone = self.late.alone().await;
        match self.registry(|registry| registry.revise(call, found, None)) {
            LineRevision::Done { again } => return Ok(again),
            LineRevision::NotYet => return wait("may be one that the store knows"),
            LineRevision::NoSuchLine | LineRevision::NoSuchCall => {}
        }
        // What was written of the call a moment ago is what must be built on.
        let flushed = self.stored.writer.flush(WRITTEN_WITHIN).await;
        flushed.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let lines = self.stored.store.lines(call, 0).await?;
        let record = self.stored.store.call(call).await?;
        let is_it = |line: &&TranscriptLine| line.state.place() == Some(found.id.0);
        let Some(line) = lines.iter().find(is_it) else {
            // It was written before, perhaps by a process that died over it, or is gone.
            tracing::debug!(%call, id = found.id.0, "no line waits for a spooled utterance");
            self.registry(|registry| registry.recount(record, &lines));
            return Ok(false);
        };
        // What an earlier process left open is settled first, or goes on.
        let is_open = record
            .as_ref()
            .is_some_and(|record| record.status.is_open());
        self.registry(|registry| match registry.revise(call, found, Some(line)) {
            LineRevision::Done { again } => Ok(again),
            LineRevision::NotYet | LineRevision::NoSuchLine => {
                wait("may be one that the store knows")
            }
            LineRevision::NoSuchCall if is_open => wait("may still go on"),
            LineRevision::NoSuchCall => {
                Ok(registry.revise_stored(record, found, line, (call, &lines)))
            }
        })
    }

    /// The late result with `Wanted` changed to `NoRoom` where the spool has no room for a second
    /// pass.
    fn to_be_kept_on(&self, found: &LateText) -> LateText {
        let spool = self.late.spool.as_ref();
        let has_room = spool.is_some_and(SpeechSpool::has_room_for_second_pass);
        let again = match found.again {
            SecondPassProgress::Wanted if !has_room => SecondPassProgress::NoRoom,
            again => again,
        };
        LateText {
            again,
            ..found.clone()
        }
    }

    pub(in crate::calls) fn spool_health(&self) -> PartHealth {
        let Some(spool) = &self.late.spool else {
            return part(PartState::Off, "SPOOL_PATH is off".to_owned());
        };
        let stats = spool.stats(RecognitionPass::First);
        let figure = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let waiting = figure(&stats.waiting);
        let said = format!(
            "{waiting} utterances wait in {} bytes, {} were kept",
            figure(&stats.bytes),
            figure(&stats.kept)
        );
        let (troubles, is_in_trouble) = self.troubles(RecognitionPass::First, stats);
        let state = if waiting > 0 || is_in_trouble {
            PartState::Degraded
        } else {
            PartState::Ok
        };
        part(state, [vec![said], troubles].concat().join("; "))
    }

    /// Troubles of the spool in one pass, in words for `/health`, and whether any of them still
    /// lasts.
    pub(in crate::calls) fn troubles(
        &self,
        pass: RecognitionPass,
        stats: &SpoolStats,
    ) -> (Vec<String>, bool) {
        let mut troubles = lock(&self.late.troubles);
        let [first, second] = &mut *troubles;
        let of_pass = match pass {
            RecognitionPass::First => first,
            RecognitionPass::Second => second,
        };
        of_pass.look(stats, clock::now())
    }
}

/// The store did not take in time what was heard.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
struct NotStored {
    error: UnflushedWrites,
    left: Vec<LateOutcome>,
}
