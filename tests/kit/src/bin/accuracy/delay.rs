//! Delay from speech to the text that can be read.

use std::collections::{BTreeMap, BTreeSet};

use asterscribe_testkit::{Error, Result};
use jiff::Timestamp;
use serde_json::Value;

/// Delays of a call's texts: milliseconds, ascending.
pub(crate) struct Delays {
    /// Delays from the end of an utterance's last word until its line can be read.
    pub(crate) lines: Vec<i64>,
    /// Delays from the beginning of an utterance's first word until a part of it can be read, where
    /// that was before the line.
    pub(crate) partials: Vec<i64>,
}

impl Delays {
    /// Delay that `percent` of a hundred do not exceed, milliseconds.
    pub(crate) fn within(sorted: &[i64], percent: usize) -> Option<i64> {
        let last = sorted.len().checked_sub(1)?;
        sorted
            .get((sorted.len() * percent / 100).min(last))
            .copied()
    }
}

/// An observer of a transcript that is polled: when each of its texts was first seen.
pub(crate) struct Watch {
    started_at: Timestamp,
    /// Numbers of the lines that were seen.
    lines: BTreeSet<u64>,
    /// Time at which a partial with words was first seen, by the start of its utterance.
    partials: BTreeMap<u64, i64>,
    delays: Vec<i64>,
    partial_delays: Vec<i64>,
}

impl Watch {
    /// An observer of a call with that status.
    ///
    /// # Errors
    /// The status has no `started_at`.
    pub(crate) fn new(status: &Value) -> Result<Self> {
        let started_at = status["started_at"]
            .as_str()
            .and_then(|text| text.parse().ok());
        let none = || Error::Failed(format!("a call without a start: {status}"));
        Ok(Self {
            started_at: started_at.ok_or_else(none)?,
            lines: BTreeSet::new(),
            partials: BTreeMap::new(),
            delays: Vec::new(),
            partial_delays: Vec::new(),
        })
    }

    /// Notes what a transcript holds at a moment.
    pub(crate) fn look(&mut self, transcript: &Value, now: Timestamp) {
        let now_ms = now.as_millisecond() - self.started_at.as_millisecond();
        let list = |name: &str| transcript[name].as_array().into_iter().flatten();
        for partial in list("partials") {
            let has_text = partial["text"]
                .as_str()
                .is_some_and(|text| !text.is_empty());
            if let Some(start) = partial["start_ms"].as_u64().filter(|_| has_text) {
                self.partials.entry(start).or_insert(now_ms);
            }
        }
        for line in list("lines") {
            let words = line["words"].as_array().map_or(&[][..], Vec::as_slice);
            let ([first, ..], [.., last], Some(seq)) = (words, words, line["seq"].as_u64()) else {
                continue;
            };
            let (Some(begins), Some(ends)) = (first["start_ms"].as_i64(), last["end_ms"].as_i64())
            else {
                continue;
            };
            if !self.lines.insert(seq) {
                continue;
            }
            self.delays.push(now_ms - ends);
            let partial = line["start_ms"].as_u64();
            let partial = partial.and_then(|start| self.partials.get(&start));
            self.partial_delays.extend(partial.map(|at| at - begins));
        }
    }

    /// Delays of all texts that were seen.
    pub(crate) fn delays(mut self) -> Delays {
        self.delays.sort_unstable();
        self.partial_delays.sort_unstable();
        Delays {
            lines: self.delays,
            partials: self.partial_delays,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_counts_when_it_is_first_seen() {
        let status = json!({ "started_at": "2026-01-01T00:00:00Z" });
        let mut watch = Watch::new(&status).unwrap();
        let at = |ms: i64| Timestamp::from_millisecond(1_767_225_600_000 + ms).unwrap();
        let partial = |text: &str| json!({ "partials": [{ "start_ms": 760, "text": text }] });
        watch.look(&partial(""), at(1_500));
        watch.look(&partial("hello"), at(1_800));
        watch.look(&partial("hello there"), at(2_300));
        let line = json!({ "lines": [
            { "seq": 0, "start_ms": 760, "words": [
                { "start_ms": 1_000, "end_ms": 1_400 }, { "start_ms": 1_400, "end_ms": 2_600 },
            ] },
            { "seq": 1, "start_ms": 9_000, "gap": "spooled" },
        ] });
        watch.look(&line, at(3_300));
        watch.look(&line, at(4_000));
        let delays = watch.delays();
        assert_eq!((delays.lines, delays.partials), (vec![700], vec![800]));
        assert!(Watch::new(&json!({})).is_err());
    }

    #[test]
    fn shares_of_few_are_those_of_the_last() {
        assert_eq!(Delays::within(&[1, 2, 3, 4], 50), Some(3));
        assert_eq!(Delays::within(&[1, 2, 3, 4], 95), Some(4));
        assert_eq!(Delays::within(&[7], 100), Some(7));
        assert_eq!(Delays::within(&[], 50), None);
    }
}
