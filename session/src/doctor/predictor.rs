//! How well audio is predicted from itself: what a linear predictor of order 4
//! leaves of it. Two steady sinusoids are predicted perfectly by the last four
//! samples, however near each other their frequencies are.

const ORDER: usize = 4;

/// Mean square.
pub(super) fn power(samples: &[f32]) -> f32 {
    dot(samples, samples) / samples.len().max(1) as f32
}

/// Share of the power that the best predictor leaves, 0 to 1; 1 for silence.
pub(super) fn residual(samples: &[f32]) -> f32 {
    let length = samples.len();
    if length <= 2 * ORDER {
        return 1.0;
    }
    // Covariances of the samples with those up to ORDER before them, without
    // a window, since one would spread the tones. One row is summed, the
    // others follow from it by what leaves and enters at the ends.
    let mut covariance = [[0.0f64; ORDER + 1]; ORDER + 1];
    let present = &samples[ORDER..];
    for lag in 0..=ORDER {
        covariance[0][lag] = f64::from(dot(present, &samples[ORDER - lag..length - lag]));
    }
    let product = |a: usize, b: usize| f64::from(samples[a]) * f64::from(samples[b]);
    for row in 0..ORDER {
        for column in row..ORDER {
            covariance[row + 1][column + 1] = covariance[row][column]
                + product(ORDER - 1 - row, ORDER - 1 - column)
                - product(length - 1 - row, length - 1 - column);
        }
    }
    let total = covariance[0][0];
    if total <= f64::from(f32::MIN_POSITIVE) {
        return 1.0;
    }
    let left = left_after_elimination(covariance, total * 1e-9);
    (left / total).clamp(0.0, 1.0) as f32
}

/// Eliminates the past samples, the oldest first, from the symmetric matrix
/// (its upper half is given); what is left of the present one's variance.
fn left_after_elimination(mut matrix: [[f64; ORDER + 1]; ORDER + 1], floor: f64) -> f64 {
    for pivot in (1..=ORDER).rev() {
        let variance = matrix[pivot][pivot];
        // What the samples after it tell already.
        if variance <= floor {
            continue;
        }
        for row in 0..pivot {
            for column in row..pivot {
                matrix[row][column] -= matrix[row][pivot] * matrix[column][pivot] / variance;
            }
        }
    }
    matrix[0][0]
}

/// Summed in eight lanes, which the compiler makes vectors of.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let ((a8, a_rest), (b8, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a8.iter().zip(b8) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tones(frequencies: &[f32]) -> Vec<f32> {
        let at = |n: usize, f: &f32| (std::f32::consts::TAU * f * n as f32 / 8000.0).sin() * 0.2;
        (0..160)
            .map(|n| frequencies.iter().map(|f| at(n, f)).sum())
            .collect()
    }

    #[test]
    fn two_tones_are_foretold_three_or_noise_are_not() {
        assert!(residual(&tones(&[425.0])) < 1e-4);
        assert!(residual(&tones(&[440.0, 480.0])) < 1e-4);
        assert!(residual(&tones(&[500.0, 1500.0, 2900.0])) > 0.05);
        let mut seed = 1u32;
        let noise: Vec<f32> = (0..160)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 8) as f32 / 16_777_216.0 - 0.5
            })
            .collect();
        assert!(residual(&noise) > 0.8, "{}", residual(&noise));
        assert_eq!(residual(&[0.0; 160]), 1.0);
    }

    proptest! {
        #[test]
        fn it_is_a_share_whatever_the_samples(
            samples in prop::collection::vec(prop_oneof![Just(0.0f32), -1.5f32..1.5, Just(1e-30)], 0..200),
        ) {
            let share = residual(&samples);
            prop_assert!((0.0..=1.0).contains(&share), "{share}");
        }
    }
}
