//! The utterance that is open: what is in its frames.

use super::ONSET_WINDOW;
use super::part::FrameKind;
use crate::detector::FRAME;
use crate::sound::{SoundMark, UtteranceSounds};

/// An open utterance.
#[derive(Debug)]
pub(super) struct OpenUtterance {
    /// Frames since the last voiced one.
    pub(super) quiet_frames: usize,
    /// Whether there was something to hear in the last frame.
    pub(super) is_heard: bool,
    /// The whole frames in `held`.
    pub(super) frames: Vec<FrameKind>,
    /// Frames of the utterance that are held no longer, having been cut off.
    pub(super) gone: u64,
    /// Of `frames`, those up to the last that is another sound.
    pub(super) sound: usize,
    pub(super) sounds: Option<UtteranceSounds>,
}

impl OpenUtterance {
    /// Takes the next frame.
    pub(super) fn take(
        &mut self,
        frame: &[i16; FRAME],
        score: f32,
        leave_score: f32,
        is_audible: bool,
    ) {
        // A steady tone is soon no louder than the line, but there all the same.
        let is_heard = is_audible || self.sounds.as_ref().is_some_and(UtteranceSounds::lasts);
        self.push(frame, score, is_heard && score >= leave_score, is_heard);
    }

    pub(super) fn push(
        &mut self,
        frame: &[i16; FRAME],
        score: f32,
        is_voiced: bool,
        is_heard: bool,
    ) {
        self.quiet_frames = if is_voiced { 0 } else { self.quiet_frames + 1 };
        self.is_heard = is_heard;
        self.frames.push(if is_voiced {
            FrameKind::Voice
        } else {
            FrameKind::Quiet
        });
        let Self {
            frames,
            gone,
            sound,
            sounds,
            ..
        } = self;
        let Some(sounds) = sounds else { return };
        sounds.frame(frame, score, is_heard, |SoundMark { from, until, kind }| {
            let place = |number: u64| {
                let place = usize::try_from(number.saturating_sub(*gone));
                place.map_or(frames.len(), |place| place.min(frames.len()))
            };
            let (from, until) = (place(from), place(until));
            frames[from..until].fill(FrameKind::Sound(kind));
            *sound = (*sound).max(until);
        });
    }

    /// Whether its end may be within a word. The detector does not hear every consonant that one
    /// begins with, so a pause is what is silent, too, where silence is looked for.
    pub(super) fn is_in_word(&self, noise_gate: bool) -> bool {
        let is_sound = matches!(self.frames.last(), Some(FrameKind::Sound(_)));
        let is_heard = noise_gate && self.is_heard;
        !is_sound && (is_heard || self.quiet_frames < ONSET_WINDOW)
    }

    /// Keeps the last frames only; the others.
    pub(super) fn cut(&mut self, keep: usize) -> Vec<FrameKind> {
        let count = self.frames.len() - keep;
        self.gone += count as u64;
        self.sound = self.sound.saturating_sub(count);
        self.frames.drain(..count).collect()
    }
}
