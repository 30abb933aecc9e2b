use proptest::prelude::*;

use super::*;

fn token(text: &str, left_ms: impl Into<Option<u64>>) -> TimedToken<'_> {
    TimedToken {
        bytes: text.as_bytes(),
        probability: 0.5,
        left_ms: left_ms.into(),
    }
}

fn times(words: &[SpokenWord]) -> Vec<(&str, u64, u64)> {
    words
        .iter()
        .map(|word| (word.text.as_str(), word.start_ms, word.end_ms))
        .collect()
}

fn tone(ms: u64) -> Vec<i16> {
    (0..ms * SAMPLES_PER_MS)
        .map(|n| if n % 40 < 20 { 8000 } else { -8000 })
        .collect()
}

#[test]
fn a_word_ends_where_its_last_token_is_left_and_the_next_begins_there() {
    let tokens = [
        token(" hel", 200),
        token("lo", 350),
        token(",", 360),
        token(" you", 700),
    ];
    let words = words(tokens.into_iter(), &tone(800));
    assert_eq!(times(&words), [("hello,", 0, 360), ("you", 360, 700)]);
    assert_eq!(words[0].probability, 0.5);
}

#[test]
fn pauses_belong_to_no_word() {
    let mut audio = vec![3; 240 * SAMPLES_PER_MS as usize];
    audio.extend(tone(300));
    audio.extend(vec![3; 400 * SAMPLES_PER_MS as usize]);
    audio.extend(tone(260));
    audio.extend(vec![3; 300 * SAMPLES_PER_MS as usize]);
    let words = words(
        [token(" one", 700), token(" two", 1400)].into_iter(),
        &audio,
    );
    assert_eq!(times(&words), [("one", 240, 540), ("two", 940, 1200)]);
}

/// Two sounds of 400 ms with a pause of 260 ms between them.
fn two_sounds() -> Vec<i16> {
    let mut audio = tone(400);
    audio.extend(vec![0; 260 * SAMPLES_PER_MS as usize]);
    audio.extend(tone(400));
    audio
}

#[test]
fn a_word_that_was_left_early_or_late_ends_at_the_pause() {
    for left_ms in [160, 400, 500, 660, 900] {
        let tokens = [token(" five", left_ms), token(" three", 1060)];
        let words = words(tokens.into_iter(), &two_sounds());
        let expected = [("five", 0, 400), ("three", 660, 1060)];
        assert_eq!(times(&words), expected, "{left_ms}");
    }
}

#[test]
fn a_border_in_a_voice_without_a_clear_pause_stays() {
    let tokens = [
        token(" for", 160),
        token(" you", 400),
        token(" three", 1060),
    ];
    let words = words(tokens.into_iter(), &two_sounds());
    let expected = [("for", 0, 160), ("you", 160, 400), ("three", 660, 1060)];
    assert_eq!(times(&words), expected);
}

#[test]
fn pauses_are_found_in_hum() {
    let mut audio = vec![0; 240 * SAMPLES_PER_MS as usize];
    audio.extend(tone(300));
    audio.extend(vec![0; 400 * SAMPLES_PER_MS as usize]);
    audio.extend(tone(260));
    for (n, sample) in audio.iter_mut().enumerate() {
        let hum = 12_000.0 * (std::f32::consts::TAU * 50.0 * n as f32 / 16_000.0).sin();
        *sample += hum as i16 - 2_000;
    }
    let tokens = [token(" one", 700), token(" two", 1200)];
    let words = words(tokens.into_iter(), &audio);
    let near = |a: u64, b: u64| a.abs_diff(b) <= 20;
    let (one, two) = (&words[0], &words[1]);
    assert!(
        near(one.start_ms, 240) && near(one.end_ms, 540),
        "{words:?}"
    );
    assert!(
        near(two.start_ms, 940) && near(two.end_ms, 1200),
        "{words:?}"
    );
}

#[test]
fn without_times_letters_share_what_there_is() {
    let tokens = [token(" ab", None), token(" abcdef", None), token(" x", 800)];
    let words = words(tokens.into_iter(), &tone(1000));
    assert_eq!(
        times(&words),
        [("ab", 0, 177), ("abcdef", 177, 711), ("x", 711, 800)]
    );
}

#[test]
fn scripts_without_spaces_have_words_too() {
    let tokens = [
        token("你好", 300),
        token("世", 500),
        token("界", 700),
        token(".", 710),
    ];
    let words = words(tokens.into_iter(), &tone(800));
    assert_eq!(
        times(&words),
        [("你好", 0, 300), ("世", 300, 500), ("界.", 500, 710)]
    );
}

proptest! {
    #[test]
    fn times_never_run_back_nor_out_of_the_utterance(
        lefts in prop::collection::vec(prop::option::of(0u64..5_000), 0..20),
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 20),
        length in 0u64..3_000,
    ) {
        let tokens = lefts.iter().zip(&pieces).map(|(&left_ms, bytes)| TimedToken {
            bytes,
            probability: 1.0,
            left_ms,
        });
        let words = words(tokens, &tone(length));
        let mut before = 0;
        for word in &words {
            prop_assert!(before <= word.start_ms && word.start_ms <= word.end_ms, "{words:?}");
            prop_assert!(word.end_ms <= length, "{words:?}");
            before = word.end_ms;
        }
    }
}
