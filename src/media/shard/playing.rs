//! Sounds that are played to the calls of a shard.

use std::net::SocketAddr;
use std::time::Instant;

use asterscribe_call::CallId;
use asterscribe_rtp::StreamStart;

use super::{LegKey, SessionKey, SessionShard};
use crate::media::play::{PlayOrder, PlayRefused, PlayoutWish};
use crate::media::{MediaEvent, MediaEventKind};
use crate::play::SendError;

impl SessionShard {
    /// Time at which [`send_due`](Self::send_due) next has something to send.
    pub(in crate::media) fn next_send(&self) -> Option<Instant> {
        self.players.wake()
    }

    pub(super) fn play(
        &mut self,
        now: Instant,
        call: &CallId,
        order: PlayOrder,
        start: StreamStart,
    ) -> Result<(), PlayRefused> {
        let PlayOrder { leg, id, clip } = order;
        let key = self.residents.key(call).ok_or(PlayRefused::NotOpen)?;
        let resident = self.residents.get_mut(key).ok_or(PlayRefused::NotOpen)?;
        if !resident.session.is_open() {
            return Err(PlayRefused::NotOpen);
        }
        let index = resident.session.leg(&leg);
        let index = index.filter(|index| resident.source(*index).is_some());
        let index = index.ok_or(PlayRefused::NoSource(leg))?;
        let leg = LegKey {
            session: key,
            leg: index,
        };
        Ok(self.players.enqueue(now, leg, start, id, clip)?)
    }

    pub(super) fn stop_play(&mut self, now: Instant, call: &CallId, id: Option<u64>) {
        if let Some(session) = self.residents.key(call) {
            self.players.stop(now, id, |leg| leg.session == session);
        }
    }

    /// Stops everything that is played to a call that ends; the reports come before its end.
    pub(super) fn silence(&mut self, now: Instant, session: SessionKey) {
        self.players.stop(now, None, |leg| leg.session == session);
        let nowhere = &mut |_: LegKey, _: SocketAddr, _: &[u8]| Ok(());
        for leg in self.players.due(now) {
            if leg.session == session {
                self.play_leg(now, leg, nowhere);
            }
        }
        self.players.remove(|leg| leg.session == session);
    }

    /// Sends what is due, each packet to its leg's source and nowhere else.
    pub(in crate::media) fn send_due(
        &mut self,
        now: Instant,
        send: &mut impl FnMut(LegKey, SocketAddr, &[u8]) -> Result<(), SendError>,
    ) {
        for leg in self.players.due(now) {
            self.contain(now, leg.session, |shard| shard.play_leg(now, leg, send));
        }
    }

    fn play_leg(
        &mut self,
        now: Instant,
        key: LegKey,
        send: &mut impl FnMut(LegKey, SocketAddr, &[u8]) -> Result<(), SendError>,
    ) {
        let LegKey { session, leg } = key;
        let Some(resident) = self.residents.get_mut(session) else {
            self.players.remove(|gone| gone.session == session);
            return;
        };
        let (events, counters) = (&mut self.events, &*self.counters);
        self.players.run(now, key, |wish| match wish {
            PlayoutWish::Report(report) => {
                events.push(MediaEvent {
                    call: resident.call.clone(),
                    kind: MediaEventKind::Played(report),
                });
                Ok(())
            }
            PlayoutWish::Send(datagram) => {
                let source = resident.source(leg);
                let gone = || SendError::Refused("nobody speaks for the leg any more".to_owned());
                let sent = source
                    .ok_or_else(gone)
                    .and_then(|to| send(key, to, datagram));
                counters.count_sent(sent.is_ok());
                sent
            }
        });
    }
}
