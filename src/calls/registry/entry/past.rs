//! A call that was here before, as the store remembers it.

use std::time::Duration;

use asterscribe_call::{CallOrigin, CallRecord, CallStatus, GapReason};
use asterscribe_session::LegSnapshot;

use super::super::capture::left_behind;
use super::super::record::{add, millis, push_event, push_note};
use super::{RegisteredCall, StoredHistory};

/// Samples of an account in a millisecond.
const SAMPLES_PER_MS: u64 = 16;

impl RegisteredCall {
    /// Puts the history from the store in front of what is here.
    pub(in super::super) fn learn(&mut self, history: Option<StoredHistory>) {
        let Some(StoredHistory {
            record,
            lines,
            digits,
        }) = history
        else {
            return;
        };
        let mut shift_ms = 0;
        if let Some(old) = record {
            let age = self.record.started_at.duration_since(old.started_at);
            let age: Duration = age.try_into().unwrap_or_default();
            if let Some(opened) = self.opened.checked_sub(age) {
                self.opened = opened;
                shift_ms = millis(age);
            }
            self.inherit(old, shift_ms);
        }
        self.record.lines += lines;
        for line in &mut self.lines {
            line.seq += lines;
            line.shift(shift_ms);
        }
        for digit in &mut self.dtmf {
            digit.at_ms += shift_ms;
        }
        let here = std::mem::replace(&mut self.dtmf, digits);
        self.dtmf.extend(here);
    }

    fn inherit(&mut self, old: CallRecord, shift_ms: u64) {
        let record = &mut self.record;
        record.capture = record.capture.take().or_else(|| left_behind(&old));
        record.revisions += old.revisions;
        record.awaited += old.awaited;
        record.second_pass.add(&old.second_pass);
        record.started_at = old.started_at;
        record.answered_at = old.answered_at.or(record.answered_at);
        if record.origin == CallOrigin::Initiated
            && record.answered_at.is_some()
            && record.ended_at.is_none()
        {
            record.status = CallStatus::Active;
        }
        record.caller_number = old.caller_number.or_else(|| record.caller_number.take());
        record.destination = old.destination.or_else(|| record.destination.take());
        record.identity.complete(old.identity);
        let states = std::mem::replace(&mut record.channel_states, old.channel_states);
        for mut state in states {
            state.at_ms += shift_ms;
            record.channel_states.push(state);
        }
        let notes = std::mem::replace(&mut record.notes, old.notes);
        notes.into_iter().for_each(|note| push_note(record, note));
        let events = std::mem::replace(&mut record.events, old.events);
        for mut event in events {
            event.at_ms += shift_ms;
            push_event(record, event);
        }
        let here = std::mem::take(&mut self.base);
        for mut old in old.legs {
            // What was undecided went down with the process that had it.
            old.audio.give_up(GapReason::NodeCrash);
            old.audio
                .last_until(shift_ms * SAMPLES_PER_MS, GapReason::NodeCrash);
            for finding in &mut old.findings {
                finding.until_ms.get_or_insert(shift_ms);
            }
            self.base.push(LegSnapshot {
                leg: old.leg.clone(),
                stats: old.stats.clone(),
                audio: old.audio,
                quality: old.quality,
                findings: old.findings.clone(),
                // Whoever comes back may be somebody else.
                language: None,
                sounds: old.sounds.clone(),
            });
            if !self.record.legs.iter().any(|known| known.leg == old.leg) {
                self.record.legs.push(old);
            }
        }
        for mut leg in here {
            leg.shift(shift_ms);
            add(&mut self.base, &leg, GapReason::NodeCrash);
        }
        self.between = GapReason::NodeCrash;
        self.count();
    }
}
