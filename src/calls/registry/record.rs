//! Updates of a call's record: lists that are bounded, counters that add up.

use std::time::Duration;

use asterscribe_call::{
    AudioAccount, CallChoices, CallEvent, CallIdentity, CallRecord, CallStatus, GapReason, Leg,
    LegRecord, LegSounds, LegStats, SecondHearing,
};
use asterscribe_session::LegSnapshot;
use jiff::Timestamp;

use super::CallOpening;

/// Entries of one call's growing lists; the newest are kept.
pub(super) const MAX_NOTES: usize = 32;
pub(super) const MAX_EVENTS: usize = 256;
const MAX_FINDINGS: usize = 32;

/// The record of a call of which nothing is known but how it came.
pub(super) fn new_record(wall: Timestamp, opening: &CallOpening) -> CallRecord {
    CallRecord {
        call_id: opening.call.clone(),
        status: CallStatus::Active,
        origin: opening.origin,
        node: String::new(),
        caller_number: None,
        destination: None,
        channel_name: None,
        identity: CallIdentity::default(),
        started_at: wall,
        answered_at: None,
        ended_at: None,
        end_reason: None,
        recognition: CallChoices::default(),
        legs: Vec::new(),
        channel_states: Vec::new(),
        lines: 0,
        revisions: 0,
        awaited: 0,
        second_pass: SecondHearing::default(),
        notes: Vec::new(),
        events: Vec::new(),
        playing: Vec::new(),
        capture: None,
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Adds a leg's counters to the sums: counts are added, of the rest the newest stands. The time
/// `between` the two stretches becomes a gap of that reason.
pub(super) fn add(sums: &mut Vec<LegSnapshot>, more: &LegSnapshot, between: GapReason) {
    match sums.iter_mut().find(|sum| sum.leg == more.leg) {
        Some(sum) => {
            sum.stats += &more.stats;
            sum.audio.go_on(&more.audio, between);
            sum.quality = more.quality.or(sum.quality);
            sum.language = more.language.clone().or_else(|| sum.language.take());
            sum.findings.extend(more.findings.iter().cloned());
            let surplus = sum.findings.len().saturating_sub(MAX_FINDINGS);
            sum.findings.drain(..surplus);
            sum.sounds.append(&more.sounds);
        }
        None => sums.push(more.clone()),
    }
}

pub(super) fn leg_record<'a>(record: &'a mut CallRecord, leg: &Leg) -> &'a mut LegRecord {
    let place = record
        .legs
        .iter()
        .position(|known| known.leg == *leg)
        .unwrap_or_else(|| {
            record.legs.push(LegRecord {
                leg: leg.clone(),
                source: None,
                format: None,
                stats: LegStats::default(),
                audio: AudioAccount::default(),
                quality: None,
                findings: Vec::new(),
                language: None,
                sounds: LegSounds::default(),
            });
            record.legs.len() - 1
        });
    &mut record.legs[place]
}

/// Appends an event; the newest are kept.
pub(super) fn push_event(record: &mut CallRecord, event: CallEvent) {
    if record.events.len() == MAX_EVENTS {
        record.events.remove(0);
    }
    record.events.push(event);
}

pub(super) fn push_note(record: &mut CallRecord, note: String) {
    if record.notes.last() == Some(&note) {
        return;
    }
    if record.notes.len() == MAX_NOTES {
        record.notes.remove(0);
    }
    record.notes.push(note);
}

/// Logs one line for a call that is over, with what an operator asks for first.
pub(super) fn tell_end(record: &CallRecord) {
    let ended = record.ended_at.unwrap_or(record.started_at);
    let seconds = ended.as_second() - record.started_at.as_second();
    let qualities = record.legs.iter().filter_map(|leg| leg.quality.as_ref());
    let worst = qualities
        .map(|quality| f64::from(quality.mos))
        .reduce(f64::min);
    let reason = record.end_reason.as_ref();
    tracing::info!(
        call = %record.call_id,
        caller = record.caller_number,
        destination = record.destination,
        seconds,
        lines = record.lines,
        mos = worst.map(|mos| (mos * 100.0).round() / 100.0),
        cause = reason.and_then(|reason| reason.cause),
        reason = reason.map(|reason| reason.text.as_str()),
        status = ?record.status,
        "a call has ended"
    );
}
