//! Mark of a leg in a capture of this program, in the comment of its pcapng interface: it names the
//! call and its clock, so that a replay is the call again.

use asterscribe_call::{CallId, Leg};
use serde::{Deserialize, Serialize};

/// Mark of one leg, as a JSON object; fields may be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegMark {
    /// Version of the mark, 1; an interface with another one is read like any other capture.
    pub asterscribe: u32,
    /// Call that the leg belongs to.
    pub call: CallId,
    /// Label of the leg.
    pub leg: Leg,
    /// Zero of the call's clock, nanoseconds since the Unix epoch.
    pub zero_ns: u64,
}

impl LegMark {
    /// The mark of a leg.
    pub fn new(call: CallId, leg: Leg, zero_ns: u64) -> Self {
        Self {
            asterscribe: 1,
            call,
            leg,
            zero_ns,
        }
    }

    /// Reads a comment; `None` if it is no mark.
    pub fn parse(comment: &str) -> Option<Self> {
        let mark: Self = serde_json::from_str(comment).ok()?;
        (mark.asterscribe == 1).then_some(mark)
    }

    /// The mark as the text of a comment.
    pub fn to_comment(&self) -> String {
        serde_json::to_string(self).expect("text and numbers")
    }
}

/// Completeness of a capture, in the comment of an interface's statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureCompleteness {
    /// Packets that could not be recorded.
    pub lost: u64,
    /// Older packets that were removed to keep to the capture's size limit.
    pub rolled_off: u64,
}

impl CaptureCompleteness {
    /// Reads a comment; `None` if it says something else.
    pub fn parse(comment: &str) -> Option<Self> {
        serde_json::from_str(comment).ok()
    }

    /// The figures as the text of a comment.
    pub fn to_comment(self) -> String {
        serde_json::to_string(&self).expect("numbers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_nothing_else_is_one() {
        let mark = LegMark::new("em-1".parse().unwrap(), Leg::caller(), u64::MAX);
        assert_eq!(LegMark::parse(&mark.to_comment()), Some(mark.clone()));
        for other in [
            "",
            "a remark",
            "{}",
            r#"{"asterscribe":2,"call":"em-1","leg":"caller","zero_ns":1}"#,
            r#"{"asterscribe":1,"call":"../x","leg":"caller","zero_ns":1}"#,
            r#"{"asterscribe":1,"call":"em-1","leg":"a b","zero_ns":1}"#,
            r#"{"asterscribe":1,"call":"em-1","leg":"caller","zero_ns":-1}"#,
        ] {
            assert_eq!(LegMark::parse(other), None, "{other}");
        }
        let later = r#"{"asterscribe":1,"call":"em-1","leg":"caller","zero_ns":18446744073709551615,"more":[]}"#;
        assert_eq!(LegMark::parse(later), Some(mark));
    }
}
