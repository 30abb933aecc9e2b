//! One band: its prediction and its quantiser's scale, which encoder and
//! decoder let follow the signal in the same way (G.722, blocks 3 and 4).

use super::saturate;
use super::tables::{INVERSE_LOG, QM2, QM4, RH2, RL4, WH, WL};

/// Zeros of the predictor.
const ZEROS: usize = 6;

#[derive(Debug, Clone)]
pub(super) struct SubBand {
    /// NB: the logarithm of the quantiser's scale.
    log_scale: i32,
    /// DET: the scale itself.
    scale: i32,
    /// S: what the next sample is expected to be.
    prediction: i32,
    /// SZ: the zeros' part of it.
    from_zeros: i32,
    /// A: the poles' coefficients.
    poles: [i32; 2],
    /// B: the zeros' coefficients.
    zeros: [i32; ZEROS],
    /// R: reconstructed samples, the newest first.
    reconstructed: [i32; 2],
    /// P: partly reconstructed samples, the newest first.
    partial: [i32; 2],
    /// D: quantised differences, the newest first.
    differences: [i32; ZEROS],
}

impl SubBand {
    pub(super) fn low() -> Self {
        Self::with_scale(32)
    }

    pub(super) fn high() -> Self {
        Self::with_scale(8)
    }

    fn with_scale(scale: i32) -> Self {
        Self {
            log_scale: 0,
            scale,
            prediction: 0,
            from_zeros: 0,
            poles: [0; 2],
            zeros: [0; ZEROS],
            reconstructed: [0; 2],
            partial: [0; 2],
            differences: [0; ZEROS],
        }
    }

    pub(super) fn prediction(&self) -> i32 {
        self.prediction
    }

    /// An output value of the quantiser, at its present scale.
    pub(super) fn scaled(&self, value: i32) -> i32 {
        (self.scale * value) >> 15
    }

    /// A decision level of the quantiser, at its present scale.
    pub(super) fn decision(&self, level: i32) -> i32 {
        (self.scale * level) >> 12
    }

    /// Follows the lower band by the upper four bits of its code.
    pub(super) fn follow_low(&mut self, code: u8) {
        let difference = self.scaled(QM4[usize::from(code)]); // INVQAL
        // LOGSCL, SCALEL.
        let step = WL[RL4[usize::from(code)]];
        self.log_scale = (((self.log_scale * 127) >> 7) + step).clamp(0, 18_432);
        self.scale = linear(self.log_scale, 8);
        self.predict(difference);
    }

    /// Follows the upper band by its two bits.
    pub(super) fn follow_high(&mut self, code: u8) {
        let difference = self.scaled(QM2[usize::from(code)]); // INVQAH
        // LOGSCH, SCALEH.
        let step = WH[RH2[usize::from(code)]];
        self.log_scale = (((self.log_scale * 127) >> 7) + step).clamp(0, 22_528);
        self.scale = linear(self.log_scale, 10);
        self.predict(difference);
    }

    /// Block 4: adapts the predictor and predicts the next sample.
    fn predict(&mut self, difference: i32) {
        let reconstructed = saturate(self.prediction + difference); // RECONS
        let partial = saturate(self.from_zeros + difference); // PARREC
        self.adapt_poles(partial);
        self.adapt_zeros(difference);

        // DELAYA.
        self.differences.copy_within(..ZEROS - 1, 1);
        self.differences[0] = difference;
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.partial = [partial, self.partial[0]];

        // FILTEP, FILTEZ, PREDIC.
        let product = |coefficient: i32, value: i32| (coefficient * saturate(2 * value)) >> 15;
        let from_poles = saturate(
            product(self.poles[0], self.reconstructed[0])
                + product(self.poles[1], self.reconstructed[1]),
        );
        let taps = self.zeros.iter().zip(&self.differences);
        self.from_zeros = saturate(taps.map(|(&b, &d)| product(b, d)).sum());
        self.prediction = saturate(from_poles + self.from_zeros);
    }

    fn adapt_poles(&mut self, partial: i32) {
        let agrees = self.partial.map(|before| (before < 0) == (partial < 0));
        // UPPOL2.
        let pull = saturate(4 * self.poles[0]);
        let pull = if agrees[0] { -pull } else { pull }.min(i32::from(i16::MAX));
        let step = if agrees[1] { 128 } else { -128 };
        let second = (pull >> 7) + step + ((self.poles[1] * 32_512) >> 15);
        let second = second.clamp(-12_288, 12_288);
        // UPPOL1: the filter stays stable.
        let step = if agrees[0] { 192 } else { -192 };
        let limit = saturate(15_360 - second);
        let first = saturate(step + ((self.poles[0] * 32_640) >> 15));
        self.poles = [first.clamp(-limit, limit), second];
    }

    /// UPZERO.
    fn adapt_zeros(&mut self, difference: i32) {
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, &before) in self.zeros.iter_mut().zip(&self.differences) {
            let agrees = (before < 0) == (difference < 0);
            let step = if agrees { step } else { -step };
            *zero = saturate(step + ((*zero * 32_640) >> 15));
        }
    }
}

/// SCALEL and SCALEH: the scale whose logarithm that is.
fn linear(log_scale: i32, shift: i32) -> i32 {
    let mantissa = INVERSE_LOG[(log_scale >> 6 & 31) as usize];
    let right = shift - (log_scale >> 11);
    let value = if right < 0 {
        mantissa << -right
    } else {
        mantissa >> right
    };
    value << 2
}
