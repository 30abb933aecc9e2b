//! Revisions of lines that have been written.

use asterscribe_call::{CallId, CallRecord, GapReason, Leg, TranscriptLine, UtteranceOutcome};
use asterscribe_store::{RecognitionPass, StoreWrite};

use super::{CallRegistry, LateText, RecoveredAudio, count_suppressed};

/// Outcome of revising a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineRevision {
    /// The revision is written, now or before; whether its audio is to be kept on, to be heard once more.
    Done { again: bool },
    /// The lines of the call may still get other numbers.
    NotYet,
    /// The call is here and the line is not.
    NoSuchLine,
    /// The call is not here.
    NoSuchCall,
}

impl CallRegistry {
    /// Revises a line by a late result. `stored` is the line as the store has it, if it was asked.
    pub(crate) fn revise(
        &mut self,
        call: &CallId,
        found: &LateText,
        stored: Option<&TranscriptLine>,
    ) -> LineRevision {
        let Self {
            open,
            recent,
            writes,
            suppressed,
            ..
        } = self;
        let mut recent = recent.iter_mut();
        let ended = recent.find(|entry| entry.record.call_id == *call);
        let Some(entry) = open.get_mut(call).or(ended) else {
            return LineRevision::NoSuchCall;
        };
        if !entry.is_settled() {
            return LineRevision::NotYet;
        }
        let line = entry.spooled_line(found.id).or(stored).cloned();
        let Some(line) = line else {
            return LineRevision::NoSuchLine;
        };
        let Some(applied) = found.apply(&line) else {
            let again = found.had_its_first(&line);
            return LineRevision::Done { again };
        };
        if found.pass == RecognitionPass::First {
            count_suppressed(suppressed, &applied.line);
        }
        let again = entry.revise(found.id, applied, writes);
        LineRevision::Done { again }
    }

    /// Revises a line of a call that ended long ago, or with an earlier process.
    pub(crate) fn revise_stored(
        &mut self,
        record: Option<CallRecord>,
        found: &LateText,
        line: &TranscriptLine,
        (call, lines): (&CallId, &[TranscriptLine]),
    ) -> bool {
        let Some(applied) = found.apply(line) else {
            self.recount(record, lines);
            return found.had_its_first(line);
        };
        if found.pass == RecognitionPass::First {
            count_suppressed(&mut self.suppressed, &applied.line);
        }
        let (call, line) = (call.clone(), applied.line.clone());
        let again = line.state.place().is_some();
        self.writes.push(StoreWrite::Revise { call, line });
        if let Some(mut record) = record {
            applied.revise(&mut record);
            applied.recovered.correct(&mut record.legs);
            self.writes.push(StoreWrite::Call(Box::new(record)));
        }
        again
    }

    /// Counts again, by the lines of a stored call, what is still to be recognised: after a crash
    /// the record may be out of step with them.
    pub(crate) fn recount(&mut self, record: Option<CallRecord>, lines: &[TranscriptLine]) {
        let Some(mut record) = record else { return };
        if self.find(&record.call_id).is_some() || record.status.is_open() {
            return;
        }
        let told = (record.awaited, record.second_pass.waiting);
        record.count_awaited(lines);
        if told != (record.awaited, record.second_pass.waiting) {
            self.writes.push(StoreWrite::Call(Box::new(record)));
        }
    }

    /// Whether a call is over and something of it is to be heard once more.
    pub(crate) fn awaits_second_pass(&self, call: &CallId) -> bool {
        let ended = self.find(call).filter(|_| !self.is_open(call));
        ended.is_some_and(|entry| entry.record.second_pass.waiting > 0)
    }

    /// Counts an utterance that could not be kept for the second pass.
    pub(crate) fn not_kept_for_second_pass(&mut self, media: &CallId) {
        let Self { open, live, .. } = self;
        if let Some(entry) = live.get(media).and_then(|call| open.get_mut(call)) {
            entry.record.second_pass.not_kept += 1;
        }
    }

    /// Corrects the counters for audio that could not be put into the spool.
    pub(crate) fn unkept(&mut self, media: &CallId, leg: Leg, audio: u64) {
        if let Some(entry) = self
            .live
            .get(media)
            .and_then(|call| self.open.get_mut(call))
        {
            entry.recovered(RecoveredAudio {
                leg,
                was: UtteranceOutcome::Gap(GapReason::Spooled),
                outcome: UtteranceOutcome::Gap(GapReason::OverloadShed),
                audio,
                utterances: 1,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::registry::SecondPassProgress;
    use asterscribe_call::LineState;
    use asterscribe_speech::Recognition;
    use asterscribe_store::{RecognitionPass, SpoolId};

    fn record() -> CallRecord {
        let json = serde_json::json!({
            "call_id": "1.2", "status": "ended", "origin": "media", "started_at": "2026-01-01T00:00:00Z",
            "legs": [], "lines": 2, "awaited": 1, "second_pass": { "waiting": 1 }
        });
        serde_json::from_value(json).unwrap()
    }

    fn found(pass: RecognitionPass, again: SecondPassProgress) -> LateText {
        LateText {
            id: SpoolId(7),
            audio: 16_000,
            pass,
            again,
            prompt: None,
            result: Ok(Recognition {
                text: "hello".to_owned(),
                peak_dbfs: -10.0,
                ..Recognition::default()
            }),
        }
    }

    #[test]
    fn text_held_back_is_counted_when_its_line_gets_words_and_not_again() {
        let mut registry = CallRegistry::new("one".to_owned());
        let call: CallId = "1.2".parse().unwrap();
        let waiting = line(0, Some(GapReason::Spooled), Some(7));
        let annotation = Ok(Recognition {
            text: "[Music]".to_owned(),
            ..Recognition::default()
        });
        let first = LateText {
            result: annotation,
            ..found(RecognitionPass::First, SecondPassProgress::Wanted)
        };
        let now = [first.apply(&waiting).unwrap().line];
        registry.revise_stored(Some(record()), &first, &waiting, (&call, &now));
        registry.revise_stored(Some(record()), &first, &now[0], (&call, &now));
        let second = LateText {
            pass: RecognitionPass::Second,
            again: SecondPassProgress::No,
            ..first
        };
        registry.revise_stored(Some(record()), &second, &now[0], (&call, &now));
        let counted: u64 = registry.suppressed().map(|(_, count)| count).sum();
        assert_eq!(counted, 1);
    }

    fn line(seq: u64, gap: Option<GapReason>, spool: Option<u64>) -> TranscriptLine {
        TranscriptLine {
            end_ms: 1_000,
            state: match spool {
                Some(place) => LineState::recognised(gap).at(place),
                None => LineState::recognised(gap),
            },
            ..TranscriptLine::new(seq, Leg::caller())
        }
    }

    fn written(registry: &mut CallRegistry) -> Option<CallRecord> {
        registry
            .take_writes()
            .into_iter()
            .find_map(|write| match write {
                StoreWrite::Call(record) => Some(*record),
                _ => None,
            })
    }

    #[test]
    fn what_a_crash_left_between_a_line_and_its_record_is_made_good() {
        let mut registry = CallRegistry::new("one".to_owned());
        let call: CallId = "1.2".parse().unwrap();
        // The line has its words and waits to be heard once more; the record knows nothing of it.
        let lines = [line(0, None, Some(7)), line(1, None, Some(8))];
        let first = found(RecognitionPass::First, SecondPassProgress::Wanted);
        let again = registry.revise_stored(Some(record()), &first, &lines[0], (&call, &lines));
        assert!(again);
        let now = written(&mut registry).unwrap();
        assert_eq!((now.awaited, now.second_pass.waiting), (0, 2));
    }

    #[test]
    fn each_hearing_is_counted_in_the_record() {
        let mut registry = CallRegistry::new("one".to_owned());
        let call: CallId = "1.2".parse().unwrap();
        let mut hear = |found: LateText, line: &TranscriptLine| {
            let lines = [line.clone()];
            let again = registry.revise_stored(Some(record()), &found, line, (&call, &lines));
            let now = written(&mut registry).unwrap();
            (again, now.awaited, now.second_pass)
        };
        let waiting = line(0, Some(GapReason::Spooled), Some(7));
        let (again, awaited, second) = hear(
            found(RecognitionPass::First, SecondPassProgress::Wanted),
            &waiting,
        );
        assert_eq!((again, awaited, second.waiting), (true, 0, 2));
        let (again, awaited, second) = hear(
            found(RecognitionPass::First, SecondPassProgress::NoRoom),
            &waiting,
        );
        assert_eq!((again, awaited), (false, 0));
        assert_eq!((second.waiting, second.not_kept), (1, 1));
        let told = line(0, None, Some(7));
        let (again, awaited, second) = hear(
            found(RecognitionPass::Second, SecondPassProgress::No),
            &told,
        );
        assert_eq!((again, awaited), (false, 1));
        assert_eq!((second.waiting, second.changed), (0, 1));
    }
}
