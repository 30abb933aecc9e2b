//! Released items depend on what arrived when, not on how often the receiver is polled: a live
//! server that ticks and a replay that runs every timer agree.

use std::time::{Duration, Instant};

use asterscribe_rtp::testkit::netem::{LossModel, NetemConfig, NetworkEmulator};
use asterscribe_rtp::testkit::{build, origin};
use asterscribe_rtp::{
    ClockRate, PacketVerdict, PlacedPacket, RateConfig, ReceiverConfig, ReceiverStats,
    ReleasedItem, ReorderConfig, RestartReason, RtpReceiver,
};

const MS: Duration = Duration::from_millis(1);

/// When the receiver is polled.
#[derive(Debug, Clone, Copy)]
enum Polling {
    /// After every datagram and at every deadline.
    Exact,
    /// At every multiple of this and at no other time.
    Every(Duration),
}

#[derive(Debug, PartialEq, Eq)]
enum Out {
    Packet(u64, u64, Vec<u8>),
    Lost(u64, u64),
    Skipped(u64),
    Restart(RestartReason),
}

struct Run {
    receiver: RtpReceiver,
    now: Instant,
    out: Vec<Out>,
}

impl Run {
    fn receive(&mut self, at: Instant, datagram: &[u8]) {
        if let PacketVerdict::InOrder(packet) = self.receiver.receive(at, datagram) {
            self.out.push(out(ReleasedItem::Packet(packet)));
        }
    }

    fn drain(&mut self) {
        while let Some(released) = self.receiver.poll(self.now) {
            self.out.push(out(released));
        }
        assert!(self.receiver.stats().is_balanced());
    }

    /// Polls whenever it is time to, up to and at `until`.
    fn advance(&mut self, polling: Polling, until: Instant) {
        let next = |run: &Self| match polling {
            Polling::Exact => run.receiver.deadline(),
            Polling::Every(tick) => {
                let ticks = (run.now - origin()).as_nanos() / tick.as_nanos() + 1;
                Some(origin() + tick * u32::try_from(ticks).expect("a short test"))
            }
        };
        while let Some(due) = next(self).filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.drain();
        }
        self.now = until;
    }
}

fn out(released: ReleasedItem<'_>) -> Out {
    match released {
        ReleasedItem::Packet(PlacedPacket {
            seq, time, payload, ..
        }) => Out::Packet(seq.0, time.0, payload.to_vec()),
        ReleasedItem::Lost { count, shed } => Out::Lost(count, shed),
        ReleasedItem::Skipped { count } => Out::Skipped(count),
        ReleasedItem::Restart { reason } => Out::Restart(reason),
    }
}

fn run(
    arrivals: &[(Instant, Vec<u8>)],
    polling: Polling,
    reorder: ReorderConfig,
) -> (Vec<Out>, ReceiverStats) {
    let mut run = Run {
        receiver: RtpReceiver::new(ReceiverConfig {
            reorder,
            rate: RateConfig {
                burst: Duration::from_millis(400),
                ..RateConfig::default()
            },
            clock_rate: ClockRate::new(8_000),
            ..ReceiverConfig::default()
        }),
        now: origin(),
        out: Vec::new(),
    };
    for (at, datagram) in arrivals {
        run.advance(polling, *at);
        run.receive(*at, datagram);
        if matches!(polling, Polling::Exact) {
            run.drain();
        }
    }
    let end = run.now + Duration::from_secs(5);
    run.advance(polling, end);
    run.receiver.close();
    run.drain();
    (run.out, *run.receiver.stats())
}

/// A leg with everything that time decides: gaps, lateness, a change of source,
/// a jump of the sequence, a flood, and arrivals at the very end of a wait.
fn arrivals(seed: u64) -> Vec<(Instant, Vec<u8>)> {
    let config = NetemConfig {
        loss: LossModel::Bursts {
            enter: 0.05,
            leave: 0.3,
            good: 0.01,
            bad: 0.8,
        },
        delay: 30 * MS,
        jitter: 50 * MS,
        reorder: 0.1,
        // With packets 20 ms apart, this makes many arrive just when they are given up.
        reorder_delay: 140 * MS,
        duplicate: 0.1,
        ..NetemConfig::PERFECT
    };
    let mut netem = NetworkEmulator::new(config, seed);
    let mut sent = origin();
    for n in 0..1_000_u32 {
        let (ssrc, seq, apart) = match n {
            0..200 => (1, 65_400 + n, 20 * MS),
            200..400 => (2, 7 + n, 20 * MS),
            // Back and forth, each for less than it takes to be believed, then longer.
            400..440 => (1 + n / 5 % 2, 7 + n, 20 * MS),
            440..600 => (1 + n / 40 % 2, 7 + n, 20 * MS),
            600..800 => (2, 20_000 + n, 20 * MS),
            // Far too fast.
            _ => (2, 20_000 + n, 2 * MS),
        };
        sent += apart;
        let packet = build::packet(seq as u16).ssrc(ssrc).time(n * 160);
        let datagram = packet.payload(&n.to_be_bytes()).bytes();
        netem.send(sent, &datagram);
    }
    let end = origin() + Duration::from_secs(60);
    // In whole milliseconds, so that arrivals, deadlines and ticks coincide at times.
    std::iter::from_fn(|| netem.poll(end))
        .map(|(at, datagram)| {
            let ms = (at - origin()).as_millis() as u32;
            (origin() + MS * ms, datagram)
        })
        .collect()
}

#[test]
fn the_result_does_not_depend_on_when_it_is_polled() {
    let small = ReorderConfig {
        capacity: 8,
        ..ReorderConfig::default()
    };
    for seed in 0..40 {
        let arrivals = arrivals(seed);
        for reorder in [ReorderConfig::default(), small] {
            let (out, stats) = run(&arrivals, Polling::Exact, reorder);
            assert!(stats.late > 0 && stats.foreign_ssrc > 0 && stats.over_rate > 0);
            assert!(stats.restarts > 2);
            for tick in [1, 5, 7, 20] {
                let polling = Polling::Every(tick * MS);
                let (other_out, other_stats) = run(&arrivals, polling, reorder);
                assert_eq!(other_stats, stats, "seed {seed}, every {tick} ms");
                assert_eq!(other_out, out, "seed {seed}, every {tick} ms");
            }
        }
    }
}
