//! Sounds that the voice detector takes for speech and that are none: ringback, busy and
//! other tones, keys pressed in band, music on hold.
//!
//! Takes the frames of an open utterance one after the other, and marks those that are certainly
//! not speech. Frames of which it is not certain stay speech.

mod digit;
mod fft;
mod music;
mod tone;

use std::fmt;

use asterscribe_call::SoundKind;

use self::digit::DigitDetector;
use self::fft::{LONG, SHORT};
use self::music::MusicDetector;
use self::tone::ToneDetector;
use crate::detector::FRAME;

/// Samples of a frame at half the rate.
const HALF: usize = FRAME / 2;

/// Frames of a long look.
const FRAMES_OF_LONG: usize = LONG / HALF;

/// Share of a look's power in two lobes below which the next look is left out: two of three in
/// speech.
const SUSPICIOUS: f32 = 0.6;

/// Frames of an utterance, counted from its first, that are not speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoundMark {
    /// First frame.
    pub from: u64,
    /// One past the last frame.
    pub until: u64,
    /// Kind of sound.
    pub kind: SoundKind,
}

/// Detection of sounds within one utterance.
pub struct UtteranceSounds {
    /// The last frames at 8 kHz.
    recent: [i16; LONG],
    /// Frames so far.
    frames: u64,
    /// Number of audible frames in a row, up to the present one.
    audible: usize,
    /// Share of the power in two lobes, in the last short look.
    purity: f32,
    /// Sum of the detector's scores since the last long look.
    score: f32,
    tones: ToneDetector,
    digits: DigitDetector,
    music: MusicDetector,
}

impl UtteranceSounds {
    /// Begins an utterance; `music`: the value of [`Self::music`] at the end of the leg's last one.
    pub fn new(music: f32) -> Self {
        Self {
            recent: [0; LONG],
            frames: 0,
            audible: 0,
            purity: 1.0,
            score: 0.0,
            tones: ToneDetector::default(),
            digits: DigitDetector::default(),
            music: MusicDetector::new(music),
        }
    }

    /// Takes the next frame, and marks those that are now known not to be speech.
    pub fn frame(
        &mut self,
        frame: &[i16; FRAME],
        score: f32,
        is_audible: bool,
        mut mark: impl FnMut(SoundMark),
    ) {
        self.score += score;
        self.recent.copy_within(HALF.., 0);
        let (pairs, _) = frame.as_chunks::<2>();
        for (place, [first, second]) in self.recent[LONG - HALF..].iter_mut().zip(pairs) {
            // Half the sum of two 16-bit numbers is one.
            *place = ((i32::from(*first) + i32::from(*second)) / 2) as i16;
        }
        let number = self.frames;
        self.frames += 1;
        if is_audible {
            self.audible = (self.audible + 1).min(FRAMES_OF_LONG);
            self.look(number, &mut mark);
        } else {
            self.audible = 0;
            self.purity = 1.0;
            self.tones.end();
            self.digits.end();
        }
        if self.frames.is_multiple_of(FRAMES_OF_LONG as u64) {
            self.look_for_music(number, &mut mark);
        }
    }

    /// Whether the present sound is known not to be speech.
    pub fn lasts(&self) -> bool {
        self.tones.lasts() || self.digits.lasts() || self.music.lasts()
    }

    /// Whether the present sound may turn out not to be speech.
    pub fn may_last(&self) -> bool {
        self.lasts() || self.tones.may_last() || self.music.may_last()
    }

    /// Evidence of music at present, as a cumulative sum.
    pub fn music(&self) -> f32 {
        self.music.sum()
    }

    fn look(&mut self, number: u64, mark: &mut impl FnMut(SoundMark)) {
        let Some(last) = self.recent.last_chunk::<SHORT>() else {
            return;
        };
        if self.purity < SUSPICIOUS && !number.is_multiple_of(2) {
            return;
        }
        let (lobes, purity) = tone::lobes(&fft::short(last));
        self.purity = purity;
        self.digits.look(number, &lobes, purity, mark);
        let is_whole = self.audible == FRAMES_OF_LONG;
        let long = || is_whole.then(|| fft::long(&self.recent));
        self.tones.look(number, purity, long, mark);
    }

    fn look_for_music(&mut self, number: u64, mark: &mut impl FnMut(SoundMark)) {
        let score = std::mem::take(&mut self.score) / FRAMES_OF_LONG as f32;
        if self.audible < FRAMES_OF_LONG / 2 || self.tones.lasts() || self.digits.lasts() {
            self.music.interrupt();
            return;
        }
        let powers = fft::long(&self.recent);
        self.music.look(number, score, &powers, mark);
    }
}

impl fmt::Debug for UtteranceSounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sounds")
            .field("frames", &self.frames)
            .field("tones", &self.tones)
            .field("digits", &self.digits)
            .field("music", &self.music)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
