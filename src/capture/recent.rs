//! Events of a moment ago: a call that is captured by rule is known to be one
//! only after the event that began it.

use std::collections::VecDeque;
use std::time::Instant;

use asterscribe_call::CallId;

/// So many events are kept …
const EVENTS: usize = 64;

/// … of at most so many bytes each; larger ones are missed.
const BYTES: usize = 16 << 10;

/// The events, oldest first.
#[derive(Debug, Default)]
pub(super) struct RecentEvents(VecDeque<(CallId, Instant, Box<str>)>);

impl RecentEvents {
    pub(super) fn keep(&mut self, call: &CallId, at: Instant, text: Box<str>) {
        if text.len() > BYTES {
            return;
        }
        if self.0.len() == EVENTS {
            self.0.pop_front();
        }
        self.0.push_back((call.clone(), at, text));
    }

    /// Takes those of a call.
    pub(super) fn of(&mut self, call: &CallId) -> Vec<(Instant, Box<str>)> {
        let (own, others) = std::mem::take(&mut self.0)
            .into_iter()
            .partition::<VecDeque<_>, _>(|(of, ..)| of == call);
        self.0 = others;
        own.into_iter().map(|(_, at, text)| (at, text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asterscribe_clock as clock;

    #[test]
    fn the_newest_few_are_kept_until_their_call_takes_them() {
        let (mut recent, now) = (RecentEvents::default(), clock::now());
        let ids: [CallId; 2] = ["a", "b"].map(|id| id.parse().unwrap());
        for n in 0..EVENTS + 2 {
            recent.keep(&ids[n % 2], now, n.to_string().into());
        }
        recent.keep(&ids[0], now, "x".repeat(BYTES + 1).into());
        let texts: Vec<_> = recent
            .of(&ids[0])
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        let expected: Vec<Box<str>> = (2..EVENTS + 2)
            .filter(|n| n % 2 == 0)
            .map(|n| n.to_string().into())
            .collect();
        assert_eq!(texts, expected);
        assert!(recent.of(&ids[0]).is_empty());
        assert_eq!(recent.of(&ids[1]).len(), EVENTS / 2);
    }
}
