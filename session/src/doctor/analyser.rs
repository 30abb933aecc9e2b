//! Probes of a leg's sound. A healthy leg is probed for 20 ms in every 100; only where a probe
//! finds a tone, or no pause of speech for a while, is all of the audio analysed.

use std::time::Duration;

use asterscribe_call::FindingKind;
use asterscribe_speech::SAMPLE_RATE;
use asterscribe_speech::high_pass::HighPass;

use super::findings::FindingsLog;
use super::level::{ClippingProbe, SilenceProbe};
use super::predictor;
use super::tuner::PitchAnalyser;

/// Samples in one look, 20 ms.
const LOOK: usize = 320;

pub(super) const LOOK_TIME: Duration = Duration::from_millis(20);

/// Samples from one look to the next, 100 ms.
const EVERY: usize = 1600;

/// Samples before a look in which its filter settles, 20 ms.
const RUN_IN: usize = 320;

/// Time that one look stands for.
const LOOK_MS: u32 = 100;
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(LOOK_MS as u64);

/// Sample of the cycle from which on the filter settles for the next look.
const SETTLING: usize = EVERY - RUN_IN;

/// Mean square above which somebody may be speaking: -45 dB of full scale.
const AUDIBLE: f32 = 3.2e-5;

/// Magnitude from which on a sample counts as full scale: G.711 ends a little below 1.
const FULL: f32 = 0.97;

/// Largest share of a tone's power that a predictor of two sinusoids leaves. Speech leaves more,
/// but for moments.
const TONAL: f32 = 0.004;

/// Level of a pause within speech, relative to the recent audible looks: -10 dB.
const DIP: f32 = 0.1;

/// Looks without a pause that speech rarely has: 1.5 s.
pub(super) const UNPAUSED: u32 = 15;

/// Longest break of the audio that is not treated as one.
const BREAK: Duration = Duration::from_millis(150);

#[derive(Debug)]
pub(super) struct AudioAnalyser {
    /// Time that the audio has reached: by arrival, and between two breaks by its length.
    at: Duration,
    /// Samples since the last look began.
    phase: usize,
    odd: Option<f32>,
    /// High-pass filter: hum and offset are nobody's voice, so neither may count as sound.
    filter: HighPass,
    /// Samples of the look, filtered, at half the rate.
    look: [f32; LOOK / 2],
    filled: usize,
    full: u32,
    /// Mean square of the recent audible looks.
    habit: f32,
    unpaused: u32,
    silence: SilenceProbe,
    clipping: ClippingProbe,
    spoken_ms: u32,
    tuner: Option<Box<PitchAnalyser>>,
}

/// Result of one look.
#[derive(Debug, Clone, Copy)]
pub(super) struct AudioProbe {
    /// Time of its end.
    pub(super) at: Duration,
    /// Mean square, full scale 1.
    pub(super) power: f32,
    /// Share of samples at full scale.
    pub(super) full: f32,
    /// Whether it may consist of one or two steady tones.
    pub(super) is_tonal: bool,
    /// Looks in a row without a pause, this one included.
    pub(super) unpaused: u32,
}

impl AudioProbe {
    pub(super) fn is_audible(self) -> bool {
        self.power > AUDIBLE
    }
}

impl AudioAnalyser {
    pub(super) fn new() -> Self {
        Self {
            at: Duration::ZERO,
            phase: 0,
            odd: None,
            filter: HighPass::new(),
            look: [0.0; LOOK / 2],
            filled: 0,
            full: 0,
            habit: 0.0,
            unpaused: 0,
            silence: SilenceProbe::default(),
            clipping: ClippingProbe::default(),
            spoken_ms: 0,
            tuner: None,
        }
    }

    /// Takes 16 kHz audio. Audio with swapped bytes (`is_garbled`) is not judged by its sound.
    pub(super) fn hear(
        &mut self,
        at: Duration,
        mut samples: &[f32],
        is_garbled: bool,
        chart: &mut FindingsLog,
    ) {
        if at > self.at + BREAK {
            self.resume(at);
        }
        while !samples.is_empty() {
            let is_look = self.phase < LOOK;
            let until = match self.phase {
                ..LOOK => LOOK,
                LOOK..SETTLING => SETTLING,
                _ => EVERY,
            };
            let (part, rest) = samples.split_at((until - self.phase).min(samples.len()));
            samples = rest;
            if is_look {
                self.take(part);
            } else if until == EVERY {
                self.settle(part);
            }
            self.phase = (self.phase + part.len()) % EVERY;
            self.at += duration(part.len());
            if let Some(tuner) = &mut self.tuner {
                tuner.hear(self.at, part, chart);
            }
            if is_look && self.phase == LOOK {
                let look = self.finish_look();
                self.judge(look, is_garbled, chart);
            }
        }
    }

    /// See [`CallSession::glance`](crate::CallSession::glance).
    pub(super) fn glance(&self) -> u64 {
        u64::from(self.spoken_ms) + u64::from(self.tuner.is_some())
    }

    /// Milliseconds of speech since the last call.
    pub(super) fn take_spoken_ms(&mut self) -> u32 {
        std::mem::take(&mut self.spoken_ms)
    }

    /// Notes that another leg has spoken for `ms` milliseconds.
    pub(super) fn other_spoke(&mut self, at: Duration, ms: u32, chart: &mut FindingsLog) {
        self.silence.other_spoke(at, ms, chart);
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.tuner.as_ref().map(|tuner| tuner.deadline())
    }

    pub(super) fn tick(&mut self, at: Duration, chart: &mut FindingsLog) {
        self.tuner.take_if(|tuner| tuner.rests(at, chart));
    }

    /// Starts over behind a break of the audio.
    fn resume(&mut self, at: Duration) {
        self.at = at;
        self.phase = 0;
        self.odd = None;
        self.filter = HighPass::new();
        self.filled = 0;
        self.full = 0;
        self.unpaused = 0;
        if let Some(tuner) = &mut self.tuner {
            tuner.interrupt();
        }
    }

    /// Lets the filter settle on the samples right before a look.
    fn settle(&mut self, part: &[f32]) {
        if self.phase == SETTLING {
            self.filter = HighPass::new();
        }
        for sample in part {
            self.filter.next(f64::from(*sample));
        }
    }

    fn take(&mut self, part: &[f32]) {
        self.full += part.iter().map(|x| u32::from(x.abs() >= FULL)).sum::<u32>();
        let (look, filled) = (&mut self.look, &mut self.filled);
        let mut filtered = [0.0; LOOK];
        for (place, sample) in filtered.iter_mut().zip(part) {
            *place = self.filter.next(f64::from(*sample)) as f32;
        }
        halve(&filtered[..part.len()], &mut self.odd, |sample| {
            if let Some(place) = look.get_mut(*filled) {
                *place = sample;
                *filled += 1;
            }
        });
    }

    fn finish_look(&mut self) -> AudioProbe {
        let power = predictor::power(&self.look);
        let is_audible = power > AUDIBLE;
        if is_audible && power >= DIP * self.habit {
            self.unpaused = self.unpaused.saturating_add(1);
        } else {
            self.unpaused = 0;
        }
        if is_audible {
            self.habit += (power - self.habit) / 8.0;
        }
        let look = AudioProbe {
            at: self.at,
            power,
            full: self.full as f32 / LOOK as f32,
            is_tonal: is_audible && predictor::residual(&self.look) < TONAL,
            unpaused: self.unpaused,
        };
        (self.filled, self.full, self.odd) = (0, 0, None);
        look
    }

    fn judge(&mut self, look: AudioProbe, is_garbled: bool, chart: &mut FindingsLog) {
        self.silence.look(look, chart);
        if is_garbled {
            self.tuner = None;
            return;
        }
        self.clipping.look(look, chart);
        let is_machine = chart.any_lasts(&[
            FindingKind::ConstantTone,
            FindingKind::Ringback,
            FindingKind::Music,
        ]);
        if look.is_audible() && !is_machine {
            self.spoken_ms += LOOK_MS;
        }
        let is_suspicious = look.is_audible() && (look.is_tonal || look.unpaused >= UNPAUSED);
        if is_suspicious && self.tuner.is_none() {
            self.tuner = Some(Box::new(PitchAnalyser::new(look.at)));
        }
        self.tuner.take_if(|tuner| {
            tuner.look(look);
            tuner.rests(look.at, chart)
        });
    }
}

/// Halves the rate of `part`, with `odd` for the sample whose neighbour is still to come.
pub(super) fn halve(mut part: &[f32], odd: &mut Option<f32>, mut out: impl FnMut(f32)) {
    if let (Some(&next), Some(first)) = (part.first(), odd.take_if(|_| !part.is_empty())) {
        out((first + next) / 2.0);
        part = &part[1..];
    }
    let (pairs, rest) = part.as_chunks::<2>();
    for [first, second] in pairs {
        out((first + second) / 2.0);
    }
    if let [last] = rest {
        *odd = Some(*last);
    }
}

fn duration(samples: usize) -> Duration {
    // A piece of audio has no more than a few thousand samples.
    Duration::from_nanos(samples as u64 * 1_000_000_000 / u64::from(SAMPLE_RATE))
}
