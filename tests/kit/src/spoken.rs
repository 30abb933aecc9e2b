//! Texts as they are spoken: a recogniser may write "4" where a person says "four", and
//! "cannot" where the script has "can not". Neither is an error of recognition.

mod numbers;

use crate::words::{self, WordErrors};

pub use self::numbers::Reading;

/// Word errors of a recognised text against a script, with numbers written as digits counted as
/// the words that they stand for.
///
/// A string of digits can be read in several ways ("4729": four thousand …, four seven two nine,
/// forty-seven twenty-nine); the reading with the fewest errors counts, one for the whole text.
/// `language` is a code of ISO 639-1; numbers of a language other than `en`, `es`, `fr`, `it`
/// and `ru` stay digits.
pub fn word_errors(language: &str, script: &str, recognised: &str) -> WordErrors {
    let readings = |text: &str| {
        let mut texts: Vec<String> = Reading::ALL
            .iter()
            .map(|&reading| spoken(language, text, reading))
            .collect();
        texts.dedup();
        texts
    };
    let recognised = readings(recognised);
    readings(script)
        .iter()
        .flat_map(|said| {
            recognised
                .iter()
                .map(|heard| WordErrors::between(said, heard))
        })
        .min_by_key(WordErrors::total)
        .unwrap_or_default()
}

/// A text as it is spoken: lower case, no punctuation, no stage directions in brackets, numbers
/// as words, one spelling for words that have two.
pub fn spoken(language: &str, text: &str, reading: Reading) -> String {
    let mut text = without_brackets(text).to_lowercase();
    if language == "en" {
        text = symbols_as_words(&text);
    }
    let text = numbers::as_words(language, &text, reading);
    let mut words = words::normalise(&text.replace(['’', 'ʼ'], "'"));
    for word in &mut words {
        *word = match language {
            "en" => word.trim_matches('\'').to_owned(),
            // Elided articles are written together or apart.
            _ => without_accents(word).replace('\'', " "),
        };
    }
    let text = words.join(" ");
    match language {
        "en" => one_spelling(&text),
        _ => text,
    }
}

/// A text without what stands in brackets, which nobody says.
fn without_brackets(text: &str) -> String {
    let mut depth = 0usize;
    let mut kept = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '(' | '[' | '<' => depth += 1,
            ')' | ']' | '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(c),
            _ => {}
        }
    }
    kept
}

fn symbols_as_words(text: &str) -> String {
    const SPOKEN: [(char, &str); 5] = [
        ('*', " star "),
        ('#', " pound "),
        ('@', " at "),
        ('%', " percent "),
        ('&', " and "),
    ];
    SPOKEN.iter().fold(text.to_owned(), |text, (symbol, word)| {
        text.replace(*symbol, word)
    })
}

fn without_accents(word: &str) -> String {
    let plain = |c: char| match c {
        'á' | 'à' | 'â' | 'ä' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'í' | 'ì' | 'î' | 'ï' => 'i',
        'ó' | 'ò' | 'ô' | 'ö' => 'o',
        'ú' | 'ù' | 'û' | 'ü' => 'u',
        'ñ' => 'n',
        'ç' => 'c',
        'ё' => 'е',
        other => other,
    };
    word.chars().map(plain).collect()
}

/// Spellings that are heard alike: the second stands for the first, whole words only.
const ALIKE: &[(&str, &str)] = &[
    ("can not", "cannot"),
    ("voice mail", "voicemail"),
    ("voice mails", "voicemails"),
    ("mail box", "mailbox"),
    ("mail boxes", "mailboxes"),
    ("touch tone", "touchtone"),
    ("log in", "login"),
    ("logged in", "loggedin"),
    ("logged on", "loggedon"),
    ("logged off", "loggedoff"),
    ("hang up", "hangup"),
    ("play back", "playback"),
    ("pass word", "password"),
    ("pass code", "passcode"),
    ("file name", "filename"),
    ("black list", "blacklist"),
    ("key pad", "keypad"),
    ("back slash", "backslash"),
    ("back wards", "backwards"),
    ("speed dial", "speeddial"),
    ("call back", "callback"),
    ("good bye", "goodbye"),
    ("re enter", "reenter"),
    ("re entered", "reentered"),
    ("re record", "rerecord"),
    ("re recorded", "rerecorded"),
    ("re dial", "redial"),
    ("un mute", "unmute"),
    ("un lock", "unlock"),
    ("un delete", "undelete"),
    ("de activated", "deactivated"),
    ("non administrator", "nonadministrator"),
    ("wood cutter", "woodcutter"),
    ("wash water", "washwater"),
    ("o clock", "o'clock"),
    ("a m", "am"),
    ("p m", "pm"),
    ("e mail", "email"),
    ("okay", "ok"),
    ("mr", "mister"),
    ("grey", "gray"),
    ("cancelled", "canceled"),
    ("monkies", "monkeys"),
    ("i'm", "i am"),
    ("i've", "i have"),
    ("i'll", "i will"),
    ("you're", "you are"),
    ("you'd", "you would"),
    ("you've", "you have"),
    ("we're", "we are"),
    ("they're", "they are"),
    ("that's", "that is"),
    ("it's", "it is"),
    ("there's", "there is"),
    ("what's", "what is"),
    ("let's", "let us"),
    ("don't", "do not"),
    ("doesn't", "does not"),
    ("can't", "cannot"),
    ("isn't", "is not"),
];

fn one_spelling(text: &str) -> String {
    // A space at each end makes whole words of the first and the last one.
    let mut text = format!(" {text} ");
    for (spelling, other) in ALIKE {
        text = text.replace(&format!(" {spelling} "), &format!(" {other} "));
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(language: &str, script: &str, recognised: &str) -> usize {
        word_errors(language, script, recognised).total()
    }

    #[test]
    fn digits_count_as_the_words_that_they_stand_for() {
        for (language, script, recognised) in [
            ("en", "press one to mute", "Press 1 to mute."),
            ("en", "four seven two nine one", "47291"),
            ("en", "extension forty-two", "Extension 42"),
            ("en", "nineteen eighty four", "1984"),
            ("en", "one thousand two hundred thirty four", "1,234"),
            ("en", "the twenty first", "The 21st"),
            ("es", "presione uno o veintiuno", "Presione 1 o 21"),
            ("fr", "appuyez sur deux", "Appuyez sur 2."),
            ("it", "premere trentotto", "Premere 38"),
            ("ru", "нажмите сорок пять", "Нажмите 45."),
        ] {
            assert_eq!(
                total(language, script, recognised),
                0,
                "{script} / {recognised}"
            );
        }
        assert_eq!(total("en", "press one", "Press 2."), 1);
    }

    #[test]
    fn spelling_and_stage_directions_do_not_count() {
        assert_eq!(
            total(
                "en",
                "I'm sorry, you can not log in",
                "I am sorry. You cannot login."
            ),
            0
        );
        assert_eq!(
            total("en", "[tone] press the # key", "press the pound key (beep)"),
            0
        );
        assert_eq!(total("fr", "d'aide à l'écran", "d aide a l ecran"), 0);
        assert_eq!(total("en", "hello", "hello world"), 1);
    }
}
