//! Utterances whose outcome changes after their line was written.

use asterscribe_call::{
    CallRecord, EarlierRevision, GapReason, InitialPrompt, Leg, LegRecord, LineState,
    TranscriptLine, UtteranceOutcome,
};
use asterscribe_session::conclude;
use asterscribe_speech::Recognition;
use asterscribe_store::{RecognitionPass, SpoolId, StoreWrite};

use super::{RegisteredCall, WriteHold};

/// Audio of a leg whose outcome is no longer the one in the counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecoveredAudio {
    pub(crate) leg: Leg,
    /// Outcome that the counters have.
    pub(crate) was: UtteranceOutcome,
    pub(crate) outcome: UtteranceOutcome,
    /// Audio, in 16 kHz samples.
    pub(crate) audio: u64,
    pub(crate) utterances: u64,
}

/// Late result for a line that has been written already.
#[derive(Debug, Clone, PartialEq)]
pub struct LateText {
    /// Place of the audio in the spool.
    pub id: SpoolId,
    /// Length of the utterance that is audio, in 16 kHz samples.
    pub audio: u64,
    /// Pass that the audio was kept for.
    pub pass: RecognitionPass,
    /// Whether the audio is kept on for a second pass.
    pub again: SecondPassProgress,
    /// Prompt that the utterance was recognised with.
    pub prompt: Option<InitialPrompt>,
    /// Words, or the reason why there are none.
    pub result: Result<Recognition, GapReason>,
}

/// Whether recognised audio is kept on for a second pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondPassProgress {
    /// No second pass is wanted.
    No,
    /// The audio is kept for the second pass.
    Wanted,
    /// There was no room to keep the audio for the second pass.
    NoRoom,
}

/// The outcome of revising a line.
#[derive(Debug)]
pub(crate) struct RevisionOutcome {
    pub(crate) line: TranscriptLine,
    pub(crate) recovered: RecoveredAudio,
    hearing: LateAudio,
}

/// Effect of a late result on its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LateAudio {
    /// First words, or none for good; `again` is whether the audio is kept for the second pass.
    First {
        again: SecondPassProgress,
    },
    /// The second pass found other words.
    Changed,
    Unchanged,
    Failed,
}

impl LateText {
    /// Whether the line waits for this result.
    fn is_awaited(&self, line: &TranscriptLine) -> bool {
        let is_its = line.state.place() == Some(self.id.0);
        is_its && line.awaits_second_pass() == (self.pass == RecognitionPass::Second)
    }

    /// Whether the line has this result already, by an earlier attempt, and now waits for the
    /// second pass.
    pub(crate) fn had_its_first(&self, line: &TranscriptLine) -> bool {
        let is_its = line.state.place() == Some(self.id.0);
        self.pass == RecognitionPass::First && is_its && line.awaits_second_pass()
    }

    /// The line as it becomes by this result, and its effect on the counters; `None` if the line
    /// does not wait for it.
    pub(crate) fn apply(&self, line: &TranscriptLine) -> Option<RevisionOutcome> {
        if !self.is_awaited(line) {
            return None;
        }
        let was = told_as(line);
        let (leg, audio) = (line.leg.clone(), self.audio);
        let revision = line.revision + 1;
        let is_kept_on = self.again == SecondPassProgress::Wanted;
        let (outcome, heard) = conclude(bare(line), self.result.clone(), self.prompt.as_ref());
        let (outcome, now, hearing) = match (self.pass, outcome) {
            (RecognitionPass::First, outcome) => {
                (outcome, heard, LateAudio::First { again: self.again })
            }
            (RecognitionPass::Second, UtteranceOutcome::Transcribed) if heard.text == line.text => {
                (outcome, heard, LateAudio::Unchanged)
            }
            (RecognitionPass::Second, UtteranceOutcome::Transcribed) => {
                let first = (!line.text.is_empty()).then(|| Box::new(said(line)));
                let heard = TranscriptLine { first, ..heard };
                (outcome, heard, LateAudio::Changed)
            }
            // Whoever heard words before is believed.
            (RecognitionPass::Second, UtteranceOutcome::NoWords) => {
                (was, line.clone(), LateAudio::Unchanged)
            }
            (RecognitionPass::Second, UtteranceOutcome::Gap(_)) => {
                (was, line.clone(), LateAudio::Failed)
            }
        };
        let result = LineState::recognised(now.state.gap());
        let state = match is_kept_on {
            true => result.at(self.id.0),
            false => result,
        };
        let line = TranscriptLine {
            revision,
            state,
            ..now
        };
        let recovered = RecoveredAudio {
            leg,
            was,
            outcome,
            audio,
            utterances: 1,
        };
        Some(RevisionOutcome {
            line,
            recovered,
            hearing,
        })
    }
}

/// Outcome that the counters have for a line's audio.
fn told_as(line: &TranscriptLine) -> UtteranceOutcome {
    match line.state.gap() {
        Some(reason) => UtteranceOutcome::Gap(reason),
        None if line.text.is_empty() => UtteranceOutcome::NoWords,
        None => UtteranceOutcome::Transcribed,
    }
}

/// A line with the same place and times, without words.
fn bare(line: &TranscriptLine) -> TranscriptLine {
    TranscriptLine {
        start_ms: line.start_ms,
        end_ms: line.end_ms,
        ..TranscriptLine::new(line.seq, line.leg.clone())
    }
}

fn said(line: &TranscriptLine) -> EarlierRevision {
    EarlierRevision {
        text: line.text.clone(),
        confidence: line.confidence,
        model: line.model.clone(),
    }
}

impl RevisionOutcome {
    /// Enters the outcome into the record of its call.
    pub(crate) fn revise(&self, record: &mut CallRecord) {
        record.revisions += 1;
        let CallRecord {
            awaited,
            second_pass,
            ..
        } = record;
        match self.hearing {
            LateAudio::First { again } => {
                let was_awaited = self.recovered.was == UtteranceOutcome::Gap(GapReason::Spooled);
                *awaited = awaited.saturating_sub(was_awaited.into());
                second_pass.waiting += u64::from(again == SecondPassProgress::Wanted);
                second_pass.not_kept += u64::from(again == SecondPassProgress::NoRoom);
                return;
            }
            LateAudio::Changed => second_pass.changed += 1,
            LateAudio::Unchanged => second_pass.unchanged += 1,
            LateAudio::Failed => second_pass.failed += 1,
        }
        second_pass.waiting = second_pass.waiting.saturating_sub(1);
    }
}

impl RecoveredAudio {
    /// Corrects the counters of the leg.
    pub(crate) fn correct(&self, legs: &mut [LegRecord]) {
        let Some(record) = legs.iter_mut().find(|record| record.leg == self.leg) else {
            return;
        };
        record.audio.recover(self.was, self.audio, self.outcome);
        let is_answered = |outcome| {
            matches!(
                outcome,
                UtteranceOutcome::Transcribed | UtteranceOutcome::NoWords
            )
        };
        if is_answered(self.outcome) && !is_answered(self.was) {
            let stats = &mut record.stats;
            // The counters of the media thread may still be on their way.
            let heard = self.utterances.min(stats.unrecognised);
            stats.unrecognised -= heard;
            stats.utterances += heard;
        }
    }
}

impl RegisteredCall {
    /// The line whose audio has that place in the spool; `None` if it is so old that it is no
    /// longer here.
    pub(in super::super) fn spooled_line(&self, id: SpoolId) -> Option<&TranscriptLine> {
        self.lines
            .iter()
            .find(|line| line.state.place() == Some(id.0))
    }

    /// Whether the call's lines have their final numbers and are written.
    pub(crate) fn is_settled(&self) -> bool {
        self.held == WriteHold::Nothing
    }

    /// Revises a line; the result is whether its audio is to be kept on.
    pub(in super::super) fn revise(
        &mut self,
        id: SpoolId,
        applied: RevisionOutcome,
        writes: &mut Vec<StoreWrite>,
    ) -> bool {
        applied.revise(&mut self.record);
        let RevisionOutcome {
            line, recovered, ..
        } = applied;
        if let Some(here) = self
            .lines
            .iter_mut()
            .find(|line| line.state.place() == Some(id.0))
        {
            here.clone_from(&line);
        }
        let again = line.state.place().is_some();
        self.recovered(recovered);
        let call = self.record.call_id.clone();
        writes.push(StoreWrite::Revise { call, line });
        self.write_record(writes);
        again
    }

    /// Keeps a correction that the media thread's counters do not have.
    pub(in super::super) fn recovered(&mut self, more: RecoveredAudio) {
        let same = |known: &&mut RecoveredAudio| {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, gap: Option<GapReason>) -> TranscriptLine {
        TranscriptLine {
            start_ms: 1_000,
            end_ms: 3_000,
            text: text.to_owned(),
            state: LineState::recognised(gap).at(7),
            ..TranscriptLine::new(4, Leg::caller())
        }
    }

    fn found(
        pass: RecognitionPass,
        again: SecondPassProgress,
        result: Result<&str, GapReason>,
    ) -> LateText {
        let heard = |text: &str| Recognition {
            text: text.to_owned(),
            confidence: 0.9,
            model: "large".to_owned(),
            peak_dbfs: -10.0,
            ..Recognition::default()
        };
        LateText {
            id: SpoolId(7),
            audio: 32_000,
            pass,
            again,
            prompt: None,
            result: result.map(heard),
        }
    }

    #[test]
    fn what_waits_for_its_words_gets_them_and_may_be_heard_once_more() {
        let waiting = line("", Some(GapReason::Spooled));
        let applied = found(
            RecognitionPass::First,
            SecondPassProgress::Wanted,
            Ok("hello"),
        )
        .apply(&waiting)
        .unwrap();
        assert_eq!(
            (applied.line.text.as_str(), applied.line.state.gap()),
            ("hello", None)
        );
        assert_eq!(
            (applied.line.state.place(), applied.line.revision),
            (Some(7), 1)
        );
        // Heard twice, it changes nothing and waits on.
        let again = found(
            RecognitionPass::First,
            SecondPassProgress::Wanted,
            Ok("hullo"),
        );
        assert!(again.had_its_first(&applied.line));
        assert!(again.apply(&applied.line).is_none());
        let second = found(
            RecognitionPass::Second,
            SecondPassProgress::No,
            Ok("hello there"),
        );
        let heard = second.apply(&applied.line).unwrap();
        assert_eq!(heard.line.text, "hello there");
        assert_eq!((heard.line.state.place(), heard.line.revision), (None, 2));
        assert_eq!(heard.line.first.unwrap().text, "hello");
        let (was, outcome) = (heard.recovered.was, heard.recovered.outcome);
        assert_eq!(
            (was, outcome),
            (UtteranceOutcome::Transcribed, UtteranceOutcome::Transcribed)
        );
    }

    #[test]
    fn a_second_hearing_without_words_leaves_the_first() {
        let told = line("hello", None);
        for result in [
            Ok(""),
            Err(GapReason::RecognitionFailed),
            Err(GapReason::OverloadShed),
        ] {
            let applied = found(RecognitionPass::Second, SecondPassProgress::No, result)
                .apply(&told)
                .unwrap();
            let kept = TranscriptLine {
                revision: 1,
                state: LineState::Final,
                ..told.clone()
            };
            assert_eq!(applied.line, kept);
            assert_eq!(applied.recovered.outcome, UtteranceOutcome::Transcribed);
        }
    }

    #[test]
    fn a_second_hearing_may_find_what_the_first_did_not() {
        for (gap, was) in [
            (None, UtteranceOutcome::NoWords),
            (
                Some(GapReason::RecognitionFailed),
                UtteranceOutcome::Gap(GapReason::RecognitionFailed),
            ),
        ] {
            let second = found(RecognitionPass::Second, SecondPassProgress::No, Ok("hello"));
            let applied = second.apply(&line("", gap)).unwrap();
            assert_eq!(applied.line.text, "hello");
            assert_eq!((applied.line.state.gap(), applied.line.first), (None, None));
            assert_eq!(applied.recovered.was, was);
        }
    }

    #[test]
    fn nothing_is_heard_for_a_line_that_waits_for_something_else() {
        let waiting = line("", Some(GapReason::Spooled));
        let second = found(RecognitionPass::Second, SecondPassProgress::No, Ok("hello"));
        assert!(!second.had_its_first(&waiting) && second.apply(&waiting).is_none());
        let other = TranscriptLine {
            state: waiting.state.at(8),
            ..waiting
        };
        assert!(
            found(RecognitionPass::First, SecondPassProgress::No, Ok("hello"))
                .apply(&other)
                .is_none()
        );
    }
}
