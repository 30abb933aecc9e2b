//! Text that was probably not spoken. Whisper was trained on subtitles and fills
//! silence and noise with what subtitles say; on short or broken audio it repeats itself.
//!
//! What is suppressed here is kept beside the line, with the reason and what it was seen by.

use super::Recognition;
use crate::call::{Doubt, Suppressed, Task};

/// The loudest tenth of a second is below this, dB of full scale: no speech comes through a
/// telephone so quietly, while the hiss of a line does.
const SILENCE_DBFS: f32 = -60.0;

/// Words a second that nobody speaks: auctioneers come to 7.
const MAX_WORDS_PER_SECOND: f32 = 9.0;

/// Repeats in a row of the same words.
const REPEATS: usize = 4;

/// Longest sequence of words that is looked for, in words.
const LONGEST_PHRASE: usize = 12;

/// Whether the words of an utterance of that length can be believed.
pub fn judge(heard: &Recognition, duration_ms: u64) -> Option<Suppressed> {
    let doubt = |reason, evidence| {
        Some(Suppressed {
            reason,
            evidence,
            text: heard.text.clone(),
        })
    };
    if heard.text.is_empty() {
        return None;
    }
    if heard.peak_dbfs < SILENCE_DBFS {
        let evidence = format!("the loudest 100 ms are at {:.0} dBFS", heard.peak_dbfs);
        return doubt(Doubt::NearSilence, evidence);
    }
    let plain = plain(&heard.text);
    let words: Vec<&str> = plain.split(' ').collect();
    if let Some((phrase, times)) = repetition(&words) {
        return doubt(Doubt::Repetition, format!("{times} times \"{phrase}\""));
    }
    let written = match heard.task {
        Task::Transcribe => heard.language.as_str(),
        Task::Translate => "en",
    };
    let phrases = PHANTOMS.iter().filter(|(language, _)| *language == written);
    if let Some((_, phrase)) = phrases.into_iter().find(|(_, phrase)| *phrase == plain) {
        return doubt(Doubt::PhantomPhrase, format!("nothing but \"{phrase}\""));
    }
    let words = heard.text.split_whitespace().count();
    let rate = words as f32 * 1000.0 / duration_ms.max(1) as f32;
    if words > 3 && rate > MAX_WORDS_PER_SECOND {
        let evidence = format!("{words} words in {duration_ms} ms");
        return doubt(Doubt::SpeechRate, evidence);
    }
    None
}

/// Words that come several times in a row, and how often.
pub(super) fn repetition(words: &[&str]) -> Option<(String, usize)> {
    for length in 1..=LONGEST_PHRASE.min(words.len() / REPEATS) {
        // Digits are said again in numbers: a single one may come more often.
        let repeats = if length == 1 { 2 * REPEATS } else { REPEATS };
        let mut run = 0;
        for n in length..words.len() {
            run = if words[n] == words[n - length] {
                run + 1
            } else {
                0
            };
            let times = run / length + 1;
            if run % length == 0 && times >= repeats {
                let phrase = words[n + 1 - length..=n].join(" ");
                return Some((phrase, times));
            }
        }
    }
    None
}

/// Lower case, single spaces, no punctuation.
pub(super) fn plain(text: &str) -> String {
    let letters = text
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || c == '\'' {
                c
            } else {
                ' '
            }
        })
        .flat_map(char::to_lowercase)
        .collect::<String>();
    letters.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is said over silence in subtitles, by language.
const PHANTOMS: &[(&str, &str)] = &[
    ("en", "thanks for watching"),
    ("en", "thank you for watching"),
    ("en", "thank you so much for watching"),
    ("en", "please subscribe to my channel"),
    ("en", "don't forget to like and subscribe"),
    ("en", "subtitles by the amara org community"),
    ("en", "i'll see you in the next video"),
    ("de", "untertitel im auftrag des zdf"),
    ("de", "untertitelung im auftrag des zdf"),
    ("de", "untertitel der amara org community"),
    ("de", "vielen dank fürs zuschauen"),
    ("fr", "sous titres réalisés par la communauté d'amara org"),
    ("fr", "merci d'avoir regardé cette vidéo"),
    ("fr", "abonnez vous"),
    ("es", "subtítulos por la comunidad de amara org"),
    ("es", "gracias por ver el video"),
    ("es", "suscríbete al canal"),
    ("it", "sottotitoli creati dalla comunità amara org"),
    ("it", "grazie per aver guardato il video"),
    ("pt", "legendas pela comunidade amara org"),
    ("pt", "obrigado por assistir"),
    ("nl", "ondertiteld door de amara org gemeenschap"),
    ("nl", "bedankt voor het kijken"),
    ("pl", "napisy stworzone przez społeczność amara org"),
    ("pl", "dziękuję za oglądanie"),
    ("ru", "продолжение следует"),
    ("ru", "субтитры сделал dimatorzok"),
    ("ja", "ご視聴ありがとうございました"),
    ("zh", "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目"),
    ("ko", "시청해주셔서 감사합니다"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str, language: &str) -> Recognition {
        Recognition {
            text: text.to_owned(),
            language: language.to_owned(),
            peak_dbfs: -20.0,
            ..Recognition::default()
        }
    }

    fn reason(text: &str, language: &str, ms: u64) -> Option<Doubt> {
        judge(&heard(text, language), ms).map(|held| held.reason)
    }

    #[test]
    fn what_callers_say_is_believed() {
        for text in [
            "hello my account number is one one one one two two two",
            "yes yes yes",
            "no no no no no no no",
            "thank you",
            "Thank you for watching the house while we were away.",
            "I'll call you back, I'll call you back tomorrow.",
            "",
        ] {
            assert_eq!(reason(text, "en", 4000), None, "{text}");
        }
        assert_eq!(reason("hi", "en", 90), None);
    }

    #[test]
    fn what_subtitles_say_is_not() {
        let phantom = Some(Doubt::PhantomPhrase);
        assert_eq!(reason("Thanks for watching!", "en", 2000), phantom);
        assert_eq!(
            reason(" Untertitel im Auftrag des ZDF.", "de", 2000),
            phantom
        );
        assert_eq!(reason("Thanks for watching!", "de", 2000), None);
        let translated = Recognition {
            task: Task::Translate,
            ..heard("Thanks for watching!", "de")
        };
        assert_eq!(judge(&translated, 2000).map(|held| held.reason), phantom);
    }

    #[test]
    fn loops_are_told_by_phrase_and_number() {
        let text = "so I said ".to_owned() + &"you know what I mean ".repeat(5);
        let held = judge(&heard(&text, "en"), 20_000).unwrap();
        assert_eq!(held.reason, Doubt::Repetition);
        assert!(held.evidence.starts_with("4 times"), "{}", held.evidence);
        assert_eq!(held.text, text);
        assert_eq!(
            reason(&"the ".repeat(30), "en", 20_000),
            Some(Doubt::Repetition)
        );
    }

    #[test]
    fn text_on_silence_and_faster_than_speech_is_held_back() {
        let quiet = Recognition {
            peak_dbfs: -71.0,
            ..heard("goodbye", "en")
        };
        assert_eq!(judge(&quiet, 1000).unwrap().reason, Doubt::NearSilence);
        let fast = "one two three four five six seven eight nine ten";
        assert_eq!(reason(fast, "en", 900), Some(Doubt::SpeechRate));
        assert_eq!(reason(fast, "en", 2500), None);
    }
}
