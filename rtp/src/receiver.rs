//! The RTP of one leg: who may speak, in which order, and what became of every datagram.
//!
//! Source rules (RFC 3550 appendix A.1, adapted): the first valid packet is
//! believed and released at once. Another SSRC is foreign while the present one
//! still speaks; after [`ReceiverConfig::ssrc_silence`] it takes over with two
//! packets in sequence. A jump within one SSRC needs two in sequence as well.
//! The first of the two is kept meanwhile, so a real change loses nothing.

mod jitter;
mod stats;
mod timeline;
mod verdict;

use std::time::{Duration, Instant};

use crate::ids::{ClockRate, ExtRtpTime, ExtSeq, PayloadType, RtpTime, SeqNo, Ssrc};
use crate::reorder::{Placed, Released, Reorder, ReorderConfig, RestartReason};
use crate::wire::Packet;

use jitter::Jitter;
use timeline::Timeline;

pub use stats::{MalformedCounts, OtherCounts, ReceiverStats};
pub use verdict::{Refusal, Verdict};

/// How a [`Receiver`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverConfig {
    /// Bounds of the reorder buffer.
    pub reorder: ReorderConfig,
    /// How long the present SSRC must have been silent before another may take over.
    pub ssrc_silence: Duration,
    /// How long a packet on probation may wait for the one that follows it.
    pub probation: Duration,
    /// Clock of the timestamps, for the jitter estimate; see [`Receiver::set_clock_rate`].
    pub clock_rate: Option<ClockRate>,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self {
            reorder: ReorderConfig::default(),
            ssrc_silence: Duration::from_millis(200),
            probation: Duration::from_secs(2),
            clock_rate: None,
        }
    }
}

/// The receiving end of one leg. The crate's first page has the contract.
#[derive(Debug)]
pub struct Receiver {
    config: ReceiverConfig,
    reorder: Reorder,
    timeline: Option<Timeline>,
    candidate: Option<Candidate>,
    jitter: Jitter,
    stats: ReceiverStats,
    closed: bool,
}

/// The one packet that may turn out to begin a new timeline.
#[derive(Debug)]
struct Candidate {
    reason: RestartReason,
    ssrc: Ssrc,
    seq: SeqNo,
    time: RtpTime,
    payload_type: PayloadType,
    marker: bool,
    payload: Vec<u8>,
    arrived: Instant,
}

impl Receiver {
    /// A receiver that has heard nothing yet.
    pub fn new(config: ReceiverConfig) -> Self {
        Self {
            reorder: Reorder::new(config.reorder),
            timeline: None,
            candidate: None,
            jitter: Jitter::new(config.clock_rate),
            stats: ReceiverStats::default(),
            closed: false,
            config,
        }
    }

    /// Takes one datagram and counts it. Then [`Self::poll`] until `None`: what
    /// was accepted is not necessarily released yet, and the reverse. What `now`
    /// decides is decided first, whether anybody polled or not.
    pub fn receive(&mut self, now: Instant, datagram: &[u8]) -> Verdict {
        self.stats.datagrams += 1;
        let verdict = match Packet::parse(datagram) {
            Ok(packet) => {
                self.stats.received += 1;
                self.judge(now, packet)
            }
            Err(malformed) => Verdict::Refused(Refusal::Malformed(malformed)),
        };
        if let Verdict::Refused(refusal) = verdict {
            self.stats.count(refusal);
        }
        self.update_gauges();
        verdict
    }

    /// The next thing of the ordered stream, if it is time for it.
    pub fn poll(&mut self, now: Instant) -> Option<Released<'_>> {
        let released = self.reorder.poll(now)?;
        match released {
            Released::Packet(_) => {
                self.stats.released += 1;
                self.stats.held -= 1;
            }
            Released::Lost { count } => self.stats.lost += count,
            Released::Restart { .. } => {}
        }
        Some(released)
    }

    /// When to poll though nothing comes in; `None` while nothing waits.
    pub fn deadline(&self) -> Option<Instant> {
        self.reorder.deadline()
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

    /// The source believed at present; `None` before the first valid packet.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.timeline.as_ref().map(|timeline| timeline.ssrc)
    }

    /// Clock of the packets from here on. Only the jitter estimate needs it;
    /// set it whenever a packet with another payload type is released.
    pub fn set_clock_rate(&mut self, rate: Option<ClockRate>) {
        self.jitter.set_clock_rate(rate);
    }

    /// Interarrival jitter (RFC 3550 section 6.4.1), as time instead of ticks;
    /// zero until two packets came in at a known clock rate.
    pub fn jitter(&self) -> Duration {
        self.jitter.estimate()
    }

    fn judge(&mut self, now: Instant, packet: Packet<'_>) -> Verdict {
        if self.closed {
            return Verdict::Refused(Refusal::Closed);
        }
        self.reorder.settle(now);
        let timeline = self
            .timeline
            .get_or_insert_with(|| Timeline::first(&packet, now));
        let newest = timeline.newest;
        if packet.ssrc != timeline.ssrc {
            if now.saturating_duration_since(timeline.spoke) < self.config.ssrc_silence {
                return Verdict::Refused(Refusal::ForeignSsrc);
            }
            return self.probe(now, packet, RestartReason::SsrcChange, newest);
        }
        let Some(seq) = timeline.place(packet.seq, self.reorder.floor()) else {
            return self.probe(now, packet, RestartReason::SequenceJump, newest);
        };
        timeline.spoke = now;
        let time = timeline.newest_time.extend(packet.time);
        let inserted = self.reorder.insert(now, placed(&packet, seq, time, now));
        if inserted.is_ok() {
            self.jitter.update(now, time, packet.payload_type);
            if !timeline.advance(seq, time) {
                self.stats.reordered += 1;
            }
        }
        // The present source speaks, so another one on probation is foreign.
        if self
            .candidate
            .as_ref()
            .is_some_and(|rival| rival.ssrc != packet.ssrc)
        {
            self.drop_candidate();
        }
        match inserted {
            Ok(()) => Verdict::Accepted,
            Err(rejected) => Verdict::Refused(rejected.into()),
        }
    }

    /// A packet of another SSRC or from elsewhere in the sequence, while
    /// `newest` is the newest of the present timeline.
    fn probe(
        &mut self,
        now: Instant,
        packet: Packet<'_>,
        reason: RestartReason,
        newest: ExtSeq,
    ) -> Verdict {
        let probation = self.config.probation;
        let same_source = |candidate: &mut Candidate| {
            candidate.ssrc == packet.ssrc
                && now.saturating_duration_since(candidate.arrived) <= probation
        };
        if let Some(first) = self.candidate.take_if(same_source) {
            if packet.seq == first.seq.next() {
                return self.take_over(now, first, packet, newest);
            }
            let is_copy = packet.seq == first.seq;
            self.candidate = Some(first);
            if is_copy {
                return Verdict::Refused(Refusal::Duplicate);
            }
        }
        self.drop_candidate();
        self.candidate = Some(Candidate {
            reason,
            ssrc: packet.ssrc,
            seq: packet.seq,
            time: packet.time,
            payload_type: packet.payload_type,
            marker: packet.marker,
            payload: packet.payload.to_vec(),
            arrived: now,
        });
        Verdict::OnProbation
    }

    /// Two in sequence: the timeline begins anew with both of them.
    fn take_over(
        &mut self,
        now: Instant,
        first: Candidate,
        second: Packet<'_>,
        newest: ExtSeq,
    ) -> Verdict {
        let seq = newest.restart(first.seq);
        let time = ExtRtpTime::first(first.time);
        let second_seq = seq.extend(second.seq);
        let second_time = time.extend(second.time);
        let packets = [
            first.placed(seq, time),
            placed(&second, second_seq, second_time, now),
        ];
        if let Err(rejected) = self.reorder.restart(now, first.reason, packets) {
            self.stats.count(rejected.into());
            return Verdict::Refused(rejected.into());
        }
        self.jitter.restart();
        self.jitter.update(first.arrived, time, first.payload_type);
        self.jitter.update(now, second_time, second.payload_type);
        self.timeline = Some(Timeline {
            ssrc: second.ssrc,
            newest: second_seq,
            newest_time: second_time,
            spoke: now,
        });
        self.stats.restarts += 1;
        Verdict::Accepted
    }

    /// Refuses what was on probation.
    fn drop_candidate(&mut self) {
        let Some(candidate) = self.candidate.take() else {
            return;
        };
        self.stats.count(match candidate.reason {
            RestartReason::SsrcChange => Refusal::ForeignSsrc,
            RestartReason::SequenceJump => Refusal::SequenceJump,
        });
    }

    fn update_gauges(&mut self) {
        self.stats.held = self.reorder.len() as u64;
        self.stats.on_probation = u64::from(self.candidate.is_some());
    }
}

impl Candidate {
    fn placed(&self, seq: ExtSeq, time: ExtRtpTime) -> Placed<'_> {
        Placed {
            seq,
            time,
            payload_type: self.payload_type,
            marker: self.marker,
            payload: &self.payload,
            arrived: self.arrived,
        }
    }
}

fn placed<'a>(packet: &Packet<'a>, seq: ExtSeq, time: ExtRtpTime, arrived: Instant) -> Placed<'a> {
    Placed {
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
