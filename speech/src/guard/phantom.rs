//! Phrases that Whisper writes where nobody speaks, since its training texts had them over
//! silence and music: thanks of video makers, and the names of those who made subtitles.
//!
//! A phrase that callers say as well (`Thank you.`, `Bye.`) is a phantom only where the model says
//! that nobody speaks, or is not sure of its own words, or where it is all that was said in many
//! seconds without a pause: music. All phrases are written as [`plain`](super::plain) writes a
//! text; the evidence is what users of Whisper report of models from tiny to large-v3.

use super::NO_SPEECH;
use crate::Recognition;
use crate::guard::is_unspaced;

/// How probable the model finds it that nobody speaks, and the mean probability of the tokens
/// below which a phrase that callers say, too, is then not believed. Callers' own thanks have
/// 0.005 and 0.91 on a clear line; on noise behind a prompt "Thank you." comes with 0.24 to 0.93
/// and 0.41 to 0.60 (base, 94 clips), without one "you" with 0.37 to 0.97 and 0.00 to 0.26.
const DOUBTED: [(f32, f32); 3] = [(NO_SPEECH, f32::INFINITY), (0.4, 0.65), (0.2, 0.4)];

/// Most words that the credits of a subtitler have, names and years included.
const LONGEST_CREDITS: usize = 9;

/// The phantom that a text is nothing but, and how that is seen. `language` is the text's;
/// `sparse_ms` the utterance's length where its words are too few for that.
pub(super) fn seen_by(
    heard: &Recognition,
    words: &[&str],
    language: &str,
    sparse_ms: Option<u64>,
) -> Option<String> {
    if let Some(phrase) = credits(words, language) {
        return Some(format!("credits that begin with \"{phrase}\""));
    }
    if let Some(phrase) = made_of(words, language, &[PHANTOMS]) {
        return Some(format!("nothing but \"{phrase}\""));
    }
    let phrase = made_of(words, language, &[PHANTOMS, SAID_BY_CALLERS])?;
    if let Some(ms) = sparse_ms {
        return Some(format!("nothing but \"{phrase}\" in {ms} ms"));
    }
    let (confidence, silence) = (heard.confidence, heard.no_speech_probability);
    let (_, least) = DOUBTED[DOUBTED.len() - 1];
    let is_doubted = silence.map_or(confidence < least, |p| {
        DOUBTED
            .iter()
            .any(|&(from, below)| p >= from && confidence < below)
    });
    let silence = silence.map_or_else(String::new, |p| {
        format!(", nobody speaks with probability {p:.2}")
    });
    is_doubted.then(|| format!("nothing but \"{phrase}\", confidence {confidence:.2}{silence}"))
}

/// Whether a text is nothing but phrases that may be phantoms.
pub(super) fn is_made_of_phrases(words: &[&str], language: &str) -> bool {
    made_of(words, language, &[PHANTOMS, SAID_BY_CALLERS]).is_some()
}

/// The first phrase, if the words are such phrases from the first to the last.
fn made_of(words: &[&str], language: &str, lists: &[LanguagePhrases]) -> Option<&'static str> {
    let phrases = || lists.iter().flat_map(|list| phrases_of(list, language));
    let mut first = None;
    let mut rest = words;
    while !rest.is_empty() {
        let begins = phrases().filter(|phrase| begins_with(rest, phrase));
        // The longest: one may be the beginning of another.
        let phrase = begins.max_by_key(|phrase| phrase.len())?;
        rest = &rest[phrase.split(' ').count()..];
        first.get_or_insert(phrase);
    }
    first
}

fn credits(words: &[&str], language: &str) -> Option<&'static str> {
    let begins = |phrase: &&str| begins_with(words, phrase) || begins_joined(words, phrase);
    let mut credits = phrases_of(CREDITS, language);
    credits.find(|phrase| words.len() <= LONGEST_CREDITS && begins(phrase))
}

fn begins_with(words: &[&str], phrase: &str) -> bool {
    let mut words = words.iter();
    phrase.split(' ').all(|word| words.next() == Some(&word))
}

/// Whether a text without spaces begins like that.
fn begins_joined(words: &[&str], phrase: &str) -> bool {
    phrase.starts_with(is_unspaced) && words.first().is_some_and(|word| word.starts_with(phrase))
}

fn phrases_of(list: LanguagePhrases, language: &str) -> impl Iterator<Item = &'static str> {
    let list = list.iter().find(|(code, _)| *code == language);
    list.into_iter()
        .flat_map(|(_, phrases)| phrases.iter().copied())
}

/// Phrases by Whisper's code of their language.
type LanguagePhrases = &'static [(&'static str, &'static [&'static str])];

/// Beginnings of credits, in front of names and years.
#[rustfmt::skip]
const CREDITS: LanguagePhrases = &[
    ("en", &["subtitles by", "subs by", "captions by", "captioned by", "closed captioning by", "transcription by castingwords", "transcribed by https"]),
    ("de", &["untertitel von", "untertitel im auftrag des", "untertitelung im auftrag des", "untertitelung des", "untertitel des", "untertitel der amara", "untertitelung aufgrund der amara", "copyright wdr"]),
    ("fr", &["sous titrage", "sous titres réalisés par", "sous titres par"]),
    ("es", &["subtítulos por", "subtítulos realizados por", "subtitulado por"]),
    ("it", &["sottotitoli creati da", "sottotitoli creati dalla", "sottotitoli e revisione a cura di", "sottotitoli a cura di"]),
    ("pt", &["legendas pela", "legendas por", "legendado por", "transcrição e legendas"]),
    ("nl", &["ondertiteld door", "ondertiteling door", "ondertitels ingediend door", "ondertitels door"]),
    ("pl", &["napisy stworzone przez", "napisy wykonane przez", "zdjęcia i napisy stworzone przez", "tłumaczenie i napisy stworzone przez"]),
    ("cs", &["titulky vytvořil", "titulky vytvořila"]),
    ("sv", &["undertexter från", "undertexter av", "textning av", "översatt av"]),
    ("da", &["danske tekster af", "undertekster af", "tekster af", "tekstet af"]),
    ("no", &["teksting av", "undertekster av", "tekstet av"]),
    ("nn", &["teksting av", "undertekster av", "tekstet av"]),
    ("tr", &["altyazı m k"]),
    ("ru", &["субтитры сделал", "субтитры создавал", "субтитры создал", "субтитры добавил", "субтитры делал", "субтитры подготовлены", "субтитры подогнал", "субтитры от", "редактор субтитров"]),
    ("uk", &["субтитри зробив", "субтитри створено", "субтитрувальниця", "редактор субтитрів"]),
    ("hu", &["feliratok az amara"]),
    ("el", &["υπότιτλοι authorwave"]),
    ("zh", &["字幕by", "字幕由", "字幕志愿者", "中文字幕志愿者", "字幕製作", "字幕制作"]),
    ("ja", &["字幕by", "字幕視聴"]),
    ("ar", &["ترجمة نانسي"]),
];

/// Phrases over silence in subtitles, which no caller says and nothing else.
#[rustfmt::skip]
const PHANTOMS: LanguagePhrases = &[
    ("en", &["thanks for watching", "thank you for watching", "thank you so much for watching", "thanks for watching and i'll see you in the next video", "thanks for watching and i'll see you next time", "i'll see you in the next video", "see you in the next video", "please subscribe", "please subscribe to my channel", "please like and subscribe", "don't forget to like and subscribe", "don't forget to subscribe", "like and subscribe", "for more information visit www fema gov"]),
    ("de", &["vielen dank fürs zuschauen", "danke fürs zuschauen", "bis zum nächsten video"]),
    ("fr", &["merci d'avoir regardé cette vidéo", "abonnez vous", "n'oubliez pas de vous abonner", "à bientôt pour une nouvelle vidéo", "par soustitreur com"]),
    ("es", &["gracias por ver el video", "gracias por ver el vídeo", "suscríbete al canal", "no olvides suscribirte"]),
    ("it", &["grazie per aver guardato il video", "grazie per la visione", "iscrivetevi al canale"]),
    ("pt", &["obrigado por assistir", "obrigada por assistir", "inscreva se no canal", "se inscreva no canal"]),
    ("nl", &["bedankt voor het kijken", "tv gelderland 2021", "tot de volgende video"]),
    ("pl", &["dziękuję za oglądanie", "dziękuje za oglądanie", "dzięki za oglądanie"]),
    ("cs", &["děkuji za sledování", "děkujeme za sledování"]),
    ("sv", &["tack till elitmark", "tack för att ni tittade", "tack för att du tittade"]),
    ("da", &["tak fordi du så med", "tak fordi i så med", "tak for at du så med"]),
    ("no", &["takk for at du så på", "takk for at du så med", "takk for at dere så på"]),
    ("nn", &["takk for at du så på", "takk for at du så med", "takk for at dere så på"]),
    ("fi", &["kiitos kun katsoit", "kiitos katsomisesta"]),
    ("tr", &["izlediğiniz için teşekkür ederim", "izlediğiniz için teşekkürler", "abone olmayı unutmayın"]),
    ("ru", &["продолжение следует", "спасибо за просмотр", "подписывайтесь на канал", "подписывайтесь на мой канал"]),
    ("uk", &["дякую за перегляд", "підписуйтесь на канал"]),
    ("ro", &["vă mulțumim pentru vizionare", "nu uitați să vă abonați la canal"]),
    ("hu", &["köszönöm hogy megnézted", "köszönöm a figyelmet és iratkozz fel"]),
    ("ja", &["ご視聴ありがとうございました", "ご視聴ありがとうございます", "最後までご視聴いただきありがとうございました", "最後までご視聴頂きありがとうございました", "最後まで視聴してくださってありがとうございました", "チャンネル登録お願いします", "チャンネル登録よろしくお願いします", "次の動画でお会いしましょう"]),
    ("zh", &["请不吝点赞 订阅 转发 打赏支持明镜与点点栏目", "請不吝點贊 訂閱 轉發 打賞支持明鏡與點點欄目", "谢谢观看", "謝謝觀看", "感谢观看", "感謝觀看", "谢谢大家观看", "謝謝大家收看", "我们下期再见", "我們下期再見"]),
    ("ko", &["시청해주셔서 감사합니다", "시청해 주셔서 감사합니다", "구독과 좋아요 부탁드립니다", "다음 영상에서 만나요", "mbc 뉴스 이덕영입니다", "mbc 뉴스 김성현입니다"]),
    ("ar", &["اشتركوا في القناة", "شكرا للمشاهدة"]),
    ("id", &["terima kasih telah menonton", "terima kasih sudah menonton"]),
    ("vi", &["hãy subscribe cho kênh ghiền mì gõ để không bỏ lỡ những video hấp dẫn", "cảm ơn các bạn đã theo dõi và hẹn gặp lại"]),
];

/// Phrases that Whisper writes on noise, and callers say as well. Yes and no, in whatever words
/// (okay, mm hmm), are not among them: too much may hang on one.
#[rustfmt::skip]
const SAID_BY_CALLERS: LanguagePhrases = &[
    ("en", &["thank you", "thank you very much", "thank you so much", "thanks", "you", "bye", "bye bye", "goodbye", "good bye", "oh", "uh", "um", "hmm", "ah", "so", "the", "i'm sorry", "see you next time", "good night", "amen"]),
    ("de", &["vielen dank", "danke", "danke schön", "tschüss", "bis zum nächsten mal", "amen", "hm"]),
    ("fr", &["merci", "merci beaucoup", "au revoir", "à bientôt", "amen"]),
    ("es", &["gracias", "muchas gracias", "adiós", "hasta luego", "hasta la próxima", "amén"]),
    ("it", &["grazie", "grazie a tutti", "grazie mille", "ciao", "arrivederci"]),
    ("pt", &["obrigado", "obrigada", "tchau", "até a próxima", "amém"]),
    ("nl", &["dank je wel", "dank u wel", "bedankt", "tot ziens", "doei"]),
    ("pl", &["dziękuję", "dziękuję bardzo", "dziękuję za uwagę", "do widzenia", "cześć"]),
    ("cs", &["děkuji", "na shledanou"]),
    ("sv", &["tack", "tack så mycket", "hej då"]),
    ("da", &["tak", "farvel"]),
    ("no", &["takk", "ha det"]),
    ("nn", &["takk", "ha det"]),
    ("fi", &["kiitos"]),
    ("tr", &["teşekkürler", "teşekkür ederim"]),
    ("ru", &["спасибо", "спасибо за внимание", "до свидания", "пока", "ну"]),
    ("uk", &["дякую", "до побачення"]),
    ("ro", &["mulțumesc", "la revedere"]),
    ("hu", &["köszönöm", "köszönöm szépen", "viszlát"]),
    ("ja", &["ありがとうございました", "ありがとうございます", "おやすみなさい", "ん", "あ", "お疲れ様でした"]),
    ("zh", &["谢谢", "謝謝", "谢谢大家", "謝謝大家", "再见", "再見"]),
    ("ko", &["감사합니다", "고맙습니다"]),
    ("ar", &["شكرا", "شكرا لكم"]),
    ("id", &["terima kasih"]),
    ("vi", &["cảm ơn", "cảm ơn các bạn"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::plain;

    fn heard(text: &str, confidence: f32, no_speech: Option<f32>) -> Recognition {
        Recognition {
            text: text.to_owned(),
            confidence,
            no_speech_probability: no_speech,
            ..Recognition::default()
        }
    }

    fn is_phantom(heard: &Recognition, language: &str) -> bool {
        let plain = plain(&heard.text);
        let words: Vec<&str> = plain.split(' ').collect();
        seen_by(heard, &words, language, None).is_some()
    }

    #[test]
    fn phrases_are_written_as_texts_are_compared() {
        for (language, phrases) in [CREDITS, PHANTOMS, SAID_BY_CALLERS].concat() {
            assert!(
                asterscribe_call::language_code(language).is_some(),
                "{language}"
            );
            for phrase in phrases {
                assert_eq!(plain(phrase), *phrase);
            }
        }
    }

    #[test]
    fn subtitles_are_phantoms_however_sure_the_model_is() {
        for (text, language) in [
            ("Subs by www.zeoranger.co.uk", "en"),
            (
                "Thanks for watching and I'll see you in the next video.",
                "en",
            ),
            (
                "Thank you for watching. Please subscribe to my channel!",
                "en",
            ),
            ("Untertitelung des ZDF, 2020", "de"),
            ("Untertitel der Amara.org-Community", "de"),
            ("Sous-titrage ST' 501", "fr"),
            ("Sous-titrage Société Radio-Canada", "fr"),
            ("Sous-titres réalisés par la communauté d'Amara.org", "fr"),
            ("ご視聴ありがとうございました", "ja"),
            (
                "ご視聴ありがとうございました。ご視聴ありがとうございました。",
                "ja",
            ),
            ("字幕by索兰娅", "zh"),
            ("請不吝點贊 訂閱 轉發 打賞支持明鏡與點點欄目", "zh"),
            ("MBC 뉴스 이덕영입니다.", "ko"),
            ("Altyazı M.K.", "tr"),
            ("İzlediğiniz için teşekkür ederim.", "tr"),
            ("Teksting av Nicolai Winther", "no"),
            ("Danske tekster af Nicolai Winther", "da"),
            ("Tack till elitmark", "sv"),
            ("Undertexter från Amara.org-gemenskapen", "sv"),
            ("Субтитры создавал DimaTorzok", "ru"),
            ("Редактор субтитров А.Семкин Корректор А.Егорова", "ru"),
            ("Ondertitels ingediend door de Amara.org gemeenschap", "nl"),
        ] {
            assert!(
                is_phantom(&heard(text, 0.99, Some(0.0)), language),
                "{text}"
            );
        }
    }

    #[test]
    fn who_speaks_of_such_things_is_believed() {
        for (text, language) in [
            ("Thank you for watching the house while we were away.", "en"),
            ("Please subscribe me to the newsletter.", "en"),
            (
                "Subtitles by tomorrow morning would be great, but we can also do without them.",
                "en",
            ),
            ("Ich brauche die Untertitelung des Films bis Freitag.", "de"),
            ("字幕が出ません", "ja"),
            ("Tack, till fredag", "sv"),
        ] {
            assert!(
                !is_phantom(&heard(text, 0.3, Some(0.9)), language),
                "{text}"
            );
        }
        // Of another language.
        assert!(!is_phantom(&heard("Thanks for watching", 0.9, None), "de"));
    }

    #[test]
    fn thanks_are_believed_unless_nobody_spoke() {
        let texts = [
            ("Thank you.", "en"),
            ("you", "en"),
            ("Bye. Bye.", "en"),
            ("Bye. Thank you.", "en"),
            ("Vielen Dank.", "de"),
            ("ありがとうございました", "ja"),
        ];
        for (text, language) in texts {
            for (confidence, no_speech, is_doubted) in [
                (0.91, Some(0.01), false),
                (0.45, None, false),
                (0.35, Some(0.05), false),
                (0.72, Some(0.45), false),
                (0.57, Some(0.44), true),
                (0.95, Some(0.59), false),
                (0.95, Some(0.61), true),
                (0.14, None, true),
                (0.39, Some(0.2), true),
            ] {
                let heard = heard(text, confidence, no_speech);
                let case = format!("{text} {confidence} {no_speech:?}");
                assert_eq!(is_phantom(&heard, language), is_doubted, "{case}");
            }
        }
        for text in ["No.", "Yes.", "Thank you, Anna."] {
            assert!(!is_phantom(&heard(text, 0.1, Some(0.9)), "en"), "{text}");
        }
    }

    #[test]
    fn yes_and_no_and_what_callers_say_with_a_name_are_no_phantoms() {
        for (text, language) in [
            ("Yeah.", "en"),
            ("Okay.", "en"),
            ("Mm-hmm.", "en"),
            ("うん", "ja"),
            ("嗯", "zh"),
            ("Ага.", "ru"),
            ("Ja.", "de"),
            ("Redaktør Jensen, hvad kan jeg hjælpe med?", "da"),
            ("Undertexter saknas på min tv.", "sv"),
            ("Altyazı yok.", "tr"),
            ("Suscríbete.", "es"),
        ] {
            assert!(
                !is_phantom(&heard(text, 0.1, Some(0.5)), language),
                "{text}"
            );
        }
    }
}
