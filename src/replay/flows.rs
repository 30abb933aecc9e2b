//! Finds the RTP among a capture's datagrams; a capture of ours tells its legs itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use asterscribe_rtp::Packet;

use super::capture::{Capture, CapturedDatagram, Recorded};
use crate::call::Leg;

/// Packets in sequence that make a flow RTP: two can be chance, RFC 3550 A.1
/// asks for as many of a live sender; a capture can wait for more.
const MIN_SEQUENTIAL: u32 = 5;

/// How far apart the numbers of neighbours may lie: some are lost, some
/// overtaken by others.
const MAX_STEP: u16 = 16;

/// What carries a leg's RTP: one direction of one pair of sockets, as a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) leg: Leg,
    /// Sender and receiver. A leg that is told may have had none, or several: then the last.
    pub(super) sockets: Option<(SocketAddr, SocketAddr)>,
}

/// The flows of a capture, in order of their first RTP packet, or as they are told.
#[derive(Debug)]
pub(super) struct Flows {
    flows: Vec<Flow>,
    /// `None`: each datagram tells its own.
    index: Option<HashMap<(SocketAddr, SocketAddr), usize>>,
}

#[derive(Default)]
struct Candidate {
    first: usize,
    last: Option<(u32, u16)>,
    run: u32,
    proven: bool,
}

impl Flows {
    pub(super) fn of_capture(capture: &Capture) -> Self {
        match &capture.recorded {
            Some(recorded) => Self::told(recorded, &capture.datagrams),
            None => Self::find(&capture.datagrams),
        }
    }

    fn told(recorded: &Recorded, datagrams: &[CapturedDatagram]) -> Self {
        let mut flows: Vec<_> = recorded
            .legs
            .iter()
            .map(|leg| Flow {
                leg: leg.clone(),
                sockets: None,
            })
            .collect();
        for datagram in datagrams {
            if let Some(flow) = datagram.leg.and_then(|leg| flows.get_mut(leg)) {
                flow.sockets = Some((datagram.from, datagram.to));
            }
        }
        Self { flows, index: None }
    }

    fn find(datagrams: &[CapturedDatagram]) -> Self {
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
            let step = candidate
                .last
                .filter(|(source, _)| *source == ssrc)
                .map(|(_, before)| seq.wrapping_sub(before).cast_signed());
            candidate.run = match step {
                // A mirrored port shows every packet twice.
                Some(0) => candidate.run,
                Some(step) if step.unsigned_abs() <= MAX_STEP => candidate.run + 1,
                _ => 1,
            };
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
                Flow {
                    leg,
                    sockets: Some((from, to)),
                }
            })
            .collect();
        let index = (0..)
            .zip(&flows)
            .filter_map(|(n, flow)| Some((flow.sockets?, n)))
            .collect();
        Self {
            flows,
            index: Some(index),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter()
    }

    /// The flow that a datagram belongs to.
    pub(super) fn of(&self, datagram: &CapturedDatagram) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(&(datagram.from, datagram.to)).copied(),
            None => datagram.leg,
        }
    }

    /// When the first datagram of any flow was captured.
    pub(super) fn start(&self, datagrams: &[CapturedDatagram]) -> Duration {
        datagrams
            .iter()
            .find(|datagram| self.of(datagram).is_some())
            .map_or(Duration::ZERO, |d| d.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RTP datagrams of one sender with these sequence numbers.
    fn stream(ssrc: u8, numbers: impl IntoIterator<Item = u16>) -> Vec<CapturedDatagram> {
        let datagram = |seq: u16| {
            let mut payload = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ssrc, 0xff];
            payload[2..4].copy_from_slice(&seq.to_be_bytes());
            CapturedDatagram {
                at: Duration::from_millis(seq.into()),
                from: ([127, 0, 0, 1], 4000).into(),
                to: ([127, 0, 0, 1], 5000).into(),
                payload,
                leg: None,
            }
        };
        numbers.into_iter().map(datagram).collect()
    }

    fn is_found(datagrams: &[CapturedDatagram]) -> bool {
        Flows::find(datagrams).of(&datagrams[0]) == Some(0)
    }

    #[test]
    fn five_in_sequence_are_rtp_and_four_are_not() {
        assert!(is_found(
            &stream(1, 65_533..=65_535)
                .into_iter()
                .chain(stream(1, 0..2))
                .collect::<Vec<_>>()
        ));
        assert!(!is_found(&stream(1, 7..11)));
    }

    #[test]
    fn copies_losses_and_wrong_order_do_not_hide_a_stream() {
        assert!(is_found(&stream(1, (0..5).flat_map(|n| [n, n]))));
        assert!(is_found(&stream(
            1,
            (0..4).flat_map(|n| [2 * n + 1, 2 * n])
        )));
        assert!(is_found(&stream(1, (0..5).map(|n| n * 16))));
    }

    #[test]
    fn copies_of_one_packet_and_scattered_numbers_prove_nothing() {
        assert!(!is_found(&stream(1, [9; 50])));
        assert!(!is_found(&stream(1, (0..50).map(|n| n * 17))));
        assert!(!is_found(
            &(0..50)
                .flat_map(|n| stream(n, [n.into()]))
                .collect::<Vec<_>>()
        ));
        assert!(Flows::find(&[]).iter().next().is_none());
    }

    #[test]
    fn flows_are_numbered_by_their_first_packet_and_time_begins_with_it() {
        let mut noise = stream(9, [1]);
        noise[0].from.set_port(1);
        let mut other = stream(2, 100..110);
        other
            .iter_mut()
            .for_each(|datagram| datagram.from.set_port(2));
        let all = [noise, other, stream(1, 200..210)].concat();
        let flows = Flows::find(&all);
        let ports: Vec<_> = flows
            .iter()
            .map(|flow| (flow.leg.as_str(), flow.sockets.unwrap().0.port()))
            .collect();
        assert_eq!(ports, [("flow-1", 2), ("flow-2", 4000)]);
        assert_eq!(flows.of(&all[0]), None);
        assert_eq!(flows.start(&all), Duration::from_millis(100));
    }
}
