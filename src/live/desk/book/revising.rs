//! Lines that say more than when they were told.

use super::{CallBook, Found, Recovered};
use crate::call::{CallId, CallRecord, GapReason, Leg, Outcome, TranscriptLine};
use crate::store::Write;

/// What became of the attempt to let a line say more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revised {
    /// It is written.
    Done,
    /// The lines of the call may still get other numbers.
    NotYet,
    /// The call is here and the line is not.
    NoSuchLine,
    /// The call is not here.
    NoSuchCall,
}

impl CallBook {
    /// What was heard of a line that had been told. `stored` is the line, if the store was asked.
    pub(crate) fn revise(
        &mut self,
        call: &CallId,
        found: &Found,
        stored: Option<&TranscriptLine>,
    ) -> Revised {
        let Self {
            open,
            recent,
            writes,
            ..
        } = self;
        let mut recent = recent.iter_mut();
        let ended = recent.find(|entry| entry.record.call_id == *call);
        let Some(entry) = open.get_mut(call).or(ended) else {
            return Revised::NoSuchCall;
        };
        if !entry.is_settled() {
            return Revised::NotYet;
        }
        let line = entry.spooled_line(found.id).or(stored).cloned();
        match line {
            Some(line) => entry.revise(found.clone(), &line, writes),
            None => return Revised::NoSuchLine,
        }
        Revised::Done
    }

    /// The same of a call that ended long ago, or with an earlier process.
    pub(crate) fn revise_stored(
        &mut self,
        call: CallId,
        record: Option<CallRecord>,
        found: Found,
        line: &TranscriptLine,
    ) {
        let (line, recovered) = found.apply(line);
        self.writes.push(Write::Revise { call, line });
        if let Some(mut record) = record {
            recovered.revise(&mut record);
            recovered.correct(&mut record.legs);
            self.writes.push(Write::Call(Box::new(record)));
        }
    }

    /// So many lines of a call wait for their words: what a crash left may say otherwise.
    pub(crate) fn recount(&mut self, record: Option<CallRecord>, awaited: u64) {
        let Some(mut record) = record else { return };
        let is_here = self.find(&record.call_id).is_some();
        if !is_here && !record.status.is_open() && record.awaited != awaited {
            record.awaited = awaited;
            self.writes.push(Write::Call(Box::new(record)));
        }
    }

    /// So much was to be kept and could not be.
    pub(crate) fn unkept(&mut self, media: &CallId, leg: Leg, audio: u64) {
        if let Some(entry) = self
            .live
            .get(media)
            .and_then(|call| self.open.get_mut(call))
        {
            entry.recovered(Recovered {
                leg,
                was: GapReason::Spooled,
                outcome: Outcome::Gap(GapReason::OverloadShed),
                audio,
                utterances: 1,
            });
        }
    }
}
