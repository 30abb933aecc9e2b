//! How speech is cut: what may be set.

use super::*;

#[test]
fn the_cut_of_speech_is_settable_within_what_makes_sense() {
    let preset = load(&[]).unwrap().vad;
    let config = asterscribe_speech::segmenter::SegmenterConfig::default();
    assert_eq!(
        (preset.enter_score, preset.leave_score),
        (config.enter_score, config.leave_score)
    );
    assert_eq!(
        (preset.pre_roll, preset.hang_over, preset.post_roll),
        (config.pre_roll, config.hang_over, config.post_roll)
    );
    assert_eq!(
        (preset.min_speech, preset.max_utterance, preset.sounds),
        (config.min_voice, config.max_utterance, config.tell_sounds)
    );

    let set = [
        ("VAD_ENTER_SCORE", "0.6"),
        ("VAD_LEAVE_SCORE", ".6"),
        ("VAD_PRE_ROLL_MS", "0"),
        ("VAD_HANG_OVER_MS", "300"),
        ("VAD_POST_ROLL_MS", "300"),
        ("VAD_MIN_SPEECH_MS", "160"),
        ("VAD_MAX_UTTERANCE_SECS", "15"),
    ];
    let vad = load(&set).unwrap().vad;
    assert_eq!((vad.enter_score, vad.leave_score), (0.6, 0.6));
    assert_eq!(vad.pre_roll, Duration::ZERO);
    assert_eq!((vad.hang_over, vad.post_roll), (MS_300, MS_300));
    assert_eq!(vad.min_speech, Duration::from_millis(160));
    assert_eq!(vad.max_utterance, Duration::from_secs(15));

    assert_eq!(wrong(&[("VAD_HANG_OVER_MS", "200")]), ["VAD_POST_ROLL_MS"]);
    assert_eq!(wrong(&[("VAD_ENTER_SCORE", "0.3")]), ["VAD_LEAVE_SCORE"]);
}

const MS_300: Duration = Duration::from_millis(300);
