//! A network that loses, delays, reorders, duplicates, freezes and damages by
//! its seed, and says exactly what it did. Sans-IO like the code it tests.
//!
//! Datagrams are named by the order of [`NetworkEmulator::send`] and [`NetworkEmulator::inject`]:
//! the first is 0. With [`TestSender`](crate::testkit::sender::TestSender), whose log has the same
//! numbers, a test knows what became of every sample.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::testkit::random::SplitMix;

/// The faults of the network. Probabilities are 0.0 to 1.0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NetemConfig {
    /// Model of loss.
    pub loss: LossModel,
    /// Delay of every datagram.
    pub delay: Duration,
    /// Up to so much more, evenly spread and each on its own: reorders once it
    /// exceeds the spacing of the datagrams.
    pub jitter: Duration,
    /// Probability that a datagram is held back by `reorder_delay`.
    pub reorder: f64,
    /// Delay of such a datagram, beyond that of all.
    pub reorder_delay: Duration,
    /// Probability that a datagram arrives twice, each copy with its own delay.
    pub duplicate: f64,
    /// Probability that the network stalls for `stall_time` when a datagram is
    /// sent: that one and what is sent meanwhile arrive after it, all at once.
    pub stall: f64,
    /// Length of a stall.
    pub stall_time: Duration,
    /// Probability that one byte of a datagram is changed.
    pub corrupt: f64,
    /// Bytes at the beginning that are spared; 12 keeps the RTP header whole.
    pub corrupt_from: usize,
    /// Probability that a datagram is cut off somewhere.
    pub truncate: f64,
}

/// How datagrams get lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LossModel {
    /// No loss.
    None,
    /// Independent loss, each datagram with the same probability.
    Uniform(f64),
    /// In bursts (Gilbert-Elliott): two states with a loss probability each.
    Bursts {
        /// Probability, per datagram, to go from good to bad.
        enter: f64,
        /// Probability, per datagram, to go from bad to good.
        leave: f64,
        /// Probability of loss in the good state.
        good: f64,
        /// Probability of loss in the bad state.
        bad: f64,
    },
}

impl NetemConfig {
    /// A network that does nothing to a datagram.
    pub const PERFECT: Self = Self {
        loss: LossModel::None,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        reorder: 0.0,
        reorder_delay: Duration::ZERO,
        duplicate: 0.0,
        stall: 0.0,
        stall_time: Duration::ZERO,
        corrupt: 0.0,
        corrupt_from: 0,
        truncate: 0.0,
    };
}

impl Default for NetemConfig {
    /// A perfect network.
    fn default() -> Self {
        Self::PERFECT
    }
}

/// The log of the network: what happened, in the order in which it happened. Datagrams are named by
/// their index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkLog {
    /// How many were sent, those injected included.
    pub sent: usize,
    /// Those that were injected.
    pub injected: Vec<usize>,
    /// Those that were lost.
    pub lost: Vec<usize>,
    /// Those that were sent on twice.
    pub duplicated: Vec<usize>,
    /// Those that were held back by `reorder_delay`, once per copy.
    pub reordered: Vec<usize>,
    /// Those with which the network began to stall.
    pub stalls: Vec<usize>,
    /// Those that a stall or a freeze held back, once per copy.
    pub held_back: Vec<usize>,
    /// Those of which a byte was changed.
    pub corrupted: Vec<CorruptedByte>,
    /// Those that were cut off, and how long they still are.
    pub truncated: Vec<(usize, usize)>,
    /// Those that came out, a duplicated one twice.
    pub delivered: Vec<usize>,
    /// Times of arrival, one for each entry of `delivered`.
    pub delivered_at: Vec<Instant>,
}

/// A damaged byte of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CorruptedByte {
    /// Index of the datagram.
    pub index: usize,
    /// Index of the byte in it.
    pub byte: usize,
    /// Bits of the byte that were changed.
    pub flipped: u8,
}

impl NetworkLog {
    /// Whether the datagram arrives, and as it was sent.
    pub fn is_intact(&self, index: usize) -> bool {
        !self.lost.contains(&index)
            && !self.corrupted.iter().any(|found| found.index == index)
            && !self.truncated.iter().any(|(found, _)| *found == index)
    }

    /// When its first copy came out, if one has.
    pub fn arrival(&self, index: usize) -> Option<Instant> {
        let first = self.delivered.iter().position(|found| *found == index)?;
        self.delivered_at.get(first).copied()
    }
}

/// The emulated network.
#[derive(Debug)]
pub struct NetworkEmulator {
    config: NetemConfig,
    random: SplitMix,
    in_bad_state: bool,
    /// Spans in which nothing comes out.
    frozen: Vec<(Instant, Instant)>,
    copies: u64,
    on_the_way: BinaryHeap<Reverse<OnTheWay>>,
    log: NetworkLog,
}

/// Ordered by arrival, then by the order of sending.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OnTheWay {
    at: Instant,
    copy: u64,
    index: usize,
    datagram: Vec<u8>,
}

impl NetworkEmulator {
    /// A network whose behaviour depends on `seed` only.
    pub fn new(config: NetemConfig, seed: u64) -> Self {
        Self {
            config,
            random: SplitMix::new(seed),
            in_bad_state: false,
            frozen: Vec::new(),
            copies: 0,
            on_the_way: BinaryHeap::new(),
            log: NetworkLog::default(),
        }
    }

    /// Nothing comes out from `from` on until `until`, and then all at once, in
    /// the order in which it would have. Holds for what is sent after this call.
    pub fn freeze(&mut self, from: Instant, until: Instant) {
        self.frozen.push((from, until));
    }

    /// Sends a datagram and returns its index.
    pub fn send(&mut self, now: Instant, datagram: &[u8]) -> usize {
        let index = self.log.sent;
        self.log.sent += 1;
        if self.loses() {
            self.log.lost.push(index);
            return index;
        }
        let datagram = self.damaged(index, datagram);
        if self.random.chance(self.config.stall) {
            self.log.stalls.push(index);
            self.freeze(now, now + self.config.stall_time);
        }
        self.forward(now, index, &datagram);
        if self.random.chance(self.config.duplicate) {
            self.log.duplicated.push(index);
            self.forward(now, index, &datagram);
        }
        index
    }

    /// Lets a datagram arrive at this time, by nobody's leave and as it is; gives
    /// its index. For floods, and for what comes from strangers.
    pub fn inject(&mut self, at: Instant, datagram: &[u8]) -> usize {
        let index = self.log.sent;
        self.log.sent += 1;
        self.log.injected.push(index);
        self.put_on_the_way(at, index, datagram.to_vec());
        index
    }

    /// The next datagram that has arrived by `now`, and when it did.
    pub fn poll(&mut self, now: Instant) -> Option<(Instant, Vec<u8>)> {
        if self.deadline()? > now {
            return None;
        }
        let Reverse(arrived) = self.on_the_way.pop()?;
        self.log.delivered.push(arrived.index);
        self.log.delivered_at.push(arrived.at);
        Some((arrived.at, arrived.datagram))
    }

    /// When the next datagram arrives; `None` while none is on the way.
    pub fn deadline(&self) -> Option<Instant> {
        self.on_the_way.peek().map(|Reverse(first)| first.at)
    }

    /// Everything that the network did so far.
    pub fn log(&self) -> &NetworkLog {
        &self.log
    }

    fn loses(&mut self) -> bool {
        let probability = match self.config.loss {
            LossModel::None => return false,
            LossModel::Uniform(probability) => probability,
            LossModel::Bursts {
                enter,
                leave,
                good,
                bad,
            } => {
                let change = if self.in_bad_state { leave } else { enter };
                self.in_bad_state ^= self.random.chance(change);
                if self.in_bad_state { bad } else { good }
            }
        };
        self.random.chance(probability)
    }

    fn damaged(&mut self, index: usize, datagram: &[u8]) -> Vec<u8> {
        let mut datagram = datagram.to_vec();
        let spared = self.config.corrupt_from.min(datagram.len());
        if self.random.chance(self.config.corrupt) && spared < datagram.len() {
            let byte = spared + self.random.below((datagram.len() - spared) as u64) as usize;
            let flipped = 1 + self.random.below(255) as u8;
            datagram[byte] ^= flipped;
            self.log.corrupted.push(CorruptedByte {
                index,
                byte,
                flipped,
            });
        }
        if self.random.chance(self.config.truncate) && !datagram.is_empty() {
            let length = self.random.below(datagram.len() as u64) as usize;
            datagram.truncate(length);
            self.log.truncated.push((index, length));
        }
        datagram
    }

    fn forward(&mut self, now: Instant, index: usize, datagram: &[u8]) {
        let spread = u64::try_from(self.config.jitter.as_nanos()).unwrap_or(u64::MAX);
        let mut delay =
            self.config.delay + Duration::from_nanos(self.random.below(spread.saturating_add(1)));
        if self.random.chance(self.config.reorder) {
            delay += self.config.reorder_delay;
            self.log.reordered.push(index);
        }
        let mut at = now + delay;
        // A freeze may end within another.
        while let Some((_, until)) = self
            .frozen
            .iter()
            .find(|(from, until)| (*from..*until).contains(&at))
        {
            at = *until;
        }
        if at != now + delay {
            self.log.held_back.push(index);
        }
        self.put_on_the_way(at, index, datagram.to_vec());
    }

    fn put_on_the_way(&mut self, at: Instant, index: usize, datagram: Vec<u8>) {
        self.on_the_way.push(Reverse(OnTheWay {
            at,
            copy: self.copies,
            index,
            datagram,
        }));
        self.copies += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit;

    fn run(config: NetemConfig, seed: u64) -> (NetworkLog, Vec<(Duration, Vec<u8>)>) {
        let mut netem = NetworkEmulator::new(config, seed);
        for n in 0..200_u64 {
            let datagram = [n as u8, !n as u8, 7, 7];
            netem.send(testkit::origin() + Duration::from_millis(20 * n), &datagram);
        }
        let end = testkit::origin() + Duration::from_secs(60);
        let mut arrivals = Vec::new();
        while let Some((at, datagram)) = netem.poll(end) {
            arrivals.push((at - testkit::origin(), datagram));
        }
        (netem.log().clone(), arrivals)
    }

    const ROUGH: NetemConfig = NetemConfig {
        loss: LossModel::Bursts {
            enter: 0.05,
            leave: 0.3,
            good: 0.01,
            bad: 0.8,
        },
        delay: Duration::from_millis(30),
        jitter: Duration::from_millis(50),
        reorder: 0.1,
        reorder_delay: Duration::from_millis(40),
        duplicate: 0.1,
        stall: 0.01,
        stall_time: Duration::from_millis(300),
        corrupt: 0.05,
        corrupt_from: 0,
        truncate: 0.05,
    };

    #[test]
    fn a_perfect_network_changes_nothing() {
        let (log, arrivals) = run(NetemConfig::default(), 1);
        assert_eq!(log.delivered, (0..200).collect::<Vec<_>>());
        let sent: Vec<_> = (0..200)
            .map(|n| (Duration::from_millis(20 * n), vec![n as u8, !n as u8, 7, 7]))
            .collect();
        assert_eq!(arrivals, sent);
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(run(ROUGH, 3), run(ROUGH, 3));
        assert_ne!(run(ROUGH, 3), run(ROUGH, 4));
    }

    #[test]
    fn the_log_adds_up() {
        let (log, arrivals) = run(ROUGH, 5);
        let actions = [
            log.lost.len(),
            log.duplicated.len(),
            log.reordered.len(),
            log.stalls.len(),
            log.held_back.len(),
            log.corrupted.len(),
            log.truncated.len(),
        ];
        assert!(actions.iter().all(|count| *count > 0), "{actions:?}");
        assert_eq!(
            log.delivered.len(),
            log.sent - log.lost.len() + log.duplicated.len()
        );
        assert!(log.delivered.iter().all(|index| !log.lost.contains(index)));
        // With what the log says, every byte that arrived is explained.
        let explained = log.delivered.iter().map(|&index| {
            let mut datagram = vec![index as u8, !index as u8, 7, 7];
            for found in log.corrupted.iter().filter(|found| found.index == index) {
                datagram[found.byte] ^= found.flipped;
            }
            for (_, length) in log.truncated.iter().filter(|(found, _)| *found == index) {
                datagram.truncate(*length);
            }
            datagram
        });
        let (times, datagrams): (Vec<_>, Vec<_>) = arrivals.into_iter().unzip();
        assert!(explained.eq(datagrams));
        assert!(times.is_sorted());
        let logged = log.delivered_at.iter().map(|at| *at - testkit::origin());
        assert!(logged.eq(times));
        let intact = (0..log.sent).filter(|index| log.is_intact(*index)).count();
        assert!(intact > 100 && intact < 190, "{intact}");
        let first = log.delivered[0];
        assert_eq!(log.arrival(first), Some(log.delivered_at[0]));
        assert_eq!(log.arrival(log.lost[0]), None);
    }

    #[test]
    fn a_freeze_holds_everything_back_and_keeps_its_order() {
        let at = |ms| testkit::origin() + Duration::from_millis(ms);
        let mut netem = NetworkEmulator::new(NetemConfig::PERFECT, 1);
        netem.freeze(at(100), at(300));
        for n in 0..20 {
            assert_eq!(netem.send(at(20 * n), &[n as u8]), n as usize);
        }
        assert_eq!(netem.inject(at(150), b"stranger"), 20);
        let arrivals: Vec<_> = std::iter::from_fn(|| netem.poll(at(1_000))).collect();
        let ms: Vec<_> = arrivals
            .iter()
            .map(|(at, _)| (*at - testkit::origin()).as_millis())
            .collect();
        let frozen = [300; 11];
        assert_eq!(ms[..5], [0, 20, 40, 60, 80]);
        assert_eq!((ms[5], &ms[6..17], ms[17]), (150, &frozen[..], 320));
        let log = netem.log();
        assert_eq!(log.held_back, (5..15).collect::<Vec<_>>());
        assert_eq!(log.injected, [20]);
        assert!(log.delivered[6..].is_sorted());
    }

    #[test]
    fn nothing_comes_out_before_its_time() {
        let config = NetemConfig {
            delay: Duration::from_millis(30),
            ..NetemConfig::default()
        };
        let mut netem = NetworkEmulator::new(config, 1);
        netem.send(testkit::origin(), b"x");
        let due = testkit::origin() + Duration::from_millis(30);
        assert_eq!(netem.deadline(), Some(due));
        assert!(netem.poll(due - Duration::from_nanos(1)).is_none());
        assert_eq!(netem.poll(due), Some((due, b"x".to_vec())));
        assert_eq!(netem.deadline(), None);
    }
}
