//! Tones of the telephone network, by their frequencies and how long they last.

use asterscribe_call::SoundKind;

use super::fft::{LONG, RATE, SpectrumLobe, lobe, strongest};
use super::{FRAMES_OF_LONG, SoundMark};

/// Share of a short look's power in its two strongest lobes from which on it may be tones: the
/// voiced sounds of speech have more harmonics, but for moments.
const TONAL: f32 = 0.9;

/// Share of a long look's power in one or two lobes from which on it is nothing else: 11 dB of
/// noise.
const PURE: f32 = 0.92;

/// Weaker lobes are not counted, -17 dB: what is left of a window, distortion.
const SECOND: f32 = 0.02;

/// Most by which a tone may deviate from a standard, 1.5 % (ITU-T Q.35 allows 1 to 3), and from
/// where it was a moment ago, Hz. A generator is exact; no voice holds its pitch to half a per cent
/// for a fifth of a second.
const NEAR: f32 = 0.015;
const SAME: f32 = 2.0;

/// Most by which its power may change meanwhile, 1 dB.
const STEADY: f32 = 1.26;

/// Pairs of frequencies (ITU-T E.180 supplement 2), and the sound that they stand for.
const PAIRS: [([f32; 2], SoundKind); 5] = [
    ([440.0, 480.0], SoundKind::Ringback),
    ([400.0, 450.0], SoundKind::Ringback),
    ([350.0, 440.0], SoundKind::Tone),
    ([350.0, 450.0], SoundKind::Tone),
    ([480.0, 620.0], SoundKind::Busy),
];

/// A single one between these is a call-progress tone: 400, 425, 440 or 450 Hz in most of the
/// world.
const PROGRESS: std::ops::RangeInclusive<f32> = 390.0..=460.0;

/// Such a tone is ringback from 0.7 s on, and dial tone from 2.1 s on: ringback is on for
/// 0.8 to 1.5 s, busy and congestion tones for 0.1 to 0.6.
const RINGS: u64 = 44;
const DIALS: u64 = 131;

/// Steady long looks, 32 ms apart, that make a tone: a pair that a standard knows is no
/// accident. A single one may be the only strong harmonic of a hum or an oo, which voices
/// hold for some 100 ms; below 600 Hz, where most of those lie, half a second is waited for.
const OF_PAIR: u32 = 1;
const OF_PROGRESS: u32 = 2;
const OF_HIGH: u32 = 3;
const OF_LOW: u32 = 12;
const HIGH: f32 = 600.0;

/// Lowest frequency examined, in bins of a long look: 195 Hz.
const LOWEST: usize = 25;

/// Bins of a long look that belong to one lobe.
const REACH: usize = 3;

/// Detector of steady tones.
#[derive(Debug, Default)]
pub(super) struct ToneDetector {
    run: Option<SteadyTone>,
}

#[derive(Debug)]
struct SteadyTone {
    /// First frame of the run of tonal looks, or of the tone that is held against.
    start: u64,
    /// Number of tonal looks so far.
    looks: u32,
    /// Whether the last look was not tonal.
    is_broken: bool,
    tones: Option<FoundTone>,
    steady: u32,
    told: Option<SoundKind>,
    /// One past the last frame that was marked.
    told_until: u64,
}

/// One or two sinusoids that make up a look.
#[derive(Debug, Clone, Copy, PartialEq)]
struct FoundTone {
    frequencies: [f32; 2],
    count: usize,
    power: f32,
}

impl ToneDetector {
    /// Whether a tone is known to go on.
    pub(super) fn lasts(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.told.is_some())
    }

    /// Whether a tone may be playing.
    pub(super) fn may_last(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.looks >= 4)
    }

    /// Takes the short look at the frame of that number and the one before it.
    pub(super) fn look(
        &mut self,
        frame: u64,
        purity: f32,
        long: impl FnOnce() -> Option<[f32; LONG / 2 + 1]>,
        mark: &mut impl FnMut(SoundMark),
    ) {
        if purity < TONAL {
            // Two tones beat, and noise is heard where they cancel each other.
            let is_over = |run: &mut SteadyTone| std::mem::replace(&mut run.is_broken, true);
            self.run.take_if(is_over);
            return;
        }
        let run = self.run.get_or_insert_with(|| SteadyTone {
            start: frame.saturating_sub(1),
            looks: 0,
            is_broken: false,
            tones: None,
            steady: 0,
            told: None,
            told_until: 0,
        });
        run.looks += 1;
        run.is_broken = false;
        if run.looks >= FRAMES_OF_LONG as u32
            && run.looks.is_multiple_of(2)
            && let Some(powers) = long()
        {
            run.hold_against(frame, FoundTone::of(&powers));
        }
        run.tell(frame, mark);
    }

    /// Ends the run: nothing is audible.
    pub(super) fn end(&mut self) {
        self.run = None;
    }
}

impl SteadyTone {
    fn hold_against(&mut self, frame: u64, now: Option<FoundTone>) {
        match (self.tones, now) {
            (Some(before), Some(now)) if before.is(now) => self.steady += 1,
            (before, _) => {
                if before.is_some() || self.told.is_some() {
                    // What is looked at begins so far back.
                    self.start = (frame + 1).saturating_sub(FRAMES_OF_LONG as u64);
                }
                self.steady = 0;
                self.told = None;
            }
        }
        self.tones = now;
    }

    fn tell(&mut self, frame: u64, mark: &mut impl FnMut(SoundMark)) {
        let frames = frame + 1 - self.start;
        let Some(kind) = self.tones.and_then(|tones| tones.kind(self.steady, frames)) else {
            return;
        };
        let from = if self.told == Some(kind) {
            self.told_until
        } else {
            self.start
        };
        self.told = Some(kind);
        self.told_until = frame + 1;
        mark(SoundMark {
            from,
            until: frame + 1,
            kind,
        });
    }
}

impl FoundTone {
    /// The one or two sinusoids that make up a long look, if they do.
    fn of(powers: &[f32; LONG / 2 + 1]) -> Option<Self> {
        let all = LOWEST..LONG / 2;
        let total: f32 = powers[4..].iter().sum();
        let top = strongest(powers, all.clone(), None)?;
        let first = lobe(powers, top, REACH);
        let rest = strongest(powers, all, Some((top, REACH + 1)));
        let second = rest.map_or_else(SpectrumLobe::default, |bin| lobe(powers, bin, REACH));
        let is_pair = second.power >= SECOND * first.power;
        let explained = first.power + if is_pair { second.power } else { 0.0 };
        let mut frequencies = [first.frequency, 0.0];
        if is_pair {
            frequencies[1] = second.frequency;
            frequencies.sort_by(f32::total_cmp);
        }
        (total > 0.0 && explained >= PURE * total).then_some(Self {
            frequencies,
            count: 1 + usize::from(is_pair),
            power: explained,
        })
    }

    fn is(&self, other: Self) -> bool {
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= SAME;
        let change = self.power / other.power;
        self.count == other.count
            && self.frequencies.iter().zip(&other.frequencies).all(near)
            && (1.0 / STEADY..=STEADY).contains(&change)
    }

    /// Kind of sound after so many steady looks and frames, if it is certain.
    fn kind(&self, steady: u32, frames: u64) -> Option<SoundKind> {
        if self.count == 2 {
            let near = |pair: &[f32; 2]| {
                let mut both = pair.iter().zip(&self.frequencies);
                both.all(|(a, b)| (a - b).abs() <= NEAR * a)
            };
            let known = PAIRS.iter().find(|(pair, _)| near(pair))?;
            return (steady >= OF_PAIR).then_some(known.1);
        }
        let frequency = self.frequencies[0];
        let (needed, kind) = match frequency {
            _ if PROGRESS.contains(&frequency) && frames >= DIALS => (OF_PROGRESS, SoundKind::Tone),
            _ if PROGRESS.contains(&frequency) && frames >= RINGS => {
                (OF_PROGRESS, SoundKind::Ringback)
            }
            _ if PROGRESS.contains(&frequency) => (OF_PROGRESS, SoundKind::Busy),
            HIGH.. => (OF_HIGH, SoundKind::Tone),
            _ => (OF_LOW, SoundKind::Tone),
        };
        (steady >= needed).then_some(kind)
    }
}

/// Two strongest lobes of a short look, the lower one first, and the share of its power in them.
pub(super) fn lobes(powers: &[f32]) -> ([SpectrumLobe; 2], f32) {
    // 156 Hz to the end; below it hums the mains.
    let bins = 5..powers.len() - 1;
    let total: f32 = powers[2..].iter().sum();
    let Some(top) = strongest(powers, bins.clone(), None).filter(|_| total > 0.0) else {
        return ([SpectrumLobe::default(); 2], 0.0);
    };
    let first = lobe(powers, top, 2);
    let second = strongest(powers, bins, Some((top, 3)))
        .map_or_else(SpectrumLobe::default, |bin| lobe(powers, bin, 2));
    let purity = ((first.power + second.power) / total).min(1.0);
    let mut both = [first, second];
    both.sort_by(|a, b| a.frequency.total_cmp(&b.frequency));
    debug_assert!(both[1].frequency <= RATE);
    (both, purity)
}
