//! What a media thread plays, leg by leg, without its socket and its clock.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use asterscribe_rtp::StreamStart;

use crate::call::Leg;
use crate::play::{EncodedClip, LegPlayout, PlayReport, PlayoutTurn, QueueFull, SendError};

/// A sound that a leg shall hear.
#[derive(Debug)]
pub struct PlayOrder {
    /// Who.
    pub leg: Leg,
    /// Names the playback in reports.
    pub id: u64,
    /// The sound.
    pub clip: EncodedClip,
}

/// Why a sound is not played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlayRefused {
    /// The call is over, or was never opened.
    #[error("the call is not open")]
    NotOpen,
    /// The call has no such leg, or nobody speaks for it yet.
    #[error("leg {0} has no media yet")]
    NoSource(Leg),
    /// Too much waits already.
    #[error(transparent)]
    Full(#[from] QueueFull),
    /// The media thread does not take orders now.
    #[error("the media plane is overloaded")]
    Overloaded,
}

/// The playouts of all legs of a thread, by whatever names a leg.
#[derive(Debug)]
pub(super) struct ThreadPlayers<K> {
    players: HashMap<K, LegPlayer>,
}

#[derive(Debug)]
struct LegPlayer {
    playout: LegPlayout,
    /// When it is to be looked at; `None` while there is nothing to play.
    wake: Option<Instant>,
}

/// A wish of a playout to its thread.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PlayoutWish<'a> {
    /// Send this datagram to the leg's source.
    Send(&'a [u8]),
    /// Tell this.
    Report(PlayReport),
}

impl<K> Default for ThreadPlayers<K> {
    fn default() -> Self {
        Self {
            players: HashMap::new(),
        }
    }
}

impl<K: Copy + Eq + Hash> ThreadPlayers<K> {
    /// Plays a sound after those that wait already. `start` counts for a leg's first.
    pub(super) fn enqueue(
        &mut self,
        now: Instant,
        leg: K,
        start: StreamStart,
        id: u64,
        clip: EncodedClip,
    ) -> Result<(), QueueFull> {
        let player = self.players.entry(leg).or_insert_with(|| LegPlayer {
            playout: LegPlayout::new(start),
            wake: None,
        });
        player.playout.enqueue(id, clip)?;
        player.wake = Some(now);
        Ok(())
    }

    /// Plays no more of that sound, or of any, on the legs that are meant.
    pub(super) fn stop(&mut self, now: Instant, id: Option<u64>, meant: impl Fn(K) -> bool) {
        for (_, player) in self.players.iter_mut().filter(|(leg, _)| meant(**leg)) {
            player.playout.stop(now, id);
            player.wake = Some(now);
        }
    }

    /// The legs that are meant are gone, and their sounds with them.
    pub(super) fn remove(&mut self, meant: impl Fn(K) -> bool) {
        self.players.retain(|leg, _| !meant(*leg));
    }

    /// When the next one is to be looked at.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.players.values().filter_map(|player| player.wake).min()
    }

    /// Those that are to be looked at now.
    pub(super) fn due(&self, now: Instant) -> Vec<K> {
        let due = |player: &LegPlayer| player.wake.is_some_and(|wake| wake <= now);
        let players = self.players.iter().filter(|(_, player)| due(player));
        players.map(|(leg, _)| *leg).collect()
    }

    /// Looks at one. `grant` does what is wished and says what came of it.
    pub(super) fn run(
        &mut self,
        now: Instant,
        leg: K,
        mut grant: impl FnMut(PlayoutWish<'_>) -> Result<(), SendError>,
    ) {
        let Some(player) = self.players.get_mut(&leg) else {
            return;
        };
        player.wake = loop {
            match player.playout.poll(now) {
                PlayoutTurn::Wait(until) => break until,
                PlayoutTurn::Report(report) => {
                    // Reports are never refused.
                    let _granted = grant(PlayoutWish::Report(report));
                }
                PlayoutTurn::Send(datagram) => {
                    let result = grant(PlayoutWish::Send(datagram));
                    player.playout.sent(now, result);
                }
            }
        };
    }
}
