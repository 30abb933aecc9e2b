//! Sounds played to a call, on its record.

use std::time::Duration;

use asterscribe_call::{CallEvent, CallEventKind, CallPlayback, PlaybackState};
use jiff::Timestamp;

use super::{RegisteredCall, millis, push_event};
use crate::play::{PlayEvent, PlayReport};

impl RegisteredCall {
    /// Enters a sound that has been ordered.
    pub(in super::super) fn playback_queued(&mut self, playback: CallPlayback) {
        self.record.playing.push(playback);
    }

    /// Removes a sound that was not taken after all.
    pub(in super::super) fn playback_refused(&mut self, id: u64) {
        self.record.playing.retain(|playback| playback.id != id);
    }

    /// Enters a report on a sound; the result is whether that is worth storing.
    pub(in super::super) fn played(&mut self, report: PlayReport) -> bool {
        let at_ms = self.at_ms(report.at);
        let playing = &mut self.record.playing;
        let Some(place) = playing.iter().position(|known| known.id == report.id) else {
            return false;
        };
        playing[place].played_ms = millis(report.played);
        let kind = match &report.event {
            PlayEvent::Progress => return false,
            PlayEvent::Started => {
                playing[place].state = PlaybackState::Playing;
                self.tell(at_ms, CallEventKind::PlaybackStarted, place, None);
                return true;
            }
            PlayEvent::Finished => CallEventKind::PlaybackFinished,
            PlayEvent::Stopped => CallEventKind::PlaybackStopped,
            PlayEvent::Failed(_) => CallEventKind::PlaybackFailed,
        };
        let reason = match report.event {
            PlayEvent::Failed(reason) => Some(reason),
            _ => None,
        };
        self.tell(at_ms, kind, place, reason);
        self.record.playing.remove(place);
        true
    }

    /// Ends all sounds that are still on the record.
    pub(super) fn fall_silent(&mut self, wall: Timestamp) {
        let age = wall.duration_since(self.record.started_at);
        let at_ms = millis(Duration::try_from(age).unwrap_or_default());
        for place in 0..self.record.playing.len() {
            let reason = Some("the call's media ended".to_owned());
            self.tell(at_ms, CallEventKind::PlaybackFailed, place, reason);
        }
        self.record.playing.clear();
    }

    fn tell(&mut self, at_ms: u64, kind: CallEventKind, place: usize, reason: Option<String>) {
        let CallPlayback {
            id,
            leg,
            name,
            played_ms,
            length_ms,
            format,
            ..
        } = &self.record.playing[place];
        let mut text = format!("playback {id}: {name}, {played_ms} of {length_ms} ms as {format}");
        if let Some(reason) = reason {
            text.push_str(": ");
            text.push_str(&reason);
        }
        let leg = Some(leg.clone());
        let event = CallEvent {
            at_ms,
            kind,
            leg,
            text,
        };
        push_event(&mut self.record, event);
    }
}
