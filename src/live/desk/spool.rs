//! Speech that nobody had time for: put on the disk before its line is told, and the line
//! told again once it has words.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::sync::mpsc;

use super::book::Recovered;
use super::health::part;
use super::{Desk, lock};
use crate::call::{CallId, GapReason, Outcome, TranscriptLine};
use crate::live::backlog::{Handled, Heard};
use crate::service::{PartHealth, PartState};
use crate::session::{Deferred, conclude};
use crate::store::{SpoolId, Spoolable, StoreError, Write};

/// How long the store may take for what was heard, before it is done again.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

/// What is heard at a time, before the store is waited for.
const BATCH: usize = 64;

impl Desk {
    /// A line whose words are still to come. Its audio is on the disk before anybody hears of
    /// it; or else it will have no words.
    pub(super) async fn defer(&self, media: &CallId, deferred: Deferred) {
        let Deferred {
            mut line,
            audio,
            samples,
            choices,
        } = deferred;
        let call = self.book(|book| book.call_of(media));
        let (Some(call), Some(spool)) = (call, &self.spool) else {
            return;
        };
        let speech = Spoolable {
            call,
            leg: line.leg.clone(),
            audio,
            samples,
            choices: (*choices).clone(),
        };
        match spool.keep(speech).await {
            Ok(id) => line.spool = Some(id.0),
            Err(error) => {
                tracing::error!(%media, %error, "an utterance has no text: recognition could not keep up");
                line.gap = Some(GapReason::OverloadShed);
                let shed = Outcome::Gap(GapReason::OverloadShed);
                let shed = Recovered::utterance(line.leg.clone(), shed, audio);
                self.book(|book| book.unkept(media, shed));
            }
        }
        self.book(|book| book.line(media, line));
    }

    /// Takes in what was heard at last, until nobody listens any more. What is `handled` was
    /// either written or must be heard again.
    pub async fn follow_backlog(&self, mut heard: mpsc::Receiver<Heard>, handled: Sender<Handled>) {
        let mut batch = Vec::new();
        while heard.recv_many(&mut batch, BATCH).await > 0 {
            let mut outcomes = Vec::with_capacity(batch.len());
            for heard in batch.drain(..) {
                let id = heard.id;
                let taken = self.take_in(heard).await;
                if let Err(error) = &taken {
                    tracing::warn!(%error, "what was heard of a spooled utterance cannot be written yet");
                }
                outcomes.push((id, taken.is_ok()));
            }
            let flushed = self.writer.flush(WRITTEN_WITHIN).await;
            if let Err(error) = &flushed {
                tracing::warn!(%error, "what was heard of spooled utterances is not stored yet");
            }
            for (id, taken) in outcomes {
                let is_done = taken && flushed.is_ok();
                // With nobody there to hear of it, it is heard again after the next start.
                let _unheard = handled.try_send(Handled { id, is_done });
            }
        }
    }

    /// Writes the words into their line, wherever that is.
    async fn take_in(&self, heard: Heard) -> Result<(), StoreError> {
        let Heard {
            id,
            call,
            audio,
            result,
        } = heard;
        if lock(&self.resumable).contains_key(&call) {
            let why = format!("call {call} may still go on");
            return Err(StoreError::Unavailable(why));
        }
        let line = match self.book(|book| book.spooled_line(&call, id)) {
            Some(Some(line)) => line,
            Some(None) | None => match self.stored_line(&call, id).await? {
                Some(line) => line,
                None => {
                    // It was written before, or has outlived its retention.
                    tracing::debug!(%call, id = id.0, "no line waits for a spooled utterance");
                    return Ok(());
                }
            },
        };
        let revision = line.revision + 1;
        let (outcome, line) = conclude(line, result);
        let line = TranscriptLine {
            revision,
            spool: None,
            ..line
        };
        let recovered = Recovered::utterance(line.leg.clone(), outcome, audio);
        if self.book(|book| book.revise(&call, id, &line, &recovered)) {
            return Ok(());
        }
        self.revise_stored(call, line, &recovered).await
    }

    async fn stored_line(
        &self,
        call: &CallId,
        id: SpoolId,
    ) -> Result<Option<TranscriptLine>, StoreError> {
        let flushed = self.writer.flush(WRITTEN_WITHIN).await;
        flushed.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let mut lines = self.store.lines(call, 0).await?.into_iter();
        Ok(lines.find(|line| line.spool == Some(id.0)))
    }

    /// A call that ended long ago, or with an earlier process.
    async fn revise_stored(
        &self,
        call: CallId,
        line: TranscriptLine,
        recovered: &Recovered,
    ) -> Result<(), StoreError> {
        let record = self.store.call(&call).await?;
        let record = record.map(|mut record| {
            recovered.correct(&mut record.legs);
            record.revisions += 1;
            Write::Call(Box::new(record))
        });
        let writes = [Some(Write::Revise { call, line }), record];
        for write in writes.into_iter().flatten() {
            let written = self.writer.write(write);
            written.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        }
        Ok(())
    }

    pub(super) fn spool_health(&self) -> PartHealth {
        let Some(spool) = &self.spool else {
            return part(PartState::Off, "SPOOL_PATH is off".to_owned());
        };
        let stats = spool.stats();
        let figure = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
        let (waiting, refused) = (figure(&stats.waiting), figure(&stats.refused));
        let mut said = vec![format!(
            "{waiting} utterances wait in {} bytes, {} were kept",
            figure(&stats.bytes),
            figure(&stats.kept)
        )];
        let troubles = [
            (refused, "could not be kept"),
            (figure(&stats.unreadable), "cannot be read: SPOOL_KEY"),
            (figure(&stats.expired), "were removed for their age"),
        ];
        let troubles = troubles.into_iter().filter(|(count, _)| *count > 0);
        let troubles: Vec<_> = troubles
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let state = if waiting > 0 || !troubles.is_empty() {
            PartState::Degraded
        } else {
            PartState::Ok
        };
        said.extend(troubles);
        part(state, said.join("; "))
    }
}
