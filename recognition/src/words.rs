//! From tokens to words with times.
//!
//! Whisper's decoder looks, while it writes a word, at where that was spoken: dynamic
//! time warping over its cross-attention tells for each token where the attention left it
//! (`whisper_exp_compute_token_level_timestamps_dtw`). So a word ends where its last token
//! is left, and begins where the word before it ended or, after a pause, where it is loud again.
//! The attention may leave a word early or late: where that would put a clear pause inside a word,
//! the pause is the border.

use std::ops::Range;

use asterscribe_call::SpokenWord;
use asterscribe_speech::SAMPLES_PER_MS;
use asterscribe_speech::guard::is_unspaced;
use asterscribe_speech::high_pass::HighPass;

/// A token of text, as the engine gives it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TimedToken<'a> {
    /// UTF-8, of which a token may hold a part only.
    pub(super) bytes: &'a [u8],
    pub(super) probability: f32,
    /// Where the attention left it, milliseconds.
    pub(super) left_ms: Option<u64>,
}

/// Frame in which loudness is looked at, milliseconds.
const FRAME_MS: u64 = 10;

/// Shorter silence is part of a word: the closure before a stop lasts less.
const PAUSE_FRAMES: usize = 8;

/// A pause that no word has inside it, and how far off the attention may be, frames.
const CLEAR_PAUSE: usize = 15;
const FARTHEST: usize = 40;

/// Below the loudest frame by so much it is a pause, amplitude: 26 dB.
const PAUSE_BELOW_PEAK: f32 = 0.05;

/// The words of an utterance.
pub(super) fn words<'a>(
    tokens: impl Iterator<Item = TimedToken<'a>>,
    audio: &[i16],
) -> Vec<SpokenWord> {
    let spoken = group(tokens);
    let length_ms = audio.len() as u64 / SAMPLES_PER_MS;
    let loudness = FrameLoudness::of(audio);
    let mut ends = ends(&spoken, length_ms);
    loudness.move_into_pauses(&mut ends);
    let mut before = 0;
    spoken
        .into_iter()
        .zip(ends)
        .map(|(word, end)| {
            let (start_ms, end_ms) = loudness.trim(before, end);
            before = end;
            SpokenWord {
                text: word.text(),
                start_ms,
                end_ms,
                probability: word.probability(),
            }
        })
        .collect()
}

/// The tokens of a word.
#[derive(Debug, Default)]
struct SpelledWord {
    bytes: Vec<u8>,
    tokens: u16,
    probability: f32,
    left_ms: Option<u64>,
}

impl SpelledWord {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).trim().to_owned()
    }

    fn probability(&self) -> f32 {
        (self.probability / f32::from(self.tokens.max(1))).clamp(0.0, 1.0)
    }
}

/// A space begins a word; where a script has none, each piece that is whole is one.
fn group<'a>(tokens: impl Iterator<Item = TimedToken<'a>>) -> Vec<SpelledWord> {
    let mut words: Vec<SpelledWord> = Vec::new();
    for token in tokens {
        let begins = match words.last() {
            None => true,
            Some(last) => {
                token.bytes.first() == Some(&b' ')
                    || std::str::from_utf8(&last.bytes).is_ok_and(ends_unspaced)
                        && !token.bytes.iter().all(u8::is_ascii_punctuation)
            }
        };
        if begins {
            words.push(SpelledWord::default());
        }
        let word = words.last_mut().expect("one has just been begun");
        word.bytes.extend(token.bytes);
        word.tokens = word.tokens.saturating_add(1);
        word.probability += token.probability;
        word.left_ms = token.left_ms.or(word.left_ms);
    }
    words.retain(|word| !word.text().is_empty());
    words
}

/// Whether it ends in a script that puts no spaces between words.
fn ends_unspaced(text: &str) -> bool {
    text.chars().next_back().is_some_and(is_unspaced)
}

/// Where each word ends, in order and within the utterance; where the engine gives no time,
/// in proportion to the letters between the times that are known.
fn ends(words: &[SpelledWord], length_ms: u64) -> Vec<u64> {
    let mut ends = Vec::with_capacity(words.len());
    let mut known = 0;
    let mut n = 0;
    while n < words.len() {
        let next = (n..words.len()).find(|&k| words[k].left_ms.is_some());
        let last = next.unwrap_or(words.len() - 1);
        let until = words[last].left_ms.unwrap_or(length_ms);
        let until = until.clamp(known, length_ms.max(known));
        let letters = |words: &[SpelledWord]| -> u64 {
            words
                .iter()
                .map(|word| word.text().chars().count() as u64)
                .sum()
        };
        let all = letters(&words[n..=last]).max(1);
        for k in n..=last {
            ends.push(known + (until - known) * letters(&words[n..=k]) / all);
        }
        known = until;
        n = last + 1;
    }
    ends
}

/// Whether each frame is loud.
struct FrameLoudness(Vec<bool>);

impl FrameLoudness {
    fn of(audio: &[i16]) -> Self {
        let energy = |frame: &[i16]| frame.iter().map(|&s| f32::from(s) * f32::from(s)).sum();
        let as_it_is = Self::above_pauses(audio, energy);
        if as_it_is.0.contains(&false) {
            return as_it_is;
        }
        // No pause, not even before the first word: there is a hum, or an offset.
        let mut filter = HighPass::before(audio);
        Self::above_pauses(audio, |frame| filter.energy(frame))
    }

    fn above_pauses(audio: &[i16], mut energy: impl FnMut(&[i16]) -> f32) -> Self {
        let frames = audio.chunks((FRAME_MS * SAMPLES_PER_MS) as usize);
        let level = |frame: &[i16]| (energy(frame) / frame.len() as f32).sqrt();
        let levels: Vec<f32> = frames.map(level).collect();
        let peak = levels.iter().copied().fold(0.0, f32::max);
        let loud = levels.iter().map(|&level| level > PAUSE_BELOW_PEAK * peak);
        Self(loud.collect())
    }

    /// Moves borders between words that lie in a voice to its end, if a clear pause and more of
    /// the later word follow, or to its beginning, if a clear pause and more of the earlier word
    /// are before; the nearer of the two.
    fn move_into_pauses(&self, ends: &mut [u64]) {
        let frame = |ms: u64| usize::try_from(ms / FRAME_MS).unwrap_or(usize::MAX);
        for n in 1..ends.len() {
            let before = if n > 1 { frame(ends[n - 2]) } else { 0 };
            let (border, after) = (frame(ends[n - 1]), frame(ends[n]).min(self.0.len()));
            if border >= after || before >= border || !self.0[border] || !self.0[border - 1] {
                continue;
            }
            let later = self.pause_in(border..after).map(|pause| pause.start);
            let earlier = self.pause_in(before..border).map(|pause| pause.end);
            let near = |place: &usize| place.abs_diff(border) <= FARTHEST;
            let places = [later, earlier].into_iter().flatten().filter(near);
            if let Some(place) = places.min_by_key(|place| place.abs_diff(border)) {
                ends[n - 1] = place as u64 * FRAME_MS;
            }
        }
    }

    /// The clear pause next to the border, with a voice on both sides of it within a word.
    fn pause_in(&self, word: Range<usize>) -> Option<Range<usize>> {
        let frames = &self.0[word.clone()];
        let mut pauses = frames
            .chunk_by(|one, next| one == next)
            .scan(word.start, |at, run| {
                let from = *at;
                *at += run.len();
                Some((from..*at, run[0]))
            })
            .filter(|(run, loud)| !loud && run.len() >= CLEAR_PAUSE)
            .map(|(run, _)| run)
            .filter(|run| run.start > word.start && run.end < word.end);
        // One alone: with several it is not told which of them is the border.
        let pause = pauses.next()?;
        pauses.next().is_none().then_some(pause)
    }

    /// Takes the pauses off the ends of a word.
    fn trim(&self, start_ms: u64, end_ms: u64) -> (u64, u64) {
        let frame = |ms: u64| usize::try_from(ms / FRAME_MS).unwrap_or(usize::MAX);
        let last = frame(end_ms).min(self.0.len());
        let first = frame(start_ms).min(last);
        let within = &self.0[first..last];
        let (Some(loud), Some(until)) = (
            within.iter().position(|&loud| loud),
            within.iter().rposition(|&loud| loud),
        ) else {
            return (start_ms, end_ms);
        };
        let quiet_before = if loud >= PAUSE_FRAMES { loud } else { 0 };
        let quiet_behind = within.len() - 1 - until;
        let quiet_behind = if quiet_behind >= PAUSE_FRAMES {
            quiet_behind
        } else {
            0
        };
        (
            start_ms + quiet_before as u64 * FRAME_MS,
            end_ms - quiet_behind as u64 * FRAME_MS,
        )
    }
}

#[cfg(test)]
mod tests;
