//! The open calls and what is known of them, without I/O: what happens goes
//! in, what must be written to the store comes out as [`Write`]s.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::time::Instant;

use jiff::Timestamp;

use crate::call::{
    CallId, CallRecord, CallStatus, ChannelStateChange, DtmfDigit, EndReason, Leg, LegRecord,
    LegStats, Origin, TranscriptLine,
};
use crate::session::LegSnapshot;
use crate::store::Write;

/// Ended calls kept at hand, so that they can be read while the store catches up.
const RECENT: usize = 256;

/// Entries of one call's growing lists; what is beyond is noted once.
const MAX_STATES: usize = 256;
const MAX_NOTES: usize = 32;
const MAX_DIGITS: usize = 4096;

/// Lines of one open call kept here, some ten hours of talk; older ones are read from the store.
const MAX_LINES: usize = 10_000;

/// A call as the desk holds it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) record: CallRecord,
    /// Zero of the call's clock.
    pub(crate) opened: Instant,
    /// Lines said since it was opened here; a resumed call's earlier ones are in the store.
    pub(crate) lines: Vec<TranscriptLine>,
    pub(crate) dtmf: Vec<DtmfDigit>,
    /// Index of `dtmf[0]` in the whole call.
    pub(crate) first_digit: u64,
    /// Media thread that serves it.
    pub(crate) port: usize,
    /// Set once the call is over; the last lines may still be under way.
    end: Option<(Timestamp, EndReason, CallStatus)>,
}

/// How a call comes into the book.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    pub(crate) call: CallId,
    pub(crate) origin: Origin,
    pub(crate) port: usize,
    pub(crate) caller_number: Option<String>,
    pub(crate) destination: Option<String>,
    pub(crate) channel_name: Option<String>,
    /// What an earlier process left of it.
    pub(crate) resumed: Option<Resumed>,
}

/// The stored part of a call that goes on.
#[derive(Debug, Clone)]
pub(crate) struct Resumed {
    pub(crate) record: CallRecord,
    pub(crate) digits: u64,
}

/// All calls of this process.
#[derive(Debug)]
pub(crate) struct CallBook {
    node: String,
    open: HashMap<CallId, Entry>,
    recent: VecDeque<Entry>,
    writes: Vec<Write>,
}

impl CallBook {
    pub(crate) fn new(node: String) -> Self {
        Self {
            node,
            open: HashMap::new(),
            recent: VecDeque::new(),
            writes: Vec::new(),
        }
    }

    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn is_open(&self, call: &CallId) -> bool {
        self.open.contains_key(call)
    }

    pub(crate) fn open_entry(&self, call: &CallId) -> Option<&Entry> {
        self.open.get(call)
    }

    pub(crate) fn open_calls(&self) -> impl Iterator<Item = &Entry> {
        self.open.values()
    }

    /// The call, open or recently ended.
    pub(crate) fn find(&self, call: &CallId) -> Option<&Entry> {
        self.open.get(call).or_else(|| {
            self.recent
                .iter()
                .rev()
                .find(|entry| entry.record.call_id == *call)
        })
    }

    /// Open and recently ended calls.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.open.values().chain(&self.recent)
    }

    /// What the store must be told since the last call.
    pub(crate) fn take_writes(&mut self) -> Vec<Write> {
        mem::take(&mut self.writes)
    }

    /// Enters a call. Returns the number of its first line.
    pub(crate) fn open(&mut self, now: Instant, wall: Timestamp, opening: Opening) -> u64 {
        let Opening {
            call,
            origin,
            port,
            caller_number,
            destination,
            channel_name,
            resumed,
        } = opening;
        let (record, opened, first_digit) = match resumed {
            Some(Resumed { mut record, digits }) => {
                let age = wall
                    .duration_since(record.started_at)
                    .try_into()
                    .unwrap_or_default();
                record.status = CallStatus::Active;
                let opened = now.checked_sub(age).unwrap_or(now);
                (record, opened, digits)
            }
            None => {
                let record = CallRecord {
                    call_id: call.clone(),
                    status: if origin == Origin::Initiated {
                        CallStatus::Initiated
                    } else {
                        CallStatus::Active
                    },
                    origin,
                    node: String::new(),
                    caller_number,
                    destination,
                    channel_name,
                    started_at: wall,
                    answered_at: None,
                    ended_at: None,
                    end_reason: None,
                    legs: Vec::new(),
                    channel_states: Vec::new(),
                    lines: 0,
                    notes: Vec::new(),
                };
                (record, now, 0)
            }
        };
        let record = CallRecord {
            node: self.node.clone(),
            ..record
        };
        let first_line = record.lines;
        self.writes.push(Write::Call(Box::new(record.clone())));
        self.recent.retain(|entry| entry.record.call_id != call);
        let entry = Entry {
            record,
            opened,
            lines: Vec::new(),
            dtmf: Vec::new(),
            first_digit,
            port,
            end: None,
        };
        self.open.insert(call, entry);
        first_line
    }

    /// A leg has got its source.
    pub(crate) fn leg(&mut self, call: &CallId, leg: Leg, source: String, format: Option<String>) {
        self.update(call, |record| {
            match record.legs.iter_mut().find(|known| known.leg == leg) {
                Some(known) => {
                    known.source = Some(source);
                    known.format = format;
                }
                None => {
                    record.legs.push(LegRecord {
                        leg,
                        source: Some(source),
                        format,
                        stats: LegStats::default(),
                    });
                }
            }
        });
    }

    /// The numbers that the API was given for a call of its own.
    pub(crate) fn numbers(&mut self, call: &CallId, caller_number: String, destination: String) {
        self.update(call, |record| {
            record.caller_number = Some(caller_number);
            record.destination = Some(destination);
        });
    }

    pub(crate) fn answered(&mut self, call: &CallId, wall: Timestamp) {
        self.update(call, |record| {
            record.status = CallStatus::Active;
            record.answered_at.get_or_insert(wall);
        });
    }

    pub(crate) fn channel_state(
        &mut self,
        call: &CallId,
        now: Instant,
        channel: String,
        state: String,
    ) {
        let at_ms = self.at_ms(call, now);
        self.update(call, |record| {
            if record.channel_states.len() < MAX_STATES {
                record.channel_states.push(ChannelStateChange {
                    at_ms,
                    channel,
                    state,
                });
            } else {
                push_note(record, "further channel states are not kept".to_owned());
            }
        });
    }

    pub(crate) fn digit(
        &mut self,
        call: &CallId,
        now: Instant,
        digit: char,
        duration_ms: u64,
        leg: Leg,
    ) {
        let at_ms = self.at_ms(call, now);
        let Some(entry) = self.open.get_mut(call) else {
            return;
        };
        if entry.dtmf.len() >= MAX_DIGITS {
            self.note(call, "further digits are not kept".to_owned());
            return;
        }
        let digit = DtmfDigit {
            at_ms,
            digit,
            duration_ms,
            leg,
        };
        let index = entry.first_digit + entry.dtmf.len() as u64;
        entry.dtmf.push(digit.clone());
        self.writes.push(Write::Dtmf {
            call: call.clone(),
            index,
            digit,
        });
    }

    pub(crate) fn line(&mut self, call: &CallId, line: TranscriptLine) {
        let Some(entry) = self.open.get_mut(call) else {
            return;
        };
        entry.record.lines = line.seq + 1;
        if entry.lines.len() == MAX_LINES {
            entry.lines.drain(..MAX_LINES / 2);
        }
        entry.lines.push(line.clone());
        self.writes.push(Write::Line {
            call: call.clone(),
            line,
        });
        // The line first: a record must never promise more lines than are stored.
        self.writes
            .push(Write::Call(Box::new(entry.record.clone())));
    }

    /// Counters are stored with the next line or the end, not every second.
    pub(crate) fn stats(&mut self, call: &CallId, legs: Vec<LegSnapshot>) {
        if let Some(entry) = self.open.get_mut(call) {
            merge_stats(&mut entry.record, legs);
        }
    }

    /// A call that an earlier process left open and that is no more.
    pub(crate) fn settle(&mut self, mut record: CallRecord, wall: Timestamp, text: String) {
        record.status = CallStatus::Failed;
        record.ended_at = Some(wall);
        record.end_reason = Some(EndReason { cause: None, text });
        self.writes.push(Write::Call(Box::new(record)));
    }

    pub(crate) fn note(&mut self, call: &CallId, note: String) {
        self.update(call, |record| push_note(record, note));
    }

    /// The call is over; it stays open until its media has closed. Returns
    /// whether this is news.
    pub(crate) fn ended(
        &mut self,
        call: &CallId,
        wall: Timestamp,
        reason: EndReason,
        status: CallStatus,
    ) -> bool {
        match self.open.get_mut(call) {
            Some(entry) if entry.end.is_none() => {
                entry.end = Some((wall, reason, status));
                true
            }
            _ => false,
        }
    }

    /// The media has closed, with the last counters: the call leaves the book.
    pub(crate) fn closed(&mut self, call: &CallId, wall: Timestamp, legs: Vec<LegSnapshot>) {
        let Some(mut entry) = self.open.remove(call) else {
            return;
        };
        let (ended_at, reason, status) = entry.end.take().unwrap_or_else(|| {
            (
                wall,
                EndReason {
                    cause: None,
                    text: "its media ended".to_owned(),
                },
                CallStatus::Ended,
            )
        });
        merge_stats(&mut entry.record, legs);
        entry.record.status = status;
        entry.record.ended_at = Some(ended_at);
        entry.record.end_reason = Some(reason);
        self.writes
            .push(Write::Call(Box::new(entry.record.clone())));
        self.recent.push_back(entry);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    fn at_ms(&self, call: &CallId, now: Instant) -> u64 {
        self.open.get(call).map_or(0, |entry| {
            now.saturating_duration_since(entry.opened).as_millis() as u64
        })
    }

    fn update(&mut self, call: &CallId, change: impl FnOnce(&mut CallRecord)) {
        if let Some(entry) = self.open.get_mut(call) {
            change(&mut entry.record);
            self.writes
                .push(Write::Call(Box::new(entry.record.clone())));
        }
    }
}

fn merge_stats(record: &mut CallRecord, legs: Vec<LegSnapshot>) {
    for LegSnapshot { leg, stats } in legs {
        match record.legs.iter_mut().find(|known| known.leg == leg) {
            Some(known) => known.stats = stats,
            None => record.legs.push(LegRecord {
                leg,
                source: None,
                format: None,
                stats,
            }),
        }
    }
}

fn push_note(record: &mut CallRecord, note: String) {
    if record.notes.last() == Some(&note) {
        return;
    }
    if record.notes.len() == MAX_NOTES {
        record.notes.remove(0);
    }
    record.notes.push(note);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn id(text: &str) -> CallId {
        text.parse().unwrap()
    }

    fn opening(call: &str) -> Opening {
        Opening {
            call: id(call),
            origin: Origin::Stasis,
            port: 0,
            caller_number: None,
            destination: None,
            channel_name: None,
            resumed: None,
        }
    }

    fn line(seq: u64) -> TranscriptLine {
        TranscriptLine {
            seq,
            leg: Leg::caller(),
            start_ms: 0,
            end_ms: 1,
            text: "hello".to_owned(),
            confidence: 1.0,
            language: "en".to_owned(),
            gap: None,
        }
    }

    fn ended() -> EndReason {
        EndReason {
            cause: Some(16),
            text: "Normal Clearing".to_owned(),
        }
    }

    #[test]
    fn a_call_ends_for_readers_only_when_its_last_line_is_out() {
        let (mut book, now, wall) = (CallBook::new("n".to_owned()), clock::now(), clock::wall());
        book.open(now, wall, opening("1.1"));
        assert!(book.ended(&id("1.1"), wall, ended(), CallStatus::Ended));
        assert!(
            !book.ended(&id("1.1"), wall, ended(), CallStatus::Failed),
            "the first end counts"
        );
        book.line(&id("1.1"), line(0));
        assert_eq!(
            book.find(&id("1.1")).unwrap().record.status,
            CallStatus::Active
        );
        book.closed(&id("1.1"), wall, Vec::new());
        let record = &book.find(&id("1.1")).unwrap().record;
        assert_eq!((record.status, record.lines), (CallStatus::Ended, 1));
        assert_eq!(book.open_count(), 0);
    }

    #[test]
    fn the_store_is_told_of_a_line_before_the_record_that_counts_it() {
        let (mut book, now, wall) = (CallBook::new("n".to_owned()), clock::now(), clock::wall());
        book.open(now, wall, opening("1.1"));
        book.take_writes();
        book.line(&id("1.1"), line(0));
        let writes = book.take_writes();
        assert!(matches!(&writes[0], Write::Line { line, .. } if line.seq == 0));
        assert!(matches!(&writes[1], Write::Call(record) if record.lines == 1));
    }

    #[test]
    fn a_resumed_call_goes_on_numbering_and_keeps_its_clock() {
        let (mut book, now, wall) = (CallBook::new("n".to_owned()), clock::now(), clock::wall());
        book.open(now, wall, opening("1.1"));
        book.line(&id("1.1"), line(0));
        book.digit(&id("1.1"), now, '5', 100, Leg::caller());
        let stored = book.find(&id("1.1")).unwrap().record.clone();

        let mut successor = CallBook::new("n".to_owned());
        let later = wall + std::time::Duration::from_secs(60);
        let resumed = Some(Resumed {
            record: stored,
            digits: 1,
        });
        let now = now + std::time::Duration::from_secs(60);
        assert_eq!(
            successor.open(
                now,
                later,
                Opening {
                    resumed,
                    ..opening("1.1")
                }
            ),
            1
        );
        successor.digit(&id("1.1"), now, '6', 100, Leg::caller());
        let writes = successor.take_writes();
        assert!(writes.iter().any(
            |write| matches!(write, Write::Dtmf { index: 1, digit, .. } if digit.at_ms >= 59_000)
        ));
    }

    #[test]
    fn lists_that_others_make_grow_are_bounded() {
        let (mut book, now, wall) = (CallBook::new("n".to_owned()), clock::now(), clock::wall());
        book.open(now, wall, opening("1.1"));
        for n in 0..5000 {
            book.channel_state(&id("1.1"), now, "c".to_owned(), n.to_string());
            book.digit(&id("1.1"), now, '1', 1, Leg::caller());
            book.note(&id("1.1"), n.to_string());
        }
        let entry = book.find(&id("1.1")).unwrap();
        assert_eq!(entry.record.channel_states.len(), MAX_STATES);
        assert_eq!(entry.dtmf.len(), MAX_DIGITS);
        assert_eq!(entry.record.notes.len(), MAX_NOTES);
        for n in 0..1000 {
            let call = format!("2.{n}");
            book.open(now, wall, opening(&call));
            book.closed(&id(&call), wall, Vec::new());
        }
        assert_eq!(book.iter().count(), RECENT + 1);
    }

    #[test]
    fn what_concerns_an_unknown_call_changes_nothing() {
        let mut book = CallBook::new("n".to_owned());
        book.line(&id("9.9"), line(0));
        book.closed(&id("9.9"), clock::wall(), Vec::new());
        assert!(book.take_writes().is_empty());
    }
}
