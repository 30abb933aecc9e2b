//! A script through a network into a receiver, and what must hold of the result.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

use asterscribe_rtp::rtcp::RtcpCounts;
use asterscribe_rtp::testkit::netem::{NetworkEmulator, NetworkLog};
use asterscribe_rtp::testkit::origin;
use asterscribe_rtp::testkit::sender::{DatagramContent, SenderConfig, SenderScript, TestSender};
use asterscribe_rtp::{
    ClockRate, ExtRtpTime, ExtSeq, PacketVerdict, PlacedPacket, ReceiverConfig, ReceiverStats,
    ReleasedItem, RestartReason, RtpReceiver, Ssrc,
};

/// Items that the receiver released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Out {
    Packet(Heard),
    Lost(u64),
    Skipped(u64),
    Restart(RestartReason),
}

/// A packet that the receiver released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Its index in the script, by source, number and time; that of the end if it has none.
    pub(crate) index: usize,
    pub(crate) ssrc_is_ours: bool,
    pub(crate) seq: ExtSeq,
    pub(crate) time: ExtRtpTime,
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
    pub(crate) payload: Vec<u8>,
    pub(crate) released: Instant,
}

impl Heard {
    pub(crate) fn is_as_sent(&self, script: &SenderScript) -> bool {
        script.log.get(self.index).is_some_and(|sent| {
            let (_, datagram) = &script.datagrams[self.index];
            datagram.ends_with(&self.payload)
                && (self.time.wire().0, self.payload_type, self.marker)
                    == (sent.time, sent.payload_type, sent.marker)
        })
    }
}

/// A finished run.
pub(crate) struct Run {
    pub(crate) out: Vec<Out>,
    pub(crate) log: NetworkLog,
    pub(crate) stats: ReceiverStats,
    pub(crate) rtcp: RtcpCounts,
    pub(crate) most_on_probation: u64,
}

impl Run {
    /// Where sample 0 is on the timeline.
    pub(crate) fn first_time(&self, script: &SenderScript) -> ExtRtpTime {
        let first = self.out.iter().find_map(|out| match out {
            Out::Packet(heard) => Some(heard),
            _ => None,
        });
        let heard = first.expect("something came out");
        let since = script.log[heard.index]
            .time
            .wrapping_sub(script.log[0].time);
        ExtRtpTime(heard.time.0 - u64::from(since))
    }

    /// By how many ticks, in sum, packets are off the place of their samples; for
    /// legs whose ticks are samples.
    pub(crate) fn exact_ticks(&self, script: &SenderScript) -> u128 {
        let origin = self.first_time(script);
        self.out
            .iter()
            .filter_map(|out| match out {
                Out::Packet(heard) => Some(heard),
                _ => None,
            })
            .map(|heard| match &script.log[heard.index].carries {
                DatagramContent::Audio(samples) => {
                    (heard.time.since(origin) - i128::from(samples.start)).unsigned_abs()
                }
                _ => 0,
            })
            .sum()
    }
}

/// Gives the bytes of a range of samples.
type Payload = fn(Range<u64>, u8) -> Vec<u8>;

/// A sender whose payload names its samples, as long as G.711 would be, 8 bytes at least.
pub(crate) fn sender(config: SenderConfig) -> TestSender<Payload> {
    TestSender::new(config, origin(), |samples, _| {
        let mut payload = samples.start.to_be_bytes().to_vec();
        payload.resize((samples.count()).max(8), 0x7F);
        payload
    })
}

/// Sends the script into the network and plays it with the usual receiver.
pub(crate) fn through(script: &SenderScript, netem: NetworkEmulator) -> Run {
    let config = ReceiverConfig {
        clock_rate: ClockRate::new(8_000),
        ..ReceiverConfig::default()
    };
    play_in(config, script, netem)
}

/// Sends the script into the network and plays it.
pub(crate) fn play_in(
    config: ReceiverConfig,
    script: &SenderScript,
    mut netem: NetworkEmulator,
) -> Run {
    for (at, datagram) in &script.datagrams {
        netem.send(*at, datagram);
    }
    play(config, script, netem)
}

/// Plays what is on its way, every timer kept.
pub(crate) fn play(
    config: ReceiverConfig,
    script: &SenderScript,
    mut netem: NetworkEmulator,
) -> Run {
    let numbers = script
        .log
        .iter()
        .enumerate()
        .map(|(index, sent)| ((sent.ssrc, sent.seq, sent.time), index))
        .collect();
    let mut player = Player {
        receiver: RtpReceiver::new(config),
        numbers,
        end: script.log.len(),
        out: Vec::new(),
    };
    let mut most_on_probation = 0;
    let mut now = origin();
    while let Some(at) = netem.deadline() {
        while let Some(due) = player.receiver.deadline().filter(|due| *due <= at) {
            now = now.max(due);
            player.drain(now);
        }
        now = at;
        let (_, datagram) = netem.poll(now).expect("it is due");
        player.receive(now, &datagram);
        player.drain(now);
        let stats = player.receiver.stats();
        assert!(stats.is_balanced(), "{stats:?}");
        most_on_probation = most_on_probation.max(stats.on_probation);
    }
    while let Some(due) = player.receiver.deadline() {
        now = now.max(due);
        player.drain(now);
    }
    player.receiver.close();
    player.drain(now);
    let stats = *player.receiver.stats();
    assert!(stats.is_balanced(), "{stats:?}");
    assert_eq!((stats.held, stats.on_probation), (0, 0));
    Run {
        out: player.out,
        log: netem.log().clone(),
        stats,
        rtcp: *player.receiver.rtcp().counts(),
        most_on_probation,
    }
}

struct Player {
    receiver: RtpReceiver,
    numbers: HashMap<(u32, u16, u32), usize>,
    end: usize,
    out: Vec<Out>,
}

impl Player {
    fn receive(&mut self, now: Instant, datagram: &[u8]) {
        if let PacketVerdict::InOrder(packet) = self.receiver.receive(now, datagram) {
            self.packet(now, packet);
        }
    }

    fn drain(&mut self, now: Instant) {
        loop {
            // Copied, since what is polled borrows from the receiver.
            let payload;
            let released = match self.receiver.poll(now) {
                None => return,
                Some(ReleasedItem::Packet(packet)) => {
                    payload = packet.payload.to_vec();
                    ReleasedItem::Packet(PlacedPacket {
                        payload: &payload,
                        ..packet
                    })
                }
                Some(ReleasedItem::Lost { count, shed }) => ReleasedItem::Lost { count, shed },
                Some(ReleasedItem::Skipped { count }) => ReleasedItem::Skipped { count },
                Some(ReleasedItem::Restart { reason }) => ReleasedItem::Restart { reason },
            };
            match released {
                ReleasedItem::Packet(packet) => self.packet(now, packet),
                ReleasedItem::Lost { count, .. } => self.out.push(Out::Lost(count)),
                ReleasedItem::Skipped { count } => self.out.push(Out::Skipped(count)),
                ReleasedItem::Restart { reason } => self.out.push(Out::Restart(reason)),
            }
        }
    }

    fn packet(&mut self, now: Instant, packet: PlacedPacket<'_>) {
        let ssrc = self.receiver.ssrc().map_or(0, |Ssrc(ssrc)| ssrc);
        let index = self
            .numbers
            .get(&(ssrc, packet.seq.wire().0, packet.time.wire().0));
        self.out.push(Out::Packet(Heard {
            index: index.copied().unwrap_or(self.end),
            ssrc_is_ours: index.is_some(),
            seq: packet.seq,
            time: packet.time,
            payload_type: packet.payload_type.get(),
            marker: packet.marker,
            payload: packet.payload.to_vec(),
            released: now,
        }));
    }
}

/// Packets come out in the order of sending and as they were sent, every number
/// between the first and the last of a timeline is a packet or said to be lost or
/// skipped, and there are just these restarts.
pub(crate) fn check(script: &SenderScript, run: &Run, restarts: &[RestartReason]) {
    let mut last: Option<(usize, ExtSeq)> = None;
    let mut lost = 0;
    let mut seen = Vec::new();
    for out in &run.out {
        match out {
            Out::Packet(heard) => {
                assert!(heard.is_as_sent(script), "{heard:?}");
                if let Some((index, seq)) = last {
                    assert!(index < heard.index, "out of order");
                    assert_eq!(heard.seq.0, seq.0 + 1 + lost, "at {index}");
                }
                last = Some((heard.index, heard.seq));
                lost = 0;
            }
            Out::Lost(count) | Out::Skipped(count) => lost += count,
            Out::Restart(reason) => {
                assert_eq!(lost, 0, "said to be lost, though nothing followed it");
                seen.push(*reason);
                if let Some((_, seq)) = &mut last {
                    // Numbers begin elsewhere.
                    let begins = run.out.iter().find_map(|out| match out {
                        Out::Packet(heard) if heard.seq > *seq => Some(heard.seq),
                        _ => None,
                    });
                    *seq = ExtSeq(begins.expect("a restart has packets").0 - 1);
                }
            }
        }
    }
    assert_eq!(seen, restarts);
    assert_eq!(
        run.out
            .iter()
            .filter(|out| matches!(out, Out::Packet(_)))
            .count() as u64,
        run.stats.released
    );
}
