//! Music: notes that stay where they are, more of them at once than one voice has.
//!
//! Each eighth of a second says something for or against it: how many of its notes were
//! there before, and whether one voice could have sung them all. What they say is added
//! up as a cumulative sum (Page, 1954) of the logarithms of how likely each is in music
//! and in speech; `docs/segmentation.md` says what that was measured on.

use asterscribe_call::SoundKind;

use super::SoundMark;
use super::fft::{LONG, SpectrumLobe, lobe};

/// Most notes kept of a look.
const NOTES: usize = 8;

/// Lowest and highest of them, bins of 7.8 Hz: 180 to 3,400 Hz.
const BINS: std::ops::Range<usize> = 23..436;

/// Power relative to the strongest note below which a note is only the window's side lobe: -25 dB.
const FLOOR: f32 = 0.003;

/// Most by which a note may move in an eighth of a second and be the same, Hz.
const SAME: f32 = 4.0;

/// Pitches of voices, Hz, and how far a harmonic may be off: 3 Hz or 0.6 %.
const VOICES: std::ops::Range<f32> = 75.0..450.0;
const OFF: (f32, f32) = (3.0, 0.006);

/// Highest harmonic that the strongest notes of a voice can be.
const HARMONICS: usize = 12;

/// Weights of the evidence, from a logistic regression. `held`: share of notes that were there
/// before; `sung`: share that one voice can have sung; the detector's score is lower in music.
const BIAS: f32 = 4.8;
const HELD: f32 = 3.75;
const SUNG: f32 = 1.5;
const CHANCE: f32 = 0.6;
const SCORE: f32 = 8.0;

/// Least and greatest contribution of a single look to the sum.
const LEAST: f32 = -3.0;
const MOST_AT_ONCE: f32 = 1.5;

/// Sum from which on it is music; the largest sum; and the fall from its highest value after which
/// the music has ended there.
const ON: f32 = 16.0;
const MOST: f32 = 18.0;
const LOST: f32 = 12.0;

/// Detector of music.
#[derive(Debug, Default)]
pub(super) struct MusicDetector {
    before: NoteTrack,
    case: MusicCase,
}

/// Cumulative sum of the evidence for music.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct MusicCase {
    sum: f32,
    /// Largest sum while it is music; otherwise the least since it ended.
    extreme: f32,
    /// Frame at which the sum was least: the evidence since then begins there.
    start: u64,
    /// Frame up to which music has been marked.
    told: u64,
    is_music: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct NoteTrack {
    notes: [SpectrumLobe; NOTES],
    count: usize,
}

impl MusicDetector {
    /// Goes on with the sum at the end of the leg's last utterance.
    pub(super) fn new(sum: f32) -> Self {
        let case = MusicCase {
            sum,
            extreme: sum,
            ..MusicCase::default()
        };
        Self {
            before: NoteTrack::default(),
            case,
        }
    }

    /// Cumulative sum, for the leg's next utterance to begin with.
    pub(super) fn sum(&self) -> f32 {
        self.case.sum
    }

    /// Whether music is known to play.
    pub(super) fn lasts(&self) -> bool {
        self.case.is_music && self.case.sum >= self.case.extreme
    }

    /// Whether music may be playing.
    pub(super) fn may_last(&self) -> bool {
        self.case.sum >= ON / 3.0
    }

    /// Takes the long look that ends with the frame of that number.
    pub(super) fn look(
        &mut self,
        frame: u64,
        score: f32,
        powers: &[f32; LONG / 2 + 1],
        mark: &mut impl FnMut(SoundMark),
    ) {
        let notes = NoteTrack::of(powers);
        let says = notes.say(&self.before, score);
        self.before = notes;
        let until = frame + 1;
        if let Some(from) = self.case.hear(until, says) {
            mark(SoundMark {
                from,
                until,
                kind: SoundKind::Music,
            });
        }
    }

    /// Forgets the last notes: the next look does not continue them.
    pub(super) fn interrupt(&mut self) {
        self.before = NoteTrack::default();
    }
}

impl MusicCase {
    /// Adds the evidence of a look that ends at `until`; returns the start of the music that lasts
    /// until there, as far as it was not marked before.
    fn hear(&mut self, until: u64, says: f32) -> Option<u64> {
        self.sum = (self.sum + says).clamp(0.0, MOST);
        if self.is_music && self.sum < self.extreme - LOST {
            // It ended where the sum was highest.
            self.is_music = false;
            self.extreme = self.sum;
            self.start = until;
        }
        if !self.is_music {
            if self.sum <= self.extreme {
                self.extreme = self.sum;
                self.start = until;
            }
            if self.sum < ON {
                return None;
            }
            self.is_music = true;
            self.extreme = self.sum;
        }
        if self.sum < self.extreme {
            return None;
        }
        self.extreme = self.sum;
        Some(std::mem::replace(&mut self.told, until).max(self.start))
    }
}

impl NoteTrack {
    fn of(powers: &[f32; LONG / 2 + 1]) -> Self {
        let mut found = Self::default();
        let mut floor = 0.0;
        for bin in BINS {
            let power = powers[bin];
            if power > floor && power >= powers[bin - 1] && power > powers[bin + 1] {
                found.insert(lobe(powers, bin, 2));
                floor = floor.max(FLOOR * power);
            }
        }
        let floor = FLOOR * found.notes[0].power;
        found.count = found.iter().take_while(|note| note.power >= floor).count();
        found
    }

    fn insert(&mut self, note: SpectrumLobe) {
        let place = self
            .iter()
            .take_while(|old| old.power >= note.power)
            .count();
        if place < NOTES {
            self.notes[place..].rotate_right(1);
            self.notes[place] = note;
            self.count = (self.count + 1).min(NOTES);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &SpectrumLobe> {
        self.notes[..self.count].iter()
    }

    /// Log-likelihood ratio of music to speech for these notes and that score of the detector.
    fn say(&self, before: &Self, score: f32) -> f32 {
        let held = self.share(|note| {
            let same = |old: &SpectrumLobe| (old.frequency - note.frequency).abs() <= SAME;
            before.iter().any(same)
        });
        let sung = self.sung();
        let says = BIAS + HELD * held - SUNG * (sung - CHANCE).max(0.0) - SCORE * score;
        says.clamp(LEAST, MOST_AT_ONCE)
    }

    /// Greatest share of the notes that one voice can have sung.
    fn sung(&self) -> f32 {
        let mut best = 0.0f32;
        for note in self.iter().take(3) {
            for harmonic in 1..=HARMONICS {
                let pitch = note.frequency / harmonic as f32;
                if VOICES.contains(&pitch) {
                    best = best.max(self.share(|note| is_harmonic(note.frequency, pitch)));
                }
            }
        }
        best
    }

    /// Share of the notes that `is_meant` selects, by amplitude: a single loud note is not all
    /// there is to hear.
    fn share(&self, is_meant: impl Fn(&SpectrumLobe) -> bool) -> f32 {
        let (mut meant, mut all) = (0.0, 0.0);
        for note in self.iter() {
            let weight = note.power.sqrt();
            all += weight;
            meant += if is_meant(note) { weight } else { 0.0 };
        }
        if all > 0.0 { meant / all } else { 0.0 }
    }
}

fn is_harmonic(frequency: f32, pitch: f32) -> bool {
    let harmonic = (frequency / pitch).round().max(1.0);
    (frequency - harmonic * pitch).abs() <= OFF.0.max(OFF.1 * frequency)
}
