//! One call in the call registry.

mod again;
mod drafting;
mod past;
mod playing;
mod recovered;

use std::time::Instant;

use asterscribe_ari::model::AriChannel;
use asterscribe_call::{
    CallEvent, CallEventKind, CallId, CallOrigin, CallRecord, CallStatus, ChannelStateChange,
    DtmfDigit, EndReason, GapReason, Leg, PartialLine, TranscriptLine,
};
use asterscribe_session::LegSnapshot;
use asterscribe_store::StoreWrite;
use jiff::Timestamp;

pub(crate) use self::recovered::RecoveredAudio;
pub use self::recovered::{LateText, SecondPassProgress};
use super::CallOpening;
use super::record::{add, leg_record, millis, new_record, push_event, push_note};

/// Events of a kind that concerns all calls, in the list of one: the newest.
const MAX_SAME: usize = 32;

/// Entries of one call's growing lists; what is beyond is noted once.
pub(super) const MAX_STATES: usize = 256;
pub(super) const MAX_DIGITS: usize = 4096;

/// Lines of one open call kept here, four hours of talk and 1 to 2 MiB; the
/// older half is then left to the store.
pub(super) const MAX_LINES: usize = 4096;

/// Reason why nothing is written about a call yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteHold {
    /// Nothing holds the record back.
    Nothing,
    /// The store is still to be asked for the call's history.
    History,
    /// The call is still to be admitted.
    Admission,
}

/// Hold that this server has on a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallHold {
    /// The call is this server's.
    Ours,
    /// The call was given up: another server may go on with it.
    GivenUp,
}

/// The history of a call in the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoredHistory {
    /// Record of the call, unless that has expired.
    pub(crate) record: Option<CallRecord>,
    /// Number of the next line. The record may promise fewer than are stored.
    pub(crate) lines: u64,
    /// Digits of the call, in order.
    pub(crate) digits: Vec<DtmfDigit>,
}

/// A media run: a stretch of a call on a media thread.
#[derive(Debug, Clone)]
pub(crate) struct MediaRun {
    /// Id of the media run on its media thread.
    pub(crate) media: CallId,
    /// Index of the media thread.
    pub(crate) thread: usize,
    /// Zero of the times in the media run's lines.
    pub(crate) zero: Instant,
    legs: Vec<LegSnapshot>,
}

/// A call, open or ended.
#[derive(Debug)]
pub(crate) struct RegisteredCall {
    pub(crate) record: CallRecord,
    /// Asterisk's id of the call's channel.
    pub(crate) channel: String,
    pub(crate) held: WriteHold,
    pub(super) hold: CallHold,
    /// See [`CallOpening::undecided`].
    pub(super) undecided: Option<Box<AriChannel>>,
    pub(super) is_called: bool,
    /// Time at which the call was answered.
    pub(super) answered: Option<Instant>,
    /// Legs whose party has put the other on hold.
    pub(super) on_hold: Vec<Leg>,
    /// Zero of the call's clock.
    opened: Instant,
    /// The newest lines, without holes; older ones are in the store.
    lines: Vec<TranscriptLine>,
    partials: Vec<PartialLine>,
    dtmf: Vec<DtmfDigit>,
    /// Media runs that media threads work on, in order; all but the last have been hung up.
    media_runs: Vec<MediaRun>,
    /// Counters of media runs that are over.
    base: Vec<LegSnapshot>,
    /// Corrections to those counters by utterances that got another outcome later.
    recovered: Vec<RecoveredAudio>,
    /// Reason of the gap between `base` and what follows it.
    between: GapReason,
    /// Set once the call is over; the last lines may still be under way.
    end: Option<(Timestamp, EndReason, CallStatus)>,
}

impl RegisteredCall {
    pub(super) fn new(now: Instant, wall: Timestamp, opening: &CallOpening) -> Self {
        Self {
            record: new_record(wall, opening),
            channel: String::new(),
            held: WriteHold::Nothing,
            hold: CallHold::Ours,
            undecided: None,
            is_called: false,
            answered: None,
            on_hold: Vec::new(),
            opened: now,
            lines: Vec::new(),
            partials: Vec::new(),
            dtmf: Vec::new(),
            media_runs: Vec::new(),
            base: Vec::new(),
            recovered: Vec::new(),
            between: GapReason::Discontinuity,
            end: None,
        }
    }

    /// The media run that goes on.
    pub(crate) fn running(&self) -> Option<&MediaRun> {
        self.media_runs.last().filter(|_| self.end.is_none())
    }

    pub(super) fn is_ending(&self) -> bool {
        self.end.is_some()
    }

    pub(crate) fn lines(&self) -> &[TranscriptLine] {
        &self.lines
    }

    pub(crate) fn dtmf(&self) -> &[DtmfDigit] {
        &self.dtmf
    }

    /// Takes up the call, for the first time or again.
    pub(super) fn go_on(&mut self, node: &str, opening: CallOpening) {
        let CallOpening {
            origin,
            channel,
            caller_number,
            destination,
            channel_name,
            identity,
            undecided,
            is_called,
            recognition,
            ..
        } = opening;
        let record = &mut self.record;
        record.status = match origin {
            CallOrigin::Initiated if record.answered_at.is_none() => CallStatus::Initiated,
            _ => CallStatus::Active,
        };
        record.origin = origin;
        node.clone_into(&mut record.node);
        record.caller_number = record.caller_number.take().or(caller_number);
        record.destination = record.destination.take().or(destination);
        record.channel_name = channel_name.or_else(|| record.channel_name.take());
        record.identity.renew(identity);
        record.recognition = recognition;
        record.ended_at = None;
        record.end_reason = None;
        self.channel = channel;
        self.undecided = undecided;
        self.is_called = is_called;
        self.on_hold.clear();
        self.hold = CallHold::Ours;
        self.end = None;
    }

    /// Begins a media run on a media thread.
    pub(super) fn begin(&mut self, media: CallId, thread: usize) -> MediaRun {
        let media_run = MediaRun {
            media,
            thread,
            zero: self.opened,
            legs: Vec::new(),
        };
        self.media_runs.push(media_run.clone());
        media_run
    }

    pub(super) fn leg(&mut self, leg: Leg, source: String, format: Option<String>) {
        let record = leg_record(&mut self.record, &leg);
        record.source = Some(source);
        record.format = format;
    }

    pub(super) fn channel_state(&mut self, now: Instant, state: String) {
        let (at_ms, channel) = (self.at_ms(now), self.channel.clone());
        if self.record.channel_states.len() < MAX_STATES {
            let change = ChannelStateChange {
                at_ms,
                channel,
                state,
            };
            self.record.channel_states.push(change);
        } else {
            self.note("further channel states are not kept".to_owned());
        }
    }

    /// Enters an event of the call's media.
    pub(super) fn event(&mut self, media: &CallId, mut event: CallEvent) {
        event.at_ms += self.shift_of(self.zero_of(media));
        push_event(&mut self.record, event);
    }

    /// Enters an event that does not come from the call's media.
    pub(super) fn event_now(&mut self, now: Instant, kind: CallEventKind, text: String) {
        let (at_ms, leg) = (self.at_ms(now), None);
        let events = &mut self.record.events;
        let same = |event: &CallEvent| event.kind == kind;
        // However often that happens, what happened to its media must not be pushed out.
        if events.iter().filter(|event| same(event)).count() >= MAX_SAME
            && let Some(oldest) = events.iter().position(same)
        {
            events.remove(oldest);
        }
        let event = CallEvent {
            at_ms,
            kind,
            leg,
            text,
        };
        push_event(&mut self.record, event);
    }

    pub(super) fn note(&mut self, note: String) {
        push_note(&mut self.record, note);
    }

    pub(super) fn digit(
        &mut self,
        now: Instant,
        digit: char,
        duration_ms: u64,
        leg: Leg,
        writes: &mut Vec<StoreWrite>,
    ) {
        let at_ms = self.at_ms(now);
        let key = DtmfDigit {
            at_ms,
            digit,
            duration_ms,
            leg,
        };
        self.push_key(key, writes);
    }

    /// Enters a key of a media run, with its time put on the call's clock.
    pub(super) fn key(&mut self, media: &CallId, mut key: DtmfDigit, writes: &mut Vec<StoreWrite>) {
        key.at_ms += self.shift_of(self.zero_of(media));
        self.push_key(key, writes);
    }

    fn push_key(&mut self, key: DtmfDigit, writes: &mut Vec<StoreWrite>) {
        if self.dtmf.len() >= MAX_DIGITS {
            self.note("further digits are not kept".to_owned());
            self.write_record(writes);
            return;
        }
        self.dtmf.push(key);
        self.write_digits(self.dtmf.len() - 1, writes);
    }

    /// Numbers a line and puts it on the call's clock.
    pub(super) fn line(
        &mut self,
        media: &CallId,
        mut line: TranscriptLine,
        writes: &mut Vec<StoreWrite>,
    ) {
        let shift_ms = self.shift_of(self.zero_of(media));
        line.seq = self.record.lines;
        line.shift(shift_ms);
        line.early_media = self.is_early(line.start_ms);
        self.drop_partial(&line);
        self.record.lines += 1;
        self.record.awaited += u64::from(line.awaits_words());
        self.record.second_pass.waiting += u64::from(line.awaits_second_pass());
        if self.lines.len() == MAX_LINES {
            // What is no longer here must be in the store, whatever its number there.
            self.release(writes);
            self.lines.drain(..MAX_LINES / 2);
        }
        self.lines.push(line);
        self.write_lines(self.lines.len() - 1, writes);
        // The line first: a record must never promise more lines than are stored.
        self.write_record(writes);
    }

    pub(super) fn stats(&mut self, media: &CallId, legs: Vec<LegSnapshot>) {
        if let Some(media_run) = self
            .media_runs
            .iter_mut()
            .find(|media_run| media_run.media == *media)
        {
            media_run.legs = legs;
            self.count();
        }
    }

    pub(super) fn end(&mut self, wall: Timestamp, reason: EndReason, status: CallStatus) {
        self.end = Some((wall, reason, status));
    }

    /// Closes a media run; the result is whether it was the last one.
    pub(super) fn closed(
        &mut self,
        media: &CallId,
        wall: Timestamp,
        legs: Vec<LegSnapshot>,
    ) -> bool {
        self.partials.clear();
        if self
            .running()
            .is_some_and(|media_run| media_run.media == *media)
        {
            let text = "its media ended".to_owned();
            self.end(wall, EndReason { cause: None, text }, CallStatus::Ended);
        }
        let place = self
            .media_runs
            .iter()
            .position(|media_run| media_run.media == *media);
        let media_run = place.map(|place| self.media_runs.remove(place));
        let zero = media_run
            .as_ref()
            .map_or(self.opened, |media_run| media_run.zero);
        let told = media_run.map(|media_run| media_run.legs);
        // A thread that failed on it has no last counters.
        let legs = if legs.is_empty() {
            told.unwrap_or_default()
        } else {
            legs
        };
        let shift_ms = self.shift_of(zero);
        for mut leg in legs {
            leg.shift(shift_ms);
            add(&mut self.base, &leg, self.between);
        }
        self.between = GapReason::Discontinuity;
        self.count();
        self.media_runs.is_empty()
    }

    /// Completes the record of a call that is over.
    pub(super) fn finish(&mut self, wall: Timestamp) {
        let (ended_at, reason, status) = self.end.take().unwrap_or_else(|| {
            let text = "the server is shutting down".to_owned();
            (wall, EndReason { cause: None, text }, CallStatus::Ended)
        });
        // Their last counters will not come.
        for media_run in std::mem::take(&mut self.media_runs) {
            let shift_ms = self.shift_of(media_run.zero);
            for mut leg in media_run.legs {
                leg.shift(shift_ms);
                add(&mut self.base, &leg, self.between);
            }
        }
        self.fall_silent(wall);
        // Nobody will answer for what is undecided even now.
        let legs = self.record.legs.iter_mut().map(|leg| &mut leg.audio);
        let base = self.base.iter_mut().map(|leg| &mut leg.audio);
        legs.chain(base)
            .for_each(|audio| audio.give_up(GapReason::RecognitionFailed));
        self.record.status = status;
        self.record.ended_at = Some(ended_at);
        self.record.end_reason = Some(reason);
    }

    /// Admits a registered call whose first leg has been placed.
    pub(super) fn admit(&mut self, known: bool, writes: &mut Vec<StoreWrite>) {
        if self.held == WriteHold::Admission {
            self.held = WriteHold::History;
            if known {
                self.release(writes);
            }
        }
    }

    /// Writes what was held back for the sake of the store's answer.
    pub(super) fn release(&mut self, writes: &mut Vec<StoreWrite>) {
        if self.held != WriteHold::History {
            return;
        }
        self.held = WriteHold::Nothing;
        // Those that the store has already are ignored there.
        self.write_digits(0, writes);
        self.write_lines(0, writes);
        self.write_record(writes);
    }

    pub(super) fn write_record(&self, writes: &mut Vec<StoreWrite>) {
        if self.held == WriteHold::Nothing {
            let record = Box::new(self.record.clone());
            writes.push(match self.hold {
                CallHold::Ours => StoreWrite::Call(record),
                CallHold::GivenUp => StoreWrite::GivenUp(record),
            });
        }
    }

    fn write_lines(&self, from: usize, writes: &mut Vec<StoreWrite>) {
        if self.held == WriteHold::Nothing {
            let call = &self.record.call_id;
            let lines = self.lines[from..].iter().cloned();
            writes.extend(lines.map(|line| StoreWrite::Line {
                call: call.clone(),
                line,
            }));
        }
    }

    fn write_digits(&self, from: usize, writes: &mut Vec<StoreWrite>) {
        if self.held == WriteHold::Nothing {
            let call = &self.record.call_id;
            let digits = (0u64..).zip(&self.dtmf).skip(from);
            writes.extend(digits.map(|(index, digit)| StoreWrite::Dtmf {
                call: call.clone(),
                index,
                digit: digit.clone(),
            }));
        }
    }

    /// Brings the record's counters up to date.
    fn count(&mut self) {
        let mut sums = self.base.clone();
        for media_run in &self.media_runs {
            let shift_ms = self.shift_of(media_run.zero);
            for leg in &media_run.legs {
                let mut leg = leg.clone();
                leg.shift(shift_ms);
                add(&mut sums, &leg, self.between);
            }
        }
        for sum in sums {
            let record = leg_record(&mut self.record, &sum.leg);
            record.stats = sum.stats;
            record.audio = sum.audio;
            record.quality = sum.quality;
            record.findings = sum.findings;
            record.language = sum.language;
            record.sounds = sum.sounds;
        }
        for recovered in &self.recovered {
            recovered.correct(&mut self.record.legs);
        }
    }

    /// Milliseconds to add to the times of a media run to put them on the call's clock.
    fn shift_of(&self, zero: Instant) -> u64 {
        millis(zero.saturating_duration_since(self.opened))
    }

    fn zero_of(&self, media: &CallId) -> Instant {
        let media_run = self
            .media_runs
            .iter()
            .find(|media_run| media_run.media == *media);
        media_run.map_or(self.opened, |media_run| media_run.zero)
    }

    pub(super) fn at_ms(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.opened))
    }
}
