//! What became of speech after its line was told.

use super::{Entry, Held};
use crate::call::{CallRecord, GapReason, Leg, LegRecord, Outcome, TranscriptLine};
use crate::session::conclude;
use crate::speech::Recognition;
use crate::store::{SpoolId, Write};

/// So much of a leg that had no text for a reason, and is something else now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recovered {
    pub(crate) leg: Leg,
    /// What it was told as.
    pub(crate) was: GapReason,
    pub(crate) outcome: Outcome,
    /// Audio, in 16 kHz samples.
    pub(crate) audio: u64,
    pub(crate) utterances: u64,
}

/// What was heard in the audio of a line that had been told.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The place of its audio in the spool.
    pub id: SpoolId,
    /// How much of it is audio, in 16 kHz samples.
    pub audio: u64,
    /// The words, or why there are none.
    pub result: Result<Recognition, GapReason>,
}

impl Found {
    /// The line as it is now, and what that changes in the counters.
    pub(crate) fn apply(self, line: &TranscriptLine) -> (TranscriptLine, Recovered) {
        let revision = line.revision + 1;
        let was = line.gap.unwrap_or(GapReason::Spooled);
        let (outcome, line) = conclude(line.clone(), self.result);
        let line = TranscriptLine {
            revision,
            spool: None,
            ..line
        };
        let recovered = Recovered {
            leg: line.leg.clone(),
            was,
            outcome,
            audio: self.audio,
            utterances: 1,
        };
        (line, recovered)
    }
}

impl Recovered {
    /// Notes it in the record of its call.
    pub(crate) fn revise(&self, record: &mut CallRecord) {
        record.revisions += 1;
        let was_awaited = u64::from(self.was == GapReason::Spooled);
        record.awaited = record.awaited.saturating_sub(was_awaited);
    }

    /// Corrects the counters of its leg.
    pub(crate) fn correct(&self, legs: &mut [LegRecord]) {
        let Some(record) = legs.iter_mut().find(|record| record.leg == self.leg) else {
            return;
        };
        record.audio.recover(self.was, self.audio, self.outcome);
        if matches!(self.outcome, Outcome::Transcribed | Outcome::NoWords) {
            let stats = &mut record.stats;
            // The counters of the media thread may still be on their way.
            let heard = self.utterances.min(stats.unrecognised);
            stats.unrecognised -= heard;
            stats.utterances += heard;
        }
    }
}

impl Entry {
    /// What is known of a line; it is known by the place that its audio had, and may be so old
    /// that it is no longer here.
    pub(in super::super) fn spooled_line(&self, id: SpoolId) -> Option<&TranscriptLine> {
        self.lines.iter().find(|line| line.spool == Some(id.0))
    }

    /// Whether its lines have their numbers and are written.
    pub(in super::super) fn is_settled(&self) -> bool {
        self.held == Held::Nothing
    }

    /// A line says more than it did.
    pub(in super::super) fn revise(
        &mut self,
        found: Found,
        line: &TranscriptLine,
        writes: &mut Vec<Write>,
    ) {
        let id = found.id;
        let (line, recovered) = found.apply(line);
        recovered.revise(&mut self.record);
        if let Some(here) = self.lines.iter_mut().find(|line| line.spool == Some(id.0)) {
            here.clone_from(&line);
        }
        self.recovered(recovered);
        let call = self.record.call_id.clone();
        writes.push(Write::Revise { call, line });
        self.write_record(writes);
    }

    /// Keeps in mind what the media threads' counters know nothing of.
    pub(in super::super) fn recovered(&mut self, more: Recovered) {
        let same = |known: &&mut Recovered| {
            (&known.leg, known.was, known.outcome) == (&more.leg, more.was, more.outcome)
        };
        match self.recovered.iter_mut().find(same) {
            Some(known) => {
                known.audio += more.audio;
                known.utterances += more.utterances;
            }
            None => self.recovered.push(more),
        }
        self.count();
    }
}
