//! Sample types that losses can be concealed in.

/// A sample of linear audio: `i16`, or `f32` with full scale 1.0.
///
/// Concealed audio is computed in `f32` with the scale of `i16`.
pub trait LinearSample: Copy + Default + sealed::SealedSample {
    /// As 16 bits, limited to them; what is no number is silence.
    fn to_i16(self) -> i16;

    /// The sample with full scale 32768.
    fn to_scaled(self) -> f32;

    /// The sample of a value with full scale 32768.
    fn from_scaled(scaled: f32) -> Self;
}

impl LinearSample for i16 {
    fn to_i16(self) -> i16 {
        self
    }

    fn to_scaled(self) -> f32 {
        f32::from(self)
    }

    fn from_scaled(scaled: f32) -> Self {
        scaled.round() as Self
    }
}

impl LinearSample for f32 {
    fn to_i16(self) -> i16 {
        (self * 32768.0) as i16
    }

    fn to_scaled(self) -> f32 {
        self * 32768.0
    }

    fn from_scaled(scaled: f32) -> Self {
        scaled * (1.0 / 32768.0)
    }
}

mod sealed {
    /// Keeps [`LinearSample`](super::LinearSample) to the types above.
    pub trait SealedSample {}

    impl SealedSample for i16 {}

    impl SealedSample for f32 {}
}
