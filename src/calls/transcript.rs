//! A call's transcript, wherever its lines are, and whether that is all of it.

use asterscribe_call::{CallId, TranscriptLine};

use super::CallManager;
use super::service::unavailable;
use crate::service::{ServiceError, TranscriptView};

/// The facts of a transcript apart from its lines.
#[derive(Debug, Clone, Copy)]
struct KnownTranscript {
    /// Numbers that its lines have, from 0.
    count: u64,
    /// Whether nothing more will come.
    is_over: bool,
    revisions: u64,
}

impl CallManager {
    pub(super) async fn view_transcript(
        &self,
        call: &CallId,
        from_seq: u64,
    ) -> Result<TranscriptView, ServiceError> {
        let here = self.registry(|registry| {
            let entry = registry.find(call)?;
            let first = entry.lines().first();
            let first = first.map_or(entry.record.lines, |line| line.seq);
            let wanted = entry.lines().iter().filter(|line| line.seq >= from_seq);
            let known = KnownTranscript {
                count: entry.record.lines,
                is_over: entry.record.is_complete(),
                revisions: entry.record.revisions,
            };
            let partials = entry.partials().to_vec();
            Some((first, wanted.cloned().collect::<Vec<_>>(), partials, known))
        });
        let Some((first_here, here, partials, known)) = here else {
            return self.stored_transcript(call, from_seq).await;
        };
        let mut lines: Vec<TranscriptLine> = Vec::new();
        if from_seq < first_here {
            lines = self
                .stored
                .store
                .lines(call, from_seq)
                .await
                .map_err(unavailable)?;
            lines.retain(|line| line.seq < first_here);
        }
        let missing = match known.is_over {
            true => self.missing(call, from_seq, first_here, &lines).await?,
            false => 0,
        };
        lines.extend(here);
        Ok(TranscriptView {
            partials,
            ..view(call, known, missing, lines)
        })
    }

    async fn stored_transcript(
        &self,
        call: &CallId,
        from_seq: u64,
    ) -> Result<TranscriptView, ServiceError> {
        // Before the lines: what is revised in between is in them, and at most not counted yet.
        let record = match self.stored(call).await {
            Ok(record) => Some(record),
            Err(ServiceError::UnknownCall(_)) => None,
            Err(error) => return Err(error),
        };
        let lines = self
            .stored
            .store
            .lines(call, from_seq)
            .await
            .map_err(unavailable)?;
        // A transcript outlives its call's record, and may expire before it.
        let known = match record {
            Some(record) => KnownTranscript {
                count: record.lines,
                is_over: record.is_complete(),
                revisions: record.revisions,
            },
            None if lines.is_empty() => return Err(ServiceError::UnknownCall(call.clone())),
            None => KnownTranscript {
                count: lines.last().map_or(0, |line| line.seq + 1),
                is_over: true,
                revisions: lines.iter().map(|line| u64::from(line.revision)).sum(),
            },
        };
        let missing = match known.is_over {
            true => self.missing(call, from_seq, known.count, &lines).await?,
            false => 0,
        };
        Ok(view(call, known, missing, lines))
    }

    /// How many of a call's lines up to number `upto` the store does not have, where `lines` are
    /// those that it has from a number on.
    async fn missing(
        &self,
        call: &CallId,
        from_seq: u64,
        upto: u64,
        lines: &[TranscriptLine],
    ) -> Result<u64, ServiceError> {
        let from = from_seq.min(upto);
        let before = match from {
            0 => 0,
            _ => self
                .stored
                .store
                .lines_below(call, from)
                .await
                .map_err(unavailable)?,
        };
        let here = lines.iter().filter(|line| line.seq < upto).count() as u64;
        Ok(upto.saturating_sub(before + here))
    }
}

fn view(
    call: &CallId,
    known: KnownTranscript,
    missing: u64,
    lines: Vec<TranscriptLine>,
) -> TranscriptView {
    // Words that are said to be there may not have reached the store.
    let awaits = |line: &TranscriptLine| line.awaits_words() || line.awaits_second_pass();
    TranscriptView {
        call_id: call.clone(),
        complete: known.is_over && missing == 0 && !lines.iter().any(awaits),
        missing,
        revisions: known.revisions,
        lines,
        partials: Vec::new(),
    }
}
