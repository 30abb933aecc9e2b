//! Cuts a leg's continuous audio into utterances.
//!
//! The leg's timeline is counted in 16 kHz samples from its first packet. Audio
//! comes in through [`Segmenter::push`] and breaks in it through
//! [`Segmenter::gap`]; both move the timeline on, so an utterance's position is
//! exact whatever the network did.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use super::detector::{Detector, FRAME};
use super::{SAMPLES_PER_MS, Utterance};

/// How speech is told from the rest and where it is cut.
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
    /// How much of that silence stays in the utterance; Whisper wants some.
    pub post_roll: Duration,
    /// Utterances are cut before they get longer; below Whisper's 30 s window.
    pub max_utterance: Duration,
    /// Part of an over-long utterance, from its end, in which the quietest place for the cut is sought.
    pub cut_search: Duration,
    /// Voice that an utterance must hold to be one.
    pub min_voice: Duration,
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
        }
    }
}

/// One leg's detector and the utterance it is in.
#[derive(Debug)]
pub struct Segmenter {
    limits: Limits,
    detector: Detector,
    /// Samples short of a frame, waiting for the rest.
    partial: Vec<i16>,
    /// The last frames while silent, else the utterance so far.
    held: VecDeque<i16>,
    /// Position on the timeline of the first sample of `held`.
    held_start: u64,
    state: State,
    /// Which of the last frames were voiced, newest in bit 0.
    recent: u8,
}

#[derive(Debug)]
enum State {
    Silence,
    Speech {
        /// Frames since the last voiced one.
        quiet_frames: usize,
        voiced_frames: usize,
        /// Energy of each whole frame in `held`, for the place of a forced cut.
        energies: Vec<f32>,
    },
}

/// The configuration in frames and samples.
#[derive(Debug)]
struct Limits {
    enter_score: f32,
    leave_score: f32,
    onset_frames: usize,
    pre_roll: usize,
    hang_over_frames: usize,
    trim: usize,
    max_samples: usize,
    cut_frames: usize,
    min_voiced_frames: usize,
}

impl Segmenter {
    /// A segmenter at position 0 of its timeline.
    pub fn new(config: &SegmenterConfig) -> Self {
        Self {
            limits: Limits::new(config),
            detector: Detector::new(),
            partial: Vec::new(),
            held: VecDeque::new(),
            held_start: 0,
            state: State::Silence,
            recent: 0,
        }
    }

    /// Where the timeline stands: samples pushed and skipped so far.
    pub fn position(&self) -> u64 {
        self.held_start + (self.held.len() + self.partial.len()) as u64
    }

    /// Whether an utterance is open.
    pub fn is_speaking(&self) -> bool {
        matches!(self.state, State::Speech { .. })
    }

    /// Takes samples in -1.0..=1.0 (others are clamped) and appends the
    /// utterances they complete to `done`.
    pub fn push(&mut self, samples: &[f32], done: &mut Vec<Utterance>) {
        for &sample in samples {
            self.partial.push(to_pcm(sample));
            if self.partial.len() == FRAME {
                self.take_frame(done);
            }
        }
    }

    /// Ends an open utterance, then moves the timeline on by `samples` of which nothing is known.
    pub fn gap(&mut self, samples: u64, done: &mut Vec<Utterance>) {
        self.end(done);
        self.held_start += samples;
    }

    /// Ends an open utterance where the timeline stands.
    pub fn end(&mut self, done: &mut Vec<Utterance>) {
        let rest = mem::take(&mut self.partial);
        self.held.extend(rest);
        self.close(done);
        self.skip_held();
        self.detector.reset();
        self.recent = 0;
    }

    fn take_frame(&mut self, done: &mut Vec<Utterance>) {
        let mut frame = [0; FRAME];
        frame.copy_from_slice(&self.partial);
        self.partial.clear();
        self.held.extend(frame);
        let score = self.detector.score(&frame);
        match &mut self.state {
            State::Silence => self.listen(score),
            State::Speech {
                quiet_frames,
                voiced_frames,
                energies,
            } => {
                energies.push(energy(&frame));
                if score >= self.limits.leave_score {
                    *quiet_frames = 0;
                    *voiced_frames += 1;
                } else {
                    *quiet_frames += 1;
                }
                if *quiet_frames >= self.limits.hang_over_frames {
                    self.close(done);
                } else if self.held.len() + FRAME > self.limits.max_samples {
                    self.cut(done);
                }
            }
        }
    }

    /// Silence: keeps the pre-roll and watches for an onset.
    fn listen(&mut self, score: f32) {
        let voiced = score >= self.limits.enter_score;
        self.recent = ((self.recent << 1) | u8::from(voiced)) & ((1 << ONSET_WINDOW) - 1);
        let voiced_frames = self.recent.count_ones() as usize;
        let keep = self.limits.pre_roll + ONSET_WINDOW * FRAME;
        if self.held.len() > keep {
            let surplus = self.held.len() - keep;
            self.held.drain(..surplus);
            self.held_start += surplus as u64;
        }
        if voiced_frames >= self.limits.onset_frames {
            let energies = self
                .held
                .make_contiguous()
                .chunks_exact(FRAME)
                .map(energy)
                .collect();
            self.state = State::Speech {
                quiet_frames: 0,
                voiced_frames,
                energies,
            };
            self.recent = 0;
        }
    }

    /// Ends the open utterance, keeping the post-roll of its closing silence.
    fn close(&mut self, done: &mut Vec<Utterance>) {
        let State::Speech {
            quiet_frames,
            voiced_frames,
            ..
        } = mem::replace(&mut self.state, State::Silence)
        else {
            return;
        };
        let surplus = (quiet_frames * FRAME).saturating_sub(self.limits.trim);
        let keep = self.held.len().saturating_sub(surplus);
        if voiced_frames >= self.limits.min_voiced_frames && keep > 0 {
            self.emit(keep, done);
        }
        // What is left is silence: it becomes the next pre-roll.
    }

    /// Splits an over-long utterance at its quietest recent frame; the rest stays open.
    fn cut(&mut self, done: &mut Vec<Utterance>) {
        let State::Speech { energies, .. } = &mut self.state else {
            return;
        };
        let from = energies.len().saturating_sub(self.limits.cut_frames);
        let quietest = (from..energies.len())
            .min_by(|&a, &b| energies[a].total_cmp(&energies[b]))
            .map_or(energies.len(), |frame| frame + 1);
        energies.drain(..quietest);
        let keep = (quietest * FRAME).min(self.held.len());
        self.emit(keep, done);
    }

    fn emit(&mut self, count: usize, done: &mut Vec<Utterance>) {
        let samples: Vec<i16> = self.held.drain(..count).collect();
        done.push(Utterance {
            start: self.held_start,
            samples,
        });
        self.held_start += count as u64;
    }

    fn skip_held(&mut self) {
        self.held_start += self.held.len() as u64;
        // An utterance's buffer is large and rare; a silent leg should not keep it.
        self.held = VecDeque::new();
    }
}

impl Limits {
    fn new(config: &SegmenterConfig) -> Self {
        let samples = |d: Duration| (d.as_millis() as u64 * SAMPLES_PER_MS) as usize;
        let frames = |d: Duration| samples(d).div_ceil(FRAME);
        Self {
            enter_score: config.enter_score,
            leave_score: config.leave_score,
            onset_frames: config.onset_frames.clamp(1, ONSET_WINDOW),
            pre_roll: samples(config.pre_roll),
            hang_over_frames: frames(config.hang_over).max(1),
            trim: samples(config.post_roll),
            max_samples: samples(config.max_utterance).max(2 * FRAME),
            cut_frames: frames(config.cut_search).max(1),
            min_voiced_frames: frames(config.min_voice),
        }
    }
}

fn energy(frame: impl AsRef<[i16]>) -> f32 {
    frame
        .as_ref()
        .iter()
        .map(|&s| f32::from(s) * f32::from(s))
        .sum()
}

fn to_pcm(sample: f32) -> i16 {
    // A float-to-integer `as` saturates, so an overshoot clips as it would on the wire.
    (sample * 32768.0).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: f64) -> usize {
        (n * 16_000.0) as usize
    }

    /// Something the detector takes for a voice: a glottal pulse train through
    /// three slowly moving resonances.
    fn voice(samples: usize) -> Vec<f32> {
        let mut resonators = [[0.0f32; 2]; 3];
        let mut phase = 0.0f32;
        (0..samples)
            .map(|n| {
                let t = n as f32 / 16_000.0;
                phase += (120.0 + 15.0 * (t * 5.0).sin()) / 16_000.0;
                let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
                phase = phase.fract();
                let wobble = (t * 7.0).sin();
                let mut out = pulse;
                for (r, (hz, q)) in resonators.iter_mut().zip([
                    (600.0 + 150.0 * wobble, 0.97),
                    (1400.0 - 300.0 * wobble, 0.96),
                    (2500.0, 0.95),
                ]) {
                    let c = 2.0 * q * (std::f32::consts::TAU * hz / 16_000.0).cos();
                    let y = out + c * r[0] - q * q * r[1];
                    *r = [y, r[0]];
                    out = y * 0.35;
                }
                out.clamp(-1.0, 1.0) * (0.6 + 0.4 * (t * 20.0).sin())
            })
            .collect()
    }

    fn run(audio: &[f32], step: usize) -> (Segmenter, Vec<Utterance>) {
        let mut segmenter = Segmenter::new(&SegmenterConfig::default());
        let mut done = Vec::new();
        for chunk in audio.chunks(step) {
            segmenter.push(chunk, &mut done);
        }
        (segmenter, done)
    }

    #[test]
    fn a_voice_between_silences_is_one_utterance_in_its_place() {
        let mut audio = vec![0.0; seconds(1.0)];
        audio.extend(voice(seconds(2.0)));
        audio.extend(vec![0.0; seconds(1.5)]);
        let (segmenter, done) = run(&audio, 320);
        assert_eq!(
            done.len(),
            1,
            "{:?}",
            done.iter().map(|u| (u.start, u.end())).collect::<Vec<_>>()
        );
        let found = &done[0];
        assert!(
            (seconds(0.6)..=seconds(1.0)).contains(&(found.start as usize)),
            "{}",
            found.start
        );
        assert!(
            (seconds(2.9)..=seconds(3.6)).contains(&(found.end() as usize)),
            "{}",
            found.end()
        );
        assert!(!segmenter.is_speaking());
        assert_eq!(segmenter.position(), audio.len() as u64);
    }

    #[test]
    fn the_result_does_not_depend_on_how_the_audio_is_handed_over() {
        let mut audio = vec![0.0; seconds(0.5)];
        audio.extend(voice(seconds(1.0)));
        audio.extend(vec![0.0; seconds(1.0)]);
        let whole = run(&audio, audio.len()).1;
        assert!(!whole.is_empty());
        for step in [1, 7, 160, 320, 1000] {
            assert_eq!(run(&audio, step).1, whole, "step {step}");
        }
    }

    #[test]
    fn silence_and_a_click_are_no_utterance() {
        let mut audio = vec![0.0; seconds(3.0)];
        audio[seconds(1.0)] = 1.0;
        let (mut segmenter, mut done) = run(&audio, 320);
        segmenter.end(&mut done);
        assert!(done.is_empty());
    }

    #[test]
    fn endless_speech_is_cut_below_the_window_and_loses_no_sample() {
        let audio = voice(seconds(70.0));
        let (mut segmenter, mut done) = run(&audio, 320);
        segmenter.end(&mut done);
        assert!(done.len() >= 3);
        for pair in done.windows(2) {
            assert_eq!(pair[0].end(), pair[1].start);
        }
        assert!(done.iter().all(|u| u.samples.len() <= seconds(28.0)));
        assert_eq!(done.last().unwrap().end(), audio.len() as u64);
    }

    #[test]
    fn a_gap_ends_the_utterance_and_moves_the_timeline() {
        let (mut segmenter, mut done) = run(&voice(seconds(1.0)), 320);
        assert!(segmenter.is_speaking());
        segmenter.gap(seconds(10.0) as u64, &mut done);
        assert_eq!(done.len(), 1);
        assert_eq!(segmenter.position(), seconds(11.0) as u64);
        segmenter.push(&voice(seconds(1.0)), &mut done);
        segmenter.end(&mut done);
        assert!(done[1].start >= seconds(11.0) as u64);
    }

    #[test]
    fn a_cut_in_the_closing_silence_leaves_no_utterance_of_silence() {
        for tenths in 265..=282 {
            let mut audio = voice(seconds(f64::from(tenths) / 10.0));
            audio.extend(vec![0.0; seconds(2.0)]);
            let (_, done) = run(&audio, 320);
            for utterance in &done {
                let loud = utterance.samples.iter().filter(|s| s.abs() > 300).count();
                assert!(loud > 0, "{tenths}: {} silent samples", utterance.samples.len());
            }
        }
    }

    #[test]
    fn a_silent_leg_gives_the_room_of_its_last_utterance_back() {
        let mut audio = voice(seconds(20.0));
        audio.extend(vec![0.0; seconds(2.0)]);
        let (segmenter, done) = run(&audio, 320);
        assert_eq!(done.len(), 1);
        assert!(!segmenter.is_speaking());
        assert!(segmenter.held.capacity() <= 8_192, "{}", segmenter.held.capacity());
        assert!(done[0].samples.capacity() <= done[0].samples.len() + FRAME);
    }

    #[test]
    fn samples_beyond_full_scale_clip() {
        assert_eq!(to_pcm(2.0), i16::MAX);
        assert_eq!(to_pcm(-2.0), i16::MIN);
        assert_eq!(to_pcm(f32::NAN), 0);
    }
}
