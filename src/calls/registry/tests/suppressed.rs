//! Lines whose text is held back.

use asterscribe_call::{DoubtReason, SuppressedText};

use super::*;

#[test]
fn lines_are_counted_by_why_their_text_is_held_back() {
    let mut rig = Rig::new();
    let media_run = rig.open("1.1", CallPast::New);
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
        rig.registry.line(&media_run.media, line);
    }
    let counted: Vec<_> = rig
        .registry
        .suppressed()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(
        counted,
        [(DoubtReason::Annotation, 2), (DoubtReason::NoSpeech, 1)]
    );
}
