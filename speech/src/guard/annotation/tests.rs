use super::*;

fn rest(text: &str) -> String {
    TextAnnotations::find(text).map_or_else(|| text.to_owned(), |found| found.rest())
}

#[test]
fn a_line_of_annotations_has_nothing_left() {
    for text in [
        "[BLANK_AUDIO]",
        "[ Silence ]",
        "[Music]",
        "[inaudible]",
        "[Speaker 2]",
        "(music)",
        "(upbeat music)",
        "(speaking in foreign language)",
        "(wind howling)",
        "(bell dings) (bell dings)",
        "(laughs).",
        "([Music])",
        "*sighs*",
        "**Sighs** *door opens*",
        "♪",
        "♪ ♪",
        "♪ I will always love you ♪",
        "♪ la la la ♪ and again ♪",
        "🎵 Musik 🎵",
        "♪ somewhere over",
        "[Música]",
        "[музыка]",
        "（音楽）",
        "【拍手】",
        "［笑］",
        "〔音樂〕",
        "(موسيقى)",
        "[BLANK_AUDIO] (music) *sighs* ♪ la ♪",
        "[BLANK_AUD",
        "(upbeat mus",
    ] {
        assert!(
            !rest(text).contains(char::is_alphanumeric),
            "{text}: {}",
            rest(text)
        );
    }
}

#[test]
fn an_annotation_among_words_goes_and_they_stay() {
    for (text, left) in [
        ("Hello. [BLANK_AUDIO]", "Hello."),
        ("[Music] Hello there.", "Hello there."),
        ("I said [inaudible], you know.", "I said, you know."),
        ("(laughs) I know. (music)", "I know."),
        ("(laughing) Ça va ?", "Ça va ?"),
        (
            "Hold on. (door opens) (door closes) I'm back.",
            "Hold on. I'm back.",
        ),
        ("Okay. *sighs* Thank you.", "Okay. Thank you."),
        ("Hello.[Music]Bye.", "Hello.Bye."),
        (
            "Hello. ♪ Happy birthday to you ♪ Goodbye.",
            "Hello. Goodbye.",
        ),
        ("Please hold. ♪", "Please hold."),
        ("♪ la la ♪ Hello. ♪ la ♪", "Hello."),
        ("Hello. [Music]. Bye.", "Hello. Bye."),
        ("こんにちは。（音楽）", "こんにちは。"),
        ("【音楽】もしもし", "もしもし"),
        ("- [Music] Hello", "- Hello"),
    ] {
        assert_eq!(rest(text), left, "{text}");
    }
}

#[test]
fn what_callers_say_in_words_stays() {
    for text in [
        "(555) 123-4567",
        "Call me at (555) 123-4567.",
        "My number is (0)30 1234.",
        "one (or two) items",
        "I need two items (or three).",
        "Anna (that's my wife) will come.",
        "(or two) items",
        "(area code) 555",
        "It's 2 * 3 * 4.",
        "Dial *67 and *69.",
        "Press * to go on or * to stop.",
        "The a*b*c method",
        "[555]",
        "« Bonjour, je m'appelle Anne »",
        "„Guten Tag“",
        "「もしもし」と言いました",
        "Press # then 1",
        "Section (a) applies.",
        "f(x) = y",
        "",
    ] {
        assert_eq!(rest(text), text);
    }
    let long = format!("[{}", "and so I said to him ".repeat(8));
    assert_eq!(rest(&long), long);
}

#[test]
fn what_goes_is_kept_apart() {
    let found = TextAnnotations::find("[Music] Hello. ♪ la la ♪ (laughs)").unwrap();
    assert_eq!(found.removed(), "[Music] ♪ la la ♪ (laughs)");
    let found = TextAnnotations::find("Hello. (laughs) Bye. *sighs*").unwrap();
    assert_eq!(found.removed(), "(laughs) *sighs*");
}

#[test]
fn words_keep_their_times_also_where_no_space_is_between() {
    let word = |text: &str, start_ms| SpokenWord {
        text: text.to_owned(),
        start_ms,
        end_ms: start_ms + 50,
        probability: 0.9,
    };
    let heard = |text: &str, words: &[SpokenWord]| Recognition {
        text: text.to_owned(),
        words: words.to_vec(),
        ..Recognition::default()
    };
    let strip = |heard: &Recognition| TextAnnotations::find(&heard.text).unwrap().strip(heard);
    let unspaced = heard(
        "【音楽】もし",
        &[
            word("【", 0),
            word("音", 100),
            word("楽】", 200),
            word("も", 300),
            word("し", 400),
        ],
    );
    assert_eq!(strip(&unspaced).words, [word("も", 300), word("し", 400)]);
    let joined = heard(
        "Hello.[Music] Yes, music",
        &[
            word("Hello.[Music]", 0),
            word("Yes,", 100),
            word("music", 200),
        ],
    );
    assert_eq!(
        strip(&joined).words,
        [word("Hello.", 0), word("Yes,", 100), word("music", 200)]
    );
    let same = heard(
        "Music. [Music] Music",
        &[word("Music.", 0), word("[Music]", 100), word("Music", 200)],
    );
    assert_eq!(strip(&same).words, [word("Music.", 0), word("Music", 200)]);
}
