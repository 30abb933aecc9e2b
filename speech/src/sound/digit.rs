//! Keys pressed in band (ITU-T Q.23): one of four low tones with one of four high ones.

use asterscribe_call::SoundKind;

use super::SoundMark;
use super::fft::SpectrumLobe;

const LOW: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];

/// How far they may be off: 1.8 % (ITU-T Q.24: 1.5 % must be taken, 3.5 % must not), and 6 Hz
/// for what 32 ms can tell.
const NEAR: f32 = 0.018;
const BLUR: f32 = 6.0;

/// Part of a short look's power that is in the two, and how much stronger one may be, 10 dB.
const PURE: f32 = 0.85;
const TWIST: f32 = 10.0;

/// Looks in a row, 16 ms apart, that make a key: some 50 ms of it. A receiver must take
/// 40 ms and no 23; voices, which imitate keys for moments, rarely do for so long.
const LOOKS: u32 = 3;

/// The key that may be pressed.
#[derive(Debug, Default)]
pub(super) struct DigitDetector {
    now: Option<(usize, usize)>,
    start: u64,
    looks: u32,
}

impl DigitDetector {
    /// Whether a key is known to be held.
    pub(super) fn lasts(&self) -> bool {
        self.looks >= LOOKS
    }

    /// Takes the short look at the frame of that number and the one before it.
    pub(super) fn look(
        &mut self,
        frame: u64,
        lobes: &[SpectrumLobe; 2],
        purity: f32,
        mark: &mut impl FnMut(SoundMark),
    ) {
        let key = if purity >= PURE { key(lobes) } else { None };
        if key.is_none() || key != self.now {
            self.now = key;
            self.looks = 0;
            self.start = frame.saturating_sub(1);
        }
        if key.is_none() {
            return;
        }
        self.looks += 1;
        if self.looks >= LOOKS {
            let from = if self.looks == LOOKS {
                self.start
            } else {
                frame
            };
            mark(SoundMark {
                from,
                until: frame + 1,
                kind: SoundKind::Dtmf,
            });
        }
    }

    /// There is nothing to hear.
    pub(super) fn end(&mut self) {
        self.now = None;
        self.looks = 0;
    }
}

fn key(lobes: &[SpectrumLobe; 2]) -> Option<(usize, usize)> {
    let [low, high] = lobes;
    let place = |group: &[f32; 4], frequency: f32| {
        let near = |tone: &f32| (tone - frequency).abs() <= NEAR * tone + BLUR;
        group.iter().position(near)
    };
    let twist = low.power / high.power;
    if !(1.0 / TWIST..=TWIST).contains(&twist) {
        return None;
    }
    Some((place(&LOW, low.frequency)?, place(&HIGH, high.frequency)?))
}
