//! First pass over a capture: which sockets exchange RTP, when their packets came, what they carry.
//! No packet is kept.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::time::Duration;

use asterscribe_rtp::RtpPacket;

use super::candidate::RtpLikeness;
use super::{FlowList, SocketPair};
use crate::replay::capture::{BorrowedDatagram, CapturePass, CaptureSummary};
use crate::replay::moments::CaptureClock;
use crate::replay::payloads::{SdpSessions, ToldPayload};

/// Most pairs of sockets watched; beyond it those without RTP are forgotten first.
const MAX_PAIRS: usize = 32_768;

/// Most senders with a sequence number that never counts that are named one by one.
const MAX_STUCK: usize = 8;

/// Disorder of a file's times from which on it is mentioned; captures with several queues show
/// less.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// State of the first pass.
#[derive(Debug)]
pub(in crate::replay) struct FlowSurvey {
    pairs: HashMap<SocketPair, SurveyedPair>,
    /// Number of pairs from which on some are forgotten.
    room: usize,
    /// Datagrams of no flow, by the protocol that they seem to be.
    others: BTreeMap<&'static str, u64>,
    sessions: SdpSessions,
    clock: CaptureClock,
    newest: Duration,
    back: Duration,
    datagrams: u64,
    /// Capture made by this program: each leg's sockets, and below the datagrams and first time.
    told: Vec<Option<SocketPair>>,
    told_datagrams: u64,
    told_first: Option<Duration>,
}

/// State of the datagrams from one socket to another.
#[derive(Debug, Default)]
struct SurveyedPair {
    /// Datagrams that are not RTP, by the protocol that they seem to be: nearly always one.
    others: Vec<(&'static str, u64)>,
    rtp: Option<Box<RtpLikeness>>,
}

impl Default for FlowSurvey {
    fn default() -> Self {
        Self {
            pairs: HashMap::new(),
            room: MAX_PAIRS,
            others: BTreeMap::new(),
            sessions: SdpSessions::default(),
            clock: CaptureClock::default(),
            newest: Duration::ZERO,
            back: Duration::ZERO,
            datagrams: 0,
            told: Vec::new(),
            told_datagrams: 0,
            told_first: None,
        }
    }
}

impl FlowSurvey {
    /// Takes in one item of the pass.
    pub(in crate::replay) fn see(&mut self, seen: CapturePass<'_>) {
        match seen {
            CapturePass::Datagram(datagram) => self.datagram(&datagram),
            CapturePass::Tcp { at, bytes } => self.sessions.read(at, bytes),
        }
    }

    /// The flows that the pass has found; `told`: payload types named on the command line.
    pub(in crate::replay) fn finish(
        self,
        summary: &CaptureSummary,
        told: &[ToldPayload],
    ) -> FlowList {
        let mut flows = match &summary.recorded {
            Some(recorded) => {
                let no_leg = self.datagrams - self.told_datagrams;
                let start = self.told_first.unwrap_or_default();
                let mut flows = FlowList::told(&recorded.legs, &self.told, start);
                if no_leg > 0 {
                    flows.leave_out("no_leg", no_leg);
                }
                flows
            }
            None => self.found(told),
        };
        for (why, packets) in summary.unread.iter() {
            flows.leave_out(&why.to_string(), packets);
        }
        if summary.joined > 0 {
            flows.leave_out("joined_fragment", summary.joined);
        }
        flows
    }

    fn datagram(&mut self, datagram: &BorrowedDatagram<'_>) {
        let number = self.datagrams;
        self.datagrams += 1;
        let sockets = (datagram.from, datagram.to);
        if let Some(leg) = datagram.leg {
            self.told.resize(self.told.len().max(leg + 1), None);
            self.told[leg] = Some(sockets);
            self.told_datagrams += 1;
            let first = self.told_first.get_or_insert(datagram.at);
            *first = datagram.at.min(*first);
            return;
        }
        if self.pairs.len() >= self.room && !self.pairs.contains_key(&sockets) {
            self.forget();
        }
        let pair = self.pairs.entry(sockets).or_default();
        let packet = match RtpPacket::parse(datagram.payload) {
            Ok(packet) => packet,
            Err(flaw) => {
                self.sessions.read(datagram.at, datagram.payload);
                pair.note_other(kind_of(datagram.payload, flaw.name()));
                return;
            }
        };
        let rtp = pair
            .rtp
            .get_or_insert_with(|| Box::new(RtpLikeness::new(number)));
        let at = self
            .clock
            .time(&mut rtp.stream, datagram.at, Some(&packet), number);
        rtp.packet(at, datagram.at, &packet);
        self.back = self.back.max(self.newest.saturating_sub(at));
        self.newest = self.newest.max(at);
    }

    /// Lets go of pairs that show no RTP, and of those that may yet if they are too many.
    fn forget(&mut self) {
        let bound = self.datagrams.saturating_sub(MAX_PAIRS as u64);
        let is_proven = |pair: &SurveyedPair| pair.rtp.as_ref().is_some_and(|rtp| rtp.is_proven());
        let is_recent =
            |pair: &SurveyedPair| pair.rtp.as_ref().is_some_and(|rtp| rtp.first >= bound);
        let recent = self.pairs.values().filter(|pair| is_recent(pair)).count();
        let is_crowded = recent > MAX_PAIRS / 2;
        let others = &mut self.others;
        self.pairs.retain(|_, pair| {
            let stays = is_proven(pair) || !is_crowded && is_recent(pair);
            if !stays {
                pair.count_into(others);
            }
            stays
        });
        self.room = MAX_PAIRS.max(2 * self.pairs.len());
    }

    fn found(mut self, told: &[ToldPayload]) -> FlowList {
        let mut proven = Vec::new();
        let mut stuck = Vec::new();
        for (sockets, pair) in mem::take(&mut self.pairs) {
            match pair.rtp {
                Some(mut rtp) if rtp.is_proven() => {
                    rtp.beside = pair.others.iter().map(|(_, count)| count).sum();
                    proven.push((sockets, rtp));
                }
                rtp => {
                    let pair = SurveyedPair { rtp, ..pair };
                    stuck.extend(pair.stuck(sockets));
                    pair.count_into(&mut self.others);
                }
            }
        }
        proven.sort_by_key(|(_, rtp)| (rtp.earliest, rtp.first));
        stuck.sort();
        let leaps = self.clock.leaps();
        let is_certain =
            self.clock.step_count == 0 && leaps.is_empty() && !self.clock.is_timeless();
        let back = is_certain.then_some(self.back);
        let mut flows = FlowList::found(&proven, back, &self.sessions, told);
        for (why, packets) in &self.others {
            flows.leave_out(why, *packets);
        }
        let more = stuck.len().saturating_sub(MAX_STUCK);
        stuck.truncate(MAX_STUCK);
        let mut notes = self.notes_on_time();
        notes.append(&mut stuck);
        if more > 0 {
            notes.push(format!("and {more} more senders whose numbers stand still"));
        }
        notes.append(&mut flows.notes);
        flows.notes = notes;
        flows.leaps = leaps;
        flows
    }

    fn notes_on_time(&self) -> Vec<String> {
        let clock = &self.clock;
        let step = |(by, at): &(f64, u64)| {
            format!(
                "the capture's clock was set by {by:+.1} s at its datagram {}; RTP's timestamps tell when the packets came",
                at + 1
            )
        };
        let mut notes: Vec<_> = clock.steps.iter().map(step).collect();
        let more = clock.step_count - clock.steps.len() as u64;
        if more > 0 {
            notes.push(format!("and it was set {more} more times"));
        }
        for (at, by) in clock.leaps() {
            notes.push(format!(
                "the capture's clock was set by {:+.1} s at its datagram {}: several flows went on as if nothing had been",
                by.as_secs_f64(),
                at + 1
            ));
        }
        if clock.is_timeless() {
            notes.push(format!(
                "{} packets have no time in the file; RTP's timestamps tell when they came, their order in the file which flow was first",
                clock.timeless
            ));
        }
        if self.back > WORTH_TELLING {
            notes.push(format!(
                "the file is not in the order of time, by up to {:.1} s; its packets were put in order",
                self.back.as_secs_f64()
            ));
        }
        notes
    }
}

impl SurveyedPair {
    fn note_other(&mut self, kind: &'static str) {
        match self.others.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, count)) => *count += 1,
            None => self.others.push((kind, 1)),
        }
    }

    /// Counts its datagrams as what they seem to be, since they are of no flow.
    fn count_into(&self, others: &mut BTreeMap<&'static str, u64>) {
        for (kind, count) in &self.others {
            *others.entry(kind).or_default() += count;
        }
        if let Some(rtp) = &self.rtp {
            let why = match rtp.stuck_at() {
                Some(_) => "rtp_number_stuck",
                None => "rtp_out_of_sequence",
            };
            *others.entry(why).or_default() += rtp.packets;
        }
    }

    /// The remark that a flow's numbers do not count, if so.
    fn stuck(&self, (from, to): SocketPair) -> Option<String> {
        let rtp = self.rtp.as_ref()?;
        let number = rtp.stuck_at()?;
        Some(format!(
            "{from} → {to}: {} packets look like RTP, but their sequence number never counts (it stays {number}), so none of them is heard",
            rtp.packets
        ))
    }
}

/// Protocol that a datagram seems to be which is not RTP; `flaw`: name of the reason why not.
fn kind_of(payload: &[u8], flaw: &'static str) -> &'static str {
    const SIP: &[u8] = b"SIP/2.0";
    const SAP: &[u8] = b"application/sdp";
    let start = &payload[..payload.len().min(512)];
    let holds = |wanted: &[u8]| start.windows(wanted.len()).any(|window| window == wanted);
    match payload {
        [] => "udp_empty",
        [b'A'..=b'Z', ..] if holds(SIP) => "udp_sip",
        [0x20..=0x3f, ..] if holds(SAP) => "udp_sap",
        _ => match flaw {
            "rtcp" => "udp_rtcp",
            "stun" => "udp_stun",
            "dtls" => "udp_dtls",
            "zrtp" => "udp_zrtp",
            _ => "udp_other",
        },
    }
}
