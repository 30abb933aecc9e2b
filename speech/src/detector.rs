//! The voice-activity detector: the only module that uses `earshot`. Its
//! weights are inside the crate; it costs about 5 µs per 16 ms frame.

use std::fmt;

/// Samples in one frame of the detector, 16 ms.
pub const FRAME: usize = 256;

/// Scores frames of 16 kHz audio for voice, keeping the context of one stream.
pub struct VoiceDetector(Box<earshot::Detector>);

impl Default for VoiceDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl VoiceDetector {
    /// A detector that has heard nothing.
    pub fn new() -> Self {
        Self(earshot::Detector::default_boxed())
    }

    /// Probability of voice in the frame, 0 to 1. The 16-bit entrance is used
    /// because the floating-point one asserts |x| <= 1, which a resampler's
    /// overshoot may exceed.
    pub fn score(&mut self, frame: &[i16; FRAME]) -> f32 {
        self.0.predict_i16(frame)
    }

    /// Forgets the stream, after a break in it.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

impl fmt::Debug for VoiceDetector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Detector")
    }
}
