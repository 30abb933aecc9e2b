//! Tap of a call's capture in the shard. It sees the input of the session, in the same order and
//! with the same times; that is why a replay of it is the call.

use std::net::SocketAddr;
use std::time::Instant;

use asterscribe_call::Leg;
use asterscribe_session::{CallSession, LegIndex};

use crate::capture::CaptureTap;

/// Records a session's input.
#[derive(Debug)]
pub(super) struct SessionRecorder {
    tap: CaptureTap,
    /// Legs in the order of the session's: a capture's legs have the same numbers.
    legs: Vec<RecordedLeg>,
    /// Number of legs that the capture has been given.
    named: usize,
}

#[derive(Debug)]
struct RecordedLeg {
    index: LegIndex,
    leg: Leg,
    /// Source of the leg: all of its datagrams come from there.
    source: Option<SocketAddr>,
}

impl SessionRecorder {
    /// Records what `session` is given from now on.
    pub(super) fn new(
        tap: CaptureTap,
        session: &CallSession,
        sources: &[(LegIndex, SocketAddr)],
    ) -> Self {
        let source = |index| {
            let mut sources = sources.iter().rev();
            sources.find(|(of, _)| *of == index).map(|(_, at)| *at)
        };
        let legs = session
            .legs()
            .map(|(index, leg)| RecordedLeg {
                index,
                leg: leg.clone(),
                source: source(index),
            })
            .collect();
        let mut recorder = Self {
            tap,
            legs,
            named: 0,
        };
        recorder.name_legs();
        recorder
    }

    /// The session has got a leg, or another source speaks for one.
    pub(super) fn leg(&mut self, index: LegIndex, leg: &Leg, source: SocketAddr) {
        match self.legs.iter_mut().find(|known| known.index == index) {
            Some(known) => known.source = Some(source),
            None => self.legs.push(RecordedLeg {
                index,
                leg: leg.clone(),
                source: Some(source),
            }),
        }
        self.name_legs();
    }

    /// The session is about to be given a datagram.
    pub(super) fn datagram(&mut self, index: LegIndex, arrived: Instant, bytes: &[u8]) {
        if self.tap.is_over() {
            return;
        }
        let place = self.legs.iter().position(|leg| leg.index == index);
        let source = place.and_then(|place| self.legs[place].source);
        match (place, source) {
            (Some(place), Some(source)) if self.name_legs() => {
                self.tap.packet(place, arrived, source, bytes);
            }
            _ => self.tap.count_lost(),
        }
    }

    /// The session is about to be hung up.
    pub(super) fn end(&self, now: Instant) {
        self.tap.end(now);
    }

    /// Names the legs that the capture does not know yet; `false` if it takes none now.
    fn name_legs(&mut self) -> bool {
        while let Some(next) = self.legs.get(self.named) {
            if !self.tap.leg(&next.leg) {
                return false;
            }
            self.named += 1;
        }
        true
    }
}
