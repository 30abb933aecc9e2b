//! One round: a receiver, a generator, and what the receiver's CPU time and
//! memory were while the generator sent.

use std::env;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use asterscribe_clock as clock;
use clap::ValueEnum;
use serde::Serialize;

use super::cpus::{self, UsedCpus};
use super::generator::PACE;
use super::part::BenchPart;
use super::payload::BenchPayload;
use super::proc;
use super::receivers::{ReceiverSubject, RunningReceiver};
use super::wire::{PartMessage, SentCount};

/// Packets of each flow before the measured ones: every flow is known by then
/// and has been decoded once.
const WARM_UP: u32 = 25;

/// Packets of each flow after them, lest a receiver's end be measured.
const AFTER: u32 = 5;

/// Part of the wall time that others may take before a round does not count.
pub(super) const MAX_STOLEN: f64 = 0.05;

/// The case that a round measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(super) struct RoundCase {
    /// Receiver that is measured.
    pub(super) subject: ReceiverSubject,
    /// Number of flows, 50 packets a second each.
    pub(super) flows: u32,
    /// Audio that the flows carry.
    pub(super) payload: BenchPayload,
    /// Measured packets of each flow.
    pub(super) packets: u32,
    /// Factor by which packets are sent slower than in a call: memory does not depend on the pace.
    pub(super) slower: u32,
}

impl RoundCase {
    /// Packets of each flow until the last look at the receiver's memory.
    pub(super) fn packets_at_look(&self) -> u32 {
        WARM_UP + self.packets
    }
}

/// The results of a round.
#[derive(Debug, Clone, Serialize)]
pub(super) struct MediaRound {
    /// Case that was measured.
    pub(super) case: RoundCase,
    /// Packets sent while the receiver's CPU time was taken.
    pub(super) packets: u64,
    /// CPU time of all threads of the receiver, nanoseconds.
    pub(super) cpu_ns: u64,
    /// CPU time of the generator meanwhile, nanoseconds. On loopback it pays for the kernel's
    /// receive path, too.
    pub(super) sender_cpu_ns: u64,
    /// Wall time meanwhile, nanoseconds.
    pub(super) wall_ns: u64,
    /// Resident memory of the receiver without a flow, with all of them before the first packet, and at the end; bytes.
    pub(super) resident: [u64; 3],
    /// Packets sent in the whole round.
    pub(super) sent: u64,
    /// Packets that the receiver read.
    pub(super) received: u64,
    /// Packets that the kernel dropped at the receiver's sockets.
    pub(super) kernel_drops: u64,
    /// Utterances that the receiver had recognised.
    pub(super) utterances: u64,
    /// Part of the wall time that others took: the worst of the spin probes before and after and, where the
    /// receiver has one busy thread, of its wait for a processor.
    pub(super) stolen: f64,
    /// Why the round does not count, through no fault of the receiver.
    pub(super) disturbed: Option<String>,
    /// Faults of the receiver, in words: one disqualifies.
    pub(super) faults: Vec<String>,
}

impl MediaRound {
    /// The receiver's CPU time for a packet, nanoseconds.
    pub(super) fn ns_per_packet(&self) -> f64 {
        self.cpu_ns as f64 / self.packets as f64
    }

    /// CPU time of receiver and generator together for a packet, nanoseconds.
    pub(super) fn ns_per_packet_of_all(&self) -> f64 {
        (self.cpu_ns + self.sender_cpu_ns) as f64 / self.packets as f64
    }

    /// Per cent of one processor that a call takes: at the pace of the packets,
    /// so that a generator that was held up does not make calls cheap.
    pub(super) fn percent_per_call(&self) -> f64 {
        self.ns_per_packet() / PACE.as_nanos() as f64 * 100.0
    }

    /// Growth of the receiver's memory since it had no flow, bytes for each.
    pub(super) fn bytes_per_call(&self) -> f64 {
        let [empty, _, end] = self.resident;
        end.saturating_sub(empty) as f64 / f64::from(self.case.flows)
    }

    /// Growth of the receiver's memory for a flow that is known and has sent nothing, bytes.
    pub(super) fn bytes_per_silent_call(&self) -> f64 {
        let [empty, opened, _] = self.resident;
        opened.saturating_sub(empty) as f64 / f64::from(self.case.flows)
    }
}

/// The receiver's and the generator's CPU time at one moment.
struct CpuLook {
    receiver: proc::ProcessThreads,
    sender: proc::ProcessThreads,
    at: std::time::Instant,
}

/// Runs one round.
pub(super) fn run(case: RoundCase, cpus: UsedCpus) -> Result<MediaRound> {
    let stolen_before = cpus::stolen(cpus.receiver)?;
    let mut sender = BenchPart::start("generator", generator(&case)?, cpus.sender)?;
    let PartMessage::Sources(sources) = sender.hear(Duration::from_secs(30))? else {
        bail!("expected the generator's ports");
    };
    let receiver = RunningReceiver::start(case.subject, &sources, cpus.receiver)?;
    let (empty, opened) = (receiver.empty, receiver.opened);
    sender.say(&PartMessage::Targets(receiver.targets.clone()))?;

    let from = look(&mut sender, &receiver)?;
    let to = look(&mut sender, &receiver)?;
    let resident = proc::memory(receiver.pid())?.resident;
    let sent = end(&sender)?;
    let kernel_drops = receiver.kernel_drops()?;
    let received = receiver.finish(&sent)?;
    // Not before both have ended, so that they are not what steals.
    drop(sender);
    let waited = to.receiver.busiest_waited_since(&from.receiver);
    let wall = to.at.duration_since(from.at).as_nanos() as u64;
    let mut round = MediaRound {
        case,
        packets: u64::from(case.packets) * u64::from(case.flows),
        cpu_ns: to.receiver.ran_since(&from.receiver),
        sender_cpu_ns: to.sender.ran_since(&from.sender),
        wall_ns: wall,
        resident: [empty, opened, resident],
        sent: sent.packets,
        received: received.datagrams,
        kernel_drops,
        utterances: received.utterances,
        stolen: stolen_before.max(cpus::stolen(cpus.receiver)?),
        disturbed: None,
        faults: received.faults,
    };
    // GStreamer's threads wait for each other on their one processor: that is nobody's theft.
    if case.subject != ReceiverSubject::Gstreamer {
        round.stolen = round.stolen.max(waited as f64 / wall as f64);
    }
    round.disturbed = disturbance(&round, &sent);
    round.faults.splice(0..0, losses(&round));
    Ok(round)
}

fn generator(case: &RoundCase) -> Result<Command> {
    let payload = case
        .payload
        .to_possible_value()
        .map(|value| value.get_name().to_owned());
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["generate"])
        .args(["--flows", &case.flows.to_string()])
        .args(["--packets", &(WARM_UP + case.packets + AFTER).to_string()])
        .args(["--marks", &format!("{WARM_UP},{}", WARM_UP + case.packets)])
        .args(["--slower", &case.slower.to_string()])
        .args(["--payload", &payload.unwrap_or_default()]);
    Ok(command)
}

/// Both parts' CPU time when the generator has come to its next mark.
fn look(sender: &mut BenchPart, receiver: &RunningReceiver) -> Result<CpuLook> {
    match sender.hear(Duration::from_secs(120))? {
        PartMessage::Mark(_) => Ok(CpuLook {
            receiver: proc::process(receiver.pid())?,
            sender: proc::process(sender.pid())?,
            at: clock::now(),
        }),
        PartMessage::Sent(sent) => bail!("the generator could not keep any pace here: {sent:?}"),
        other => bail!("expected a mark, not {other:?}"),
    }
}

fn end(sender: &BenchPart) -> Result<SentCount> {
    let PartMessage::Sent(sent) = sender.hear(Duration::from_secs(60))? else {
        bail!("expected what was sent");
    };
    ensure!(
        sent.refused == 0,
        "the kernel refused packets of the generator: {sent:?}"
    );
    Ok(sent)
}

/// Reason why the round does not count, if there is one.
fn disturbance(round: &MediaRound, sent: &SentCount) -> Option<String> {
    let slipped = sent.slipped_us as f64 * 1e3 / round.wall_ns as f64;
    if round.stolen > MAX_STOLEN {
        return Some(format!(
            "others took {:.0} % of the processor",
            round.stolen * 100.0
        ));
    }
    (slipped > MAX_STOLEN).then(|| {
        format!(
            "the generator was held up for {:.0} % of the time",
            slipped * 100.0
        )
    })
}

/// Packets that were sent and not read, in words.
fn losses(round: &MediaRound) -> Vec<String> {
    let mut faults = Vec::new();
    if round.kernel_drops > 0 {
        faults.push(format!(
            "the kernel dropped {} datagrams",
            round.kernel_drops
        ));
    }
    if round.received != round.sent {
        let (received, sent) = (round.received, round.sent);
        faults.push(format!("{received} datagrams were received of {sent}"));
    }
    faults
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A clean round: 2 µs for each of 3,000 packets.
    pub(crate) fn round(subject: ReceiverSubject, flows: u32) -> MediaRound {
        MediaRound {
            case: RoundCase {
                subject,
                flows,
                payload: BenchPayload::Silence,
                packets: 100,
                slower: 1,
            },
            packets: 3_000,
            cpu_ns: 6_000_000,
            sender_cpu_ns: 30_000_000,
            wall_ns: 2_000_000_000,
            resident: [1 << 20, 2 << 20, 3 << 20],
            sent: 3_900,
            received: 3_900,
            kernel_drops: 0,
            utterances: 0,
            stolen: 0.0,
            disturbed: None,
            faults: Vec::new(),
        }
    }

    #[test]
    fn figures_are_per_packet_and_per_call() {
        let round = round(ReceiverSubject::Speech, 32);
        assert_eq!(round.ns_per_packet(), 2_000.0);
        assert_eq!(round.ns_per_packet_of_all(), 12_000.0);
        // 50 packets of 2 µs are 100 µs of each second.
        assert!((round.percent_per_call() - 0.01).abs() < 1e-12);
        assert_eq!(round.bytes_per_call(), f64::from((2 << 20) / 32));
        assert_eq!(round.bytes_per_silent_call(), f64::from((1 << 20) / 32));
    }

    #[test]
    fn a_round_that_lost_a_packet_is_at_fault_whoever_dropped_it() {
        let mut lossy = round(ReceiverSubject::Sink, 30);
        assert_eq!(losses(&lossy), [""; 0]);
        lossy.received -= 1;
        assert_eq!(losses(&lossy).len(), 1);
        lossy.kernel_drops = 1;
        assert_eq!(losses(&lossy).len(), 2);
        // Too many are as wrong as too few.
        lossy = round(ReceiverSubject::Sink, 30);
        lossy.received += 1;
        assert_eq!(losses(&lossy).len(), 1);
    }

    #[test]
    fn a_stolen_or_halting_round_is_disturbed() {
        let sent = |slipped_us| SentCount {
            slipped_us,
            ..SentCount::default()
        };
        let mut shared = round(ReceiverSubject::Sink, 30);
        assert_eq!(disturbance(&shared, &sent(100_000)), None);
        assert!(disturbance(&shared, &sent(100_001)).is_some());
        shared.stolen = 0.051;
        assert!(disturbance(&shared, &sent(0)).is_some());
    }
}
