//! What became of speech after its line was told.

use super::Entry;
use crate::call::{Leg, LegRecord, Outcome, TranscriptLine};
use crate::store::{SpoolId, Write};

/// So much of a leg that had been put on the disk, and is that now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recovered {
    pub(crate) leg: Leg,
    pub(crate) outcome: Outcome,
    /// Audio, in 16 kHz samples.
    pub(crate) audio: u64,
    pub(crate) utterances: u64,
}

impl Recovered {
    /// One utterance.
    pub(crate) fn utterance(leg: Leg, outcome: Outcome, audio: u64) -> Self {
        Self {
            leg,
            outcome,
            audio,
            utterances: 1,
        }
    }

    /// Corrects the counters of its leg.
    pub(crate) fn correct(&self, legs: &mut [LegRecord]) {
        let Some(record) = legs.iter_mut().find(|record| record.leg == self.leg) else {
            return;
        };
        record.audio.recover(self.audio, self.outcome);
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
    /// The line whose audio is at that place on the disk.
    pub(in super::super) fn spooled_line(&self, id: SpoolId) -> Option<&TranscriptLine> {
        self.lines.iter().find(|line| line.spool == Some(id.0))
    }

    /// A line says more than it did. It is known by the place that its audio had; it may be so
    /// old that it is no longer here.
    pub(in super::super) fn revise(
        &mut self,
        id: SpoolId,
        line: TranscriptLine,
        recovered: Recovered,
        writes: &mut Vec<Write>,
    ) {
        let here = self.lines.iter_mut().find(|line| line.spool == Some(id.0));
        if let Some(here) = here {
            here.clone_from(&line);
        }
        self.recovered(recovered);
        self.record.revisions += 1;
        if self.held == super::Held::Nothing {
            let call = self.record.call_id.clone();
            writes.push(Write::Revise { call, line });
        }
        self.write_record(writes);
    }

    /// Keeps in mind what the media threads' counters know nothing of.
    pub(in super::super) fn recovered(&mut self, more: Recovered) {
        let same = |known: &&mut Recovered| known.leg == more.leg && known.outcome == more.outcome;
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
