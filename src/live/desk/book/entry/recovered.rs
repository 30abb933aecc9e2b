//! What became of speech after its line was told.

use super::{Entry, Held};
use crate::call::{
    CallRecord, Earlier, GapReason, Leg, LegRecord, Outcome, Prompt, TranscriptLine,
};
use crate::session::conclude;
use crate::speech::Recognition;
use crate::store::{Pass, SpoolId, Write};

/// So much of a leg that was told as one thing, and is another now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recovered {
    pub(crate) leg: Leg,
    /// What it was told as.
    pub(crate) was: Outcome,
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
    /// What it was kept for.
    pub pass: Pass,
    /// Whether it is kept on, to be heard once more.
    pub again: Again,
    /// The prompt that it was recognised with.
    pub prompt: Option<Prompt>,
    /// The words, or why there are none.
    pub result: Result<Recognition, GapReason>,
}

/// Whether what has been heard is kept on, to be heard once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Nobody wants that.
    No,
    /// It is.
    Wanted,
    /// It should have been.
    NoRoom,
}

/// What became of a line.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) line: TranscriptLine,
    pub(crate) recovered: Recovered,
    hearing: Hearing,
}

/// What that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    /// It has its words, or will have none; whether it is to be heard once more.
    First {
        again: Again,
    },
    /// It was heard once more.
    Changed,
    Unchanged,
    Failed,
}

impl Found {
    /// Whether it is what the line waits for.
    fn is_awaited(&self, line: &TranscriptLine) -> bool {
        let is_its = line.spool == Some(self.id.0);
        is_its && line.awaits_second_pass() == (self.pass == Pass::Second)
    }

    /// Whether the line has what it is, by an earlier attempt, and waits to be heard once more.
    pub(crate) fn had_its_first(&self, line: &TranscriptLine) -> bool {
        let is_its = line.spool == Some(self.id.0);
        self.pass == Pass::First && is_its && line.awaits_second_pass()
    }

    /// The line as it is now, and what that changes in the counters; `None` if it waits for
    /// something else.
    pub(crate) fn apply(&self, line: &TranscriptLine) -> Option<Applied> {
        if !self.is_awaited(line) {
            return None;
        }
        let was = told_as(line);
        let (leg, audio) = (line.leg.clone(), self.audio);
        let revision = line.revision + 1;
        let spool = (self.again == Again::Wanted).then_some(self.id.0);
        let (outcome, heard) = conclude(bare(line), self.result.clone(), self.prompt.as_ref());
        let (outcome, now, hearing) = match (self.pass, outcome) {
            (Pass::First, outcome) => (outcome, heard, Hearing::First { again: self.again }),
            (Pass::Second, Outcome::Transcribed) if heard.text == line.text => {
                (outcome, heard, Hearing::Unchanged)
            }
            (Pass::Second, Outcome::Transcribed) => {
                let first = (!line.text.is_empty()).then(|| Box::new(said(line)));
                let heard = TranscriptLine { first, ..heard };
                (outcome, heard, Hearing::Changed)
            }
            // Whoever heard words before is believed.
            (Pass::Second, Outcome::NoWords) => (was, line.clone(), Hearing::Unchanged),
            (Pass::Second, Outcome::Gap(_)) => (was, line.clone(), Hearing::Failed),
        };
        let line = TranscriptLine {
            revision,
            spool,
            ..now
        };
        let recovered = Recovered {
            leg,
            was,
            outcome,
            audio,
            utterances: 1,
        };
        Some(Applied {
            line,
            recovered,
            hearing,
        })
    }
}

/// What the audio of a line counts as.
fn told_as(line: &TranscriptLine) -> Outcome {
    match line.gap {
        Some(reason) => Outcome::Gap(reason),
        None if line.text.is_empty() => Outcome::NoWords,
        None => Outcome::Transcribed,
    }
}

/// The line without what was heard.
fn bare(line: &TranscriptLine) -> TranscriptLine {
    TranscriptLine {
        start_ms: line.start_ms,
        end_ms: line.end_ms,
        ..TranscriptLine::new(line.seq, line.leg.clone())
    }
}

fn said(line: &TranscriptLine) -> Earlier {
    Earlier {
        text: line.text.clone(),
        confidence: line.confidence,
        model: line.model.clone(),
    }
}

impl Applied {
    /// Notes it in the record of its call.
    pub(crate) fn revise(&self, record: &mut CallRecord) {
        record.revisions += 1;
        let CallRecord {
            awaited,
            second_pass,
            ..
        } = record;
        match self.hearing {
            Hearing::First { again } => {
                let was_awaited = self.recovered.was == Outcome::Gap(GapReason::Spooled);
                *awaited = awaited.saturating_sub(was_awaited.into());
                second_pass.waiting += u64::from(again == Again::Wanted);
                second_pass.not_kept += u64::from(again == Again::NoRoom);
                return;
            }
            Hearing::Changed => second_pass.changed += 1,
            Hearing::Unchanged => second_pass.unchanged += 1,
            Hearing::Failed => second_pass.failed += 1,
        }
        second_pass.waiting = second_pass.waiting.saturating_sub(1);
    }
}

impl Recovered {
    /// Corrects the counters of its leg.
    pub(crate) fn correct(&self, legs: &mut [LegRecord]) {
        let Some(record) = legs.iter_mut().find(|record| record.leg == self.leg) else {
            return;
        };
        record.audio.recover(self.was, self.audio, self.outcome);
        let is_answered = |outcome| matches!(outcome, Outcome::Transcribed | Outcome::NoWords);
        if is_answered(self.outcome) && !is_answered(self.was) {
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
    pub(crate) fn is_settled(&self) -> bool {
        self.held == Held::Nothing
    }

    /// A line says more than it did. Whether its audio is to be kept on.
    pub(in super::super) fn revise(
        &mut self,
        id: SpoolId,
        applied: Applied,
        writes: &mut Vec<Write>,
    ) -> bool {
        applied.revise(&mut self.record);
        let Applied {
            line, recovered, ..
        } = applied;
        if let Some(here) = self.lines.iter_mut().find(|line| line.spool == Some(id.0)) {
            here.clone_from(&line);
        }
        let again = line.spool.is_some();
        self.recovered(recovered);
        let call = self.record.call_id.clone();
        writes.push(Write::Revise { call, line });
        self.write_record(writes);
        again
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, gap: Option<GapReason>) -> TranscriptLine {
        TranscriptLine {
            start_ms: 1_000,
            end_ms: 3_000,
            text: text.to_owned(),
            gap,
            spool: Some(7),
            ..TranscriptLine::new(4, Leg::caller())
        }
    }

    fn found(pass: Pass, again: Again, result: Result<&str, GapReason>) -> Found {
        let heard = |text: &str| Recognition {
            text: text.to_owned(),
            confidence: 0.9,
            model: "large".to_owned(),
            peak_dbfs: -10.0,
            ..Recognition::default()
        };
        Found {
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
        let applied = found(Pass::First, Again::Wanted, Ok("hello"))
            .apply(&waiting)
            .unwrap();
        assert_eq!(
            (applied.line.text.as_str(), applied.line.gap),
            ("hello", None)
        );
        assert_eq!((applied.line.spool, applied.line.revision), (Some(7), 1));
        // Heard twice, it changes nothing and waits on.
        let again = found(Pass::First, Again::Wanted, Ok("hullo"));
        assert!(again.had_its_first(&applied.line));
        assert!(again.apply(&applied.line).is_none());
        let second = found(Pass::Second, Again::No, Ok("hello there"));
        let heard = second.apply(&applied.line).unwrap();
        assert_eq!(heard.line.text, "hello there");
        assert_eq!((heard.line.spool, heard.line.revision), (None, 2));
        assert_eq!(heard.line.first.unwrap().text, "hello");
        let (was, outcome) = (heard.recovered.was, heard.recovered.outcome);
        assert_eq!((was, outcome), (Outcome::Transcribed, Outcome::Transcribed));
    }

    #[test]
    fn a_second_hearing_without_words_leaves_the_first() {
        let told = line("hello", None);
        for result in [
            Ok(""),
            Err(GapReason::RecognitionFailed),
            Err(GapReason::OverloadShed),
        ] {
            let applied = found(Pass::Second, Again::No, result).apply(&told).unwrap();
            let kept = TranscriptLine {
                revision: 1,
                spool: None,
                ..told.clone()
            };
            assert_eq!(applied.line, kept);
            assert_eq!(applied.recovered.outcome, Outcome::Transcribed);
        }
    }

    #[test]
    fn a_second_hearing_may_find_what_the_first_did_not() {
        for (gap, was) in [
            (None, Outcome::NoWords),
            (
                Some(GapReason::RecognitionFailed),
                Outcome::Gap(GapReason::RecognitionFailed),
            ),
        ] {
            let second = found(Pass::Second, Again::No, Ok("hello"));
            let applied = second.apply(&line("", gap)).unwrap();
            assert_eq!(applied.line.text, "hello");
            assert_eq!((applied.line.gap, applied.line.first), (None, None));
            assert_eq!(applied.recovered.was, was);
        }
    }

    #[test]
    fn nothing_is_heard_for_a_line_that_waits_for_something_else() {
        let waiting = line("", Some(GapReason::Spooled));
        let second = found(Pass::Second, Again::No, Ok("hello"));
        assert!(!second.had_its_first(&waiting) && second.apply(&waiting).is_none());
        let other = TranscriptLine {
            spool: Some(8),
            ..waiting
        };
        assert!(
            found(Pass::First, Again::No, Ok("hello"))
                .apply(&other)
                .is_none()
        );
    }
}
