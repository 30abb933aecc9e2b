//! Who may speak on a shared port.
//!
//! Nothing inside an RTP packet names the call it belongs to; its source address
//! does, because ARI tells it in advance (`UNICASTRTP_LOCAL_ADDRESS` and
//! `…_PORT`). The gate lets through what comes from a named source, holds for a
//! moment what may have overtaken ARI's reply, and refuses everything else. It
//! learns nothing from packets: a sender cannot talk its way in.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::wire::Packet;

/// Bounds of what is held for sources not named yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateConfig {
    /// How long a datagram is held.
    pub hold: Duration,
    /// Unnamed sources held for at once.
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
    /// Refused: held in vain, their source was not named in time, or no longer named.
    pub unknown_source: u64,
    /// Refused: no room to hold them (count of sources, count per source, or size).
    pub hold_full: u64,
}

/// What to do with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<K> {
    /// It belongs to this key.
    To(K),
    /// It is kept for a moment; [`Gate::admit`] may hand it back.
    Held,
    /// It was counted and is to be dropped.
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

/// The source is named for somebody else already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("RTP from {0} already belongs to another leg")]
pub struct SourceTaken(pub SocketAddr);

/// The gate of one socket. `K` names a leg.
#[derive(Debug)]
pub struct Gate<K> {
    config: GateConfig,
    named: HashMap<SocketAddr, K>,
    /// Sources whose name was taken away less than [`GateConfig::hold`] ago.
    revoked: HashMap<SocketAddr, Instant>,
    held: HashMap<SocketAddr, VecDeque<HeldDatagram>>,
    stats: GateStats,
}

impl<K: Copy + Eq> Gate<K> {
    /// A gate that lets nobody in yet.
    pub fn new(config: GateConfig) -> Self {
        Self {
            config,
            named: HashMap::new(),
            revoked: HashMap::new(),
            held: HashMap::new(),
            stats: GateStats::default(),
        }
    }

    /// Judges one datagram. Every datagram is counted exactly once.
    pub fn route(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Route<K> {
        let from = canonical(from);
        if let Some(&key) = self.named.get(&from) {
            self.stats.admitted += 1;
            return Route::To(key);
        }
        if Packet::parse(bytes).is_err() {
            self.stats.unknown_not_rtp += 1;
            return Route::Refused;
        }
        self.expire(now);
        if self.revoked.contains_key(&from) {
            self.stats.unknown_source += 1;
            return Route::Refused;
        }
        let room = self.held.contains_key(&from) || self.held.len() < self.config.max_sources;
        if !room || bytes.len() > MAX_HELD_LEN {
            self.stats.hold_full += 1;
            return Route::Refused;
        }
        let queue = self.held.entry(from).or_default();
        if queue.len() >= self.config.max_per_source {
            self.stats.hold_full += 1;
            return Route::Refused;
        }
        queue.push_back(HeldDatagram {
            arrived: now,
            bytes: bytes.to_vec(),
        });
        self.stats.holding += 1;
        Route::Held
    }

    /// Names a source. Returns what was held of it, oldest first; the caller
    /// hands it to the leg before anything newer.
    ///
    /// # Errors
    /// The source is named for another key; nothing has changed.
    pub fn admit(
        &mut self,
        now: Instant,
        source: SocketAddr,
        key: K,
    ) -> Result<Vec<HeldDatagram>, SourceTaken> {
        let source = canonical(source);
        match self.named.get(&source) {
            Some(&owner) if owner != key => return Err(SourceTaken(source)),
            _ => self.named.insert(source, key),
        };
        self.revoked.remove(&source);
        self.expire(now);
        let held: Vec<_> = self.held.remove(&source).unwrap_or_default().into();
        self.stats.holding -= held.len() as u64;
        self.stats.admitted += held.len() as u64;
        Ok(held)
    }

    /// Takes a source's name away. What still comes from it is refused, not held
    /// like a stranger's: the end of one call must not be the beginning of the
    /// next one that gets the same port.
    pub fn revoke(&mut self, now: Instant, source: SocketAddr) {
        let source = canonical(source);
        if self.named.remove(&source).is_some() {
            self.revoked.insert(source, now);
        }
    }

    /// Drops what has been held in vain.
    pub fn expire(&mut self, now: Instant) {
        let hold = self.config.hold;
        self.revoked
            .retain(|_, at| now.saturating_duration_since(*at) <= hold);
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
mod tests {
    use super::*;
    use crate::testkit::origin;

    const MS: Duration = Duration::from_millis(1);
    const RTP: [u8; 14] = [0x80, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9, 1, 2];

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn packets_that_overtake_the_naming_come_back_in_order() {
        let (mut gate, t0) = (Gate::<u32>::new(GateConfig::default()), origin());
        let source = address("127.0.0.1:4000");
        for n in 0..3u8 {
            let mut bytes = RTP;
            bytes[3] = n;
            assert_eq!(
                gate.route(t0 + MS * u32::from(n), source, &bytes),
                Route::Held
            );
        }
        assert_eq!(gate.strangers().collect::<Vec<_>>(), [(source, 3)]);
        let held = gate.admit(t0 + MS * 3, source, 7).unwrap();
        assert_eq!(gate.strangers().count(), 0);
        assert_eq!(
            held.iter().map(|h| h.bytes[3]).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        assert_eq!(gate.route(t0 + MS * 4, source, &RTP), Route::To(7));
        assert_eq!(
            gate.stats(),
            GateStats {
                admitted: 4,
                ..GateStats::default()
            }
        );
    }

    #[test]
    fn what_nobody_names_in_time_is_refused_and_counted() {
        let (mut gate, t0) = (Gate::<u32>::new(GateConfig::default()), origin());
        let source = address("127.0.0.1:4000");
        gate.route(t0, source, &RTP);
        gate.route(t0, source, b"OPTIONS sip:x SIP/2.0");
        assert_eq!(gate.admit(t0 + MS * 501, source, 7).unwrap(), []);
        let stats = gate.stats();
        assert_eq!(
            (stats.unknown_source, stats.unknown_not_rtp, stats.holding),
            (1, 1, 0)
        );
    }

    #[test]
    fn a_spray_of_sources_cannot_grow_the_gate() {
        let (mut gate, t0) = (Gate::<u32>::new(GateConfig::default()), origin());
        for port in 1..10_000 {
            gate.route(t0, SocketAddr::new([127, 0, 0, 9].into(), port), &RTP);
        }
        for _ in 0..1000 {
            gate.route(t0, SocketAddr::new([127, 0, 0, 9].into(), 1), &RTP);
        }
        let stats = gate.stats();
        assert_eq!(stats.holding, 64 + 49);
        assert_eq!(stats.holding + stats.hold_full, 9_999 + 1000);
    }

    #[test]
    fn a_source_has_one_owner_and_its_port_counts() {
        let (mut gate, t0) = (Gate::<u32>::new(GateConfig::default()), origin());
        let source = address("127.0.0.1:4000");
        gate.admit(t0, source, 1).unwrap();
        assert_eq!(gate.admit(t0, source, 2), Err(SourceTaken(source)));
        assert_eq!(gate.admit(t0, source, 1), Ok(vec![]));
        assert_ne!(
            gate.route(t0, address("127.0.0.1:4001"), &RTP),
            Route::To(1)
        );
        assert_ne!(
            gate.route(t0, address("127.0.0.2:4000"), &RTP),
            Route::To(1)
        );
        assert_eq!(
            gate.route(t0, address("[::ffff:127.0.0.1]:4000"), &RTP),
            Route::To(1)
        );
        gate.revoke(t0, source);
        assert_ne!(gate.route(t0, source, &RTP), Route::To(1));
    }

    #[test]
    fn the_end_of_one_call_is_not_the_beginning_of_the_next() {
        let (mut gate, t0) = (Gate::<u32>::new(GateConfig::default()), origin());
        let source = address("127.0.0.1:4000");
        gate.admit(t0, source, 1).unwrap();
        gate.revoke(t0, source);
        assert_eq!(gate.route(t0 + MS * 500, source, &RTP), Route::Refused);
        assert_eq!(gate.stats().unknown_source, 1);
        assert_eq!(gate.admit(t0 + MS * 500, source, 2), Ok(vec![]));
        assert_eq!(gate.route(t0 + MS * 501, source, &RTP), Route::To(2));
        gate.revoke(t0 + MS * 502, source);
        // Some time later it is a stranger like any other.
        assert_eq!(gate.route(t0 + MS * 1003, source, &RTP), Route::Held);
        assert!(gate.revoked.is_empty());
    }
}
