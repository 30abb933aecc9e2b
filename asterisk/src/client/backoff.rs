//! Pauses between attempts.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Half a second, doubling to half a minute; up to a fifth is added so that several
/// servers do not come at once.
#[derive(Debug)]
pub(super) struct ReconnectBackoff {
    next: Duration,
    random: RandomState,
    draws: u64,
}

impl ReconnectBackoff {
    pub(super) fn new() -> Self {
        Self {
            next: FIRST,
            random: RandomState::new(),
            draws: 0,
        }
    }

    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        self.jittered(pause)
    }

    /// The longest pause, for what will not mend soon.
    pub(super) fn long_pause(&mut self) -> Duration {
        self.next = LONGEST;
        self.jittered(LONGEST)
    }

    /// All was well for a while.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    fn jittered(&mut self, pause: Duration) -> Duration {
        self.draws += 1;
        let part = u32::try_from(self.random.hash_one(self.draws) % 200).expect("less than 200");
        pause + pause * part / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let mut backoff = ReconnectBackoff::new();
        let mut expected = FIRST;
        for _ in 0..12 {
            let pause = backoff.pause();
            assert!(
                pause >= expected && pause <= expected * 6 / 5,
                "{pause:?} for {expected:?}"
            );
            expected = (expected * 2).min(LONGEST);
        }
        backoff.reset();
        assert!(backoff.pause() < Duration::from_secs(1));
        assert!(backoff.long_pause() >= LONGEST);
        assert!(backoff.pause() >= LONGEST);
    }
}
