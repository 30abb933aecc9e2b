//! A network that loses, delays, reorders and duplicates by its seed, and says
//! exactly what it did. Sans-IO like the code it tests.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::testkit::random::Random;

/// What the network does to a datagram. Probabilities are 0.0 to 1.0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NetemConfig {
    /// Which are lost.
    pub loss: Loss,
    /// Time on the way that all need.
    pub delay: Duration,
    /// Up to so much more, evenly spread and each on its own: reorders once it
    /// exceeds the spacing of the datagrams.
    pub jitter: Duration,
    /// Probability that a datagram is held back by `reorder_delay`.
    pub reorder: f64,
    /// By how much.
    pub reorder_delay: Duration,
    /// Probability that a datagram arrives twice, each copy with its own delay.
    pub duplicate: f64,
}

/// How datagrams get lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// Not at all.
    None,
    /// Each with the same probability.
    Uniform(f64),
    /// In bursts (Gilbert-Elliott): two states with a loss probability each.
    Bursts {
        /// Probability, per datagram, to go from good to bad.
        enter: f64,
        /// Probability, per datagram, to go from bad to good.
        leave: f64,
        /// Loss in the good state.
        good: f64,
        /// Loss in the bad state.
        bad: f64,
    },
}

impl Default for NetemConfig {
    /// A perfect network.
    fn default() -> Self {
        Self {
            loss: Loss::None,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            reorder: 0.0,
            reorder_delay: Duration::ZERO,
            duplicate: 0.0,
        }
    }
}

/// What happened, in the order in which it happened. Datagrams are named by
/// their index: 0 for the first one sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// How many were sent.
    pub sent: usize,
    /// Those that were lost.
    pub lost: Vec<usize>,
    /// Those that were sent on twice.
    pub duplicated: Vec<usize>,
    /// Those that came out, a duplicated one twice.
    pub delivered: Vec<usize>,
}

/// The network.
#[derive(Debug)]
pub struct Netem {
    config: NetemConfig,
    random: Random,
    in_bad_state: bool,
    copies: u64,
    on_the_way: BinaryHeap<Reverse<OnTheWay>>,
    log: Log,
}

/// Ordered by arrival, then by the order of sending.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OnTheWay {
    at: Instant,
    copy: u64,
    index: usize,
    datagram: Vec<u8>,
}

impl Netem {
    /// A network whose behaviour depends on `seed` only.
    pub fn new(config: NetemConfig, seed: u64) -> Self {
        Self {
            config,
            random: Random::new(seed),
            in_bad_state: false,
            copies: 0,
            on_the_way: BinaryHeap::new(),
            log: Log::default(),
        }
    }

    /// Takes a datagram.
    pub fn send(&mut self, now: Instant, datagram: &[u8]) {
        let index = self.log.sent;
        self.log.sent += 1;
        if self.loses() {
            self.log.lost.push(index);
            return;
        }
        self.forward(now, index, datagram);
        if self.random.chance(self.config.duplicate) {
            self.log.duplicated.push(index);
            self.forward(now, index, datagram);
        }
    }

    /// The next datagram that has arrived by `now`, and when it did.
    pub fn poll(&mut self, now: Instant) -> Option<(Instant, Vec<u8>)> {
        if self.deadline()? > now {
            return None;
        }
        let Reverse(arrived) = self.on_the_way.pop()?;
        self.log.delivered.push(arrived.index);
        Some((arrived.at, arrived.datagram))
    }

    /// When the next datagram arrives; `None` while none is on the way.
    pub fn deadline(&self) -> Option<Instant> {
        self.on_the_way.peek().map(|Reverse(first)| first.at)
    }

    /// What happened so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    fn loses(&mut self) -> bool {
        let probability = match self.config.loss {
            Loss::None => return false,
            Loss::Uniform(probability) => probability,
            Loss::Bursts {
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

    fn forward(&mut self, now: Instant, index: usize, datagram: &[u8]) {
        let spread = u64::try_from(self.config.jitter.as_nanos()).unwrap_or(u64::MAX);
        let mut delay =
            self.config.delay + Duration::from_nanos(self.random.below(spread.saturating_add(1)));
        if self.random.chance(self.config.reorder) {
            delay += self.config.reorder_delay;
        }
        self.on_the_way.push(Reverse(OnTheWay {
            at: now + delay,
            copy: self.copies,
            index,
            datagram: datagram.to_vec(),
        }));
        self.copies += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit;

    fn run(config: NetemConfig, seed: u64) -> (Log, Vec<(Duration, u8)>) {
        let mut netem = Netem::new(config, seed);
        for n in 0..200_u64 {
            netem.send(
                testkit::origin() + Duration::from_millis(20 * n),
                &[n as u8],
            );
        }
        let end = testkit::origin() + Duration::from_secs(60);
        let mut arrivals = Vec::new();
        while let Some((at, datagram)) = netem.poll(end) {
            arrivals.push((at - testkit::origin(), datagram[0]));
        }
        (netem.log().clone(), arrivals)
    }

    const ROUGH: NetemConfig = NetemConfig {
        loss: Loss::Bursts {
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
    };

    #[test]
    fn a_perfect_network_changes_nothing() {
        let (log, arrivals) = run(NetemConfig::default(), 1);
        assert_eq!(log.delivered, (0..200).collect::<Vec<_>>());
        let sent: Vec<_> = (0..200)
            .map(|n| (Duration::from_millis(20 * n), n as u8))
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
        assert!(!log.lost.is_empty() && !log.duplicated.is_empty());
        assert_eq!(
            log.delivered.len(),
            log.sent - log.lost.len() + log.duplicated.len()
        );
        assert!(log.delivered.iter().all(|index| !log.lost.contains(index)));
        let datagrams: Vec<_> = arrivals
            .iter()
            .map(|(_, byte)| usize::from(*byte))
            .collect();
        assert_eq!(datagrams, log.delivered);
        assert!(arrivals.is_sorted_by_key(|(at, _)| *at));
    }

    #[test]
    fn nothing_comes_out_before_its_time() {
        let config = NetemConfig {
            delay: Duration::from_millis(30),
            ..NetemConfig::default()
        };
        let mut netem = Netem::new(config, 1);
        netem.send(testkit::origin(), b"x");
        let due = testkit::origin() + Duration::from_millis(30);
        assert_eq!(netem.deadline(), Some(due));
        assert!(netem.poll(due - Duration::from_nanos(1)).is_none());
        assert_eq!(netem.poll(due), Some((due, b"x".to_vec())));
        assert_eq!(netem.deadline(), None);
    }
}
