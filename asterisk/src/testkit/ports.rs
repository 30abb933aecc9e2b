//! RTP addresses as whoever keeps them would: each is given to one leg at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::control::{ControlCommand, ControlNotice, RequestId};
use crate::request::AriRequest;

/// Addresses, and where each is. Every change is checked against what was before.
#[derive(Debug, Default)]
pub struct AddressPool {
    free: BTreeSet<SocketAddr>,
    /// Addresses given to the state machine, which has not yet reported whether it uses them.
    given: BTreeSet<SocketAddr>,
    /// Given addresses that Asterisk was asked to send to, and by which channel.
    used: BTreeMap<SocketAddr, String>,
    /// Address of each leg.
    placed: BTreeMap<(String, &'static str), SocketAddr>,
    /// Number of announced sources to be reported as impossible to serve.
    pub refuse: usize,
    /// Reports still to be made of such sources, with the address that was closed for each.
    misplaced: VecDeque<(Option<SocketAddr>, ControlCommand)>,
    closed: BTreeSet<SocketAddr>,
    wanted: VecDeque<(RequestId, usize)>,
}

impl AddressPool {
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
    pub fn answer(&mut self) -> Option<ControlCommand> {
        let (id, legs) = self.wanted.pop_front()?;
        if self.free.len() < legs {
            let ports = Err("all are taken".to_owned());
            return Some(ControlCommand::Ports { id, ports });
        }
        let ports: Vec<_> = self.free.iter().take(legs).copied().collect();
        for port in &ports {
            self.free.remove(port);
            self.given.insert(*port);
        }
        let ports = Ok(ports);
        Some(ControlCommand::Ports { id, ports })
    }

    /// The next to be told of its source's being heard by nobody, if there is one.
    pub fn misplaced(&mut self) -> Option<ControlCommand> {
        let (port, misplaced) = self.misplaced.pop_front()?;
        if let Some(port) = port {
            self.closed.remove(&port);
        }
        Some(misplaced)
    }

    /// Forgets the oldest question: it is never answered.
    pub fn ignore(&mut self) {
        self.wanted.pop_front();
    }

    /// # Panics
    /// If an address was named that is not the machine's to name.
    pub(super) fn hear(&mut self, notice: &ControlNotice) {
        match notice {
            ControlNotice::PortsWanted { id, legs, .. } => self.wanted.push_back((*id, *legs)),
            ControlNotice::PortsUnused { ports } => {
                for port in ports {
                    assert!(self.given.remove(port), "{port} was not given");
                    self.used.remove(port);
                    self.free.insert(*port);
                }
            }
            ControlNotice::MediaSource {
                call,
                leg,
                source,
                at,
                ..
            } => {
                if self.refuse > 0 {
                    self.refuse -= 1;
                    return self.refuse_source(call, leg, *source, *at);
                }
                let Some(port) = at else { return };
                let key = (call.clone(), *leg);
                if self.placed.get(&key) == Some(port) {
                    // Made anew where it was, for want of another.
                    return;
                }
                assert!(self.given.remove(port), "{port} was not given");
                assert!(
                    self.used.remove(port).is_some(),
                    "nothing was sent to {port}"
                );
                let former = self.placed.insert(key, *port);
                self.free.extend(former);
            }
            ControlNotice::CallEnded { call, .. } | ControlNotice::CallFailed { call, .. } => {
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

    /// A leg cannot be placed: what was opened for it is closed, and where it was it still is.
    fn refuse_source(
        &mut self,
        call: &str,
        leg: &'static str,
        source: SocketAddr,
        at: Option<SocketAddr>,
    ) {
        let placed = self.placed.get(&(call.to_owned(), leg)).copied();
        let opened = at.filter(|at| placed != Some(*at));
        if let Some(port) = opened {
            assert!(self.given.remove(&port), "{port} was not given");
            self.used.remove(&port);
            self.free.insert(port);
            self.closed.insert(port);
        }
        let misplaced = ControlCommand::Misplaced {
            call: call.to_owned(),
            leg: leg.to_owned(),
            source,
            text: "it cannot be heard".to_owned(),
        };
        self.misplaced.push_back((opened, misplaced));
    }

    /// # Panics
    /// If media is asked to be sent to an address that is not one leg's alone.
    pub(super) fn check(&mut self, request: &AriRequest) {
        let AriRequest::ExternalMedia {
            channel,
            external_host,
            ..
        } = request
        else {
            return;
        };
        let port = external_host.parse().expect("an address");
        let is_placed = self.placed.values().any(|placed| *placed == port);
        // That it was closed is still to be said.
        if is_placed || (self.closed.contains(&port) && !self.given.contains(&port)) {
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
