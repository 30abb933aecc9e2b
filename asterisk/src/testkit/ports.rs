//! RTP addresses as whoever keeps them would: each is given to one leg at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::control::{Command, Notice, RequestId};
use crate::request::Request;

/// Addresses, and where each is. Every change is checked against what was before.
#[derive(Debug, Default)]
pub struct Ports {
    free: BTreeSet<SocketAddr>,
    /// Given to the machine, which has not said what became of them.
    given: BTreeSet<SocketAddr>,
    /// Of those, the ones that Asterisk was asked to send to, and by which channel.
    used: BTreeMap<SocketAddr, String>,
    /// Where legs are heard.
    placed: BTreeMap<(String, &'static str), SocketAddr>,
    /// Legs whose media was made anew where they were.
    kept: BTreeSet<(String, &'static str)>,
    wanted: VecDeque<(RequestId, usize)>,
}

impl Ports {
    /// So many addresses, all free.
    pub fn new(count: u16) -> Self {
        let address = |n| SocketAddr::from(([127, 0, 0, 1], 30_000 + 2 * n));
        Self {
            free: (0..count).map(address).collect(),
            ..Self::default()
        }
    }

    /// Addresses that are free.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Addresses whose fate the machine has not told yet.
    pub fn given(&self) -> usize {
        self.given.len()
    }

    /// Addresses at which legs of open calls are heard.
    pub fn placed(&self) -> Vec<SocketAddr> {
        self.placed.values().copied().collect()
    }

    /// Answers the oldest question, if there is one.
    pub fn answer(&mut self) -> Option<Command> {
        let (id, legs) = self.wanted.pop_front()?;
        if self.free.len() < legs {
            let ports = Err("all are taken".to_owned());
            return Some(Command::Ports { id, ports });
        }
        let ports: Vec<_> = self.free.iter().take(legs).copied().collect();
        for port in &ports {
            self.free.remove(port);
            self.given.insert(*port);
        }
        let ports = Ok(ports);
        Some(Command::Ports { id, ports })
    }

    /// A leg could not be placed: its address is closed.
    pub fn give_back(&mut self, call: &str, leg: &'static str) {
        let key = (call.to_owned(), leg);
        // Nothing new was opened for one that kept its address.
        if !self.kept.remove(&key) {
            self.free.extend(self.placed.remove(&key));
        }
    }

    /// Forgets the oldest question: it is never answered.
    pub fn ignore(&mut self) {
        self.wanted.pop_front();
    }

    /// # Panics
    /// If an address was named that is not the machine's to name.
    pub(super) fn hear(&mut self, notice: &Notice) {
        match notice {
            Notice::PortsWanted { id, legs, .. } => self.wanted.push_back((*id, *legs)),
            Notice::PortsUnused { ports } => {
                for port in ports {
                    assert!(self.given.remove(port), "{port} was not given");
                    self.used.remove(port);
                    self.free.insert(*port);
                }
            }
            Notice::MediaSource { call, leg, at, .. } => {
                let Some(port) = at else { return };
                let key = (call.clone(), *leg);
                if self.placed.get(&key) == Some(port) {
                    // Made anew where it was, for want of another.
                    self.kept.insert(key);
                    return;
                }
                assert!(self.given.remove(port), "{port} was not given");
                assert!(
                    self.used.remove(port).is_some(),
                    "nothing was sent to {port}"
                );
                self.kept.remove(&key);
                let former = self.placed.insert(key, *port);
                self.free.extend(former);
            }
            Notice::CallEnded { call, .. } | Notice::CallFailed { call, .. } => {
                let placed = std::mem::take(&mut self.placed);
                for ((owner, leg), port) in placed {
                    if owner == *call {
                        self.free.insert(port);
                    } else {
                        self.placed.insert((owner, leg), port);
                    }
                }
            }
            _ => {}
        }
    }

    /// # Panics
    /// If media is asked to be sent to an address that is not one leg's alone.
    pub(super) fn check(&mut self, request: &Request) {
        let Request::ExternalMedia {
            channel,
            external_host,
            ..
        } = request
        else {
            return;
        };
        let port = external_host.parse().expect("an address");
        if self.placed.values().any(|placed| *placed == port) {
            return;
        }
        assert!(self.given.contains(&port), "{port} is nobody's");
        let before = self.used.insert(port, channel.clone());
        // A request that broke off is asked again.
        assert!(
            before.is_none_or(|before| before == *channel),
            "{port} was used twice"
        );
    }
}
