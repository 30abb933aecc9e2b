//! Payload types of a flow, and those by which a session knows their formats.

use std::time::Duration;

use asterscribe_codecs::{Codec, PayloadKind};
use asterscribe_rtp::ClockRate;

use super::SocketPair;
use crate::replay::payloads::{
    PayloadMeaning, PayloadShape, PayloadVerdict, SdpSessions, ToldPayload, judge,
};

/// Asterisk's number for telephone events.
const EVENTS: u8 = 101;

/// The payload types of a flow that a session is to see under other numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PayloadNumbers {
    /// Number in the packets, time in the file from which on it is replaced, and by which.
    replaced: Vec<(u8, Duration, u8)>,
    /// Numbers for the session of telephone events, with their clocks where they are told.
    events: Vec<(u8, Option<ClockRate>)>,
    remarks: Vec<String>,
}

impl PayloadNumbers {
    /// The numbers of a flow with these payload types between two sockets.
    pub(super) fn new(
        kinds: &[PayloadShape],
        sessions: &SdpSessions,
        sockets: SocketPair,
        told: &[ToldPayload],
    ) -> Self {
        let mut numbers = Self::default();
        let taken: Vec<_> = kinds.iter().map(|kind| kind.number).collect();
        for kind in kinds {
            for (from, verdict) in judge(told, sessions, sockets, kind) {
                let number = match numbers.meaning(kind, verdict) {
                    None => kind.number,
                    Some(PayloadMeaning::TelephoneEvent(clock)) => {
                        numbers.event_number(kind.number, clock, &taken)
                    }
                    Some(meaning) => meaning.number(kind.number),
                };
                numbers.replaced.push((kind.number, from, number));
            }
        }
        numbers
    }

    /// Number that a session is to see at that time of the file.
    pub(super) fn of(&self, number: u8, at: Duration) -> u8 {
        let mut newest_first = self.replaced.iter().rev();
        let known = newest_first.find(|(own, from, _)| *own == number && *from <= at);
        known.map_or(number, |(_, _, by)| *by)
    }

    /// See [`super::RtpFlow::events`].
    pub(super) fn events(&self) -> impl Iterator<Item = (u8, Option<ClockRate>)> {
        self.events.iter().copied()
    }

    /// Remarks for whoever runs the replay.
    pub(super) fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Meaning of a payload type by its verdict, if it is another than Asterisk's.
    fn meaning(&mut self, kind: &PayloadShape, verdict: PayloadVerdict) -> Option<PayloadMeaning> {
        let (number, packets) = (kind.number, kind.packets);
        let (meaning, remark) = match verdict {
            PayloadVerdict::AsNumbered => (None, None),
            PayloadVerdict::Told(PayloadMeaning::Other) => {
                let remark = format!(
                    "payload type {number} is of a format that is not decoded here ({packets} packets)"
                );
                (Some(PayloadMeaning::Other), Some(remark))
            }
            PayloadVerdict::Told(meaning) => (Some(meaning), None),
            PayloadVerdict::Opus => {
                let remark =
                    format!("payload type {number} is taken for Opus, by the shape of its packets");
                (Some(PayloadMeaning::Audio(Codec::Opus)), Some(remark))
            }
            PayloadVerdict::Unknown => {
                let remark = format!(
                    "nothing says what payload type {number} is ({packets} packets); --payload {number}=FORMAT would"
                );
                (None, Some(remark).filter(|_| kind.is_worth_telling()))
            }
        };
        let is_new = |remark: &String| !self.remarks.contains(remark);
        let remark = remark.filter(is_new);
        self.remarks.extend(remark);
        meaning
    }

    /// Number for the session of telephone events with that clock: their own or 101, unless that
    /// stands for something else, and else one that stands for nothing.
    fn event_number(&mut self, own: u8, clock: Option<ClockRate>, taken: &[u8]) -> u8 {
        let is_free = |number: &u8| {
            let known = self.events.iter().find(|(other, _)| other == number);
            let stands_for = PayloadKind::classify(*number);
            let is_for_events = stands_for == PayloadKind::TelephoneEvent
                || stands_for == PayloadKind::Unknown(*number);
            is_for_events
                && (*number == own || !taken.contains(number))
                && known.is_none_or(|(_, other)| *other == clock)
        };
        let mut candidates = [own, EVENTS].into_iter().chain(0..128);
        let number = candidates.find(is_free).unwrap_or(EVENTS);
        if !self.events.contains(&(number, clock)) {
            self.events.push((number, clock));
        }
        number
    }
}
