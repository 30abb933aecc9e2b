//! How much each client may ask: the one home of `governor`.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use asterscribe_clock as clock;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use crate::config::RateLimits;

/// The client that a rate is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum RateKey {
    /// Whoever has the token.
    Token,
    /// Whoever asks from there.
    Address(IpAddr),
}

/// Addresses that are told apart; beyond it newcomers count together.
const MOST_ADDRESSES: usize = 1 << 16;

/// Newcomers, while there is no room, between two looks for those who have been quiet for long.
const BETWEEN_SWEEPS: usize = 1 << 10;

/// The time as the program reads it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClockReading;

impl Clock for ClockReading {
    type Instant = Instant;

    fn now(&self) -> Instant {
        clock::now()
    }
}

/// The rates of all clients.
pub(super) struct RequestRates<C: Clock = ClockReading> {
    clock: C,
    known: KeyedLimiter<RateKey, C>,
    strangers: KeyedLimiter<IpAddr, C>,
    wrong_tokens: KeyedLimiter<IpAddr, C>,
}

type KeyedLimiter<K, C> = RateLimiter<K, BoundedRates<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

impl<C: Clock + Clone> RequestRates<C> {
    pub(super) fn new(limits: &RateLimits, clock: C) -> Self {
        let per_second = Quota::per_second;
        Self {
            known: limiter(per_second(limits.per_token), &clock),
            strangers: limiter(per_second(limits.per_stranger), &clock),
            wrong_tokens: limiter(Quota::per_minute(limits.wrong_tokens), &clock),
            clock,
        }
    }

    /// Counts a request of a client that has shown the token, or that needs none.
    ///
    /// # Errors
    /// The rate is exceeded; the error is the time to wait.
    pub(super) fn known(&self, client: RateKey) -> Result<(), Duration> {
        let known = self.known.check_key(&client);
        known.map_err(|not| not.wait_time_from(self.clock.now()))
    }

    /// Counts a request of a client of which nothing is known but its address.
    ///
    /// # Errors
    /// The rate is exceeded; the error is the time to wait.
    pub(super) fn stranger(&self, address: IpAddr) -> Result<(), Duration> {
        let strangers = self.strangers.check_key(&address);
        strangers.map_err(|not| not.wait_time_from(self.clock.now()))
    }

    /// Counts a request with a wrong token.
    ///
    /// # Errors
    /// The rate is exceeded; the error is the time to wait.
    pub(super) fn wrong_token(&self, address: IpAddr) -> Result<(), Duration> {
        let wrong = self.wrong_tokens.check_key(&address);
        wrong.map_err(|not| not.wait_time_from(self.clock.now()))
    }
}

fn limiter<K: Hash + Eq + Copy, C: Clock + Clone>(quota: Quota, clock: &C) -> KeyedLimiter<K, C> {
    let slots = BoundedRates::new(MOST_ADDRESSES, quota.replenish_interval());
    RateLimiter::new(quota, slots, clock.clone())
}

/// Theoretical arrival times (GCRA) by key, for at most `most` keys; all others share one.
#[derive(Debug)]
struct BoundedRates<K> {
    most: usize,
    /// Time that one request takes of the rate: the inverse of requests per second or minute.
    weight: Duration,
    slots: Mutex<RateSlots<K>>,
}

#[derive(Debug)]
struct RateSlots<K> {
    of: HashMap<K, Nanos>,
    /// Arrival time that all keys share for which there was no room.
    rest: Option<Nanos>,
    until_sweep: usize,
}

impl<K> BoundedRates<K> {
    fn new(most: usize, weight: Duration) -> Self {
        let slots = RateSlots {
            of: HashMap::new(),
            rest: None,
            until_sweep: 0,
        };
        Self {
            most,
            weight,
            slots: Mutex::new(slots),
        }
    }
}

impl<K: Hash + Eq + Copy> StateStore for BoundedRates<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let RateSlots {
            of,
            rest,
            until_sweep,
        } = &mut *slots;
        if let Some(known) = of.get_mut(key) {
            let (outcome, next) = measure(Some(*known))?;
            *known = next;
            return Ok(outcome);
        }
        if of.len() >= self.most {
            if *until_sweep == 0 {
                // Whoever has been quiet for long enough is as good as new, and as good as forgotten.
                if let Ok((_, as_new)) = measure(None) {
                    let now = Duration::from(as_new).saturating_sub(self.weight);
                    of.retain(|_, slot| Duration::from(*slot) > now);
                }
                *until_sweep = BETWEEN_SWEEPS;
            } else {
                *until_sweep -= 1;
            }
        }
        if of.len() >= self.most {
            let (outcome, next) = measure(*rest)?;
            *rest = Some(next);
            return Ok(outcome);
        }
        let (outcome, next) = measure(None)?;
        of.insert(*key, next);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use std::num::NonZeroU32;

    fn some(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).unwrap()
    }

    fn rates(limits: RateLimits) -> (RequestRates<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (RequestRates::new(&limits, clock.clone()), clock)
    }

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(n).into()
    }

    #[test]
    fn what_is_let_through_over_a_minute_is_what_was_set() {
        let limits = RateLimits {
            per_stranger: some(10),
            ..RateLimits::default()
        };
        let (rates, clock) = rates(limits);
        // 100 a second, for a minute: the first second's worth at once, then 10 a second.
        let mut let_through = 0;
        for _ in 0..6000 {
            let_through += u32::from(rates.stranger(address(1)).is_ok());
            clock.advance(Duration::from_millis(10));
        }
        assert!((600..=615).contains(&let_through), "{let_through}");
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_back_and_is_let_in_then() {
        let limits = RateLimits {
            per_token: some(2),
            wrong_tokens: some(3),
            ..RateLimits::default()
        };
        let (rates, clock) = rates(limits);
        for _ in 0..3 {
            assert_eq!(rates.wrong_token(address(1)), Ok(()));
        }
        let wait = rates.wrong_token(address(1)).unwrap_err();
        assert_eq!(wait, Duration::from_secs(20));
        assert_eq!(
            rates.wrong_token(address(2)),
            Ok(()),
            "another's are its own"
        );
        assert_eq!(rates.known(RateKey::Token), Ok(()), "and so is the token");
        clock.advance(wait);
        assert_eq!(rates.wrong_token(address(1)), Ok(()));
        assert_eq!(rates.known(RateKey::Token), Ok(()));
        assert_eq!(rates.known(RateKey::Token), Ok(()));
        assert!(rates.known(RateKey::Token).is_err());
        assert_eq!(rates.known(RateKey::Address(address(1))), Ok(()));
    }

    #[test]
    fn a_million_addresses_take_bounded_memory_and_share_what_is_left() {
        let limits = RateLimits {
            per_stranger: some(1),
            ..RateLimits::default()
        };
        let (rates, clock) = rates(limits);
        let mut let_through = 0;
        for n in 0..1_000_000 {
            let_through += usize::from(rates.stranger(address(n)).is_ok());
        }
        assert_eq!(let_through, MOST_ADDRESSES + 1);
        // Those who have been quiet for long make room again.
        clock.advance(Duration::from_secs(2));
        let mut let_through = 0;
        for n in 1_000_000..1_010_000 {
            let_through += usize::from(rates.stranger(address(n)).is_ok());
        }
        assert!(let_through > 10_000 - 2 * BETWEEN_SWEEPS, "{let_through}");
    }
}
