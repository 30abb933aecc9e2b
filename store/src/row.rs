//! Encoding of the types of `call` as both engines keep them: an id, a number to sort by, and JSON.

use asterscribe_call::{Leg, TranscriptLine};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{StoreError, StoreWrite};

/// A write, checked and encoded for the engines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StoreRow {
    /// A record.
    Call {
        id: String,
        open: bool,
        started_ms: i64,
        json: String,
        /// Whether an open record of another node stands before it.
        yields: bool,
    },
    /// An element of one of the call's lists, at `position`.
    Item {
        id: String,
        list: CallList,
        position: i64,
        json: String,
        /// Whether the element takes the place of the one that is there.
        revises: bool,
    },
    /// All digits of a call, of which some may not be there.
    Digits { id: String, all: Vec<String> },
    /// Removal of everything of a call.
    Erase { id: String },
}

impl StoreRow {
    /// Call that the row is of.
    pub(super) fn call_id(&self) -> &str {
        match self {
            Self::Call { id, .. }
            | Self::Item { id, .. }
            | Self::Digits { id, .. }
            | Self::Erase { id } => id,
        }
    }
}

/// The lists of a call; the name is the last part of the Redis key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallList {
    Transcript,
    Dtmf,
}

impl CallList {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Transcript => "transcript",
            Self::Dtmf => "dtmf",
        }
    }
}

/// Encodes the writes, or says which of them no store can take.
pub(super) fn encode(writes: &[StoreWrite]) -> Result<Vec<StoreRow>, StoreError> {
    writes.iter().map(row).collect()
}

fn row(write: &StoreWrite) -> Result<StoreRow, StoreError> {
    let id = write.call_id().as_str().to_owned();
    match write {
        StoreWrite::Call(record) | StoreWrite::GivenUp(record) => Ok(StoreRow::Call {
            yields: matches!(write, StoreWrite::GivenUp(_)),
            open: record.status.is_open(),
            started_ms: record.started_at.as_millisecond(),
            json: json("record", &id, record)?,
            id,
        }),
        StoreWrite::Line { line, .. } | StoreWrite::Revise { line, .. } => {
            // JSON has no NaN: it would be written as null and then make the
            // whole transcript unreadable.
            if !line.confidence.is_finite() {
                return Err(StoreError::Broken(format!(
                    "line {} of call {id}: a confidence of {} cannot be stored",
                    line.seq, line.confidence
                )));
            }
            let json = json("line", &id, line)?;
            Ok(StoreRow::Item {
                list: CallList::Transcript,
                position: position(&id, line.seq)?,
                json,
                revises: matches!(write, StoreWrite::Revise { .. }),
                id,
            })
        }
        StoreWrite::Dtmf { index, digit, .. } => {
            let json = json("digit", &id, digit)?;
            Ok(StoreRow::Item {
                list: CallList::Dtmf,
                position: position(&id, *index)?,
                json,
                revises: false,
                id,
            })
        }
        StoreWrite::Digits { digits, .. } => {
            let all = digits.iter().map(|digit| json("digit", &id, digit));
            Ok(StoreRow::Digits {
                all: all.collect::<Result<_, _>>()?,
                id,
            })
        }
        StoreWrite::Erase(_) => Ok(StoreRow::Erase { id }),
    }
}

/// The largest number that every engine on the way (Lua's doubles) holds exactly.
pub(super) const MAX_POSITION: u64 = 1 << 53;

fn position(id: &str, position: u64) -> Result<i64, StoreError> {
    i64::try_from(position)
        .ok()
        .filter(|_| position < MAX_POSITION)
        .ok_or_else(|| StoreError::Broken(format!("call {id}: {position} is no place in a list")))
}

fn json<T: Serialize>(what: &str, id: &str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|e| StoreError::Broken(format!("{what} of call {id}: {e}")))
}

/// Decodes what a store returned about call `id`.
pub(super) fn decode<T: DeserializeOwned>(
    what: &str,
    id: &str,
    json: &[u8],
) -> Result<T, StoreError> {
    serde_json::from_slice(json).map_err(|e| {
        StoreError::Broken(format!(
            "{what} of call {id} as stored is not readable: {e}"
        ))
    })
}

/// The node of a stored record; `None` where it cannot be read.
pub(super) fn node_of(json: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Owner {
        node: String,
    }
    serde_json::from_slice::<Owner>(json)
        .ok()
        .map(|owner| owner.node)
}

/// The utterance that a stored line is of, whatever it says by now; `None` where it cannot be read.
pub(super) fn utterance_of(json: &[u8]) -> Option<(Leg, u64, u64)> {
    #[derive(Deserialize)]
    struct Utterance {
        leg: Leg,
        start_ms: u64,
        end_ms: u64,
    }
    let utterance = serde_json::from_slice::<Utterance>(json).ok()?;
    Some((utterance.leg, utterance.start_ms, utterance.end_ms))
}

/// A stored line under another number; `None` where it cannot be read.
pub(super) fn renumbered(json: &str, number: i64) -> Option<String> {
    let line = serde_json::from_str::<TranscriptLine>(json).ok()?;
    let seq = u64::try_from(number).ok()?;
    serde_json::to_string(&TranscriptLine { seq, ..line }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use asterscribe_call::CallId;

    fn line(seq: u64, confidence: f32) -> StoreWrite {
        let line = TranscriptLine {
            end_ms: 10,
            text: "hello".into(),
            confidence,
            language: "en".into(),
            ..TranscriptLine::new(seq, Leg::caller())
        };
        StoreWrite::Line {
            call: "1.2".parse().unwrap(),
            line,
        }
    }

    #[test]
    fn what_could_not_be_read_back_is_refused_on_the_way_in() {
        for bad in [
            line(0, f32::NAN),
            line(0, f32::INFINITY),
            line(u64::MAX, 1.0),
            line(MAX_POSITION, 1.0),
        ] {
            let error = encode(std::slice::from_ref(&bad)).unwrap_err();
            assert!(
                matches!(error, StoreError::Broken(ref text) if text.contains("1.2")),
                "{error:?}"
            );
        }
        assert_eq!(encode(&[line(3, 0.5)]).unwrap().len(), 1);
    }

    #[test]
    fn unreadable_json_names_the_call() {
        let error = decode::<CallId>("record", "7.1", b"{").unwrap_err();
        assert!(
            matches!(error, StoreError::Broken(ref text) if text.contains("record of call 7.1"))
        );
    }
}
