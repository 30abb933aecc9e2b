//! Who may speak on a shared port.
//!
//! Nothing inside an RTP packet names the call it belongs to; its source address
//! does, because ARI tells it in advance (`UNICASTRTP_LOCAL_ADDRESS` and
//! `…_PORT`). The gate lets through what comes from a named source, holds for a
//! moment what may have overtaken ARI's reply, and refuses everything else. It
//! learns nothing from packets: a sender cannot talk its way in.

mod hash;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::ids::Ssrc;
use crate::wire::{DatagramClass, RtpPacket, classify};

use hash::SourceHash;

/// Bounds of what is held for sources not named yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateConfig {
    /// How long a datagram is held.
    pub hold: Duration,
    /// Unnamed sources of which datagrams are held at once.
    pub max_sources: usize,
    /// Datagrams held of one source: half a second at 10 ms packets.
    pub max_per_source: usize,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            hold: Duration::from_millis(500),
            max_sources: 64,
            max_per_source: 50,
        }
    }
}

/// Sources remembered after their name was taken away; beyond it the one that
/// has been silent for longest is a stranger again.
const MAX_REVOKED: usize = 1024;

/// Larger datagrams are not held: no telephone format needs them, and memory is bounded.
const MAX_HELD_LEN: usize = 2048;

/// Datagrams by what became of them at the gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GateStats {
    /// From a named source, at once or after being held.
    pub admitted: u64,
    /// Held now, waiting for their source to be named.
    pub holding: u64,
    /// Refused: no RTP, from a source that nobody named.
    pub unknown_not_rtp: u64,
    /// Refused: held in vain, their source was not named in time, or no longer named, or they
    /// are the stream of the leg that had the source before.
    pub unknown_source: u64,
    /// Refused: no room to hold them (count of sources, count per source, or size).
    pub hold_full: u64,
}

/// The route of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateRoute<K> {
    /// The datagram belongs to this key.
    To(K),
    /// The datagram is kept for a moment; [`SourceGate::admit`] may hand it back.
    Held,
    /// The datagram was counted and is to be dropped.
    Refused,
}

/// A datagram that came before its source was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldDatagram {
    /// When it arrived.
    pub arrived: Instant,
    /// Its UDP payload.
    pub bytes: Vec<u8>,
}

/// Error: the source is named for another leg already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("RTP from {0} already belongs to another leg")]
pub struct SourceTaken(pub SocketAddr);

/// How a name of a source holds against another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameClaim {
    /// The source stays with this name until it is revoked.
    Lasting,
    /// The newest name of this kind wins: whoever names sources gives each to one key at a time, as
    /// Asterisk does with its ports, and may give it to the next before the first is revoked.
    Latest,
}

/// Outcome of naming a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmittedSource<K> {
    /// Datagrams held of the source, oldest first; to be handed to the leg before anything newer.
    pub held: Vec<HeldDatagram>,
    /// Key that the source was named for until now, if another.
    pub former: Option<K>,
}

/// The gate of one media thread. `K` names a leg.
#[derive(Debug)]
pub struct SourceGate<K> {
    config: GateConfig,
    named: HashMap<SocketAddr, NamedSource<K>, SourceHash>,
    /// Sources whose name was taken away and that still send, or did
    /// [`GateConfig::hold`] ago.
    revoked: HashMap<SocketAddr, RevokedSource<K>>,
    held: HashMap<SocketAddr, VecDeque<HeldDatagram>>,
    /// Nothing is held in vain, and no source is forgotten, up to then.
    sweep_after: Option<Instant>,
    stats: GateStats,
}

#[derive(Debug)]
struct NamedSource<K> {
    key: K,
    claim: NameClaim,
    /// SSRC of the newest RTP packet.
    ssrc: Option<Ssrc>,
    /// The stream that the source sent under another name. Boxed, for it is rare and every packet
    /// looks into this table, which so stays small.
    former: Option<Box<FormerStream>>,
}

/// The stream that came from a source while it had another name.
#[derive(Debug, Clone, Copy)]
struct FormerStream {
    ssrc: Ssrc,
    /// If nothing else comes until then, this very stream was named anew.
    until: Instant,
    /// Another stream has come: the former never will again.
    replaced: bool,
}

#[derive(Debug)]
struct RevokedSource<K> {
    key: K,
    ssrc: Option<Ssrc>,
    /// When it last sent, at the earliest when its name was taken away.
    heard: Instant,
}

impl<K> NamedSource<K> {
    /// Whether the datagram is the named leg's, not the last words of the leg before it.
    fn admits(&mut self, now: Instant, bytes: &[u8]) -> bool {
        let Some(ssrc) = rtp_ssrc(bytes) else {
            return true;
        };
        if let Some(former) = &mut self.former {
            if former.ssrc != ssrc {
                former.replaced = true;
            } else if former.replaced || now < former.until {
                return false;
            } else {
                self.former = None;
            }
        }
        self.ssrc = Some(ssrc);
        true
    }
}

/// The SSRC at its fixed place (RFC 3550 section 5.1), of what looks like RTP.
fn rtp_ssrc(bytes: &[u8]) -> Option<Ssrc> {
    let DatagramClass::Rtp = classify(bytes) else {
        return None;
    };
    let ssrc = bytes.get(8..12)?.try_into().ok()?;
    Some(Ssrc(u32::from_be_bytes(ssrc)))
}

impl<K: Copy + Eq> SourceGate<K> {
    /// A gate without any named source.
    pub fn new(config: GateConfig) -> Self {
        Self {
            config,
            named: HashMap::with_hasher(SourceHash::new()),
            revoked: HashMap::new(),
            held: HashMap::new(),
            sweep_after: None,
            stats: GateStats::default(),
        }
    }

    /// Judges one datagram. Every datagram is counted exactly once.
    pub fn route(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> GateRoute<K> {
        self.judge(now, from, bytes, None)
    }

    /// Judges one datagram that came to a leg's own port, whose source must be named for that leg:
    /// from a source named for another leg it is refused. Counted as by [`Self::route`].
    pub fn route_own(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        owner: K,
    ) -> GateRoute<K> {
        self.judge(now, from, bytes, Some(owner))
    }

    fn judge(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        owner: Option<K>,
    ) -> GateRoute<K> {
        let from = canonical(from);
        if let Some(named) = self.named.get_mut(&from) {
            let is_owner = owner.is_none_or(|owner| owner == named.key);
            if is_owner && named.admits(now, bytes) {
                self.stats.admitted += 1;
                return GateRoute::To(named.key);
            }
            self.stats.unknown_source += 1;
            return GateRoute::Refused;
        }
        if RtpPacket::parse(bytes).is_err() {
            self.stats.unknown_not_rtp += 1;
            return GateRoute::Refused;
        }
        self.expire(now);
        if let Some(revoked) = self.revoked.get_mut(&from) {
            // For as long as it goes on sending it is no stranger.
            revoked.heard = revoked.heard.max(now);
            revoked.ssrc = rtp_ssrc(bytes).or(revoked.ssrc);
            self.stats.unknown_source += 1;
            return GateRoute::Refused;
        }
        let room = self.held.contains_key(&from) || self.held.len() < self.config.max_sources;
        if !room || bytes.len() > MAX_HELD_LEN {
            self.stats.hold_full += 1;
            return GateRoute::Refused;
        }
        let queue = self.held.entry(from).or_default();
        if queue.len() >= self.config.max_per_source {
            self.stats.hold_full += 1;
            return GateRoute::Refused;
        }
        queue.push_back(HeldDatagram {
            arrived: now,
            bytes: bytes.to_vec(),
        });
        self.stats.holding += 1;
        self.sweep_after.get_or_insert(now + self.config.hold);
        GateRoute::Held
    }

    /// Names a source.
    ///
    /// Had the source another name a moment ago, the stream that came under it is
    /// refused by its SSRC: for good once another stream comes, and otherwise for
    /// [`GateConfig::hold`], after which it must be the one that is meant.
    ///
    /// # Errors
    /// The source is named for another key, and one of the two claims is
    /// [lasting](NameClaim::Lasting); nothing has changed.
    pub fn admit(
        &mut self,
        now: Instant,
        source: SocketAddr,
        key: K,
        claim: NameClaim,
    ) -> Result<AdmittedSource<K>, SourceTaken> {
        let source = canonical(source);
        let mut former = None;
        if let Some(named) = self.named.get(&source).filter(|named| named.key != key) {
            if (named.claim, claim) != (NameClaim::Latest, NameClaim::Latest) {
                return Err(SourceTaken(source));
            }
            let loser = named.key;
            self.revoke(now, source, loser);
            former = Some(loser);
        }
        match self.named.get_mut(&source) {
            Some(named) => named.claim = claim,
            None => {
                let before = self.revoked.remove(&source);
                let ssrc = before.filter(|before| before.key != key);
                let former = ssrc.and_then(|former| former.ssrc).map(|ssrc| {
                    Box::new(FormerStream {
                        ssrc,
                        until: now + self.config.hold,
                        replaced: false,
                    })
                });
                let ssrc = None;
                let named = NamedSource {
                    key,
                    claim,
                    ssrc,
                    former,
                };
                self.named.insert(source, named);
            }
        }
        self.expire(now);
        let held: Vec<_> = self.held.remove(&source).unwrap_or_default().into();
        self.stats.holding -= held.len() as u64;
        self.stats.admitted += held.len() as u64;
        Ok(AdmittedSource { held, former })
    }

    /// Takes a source's name away from its key; one that has lost it already loses nothing.
    /// What still comes from it is refused, not held
    /// like a stranger's: the end of one call must not be the beginning of the
    /// next one that gets the same port.
    pub fn revoke(&mut self, now: Instant, source: SocketAddr, key: K) {
        let source = canonical(source);
        if self.named.get(&source).is_none_or(|named| named.key != key) {
            return;
        }
        let Some(NamedSource { ssrc, former, .. }) = self.named.remove(&source) else {
            return;
        };
        if self.revoked.len() >= MAX_REVOKED {
            let oldest = self.revoked.iter().min_by_key(|(_, revoked)| revoked.heard);
            if let Some((&oldest, _)) = oldest {
                self.revoked.remove(&oldest);
            }
        }
        let ssrc = ssrc.or_else(|| former.map(|former| former.ssrc));
        let heard = now;
        self.revoked
            .insert(source, RevokedSource { key, ssrc, heard });
        self.sweep_after.get_or_insert(now + self.config.hold);
    }

    /// Drops datagrams held in vain for [`GateConfig::hold`], and forgets sources that lost their
    /// name and have been silent since.
    pub fn expire(&mut self, now: Instant) {
        if self.sweep_after.is_none_or(|after| now <= after) {
            return;
        }
        let hold = self.config.hold;
        self.revoked
            .retain(|_, revoked| now.saturating_duration_since(revoked.heard) <= hold);
        let stats = &mut self.stats;
        self.held.retain(|_, queue| {
            while queue
                .front()
                .is_some_and(|held| now.saturating_duration_since(held.arrived) > hold)
            {
                queue.pop_front();
                stats.holding -= 1;
                stats.unknown_source += 1;
            }
            !queue.is_empty()
        });
        let held = self.held.values().filter_map(|queue| queue.front());
        let revoked = self.revoked.values().map(|revoked| revoked.heard);
        let oldest = held.map(|held| held.arrived).chain(revoked).min();
        self.sweep_after = oldest.map(|oldest| oldest + hold);
    }

    /// Sources that nobody has named, with how many datagrams are held of each:
    /// no more than came within [`GateConfig::hold`].
    pub fn strangers(&self) -> impl Iterator<Item = (SocketAddr, usize)> + '_ {
        self.held
            .iter()
            .map(|(&source, datagrams)| (source, datagrams.len()))
    }

    /// The counters.
    pub fn stats(&self) -> GateStats {
        self.stats
    }
}

/// The form in which sources are compared: IPv4 addresses look alike on an IPv4
/// and on a dual-stack socket (RFC 4291 §2.5.5.2).
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(v6) => SocketAddr::new(v6.to_canonical(), address.port()),
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests;
