//! Lines whose text is held back.

use super::*;
use crate::call::{DoubtReason, SuppressedText};

#[test]
fn lines_are_counted_by_why_their_text_is_held_back() {
    let mut rig = Rig::new();
    let stint = rig.open("1.1", CallPast::New);
    let held = |reason| TranscriptLine {
        suppressed: Some(SuppressedText {
            reason,
            evidence: String::new(),
            text: "[Music]".to_owned(),
        }),
        ..line(0)
    };
    for line in [
        line(0),
        held(DoubtReason::Annotation),
        held(DoubtReason::NoSpeech),
        held(DoubtReason::Annotation),
    ] {
        rig.book.line(&stint.media, line);
    }
    let counted: Vec<_> = rig
        .book
        .suppressed()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(
        counted,
        [(DoubtReason::Annotation, 2), (DoubtReason::NoSpeech, 1)]
    );
}
