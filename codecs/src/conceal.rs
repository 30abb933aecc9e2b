//! Something to hear where packets were lost: a continuation of the audio
//! before the loss, faded out while it grows unlikely.

mod sample;
mod voice;

use std::fmt;

pub use self::sample::LinearSample;
use self::voice::ContinuedVoice;
use crate::rate::SampleRate;

/// Conceals lost audio in one stream of mono samples, 16-bit or `f32` with
/// full scale 1.0.
///
/// The owner passes everything that came through [`good`](Self::good) and asks
/// [`conceal`](Self::conceal) for what did not, in order. As many samples come
/// out as go in, at their own places and at once: nothing is delayed. What is
/// made depends on the samples alone, not on how they are cut into calls.
///
/// A loss is continued by linear prediction: the filter of what was just heard,
/// driven by the last pitch periods of its own excitation where there was a
/// pitch and by noise of the same strength where there was none. The filter
/// goes on from the very last samples, so that nothing needs to be held back to
/// hide the seam, as ITU-T G.711 Appendix I does. `docs/concealment.md`
/// compares the two.
///
/// Best used at the rate of the codec, in front of the resampler, whose filter
/// then glides over both seams; behind it the resampler has to be flushed
/// before a loss, and the cut shows.
///
/// Memory on the heap, at 8 and at 16 kHz: none before the first audio, then
/// 0.5 or 1 KiB, and 1.7 or 3.2 KiB from a loss to the end of the cross-fade
/// behind it. Beyond that only a growing `out` allocates.
pub struct LossConcealer {
    /// Samples in a millisecond.
    ms: usize,
    /// The last samples given out, the newest last; empty until something was heard.
    history: Vec<i16>,
    bridge: Option<Box<LossBridge>>,
}

/// A concealed stretch is at full strength for so long, in milliseconds …
const FULL: usize = 10;

/// … and falls to nothing until here: beyond it nobody knows what was said.
const END: usize = 60;

/// Shortest and longest cross-fade from concealed to good audio, milliseconds;
/// it grows by a fifth of what was concealed. Appendix I takes up to 10 ms: kind
/// to the ear, but what came is always closer to what was said.
const OVERLAP: (usize, usize) = (1, 4);

/// A loss, from its first sample to the end of the cross-fade behind it.
struct LossBridge {
    ms: usize,
    /// None where the history was silent.
    voice: Option<ContinuedVoice>,
    /// Samples since the loss began, cross-fade included.
    at: usize,
    /// Once good audio is back.
    overlap: Option<CrossFade>,
}

/// A cross-fade, in samples.
#[derive(Clone, Copy)]
struct CrossFade {
    len: usize,
    done: usize,
}

impl fmt::Debug for LossConcealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Concealer")
            .field("samples_per_ms", &self.ms)
            .field("concealing", &self.bridge.is_some())
            .finish_non_exhaustive()
    }
}

impl LossConcealer {
    /// The start of a stream of `rate`, made for 8 and 16 kHz: memory and work
    /// grow with the rate. Costs nothing until something is heard.
    pub fn new(rate: SampleRate) -> Self {
        Self {
            ms: (rate.hz() as usize / 1000).max(1),
            history: Vec::new(),
            bridge: None,
        }
    }

    /// Takes audio that came. Behind a concealed stretch its beginning is
    /// cross-faded in place, for at most 4 ms; else it is left as it is.
    pub fn good<S: LinearSample>(&mut self, samples: &mut [S]) {
        if samples.is_empty() {
            return;
        }
        if let Some(bridge) = &mut self.bridge
            && bridge.fade_into(samples)
        {
            self.bridge = None;
        }
        if self.history.is_empty() {
            self.history = vec![0; voice::history_len(self.ms)];
        }
        self.remember(samples);
    }

    /// Appends exactly `samples` samples in place of audio that was lost, and
    /// returns how many of them, from the first on, were synthesised; the rest
    /// is silence. Calls in a row continue the same loss.
    ///
    /// Full strength for 10 ms, then fading out until 60 ms after the loss
    /// began. Nothing is synthesised from silence, and no sample exceeds the
    /// largest of the 30 ms before the loss.
    ///
    /// `out` grows by that much at once; the caller bounds it.
    pub fn conceal<S: LinearSample>(&mut self, samples: usize, out: &mut Vec<S>) -> usize {
        let start = out.len();
        out.resize(start + samples, S::default());
        if samples == 0 || self.history.is_empty() {
            return 0;
        }
        let lost = self.bridge.take().filter(|bridge| bridge.overlap.is_none());
        let mut bridge = lost.unwrap_or_else(|| Box::new(LossBridge::new(&self.history, self.ms)));
        let made = bridge.fill(&mut out[start..]);
        self.bridge = Some(bridge);
        self.remember(&out[start..]);
        made
    }

    /// Forgets what was heard: what follows has nothing to do with it.
    pub fn reset(&mut self) {
        self.history = Vec::new();
        self.bridge = None;
    }

    fn remember<S: LinearSample>(&mut self, samples: &[S]) {
        let len = self.history.len();
        let newest = &samples[samples.len().saturating_sub(len)..];
        self.history.copy_within(newest.len().., 0);
        let places = &mut self.history[len - newest.len()..];
        for (place, sample) in places.iter_mut().zip(newest) {
            *place = sample.to_i16();
        }
    }
}

impl LossBridge {
    fn new(history: &[i16], ms: usize) -> Self {
        Self {
            ms,
            voice: ContinuedVoice::new(history, ms),
            at: 0,
            overlap: None,
        }
    }

    /// Continues the history over `out`, which is silent, and tells how much of it no longer is.
    fn fill<S: LinearSample>(&mut self, out: &mut [S]) -> usize {
        if self.voice.is_none() {
            return 0;
        }
        let made = out.len().min((END * self.ms).saturating_sub(self.at));
        for sample in &mut out[..made] {
            *sample = S::from_scaled(self.next());
        }
        made
    }

    /// Cross-fades the beginning of `samples`; true once that is complete.
    fn fade_into<S: LinearSample>(&mut self, samples: &mut [S]) -> bool {
        if self.voice.is_none() {
            return true;
        }
        let len = (OVERLAP.0 * self.ms + self.at / 5).min(OVERLAP.1 * self.ms);
        let mut overlap = self.overlap.unwrap_or(CrossFade { len, done: 0 });
        for sample in samples.iter_mut().take(overlap.len - overlap.done) {
            overlap.done += 1;
            let weight = overlap.done as f32 / (overlap.len + 1) as f32;
            let mixed = weight * sample.to_scaled() + (1.0 - weight) * self.next();
            *sample = S::from_scaled(mixed);
        }
        self.overlap = Some(overlap);
        overlap.done == overlap.len
    }

    /// The next concealed sample, faded.
    fn next(&mut self) -> f32 {
        let left = (END * self.ms).saturating_sub(self.at.max(FULL * self.ms));
        self.at += 1;
        match &mut self.voice {
            Some(voice) if left > 0 => {
                let strength = left as f32 / ((END - FULL) * self.ms) as f32;
                strength * voice.next()
            }
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests;
