//! Recent troubles of the spool: counters since the start say what happened, not how things are
//! now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use asterscribe_store::SpoolStats;

/// Age at which a trouble counts as over.
const LATELY: Duration = Duration::from_secs(60);

/// Recent troubles of one pass, as `/health` has seen them.
#[derive(Debug, Default)]
pub(in crate::calls) struct RecentTroubles {
    refused: GrowingCount,
    outlived: GrowingCount,
}

/// A counter that only grows.
#[derive(Debug, Default)]
struct GrowingCount {
    seen: u64,
    /// Time at which the counter was seen to have grown, and the number of utterances kept by then.
    grew: Option<(Instant, u64)>,
}

impl GrowingCount {
    fn look(&mut self, count: u64, kept: u64, now: Instant) {
        if count > self.seen {
            self.seen = count;
            self.grew = Some((now, kept));
        }
    }

    fn is_recent(&self, now: Instant) -> bool {
        let grew = self.grew.map(|(at, _)| at);
        grew.is_some_and(|at| now.saturating_duration_since(at) < LATELY)
    }

    /// Whether an utterance has been kept since the counter grew.
    fn is_mended(&self, kept: u64) -> bool {
        self.grew.is_some_and(|(_, then)| kept > then)
    }
}

impl RecentTroubles {
    /// Troubles since the start, in words, and whether any of them still lasts.
    pub(in crate::calls) fn look(
        &mut self,
        stats: &SpoolStats,
        now: Instant,
    ) -> (Vec<String>, bool) {
        let figure = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let (refused, unreadable) = (figure(&stats.refused), figure(&stats.unreadable));
        let (outlived, kept) = (figure(&stats.outlived), figure(&stats.kept));
        self.refused.look(refused, kept, now);
        self.outlived.look(outlived, kept, now);
        let still = self.refused.is_recent(now) && !self.refused.is_mended(kept)
            || self.outlived.is_recent(now)
            || unreadable > 0;
        let told = [
            (refused, "could not be kept"),
            (
                unreadable,
                "cannot be read: SPOOL_KEY is another, or they are damaged",
            ),
            (outlived, "were given up for their age"),
        ];
        let told = told.into_iter().filter(|(count, _)| *count > 0);
        let told = told
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        (told, still)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_told_and_is_no_trouble_any_more() {
        let (mut troubles, stats) = (RecentTroubles::default(), SpoolStats::default());
        let start = asterscribe_clock::now();
        let at = |secs| start + Duration::from_secs(secs);
        assert_eq!(troubles.look(&stats, at(0)), (vec![], false));
        // The disk was full, and nothing has been kept since.
        stats.refused.store(2, Ordering::Relaxed);
        let told = vec!["2 could not be kept".to_owned()];
        assert_eq!(troubles.look(&stats, at(1)), (told.clone(), true));
        assert_eq!(troubles.look(&stats, at(60)), (told.clone(), true));
        assert_eq!(troubles.look(&stats, at(61)), (told, false));
        // Once more, and then it takes something again.
        stats.refused.store(3, Ordering::Relaxed);
        assert!(troubles.look(&stats, at(70)).1);
        stats.kept.store(1, Ordering::Relaxed);
        assert!(!troubles.look(&stats, at(71)).1);
        stats.outlived.store(1, Ordering::Relaxed);
        assert!(troubles.look(&stats, at(80)).1);
        assert!(!troubles.look(&stats, at(140)).1);
        // What lies there and cannot be read is a trouble for as long as it does.
        stats.unreadable.store(1, Ordering::Relaxed);
        assert!(troubles.look(&stats, at(900)).1);
        stats.unreadable.store(0, Ordering::Relaxed);
        assert!(!troubles.look(&stats, at(901)).1);
    }
}
