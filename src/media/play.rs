//! Sounds that a media thread plays, leg by leg, without its socket and its clock.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use asterscribe_call::Leg;
use asterscribe_rtp::StreamStart;

use crate::play::{EncodedClip, LegPlayout, PlayReport, PlayoutTurn, QueueFull, SendError};

/// A sound that is to be played to a leg.
#[derive(Debug)]
pub struct PlayOrder {
    /// Leg that is played to.
    pub leg: Leg,
    /// Number of the playback in reports.
    pub id: u64,
    /// The sound.
    pub clip: EncodedClip,
}

/// Reason why a sound is not played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlayRefused {
    /// The call is over, or was never opened.
    #[error("the call is not open")]
    NotOpen,
    /// The call has no such leg, or nobody speaks for it yet.
    #[error("leg {0} has no media yet")]
    NoSource(Leg),
    /// The leg has too many sounds waiting already.
    #[error(transparent)]
    Full(#[from] QueueFull),
    /// The media thread does not take orders now.
    #[error("the media plane is overloaded")]
    Overloaded,
}

/// Playouts of all legs of a thread.
#[derive(Debug)]
pub(super) struct ThreadPlayers<K> {
    players: HashMap<K, LegPlayer>,
}

#[derive(Debug)]
struct LegPlayer {
    playout: LegPlayout,
    /// Time at which the playout is to be polled; `None` while there is nothing to play.
    wake: Option<Instant>,
}

/// Output of a playout for its thread.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PlayoutWish<'a> {
    /// Send this datagram to the leg's source.
    Send(&'a [u8]),
    /// Report on a sound.
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
    /// Queues a sound behind those that wait already. `start` counts for a leg's first.
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

    /// Stops a sound, or all of them, on the legs for which `meant` is true.
    pub(super) fn stop(&mut self, now: Instant, id: Option<u64>, meant: impl Fn(K) -> bool) {
        for (_, player) in self.players.iter_mut().filter(|(leg, _)| meant(**leg)) {
            player.playout.stop(now, id);
            player.wake = Some(now);
        }
    }

    /// Removes the legs for which `meant` is true, and their sounds.
    pub(super) fn remove(&mut self, meant: impl Fn(K) -> bool) {
        self.players.retain(|leg, _| !meant(*leg));
    }

    /// Time at which the next playout is to be polled.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.players.values().filter_map(|player| player.wake).min()
    }

    /// Legs whose playouts are to be polled now.
    pub(super) fn due(&self, now: Instant) -> Vec<K> {
        let due = |player: &LegPlayer| player.wake.is_some_and(|wake| wake <= now);
        let players = self.players.iter().filter(|(_, player)| due(player));
        players.map(|(leg, _)| *leg).collect()
    }

    /// Polls one playout. `grant` carries out its output and returns the result.
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
