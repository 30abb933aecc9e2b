//! The RTP of one leg: who may speak, in which order, and what became of every datagram.
//!
//! Source rules (RFC 3550 appendix A.1, adapted): the first valid packet is
//! believed and released at once. Another SSRC takes over with two packets in
//! sequence once the present one has been silent for
//! [`ReceiverConfig::ssrc_silence`]; a jump within one SSRC needs two in sequence as well, and
//! so does a step within reach that comes sooner than the packets which it passes over could
//! have been sent. What comes before that is held meanwhile, so a real change loses nothing; if
//! the present source speaks on, it was foreign. Two in sequence also prove that the sender
//! counts from elsewhere though its numbers are near: they were here before, with other packets.
//!
//! A packet without a payload says nothing of the stream and takes no number of it: some senders
//! keep a path alive with one that bears the number of the next packet. Time decides at the moments
//! it names, whether anybody polls then or not: the same arrivals always give the same result.

mod candidate;
mod jitter;
mod police;
mod stats;
mod timeline;
mod verdict;

use std::time::{Duration, Instant};

use crate::ids::{ClockRate, ExtRtpTime, ExtSeq, Ssrc};
use crate::reorder::{
    FreeSlot, PlacedPacket, RejectReason, ReleasedItem, ReorderBuffer, ReorderConfig, RestartReason,
};
use crate::rtcp::RtcpLog;
use crate::wire::{MalformedPacket, MediaProtocol, RtpPacket};

use candidate::{CandidateClaim, TimelineCandidate};
use jitter::JitterEstimate;
use police::RatePolicer;
use timeline::SequenceTimeline;

#[cfg(feature = "fuzzing")]
pub(crate) use candidate::MAX_HELD;
pub use police::RateConfig;
pub use stats::{MalformedCounts, OtherCounts, ReceiverStats};
pub use verdict::{DropReason, PacketVerdict};

/// How a [`RtpReceiver`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverConfig {
    /// Bounds of the reorder buffer.
    pub reorder: ReorderConfig,
    /// How long the present SSRC must have been silent before another takes over.
    pub ssrc_silence: Duration,
    /// How long a packet on probation may wait for one that follows another.
    pub probation: Duration,
    /// How much the leg may send.
    pub rate: RateConfig,
    /// Clock of the timestamps; see [`RtpReceiver::set_clock_rate`].
    pub clock_rate: Option<ClockRate>,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self {
            reorder: ReorderConfig::default(),
            ssrc_silence: Duration::from_millis(200),
            probation: Duration::from_secs(2),
            rate: RateConfig::default(),
            clock_rate: None,
        }
    }
}

/// The receiving end of one leg. The crate's first page has the contract.
#[derive(Debug)]
pub struct RtpReceiver {
    config: ReceiverConfig,
    reorder: ReorderBuffer,
    timeline: Option<SequenceTimeline>,
    candidate: Option<Box<TimelineCandidate>>,
    police: RatePolicer,
    jitter: JitterEstimate,
    clock_rate: Option<ClockRate>,
    rtcp: RtcpLog,
    stats: ReceiverStats,
    closed: bool,
}

impl RtpReceiver {
    /// A receiver that has heard nothing yet.
    pub fn new(config: ReceiverConfig) -> Self {
        Self {
            reorder: ReorderBuffer::new(config.reorder),
            timeline: None,
            candidate: None,
            police: RatePolicer::new(config.rate),
            jitter: JitterEstimate::new(config.clock_rate),
            clock_rate: config.clock_rate,
            rtcp: RtcpLog::default(),
            stats: ReceiverStats::default(),
            closed: false,
            config,
        }
    }

    /// Takes one datagram and counts it. [`PacketVerdict::InOrder`] hands the packet
    /// out at once; whatever the verdict, then [`Self::poll`] until `None`.
    pub fn receive<'d>(&mut self, now: Instant, datagram: &'d [u8]) -> PacketVerdict<'d> {
        self.stats.datagrams += 1;
        let verdict = match RtpPacket::parse(datagram) {
            Ok(packet) => {
                self.stats.received += 1;
                self.judge(now, packet)
            }
            Err(malformed) => {
                if malformed == MalformedPacket::NotRtp(MediaProtocol::Rtcp) {
                    self.rtcp.read(now, datagram, self.ssrc());
                }
                PacketVerdict::Refused(DropReason::Malformed(malformed))
            }
        };
        match verdict {
            PacketVerdict::InOrder(_) => self.stats.released += 1,
            PacketVerdict::Refused(refusal) => self.stats.count(refusal, 1),
            PacketVerdict::Accepted | PacketVerdict::OnProbation => {}
        }
        self.update_gauges();
        verdict
    }

    /// The next thing of the ordered stream, if it is time for it.
    pub fn poll(&mut self, now: Instant) -> Option<ReleasedItem<'_>> {
        self.settle_candidate(now);
        let released = self.reorder.poll(now);
        match released {
            Some(ReleasedItem::Packet(_)) => {
                self.stats.released += 1;
                self.stats.held -= 1;
            }
            Some(ReleasedItem::Lost { count, shed }) => {
                self.stats.lost += count;
                self.stats.shed += shed;
            }
            Some(ReleasedItem::Skipped { count }) => self.stats.skipped += count,
            Some(ReleasedItem::Restart { .. }) | None => {}
        }
        released
    }

    /// Reads, for nothing but that it is then at hand, what a packet will change:
    /// something of each stretch of memory that it lies in.
    pub fn glance(&self) -> u64 {
        let timeline = self.timeline.as_ref();
        let seen = [
            self.stats.datagrams,
            self.stats.released,
            self.stats.reordered,
            timeline.map_or(0, |timeline| timeline.newest.0),
            self.reorder.glance(),
            self.police.glance(),
            self.jitter.glance(),
            self.candidate.is_some().into(),
            self.closed.into(),
        ];
        seen.into_iter().fold(0, u64::wrapping_add)
    }

    /// When to poll though nothing comes in; `None` while nothing waits.
    pub fn deadline(&self) -> Option<Instant> {
        let probation = self.candidate.as_ref().and_then(|candidate| {
            let expires = candidate.expires(self.config.probation);
            self.take_over_due().into_iter().chain(expires).min()
        });
        self.reorder.deadline().into_iter().chain(probation).min()
    }

    /// The leg is over: waits for nothing any more. Polling until `None` then
    /// empties the receiver; later datagrams are refused.
    pub fn close(&mut self) {
        self.closed = true;
        self.drop_candidate();
        self.reorder.close();
        self.update_gauges();
    }

    /// The counters.
    pub fn stats(&self) -> &ReceiverStats {
        &self.stats
    }

    /// The RTCP that came on the same port.
    pub fn rtcp(&self) -> &RtcpLog {
        &self.rtcp
    }

    /// The source believed at present; `None` before the first valid packet.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.timeline.as_ref().map(|timeline| timeline.ssrc)
    }

    /// Clock of the packets from here on. The jitter estimate and the bound on
    /// the rate need it; set it whenever a packet with another payload type is released.
    pub fn set_clock_rate(&mut self, rate: Option<ClockRate>) {
        self.clock_rate = rate;
        self.jitter.set_clock_rate(rate);
    }

    /// Interarrival jitter (RFC 3550 section 6.4.1), as time instead of ticks;
    /// zero until two packets came in at a known clock rate.
    pub fn jitter(&self) -> Duration {
        self.jitter.estimate()
    }

    fn judge<'d>(&mut self, now: Instant, packet: RtpPacket<'d>) -> PacketVerdict<'d> {
        if self.closed {
            return PacketVerdict::Refused(DropReason::Closed);
        }
        self.settle_candidate(now);
        self.reorder.settle(now);
        if packet.payload.is_empty() {
            return self.note_empty(now, &packet);
        }
        let timeline = self
            .timeline
            .get_or_insert_with(|| SequenceTimeline::first(&packet, now));
        if packet.ssrc != timeline.ssrc {
            return self.probe(now, packet, CandidateClaim::Source);
        }
        let Some(seq) = timeline.place(packet.seq, self.reorder.floor()) else {
            return self.probe(now, packet, CandidateClaim::Elsewhere);
        };
        if timeline.is_leap(now, seq, self.police.lasting()) {
            return self.probe(now, packet, CandidateClaim::Elsewhere);
        }
        let candidate = self.candidate.as_ref();
        let follows = match candidate.and_then(|candidate| candidate.leads_to(&packet)) {
            // In sequence, but behind the second use of a number.
            Some(CandidateClaim::UsedNumber) => true,
            // Far ahead as well, but late enough for it.
            Some(CandidateClaim::Elsewhere) => seq.0 > timeline.newest.0.saturating_add(1),
            Some(CandidateClaim::Source) | None => false,
        };
        if follows {
            return self.probe(now, packet, CandidateClaim::Elsewhere);
        }
        let time = timeline.newest_time.extend(packet.time);
        let placed = placed(&packet, seq, time, now);
        match self.reorder.find(now, &placed) {
            Ok(place) => self.accept(now, place, placed),
            Err(RejectReason::Reused) => self.probe(now, packet, CandidateClaim::UsedNumber),
            Err(rejected) => PacketVerdict::Refused(rejected.into()),
        }
    }

    /// A packet without a payload.
    fn note_empty<'d>(&mut self, now: Instant, packet: &RtpPacket<'_>) -> PacketVerdict<'d> {
        let timeline = self.timeline.as_ref();
        let seq = timeline
            .filter(|timeline| timeline.ssrc == packet.ssrc)
            .and_then(|timeline| timeline.place(packet.seq, self.reorder.floor()));
        if let Some(seq) = seq {
            self.reorder.note_empty(now, seq);
        }
        PacketVerdict::Refused(DropReason::Empty)
    }

    /// A packet of the present timeline.
    fn accept<'d>(
        &mut self,
        now: Instant,
        place: FreeSlot,
        packet: PlacedPacket<'d>,
    ) -> PacketVerdict<'d> {
        let newer = self
            .timeline
            .as_mut()
            .is_none_or(|timeline| timeline.advance(now, packet.seq, packet.time));
        if newer {
            self.observe(&packet);
            // The present source speaks on, so another one on probation is foreign.
            let present = self.ssrc();
            if self
                .candidate
                .as_deref()
                .is_some_and(|rival| Some(rival.ssrc) != present)
            {
                self.drop_candidate();
            }
        }
        if !self.police.admit(now) {
            self.reorder.shed(now, packet.seq);
            return PacketVerdict::Refused(DropReason::OverRate);
        }
        self.stats.reordered += u64::from(!newer);
        self.jitter.update(now, packet.time, packet.payload_type);
        if self.reorder.pass(&packet) {
            return PacketVerdict::InOrder(packet);
        }
        self.reorder.put(now, place, packet);
        PacketVerdict::Accepted
    }

    /// Learns how long packets last.
    fn observe(&mut self, packet: &PlacedPacket<'_>) {
        if self.police.observe(self.clock_rate, packet) {
            self.reorder.set_lasting(self.police.lasting());
        }
    }

    /// A packet of another SSRC or from elsewhere in the sequence.
    fn probe<'d>(
        &mut self,
        now: Instant,
        packet: RtpPacket<'_>,
        claim: CandidateClaim,
    ) -> PacketVerdict<'d> {
        let reason = claim.reason();
        let is_jump = reason == RestartReason::SequenceJump;
        if is_jump && !self.police.admits(now) {
            return PacketVerdict::Refused(DropReason::OverRate);
        }
        if let Some(rival) = self.candidate.as_ref().filter(|c| c.ssrc != packet.ssrc) {
            let stands = rival.is_proven() || rival.reason == RestartReason::SequenceJump;
            let silent = |spoke| now.saturating_duration_since(spoke) >= self.config.ssrc_silence;
            if !is_jump && stands && !rival.spoke().is_some_and(silent) {
                return PacketVerdict::Refused(DropReason::ForeignSsrc);
            }
            self.drop_candidate();
        }
        let candidate = self
            .candidate
            .get_or_insert_with(|| Box::new(TimelineCandidate::new(reason, packet.ssrc)));
        let Some(dropped) = candidate.hold(now, &packet, claim) else {
            return PacketVerdict::Refused(DropReason::Duplicate);
        };
        self.stats.count(not_believed(reason), dropped);
        if self.take_over_due().is_some_and(|due| due <= now) && self.take_over(now) {
            return PacketVerdict::Accepted;
        }
        PacketVerdict::OnProbation
    }

    /// When the candidate takes over, if nothing else happens.
    fn take_over_due(&self) -> Option<Instant> {
        let candidate = self.candidate.as_ref().filter(|c| c.is_proven())?;
        let spoke = self.timeline.as_ref()?.spoke;
        match candidate.reason {
            RestartReason::SequenceJump => candidate.spoke(),
            RestartReason::SsrcChange => spoke.checked_add(self.config.ssrc_silence),
        }
    }

    /// The timeline begins anew with all that the candidate has sent, or goes on
    /// with it where it is within reach. `false` if nobody polled and there is no
    /// room for it.
    fn take_over(&mut self, now: Instant) -> bool {
        self.reorder.settle(now);
        if self.reorder.is_full() {
            return false;
        }
        let (Some(candidate), Some(timeline)) = (self.candidate.take(), self.timeline.as_mut())
        else {
            return false;
        };
        let (reason, ssrc) = (candidate.reason, candidate.ssrc);
        let is_here = candidate.proof().is_some_and(|held| {
            let seq = timeline.place(held.seq, self.reorder.floor());
            let seq = seq.filter(|seq| self.reorder.floor() <= Some(*seq));
            let time = timeline.newest_time.extend(held.time);
            seq.is_some_and(|seq| self.reorder.find(now, &held.placed(seq, time)).is_ok())
        });
        if ssrc == timeline.ssrc && is_here {
            self.go_on(now, *candidate);
            return true;
        }
        let spoke = candidate.spoke().unwrap_or(now);
        let (newest, newest_time) = (timeline.newest, timeline.newest_time);
        // The numbers are others; its clock may be what it was.
        let first_time = |time| match reason {
            RestartReason::SequenceJump => newest_time.extend(time),
            RestartReason::SsrcChange => ExtRtpTime::first(time),
        };
        let believed = candidate.believe(|seq, time| (newest.restart(seq), first_time(time)));
        self.stats.count(not_believed(reason), believed.strays);
        self.jitter.restart();
        self.police.restart();
        let mut count = 0;
        for packet in believed.packets() {
            count += 1;
            *timeline = SequenceTimeline {
                ssrc,
                newest: packet.seq,
                newest_time: packet.time,
                spoke,
            };
            if self.police.observe(self.clock_rate, &packet) {
                self.reorder.set_lasting(self.police.lasting());
            }
            self.jitter
                .update(packet.arrived, packet.time, packet.payload_type);
        }
        self.police.charge(now, count);
        self.reorder.restart(now, reason, believed.packets());
        self.stats.restarts += 1;
        true
    }

    /// The timeline goes on with a step that came too soon to be believed at once.
    fn go_on(&mut self, now: Instant, candidate: TimelineCandidate) {
        let Some(timeline) = &mut self.timeline else {
            return;
        };
        let (newest, newest_time) = (timeline.newest, timeline.newest_time);
        let believed =
            candidate.believe(|seq, time| (newest.extend(seq), newest_time.extend(time)));
        self.stats.count(DropReason::SequenceJump, believed.strays);
        for packet in believed.packets() {
            let place = match self.reorder.find(now, &packet) {
                Ok(place) => place,
                Err(rejected) => {
                    self.stats.count(rejected.into(), 1);
                    continue;
                }
            };
            if timeline.advance(packet.arrived, packet.seq, packet.time) {
                if self.police.observe(self.clock_rate, &packet) {
                    self.reorder.set_lasting(self.police.lasting());
                }
            } else {
                self.stats.reordered += 1;
            }
            self.police.charge(now, 1);
            self.jitter
                .update(packet.arrived, packet.time, packet.payload_type);
            self.reorder.put(now, place, packet);
        }
    }

    /// Decides what time decides, in the order of the times; the reorder buffer
    /// does its part at whatever is asked of it next.
    fn settle_candidate(&mut self, now: Instant) {
        if self.candidate.is_some() {
            let due = self.take_over_due().filter(|due| *due <= now);
            self.expire_candidate(due.unwrap_or(now));
            match due.filter(|_| self.take_over_due().is_some()) {
                Some(due) => drop(self.take_over(due)),
                None => self.expire_candidate(now),
            }
            self.update_gauges();
        }
    }

    fn expire_candidate(&mut self, now: Instant) {
        let Some(candidate) = &mut self.candidate else {
            return;
        };
        let dropped = candidate.expire(now, self.config.probation);
        self.stats.count(not_believed(candidate.reason), dropped);
        if candidate.len() == 0 {
            self.candidate = None;
        }
    }

    /// Refuses what was on probation.
    fn drop_candidate(&mut self) {
        if let Some(candidate) = self.candidate.take() {
            let count = candidate.len() as u64;
            self.stats.count(not_believed(candidate.reason), count);
        }
    }

    fn update_gauges(&mut self) {
        self.stats.held = self.reorder.len() as u64;
        self.stats.on_probation = self.candidate.as_ref().map_or(0, |c| c.len() as u64);
    }
}

/// How a candidate is refused.
fn not_believed(reason: RestartReason) -> DropReason {
    match reason {
        RestartReason::SsrcChange => DropReason::ForeignSsrc,
        RestartReason::SequenceJump => DropReason::SequenceJump,
    }
}

fn placed<'a>(
    packet: &RtpPacket<'a>,
    seq: ExtSeq,
    time: ExtRtpTime,
    arrived: Instant,
) -> PlacedPacket<'a> {
    PlacedPacket {
        seq,
        time,
        payload_type: packet.payload_type,
        marker: packet.marker,
        payload: packet.payload,
        arrived,
    }
}

#[cfg(test)]
mod tests;
