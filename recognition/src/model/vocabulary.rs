//! A byte-level vocabulary, as CTranslate2's folders bring it: tokens to bytes, text to tokens.
//!
//! Tokens are written in GPT-2's alphabet, in which every byte has a printable character
//! (`encoder.py`, `bytes_to_unicode`). Text becomes tokens by byte pair encoding: whichever two
//! neighbours make the token of the lowest number are joined, until none do.

use std::collections::HashMap;

use super::{ModelFlaw, wrong};

/// Marks that every Whisper vocabulary has.
const END_OF_TEXT: &str = "<|endoftext|>";
const START_OF_TRANSCRIPT: &str = "<|startoftranscript|>";
const NO_TIMESTAMPS: &str = "<|notimestamps|>";

/// A model's vocabulary.
#[derive(Debug)]
pub(crate) struct ModelVocabulary {
    /// As CTranslate2 knows them.
    tokens: Vec<String>,
    /// Text tokens by their bytes.
    by_bytes: HashMap<Vec<u8>, u32>,
    /// The bytes of each text token.
    bytes: Vec<Vec<u8>>,
}

impl ModelVocabulary {
    /// A vocabulary of all tokens of a model, in their order.
    pub(super) fn new(tokens: Vec<String>) -> Result<Self, ModelFlaw> {
        for mark in [END_OF_TEXT, START_OF_TRANSCRIPT, NO_TIMESTAMPS] {
            if !tokens.iter().any(|token| token == mark) {
                return wrong(format!("its vocabulary lacks {mark}"));
            }
        }
        let alphabet = alphabet();
        let raw = |token: &String| -> Option<Vec<u8>> {
            token.chars().map(|c| alphabet.get(&c).copied()).collect()
        };
        let text = tokens.iter().take_while(|token| *token != END_OF_TEXT);
        let mut bytes = Vec::new();
        for token in text {
            match raw(token) {
                Some(raw) => bytes.push(raw),
                None => return wrong(format!("its vocabulary has the strange token {token:?}")),
            }
        }
        let numbered = (0u32..).zip(&bytes);
        let by_bytes: HashMap<_, _> = numbered.map(|(id, raw)| (raw.clone(), id)).collect();
        if let Some(missing) = (0..=u8::MAX).find(|&byte| !by_bytes.contains_key(&[byte][..])) {
            return wrong(format!("its vocabulary has no token for byte {missing}"));
        }
        Ok(Self {
            tokens,
            by_bytes,
            bytes,
        })
    }

    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The number of a token by its name, such as `<|en|>`.
    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        // Marks stand behind the text.
        let place = self.tokens.iter().rposition(|token| token == name)?;
        u32::try_from(place).ok()
    }

    /// A token's name.
    pub(crate) fn name(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// The bytes of a token of text; `None` for a mark.
    pub(crate) fn bytes(&self, id: u32) -> Option<&[u8]> {
        self.bytes.get(id as usize).map(Vec::as_slice)
    }

    /// The tokens of a text.
    pub(crate) fn encode(&self, text: &str) -> Vec<u32> {
        pieces(text)
            .flat_map(|piece| self.encode_piece(piece))
            .collect()
    }

    fn encode_piece(&self, piece: &str) -> Vec<u32> {
        // Where each token begins, and the end of the last.
        let bytes = piece.as_bytes();
        let mut borders: Vec<usize> = (0..=bytes.len()).collect();
        loop {
            let joined = |n: usize| {
                let id = self.by_bytes.get(&bytes[borders[n]..borders[n + 2]])?;
                Some((*id, n))
            };
            let last = borders.len().saturating_sub(2);
            let Some((_, n)) = (0..last).filter_map(joined).min() else {
                break;
            };
            borders.remove(n + 1);
        }
        let tokens = borders
            .windows(2)
            .map(|border| &bytes[border[0]..border[1]]);
        tokens
            .filter_map(|token| self.by_bytes.get(token).copied())
            .collect()
    }
}

/// The pieces of a text that no token crosses (GPT-2's pattern): English contractions, then
/// letters, digits or anything else, each with one space before it, and space.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let length = piece(rest)?;
        let (piece, after) = rest.split_at(length);
        rest = after;
        Some(piece)
    })
}

#[derive(Clone, Copy, PartialEq)]
enum TokenClass {
    Letter,
    Digit,
    Space,
    Other,
}

fn class(c: char) -> TokenClass {
    if c.is_alphabetic() {
        TokenClass::Letter
    } else if c.is_numeric() {
        TokenClass::Digit
    } else if c.is_whitespace() {
        TokenClass::Space
    } else {
        TokenClass::Other
    }
}

/// Length in bytes of the first piece; `None` of an empty text.
fn piece(text: &str) -> Option<usize> {
    const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
    let first = text.chars().next()?;
    if let Some(end) = CONTRACTIONS.iter().find(|end| text.starts_with(**end)) {
        return Some(end.len());
    }
    let spaces = text
        .find(|c: char| !c.is_whitespace())
        .unwrap_or(text.len());
    // One space belongs to the word behind it, all others to each other.
    let body = match (spaces, first) {
        (0, _) => 0,
        (1, ' ') if text.len() > 1 => 1,
        _ if spaces == text.len() => return Some(spaces),
        _ => {
            let before_last = text[..spaces].char_indices().next_back().map(|(at, _)| at);
            return Some(before_last.filter(|&at| at > 0).unwrap_or(spaces));
        }
    };
    let kind = class(text[body..].chars().next()?);
    let end = text[body..].find(|c: char| class(c) != kind);
    Some(end.map_or(text.len(), |end| body + end))
}

/// The byte that each character of the alphabet stands for.
fn alphabet() -> HashMap<char, u8> {
    let mut beyond = 0x100u32;
    let character = |byte: u8| {
        let is_itself = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        let code = if is_itself {
            u32::from(byte)
        } else {
            beyond += 1;
            beyond - 1
        };
        char::from_u32(code).map(|c| (c, byte))
    };
    (0..=u8::MAX).filter_map(character).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 256 bytes in GPT-2's order, and a few words.
    pub(in super::super) fn small(words: &[&str]) -> Vec<String> {
        let alphabet = alphabet();
        let spelled = |bytes: &[u8]| -> String {
            let character = |byte: &u8| alphabet.iter().find(|(_, b)| *b == byte).unwrap().0;
            bytes.iter().map(character).collect()
        };
        let single = (0..=u8::MAX).map(|byte| spelled(&[byte]));
        let words = words.iter().map(|word| spelled(word.as_bytes()));
        let marks = [END_OF_TEXT, START_OF_TRANSCRIPT, "<|en|>", NO_TIMESTAMPS];
        let marks = marks.map(str::to_owned);
        single.chain(words).chain(marks).collect()
    }

    #[test]
    fn neighbours_that_make_the_lowest_token_are_joined_first() {
        let vocabulary =
            ModelVocabulary::new(small(&["he", "el", "hel", "ll", " w", "hell"])).unwrap();
        let names = |text: &str| -> Vec<String> {
            let tokens = vocabulary.encode(text);
            let name = |id: u32| String::from_utf8(vocabulary.bytes(id).unwrap().to_vec());
            tokens.into_iter().map(|id| name(id).unwrap()).collect()
        };
        assert_eq!(names("hello w"), ["hell", "o", " w"]);
        assert_eq!(names(" who"), [" w", "h", "o"]);
        assert_eq!(names("ell"), ["el", "l"]);
        assert_eq!(vocabulary.id("<|en|>"), Some(264));
        assert_eq!(vocabulary.bytes(264), None);
    }

    #[test]
    fn pieces_are_those_of_gpt2() {
        let split = |text: &'static str| pieces(text).collect::<Vec<_>>();
        assert_eq!(
            split("I'll pay 20 USD!"),
            ["I", "'ll", " pay", " 20", " USD", "!"]
        );
        assert_eq!(split("a   b"), ["a", "  ", " b"]);
        assert_eq!(split("x  "), ["x", "  "]);
        assert_eq!(split(" "), [" "]);
        assert_eq!(split(""), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_text_is_lost(text in "\\PC{0,40}") {
            let vocabulary = ModelVocabulary::new(small(&["he", "ä", " t", "th", " the"])).unwrap();
            let tokens = vocabulary.encode(&text);
            let bytes = tokens.iter().flat_map(|&id| vocabulary.bytes(id).unwrap()).copied();
            prop_assert_eq!(bytes.collect::<Vec<_>>(), text.as_bytes());
        }
    }
}
