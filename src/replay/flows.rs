//! RTP flows of a capture: found by a first pass that keeps no packet, or named by a capture that
//! this program made.

mod candidate;
mod copies;
mod numbers;
mod survey;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use asterscribe_call::Leg;
use asterscribe_rtp::ClockRate;

use self::candidate::RtpLikeness;
use self::numbers::PayloadNumbers;
pub(super) use self::survey::FlowSurvey;
use super::capture::BorrowedDatagram;
use super::payloads::{SdpSessions, ToldPayload};

/// Sending and receiving socket.
pub(super) type SocketPair = (SocketAddr, SocketAddr);

/// Legs that a replay has at most; each takes memory of its own.
const MAX_FLOWS: usize = 4_096;

/// The carrier of a leg's RTP: one direction of one pair of sockets, as a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RtpFlow {
    pub(super) leg: Leg,
    /// Sockets of the flow. A leg named by the capture may have had none, or several: then the
    /// last.
    pub(super) sockets: Option<SocketPair>,
    /// Copies of the packets between other sockets, and how many packets each has.
    pub(super) copies: Vec<(SocketPair, u64)>,
    numbers: PayloadNumbers,
    /// Start of the flow, if its packets' capture times make no sense.
    pub(super) untimed_from: Option<Duration>,
}

impl RtpFlow {
    fn new(leg: Leg, sockets: Option<SocketPair>) -> Self {
        Self {
            leg,
            sockets,
            copies: Vec::new(),
            numbers: PayloadNumbers::default(),
            untimed_from: None,
        }
    }

    /// Replaces an RTP packet's payload type by the one by which a session knows the format that it
    /// had at that time of the file.
    pub(super) fn renumber(&self, at: Duration, packet: &mut [u8]) {
        if let [_, second, ..] = packet {
            *second = *second & 0x80 | self.numbers.of(*second & 0x7f, at);
        }
    }

    /// Payload types, as replaced, of telephone events, with their clocks where they are told.
    pub(super) fn events(&self) -> impl Iterator<Item = (u8, Option<ClockRate>)> {
        self.numbers.events()
    }
}

/// The flows of a capture, in order of their first RTP packet, or as the capture names them.
#[derive(Debug)]
pub(super) struct FlowList {
    flows: Vec<RtpFlow>,
    /// Flow of each pair of sockets; `None`: each datagram names its leg.
    index: Option<HashMap<SocketPair, usize>>,
    /// Capture time of the first datagram of any flow.
    pub(super) start: Duration,
    /// Largest distance of a packet behind the newest before it in the file; `None`: unknown.
    pub(super) back: Option<Duration>,
    /// Leaps of the capture's clock forward: number of the datagram, and by how much.
    pub(super) leaps: Vec<(u64, Duration)>,
    /// Packets of no flow, by reason.
    pub(super) unread: BTreeMap<String, u64>,
    /// Remarks for whoever runs the replay.
    pub(super) notes: Vec<String>,
}

impl FlowList {
    pub(super) fn iter(&self) -> impl Iterator<Item = &RtpFlow> {
        self.flows.iter()
    }

    /// The flow with this number.
    pub(super) fn flow(&self, place: usize) -> &RtpFlow {
        &self.flows[place]
    }

    /// Number of the flow that a datagram belongs to.
    pub(super) fn of(&self, datagram: &BorrowedDatagram<'_>) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(&(datagram.from, datagram.to)).copied(),
            None => datagram.leg.filter(|leg| *leg < self.flows.len()),
        }
    }

    /// Whether the capture itself names its flows and has exact times for their packets.
    pub(super) fn are_told(&self) -> bool {
        self.index.is_none()
    }

    /// The legs that a capture names, with the sockets that their packets went between.
    fn told(legs: &[Leg], sockets: &[Option<SocketPair>], start: Duration) -> Self {
        let at = |n: usize| sockets.get(n).copied().flatten();
        let flows = legs.iter().enumerate();
        Self {
            flows: flows
                .map(|(n, leg)| RtpFlow::new(leg.clone(), at(n)))
                .collect(),
            index: None,
            start,
            back: Some(Duration::ZERO),
            leaps: Vec::new(),
            unread: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// Flows of the streams that have proven to be RTP, in the order in which they began.
    fn found(
        proven: &[(SocketPair, Box<RtpLikeness>)],
        back: Option<Duration>,
        sessions: &SdpSessions,
        told: &[ToldPayload],
    ) -> Self {
        let mut found = Self {
            flows: Vec::new(),
            index: None,
            start: proven
                .first()
                .map_or(Duration::ZERO, |(_, rtp)| rtp.earliest),
            back,
            leaps: Vec::new(),
            unread: BTreeMap::new(),
            notes: Vec::new(),
        };
        let originals = copies::originals(proven);
        let mut index = HashMap::new();
        let mut places = vec![None; proven.len()];
        for (n, (sockets, rtp)) in proven.iter().enumerate() {
            match originals[n].map(|original| places[original]) {
                None if found.flows.len() < MAX_FLOWS => {
                    places[n] = Some(found.flows.len());
                    index.insert(*sockets, found.flows.len());
                    found.add(*sockets, rtp, sessions, told);
                }
                None => found.leave_out(
                    "beyond_the_flows_that_are_replayed",
                    rtp.packets + rtp.beside,
                ),
                Some(original) => {
                    found.leave_out("copy", rtp.packets + rtp.beside);
                    if let Some(original) = original {
                        found.flows[original].copies.push((*sockets, rtp.packets));
                    }
                }
            }
        }
        found.index = Some(index);
        found
    }

    fn leave_out(&mut self, why: &str, packets: u64) {
        *self.unread.entry(why.to_owned()).or_default() += packets;
    }

    fn add(
        &mut self,
        sockets: SocketPair,
        rtp: &RtpLikeness,
        sessions: &SdpSessions,
        told: &[ToldPayload],
    ) {
        let leg: Leg = format!("flow-{}", self.flows.len() + 1)
            .parse()
            .expect("letters, a dash and digits");
        let mut flow = RtpFlow::new(leg.clone(), Some(sockets));
        if !rtp.pace.is_possible() {
            flow.untimed_from = Some(rtp.earliest);
            self.back = None;
            self.notes.push(format!(
                "{leg}: its packets were captured many times faster than they were spoken; their times are those of RTP's timestamps"
            ));
        }
        flow.numbers = PayloadNumbers::new(&rtp.kinds, sessions, sockets, told);
        let remarks = flow.numbers.remarks().iter();
        self.notes
            .extend(remarks.map(|remark| format!("{leg}: {remark}")));
        self.flows.push(flow);
    }
}

#[cfg(test)]
mod tests;
