//! Parts of an utterance: speech, and sounds that are not speech.

use asterscribe_call::SoundKind;

use super::FRAME;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    Quiet,
    Voice,
    Sound(SoundKind),
}

/// A part of an utterance, in samples from its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UtterancePart {
    pub(super) from: usize,
    pub(super) until: usize,
    /// Kind of sound; `None`: speech.
    pub(super) sound: Option<SoundKind>,
}

/// Rule by which an utterance is taken apart, in frames.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartRule {
    /// Least voice in a part of speech.
    pub(super) least_voice: usize,
    /// Frames that speech keeps before its first voice, and behind its last.
    pub(super) before: usize,
    pub(super) behind: usize,
}

/// Longest pause between two bursts of one sound, 0.5 s.
const PAUSE: usize = 31;

/// Frames of a tone that go to the speech beside it, because the border is not known more exactly.
const BLUR: usize = 2;

/// A run of frames that are one sound.
#[derive(Debug, Clone, Copy)]
struct SoundRun {
    from: usize,
    until: usize,
    kind: SoundKind,
}

/// The parts, in order, of an utterance of `length` samples, whose first whole frame begins at
/// `offset`.
pub(super) fn parts(
    frames: &[FrameKind],
    offset: usize,
    length: usize,
    rule: PartRule,
) -> Vec<UtterancePart> {
    let runs = runs(frames, rule.least_voice);
    let place = |frame: usize| (offset + frame * FRAME).min(length);
    let mut parts = Vec::new();
    let mut done = 0;
    let mut add = |from: usize, until: usize, sound| {
        let from = from.max(done);
        if from < until {
            parts.push(UtterancePart { from, until, sound });
            done = until;
        }
    };
    // What is before each sound and behind the last, and the sound.
    for n in 0..=runs.len() {
        let (before, next) = (n.checked_sub(1).map(|n| runs[n]), runs.get(n).copied());
        let gap = before.map_or(0, |run| run.until)..next.map_or(frames.len(), |run| run.from);
        let voices = || {
            gap.clone()
                .filter(|frame| frames[*frame] == FrameKind::Voice)
        };
        let speech = voices().next().zip(voices().next_back());
        let speech = speech.filter(|_| voices().count() >= rule.least_voice);
        let from = speech.map(|(first, _)| before.map_or(0, |run| run.left_at(first, rule)));
        if let Some(run) = before {
            let until = from.map_or(run.until, |from| from.min(run.until));
            add(place(run.from), place(until), Some(run.kind));
        }
        if let (Some(from), Some((_, last))) = (from, speech) {
            let until = next.map_or(length, |run| place(run.reached_from(last, rule)));
            let from = if before.is_some() { place(from) } else { 0 };
            add(from, until, None);
        }
    }
    parts
}

impl SoundRun {
    /// Frame at which speech begins behind this sound, if its first voice is at `first`.
    fn left_at(self, first: usize, rule: PartRule) -> usize {
        let least = self
            .until
            .saturating_sub(self.reach(rule.before))
            .max(self.from);
        first.saturating_sub(rule.before).max(least)
    }

    /// Frame at which speech ends before this sound, if its last voice is at `last`.
    fn reached_from(self, last: usize, rule: PartRule) -> usize {
        let most = (self.from + self.reach(rule.behind)).min(self.until);
        (last + 1 + rule.behind).min(most)
    }

    /// Frames of the sound that go to the speech beside it: of music all that speech keeps, since
    /// nothing is as certain there.
    fn reach(self, roll: usize) -> usize {
        match self.kind {
            SoundKind::Music => roll,
            _ => BLUR.min(roll),
        }
    }
}

/// Runs of sound; bursts of one kind without speech between them are one run.
fn runs(frames: &[FrameKind], least_voice: usize) -> Vec<SoundRun> {
    let mut runs: Vec<SoundRun> = Vec::new();
    for (place, frame) in frames.iter().enumerate() {
        let FrameKind::Sound(kind) = *frame else {
            continue;
        };
        match runs.last_mut() {
            Some(last)
                if last.kind == kind && last.until + PAUSE >= place && {
                    let between = &frames[last.until..place];
                    between.iter().filter(|f| **f == FrameKind::Voice).count() < least_voice
                } =>
            {
                last.until = place + 1;
            }
            _ => runs.push(SoundRun {
                from: place,
                until: place + 1,
                kind,
            }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULE: PartRule = PartRule {
        least_voice: 5,
        before: 15,
        behind: 18,
    };

    /// Frames by letter: `q`uiet, `v`oice, `r`ingback, `m`usic.
    fn frames(text: &str) -> Vec<FrameKind> {
        let frame = |c| match c {
            'q' => FrameKind::Quiet,
            'v' => FrameKind::Voice,
            'r' => FrameKind::Sound(SoundKind::Ringback),
            _ => FrameKind::Sound(SoundKind::Music),
        };
        text.chars().map(frame).collect()
    }

    fn shown(text: &str) -> Vec<(usize, usize, Option<SoundKind>)> {
        let frames = frames(text);
        let parts = parts(&frames, 0, frames.len() * FRAME, RULE);
        parts
            .iter()
            .map(|part| (part.from / FRAME, part.until / FRAME, part.sound))
            .collect()
    }

    #[test]
    fn speech_is_cut_out_of_what_is_around_it() {
        assert_eq!(shown("qqvvvvvqq"), [(0, 9, None)]);
        assert_eq!(shown("qqvvvvqq"), []);
        let rings = Some(SoundKind::Ringback);
        assert_eq!(shown("qvrrrrrrvvqqrrrrq"), [(2, 16, rings)]);
        assert_eq!(shown("qqrrrrrrvvvvvvqq"), [(2, 6, rings), (6, 16, None)]);
        let plays = Some(SoundKind::Music);
        assert_eq!(
            shown("vvvvvvmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmvvvvvvqq"),
            [(0, 24, None), (24, 30, plays), (30, 53, None)]
        );
    }

    fn any_frame() -> impl Strategy<Value = Vec<FrameKind>> {
        let kind = prop_oneof![
            Just(FrameKind::Quiet),
            Just(FrameKind::Voice),
            Just(FrameKind::Sound(SoundKind::Dtmf)),
            Just(FrameKind::Sound(SoundKind::Music)),
        ];
        (kind, 1..40usize).prop_map(|(frame, count)| vec![frame; count])
    }

    proptest! {
        #[test]
        fn parts_are_in_order_and_hold_every_voice_that_is_long_enough(
            runs in prop::collection::vec(any_frame(), 1..12),
            offset in 0..FRAME,
            short in 0..2_000usize,
            before in 0..40usize,
            behind in 0..40usize,
        ) {
            let frames = runs.concat();
            let whole = offset + frames.len() * FRAME;
            let length = whole.saturating_sub(short).max(1);
            let rule = PartRule { before, behind, ..RULE };
            let parts = parts(&frames, offset, length, rule);
            for part in &parts {
                prop_assert!(part.from < part.until && part.until <= length);
            }
            for pair in parts.windows(2) {
                prop_assert!(pair[0].until <= pair[1].from, "{parts:?}");
            }
            // Each unbroken stretch of voice, as far as it is within the length.
            let mut place = 0;
            for same in frames.chunk_by(|a, b| a == b) {
                let (from, until) = (offset + place * FRAME, offset + (place + same.len()) * FRAME);
                place += same.len();
                if same[0] == FrameKind::Voice && same.len() >= rule.least_voice {
                    let is_held = |part: &UtterancePart| {
                        part.sound.is_none() && part.from <= from && until.min(length) <= part.until
                    };
                    prop_assert!(from >= length || parts.iter().any(is_held), "{from}: {parts:?}");
                }
            }
        }
    }
}
