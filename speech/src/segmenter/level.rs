//! Noise gate: decides by a frame's level whether it can hold a voice. The detector's score has a
//! memory: it falls over 7 to 12 frames where a voice ends at once, and in noise not at all. A
//! frame that is no louder than the line itself is silent, whatever the score says.

use crate::detector::FRAME;

/// Frames of a stretch of which the quietest and the loudest are kept, 0.77 s.
const STRETCH: u8 = 48;

/// Number of stretches that count, the present one included, 2.3 to 3.1 s: no three seconds of
/// speech are without a gap, and no word is one steady sound for so long.
const STRETCHES: usize = 4;

/// Energy ratio to the quietest recent frame up to which a frame is the line's own noise, 4 dB. The
/// power of white noise of 4 kHz varies by 0.5 dB (1 σ) from frame to frame, that of a line that
/// hums and hisses by up to 1.5.
const ABOVE_FLOOR: f32 = 2.5;

/// Until all stretches are known, the quietest frame may be one of speech: then a silent
/// frame must be this much below the loudest, too, 20 dB.
const BELOW_SPEECH: f32 = 0.01;

/// Energy ratio to the loudest recent frame below which a frame is no part of a word, whatever the
/// line's noise, -40 dB: the weakest sounds of speech, a final f or th, are 30 dB below its vowels
/// (H. Fletcher, Speech and Hearing in Communication, 1953).
const INAUDIBLE: f32 = 1e-4;

/// Lowest noise floor assumed, as the energy of a frame, -66 dB of full scale: the noise of µ-law
/// at rest, and less than what any line adds.
const LOWEST_FLOOR: f32 = 2.5e-7 * 32_768.0 * 32_768.0 * FRAME as f32;

/// The quietest and the loudest frame of the last seconds of one leg.
#[derive(Debug)]
pub(super) struct FrameLevel {
    /// Range of each stretch, the newest first.
    stretches: [EnergyRange; STRETCHES],
    /// Number of frames in the newest stretch.
    frames: u8,
}

/// Least and greatest energy of a frame.
#[derive(Debug, Clone, Copy)]
struct EnergyRange {
    least: f32,
    most: f32,
}

/// Range of a stretch without frames.
const NONE: EnergyRange = EnergyRange {
    least: f32::INFINITY,
    most: 0.0,
};

impl FrameLevel {
    pub(super) const fn new() -> Self {
        Self {
            stretches: [NONE; STRETCHES],
            frames: 0,
        }
    }

    /// Takes the next frame; returns whether there may be a voice in it.
    pub(super) fn is_audible(&mut self, energy: f32) -> bool {
        if self.frames == STRETCH {
            self.stretches.rotate_right(1);
            self.stretches[0] = NONE;
            self.frames = 0;
        }
        self.frames += 1;
        let newest = &mut self.stretches[0];
        newest.least = newest.least.min(energy);
        newest.most = newest.most.max(energy);
        let all = self.stretches.iter().fold(NONE, |all, one| EnergyRange {
            least: all.least.min(one.least),
            most: all.most.max(one.most),
        });
        let is_known = self.stretches[STRETCHES - 1].least.is_finite();
        let is_low = energy <= ABOVE_FLOOR * all.least.max(LOWEST_FLOOR);
        let is_below = |share| energy <= share * all.most.max(LOWEST_FLOOR);
        !(is_low && (is_known || is_below(BELOW_SPEECH)) || is_below(INAUDIBLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Energy of a frame at -40 dB of full scale.
    const SOUND: f32 = 1e-4 * 32_768.0 * 32_768.0 * FRAME as f32;

    #[test]
    fn silence_is_known_at_once_and_a_steady_sound_after_three_seconds() {
        let mut level = FrameLevel::new();
        assert!(!level.is_audible(0.0));
        assert!(level.is_audible(SOUND));
        assert!(!level.is_audible(0.0));
        let mut level = FrameLevel::new();
        let audible = (0..1_000).take_while(|_| level.is_audible(SOUND)).count();
        assert_eq!(audible, usize::from(STRETCH) * (STRETCHES - 1));
        // A voice above it is heard all the same.
        assert!(level.is_audible(4.0 * SOUND));
        assert!(!level.is_audible(1.1 * SOUND));
    }

    #[test]
    fn a_far_voice_beside_a_near_one_is_audible() {
        let mut level = FrameLevel::new();
        for n in 0..500 {
            let energy = [0.0, 1e3 * SOUND, SOUND][n % 3];
            assert_eq!(level.is_audible(energy), energy > 0.0, "{n}");
        }
    }

    proptest! {
        #[test]
        fn the_loudest_is_audible_unless_all_are_alike(
            energies in prop::collection::vec(0.0f32..1e12, 1..600),
        ) {
            let mut level = FrameLevel::new();
            for (n, energy) in energies.iter().enumerate() {
                let lately = &energies[n.saturating_sub(usize::from(STRETCH) * STRETCHES)..n];
                let is_loudest = lately.iter().all(|other| other <= energy);
                let is_distinct = lately.iter().any(|other| other * 3.0 < *energy);
                let is_audible = level.is_audible(*energy);
                prop_assert!(
                    is_audible || !is_loudest || !is_distinct || *energy < 3.0 * LOWEST_FLOOR,
                    "{energy} after {lately:?}"
                );
            }
        }
    }
}
