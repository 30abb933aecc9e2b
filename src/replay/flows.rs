//! Finds the RTP among a capture's datagrams.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use asterscribe_rtp::Packet;

use super::capture::CapturedDatagram;
use crate::call::Leg;

/// Packets in sequence that make a flow RTP: two can be chance, RFC 3550 A.1
/// asks for as many of a live sender; a capture can wait for more.
const MIN_SEQUENTIAL: u32 = 5;

/// One direction of one pair of sockets that carries RTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) leg: Leg,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

/// The flows of a capture, in order of their first RTP packet.
#[derive(Debug)]
pub(super) struct Flows {
    flows: Vec<Flow>,
    index: HashMap<(SocketAddr, SocketAddr), usize>,
}

#[derive(Default)]
struct Candidate {
    first: usize,
    last: Option<(u32, u16)>,
    run: u32,
    proven: bool,
}

impl Flows {
    pub(super) fn find(datagrams: &[CapturedDatagram]) -> Self {
        let mut candidates: HashMap<(SocketAddr, SocketAddr), Candidate> = HashMap::new();
        for (n, datagram) in datagrams.iter().enumerate() {
            let Ok(packet) = Packet::parse(&datagram.payload) else {
                continue;
            };
            let (ssrc, seq) = (packet.ssrc.0, packet.seq.0);
            let candidate = candidates
                .entry((datagram.from, datagram.to))
                .or_insert_with(|| Candidate {
                    first: n,
                    ..Candidate::default()
                });
            let follows = candidate
                .last
                .is_some_and(|(s, q)| s == ssrc && (1..=16).contains(&seq.wrapping_sub(q)));
            candidate.run = if follows { candidate.run + 1 } else { 1 };
            candidate.last = Some((ssrc, seq));
            candidate.proven |= candidate.run >= MIN_SEQUENTIAL;
        }
        let mut proven: Vec<_> = candidates
            .into_iter()
            .filter(|(_, candidate)| candidate.proven)
            .collect();
        proven.sort_by_key(|(_, candidate)| candidate.first);
        let flows: Vec<_> = (1..)
            .zip(&proven)
            .map(|(n, &((from, to), _))| {
                let leg = format!("flow-{n}")
                    .parse()
                    .expect("letters, a dash and digits");
                Flow { leg, from, to }
            })
            .collect();
        let index = flows
            .iter()
            .enumerate()
            .map(|(n, flow)| ((flow.from, flow.to), n))
            .collect();
        Self { flows, index }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter()
    }

    /// The flow that a datagram belongs to.
    pub(super) fn of(&self, datagram: &CapturedDatagram) -> Option<usize> {
        self.index.get(&(datagram.from, datagram.to)).copied()
    }

    /// When the first datagram of any flow was captured: zero of the call's clock.
    pub(super) fn start(&self, datagrams: &[CapturedDatagram]) -> Duration {
        datagrams
            .iter()
            .find(|datagram| self.of(datagram).is_some())
            .map_or(Duration::ZERO, |d| d.at)
    }
}
