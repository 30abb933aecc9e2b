//! Ports of their own for the legs of Asterisk's calls (`RTP_MODE=per-call`):
//! reserved before a call begins, and each given to a leg or back to the pool.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use asterscribe_ari::control::RequestId;
use asterscribe_clock as clock;

use super::{CallManager, lock};
use crate::media::{MediaThreadHandle, PortPool, PortReservation};

/// Ports that are open for legs still to be placed, by where Asterisk sends to.
/// What is taken out and not used, or dropped with it, is given back.
#[derive(Debug, Default)]
pub(super) struct ReservedPorts(HashMap<SocketAddr, PortReservation>);

impl ReservedPorts {
    pub(super) fn take(&mut self, at: SocketAddr) -> Option<PortReservation> {
        self.0.remove(&at)
    }
}

/// Media threads, and the ports of their own that legs may have.
pub(super) struct MediaThreads {
    /// Media threads, in the order of the addresses that peers send to.
    pub(super) threads: Vec<MediaThreadHandle>,
    /// Pool of ports for `RTP_MODE=per-call`.
    pub(super) own_ports: Option<PortPool>,
    /// Ports that Asterisk's side has for legs which are still to be placed.
    reserved: Mutex<ReservedPorts>,
}

impl MediaThreads {
    pub(super) fn new(threads: Vec<MediaThreadHandle>, own_ports: Option<PortPool>) -> Self {
        Self {
            threads,
            own_ports,
            reserved: Mutex::default(),
        }
    }

    /// Takes the reservation of a port; `None` if nobody reserved it.
    pub(super) fn take_reserved(&self, at: SocketAddr) -> Option<PortReservation> {
        lock(&self.reserved).take(at)
    }
}

impl CallManager {
    /// Answers Asterisk's side, which asks for ports of a call's legs.
    pub(super) async fn ports_wanted(&self, id: RequestId, call: &str, target: usize, legs: usize) {
        let ports = self.reserve(target, legs);
        if let Err(text) = &ports {
            tracing::warn!(call, legs, reason = "no-rtp-port", text, "no RTP port");
        }
        let given = ports.clone().unwrap_or_default();
        let Some(ari) = &self.asterisk.link else {
            return;
        };
        if !ari.give_ports(id, ports).await {
            tracing::error!(
                call,
                "cannot hand RTP ports to the ARI client: its command queue is full"
            );
            self.ports_unused(&given);
        }
    }

    /// Gives back ports that no leg will use.
    pub(super) fn ports_unused(&self, ports: &[SocketAddr]) {
        let mut reserved = lock(&self.media.reserved);
        for port in ports {
            reserved.take(*port);
        }
    }

    /// Gives back all reserved ports: Asterisk's side is gone, and nobody will ask for them.
    pub(super) fn forget_reserved(&self) {
        *lock(&self.media.reserved) = ReservedPorts::default();
    }

    fn reserve(&self, target: usize, legs: usize) -> Result<Vec<SocketAddr>, String> {
        let none = || "legs have no ports of their own".to_owned();
        let pool = self.media.own_ports.as_ref().ok_or_else(none)?;
        let thread = self.media.threads.get(target).ok_or_else(none)?;
        let host = self.config.targets.get(target).ok_or_else(none)?.host;
        let leased = pool.lease_all(clock::now(), legs);
        let mut reserved = Vec::new();
        for own in leased.map_err(|none| none.to_string())? {
            let address = SocketAddr::new(host, own.port());
            let reservation = thread.reserve(own);
            reserved.push((address, reservation.map_err(|refused| refused.to_string())?));
        }
        let ports = reserved.iter().map(|(address, _)| *address).collect();
        lock(&self.media.reserved).0.extend(reserved);
        Ok(ports)
    }
}
