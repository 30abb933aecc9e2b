//! Counters of events that come so often that not each of them may be a line of the log.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Time between two lines of the log.
const PACE: Duration = Duration::from_secs(1);

/// Counts by kind since the start; the first of a series is logged at once by whoever counts it, what
/// follows together once a second.
#[derive(Debug)]
pub(super) struct RefusalTally {
    what: &'static str,
    names: Vec<&'static str>,
    counts: Vec<AtomicU64>,
    /// Counts by kind since the last line of the log; `None` while no series lasts.
    series: Mutex<Option<Vec<u64>>>,
}

impl RefusalTally {
    /// A tally whose lines of the log say `what`, with a counter for each of the `names`.
    pub(super) fn new(what: &'static str, names: impl Iterator<Item = &'static str>) -> Arc<Self> {
        let names: Vec<_> = names.collect();
        let counts = names.iter().map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self {
            what,
            names,
            counts,
            series: Mutex::default(),
        })
    }

    /// Counts one; `true` if it is the first of a series, which the caller logs in its own words.
    #[must_use]
    pub(super) fn count(self: &Arc<Self>, kind: usize) -> bool {
        let Some(count) = self.counts.get(kind) else {
            return true;
        };
        count.fetch_add(1, Ordering::Relaxed);
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(untold) = series.as_mut() {
            untold[kind] += 1;
            return false;
        }
        *series = Some(vec![0; self.names.len()]);
        drop(series);
        let tally = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PACE).await;
                let Some(told) = tally.take() else { return };
                tracing::info!(kinds = told.kinds, count = told.count, "{}", tally.what);
            }
        });
        true
    }

    /// Takes the counts since the last line of the log. `None` if nothing has come: the series is
    /// over.
    fn take(&self) -> Option<TallyLine> {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let untold = series.take()?;
        let count = untold.iter().sum();
        if count == 0 {
            return None;
        }
        *series = Some(vec![0; untold.len()]);
        let mut kinds = String::new();
        for (name, count) in self
            .names
            .iter()
            .zip(untold)
            .filter(|(_, count)| *count > 0)
        {
            let comma = if kinds.is_empty() { "" } else { ", " };
            write!(kinds, "{comma}{name} {count}").expect("a String takes everything");
        }
        Some(TallyLine { kinds, count })
    }

    /// Counts since the start, by name.
    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        self.names.iter().copied().zip(counts).collect()
    }
}

/// One line of the log: the kinds with their counts, and the sum.
#[derive(Debug, PartialEq, Eq)]
struct TallyLine {
    kinds: String,
    count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_of_a_series_is_told_alone_and_the_rest_together() {
        let tally = RefusalTally::new("refused", ["a", "b", "c"].into_iter());
        assert!(tally.count(1));
        for kind in [1, 1, 2, 1] {
            assert!(!tally.count(kind));
        }
        let told = TallyLine {
            kinds: "b 3, c 1".to_owned(),
            count: 4,
        };
        assert_eq!(tally.take(), Some(told));
        // The series goes on for as long as something comes …
        assert!(!tally.count(0));
        assert_eq!(tally.take().map(|told| told.count), Some(1));
        // … and the next one begins with a line of its own.
        assert_eq!(tally.take(), None);
        assert!(tally.count(0));
        assert_eq!(tally.counts(), [("a", 2), ("b", 4), ("c", 1)]);
    }
}
