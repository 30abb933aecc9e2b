mod hum;

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

/// White noise of that peak, the same each time.
fn noise(samples: usize, peak: f32) -> Vec<f32> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / 8_388_608.0 - 1.0) * peak
    };
    std::iter::repeat_with(next).take(samples).collect()
}

/// How long after `spoken` samples it takes until the utterance is there, in milliseconds.
fn decided_after(audio: &[f32], spoken: usize) -> usize {
    let mut segmenter = Segmenter::new(&SegmenterConfig::default());
    let mut done = Vec::new();
    for (n, frame) in audio.chunks(FRAME).enumerate() {
        segmenter.push(frame, &mut done);
        let now = (n + 1) * FRAME;
        let of_it = |utterance: &Utterance| utterance.end() as usize + seconds(0.2) > spoken;
        if now > spoken && done.iter().any(of_it) {
            return (now - spoken) / SAMPLES_PER_MS as usize;
        }
    }
    panic!("the utterance did not end");
}

#[test]
fn what_a_voice_leaves_in_the_detector_does_not_lengthen_the_hang_over() {
    let mut audio = vec![0.0; seconds(1.0)];
    audio.extend(voice(seconds(2.0)));
    let spoken = audio.len();
    audio.extend(vec![0.0; seconds(1.5)]);
    let after = decided_after(&audio, spoken);
    assert!((480..=530).contains(&after), "{after} ms");
}

#[test]
fn a_voice_in_noise_ends_as_one_in_silence_does() {
    for peak in [0.001, 0.01, 0.03] {
        let mut audio = vec![0.0; seconds(3.5)];
        audio.extend(voice(seconds(2.0)));
        let spoken = audio.len();
        audio.extend(vec![0.0; seconds(1.5)]);
        let noise = noise(audio.len(), peak);
        audio.iter_mut().zip(noise).for_each(|(x, n)| *x += n);
        let after = decided_after(&audio, spoken);
        assert!((400..=550).contains(&after), "{peak}: {after} ms");
    }
}

#[test]
fn steady_noise_is_no_speech_for_longer_than_it_takes_to_know_it() {
    let audio = noise(seconds(60.0), 0.1);
    let (mut segmenter, mut done) = run(&audio, 320);
    segmenter.end(&mut done);
    let heard: usize = done.iter().map(|utterance| utterance.samples.len()).sum();
    assert!(heard <= seconds(4.0), "{heard}");
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
            let loud = utterance
                .samples
                .iter()
                .filter(|s| s.unsigned_abs() > 300)
                .count();
            assert!(
                loud > 0,
                "{tenths}: {} silent samples",
                utterance.samples.len()
            );
        }
    }
}

#[test]
fn an_open_utterance_takes_little_more_than_half_its_samples() {
    // As it comes from a call: doubled from 8 kHz.
    let voice: Vec<i16> = voice(seconds(20.0))
        .into_iter()
        .step_by(2)
        .map(to_pcm)
        .collect();
    let mut doubler = asterscribe_codecs::Resampler::new(
        asterscribe_codecs::SampleRate::HZ_8000,
        asterscribe_codecs::SampleRate::HZ_16000,
    )
    .unwrap();
    let mut audio = Vec::new();
    doubler.push(&voice, &mut audio);
    let (segmenter, done) = run(&audio, 320);
    assert!(segmenter.is_speaking() && done.is_empty());
    let (took, held) = (segmenter.held.bytes(), segmenter.held.len());
    assert!(took <= held * 12 / 10, "{took} bytes for {held} samples");
}

#[test]
fn a_silent_leg_gives_the_room_of_its_last_utterance_back() {
    let mut audio = voice(seconds(20.0));
    audio.extend(vec![0.0; seconds(2.0)]);
    let (segmenter, done) = run(&audio, 320);
    assert_eq!(done.len(), 1);
    assert!(!segmenter.is_speaking());
    // Silence at a byte a sample.
    assert!(segmenter.held.bytes() <= 5_632, "{:?}", segmenter.held);
    assert!(done[0].samples.capacity() <= done[0].samples.len() + FRAME);
}

#[test]
fn samples_are_rounded_half_away_from_zero() {
    let exact = |sample: f32| (sample * 32768.0).round() as i16;
    for whole in -33_000..=33_000 {
        for part in [0.0, 0.25, 0.5, 0.75] {
            let middle = (whole as f32 + part) / 32768.0;
            for sample in [middle.next_down(), middle, middle.next_up()] {
                assert_eq!(to_pcm(sample), exact(sample), "{sample:e}");
            }
        }
    }
}

#[test]
fn samples_beyond_full_scale_clip() {
    assert_eq!(to_pcm(2.0), i16::MAX);
    assert_eq!(to_pcm(-2.0), i16::MIN);
    assert_eq!(to_pcm(f32::NAN), 0);
}
