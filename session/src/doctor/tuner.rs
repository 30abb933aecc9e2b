//! Listens closely, as long as that is called for: blocks of 100 ms, each a
//! spectrum of a few strong peaks.

use std::time::Duration;

use super::analyser::{AudioProbe, LOOK_EVERY, UNPAUSED, halve};
use super::findings::FindingsLog;
use super::music::MusicProbe;
use super::spectrum::{BLOCK, BlockSpectrum, SpectrumPeaks};
use super::tone::ToneProbe;

/// A block begins every 50 ms, so that it overlaps the one before by half.
const HOP: usize = BLOCK / 2;
pub(super) const BLOCK_TIME: Duration = Duration::from_millis(100);

/// How long a tonal look is a reason to look for tones.
const TONE_WATCH: Duration = Duration::from_millis(350);

/// How long without a reason the tuner is kept.
const KEPT: Duration = Duration::from_millis(1_500);

/// Blocks from one pair that is looked at for music to the next, 450 ms; a
/// round number might keep step with the beat and see nothing but changes.
const MUSIC_EVERY: u32 = 9;

/// Mean square below which a block is silence: -50 dB of full scale.
const SILENT: f32 = 1e-5;

#[derive(Debug)]
pub(super) struct PitchAnalyser {
    block: [f32; BLOCK],
    filled: usize,
    odd: Option<f32>,
    spectrum: BlockSpectrum,
    tones: ToneProbe,
    music: MusicProbe,
    /// Blocks so far, for the pairs of music.
    blocks: u32,
    /// Two blocks before the present one, if that was looked at for music.
    before: Option<SpectrumPeaks>,
    tonal: Duration,
    unpaused: u32,
    called_for: Duration,
}

impl PitchAnalyser {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            block: [0.0; BLOCK],
            filled: 0,
            odd: None,
            spectrum: BlockSpectrum::new(),
            tones: ToneProbe::default(),
            music: MusicProbe::default(),
            blocks: 0,
            before: None,
            tonal: now,
            unpaused: 0,
            called_for: now,
        }
    }

    /// Takes audio of 16 kHz that ends at `at`.
    pub(super) fn hear(&mut self, at: Duration, part: &[f32], chart: &mut FindingsLog) {
        let mut odd = self.odd.take();
        halve(part, &mut odd, |sample| {
            self.block[self.filled] = sample;
            self.filled += 1;
            if self.filled == BLOCK {
                self.listen(at, chart);
                self.block.copy_within(HOP.., 0);
                self.filled = HOP;
            }
        });
        self.odd = odd;
    }

    pub(super) fn look(&mut self, look: AudioProbe) {
        self.unpaused = look.unpaused;
        if look.is_tonal {
            self.tonal = look.at;
        }
        if look.is_tonal || look.unpaused >= UNPAUSED {
            self.called_for = look.at;
        }
    }

    /// The audio breaks off; what follows is not its continuation.
    pub(super) fn interrupt(&mut self) {
        self.filled = 0;
        self.odd = None;
        self.before = None;
    }

    /// When it must be asked whether it may rest.
    pub(super) fn deadline(&self) -> Duration {
        let idle = self.called_for + KEPT;
        self.tones
            .deadline()
            .into_iter()
            .chain(self.music.deadline())
            .fold(idle, Duration::max)
    }

    /// Ends what is over, if nothing calls for listening any more; whether that is so.
    pub(super) fn rests(&mut self, at: Duration, chart: &mut FindingsLog) -> bool {
        let rests = self.deadline() <= at;
        if rests {
            self.tones.lapse(at, chart);
            self.music.lapse(at, chart);
        }
        rests
    }

    fn listen(&mut self, at: Duration, chart: &mut FindingsLog) {
        self.blocks = self.blocks.wrapping_add(1);
        let power = self.spectrum.load(&self.block);
        if power < SILENT {
            self.before = None;
            self.tones.silent(at, chart);
            self.music.lapse(at, chart);
            return;
        }
        if let Some(frequencies) = self.tones.lasting() {
            // To know a tone again is cheaper than to find it.
            let is_same = self.spectrum.is_made_of(frequencies);
            self.tones.again(at, is_same, power, chart);
            if is_same {
                return;
            }
        }
        let wants_tones = at <= self.tonal + TONE_WATCH;
        let pair = self.blocks % MUSIC_EVERY;
        let wants_music =
            (self.unpaused >= UNPAUSED || self.music.lasts()) && pair <= 2 && pair != 1;
        if !wants_tones && !wants_music {
            return;
        }
        let peaks = self.spectrum.peaks();
        if wants_tones && self.tones.peaks(at, &peaks, chart) {
            return;
        }
        if pair == 2
            && let Some(before) = self.before.take()
        {
            let held = peaks.held_from(&before);
            let unpaused = LOOK_EVERY * self.unpaused;
            self.music.pair(at, held, unpaused, chart);
        }
        if pair == 0 {
            self.before = Some(peaks);
        }
    }
}
