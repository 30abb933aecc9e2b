//! Sends RTP at an even pace, each flow from a port of its own, and tells
//! exactly what it sent. It ends by itself, in count and in time.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use asterscribe_clock as clock;
use clap::Args;

use super::payload::{BenchPayload, PACKET};
use super::wire::{self, PartMessage, SentCount};

/// Time between two packets of a flow.
pub(super) const PACE: Duration = Duration::from_millis(20);

/// A sender that is held up for longer goes on from there: to send it all at
/// once would be another load than the one that is asked for.
const MAX_LAG: Duration = Duration::from_millis(20);

/// No sleep is shorter; what falls due meanwhile is sent together.
const NAP: Duration = Duration::from_micros(500);

/// RTP header without extras (RFC 3550 §5.1).
const HEADER: usize = 12;

/// The load that a generator sends.
#[derive(Debug, Args)]
pub(crate) struct GeneratorOptions {
    /// Flows, each from its own port.
    #[arg(long)]
    flows: u32,
    /// Packets of each flow.
    #[arg(long)]
    packets: u32,
    /// Counts of packets of each flow after which to report the progress.
    #[arg(long, value_delimiter = ',')]
    marks: Vec<u32>,
    /// Factor by which the pace is slower than in a call.
    #[arg(long, default_value_t = 1)]
    slower: u32,
    /// Audio of the flows.
    #[arg(long, value_enum)]
    payload: BenchPayload,
    /// A list of what is said in a call: lines of NAME, seconds, 8 kHz WAV file and text, separated by tabs.
    #[arg(long)]
    prompts: Option<PathBuf>,
}

/// Sends it.
pub(super) fn run(options: &GeneratorOptions) -> Result<()> {
    ensure!(options.flows > 0, "no flows to send");
    let flows = (0..options.flows)
        .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<Vec<_>, _>>()?;
    let sources = flows.iter().map(|flow| Ok(flow.local_addr()?.port()));
    wire::say(&PartMessage::Sources(sources.collect::<Result<_>>()?))?;
    let PartMessage::Targets(targets) = wire::hear()? else {
        bail!("expected the targets");
    };
    ensure!(!targets.is_empty(), "no targets to send to");
    for (flow, target) in flows.iter().zip(targets.iter().cycle()) {
        flow.connect((Ipv4Addr::LOCALHOST, *target))?;
    }
    let sent = FlowSender::new(options, flows)?.run()?;
    wire::say(&PartMessage::Sent(sent))
}

/// Packet number `round` of a flow: numberings of its own, that also wrap.
pub(super) fn rtp(round: u64, flow: u64, payload: &[u8; PACKET]) -> [u8; HEADER + PACKET] {
    let seq = (round + flow * 7_919 + 65_000) as u16;
    let time = (round * PACKET as u64 + flow * 104_729_000) as u32;
    let mut datagram = [0; HEADER + PACKET];
    datagram[0] = 0x80;
    datagram[1] = if round == 0 { 0x80 } else { 0 };
    datagram[2..4].copy_from_slice(&seq.to_be_bytes());
    datagram[4..8].copy_from_slice(&time.to_be_bytes());
    datagram[8..HEADER].copy_from_slice(&(flow as u32 + 1).to_be_bytes());
    datagram[HEADER..].copy_from_slice(payload);
    datagram
}

struct FlowSender {
    flows: Vec<UdpSocket>,
    audio: Vec<[u8; PACKET]>,
    /// Packets of all flows, and the numbers after which to report.
    total: u64,
    marks: Vec<u64>,
    pace: Duration,
    sent: SentCount,
}

impl FlowSender {
    fn new(options: &GeneratorOptions, flows: Vec<UdpSocket>) -> Result<Self> {
        let of_all = |packets: u32| u64::from(packets) * u64::from(options.flows);
        Ok(Self {
            flows,
            audio: options.payload.packets_of(options.prompts.as_deref())?,
            total: of_all(options.packets),
            marks: options.marks.iter().map(|&mark| of_all(mark)).collect(),
            pace: PACE * options.slower,
            sent: SentCount {
                flows: options.flows.into(),
                ..SentCount::default()
            },
        })
    }

    fn run(mut self) -> Result<SentCount> {
        let begin = clock::now();
        // Twice as long as it should take, and some; then there are too few, and it says so.
        let nominal = self.pace * u32::try_from(self.total / self.sent.flows)?;
        let end = begin + 2 * nominal + Duration::from_secs(10);
        let (mut next, mut slipped) = (0, Duration::ZERO);
        while next < self.total {
            let now = clock::now();
            if now >= end {
                break;
            }
            let due = begin + slipped + self.due(next);
            if now < due {
                thread::sleep(due.duration_since(now).max(NAP));
                continue;
            }
            let lag = now.duration_since(due);
            if lag > MAX_LAG {
                slipped += lag;
            }
            next = self.send_due(next, begin + slipped, now)?;
        }
        self.sent.slipped_us = u64::try_from(slipped.as_micros())?;
        Ok(self.sent)
    }

    /// Sends all that is due `now`; the result is the number of the next packet.
    fn send_due(&mut self, mut next: u64, begin: Instant, now: Instant) -> Result<u64> {
        while next < self.total && begin + self.due(next) <= now {
            self.send(next);
            next += 1;
            if self.marks.contains(&next) {
                wire::say(&PartMessage::Mark(next))?;
            }
        }
        Ok(next)
    }

    /// Time at which a packet is due, since the beginning: the flows' packets lie evenly within
    /// their pace.
    fn due(&self, number: u64) -> Duration {
        let flows = self.sent.flows;
        // In nanoseconds, less than 2⁶⁴ for a hundred years.
        let pace = self.pace.as_nanos() as u64;
        Duration::from_nanos(number / flows * pace + number % flows * pace / flows)
    }

    fn send(&mut self, number: u64) {
        let (round, flow) = (number / self.sent.flows, number % self.sent.flows);
        // Each begins elsewhere in the audio.
        let audio = (round + flow * 37) % self.audio.len() as u64;
        let datagram = rtp(round, flow, &self.audio[audio as usize]);
        match self.flows[flow as usize].send(&datagram) {
            Ok(_) => self.sent.packets += 1,
            Err(_) => self.sent.refused += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asterscribe_rtp::{PacketVerdict, ReceiverConfig, ReleasedItem, RtpReceiver};

    fn sender(flows: u32, packets: u32, target: &UdpSocket) -> FlowSender {
        let options = GeneratorOptions {
            flows,
            packets,
            marks: Vec::new(),
            slower: 1,
            payload: BenchPayload::Silence,
            prompts: None,
        };
        let sockets = (0..flows).map(|_| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.connect(target.local_addr().unwrap()).unwrap();
            socket
        });
        FlowSender::new(&options, sockets.collect()).unwrap()
    }

    #[test]
    fn a_flow_is_rtp_without_a_break_across_the_wraps() {
        let target = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut sender = sender(1, 1_000, &target);
        let mut receiver = RtpReceiver::new(ReceiverConfig::default());
        let (mut buffer, mut released, mut now) = ([0; 2_048], 0, clock::now());
        for number in 0..1_000 {
            sender.send(number);
            let length = target.recv(&mut buffer).unwrap();
            now += PACE;
            let verdict = receiver.receive(now, &buffer[..length]);
            released += u64::from(matches!(verdict, PacketVerdict::InOrder(_)));
            while let Some(packet) = receiver.poll(now) {
                assert!(matches!(
                    packet,
                    ReleasedItem::Packet { .. } | ReleasedItem::Restart { .. }
                ));
                released += u64::from(matches!(packet, ReleasedItem::Packet { .. }));
            }
        }
        assert_eq!((sender.sent.packets, released), (1_000, 1_000));
        assert_eq!(receiver.stats().lost, 0);
    }

    #[test]
    fn the_flows_share_the_20_ms_evenly() {
        let target = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let sender = sender(8, 10, &target);
        assert_eq!(sender.due(0), Duration::ZERO);
        assert_eq!(sender.due(1), Duration::from_micros(2_500));
        assert_eq!(sender.due(7), Duration::from_micros(17_500));
        assert_eq!(sender.due(8), PACE);
    }

    #[test]
    fn what_is_said_is_what_came() {
        let target = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        target.set_nonblocking(true).unwrap();
        let sent = sender(4, 3, &target).run().unwrap();
        let mut came = 0;
        while target.recv(&mut [0; 2_048]).is_ok() {
            came += 1;
        }
        assert_eq!((sent.packets, sent.refused, came), (12, 0, 12));
    }
}
