//! Cuts a leg's continuous audio into utterances.
//!
//! The leg's timeline is counted in 16 kHz samples from its first packet. Audio
//! comes in through [`Segmenter::push`] and breaks in it through
//! [`Segmenter::gap`]; both move the timeline on, so an utterance's position is
//! exact whatever the network did.

mod held;
mod level;
mod part;
mod speech;

use std::mem;
use std::time::Duration;

use asterscribe_call::SoundKind;

use self::held::HeldSamples;
use self::level::FrameLevel;
use self::part::{FrameKind, PartRule};
use self::speech::OpenUtterance;
use crate::detector::{FRAME, VoiceDetector};
use crate::high_pass::{HighPass, RESIDUE};
use crate::sound::UtteranceSounds;
use crate::{SAMPLES_PER_MS, Utterance};

/// Settings by which speech is recognised as such and cut into utterances.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmenterConfig {
    /// Score from which a frame counts as voice while silent.
    pub enter_score: f32,
    /// Score below which a frame counts as silence while speaking (hysteresis).
    pub leave_score: f32,
    /// Voiced frames out of the last [`ONSET_WINDOW`] that begin an utterance: a
    /// click is one frame, a syllable at least five.
    pub onset_frames: usize,
    /// Audio kept from before the onset: plosives begin below the threshold.
    pub pre_roll: Duration,
    /// Silence that ends an utterance.
    pub hang_over: Duration,
    /// Part of that silence that stays in the utterance, because Whisper needs some.
    pub post_roll: Duration,
    /// Longest utterance; below Whisper's 30 s window.
    pub max_utterance: Duration,
    /// Part of an over-long utterance, from its end, in which the quietest place for the cut is
    /// sought.
    pub cut_search: Duration,
    /// Least voice in an utterance; with less it is dropped.
    pub min_voice: Duration,
    /// Whether frames that are no louder than the line's own noise count as silence.
    pub noise_gate: bool,
    /// Whether tones, keys and music are told from speech.
    pub tell_sounds: bool,
}

/// Frames looked back on for the onset, 96 ms.
pub const ONSET_WINDOW: usize = 6;

impl Default for SegmenterConfig {
    fn default() -> Self {
        Self {
            enter_score: 0.5,
            leave_score: 0.35,
            onset_frames: 3,
            pre_roll: Duration::from_millis(240),
            hang_over: Duration::from_millis(500),
            post_roll: Duration::from_millis(300),
            max_utterance: Duration::from_secs(28),
            cut_search: Duration::from_secs(4),
            min_voice: Duration::from_millis(80),
            noise_gate: true,
            tell_sounds: true,
        }
    }
}

/// One leg's detector and the utterance it is in.
#[derive(Debug)]
pub struct Segmenter {
    limits: SegmenterLimits,
    detector: VoiceDetector,
    /// Samples of an incomplete frame.
    partial: Vec<i16>,
    /// While silent the last frames, else the utterance so far.
    held: HeldSamples,
    /// Position on the timeline of the first sample of `held`.
    held_start: u64,
    state: SegmenterState,
    /// High-pass filter for everything but the detector, which gets the audio as it comes.
    filter: HighPass,
    level: FrameLevel,
    /// One bit for each of the last frames, newest in bit 0: whether it was voiced.
    recent: u8,
    /// Evidence of music at the end of the last utterance, for the next one to begin with.
    music: f32,
    /// Sounds found since they were last taken.
    spans: Vec<SoundSpan>,
}

/// A stretch of the timeline that the detector took for speech and that was another sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoundSpan {
    /// Kind of sound.
    pub kind: SoundKind,
    /// Position of its first sample on the leg's timeline.
    pub start: u64,
    /// Position one past its last sample.
    pub end: u64,
}

#[derive(Debug)]
enum SegmenterState {
    Silence,
    Speech(Box<OpenUtterance>),
}

/// The configuration in frames and samples.
#[derive(Debug)]
struct SegmenterLimits {
    enter_score: f32,
    leave_score: f32,
    onset_frames: usize,
    pre_roll: usize,
    hang_over_frames: usize,
    trim: usize,
    max_samples: usize,
    cut_frames: usize,
    noise_gate: bool,
    tell_sounds: bool,
    rule: PartRule,
}

impl Segmenter {
    /// A segmenter at position 0 of its timeline.
    pub fn new(config: &SegmenterConfig) -> Self {
        Self {
            limits: SegmenterLimits::new(config),
            detector: VoiceDetector::new(),
            partial: Vec::new(),
            held: HeldSamples::new(),
            held_start: 0,
            state: SegmenterState::Silence,
            filter: HighPass::new(),
            level: FrameLevel::new(),
            recent: 0,
            music: 0.0,
            spans: Vec::new(),
        }
    }

    /// Position of the timeline: samples pushed and skipped so far.
    pub fn position(&self) -> u64 {
        self.held_start + (self.held.len() + self.partial.len()) as u64
    }

    /// Position from which on it is undecided what is speech; before it nothing becomes part of an
    /// utterance any more.
    pub fn undecided(&self) -> u64 {
        self.held_start
    }

    /// Whether an utterance is open.
    pub fn is_speaking(&self) -> bool {
        matches!(self.state, SegmenterState::Speech { .. })
    }

    /// Where the speech begins that is open, and how many samples of it there are: the
    /// utterance, or what follows the last other sound in it, if there is a voice in that.
    pub fn speaking(&self) -> Option<(u64, u64)> {
        let SegmenterState::Speech(speech) = &self.state else {
            return None;
        };
        let skipped = match speech.sound {
            0 => 0,
            sound if speech.frames[sound..].contains(&FrameKind::Voice) => {
                self.held.len() - (speech.frames.len() - sound) * FRAME
            }
            _ => return None,
        };
        Some((
            self.held_start + skipped as u64,
            (self.held.len() - skipped) as u64,
        ))
    }

    /// Whether what is open may turn out to be no speech.
    pub fn is_doubtful(&self) -> bool {
        let SegmenterState::Speech(speech) = &self.state else {
            return false;
        };
        speech
            .sounds
            .as_ref()
            .is_some_and(UtteranceSounds::may_last)
    }

    /// Samples of the open speech.
    pub fn so_far(&self) -> Vec<i16> {
        let mut samples = self.held.to_vec();
        if let Some((start, _)) = self.speaking() {
            // No more than what is held.
            samples.drain(..(start - self.held_start) as usize);
        }
        samples
    }

    /// Sounds that were taken for speech, found since the last call.
    pub fn take_sounds(&mut self) -> Vec<SoundSpan> {
        mem::take(&mut self.spans)
    }

    /// Takes samples in -1.0..=1.0 (others are clamped) and appends the
    /// utterances they complete to `done`.
    pub fn push(&mut self, samples: &[f32], done: &mut Vec<Utterance>) {
        let mut rest = samples;
        while !rest.is_empty() {
            let room = FRAME - self.partial.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.partial
                .extend(now.iter().map(|&sample| to_pcm(sample)));
            rest = later;
            if self.partial.len() == FRAME {
                self.take_frame(done);
            }
        }
    }

    /// Ends an open utterance, then moves the timeline on by `samples` without audio.
    pub fn gap(&mut self, samples: u64, done: &mut Vec<Utterance>) {
        self.end(done);
        self.held_start += samples;
    }

    /// Whether the audio stands in an utterance and not in a pause of it, nor in another sound: it
    /// may be within a word.
    pub fn is_in_word(&self) -> bool {
        match &self.state {
            SegmenterState::Silence => false,
            SegmenterState::Speech(speech) => speech.is_in_word(self.limits.noise_gate),
        }
    }

    /// Ends an open utterance at the present position.
    pub fn end(&mut self, done: &mut Vec<Utterance>) {
        let rest = mem::take(&mut self.partial);
        self.held.extend(&rest);
        self.close(done);
        self.skip_held();
        self.detector.reset();
        self.filter = HighPass::new();
        self.recent = 0;
    }

    fn take_frame(&mut self, done: &mut Vec<Utterance>) {
        let mut frame = [0; FRAME];
        frame.copy_from_slice(&self.partial);
        self.partial.clear();
        self.held.extend(&frame);
        let score = self.detector.score(&frame);
        let swing = swing(&frame);
        let frame = self.filter.frame(&frame);
        let energy = energy(&frame);
        let is_hum = energy <= RESIDUE * swing;
        let is_audible = self.level.is_audible(energy) && !is_hum || !self.limits.noise_gate;
        match &mut self.state {
            SegmenterState::Silence => self.listen(is_audible && score >= self.limits.enter_score),
            SegmenterState::Speech(speech) => {
                speech.take(&frame, score, self.limits.leave_score, is_audible);
                self.held.pack();
                let is_full = self.held.len() + FRAME > self.limits.max_samples;
                // No better place for a cut than the pause it is in.
                let pauses = is_full && speech.quiet_frames >= ONSET_WINDOW;
                if pauses || speech.quiet_frames >= self.limits.hang_over_frames {
                    self.close(done);
                } else if is_full {
                    self.cut(done);
                }
            }
        }
    }

    /// Takes a frame while silent: keeps the pre-roll and watches for an onset.
    fn listen(&mut self, voiced: bool) {
        self.recent = ((self.recent << 1) | u8::from(voiced)) & ((1 << ONSET_WINDOW) - 1);
        self.keep_pre_roll();
        if self.recent.count_ones() as usize >= self.limits.onset_frames {
            self.state = SegmenterState::Speech(Box::new(self.begin()));
            self.recent = 0;
        }
    }

    /// Drops all but the pre-roll and the frames in which an onset is sought.
    fn keep_pre_roll(&mut self) {
        let keep = self.limits.pre_roll + ONSET_WINDOW * FRAME;
        if self.held.len() > keep {
            let surplus = self.held.len() - keep;
            self.held.drop_front(surplus);
            self.held_start += surplus as u64;
        }
        // An utterance's buffer is large and rare; a silent leg should not keep it.
        self.held.compact(keep + FRAME);
    }

    /// The utterance that begins with the samples held at an onset.
    fn begin(&self) -> OpenUtterance {
        let held = self.held.to_vec();
        let count = held.len() / FRAME;
        let mut speech = OpenUtterance {
            quiet_frames: 0,
            is_heard: true,
            frames: Vec::new(),
            gone: 0,
            sound: 0,
            sounds: self
                .limits
                .tell_sounds
                .then(|| UtteranceSounds::new(self.music)),
        };
        let held = &held[held.len() - count * FRAME..];
        let mut filter = HighPass::before(held);
        let (frames, _) = held.as_chunks::<FRAME>();
        for (age, frame) in (0..count).rev().zip(frames) {
            let frame = &filter.frame(frame);
            let is_voiced = age < ONSET_WINDOW && self.recent >> age & 1 == 1;
            // Tones begin before the detector hears them. Its scores are gone: none speaks for music.
            speech.push(frame, 1.0, is_voiced, true);
        }
        speech.quiet_frames = 0;
        speech
    }

    /// Ends the open utterance, keeping the post-roll of its closing silence.
    fn close(&mut self, done: &mut Vec<Utterance>) {
        let SegmenterState::Speech(speech) = mem::replace(&mut self.state, SegmenterState::Silence)
        else {
            return;
        };
        self.music = speech.sounds.as_ref().map_or(0.0, UtteranceSounds::music);
        let surplus = (speech.quiet_frames * FRAME).saturating_sub(self.limits.trim);
        let keep = self.held.len().saturating_sub(surplus);
        let is_one = |frames: &[FrameKind]| {
            let sounds = frames.iter().filter(|frame| **frame != FrameKind::Quiet);
            sounds.count() >= self.limits.rule.least_voice
        };
        if keep > 0 && is_one(&speech.frames) {
            let samples = self.held.take();
            let offset = samples.len() - speech.frames.len() * FRAME;
            self.emit(samples, keep, &speech.frames, offset, done);
        }
        // What is left is silence: it becomes the next pre-roll.
        self.keep_pre_roll();
    }

    /// Splits an over-long utterance at its quietest recent frame; the rest stays open.
    fn cut(&mut self, done: &mut Vec<Utterance>) {
        let SegmenterState::Speech(speech) = &mut self.state else {
            return;
        };
        let samples = self.held.take();
        let offset = samples.len() - speech.frames.len() * FRAME;
        // Counted from the end: what is held may begin within a frame.
        let sought = speech.frames.len().min(self.limits.cut_frames);
        let recent = &samples[samples.len() - sought * FRAME..];
        let mut filter = HighPass::before(recent);
        let (frames, _) = recent.as_chunks::<FRAME>();
        let energies = frames.iter().map(|frame| energy(&filter.frame(frame)));
        // Of those that are equally quiet the newest.
        let quietest = energies
            .enumerate()
            .min_by(|(m, a), (n, b)| a.total_cmp(b).then(n.cmp(m)));
        let behind = quietest.map_or(0, |(place, _)| sought - 1 - place);
        let gone = speech.cut(behind);
        let count = samples.len() - behind * FRAME;
        self.emit(samples, count, &gone, offset, done);
    }

    /// Makes the first `count` of the held samples, whose frames begin at `offset`, an utterance,
    /// or several with other sounds between them; the rest is held again.
    fn emit(
        &mut self,
        mut samples: Vec<i16>,
        count: usize,
        frames: &[FrameKind],
        offset: usize,
        done: &mut Vec<Utterance>,
    ) {
        // The utterance takes the buffer with it; what is left is the smaller part.
        self.held = samples.split_off(count).into();
        let start = self.held_start;
        self.held_start += count as u64;
        for part in part::parts(frames, offset, count, self.limits.rule) {
            let (from, end) = (start + part.from as u64, start + part.until as u64);
            match part.sound {
                Some(kind) => self.spans.push(SoundSpan {
                    kind,
                    start: from,
                    end,
                }),
                None if part.from == 0 && part.until == count => {
                    samples.shrink_to_fit();
                    done.push(Utterance {
                        start: from,
                        samples: mem::take(&mut samples),
                    });
                }
                None => done.push(Utterance {
                    start: from,
                    samples: samples[part.from..part.until].to_vec(),
                }),
            }
        }
    }

    fn skip_held(&mut self) {
        self.held_start += self.held.len() as u64;
        self.held = HeldSamples::new();
    }
}

impl SegmenterLimits {
    fn new(config: &SegmenterConfig) -> Self {
        let samples = |d: Duration| {
            let samples = d.as_millis().saturating_mul(u128::from(SAMPLES_PER_MS));
            usize::try_from(samples).unwrap_or(usize::MAX)
        };
        let frames = |d: Duration| samples(d).div_ceil(FRAME);
        Self {
            enter_score: config.enter_score,
            leave_score: config.leave_score,
            onset_frames: config.onset_frames.clamp(1, ONSET_WINDOW),
            pre_roll: samples(config.pre_roll),
            hang_over_frames: (samples(config.hang_over) / FRAME).max(1),
            trim: samples(config.post_roll),
            max_samples: samples(config.max_utterance).max(2 * FRAME),
            cut_frames: frames(config.cut_search).max(1),
            noise_gate: config.noise_gate,
            tell_sounds: config.tell_sounds,
            rule: PartRule {
                least_voice: frames(config.min_voice),
                before: samples(config.pre_roll) / FRAME,
                behind: samples(config.post_roll) / FRAME,
            },
        }
    }
}

/// Energy, summed in whole numbers, so that the order of addition does not matter.
fn energy(frame: &[i16]) -> f32 {
    let squares = frame
        .iter()
        .map(|&s| i64::from(i32::from(s) * i32::from(s)));
    squares.sum::<i64>() as f32
}

/// Energy without a constant offset.
fn swing(frame: &[i16; FRAME]) -> f32 {
    let sum: i64 = frame.iter().map(|&s| i64::from(s)).sum();
    energy(frame) - (sum * sum) as f32 / FRAME as f32
}

/// Rounds half away from zero, as `f32::round` does, but without a call for each
/// sample where the processor has no instruction for it. The cast cuts off what
/// is behind the point; the largest number below a half takes no sample that is
/// nearer to the smaller number over to the larger.
fn to_pcm(sample: f32) -> i16 {
    let scaled = sample * 32768.0;
    // A float-to-integer `as` saturates, so an overshoot clips as it would on the wire.
    (scaled + 0.5f32.next_down().copysign(scaled)) as i16
}

#[cfg(test)]
mod tests;
