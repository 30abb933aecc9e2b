//! Lines that say more than when they were told.

use super::{CallBook, Found, Recovered};
use crate::call::{CallId, CallRecord, GapReason, Leg, Outcome, TranscriptLine};
use crate::store::Write;

/// What became of the attempt to let a line say more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revised {
    /// It is written, now or before; whether its audio is to be kept on, to be heard once more.
    Done { again: bool },
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
        let Some(line) = line else {
            return Revised::NoSuchLine;
        };
        let again = entry.revise(found.clone(), &line, writes);
        Revised::Done { again }
    }

    /// The same of a call that ended long ago, or with an earlier process.
    pub(crate) fn revise_stored(
        &mut self,
        call: CallId,
        record: Option<CallRecord>,
        found: Found,
        line: &TranscriptLine,
    ) -> bool {
        let had = found.had_its_first(line);
        let Some(applied) = found.apply(line) else {
            return had;
        };
        let line = applied.line.clone();
        let again = line.spool.is_some();
        self.writes.push(Write::Revise { call, line });
        if let Some(mut record) = record {
            applied.revise(&mut record);
            applied.recovered.correct(&mut record.legs);
            self.writes.push(Write::Call(Box::new(record)));
        }
        again
    }

    /// What of a call is still to be heard, by its lines: what a crash left may say otherwise.
    pub(crate) fn recount(&mut self, record: Option<CallRecord>, lines: &[TranscriptLine]) {
        let Some(mut record) = record else { return };
        if self.find(&record.call_id).is_some() || record.status.is_open() {
            return;
        }
        let told = (record.awaited, record.second_pass.waiting);
        record.count_awaited(lines);
        if told != (record.awaited, record.second_pass.waiting) {
            self.writes.push(Write::Call(Box::new(record)));
        }
    }

    /// Whether a call is over and something of it is to be heard once more.
    pub(crate) fn awaits_second_pass(&self, call: &CallId) -> bool {
        let ended = self.find(call).filter(|_| !self.is_open(call));
        ended.is_some_and(|entry| entry.record.second_pass.waiting > 0)
    }

    /// An utterance of a call was to be kept, to be heard once more, and is not.
    pub(crate) fn not_kept_for_second_pass(&mut self, media: &CallId) {
        let Self { open, live, .. } = self;
        if let Some(entry) = live.get(media).and_then(|call| open.get_mut(call)) {
            entry.record.second_pass.not_kept += 1;
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
                was: Outcome::Gap(GapReason::Spooled),
                outcome: Outcome::Gap(GapReason::OverloadShed),
                audio,
                utterances: 1,
            });
        }
    }
}
