//! Rows of a store that this version cannot read: written by a newer one that shares the store, by
//! the predecessor, or by hand. They must hide nothing else.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use asterscribe_call::{CallId, CallRecord};
use serde::de::DeserializeOwned;

use super::row;

/// Most unreadable rows that are told apart; further ones are left out without being logged or
/// counted again.
const MAX_KNOWN: usize = 4096;

/// Memory of the unreadable rows that have been logged.
#[derive(Debug, Default)]
pub(super) struct UnreadableLog {
    known: Mutex<HashSet<u64>>,
    hasher: RandomState,
}

impl UnreadableLog {
    /// The record of call `id`; `None` if it cannot be read, or is another call's.
    pub(super) fn record(&self, id: &str, json: &[u8]) -> Option<CallRecord> {
        match row::decode::<CallRecord>("record", id, json) {
            Ok(record) if record.call_id.as_str() == id => Some(record),
            Ok(record) => {
                let why = format!(
                    "record of call {id} as stored is that of {}",
                    record.call_id
                );
                self.tell(("record", id, &[]), &why);
                None
            }
            Err(error) => {
                // However often it is written anew.
                self.tell(("record", id, &[]), &error.to_string());
                None
            }
        }
    }

    /// An element of one of the call's lists.
    pub(super) fn item<T: DeserializeOwned>(
        &self,
        what: &str,
        call: &CallId,
        json: &[u8],
    ) -> Option<T> {
        let id = call.as_str();
        let read = row::decode(what, id, json);
        read.inspect_err(|error| self.tell((what, id, json), &error.to_string()))
            .ok()
    }

    /// Parses an id of an index; `None` if it is no call id.
    pub(super) fn id(&self, id: &[u8]) -> Option<CallId> {
        let parsed = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
        if parsed.is_none() {
            let shown: String = String::from_utf8_lossy(id).chars().take(80).collect();
            self.tell(("id", "", id), &format!("{shown:?} is no call id"));
        }
        parsed
    }

    pub(super) fn count(&self) -> u64 {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.len() as u64
    }

    fn tell(&self, of: (&str, &str, &[u8]), why: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MAX_KNOWN && known.insert(self.hasher.hash_one(of)) {
            tracing::warn!(why, "an unreadable entry of the store was skipped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asterscribe_call::TranscriptLine;

    #[test]
    fn each_is_counted_once_and_hides_nothing() {
        let left_out = UnreadableLog::default();
        let call: CallId = "1.2".parse().unwrap();
        for _ in 0..3 {
            assert_eq!(left_out.record("1.2", b"{"), None);
            assert_eq!(left_out.record("1.2", b"\xff"), None);
            assert_eq!(left_out.item::<TranscriptLine>("line", &call, b"{}"), None);
            assert_eq!(left_out.item::<TranscriptLine>("line", &call, b"[]"), None);
            assert_eq!(left_out.id(b"a:b"), None);
        }
        assert_eq!(left_out.count(), 4);
        assert_eq!(left_out.id(b"1.2"), Some(call));
    }

    #[test]
    fn a_record_under_another_calls_id_is_no_record() {
        let left_out = UnreadableLog::default();
        let json = br#"{"call_id": "1.2", "status": "ended", "origin": "media",
            "started_at": "2026-01-01T00:00:00Z", "legs": [], "lines": 0}"#;
        assert!(left_out.record("1.2", json).is_some());
        assert_eq!(left_out.record("3.4", json), None);
        assert_eq!(left_out.count(), 1);
    }
}
