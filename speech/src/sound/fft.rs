//! Power spectra of the last moments of a leg, and the lines in them.

use std::sync::LazyLock;

use crate::fourier::PowerSpectrum;

/// Rate of what is looked at, Hz: all that a telephone passes.
pub(super) const RATE: f32 = 8_000.0;

/// Samples of a short look, 32 ms, and of a long one, 128 ms.
pub(super) const SHORT: usize = 256;
pub(super) const LONG: usize = 1_024;

static SHORT_SPECTRUM: LazyLock<PowerSpectrum> = LazyLock::new(|| PowerSpectrum::new(SHORT));
static LONG_SPECTRUM: LazyLock<PowerSpectrum> = LazyLock::new(|| PowerSpectrum::new(LONG));

/// The power in bins of 31.25 Hz.
pub(super) fn short(samples: &[i16; SHORT]) -> [f32; SHORT / 2 + 1] {
    SHORT_SPECTRUM.powers(samples.map(f32::from))
}

/// The power in bins of 7.8 Hz.
pub(super) fn long(samples: &[i16; LONG]) -> [f32; LONG / 2 + 1] {
    LONG_SPECTRUM.powers(samples.map(f32::from))
}

/// A sinusoid, by its lobe behind the window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct SpectrumLobe {
    /// Hz.
    pub(super) frequency: f32,
    pub(super) power: f32,
}

/// The lobe whose top is that bin, `reach` bins to both sides. Its frequency is where a
/// parabola through the logarithms has its top, which is what the window's lobe looks like there.
pub(super) fn lobe(powers: &[f32], top: usize, reach: usize) -> SpectrumLobe {
    let log = |bin: usize| {
        powers
            .get(bin)
            .map_or(f32::MIN_POSITIVE, |power| power.max(f32::MIN_POSITIVE))
            .ln()
    };
    let (left, middle, right) = (log(top.saturating_sub(1)), log(top), log(top + 1));
    let bend = left - 2.0 * middle + right;
    let shift = if bend < 0.0 {
        (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    } else {
        0.0
    };
    let width = RATE / (2 * (powers.len() - 1)) as f32;
    let (first, last) = (
        top.saturating_sub(reach),
        (top + reach).min(powers.len() - 1),
    );
    SpectrumLobe {
        frequency: (top as f32 + shift) * width,
        power: powers[first..=last].iter().sum(),
    }
}

/// The bin with the most power among those, but for bins within `reach` of `but`.
pub(super) fn strongest(
    powers: &[f32],
    bins: std::ops::Range<usize>,
    but: Option<(usize, usize)>,
) -> Option<usize> {
    let mut best = None;
    let mut most = f32::NEG_INFINITY;
    for bin in bins {
        let is_free = but.is_none_or(|(other, reach)| bin.abs_diff(other) > reach);
        if let Some(power) = powers.get(bin).filter(|power| is_free && **power > most) {
            (best, most) = (Some(bin), *power);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::TAU;

    #[test]
    fn a_sinusoid_is_found_to_a_fraction_of_a_bin() {
        for hz in [200.0, 425.0, 1_336.0, 3_300.0] {
            let sample = |n: usize| ((TAU * hz * n as f32 / RATE).sin() * 8_000.0) as i16;
            let powers = long(&std::array::from_fn(sample));
            let top = strongest(&powers, 20..500, None).unwrap();
            let found = lobe(&powers, top, 3);
            assert!((found.frequency - hz).abs() < 0.5, "{hz}: {found:?}");
            assert!(found.power > 0.99 * powers.iter().sum::<f32>());
            let powers = short(&std::array::from_fn(sample));
            let top = strongest(&powers, 2..128, None).unwrap();
            assert!((lobe(&powers, top, 2).frequency - hz).abs() < 2.0);
        }
    }

    #[test]
    fn silence_has_no_strongest_power_but_bins() {
        let powers = short(&[0; SHORT]);
        assert_eq!(powers, [0.0; SHORT / 2 + 1]);
        assert_eq!(strongest(&powers, 5..5, None), None);
        assert_eq!(strongest(&powers, 5..900, Some((6, 200))), None);
    }
}
