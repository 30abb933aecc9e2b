//! Where a list of calls goes on: a key that the stores have an index of, so that a page costs
//! what it shows and not what lies before it.

use std::fmt;
use std::str::FromStr;

use super::{CallId, CallRecord};

/// The place of a call among all: by the millisecond in which it began, then by its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallKey {
    /// When it began, milliseconds since 1970.
    pub started_ms: i64,
    /// The call.
    pub call: CallId,
}

impl CallKey {
    /// The place of that call.
    pub fn of(record: &CallRecord) -> Self {
        Self {
            started_ms: record.started_at.as_millisecond(),
            call: record.call_id.clone(),
        }
    }

    /// Keys newest first, each once: those of both lists that come first, up to `limit`.
    pub fn merge(one: Vec<Self>, other: Vec<Self>, limit: usize) -> Vec<Self> {
        let mut all = one;
        all.extend(other);
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.dedup();
        all.truncate(limit);
        all
    }
}

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not what `next` of a list was")]
pub struct InvalidKey;

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.started_ms, self.call)
    }
}

impl FromStr for CallKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let (started_ms, call) = text.split_once('_').ok_or(InvalidKey)?;
        let digits = started_ms.strip_prefix('-').unwrap_or(started_ms);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidKey);
        }
        Ok(Self {
            started_ms: started_ms.parse().map_err(|_| InvalidKey)?,
            call: call.parse().map_err(|_| InvalidKey)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(started_ms: i64, call: &str) -> CallKey {
        CallKey {
            started_ms,
            call: call.parse().unwrap(),
        }
    }

    #[test]
    fn a_key_is_its_text() {
        for key in [key(1_764_000_000_123, "pbx-1.2_3"), key(-1, "0")] {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        for bad in [
            "",
            "_",
            "1",
            "1_",
            "_a",
            "+1_a",
            "1 _a",
            "--1_a",
            "1_-a",
            "99999999999999999999_a",
        ] {
            assert_eq!(bad.parse::<CallKey>(), Err(InvalidKey), "{bad:?}");
        }
    }

    #[test]
    fn keys_are_merged_newest_first_and_once() {
        let here = vec![key(5, "a"), key(9, "z"), key(3, "c")];
        let stored = vec![key(9, "z"), key(5, "b"), key(1, "d")];
        let all = CallKey::merge(here, stored, 4);
        assert_eq!(all, [key(9, "z"), key(5, "b"), key(5, "a"), key(3, "c")]);
    }
}
