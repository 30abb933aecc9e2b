//! Choices of how a call is recognised, made through the REST API or by variables of its channel. A
//! choice that is not made is as the settings have it.

use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::SecondPassChoice;

/// Longest prompt, bytes of UTF-8. Whisper looks at its last 223 tokens, of three to four
/// letters each in English, of fewer elsewhere.
pub const MAX_PROMPT: usize = 1000;

/// Whisper's languages.
#[rustfmt::skip]
const CODES: [&str; 100] = [
    "en", "zh", "de", "es", "ru", "ko", "fr", "ja", "pt", "tr", "pl", "ca", "nl", "ar", "sv",
    "it", "id", "hi", "fi", "vi", "he", "uk", "el", "ms", "cs", "ro", "da", "hu", "ta", "no",
    "th", "ur", "hr", "bg", "lt", "la", "mi", "ml", "cy", "sk", "te", "fa", "lv", "bn", "sr",
    "az", "sl", "kn", "et", "mk", "br", "eu", "is", "hy", "ne", "mn", "bs", "kk", "sq", "sw",
    "gl", "mr", "pa", "si", "km", "sn", "yo", "so", "af", "oc", "ka", "be", "tg", "sd", "gu",
    "am", "yi", "lo", "uz", "fo", "ht", "ps", "tk", "nn", "mt", "sa", "lb", "my", "bo", "tl",
    "mg", "as", "tt", "haw", "ln", "ha", "ba", "jw", "su", "yue",
];

/// Error: a choice is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidChoice {
    /// Language: neither a code that Whisper knows nor `auto` nor a list of such codes.
    #[error("not a language that Whisper knows, such as en, nor auto, nor several such as en,de")]
    Language,
    /// Prompt: empty, too long or with control characters.
    #[error("a prompt has 1 to {MAX_PROMPT} bytes and no control characters")]
    Prompt,
    /// Switch: neither on nor off.
    #[error("must be on or off")]
    Switch,
    /// Numbers: written in a way that is not supported.
    #[error(
        "must be model: numbers are written as the model writes them, which this server has no means to change"
    )]
    Numbers,
    /// Second pass: neither on nor off nor the name of a model.
    #[error("must be on, off or the name of a model")]
    SecondPass,
    /// Name: there is no such choice.
    #[error("there is no such choice")]
    Unknown,
}

/// Choices of one call; `None` in a field: as the settings have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallChoices {
    /// Language that is spoken, or among which Whisper decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Prompt for Whisper: text as it might have come before, or words that are likely to be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<InitialPrompt>,
    /// Whether partials are emitted: sentences that are still being spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partials: Option<bool>,
    /// Whether the text is translated to English, whatever is spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub translate: Option<bool>,
    /// Spelling of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<NumberStyle>,
    /// Second pass: whether the call is recognised once more when it is over, and by which model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_pass: Option<SecondPassChoice>,
}

impl CallChoices {
    /// The choices by their names, which are those of the fields.
    pub const NAMES: [&'static str; 6] = [
        "language",
        "prompt",
        "partials",
        "translate",
        "numbers",
        "second_pass",
    ];

    /// Makes the choice of that name from its text.
    ///
    /// # Errors
    /// [`InvalidChoice`]; nothing has changed.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), InvalidChoice> {
        let text = text.trim();
        match name {
            "language" => self.language = Some(text.parse()?),
            "prompt" => self.prompt = Some(text.parse()?),
            "partials" => self.partials = Some(switch(text)?),
            "translate" => self.translate = Some(switch(text)?),
            "numbers" => self.numbers = Some(text.parse()?),
            "second_pass" => self.second_pass = Some(text.parse()?),
            _ => return Err(InvalidChoice::Unknown),
        }
        Ok(())
    }

    /// Reads a JSON object and nothing else, for a field of a request: serde would also take an
    /// array with the fields in order, which nobody means.
    ///
    /// # Errors
    /// Not an object, an unknown name, or a value that is no choice.
    pub fn from_object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ChoicesObject;

        impl<'de> Visitor<'de> for ChoicesObject {
            type Value = CallChoices;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of choices")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CallChoices, A::Error> {
                CallChoices::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(ChoicesObject)
    }

    /// Whether no choice is made.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These choices, and those of `weaker` where none is made here.
    #[must_use]
    pub fn or(self, weaker: Self) -> Self {
        Self {
            language: self.language.or(weaker.language),
            prompt: self.prompt.or(weaker.prompt),
            partials: self.partials.or(weaker.partials),
            translate: self.translate.or(weaker.translate),
            numbers: self.numbers.or(weaker.numbers),
            second_pass: self.second_pass.or(weaker.second_pass),
        }
    }
}

/// The language that is spoken. As text `auto`, a code, or several codes separated by commas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum Language {
    /// Any language: Whisper decides.
    Auto,
    /// Whisper's code of the language, mostly ISO 639-1.
    Code(&'static str),
    /// One of these: Whisper decides among them.
    Among(LanguageSet),
}

impl Language {
    /// The code; `None` where Whisper decides.
    pub fn code(self) -> Option<&'static str> {
        match self {
            Self::Auto | Self::Among(_) => None,
            Self::Code(code) => Some(code),
        }
    }

    /// Languages among which Whisper decides; empty: among all, or not at all.
    pub fn among(self) -> Vec<&'static str> {
        match self {
            Self::Auto | Self::Code(_) => Vec::new(),
            Self::Among(languages) => languages.codes().collect(),
        }
    }
}

/// Set of two or more of Whisper's languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanguageSet(u128);

impl LanguageSet {
    /// Codes of the languages, in Whisper's order.
    pub fn codes(self) -> impl Iterator<Item = &'static str> {
        let all = CODES.into_iter().enumerate();
        all.filter_map(move |(place, code)| (self.0 & (1 << place) != 0).then_some(code))
    }
}

/// Whisper's own spelling of a language's code; `None` for any other text.
pub fn language_code(code: &str) -> Option<&'static str> {
    place_of(code).ok().map(|place| CODES[place])
}

fn place_of(code: &str) -> Result<usize, InvalidChoice> {
    let place = CODES.iter().position(|known| *known == code);
    place.ok_or(InvalidChoice::Language)
}

impl FromStr for Language {
    type Err = InvalidChoice;

    fn from_str(text: &str) -> Result<Self, InvalidChoice> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let mut set = 0u128;
        let mut last = "";
        for code in text.split(',') {
            let place = place_of(code.trim())?;
            set |= 1 << place;
            last = CODES[place];
        }
        Ok(match set.count_ones() {
            1 => Self::Code(last),
            _ => Self::Among(LanguageSet(set)),
        })
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.to_string()
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Code(code) => f.write_str(code),
            Self::Among(set) => {
                let codes: Vec<_> = set.codes().collect();
                f.write_str(&codes.join(","))
            }
        }
    }
}

/// Text that Whisper is given as if it had come before. It may name people, so it is shown only to
/// those who ask for its call: it has no `Display`, and its `Debug` shows only the length.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InitialPrompt(String);

impl InitialPrompt {
    /// The text: 1 to [`MAX_PROMPT`] bytes.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl FromStr for InitialPrompt {
    type Err = InvalidChoice;

    fn from_str(text: &str) -> Result<Self, InvalidChoice> {
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_PROMPT || text.contains(char::is_control) {
            return Err(InvalidChoice::Prompt);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for InitialPrompt {
    type Error = InvalidChoice;

    fn try_from(text: String) -> Result<Self, InvalidChoice> {
        text.parse()
    }
}

impl From<InitialPrompt> for String {
    fn from(prompt: InitialPrompt) -> Self {
        prompt.0
    }
}

impl fmt::Debug for InitialPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

/// Spelling of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NumberStyle {
    /// As the model writes them. The only way there is: the binding of Whisper gives no
    /// access to its suppression of tokens.
    Model,
}

impl FromStr for NumberStyle {
    type Err = InvalidChoice;

    fn from_str(text: &str) -> Result<Self, InvalidChoice> {
        match text {
            "model" => Ok(Self::Model),
            _ => Err(InvalidChoice::Numbers),
        }
    }
}

impl TryFrom<String> for NumberStyle {
    type Error = InvalidChoice;

    fn try_from(text: String) -> Result<Self, InvalidChoice> {
        text.parse()
    }
}

impl From<NumberStyle> for String {
    fn from(NumberStyle::Model: NumberStyle) -> Self {
        "model".to_owned()
    }
}

/// On or off, in the words that dialplans use.
pub(super) fn switch(text: &str) -> Result<bool, InvalidChoice> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "yes" | "true" | "1" => Ok(true),
        "off" | "no" | "false" | "0" => Ok(false),
        _ => Err(InvalidChoice::Switch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn languages_are_one_several_or_any() {
        let parse = |text: &str| text.parse::<Language>();
        assert_eq!(parse("auto"), Ok(Language::Auto));
        assert_eq!(parse("de"), Ok(Language::Code("de")));
        assert_eq!(parse("de,de"), Ok(Language::Code("de")));
        let some = parse("de, en,yue").unwrap();
        assert_eq!(some.among(), ["en", "de", "yue"]);
        assert_eq!((some.code(), some.to_string()), (None, "en,de,yue".into()));
        for bad in ["", "xx", "EN", "en,", ",en", "en;de", "en,auto", "en\0"] {
            assert_eq!(parse(bad), Err(InvalidChoice::Language), "{bad:?}");
        }
    }

    #[test]
    fn a_prompt_is_bounded_and_tells_itself_to_nobody() {
        let prompt: InitialPrompt = " Kowalski, Asterscribe ".parse().unwrap();
        assert_eq!(prompt.text(), "Kowalski, Asterscribe");
        let choices = CallChoices {
            prompt: Some(prompt),
            ..CallChoices::default()
        };
        assert!(!format!("{choices:?}").contains("Kowalski"));
        for bad in ["", "  ", "a\0b", "a\nb", &"a".repeat(MAX_PROMPT + 1)] {
            assert_eq!(
                bad.parse::<InitialPrompt>(),
                Err(InvalidChoice::Prompt),
                "{bad:?}"
            );
        }
        assert!("ä".repeat(MAX_PROMPT / 2).parse::<InitialPrompt>().is_ok());
    }

    #[test]
    fn what_is_said_in_text_is_what_is_said_in_json() {
        let mut said = CallChoices::default();
        let texts = ["en,de", "Müller", "off", "Yes", "model", "medium"];
        for (name, text) in CallChoices::NAMES.into_iter().zip(texts) {
            said.set(name, text).unwrap();
        }
        let json = serde_json::json!({
            "language": "en,de", "prompt": "Müller", "partials": false, "translate": true,
            "numbers": "model", "second_pass": "medium"
        });
        assert_eq!(serde_json::to_value(&said).unwrap(), json);
        assert_eq!(serde_json::from_value::<CallChoices>(json).unwrap(), said);
        assert_eq!(said.set("partials", "maybe"), Err(InvalidChoice::Switch));
        assert_eq!(said.set("numbers", "words"), Err(InvalidChoice::Numbers));
        assert_eq!(said.set("model", "x"), Err(InvalidChoice::Unknown));
        let weaker = CallChoices {
            partials: Some(true),
            ..CallChoices::default()
        };
        assert_eq!(said.clone().or(weaker.clone()), said);
        assert_eq!(CallChoices::default().or(weaker.clone()), weaker);
    }

    #[test]
    fn json_is_held_to_the_same() {
        for bad in [
            r#"{"language":"xx"}"#,
            r#"{"language":1}"#,
            r#"{"prompt":""}"#,
            r#"{"partials":"on"}"#,
            r#"{"numbers":"words"}"#,
            r#"{"colour":"red"}"#,
        ] {
            assert!(serde_json::from_str::<CallChoices>(bad).is_err(), "{bad}");
        }
        assert!(
            serde_json::from_str::<CallChoices>("{}")
                .unwrap()
                .is_empty()
        );
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(name in ".{0,12}", text in ".{0,40}") {
            let mut choices = CallChoices::default();
            let _either = choices.set(&name, &text);
            for name in CallChoices::NAMES {
                let _either = choices.set(name, &text);
            }
            if let Some(language) = choices.language {
                prop_assert_eq!(language.to_string().parse(), Ok(language));
            }
        }
    }
}
