//! Lines whose text is held back.

use super::*;
use crate::call::{Doubt, Suppressed};

#[test]
fn lines_are_counted_by_why_their_text_is_held_back() {
    let mut rig = Rig::new();
    let stint = rig.open("1.1", Past::New);
    let held = |reason| TranscriptLine {
        suppressed: Some(Suppressed {
            reason,
            evidence: String::new(),
            text: "[Music]".to_owned(),
        }),
        ..line(0)
    };
    for line in [
        line(0),
        held(Doubt::Annotation),
        held(Doubt::NoSpeech),
        held(Doubt::Annotation),
    ] {
        rig.book.line(&stint.media, line);
    }
    let counted: Vec<_> = rig
        .book
        .suppressed()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(counted, [(Doubt::Annotation, 2), (Doubt::NoSpeech, 1)]);
}
