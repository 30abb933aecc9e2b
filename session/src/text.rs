//! Transcript lines of what was said, and partials of what is being said.

use asterscribe_call::{
    GapReason, InitialPrompt, LineState, PartialLine, SpokenWord, TranscriptLine, UtteranceOutcome,
};
use asterscribe_speech::Recognition;
use asterscribe_speech::guard;
use asterscribe_speech::guard::JudgedText;

use super::jobs::SettledJob;
use super::language::SpokenLanguage;
use super::leg::LegMedia;
use super::partial::PartialText;
use super::{
    CallSession, DeferredLine, LaterSpeech, LegIndex, SessionOutput, SessionPhase, UnheardReason,
};

impl CallSession {
    /// Gives out the lines of answered jobs, in the order of the jobs.
    pub(super) fn settle(&mut self) {
        while let Some(SettledJob {
            leg,
            start_ms,
            end_ms,
            utterances,
            audio,
            again,
            result,
        }) = self.jobs.next_settled()
        {
            let media = &mut self.legs[leg];
            let line = TranscriptLine {
                start_ms,
                end_ms,
                ..TranscriptLine::new(self.next_line, media.leg().clone())
            };
            let (heard, late) = match result {
                Ok(heard) => (Ok(heard), None),
                Err(UnheardReason::Gap(reason)) => (Err(reason), None),
                Err(UnheardReason::Late(samples)) => (Err(GapReason::Spooled), Some(samples)),
            };
            // The engine heard no words: that is an answer, not a line.
            let is_silent = heard.as_ref().is_ok_and(|heard| heard.text.is_empty());
            let spoken = heard.as_ref().ok().map(SpokenLanguage::of);
            let (outcome, line) = conclude(line, heard, self.config.choices.prompt.as_ref());
            media.count_settled(outcome, utterances, audio);
            if is_silent {
                self.take_draft_back(leg, end_ms);
                continue;
            }
            self.next_line += 1;
            if let Some(draft) = self.drafts.get_mut(leg) {
                // Whoever has the line drops it.
                draft.take_shown(end_ms);
            }
            let (again, second_pass) = again
                .map(|LaterSpeech { model, samples }| (samples, model))
                .unzip();
            let evidence = spoken.map(|spoken| spoken.evidence(&line));
            self.outputs.push_back(match late.or(again) {
                None => SessionOutput::Line(line),
                Some(samples) => SessionOutput::Deferred(Box::new(DeferredLine {
                    line,
                    audio,
                    samples,
                    choices: self.choices_of(leg),
                    second_pass,
                })),
            });
            if let Some(evidence) = evidence {
                self.weigh_language(leg, evidence, (start_ms, end_ms));
            }
        }
        if matches!(self.phase, SessionPhase::Closing(_)) && self.jobs.is_empty() {
            self.phase = SessionPhase::Closed;
            for index in 0..self.legs.len() {
                self.take_draft_back(index, u64::MAX);
            }
            self.outputs
                .push_back(SessionOutput::Closed(self.snapshots()));
        }
    }

    /// Asks for a partial of the leg's open utterance, if one is due.
    pub(super) fn draft(&mut self, index: usize) {
        let (Some(config), Some(draft)) = (self.config.partials, self.drafts.get_mut(index)) else {
            return;
        };
        let leg = &self.legs[index];
        let speaking = leg.speaking();
        let is_stale = draft.take_stale(speaking.map(|(start, _)| leg.call_ms(start)));
        if is_stale {
            self.outputs
                .push_back(SessionOutput::Partial(nothing_of(leg)));
        }
        let Some((start, length)) = speaking.filter(|_| !leg.is_doubtful()) else {
            return;
        };
        if let Some(revision) = draft.ask(config, start, length) {
            self.outputs.push_back(SessionOutput::Draft {
                leg: LegIndex(index),
                revision,
                samples: leg.so_far(),
                choices: self.choices_of(index),
            });
        }
    }

    pub(super) fn drafted(&mut self, index: usize, revision: u32, result: Option<Recognition>) {
        let draft = self.drafts.get_mut(index);
        let Some((draft, start)) = draft.and_then(|draft| {
            let start = draft.answered(revision)?;
            Some((draft, start))
        }) else {
            return;
        };
        let Some(heard) = result.filter(|heard| !heard.text.is_empty()) else {
            return;
        };
        let leg = &self.legs[index];
        // It may have ended meanwhile, and then its line says what there is to say.
        let is_in_it = leg
            .speaking()
            .is_some_and(|(speaking, _)| speaking == start);
        if self.phase != SessionPhase::Open || !is_in_it {
            return;
        }
        let start_ms = leg.call_ms(start);
        let end_ms = heard.words.last().map_or(0, |word| word.end_ms);
        let prompt = self.config.choices.prompt.as_ref();
        let JudgedText { believed, .. } = guard::judge(heard, end_ms, prompt);
        if believed.text.is_empty() {
            return;
        }
        let PartialText {
            revision,
            text,
            stable_words,
        } = draft.join(start_ms, &believed.words);
        self.outputs.push_back(SessionOutput::Partial(PartialLine {
            leg: leg.leg().clone(),
            start_ms,
            end_ms: start_ms + end_ms,
            revision,
            text,
            stable_words,
        }));
    }

    /// Takes a partial of the leg back whose utterance, before that time, gave no text.
    fn take_draft_back(&mut self, index: usize, before_ms: u64) {
        if let Some(draft) = self.drafts.get_mut(index)
            && draft.take_shown(before_ms)
        {
            let nothing = nothing_of(&self.legs[index]);
            self.outputs.push_back(SessionOutput::Partial(nothing));
        }
    }
}

/// Empty partial, which takes back the one that was given out for a leg.
fn nothing_of(leg: &LegMedia) -> PartialLine {
    PartialLine {
        leg: leg.leg().clone(),
        start_ms: 0,
        end_ms: 0,
        revision: 0,
        text: String::new(),
        stable_words: 0,
    }
}

/// Completes a line with the text recognised in its audio, or the reason why there is none; returns
/// it with the outcome for the account. `line` has its number, leg and times; `prompt` is what it
/// was recognised with.
pub fn conclude(
    line: TranscriptLine,
    heard: Result<Recognition, GapReason>,
    prompt: Option<&InitialPrompt>,
) -> (UtteranceOutcome, TranscriptLine) {
    let heard = match heard {
        Ok(heard) => heard,
        Err(reason) => {
            let state = LineState::recognised(Some(reason));
            return (
                UtteranceOutcome::Gap(reason),
                TranscriptLine { state, ..line },
            );
        }
    };
    let start_ms = line.start_ms;
    let length_ms = line.end_ms.saturating_sub(start_ms);
    let JudgedText {
        believed,
        suppressed,
    } = guard::judge(heard, length_ms, prompt);
    let on_call_clock = |word: SpokenWord| SpokenWord {
        start_ms: word.start_ms + start_ms,
        end_ms: word.end_ms + start_ms,
        ..word
    };
    let outcome = match believed.text.is_empty() {
        true => UtteranceOutcome::NoWords,
        false => UtteranceOutcome::Transcribed,
    };
    let line = TranscriptLine {
        text: believed.text,
        words: believed.words.into_iter().map(on_call_clock).collect(),
        confidence: believed.confidence,
        language: believed.language,
        task: believed.task,
        model: believed.model,
        state: LineState::Final,
        suppressed,
        ..line
    };
    (outcome, line)
}
